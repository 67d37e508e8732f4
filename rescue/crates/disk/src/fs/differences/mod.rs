//! What differs between two states of a file system.
//!
//! By their records where both are of one ext file system ([`super::ext4`] knows which inodes are as they were), else by what
//! both show under the same names. Content is not read, but of text files whose lines are asked for.

mod by_names;
mod gather;
mod text;
mod walk;

pub(super) use walk::{Facts, Pair, Side, Visit};

use super::btrfs::Btrfs;
use super::exfat::Exfat;
use super::ext4::Ext4;
use super::fat::Fat;
use super::ntfs::Ntfs;
use super::xfs::Xfs;
use super::{FileSystem, FsError};
use crate::guarded;
use by_names::ByNames;
use gather::Gather;
use model::differences::{ComparedBy, FsDifferences};
use model::files::FileId;
use model::inspection::Content;
use model::ports::ReadAt;
use model::text::RawName;
use std::sync::Arc;
use walk::walk;

const IN_USE: &str = "it was not unmounted: what was being written in files when it was cut off may differ without a trace in \
                      their records";

/// Two states of a volume, opened.
pub struct Two {
    before: State,
    after: State,
}

enum State {
    Ext(Ext4),
    Fat(Fat),
    Exfat(Exfat),
    Ntfs(Ntfs),
    Btrfs(Btrfs),
    Xfs(Xfs),
}

impl State {
    fn open(content: &Content, bytes: Arc<dyn ReadAt>) -> Result<Self, FsError> {
        match content {
            Content::Ext(_) => Ext4::load(bytes).map(Self::Ext),
            Content::Fat(_) => Fat::load(bytes).map(Self::Fat),
            Content::Exfat(_) => Exfat::load(bytes).map(Self::Exfat),
            Content::Ntfs(_) => Ntfs::load(bytes).map(Self::Ntfs),
            Content::Btrfs(_) => Btrfs::load(bytes).map(Self::Btrfs),
            Content::Xfs(_) => Xfs::load(bytes).map(Self::Xfs),
            _ => Err(FsError::Incompatible("there is no file system on it that can be read".into())),
        }
    }

    fn fs(&self) -> &dyn FileSystem {
        match self {
            Self::Ext(fs) => fs,
            Self::Fat(fs) => fs,
            Self::Exfat(fs) => fs,
            Self::Ntfs(fs) => fs,
            Self::Btrfs(fs) => fs,
            Self::Xfs(fs) => fs,
        }
    }

    /// Why what is read may not be what the installed system would see.
    fn doubt(&self) -> Option<&str> {
        match self {
            Self::Ext(fs) => fs.doubt(),
            Self::Fat(_) | Self::Exfat(_) => None,
            Self::Ntfs(fs) => fs.doubt(),
            Self::Btrfs(fs) => fs.doubt(),
            Self::Xfs(fs) => fs.doubt(),
        }
    }
}

impl Two {
    /// Opens both; `bytes` are the windows of the volume in the earlier state and in the later.
    ///
    /// # Errors
    /// As [`super::open`]; the text says of which it is.
    pub fn open(before: (&Content, Arc<dyn ReadAt>), after: (&Content, Arc<dyn ReadAt>)) -> Result<Self, FsError> {
        let open = |(content, bytes): (&Content, Arc<dyn ReadAt>), which: &str| {
            let opened = guarded(|| State::open(content, bytes))
                .unwrap_or_else(|| Err(FsError::Corrupt("its records do not hold together".to_owned())));
            opened.map_err(|e| FsError::Corrupt(format!("in the {which} state: {e}")))
        };
        Ok(Self { before: open(before, "earlier")?, after: open(after, "later")? })
    }

    /// The earlier state.
    pub fn before(&self) -> &dyn FileSystem {
        self.before.fs()
    }

    /// The later state.
    pub fn after(&self) -> &dyn FileSystem {
        self.after.fs()
    }

    /// Everything that differs. What lies in or below one of `notable` (paths without a slash at their end; empty: everything) is
    /// told one by one; with `text` also which lines of it differ, where it is text that everybody on the machine may read.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where one of them does not hold together at all.
    pub fn differences(&self, notable: &[RawName], text: bool) -> Result<FsDifferences, FsError> {
        self.differences_but(notable, text, &[])
    }

    /// The same without what lies in or below these paths in the later state, or was deleted there.
    ///
    /// # Errors
    /// As [`Two::differences`].
    pub fn differences_but(&self, notable: &[RawName], text: bool, but: &[RawName]) -> Result<FsDifferences, FsError> {
        guarded(|| self.compare(notable, text, but))
            .ok_or_else(|| FsError::Corrupt("its records do not hold together".to_owned()))
    }

    fn compare(&self, notable: &[RawName], text: bool, but: &[RawName]) -> FsDifferences {
        let mut gather = Gather::new(notable, but);
        for (state, which) in [(&self.before, "earlier"), (&self.after, "later")] {
            if let Some(doubt) = state.doubt() {
                gather.unseen(b"", &format!("in the {which} state: {doubt}"));
            }
        }
        let by = self.walk(&mut gather);
        let mut found = gather.finish(by);
        if text {
            text::add(self.before(), self.after(), &mut found.notable);
        }
        found
    }

    fn walk(&self, gather: &mut Gather<'_>) -> ComparedBy {
        if let (State::Ext(before), State::Ext(after)) = (&self.before, &self.after) {
            if before.is_untouched(after) {
                return ComparedBy::Untouched;
            }
            match before.pair(after) {
                Ok(Some(pair)) => {
                    if after.is_in_use() {
                        gather.unseen(b"", IN_USE);
                    }
                    walk(&pair, gather);
                    return ComparedBy::Records;
                }
                Ok(None) => {}
                Err(e) => gather.unseen(b"", &format!("its inodes cannot be compared: {e}")),
            }
        }
        if let (State::Xfs(before), State::Xfs(after)) = (&self.before, &self.after) {
            if before.is_untouched(after) {
                return ComparedBy::Untouched;
            }
            if after.is_in_use() {
                gather.unseen(b"", IN_USE);
            }
        }
        let modes = |state: &State| !matches!(state, State::Fat(_) | State::Exfat(_) | State::Ntfs(_));
        // A subvolume that nothing was written to is passed over: snapshots may hold all of a system many times.
        let passed = |dir: FileId| match (&self.before, &self.after) {
            (State::Btrfs(before), State::Btrfs(after)) => before.is_same_subvolume(after, dir),
            _ => false,
        };
        match ByNames::new(self.before(), self.after(), modes(&self.before) && modes(&self.after), &passed) {
            Ok(pair) => walk(&pair, gather),
            Err(e) => gather.unseen(b"/", &e.to_string()),
        }
        ComparedBy::Names
    }
}
