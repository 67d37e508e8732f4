//! Whether a store is what it says: every object, every map, and on request every byte.

mod packs;

use crate::error::StoreError;
use crate::format::{self, About};
use crate::layout::{MAX_INDEX, big, digest_in, format_name, index_name, pack_name, small};
use crate::locate::{Trust, read_head};
use crate::map::{Sub, mask};
use crate::node::{LeafContent, Node};
use crate::opening::slots;
use crate::records::maps;
use crate::store::{Store, read_object};
use model::id::{Digest, SnapshotId};
use model::snapshot::MapRoot;
use model::text::DisplayText;
use model::units::ByteLen;
use packs::Looked;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Most separate causes remembered for one part of a map; a part with more is still known to be damaged.
const MOST_CAUSES: usize = 64;
/// Most packs named in one sentence.
const MOST_NAMED: usize = 8;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct CheckReport {
    /// Snapshots that can be read.
    pub snapshots: usize,
    /// Packs.
    pub packs: usize,
    /// Chunks in packs, map nodes included.
    pub chunks: usize,
    /// Bytes read.
    pub read: ByteLen,
    /// Whether every chunk was decompressed and hashed.
    pub read_data: bool,
    /// False where the check was stopped early.
    pub complete: bool,
    /// Damage. Empty means that every snapshot is whole.
    pub findings: Vec<CheckFinding>,
    /// Snapshots that cannot be restored whole.
    pub affected: Vec<SnapshotId>,
    /// Packs that no snapshot needs: left by runs that were cut off, or by snapshots deleted. No damage; `prune` removes them.
    pub leftover_packs: usize,
    /// Their size.
    pub leftover: ByteLen,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFinding {
    /// What, with names and numbers.
    pub what: DisplayText,
    /// The snapshots it affects; none where nothing is lost by it.
    pub snapshots: Vec<SnapshotId>,
}

impl CheckReport {
    /// True where nothing is wrong and everything was looked at.
    pub fn is_clean(&self) -> bool {
        self.complete && self.findings.is_empty()
    }
}

/// What is known of a part of a map, however many snapshots share it.
#[derive(Debug, Clone, Default)]
struct Part {
    used: u64,
    /// One past the last used address, from the part's own start.
    end: u64,
    /// Findings it depends on.
    causes: Arc<BTreeSet<usize>>,
}

type Progress<'a> = &'a mut dyn FnMut(ByteLen, ByteLen) -> bool;

struct Checker<'a> {
    store: &'a Store,
    report: CheckReport,
    /// Packs by id, and their sizes.
    packs: BTreeMap<Digest, u64>,
    /// Whether anything needs them, in that order.
    needed: Vec<bool>,
    /// Every chunk that can be had: its pack's place in that order, its plain length. Sorted once all packs were looked at.
    homes: Vec<(Digest, u32, u32)>,
    /// Findings about single chunks that cannot.
    bad_chunks: HashMap<Digest, usize>,
    /// A finding about a pack of which nobody knows what it held.
    cause: Option<usize>,
    /// Packs that an index object names and that are not there.
    gone: Vec<Digest>,
    parts: HashMap<Sub, Part>,
}

impl Store {
    /// Checks the store: every object's name and format, every manifest, every map node, every chunk's place; with
    /// `read_data` every pack's bytes and every chunk's hash too. `progress` is told bytes done and to do, and stops the
    /// check by returning false. Leftovers are no damage.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the store cannot be listed or read; damage is in the report.
    pub fn check(
        &self,
        read_data: bool,
        progress: &mut dyn FnMut(ByteLen, ByteLen) -> bool,
    ) -> Result<CheckReport, StoreError> {
        self.forget_entries();
        self.refresh()?;
        let report = CheckReport { read_data, ..CheckReport::default() };
        let mut checker = Checker {
            store: self,
            report,
            packs: BTreeMap::new(),
            needed: Vec::new(),
            homes: Vec::new(),
            bad_chunks: HashMap::new(),
            cause: None,
            gone: Vec::new(),
            parts: HashMap::new(),
        };
        checker.format()?;
        checker.strays()?;
        if checker.all_packs(read_data, progress)? {
            checker.index_objects()?;
            if read_data {
                checker.places()?;
            }
            checker.records()?;
            checker.snapshots()?;
            checker.report.complete = true;
        }
        Ok(checker.report)
    }

    /// Says whether everything a map names is in the index.
    pub(crate) fn is_whole(&self, root: MapRoot) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        let mut todo = vec![Sub::from(root)];
        while let Some(sub) = todo.pop() {
            if !seen.insert(sub) {
                continue;
            }
            match &*sub.open(self)? {
                Node::Inner(inner) => todo.extend(inner.children.iter().map(|c| Sub::child(inner, c))),
                Node::Leaf(leaf) => {
                    for id in &leaf.chunks {
                        if !self.has(&id.0)? {
                            let text = format!("chunk {} is in no pack that is known to be good", id.0.short(12));
                            return Err(StoreError::damaged(text));
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

impl Checker<'_> {
    /// Notes damage; only what keeps the check itself from going on is an error.
    fn found(&mut self, e: StoreError) -> Result<usize, StoreError> {
        match e {
            StoreError::Io { says } => Err(StoreError::Io { says }),
            e => Ok(self.note(e.to_string())),
        }
    }

    fn note(&mut self, what: String) -> usize {
        self.report.findings.push(CheckFinding { what: DisplayText::new(&what), snapshots: Vec::new() });
        self.report.findings.len() - 1
    }

    fn format(&mut self) -> Result<(), StoreError> {
        let read = read_object(self.store.objects(), &format_name(), format::MAX_FORMAT);
        match read.and_then(|bytes| format::decode(&bytes)) {
            Ok(About { id, encrypted }) if id == self.store.id() && encrypted == self.store.is_encrypted() => {}
            Ok(About { id, .. }) => {
                self.note(format!("the format object now names another store: {id}"));
            }
            Err(e) => {
                self.found(e)?;
            }
        }
        Ok(())
    }

    /// Objects under names nobody gave them.
    fn strays(&mut self) -> Result<(), StoreError> {
        for e in slots(self.store.objects())?.1 {
            self.found(e)?;
        }
        for (kind, expected) in [("packs", pack_name as fn(&Digest) -> _), ("index", index_name)] {
            for name in self.store.objects().list(kind)? {
                match digest_in(&name, expected) {
                    None => {
                        self.note(format!(
                            "{} is not the name of an object of this store; it was ignored",
                            name.as_str()
                        ));
                    }
                    Some(id) if kind == "packs" => {
                        let len = self.store.objects().len(&name)?.0;
                        self.packs.insert(id, len);
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Every pack; false where the caller stopped it.
    fn all_packs(&mut self, read_data: bool, progress: Progress<'_>) -> Result<bool, StoreError> {
        let (ids, lens): (Vec<Digest>, Vec<u64>) = self.packs.iter().map(|(id, len)| (*id, *len)).unzip();
        self.needed = vec![false; ids.len()];
        let total = ByteLen(lens.iter().fold(0, |n, len| n.saturating_add(*len)));
        let (store, mut done, mut go_on) = (self.store, 0u64, progress(ByteLen(0), total));
        if go_on {
            packs::look_at(store, &ids, read_data, &mut |at, looked| {
                self.looked(&ids[at], looked);
                if read_data {
                    self.report.read.0 = self.report.read.0.saturating_add(lens[at]);
                }
                done = done.saturating_add(lens[at]);
                go_on = progress(ByteLen(done), total);
                Ok(go_on)
            })?;
        }
        self.homes.sort_unstable();
        Ok(go_on)
    }

    /// Takes over what was found in a pack.
    fn looked(&mut self, id: &Digest, looked: Looked) {
        let pack = small(self.report.packs);
        self.report.packs += 1;
        self.report.chunks += looked.chunks;
        self.homes.extend(looked.good.iter().map(|(chunk, len)| (*chunk, pack, *len)));
        let first = self.report.findings.len();
        looked.says.into_iter().for_each(|what| {
            self.note(what);
        });
        for (chunk, says) in looked.bad {
            self.bad_chunks.entry(chunk).or_insert(first + says);
        }
        if looked.spoilt {
            // Nothing more may be saved against it, and what another pack has too is found there.
            self.store.trust(id, Trust::Bad);
            self.cause = Some(first);
        }
    }

    /// Index objects: that they are what their names say, and name packs that are there. What is wrong here costs nothing
    /// but time: the index is built again.
    fn index_objects(&mut self) -> Result<(), StoreError> {
        let mut gone = BTreeSet::new();
        for name in self.store.objects().list("index")? {
            let Some(id) = digest_in(&name, index_name) else { continue };
            let head = self.store.named(&name, &id, MAX_INDEX).and_then(|_| read_head(self.store, &id));
            match head {
                Ok(head) => gone.extend(head.packs.into_iter().filter(|p| !self.packs.contains_key(p))),
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(e) => {
                    self.note(format!("{e}; nothing is lost: it is rebuilt from the packs"));
                }
            }
        }
        // A prune deletes packs before the index forgets them: it is damage where something is missed.
        self.gone = gone.into_iter().collect();
        Ok(())
    }

    /// Whether the index leads to every chunk that is there.
    fn places(&mut self) -> Result<(), StoreError> {
        let mut lost = 0usize;
        let mut first = None;
        for (id, ..) in &self.homes {
            if self.store.index().candidates(self.store, id)?.is_empty() {
                lost += 1;
                first.get_or_insert(*id);
            }
        }
        if let Some(first) = first {
            self.note(format!("the index does not lead to {lost} chunks, {} is one", first.short(12)));
        }
        Ok(())
    }

    /// Records that are no snapshots.
    fn records(&mut self) -> Result<(), StoreError> {
        for what in self.store.check_records()? {
            self.note(what);
        }
        Ok(())
    }

    fn snapshots(&mut self) -> Result<(), StoreError> {
        let listing = self.store.list()?;
        for what in &listing.damage {
            self.note(what.as_str().to_owned());
        }
        self.report.snapshots = listing.snapshots.len();
        for (id, manifest) in &listing.snapshots {
            let mut causes = BTreeSet::new();
            for (root, len, name) in maps(manifest) {
                let part = self.part(root.into())?;
                causes.extend(part.causes.iter().copied());
                if len.is_some_and(|len| part.end > len) {
                    let len = len.unwrap_or_default();
                    let text = format!(
                        "snapshot {}: the map of {name} names bytes up to {}, {name} has {len}",
                        id.0.short(12),
                        part.end
                    );
                    causes.insert(self.note(text));
                }
            }
            for cause in &causes {
                if let Some(finding) = self.report.findings.get_mut(*cause) {
                    finding.snapshots.push(*id);
                }
            }
            if !causes.is_empty() {
                self.report.affected.push(*id);
            }
        }
        // What was put aside is needed too; a damaged part of it costs no snapshot anything.
        for (id, manifest) in self.store.asides()? {
            for (root, ..) in maps(&manifest) {
                if !self.part(root.into())?.causes.is_empty() {
                    self.note(format!("the stopped capture {} cannot be gone on with", id.short(12)));
                }
            }
        }
        let left = self.packs.values().zip(&self.needed).filter(|(_, needed)| !**needed);
        self.report.leftover_packs = left.clone().count();
        self.report.leftover = ByteLen(left.fold(0, |n, (len, _)| n.saturating_add(*len)));
        Ok(())
    }

    /// Looks at a part of a map once, however often it is shared. The depth is bounded by the height, at most 5.
    fn part(&mut self, sub: Sub) -> Result<Part, StoreError> {
        if let Some(part) = self.parts.get(&sub) {
            return Ok(part.clone());
        }
        let mut causes = BTreeSet::new();
        let mut part = Part::default();
        // A chunk nobody has is found by reading; one with bad bytes is known already.
        if self.chunk(&sub.id.0, None, &mut causes) {
            match sub.open(self.store) {
                Ok(node) => self.node(&node, &mut part, &mut causes)?,
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
