//! A directory as the entries in it, each with the parts of its long name, to be put into another directory.

use super::super::boot::Geometry;
use super::super::dir::{self, ENTRY, Entry, MOST_BYTES, attribute};
use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::ByteLen;
use std::collections::BTreeSet;

pub(super) type Raw = [u8; ENTRY];

/// What stands before `~` and a number in a short name at least, and the highest number (six digits and the tilde leave one).
const MOST_NUMBER: u32 = 999_999;

/// An entry: the parts of its long name, and the short one behind them.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) raw: Vec<Raw>,
    /// What it is; `None` for a label, for `.` and for `..`.
    pub(super) entry: Option<Entry>,
}

impl Set {
    /// True where a component of a path, in lower case, means it.
    pub(super) fn is_called(&self, lower: &str) -> bool {
        self.entry.as_ref().is_some_and(|e| e.is_called(lower))
    }

    /// The short name as it lies there.
    pub(super) fn short(&self) -> Option<[u8; 11]> {
        self.raw.last()?.first_chunk().copied()
    }

    /// True where it has a long name; its short one is an alias then.
    pub(super) fn is_long(&self) -> bool {
        self.raw.len() > 1
    }

    /// Gives it another short name: the first of the kind `NAME~1` that is not taken.
    fn rename(&mut self, taken: &BTreeSet<[u8; 11]>) -> Result<(), FsError> {
        let none = || FsError::Corrupt("two entries of a directory have the same short name".to_owned());
        let old = self.short().filter(|_| self.is_long()).ok_or_else(none)?;
        let stem: Vec<u8> = old[..8].iter().copied().take_while(|b| *b != b' ' && *b != b'~').collect();
        let called = |n: u32| {
            let tail = format!("~{n}").into_bytes();
            let mut name = old;
            name[..8].fill(b' ');
            let keep = stem.len().min(8 - tail.len());
            name[..keep].copy_from_slice(&stem[..keep]);
            name[keep..keep + tail.len()].copy_from_slice(&tail);
            name
        };
        let new = (1..=MOST_NUMBER).map(called).find(|name| !taken.contains(name)).ok_or_else(none)?;
        let sum = self.raw.last_mut().map(|raw| {
            raw[..11].copy_from_slice(&new);
            dir::sum(raw)
        });
        let parts = self.raw.len() - 1;
        for part in &mut self.raw[..parts] {
            part[13] = sum.unwrap_or(0);
        }
        Ok(())
    }
}

/// The bytes of a directory (first cluster 0: the root), and its clusters: none where it is the root of a FAT12 or FAT16.
pub(super) fn content(bytes: &dyn ReadAt, g: &Geometry, first: u32) -> Result<(Vec<u8>, Vec<u32>), FsError> {
    let (mut all, mut clusters) = (Vec::new(), Vec::new());
    for place in dir::places(bytes, g, first) {
        let place = place?;
        clusters.extend(g.number(place).filter(|_| g.data.contains(place)));
        let len = ByteLen(place.len().0.min(MOST_BYTES)).to_usize().unwrap_or(0);
        all.extend(bytes.read_vec(place.start(), len)?);
        if all.len() as u64 > MOST_BYTES {
            return Err(FsError::Corrupt(format!("a directory has more than {MOST_BYTES} bytes")));
        }
    }
    Ok((all, clusters))
}

/// The entries in the bytes of a directory. What was deleted, and parts of long names that belong to nothing, are left out.
pub(super) fn sets(bytes: &[u8], g: &Geometry) -> Result<Vec<Set>, FsError> {
    let (mut out, mut parts) = (Vec::new(), Vec::new());
    for raw in bytes.as_chunks::<ENTRY>().0 {
        match kind(raw) {
            Kind::End => break,
            Kind::Deleted => parts.clear(),
            Kind::Part => parts.push(*raw),
            Kind::Label | Kind::Itself | Kind::Parent => {
                parts.clear();
                out.push(Set { raw: vec![*raw], entry: None });
            }
            Kind::Entry => {
                let (entry, own) = dir::with_parts(raw, g, &parts);
                if entry.name.is_empty() || entry.name.contains(['/', '\0']) {
                    return Err(FsError::Corrupt("a directory has an entry with a name that is none".to_owned()));
                }
                let long = if own { std::mem::take(&mut parts) } else { Vec::new() };
                parts.clear();
                out.push(Set { raw: long.into_iter().chain([*raw]).collect(), entry: Some(entry) });
            }
        }
    }
    Ok(out)
}

/// What 32 bytes of a directory are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing, and nothing behind it.
    End,
    Deleted,
    /// A part of a long name.
    Part,
    Label,
    /// `.`
    Itself,
    /// `..`
    Parent,
    Entry,
}

pub(super) fn kind(raw: &Raw) -> Kind {
    match raw[0] {
        0 => Kind::End,
        0xe5 => Kind::Deleted,
        _ if raw[11] & 0x3f == attribute::LONG_NAME => Kind::Part,
        _ if raw[11] & attribute::VOLUME != 0 => Kind::Label,
        _ if raw[..11] == *b".          " => Kind::Itself,
        _ if raw[..11] == *b"..         " => Kind::Parent,
        _ => Kind::Entry,
    }
}

/// Puts the number of a first cluster into an entry of a FAT of `width`, which was in one of `from` before.
pub(super) fn put_cluster(raw: &mut Raw, no: u32, (width, from): (u8, u8)) {
    let [a, b, c, d] = no.to_le_bytes();
    raw[26..28].copy_from_slice(&[a, b]);
    match (width, from) {
        (32, _) => raw[20..22].copy_from_slice(&[c, d]),
        (_, 32) => raw[20..22].fill(0),
        // Something else may stand there in a FAT12 or FAT16.
        _ => {}
    }
}

/// `.` and `..` of a directory that is made, with the times of its entry.
pub(super) fn dots(of: &Raw, (own, parent): (u32, u32), widths: (u8, u8)) -> [Set; 2] {
    let dot = |name: &[u8; 11], no: u32| {
        let mut raw = *of;
        raw[..11].copy_from_slice(name);
        raw[11] = attribute::DIRECTORY;
        raw[12] = 0;
        put_cluster(&mut raw, no, widths);
        Set { raw: vec![raw], entry: None }
    };
    [dot(b".          ", own), dot(b"..         ", parent)]
}

/// Puts an entry among others, at `place` or behind them; one of two with the same short name gets another.
pub(super) fn put(sets: &mut Vec<Set>, place: Option<usize>, mut new: Set) -> Result<(), FsError> {
    let others = |sets: &[Set]| -> BTreeSet<[u8; 11]> {
        let own = sets.iter().filter(|s| s.entry.is_some() && !s.raw.is_empty());
        own.filter_map(Set::short).collect()
    };
    let mut taken = others(sets);
    let short = new.short();
    if short.is_some_and(|short| taken.contains(&short)) {
        match new.is_long() {
            true => new.rename(&taken)?,
            false => {
                let same = |s: &&mut Set| s.entry.is_some() && s.short() == short;
                if let Some(other) = sets.iter_mut().find(same) {
                    taken.extend(short);
                    other.rename(&taken)?;
                }
            }
        }
    }
    match place.and_then(|at| sets.get_mut(at)) {
        Some(there) => *there = new,
        None => sets.push(new),
    }
    Ok(())
}
