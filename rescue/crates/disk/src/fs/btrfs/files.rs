//! Files: inodes, content and names of all subvolumes, with the log taken into account.

use super::dir::{self, Entry};
use super::extent::{Run, What};
use super::inode::Inode;
use super::packed::Method;
use super::raw::{Key, id, kind};
use super::reader::Reader;
use super::subvolume::{Subvolume, Subvolumes};
use super::tree;
use crate::fs::FsError;
use crate::numbers::{crc32c, le64};
use model::files::FileId;
use model::inspection::FileKind;
use model::text::RawName;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Most bytes of all attributes of a file.
const MOST_VALUES: usize = 1 << 20;
/// Bits of a file's number that are its inode's; the others are its subvolume's. Both are counted from 256 on and never given twice.
const INODE_BITS: u32 = 40;

/// Where a file is: its subvolume, and its inode there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) subvolume: u64,
    pub(super) inode: u64,
}

/// What stands where a subvolume was when a snapshot of the one around it was made: an empty directory that is nowhere on the disk
/// (kernel `new_simple_dir`).
const NOTHING: At = At { subvolume: 0, inode: 2 };

impl At {
    /// The number others call it by.
    ///
    /// # Errors
    /// [`FsError::Incompatible`] where its numbers are too large.
    pub(super) fn file(self) -> Result<FileId, FsError> {
        if self.inode >> INODE_BITS != 0 || self.subvolume >> (u64::BITS - INODE_BITS) != 0 {
            let Self { subvolume, inode } = self;
            return Err(FsError::Incompatible(format!(
                "inode {inode} of subvolume {subvolume} has too large a number"
            )));
        }
        Ok(FileId(self.subvolume << INODE_BITS | self.inode))
    }

    /// What a number means.
    pub(super) fn of(file: FileId) -> Self {
        Self { subvolume: file.0 >> INODE_BITS, inode: file.0 & ((1 << INODE_BITS) - 1) }
    }

    /// Nothing is in it.
    pub(super) fn is_nothing(self) -> bool {
        self == NOTHING
    }
}

/// A file system, with its subvolumes.
pub(super) struct Files {
    pub(super) reader: Reader,
    pub(super) subvolumes: Subvolumes,
}

impl Files {
    /// The root of all: that of the top-level subvolume.
    pub(super) fn top(&self) -> Result<At, FsError> {
        Ok(At { subvolume: id::FS_TREE, inode: self.subvolumes.of(id::FS_TREE)?.dir })
    }

    fn of(&self, at: At) -> Result<&Subvolume, FsError> {
        self.subvolumes.of(at.subvolume)
    }

    /// An inode; `None` for the directory that is nowhere.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is none, or it is damaged.
    pub(super) fn inode(&self, at: At) -> Result<Option<Inode>, FsError> {
        if at.is_nothing() {
            return Ok(None);
        }
        let subvolume = self.of(at)?;
        let stands = tree::item(&self.reader, subvolume.root, Key::new(at.inode, kind::INODE_ITEM, 0))?;
        let logged = subvolume.log.as_ref().and_then(|log| log.inodes.get(&at.inode));
        match (stands, logged) {
            // One that was logged because something else was has its size alone, if that (`overwrite_item`).
            (Some(item), Some(log)) if le64(log, 0) == 0 => {
                let inode = Inode::parse(at.inode, &item)?;
                match le64(log, 16) {
                    size if size != 0 && inode.kind == FileKind::File => Ok(Some(inode.with_size(size))),
                    _ => Ok(Some(inode)),
                }
            }
            (_, Some(log)) => Inode::parse(at.inode, log).map(Some),
            (Some(item), None) => Inode::parse(at.inode, &item).map(Some),
            (None, None) => {
                Err(FsError::Corrupt(format!("inode {} of subvolume {} is not there", at.inode, at.subvolume)))
            }
        }
    }

    /// The run of bytes of a file that holds byte `at` of it.
    ///
    /// # Errors
    /// [`FsError`] where its map cannot be read or does not hold together.
    pub(super) fn run(&self, file: At, at: u64) -> Result<Run, FsError> {
        let subvolume = self.of(file)?;
        let parse = |from: u64, item: &[u8]| Run::parse(from, item, self.reader.sb.sector);
        let mut end = u64::MAX;
        if let Some(log) = &subvolume.log {
            let own = (file.inode, 0)..=(file.inode, at);
            if let Some(((_, from), item)) = log.extents.range(own).next_back() {
                let run = parse(*from, item)?;
                if run.end > at {
                    return Ok(run);
                }
            }
            let next = log.extents.range((file.inode, at)..=(file.inode, u64::MAX)).next();
            end = next.map_or(end, |((_, from), _)| *from);
        }
        let wanted = Key::new(file.inode, kind::EXTENT_DATA, at);
        let before = tree::up_to(&self.reader, subvolume.root, wanted)?;
        if let Some((key, item)) = before.filter(|(key, _)| (key.id, key.kind) == (file.inode, kind::EXTENT_DATA)) {
            let run = parse(key.offset, &item)?;
            if run.end > at {
                return Ok(run.until(end));
            }
        }
        tree::each(&self.reader, subvolume.root, wanted, &mut |key, _| {
            if (key.id, key.kind) == (file.inode, kind::EXTENT_DATA) {
                end = end.min(key.offset);
            }
            ControlFlow::Break(())
        })?;
        Ok(Run::hole(at, end))
    }

    /// The bytes of a compressed run.
    ///
    /// # Errors
    /// [`FsError`] where they cannot be read or unpacked.
    pub(super) fn unpack(&self, run: &Run) -> Result<Vec<u8>, FsError> {
        let What::Packed(packed) = &run.what else {
            return Err(FsError::Corrupt("an extent is not compressed".to_owned()));
        };
        let mut bytes = vec![0; packed.len];
        self.reader.read_address(packed.at, &mut bytes)?;
        let sector = usize::try_from(self.reader.sb.sector).unwrap_or(4096);
        let method: Method = packed.method;
        let plain = method.unpack(&bytes, packed.plain, sector)?;
        let len = usize::try_from(run.end - run.from).unwrap_or(usize::MAX);
        Ok(plain.into_iter().skip(packed.skip).take(len).collect())
    }

    /// Where an entry of a directory leads.
    fn leads(&self, dir: At, entry: &Entry) -> At {
        if entry.at.kind != kind::ROOT_ITEM {
            return At { subvolume: dir.subvolume, inode: entry.at.id };
        }
        let meant = |s: &&Subvolume| {
            s.name
                .as_ref()
                .is_some_and(|(parent, at, name)| (*parent, *at, name) == (dir.subvolume, dir.inode, &entry.name))
        };
        match self.subvolumes.all.get(&entry.at.id).filter(meant) {
            Some(subvolume) => At { subvolume: entry.at.id, inode: subvolume.dir },
            None => NOTHING,
        }
    }

    /// What a directory has under a name.
    ///
    /// # Errors
    /// [`FsError`] where it cannot be read.
    pub(super) fn entry(&self, dir: At, name: &[u8]) -> Result<Option<At>, FsError> {
        if dir.is_nothing() {
            return Ok(None);
        }
        let subvolume = self.of(dir)?;
        if subvolume.log.is_some() {
            // Few names were synced: all of the directory is put together.
            let mut found = None;
            self.entries(dir, &mut |entry, at| {
                if entry.name != name {
                    return ControlFlow::Continue(());
                }
                found = Some(at);
                ControlFlow::Break(())
            })?;
            return Ok(found);
        }
        // `btrfs_name_hash`.
        let key = Key::new(dir.inode, kind::DIR_ITEM, u64::from(crc32c(!1, name)));
        let item = tree::item(&self.reader, subvolume.root, key)?.unwrap_or_default();
        Ok(dir::entries(&item).iter().find(|entry| entry.name == name).map(|entry| self.leads(dir, entry)))
    }

    /// Shows the entries of a directory, with where they lead.
    ///
    /// # Errors
    /// [`FsError`] where it cannot be read.
    pub(super) fn entries(&self, dir: At, visit: &mut dyn FnMut(&Entry, At) -> ControlFlow<()>) -> Result<(), FsError> {
        if dir.is_nothing() {
            return Ok(());
        }
        let subvolume = self.of(dir)?;
        let log = subvolume.log.as_ref();
        let names: BTreeMap<Vec<u8>, (u64, u64)> = log.map(|log| log.names_in(dir.inode)).unwrap_or_default();
        let mut ended = false;
        tree::each(&self.reader, subvolume.root, Key::new(dir.inode, kind::DIR_INDEX, 0), &mut |key, item| {
            if (key.id, key.kind) != (dir.inode, kind::DIR_INDEX) {
                return ControlFlow::Break(());
            }
            for entry in dir::entries(item) {
                let entry = Entry { index: key.offset, ..entry };
                let gone = log.is_some_and(|log| {
                    names.contains_key(&entry.name)
                        || log.is_gone(dir.inode, key.offset)
                        || (entry.at.kind == kind::INODE_ITEM && log.is_renamed(entry.at.id, dir.inode, &entry.name))
                });
                if !gone && visit(&entry, self.leads(dir, &entry)).is_break() {
                    ended = true;
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        let mut logged: Vec<(Vec<u8>, (u64, u64))> = names.into_iter().collect();
        logged.sort_by_key(|(_, (index, _))| *index);
        for (name, (index, inode)) in logged {
            if ended {
                break;
            }
            let at = At { subvolume: dir.subvolume, inode };
            // Names of what was never logged itself are left out, as the kernel does.
            let Ok(Some(found)) = self.inode(at) else { continue };
            let entry = Entry { name, at: Key::new(inode, kind::INODE_ITEM, 0), kind: found.kind, index };
            ended = visit(&entry, at).is_break();
        }
        Ok(())
    }

    /// All attributes of an inode, as `getxattr` gives them.
    ///
    /// # Errors
    /// [`FsError`] where they cannot be read, or are more than are read.
    pub(super) fn attributes(&self, at: At) -> Result<Vec<(RawName, RawName)>, FsError> {
        let (mut found, mut left) = (Vec::new(), Some(MOST_VALUES));
        let mut add = |item: &[u8]| {
            for (name, value) in dir::attributes(item) {
                left = left.and_then(|left| left.checked_sub(name.len() + value.len()));
                if left.is_some() {
                    found.push((RawName(name.to_vec()), RawName(value.to_vec())));
                }
            }
        };
        if at.is_nothing() {
            return Ok(found);
        }
        let subvolume = self.of(at)?;
        let whole =
            subvolume.log.as_ref().filter(|log| log.inodes.get(&at.inode).is_some_and(|item| le64(item, 0) != 0));
        match whole {
            // One that was synced was logged with all of them (`btrfs_log_all_xattrs`).
            Some(log) => log.attributes.get(&at.inode).into_iter().flatten().for_each(|item| add(item)),
            None => {
                let from = Key::new(at.inode, kind::XATTR_ITEM, 0);
                tree::each(&self.reader, subvolume.root, from, &mut |key, item| {
                    if (key.id, key.kind) != (at.inode, kind::XATTR_ITEM) {
                        return ControlFlow::Break(());
                    }
                    add(item);
                    ControlFlow::Continue(())
                })?;
            }
        }
        match left {
            Some(_) => Ok(found),
            None => Err(FsError::Corrupt(format!("inode {} has more attributes than are read", at.inode))),
        }
    }
}
