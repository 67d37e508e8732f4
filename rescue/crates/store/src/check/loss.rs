//! What damage costs a snapshot: which bytes of its volumes cannot be had.

use super::Checker;
use crate::layout::MAX_VOLUME;
use crate::map::{Sub, mask};
use crate::node::{LeafContent, Node};
use model::snapshot::MapRoot;

/// Bytes that cannot be had.
#[derive(Debug, Default)]
pub(super) struct Loss {
    pub(super) bytes: u64,
    /// Ranges that do not touch.
    pub(super) places: u64,
    pub(super) first: u64,
    /// End of the last range.
    end: u64,
    /// The end of the volume: nothing lies behind it, whatever a map says.
    limit: u64,
}

impl Loss {
    /// Adds a range that lies behind all before.
    fn add(&mut self, start: u64, len: u64) {
        let end = start.saturating_add(len).min(self.limit);
        if end <= start {
            return;
        }
        if self.places == 0 {
            self.first = start;
        }
        self.places += u64::from(self.places == 0 || start != self.end);
        self.bytes = self.bytes.saturating_add(end - start);
        self.end = end;
    }
}

impl Checker<'_> {
    /// What cannot be had of a map that was looked at and is damaged. Only its damaged parts are looked at again.
    pub(super) fn loss(&self, root: MapRoot, len: Option<u64>) -> Loss {
        let mut loss = Loss { limit: len.unwrap_or(MAX_VOLUME), ..Loss::default() };
        self.lost(root.into(), 0, &mut loss);
        if loss.bytes == 0 {
            // A rule is broken that is of no single byte.
            loss.add(0, loss.limit);
        }
        loss
    }

    fn lost(&self, sub: Sub, base: u64, loss: &mut Loss) {
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
