//! `cargo compare`: Holdfast beside its peers, on the same input, in one run. Writes `docs/benchmarks.md`.
//!
//! It has stages, each with a record of its own: the contenders' rounds, many roots in one store, cost against size, other file systems, and
//! inspection. In every
//! round each contender goes the whole way in its turn: an empty store, the first capture, the same again, a capture
//! after each upgrade, the check, and back over the last upgrade. So a host that is slower for a while is slower for all.

mod change;
mod chart;
mod contender;
mod delta;
mod file_systems;
mod filling;
mod grid;
mod input;
mod inspection;
mod journals;
mod metadata;
mod mount;
mod place;
mod process;
mod record;
mod report;
mod roots;
mod samples;
mod session;
mod sizes;
mod targets;

use contender::{CONTENDERS, Contender};
use input::{Input, SCALES, Scale};
use place::Place;
use qemu_tests::{Result, workspace};
use record::{By, Record};
use samples::Samples;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The name of ours.
const OURS: &str = "holdfast";
/// Each measure is taken this often where nothing else is asked for, and once only where it takes longer than [`LIMIT`].
const ROUNDS: usize = 3;
/// Seconds.
const LIMIT: f64 = 180.0;

const HELP: &str = "\
usage: cargo compare [--only NAME] [--scale full|small] [--rounds N] [--keep] [--prepare]
                     [--program FILE]

Measures Holdfast beside partclone, restic and borg and writes docs/benchmarks.md. Takes hours, 42 GB below target/compare,
and root (it mounts images and drops caches). Quiet machines give better figures. A run that is cut off is taken up again where the
same program is measured. It has five stages: `contenders` (captures, check, rollback), `roots` (many roots in one store),
`sizes` (cost against the size of the file system, and of what is in it), `file-systems` (captures of XFS and btrfs) and
`inspection` (a year of journals, beside journalctl and dissect.target, which is installed from PyPI).

  --only STAGE    one stage: the page is written with what the last whole runs of the others measured
  --only NAME     one contender: the figures are shown, nothing is written
  --scale small   a root of a few hundred MB, to try it: the figures are shown, nothing is written
  --rounds N      so many runs of each measure, 1 to 9; 3 where it is not given
  --keep          leave the last store and the work image
  --prepare       makes the input and stops
  --program FILE  a holdfast built elsewhere, not the one built here with the release profile
";

/// What can be measured apart.
const STAGES: &[&str] = &["contenders", "roots", "sizes", "file-systems", "inspection"];
/// The file in which the contenders' samples are kept.
const SAMPLES: &str = "samples.json";

/// What was asked for.
struct Options {
    only: Option<String>,
    scale: &'static Scale,
    rounds: usize,
    keep: bool,
    prepare: bool,
    program: Option<PathBuf>,
}

/// The command: the rest of its command line.
pub(crate) fn command(mut args: lexopt::Parser) -> Result<ExitCode> {
    use lexopt::prelude::*;
    let mut options =
        Options { only: None, scale: &SCALES[0], rounds: ROUNDS, keep: false, prepare: false, program: None };
    while let Some(arg) = args.next()? {
        match arg {
            Long("only") => options.only = Some(args.value()?.string()?),
            Long("scale") => {
                let name = args.value()?.string()?;
                let found = SCALES.iter().find(|s| s.name == name);
                options.scale = found.ok_or_else(|| format!("there is no scale {name:?}: full or small"))?;
            }
            Long("rounds") => {
                options.rounds = args.value()?.parse()?;
                if !(1..=9).contains(&options.rounds) {
                    return Err("--rounds is 1 to 9".into());
                }
            }
            Long("keep") => options.keep = true,
            Long("prepare") => options.prepare = true,
            Long("program") => options.program = Some(PathBuf::from(args.value()?).canonicalize()?),
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(name) = &options.only {
        let names: Vec<&str> = STAGES.iter().copied().chain(CONTENDERS.iter().map(|c| c.name)).collect();
        if names.contains(&name.as_str()) {
            return run(&options);
        }
        return Err(format!("nothing is called {name:?}; there are {}", names.join(", ")).into());
    }
    run(&options)
}

fn run(options: &Options) -> Result<ExitCode> {
    image_builder::host::require(&[contender::HOST_PACKAGES, qemu_tests::dissect::HOST_PACKAGES].concat())?;
    let program = match &options.program {
        Some(file) => file.clone(),
        None => build()?,
    };
    if !nix::unistd::geteuid().is_root() {
        let mut sudo = Command::new("sudo");
        sudo.arg(std::env::current_exe()?).arg("compare").args(["--scale", options.scale.name]);
        sudo.arg("--rounds").arg(options.rounds.to_string());
        if let Some(name) = &options.only {
            sudo.args(["--only", name]);
        }
        for (name, given) in [("--keep", options.keep), ("--prepare", options.prepare)] {
            if given {
                sudo.arg(name);
            }
        }
        return Err(sudo.arg("--program").arg(program).exec().into());
    }
    let named = report::program(&program, program == built()?)?;
    let folder = input::folder(options.scale);
    fs::create_dir_all(&folder)?;
    // Of all scales: they share the smallest input, and a machine that measures should do nothing else.
    let lock = File::create(folder.with_file_name("lock"))?;
    lock.try_lock().map_err(|e| format!("another comparison is under way ({e})"))?;
    mount::release(folder.parent().unwrap_or(&folder))?;
    if options.prepare {
        Input::make(options.scale)?;
        Input::settled(&SCALES[1])?;
        return Ok(ExitCode::SUCCESS);
    }
    let by = By { program: named, date: report::date()? };
    let wanted = |stage: &str| options.only.as_ref().is_none_or(|o| o == stage || !STAGES.contains(&o.as_str()));
    let one = options.only.as_ref().filter(|o| !STAGES.contains(&o.as_str()));
    let mut failed = false;
    if wanted("contenders") {
        let input = Input::make(options.scale)?;
        let samples = rounds(options, one.map(String::as_str), &input, &folder, &program, &by)?;
        failed = !samples.failures.is_empty();
        if one.is_some() {
            println!("{}", report::contenders(options.scale, &input.facts, &samples));
            return Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    }
    if wanted("roots") {
        roots::measure(options.scale, &folder, &program, &by)?;
    }
    if wanted("sizes") {
        sizes::measure(options.scale, &folder, &program, &by)?;
    }
    if wanted("file-systems") {
        file_systems::measure(options.scale, &folder, &program, &by)?;
    }
    if wanted("inspection") {
        inspection::measure(options.scale, options.rounds, &folder, &program, &by)?;
    }
    let page = report::Page {
        scale: options.scale,
        contenders: Input::known(options.scale)?.and_then(|facts| {
            let of = of_input(&facts);
            Some((facts, Samples::of_input(&record::done(&folder.join(SAMPLES)), &of)?))
        }),
        roots: Record::last(&roots::file(&folder)),
        sizes: Record::last(&sizes::file(&folder)),
        file_systems: Record::last(&file_systems::file(&folder)),
        inspection: Record::last(&inspection::file(&folder)),
    };
    report::write(&page, options.scale.name == SCALES[0].name, &folder)?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Names the input that samples are of.
fn of_input(facts: &input::Facts) -> String {
    format!("{} {} ", facts.recipe, facts.sessions)
}

/// The stage of the contenders: all, or one of them.
fn rounds(
    options: &Options,
    one: Option<&str>,
    input: &Input,
    folder: &Path,
    program: &Path,
    by: &By,
) -> Result<Samples> {
    let place = Place::new(folder, program)?;
    place.clear()?;
    input::room(options.scale.disk, folder)?;
    let of = format!("{}{} {one:?}", of_input(&input.facts), digest(program)?);
    let record = folder.join(one.map_or(SAMPLES.to_owned(), |name| format!("samples-{name}.json")));
    let mut samples = Samples::taken_up(&record, &of, by);
    let chosen: Vec<&Contender> = CONTENDERS.iter().filter(|c| one.is_none_or(|o| o == c.name)).collect();
    for round in 0..options.rounds {
        for turn in 0..chosen.len() {
            // Who goes first changes from round to round.
            let contender = chosen[(turn + round) % chosen.len()];
            if samples.has_turn(round, contender.name) {
                println!("== round {} of {}: {}: measured already", round + 1, options.rounds, contender.name);
                continue;
            }
            println!("== round {} of {}: {}", round + 1, options.rounds, contender.name);
            if let Err(e) = place.turn(contender, input, &mut samples) {
                println!("== {}: {e}", contender.name);
                samples.failed(contender.name, &e.to_string());
            }
            samples.end_turn(round, contender.name, &record)?;
        }
    }
    if !options.keep {
        place.clear()?;
    }
    // Kept to be looked at; the next run measures anew.
    fs::rename(&record, record::done(&record))?;
    Ok(samples)
}

/// The program that is measured, built as it is for users.
fn build() -> Result<PathBuf> {
    println!("building holdfast with the release profile");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--release", "-p", "holdfast"]).current_dir(workspace::root());
    if !cargo.status()?.success() {
        return Err("holdfast does not build".into());
    }
    built()
}

/// Where it lies once it is built.
fn built() -> Result<PathBuf> {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace::root().join("target"), PathBuf::from);
    Ok(std::path::absolute(target.join("release/holdfast"))?)
}

/// SHA-256 of a file, as text.
fn digest(file: &Path) -> Result<String> {
    Ok(Sha256::digest(fs::read(file)?).iter().map(|b| format!("{b:02x}")).collect())
}

/// Bytes of all files in a folder, by their lengths.
fn size(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        sum += if found.is_dir() { size(&entry.path())? } else { found.len() };
    }
    Ok(sum)
}
