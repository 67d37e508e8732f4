//! `cargo compare`: Holdfast beside its peers, on the same input, in one run. Writes `docs/benchmarks.md`.
//!
//! In every round each contender goes the whole way in its turn: an empty store, the first capture, the same again, a capture
//! after each upgrade, the check, and back over the last upgrade. So a host that is slower for a while is slower for all.

mod chart;
mod contender;
mod delta;
mod filling;
mod input;
mod mount;
mod process;
mod report;
mod samples;

use contender::{CONTENDERS, Contender, Source};
use input::{Input, SCALES, Scale};
use mount::Mounted;
use process::Cost;
use qemu_tests::{Result, workspace};
use samples::{Measure, Samples};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Each measure is taken this often where nothing else is asked for, and once only where it takes longer than [`LIMIT`].
const ROUNDS: usize = 3;
/// Seconds.
const LIMIT: f64 = 180.0;

const HELP: &str = "\
usage: cargo compare [--only NAME] [--scale full|small] [--rounds N] [--keep] [--prepare]
                     [--program FILE]

Measures Holdfast beside partclone, restic and borg and writes docs/benchmarks.md. Takes hours, 42 GB below target/compare,
and root (it mounts images and drops caches). Quiet machines give better figures. A run that is cut off is taken up again where the
same program is measured.

  --only NAME     one of them: the figures are shown, nothing is written
  --scale small   a root of a few hundred MB, to try it: the figures are shown, nothing is written
  --rounds N      so many runs of each measure, 1 to 9; 3 where it is not given
  --keep          leave the last store and the work image
  --prepare       makes the input and stops
  --program FILE  a holdfast built elsewhere, not the one built here with the release profile
";

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
    if let Some(name) = &options.only
        && !CONTENDERS.iter().any(|c| c.name == name)
    {
        let names: Vec<&str> = CONTENDERS.iter().map(|c| c.name).collect();
        return Err(format!("nothing is called {name:?}; there are {}", names.join(", ")).into());
    }
    run(&options)
}

fn run(options: &Options) -> Result<ExitCode> {
    image_builder::host::require(contender::HOST_PACKAGES)?;
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
    let lock = File::create(folder.with_extension("lock"))?;
    lock.try_lock().map_err(|e| format!("another comparison is under way in the same folder ({e})"))?;
    mount::release(&folder)?;
    let input = Input::make(options.scale)?;
    if options.prepare {
        return Ok(ExitCode::SUCCESS);
    }
    let place = Place::new(options.scale, program)?;
    let of = format!("{} {} {:?}", input.facts.recipe, digest(&place.program)?, options.only);
    let record = place.dir.join("samples.json");
    let mut samples = Samples::taken_up(&record, &of);
    let chosen: Vec<&Contender> =
        CONTENDERS.iter().filter(|c| options.only.as_ref().is_none_or(|o| o == c.name)).collect();
    for round in 0..options.rounds {
        for turn in 0..chosen.len() {
            // Who goes first changes from round to round.
            let contender = chosen[(turn + round) % chosen.len()];
            if samples.has_turn(round, contender.name) {
                println!("== round {} of {}: {}: measured already", round + 1, options.rounds, contender.name);
                continue;
            }
            println!("== round {} of {}: {}", round + 1, options.rounds, contender.name);
            if let Err(e) = place.turn(contender, &input, &mut samples) {
                println!("== {}: {e}", contender.name);
                samples.failed(contender.name, &e.to_string());
            }
            samples.end_turn(round, contender.name, &record)?;
        }
    }
    if !options.keep {
        place.clear()?;
    }
    let text = report::text(options.scale, &input.facts, &samples, &named, options.rounds)?;
    if options.only.is_some() || options.scale.name != SCALES[0].name {
        println!("{text}");
    } else {
        report::write(&text, &input.facts, &samples)?;
    }
    // Kept to be looked at; the next run measures anew.
    fs::rename(&record, place.dir.join("samples-done.json"))?;
    Ok(if samples.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
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

/// Where a run takes place.
struct Place {
    dir: PathBuf,
    work: PathBuf,
    store: PathBuf,
    printed: PathBuf,
    tree: PathBuf,
    program: PathBuf,
}

impl Place {
    fn new(scale: &Scale, program: PathBuf) -> Result<Self> {
        let dir = input::folder(scale);
        let at = |name: &str| dir.join(name);
        let place = Self {
            work: at("work.img"),
            store: at("store"),
            printed: at("printed"),
            tree: at("tree"),
            program,
            dir: dir.clone(),
        };
        place.clear()?;
        Ok(place)
    }

    /// Removes what a run makes besides the input.
    fn clear(&self) -> Result<()> {
        for folder in [&self.store, &self.printed, &self.dir.join("kept"), &self.dir.join("own")] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        if self.work.exists() {
            fs::remove_file(&self.work)?;
        }
        Ok(())
    }

    /// A contender's way through one round.
    fn turn(&self, contender: &Contender, input: &Input, samples: &mut Samples) -> Result<()> {
        for folder in [&self.store, &self.printed, &self.dir.join("own")] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            if *folder != self.store {
                fs::create_dir_all(folder)?;
            }
        }
        input.restore(&self.work)?;
        self.first(contender, samples)?;
        self.capture(contender, Measure::Unchanged, samples)?;
        let last = input.facts.states.len();
        // A capture that stands for itself costs the same after every upgrade: only those that are needed are made.
        for state in if contender.whole { last - 1 } else { 1 }..=last {
            input.set(&self.work, state)?;
            if contender.whole && state < last {
                fs::remove_dir_all(&self.store)?;
                fs::create_dir_all(&self.store)?;
            }
            self.capture(contender, Measure::Change(state), samples)?;
        }
        self.simple(contender, Measure::Check, contender.check, last, samples)?;
        if contender.package.is_none() {
            let hash = "find $STORE -type f -print0 | xargs -0 sha256sum";
            self.simple(contender, Measure::Hash, hash, last, samples)?;
        }
        if samples.slow(contender.name, Measure::Rollback, LIMIT) {
            return Ok(());
        }
        self.rollback(contender, input, last - 1, samples)
    }

    /// The first capture. Where it takes long it is made once, and later rounds begin with a copy of that store.
    fn first(&self, contender: &Contender, samples: &mut Samples) -> Result<()> {
        let kept = self.dir.join("kept").join(contender.name);
        let copy = |from: &Path, to: &Path| {
            fs::create_dir_all(to)?;
            qemu_tests::machine::run(Command::new("cp").args(["-a", "-T"]).arg(from).arg(to))
        };
        let own = self.dir.join("own");
        if kept.exists() {
            copy(&kept.join("own"), &own)?;
            return copy(&kept.join("store"), &self.store);
        }
        qemu_tests::machine::run(&mut self.shell(contender.prepare, "none"))?;
        self.capture(contender, Measure::First, samples)?;
        if samples.slow(contender.name, Measure::First, LIMIT) {
            copy(&own, &kept.join("own"))?;
            copy(&self.store, &kept.join("store"))?;
        }
        Ok(())
    }

    fn capture(&self, contender: &Contender, measure: Measure, samples: &mut Samples) -> Result<()> {
        let before = size(&self.store)?;
        let mounted = match contender.source {
            Source::Image => None,
            Source::Tree => Some(Mounted::read_only(&self.work, &self.tree)?),
        };
        let cost = self.measure(contender.capture, measure, &measure.tag(), &self.store)?;
        if let Some(mounted) = mounted {
            mounted.unmount()?;
        }
        samples.add(contender.name, measure, cost, size(&self.store)?.saturating_sub(before));
        Ok(())
    }

    /// A measure that changes nothing.
    fn simple(
        &self,
        contender: &Contender,
        measure: Measure,
        line: &str,
        state: usize,
        samples: &mut Samples,
    ) -> Result<()> {
        if samples.slow(contender.name, measure, LIMIT) {
            return Ok(());
        }
        let cost = self.measure(line, measure, &Measure::Change(state).tag(), &self.store)?;
        samples.add(contender.name, measure, cost, 0);
        Ok(())
    }

    /// Back to a state before the present one, and a look whether it is that state.
    fn rollback(&self, contender: &Contender, input: &Input, to: usize, samples: &mut Samples) -> Result<()> {
        let tag = Measure::Change(to).tag();
        input.set(&self.work, to)?;
        // Contents take as long as a check: once for each contender.
        let contents = samples.seconds(contender.name, Measure::Rollback).is_none();
        let wanted = self.files(contents)?;
        input.set(&self.work, to + 1)?;
        let before = size(&self.store)?;
        let cost = match contender.source {
            Source::Image => self.measure(contender.rollback, Measure::Rollback, &tag, &self.work)?,
            Source::Tree => {
                // restic of Debian 12 cannot write over links that are there.
                input::format(&self.work)?;
                let mounted = Mounted::writable(&self.work, &self.tree, "relatime")?;
                let cost = self.measure(contender.rollback, Measure::Rollback, &tag, &self.tree)?;
                mounted.unmount()?;
                cost
            }
        };
        let now = self.files(contents)?;
        if now != wanted {
            let example = wanted.symmetric_difference(&now).next().cloned().unwrap_or_default();
            return Err(format!("what was taken back is not what was saved: {example}").into());
        }
        samples.add(contender.name, Measure::Rollback, cost, size(&self.store)?.saturating_sub(before));
        Ok(())
    }

    /// Every file of the work image with its size, time, mode, owners and target; on demand with its content's hash.
    fn files(&self, contents: bool) -> Result<BTreeSet<String>> {
        let mounted = Mounted::read_only(&self.work, &self.tree)?;
        let mut lines = BTreeSet::new();
        let mut list = |line: &str| -> Result<()> {
            let out =
                Command::new("bash").args(["-e", "-o", "pipefail", "-c", line]).current_dir(&self.tree).output()?;
            if !out.status.success() {
                return Err(format!("`{line}` ended with {}", out.status).into());
            }
            lines.extend(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned));
            Ok(())
        };
        list("find . -xdev ! -type d -printf '%P %s %T@ %m %U %G %l\\n'")?;
        if contents {
            list("find . -xdev -type f -print0 | xargs -0 sha256sum")?;
        }
        mounted.unmount()?;
        Ok(lines)
    }

    /// Runs a line; what it prints is kept under the name of the measure.
    fn measure(&self, line: &str, measure: Measure, tag: &str, settle: &Path) -> Result<Cost> {
        process::measure(&mut self.shell(line, tag), settle, &self.printed.join(measure.tag()))
            .map_err(|e| format!("`{line}` {e}").into())
    }

    fn shell(&self, line: &str, tag: &str) -> Command {
        let own = self.dir.join("own");
        let mut shell = Command::new("bash");
        shell.args(["-e", "-o", "pipefail", "-c", line]).current_dir(&self.dir);
        shell.env("IMAGE", &self.work).env("TREE", &self.tree).env("STORE", &self.store).env("TAG", tag);
        shell.env("PRINTED", &self.printed).env("HOLDFAST", &self.program).env("XDG_STATE_HOME", &own);
        shell.env("RESTIC_REPOSITORY", &self.store).env("RESTIC_PASSWORD", "measured");
        shell.env("BORG_BASE_DIR", &own).env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        shell
    }
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
