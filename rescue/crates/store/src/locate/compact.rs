//! Keeping index objects few, and rid of packs that are gone.

use super::merge::{self, MergeError};
use super::run::{MAX_ENTRIES, MAX_PACKS, Run};
use super::upkeep::{Upkeep, delete};
use super::{Index, PackNo, Source};
use crate::error::StoreError;
use crate::layout::big;
use model::id::Digest;
use std::sync::Arc;

/// Runs that are at most half full: more are merged.
const MOST_SMALL: usize = 8;
/// Runs merged at once.
const MOST_MERGED: usize = 64;

impl Index {
    /// Merges and deletes until nothing is worth it.
    pub(super) fn compact(&self, up: &mut Upkeep, source: &dyn Source) -> Result<(), StoreError> {
        let redundant = self.redundant();
        if !redundant.is_empty() {
            self.state_mut().replace(&redundant, []);
            delete(source, &redundant)?;
        }
        // Every round leaves fewer runs, or one less that is stale.
        let rounds = self.state().runs.len() * 2;
        for _ in 0..rounds {
            let Some(runs) = self.worth_merging() else { break };
            let packs: Vec<PackNo> = runs.iter().flat_map(|run| run.packs.iter().copied()).collect();
            let named = self.named_as(&packs);
            drop(packs);
            let new = match merge::merge(source, &runs, &named) {
                Ok(bytes) => bytes.map(|bytes| self.put_run(up, source, &bytes)).transpose()?,
                Err(MergeError::Read { run, error }) => {
                    up.lose(run, matches!(error, StoreError::Damaged { .. }));
                    self.refresh_with(up, source)?;
                    continue;
                }
                Err(MergeError::Write(error)) => return Err(error),
            };
            let new_id = new.as_ref().map(|run| run.id);
            let gone: Vec<Digest> = runs.iter().map(|run| run.id).filter(|id| Some(*id) != new_id).collect();
            self.state_mut().replace(&gone, new);
            delete(source, &gone)?;
        }
        Ok(())
    }

    /// Runs that others make needless: all their packs are named elsewhere or must not be named. The smallest go first.
    fn redundant(&self) -> Vec<Digest> {
        let state = self.state();
        let mut times = vec![0u32; state.packs.len()];
        let runs = &state.runs;
        runs.iter().flat_map(|run| run.packs.iter()).for_each(|no| times[big(no.0)] += 1);
        let mut order: Vec<&Arc<Run>> = runs.iter().collect();
        order.sort_by_key(|run| run.entries);
        let mut gone = Vec::new();
        for run in order {
            let needed = |no: &PackNo| state.packs.get(*no).is_some_and(|k| k.may_be_named()) && times[big(no.0)] < 2;
            if !run.packs.iter().any(needed) {
                run.packs.iter().for_each(|no| times[big(no.0)] = times[big(no.0)].saturating_sub(1));
                gone.push(run.id);
            }
        }
        gone
    }

    /// Runs to be written anew as one: any with a bad pack or more than a quarter of its packs gone; else the smallest, where
    /// there are many.
    fn worth_merging(&self) -> Option<Vec<Arc<Run>>> {
        let state = self.state();
        let known = |no: &PackNo| state.packs.get(*no);
        let stale = |run: &&Arc<Run>| {
            let bad = run.packs.iter().any(|no| known(no).is_some_and(|k| k.present && !k.may_be_named()));
            let left = run.packs.iter().filter(|no| known(no).is_some_and(|k| k.may_be_named())).count();
            bad || (run.packs.len() - left) * 4 > run.packs.len()
        };
        if let Some(run) = state.runs.iter().find(stale) {
            return Some(vec![run.clone()]);
        }
        let mut few: Vec<_> = state.runs.iter().filter(|run| big(run.entries) <= MAX_ENTRIES / 2).cloned().collect();
        if few.len() <= MOST_SMALL {
            return None;
        }
        few.sort_by_key(|run| run.entries);
        let (mut entries, mut packs) = (0, 0);
        let fits = |run: &Arc<Run>| {
            entries += big(run.entries);
            packs += run.packs.len();
            entries <= MAX_ENTRIES && packs <= MAX_PACKS
        };
        let count = few.iter().take(MOST_MERGED).map(fits).take_while(|fits| *fits).count();
        few.truncate(count);
        (count > 1).then_some(few)
    }
}
