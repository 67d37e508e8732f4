//! The log: what programs had synced when the last transaction was not followed by another one (kernel `fs/btrfs/tree-log.c`).
//!
//! There is a tree for each subvolume, with the inodes that were synced, their extents, attributes and names. Linux works them in when it
//! mounts; here that is done in memory, as each thing is looked up.

use super::dir::Entry;
use super::raw::{Key, id, kind};
use super::reader::Reader;
use super::subvolume::root_of;
use super::tree;
use crate::fs::FsError;
use crate::numbers::le64;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Most items of all logs, and most bytes of them.
const MOST_ITEMS: usize = 1 << 19;
const MOST_BYTES: usize = 64 << 20;

/// A name of an inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    /// The directory it is in.
    pub(super) parent: u64,
    /// Its place in there.
    pub(super) index: u64,
    /// The name.
    pub(super) name: Vec<u8>,
}

/// The log of a subvolume.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// Items of inodes.
    pub(super) inodes: BTreeMap<u64, Vec<u8>>,
    /// Extents of files, by inode and by where in the file they begin.
    pub(super) extents: BTreeMap<(u64, u64), Vec<u8>>,
    /// Attributes, by inode.
    pub(super) attributes: BTreeMap<u64, Vec<Vec<u8>>>,
    /// Names of inodes.
    pub(super) links: BTreeMap<u64, Vec<Link>>,
    /// Entries of directories, by directory and place.
    pub(super) entries: BTreeMap<(u64, u64), Entry>,
    /// Places in directories of which the log has all entries: first and last of each range.
    pub(super) ranges: BTreeMap<u64, Vec<(u64, u64)>>,
}

impl Log {
    fn add(&mut self, key: Key, item: &[u8]) {
        match key.kind {
            kind::INODE_ITEM => drop(self.inodes.insert(key.id, item.to_vec())),
            kind::EXTENT_DATA => drop(self.extents.insert((key.id, key.offset), item.to_vec())),
            kind::XATTR_ITEM => self.attributes.entry(key.id).or_default().push(item.to_vec()),
            kind::INODE_REF | kind::INODE_EXTREF => self.links.entry(key.id).or_default().extend(links(key, item)),
            kind::DIR_INDEX => {
                for entry in super::dir::entries(item) {
                    self.entries.insert((key.id, key.offset), Entry { index: key.offset, ..entry });
                }
            }
            kind::DIR_LOG_INDEX => self.ranges.entry(key.id).or_default().push((key.offset, le64(item, 0))),
            _ => {}
        }
    }

    /// True where the entry at a place of a directory is gone.
    pub(super) fn is_gone(&self, dir: u64, index: u64) -> bool {
        let within = |(first, last): &(u64, u64)| (*first..=*last).contains(&index);
        self.ranges.get(&dir).is_some_and(|r| r.iter().any(within)) && !self.entries.contains_key(&(dir, index))
    }

    /// The names that the log gives to things in a directory: those of its entries, and those its inodes say they have there.
    pub(super) fn names_in(&self, dir: u64) -> BTreeMap<Vec<u8>, (u64, u64)> {
        let own = self.entries.range((dir, 0)..=(dir, u64::MAX)).filter(|(_, e)| e.at.kind == kind::INODE_ITEM);
        let mut names: BTreeMap<Vec<u8>, (u64, u64)> =
            own.map(|((_, index), e)| (e.name.clone(), (*index, e.at.id))).collect();
        for (inode, links) in &self.links {
            for link in links.iter().filter(|l| l.parent == dir) {
                names.insert(link.name.clone(), (link.index, *inode));
            }
        }
        names
    }

    /// True where an inode has names in a directory in the log, and this is none of them: it was renamed or unlinked.
    pub(super) fn is_renamed(&self, inode: u64, dir: u64, name: &[u8]) -> bool {
        let Some(links) = self.links.get(&inode) else { return false };
        let mut here = links.iter().filter(|l| l.parent == dir).peekable();
        here.peek().is_some() && !here.any(|l| l.name == name)
    }
}

/// The names in an item (`struct btrfs_inode_ref`, `struct btrfs_inode_extref`).
pub(super) fn links(key: Key, item: &[u8]) -> Vec<Link> {
    let (head, own) = if key.kind == kind::INODE_EXTREF { (18, true) } else { (10, false) };
    let mut found = Vec::new();
    let mut rest = item;
    while rest.len() >= head {
        let (parent, index) = if own { (le64(rest, 0), le64(rest, 8)) } else { (key.offset, le64(rest, 0)) };
        let len = usize::from(crate::numbers::le16(rest, head - 2));
        let Some(name) = rest.get(head..head + len) else { break };
        found.push(Link { parent, index, name: name.to_vec() });
        rest = &rest[head + len..];
    }
    found
}

/// Reads the logs of all subvolumes, by the numbers of these.
///
/// # Errors
/// [`FsError`] where one cannot be read whole; [`FsError::Incompatible`] where they are larger than is held.
pub(super) fn load(reader: &Reader) -> Result<BTreeMap<u64, Log>, FsError> {
    let mut logs = BTreeMap::new();
    let Some(top) = reader.sb.log_tree() else { return Ok(logs) };
    let mut roots = Vec::new();
    tree::each(reader, top, Key::FIRST, &mut |key, item| {
        if key.kind == kind::ROOT_ITEM && key.id == id::TREE_LOG {
            roots.push((key.offset, root_of(id::TREE_LOG, item)));
        }
        if roots.len() > MOST_ITEMS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let (mut items, mut bytes) = (0, 0);
    for (number, root) in roots {
        let log: &mut Log = logs.entry(number).or_default();
        tree::each(reader, root?, Key::FIRST, &mut |key, item| {
            items += 1;
            bytes += item.len();
            log.add(key, item);
            if items > MOST_ITEMS || bytes > MOST_BYTES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    if items > MOST_ITEMS || bytes > MOST_BYTES {
        return Err(FsError::Incompatible("it is larger than is read".to_owned()));
    }
    Ok(logs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_both_kinds() {
        let one = [&3u64.to_le_bytes()[..], &2u16.to_le_bytes(), b"ab"].concat();
        let link = Link { parent: 256, index: 3, name: b"ab".to_vec() };
        assert_eq!(links(Key::new(300, kind::INODE_REF, 256), &one), vec![link.clone()]);
        let own = [&256u64.to_le_bytes()[..], &one].concat();
        assert_eq!(links(Key::new(300, kind::INODE_EXTREF, 99), &[&own[..], &own].concat()), [link.clone(), link]);
        assert_eq!(links(Key::new(300, kind::INODE_REF, 256), &one[..11]), []);
    }
}
