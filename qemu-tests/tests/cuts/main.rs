//! Power cuts in the middle of a rollback: a real target and the rescue in QEMU, cut 200 times (`HOLDFAST_CUTS=N`) at places drawn by lot,
//! all over the writing. Until it is finished or undone, nothing starts from the disk (one cut in twenty is tried on a machine), it is said
//! what is pending and both ways out are offered; one of them is gone, in turn, by the program on this computer, and one time in twenty by
//! keystrokes in the rescue itself. After that every byte of the disk is what an uncut rollback leaves, or what was there before.
//!
//! The rescue is started and brought to its first write once; its state is kept, so that each cut begins there. What was made and which
//! cuts are done stays in `target/qemu/cuts`: a run that was interrupted goes on. A cut after which anything was wrong stays too, and fails
//! every run until that folder is removed. After all 200 it is.

mod bench;
mod point;
mod record;

use bench::{Bench, Way};
use point::Point;
use qemu_tests::{Result, rescue, workspace};
use record::{Done, Record};
use std::fs;
use std::time::Instant;

/// How many cuts, where nothing is said.
const CUTS: u64 = 200;
/// Of so many cuts one is gone on with in the rescue, and another one is tried to be started.
const SAMPLE: u64 = 20;

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let wanted = match std::env::var("HOLDFAST_CUTS") {
        Ok(n) => n.parse().map_err(|e| format!("HOLDFAST_CUTS={n:?}: {e}"))?,
        Err(_) => CUTS,
    };
    let folder = workspace::cache()?.join("cuts");
    let image = rescue::image()?;
    let (bench, mut record) = Bench::ready(&folder, &image, &mut say)?;
    say(&format!(
        "uncut it writes {} bytes in {} requests, in {} ms, and {} bytes of the disk are others then",
        record.uncut.bytes,
        record.uncut.requests,
        record.uncut.millis,
        bench.differs()
    ));
    let due: Vec<u64> = (0..wanted).filter(|n| record.done.iter().all(|d| d.number != *n)).collect();
    say(&format!("{wanted} cuts, {} of them to be done", due.len()));
    for number in due {
        let done = one(&bench, &record, number).map_err(|e| format!("cut {number}: {e}"))?;
        say(&done.to_string());
        record.done.push(done);
        record.keep(&folder)?;
    }
    record.sum_up(wanted, &mut say)?;
    if wanted < CUTS {
        say(&format!("done; what was made stays in {} for more cuts", folder.display()));
        return Ok(());
    }
    fs::remove_dir_all(folder)?;
    say("done");
    Ok(())
}

/// One cut, and what comes after it.
fn one(bench: &Bench, record: &Record, number: u64) -> Result<Done> {
    let began = Instant::now();
    let point = Point::of(number, &record.uncut);
    let written = bench.cut(&point)?;
    // Each way as often in the rescue as in the program.
    let way = if (number + number / SAMPLE).is_multiple_of(2) { Way::Finish } else { Way::Undo };
    let fenced = bench.fences()?;
    let gone_on = || -> Result<String> {
        if fenced.is_empty() {
            return bench.is_whole();
        }
        if number % SAMPLE == 7 {
            bench.refuses(number / SAMPLE, &fenced)?;
        }
        if number % SAMPLE == 13 {
            bench.by_keystrokes(way)?;
            return Ok(format!("{way:?}, in the rescue"));
        }
        bench.by_the_program(way, &fenced)?;
        Ok(format!("{way:?}"))
    };
    // Whatever goes wrong after a cut is kept, and not tried until it goes well.
    let seen = gone_on().inspect_err(|e| bench.found(number, &point, &e.to_string()))?;
    Ok(Done { number, point, written, fenced, seen, seconds: began.elapsed().as_secs_f64() })
}
