//! One file system from `mke2fs` through its sessions.

use crate::chance::Chance;
use crate::cuts::cut;
use crate::holes;
use crate::kinds::Kind;
use crate::mutants::Mutants;
use crate::recorder::Recorder;
use crate::session::{self, Below, Place, SWAP, Session};
use crate::tally::Tally;
use crate::verdict::{Bytes, compare};
use model::coverage::Comparison;
use qemu_tests::Result;
use qemu_tests::machine::run;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

/// Size of a file system, and of a journal that is elsewhere.
pub(crate) const SIZE: usize = 24 << 20;
pub(crate) const JOURNAL: usize = 8 << 20;
/// Sessions of a history.
const SESSIONS: u64 = 4;
/// Earlier states that a state is compared with.
const KEPT: usize = 5;

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Unmounted.
    InOrder,
    /// The power fails.
    Cut,
    /// Nobody wrote: it was mounted to be read.
    Looked,
    /// The same of what was cut off before: the kernel replays its journal, and nothing else tells that it was not unmounted.
    Replayed,
    /// There was none.
    Untouched,
}

/// When a state was caught.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Caught {
    /// Between two sessions.
    AtRest,
    /// In the middle of one.
    InUse,
    /// While it was mounted or unmounted: who can say whether that was a session.
    Between,
}

/// A state of the disk, and what is known of it besides what it tells.
#[derive(Clone)]
struct State {
    bytes: Bytes,
    caught: Caught,
    /// Sessions that were begun before it...
    sessions: u32,
    /// ... since one of which it is not known.
    era: u32,
}

/// What a comparison may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum May {
    /// Anything that is true.
    Anything,
    /// Nobody wrote.
    BeUntouched,
    /// There was one session, in order.
    BeTold,
    /// Nothing tells.
    NotBeTold,
}

impl State {
    /// What comparing `self` with an earlier state may give.
    fn since(&self, before: &Self) -> May {
        let either = |caught| self.caught == caught || before.caught == caught;
        match self.sessions.abs_diff(before.sessions) {
            _ if either(Caught::InUse) => May::NotBeTold,
            _ if either(Caught::Between) || self.era != before.era => May::Anything,
            0 => May::BeUntouched,
            1 => May::BeTold,
            _ => May::NotBeTold,
        }
    }
}

/// A file system's life.
pub(crate) struct Life<'a> {
    place: Place<'a>,
    chance: Chance,
    below: [Blocks; 2],
    /// Names it in messages.
    name: String,
    states: Vec<State>,
    tally: &'a mut Tally,
    mutants: &'a mut Mutants,
}

impl<'a> Life<'a> {
    /// Makes a file system of a kind, fills it and lives it.
    pub(crate) fn live(
        place: Place<'a>,
        seed: u64,
        dir: &Path,
        tally: &'a mut Tally,
        mutants: &'a mut Mutants,
    ) -> Result<()> {
        let kind = place.kind;
        let mut chance = Chance::new(seed, kind.name);
        place.disk.load(&made(&place, dir)?);
        let inodes = session::first(&place, &mut chance)?;
        tally.histories += 1;
        let first = State { bytes: Arc::new(place.disk.bytes()), caught: Caught::AtRest, sessions: 1, era: 0 };
        let below = blocks_below(&place, &first.bytes, inodes, dir)?;
        let name = format!("{} {seed}", kind.name);
        let mut life = Self { place, chance, below, name, states: vec![first.clone()], tally, mutants };
        let mut now = first;
        for number in 0..SESSIONS {
            let end = match life.chance.below(8) {
                // What the kernel does not heal nobody goes on with.
                0 | 1 if life.place.kind.heals => End::Cut,
                2 => End::Untouched,
                // What is in use is repaired even when it is mounted to be read, and no count tells.
                3 if now.caught == Caught::AtRest => End::Looked,
                3 | 4 if now.caught == Caught::InUse => End::Replayed,
                _ => End::InOrder,
            };
            now = life.next(&now, end).map_err(|e| format!("session {number} ({end:?}): {e}"))?;
        }
        Ok(())
    }

    /// The state after a session, held against those before.
    fn next(&mut self, now: &State, end: End) -> Result<State> {
        self.tally.sessions += 1;
        self.place.disk.load(&now.bytes);
        let mut next = now.clone();
        match end {
            End::Untouched => {}
            End::Looked => {
                session::look(&self.place)?;
                next.bytes = Arc::new(self.place.disk.bytes());
            }
            End::Replayed => {
                // A kernel that cannot replay it where it only reads leaves it as it is.
                if session::look(&self.place).is_err() {
                    return Ok(now.clone());
                }
                let caught = Caught::AtRest;
                next = State {
                    bytes: Arc::new(self.place.disk.bytes()),
                    caught,
                    sessions: now.sessions + 1,
                    era: now.era,
                };
            }
            End::InOrder | End::Cut => {
                let session = session::live(&self.place, &mut self.chance)?;
                let over = self.place.disk.bytes();
                let midway = self.midway(now, &session);
                self.hold(&midway, "midway")?;
                // Kernels have faults of their own: Linux 6.1 with clusters, seldom.
                let mounts = !self.place.kind.heals || holes::mounts(&self.place, &midway.bytes);
                self.tally.refused += u64::from(!mounts);
                if self.place.kind.heals && mounts && self.chance.one_in(3) {
                    self.tally.holes += 1;
                    holes::look(&self.place, &midway.bytes, &mut self.chance, self.mutants, &self.name)
                        .map_err(|e| format!("cut off: {e}"))?;
                }
                if end == End::Cut && mounts {
                    self.tally.cut += 1;
                    self.keep(midway.clone());
                    return Ok(midway);
                }
                // The session goes on, as after hibernation.
                if midway.caught == Caught::InUse {
                    self.keep(midway);
                }
                let caught = Caught::AtRest;
                next = State { bytes: Arc::new(over), caught, sessions: now.sessions + 1, era: now.era };
            }
        }
        if next.caught == Caught::AtRest && self.chance.one_in(2) {
            self.write_below(&mut next, end);
        }
        self.hold(&next, "at its end")?;
        self.keep(next.clone());
        Ok(next)
    }

    /// The disk as a power cut leaves it somewhere in a session; one in four while it is mounted or unmounted.
    fn midway(&mut self, now: &State, session: &Session) -> State {
        let Session { log, mounted, unmounting } = session;
        let within = unmounting - mounted;
        let (at, margin) = match self.chance.one_in(4) || within == 0 {
            true => (self.chance.index(log.len() + 1), true),
            false => (mounted + self.chance.index(within + 1), false),
        };
        let margin = margin && !(*mounted..=*unmounting).contains(&at);
        let bytes = Arc::new(cut(&now.bytes, log, at, &mut self.chance));
        match margin {
            true => State { bytes, caught: Caught::Between, sessions: now.sessions, era: now.era + 1 },
            false => State { bytes, caught: Caught::InUse, sessions: now.sessions + 1, era: now.era },
        }
    }

    fn keep(&mut self, state: State) {
        self.states.push(state);
        if self.states.len() > KEPT {
            self.states.remove(0);
        }
    }

    /// Compares a state with all that are kept.
    fn hold(&mut self, now: &State, which: &str) -> Result<()> {
        for (nth, before) in self.states.iter().enumerate().rev() {
            let may = now.since(before);
            let place = format!("{}, session {}", self.name, self.tally.sessions);
            let found = compare(&before.bytes, &now.bytes, self.mutants, &place)
                .map_err(|e| format!("{which}, against state {nth} of {}: {e}", self.states.len()))?;
            self.tally.compared += 1;
            let told = match (may, found.comparison) {
                (May::Anything, _) | (May::NotBeTold | May::BeTold, Comparison::Content) => true,
                (May::BeUntouched, by) => by == Comparison::Untouched || !self.place.kind.tells,
                (May::BeTold, by) => by == Comparison::Metadata,
                (May::NotBeTold, _) => false,
            };
            if !told {
                let by = found.comparison;
                return Err(format!("{which}, against state {nth}: told by {by:?}, and should {may:?}").into());
            }
            match found.comparison {
                Comparison::Untouched => self.tally.untouched += 1,
                Comparison::Content => self.tally.by_content += 1,
                Comparison::Metadata => {
                    self.tally.by_metadata += 1;
                    self.tally.same += found.same;
                    self.tally.used += found.used;
                }
            }
            self.tally.differed += u64::from(found.differed);
        }
        Ok(())
    }

    /// Writes below the file system what may be written there: the boot block, GRUB's environment, and what is swapped while it
    /// is mounted.
    fn write_below(&mut self, state: &mut State, end: End) {
        let mut bytes = state.bytes.to_vec();
        for Blocks { swap, places } in &self.below {
            if *swap && end != End::InOrder {
                continue;
            }
            for place in places {
                if !self.chance.one_in(3) {
                    bytes[*place..place + 512].copy_from_slice(&self.chance.bytes(512));
                }
            }
        }
        state.bytes = Arc::new(bytes);
    }
}

/// Where what is written below the file system lies.
fn blocks_below(place: &Place<'_>, bytes: &[u8], inodes: Below, dir: &Path) -> Result<[Blocks; 2]> {
    let log = u32::from_le_bytes(bytes[1024 + 0x18..1024 + 0x1c].try_into()?);
    let size = 1024usize << log;
    let (image, script) = (dir.join("image"), dir.join("script"));
    fs::write(&image, bytes)?;
    let ask = |inode: u64| -> Result<Vec<usize>> {
        let asked: String = (0..SWAP / size).map(|n| format!("bmap <{inode}> {n}\n")).collect();
        fs::write(&script, asked)?;
        let output = Command::new("debugfs").arg("-f").arg(&script).arg(&image).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let blocks = said.lines().filter_map(|line| line.trim().parse::<usize>().ok());
        Ok(blocks.filter(|b| *b != 0).map(|b| b * size).collect())
    };
    // The header of swap space stays: without it the kernel would not swap there.
    let swap = ask(inodes.swap)?.split_off(4096usize.div_ceil(size));
    let grub = ask(inodes.grub)?;
    if swap.is_empty() || grub.is_empty() {
        return Err("debugfs does not tell where the swap file and grubenv lie".into());
    }
    // No boot loader reads what is encrypted, and none writes it.
    let grub = if place.kind.encrypts() { Vec::new() } else { grub };
    // Half of the boot block; the superblock comes after it.
    let boot = vec![0];
    Ok([Blocks { swap: true, places: swap }, Blocks { swap: false, places: [grub, boot].concat() }])
}

/// Bytes at which somebody writes below the file system.
struct Blocks {
    /// Only while it is mounted.
    swap: bool,
    places: Vec<usize>,
}

/// A new file system of a kind.
fn made(place: &Place<'_>, dir: &Path) -> Result<Vec<u8>> {
    let kind: &Kind = place.kind;
    let image = dir.join("image");
    File::create(&image)?.set_len(SIZE as u64)?;
    let mut mke2fs = Command::new("mke2fs");
    mke2fs.args(["-q", "-F", "-m", "0"]).args(kind.options);
    if kind.external {
        put_journal(place.journal, dir)?;
        mke2fs.arg("-J").arg(format!("device={}", place.journal.device.display()));
    }
    run(mke2fs.arg(&image))?;
    Ok(fs::read(image)?)
}

/// Makes a disk a journal.
fn put_journal(disk: &Recorder, dir: &Path) -> Result<()> {
    let image = dir.join("journal.img");
    File::create(&image)?.set_len(JOURNAL as u64)?;
    run(Command::new("mke2fs").args(["-q", "-F", "-b", "4096", "-O", "journal_dev"]).arg(&image))?;
    disk.load(&fs::read(image)?);
    Ok(())
}
