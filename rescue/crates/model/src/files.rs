//! Files of a saved volume: what lies in bytes that cannot be had.

use crate::inspection::FileKind;
use crate::text::{DisplayText, RawName};
use crate::units::ByteLen;
use serde::{Deserialize, Serialize};

/// Most paths that are told of one volume.
pub const MOST_PATHS: usize = 100;
/// The longest path that is told (`PATH_MAX`).
pub const LONGEST_PATH: usize = 4096;

/// What lies in bytes of a volume that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LostFiles {
    /// What has a name, in the order of the names' bytes; the first [`MOST_PATHS`] of it.
    pub paths: Vec<LostPath>,
    /// How much has a name, what `paths` tells included. Something with two names counts twice.
    pub count: u64,
    /// Files and directories whose names cannot be told, because the directory that names them is lost.
    pub nameless: u64,
    /// The file system's own structure lies there: superblocks, allocation maps, inode tables.
    pub metadata: bool,
    /// The journal lies there.
    pub journal: bool,
    /// Bytes that belong to nothing that was found.
    pub unclaimed: ByteLen,
    /// Why there may be more than is told, where that is so.
    pub unseen: Option<DisplayText>,
}

/// Something that is lost, in part or whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LostPath {
    /// Its path from the root of the volume. One that begins with `#` and a number instead of `/` lies in a directory whose own
    /// name is lost; the number is that of its inode, or its first cluster.
    pub path: RawName,
    /// What it is. Of a directory it is names that are lost.
    pub kind: FileKind,
}
