//! Two file systems that have nothing but names in common.

use super::walk::{Facts, Pair, Side, Visit};
use crate::fs::{FileSystem, FsError};
use model::differences::FileChange;
use model::files::{Attributes, FileId};
use model::inspection::FileKind;

/// Entries asked for at a time.
const AT_ONCE: usize = 4096;

pub(super) struct ByNames<'a> {
    before: &'a dyn FileSystem,
    after: &'a dyn FileSystem,
    roots: (u64, u64),
    /// Both keep owners and modes.
    modes: bool,
    /// Directories in which nothing differs, however deep, by their number in both.
    same: &'a dyn Fn(FileId) -> bool,
}

impl<'a> ByNames<'a> {
    /// `modes`: both keep owners and modes. `same`: whether nothing differs in a directory that has a number in both.
    ///
    /// # Errors
    /// [`FsError`] where a root directory cannot be read.
    pub(super) fn new(
        before: &'a dyn FileSystem,
        after: &'a dyn FileSystem,
        modes: bool,
        same: &'a dyn Fn(FileId) -> bool,
    ) -> Result<Self, FsError> {
        let root = |fs: &dyn FileSystem| {
            fs.find(b"/")?.map(|root| root.file.0).ok_or_else(|| FsError::Corrupt("there is no root directory".into()))
        };
        let roots = (root(before)?, root(after)?);
        Ok(Self { before, after, roots, modes, same })
    }
}

fn facts(a: &Attributes) -> Facts {
    Facts {
        kind: a.kind,
        size: a.size.0,
        modified: a.modified,
        mode: (a.mode, a.owner, a.group),
        target: a.target.clone(),
        identity: None,
    }
}

impl Pair for ByNames<'_> {
    fn roots(&self) -> (u64, u64) {
        self.roots
    }

    fn entries(&self, side: Side, dir: u64, visit: &mut Visit<'_>) -> Result<(), FsError> {
        let fs = match side {
            Side::Before => self.before,
            Side::After => self.after,
        };
        let mut skip = 0;
        loop {
            let some = fs.list(FileId(dir), skip, AT_ONCE)?;
            for entry in &some {
                if visit(&entry.name.0, entry.file.0, entry.attributes.as_ref().map(facts)).is_break() {
                    return Ok(());
                }
            }
            skip += some.len();
            if some.len() < AT_ONCE {
                return Ok(());
            }
        }
    }

    /// They come with the entries; where they did not, they are damaged.
    fn facts(&self, _: Side, file: u64) -> Result<Facts, FsError> {
        Err(FsError::Corrupt(format!("what is kept of file {file} is damaged")))
    }

    fn unchanged(&self, before: u64, after: u64) -> Option<bool> {
        (before == after && (self.same)(FileId(before))).then_some(false)
    }

    fn same_entries(&self, _: u64, _: u64) -> bool {
        false
    }

    fn change(&self, (_, was): (u64, &Facts), (_, is): (u64, &Facts)) -> Result<Option<FileChange>, FsError> {
        let content = |f: &Facts| (f.size, f.modified, f.target.clone());
        Ok(match is.kind {
            FileKind::File | FileKind::Symlink if content(was) != content(is) => Some(FileChange::Changed),
            _ if self.modes && was.mode != is.mode => Some(FileChange::Attributes),
            _ => None,
        })
    }
}
