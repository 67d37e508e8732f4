//! Directories (kernel `struct btrfs_dir_item`): entries by their place, which is the order they were made in.

use super::raw::Key;
use crate::fs::listing::kind_said;
use crate::numbers::{byte, le16};
use model::inspection::FileKind;

/// Bytes of an entry before its name.
const HEAD: usize = 30;

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name.
    pub(super) name: Vec<u8>,
    /// What it leads to: an inode of the same subvolume, or a subvolume.
    pub(super) at: Key,
    /// What that is said to be.
    pub(super) kind: FileKind,
    /// Its place.
    pub(super) index: u64,
}

/// The entries of an item: names with the same hash share one. Those that are cut off are left out.
pub(super) fn entries(item: &[u8]) -> Vec<Entry> {
    each(item).map(|(name, _, at, kind)| Entry { name: name.to_vec(), at, kind: kind_said(kind), index: 0 }).collect()
}

/// The attributes of an item, which has the same form: name and value.
pub(super) fn attributes(item: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    each(item).map(|(name, value, ..)| (name, value))
}

fn each(item: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], Key, u8)> {
    let mut rest = item;
    std::iter::from_fn(move || {
        let (head, behind) = rest.split_at_checked(HEAD)?;
        let (name, behind) = behind.split_at_checked(usize::from(le16(head, 27)))?;
        let (data, behind) = behind.split_at_checked(usize::from(le16(head, 25)))?;
        rest = behind;
        Some((name, data, Key::parse(head, 0), byte(head, 29)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_that_share_an_item() {
        let one = |name: &[u8], value: &[u8], kind: u8| {
            let mut head = [0; HEAD];
            head[0] = 9;
            head[8] = 1;
            head[25] = u8::try_from(value.len()).unwrap();
            head[27] = u8::try_from(name.len()).unwrap();
            head[29] = kind;
            [&head[..], name, value].concat()
        };
        let item = [one(b"a", b"", 2), one(b"bc", b"", 7), vec![1; 31]].concat();
        let found = entries(&item);
        assert_eq!(found.len(), 2, "what is cut off is left out");
        assert_eq!(
            (&found[1].name[..], found[1].kind, found[1].at),
            (&b"bc"[..], FileKind::Symlink, Key::new(9, 1, 0))
        );
        let item = one(b"user.x", b"value", 8);
        assert_eq!(attributes(&item).collect::<Vec<_>>(), [(&b"user.x"[..], &b"value"[..])]);
    }
}
