//! Condemned lists: packs that a later prune will delete, and that nothing new may count on.

use super::record::RecordKind;
use crate::error::StoreError;
use crate::layout::{condemned_name, numbered_in, small};
use crate::store::Store;
use model::id::Digest;
use model::ports::ObjectName;
use std::collections::{BTreeSet, HashSet};
use std::sync::PoisonError;

/// One list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condemned {
    pub(crate) name: ObjectName,
    pub(crate) generation: u64,
    /// None where the list cannot be read: nobody deletes anything for it then.
    pub(crate) packs: Option<Vec<Digest>>,
}

fn encode(packs: &BTreeSet<Digest>) -> Vec<u8> {
    let mut out = small(packs.len()).to_le_bytes().to_vec();
    packs.iter().for_each(|p| out.extend(p.0));
    out
}

fn decode(body: &[u8]) -> Option<Vec<Digest>> {
    let (count, rest) = body.split_first_chunk::<4>()?;
    let (packs, rest) = rest.as_chunks::<32>();
    let packs: Vec<Digest> = packs.iter().map(|p| Digest(*p)).collect();
    let rising = packs.is_sorted_by(|a, b| a < b);
    (rest.is_empty() && rising && u32::from_le_bytes(*count) == small(packs.len())).then_some(packs)
}

impl Store {
    /// Every condemned list, oldest first.
    pub(crate) fn condemned_lists(&self) -> Result<Vec<Condemned>, StoreError> {
        let mut lists = Vec::new();
        for name in self.objects().list("condemned")? {
            let Some((generation, hashed)) = numbered_in(&name, condemned_name) else { continue };
            let packs = match self.read_record(RecordKind::Condemned, &name) {
                Ok(body) => Some(body).filter(|b| self.seal().name(&Digest::of(b)) == hashed).and_then(|b| decode(&b)),
                Err(e @ (StoreError::Io { .. } | StoreError::Newer { .. })) => return Err(e),
                // Deleted meanwhile by a prune.
                Err(StoreError::NoSuch { .. }) => continue,
                Err(_) => None,
            };
            lists.push(Condemned { name, generation, packs });
        }
        Ok(lists)
    }

    /// Puts the list of a generation.
    pub(crate) fn condemn(&self, generation: u64, packs: &BTreeSet<Digest>) -> Result<(), StoreError> {
        let body = encode(packs);
        let name = condemned_name(generation, &self.seal().name(&Digest::of(&body)));
        self.put_record(RecordKind::Condemned, &name, &body).inspect_err(|_| {
            let _ = self.objects().delete(&name);
        })
    }

    /// The generation of the last prune, also of one that was cut off after it condemned something.
    pub(crate) fn last_generation(&self) -> Result<u64, StoreError> {
        let lists = self.objects().list("condemned")?;
        let listed =
            lists.iter().filter_map(|n| numbered_in(n, condemned_name)).map(|(generation, _)| generation).max();
        Ok(self.inventory()?.standing.generation.max(listed.unwrap_or(0)))
    }

    /// Learns what is condemned: nothing new counts on these from here on.
    pub(crate) fn avoid_condemned(&self) -> Result<(), StoreError> {
        self.avoid(self.condemned_lists()?.into_iter().filter_map(|l| l.packs).flatten().collect());
        Ok(())
    }

    /// Nothing new counts on these from here on.
    pub(crate) fn avoid(&self, packs: HashSet<Digest>) {
        *self.records().condemned.write().unwrap_or_else(PoisonError::into_inner) = packs;
    }

    /// True where nothing new may count on a pack.
    pub(crate) fn is_condemned(&self, pack: &Digest) -> bool {
        self.records().condemned.read().unwrap_or_else(PoisonError::into_inner).contains(pack)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_rises_and_has_its_length() {
        let packs: BTreeSet<Digest> = [3, 1, 2].into_iter().map(|n| Digest([n; 32])).collect();
        let body = encode(&packs);
        assert_eq!(decode(&body), Some(packs.into_iter().collect()));
        assert_eq!(decode(&encode(&BTreeSet::new())), Some(vec![]));
        assert_eq!(decode(&body[..body.len() - 1]), None);
        let mut twice = body.clone();
        twice.copy_within(4..36, 36);
        assert_eq!(decode(&twice), None, "none twice");
        let mut more = body;
        more[0] = 4;
        assert_eq!(decode(&more), None);
    }
}
