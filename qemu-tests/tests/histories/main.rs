//! What a kernel leaves alone is known from the inodes: random histories on thirty kinds of ext4, lived by the kernel of a
//! target, in which every byte that is called the same is compared, and every mutant has to be caught (`src/histories`). One of
//! each kind by default, and as many more as the mutants take; with `HOLDFAST_FULL=1`, 2,010 more (`many.rs`).
//!
//! And with the target's own root: saved before, it is saved after a session by what its inodes tell, most of it unread, and again
//! by reading all of it. Both must be the same, byte for byte; a session that is cut off must not be believed.

mod here;
mod many;
mod place;

use place::Place;
use qemu_tests::guest::Guest;
use qemu_tests::machine::{Bus, Parts, run};
use qemu_tests::{Result, target, workspace};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The target's root.
const ROOT: &str = "d0/p3";

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("histories")?;
    let base = target::debian(&mut say)?;
    let program = place::program(&folder)?;
    // Raw, so that holdfast can look at it from here.
    let disk = folder.join("target.img");
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(&base).arg(&disk))?;
    let saving = Saving::new(&folder, &disk)?;
    let first = saving.snapshot(&[])?;
    first.must("content", "no snapshot of this machine")?;

    say("the target starts");
    let parts = Parts::new("histories", &folder).disk(&disk, Bus::Virtio, "TARGET");
    let mut place = Place::start(parts, &program)?;
    let kinds = place.kinds()?;
    say(&format!("one of each of {} kinds", kinds.len()));
    println!("{}", place.live(&kinds, 1..2, true)?);
    say("they are lived");
    let limit = Duration::from_secs(60);
    let mut guest = place.leave()?;
    guest.run(SESSION, limit)?;
    guest.poweroff()?;

    say("it is saved by what its inodes tell, and once more by reading all of it");
    let told = saving.snapshot(&[])?;
    told.must("metadata", "one session since")?;
    if told.taken_over * 2 < told.taken_over + told.read {
        return Err(format!("{} bytes were taken over, and {} read: less than half", told.taken_over, told.read).into());
    }
    let whole = saving.snapshot(&["--full"])?;
    whole.must("content", "everything was asked for")?;
    let images = [saving.export(&told, "told.img")?, saving.export(&whole, "whole.img")?];
    run(Command::new("cmp").args(&images))?;
    saving.snapshot(&[])?.must("untouched", "nobody wrote")?;

    say("its power is cut: nothing is believed");
    let mut guest = Guest::login(Parts::new("cut", &folder).disk(&disk, Bus::Virtio, "TARGET").start()?)?;
    guest.run("dd if=/dev/urandom of=/var/lib/overwritten bs=4096 count=8 conv=notrunc oflag=direct", limit)?;
    guest.machine.cut_power();
    saving.snapshot(&[])?.must("content", "not unmounted")?;
    for file in [disk].iter().chain(&images) {
        fs::remove_file(file)?;
    }
    fs::remove_dir_all(saving.store)?;
    if std::env::var_os("HOLDFAST_FULL").is_some() {
        many::live(&base, &kinds, &folder, &mut say)?;
    }
    say("done");
    Ok(())
}

/// What is done with the target while it runs: with and without traces in inodes.
const SESSION: &str = "dd if=/dev/urandom of=/var/lib/overwritten bs=4096 count=8 conv=notrunc && \
    dd if=/dev/zero of=/swap bs=1M count=24 2>&1 && chmod 600 /swap && mkswap /swap && swapon /swap && \
    cp /usr/bin/dpkg /root/copy && rm /usr/share/common-licenses/GPL-1 && chmod o-r /etc/hosts && sync";

/// Saving the disk from here.
struct Saving {
    program: PathBuf,
    disk: PathBuf,
    store: PathBuf,
}

/// A snapshot, and how the target's root was compared.
struct Saved {
    id: String,
    volume: String,
    by: String,
    why: String,
    read: u64,
    taken_over: u64,
}

impl Saved {
    fn must(&self, by: &str, why: &str) -> Result<()> {
        println!("{}: by {} ({}), {} read, {} taken over", self.volume, self.by, self.why, self.read, self.taken_over);
        match self.by == by && self.why.contains(why) {
            true => Ok(()),
            false => {
                Err(format!("{} was compared by {} ({}), not by {by} ({why})", self.volume, self.by, self.why).into())
            }
        }
    }
}

impl Saving {
    fn new(folder: &Path, disk: &Path) -> Result<Self> {
        let program = image_builder::programs::build_one("holdfast", "holdfast")?;
        let saving = Self { program, disk: disk.to_path_buf(), store: folder.join("store") };
        run(Command::new(&saving.program).args(["store", "init"]).arg(&saving.store))?;
        Ok(saving)
    }

    /// Takes a snapshot; tells of the ext4 of the target's root.
    fn snapshot(&self, more: &[&str]) -> Result<Saved> {
        let mut command = Command::new(&self.program);
        command.arg("snapshot").arg(&self.disk).arg("--store").arg(&self.store).arg("--json").args(more);
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        let told: Value = serde_json::from_slice(&output.stdout)?;
        let volumes = told["volumes"].as_array().ok_or("it does not tell of volumes")?;
        let root = volumes.iter().find(|v| v["volume"] == ROOT).ok_or("it does not tell of the root")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64().unwrap_or_default();
        Ok(Saved {
            id: text(&told["snapshot"]),
            volume: ROOT.to_owned(),
            by: text(&root["by"]),
            why: text(&root["why"]),
            read: number(&root["read"]),
            taken_over: number(&root["taken_over"]),
        })
    }

    fn export(&self, saved: &Saved, name: &str) -> Result<PathBuf> {
        let file = self.store.with_file_name(name);
        let mut command = Command::new(&self.program);
        command.args(["export", &saved.id, "--only", &saved.volume, "-o"]).arg(&file).arg("--store").arg(&self.store);
        run(&mut command)?;
        Ok(file)
    }
}
