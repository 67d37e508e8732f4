//! What is read of a real Debian beside what dissect.target reads of it, record for record where both read the same source: starts in
//! systemd's journal, the login record, dpkg's database and log, apt's history. Three times: shut down in order, cut off in the middle of an
//! upgrade, and that again once e2fsck has worked the file system's own journal in, which dissect.target does not.

mod ours;
mod theirs;

use ours::Ours;
use qemu_tests::dissect::Dissect;
use qemu_tests::machine::{Bus, Parts, run};
use qemu_tests::{Result, history, target, workspace};
use std::fmt::Debug;
use std::path::Path;
use std::process::Command;
use std::time::Instant;
use theirs::Theirs;

/// Where the target's root lies on its disk, in MiB (`target::debian`).
const ROOT: (u32, u32) = (66, 2876);

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("oracles")?;
    let dissect = Dissect::installed(&mut say)?;
    let disk = folder.join("disk.img");
    run(Command::new("cp").arg("--sparse=always").arg(target::debian(&mut say)?).arg(&disk))?;
    let machine = |name: &str| Parts::new(name, &folder).disk(&disk, Bus::Virtio, "TARGET");

    say("the target starts, starts again and has a package installed, and is shut down in order");
    history::first_start(&machine("first"))?;
    history::install_package(&machine("install"))?;
    let differ = compared(&mut say, &disk, &dissect)?;
    if !differ.is_empty() {
        return Err(format!("what was closed in order is not read alike: {}", differ.join(", ")).into());
    }

    say("its power is cut in the middle of an upgrade");
    history::cut_upgrade(&machine("upgrade"))?;
    let root = folder.join("root.img");
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", disk.display())).arg(format!("of={}", root.display()));
    run(dd.args(["bs=1M", "conv=sparse", "status=none", &format!("skip={}", ROOT.0), &format!("count={}", ROOT.1)]))?;
    compared(&mut say, &root, &dissect)?;

    say("the same, with the file system's journal worked in by e2fsck");
    let replayed = folder.join("replayed.img");
    run(Command::new("cp").arg("--sparse=always").arg(&root).arg(&replayed))?;
    run(Command::new("e2fsck").args(["-y", "-E", "journal_only"]).arg(&replayed))?;
    let ours = Ours::of(&root)?;
    if ours != Ours::of(&replayed)? {
        return Err("what is read of a file system that was cut off is not what is read once e2fsck was there".into());
    }
    let differ = compared(&mut say, &replayed, &dissect)?;
    // Of the lines of dpkg's log that are about no package it makes no record, and the last one may be such a line.
    if differ.iter().any(|source| *source != LOG) {
        return Err(format!("with the journal worked in it is not read alike: {}", differ.join(", ")).into());
    }
    say("what is read is what dissect.target reads, and of a machine that was cut off more");
    Ok(())
}

/// The source of which dissect.target reads less.
const LOG: &str = "dpkg's log";

/// Tells how what is read of an image differs, and of which sources it does.
fn compared(say: &mut dyn FnMut(&str), image: &Path, dissect: &Dissect) -> Result<Vec<&'static str>> {
    let (ours, theirs) = (Ours::of(image)?, Theirs::of(image, dissect)?);
    let mut differing = Vec::new();
    let mut one = |source: &'static str, records: usize, differ: Vec<String>| {
        say(&format!("{source}: {records} records by dissect.target; {} differ", differ.len()));
        differ.iter().take(6).for_each(|d| say(&format!("    {d}")));
        if !differ.is_empty() {
            differing.push(source);
        }
    };
    one("journal", theirs.count("journal"), differences(&ours.starts, &theirs.starts));
    one("login record", theirs.count("wtmp"), differences(&ours.logins, &theirs.logins));
    one("dpkg's database", theirs.count("dpkg.status"), differences(&ours.packages, &theirs.packages));
    one(LOG, theirs.count("dpkg.log"), differences(&ours.last_line, &theirs.last_line));
    one("apt's history", theirs.count("apt.logs"), differences(&ours.transactions, &theirs.transactions));
    Ok(differing)
}

/// What one has and the other has not.
fn differences<T: PartialEq + Debug>(ours: &[T], theirs: &[T]) -> Vec<String> {
    let only = |who: &str, of: &[T], other: &[T]| {
        let missing = of.iter().filter(|record| !other.contains(record));
        missing.map(|record| format!("only {who}: {record:?}")).collect::<Vec<_>>()
    };
    [only("here", ours, theirs), only("by dissect.target", theirs, ours)].concat()
}
