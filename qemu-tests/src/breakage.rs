//! What makes a real target unable to start, done to its disk from outside; and how that shows.

use crate::machine::{Firmware, run};
use crate::partitions::{Partition, Partitions};
use crate::{Error, Result};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What befalls a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breakage {
    /// Its power was cut while packages were unpacked: done by the target itself ([`crate::history::cut_upgrade`]).
    Upgrade,
    /// Its C library is gone.
    Libc,
    /// Its fstab names a disk that is not there, and does not call it dispensable.
    Fstab,
    /// Its EFI system partition is zeros.
    Esp,
    /// Sector 0 and the first copy of its partition table are zeros: what a hasty `dd` leaves.
    Table,
    /// Both copies of its partition table, and sector 0, are zeros.
    BothTables,
    /// Its kernel is gone.
    Kernel,
}

/// How a start of the broken machine is told from one that comes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// One of these comes over its serial line, and its login prompt does not. Nor does a kernel, where `no_kernel`.
    Says {
        /// Whichever comes first.
        words: &'static [&'static str],
        /// The kernel itself must not start.
        no_kernel: bool,
    },
    /// It may come up, or takes minutes not to: what the rescue says of it decides.
    NotTried,
}

/// What OVMF and GRUB say where there is nothing for them to start (MdeModulePkg/Library/UefiBootManagerLib and OVMF's own menu).
pub const NOTHING_ON_UEFI: &[&str] =
    &["No bootable option", "failed to load Boot", "UEFI Interactive Shell", "Not Found"];

impl Breakage {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Upgrade, Self::Libc, Self::Fstab, Self::Esp, Self::Table, Self::BothTables, Self::Kernel];

    /// Its name, as a case is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upgrade => "upgrade",
            Self::Libc => "libc",
            Self::Fstab => "fstab",
            Self::Esp => "esp",
            Self::Table => "table",
            Self::BothTables => "both-tables",
            Self::Kernel => "kernel",
        }
    }

    /// What the rescue must say of it, on its overview or of what it found.
    pub fn told(self) -> &'static [&'static str] {
        match self {
            Self::Upgrade => &["cut short in the middle"],
            Self::Libc => &["the C library (libc.so.6) is missing"],
            Self::Fstab => &["00000000-0000-4000-8000-000000000000"],
            Self::Esp => &["7F1A-0C1E"],
            Self::Table => &["the primary partition table is damaged", "is good and is used"],
            Self::BothTables => &["No installed system was found"],
            Self::Kernel => &["vmlinuz", "missing"],
        }
    }

    /// How its start shows it.
    pub fn start(self, firmware: Firmware) -> Start {
        let says = |words, no_kernel| Start::Says { words, no_kernel };
        match (self, firmware) {
            // It comes up: what is half installed shows later.
            (Self::Upgrade, _) => Start::NotTried,
            (Self::Libc, _) => says(&["Kernel panic"], false),
            (Self::Fstab, _) => says(&["You are in emergency mode", "emergency.target"], false),
            (Self::Kernel, _) => says(&["not found", "load the kernel first"], true),
            // A BIOS needs no ESP: systemd waits a minute and a half for it, and then gives up.
            (Self::Esp, Firmware::Bios) => Start::NotTried,
            // SeaBIOS, on a serial line of its own.
            (Self::Table | Self::BothTables, Firmware::Bios) => says(&["No bootable device"], true),
            (Self::Esp | Self::Table | Self::BothTables, Firmware::Uefi) => says(NOTHING_ON_UEFI, true),
        }
    }

    /// Does it to a disk that is not in use.
    ///
    /// # Errors
    /// Where a tool is missing or fails; and for [`Self::Upgrade`], which only the target can do to itself.
    pub fn befall(self, disk: &Target) -> Result<()> {
        match self {
            Self::Upgrade => Err("an upgrade is cut in the running target".into()),
            Self::Libc => disk.debugfs("rm /usr/lib/x86_64-linux-gnu/libc.so.6").map(drop),
            Self::Kernel => {
                let kernel = disk.only("/boot", "vmlinuz-")?;
                disk.debugfs(&format!("rm {kernel}")).map(drop)
            }
            Self::Fstab => {
                let lines = disk.image.with_extension("fstab");
                fs::write(&lines, format!("{}{NO_SUCH_DISK}", disk.debugfs("cat /etc/fstab")?))?;
                disk.debugfs("rm /etc/fstab")?;
                disk.debugfs(&format!("write {} /etc/fstab", lines.display()))?;
                Ok(fs::remove_file(lines)?)
            }
            Self::Esp => disk.zero(disk.esp.start, disk.esp.len),
            Self::Table => disk.zero(0, disk.first_copy()),
            Self::BothTables => {
                disk.zero(0, disk.first_copy())?;
                let len = fs::metadata(&disk.image)?.len();
                disk.zero(len - disk.second_copy(), disk.second_copy())
            }
        }
    }
}

/// The wait for it is cut short: 90 seconds are the rule.
const NO_SUCH_DISK: &str = "UUID=00000000-0000-4000-8000-000000000000 /srv ext4 x-systemd.device-timeout=20 0 2\n";

/// A target's disk as a raw image, and where its volumes lie.
#[derive(Debug, Clone)]
pub struct Target {
    /// The image.
    pub image: PathBuf,
    /// Bytes of a sector.
    pub sector: u32,
    esp: Partition,
    root: Partition,
}

impl Target {
    /// The disk in `image`, whose partitions lie where those of `like` do, an image for sectors of 512 bytes.
    ///
    /// # Errors
    /// Where the partitions cannot be read.
    pub fn new(image: &Path, sector: u32, like: &Path) -> Result<Self> {
        let partitions = Partitions::of(like)?;
        let (esp, root) = (partitions.esp()?.clone(), partitions.root()?.clone());
        Ok(Self { image: image.to_path_buf(), sector, esp, root })
    }

    /// Sector 0, and header and entries of the first copy of the table: 128 entries of 128 bytes, as every usual tool writes them (UEFI
    /// specification 2.10, 5.3).
    fn first_copy(&self) -> u64 {
        2 * u64::from(self.sector) + 128 * 128
    }

    /// Entries and header at the end of the disk.
    fn second_copy(&self) -> u64 {
        u64::from(self.sector) + 128 * 128
    }

    /// The bytes of both copies of the table and of sector 0.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn tables(&self) -> Result<Vec<u8>> {
        let file = File::open(&self.image)?;
        let (first, second) = (usize::try_from(self.first_copy())?, usize::try_from(self.second_copy())?);
        let mut bytes = vec![0; first + second];
        file.read_exact_at(&mut bytes[..first], 0)?;
        file.read_exact_at(&mut bytes[first..], file.metadata()?.len() - self.second_copy())?;
        Ok(bytes)
    }

    /// Puts zeros somewhere.
    ///
    /// # Errors
    /// What the system says.
    pub fn zero(&self, at: u64, len: u64) -> Result<()> {
        Ok(File::options().write(true).open(&self.image)?.write_all_at(&vec![0; usize::try_from(len)?], at)?)
    }

    /// The EFI system partition.
    pub fn esp(&self) -> &Partition {
        &self.esp
    }

    /// The root.
    pub fn root(&self) -> &Partition {
        &self.root
    }

    /// The root, as the tools of e2fsprogs take it.
    pub fn root_volume(&self) -> String {
        format!("{}?offset={}", self.image.display(), self.root.start)
    }

    /// Runs a command of debugfs on the root, and gives what it prints.
    ///
    /// # Errors
    /// Where it says that anything is wrong.
    pub fn debugfs(&self, command: &str) -> Result<String> {
        let mut debugfs = Command::new("debugfs");
        let out = debugfs.args(["-w", "-R", command, &self.root_volume()]).stdin(Stdio::null()).output();
        let out = out.map_err(|e| format!("debugfs does not start ({e}); package e2fsprogs"))?;
        let said = String::from_utf8_lossy(&out.stderr);
        // It ends with 0 whatever happens, and says its version first.
        if !out.status.success() || said.lines().count() > 1 {
            return Err(format!("debugfs {command}: {said}").into());
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// The path of the one name in a directory of the root that begins so.
    fn only(&self, dir: &str, start: &str) -> Result<String> {
        let listed = self.debugfs(&format!("ls -p {dir}"))?;
        let found = listed.lines().filter_map(|l| l.split('/').nth(5)).find(|name| name.starts_with(start));
        let name = found.ok_or_else(|| -> Error { format!("there is no {dir}/{start}* in {listed}").into() })?;
        Ok(format!("{dir}/{name}"))
    }

    /// The root is in order, by e2fsck, and the ESP's loader can be read, by mtools.
    ///
    /// # Errors
    /// Where either is not so.
    pub fn check(&self) -> Result<()> {
        let out = Command::new("e2fsck").args(["-f", "-n", &self.root_volume()]).stdin(Stdio::null()).output()?;
        if !out.status.success() {
            return Err(format!("e2fsck is not content: {}", String::from_utf8_lossy(&out.stdout)).into());
        }
        let esp = format!("{}@@{}", self.image.display(), self.esp.start);
        run(Command::new("mtype").args(["-i", &esp, "::/EFI/BOOT/BOOTX64.EFI"]))
    }
}
