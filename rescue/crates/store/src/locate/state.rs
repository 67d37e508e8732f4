//! What the index knows at a moment. Behind a lock that is only held for work in memory.

use super::hints::Hints;
use super::packs::{Packs, Trust};
use super::run::{Head, Run};
use super::{Key, MOST_SAME, PackNo, key_of};
use model::id::Digest;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Recent entries from which on they should be written out.
pub(super) const RECENT: usize = 262_144;
/// Packs with recent entries from which on they should be written out; so that they fit a run.
pub(super) const RECENT_PACKS: usize = 32_768;

/// Packs, runs and the entries that are in no run.
#[derive(Default)]
pub(super) struct State {
    pub(super) packs: Packs,
    pub(super) runs: Arc<Vec<Arc<Run>>>,
    /// Chunks of verified packs that no run names.
    pub(super) recent: BTreeSet<(Key, PackNo)>,
    /// How many packs `recent` has.
    pub(super) recent_packs: usize,
    /// Recent entries that are being written out: rising.
    pub(super) leaving: Arc<Vec<(Key, PackNo)>>,
    pub(super) hints: Hints,
}

impl State {
    /// Adds a pack with its chunks, or what is newly known of it.
    pub(super) fn add(&mut self, pack: &Digest, trust: Trust, ids: &[Digest]) -> PackNo {
        let no = self.packs.meet(pack);
        let Some(known) = self.packs.get_mut(no) else { return no };
        // Who finds a good pack there already knows no better than whoever read it back.
        if !(known.may_be_named() && matches!(trust, Trust::Put | Trust::Unknown)) {
            known.pack.trust = trust;
        }
        known.present = true;
        known.touched = true;
        known.unreadable = false;
        if known.named || known.held {
            return no;
        }
        // Beyond twice the number nobody writes entries out: the pack is looked for among the hints until somebody does.
        if known.may_be_named() && self.recent.len() < 2 * RECENT && self.recent_packs < 2 * RECENT_PACKS {
            self.hold(no, ids);
        } else {
            self.hint(no, ids);
        }
        no
    }

    /// Adds a pack's chunks to the recent entries.
    pub(super) fn hold(&mut self, no: PackNo, ids: &[Digest]) {
        let Some(known) = self.packs.get_mut(no) else { return };
        self.recent_packs += usize::from(!known.held);
        known.held = true;
        self.recent.extend(ids.iter().map(|id| (key_of(id), no)));
    }

    /// Adds a pack's chunks to the hints, where they are not among them; false where there is no room.
    pub(super) fn hint(&mut self, no: PackNo, ids: &[Digest]) -> bool {
        let Some(known) = self.packs.get_mut(no) else { return true };
        if known.hinted {
            return true;
        }
        known.hinted = self.hints.has_room(ids.len());
        if known.hinted {
            self.hints.add(no, ids.iter().map(key_of));
        }
        known.hinted
    }

    /// True where recent entries should be written out.
    pub(super) fn is_due(&self) -> bool {
        self.recent.len() >= RECENT || self.recent_packs >= RECENT_PACKS
    }

    /// The packs that may hold a chunk, by what is in memory.
    pub(super) fn find(&self, key: &Key, found: &mut Vec<PackNo>) {
        let same = (*key, PackNo(0))..=(*key, PackNo(u32::MAX));
        found.extend(self.recent.range(same).take(MOST_SAME).map(|(_, pack)| *pack));
        let at = self.leaving.partition_point(|(other, _)| other < key);
        let leaving = self.leaving[at..].iter().take_while(|(other, _)| other == key);
        found.extend(leaving.take(MOST_SAME).map(|(_, pack)| *pack));
        self.hints.find(key, found);
    }

    /// Makes a loaded head a run: every pack it names is met and was read back whole by whoever wrote it.
    pub(super) fn bind(&mut self, id: Digest, head: Head, serial: u32) -> Run {
        let packs = head.packs.iter().map(|pack| {
            let no = self.packs.meet(pack);
            if let Some(known) = self.packs.get_mut(no)
                && known.pack.trust == Trust::Unknown
            {
                known.pack.trust = Trust::Verified;
            }
            no
        });
        let packs = packs.collect();
        Run::new(id, head, packs, serial)
    }

    /// Puts runs in the place of others, and forgets the hints of packs that are named now.
    pub(super) fn replace(&mut self, gone: &[Digest], new: impl IntoIterator<Item = Arc<Run>>) {
        let new: Vec<_> = new.into_iter().collect();
        let kept = self.runs.iter().filter(|run| !gone.contains(&run.id) && new.iter().all(|n| n.id != run.id));
        self.runs = Arc::new(kept.chain(&new).cloned().collect());
        self.packs.iter_mut().for_each(|known| known.named = false);
        for no in self.runs.iter().flat_map(|run| run.packs.iter()) {
            if let Some(known) = self.packs.get_mut(*no) {
                known.named = true;
            }
        }
        let mut found = false;
        for known in self.packs.iter_mut().filter(|known| known.hinted && (known.named || !known.present)) {
            known.hinted = false;
            found = true;
        }
        if found {
            let packs = &self.packs;
            self.hints.retain(|no| packs.get(no).is_some_and(|known| known.hinted));
        }
    }
}
