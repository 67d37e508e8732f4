//! Whether a file, or a directory with all that is in it, is the same in two states.

use super::folder::Set;
use super::{MOST_DEPTH, Pair, clusters, entries, find, names, wrong};
use crate::bits::Bits;
use crate::fs::FsError;
use crate::fs::fat::Fat;
use crate::fs::fat::dir::Entry;
use model::ports::ReadAt as _;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;

/// How much of two files is compared at a time.
const PIECE: u64 = 1 << 20;

/// What stands at a path in two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compared {
    /// It is there in the earlier one.
    pub then: bool,
    /// It is there in the later one.
    pub now: bool,
    /// The two are not the same: in names, attributes, times but that of the last reading, or content.
    pub differs: bool,
    /// Names in it, its own included: of the later state, where it is there.
    pub files: u64,
    /// Their bytes.
    pub bytes: ByteLen,
}

impl Compared {
    /// Its bytes are no more than its clusters hold: an entry may say that its file is longer.
    fn hold(&mut self, fat: &Fat, clusters: u64) {
        self.bytes = self.bytes.min(ByteLen(clusters.saturating_mul(u64::from(fat.boot.geometry.cluster_size))));
    }
}

/// What one path has in common with the others that are compared: clusters that were met.
pub(super) struct Met {
    then: Bits,
    now: Bits,
}

impl Pair<'_> {
    /// Compares what stands at each path. What is compared of both is no more than there is.
    ///
    /// # Errors
    /// [`FsError`] where one of them cannot be read in the later state.
    pub fn compare(&self, paths: &[RawName]) -> Result<Vec<Compared>, FsError> {
        let bits = |fat: &Fat| Bits::new(fat.boot.geometry.clusters + 2);
        let mut met = Met { then: bits(self.then), now: bits(self.now) };
        paths.iter().map(|path| self.compared(&names(path)?, &mut met)).collect()
    }

    fn compared(&self, names: &[String], met: &mut Met) -> Result<Compared, FsError> {
        let now = find(self.now, names).map_err(|e| wrong("as it is now", e))?;
        let mut out = Compared::default();
        if let Some(entry) = now.as_ref().and_then(|set| set.entry.as_ref()) {
            let mut taken = 0;
            clusters(self.now, entry, (&mut met.now, 0), &mut |_| taken += 1).map_err(|e| wrong("as it is now", e))?;
            out.now = true;
            count(self.now, entry, &mut out, 0)?;
            out.hold(self.now, taken);
        }
        // What cannot be read of the earlier state is not the same.
        let Ok(then) = find(self.then, names) else { return Ok(Compared { then: true, differs: true, ..out }) };
        if let Some(entry) = then.as_ref().and_then(|set| set.entry.as_ref()) {
            out.then = true;
            let mut taken = 0;
            if clusters(self.then, entry, (&mut met.then, 0), &mut |_| taken += 1).is_err() {
                return Ok(Compared { differs: true, ..out });
            }
            if !out.now {
                count(self.then, entry, &mut out, 0)?;
                out.hold(self.then, taken);
            }
        }
        out.differs = match (then, now) {
            (Some(then), Some(now)) => !self.same(&then, &now, 0)?,
            (then, now) => then.is_some() || now.is_some(),
        };
        Ok(out)
    }

    fn same(&self, then: &Set, now: &Set, depth: usize) -> Result<bool, FsError> {
        let (Some(a), Some(b)) = (&then.entry, &now.entry) else {
            return Ok(then.entry.is_none() == now.entry.is_none());
        };
        if record(then) != record(now) || a.name != b.name {
            return Ok(false);
        }
        match (a.directory, b.directory) {
            (true, true) if depth < MOST_DEPTH => self.same_entries(a, b, depth),
            (false, false) => self.same_content(a, b),
            _ => Ok(false),
        }
    }

    fn same_entries(&self, a: &Entry, b: &Entry, depth: usize) -> Result<bool, FsError> {
        let by_name = |fat: &Fat, e: &Entry| -> Result<BTreeMap<String, Set>, FsError> {
            let named = |set: Set| Some((set.entry.as_ref()?.name.to_lowercase(), set));
            Ok(entries(fat, e.cluster)?.into_iter().filter_map(named).collect())
        };
        let (then, now) = (by_name(self.then, a)?, by_name(self.now, b)?);
        if !then.keys().eq(now.keys()) {
            return Ok(false);
        }
        for (a, b) in then.values().zip(now.values()) {
            if !self.same(a, b, depth + 1)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn same_content(&self, a: &Entry, b: &Entry) -> Result<bool, FsError> {
        if a.size != b.size {
            return Ok(false);
        }
        let (Ok(then), now) = (self.then.files.open(a), self.now.files.open(b)?) else { return Ok(false) };
        let size = u64::from(a.size);
        let mut at = 0;
        while at < size {
            let len = ByteLen((size - at).min(PIECE)).to_usize().unwrap_or(0);
            let new = now.read_vec(ByteOffset(at), len)?;
            if !then.read_vec(ByteOffset(at), len).is_ok_and(|old| old == new) {
                return Ok(false);
            }
            at += len as u64;
        }
        Ok(true)
    }
}

/// What an entry keeps of a file but its clusters and the day it was last read on; and but the short name of one that has a long one, which
/// is another where that was taken.
fn record(set: &Set) -> Option<Vec<u8>> {
    let raw = set.raw.last()?;
    let name = if set.is_long() { 11 } else { 0 };
    Some([&raw[name..18], &raw[22..26], &raw[28..]].concat())
}

fn count(fat: &Fat, entry: &Entry, out: &mut Compared, depth: usize) -> Result<(), FsError> {
    out.files += 1;
    out.bytes.0 = out.bytes.0.saturating_add(u64::from(entry.size));
    if !entry.directory || depth >= MOST_DEPTH {
        return Ok(());
    }
    for child in entries(fat, entry.cluster)?.iter().filter_map(|set| set.entry.as_ref()) {
        count(fat, child, out, depth + 1)?;
    }
    Ok(())
}
