//! Two states of one ext file system, told apart by their inodes.
//!
//! Whoever changes a file or a directory through the kernel changes its inode: its times, to the nanosecond where it has room for
//! them. So an inode that is the same stands for a file that is the same, and a directory with the same entries. What that does
//! not tell: content written below the file system, or shortly before it was cut off.

use super::Ext4;
use super::changes;
use super::dir;
use super::inode::{Inode, same_but_access};
use super::reader::Reader;
use super::superblock::JournalPlace;
use super::tree::{self, ROOT};
use crate::bits::Bits;
use crate::fs::FsError;
use crate::fs::differences::{Facts, Pair, Side, Visit};
use model::differences::FileChange;
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::text::RawName;
use model::units::ByteLen;
use std::sync::Arc;

/// Inode tables are compared in pieces of this many bytes.
const PIECE: u64 = 256 << 10;
/// Inodes that are followed: two bits of each are kept.
const MOST_INODES: u32 = 1 << 28;

impl Ext4 {
    /// True where nobody wrote to it between two states: both were unmounted, and superblock and journal are the same.
    pub(in crate::fs) fn is_untouched(&self, after: &Self) -> bool {
        let sound = |fs: &Self| fs.doubt().is_none() && !fs.is_in_use();
        sound(self)
            && sound(after)
            && self.raw.sb.bytes() == after.raw.sb.bytes()
            && changes::state(&self.raw).is_some_and(|state| changes::state(&after.raw) == Some(state))
    }

    /// True where it was not unmounted.
    pub(in crate::fs) fn is_in_use(&self) -> bool {
        self.raw.sb.needs_recovery() || !self.raw.sb.was_unmounted()
    }

    /// The two states side by side; `None` where the one was not made of the other.
    ///
    /// # Errors
    /// [`FsError`] where inode tables cannot be read.
    pub(in crate::fs) fn pair(&self, after: &Self) -> Result<Option<Twice>, FsError> {
        let (old, new) = (&self.now.sb, &after.now.sb);
        let made = |fs: &Self| fs.now.sb.info().made_at;
        if !new.is_laid_out_as(old) || made(self) != made(after) || new.inodes > MOST_INODES {
            return Ok(None);
        }
        let journaled = |fs: &Self| matches!(fs.now.sb.journal(), JournalPlace::Inode(_)) || !fs.is_in_use();
        let checked = |fs: &Self| fs.now.sb.info().checked_at;
        // A check writes to directories and changes no time, and so does a session without a journal that is cut off.
        let entries = journaled(self)
            && journaled(after)
            && checked(self) == checked(after)
            && ![self, after].into_iter().any(|fs| fs.now.sb.has_errors());
        let mut twice = Twice {
            before: self.now.clone(),
            after: after.now.clone(),
            same: Bits::new(new.inodes),
            directories: Bits::new(new.inodes),
            entries,
        };
        twice.compare()?;
        Ok(Some(twice))
    }
}

/// Two states of one file system.
pub(in crate::fs) struct Twice {
    before: Arc<Reader>,
    after: Arc<Reader>,
    /// Inodes in use that are the same but for when they were read.
    same: Bits,
    /// Directories among them.
    directories: Bits,
    /// A directory whose inode is the same has the same entries.
    entries: bool,
}

impl Twice {
    /// Compares the inode tables, group by group. What of them is damaged is looked at inode by inode where a name leads there.
    fn compare(&mut self) -> Result<(), FsError> {
        let (before, after) = (self.before.clone(), self.after.clone());
        let sb = &after.sb;
        let (len, size) = (usize::try_from(sb.inode_size).expect("at most a block"), u64::from(sb.inode_size));
        for no in 0..sb.groups {
            let (old, new) = (before.group(no)?, after.group(no)?);
            if !old.checksum_holds || !new.checksum_holds {
                continue;
            }
            let end = u64::from(old.inodes_begun(sb).min(new.inodes_begun(sb))) * size;
            let (was_at, is_at) = (before.place(old.inode_table)?, after.place(new.inode_table)?);
            let first = no * sb.inodes_per_group + 1;
            let mut at = 0;
            while at < end {
                let part = usize::try_from((end - at).min(PIECE)).expect("a piece");
                let read = |reader: &Reader, place: model::units::ByteOffset| {
                    let place = place.checked_add(ByteLen(at));
                    let place = place.ok_or_else(|| FsError::Corrupt("an inode table past the end".to_owned()))?;
                    Ok::<_, FsError>(reader.bytes().read_vec(place, part)?)
                };
                let (was, is) = (read(&before, was_at)?, read(&after, is_at)?);
                let first = first + u32::try_from(at / size).expect("an inode of the group");
                for ((number, was), is) in (first..).zip(was.chunks_exact(len)).zip(is.chunks_exact(len)) {
                    self.one(number, was, is);
                }
                at += part as u64;
            }
        }
        Ok(())
    }

    fn one(&mut self, number: u32, was: &[u8], is: &[u8]) {
        if !same_but_access(is, was, &[]) {
            return;
        }
        // One that is damaged in the same way twice is told where a name leads to it.
        if let Ok(inode) = Inode::parse(&self.after.sb, number, is)
            && inode.links() > 0
        {
            self.same.set(number);
            if inode.kind == FileKind::Directory {
                self.directories.set(number);
            }
        }
    }

    fn reader(&self, side: Side) -> &Arc<Reader> {
        match side {
            Side::Before => &self.before,
            Side::After => &self.after,
        }
    }

    fn inode(&self, side: Side, file: u64) -> Result<Inode, FsError> {
        self.reader(side).inode(u32::try_from(file).unwrap_or(0))
    }
}

impl Pair for Twice {
    fn roots(&self) -> (u64, u64) {
        (u64::from(ROOT), u64::from(ROOT))
    }

    fn entries(&self, side: Side, dir: u64, visit: &mut Visit<'_>) -> Result<(), FsError> {
        let inode = self.inode(side, dir)?;
        if inode.kind != FileKind::Directory {
            return Err(FsError::Corrupt(format!("inode {dir} is no directory")));
        }
        dir::each(self.reader(side), &inode, &mut |entry| visit(entry.name, u64::from(entry.inode), None))
    }

    fn facts(&self, side: Side, file: u64) -> Result<Facts, FsError> {
        let inode = self.inode(side, file)?;
        let (owner, group) = inode.owners();
        let target = match inode.kind {
            FileKind::Symlink => Some(RawName(tree::target(self.reader(side), &inode)?)),
            _ => None,
        };
        Ok(Facts {
            kind: inode.kind,
            size: inode.size,
            modified: inode.modified(),
            mode: (inode.mode(), owner, group),
            target,
            identity: inode.identity(),
        })
    }

    fn unchanged(&self, before: u64, after: u64) -> Option<bool> {
        let number = u32::try_from(after).ok().filter(|_| before == after)?;
        self.same.get(number).then(|| self.directories.get(number))
    }

    fn same_entries(&self, before: u64, after: u64) -> bool {
        self.entries && self.unchanged(before, after) == Some(true)
    }

    fn change(&self, before: (u64, &Facts), after: (u64, &Facts)) -> Result<Option<FileChange>, FsError> {
        let ((b, was), (a, is)) = (before, after);
        if is.kind == FileKind::Directory {
            // Its own times change with its entries. Where its modes are others, or those alone changed, that is told.
            let (old, new) = (self.inode(Side::Before, b)?, self.inode(Side::After, a)?);
            let marked = b == a && old.modified() == new.modified() && old.changed() != new.changed();
            return Ok((was.mode != is.mode || marked).then_some(FileChange::Attributes));
        }
        if b != a || was.identity != is.identity {
            // Another symbolic link that leads to the same place is none for whoever follows it.
            let same_link = is.kind == FileKind::Symlink && was.target == is.target && was.mode == is.mode;
            return Ok((!same_link).then_some(FileChange::Changed));
        }
        let (old, new) = (self.inode(Side::Before, b)?, self.inode(Side::After, a)?);
        let content = was.size != is.size || was.modified != is.modified || old.block() != new.block();
        Ok(Some(if content { FileChange::Changed } else { FileChange::Attributes }))
    }
}
