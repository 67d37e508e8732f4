//! Two states of a FAT made one: the earlier one, with some files and directories as the later one has them.
//!
//! Nothing is written here. What comes of it is a list: which bytes of the later state are copied to where, and which bytes (of directories, and
//! of the allocation table) are others. Entries are taken over as they lie there, with their long names, their case, their times and their
//! attributes; only the numbers of their clusters are others. Where the earlier state has no use for the clusters that a file has in the later
//! one, it keeps them: then nothing of its content is written at all.

mod folder;
mod same;
mod table;

use super::boot::Geometry;
use super::chain::Chain;
use super::dir::{ENTRY, Entry, MOST_BYTES};
use super::{Fat, usage};
use crate::bits::Bits;
use crate::fs::FsError;
use folder::{Kind, Raw, Set};
use model::esp::{CopiedBytes, Graft};
use model::ports::ReadAt;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset};
pub use same::Compared;
use table::Table;

/// How deep directories lie in each other at most.
const MOST_DEPTH: usize = 64;
/// Most pieces that are told.
const MOST_PIECES: usize = 1 << 16;

/// Two states of a FAT.
pub struct Pair<'a> {
    /// The earlier one.
    then: &'a Fat,
    /// The later one.
    now: &'a Fat,
}

impl<'a> Pair<'a> {
    /// Of these states.
    pub fn new(then: &'a Fat, now: &'a Fat) -> Self {
        Self { then, now }
    }

    /// What makes the earlier state one in which each of these paths is as it is in the later one: what is missing there is removed.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where the earlier state's allocation does not hold together, or what is taken over does not;
    /// [`FsError::Incompatible`] where there is no room, or it is more than is held in memory.
    pub fn graft(&self, paths: &[RawName]) -> Result<Graft, FsError> {
        let (then, now) = (&self.then.boot.geometry, &self.now.boot.geometry);
        usage::used(&*self.then.bytes, then).map_err(|e| wrong("when it was saved", e))?;
        let mut work = Work {
            then: self.then,
            now: self.now,
            alike: (then.cluster_size, then.data.start(), then.clusters)
                == (now.cluster_size, now.data.start(), now.clusters),
            table: Table::read(&*self.then.bytes, then)?,
            folders: Vec::new(),
            graft: Graft::default(),
        };
        work.put(paths)?;
        work.end()
    }
}

fn wrong(when: &str, e: FsError) -> FsError {
    match e {
        FsError::Corrupt(why) => FsError::Corrupt(format!("{why} ({when})")),
        other => other,
    }
}

/// The names of a path, in lower case.
fn names(path: &RawName) -> Result<Vec<String>, FsError> {
    let text = std::str::from_utf8(&path.0).map_err(|_| FsError::Corrupt("a path is no text".to_owned()))?;
    let names: Vec<String> = text.split('/').filter(|n| !n.is_empty()).map(str::to_lowercase).collect();
    match names.is_empty() || names.len() > MOST_DEPTH || names.iter().any(|n| n == "." || n == "..") {
        true => Err(FsError::Corrupt("a path has no name".to_owned())),
        false => Ok(names),
    }
}

/// The entries of a directory; first cluster 0: of the root.
fn entries(fat: &Fat, first: u32) -> Result<Vec<Set>, FsError> {
    let geometry = &fat.boot.geometry;
    folder::sets(&folder::content(&**fat.files.bytes(), geometry, first)?.0, geometry)
}

/// What stands at a path.
fn find(fat: &Fat, names: &[String]) -> Result<Option<Set>, FsError> {
    let mut at: Option<Set> = None;
    for name in names {
        let first = match &at {
            None => 0,
            Some(set) => match &set.entry {
                Some(e) if e.directory && e.cluster != 0 => e.cluster,
                _ => return Ok(None),
            },
        };
        at = entries(fat, first)?.into_iter().find(|set| set.is_called(name));
        if at.is_none() {
            return Ok(None);
        }
    }
    Ok(at)
}

/// Shows the clusters of a file, or of a directory with all that is in it. No cluster is met twice.
fn clusters(
    fat: &Fat,
    entry: &Entry,
    (met, depth): (&mut Bits, usize),
    each: &mut dyn FnMut(u32),
) -> Result<(), FsError> {
    if entry.cluster == 0 {
        return if entry.directory {
            Err(FsError::Corrupt(format!("the directory {} has no place", entry.name)))
        } else {
            Ok(())
        };
    }
    let geometry = &fat.boot.geometry;
    for place in Chain::new(&**fat.files.bytes(), geometry, entry.cluster) {
        let no = geometry.number(place?).ok_or_else(|| FsError::Corrupt("a chain leads to no cluster".to_owned()))?;
        if !met.set(no) {
            return Err(FsError::Corrupt(format!("cluster {no} belongs to {} and to something else", entry.name)));
        }
        each(no);
    }
    if !entry.directory {
        return Ok(());
    }
    if depth >= MOST_DEPTH {
        return Err(FsError::Corrupt(format!("directories lie more than {MOST_DEPTH} deep in each other")));
    }
    for child in entries(fat, entry.cluster)?.iter().filter_map(|set| set.entry.as_ref()) {
        clusters(fat, child, (met, depth + 1), each)?;
    }
    Ok(())
}

/// A directory of the earlier state that something is put into.
struct Folder {
    /// Names that lead to it; none for the root.
    names: Vec<String>,
    /// Its first cluster; 0: the root.
    first: u32,
    clusters: Vec<u32>,
    /// As it was; empty where it is made.
    old: Vec<u8>,
    sets: Vec<Set>,
}

/// A path that is being put in its place.
struct Place {
    names: Vec<String>,
    /// Where it stood in its directory.
    hole: Option<usize>,
    /// What stands there in the later state.
    new: Option<Set>,
}

struct Work<'a> {
    then: &'a Fat,
    now: &'a Fat,
    /// Clusters of both lie in the same places.
    alike: bool,
    table: Table,
    folders: Vec<Folder>,
    graft: Graft,
}

impl Work<'_> {
    fn geometry(&self) -> &Geometry {
        &self.then.boot.geometry
    }

    fn widths(&self) -> (u8, u8) {
        (self.then.boot.geometry.width, self.now.boot.geometry.width)
    }

    fn put(&mut self, paths: &[RawName]) -> Result<(), FsError> {
        let mut places = Vec::new();
        let mut met = Bits::new(self.geometry().clusters + 2);
        for path in paths {
            let names = names(path)?;
            let new = find(self.now, &names).map_err(|e| wrong("as it is now", e))?;
            let hole = self.take_out(&names, &mut met).map_err(|e| wrong("when it was saved", e))?;
            places.push(Place { names, hole, new });
        }
        let mut met = Bits::new(self.now.boot.geometry.clusters + 2);
        for entry in places.iter().filter_map(|p| p.new.as_ref()?.entry.as_ref()) {
            let (alike, table) = (self.alike, &mut self.table);
            let mut want = |no| {
                if alike {
                    table.want(no);
                }
            };
            clusters(self.now, entry, (&mut met, 0), &mut want).map_err(|e| wrong("as it is now", e))?;
        }
        // Directories before what lies in them.
        places.sort_by_key(|place| place.names.len());
        for Place { names, hole, new } in places {
            let (Some(new), Some((_, above))) = (new, names.split_last()) else { continue };
            let at = self.folder(above)?;
            let planted = self.plant(&new, self.folders[at].first, 0).map_err(|e| wrong("as it is now", e))?;
            folder::put(&mut self.folders[at].sets, hole, planted)?;
        }
        Ok(())
    }

    /// Frees what stands at a path, and tells where it stood in its directory.
    fn take_out(&mut self, names: &[String], met: &mut Bits) -> Result<Option<usize>, FsError> {
        let Some((name, above)) = names.split_last() else { return Ok(None) };
        let Some(at) = self.standing(above)? else { return Ok(None) };
        let Some(hole) = self.folders[at].sets.iter().position(|set| set.is_called(name)) else { return Ok(None) };
        let taken = std::mem::replace(&mut self.folders[at].sets[hole], Set { raw: Vec::new(), entry: None });
        if let Some(entry) = &taken.entry {
            let table = &mut self.table;
            clusters(self.then, entry, (met, 0), &mut |no| table.free(no))?;
        }
        Ok(Some(hole))
    }

    /// A directory of the earlier state, where it is there.
    fn standing(&mut self, names: &[String]) -> Result<Option<usize>, FsError> {
        if let Some(at) = self.folders.iter().position(|f| f.names == names) {
            return Ok(Some(at));
        }
        let first = match names.is_empty() {
            true => 0,
            false => match find(self.then, names)?.and_then(|set| set.entry) {
                Some(e) if e.directory && e.cluster != 0 => e.cluster,
                Some(e) => return Err(FsError::Corrupt(format!("{} is no directory", e.name))),
                None => return Ok(None),
            },
        };
        let geometry = self.geometry().clone();
        let (old, clusters) = folder::content(&**self.then.files.bytes(), &geometry, first)?;
        let sets = folder::sets(&old, &geometry)?;
        self.folders.push(Folder { names: names.to_vec(), first, clusters, old, sets });
        Ok(Some(self.folders.len() - 1))
    }

    /// A directory, made as the later state has it where the earlier one has none.
    fn folder(&mut self, names: &[String]) -> Result<usize, FsError> {
        if let Some(at) = self.standing(names)? {
            return Ok(at);
        }
        let none = || FsError::Corrupt("a directory is gone".to_owned());
        let (_, above) = names.split_last().ok_or_else(none)?;
        let above = self.folder(above)?;
        let mut like = find(self.now, names)?.ok_or_else(none)?;
        let own = self.table.chain(1, &[], None)?;
        let first = own.first().copied().ok_or_else(none)?;
        let (parent, widths) = (self.folders[above].first, self.widths());
        let raw = like.raw.last_mut().ok_or_else(none)?;
        folder::put_cluster(raw, first, widths);
        let sets = folder::dots(raw, (first, parent), widths).into();
        folder::put(&mut self.folders[above].sets, None, like)?;
        self.folders.push(Folder { names: names.to_vec(), first, clusters: own, old: Vec::new(), sets });
        Ok(self.folders.len() - 1)
    }

    /// Takes over an entry of the later state, with all that is in it, into a directory that begins with `parent`.
    fn plant(&mut self, set: &Set, parent: u32, depth: usize) -> Result<Set, FsError> {
        let mut new = set.clone();
        if let (Some(entry), Some(raw)) = (&set.entry, new.raw.last_mut()) {
            let first = self.plant_entry(entry, parent, depth)?;
            folder::put_cluster(raw, first, self.widths());
        }
        Ok(new)
    }

    fn plant_entry(&mut self, entry: &Entry, parent: u32, depth: usize) -> Result<u32, FsError> {
        match entry.directory {
            true => self.plant_directory(entry, parent, depth),
            false => self.plant_file(entry),
        }
    }

    fn plant_file(&mut self, entry: &Entry) -> Result<u32, FsError> {
        let size = u64::from(entry.size);
        if size == 0 {
            return Ok(0);
        }
        let (from, to) = (u64::from(self.now.boot.geometry.cluster_size), u64::from(self.geometry().cluster_size));
        let short = || FsError::Corrupt(format!("the clusters of {} end before its {size} bytes do", entry.name));
        let now = &self.now.boot.geometry;
        let chain = Chain::new(&**self.now.files.bytes(), now, entry.cluster);
        let count = ByteLen(size.div_ceil(from)).to_usize().ok_or_else(short)?;
        let places = chain.take(count).collect::<Result<Vec<_>, _>>()?;
        if places.len() < count {
            return Err(short());
        }
        let prefer: Vec<u32> =
            if self.alike { places.iter().filter_map(|p| now.number(*p)).collect() } else { Vec::new() };
        let wanted = ByteLen(size.div_ceil(to)).to_usize().ok_or_else(short)?;
        let chain = self.table.chain(wanted, &prefer, None)?;
        // Whole clusters where they are alike: then what lies behind the end of a file that stays in its place is the same too.
        let len = if self.alike { count as u64 * from } else { size };
        let mut at = 0;
        while at < len {
            let piece = (from - at % from).min(to - at % to).min(len - at);
            let nth = |size: u64| ByteLen(at / size).to_usize().unwrap_or(usize::MAX);
            let source = places.get(nth(from)).ok_or_else(short)?.start().0 + at % from;
            let target =
                chain.get(nth(to)).and_then(|no| self.geometry().cluster(*no)).ok_or_else(short)?.start().0 + at % to;
            self.copy(source, target, piece);
            at += piece;
        }
        chain.first().copied().ok_or_else(short)
    }

    fn copy(&mut self, from: u64, to: u64, len: u64) {
        match self.graft.copies.last_mut() {
            Some(last) if last.from.0 + last.len.0 == from && last.to.0 + last.len.0 == to => last.len.0 += len,
            _ => self.graft.copies.push(CopiedBytes { from: ByteOffset(from), to: ByteOffset(to), len: ByteLen(len) }),
        }
    }

    fn plant_directory(&mut self, entry: &Entry, parent: u32, depth: usize) -> Result<u32, FsError> {
        if depth >= MOST_DEPTH || entry.cluster == 0 {
            return Err(FsError::Corrupt(format!("the directory {} lies nowhere, or too deep", entry.name)));
        }
        let (mut bytes, places) = folder::content(&**self.now.files.bytes(), &self.now.boot.geometry, entry.cluster)?;
        let size = usize::try_from(self.geometry().cluster_size).unwrap_or(usize::MAX);
        let prefer = if self.alike { places } else { Vec::new() };
        let chain = self.table.chain(bytes.len().div_ceil(size), &prefer, None)?;
        let own = *chain.first().ok_or_else(|| FsError::Corrupt(format!("the directory {} is empty", entry.name)))?;
        for raw in bytes.as_chunks_mut::<ENTRY>().0 {
            let first = match folder::kind(raw) {
                Kind::End => break,
                Kind::Deleted | Kind::Part | Kind::Label => continue,
                Kind::Itself => own,
                Kind::Parent => parent,
                Kind::Entry => {
                    let (child, _) = super::dir::with_parts(raw, &self.now.boot.geometry, &[]);
                    self.plant_entry(&child, own, depth + 1)?
                }
            };
            folder::put_cluster(raw, first, self.widths());
        }
        self.directory(&chain, bytes, None);
        Ok(own)
    }

    /// Writes a directory into its clusters; of one that was there before, what differs.
    fn directory(&mut self, chain: &[u32], mut bytes: Vec<u8>, old: Option<&[u8]>) {
        let size = usize::try_from(self.geometry().cluster_size).unwrap_or(usize::MAX);
        bytes.resize(chain.len().saturating_mul(size), 0);
        for (nth, (no, piece)) in chain.iter().zip(bytes.chunks(size)).enumerate() {
            let before = old.and_then(|old| old.get(nth * size..(nth + 1) * size));
            if let Some(place) = self.geometry().cluster(*no).filter(|_| before != Some(piece)) {
                self.patch(place.start(), piece);
            }
        }
    }

    fn patch(&mut self, at: ByteOffset, bytes: &[u8]) {
        match self.graft.patches.last_mut() {
            Some((before, last)) if before.0 + last.len() as u64 == at.0 => last.extend_from_slice(bytes),
            _ => self.graft.patches.push((at, bytes.to_vec())),
        }
    }

    /// Writes the directories that something was put into, and the table.
    fn end(mut self) -> Result<Graft, FsError> {
        for folder in std::mem::take(&mut self.folders) {
            self.write(folder)?;
        }
        let geometry = self.geometry().clone();
        self.graft.patches.extend(self.table.patches(&geometry));
        self.graft.patches.extend(self.summary()?);
        let pieces = self.graft.patches.len() + self.graft.copies.len();
        match pieces <= MOST_PIECES {
            true => Ok(self.graft),
            false => Err(FsError::Incompatible(format!("what stays lies in {pieces} pieces, more than are told"))),
        }
    }

    fn write(&mut self, folder: Folder) -> Result<(), FsError> {
        let Folder { first, mut clusters, old, sets, .. } = folder;
        let raw: Vec<Raw> = sets.into_iter().flat_map(|set| set.raw).collect();
        let mut bytes = raw.concat();
        let full = || FsError::Incompatible("a directory on it has no room for another entry".to_owned());
        if bytes.len() as u64 > MOST_BYTES {
            return Err(full());
        }
        if first == 0 && self.geometry().width != 32 {
            let root = self.geometry().root;
            let len = root.len().to_usize().filter(|len| bytes.len() <= *len).ok_or_else(full)?;
            bytes.resize(len, 0);
            if bytes != old {
                self.patch(root.start(), &bytes);
            }
            return Ok(());
        }
        let size = usize::try_from(self.geometry().cluster_size).unwrap_or(usize::MAX);
        let more = bytes.len().div_ceil(size).saturating_sub(clusters.len());
        clusters.extend(self.table.chain(more, &[], clusters.last().copied())?);
        self.directory(&clusters, bytes, Some(&old));
        Ok(())
    }

    /// What a FAT32 keeps beside its table: how many clusters are free, and where to look for the next ("FAT32 File System Specification"
    /// 1.03, FSInfo).
    fn summary(&self) -> Result<Option<(ByteOffset, Vec<u8>)>, FsError> {
        if self.geometry().width != 32 {
            return Ok(None);
        }
        let head = self.then.bytes.read_vec(ByteOffset(0), 64)?;
        let word = |at: usize| u64::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let at = word(48) * word(11);
        if at == 0 || at + 512 > self.geometry().fats[0].start().0 {
            return Ok(None);
        }
        let sector = self.then.bytes.read_vec(ByteOffset(at), 512)?;
        if sector[..4] != *b"RRaA" || sector[484..488] != *b"rrAa" {
            return Ok(None);
        }
        let (free, first) = self.table.room();
        let words = [free, first.unwrap_or(u32::MAX)].map(u32::to_le_bytes);
        Ok(Some((ByteOffset(at + 488), words.concat())))
    }
}
