//! Cost against size: the same system on file systems of different size, and with more and more files.
//!
//! Each image is made, saved by every contender, saved again, lives one session with the same change, is saved once more, and is
//! deleted.

use super::chart::{self, Panel};
use super::contender::{CONTENDERS, Contender};
use super::filling::Noise;
use super::input::{Input, SCALES, Scale};
use super::mount::Mounted;
use super::place::Place;
use super::process::Cost;
use super::record::{By, Record};
use super::samples::{megabytes, show};
use super::session::Session;
use super::{digest, size};
use qemu_tests::Result;
use qemu_tests::machine::run;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Raised where the making of the images changes.
const RECIPE: u8 = 1;
/// Who takes part: ours, and the fastest of those that save files and of those that save blocks.
const TAKING_PART: &[&str] = &["holdfast", "partclone", "restic"];
/// MB that a session writes.
const WRITTEN: u32 = 100;
const GIB: u64 = 1 << 30;
const MB: u64 = 1_000_000;
/// Bytes of disk that an image needs with nothing added, with its stores.
const DISK: u64 = 6_000_000_000;
/// Bytes of each of the files that are added to the system's own.
const FILE: usize = 1_000_000;
/// Files in a folder.
const FOLDER: u64 = 100;

/// An image to be made: bytes of its file system, and of the files added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Point {
    volume: u64,
    added: u64,
}

/// What was measured on one image.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Measured {
    point: Point,
    /// Bytes in use.
    used: u64,
    costs: Vec<Costs>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Costs {
    contender: String,
    /// The same state again.
    unchanged: Cost,
    /// After a session.
    repeat: Cost,
    /// Bytes read of the volume in both, as ours says.
    told: Option<(u64, u64)>,
}

/// The size that stays the same while the other changes comes in both series.
fn points(scale: &Scale) -> Vec<Point> {
    let (volumes, added, common): (&[u64], &[u64], u64) = match scale.name {
        "full" => (&[16, 128, 1024], &[2000 * MB, 5000 * MB], 128),
        _ => (&[4, 16], &[200 * MB], 16),
    };
    let by_volume = volumes.iter().map(|gib| Point { volume: gib * GIB, added: 0 });
    by_volume.chain(added.iter().map(|added| Point { volume: common * GIB, added: *added })).collect()
}

/// Makes and measures all images.
///
/// # Errors
/// Where an image cannot be made, or a contender fails.
pub(super) fn measure(scale: &Scale, folder: &Path, program: &Path, by: &By) -> Result<Record<Measured>> {
    let dir = folder.join("sizes");
    let file = file(folder);
    // The small root: what grows is around it.
    let input = Input::settled(&SCALES[1])?;
    let points = points(scale);
    let of = format!("{RECIPE} {} {} {WRITTEN} {points:?}", input.facts.recipe, digest(program)?);
    let mut record = Record::taken_up(&file, &of, by);
    for (n, point) in points.iter().enumerate().skip(record.rows.len()) {
        println!("== size {} of {}: {} GiB, {} MB added", n + 1, points.len(), point.volume / GIB, point.added / MB);
        if dir.exists() {
            run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&dir))?;
        }
        fs::create_dir_all(&dir)?;
        super::input::room(DISK + point.added * 3, &dir)?;
        record.add(one(*point, &input, &dir, program)?, &file)?;
    }
    record.end(&file)?;
    run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&dir))?;
    Ok(record)
}

/// Where what was measured is kept.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("sizes.json")
}

fn one(point: Point, input: &Input, dir: &Path, program: &Path) -> Result<Measured> {
    let image = dir.join("root.img");
    let used = make(point, &input.pristine, &image, dir)?;
    let mut places = Vec::new();
    for contender in CONTENDERS.iter().filter(|c| TAKING_PART.contains(&c.name)) {
        let mut place = Place::new(&dir.join(contender.name), program)?;
        place.work = image.clone();
        place.prepare(contender)?;
        capture(&place, contender, "first")?;
        let unchanged = capture(&place, contender, "unchanged")?;
        places.push((contender, place, unchanged));
    }
    let mut session = Session::start(&image, None, dir)?;
    session.run(&format!("dd if=/dev/urandom of=/home/user/new bs=1000000 count={WRITTEN} status=none"))?;
    session.end()?;
    let mut costs = Vec::new();
    for (contender, place, unchanged) in places {
        let repeat = capture(&place, contender, "repeat")?;
        let told = unchanged.1.zip(repeat.1);
        costs.push(Costs { contender: contender.name.to_owned(), unchanged: unchanged.0, repeat: repeat.0, told });
    }
    Ok(Measured { point, used, costs })
}

fn capture(place: &Place, contender: &Contender, tag: &str) -> Result<(Cost, Option<u64>)> {
    let before = size(&place.store)?;
    let saved = place.save(contender, tag)?;
    show(contender.name, tag, &saved.0, size(&place.store)?.saturating_sub(before));
    Ok(saved)
}

/// A file system of that size with the root's files in it, and more; gives the bytes in use.
fn make(point: Point, root: &Path, image: &Path, dir: &Path) -> Result<u64> {
    File::create(image)?.set_len(point.volume)?;
    super::input::format(image)?;
    let to = Mounted::writable(image, &dir.join("root"), "discard")?;
    fill(&to, root, point.added, dir)?;
    let used = to.used()?;
    to.unmount()?;
    Ok(used)
}

/// Copies a root's files into a file system, and adds so many bytes of others.
///
/// # Errors
/// What the system says.
pub(super) fn fill(to: &Mounted, root: &Path, added: u64, dir: &Path) -> Result<()> {
    let from = Mounted::read_only(root, &dir.join("from"))?;
    run(Command::new("cp").args(["-a", "-T"]).arg(from.path()).arg(to.path()))?;
    from.unmount()?;
    let mut noise = Noise::new(0x1234_5678_9abc_def1);
    for n in 0..added / FILE as u64 {
        let folder = to.path().join(format!("srv/{}", n / FOLDER));
        fs::create_dir_all(&folder)?;
        // A quarter of it does not compress.
        let mut bytes = noise.bytes(FILE / 4);
        bytes.resize(FILE, b' ');
        fs::write(folder.join(n.to_string()), bytes)?;
    }
    Ok(())
}

/// The section of the page; the drawings lie in this folder beside it.
pub(super) fn section(record: &Record<Measured>, folder: &str) -> String {
    let mut out = format!(
        "The root of the smaller input (`--scale small`) in file systems of different size, and in one of the same size with \
         files of 1 MB added, a quarter of which does not compress. After the first capture: the same state again, then a \
         session in which {WRITTEN} MB are written, and a capture after it. What ours says it read of the volume counts \
         holes of the image too, which the kernel does not read from the disk.\n\n\
         ![repeat captures against the size of the file system]({folder}/{VOLUME})\n\n\
         ![repeat captures against the bytes in use]({folder}/{USED})\n\n\
         | file system, GB | in use, GB | | unchanged: s | read from disk, MB | after a session: s | read from disk, MB |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n"
    );
    for row in &record.rows {
        for costs in &row.costs {
            let cell = |cost: &Cost, told: Option<u64>| {
                let says =
                    told.map_or(String::new(), |t| format!(" (by its own count of the volume {:.1})", megabytes(t)));
                format!("{:.2} | {:.1}{says}", cost.seconds, megabytes(cost.read))
            };
            let (unchanged, repeat) = (costs.told.map(|t| t.0), costs.told.map(|t| t.1));
            let _ = writeln!(
                out,
                "| {:.0} | {:.2} | {} | {} | {} |",
                megabytes(row.point.volume) / 1000.0,
                megabytes(row.used) / 1000.0,
                costs.contender,
                cell(&costs.unchanged, unchanged),
                cell(&costs.repeat, repeat)
            );
        }
    }
    out.push('\n');
    out
}

/// File names of the drawings.
const VOLUME: &str = "volume.svg";
const USED: &str = "used.svg";

/// The drawings with their names.
pub(super) fn drawings(record: &Record<Measured>) -> Vec<(&'static str, String)> {
    let by_volume = |row: &&Measured| row.point.added == 0;
    // The size at which files were added.
    let common = record.rows.iter().find(|r| r.point.added > 0).map(|r| r.point.volume);
    let mut by_used: Vec<&Measured> = record.rows.iter().filter(|r| Some(r.point.volume) == common).collect();
    by_used.sort_by_key(|r| r.used);
    let gigabytes = |bytes: u64| format!("{:.1}", megabytes(bytes) / 1000.0).replace(".0", "");
    let volumes: Vec<&Measured> = record.rows.iter().filter(by_volume).collect();
    vec![
        (VOLUME, drawn(&volumes, "GB of the file system", |r| gigabytes(r.point.volume))),
        (USED, drawn(&by_used, "GB in use", |r| gigabytes(r.used))),
    ]
}

fn drawn(rows: &[&Measured], across: &str, place: impl Fn(&Measured) -> String) -> String {
    let places: Vec<String> = rows.iter().map(|r| place(r)).collect();
    let panel = |title: &str, figure: fn(&Costs) -> f64| Panel {
        title: title.to_owned(),
        least: 0.1,
        lines: TAKING_PART
            .iter()
            .map(|name| {
                let of = |row: &&Measured| row.costs.iter().find(|c| c.contender == *name).map(figure);
                ((*name).to_owned(), rows.iter().map(of).collect())
            })
            .collect(),
    };
    let panels = [
        panel("unchanged: seconds", |c| c.unchanged.seconds),
        panel("unchanged: read from disk, MB", |c| megabytes(c.unchanged.read)),
        panel("after a session: seconds", |c| c.repeat.seconds),
        panel("after a session: read from disk, MB", |c| megabytes(c.repeat.read)),
    ];
    chart::svg(&places, across, &panels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_drawings_have_the_common_size() {
        let rows: Vec<Measured> = points(&SCALES[0])
            .into_iter()
            .map(|point| Measured {
                point,
                used: 1000 * MB + point.added,
                costs: vec![Costs {
                    contender: "restic".to_owned(),
                    unchanged: Cost { seconds: 1.0, ..Cost::default() },
                    repeat: Cost { seconds: 2.0, ..Cost::default() },
                    told: None,
                }],
            })
            .collect();
        assert!(points(&SCALES[0]).iter().enumerate().all(|(n, p)| !points(&SCALES[0])[..n].contains(p)));
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::taken_up(&dir.path().join("none"), "", &By::default());
        record.rows = rows;
        let drawings = drawings(&record);
        for (name, drawing) in &drawings {
            assert!(drawing.matches("<circle").count() >= 3 * 4, "{name}: {drawing}");
            assert!(section(&record, "here").contains(&format!("(here/{name})")));
        }
        assert!(drawings[1].1.contains(">6<"), "6 GB in use: {}", drawings[1].1);
    }
}
