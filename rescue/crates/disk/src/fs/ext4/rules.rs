//! The rules that the proofs about an ext4 rest on, each with a name, so that a test can leave one out and show that it is
//! needed. The program always keeps all of them.

use std::ops::Range;

/// A rule of [`super::changes`] or of what is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Only a journal in the file system itself proves how a session ended.
    OwnJournal,
    /// The earlier state was unmounted.
    ParentUnmounted,
    /// So was the present one.
    NowUnmounted,
    /// Both lay the volume out in the same way.
    SameLayout,
    /// Untouched is only what has the superblock it had.
    SameSuperblock,
    /// And the journal.
    SameJournal,
    /// The journal holds no data of files by default.
    NoDataInJournal,
    /// It was neither made anew nor checked.
    SameMaking,
    /// There was one session.
    OneSession,
    /// Its journal was not replayed by somebody who only looked: the session was not cut off.
    NothingReplayed,
    /// Clock and counters go forwards.
    Forwards,
    /// The boot block is not the file system's.
    BootBlock,
    /// Boot loaders write files of theirs below the file system.
    Loaders,
    /// Unchangeable files, files whose data is journaled and attributes of inodes are written in ways of their own.
    Peculiar,
    /// The kernel swaps below the file system.
    Swap,
    /// To encrypted files too, in which nothing tells that they are swap space.
    EncryptedSwap,
    /// Only what has a name and is a regular file has data whose writing leaves a trace in its inode.
    Regular,
    /// Of an inode table only what neither state ever used is as it was unseen.
    UnusedInodes,
    /// The file system's own inodes are written below themselves.
    OwnInodes,
    /// A time without nanoseconds may be the same after a change.
    Nanoseconds,
    /// A time after the session began was there before it: the clock was set back.
    BeforeSession,
    /// The nodes of a map are part of the file.
    Nodes,
    /// The root of a map is.
    Root,
    /// `i_ctime` counts.
    Ctime,
    /// `i_mtime` counts.
    Mtime,
    /// All that the kernel changes when it writes to blocks that are there counts: both times, and `i_version`.
    Times,
    /// What cannot be set from outside counts: `i_ctime`, and `i_version`.
    Unsettable,
    /// `i_size` counts.
    Size,
    /// `i_generation` counts.
    Generation,
    /// What is in use once the journal is replayed is in use.
    Replay,
    /// What is in use as the volume lies there is in use.
    AsItLies,
}

impl Rule {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::OwnJournal,
        Self::ParentUnmounted,
        Self::NowUnmounted,
        Self::SameLayout,
        Self::SameSuperblock,
        Self::SameJournal,
        Self::NoDataInJournal,
        Self::SameMaking,
        Self::OneSession,
        Self::NothingReplayed,
        Self::Forwards,
        Self::BootBlock,
        Self::Loaders,
        Self::Peculiar,
        Self::Swap,
        Self::EncryptedSwap,
        Self::Regular,
        Self::UnusedInodes,
        Self::OwnInodes,
        Self::Nanoseconds,
        Self::BeforeSession,
        Self::Nodes,
        Self::Root,
        Self::Ctime,
        Self::Mtime,
        Self::Times,
        Self::Unsettable,
        Self::Size,
        Self::Generation,
        Self::Replay,
        Self::AsItLies,
    ];
}

/// Those that are kept.
pub(super) type Rules = crate::fs::rules::Rules<Rule>;

impl Rules {
    /// The fields of an inode that do not count, as they lie in it (kernel `fs/ext4/ext4.h`, `struct ext4_inode`).
    pub(super) fn ignored_fields(self) -> &'static [Range<usize>] {
        // Seconds, then nanoseconds; the lower and the upper half of `i_version`.
        match self.left_out() {
            Some(Rule::Ctime) => &[0xc..0x10, 0x84..0x88],
            Some(Rule::Mtime) => &[0x10..0x14, 0x88..0x8c],
            Some(Rule::Times) => &[0xc..0x14, 0x84..0x8c, 0x24..0x28, 0x98..0x9c],
            Some(Rule::Unsettable) => &[0xc..0x10, 0x84..0x88, 0x24..0x28, 0x98..0x9c],
            Some(Rule::Size) => &[0x4..0x8, 0x6c..0x70],
            Some(Rule::Generation) => std::slice::from_ref(&(0x64..0x68)),
            // The header of the root, and its entries.
            Some(Rule::Root) => &[0x28..0x34, 0x34..0x64],
            _ => &[],
        }
    }
}
