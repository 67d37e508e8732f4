//! What was seen on the disks: tables, volumes, file systems, installed systems, and what is wrong with them.

mod content;

pub use content::{
    BtrfsDeviceInfo, BtrfsInfo, Content, ExfatInfo, ExtInfo, FatInfo, FenceInfo, FsKind, LuksInfo, LvmInfo, MdInfo,
    NtfsInfo, NtfsLog, SwapInfo, XfsInfo,
};

use crate::firmware::BootSettings;
use crate::id::{Digest, DiskNo, VolumePath};
use crate::mapping::Mapping;
use crate::text::{DisplayText, RawName};
use crate::units::{ByteLen, Extent, SectorSize};
use serde::{Deserialize, Serialize};

/// What the operating system says of a disk, without reading it. The part of its identity that lies outside its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// Vendor and model, for people.
    pub model: DisplayText,
    /// Serial number; `None` for an image file or a device that does not tell.
    pub serial: Option<DisplayText>,
    /// World-wide name or NVMe EUI/NGUID.
    pub wwn: Option<DisplayText>,
    /// Size in bytes.
    pub size: ByteLen,
    /// Logical sector size.
    pub sector: SectorSize,
    /// How it is attached (`nvme`, `sata`, `usb`, `virtio`, `image`, ...), for people.
    pub transport: DisplayText,
    /// True where the system says it can be taken out.
    pub removable: bool,
    /// True where it takes no writes: a disk with its switch set or worn out, an image file that may not be written to. Never compared,
    /// never stored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub write_protected: bool,
    /// Where it was found this time, for people only (`/dev/sda`). Never compared, never stored.
    pub shown_as: Option<DisplayText>,
}

impl Hardware {
    /// An image file, or bytes that are served as one: nothing tells it from others. Its sectors have 512 bytes.
    pub fn image(model: &str, size: ByteLen) -> Self {
        Self {
            model: DisplayText::new(model),
            serial: None,
            wwn: None,
            size,
            sector: SectorSize::B512,
            transport: DisplayText::new("image"),
            removable: false,
            write_protected: false,
            shown_as: None,
        }
    }
}

/// One disk, looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its number in this inspection.
    pub no: DiskNo,
    /// What the system says of it.
    pub hardware: Hardware,
    /// SHA-256 of its first [`crate::ports::HEAD_LEN`] bytes (of all of it where smaller).
    pub head: Digest,
    /// Its partition table, or `None` where it has none that could be read.
    pub table: Option<Table>,
    /// Its volumes, in order of place. A disk without a table is one volume.
    pub volumes: Vec<Volume>,
}

impl Disk {
    /// What a person types to say that it is this disk: its serial number, its world-wide name, or, where the system tells
    /// neither, what it carries: its table's id or the UUID of the file system straight on it, or else its size in bytes.
    pub fn identity(&self) -> DisplayText {
        let Hardware { serial, wwn, size, .. } = &self.hardware;
        if let Some(told) = serial.as_ref().or(wwn.as_ref()) {
            return told.clone();
        }
        let table = self.table.as_ref().map(|t| t.id.as_str());
        let carried = table.or_else(|| self.volumes.first().and_then(Volume::uuid));
        carried.map_or_else(|| DisplayText::new(&size.0.to_string()), DisplayText::new)
    }
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// GPT or MBR.
    pub kind: TableKind,
    /// GPT disk GUID (lower-case, hyphenated) or MBR disk signature (8 hexadecimal digits).
    pub id: String,
    /// Its partitions, by rising number.
    pub partitions: Vec<Partition>,
    /// The bytes of the disk that make up the table: protective MBR, headers and entry arrays (primary and backup), MBR and
    /// every EBR. Also the boot code in sector 0 and the gap up to the first partition (at most 1 MiB), which a
    /// BIOS boots from.
    pub raw: Vec<Extent>,
    /// True where the primary was damaged and this was read from the backup.
    pub from_backup: bool,
}

/// Which kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// GUID partition table (UEFI specification, chapter 5).
    Gpt,
    /// Master boot record, with logical partitions in an extended one.
    Mbr,
}

/// A partition as the table has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// GPT: entry index from 1. MBR: 1 to 4, logical ones from 5.
    pub number: u32,
    /// Where it lies on the disk, in bytes.
    pub extent: Extent,
    /// GPT type GUID (lower-case) or MBR type as two hexadecimal digits.
    pub type_id: String,
    /// GPT unique GUID (lower-case).
    pub guid: Option<String>,
    /// GPT name.
    pub name: Option<DisplayText>,
    /// MBR active flag, or GPT attribute bit 2 (legacy BIOS bootable).
    pub bootable: bool,
}

/// GPT type of an EFI system partition.
pub const GPT_ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
/// GPT type of the area a BIOS GRUB keeps its core image in.
pub const GPT_BIOS_BOOT: &str = "21686148-6449-6e6f-744e-656564454649";
/// GPT type of the store partition on a rescue stick: Holdfast's own.
pub const GPT_STORE: &str = "ad53fb9e-1f4d-4a3f-9f34-7d8ed2a6d3f1";

/// Anything a file system can lie on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its path, for example `d0/p2`.
    pub path: VolumePath,
    /// Where it lies on its disk, in bytes. Of a mapped one: all of it, from 0 on.
    pub extent: Extent,
    /// How its bytes lie on other volumes, where it is none that lies straight on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping: Option<Mapping>,
    /// What is on it.
    pub content: Content,
}

impl Volume {
    /// One that lies straight on its disk.
    pub fn on_disk(path: VolumePath, extent: Extent, content: Content) -> Self {
        Self { path, extent, mapping: None, content }
    }

    /// One that is made of others, of which it is not known yet what is on it. `None` where its map is not sound.
    pub fn mapped(path: VolumePath, mapping: Mapping) -> Option<Self> {
        let len = mapping.len().filter(|len| mapping.is_sound(*len))?;
        Some(Self { path, extent: Extent::whole(len), mapping: Some(mapping), content: Content::Unknown })
    }

    /// True where any of its bytes lies encrypted on its disk, and what is read of it is in clear.
    pub fn is_sealed(&self) -> bool {
        self.mapping.as_ref().is_some_and(Mapping::is_sealed)
    }

    /// A short word for what is on it: `ext4`, `vfat`, `swap`, `fenced`, `unknown`.
    pub fn kind(&self) -> &'static str {
        match &self.content {
            Content::Ext(e) => e.kind.name(),
            Content::Fat(_) => "vfat",
            Content::Exfat(_) => "exfat",
            Content::Ntfs(_) => "ntfs",
            Content::Btrfs(_) => "btrfs",
            Content::Xfs(_) => "xfs",
            Content::Swap(_) => "swap",
            Content::Fenced(_) => "fenced",
            Content::Damaged { kind, .. } => kind.name(),
            Content::Lvm(_) => "lvm",
            Content::Md(_) => "md",
            Content::BtrfsDevice(_) => "btrfs-device",
            Content::Luks(_) => "luks",
            Content::Recognised { .. } => "other",
            Content::BiosBoot => "bios-boot",
            Content::Empty => "empty",
            Content::Unknown => "unknown",
        }
    }

    /// The file system's UUID or volume id, where it has one.
    pub fn uuid(&self) -> Option<&str> {
        match &self.content {
            Content::Ext(e) => Some(&e.uuid),
            Content::Fat(f) => Some(&f.volume_id),
            Content::Exfat(e) => Some(&e.volume_id),
            Content::Ntfs(n) => Some(&n.volume_id),
            Content::Btrfs(b) => Some(&b.uuid),
            Content::Xfs(x) => Some(&x.uuid),
            Content::Swap(s) => s.uuid.as_deref(),
            Content::Lvm(l) => Some(&l.uuid),
            Content::Md(m) => Some(&m.uuid),
            Content::BtrfsDevice(b) => Some(&b.uuid),
            Content::Luks(l) => Some(&l.uuid),
            _ => None,
        }
    }
}

/// An installed operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// `PRETTY_NAME` of os-release.
    pub name: DisplayText,
    /// `ID` and `VERSION_ID` of os-release, for example `debian` and `12`.
    pub os: (DisplayText, DisplayText),
    /// `/etc/hostname`.
    pub hostname: Option<DisplayText>,
    /// `/etc/machine-id`, where it is 32 hexadecimal digits.
    pub machine_id: Option<String>,
    /// The volume of `/`.
    pub root: VolumePath,
    /// The volumes of the boot set besides root, by mount point (`/boot`, `/boot/efi`), as fstab names them or as they were found.
    pub boot: Vec<(String, VolumePath)>,
    /// Other volumes fstab names (`/home`, swap), by mount point.
    pub other: Vec<(String, VolumePath)>,
    /// Subvolumes of these that are mounted and are not the root of their volume; `/` among them where that is one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subvolumes: Vec<MountedSubvolume>,
}

/// A subvolume of btrfs that a system mounts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountedSubvolume {
    /// Where.
    pub mount: String,
    /// The volume it is on.
    pub volume: VolumePath,
    /// Its path from the root of that volume, without a slash at its end: `/@home`.
    pub path: String,
}

/// Where a path of a system lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted<'a> {
    /// The mount point, without a slash at its end.
    pub mount: &'a str,
    /// The volume.
    pub volume: &'a VolumePath,
    /// The directory of the volume that is mounted there; empty for its root.
    pub top: &'a str,
}

/// What stands for Windows where os-release has an `ID`.
pub const OS_WINDOWS: &str = "windows";

impl System {
    /// True for a Windows.
    pub fn is_windows(&self) -> bool {
        self.os.0.as_str() == OS_WINDOWS
    }

    /// Everything it mounts but swap. What is mounted as a subvolume is told as that.
    pub fn mounts(&self) -> impl Iterator<Item = Mounted<'_>> {
        let named = self.boot.iter().chain(&self.other).map(|(mount, volume)| (mount.as_str(), volume, ""));
        let whole = std::iter::once(("/", &self.root, "")).chain(named.filter(|(mount, ..)| mount.starts_with('/')));
        let whole = whole.filter(|(mount, ..)| self.subvolumes.iter().all(|s| s.mount != *mount));
        let parts = self.subvolumes.iter().map(|s| (s.mount.as_str(), &s.volume, s.path.as_str()));
        parts.chain(whole).map(|(mount, volume, top)| Mounted { mount: mount.trim_end_matches('/'), volume, top })
    }

    /// The mount point that a path of the system lies below: the longest whose components begin the path.
    pub fn mounted(&self, path: &str) -> Mounted<'_> {
        let below =
            |m: &Mounted<'_>| path.strip_prefix(m.mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let root = Mounted { mount: "", volume: &self.root, top: "" };
        self.mounts().filter(below).max_by_key(|m| m.mount.len()).unwrap_or(root)
    }

    /// The volume a path of the system lies on, and the path inside it (empty for its root): below the longest mount point whose
    /// components begin the path.
    pub fn place(&self, path: &str) -> (&VolumePath, String) {
        let Mounted { mount, volume, top } = self.mounted(path);
        (volume, format!("{top}{}", path.strip_prefix(mount).unwrap_or(path)))
    }

    /// True for a volume of it: root, of the boot set, or another that fstab names.
    pub fn uses(&self, volume: &VolumePath) -> bool {
        self.root == *volume
            || self.boot.iter().chain(&self.other).any(|(_, v)| v == volume)
            || self.subvolumes.iter().any(|s| s.volume == *volume)
    }
}

/// Something worth telling that is not as it should be. Damage is a finding, not an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where: a disk or volume.
    pub volume: VolumePath,
    /// What is wrong, one clear sentence.
    pub says: DisplayText,
    /// What to do about it.
    pub advice: DisplayText,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something is wrong, and can be worked with.
    Warning,
    /// Something is damaged. Exit code 3.
    Damage,
}

/// Everything seen on the disks of one run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inspection {
    /// The disks, by number.
    pub disks: Vec<Disk>,
    /// The volumes that layers make of those on the disks, in order of their paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub layered: Vec<Volume>,
    /// The installed systems found.
    pub systems: Vec<System>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
    /// What the firmware starts, where it has boot entries and they can be seen.
    #[serde(default)]
    pub firmware: Option<BootSettings>,
}

impl Inspection {
    /// The disk of that number.
    pub fn disk(&self, no: DiskNo) -> Option<&Disk> {
        self.disks.iter().find(|d| d.no == no)
    }

    /// The volume of that path.
    pub fn volume(&self, path: &VolumePath) -> Option<&Volume> {
        let layered = self.layered.iter().filter(|_| path.is_layered());
        self.disk(path.disk())?.volumes.iter().chain(layered).find(|v| v.path == *path)
    }

    /// Every volume, with its disk; those that layers make come last, with the first of theirs.
    pub fn volumes(&self) -> impl Iterator<Item = (&Disk, &Volume)> {
        let layered = self.layered.iter().filter_map(|v| Some((self.disk(v.path.disk())?, v)));
        self.disks.iter().flat_map(|d| d.volumes.iter().map(move |v| (d, v))).chain(layered)
    }

    /// Says of volumes what lies on them, now that it is known what they are part of.
    pub fn set_physical(&mut self, known: Vec<(VolumePath, Content)>) {
        for (path, content) in known {
            let volumes = self.disks.iter_mut().flat_map(|d| &mut d.volumes).chain(&mut self.layered);
            volumes.filter(|v| v.path == path).for_each(|v| v.content = content.clone());
        }
    }

    /// The volumes of a disk: those that lie straight on it, then those that layers make and whose path begins there.
    pub fn volumes_of(&self, disk: &Disk) -> impl Iterator<Item = &Volume> {
        let no = disk.no;
        self.volumes().filter(move |(d, _)| d.no == no).map(|(_, v)| v)
    }

    /// The volumes that have bytes on that one.
    pub fn above<'a>(&'a self, path: &'a VolumePath) -> impl Iterator<Item = &'a Volume> {
        let on = |v: &&Volume| v.mapping.as_ref().is_some_and(|m| m.beneath.iter().any(|b| b.path == *path));
        self.layered.iter().filter(on)
    }

    /// The encrypted volumes that nobody opened yet and that may be.
    pub fn locked(&self) -> impl Iterator<Item = &Volume> {
        let locked = |v: &&Volume| matches!(&v.content, Content::Luks(l) if !l.open && l.not_opened.is_none());
        self.volumes().map(|(_, v)| v).filter(locked)
    }

    /// The fences that stand, with the volumes they stand in.
    pub fn fences(&self) -> impl Iterator<Item = (&Volume, &FenceInfo)> {
        self.volumes().filter_map(|(_, v)| match &v.content {
            Content::Fenced(f) => Some((v, f)),
            _ => None,
        })
    }
}

/// A file in a directory listing of a target, as evidence needs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedFile {
    /// Its name, without its directory.
    pub name: RawName,
    /// What it is.
    pub kind: FileKind,
    /// Size in bytes.
    pub size: ByteLen,
    /// Change of data, nanoseconds since 1970; `None` where the file system does not tell.
    pub modified: Option<i64>,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// Regular file.
    File,
    /// Directory.
    Directory,
    /// Symbolic link.
    Symlink,
    /// Device, pipe, socket.
    Special,
}
