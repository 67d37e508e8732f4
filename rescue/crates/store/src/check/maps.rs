//! Checking maps: what each part of one says, and whether everything it names can be had.

use super::{Checker, MOST_CAUSES, MOST_NAMED};
use crate::error::StoreError;
use crate::layout::big;
use crate::map::{Sub, mask};
use crate::node::{LeafContent, Node};
use crate::records::maps;
use model::id::Digest;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is known of a part of a map, however many snapshots share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Part {
    used: u64,
    /// One past the last used address, from the part's own start.
    pub(super) end: u64,
    /// Findings it depends on.
    pub(super) causes: Arc<BTreeSet<usize>>,
}

impl Checker<'_> {
    /// Looks at a part of a map once, however often it is shared. The depth is bounded by the height, at most 5.
    pub(super) fn part(&mut self, sub: Sub) -> Result<Part, StoreError> {
        if let Some(part) = self.parts.get(&sub).cloned() {
            self.went(part.used);
            return Ok(part);
        }
        let mut causes = BTreeSet::new();
        let mut part = Part::default();
        // A chunk nobody has is found by reading; one with bad bytes is known already.
        if self.chunk(&sub.id.0, None, &mut causes) {
            match sub.open(self.store) {
                Ok(node) => {
                    self.node(&node, &mut part, &mut causes)?;
                    self.prove(&sub, &node, &mut causes)?;
                }
                Err(e) => {
                    causes.insert(self.found(e)?);
                }
            }
        }
        while causes.len() > MOST_CAUSES {
            causes.pop_last();
        }
        part.causes = Arc::new(causes);
        self.parts.insert(sub, part.clone());
        Ok(part)
    }

    fn node(&mut self, node: &Node, part: &mut Part, causes: &mut BTreeSet<usize>) -> Result<(), StoreError> {
        part.used = node.used();
        match node {
            Node::Leaf(leaf) => {
                let mut needed = vec![0; leaf.chunks.len()];
                for slice in &leaf.slices {
                    if let LeafContent::Chunk { number, at } = slice.content
                        && let Some(needed) = needed.get_mut(usize::from(number))
                    {
                        *needed = at.saturating_add(slice.len).max(*needed);
                    }
                    part.end = u64::from(slice.end());
                }
                for (id, needed) in leaf.chunks.iter().zip(needed) {
                    self.chunk(&id.0, Some(needed), causes);
                }
            }
            Node::Inner(inner) => {
                let mut used = 0u64;
                for child in &inner.children {
                    let below = self.part(Sub::child(inner, child))?;
                    causes.extend(below.causes.iter().copied());
                    used = used.saturating_add(below.used);
                    let base = u64::from(child.index).saturating_mul(mask(inner.height - 1).saturating_add(1));
                    part.end = base.saturating_add(below.end);
                }
                if causes.is_empty() && used != inner.used {
                    let text = format!("a map node says {} bytes are used, below it are {used}", inner.used);
                    causes.insert(self.note(text));
                }
            }
        }
        Ok(())
    }

    /// Where signers are required, whether a leaf's bytes are those that its content digest names: a signature is no more
    /// worth than that. What is damaged anyway is not read again.
    fn prove(&mut self, sub: &Sub, node: &Node, causes: &mut BTreeSet<usize>) -> Result<(), StoreError> {
        let Node::Leaf(leaf) = node else { return Ok(()) };
        if self.proves() && !self.stopped && causes.is_empty() {
            match self.store.prove_leaf(&sub.id, leaf) {
                Ok(()) => self.report.read.0 = self.report.read.0.saturating_add(node.used()),
                Err(e) => {
                    causes.insert(self.found(e)?);
                }
            }
        }
        self.went(node.used());
        Ok(())
    }

    /// Used bytes of all maps, where leaves are to be proven: a shared part counts each time, and is read once.
    pub(super) fn to_prove(&self) -> Result<u64, StoreError> {
        let mut sum = 0u64;
        if self.proves() {
            for (_, manifest) in &self.store.list()?.snapshots {
                for (root, ..) in maps(manifest) {
                    // What cannot be read is found when its turn comes.
                    sum = sum.saturating_add(self.store.map(root).used().unwrap_or_default().0);
                }
            }
        }
        Ok(sum)
    }

    fn proves(&self) -> bool {
        self.report.read_data && self.store.requires_signers()
    }

    /// Tells that used bytes of a map are done with.
    fn went(&mut self, used: u64) {
        if self.proves() && !self.stopped {
            self.went_on(used);
        }
    }

    /// Whether a chunk can be had, with good bytes and at least the length that is used of it.
    fn chunk(&mut self, id: &Digest, len: Option<u32>, causes: &mut BTreeSet<usize>) -> bool {
        let at = self.homes.partition_point(|(other, ..)| other < id);
        if let Some((_, pack, has)) = self.homes.get(at).filter(|(other, ..)| other == id).copied() {
            if let Some(needed) = self.needed.get_mut(big(pack)) {
                *needed = true;
            }
            if len.is_some_and(|len| len > has) {
                let text = format!("chunk {} has {has} bytes, a map uses more", id.short(12));
                causes.insert(self.note(text));
            }
            return true;
        }
        let finding = match (self.bad_chunks.get(id), self.cause) {
            (Some(finding), _) => *finding,
            // Of a pack that is gone, or has no footer any more, nobody knows what it held.
            (None, Some(cause)) => cause,
            (None, None) => {
                let gone: Vec<String> = self.gone.iter().take(MOST_NAMED).map(|p| p.short(12)).collect();
                let gone =
                    if gone.is_empty() { String::new() } else { format!("; gone are packs {}", gone.join(", ")) };
                self.note(format!("chunk {} is in no pack that can be read{gone}", id.short(12)))
            }
        };
        self.bad_chunks.insert(*id, finding);
        causes.insert(finding);
        false
    }
}
