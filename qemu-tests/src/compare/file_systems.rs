//! Other file systems than the input's: first and repeat captures of a root on XFS and on btrfs.
//!
//! The root's files are copied into each, with more of them; between the captures one session writes to it, and ends with an unmount.

use super::contender::{CONTENDERS, Contender};
use super::filling::Noise;
use super::input::{Input, SCALES, Scale};
use super::mount::Mounted;
use super::place::Place;
use super::process::Cost;
use super::record::{By, Record};
use super::samples::{megabytes, show};
use super::{digest, size, sizes};
use qemu_tests::Result;
use qemu_tests::machine::run;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Raised where the making of the images changes.
const RECIPE: u8 = 1;
/// The file systems, as the kernel and partclone call them. ext4 is what the other stages are about.
const KINDS: &[&str] = &["xfs", "btrfs"];
/// Who takes part: ours, the fastest of those that save files, and the one that saves blocks.
const TAKING_PART: &[&str] = &["holdfast", "partclone", "restic"];
/// Bytes that the session writes as new files, and of the added ones over again.
const WRITTEN: u64 = 100_000_000;
const OVER: u64 = 20_000_000;
const GIB: u64 = 1 << 30;
const MB: u64 = 1_000_000;

/// What was measured on one file system.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Measured {
    kind: String,
    /// Bytes in use at the first capture.
    used: u64,
    costs: Vec<Costs>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Costs {
    contender: String,
    first: Taken,
    /// The same state again.
    unchanged: Taken,
    /// After the session.
    repeat: Taken,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Taken {
    cost: Cost,
    /// Bytes by which the store grew.
    added: u64,
    /// Bytes read of the volume, as ours says.
    told: Option<u64>,
}

/// Bytes of the file system, and of the files added to the root's.
fn shape(scale: &Scale) -> (u64, u64) {
    match scale.name {
        "full" => (8 * GIB, 1500 * MB),
        _ => (3 * GIB, 100 * MB),
    }
}

/// Makes and measures all of them.
///
/// # Errors
/// Where an image cannot be made, or a contender fails.
pub(super) fn measure(scale: &Scale, folder: &Path, program: &Path, by: &By) -> Result<Record<Measured>> {
    image_builder::host::require(&["btrfs-progs", "xfsprogs"])?;
    let dir = folder.join("file-systems");
    let file = file(folder);
    let input = Input::settled(&SCALES[1])?;
    let shape = shape(scale);
    let of = format!("{RECIPE} {} {} {WRITTEN} {OVER} {shape:?} {KINDS:?}", input.facts.recipe, digest(program)?);
    let mut record = Record::taken_up(&file, &of, by);
    for kind in KINDS.iter().skip(record.rows.len()) {
        println!("== {kind}");
        if dir.exists() {
            run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&dir))?;
        }
        fs::create_dir_all(&dir)?;
        super::input::room(shape.0 + shape.1 * 4 + 6 * GIB, &dir)?;
        record.add(one(kind, shape, &input, &dir, program)?, &file)?;
    }
    record.end(&file)?;
    run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&dir))?;
    Ok(record)
}

/// Where what was measured is kept.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("file-systems.json")
}

fn one(kind: &'static str, shape: (u64, u64), input: &Input, dir: &Path, program: &Path) -> Result<Measured> {
    let image = dir.join("root.img");
    let at = dir.join("root");
    File::create(&image)?.set_len(shape.0)?;
    run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image))?;
    let to = Mounted::of(kind, &image, &at, "discard")?;
    sizes::fill(&to, &input.pristine, shape.1, dir)?;
    let used = to.used()?;
    to.unmount()?;
    let mut places = Vec::new();
    for contender in CONTENDERS.iter().filter(|c| TAKING_PART.contains(&c.name)) {
        let mut place = Place::new(&dir.join(contender.name), program)?;
        place.work = image.clone();
        place.kind = kind;
        place.prepare(contender)?;
        let first = capture(&place, contender, "first")?;
        let unchanged = capture(&place, contender, "unchanged")?;
        places.push((contender, place, first, unchanged));
    }
    session(kind, &image, &at)?;
    let mut costs = Vec::new();
    for (contender, place, first, unchanged) in places {
        let repeat = capture(&place, contender, "repeat")?;
        costs.push(Costs { contender: contender.name.to_owned(), first, unchanged, repeat });
    }
    Ok(Measured { kind: kind.to_owned(), used, costs })
}

/// What happens between the captures: new files, some of the old ones written over and some gone.
fn session(kind: &str, image: &Path, at: &Path) -> Result<()> {
    let root = Mounted::of(kind, image, at, "relatime")?;
    let mut noise = Noise::new(0x0f1e_2d3c_4b5a_6978);
    let piece = usize::try_from(MB)?;
    let new = root.path().join("srv/new");
    fs::create_dir_all(&new)?;
    for n in 0..WRITTEN / MB {
        fs::write(new.join(n.to_string()), noise.bytes(piece))?;
    }
    for n in 0..OVER / MB {
        fs::write(root.path().join(format!("srv/0/{n}")), noise.bytes(piece))?;
        let gone = root.path().join(format!("srv/0/{}", n + OVER / MB));
        fs::remove_file(gone)?;
    }
    root.unmount()
}

fn capture(place: &Place, contender: &Contender, tag: &str) -> Result<Taken> {
    let before = size(&place.store)?;
    let (cost, told) = place.save(contender, tag)?;
    let added = size(&place.store)?.saturating_sub(before);
    show(contender.name, tag, &cost, added);
    Ok(Taken { cost, added, told })
}

/// The section of the page.
pub(super) fn section(record: &Record<Measured>) -> String {
    let mut out = format!(
        "The root of the smaller input (`--scale small`) in a file system of each kind, with files of 1 MB added, a quarter of which does not \
         compress. After the first capture: the same state again; then {} MB are written as new files, {} MB of the old ones written over \
         and as much deleted, and a capture after that. It was unmounted before each. partclone saves all of it each time.\n\n\
         | | in use, GB | | first: s | store, MB | unchanged: s | read from disk, MB | after the session: s | read from disk, MB | added, MB |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        WRITTEN / MB,
        OVER / MB
    );
    for row in &record.rows {
        for c in &row.costs {
            let read = |taken: &Taken| {
                let says = taken.told.map_or(String::new(), |t| format!(" (by its own count {:.1})", megabytes(t)));
                format!("{:.2} | {:.1}{says}", taken.cost.seconds, megabytes(taken.cost.read))
            };
            let _ = writeln!(
                out,
                "| {} | {:.2} | {} | {:.2} | {:.1} | {} | {} | {:.1} |",
                row.kind,
                megabytes(row.used) / 1000.0,
                c.contender,
                c.first.cost.seconds,
                megabytes(c.first.added),
                read(&c.unchanged),
                read(&c.repeat),
                megabytes(c.repeat.added)
            );
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_has_a_line() {
        let taken = |seconds: f64, mb: u64, told| Taken {
            cost: Cost { seconds, read: mb * MB, ..Cost::default() },
            added: mb * MB,
            told,
        };
        let costs = |name: &str, told| Costs {
            contender: name.to_owned(),
            first: taken(9.0, 900, told),
            unchanged: taken(1.5, 3, told),
            repeat: taken(2.5, 120, told),
        };
        let mut record = Record::taken_up(Path::new("none"), "", &By::default());
        let costs = vec![costs("holdfast", Some(2 * MB)), costs("restic", None)];
        record.rows.push(Measured { kind: "xfs".to_owned(), used: 2_500 * MB, costs });
        let text = section(&record);
        for line in [
            "| xfs | 2.50 | holdfast | 9.00 | 900.0 | 1.50 | 3.0 (by its own count 2.0) | 2.50 | 120.0 (by its own count 2.0) | 120.0 |",
            "| xfs | 2.50 | restic | 9.00 | 900.0 | 1.50 | 3.0 | 2.50 | 120.0 | 120.0 |",
        ] {
            assert!(text.contains(line), "{text}");
        }
    }
}
