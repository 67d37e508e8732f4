//! A rollback in the rescue that keeps what is in /root: the state to go to is composed there, by the rescue's own kernel, from its own
//! drivers, in the memory that it promises to work in. A real Debian is saved, changed, and taken back by keystrokes; it comes up with
//! what was kept, and without what was changed elsewhere.

use qemu_tests::guest::Guest;
use qemu_tests::machine::{Bus, Parts, overlay};
use qemu_tests::rescue::Session;
use qemu_tests::{Result, history, rescue, target, workspace};
use std::time::{Duration, Instant};

/// How long a command in the target may take.
const COMMAND: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("keep")?;
    let image = rescue::image()?;
    let disk = overlay(&target::debian(&mut say)?, &folder.join("disk.qcow2"))?;
    let stick = rescue::stick(&image, &folder.join("stick.qcow2"))?;
    let part = |name: &str| Parts::new(name, &folder);
    let alone = |name: &str| part(name).disk(&disk, Bus::Virtio, "TARGET");
    let rescued = |name: &str| {
        part(name).memory(rescue::MEMORY).disk(&stick, Bus::Usb, "STICK").disk(&disk, Bus::Virtio, "TARGET")
    };
    let in_target = |name: &str, commands: &[&str]| -> Result<()> {
        let mut guest = Guest::login(alone(name).start()?)?;
        for command in commands {
            guest.run(command, COMMAND)?;
        }
        guest.poweroff()
    };

    say("the target starts, and is saved");
    history::first_start(&alone("first"))?;
    let mut session = Session::start(&rescued("save"))?;
    session.snapshot()?;
    session.poweroff()?;

    say("somebody works in it, and changes what they should not");
    // A name of its own, permissions, an attribute, a link and a hole: what a user's files have.
    in_target(
        "work",
        &[
            "mkdir -m 750 /root/work && cd /root/work && echo precious >'a note' && chown 33:33 'a note' && chmod 640 'a note'",
            "ln -s 'a note' link && ln 'a note' again && truncate -s 8M sparse && echo end >>sparse && cd /",
            "echo ruined >/etc/hostname && rm /etc/os-release && cp /usr/bin/less /usr/bin/stray",
        ],
    )?;

    say("the rescue takes it back, and keeps what is in /root");
    let mut session = Session::start(&rescued("keep"))?;
    session.plan_rollback()?;
    let plan = session.press("k", &["kept as it is now: /root", "ROLLBACK"])?;
    println!("{plan}");
    println!("{}", session.approve("ROLLBACK")?);
    session.poweroff()?;

    say("it comes up with the one, and without the other");
    in_target(
        "kept",
        &[
            "cd /root/work && test \"$(cat 'a note')\" = precious && test \"$(stat -c '%u %g %a %h' 'a note')\" = '33 33 640 2'",
            "test \"$(stat -c %a .)\" = 750 && test \"$(readlink link)\" = 'a note' && test 'a note' -ef again",
            "test \"$(tail -c 4 sparse)\" = end && test \"$(stat -c %s sparse)\" = 8388612 && test \"$(du -k sparse | cut -f1)\" -lt 100",
            "test -e /etc/os-release && ! test -e /usr/bin/stray && ! grep -q ruined /etc/hostname",
            "test -z \"$(dpkg --audit)\"",
        ],
    )?;

    say("done");
    Ok(())
}
