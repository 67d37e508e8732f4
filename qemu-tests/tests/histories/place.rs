//! A target in which histories are lived.

use qemu_tests::Result;
use qemu_tests::guest::Guest;
use qemu_tests::machine::{Bus, Parts};
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a history may take on an emulated processor.
const EACH: Duration = Duration::from_secs(60);
/// How long anything else may take.
const LIMIT: Duration = Duration::from_secs(60);
/// Kinds of file systems that there are.
const KINDS: usize = 30;

/// The program that lives them, as a disk: the target has no tools to share a folder with.
pub(crate) fn program(folder: &Path) -> Result<PathBuf> {
    let program = folder.join("histories.img");
    fs::copy(image_builder::programs::build_one("qemu-tests", "histories")?, &program)?;
    let whole = OpenOptions::new().write(true).open(&program)?;
    whole.set_len(whole.metadata()?.len().next_multiple_of(1 << 20))?;
    Ok(program)
}

/// It runs, and the program lies in its memory.
pub(crate) struct Place(Guest);

impl Place {
    /// Starts a target from its disk, with the program beside it.
    pub(crate) fn start(parts: Parts, program: &Path) -> Result<Self> {
        let parts = parts.memory(1024).disk(program, Bus::Virtio, "PROGRAM");
        let mut guest = Guest::login(parts.start()?)?;
        // Hundreds of mounts, and what cannot be done with some kinds: each with its messages on the serial line.
        guest.run("dmesg --console-level crit", LIMIT)?;
        guest.run("modprobe -a loop fuse && mkdir -p /run/h && mount -t tmpfs -o size=200m none /run/h", LIMIT)?;
        guest.run("cp /dev/disk/by-id/virtio-PROGRAM /run/h/histories && chmod +x /run/h/histories", LIMIT)?;
        Ok(Self(guest))
    }

    /// The names of the kinds.
    pub(crate) fn kinds(&mut self) -> Result<Vec<String>> {
        let said = self.0.run("/run/h/histories --kinds", LIMIT)?;
        let kinds: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
        match kinds.len() {
            KINDS => Ok(kinds),
            other => Err(format!("there are {other} kinds, not {KINDS}").into()),
        }
    }

    /// Lives histories of these kinds; gives what the program says of them.
    pub(crate) fn live(&mut self, kinds: &[String], seeds: Range<u32>, mutants: bool) -> Result<String> {
        let count = seeds.end - seeds.start;
        let command = format!(
            "/run/h/histories --dir /run/h --seed {} --count {count} --kind {}{} 2>&1",
            seeds.start,
            kinds.join(","),
            if mutants { " --mutants" } else { "" }
        );
        // Mutants take up to twelve rounds more.
        let rounds = count + if mutants { 12 } else { 0 };
        let said = self.0.run(&command, EACH * rounds * u32::try_from(kinds.len())?)?;
        Ok(said.trim().to_owned())
    }

    /// Takes the program out of it again.
    pub(crate) fn leave(mut self) -> Result<Guest> {
        self.0.run("umount /run/h", LIMIT)?;
        Ok(self.0)
    }
}
