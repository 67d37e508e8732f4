//! What damage costs a snapshot: which bytes of its volumes cannot be had.

use super::Checker;
use crate::layout::MAX_VOLUME;
use crate::map::{Sub, mask};
use crate::node::{LeafContent, Node};
use model::id::SnapshotId;
use model::snapshot::MapRoot;
use model::text::DisplayText;
use model::units::{ByteLen, Extent, ExtentSet};
use serde::{Deserialize, Serialize};

/// Ranges that are told of one map, and of all maps together: 16 bytes each.
const MOST_RANGES: usize = 1 << 18;
const MOST_RANGES_IN_ALL: usize = 1 << 20;

/// Bytes of a snapshot that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// A volume of it, or the table of a disk.
    pub of: DisplayText,
    /// How many; of a part whose map cannot be read all, whether they were in use or not.
    pub bytes: ByteLen,
    /// How many ranges they make up.
    pub places: u64,
    /// The ranges, from the start of the volume; only the first ones where there are too many.
    pub ranges: ExtentSet,
}

/// Bytes that cannot be had, as they are found.
#[derive(Debug, Default)]
struct Lost {
    bytes: u64,
    /// Ranges that do not touch.
    places: u64,
    ranges: ExtentSet,
    /// Most ranges that are kept.
    most: usize,
    /// End of the last range.
    end: u64,
    /// The end of the volume: nothing lies behind it, whatever a map says.
    limit: u64,
}

impl Lost {
    /// Adds a range that lies behind all before.
    fn add(&mut self, start: u64, len: u64) {
        let end = start.saturating_add(len).min(self.limit);
        if end <= start {
            return;
        }
        let touches = self.places > 0 && start == self.end;
        self.places += u64::from(!touches);
        self.bytes = self.bytes.saturating_add(end - start);
        self.end = end;
        if self.places <= self.most as u64
            && let Some(range) = Extent::between(start, end)
        {
            self.ranges.insert(range);
        }
    }
}

impl Checker<'_> {
    /// Tells what cannot be had of maps that are damaged, given oldest first. Where there is too much to tell, it is told of
    /// the newest.
    pub(super) fn losses(&mut self, damaged: Vec<(SnapshotId, MapRoot, Option<u64>, DisplayText)>) {
        let mut left = MOST_RANGES_IN_ALL;
        for (snapshot, root, len, of) in damaged.into_iter().rev() {
            // The first range is told always.
            let lost = self.loss(root, len, left.max(1));
            left = left.saturating_sub(lost.ranges.ranges());
            let (bytes, places, ranges) = (ByteLen(lost.bytes), lost.places, lost.ranges);
            self.report.lost.push(Loss { snapshot, of, bytes, places, ranges });
        }
        self.report.lost.reverse();
    }

    /// What cannot be had of a map that was looked at and is damaged. Only its damaged parts are looked at again.
    /// At most `most` ranges of it are told.
    fn loss(&self, root: MapRoot, len: Option<u64>, most: usize) -> Lost {
        let mut loss = Lost { limit: len.unwrap_or(MAX_VOLUME), most: most.min(MOST_RANGES), ..Lost::default() };
        self.lost(root.into(), 0, &mut loss);
        if loss.bytes == 0 {
            // A rule is broken that is of no single byte.
            loss.add(0, loss.limit);
        }
        loss
    }

    fn lost(&self, sub: Sub, base: u64, loss: &mut Lost) {
        if self.parts.get(&sub).is_some_and(|part| part.causes.is_empty()) {
            return;
        }
        let span = mask(sub.height).saturating_add(1);
        match sub.open(self.store).as_deref() {
            // Nobody knows what was in use.
            Err(_) => loss.add(base, span),
            Ok(Node::Inner(inner)) => {
                let step = mask(inner.height - 1).saturating_add(1);
                for child in &inner.children {
                    let at = base.saturating_add(u64::from(child.index).saturating_mul(step));
                    self.lost(Sub::child(inner, child), at, loss);
                }
            }
            Ok(Node::Leaf(leaf)) => {
                let before = loss.bytes;
                for slice in &leaf.slices {
                    if let LeafContent::Chunk { number, .. } = slice.content
                        && leaf.chunks.get(usize::from(number)).is_some_and(|id| self.bad_chunks.contains_key(&id.0))
                    {
                        loss.add(base.saturating_add(u64::from(slice.start)), u64::from(slice.len));
                    }
                }
                if loss.bytes == before {
                    // Its chunks can be had, and are not what it says.
                    loss.add(base, span);
                }
            }
        }
    }
}
