//! Going through trees, in the order of their keys.
//!
//! Keys are to rise from the first item to the last, over all blocks, and each block begins with the key that led to it: a tree
//! that is shared within itself, or bites its own tail, ends where it does.

use super::raw::Key;
use super::reader::{Node, Reader};
use crate::fs::FsError;
use std::ops::ControlFlow;
use std::sync::Arc;

/// Where a tree, or a part of one, begins, and what is to be found there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    /// Number of the tree.
    pub(super) owner: u64,
    /// Address of the block.
    pub(super) at: u64,
    /// Its height above the leaves.
    pub(super) level: u8,
    /// The transaction that wrote it.
    pub(super) generation: u64,
}

/// What is done with an item.
pub(super) type Visit<'a> = dyn FnMut(Key, &[u8]) -> ControlFlow<()> + 'a;

/// What is done with a block that cannot be read: an error ends the walk, else it goes on behind it.
pub(super) type Damaged<'a> = dyn FnMut(&Root, FsError) -> Result<(), FsError> + 'a;

/// A walk through a tree.
pub(super) struct Walk<'a> {
    /// What is told of each block that is met, before it is read.
    pub(super) block: &'a mut dyn FnMut(&Root),
    /// What is told of each that cannot be read.
    pub(super) damaged: &'a mut Damaged<'a>,
}

/// Shows the items of a tree from a key on.
///
/// # Errors
/// [`FsError`] where a block on the way cannot be read or is not in order.
pub(super) fn each(reader: &Reader, root: Root, from: Key, visit: &mut Visit<'_>) -> Result<(), FsError> {
    let walk = Walk { block: &mut |_| {}, damaged: &mut |_, e| Err(e) };
    walk.run(reader, root, from, visit)
}

impl Walk<'_> {
    /// Shows the items of a tree from a key on.
    ///
    /// # Errors
    /// As [`each`]; what `damaged` says.
    pub(super) fn run(self, reader: &Reader, root: Root, from: Key, visit: &mut Visit<'_>) -> Result<(), FsError> {
        (self.block)(&root);
        let top = match reader.node(&root) {
            Ok(top) => top,
            Err(e) => return (self.damaged)(&root, e),
        };
        let mut way: Vec<(Arc<Node>, usize)> = Vec::new();
        let mut last: Option<Key> = None;
        let start = |node: &Node| match (node.level, node.first_from(from)) {
            (0, n) => n,
            (_, n) if n < node.count && node.key(n) == from => n,
            // The one that begins before it may hold it.
            (_, n) => n.saturating_sub(1),
        };
        way.push((top.clone(), start(&top)));
        while let Some((node, at)) = way.last_mut() {
            if *at >= node.count {
                way.pop();
                continue;
            }
            let (key, n) = (node.key(*at), *at);
            *at += 1;
            if node.level == 0 {
                if last.is_some_and(|last| last >= key) {
                    return Err(FsError::Corrupt(format!("in tree {} {key} comes too late", root.owner)));
                }
                last = Some(key);
                if visit(key, node.item(n)).is_break() {
                    return Ok(());
                }
                continue;
            }
            let pointer = node.child(n, root.owner);
            (self.block)(&pointer);
            match reader.node(&pointer).and_then(|child| begins(child, key, &pointer)) {
                Ok(child) => {
                    let first = start(&child);
                    way.push((child, first));
                }
                Err(e) => (self.damaged)(&pointer, e)?,
            }
        }
        Ok(())
    }
}

/// A block, where it begins with the key that led to it.
fn begins(node: Arc<Node>, key: Key, pointer: &Root) -> Result<Arc<Node>, FsError> {
    if node.count == 0 || node.key(0) != key {
        return Err(FsError::Corrupt(format!("the tree block at {} does not begin with {key}", pointer.at)));
    }
    Ok(node)
}

/// The item of that very key.
///
/// # Errors
/// As [`each`].
pub(super) fn item(reader: &Reader, root: Root, key: Key) -> Result<Option<Vec<u8>>, FsError> {
    Ok(up_to(reader, root, key)?.filter(|(found, _)| *found == key).map(|(_, item)| item))
}

/// The last item whose key is not greater.
///
/// # Errors
/// As [`each`].
pub(super) fn up_to(reader: &Reader, root: Root, key: Key) -> Result<Option<(Key, Vec<u8>)>, FsError> {
    let mut node = reader.node(&root)?;
    loop {
        let behind = node.first_from(key);
        let exact = behind < node.count && node.key(behind) == key;
        let Some(n) = (if exact { Some(behind) } else { behind.checked_sub(1) }) else { return Ok(None) };
        if node.level == 0 {
            return Ok(Some((node.key(n), node.item(n).to_vec())));
        }
        let pointer = node.child(n, root.owner);
        node = begins(reader.node(&pointer)?, node.key(n), &pointer)?;
    }
}
