//! An inspection of a large root with a year of journals, beside others that read the same: `journalctl`, which lists the starts in the files
//! of the mounted image, and dissect.target, which reads the image as ours does.

use super::input::{Input, SCALES, Scale};
use super::mount::Mounted;
use super::process::{self, Cost};
use super::record::{By, Record};
use super::samples::{megabytes, show};
use super::{LIMIT, OURS, digest, journals, size};
use qemu_tests::Result;
use qemu_tests::dissect::Dissect;
use qemu_tests::machine::run;
use serde::{Deserialize, Serialize};
use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Raised where the making of the image changes.
const RECIPE: u8 = 2;
/// That of the input's root.
const MACHINE_ID: &str = "5b0c8f3e5d6a4f0e9c0f8a7b6c5d4e40";
/// Who else takes part.
const JOURNALCTL: &str = "journalctl";
const DISSECT: &str = "dissect.target";
/// The same, with the journal, of which it makes records of all entries of the year where an inspection needs the last starts: it is stopped
/// after so many seconds.
const DISSECT_ALL: &str = "dissect.target, journal too";
const STOPPED: u32 = 200;
/// All of them, in the order of the first round.
const ALL: [&str; 4] = [OURS, JOURNALCTL, DISSECT, DISSECT_ALL];
const GB: u64 = 1_000_000_000;

/// How large it all is.
#[derive(Debug)]
struct Size {
    /// Bytes of the file system.
    volume: u64,
    /// Days of journals, a start in each, and how many lines services write on each.
    days: u32,
    lines: u32,
    /// Bytes of disk that it takes.
    disk: u64,
}

fn sized(scale: &Scale) -> Size {
    match scale.name {
        "full" => Size { volume: 100 * GB, days: 365, lines: 4_000, disk: 4 * GB },
        _ => Size { volume: 10 * GB, days: 30, lines: 2_000, disk: 2 * GB },
    }
}

/// One run of one of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Looked {
    who: String,
    cost: Cost,
    /// What it gave: starts, or records.
    found: u64,
    /// Journal files, and their bytes.
    journals: (usize, u64),
    /// Bytes of the file system.
    volume: u64,
}

/// Makes the image and measures all of them on it.
///
/// # Errors
/// Where the image cannot be made, one of them fails, or ours tells another newest start than journalctl.
pub(super) fn measure(scale: &Scale, rounds: usize, folder: &Path, program: &Path, by: &By) -> Result<Record<Looked>> {
    let dir = folder.join("inspection");
    let file = file(folder);
    let input = Input::settled(&SCALES[1])?;
    let dissect = Dissect::installed(&mut |text| println!("{text}"))?;
    let sized = sized(scale);
    let of = format!("{RECIPE} {} {} {} {sized:?} {rounds}", input.facts.recipe, digest(program)?, Dissect::version());
    let mut record: Record<Looked> = Record::taken_up(&file, &of, by);
    let (image, made) = (dir.join("root.img"), dir.join("made"));
    if !fs::read_to_string(&made).is_ok_and(|m| m == of) {
        if dir.exists() {
            run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&dir))?;
        }
        fs::create_dir_all(&dir)?;
        super::input::room(sized.disk, &dir)?;
        println!("input: a root of {} GB with {} days of journals", sized.volume / GB, sized.days);
        make(&sized, &input.pristine, &image, &dir)?;
        fs::write(&made, &of)?;
    }
    let bench = Bench { image, dir: dir.clone(), program: program.to_path_buf(), dissect, volume: sized.volume };
    // Who goes first changes from round to round.
    let turns = (0..rounds).flat_map(|round| (0..ALL.len()).map(move |turn| (round, (turn + round) % ALL.len())));
    for (round, who) in turns.skip(record.rows.len()) {
        let who = ALL[who];
        // What takes long is run once.
        let known = record.rows.iter().find(|r| r.who == who && r.cost.seconds > LIMIT).cloned();
        println!("== inspection: round {} of {rounds}: {who}", round + 1);
        let looked = known.map_or_else(|| bench.run(who), Ok)?;
        record.add(looked, &file)?;
    }
    record.end(&file)?;
    run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&dir))?;
    Ok(record)
}

/// Where what was measured is kept.
pub(super) fn file(folder: &Path) -> PathBuf {
    folder.join("inspection.json")
}

/// A file system of that size with the root's files in it, and the journals.
fn make(sized: &Size, root: &Path, image: &Path, dir: &Path) -> Result<()> {
    File::create(image)?.set_len(sized.volume)?;
    super::input::format(image)?;
    // Inode tables are left alone that nothing lies in.
    let to = Mounted::writable(image, &dir.join("root"), "noinit_itable")?;
    let from = Mounted::read_only(root, &dir.join("from"))?;
    run(Command::new("cp").args(["-a", "-T"]).arg(from.path()).arg(to.path()))?;
    from.unmount()?;
    let journals = to.path().join("var/log/journal");
    fs::remove_dir_all(&journals)?;
    journals::write(&journals.join(MACHINE_ID), MACHINE_ID, &dir.join("room"), sized.days, sized.lines)?;
    to.unmount()
}

/// What is measured on.
struct Bench {
    image: PathBuf,
    dir: PathBuf,
    program: PathBuf,
    dissect: Dissect,
    volume: u64,
}

impl Bench {
    fn run(&self, who: &str) -> Result<Looked> {
        let mounted = Mounted::read_only(&self.image, &self.dir.join("root"))?;
        let folder = mounted.path().join("var/log/journal").join(MACHINE_ID);
        let journals = (fs::read_dir(&folder)?.count(), size(&folder)?);
        let newest = newest(&folder)?;
        let line = match who {
            JOURNALCTL => format!("exec journalctl --no-pager --list-boots -D {}", folder.display()),
            DISSECT | DISSECT_ALL => {
                let functions = if who == DISSECT { FUNCTIONS.to_owned() } else { format!("{FUNCTIONS},journal") };
                let (query, image) = (self.dissect.query().display(), self.image.display());
                format!("{{ timeout {STOPPED} '{query}' -q -j -f {functions} '{image}' || [ $? = 124 ]; }} | wc -l")
            }
            _ => format!("exec '{}' inspect '{}' --json", self.program.display(), self.image.display()),
        };
        // Only journalctl needs it mounted.
        let mounted = if who == JOURNALCTL {
            Some(mounted)
        } else {
            mounted.unmount()?;
            None
        };
        let prints = self.dir.join(who);
        let mut shell = Command::new("bash");
        shell.args(["-e", "-o", "pipefail", "-c", &line]).env("TZ", "UTC");
        let cost = process::measure(&mut shell, &self.dir, &prints).map_err(|e| format!("`{line}` {e}"))?;
        if let Some(mounted) = mounted {
            mounted.unmount()?;
        }
        show(who, "inspection", &cost, 0);
        let said = fs::read_to_string(&prints)?;
        let found = match who {
            JOURNALCTL => said.lines().filter(|l| l.contains(" UTC")).count() as u64,
            DISSECT | DISSECT_ALL => said.trim().parse()?,
            _ => starts(&said, &newest)?,
        };
        Ok(Looked { who: who.to_owned(), cost, found, journals, volume: self.volume })
    }
}

/// Functions of dissect.target that read what an inspection reads, but for the journal.
const FUNCTIONS: &str = "wtmp,dpkg.status,dpkg.log,apt.logs";

/// The newest start that journalctl knows.
fn newest(folder: &Path) -> Result<String> {
    let out = Command::new("journalctl").args(["-q", "-n", "1", "-o", "json", "-D"]).arg(folder).output()?;
    let entry: serde_json::Value = serde_json::from_slice(&out.stdout)?;
    Ok(entry["_BOOT_ID"].as_str().ok_or("journalctl tells no start")?.to_owned())
}

/// The starts that ours tells, of which the first is to be the newest.
fn starts(said: &str, newest: &str) -> Result<u64> {
    let says: serde_json::Value = serde_json::from_str(said)?;
    let evidence = says["systems"][0]["evidence"].as_array().ok_or("no system was found")?;
    let boots: Vec<_> =
        evidence.iter().filter(|e| e["id"].as_str().is_some_and(|id| id.starts_with("boot:"))).collect();
    let first = boots.first().and_then(|b| b["says"].as_str()).unwrap_or_default();
    if !first.starts_with(&format!("the start {}", newest.get(..8).unwrap_or(newest))) {
        return Err(format!("the newest start is {newest}, and not: {first}").into());
    }
    Ok(boots.len() as u64)
}

/// The middle of a figure of one of them.
fn median(record: &Record<Looked>, who: &str, figure: impl Fn(&Cost) -> f64) -> Option<f64> {
    let mut values: Vec<f64> = record.rows.iter().filter(|r| r.who == who).map(|r| figure(&r.cost)).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// What is wanted of ours: seconds of processor time, megabytes of memory, and how many times as fast it is as dissect.target.
pub(super) fn reached(record: &Record<Looked>) -> (Option<f64>, Option<f64>, Option<f64>) {
    let seconds = |who| median(record, who, |cost| cost.seconds);
    let faster = seconds(DISSECT_ALL).zip(seconds(OURS)).map(|(theirs, ours)| theirs / ours);
    (median(record, OURS, |cost| cost.cpu), median(record, OURS, |cost| megabytes(cost.memory)), faster)
}

/// The section of the page.
pub(super) fn section(record: &Record<Looked>) -> String {
    let Some(Looked { journals: (files, bytes), volume, .. }) = record.rows.first() else { return String::new() };
    let mut out = format!(
        "The root of the smaller input (`--scale small`) in an ext4 of {:.0} GB with {files} journal files, {:.0} MB, written by systemd's own \
         library: a start a day, the last one cut off. `holdfast inspect` reads the image, and the newest files of its journal only; {} \
         reads the image too, all records of what an inspection reads (`{FUNCTIONS}`), without the journal and with it, of which it makes records of every \
         entry (stopped after {STOPPED} s); `journalctl --list-boots` has the image mounted, and lists \
         all starts. Each is the median of the rounds; what took more than {LIMIT:.0} s was run once.\n\n\
         | | seconds | processor s | peak memory, MB | read from disk, MB | all reads, MB | found |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
        megabytes(*volume) / 1000.0,
        megabytes(*bytes),
        Dissect::version().replace("==", " "),
    );
    for (who, what) in [(OURS, "starts"), (JOURNALCTL, "starts"), (DISSECT, "records"), (DISSECT_ALL, "records")] {
        let figure = |figure: fn(&Cost) -> f64| median(record, who, figure).unwrap_or_default();
        let Some(found) = record.rows.iter().find(|r| r.who == who).map(|r| r.found) else { continue };
        let _ = writeln!(
            out,
            "| {who} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} | {found} {what} |",
            figure(|c| c.seconds),
            figure(|c| c.cpu),
            figure(|c| megabytes(c.memory)),
            figure(|c| megabytes(c.read)),
            figure(|c| megabytes(c.asked)),
        );
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_has_to_tell_the_newest_start() {
        let said = r#"{"systems":[{"evidence":[{"id":"ext:1","says":"x"},{"id":"boot:1","says":"the start 0123abcd (..)"},
            {"id":"boot:2","says":"the start 99999999 (..)"}]}]}"#;
        assert_eq!(starts(said, "0123abcd0000").unwrap(), 2);
        assert!(starts(said, "99999999aaaa").is_err());
    }

    #[test]
    fn the_section_has_a_row_for_each() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = Record::taken_up(&dir.path().join("none"), "", &By::default());
        for (who, seconds) in [(OURS, 0.5), (JOURNALCTL, 2.0), (DISSECT_ALL, 100.0), (OURS, 0.4), (OURS, 9.0)] {
            let cost = Cost { seconds, cpu: seconds, memory: 50_000_000, ..Cost::default() };
            record.rows.push(Looked { who: who.to_owned(), cost, found: 3, journals: (120, 2 * GB), volume: 100 * GB });
        }
        let text = section(&record);
        assert!(text.contains("ext4 of 100 GB with 120 journal files, 2000 MB"), "{text}");
        assert!(
            text.contains("| holdfast | 0.50 |") && text.contains("| dissect.target, journal too | 100.00 |"),
            "{text}"
        );
        assert_eq!(reached(&record), (Some(0.5), Some(50.0), Some(200.0)));
    }
}
