//! Files of a saved volume: what they are, where they lie, and which of them are lost.

use crate::id::{SnapshotId, VolumePath};
use crate::inspection::FileKind;
use crate::text::{DisplayText, RawName};
use crate::units::{ByteLen, ByteOffset, Extent};
use serde::{Deserialize, Serialize};

/// A file of a file system by its number: that of its inode, or the place of its entry. It holds for one saved volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileId(pub u64);

/// Something that has a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its last name; empty for the root of a volume.
    pub name: RawName,
    /// Its number.
    pub file: FileId,
    /// What is kept of it; `None` where that is damaged.
    pub attributes: Option<Attributes>,
}

/// What a file system keeps of a file besides its content. Times are nanoseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attributes {
    /// What it is.
    pub kind: FileKind,
    /// Type and permissions as `st_mode` has them.
    pub mode: u32,
    /// The number of its owner.
    pub owner: u32,
    /// The number of its group.
    pub group: u32,
    /// How many names it has.
    pub links: u32,
    /// Its size; that of a directory means nothing.
    pub size: ByteLen,
    /// When its content was last changed.
    pub modified: Option<i64>,
    /// When it was last read, where that is kept.
    pub accessed: Option<i64>,
    /// Major and minor number of a device.
    pub device: Option<(u32, u32)>,
    /// Where a symbolic link leads.
    pub target: Option<RawName>,
    /// Extended attributes as `getxattr` gives them: `user.x`, `system.posix_acl_access`.
    pub xattrs: Vec<(RawName, RawName)>,
    /// Inode flags as `FS_IOC_GETFLAGS` gives them (unchangeable, append only, ...); zero where there are none.
    #[serde(default)]
    pub flags: u32,
}

/// Where the content of a file lies, from a byte of it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// It lies with the file's attributes: all of it.
    Within(RawName),
    /// Pieces in rising order: the byte of the file, and the bytes of the volume. What lies between them reads as zeros.
    Pieces {
        /// The pieces.
        pieces: Vec<(ByteOffset, Extent)>,
        /// The byte of the file up to which they tell: its size at the end.
        end: ByteOffset,
    },
    /// A part of it lies nowhere as it is (it is compressed): its bytes.
    Unpacked {
        /// The byte of the file that they begin with.
        from: ByteOffset,
        /// The bytes; what is missing up to `end` reads as zeros.
        bytes: RawName,
        /// The byte of the file up to which this tells.
        end: ByteOffset,
    },
}

/// A place in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePath {
    /// The volume; `None` where the path is one of the system in the snapshot, and its mount points say which volume it is.
    pub volume: Option<VolumePath>,
    /// An absolute path.
    pub path: RawName,
}

/// What a snapshot holds at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileListing {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// Its volumes.
    pub volumes: Vec<ListedVolume>,
    /// What stands at the place that was asked for.
    pub found: Option<FoundFiles>,
}

/// A volume of a snapshot, as its files are listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedVolume {
    /// Its path.
    pub volume: VolumePath,
    /// What is on it, in a word.
    pub fs: String,
    /// Where the system in the snapshot has it.
    pub mount: Option<String>,
    /// Its files can be read by this version.
    pub readable: bool,
}

/// What stands at a place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundFiles {
    /// The volume it lies on.
    pub volume: VolumePath,
    /// Its path from the root of that volume.
    pub path: RawName,
    /// The entries of a directory, by name; else the one thing itself.
    pub entries: Vec<Named>,
    /// It has more entries than are listed.
    pub more: bool,
}

/// What was taken out of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Got {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// The volume.
    pub volume: VolumePath,
    /// The path on it.
    pub path: RawName,
    /// What was made.
    pub to: RawName,
    /// Regular files made; other names of one are not counted.
    pub files: u64,
    /// Directories made.
    pub directories: u64,
    /// Links, pipes, sockets and devices made.
    pub others: u64,
    /// Bytes of content written.
    pub written: ByteLen,
    /// What was left out on purpose, or could not be given.
    pub left_out: Remarks,
    /// What could not be read: missing, or with zeros in it.
    pub damaged: Remarks,
}

/// Remarks about files: the first of them, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Remarks {
    /// Which file, from where the taking out began, and what of it; [`MOST_PATHS`] at most.
    pub first: Vec<(RawName, DisplayText)>,
    /// How many in all.
    pub count: u64,
}

impl Remarks {
    /// Adds one.
    pub fn add(&mut self, path: &[u8], what: &str) {
        self.count += 1;
        if self.first.len() < MOST_PATHS {
            self.first.push((RawName(path.to_vec()), DisplayText::new(what)));
        }
    }
}

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
