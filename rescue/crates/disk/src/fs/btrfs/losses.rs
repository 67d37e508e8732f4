//! Which files lie in bytes that are lost: all extents of all subvolumes are gone through, as far as their trees can be read.

use super::Btrfs;
use super::extent::{Run, What};
use super::files::{At, Files};
use super::inode::Inode;
use super::log::{Link, links};
use super::raw::{Key, id, kind};
use super::subvolume::tree_of;
use super::tree::{self, Walk};
use super::used::extent_of;
use crate::fs::FsError;
use crate::fs::losses::Losses;
use model::files::{LONGEST_PATH, LostFiles};
use model::inspection::FileKind;
use model::units::{Extent, ExtentSet};
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Most files that are held to be named.
const MOST: usize = 1 << 20;
/// As deep as a path can be.
const MOST_DEPTH: usize = LONGEST_PATH / 2;

/// Walks all trees.
pub(super) fn losses(fs: &Btrfs, lost: &ExtentSet) -> LostFiles {
    let files = &*fs.files;
    let mut found = Losses::new(lost);
    files.reader.devices.copies().for_each(|copy| found.metadata(copy));
    blocks(files, &mut found);
    if let Some(doubt) = &files.subvolumes.doubt {
        found.unseen(doubt);
    }
    for (number, subvolume) in &files.subvolumes.all {
        let mut touched = BTreeMap::new();
        let mut unseen = None;
        let mut current: Option<(u64, FileKind)> = None;
        let walk = Walk { block: &mut |_| {}, damaged: &mut |_, e| keep(&mut unseen, e) };
        let walked = walk.run(&files.reader, subvolume.root, Key::FIRST, &mut |key, item| {
            match key.kind {
                kind::INODE_ITEM => current = Inode::parse(key.id, item).ok().map(|inode| (key.id, inode.kind)),
                kind::EXTENT_DATA if is_lost(files, key, item, &mut found) => {
                    let kind = current.filter(|(of, _)| *of == key.id).map_or(FileKind::File, |(_, kind)| kind);
                    touched.insert(key.id, kind);
                }
                _ => {}
            }
            if touched.len() > MOST { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(e) = walked.err().or(unseen) {
            found.unseen(&format!("a part of subvolume {number} cannot be read: {e}"));
        }
        if touched.len() > MOST {
            found.unseen("more files are lost than are named");
        }
        for (inode, kind) in touched {
            name(files, At { subvolume: *number, inode }, kind, &mut found);
        }
    }
    found.finish()
}

/// Keeps the first error, and goes on.
fn keep(first: &mut Option<FsError>, e: FsError) -> Result<(), FsError> {
    first.get_or_insert(e);
    Ok(())
}

/// The tree blocks that the extent tree knows.
fn blocks(files: &Files, found: &mut Losses<'_>) {
    let reader = &files.reader;
    let mut unseen = None;
    let walked = tree_of(reader, id::EXTENT_TREE).and_then(|root| {
        let walk = Walk { block: &mut |_| {}, damaged: &mut |_, e| keep(&mut unseen, e) };
        walk.run(reader, root, Key::FIRST, &mut |key, item| {
            if let Some(extent) = extent_of(key, item, reader.sb.node).filter(|extent| !extent.data) {
                let places = reader.chunks.extents(extent.at, extent.len).unwrap_or_default();
                places.into_iter().for_each(|place| found.metadata(place));
            }
            ControlFlow::Continue(())
        })
    });
    if let Some(e) = walked.err().or(unseen) {
        found.unseen(&format!("not all of its tree blocks are known: {e}"));
    }
}

/// True where every copy of something in an extent of a file is lost.
fn is_lost(files: &Files, key: Key, item: &[u8], found: &mut Losses<'_>) -> bool {
    let Ok(run) = Run::parse(key.offset, item, files.reader.sb.sector) else { return false };
    let (mut at, mut left) = match run.what {
        What::At(at) => (at, run.end - run.from),
        What::Packed(packed) => (packed.at, packed.len as u64),
        What::Zeros | What::Within(_) => return false,
    };
    let mut lost = false;
    while left > 0 {
        let Ok((places, room)) = files.reader.chunks.places(at) else { return lost };
        let len = room.min(left);
        let copies = places.iter().filter_map(|place| Extent::between(place.0, place.0 + len));
        // All are claimed, whichever can be read.
        lost |= copies.map(|copy| found.claim(copy)).fold(true, |all, one| all & one);
        at = at.saturating_add(len);
        left -= len;
    }
    lost
}

/// Names a file by every name it has.
fn name(files: &Files, at: At, kind: FileKind, found: &mut Losses<'_>) {
    match names(files, at) {
        Ok(links) if links.is_empty() => found.nameless(1),
        Ok(links) => {
            for link in links {
                match path(files, At { subvolume: at.subvolume, inode: link.parent }) {
                    Ok(Some(mut whole)) => {
                        whole.push(b'/');
                        whole.extend_from_slice(&link.name);
                        found.name(Some(whole).filter(|path| path.len() <= LONGEST_PATH), kind);
                    }
                    Ok(None) => found.name(None, kind),
                    Err(_) => found.nameless(1),
                }
            }
        }
        Err(_) => found.nameless(1),
    }
}

/// The names that an inode says it has.
fn names(files: &Files, at: At) -> Result<Vec<Link>, FsError> {
    let root = files.subvolumes.of(at.subvolume)?.root;
    let mut found = Vec::new();
    tree::each(&files.reader, root, Key::new(at.inode, kind::INODE_REF, 0), &mut |key, item| {
        if key.id != at.inode || key.kind > kind::INODE_EXTREF {
            return ControlFlow::Break(());
        }
        found.extend(links(key, item));
        ControlFlow::Continue(())
    })?;
    Ok(found)
}

/// The path of a directory from the root of the top-level subvolume, without a slash at its end; `None` where it is longer than a path can
/// be.
///
/// # Errors
/// [`FsError`] where the way up cannot be read, or leads nowhere.
pub(super) fn path(files: &Files, mut at: At) -> Result<Option<Vec<u8>>, FsError> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for _ in 0..MOST_DEPTH {
        let subvolume = files.subvolumes.of(at.subvolume)?;
        let (up, name) = if subvolume.dir == at.inode {
            match &subvolume.name {
                Some((parent, dir, name)) => (At { subvolume: *parent, inode: *dir }, name.clone()),
                None if at.subvolume == id::FS_TREE => {
                    parts.reverse();
                    let path: Vec<u8> = parts.iter().flat_map(|part| [&b"/"[..], part].concat()).collect();
                    return Ok(Some(path).filter(|path| path.len() < LONGEST_PATH));
                }
                None => return Err(FsError::Corrupt(format!("subvolume {} has no name", at.subvolume))),
            }
        } else {
            let links = names(files, at)?;
            let Some(link) = links.into_iter().next() else {
                return Err(FsError::Corrupt(format!("directory inode {} has no name", at.inode)));
            };
            (At { subvolume: at.subvolume, inode: link.parent }, link.name)
        };
        parts.push(name);
        at = up;
    }
    Ok(None)
}
