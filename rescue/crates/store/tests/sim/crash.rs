//! What a disk may hold after a power cut: the log of operations, and every state that POSIX allows at each point of it.

use crate::rng::{Rng, fold};
use crate::tree::{Content, Ino, Name, Node, Tree};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a disk writes at once.
const SECTOR: usize = 512;
/// What a system writes at once.
const PAGE: usize = 4096;

/// How a file system treats names across a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Model {
    /// A rename leaves the old name, the new one, or both; one file under two names is two links.
    Journal,
    /// A rename may also leave neither, and both are the same clusters: removing one frees them under the other.
    Fat,
}

impl Model {
    pub(crate) const ALL: [Self; 2] = [Self::Journal, Self::Fat];
}

/// What a sync was asked to make durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    File(Ino),
    Dir(Ino),
    All,
}

/// What reached the file system.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Create {
        dir: Ino,
        name: Name,
        ino: Ino,
    },
    Mkdir {
        dir: Ino,
        name: Name,
        ino: Ino,
    },
    Write {
        ino: Ino,
        at: usize,
        bytes: Arc<[u8]>,
    },
    Rename {
        dir: Ino,
        from: Name,
        to: Name,
        ino: Ino,
    },
    Unlink {
        dir: Ino,
        name: Name,
    },
    Sync {
        scope: Scope,
        ok: bool,
    },
    /// On FAT: the clusters of `ino` were freed although it has a name, and something else was written there.
    Scramble {
        ino: Ino,
    },
    /// On FAT: the clusters of a file without a name now belong to another.
    Reuse {
        ino: Ino,
        by: Ino,
    },
}

#[derive(Debug, Clone)]
enum Change {
    Bytes {
        ino: Ino,
        at: usize,
        bytes: Arc<[u8]>,
    },
    /// `group` joins the two halves of a rename.
    Name {
        dir: Ino,
        name: Name,
        to: Option<Ino>,
        group: Option<usize>,
    },
}

#[derive(Debug, Clone)]
struct Pending {
    number: usize,
    change: Change,
    /// A sync of it failed: no later one makes it durable, and it may be on the medium all the same.
    abandoned: bool,
}

impl Pending {
    fn is_in(&self, scope: Scope) -> bool {
        match (&self.change, scope) {
            (_, Scope::All) => true,
            (Change::Bytes { ino, .. }, Scope::File(synced)) => *ino == synced,
            (Change::Name { dir, .. }, Scope::Dir(synced)) => *dir == synced,
            _ => false,
        }
    }
}

/// The state of a disk after some operations: what is durable, and what may be.
#[derive(Debug, Clone)]
pub(crate) struct Replay {
    durable: Tree,
    pending: Vec<Pending>,
    number: usize,
}

impl Replay {
    pub(crate) fn new(base: Tree) -> Self {
        Self { durable: base, pending: Vec::new(), number: 0 }
    }

    /// The states before the first operation, after it, after the second, ...
    pub(crate) fn all(base: &Tree, log: &[Op]) -> Vec<Self> {
        let mut states = vec![Self::new(base.clone())];
        for op in log {
            let mut next = states[states.len() - 1].clone();
            next.apply(op);
            states.push(next);
        }
        states
    }

    /// The state after all of a log.
    pub(crate) fn end(base: &Tree, log: &[Op]) -> Self {
        let mut state = Self::new(base.clone());
        log.iter().for_each(|op| state.apply(op));
        state
    }

    fn apply(&mut self, op: &Op) {
        self.number += 1;
        let name = |dir: &Ino, name: &Name, to| Change::Name { dir: *dir, name: name.clone(), to, group: None };
        match op {
            Op::Create { dir, name: n, ino } => {
                self.inode(*ino, Node::File(Content::default()));
                self.push(name(dir, n, Some(*ino)));
            }
            Op::Mkdir { dir, name: n, ino } => {
                self.inode(*ino, Node::Dir(Arc::default()));
                self.push(name(dir, n, Some(*ino)));
            }
            Op::Write { ino, at, bytes } => self.push(Change::Bytes { ino: *ino, at: *at, bytes: bytes.clone() }),
            Op::Rename { dir, from, to, ino } => {
                let group = Some(self.number);
                self.push(Change::Name { dir: *dir, name: from.clone(), to: None, group });
                self.push(Change::Name { dir: *dir, name: to.clone(), to: Some(*ino), group });
            }
            Op::Unlink { dir, name: n } => self.push(name(dir, n, None)),
            Op::Sync { scope, ok: false } => {
                self.pending.iter_mut().filter(|p| p.is_in(*scope)).for_each(|p| p.abandoned = true);
            }
            Op::Sync { scope, ok: true } => self.sync(*scope),
            Op::Scramble { ino } => self.durable.file_mut(*ino).scramble(),
            Op::Reuse { ino, by } => {
                self.durable.file_mut(*ino).scramble();
                self.durable.aliases.insert(*ino, *by);
            }
        }
    }

    fn inode(&mut self, ino: Ino, node: Node) {
        assert_eq!(ino, self.durable.nodes.len(), "inodes are numbered as they are made");
        self.durable.nodes.push(node);
    }

    fn push(&mut self, change: Change) {
        self.pending.push(Pending { number: self.number, change, abandoned: false });
    }

    fn sync(&mut self, scope: Scope) {
        let mut left: Vec<Pending> = Vec::new();
        for p in std::mem::take(&mut self.pending) {
            if p.abandoned || !p.is_in(scope) {
                left.push(p);
                continue;
            }
            if let Change::Name { dir, name, .. } = &p.change {
                // What was abandoned of the same name is overwritten.
                let same =
                    |l: &Pending| matches!(&l.change, Change::Name { dir: d, name: n, .. } if d == dir && n == name);
                left.retain(|l| !same(l));
            }
            put(&mut self.durable, &p);
        }
        self.pending = left;
    }

    /// What a power cut here leaves where nothing was written out early.
    pub(crate) fn least(&self) -> Tree {
        self.durable.clone()
    }

    /// One of the trees that a power cut here may leave.
    pub(crate) fn crash(&self, seed: u64, model: Model) -> Tree {
        let mut rng = Rng::new(seed);
        // Nothing, everything, names alone, bytes alone, or each thing by a chance of its own.
        let (names, bytes) = match rng.below(8) {
            0 => (0, 0),
            1 => (256, 256),
            2 => (256, 0),
            3 => (0, 256),
            4 => (256, 128),
            _ => (32 + rng.below(192), 32 + rng.below(192)),
        };
        let stale = rng.chance(128);
        let mut tree = self.durable.clone();
        let mut renames: BTreeMap<usize, (bool, bool)> = BTreeMap::new();
        for p in &self.pending {
            match &p.change {
                Change::Name { to, group: Some(group), .. } => {
                    let (removed, added) = *renames.entry(*group).or_insert_with(|| {
                        let added = rng.chance(names);
                        let removed = if added || model == Model::Fat { rng.chance(names.max(64)) } else { false };
                        (removed, added)
                    });
                    if if to.is_some() { added } else { removed } {
                        put(&mut tree, p);
                    }
                }
                Change::Name { .. } if rng.chance(names) => put(&mut tree, p),
                Change::Name { .. } => {}
                Change::Bytes { ino, at, bytes: all } => {
                    torn(tree.file_mut(*ino), *at, all, p.number, bytes, stale, &mut rng);
                }
            }
        }
        tree
    }
}

/// Makes a change whole.
fn put(tree: &mut Tree, p: &Pending) {
    match &p.change {
        Change::Bytes { ino, at, bytes } => tree.file_mut(*ino).write(*at, bytes, p.number as u64),
        Change::Name { dir, name, to, .. } => tree.name(*dir, name, *to),
    }
}

/// Makes a write in part: pages are there or not, one may be torn between sectors, and the length may have been written
/// without the bytes, which are then zeros or what the disk held before.
fn torn(file: &mut Content, at: usize, all: &[u8], number: usize, chance: usize, stale: bool, rng: &mut Rng) {
    if chance == 256 {
        return file.write(at, all, number as u64);
    }
    if stale && rng.chance(128) {
        file.write(at, &vec![0xe5; all.len()], 1 << 32);
    } else if rng.chance(128) {
        file.write(at, &vec![0; all.len()], 1 << 33);
    }
    for (n, page) in all.chunks(PAGE).enumerate() {
        if !rng.chance(chance) {
            continue;
        }
        let sectors = page.len().div_ceil(SECTOR);
        let there = if rng.chance(224) { sectors } else { rng.below(sectors) };
        let part = &page[..page.len().min(there * SECTOR)];
        if !part.is_empty() {
            file.write(at + n * PAGE, part, fold([number as u64, there as u64]));
        }
    }
}
