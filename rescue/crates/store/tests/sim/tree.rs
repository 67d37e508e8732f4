//! What a file system holds: inodes, and names for them.

use crate::rng::fold;
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Component, Path};
use std::sync::Arc;

pub(crate) type Ino = usize;
pub(crate) type Name = Arc<str>;

/// The inode of the topmost directory.
pub(crate) const TOP: Ino = 0;

#[derive(Debug, Clone)]
pub(crate) enum Node {
    File(Content),
    Dir(Arc<BTreeMap<Name, Ino>>),
}

/// A file's bytes, and a number that is the same where they came about in the same way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) bytes: Arc<Vec<u8>>,
    pub(crate) sign: u64,
}

impl Content {
    /// Overwrites or extends; what lies between is zero.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8], sign: u64) {
        let all = Arc::make_mut(&mut self.bytes);
        if all.len() < at + bytes.len() {
            all.resize(at + bytes.len(), 0);
        }
        all[at..at + bytes.len()].copy_from_slice(bytes);
        self.sign = fold([self.sign, at as u64, bytes.len() as u64, sign]);
    }

    pub(crate) fn scramble(&mut self) {
        Arc::make_mut(&mut self.bytes).iter_mut().for_each(|b| *b ^= 0xa5);
        self.sign = fold([self.sign, 0xa5]);
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Tree {
    pub(crate) nodes: Vec<Node>,
    /// On FAT: files whose clusters were freed and given to another file.
    pub(crate) aliases: BTreeMap<Ino, Ino>,
}

impl Tree {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::Dir(Arc::default())], aliases: BTreeMap::new() }
    }

    pub(crate) fn dir(&self, ino: Ino) -> io::Result<&BTreeMap<Name, Ino>> {
        match &self.nodes[ino] {
            Node::Dir(names) => Ok(names),
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(crate) fn file(&self, ino: Ino) -> io::Result<&Content> {
        match &self.nodes[ino] {
            Node::File(content) => Ok(content),
            Node::Dir(_) => Err(io::Error::other("it is no regular file")),
        }
    }

    pub(crate) fn file_mut(&mut self, ino: Ino) -> &mut Content {
        match &mut self.nodes[ino] {
            Node::File(content) => content,
            Node::Dir(_) => panic!("bytes of a directory"),
        }
    }

    /// Gives a name to an inode, or takes it away.
    pub(crate) fn name(&mut self, dir: Ino, name: &Name, to: Option<Ino>) {
        let Node::Dir(names) = &mut self.nodes[dir] else { panic!("a name in a file") };
        match to {
            Some(ino) => Arc::make_mut(names).insert(name.clone(), ino),
            None => Arc::make_mut(names).remove(name),
        };
    }

    pub(crate) fn find(&self, path: &Path) -> io::Result<Ino> {
        let mut at = TOP;
        for part in path.components() {
            match part {
                Component::Normal(name) => {
                    let name = name.to_str().unwrap();
                    at = *self.dir(at)?.get(name).ok_or(ErrorKind::NotFound)?;
                }
                Component::RootDir | Component::CurDir => {}
                other => panic!("{other:?} in the path of a store"),
            }
        }
        // `path/.` is the directory itself; components leave the dot out.
        if path.as_os_str().as_encoded_bytes().ends_with(b"/.") {
            self.dir(at)?;
        }
        Ok(at)
    }

    /// The directory a path lies in, and the last component.
    pub(crate) fn place(&self, path: &Path) -> io::Result<(Ino, Name)> {
        let dir = self.find(path.parent().unwrap())?;
        self.dir(dir)?;
        Ok((dir, path.file_name().unwrap().to_str().unwrap().into()))
    }

    /// Every inode that has a name, once for each name.
    pub(crate) fn named(&self) -> Vec<Ino> {
        let (mut found, mut at) = (vec![TOP], 0);
        while let Some(ino) = found.get(at) {
            if let Node::Dir(names) = &self.nodes[*ino] {
                found.extend(names.values().copied().collect::<Vec<_>>());
            }
            at += 1;
        }
        found
    }

    /// A number that two trees share only where everything with a name came about in the same way.
    pub(crate) fn sign(&self) -> u64 {
        let mut parts = Vec::new();
        for ino in self.named() {
            match &self.nodes[ino] {
                Node::File(content) => parts.extend([1, content.sign, content.bytes.len() as u64, ino as u64]),
                Node::Dir(names) => {
                    parts.extend([2, ino as u64]);
                    for (name, ino) in names.iter() {
                        parts.extend(name.bytes().map(u64::from).chain([*ino as u64]));
                    }
                }
            }
        }
        parts.extend(self.aliases.iter().flat_map(|(a, b)| [*a as u64, *b as u64]));
        fold(parts)
    }
}
