//! Whether a store is what it says: every object, every map, and on request every byte.

mod loss;
mod maps;
mod packs;

use crate::error::StoreError;
use crate::format::{self, About};
use crate::layout::{MAX_INDEX, digest_in, format_name, index_name, pack_name, small};
use crate::locate::{Trust, read_head};
use crate::map::Sub;
use crate::node::Node;
use crate::opening::slots;
use crate::records;
use crate::store::{Store, read_object};
pub use loss::Loss;
use maps::Part;
use model::id::{Digest, SnapshotId};
use model::snapshot::MapRoot;
use model::text::DisplayText;
use model::units::ByteLen;
use packs::Looked;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

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
    /// What of them cannot be restored, in the same order.
    pub lost: Vec<Loss>,
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
    progress: &'a mut dyn FnMut(ByteLen, ByteLen) -> bool,
    /// Bytes done and to do, as the caller is told.
    done: u64,
    total: u64,
    /// The caller wants no more.
    stopped: bool,
}

impl Store {
    /// Checks the store: every object's name and format, every manifest, every map node, every chunk's place; with
    /// `read_data` every pack's bytes and every chunk's hash too, and where signers are required what they signed of the
    /// content of every leaf. `progress` is told bytes done and to do, and stops the check by returning false. Leftovers are
    /// no damage.
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
            progress,
            done: 0,
            total: 0,
            stopped: false,
        };
        checker.format()?;
        checker.strays()?;
        checker.all_packs(read_data)?;
        if !checker.stopped {
            checker.index_objects()?;
            if read_data {
                checker.places()?;
            }
            checker.records()?;
            checker.snapshots()?;
            checker.report.complete = !checker.stopped;
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

    /// Every pack.
    fn all_packs(&mut self, read_data: bool) -> Result<(), StoreError> {
        let (ids, lens): (Vec<Digest>, Vec<u64>) = self.packs.iter().map(|(id, len)| (*id, *len)).unzip();
        self.needed = vec![false; ids.len()];
        self.total = lens.iter().fold(self.to_prove()?, |n, len| n.saturating_add(*len));
        let store = self.store;
        self.went_on(0);
        if !self.stopped {
            packs::look_at(store, &ids, read_data, &mut |at, looked| {
                self.looked(&ids[at], looked);
                if read_data {
                    self.report.read.0 = self.report.read.0.saturating_add(lens[at]);
                }
                self.went_on(lens[at]);
                Ok(!self.stopped)
            })?;
        }
        self.homes.sort_unstable();
        Ok(())
    }

    /// Tells the caller that so many bytes more are done with.
    fn went_on(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        self.stopped |= !(self.progress)(ByteLen(self.done), ByteLen(self.total));
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
        let mut damaged = Vec::new();
        for (id, manifest) in &listing.snapshots {
            let mut causes = BTreeSet::new();
            for (root, len, name) in records::maps(manifest) {
                let part = self.part(root.into())?;
                causes.extend(part.causes.iter().copied());
                if !part.causes.is_empty() {
                    damaged.push((*id, root, len, DisplayText::new(&name)));
                }
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
        self.losses(damaged);
        // What was put aside is needed too; a damaged part of it costs no snapshot anything.
        for (id, manifest) in self.store.asides()? {
            for (root, ..) in records::maps(&manifest) {
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
}
