//! `docs/benchmarks.md`, all of it made from what was measured.

use super::contender::{CONTENDERS, FILE, HOST_PACKAGES, Source};
use super::input::{Facts, Scale};
use super::record::Record;
use super::samples::{Measure, Samples, Spread, megabytes};
use super::{LIMIT, OURS, change, file_systems, inspection, roots, sizes, targets};
use qemu_tests::{Result, workspace};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

/// The folder of the drawings, beside the page.
const FOLDER: &str = "benchmarks";
const ONE_RUN: &str = " (one run)";

/// A column of a table: its head, its figure, whether the ratio to the best peer is shown too.
pub(super) struct Column {
    head: &'static str,
    pub(super) figure: fn(&Samples, &str, Measure) -> Option<Spread>,
    ratio: bool,
}

const SECONDS: Column = Column { head: "seconds", figure: Samples::seconds, ratio: true };
const ADDED: Column = Column { head: "added, MB", figure: Samples::added, ratio: true };
const MEMORY: Column = Column {
    head: "peak memory, MB",
    figure: |s, name, m| s.spread(name, m, |cost, _| megabytes(cost.memory)),
    ratio: false,
};
pub(super) const READ: Column = Column {
    head: "read from disk, MB",
    figure: |s, name, m| s.spread(name, m, |cost, _| megabytes(cost.read)),
    ratio: false,
};
const ASKED: Column = Column {
    head: "all reads, MB",
    figure: |s, name, m| s.spread(name, m, |cost, _| megabytes(cost.asked)),
    ratio: false,
};
const CPU: Column =
    Column { head: "processor s", figure: |s, name, m| s.spread(name, m, |cost, _| cost.cpu), ratio: false };

/// What the page is made from: each stage's last whole run.
pub(super) struct Page<'a> {
    pub(super) scale: &'a Scale,
    pub(super) contenders: Option<(Facts, Samples)>,
    pub(super) roots: Option<Record<roots::Stored>>,
    pub(super) sizes: Option<Record<sizes::Measured>>,
    pub(super) file_systems: Option<Record<file_systems::Measured>>,
    pub(super) inspection: Option<Record<inspection::Looked>>,
}

/// The page.
fn text(page: &Page<'_>) -> Result<String> {
    let mut out = format!(
        "# Benchmarks\n\nWritten by `cargo compare`, whole, from what it measured; not edited by hand.\n\n{}\
         ## Targets\n\n{}\n",
        machine(page)?,
        targets::table(page)
    );
    if let Some((facts, samples)) = &page.contenders {
        out.push_str(&contenders(page.scale, facts, samples));
    }
    if let Some(record) = &page.roots {
        write!(out, "## Many roots in one store\n\n{}", roots::section(record))?;
    }
    if let Some(record) = &page.sizes {
        write!(out, "## Cost against size\n\n{}", sizes::section(record, FOLDER))?;
    }
    if let Some(record) = &page.file_systems {
        write!(out, "## Other file systems\n\n{}", file_systems::section(record))?;
    }
    if let Some(record) = &page.inspection {
        write!(out, "## Inspection\n\n{}", inspection::section(record))?;
    }
    out.push_str(&method(page.contenders.as_ref().map_or(1, |(_, samples)| samples.rounds())));
    Ok(out)
}

/// The sections of the contenders.
pub(super) fn contenders(scale: &Scale, facts: &Facts, samples: &Samples) -> String {
    let last = facts.states.len();
    let repeat = Measure::Change(last);
    let mut out = format!("## The input\n\n{}\n", input(scale, facts));
    let size = Column { head: "store, MB", ..ADDED };
    section(
        &mut out,
        "First capture",
        "Into an empty store.",
        samples,
        Measure::First,
        &[SECONDS, size, MEMORY, READ, CPU],
    );
    section(
        &mut out,
        "Repeat after an upgrade",
        &format!(
            "The store has the state before; since then {:.0} MB of files were written, and {:.0} MB of blocks differ.",
            megabytes(facts.states[last - 1].files),
            megabytes(facts.states[last - 1].changed)
        ),
        samples,
        repeat,
        &[SECONDS, ADDED, READ, ASKED, MEMORY, CPU],
    );
    said(&mut out, samples, repeat);
    bare(&mut out, samples, repeat);
    section(
        &mut out,
        "Repeat, nothing changed",
        "The same state again.",
        samples,
        Measure::Unchanged,
        &[SECONDS, ADDED, READ, ASKED],
    );
    said(&mut out, samples, Measure::Unchanged);
    full(&mut out, samples);
    section(
        &mut out,
        "Check of all data",
        "Each reads all of its store (partclone: of one capture); they differ in size. `sha256sum` reads Holdfast's.",
        samples,
        Measure::Check,
        &[SECONDS, MEMORY, READ, CPU],
    );
    if let Some(hash) = samples.seconds(OURS, Measure::Hash) {
        let _ = writeln!(out, "`sha256sum` of all files of Holdfast's store, one process: {} seconds.\n", shown(hash));
    }
    section(
        &mut out,
        "One file",
        &format!("`/{FILE}` out of the last capture, as it was then."),
        samples,
        Measure::File,
        &[SECONDS, READ, MEMORY, CPU],
    );
    let growth = Column { head: "store grows, MB", ratio: false, ..ADDED };
    section(
        &mut out,
        "Rollback of the last upgrade",
        "The disk in the state after it is taken back to the capture before it.",
        samples,
        Measure::Rollback,
        &[SECONDS, growth, READ, MEMORY, CPU],
    );
    out.push_str(&change::section(facts, samples, FOLDER));
    if !samples.failures.is_empty() {
        out.push_str("## What failed\n\n");
        for (name, says) in &samples.failures {
            let _ = writeln!(out, "- {name}: {says}");
        }
        out.push('\n');
    }
    // Said once, below, where it is so of all of them.
    if samples.rounds() == 1 { out.replace(ONE_RUN, "") } else { out }
}

/// What ours says it read of the volumes, under a table that has the kernel's count.
fn said(out: &mut String, samples: &Samples, measure: Measure) {
    if let Some(told) = samples.told(OURS, measure) {
        let _ = writeln!(
            out,
            "Holdfast says that it read {told:.1} MB of the file system, holes of the image included; the kernel's count has also \
             the program itself, the store, and what the assessment of the system looks at.\n"
        );
    }
}

/// What a repeat could take at the least, under its table.
fn bare(out: &mut String, samples: &Samples, repeat: Measure) {
    let (Some(bare), Some(peer)) = (samples.seconds(OURS, Measure::Bare), best(samples, repeat, Samples::seconds))
    else {
        return;
    };
    let _ = writeln!(
        out,
        "The blocks that differ, lying in one file, read, compressed with `zstd -3 -T2` and written, with nobody to look for them, name \
         them or prove them: {} seconds. The fastest peer takes {:.1} times that.\n",
        shown(bare),
        peer / bare.median
    );
}

/// Everything compared, beside the image read from end to end.
fn full(out: &mut String, samples: &Samples) {
    let (Some(full), Some(disk)) = (speed(samples, Measure::Full), speed(samples, Measure::Disk)) else { return };
    let _ = writeln!(
        out,
        "## Every byte compared\n\nAs after a crash: `holdfast snapshot --full` of a state that is in the store, and `dd` of the same \
         image to nowhere.\n\n| | seconds | read from disk, MB | GB a second |\n| --- | --- | --- | --- |"
    );
    for (name, measure, speed) in [("holdfast", Measure::Full, full), ("dd", Measure::Disk, disk)] {
        let figure = |figure: Option<Spread>| figure.map_or("-".to_owned(), shown);
        let read = figure((READ.figure)(samples, OURS, measure));
        let _ = writeln!(out, "| {name} | {} | {read} | {speed:.2} |", figure(samples.seconds(OURS, measure)));
    }
    out.push('\n');
}

/// Gigabytes from the disk a second.
pub(super) fn speed(samples: &Samples, measure: Measure) -> Option<f64> {
    let read = (READ.figure)(samples, OURS, measure)?.median;
    Some(read / 1000.0 / samples.seconds(OURS, measure)?.median)
}

/// Writes the page and its drawings beside the other documents, owned as the sources are; what does not count is shown, and its
/// drawings are put in this folder.
///
/// # Errors
/// What the system says.
pub(super) fn write(page: &Page<'_>, counts: bool, folder: &Path) -> Result<()> {
    let text = text(page)?;
    let docs = workspace::root().join("docs");
    let drawings = if counts { docs.join(FOLDER) } else { folder.join(FOLDER) };
    fs::create_dir_all(&drawings)?;
    let mut made = vec![drawings.clone()];
    let contenders = page.contenders.iter().map(|(facts, samples)| (change::CHART, change::drawn(facts, samples)));
    for (name, drawing) in contenders.chain(page.sizes.iter().flat_map(sizes::drawings)) {
        let file = drawings.join(name);
        fs::write(&file, drawing)?;
        made.push(file);
    }
    if counts {
        let file = docs.join("benchmarks.md");
        fs::write(&file, text)?;
        println!("written: {}", file.display());
        made.push(file);
    } else {
        println!("{text}\nThe drawings are in {}", drawings.display());
    }
    let owner = docs.metadata()?;
    for made in &made {
        chown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

/// The time, as it is written on the page.
///
/// # Errors
/// Where `date` does not run.
pub(super) fn date() -> Result<String> {
    says("date", &["-u", "+%Y-%m-%d %H:%M UTC"])
}

fn says(program: &str, args: &[&str]) -> Result<String> {
    let out = Command::new(program).args(args).output()?;
    Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

fn machine(page: &Page<'_>) -> Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|l| l.strip_prefix("model name")?.split_once(": ")).map_or("unknown", |m| m.1);
    let cores = cpu.lines().filter(|l| l.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo")?;
    let kib = memory.lines().find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let place = workspace::root().join("target");
    let file_system = says("findmnt", &["-n", "-o", "FSTYPE", "-T", &place.display().to_string()])?;
    let guest = if cpu.split_whitespace().any(|w| w == "hypervisor") { ", virtual" } else { "" };
    let mut versions = Vec::new();
    for package in HOST_PACKAGES.iter().filter(|p| CONTENDERS.iter().any(|c| c.package == Some(**p)) || **p == "zstd") {
        versions.push(format!("{package} {}", says("dpkg-query", &["--show", "--showformat=${Version}", package])?));
    }
    let mut out = format!(
        "| | |\n| --- | --- |\n| processor | {cores} x {model}{guest} |\n| memory | {:.1} GB |\n\
         | file system below | {file_system} |\n| kernel | Linux {} |\n| peers, from Debian | {} |\n",
        megabytes(kib.unwrap_or_default() * 1024) / 1000.0,
        says("uname", &["-r"])?,
        versions.join(", ")
    );
    let stages = [
        ("captures, check, rollback", page.contenders.as_ref().map(|(_, samples)| &samples.by)),
        ("many roots", page.roots.as_ref().map(|r| &r.by)),
        ("cost against size", page.sizes.as_ref().map(|r| &r.by)),
        ("other file systems", page.file_systems.as_ref().map(|r| &r.by)),
        ("inspection", page.inspection.as_ref().map(|r| &r.by)),
    ];
    for (stage, by) in stages {
        let by = by.map_or("not measured".to_owned(), |by| format!("{}, Holdfast: {}", by.date, by.program));
        writeln!(out, "| {stage} | {by} |")?;
    }
    out.push('\n');
    Ok(out)
}

fn input(scale: &Scale, facts: &Facts) -> String {
    let mut out = format!(
        "The input, `{}`: an ext4 image with an installed Debian, {:.1} GB in use, {} names: desktop, office, compilers, \
         documentation, servers, part of apt's archive, journals, and a user's files. It was started once. Each of its \
         states is what one more session leaves: it is started in QEMU with its own kernel, upgraded with apt, and shut down. \
         Making it took {} minutes. The last state's metadata (used inode tables, bitmaps, directories, the journal) is {:.0} MB.\n\n\
         | state | packages upgraded | files written, MB | blocks that differ, MB |\n| --- | --- | --- | --- |\n",
        scale.image,
        megabytes(facts.used) / 1000.0,
        facts.names,
        facts.seconds.div_ceil(60),
        megabytes(facts.metadata)
    );
    for (n, state) in facts.states.iter().enumerate() {
        let (files, changed) = (megabytes(state.files), megabytes(state.changed));
        let _ = writeln!(out, "| {} | {} | {files:.1} | {changed:.1} |", n + 1, state.packages);
    }
    out
}

/// The least median of the peers.
pub(super) fn best(
    samples: &Samples,
    measure: Measure,
    figure: fn(&Samples, &str, Measure) -> Option<Spread>,
) -> Option<f64> {
    let peers = CONTENDERS.iter().filter(|c| c.name != OURS);
    peers.filter_map(|c| Some(figure(samples, c.name, measure)?.median)).min_by(f64::total_cmp)
}

/// Nothing where the other is too small to compare with: no store grows by less than a tenth of a megabyte to speak of.
pub(super) fn ratio(of: Option<(f64, f64)>) -> Option<f64> {
    of.filter(|(_, other)| *other > 0.1).map(|(ours, other)| ours / other)
}

/// A table of one measure, a row for each contender.
fn section(out: &mut String, title: &str, says: &str, samples: &Samples, measure: Measure, columns: &[Column]) {
    let _ = writeln!(out, "## {title}\n\n{says}\n");
    out.push_str("| |");
    for column in columns {
        let _ = write!(out, " {} |", column.head);
        if column.ratio {
            out.push_str(" of the best peer's |");
        }
    }
    let heads: usize = columns.iter().map(|c| 1 + usize::from(c.ratio)).sum();
    let _ = writeln!(out, "\n| --- |{}", " --- |".repeat(heads));
    for contender in CONTENDERS {
        let _ = write!(out, "| {} |", contender.name);
        for column in columns {
            let figure = (column.figure)(samples, contender.name, measure);
            let _ = write!(out, " {} |", figure.map_or("-".to_owned(), shown));
            if column.ratio {
                let of = ratio(figure.map(|f| f.median).zip(best(samples, measure, column.figure)));
                let _ = write!(out, " {} |", of.map_or("-".to_owned(), |r| format!("{r:.2}")));
            }
        }
        out.push('\n');
    }
    out.push('\n');
}

/// The middle and, where there are several, the least and the most.
fn shown(figure: Spread) -> String {
    let digits = if figure.most < 10.0 { 2 } else { usize::from(figure.most < 1000.0) };
    let Spread { median, least, most, count } = figure;
    if count == 1 {
        format!("{median:.digits$}{ONE_RUN}")
    } else if format!("{least:.digits$}") == format!("{most:.digits$}") {
        format!("{median:.digits$}")
    } else {
        format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
    }
}

fn method(rounds: usize) -> String {
    let mut out = format!(
        "## How it is measured\n\n\
         - {}\n\
         - In each round every contender goes the whole way in its turn; who is first changes.\n\
         - Before every run everything is written out and the page cache is dropped. The time ends when the file system that \
         was written to is flushed (`sync --file-system`).\n\
         - Memory is the sum of the peaks of all processes of the run (`VmHWM`, looked at every 50 ms); shared pages count in each. \
         What was read is the kernel's count for the run and its children (`/proc/PID/io`: `read_bytes`, `rchar`).\n\
         - Sizes are lengths of files; MB are millions of bytes.\n\
         - Those that save files read the image through a loop device, mounted read-only; the way back goes into a \
         freshly made file system (which takes no time here). Those that save blocks read the image and write over it.\n\
         - restic runs without a cache, which a local repository does not need; borg's cache is as new as its store.\n\
         - After every rollback the files' names, sizes, times, modes and owners are compared with those of the saved state; after \
         each contender's first one, their contents too. A difference is a failure.\n\n\
         | | reads | captures with | checks with | goes back with | takes a file out with | |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        often(rounds)
    );
    for contender in CONTENDERS {
        let line = |line: &str| {
            let line = line.trim_start_matches("exec ").replace("&& exec ", "&& ").replace('|', "\\|");
            format!("`{}`", line.replace("$HOLDFAST", "holdfast").replace("$KIND", "ext4"))
        };
        let reads = if contender.source == Source::Image { "blocks" } else { "files" };
        let (capture, check) = (line(contender.capture), line(contender.check));
        let rollback = line(contender.rollback);
        let file = contender.file.map_or("-".to_owned(), line);
        let _ = writeln!(
            out,
            "| {} | {reads} | {capture} | {check} | {rollback} | {file} | {} |",
            contender.name, contender.note
        );
    }
    out
}

fn often(rounds: usize) -> String {
    if rounds == 1 {
        return "Every figure is of one run.".to_owned();
    }
    format!(
        "Every figure is the median of {rounds} runs, with the least and the most; what took more than {LIMIT:.0} s was run once. \
         A first capture that took longer is made once, and later rounds begin with a copy of its store."
    )
}

/// How the measured program is named on the page.
pub(super) fn program(file: &Path, built: bool) -> Result<String> {
    if built {
        return Ok(format!("release profile, commit {}", crate::verify::commit()?));
    }
    Ok(format!("`{}`, given on the command line", file.file_name().unwrap_or_default().to_string_lossy()))
}
