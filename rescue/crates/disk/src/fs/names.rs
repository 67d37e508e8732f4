//! The directories of a walk through a file system, and the path of each: what is kept is one name a directory.

use model::files::LONGEST_PATH;
use std::collections::HashSet;

/// Most directories of one walk.
const MOST: usize = 1 << 20;
/// Most bytes of their names.
const MOST_HELD: usize = 64 << 20;

/// A directory by its number: that of its inode, or of its first cluster.
struct Directory {
    number: u32,
    /// Place of the directory that names it; of a start of the walk its own.
    parent: usize,
    name: Box<[u8]>,
}

/// The directories met so far, in the order in which they are to be read. Each is met once.
#[derive(Default)]
pub(super) struct Names {
    met: Vec<Directory>,
    known: HashSet<u32>,
    held: usize,
    /// There were more than are followed.
    pub(super) full: bool,
}

impl Names {
    /// Begins a walk, or another part of it, with a directory whose path is `path`.
    pub(super) fn start(&mut self, number: u32, path: &[u8]) {
        let at = self.met.len();
        self.put(number, at, path);
    }

    /// Adds a directory that the one at place `parent` names. One that was met before stays where it was.
    pub(super) fn add(&mut self, number: u32, parent: usize, name: &[u8]) {
        self.put(number, parent, name);
    }

    /// Adds a directory whose number nobody asks for; gives its place, or `None` where there are more than are followed.
    pub(super) fn push(&mut self, parent: usize, name: &[u8]) -> Option<usize> {
        let place = self.met.len();
        self.put(u32::try_from(place).ok()?, parent, name);
        (self.met.len() > place).then_some(place)
    }

    fn put(&mut self, number: u32, parent: usize, name: &[u8]) {
        if self.known.contains(&number) {
            return;
        }
        if self.met.len() >= MOST || self.held + name.len() > MOST_HELD {
            self.full = true;
            return;
        }
        self.known.insert(number);
        self.held += name.len();
        self.met.push(Directory { number, parent, name: name.into() });
    }

    /// The number of the directory at a place; `None` past the last one that was met.
    pub(super) fn number(&self, at: usize) -> Option<u32> {
        self.met.get(at).map(|dir| dir.number)
    }

    /// True for a directory that was met.
    pub(super) fn has(&self, number: u32) -> bool {
        self.known.contains(&number)
    }

    /// The path of `name` in the directory at a place; `None` where it is longer than a path can be.
    pub(super) fn path(&self, at: usize, name: &[u8]) -> Option<Vec<u8>> {
        let mut parts = vec![name];
        let (mut at, mut len) = (at, name.len());
        while let Some(dir) = self.met.get(at) {
            len += dir.name.len() + 1;
            if len > LONGEST_PATH {
                return None;
            }
            parts.push(&dir.name);
            if dir.parent == at {
                break;
            }
            at = dir.parent;
        }
        parts.reverse();
        Some(parts.join(&b'/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_of_its_names() {
        let mut names = Names::default();
        names.start(2, b"");
        names.add(7, 0, b"usr");
        names.add(9, 1, b"lib");
        names.add(9, 0, b"again");
        names.start(30, b"#30");
        assert_eq!(names.path(2, b"x").unwrap(), b"/usr/lib/x");
        assert_eq!(names.path(0, b"x").unwrap(), b"/x");
        assert_eq!(names.path(3, b"x").unwrap(), b"#30/x");
        assert_eq!((names.number(2), names.number(4), names.has(7), names.has(8)), (Some(9), None, true, false));
        assert_eq!(names.path(0, &[b'x'; LONGEST_PATH]), None);
    }
}
