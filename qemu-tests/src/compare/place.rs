//! Where a run takes place: the work image, a store, and a contender's way through a round.

use super::contender::{Contender, FILE, Source};
use super::input::{self, Input};
use super::mount::Mounted;
use super::process::{self, Cost};
use super::samples::{Measure, Samples};
use super::{LIMIT, size};
use qemu_tests::Result;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is measured besides, for ours alone: its files hashed; a capture that compares every byte, as after a crash; the same
/// bytes read from end to end (what is a hole in the image takes no reading); and what a repeat saves, had nobody to look for it.
const ALONE: &[(Measure, &str)] = &[
    (Measure::Hash, "find $STORE -type f -print0 | xargs -0 sha256sum"),
    (Measure::Full, "exec $HOLDFAST snapshot $IMAGE --store $STORE --full --json"),
    (Measure::Disk, "exec dd if=$IMAGE of=/dev/null bs=4M status=none"),
    (Measure::Bare, "exec zstd -q -3 -T2 -f $CHANGED -o $PRINTED/bare.zst"),
];

/// Where a run takes place.
pub(super) struct Place {
    dir: PathBuf,
    /// The image that is saved.
    pub(super) work: PathBuf,
    /// Its file system, as the kernel calls it.
    pub(super) kind: &'static str,
    /// A folder that does not exist before [`Place::prepare`].
    pub(super) store: PathBuf,
    printed: PathBuf,
    tree: PathBuf,
    /// The blocks that the last upgrade changed.
    changed: PathBuf,
    program: PathBuf,
}

impl Place {
    /// One in a folder, in which it makes what it needs.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(dir: &Path, program: &Path) -> Result<Self> {
        let at = |name: &str| dir.join(name);
        let place = Self {
            work: at("work.img"),
            kind: "ext4",
            store: at("store"),
            printed: at("printed"),
            tree: at("tree"),
            changed: at("changed"),
            program: program.to_path_buf(),
            dir: dir.to_path_buf(),
        };
        for folder in [&place.printed, &at("own")] {
            fs::create_dir_all(folder)?;
        }
        Ok(place)
    }

    /// Removes what a run makes besides the input.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn clear(&self) -> Result<()> {
        for folder in [&self.store, &self.printed, &self.dir.join("kept"), &self.dir.join("own")] {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
        }
        for file in [&self.work, &self.changed, &self.out()] {
            if file.exists() {
                fs::remove_file(file)?;
            }
        }
        Ok(())
    }

    /// A contender's way through one round.
    ///
    /// # Errors
    /// Where the contender fails, or does not bring back what it saved.
    pub(super) fn turn(&self, contender: &Contender, input: &Input, samples: &mut Samples) -> Result<()> {
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
            input.changed(&self.changed)?;
            for (measure, line) in ALONE {
                self.simple(contender, *measure, line, last, samples)?;
            }
        }
        if let Some(line) = contender.file {
            self.file(contender, line, last, samples)?;
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
        self.prepare(contender)?;
        self.capture(contender, Measure::First, samples)?;
        if samples.slow(contender.name, Measure::First, LIMIT) {
            copy(&own, &kept.join("own"))?;
            copy(&self.store, &kept.join("store"))?;
        }
        Ok(())
    }

    fn capture(&self, contender: &Contender, measure: Measure, samples: &mut Samples) -> Result<()> {
        let before = size(&self.store)?;
        let (cost, told) = self.save(contender, &measure.tag())?;
        samples.add(contender.name, measure, cost, size(&self.store)?.saturating_sub(before), told);
        Ok(())
    }

    /// A capture apart from any round: what it took, and what the contender itself says it read of the volumes, where it does.
    ///
    /// # Errors
    /// Where the contender fails.
    pub(super) fn save(&self, contender: &Contender, tag: &str) -> Result<(Cost, Option<u64>)> {
        let mounted = match contender.source {
            Source::Image => None,
            Source::Tree => Some(Mounted::read_only_of(self.kind, &self.work, &self.tree)?),
        };
        let prints = self.printed.join(tag);
        let cost = process::measure(&mut self.shell(contender.capture, tag), &self.store, &prints)
            .map_err(|e| format!("`{}` {e}", contender.capture))?;
        if let Some(mounted) = mounted {
            mounted.unmount()?;
        }
        Ok((cost, contender.package.is_none().then(|| told(&prints)).transpose()?))
    }

    /// Makes an empty store.
    ///
    /// # Errors
    /// Where the contender fails.
    pub(super) fn prepare(&self, contender: &Contender) -> Result<()> {
        qemu_tests::machine::run(&mut self.shell(contender.prepare, "none"))
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
        samples.add(contender.name, measure, cost, 0, None);
        Ok(())
    }

    /// One file of the present state, and a look whether it is that.
    fn file(&self, contender: &Contender, line: &str, state: usize, samples: &mut Samples) -> Result<()> {
        let out = self.out();
        if out.exists() {
            fs::remove_file(&out)?;
        }
        self.simple(contender, Measure::File, line, state, samples)?;
        let mounted = Mounted::read_only(&self.work, &self.tree)?;
        let same = fs::read(self.tree.join(FILE))? == fs::read(&out)?;
        mounted.unmount()?;
        if same { Ok(()) } else { Err(format!("{FILE} came out other than it was saved").into()) }
    }

    /// Where a file that is taken out goes.
    fn out(&self) -> PathBuf {
        self.dir.join("out")
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
        samples.add(contender.name, Measure::Rollback, cost, size(&self.store)?.saturating_sub(before), None);
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
        shell.env("CHANGED", &self.changed).env("FILE", FILE).env("OUT", self.out()).env("KIND", self.kind);
        shell.env("RESTIC_REPOSITORY", &self.store).env("RESTIC_PASSWORD", "measured");
        shell.env("BORG_BASE_DIR", &own).env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        shell
    }
}

/// Bytes that a snapshot read of the volumes, as `snapshot --json` says.
fn told(printed: &Path) -> Result<u64> {
    let says: serde_json::Value = serde_json::from_slice(&fs::read(printed)?)?;
    says["cost"]["read"].as_u64().ok_or_else(|| format!("{} does not say what was read", printed.display()).into())
}
