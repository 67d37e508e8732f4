//! What a kernel leaves alone is known from the inodes: random histories on fifteen kinds of ext4, lived by the kernel of a
//! target, after each session of which every byte that is called the same is compared (`src/histories`).
//!
//! A few of each kind by default; with `HOLDFAST_FULL=1`, 140.

use qemu_tests::guest::Guest;
use qemu_tests::machine::{Bus, Parts, overlay};
use qemu_tests::{Result, target, workspace};
use std::fs::{self, OpenOptions};
use std::time::{Duration, Instant};

/// How long a history may take on an emulated processor.
const EACH: Duration = Duration::from_secs(60);
const KINDS: u32 = 15;

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("histories")?;
    let full = std::env::var_os("HOLDFAST_FULL").is_some();
    let (seed, count) = if full { (1, 140) } else { (1, 1) };
    // The target has no tools to share a folder with: the program is a disk.
    let program = folder.join("histories.img");
    fs::copy(image_builder::programs::build_one("qemu-tests", "histories")?, &program)?;
    let whole = OpenOptions::new().write(true).open(&program)?;
    whole.set_len(whole.metadata()?.len().next_multiple_of(1 << 20))?;
    let disk = overlay(&target::debian(&mut say)?, &folder.join("target.qcow2"))?;

    say("the target starts");
    let parts = Parts::new("histories", &folder).memory(1024).disk(&disk, Bus::Virtio, "TARGET");
    let mut guest = Guest::login(parts.disk(&program, Bus::Virtio, "PROGRAM").start()?)?;
    let limit = Duration::from_secs(60);
    guest.run("modprobe loop && mkdir -p /run/h && mount -t tmpfs -o size=400m none /run/h", limit)?;
    guest.run("cp /dev/disk/by-id/virtio-PROGRAM /run/h/histories && chmod +x /run/h/histories", limit)?;
    say(&format!("{count} of each kind"));
    let output = guest
        .run(&format!("/run/h/histories --dir /run/h --seed {seed} --count {count} 2>&1"), EACH * KINDS * count)?;
    println!("{}", output.trim());
    guest.run("umount /run/h", limit)?;
    guest.machine.cut_power();
    for file in [&disk, &program] {
        fs::remove_file(file)?;
    }
    say("done");
    Ok(())
}
