//! Whether a store is what it says: every object, every map, and on request every byte.

use crate::error::StoreError;
use crate::footer::Footer;
use crate::format::{self, About};
use crate::layout::{digest_in, format_name, index_name, pack_name};
use crate::map::{Sub, mask};
use crate::node::{LeafContent, Node};
use crate::opening::slots;
use crate::reader::OpenFrame;
use crate::records::maps;
use crate::store::{Store, read_object};
use model::id::{Digest, SnapshotId};
use model::snapshot::MapRoot;
use model::text::DisplayText;
use model::units::ByteLen;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// Most separate causes remembered for one part of a map; a part with more is still known to be damaged.
const MOST_CAUSES: usize = 64;

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
    /// Packs by id: whether any snapshot needs them, and their size.
    packs: BTreeMap<Digest, (bool, u64)>,
    /// Findings about whole packs, by their number in the index.
    bad_packs: HashMap<u32, usize>,
    /// Findings about single chunks: bad where the index finds them, or nowhere.
    bad_chunks: HashMap<Digest, usize>,
    /// Plain lengths of all chunks in readable packs.
    lens: HashMap<Digest, u32>,
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
            bad_packs: HashMap::new(),
            bad_chunks: HashMap::new(),
            lens: HashMap::new(),
            parts: HashMap::new(),
        };
        checker.format()?;
        checker.strays()?;
        if checker.all_packs(read_data, progress)? {
            checker.index_objects()?;
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
                        self.packs.insert(id, (false, len));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    /// Every pack; false where the caller stopped it.
    fn all_packs(&mut self, read_data: bool, progress: Progress<'_>) -> Result<bool, StoreError> {
        let known: Vec<Digest> = self.store.index().packs().iter().map(|p| p.id).collect();
        for (no, id) in (0..).zip(&known) {
            if !self.packs.contains_key(id) {
                let finding = self.note(format!("pack {} is gone", id.short(12)));
                self.store.turn_from(&[*id])?;
                self.bad_packs.insert(no, finding);
            }
        }
        let total = ByteLen(self.packs.values().fold(0, |n, (_, len)| n.saturating_add(*len)));
        let mut done = 0u64;
        for (id, (_, len)) in self.packs.clone() {
            if !progress(ByteLen(done), total) {
                return Ok(false);
            }
            self.report.packs += 1;
            match self.store.read_footer(&id) {
                Ok(footer) => {
                    self.report.chunks += footer.chunks.len();
                    self.places(&id, &footer);
                    if read_data {
                        self.pack_data(&id, &footer)?;
                        self.report.read.0 = self.report.read.0.saturating_add(len);
                    }
                }
                Err(e) => {
                    let finding = self.found(e)?;
                    self.store.turn_from(&[id])?;
                    if let Some(no) = self.store.index().number(&id) {
                        self.bad_packs.insert(no, finding);
                    }
                }
            }
            done = done.saturating_add(len);
        }
        Ok(progress(total, total))
    }

    /// The index against a pack's own footer.
    fn places(&mut self, id: &Digest, footer: &Footer) {
        self.lens.extend(footer.chunks.iter().map(|c| (c.id, c.plain)));
        let wrong: Vec<Digest> = {
            let index = self.store.index();
            footer.chunks.iter().filter(|c| index.find(&c.id).is_none()).map(|c| c.id).collect()
        };
        if let Some(first) = wrong.first() {
            let text = format!(
                "the index does not know {} chunks of pack {}, {} is one",
                wrong.len(),
                id.short(12),
                first.short(12)
            );
            let finding = self.note(text);
            self.bad_chunks.extend(wrong.iter().map(|w| (*w, finding)));
        }
    }

    /// Reads a whole pack and opens every frame and chunk of it.
    fn pack_data(&mut self, id: &Digest, footer: &Footer) -> Result<(), StoreError> {
        let number = self.store.index().number(id);
        let whole = match self.store.whole_pack(id) {
            Ok(bytes) => Some(bytes),
            Err(e) => {
                self.found(e)?;
                // Nothing more may be saved against it, and what another pack has too is found there.
                self.store.turn_from(&[*id])?;
                None
            }
        };
        let mut places = footer.places().peekable();
        for (no, frame) in (0u16..).zip(&footer.frames) {
            let opened = match &whole {
                // The footer was read apart and may have changed since: never index beyond what is there.
                Some(bytes) => usize::try_from(frame.offset)
                    .ok()
                    .zip(usize::try_from(frame.stored).ok())
                    .and_then(|(at, len)| Some(bytes.get(at..at.checked_add(len)?)?.to_vec()))
                    .ok_or_else(|| StoreError::damaged(format!("pack {} changed while it was read", id.short(12))))
                    .and_then(|stored| self.store.open_frame(id, footer, no, stored)),
                // Which frames of the damaged pack are hit: each is tried alone.
                None => self.store.read_frame(id, footer, no),
            };
            let opened = match opened {
                Ok(plain) => Ok(OpenFrame::new(plain)),
                Err(e) => Err(self.found(e)?),
            };
            while let Some((chunk, place)) = places.next_if(|(c, _)| c.frame == no) {
                let finding = match &opened {
                    Ok(frame) if frame.chunk(self.store.seal(), &chunk.id, place).is_some() => continue,
                    Ok(_) => {
                        let (chunk, pack) = (chunk.id.short(12), id.short(12));
                        self.note(format!("chunk {chunk} in pack {pack} does not match its name"))
                    }
                    Err(finding) => *finding,
                };
                // Where the chunk lies in another pack too, and that one is read, nothing is lost.
                if self.store.index().find(&chunk.id) == number {
                    self.bad_chunks.insert(chunk.id, finding);
                }
            }
        }
        Ok(())
    }

    /// Index objects against the packs they describe. What is wrong here costs nothing: the index is built again.
    fn index_objects(&mut self) -> Result<(), StoreError> {
        for name in self.store.objects().list("index")? {
            let Some(id) = digest_in(&name, index_name) else { continue };
            match self.store.index_object(&id) {
                Ok(parts) => {
                    for (pack, said) in parts {
                        let same = match self.store.footer(&pack) {
                            Ok(footer) => *footer == said,
                            // A missing or bad pack has its own finding.
                            Err(_) => true,
                        };
                        if !same {
                            self.note(format!("{} does not say what pack {} holds", name.as_str(), pack.short(12)));
                        }
                    }
                }
                Err(e) => {
                    let text = format!("{e}; nothing is lost: it is rebuilt from the packs");
                    match e {
                        StoreError::Io { says } => return Err(StoreError::Io { says }),
                        _ => self.note(text),
                    };
                }
            }
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
        let left = self.packs.values().filter(|(needed, _)| !needed);
        self.report.leftover_packs = left.clone().count();
        self.report.leftover = ByteLen(left.fold(0, |n, (_, len)| n.saturating_add(*len)));
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

    /// Whether a chunk is where a pack says, with good bytes and at least the length that is used of it.
    fn chunk(&mut self, id: &Digest, len: Option<u32>, causes: &mut BTreeSet<usize>) -> bool {
        if let Some(finding) = self.bad_chunks.get(id) {
            causes.insert(*finding);
            return false;
        }
        let place = {
            let index = self.store.index();
            index.find(id).and_then(|no| Some((no, index.pack(no)?.id)))
        };
        let Some((no, pack)) = place else {
            // One finding for each chunk, however many cells name it.
            let finding = self.note(format!("chunk {} is in no pack that can be read", id.short(12)));
            self.bad_chunks.insert(*id, finding);
            causes.insert(finding);
            return false;
        };
        if let Some(entry) = self.packs.get_mut(&pack) {
            entry.0 = true;
        }
        if let Some(finding) = self.bad_packs.get(&no) {
            causes.insert(*finding);
            return false;
        }
        let has = self.lens.get(id).copied().unwrap_or(0);
        if len.is_some_and(|len| len > has) {
            let text = format!("chunk {} has {has} bytes, a map uses more", id.short(12));
            causes.insert(self.note(text));
        }
        true
    }
}
