//! One file system from `mke2fs` through its sessions.

use crate::kinds::Kind;
use crate::session::{self, Chance, End, SWAP};
use disk::{content, coverage};
use model::coverage::Comparison;
use model::id::{DiskNo, VolumePath};
use model::ports::ReadAt;
use model::units::{Extent, ExtentSet};
use qemu_tests::Result;
use qemu_tests::machine::run;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Size of a file system.
const SIZE: u64 = 24 << 20;
/// Sessions of a history.
const SESSIONS: u64 = 4;

/// What was seen.
#[derive(Default)]
pub(crate) struct Tally {
    histories: u64,
    sessions: u64,
    cut: u64,
    untouched: u64,
    pub(crate) by_metadata: u64,
    by_content: u64,
    /// Bytes called the same, and bytes in use, in sessions told by metadata.
    pub(crate) same: u64,
    used: u64,
    /// Bytes that nobody called the same and that differed: there was something to find.
    differed: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self { histories, sessions, cut, untouched, by_metadata, by_content, same, used, differed } = other;
        self.histories += histories;
        self.sessions += sessions;
        self.cut += cut;
        self.untouched += untouched;
        self.by_metadata += by_metadata;
        self.by_content += by_content;
        self.same += same;
        self.used += used;
        self.differed += differed;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (100 * self.same).checked_div(self.used).unwrap_or(0);
        write!(
            f,
            "{} histories, {} sessions ({} cut off): {} untouched, {} by metadata ({percent} % the same), {} by content; \
             {} bytes differed",
            self.histories, self.sessions, self.cut, self.untouched, self.by_metadata, self.by_content, self.differed
        )
    }
}

/// A file system's life.
pub(crate) struct Life {
    chance: Chance,
    image: PathBuf,
    at: PathBuf,
}

impl Life {
    /// Makes the file system.
    pub(crate) fn new(kind: &Kind, seed: u64, dir: &Path) -> Result<Self> {
        let life = Self { chance: Chance::new(seed, kind.name), image: dir.join("image"), at: dir.join("at") };
        fs::create_dir_all(&life.at)?;
        File::create(&life.image)?.set_len(SIZE)?;
        run(Command::new("mke2fs").args(["-q", "-F", "-m", "0"]).args(kind.options).arg(&life.image))?;
        Ok(life)
    }

    /// Lives it.
    pub(crate) fn live(mut self, tally: &mut Tally) -> Result<()> {
        tally.histories += 1;
        session::first(&self.image, &self.at, &mut self.chance)?;
        let mut before = fs::read(&self.image)?;
        let mut dirty = false;
        for number in 0..SESSIONS {
            tally.sessions += 1;
            let end = match self.chance.below(6) {
                0 => End::Cut,
                1 => End::Untouched,
                _ => End::InOrder,
            };
            let now = match end {
                End::Untouched => fs::read(&self.image)?,
                _ => session::live(&self.image, &self.at, end, &mut self.chance)?,
            };
            fs::write(&self.image, &now)?;
            if !dirty && end != End::Cut && self.chance.below(2) == 0 {
                self.below(end)?;
            }
            let now = fs::read(&self.image)?;
            let found = compare(&before, &now).map_err(|e| format!("after session {number} ({end:?}): {e}"))?;
            tally.cut += u64::from(end == End::Cut);
            tally.differed += found.differed;
            match found.comparison {
                _ if dirty || end == End::Cut => {
                    if found.comparison != Comparison::Content {
                        return Err(format!(
                            "session {number}: trusted, though {}",
                            if dirty { "the state before was cut off" } else { "it was cut off" }
                        )
                        .into());
                    }
                    tally.by_content += 1;
                }
                Comparison::Untouched if end == End::Untouched => tally.untouched += 1,
                Comparison::Untouched => return Err(format!("session {number}: called untouched").into()),
                Comparison::Metadata => {
                    tally.by_metadata += 1;
                    tally.same += found.same;
                    tally.used += found.used;
                }
                Comparison::Content => tally.by_content += 1,
            }
            dirty = end == End::Cut;
            before = now;
        }
        Ok(())
    }

    /// Writes below the file system what may be written there: into the swap file, where it is one, and GRUB's environment.
    fn below(&mut self, end: End) -> Result<()> {
        // Nobody swaps to a file system that is not mounted.
        let names: &[&str] = if end == End::Untouched { &["/grubenv"] } else { &["/swap", "/grubenv"] };
        for name in names {
            let blocks = self.blocks(name)?;
            let size = self.block_size()?;
            // The header of swap space stays: without it the kernel would not swap there.
            let skipped = if *name == "/swap" { usize::try_from(4096 / size.min(4096))? } else { 0 };
            let image = OpenOptions::new().write(true).open(&self.image)?;
            for block in blocks.into_iter().skip(skipped) {
                if block != 0 && self.chance.below(3) != 0 {
                    image.write_all_at(&self.chance.bytes(512), block * size)?;
                }
            }
        }
        Ok(())
    }

    /// Where the data of a file that is no longer than the swap file lies.
    fn blocks(&self, name: &str) -> Result<Vec<u64>> {
        let script = self.image.with_extension("debugfs");
        let asked: String = (0..SWAP as u64 / self.block_size()?).map(|n| format!("bmap {name} {n}\n")).collect();
        fs::write(&script, asked)?;
        let output = Command::new("debugfs").arg("-f").arg(&script).arg(&self.image).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.trim().parse().ok()).collect())
    }

    fn block_size(&self) -> Result<u64> {
        let mut log = [0; 4];
        File::open(&self.image)?.read_exact_at(&mut log, 1024 + 0x18)?;
        Ok(1024 << u32::from_le_bytes(log))
    }
}

/// What a comparison gave.
struct Found {
    comparison: Comparison,
    same: u64,
    used: u64,
    differed: u64,
}

/// Asks what is the same, and looks at every byte of the answer.
fn compare(before: &[u8], now: &[u8]) -> Result<Found> {
    let volume = VolumePath::whole(DiskNo(0));
    let readable = |bytes: &[u8]| Arc::new(bytes.to_vec()) as Arc<dyn ReadAt>;
    let (content, _) = content::identify(&volume, &readable(now));
    let changes = coverage::changes(&content, readable(now), readable(before));
    let used = coverage::of(&content, readable(now)).used;
    let same: ExtentSet = used.iter().flat_map(|e| changes.same.clip(e).iter().collect::<Vec<_>>()).collect();
    if let Some(at) = differing(&same, before, now).next() {
        return Err(format!("byte {at} (block of 4 KiB {}) was called the same, and is not", at / 4096).into());
    }
    let rest: ExtentSet = used.iter().flat_map(|e: Extent| same.gaps(e).iter().collect::<Vec<_>>()).collect();
    let differed = differing(&rest, before, now).count() as u64;
    Ok(Found { comparison: changes.comparison, same: same.total().0, used: used.total().0, differed })
}

/// The bytes within `set` that are not the same.
fn differing<'a>(set: &'a ExtentSet, before: &'a [u8], now: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    set.iter().flat_map(move |e| {
        let range = usize::try_from(e.start().0).unwrap_or(0)..usize::try_from(e.end().0).unwrap_or(0);
        let (a, b) = (&before[range.clone()], &now[range.clone()]);
        // Whole runs first: most are the same.
        let differ = a != b;
        a.iter().zip(b).zip(range).filter(move |((a, b), _)| differ && a != b).map(|(_, at)| at)
    })
}
