//! Reading sysfs and procfs: what the kernel says of block devices, without opening them.

use model::inspection::Hardware;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent, SectorSize};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// sysfs counts sectors of 512 bytes whatever the disk's own are (kernel `Documentation/ABI/stable/sysfs-block`).
const SYSFS_SECTOR: u64 = 512;

/// A partition as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelPartition {
    /// Kernel name, for example `sda2`.
    pub name: String,
    /// Its number in the table.
    pub number: u32,
    /// Where it lies on its disk.
    pub extent: Extent,
}

/// A block device as sysfs shows it: its directory there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDir {
    dir: PathBuf,
}

/// The contents of a small attribute file, trimmed; `None` where absent, unreadable or empty.
pub fn attribute(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// Splits a Linux device number as `stat` gives it into major and minor (glibc `gnu_dev_major`).
pub fn major_minor(rdev: u64) -> (u64, u64) {
    (nix::sys::stat::major(rdev), nix::sys::stat::minor(rdev))
}

impl BlockDir {
    /// The device of that number.
    pub fn of_device(rdev: u64) -> Option<Self> {
        let (major, minor) = major_minor(rdev);
        fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok().map(|dir| Self { dir })
    }

    /// The disk of that kernel name.
    pub fn of_disk(name: &str) -> Option<Self> {
        fs::canonicalize(Path::new("/sys/block").join(name)).ok().map(|dir| Self { dir })
    }

    /// Kernel name, for example `sda` or `nvme0n1p2`.
    pub fn name(&self) -> String {
        self.dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// Its node under /dev (`!` in a kernel name stands for `/`).
    pub fn node(&self) -> PathBuf {
        Path::new("/dev").join(self.name().replace('!', "/"))
    }

    /// An attribute below its directory.
    pub fn attribute(&self, name: &str) -> Option<String> {
        attribute(&self.dir.join(name))
    }

    /// Number of this device as `major:minor`.
    pub fn number(&self) -> Option<String> {
        self.attribute("dev")
    }

    /// True where this is a partition.
    pub fn is_partition(&self) -> bool {
        self.dir.join("partition").exists()
    }

    /// The whole disk: itself, or the disk a partition lies on.
    pub fn disk(&self) -> Self {
        match (self.is_partition(), self.dir.parent()) {
            (true, Some(parent)) => Self { dir: parent.to_owned() },
            _ => self.clone(),
        }
    }

    /// Size in bytes.
    pub fn size(&self) -> ByteLen {
        ByteLen(self.attribute("size").and_then(|s| s.parse::<u64>().ok()).unwrap_or(0).saturating_mul(SYSFS_SECTOR))
    }

    /// The partitions of a whole disk, by place.
    pub fn partitions(&self) -> Vec<KernelPartition> {
        let mut out: Vec<KernelPartition> = fs::read_dir(&self.dir)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let dir = Self { dir: entry.path() };
                let number = dir.attribute("partition")?.parse().ok()?;
                let start = dir.attribute("start")?.parse::<u64>().ok()?.checked_mul(SYSFS_SECTOR)?;
                Some(KernelPartition { name: dir.name(), number, extent: Extent::new(ByteOffset(start), dir.size())? })
            })
            .collect();
        out.sort_by_key(|p| p.extent);
        out
    }

    /// True where a person would call this a disk: no loop, ram, zram, optical or floppy device, nothing made of other
    /// devices (dm, md), no hidden path of a multipath disk, no boot area of an eMMC, and not empty.
    pub fn is_real_disk(&self) -> bool {
        const OTHERS: [&str; 8] = ["loop", "ram", "zram", "sr", "fd", "dm-", "md", "mtd"];
        let name = self.name();
        let hidden = self.attribute("hidden").is_some_and(|h| h == "1");
        let emmc_area = name.starts_with("mmcblk") && (name.contains("boot") || name.contains("rpmb"));
        !OTHERS.iter().any(|o| name.starts_with(o)) && !hidden && !emmc_area && self.size() != ByteLen::ZERO
    }

    /// What the kernel says of the disk: identity and description. `size` and `sector` are those of the open descriptor.
    pub fn hardware(&self, size: ByteLen, sector: SectorSize) -> Hardware {
        let disk = self.disk();
        let text = |names: &[&str]| names.iter().find_map(|n| disk.attribute(n));
        let vendor = disk.attribute("device/vendor").filter(|v| v != "ATA" && !v.starts_with("0x"));
        let model = text(&["device/model", "device/name"]).unwrap_or_else(|| disk.name_without_number());
        let model = match vendor {
            Some(v) => format!("{v} {model}"),
            None => model,
        };
        let serial = text(&["serial", "device/serial"]).or_else(|| disk.scsi_serial()).or_else(|| disk.usb_serial());
        let wwn = text(&["wwid", "device/wwid", "device/cid"]);
        let squeeze = |s: String| DisplayText::new(&s.split_whitespace().collect::<Vec<_>>().join(" "));
        Hardware {
            model: squeeze(model),
            serial: serial.map(squeeze),
            wwn: wwn.map(squeeze),
            size,
            sector,
            transport: DisplayText::new(disk.transport()),
            removable: disk.attribute("removable").is_some_and(|r| r == "1"),
            // Of a disk that is only listed it is not asked ([`crate::device`]).
            write_protected: false,
            shown_as: Some(DisplayText::from_bytes(self.node().as_os_str().as_encoded_bytes())),
        }
    }

    /// `vd disk` for `vda`: a name that does not depend on the order of discovery.
    fn name_without_number(&self) -> String {
        let name = self.name();
        if name.starts_with("vd") { "virtio disk".to_owned() } else { "disk".to_owned() }
    }

    /// The unit serial number page of a SCSI or SATA disk (SPC-4, 7.8.15: four bytes of header, then ASCII).
    fn scsi_serial(&self) -> Option<String> {
        let page = fs::read(self.dir.join("device/vpd_pg80")).ok()?;
        let text = String::from_utf8_lossy(page.get(4..)?).trim_matches(['\0', ' ']).to_owned();
        (!text.is_empty()).then_some(text)
    }

    /// The serial number of the USB device the disk hangs on.
    fn usb_serial(&self) -> Option<String> {
        let device = self.dir.ancestors().find(|a| a.join("idVendor").exists())?;
        attribute(&device.join("serial"))
    }

    /// Its kernel name, and the name that somebody gave it: `dm-0 (vg0-root)`, `md127 (raid1)`.
    fn called(&self) -> String {
        let given = self.attribute("dm/name").or_else(|| self.attribute("md/level"));
        given.map_or_else(|| self.name(), |given| format!("{} ({given})", self.name()))
    }

    /// How it is attached, by its place in the device tree.
    fn transport(&self) -> &'static str {
        let path = self.dir.to_string_lossy();
        let known = [
            ("/usb", "usb"),
            ("/nvme", "nvme"),
            ("/ata", "sata"),
            ("/mmc", "mmc"),
            ("/session", "iscsi"),
            ("/vmbus", "hyper-v"),
            ("/virtio", "virtio"),
            ("/host", "scsi"),
        ];
        known.iter().find(|(part, _)| path.contains(part)).map_or("block", |(_, name)| name)
    }

    /// What holds the disk or any of its partitions: mounts, swap, devices built on it. In words, for people.
    pub fn holders(&self) -> Vec<String> {
        self.holders_of(Extent::whole(self.size()))
    }

    /// The same of part of the disk: what holds the disk as a whole, or a partition that has bytes of that part.
    pub fn holders_of(&self, part: Extent) -> Vec<String> {
        let mut devices = vec![self.clone()];
        let within = self.partitions().into_iter().filter(|p| p.extent.intersect(part).is_some());
        devices.extend(within.map(|p| Self { dir: self.dir.join(p.name) }));
        let mut out = Vec::new();
        for device in &devices {
            for holder in fs::read_dir(device.dir.join("holders")).into_iter().flatten().flatten() {
                let holder = Self { dir: Path::new("/sys/block").join(holder.file_name()) };
                out.push(format!("{} is part of {}", device.name(), holder.called()));
            }
        }
        let numbers: Vec<(String, String)> = devices.iter().filter_map(|d| Some((d.number()?, d.name()))).collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        for mount in mounts.lines().filter_map(Mount::parse) {
            let by_number = numbers.iter().find(|(n, _)| *n == mount.device);
            // btrfs shows a made-up device number: ask the node it was mounted from.
            let by_source = || {
                let rdev = fs::metadata(&mount.source).ok()?.rdev();
                let (major, minor) = major_minor(rdev);
                numbers.iter().find(|(n, _)| rdev != 0 && *n == format!("{major}:{minor}"))
            };
            if let Some((_, name)) = by_number.or_else(by_source) {
                out.push(format!("{name} is mounted on {}", mount.point));
            }
        }
        let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
        for line in swaps.lines().skip(1) {
            let path = line.split_whitespace().next().unwrap_or_default();
            if let Some(device) = devices.iter().find(|d| d.node() == Path::new(path)) {
                out.push(format!("{} is swap in use", device.name()));
            }
        }
        out
    }
}

/// One line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct Mount {
    /// `major:minor`.
    device: String,
    point: String,
    source: String,
}

impl Mount {
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(2);
        let device = left.next()?.to_owned();
        let point = left.nth(1)?.to_owned();
        let source = right.split(' ').nth(1)?.to_owned();
        Some(Self { device, point, source })
    }
}

/// Every whole disk the kernel shows, in the order of their names (`sda` before `sdaa`, `vda2` before `vda10`).
pub fn disks() -> Vec<BlockDir> {
    let mut names: Vec<String> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_by_key(|n| (n.len(), n.clone()));
    names.iter().filter_map(|n| BlockDir::of_disk(n)).collect()
}

/// The kernel name of the loop device that is set up on a file.
pub fn set_up_on(path: &Path) -> Option<String> {
    let stands_on = |d: &BlockDir| d.attribute("loop/backing_file").is_some_and(|f| Path::new(&f) == path);
    disks().into_iter().find(stands_on).map(|d| d.name())
}

/// The disk on which the file system of `path` lies, or would lie once it is made; `None` where it lies on none (tmpfs,
/// network).
pub fn disk_holding(path: &Path) -> Option<BlockDir> {
    let dev = path.ancestors().find_map(|p| fs::metadata(p).ok())?.dev();
    BlockDir::of_device(dev).map(|d| d.disk())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_lines_are_read_by_their_fields() {
        let line = "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
        let m = Mount::parse(line).unwrap();
        assert_eq!((m.device.as_str(), m.point.as_str(), m.source.as_str()), ("98:0", "/mnt2", "/dev/root"));
        assert!(Mount::parse("nonsense").is_none());
    }

    /// A store that could not be made yet (its file system is full or read-only) still names its disk.
    #[test]
    fn what_is_not_there_yet_lies_where_it_would() {
        for dir in ["/", "/proc"] {
            let not_there = Path::new(dir).join("holdfast-not-there/store");
            assert_eq!(disk_holding(&not_there), disk_holding(Path::new(dir)));
        }
    }

    #[test]
    fn what_is_listed_has_a_name_and_a_number() {
        for disk in disks() {
            assert!(disk.number().is_some_and(|n| n.contains(':')), "{disk:?}");
            assert_eq!(disk.disk(), disk);
            if disk.name().starts_with("loop") {
                assert!(!disk.is_real_disk(), "{disk:?}");
            }
        }
    }
}
