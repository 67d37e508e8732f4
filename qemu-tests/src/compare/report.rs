//! `docs/benchmarks.md`, all of it made from what was measured.

use super::LIMIT;
use super::chart::{self, Panel};
use super::contender::{CONTENDERS, HOST_PACKAGES, Source};
use super::input::{Facts, Scale};
use super::samples::{Measure, Samples, Spread, megabytes};
use qemu_tests::{Result, workspace};
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

const OURS: &str = "holdfast";
const CHART: &str = "change.svg";
const ONE_RUN: &str = " (one run)";

/// A column of a table: its head, its figure, whether the ratio to the best peer is shown too.
struct Column {
    head: &'static str,
    figure: fn(&Samples, &str, Measure) -> Option<Spread>,
    ratio: bool,
}

const SECONDS: Column = Column { head: "seconds", figure: Samples::seconds, ratio: true };
const ADDED: Column = Column { head: "added, MB", figure: Samples::added, ratio: true };
const MEMORY: Column = Column {
    head: "peak memory, MB",
    figure: |s, name, m| s.spread(name, m, |cost, _| megabytes(cost.memory)),
    ratio: false,
};
const READ: Column = Column {
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

/// The page.
pub(super) fn text(scale: &Scale, facts: &Facts, samples: &Samples, program: &str, rounds: usize) -> Result<String> {
    let last = facts.states.len();
    let repeat = Measure::Change(last);
    let mut out = format!(
        "# Benchmarks\n\nWritten by `cargo compare`, whole, from what it measured; not edited by hand.\n\n\
         {}{}\n## Targets\n\n{}\n",
        machine(program)?,
        input(scale, facts),
        targets(samples, last)
    );
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
    section(
        &mut out,
        "Repeat, nothing changed",
        "The same state again.",
        samples,
        Measure::Unchanged,
        &[SECONDS, ADDED, READ, ASKED],
    );
    section(
        &mut out,
        "Check of all data",
        "Each reads all of its store (partclone: of one capture); they differ in size. `sha256sum` reads Holdfast's.",
        samples,
        Measure::Check,
        &[SECONDS, MEMORY, READ, CPU],
    );
    if let Some(hash) = samples.seconds(OURS, Measure::Hash) {
        writeln!(out, "`sha256sum` of all files of Holdfast's store, one process: {} seconds.\n", shown(hash))?;
    }
    let growth = Column { head: "store grows, MB", ratio: false, ..ADDED };
    section(
        &mut out,
        "Rollback of the last upgrade",
        "The disk in the state after it is taken back to the capture before it.",
        samples,
        Measure::Rollback,
        &[SECONDS, growth, READ, MEMORY, CPU],
    );
    writeln!(
        out,
        "## Cost against change\n\n![repeat captures after changes of different size](benchmarks/{CHART})\n"
    )?;
    out.push_str(&against_change(facts, samples));
    out.push_str(&method(rounds)?);
    if !samples.failures.is_empty() {
        out.push_str("\n## What failed\n\n");
        for (name, says) in &samples.failures {
            writeln!(out, "- {name}: {says}")?;
        }
    }
    // Said once, below, where it is so of all of them.
    Ok(if rounds == 1 { out.replace(ONE_RUN, "") } else { out })
}

/// Writes the page and its chart, owned as the sources are.
pub(super) fn write(text: &str, facts: &Facts, samples: &Samples) -> Result<()> {
    let docs = workspace::root().join("docs");
    let folder = docs.join("benchmarks");
    fs::create_dir_all(&folder)?;
    let (page, drawing) = (docs.join("benchmarks.md"), folder.join(CHART));
    fs::write(&page, text)?;
    fs::write(&drawing, drawn(facts, samples))?;
    let owner = docs.metadata()?;
    for made in [&folder, &page, &drawing] {
        chown(made, Some(owner.uid()), Some(owner.gid()))?;
    }
    println!("written: {}", page.display());
    Ok(())
}

fn machine(program: &str) -> Result<String> {
    let says = |program: &str, args: &[&str]| -> Result<String> {
        let out = Command::new(program).args(args).output()?;
        Ok(String::from_utf8_lossy(&out.stdout).trim().to_owned())
    };
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
    Ok(format!(
        "| | |\n| --- | --- |\n| date | {} |\n| processor | {cores} x {model}{guest} |\n| memory | {:.1} GB |\n\
         | file system below | {file_system} |\n| kernel | Linux {} |\n| Holdfast | {program} |\n| peers, from Debian | {} |\n\n",
        says("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?,
        megabytes(kib.unwrap_or_default() * 1024) / 1000.0,
        says("uname", &["-r"])?,
        versions.join(", ")
    ))
}

fn input(scale: &Scale, facts: &Facts) -> String {
    let mut out = format!(
        "The input, `{}`: an ext4 image with an installed Debian, {:.1} GB in use, {} names: desktop, office, compilers, \
         documentation, servers, part of apt's archive, journals, and a user's files. Its states are real upgrades with apt in \
         the mounted image, which is unmounted cleanly. Making it took {} minutes.\n\n\
         | state | packages upgraded | files written, MB | blocks that differ, MB |\n| --- | --- | --- | --- |\n",
        scale.image,
        megabytes(facts.used) / 1000.0,
        facts.names,
        facts.seconds.div_ceil(60)
    );
    for (n, state) in facts.states.iter().enumerate() {
        let (files, changed) = (megabytes(state.files), megabytes(state.changed));
        let _ = writeln!(out, "| {} | {} | {files:.1} | {changed:.1} |", n + 1, state.packages);
    }
    out
}

/// The least median of the peers.
fn best(samples: &Samples, measure: Measure, figure: fn(&Samples, &str, Measure) -> Option<Spread>) -> Option<f64> {
    let peers = CONTENDERS.iter().filter(|c| c.name != OURS);
    peers.filter_map(|c| Some(figure(samples, c.name, measure)?.median)).min_by(f64::total_cmp)
}

fn targets(samples: &Samples, last: usize) -> String {
    let repeat = Measure::Change(last);
    let seconds = |measure| Some((samples.seconds(OURS, measure)?.median, best(samples, measure, Samples::seconds)?));
    let added = |measure| Some((samples.added(OURS, measure)?.median, best(samples, measure, Samples::added)?));
    let check = samples.seconds(OURS, Measure::Check).zip(samples.seconds(OURS, Measure::Hash));
    let rows = [
        ("first capture: time, of the fastest peer's", "at most 0.60", ratio(seconds(Measure::First)), 0.6),
        ("first capture: store, of the smallest peer's", "at most 1.00", ratio(added(Measure::First)), 1.0),
        ("repeat after an upgrade: added, of the least of the peers", "at most 1.00", ratio(added(repeat)), 1.0),
        (
            "`check --read-data`: time, of sha256sum's over the same files",
            "at most 1.25",
            ratio(check.map(|(c, h)| (c.median, h.median))),
            1.25,
        ),
        ("rollback: time, of the fastest peer's", "at most 0.10", ratio(seconds(Measure::Rollback)), 0.1),
    ];
    let mut out = "| target | wanted | measured | |\n| --- | --- | --- | --- |\n".to_owned();
    for (what, wanted, measured, limit) in rows {
        let (figure, verdict) = match measured {
            Some(r) => (format!("{r:.2}"), if r <= limit { "met" } else { "**not met**" }),
            None => ("-".to_owned(), "not measured"),
        };
        let _ = writeln!(out, "| {what} | {wanted} | {figure} | {verdict} |");
    }
    out
}

/// Nothing where the other is too small to compare with: no store grows by less than a tenth of a megabyte to speak of.
fn ratio(of: Option<(f64, f64)>) -> Option<f64> {
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
    let digits = usize::from(figure.most < 1000.0);
    let Spread { median, least, most, count } = figure;
    if count == 1 {
        format!("{median:.digits$}{ONE_RUN}")
    } else if format!("{least:.digits$}") == format!("{most:.digits$}") {
        format!("{median:.digits$}")
    } else {
        format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
    }
}

/// The measures of the chart, each with the name of its place.
fn places(facts: &Facts) -> Vec<(Measure, String)> {
    let changes = facts.states.iter().enumerate().map(|(n, s)| {
        let place = format!("{:.0}", megabytes(s.files));
        (Measure::Change(n + 1), place)
    });
    std::iter::once((Measure::Unchanged, "0".to_owned())).chain(changes).collect()
}

fn against_change(facts: &Facts, samples: &Samples) -> String {
    let places = places(facts);
    let mut out = "Seconds, and MB added, by MB of files written since the capture before.\n\n| |".to_owned();
    for (_, place) in &places {
        let _ = write!(out, " {place} MB |");
    }
    let _ = writeln!(out, "\n| --- |{}", " --- |".repeat(places.len()));
    for contender in CONTENDERS {
        let _ = write!(out, "| {} |", contender.name);
        for (measure, _) in &places {
            let both = samples.seconds(contender.name, *measure).zip(samples.added(contender.name, *measure));
            let cell = both.map_or("-".to_owned(), |(s, a)| format!("{:.1} s, {:.1} MB", s.median, a.median));
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    out.push('\n');
    out
}

fn drawn(facts: &Facts, samples: &Samples) -> String {
    let places = places(facts);
    let panel = |title: &str, figure: fn(&Samples, &str, Measure) -> Option<Spread>| Panel {
        title: title.to_owned(),
        least: 0.1,
        lines: CONTENDERS
            .iter()
            .map(|c| {
                let figures = places.iter().map(|(m, _)| Some(figure(samples, c.name, *m)?.median));
                (c.name.to_owned(), figures.collect())
            })
            .collect(),
    };
    let names: Vec<String> = places.iter().map(|(_, place)| place.clone()).collect();
    let panels = [panel("repeat capture, seconds", Samples::seconds), panel("added to the store, MB", Samples::added)];
    chart::svg(&names, "MB of files written since the capture before", &panels)
}

fn method(rounds: usize) -> Result<String> {
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
         | | reads | captures with | checks with | goes back with | |\n| --- | --- | --- | --- | --- | --- |\n",
        often(rounds)
    );
    for contender in CONTENDERS {
        let line = |line: &str| {
            let line = line.trim_start_matches("exec ").replace("&& exec ", "&& ").replace('|', "\\|");
            format!("`{}`", line.replace("$HOLDFAST", "holdfast"))
        };
        let reads = if contender.source == Source::Image { "blocks" } else { "files" };
        let (capture, check) = (line(contender.capture), line(contender.check));
        let rollback = line(contender.rollback);
        writeln!(out, "| {} | {reads} | {capture} | {check} | {rollback} | {} |", contender.name, contender.note)?;
    }
    Ok(out)
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
