//! Paths: from names to files, through symbolic links.

use super::FsError;
use model::inspection::FileKind;

/// As in the kernel (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;
/// Names looked up on one path, those in links included.
const MOST_STEPS: u32 = 4096;

/// A file system whose directories lead from names to files.
pub(super) trait Directories {
    /// A file of any kind.
    type File;

    /// The directory that paths begin at.
    ///
    /// # Errors
    /// [`FsError`] where it cannot be read.
    fn root(&self) -> Result<Self::File, FsError>;

    /// What a file is.
    fn kind(file: &Self::File) -> FileKind;

    /// What a directory has under a name. Names are compared by their bytes, also where the directory folds case.
    ///
    /// # Errors
    /// [`FsError`] where either cannot be read.
    fn look_up(&self, dir: &Self::File, name: &[u8]) -> Result<Option<Self::File>, FsError>;

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`FsError`] where it cannot be read, or is longer than one can be.
    fn target(&self, link: &Self::File) -> Result<Vec<u8>, FsError>;

    /// Takes off the way what an absolute target of a link at its end does not begin with: all of it, where there is one root.
    fn begin_anew(&self, way: &mut Vec<(Vec<u8>, Self::File)>, _link: &Self::File) {
        way.clear();
    }
}

/// Where a path leads.
pub(super) struct Found<F> {
    /// The file.
    pub(super) file: F,
    /// The names from the root to it, free of symbolic links.
    pub(super) names: Vec<Vec<u8>>,
}

impl<F> Found<F> {
    /// The last name; empty for the root.
    pub(super) fn name(&self) -> &[u8] {
        self.names.last().map_or(&[], |name| &name[..])
    }
}

/// Follows a path from the root; a symbolic link at its end too where `last` says so. `None` where it leads nowhere: a name
/// that is not there, something in the way that is no directory, too many links.
///
/// # Errors
/// [`FsError`] where the way there cannot be read.
pub(super) fn find<D: Directories>(fs: &D, path: &[u8], last: bool) -> Result<Option<Found<D::File>>, FsError> {
    // The names still to look up, the next one last.
    let mut ahead: Vec<Vec<u8>> = split(path).rev().collect();
    // The directories passed, with the name each has in the one before.
    let mut way: Vec<(Vec<u8>, D::File)> = Vec::new();
    let root = fs.root()?;
    let (mut links, mut steps) = (0, 0);
    while let Some(name) = ahead.pop() {
        steps += 1;
        if steps > MOST_STEPS {
            return Ok(None);
        }
        if name == b".." {
            way.pop();
            continue;
        }
        let here = way.last().map_or(&root, |(_, file)| file);
        if D::kind(here) != FileKind::Directory {
            return Ok(None);
        }
        let Some(file) = fs.look_up(here, &name)? else { return Ok(None) };
        if D::kind(&file) == FileKind::Symlink && (last || !ahead.is_empty()) {
            links += 1;
            if links > MOST_LINKS {
                return Ok(None);
            }
            let target = fs.target(&file)?;
            if target.starts_with(b"/") {
                fs.begin_anew(&mut way, &file);
            }
            ahead.extend(split(&target).rev());
            continue;
        }
        way.push((name, file));
    }
    let (names, files): (Vec<_>, Vec<_>) = way.into_iter().unzip();
    Ok(Some(Found { file: files.into_iter().next_back().unwrap_or(root), names }))
}

/// The names of a path, without the empty ones and `.`.
fn split(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|c| *c == b'/').filter(|name| !matches!(name, [] | [b'.'])).map(<[u8]>::to_vec)
}

/// The names of a path in a tree that has no symbolic links and no `..`; `None` for one that leads nowhere there, or through more than
/// `most` names.
pub(super) fn plain(path: &[u8], most: usize) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(path).ok()?;
    let names: Vec<&str> = text.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    (names.len() <= most && !names.contains(&"..")).then_some(names)
}
