//! A saved state goes onto a larger disk, and its root grows over the room there is, by the key for it: made larger in the rescue, by the
//! rescue's own kernel, from its own drivers, in the memory that it promises to work in. The swap area behind it moves along. Independent
//! tools find the table and the file system in order, and the target starts from the new disk with all of the room.

use qemu_tests::guest::Guest;
use qemu_tests::machine::{Bus, Parts, overlay, run};
use qemu_tests::partitions::Partitions;
use qemu_tests::rescue::{Session, must};
use qemu_tests::{Result, history, rescue, target, workspace};
use std::fs::File;
use std::process::Command;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// The target's disk has 3 GiB.
const LARGER: u64 = 7168 * MIB;
/// How long a command in the target may take.
const COMMAND: Duration = Duration::from_secs(120);

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("grow")?;
    let image = rescue::image()?;
    let base = target::debian(&mut say)?;
    let disk = overlay(&base, &folder.join("disk.qcow2"))?;
    let stick = rescue::stick(&image, &folder.join("stick.qcow2"))?;
    let new = folder.join("new.img");
    File::create(&new)?.set_len(LARGER)?;
    let part = |name: &str| Parts::new(name, &folder);
    let rescued = |name: &str| part(name).memory(rescue::MEMORY).disk(&stick, Bus::Usb, "STICK");

    say("the target starts, and is saved");
    history::first_start(&part("first").disk(&disk, Bus::Virtio, "TARGET"))?;
    let mut session = Session::start(&rescued("save").disk(&disk, Bus::Virtio, "TARGET"))?;
    session.snapshot()?;
    session.poweroff()?;

    say("a larger disk in its place: the rescue offers to fill it");
    let mut session = Session::start(&rescued("grow").disk(&new, Bus::Virtio, "NEW"))?;
    session.press("1", &["please read, then decide", "RESTORE"])?;
    let plan = session.press("g", &["please read, then decide", "grew", "RESTORE"])?;
    println!("{plan}");
    let done = session.approve("RESTORE")?;
    println!("{done}");
    must(&done, &["DONE."])?;
    session.poweroff()?;

    say("the table and the file system are in order, and fill the disk");
    let (then, now) = (Partitions::of(&base)?, Partitions::of(&new)?);
    run(Command::new("sgdisk").arg("-v").arg(&new))?;
    let by = now.root()?.len - then.root()?.len;
    if now.all.len() != then.all.len() || by < LARGER - 3074 * MIB {
        return Err(format!("the root grew by {by} bytes").into());
    }
    run(Command::new("e2fsck").arg("-fn").arg(format!("{}?offset={}", new.display(), now.root()?.start)))?;

    say("it starts from there, with all of the room");
    let mut guest = Guest::login(part("grown").disk(&new, Bus::Virtio, "NEW").start()?)?;
    for command in [
        "test $(df --output=size -BM / | tail -1 | tr -dc 0-9) -gt 6500",
        "swapon --show=NAME --noheadings | grep -q .",
        "test -z \"$(dpkg --audit)\"",
        "! dmesg | grep -i 'ext4-fs error'",
    ] {
        guest.run(command, COMMAND)?;
    }
    guest.poweroff()?;

    say("done");
    Ok(())
}
