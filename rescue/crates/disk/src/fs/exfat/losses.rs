//! Which files lie in bytes that are lost.

use super::chain::Allocation;
use super::files::Files;
use crate::fs::FsError;
use crate::fs::losses::Losses;
use crate::fs::names::Names;
use model::files::LostFiles;
use model::inspection::FileKind;
use model::units::{ByteLen, Extent, ExtentSet};
use std::ops::ControlFlow;

/// Places followed for all files together, per cluster of the volume: an honest one has at most one.
const PLACES_PER_CLUSTER: u64 = 4;

/// Walks all names and clusters of an exFAT.
pub(super) fn losses(files: &Files, lost: &ExtentSet) -> LostFiles {
    let left = u64::from(files.boot.clusters) * PLACES_PER_CLUSTER;
    let mut walk = Walk { files, found: Losses::new(lost), left, directories: vec![files.root] };
    walk.found.metadata(Extent::whole(ByteLen(files.boot.heap.start().0)));
    let table = files.volume.up_case.map(|(at, _)| at);
    for at in files.volume.bitmaps.into_iter().flatten().chain(table) {
        for place in at.places(files.bytes().as_ref(), &files.boot) {
            match place {
                Ok(place) => walk.found.metadata(place),
                Err(e) => {
                    walk.found.broken(&e);
                }
            }
        }
    }
    let mut names = Names::default();
    names.start(files.boot.root, b"");
    if walk.touches(files.root) {
        walk.found.name(Some(b"/".to_vec()), FileKind::Directory);
    }
    let mut at = 0;
    while let Some(directory) = walk.directories.get(at).copied() {
        walk.directory(directory, at, &mut names);
        at += 1;
    }
    if names.full {
        walk.found.unseen("it has more directories than are followed");
    }
    walk.found.finish()
}

struct Walk<'a> {
    files: &'a Files,
    found: Losses<'a>,
    left: u64,
    /// The directories, in the places at which `Names` has them.
    directories: Vec<Allocation>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: Allocation, at: usize, names: &mut Names) {
        let mut unseen = None;
        let mut damaged = |e: FsError| {
            unseen.get_or_insert(e);
            Ok(())
        };
        let files = self.files;
        let read = files.each(directory, &mut damaged, &mut |entry| {
            let allocation = entry.stream.allocation;
            if entry.damaged {
                self.found.unseen("the entry of a file is damaged");
            } else if self.touches(allocation) {
                self.found.name(names.path(at, entry.name.as_bytes()), entry.kind());
            }
            if entry.directory && !entry.damaged && allocation.len > 0 && !names.has(allocation.first) {
                names.add(allocation.first, at, entry.name.as_bytes());
                if names.has(allocation.first) {
                    self.directories.push(allocation);
                }
            }
            if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Some(e) = read.err().or(unseen) {
            self.found.unseen(&format!("a directory cannot be read whole: {e}"));
        }
        if self.left == 0 {
            self.found.unseen("its files have more clusters than the volume");
        }
    }

    /// True where a part of this is lost, or cannot be followed.
    fn touches(&mut self, at: Allocation) -> bool {
        let files = self.files;
        let mut touched = false;
        for place in at.places(files.bytes().as_ref(), &files.boot) {
            self.left = self.left.saturating_sub(1);
            touched |= match place {
                Ok(place) => self.found.claim(place),
                Err(e) => self.found.broken(&e),
            };
            if self.left == 0 {
                break;
            }
        }
        touched
    }
}
