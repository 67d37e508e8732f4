//! What lies on a volume, as far as its superblock, header or label says.

use crate::id::IntentId;
use crate::text::DisplayText;
use crate::units::{ByteLen, ExtentSet};
use serde::{Deserialize, Serialize};

/// What lies on a volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Content {
    /// ext2, ext3 or ext4.
    Ext(ExtInfo),
    /// FAT12, FAT16 or FAT32.
    Fat(FatInfo),
    /// exFAT.
    Exfat(ExfatInfo),
    /// NTFS.
    Ntfs(NtfsInfo),
    /// btrfs; on a volume of a disk, of a file system on several devices, one device of it that is not read.
    Btrfs(BtrfsInfo),
    /// XFS.
    Xfs(XfsInfo),
    /// Linux swap.
    Swap(SwapInfo),
    /// An unfinished rollback of ours stands here.
    Fenced(FenceInfo),
    /// A known kind whose structures do not hold together.
    Damaged {
        /// Which kind it looks like.
        kind: FsKind,
        /// What is wrong, with numbers.
        why: DisplayText,
    },
    /// Volumes of LVM lie here, of which some are read.
    Lvm(LvmInfo),
    /// A member of an array of md, of which what it holds is read.
    Md(MdInfo),
    /// A device of a btrfs that lies on several and is read.
    BtrfsDevice(BtrfsDeviceInfo),
    /// LUKS, opened or not.
    Luks(LuksInfo),
    /// Recognised by its signature, not read: BitLocker, ...
    Recognised {
        /// Its name.
        name: String,
        /// Its header says that the machine's TPM may open it: a token `systemd-tpm2` or `clevis` of LUKS2.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        sealed: bool,
    },
    /// The core image of a BIOS GRUB.
    BiosBoot,
    /// The first MiB (or all of it) is zero bytes.
    Empty,
    /// Nothing known; also, in a snapshot of a newer version, what that version knew and this one does not.
    #[serde(other)]
    Unknown,
}

impl Content {
    /// True for a file system of a kind whose files this version reads.
    pub fn is_file_system(&self) -> bool {
        matches!(self, Self::Ext(_) | Self::Fat(_) | Self::Exfat(_) | Self::Ntfs(_) | Self::Btrfs(_) | Self::Xfs(_))
    }

    /// True for what volumes may be made of, before that is told: a physical volume of LVM, a member of an array, a device of a btrfs on
    /// several. Also for a fence, which may stand where one of those begins.
    pub fn may_carry(&self) -> bool {
        match self {
            Self::Recognised { name, .. } => matches!(name.as_str(), "lvm2" | "md" | "btrfs"),
            Self::Btrfs(b) => b.devices > 1,
            Self::Fenced(_) => true,
            _ => false,
        }
    }

    /// Of what volumes are made: the bytes that are saved with those, or that none of them has.
    pub fn apart(&self) -> Option<&ExtentSet> {
        match self {
            Self::Lvm(l) => Some(&l.apart),
            Self::Md(m) => Some(&m.apart),
            Self::BtrfsDevice(b) => Some(&b.apart),
            Self::Luks(l) if l.open => Some(&l.apart),
            _ => None,
        }
    }

    /// The same with other bytes apart, where it is something that volumes are made of.
    pub fn with_apart(&self, apart: ExtentSet) -> Option<Self> {
        match self {
            Self::Lvm(l) => Some(Self::Lvm(LvmInfo { apart, ..l.clone() })),
            Self::Md(m) => Some(Self::Md(MdInfo { apart, ..m.clone() })),
            Self::BtrfsDevice(b) => Some(Self::BtrfsDevice(BtrfsDeviceInfo { apart, ..b.clone() })),
            Self::Luks(l) => Some(Self::Luks(LuksInfo { apart, ..l.clone() })),
            _ => None,
        }
    }
}

/// The kinds of file system this version reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FsKind {
    /// No journal.
    Ext2,
    /// Journal, block maps.
    Ext3,
    /// Any ext4 feature.
    Ext4,
    /// FAT of any width.
    Vfat,
    /// exFAT.
    Exfat,
    /// NTFS.
    Ntfs,
    /// btrfs.
    Btrfs,
    /// XFS of version 4 or 5.
    Xfs,
    /// Linux swap.
    Swap,
}

impl FsKind {
    /// The name the kernel uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Vfat => "vfat",
            Self::Exfat => "exfat",
            Self::Ntfs => "ntfs",
            Self::Btrfs => "btrfs",
            Self::Xfs => "xfs",
            Self::Swap => "swap",
        }
    }
}

/// The superblock of an ext file system, as far as others need it (kernel `fs/ext4/ext4.h`, `struct ext4_super_block`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtInfo {
    /// ext2, ext3 or ext4, by its features.
    pub kind: FsKind,
    /// `s_uuid`, lower-case, hyphenated.
    pub uuid: String,
    /// `s_volume_name`.
    pub label: DisplayText,
    /// Bytes per block.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free, as the superblock says.
    pub free_blocks: u64,
    /// `needs_recovery` (incompat 0x4): mounted, or not unmounted cleanly.
    pub needs_recovery: bool,
    /// `s_state`.
    pub state: u16,
    /// `s_error_count`.
    pub errors: u32,
    /// Has a journal (compat 0x4).
    pub has_journal: bool,
    /// `s_mnt_count`.
    pub mount_count: u16,
    /// `s_mtime`: last mount for writing, seconds since 1970.
    pub mounted_at: i64,
    /// `s_wtime`: last superblock write, seconds since 1970.
    pub written_at: i64,
    /// `s_mkfs_time`.
    pub made_at: i64,
    /// `s_lastcheck`.
    pub checked_at: i64,
    /// `s_last_mounted`.
    pub last_mounted: DisplayText,
    /// `s_kbytes_written`, in KiB.
    pub kbytes_written: u64,
    /// jbd2 `s_sequence`, where there is an internal journal that can be read.
    pub journal_sequence: Option<u32>,
    /// Time of the newest commit block found in the journal, seconds since 1970.
    pub last_commit_at: Option<i64>,
    /// Feature bits outside those this version understands, by word: (compat, incompat, ro_compat). Not zero: captured raw.
    pub unknown_features: (u32, u32, u32),
}

/// A FAT file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FatInfo {
    /// 12, 16 or 32.
    pub width: u8,
    /// Volume serial as `XXXX-XXXX`.
    pub volume_id: String,
    /// Label from the root directory or the boot sector.
    pub label: DisplayText,
    /// Bytes per cluster.
    pub cluster_size: u32,
    /// Data clusters.
    pub clusters: u32,
    /// The dirty bit of the boot sector.
    pub dirty: bool,
}

/// An exFAT (Microsoft "exFAT file system specification").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExfatInfo {
    /// Volume serial as `XXXX-XXXX`.
    pub volume_id: String,
    /// Label from the root directory.
    pub label: DisplayText,
    /// Bytes per cluster.
    pub cluster_size: u32,
    /// Clusters of the cluster heap.
    pub clusters: u32,
    /// `VolumeDirty`: it was in use and not closed.
    pub dirty: bool,
    /// `MediaFailure`: a driver met sectors that it could not read or write.
    pub media_failure: bool,
}

/// An NTFS (kernel `fs/ntfs3/ntfs.h`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NtfsInfo {
    /// Volume serial, 16 hexadecimal digits in upper case.
    pub volume_id: String,
    /// `$VOLUME_NAME`.
    pub label: DisplayText,
    /// Major and minor version.
    pub version: (u8, u8),
    /// Bytes per cluster.
    pub cluster_size: u32,
    /// Clusters in all.
    pub clusters: u64,
    /// It is marked dirty: it was mounted by a driver that marks it so and not closed, or is to be checked.
    pub dirty: bool,
    /// How its log was left.
    pub log: NtfsLog,
    /// The memory of a system stands on it: of one that was hibernated, or shut down with fast start-up. `None` where that cannot be
    /// told.
    pub hibernated: Option<bool>,
}

/// How the log of an NTFS was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NtfsLog {
    /// It is empty: it was made so, or emptied by a driver that does not use it.
    Empty,
    /// The volume was closed.
    Closed,
    /// It was not: there may be changes in it that are nowhere else.
    Open,
    /// That cannot be told.
    #[serde(other)]
    Untold,
}

impl NtfsInfo {
    /// True where what it calls free is free.
    pub fn is_settled(&self) -> bool {
        matches!(self.log, NtfsLog::Empty | NtfsLog::Closed) && self.hibernated == Some(false)
    }
}

/// The superblock of a btrfs, as far as others need it (kernel `include/uapi/linux/btrfs_tree.h`, `struct btrfs_super_block`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtrfsInfo {
    /// `fsid`, lower-case, hyphenated: all its devices have it.
    pub uuid: String,
    /// UUID of this device; of a file system on several, of the one that it is read by.
    pub device_uuid: String,
    /// `label`.
    pub label: DisplayText,
    /// `devid`: the number of that device.
    pub device: u64,
    /// `num_devices`.
    pub devices: u64,
    /// `generation`: the last transaction.
    pub generation: u64,
    /// Bytes of that device that are the file system's.
    pub size: ByteLen,
    /// `bytes_used`, each byte counted once however often it is kept.
    pub used: ByteLen,
    /// There is a log: it was not unmounted since a program had something synced.
    pub log: bool,
    /// Why what is free on it is not told, where that is so: other devices are not here, features not known here. Captured raw.
    pub not_read: Option<DisplayText>,
}

/// A device of a btrfs that lies on several, all of which are here: the file system is a volume of its own, of all that its devices hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BtrfsDeviceInfo {
    /// UUID of this device.
    pub uuid: String,
    /// `fsid` of the file system.
    pub file_system: String,
    /// The label of the file system.
    pub label: DisplayText,
    /// `devid`: its number.
    pub device: u64,
    /// How many devices there are.
    pub devices: u64,
    /// Its last transaction: equal in all that were written together.
    pub generation: u64,
    /// Bytes of it that are saved as the file system.
    pub apart: ExtentSet,
}

/// The superblock and the log of an XFS, as far as others need them (kernel `fs/xfs/libxfs/xfs_format.h`, `struct xfs_dsb`). It keeps
/// no times and no count of its mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct XfsInfo {
    /// `sb_uuid`, lower-case, hyphenated.
    pub uuid: String,
    /// `sb_fname`.
    pub label: DisplayText,
    /// 4 or 5.
    pub version: u8,
    /// Bytes per block.
    pub block_size: u32,
    /// Blocks in all.
    pub blocks: u64,
    /// Blocks free, as the superblock says.
    pub free_blocks: u64,
    /// Features of version 5 that are known here, by the names `mkfs.xfs` has for them.
    pub features: Vec<String>,
    /// Its log does not end with the record that an unmount writes: it is mounted, or was cut off. Also where that cannot be told.
    pub needs_recovery: bool,
    /// The sequence number of the last record in its log (cycle in the upper half, block in the lower), where that can be told. It
    /// only grows, with every session that wrote.
    pub log_head: Option<u64>,
    /// Where the record of the unmount at its end says that the log begins (`h_tail_lsn`): another place for every unmount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_tail: Option<u64>,
    /// The same of the log as it was when it was last mounted, as far as what that mount wrote behind its end is still there. Where it
    /// is the [`log_tail`](Self::log_tail) of an earlier state, nobody who logged anything mounted it in between but once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<u64>,
    /// Why this version does not read it: captured raw.
    pub not_read: Option<DisplayText>,
}

/// A swap area.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwapInfo {
    /// UUID, lower-case, hyphenated.
    pub uuid: Option<String>,
    /// Label.
    pub label: DisplayText,
    /// Page size its header was written with.
    pub page_size: u32,
    /// A hibernation image stands in it (`S1SUSPEND` and its like).
    pub hibernated: bool,
}

/// A physical volume of LVM2, of whose group some volumes are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LvmInfo {
    /// Its UUID, as LVM writes it: seven groups of letters and digits.
    pub uuid: String,
    /// The name of its volume group.
    pub group: DisplayText,
    /// The group's UUID.
    pub group_uuid: String,
    /// The number of the group's metadata: it rises with each change.
    pub seqno: u64,
    /// Bytes of it that are saved as volumes of their own, or that no volume has: all else is LVM's own, or of volumes that are not read.
    pub apart: ExtentSet,
    /// Volumes of the group that are not read, by their names: what lies here of them is saved byte for byte, with what is LVM's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<DisplayText>,
}

/// A member of an md array (kernel `include/uapi/linux/raid/md_p.h`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MdInfo {
    /// Its own UUID, or, of format 0.90, the array's and its place in it.
    pub uuid: String,
    /// The array's name.
    pub array: DisplayText,
    /// The array's UUID.
    pub array_uuid: String,
    /// What kind of array: `raid1`.
    pub level: String,
    /// Its place in the array.
    pub role: u32,
    /// How often the array changed its state: equal in all members that belong together.
    pub events: u64,
    /// Bytes of it that are saved as the array.
    pub apart: ExtentSet,
}

/// A LUKS volume, as far as its header says (cryptsetup's LUKS1 On-Disk Format 1.2.3, LUKS2 On-Disk Format 1.1.1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LuksInfo {
    /// 1 or 2.
    pub version: u16,
    /// Its UUID, as it is written there.
    pub uuid: String,
    /// Its label, of version 2.
    pub label: DisplayText,
    /// How it is encrypted, as the header says: `aes-xts-plain64`.
    pub cipher: DisplayText,
    /// A token says that the machine's TPM may open it: `systemd-tpm2` or `clevis`.
    pub sealed: bool,
    /// Why it cannot be opened here, whatever somebody knows.
    pub not_opened: Option<DisplayText>,
    /// It was opened: what lies in it is looked at, and saved by itself.
    pub open: bool,
    /// Bytes of it that are saved as volumes of their own, or that no volume has, where it was opened: all else is the header with its key
    /// slots, or of volumes that are not read. Encrypted as it lies there.
    pub apart: ExtentSet,
}

/// The marker that stands in a volume's identifying sectors while a rollback is unfinished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FenceInfo {
    /// The write-back that put it there.
    pub intent: IntentId,
    /// The id of the store that holds the intent.
    pub store: String,
    /// What stood here, for people: `ext4 root of Debian ...`.
    pub was: DisplayText,
}
