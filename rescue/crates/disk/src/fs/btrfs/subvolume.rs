//! Subvolumes and snapshots (kernel `struct btrfs_root_item`, `struct btrfs_root_ref`): each is a tree of files of its own, and has a
//! name in a directory of another one.

use super::log::{self, Log};
use super::raw::{Key, id, is_subvolume, kind};
use super::reader::Reader;
use super::tree::{self, Root};
use crate::fs::FsError;
use crate::numbers::{byte, le16, le32, le64};
use model::id::Digest;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Most of them that are read.
const MOST: usize = 1 << 16;
/// Bytes of a root item before what Linux 3.6 added.
const LEGACY: usize = 239;

/// A tree of files.
#[derive(Debug)]
pub(super) struct Subvolume {
    /// Its tree.
    pub(super) root: Root,
    /// Inode of its root directory.
    pub(super) dir: u64,
    /// Where it has its name: subvolume, directory, name.
    pub(super) name: Option<(u64, u64, Vec<u8>)>,
    /// It was made as a copy of another one.
    pub(super) is_snapshot: bool,
    /// Its item, hashed: another one with every change of what is in it.
    pub(super) state: Digest,
    /// What was synced in it since the last transaction.
    pub(super) log: Option<Log>,
}

/// All subvolumes of a file system.
#[derive(Debug)]
pub(super) struct Subvolumes {
    /// By number.
    pub(super) all: BTreeMap<u64, Subvolume>,
    /// The number of the one that is mounted where none is named.
    pub(super) default: u64,
    /// Why the log does not count, where there is one that cannot be read.
    pub(super) doubt: Option<String>,
    /// Hash of all items of trees: another one with every change.
    pub(super) state: Digest,
}

/// The tree that a root item names.
pub(super) fn root_of(owner: u64, item: &[u8]) -> Result<Root, FsError> {
    if item.len() < LEGACY {
        return Err(FsError::Corrupt(format!("the item of tree {owner} is {} bytes long", item.len())));
    }
    Ok(Root { owner, at: le64(item, 176), level: byte(item, 238), generation: le64(item, 160) })
}

/// The tree of that number.
///
/// # Errors
/// [`FsError::Corrupt`] where there is none; else as reading the tree of trees.
pub(super) fn tree_of(reader: &Reader, owner: u64) -> Result<Root, FsError> {
    let found = tree::up_to(reader, reader.sb.root_tree(), Key::new(owner, kind::ROOT_ITEM, u64::MAX))?;
    match found.filter(|(key, _)| (key.id, key.kind) == (owner, kind::ROOT_ITEM)) {
        Some((_, item)) => root_of(owner, &item),
        None => Err(FsError::Corrupt(format!("there is no tree {owner}"))),
    }
}

impl Subvolumes {
    /// Reads the tree of trees, and the log.
    ///
    /// # Errors
    /// [`FsError`] where the tree of trees cannot be read whole.
    pub(super) fn load(reader: &Reader) -> Result<Self, FsError> {
        let mut all = BTreeMap::new();
        let (mut default, mut items, mut wrong) = (id::FS_TREE, Vec::new(), None);
        tree::each(reader, reader.sb.root_tree(), Key::FIRST, &mut |key, item| {
            match key.kind {
                kind::ROOT_ITEM => {
                    items.extend_from_slice(&Digest::of(item).0);
                    if is_subvolume(key.id) && le32(item, 216) > 0 {
                        match subvolume(key.id, item) {
                            Ok(found) => drop(all.insert(key.id, found)),
                            Err(e) => wrong = wrong.take().or(Some(e)),
                        }
                    }
                }
                kind::ROOT_BACKREF => {
                    let name = item.get(18..18 + usize::from(le16(item, 16))).unwrap_or_default().to_vec();
                    if let Some(found) = all.get_mut(&key.id) {
                        found.name = Some((key.offset, le64(item, 0), name));
                    }
                }
                kind::DIR_ITEM if key.id == id::ROOT_TREE_DIR && item.get(30..37) == Some(b"default") => {
                    default = le64(item, 0);
                }
                _ => {}
            }
            if all.len() > MOST || wrong.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        if let Some(e) = wrong {
            return Err(e);
        }
        if all.len() > MOST || !all.contains_key(&id::FS_TREE) {
            return Err(FsError::Incompatible(format!("it has {} subvolumes", all.len())));
        }
        let doubt = match log::load(reader) {
            Ok(logs) => {
                for (number, log) in logs {
                    if let Some(found) = all.get_mut(&number) {
                        found.log = Some(log);
                    }
                }
                None
            }
            Err(e) => Some(format!("its log cannot be read: {e}")),
        };
        Ok(Self { all, default, doubt, state: Digest::of(&items) })
    }

    /// The subvolume of that number.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where there is none.
    pub(super) fn of(&self, number: u64) -> Result<&Subvolume, FsError> {
        self.all.get(&number).ok_or_else(|| FsError::Corrupt(format!("there is no subvolume {number}")))
    }

    /// True where others have their names in it.
    pub(super) fn has_children(&self, number: u64) -> bool {
        self.all.values().any(|other| other.name.as_ref().is_some_and(|(parent, ..)| *parent == number))
    }
}

fn subvolume(number: u64, item: &[u8]) -> Result<Subvolume, FsError> {
    let root = root_of(number, item)?;
    // What is newer than Linux 3.6 counts where both generations are the same (`btrfs_read_root_item`).
    let is_snapshot =
        le64(item, 239) == root.generation && item.get(263..279).is_some_and(|b| b.iter().any(|b| *b != 0));
    Ok(Subvolume { root, dir: le64(item, 168), name: None, is_snapshot, state: Digest::of(item), log: None })
}
