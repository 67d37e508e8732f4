//! The memory budgets: the first screen is up in 256 MB, and a volume of 100 GB is saved and taken back in 384 MB.
//!
//! What grows with a volume is the map, the index, the list of used ranges and what a write-back remembers. `HOLDFAST_FULL=1`
//! writes a block into every cell of the store's grid and so makes them as large as a full volume of that size does, as long as
//! its files lie in one piece per cell; by default every eighth cell has one. The bytes themselves are few either way, since each
//! goes through an emulated processor twice: how many there are changes the time, not the memory.

use qemu_tests::large::{self, Large};
use qemu_tests::machine::{Bus, Parts, overlay};
use qemu_tests::rescue::{Session, must};
use qemu_tests::{Result, rescue, target, workspace};
use std::fs;
use std::time::{Duration, Instant};

/// How long saving or taking back may take: 800,000 chunks on an emulated processor.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Memory of the machine on which only the first screen must come, in MiB.
const LOOK: u32 = 256;

fn main() -> Result<()> {
    let folder = workspace::scratch("memory")?;
    let done = scenario(&folder);
    // Gigabytes; the consoles stay.
    for name in ["holdfast.img", "large.img", "stick.qcow2", "small-stick.qcow2", "small.qcow2"] {
        let _ = fs::remove_file(folder.join(name));
    }
    done
}

fn scenario(folder: &std::path::Path) -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    // A copy: the sticks are overlays of it, and whatever else runs may build it anew meanwhile.
    let image = folder.join("holdfast.img");
    fs::copy(rescue::image()?, &image)?;

    say(&format!("the first screen, in {LOOK} MiB"));
    let small = overlay(&target::debian(&mut say)?, &folder.join("small.qcow2"))?;
    let stick = rescue::stick(&image, &folder.join("small-stick.qcow2"))?;
    let parts = Parts::new("look", folder).memory(LOOK).disk(&stick, Bus::Usb, "STICK");
    let session = Session::start(&parts.disk(&small, Bus::Virtio, "TARGET"))?;
    must(&session.screen(), &["Debian GNU/Linux"])?;
    session.poweroff()?;

    let full = std::env::var_os("HOLDFAST_FULL").is_some();
    let step = if full { large::CELL } else { 8 * large::CELL };
    say("making a volume of 100 GiB");
    let large = Large::make(folder, step)?;
    let before = large.used()?;
    say(&format!(
        "{} ranges, {} MB in use, in {} of {} cells; {} MB on this disk",
        before.ranges,
        before.bytes / 1_000_000,
        before.cells,
        large::SIZE / large::CELL,
        large::on_disk(&large.disk)? / 1_000_000
    ));
    let expected = large::SIZE / step / 10 * 9;
    if before.cells < expected {
        return Err(
            format!("only {} cells are in use, {expected} were to be: nothing would be shown", before.cells).into()
        );
    }
    let stick = rescue::stick(&image, &folder.join("stick.qcow2"))?;
    let parts = |name: &str| {
        Parts::new(name, folder).memory(rescue::MEMORY).disk(&stick, Bus::Usb, "STICK").disk(
            &large.disk,
            Bus::Virtio,
            "LARGE",
        )
    };

    say(&format!("saving it, in {} MiB", rescue::MEMORY));
    let mut session = Session::start(&parts("save"))?;
    session.patience = PATIENCE;
    must(&session.screen(), &["Debian GNU/Linux"])?;
    say("the first screen is up");
    println!("{}", session.snapshot()?);
    say("saved");
    calm(session)?;
    same(&before, &large.used()?, "saving changed the volume")?;

    say("changing it");
    large.change()?;
    let changed = large.used()?;
    if changed == before {
        return Err("the volume did not change".into());
    }

    say(&format!("taking it back, in {} MiB", rescue::MEMORY));
    let mut session = Session::start(&parts("take-back"))?;
    session.patience = PATIENCE;
    println!("{}", session.screen());
    println!("{}", session.plan_rollback()?);
    say("the plan is shown");
    println!("{}", session.approve("ROLLBACK")?);
    say("taken back");
    calm(session)?;

    large.check()?;
    same(&before, &large.used()?, "the volume is not what it was")?;
    say(&format!("the volume is what it was; the stick has {} MB", large::on_disk(&stick)? / 1_000_000));
    Ok(())
}

/// Powers off, and looks for signs that memory ran out on the way. The kernel's own lines stay off the console; what shows is
/// that a process died of it: an engine that dies leaves no end of the work to wait for, a parser is said to have been killed.
fn calm(session: Session) -> Result<()> {
    let seen = session.transcript().to_lowercase();
    session.poweroff()?;
    match ["out of memory", "was killed", "cannot allocate", "every byte is saved"].iter().find(|w| seen.contains(**w))
    {
        None => Ok(()),
        Some(w) => Err(format!("the console says {w:?}").into()),
    }
}

fn same(before: &large::Used, now: &large::Used, what: &str) -> Result<()> {
    if before == now { Ok(()) } else { Err(format!("{what}: {before:?} became {now:?}").into()) }
}
