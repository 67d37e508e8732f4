//! The rules that the proof about an XFS after a session rests on, each with a name, so that a test can leave one out and show that it is
//! needed. The program always keeps all of them.

use std::ops::Range;

/// A rule of [`super::changes`] and [`super::unchanged`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The earlier state was unmounted, and not mounted again.
    ParentUnmounted,
    /// Both lay the volume out in the same way.
    SameLayout,
    /// The last mount found the log as the earlier state has it.
    OneMount,
    /// The record of the unmount that the earlier state ends with still stands in the log: the present one was made of that.
    SameRecord,
    /// The start of the volume and files of theirs are written by boot loaders, below the file system.
    Loaders,
    /// Files that are unchangeable for everybody else too.
    Peculiar,
    /// The kernel swaps below the file system.
    Swap,
    /// Only what has a name and is a regular file has data whose writing leaves a trace in its inode.
    Regular,
    /// Quotas are kept in files whose inodes tell nothing.
    OwnInodes,
    /// A time after the session began was there before it: the clock was set back.
    BeforeSession,
    /// The nodes of a map are part of the file.
    Nodes,
    /// Extents and the root of a map, in the inode, are.
    Root,
    /// `di_ctime` counts.
    Ctime,
    /// `di_mtime` counts.
    Mtime,
    /// `di_changecount` counts.
    ChangeCount,
    /// `di_lsn` counts: what was written to the log, be it as it was, is read.
    Sequence,
    /// `di_size` counts.
    Size,
    /// `di_gen` counts.
    Generation,
}

impl Rule {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::ParentUnmounted,
        Self::SameLayout,
        Self::OneMount,
        Self::SameRecord,
        Self::Loaders,
        Self::Peculiar,
        Self::Swap,
        Self::Regular,
        Self::OwnInodes,
        Self::BeforeSession,
        Self::Nodes,
        Self::Root,
        Self::Ctime,
        Self::Mtime,
        Self::ChangeCount,
        Self::Sequence,
        Self::Size,
        Self::Generation,
    ];
}

/// Those that are kept.
pub(super) type Rules = crate::fs::rules::Rules<Rule>;

impl Rules {
    /// The fields of an inode that do not count, as they lie in it (kernel `fs/xfs/libxfs/xfs_format.h`, `struct xfs_dinode`).
    pub(super) fn ignored_fields(self) -> &'static [Range<usize>] {
        match self.left_out() {
            Some(Rule::Mtime) => std::slice::from_ref(&(40..48)),
            Some(Rule::Ctime) => std::slice::from_ref(&(48..56)),
            Some(Rule::Size) => std::slice::from_ref(&(56..64)),
            Some(Rule::Generation) => std::slice::from_ref(&(92..96)),
            Some(Rule::Sequence) => std::slice::from_ref(&(112..120)),
            Some(Rule::ChangeCount) => std::slice::from_ref(&(104..112)),
            // Blocks and extents, counted and listed.
            Some(Rule::Root) => &[64..72, 76..80, 24..32, 176..512],
            _ => &[],
        }
    }
}
