//! The whole way, with a real Debian: boot it, install a package, shut it down; save it from the USB stick; ruin it twice
//! (a power cut in the middle of an upgrade; a deleted C library); each time the rescue says what happened and brings it
//! back by keystrokes over the serial line, and the Debian boots to login with its package database in order. One of the
//! rollbacks is itself cut by a power loss. Looking and saving do not change a byte of the target's disk.

use qemu_tests::machine::{Bus, Parts, content_hash, overlay};
use qemu_tests::rescue::{Session, must};
use qemu_tests::{Result, history, rescue, target, workspace};
use std::time::Instant;

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("spine")?;
    let image = rescue::image()?;
    let disk = overlay(&target::debian(&mut say)?, &folder.join("disk.qcow2"))?;
    let stick = rescue::stick(&image, &folder.join("stick.qcow2"))?;
    let part = |name: &str| Parts::new(name, &folder);
    let alone = |name: &str| part(name).disk(&disk, Bus::Virtio, "TARGET");
    let rescued = |name: &str| {
        part(name).memory(rescue::MEMORY).disk(&stick, Bus::Usb, "STICK").disk(&disk, Bus::Virtio, "TARGET")
    };

    say("the target starts, installs a package and powers off");
    history::install_package(&alone("install"))?;
    let before = content_hash(&disk)?;

    say("the rescue looks at it and saves it");
    let mut session = Session::start(&rescued("save"))?;
    let screen = session.screen();
    println!("{screen}");
    must(&screen, &["Debian GNU/Linux", "[ok] shut down in order", "no snapshot to compare with"])?;
    session.snapshot()?;
    session.poweroff()?;
    let after = content_hash(&disk)?;
    if before != after {
        return Err(format!("looking and saving changed the target's disk: {before} became {after}").into());
    }

    say("the target's power is cut in the middle of an upgrade");
    say(&history::cut_upgrade(&alone("cut"))?);

    say("the rescue says so, and takes it back; the power is cut in the middle of that, too");
    let mut session = Session::start(&rescued("after-cut"))?;
    let screen = session.screen();
    println!("{screen}");
    must(&screen, &["[!!] cut off", "[!!] cut short in the middle"])?;
    println!("{}", session.plan_rollback()?);
    session.approve_and_cut("ROLLBACK")?;

    say("the half-written target refuses to start");
    history::says_unfinished(&alone("fenced"))?;

    say("the rescue finds the unfinished rollback, and finishes it");
    let mut session = Session::start(&rescued("resume"))?;
    let screen = session.screen();
    println!("{screen}");
    must(&screen, &["A ROLLBACK WAS CUT OFF"])?;
    session.press("1", &["please read, then decide", "FINISH"])?;
    println!("{}", session.approve("FINISH")?);
    session.poweroff()?;

    say("the target starts, and is whole");
    history::is_whole(&alone("whole"))?;

    say("the target loses its C library");
    history::remove_libc(&alone("ruin"))?;
    history::does_not_start(&alone("ruined"))?;

    say("the rescue names what is missing, and takes it back");
    let mut session = Session::start(&rescued("after-ruin"))?;
    let screen = session.screen();
    println!("{screen}");
    must(&screen, &["libc"])?;
    println!("{}", session.plan_rollback()?);
    println!("{}", session.approve("ROLLBACK")?);
    session.poweroff()?;

    say("the target starts, and is whole");
    history::is_whole(&alone("whole-again"))?;
    say("done");
    Ok(())
}
