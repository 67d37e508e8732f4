//! A real Debian whose root lies on XFS, on btrfs, on a logical volume, or on one in an encrypted volume: saved by the rescue while it was good, made unable to start,
//! taken back by keystrokes over the serial line, and up again.
//!
//! `HOLDFAST_STACKS="xfs lvm"` does only these.

use qemu_tests::guest::{BOOT, Guest};
use qemu_tests::machine::{Bus, Machine, Parts, overlay};
use qemu_tests::rescue::{Session, must};
use qemu_tests::stack::{self, PASSPHRASE, Stack};
use qemu_tests::{Result, rescue, workspace};
use std::time::{Duration, Instant};

/// How long a command in the target may take.
const COMMAND: Duration = Duration::from_secs(180);

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let image = rescue::image()?;
    let only = std::env::var("HOLDFAST_STACKS").ok();
    let wanted = |s: &Stack| only.as_ref().is_none_or(|o| o.split_whitespace().any(|name| name == s.name()));
    for stack in Stack::ALL.into_iter().filter(wanted) {
        broken_and_taken_back(stack, &image, &mut say)?;
    }
    say("done");
    Ok(())
}

fn broken_and_taken_back(stack: Stack, image: &std::path::Path, say: &mut dyn FnMut(&str)) -> Result<()> {
    let name = stack.name();
    let folder = workspace::scratch(&format!("stacks-{name}"))?;
    let disk = overlay(&stack::installed(stack, say)?, &folder.join("disk.qcow2"))?;
    let stick = rescue::stick(image, &folder.join("stick.qcow2"))?;
    let alone = |what: &str| Parts::new(what, &folder).disk(&disk, Bus::Virtio, "TARGET");
    let rescued = |what: &str| {
        let parts = Parts::new(what, &folder).memory(rescue::MEMORY).disk(&stick, Bus::Usb, "STICK");
        parts.disk(&disk, Bus::Virtio, "TARGET")
    };

    // Its initramfs asks on the serial line.
    let started = |what: &str| -> Result<Machine> {
        let mut machine = alone(what).start()?;
        if stack == Stack::Luks {
            Guest::unlock(&mut machine, PASSPHRASE)?;
        }
        Ok(machine)
    };
    // The overview, once all of it is seen.
    let looked = |session: &mut Session| match stack {
        Stack::Luks => {
            must(&session.screen(), &["is encrypted"])?;
            session.unlock(PASSPHRASE)
        }
        Stack::Xfs | Stack::Btrfs | Stack::Lvm => Ok(session.screen()),
    };

    say(&format!("{name}: the target starts, installs a package and powers off"));
    let mut guest = Guest::login(started("first")?)?;
    guest.run("apt-get -q -y install /opt/packages/install/*.deb && hello", COMMAND)?;
    guest.poweroff()?;

    say(&format!("{name}: the rescue saves it"));
    let mut session = Session::start(&rescued("save"))?;
    let screen = looked(&mut session)?;
    println!("{screen}");
    must(&screen, &["Debian GNU/Linux", "shut down in order"])?;
    println!("{}", session.snapshot()?);
    session.poweroff()?;

    say(&format!("{name}: its C library is removed, and its power cut"));
    let mut guest = Guest::login(started("broken")?)?;
    // Nothing starts without it: what makes its removal durable has a copy in memory, where programs may lie.
    let libc = "/usr/lib/x86_64-linux-gnu/libc.so.6";
    guest.run(&format!("cp {libc} /dev/shm/ && rm {libc} && LD_LIBRARY_PATH=/dev/shm sync"), COMMAND)?;
    guest.machine.cut_power();
    let mut machine = started("dead")?;
    match machine.console.expect_any(&["Kernel panic", "login: "], BOOT)? {
        (0, _) => {}
        _ => return Err("it started, though it must not".into()),
    }
    machine.cut_power();

    say(&format!("{name}: the rescue takes it back"));
    let mut session = Session::start(&rescued("back"))?;
    let screen = looked(&mut session)?;
    println!("{screen}");
    must(&screen, &["the C library (libc.so.6) is missing"])?;
    println!("{}", session.plan_rollback()?);
    println!("{}", session.approve("ROLLBACK")?);
    session.poweroff()?;

    say(&format!("{name}: it comes up, and is whole"));
    let mut guest = Guest::login(started("whole")?)?;
    let audit = guest.run("dpkg --audit && hello && systemctl is-system-running --wait", COMMAND)?;
    println!("{audit}");
    guest.poweroff()
}
