//! The bytes of a disk that is restored whole, from the maps and the made bytes that its plan names.

use super::fences::{Head, LEN};
use super::payload::{Slices, clip};
use super::{Context, Stop};
use disk::fence::FENCE_LEN;
use model::command::ExitCode;
use model::restore::{DiskPart, DiskRestore};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::VecDeque;
use store::{Slice, SliceContent, Store, StoreError};

/// The longest slice, as in a map.
const LONGEST: u64 = 512 << 10;
/// The longest made bytes at one place: a table of a thousand entries and more.
const MOST_MADE: usize = 1 << 20;

/// Everything of a disk that comes from the store, and what is cleared, in rising order: what lies in `range`.
pub(super) fn slices(store: &Store, disk: &DiskRestore, range: Extent) -> Slices {
    let store = store.clone();
    // Only what may lie in the range is walked.
    let parts: Vec<DiskPart> = disk.parts.iter().filter_map(|part| within(part, range)).collect();
    let parts = parts.into_iter().flat_map(move |part| {
        store.map(part.map).slices(part.within).map(move |slice| slice.and_then(|s| placed(&part, s)))
    });
    let all = Cleared { parts, left: disk.cleared.clone(), size: disk.hardware.size, at: 0, ready: VecDeque::new() };
    Box::new(all.filter_map(move |slice| match slice {
        Ok(slice) => clip(slice, range).map(Ok),
        Err(e) => Some(Err(e)),
    }))
}

/// The part of a part that stands in a range of the disk.
fn within(part: &DiskPart, range: Extent) -> Option<DiskPart> {
    let at = part.place()?.intersect(range)?;
    let from = part.within.start().checked_add(ByteLen(at.start().0 - part.at.0))?;
    Some(DiskPart { map: part.map, within: Extent::new(from, at.len())?, at: at.start() })
}

/// A slice of a map at its place on the disk.
fn placed(part: &DiskPart, slice: Slice) -> Result<Slice, StoreError> {
    let from = slice.extent.start().0.checked_sub(part.within.start().0).filter(|_| part.within.contains(slice.extent));
    let at = from.and_then(|from| part.at.checked_add(ByteLen(from)));
    match at.and_then(|at| Extent::new(at, slice.extent.len())) {
        Some(extent) => Ok(Slice { extent, ..slice }),
        None => Err(out_of_place()),
    }
}

fn out_of_place() -> StoreError {
    StoreError::Damaged { what: "a map gives its bytes out of order".into() }
}

/// Slices, and zeros where there is none and something is to be cleared.
struct Cleared<I> {
    parts: I,
    left: ExtentSet,
    size: ByteLen,
    /// Where the last slice ended.
    at: u64,
    ready: VecDeque<Slice>,
}

impl<I> Cleared<I> {
    /// Zeros for what is to be cleared up to `end`.
    fn up_to(&mut self, end: u64) {
        let Some(gap) = Extent::between(self.at, end) else { return };
        for clear in self.left.clip(gap).iter() {
            let (mut at, end) = (clear.start().0, clear.end().0);
            while at < end {
                let next = end.min(at + LONGEST);
                let extent = Extent::between(at, next);
                self.ready.extend(extent.map(|extent| Slice { extent, content: SliceContent::Zero }));
                at = next;
            }
        }
    }
}

impl<I: Iterator<Item = Result<Slice, StoreError>>> Iterator for Cleared<I> {
    type Item = Result<Slice, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(ready) = self.ready.pop_front() {
            return Some(Ok(ready));
        }
        match self.parts.next() {
            Some(Ok(slice)) => {
                // The writer relies on it; a map or a plan that breaks it is none of ours.
                if slice.extent.start().0 < self.at || slice.extent.end().0 > self.size.0 {
                    return Some(Err(out_of_place()));
                }
                self.up_to(slice.extent.start().0);
                self.at = slice.extent.end().0;
                self.ready.push_back(slice);
                self.ready.pop_front().map(Ok)
            }
            Some(Err(e)) => Some(Err(e)),
            None => {
                self.up_to(self.size.0);
                self.at = self.size.0;
                self.ready.pop_front().map(Ok)
            }
        }
    }
}

/// The bytes that are made for the disk, as far as they lie in `range`.
pub(super) fn made(disk: &DiskRestore, range: Extent) -> Result<Vec<(ByteOffset, Vec<u8>)>, Stop> {
    let mut out = Vec::new();
    for made in &disk.made {
        let (Some(bytes), true) = (made.whole(MOST_MADE), Extent::whole(disk.hardware.size).contains(made.place))
        else {
            return Err(Stop::failed(ExitCode::Damage, "the plan makes a table that is none", "make a new plan"));
        };
        let Some(part) = made.place.intersect(range) else { continue };
        let from = usize::try_from(part.start().0 - made.place.start().0).unwrap_or(usize::MAX);
        let len = part.len().to_usize().unwrap_or(0);
        out.extend(bytes.get(from..from.saturating_add(len)).map(|bytes| (part.start(), bytes.to_vec())));
    }
    Ok(out)
}

/// The first bytes the disk is to have.
pub(super) fn head(cx: &Context<'_>, disk: &DiskRestore) -> Result<Head, Stop> {
    let mut head = [0; LEN];
    let range = Extent::whole(FENCE_LEN);
    let mut put = |at: ByteOffset, bytes: &[u8]| {
        let at = usize::try_from(at.0).unwrap_or(LEN);
        if let Some(place) = head.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    };
    for slice in slices(cx.store, disk, range) {
        let slice = slice?;
        put(slice.extent.start(), &cx.store.read(&slice)?);
    }
    for (at, bytes) in made(disk, range)? {
        put(at, &bytes);
    }
    Ok(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{ChunkId, Digest};
    use proptest::prelude::*;

    proptest! {
        /// What is cleared and what is there, against a plain list of bytes.
        #[test]
        fn zeros_stand_where_nothing_does(
            parts in prop::collection::vec((0u64..40, 1u64..20), 0..8),
            clear in prop::collection::vec((0u64..200, 1u64..50), 0..6),
        ) {
            let id = ChunkId(Digest::of(b"x"));
            let (mut at, mut slices, mut want) = (0, Vec::new(), [' '; 300]);
            for (start, len) in &clear {
                (*start..start + len).for_each(|i| want[usize::try_from(i).expect("small")] = '0');
            }
            for (gap, len) in parts {
                let Some(extent) = Extent::between(at + gap, at + gap + len).filter(|e| e.end().0 <= 300) else { break };
                at = extent.end().0;
                slices.push(Ok(Slice { extent, content: SliceContent::Chunk { id, at: 0 } }));
                (extent.start().0..at).for_each(|i| want[usize::try_from(i).expect("small")] = 'x');
            }
            let left = clear.iter().filter_map(|(start, len)| Extent::between(*start, start + len)).collect();
            let all = Cleared { parts: slices.into_iter(), left, size: ByteLen(300), at: 0, ready: VecDeque::new() };
            let (mut end, mut got) = (0, [' '; 300]);
            for slice in all {
                let slice = slice.expect("in order");
                prop_assert!(slice.extent.start().0 >= end);
                end = slice.extent.end().0;
                let mark = if slice.content == SliceContent::Zero { '0' } else { 'x' };
                (slice.extent.start().0..end).for_each(|i| got[usize::try_from(i).expect("small")] = mark);
            }
            prop_assert_eq!(got, want);
        }
    }

    #[test]
    fn slices_out_of_order_or_past_the_end_are_refused() {
        let zero = |start, end| {
            Ok(Slice { extent: Extent::between(start, end).expect("ordered"), content: SliceContent::Zero })
        };
        for parts in [vec![zero(10, 20), zero(15, 30)], vec![zero(90, 101)]] {
            let (left, ready) = (ExtentSet::new(), VecDeque::new());
            let all = Cleared { parts: parts.into_iter(), left, size: ByteLen(100), at: 0, ready };
            assert!(all.into_iter().any(|s: Result<Slice, StoreError>| s.is_err()));
        }
    }
}
