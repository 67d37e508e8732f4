//! What a simulated file system holds and remembers: its tree, its log, what is to go wrong, and what its disk lied about.

use crate::crash::{Model, Op, Scope};
use crate::tree::{Ino, Name, Node, Tree};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Bytes that one write takes.
const MOST_WRITTEN: usize = 24 << 10;

/// The operations that can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Open,
    Create,
    Kind,
    List,
    Mkdir,
    Rmdir,
    Rename,
    Unlink,
    SyncDir,
    SyncAll,
    Free,
    Lock,
    Write,
    Read,
    Len,
    Sync,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// The medium fails, once.
    Io,
    /// No room, once.
    Full,
    /// No room for anything from then on, until [`SimFs::repair`].
    StaysFull,
    /// Fewer bytes than asked for.
    Short,
    /// A signal came first.
    Interrupted,
    /// The process is killed: nothing happens from then on, until [`SimFs::repair`].
    Killed,
    /// The disk says it wrote, and did not.
    Dropped,
    /// The disk wrote something else.
    Flipped,
}

/// At the `nth` call (from 0) of a kind, or of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) call: Option<Call>,
    pub(crate) nth: usize,
    pub(crate) what: What,
}

/// Bytes that are not on the medium as they were written: seen only once the cache is dropped.
pub(crate) struct Lie {
    pub(crate) ino: Ino,
    pub(crate) at: usize,
    pub(crate) bytes: Vec<u8>,
}

#[derive(Default)]
pub(crate) struct Fat {
    /// Files with a name whose clusters were freed.
    pub(crate) endangered: Vec<Ino>,
    /// Files without a name, whose clusters can be given away.
    pub(crate) free: Vec<Ino>,
}

/// A disk that says it is larger than it is.
pub(crate) struct Ring {
    pub(crate) size: usize,
    /// Where what was written last lies, oldest first: file, position, length.
    pub(crate) written: VecDeque<(Ino, usize, usize)>,
}

pub(crate) struct State {
    pub(crate) tree: Tree,
    pub(crate) model: Model,
    pub(crate) log: Vec<Op>,
    pub(crate) locked: BTreeSet<PathBuf>,
    pub(crate) counts: BTreeMap<Call, usize>,
    pub(crate) calls: usize,
    pub(crate) fault: Option<Fault>,
    pub(crate) hit: bool,
    pub(crate) full: bool,
    pub(crate) killed: bool,
    pub(crate) lies: Vec<Lie>,
    pub(crate) wraps: Option<Ring>,
    pub(crate) fat: Fat,
}

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

fn eio() -> io::Error {
    error(nix::libc::EIO)
}

impl State {
    pub(crate) fn new(tree: Tree, model: Model) -> Self {
        Self {
            tree,
            model,
            log: Vec::new(),
            locked: BTreeSet::new(),
            counts: BTreeMap::new(),
            calls: 0,
            fault: None,
            hit: false,
            full: false,
            killed: false,
            lies: Vec::new(),
            wraps: None,
            fat: Fat::default(),
        }
    }

    /// Counts a call, and fails it where that is planned. What is left is for the caller to do.
    pub(crate) fn call(&mut self, call: Call) -> io::Result<Option<What>> {
        if self.killed {
            return Err(eio());
        }
        let nth = self.counts.entry(call).or_default();
        let this = *nth;
        *nth += 1;
        let total = self.calls;
        self.calls += 1;
        let now = match self.fault {
            Some(Fault { call: Some(c), nth, what }) if c == call && nth == this => Some(what),
            Some(Fault { call: None, nth, what }) if nth == total => Some(what),
            _ => None,
        };
        self.hit |= now.is_some();
        match now {
            Some(What::Interrupted) => return Err(ErrorKind::Interrupted.into()),
            Some(What::Killed) => self.killed = true,
            Some(What::StaysFull) => self.full = true,
            _ => {}
        }
        match now {
            Some(What::Killed | What::Io) => Err(eio()),
            Some(What::Full) => Err(error(nix::libc::ENOSPC)),
            _ if self.full && matches!(call, Call::Create | Call::Write | Call::Mkdir) => Err(error(nix::libc::ENOSPC)),
            now => Ok(now),
        }
    }

    pub(crate) fn sync(&mut self, call: Call, scope: Scope) -> io::Result<()> {
        let done = self.call(call).map(|_| ());
        if !done.as_ref().is_err_and(|e| e.kind() == ErrorKind::Interrupted) && !self.killed {
            self.log.push(Op::Sync { scope, ok: done.is_ok() });
        }
        done
    }

    pub(crate) fn add(&mut self, path: &Path, node: Node) -> io::Result<(Ino, Ino, Name)> {
        if path == Path::new("/") {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (dir, name) = self.tree.place(path)?;
        if self.tree.dir(dir)?.contains_key(&name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let ino = self.tree.nodes.len();
        self.tree.nodes.push(node);
        self.tree.name(dir, &name, Some(ino));
        Ok((dir, ino, name))
    }

    /// What the medium has in place of what was written.
    pub(crate) fn tell(&mut self, lie: &Lie) {
        let file = self.tree.file_mut(lie.ino);
        if lie.at < file.bytes.len() {
            let len = lie.bytes.len().min(file.bytes.len() - lie.at);
            file.write(lie.at, &lie.bytes[..len], 3);
        }
    }

    pub(crate) fn write(&mut self, ino: Ino, at: usize, bytes: &[u8]) -> io::Result<usize> {
        let what = self.call(Call::Write)?;
        let len = if what == Some(What::Short) { bytes.len().div_ceil(3) } else { bytes.len().min(MOST_WRITTEN) };
        let bytes = &bytes[..len];
        let number = self.log.len() as u64 + 1;
        self.take_clusters(ino);
        self.tree.file_mut(ino).write(at, bytes, number);
        self.log.push(Op::Write { ino, at, bytes: bytes.into() });
        match what {
            Some(What::Dropped) => self.lies.push(Lie { ino, at, bytes: vec![0; len] }),
            Some(What::Flipped) => {
                let mut other = bytes.to_vec();
                if let Some(b) = other.get_mut(len / 2) {
                    *b ^= 0x10;
                }
                self.lies.push(Lie { ino, at, bytes: other });
            }
            _ => {}
        }
        self.wrap(ino, at, bytes);
        Ok(len)
    }

    fn wrap(&mut self, ino: Ino, at: usize, bytes: &[u8]) {
        let Some(Ring { size, written }) = &mut self.wraps else { return };
        written.push_back((ino, at, bytes.len()));
        let mut over = written.iter().map(|w| w.2).sum::<usize>().saturating_sub(*size);
        while over > 0 {
            let (ino, at, len) = written.pop_front().unwrap();
            let hit = len.min(over);
            over -= hit;
            if hit < len {
                written.push_front((ino, at + hit, len - hit));
            }
            let other = bytes.iter().map(|b| b ^ 0x5a).cycle().take(hit).collect();
            self.lies.push(Lie { ino, at, bytes: other });
        }
    }

    /// On FAT, which clusters does a name that is gone leave?
    pub(crate) fn give_clusters(&mut self, ino: Ino) {
        if self.model != Model::Fat {
            return;
        }
        let owner = |i: Ino| self.tree.aliases.get(&i).copied().unwrap_or(i);
        let others: Vec<Ino> = self.tree.named().into_iter().filter(|i| owner(*i) == owner(ino)).collect();
        match others.first() {
            Some(_) => self.fat.endangered.push(owner(ino)),
            None => self.fat.free.push(ino),
        }
    }

    /// On FAT, whose clusters are written to?
    fn take_clusters(&mut self, by: Ino) {
        if let Some(at) = self.fat.endangered.iter().position(|i| *i != by) {
            let ino = self.fat.endangered.remove(at);
            self.tree.file_mut(ino).scramble();
            self.log.push(Op::Scramble { ino });
        } else if let Some(ino) = self.fat.free.pop() {
            self.tree.aliases.insert(ino, by);
            self.log.push(Op::Reuse { ino, by });
        }
    }
}
