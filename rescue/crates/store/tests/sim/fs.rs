//! A file system in memory that keeps a log of what it was asked, fails as planned, and may lie.

use crate::crash::{Model, Op, Scope};
use crate::state::{Call, Fault, Lie, Ring, State, What};
use crate::tree::{Content, Ino, Node, Tree};
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::backend::{Files, Kind, OpenFile};

/// A simulated file system; clones are the same one.
#[derive(Clone)]
pub(crate) struct SimFs {
    state: Arc<Mutex<State>>,
}

impl std::fmt::Debug for SimFs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimFs")
    }
}

impl SimFs {
    pub(crate) fn new(tree: Tree, model: Model) -> Self {
        Self { state: Arc::new(Mutex::new(State::new(tree, model))) }
    }

    pub(crate) fn with_fault(self, fault: Fault) -> Self {
        self.state().fault = Some(fault);
        self
    }

    /// From `bytes` written on, each new byte overwrites the oldest.
    pub(crate) fn wrapping_at(self, bytes: usize) -> Self {
        self.state().wraps = Some(Ring { size: bytes, written: VecDeque::new() });
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many operations were logged.
    pub(crate) fn now(&self) -> usize {
        self.state().log.len()
    }

    /// How many files and directories were ever made, before this file system was opened and since.
    pub(crate) fn made(&self) -> usize {
        self.state().tree.nodes.len()
    }

    pub(crate) fn log(&self) -> Vec<Op> {
        self.state().log.clone()
    }

    /// How often each operation was called.
    pub(crate) fn counts(&self) -> BTreeMap<Call, usize> {
        self.state().counts.clone()
    }

    /// Whether the fault happened.
    pub(crate) fn hit(&self) -> bool {
        self.state().hit
    }

    /// Ends a fault that lasts.
    pub(crate) fn repair(&self) {
        let mut state = self.state();
        (state.full, state.killed, state.fault) = (false, false, None);
    }

    /// What is seen after the disk was taken out and put in again, everything written out before.
    pub(crate) fn medium(&self) -> Tree {
        let mut state = self.state();
        for lie in std::mem::take(&mut state.lies) {
            state.tell(&lie);
        }
        state.tree.clone()
    }
}

impl Files for SimFs {
    fn open(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let mut state = self.state();
        state.call(Call::Open)?;
        let ino = state.tree.find(path)?;
        state.tree.file(ino)?;
        Ok(Box::new(SimFile { fs: self.clone(), ino, at: 0 }))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OpenFile>> {
        let mut state = self.state();
        state.call(Call::Create)?;
        let (dir, ino, name) = state.add(path, Node::File(Content::default()))?;
        state.log.push(Op::Create { dir, name, ino });
        Ok(Box::new(SimFile { fs: self.clone(), ino, at: 0 }))
    }

    fn kind(&self, path: &Path) -> io::Result<Kind> {
        let mut state = self.state();
        state.call(Call::Kind)?;
        let ino = state.tree.find(path)?;
        Ok(kind(&state.tree.nodes[ino]))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, Kind)>> {
        let mut state = self.state();
        state.call(Call::List)?;
        let names = state.tree.dir(state.tree.find(dir)?)?;
        Ok(names.iter().map(|(name, ino)| (name.to_string(), kind(&state.tree.nodes[*ino]))).collect())
    }

    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Mkdir)?;
        let (dir, ino, name) = state.add(dir, Node::Dir(Arc::default()))?;
        state.log.push(Op::Mkdir { dir, name, ino });
        Ok(())
    }

    fn rmdir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Rmdir)?;
        if !state.tree.dir(state.tree.find(dir)?)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let (dir, name) = state.tree.place(dir)?;
        state.tree.name(dir, &name, None);
        state.log.push(Op::Unlink { dir, name });
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Rename)?;
        let ino = state.tree.find(from)?;
        let ((dir, from), (to_dir, to)) = (state.tree.place(from)?, state.tree.place(to)?);
        assert_eq!(dir, to_dir, "a rename stays in its directory");
        let before = state.tree.dir(dir)?.get(&to).copied();
        state.tree.name(dir, &from, None);
        state.tree.name(dir, &to, Some(ino));
        state.log.push(Op::Rename { dir, from, to, ino });
        if let Some(before) = before {
            state.give_clusters(before);
        }
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.call(Call::Unlink)?;
        let ino = state.tree.find(path)?;
        let (dir, name) = state.tree.place(path)?;
        state.tree.name(dir, &name, None);
        state.log.push(Op::Unlink { dir, name });
        state.give_clusters(ino);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let ino = state.tree.find(dir)?;
        state.sync(Call::SyncDir, Scope::Dir(ino))
    }

    fn sync_all(&self, _dir: &Path) -> io::Result<()> {
        self.state().sync(Call::SyncAll, Scope::All)
    }

    fn free(&self, _dir: &Path) -> io::Result<u64> {
        let mut state = self.state();
        state.call(Call::Free)?;
        Ok(if state.full { 0 } else { 1 << 40 })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Send>>> {
        let mut state = self.state();
        state.call(Call::Lock)?;
        state.tree.place(path)?;
        let free = state.locked.insert(path.to_owned());
        Ok(free.then(|| Box::new(Held { fs: self.clone(), path: path.to_owned() }) as Box<dyn Send>))
    }
}

fn kind(node: &Node) -> Kind {
    match node {
        Node::File(_) => Kind::File,
        Node::Dir(_) => Kind::Dir,
    }
}

struct Held {
    fs: SimFs,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.fs.state().locked.remove(&self.path);
    }
}

struct SimFile {
    fs: SimFs,
    ino: Ino,
    at: usize,
}

impl OpenFile for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.fs.state().write(self.ino, self.at, bytes)?;
        self.at += taken;
        Ok(taken)
    }

    fn read_at(&self, buf: &mut [u8], at: u64) -> io::Result<usize> {
        let mut state = self.fs.state();
        let what = state.call(Call::Read)?;
        let at = i64::try_from(at).map_err(|_| io::Error::from(ErrorKind::InvalidInput))?;
        let bytes = &state.tree.file(self.ino)?.bytes;
        let there = bytes.get(usize::try_from(at).unwrap()..).unwrap_or_default();
        let most = if what == Some(What::Short) { buf.len().div_ceil(3) } else { buf.len() };
        let len = there.len().min(most);
        buf[..len].copy_from_slice(&there[..len]);
        Ok(len)
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.fs.state();
        state.call(Call::Len)?;
        Ok(state.tree.file(self.ino)?.bytes.len() as u64)
    }

    fn sync(&self) -> io::Result<()> {
        self.fs.state().sync(Call::Sync, Scope::File(self.ino))
    }

    fn forget(&self) {
        let mut state = self.fs.state();
        let (told, kept) = std::mem::take(&mut state.lies).into_iter().partition(|l| l.ino == self.ino);
        state.lies = kept;
        let told: Vec<Lie> = told;
        told.iter().for_each(|lie| state.tell(lie));
    }
}
