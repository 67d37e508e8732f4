//! Which files lie in bytes that are lost.

use super::Fat;
use super::chain::Chain;
use super::dir;
use crate::fs::FsError;
use crate::fs::losses::Losses;
use crate::fs::names::Names;
use model::files::LostFiles;
use model::inspection::FileKind;
use model::units::{ByteLen, Extent, ExtentSet};
use std::ops::ControlFlow;

/// Links followed for all files together, per cluster of the volume: an honest one has one.
const LINKS_PER_CLUSTER: u64 = 4;

/// Walks all names and chains of a FAT file system.
pub(super) fn losses(fat: &Fat, lost: &ExtentSet) -> LostFiles {
    let files = &fat.files;
    let geometry = files.geometry();
    let mut walk = Walk { fat, found: Losses::new(lost), left: u64::from(geometry.clusters) * LINKS_PER_CLUSTER };
    let (data, root) = (geometry.data.start().0, geometry.root);
    let before = if root.is_empty() { data } else { root.start().0 };
    walk.found.metadata(Extent::whole(ByteLen(before)));
    walk.found.metadata(Extent::between(root.end().0, data).unwrap_or_default());
    let mut names = Names::default();
    names.start(0, b"");
    let mut touched = false;
    for place in dir::places(&**files.bytes(), geometry, 0) {
        touched |= walk.lost(place);
    }
    if touched {
        walk.found.name(Some(b"/".to_vec()), FileKind::Directory);
    }
    let mut at = 0;
    while let Some(first) = names.number(at) {
        walk.directory(first, at, &mut names);
        at += 1;
    }
    if names.full {
        walk.found.unseen("it has more directories than are followed");
    }
    walk.found.finish()
}

struct Walk<'a> {
    fat: &'a Fat,
    found: Losses<'a>,
    left: u64,
}

impl Walk<'_> {
    fn directory(&mut self, first: u32, at: usize, names: &mut Names) {
        let mut unseen = None;
        let mut damaged = |e: FsError| {
            unseen.get_or_insert(e);
            Ok(())
        };
        let files = &self.fat.files;
        let read = files.each(first, &mut damaged, &mut |entry| {
            if self.touches(entry.cluster, entry.directory || entry.size > 0) {
                let kind = if entry.directory { FileKind::Directory } else { FileKind::File };
                self.found.name(names.path(at, entry.name.as_bytes()), kind);
            }
            if entry.directory && entry.cluster != 0 {
                names.add(entry.cluster, at, entry.name.as_bytes());
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

    /// True where a cluster of a chain is lost, or where it lies.
    fn lost(&mut self, place: Result<Extent, FsError>) -> bool {
        match place {
            Ok(place) => self.found.claim(place),
            Err(FsError::Io(_)) => true,
            Err(e) => {
                self.found.unseen(&format!("the clusters of a file cannot be followed: {e}"));
                false
            }
        }
    }

    /// True where a part of the chain that begins with cluster `first` is lost, or cannot be followed.
    fn touches(&mut self, first: u32, has_any: bool) -> bool {
        if !has_any {
            return false;
        }
        let mut touched = false;
        for place in Chain::new(&**self.fat.files.bytes(), self.fat.files.geometry(), first) {
            self.left = self.left.saturating_sub(1);
            touched |= self.lost(place);
            if self.left == 0 {
                break;
            }
        }
        touched
    }
}
