//! Which chunks maps reach: a bit for each chunk of each pack, and no set of ids. A store of 100 million chunks takes 12 MB.

use crate::error::StoreError;
use crate::layout::{big, digest_in, pack_name, small};
use crate::map::Sub;
use crate::node::Node;
use crate::pack::Kind;
use crate::records::maps;
use crate::store::Store;
use model::id::Digest;
use model::snapshot::Manifest;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Footers kept at once: at most 16,384 chunks of 36 bytes each.
const SHEETS: usize = 48;

/// A pack of the store.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: Digest,
    pub(super) len: u64,
    /// Nothing new counts on it.
    pub(super) condemned: bool,
    /// Its footer can be read.
    pub(super) readable: bool,
    /// Its first bit, and how many it has.
    first: usize,
    chunks: usize,
}

/// The chunks of a pack, to be found by id.
struct Sheet {
    /// By rising id, with the place in the footer.
    ids: Vec<([u8; 32], u32)>,
}

/// Every pack there is, and where its chunks have their bits.
pub(super) struct Ground<'a> {
    store: &'a Store,
    pub(super) packs: Vec<Held>,
    by_id: HashMap<Digest, usize>,
    bits: usize,
    sheets: HashMap<usize, Arc<Sheet>>,
    newest: VecDeque<usize>,
}

/// A bit for each chunk.
#[derive(Clone)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn get(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    /// True where it was not set before.
    pub(super) fn set(&mut self, at: usize) -> bool {
        let new = !self.get(at);
        self.0[at / 64] |= 1 << (at % 64);
        new
    }

    /// Sets several; true where any was not set before.
    pub(super) fn set_all(&mut self, all: &[usize]) -> bool {
        let before = all.iter().filter(|at| !self.get(**at)).count();
        all.iter().for_each(|at| {
            self.set(*at);
        });
        before > 0
    }

    pub(super) fn clear(&mut self) {
        self.0.fill(0);
    }
}

/// What a walk does with a chunk: given the bits of its copies that count, says whether to go on below it.
pub(super) type Visit<'a> = &'a mut dyn FnMut(&[usize]) -> bool;

impl<'a> Ground<'a> {
    /// Reads every footer. A pack whose footer cannot be read has no chunk that anybody could reach.
    pub(super) fn survey(store: &'a Store, go_on: &mut dyn FnMut() -> bool) -> Result<Option<Self>, StoreError> {
        let mut ground = Self {
            store,
            packs: Vec::new(),
            by_id: HashMap::new(),
            bits: 0,
            sheets: HashMap::new(),
            newest: VecDeque::new(),
        };
        for name in store.objects().list("packs")? {
            let Some(id) = digest_in(&name, pack_name) else { continue };
            if !go_on() {
                return Ok(None);
            }
            let len = store.objects().len(&name)?.0;
            let chunks = match store.read_footer(&id) {
                Ok(footer) => Some(footer.chunks.len()),
                Err(e @ (StoreError::Io { .. } | StoreError::Newer { .. })) => return Err(e),
                Err(_) => None,
            };
            let (first, condemned) = (ground.bits, store.is_condemned(&id));
            ground.bits += chunks.unwrap_or(0);
            ground.by_id.insert(id, ground.packs.len());
            ground.packs.push(Held {
                id,
                len,
                condemned,
                readable: chunks.is_some(),
                first,
                chunks: chunks.unwrap_or(0),
            });
        }
        Ok(Some(ground))
    }

    pub(super) fn none(&self) -> Bits {
        Bits(vec![0; self.bits.div_ceil(64)])
    }

    /// The bits of a pack's chunks, in the footer's order.
    pub(super) fn bits_of(&self, pack: usize) -> std::ops::Range<usize> {
        let held = &self.packs[pack];
        held.first..held.first + held.chunks
    }

    /// The pack of a bit.
    pub(super) fn pack_of(&self, bit: usize) -> usize {
        self.packs.partition_point(|p| p.first <= bit).saturating_sub(1)
    }

    pub(super) fn number(&self, pack: &Digest) -> Option<usize> {
        self.by_id.get(pack).copied()
    }

    fn sheet(&mut self, pack: usize) -> Result<Arc<Sheet>, StoreError> {
        if let Some(sheet) = self.sheets.get(&pack) {
            return Ok(sheet.clone());
        }
        let footer = self.store.read_footer(&self.packs[pack].id)?;
        if footer.chunks.len() != self.packs[pack].chunks {
            return Err(StoreError::damaged(format!("pack {} changed", self.packs[pack].id.short(12))));
        }
        let mut ids: Vec<_> = footer.chunks.iter().enumerate().map(|(n, c)| (c.id.0, small(n))).collect();
        ids.sort_unstable();
        let sheet = Arc::new(Sheet { ids });
        if self.newest.len() >= SHEETS
            && let Some(oldest) = self.newest.pop_front()
        {
            self.sheets.remove(&oldest);
        }
        self.newest.push_back(pack);
        self.sheets.insert(pack, sheet.clone());
        Ok(sheet)
    }

    /// The bits of a chunk's copies that count: those in packs that are not condemned, and where there are none, the others.
    pub(super) fn copies(&mut self, id: &Digest) -> Result<Vec<usize>, StoreError> {
        let mut found: BTreeMap<bool, Vec<usize>> = BTreeMap::new();
        for pack in self.store.packs_with(id)? {
            let Some(pack) = self.number(&pack).filter(|p| self.packs[*p].readable) else { continue };
            let sheet = self.sheet(pack)?;
            if let Ok(at) = sheet.ids.binary_search_by(|(other, _)| other.cmp(&id.0)) {
                let held = &self.packs[pack];
                found.entry(held.condemned).or_default().push(held.first + big(sheet.ids[at].1));
            }
        }
        Ok(found.into_values().next().unwrap_or_default())
    }

    /// Visits every chunk that a manifest's maps reach. What is not there, or cannot be read, is an error: nobody may conclude
    /// from half a map.
    pub(super) fn walk(&mut self, manifest: &Manifest, visit: Visit<'_>) -> Result<(), StoreError> {
        for (root, _, name) in maps(manifest) {
            let mut todo = vec![Sub::from(root)];
            while let Some(sub) = todo.pop() {
                if !self.visit(&sub.id.0, &name, visit)? {
                    continue;
                }
                match &*sub.open(self.store)? {
                    Node::Inner(inner) => todo.extend(inner.children.iter().map(|c| Sub::child(inner, c))),
                    Node::Leaf(leaf) => {
                        for id in &leaf.chunks {
                            self.visit(&id.0, &name, visit)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn visit(&mut self, id: &Digest, name: &str, visit: Visit<'_>) -> Result<bool, StoreError> {
        let copies = self.copies(id)?;
        if copies.is_empty() {
            let text = format!("chunk {} of the map of {name} is in no pack that can be read", id.short(12));
            return Err(StoreError::damaged(text));
        }
        Ok(visit(&copies))
    }

    /// Plain bytes of those chunks of a pack that are set, map nodes left out.
    pub(super) fn plain(&self, pack: usize, which: &Bits) -> Result<u64, StoreError> {
        let footer = self.store.read_footer(&self.packs[pack].id)?;
        let chunks = self.bits_of(pack).zip(&footer.chunks);
        let counted = chunks.filter(|(bit, c)| c.kind == Kind::Data && which.get(*bit));
        Ok(counted.fold(0, |sum, (_, c)| sum.saturating_add(u64::from(c.plain))))
    }

    /// Bytes that each chunk of a pack takes, in the footer's order: its part of its frame.
    pub(super) fn sizes(&self, pack: usize) -> Result<Vec<u64>, StoreError> {
        let footer = self.store.read_footer(&self.packs[pack].id)?;
        let size = |c: &crate::footer::ChunkEntry| {
            let frame = footer.frames.get(usize::from(c.frame))?;
            u64::from(frame.stored).checked_mul(u64::from(c.plain))?.checked_div(u64::from(frame.plain))
        };
        Ok(footer.chunks.iter().map(|c| size(c).unwrap_or(0)).collect())
    }
}
