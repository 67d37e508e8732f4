//! Starting from a BIOS: GRUB's core image in a BIOS boot area, its first sector in the MBR.
//!
//! Offsets from GRUB's source: `boot.img` is grub-core/boot/i386/pc/boot.S with include/grub/i386/pc/boot.h
//! (`kernel_sector` at 0x5c, the drive check at 0x66, code up to the disk signature at 0x1b8); the first sector of a core
//! image is diskboot.S, whose block list grows down from its last 12 bytes (`GRUB_BOOT_MACHINE_LIST_SIZE`): first sector
//! u64, count u16, segment u16. util/setup.c fills them in the same way.

use crate::error::{BuildError, Result};
use crate::package::{self, Origin};
use crate::tool;
use model::units::Lba;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

const SECTOR: usize = 512;
/// Of the boot sector, what is code: after it come the disk signature and the partition table.
const CODE_LEN: usize = 0x1b8;
/// Up to here the BIOS parameter block of a disk formatted without a table would lie: the disk's own bytes stay.
const AFTER_BPB: usize = 0x5a;
const KERNEL_SECTOR: usize = 0x5c;
const DRIVE_CHECK: usize = 0x66;
/// The jump over the check of the drive number: replaced by two `nop`s on hard disks, since some BIOSes pass nonsense.
const NOPS: [u8; 2] = [0x90, 0x90];
const BLOCK_LIST: usize = SECTOR - 12;
/// Where the rest of the core image is loaded: 0x8000 for the first sector, the others behind it.
const REST_SEGMENT: u16 = 0x820;

/// GRUB for BIOSes: what [`embed`] needs, and where it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// The boot sector.
    pub boot: Vec<u8>,
    /// The core image.
    pub core: Vec<u8>,
    /// Where they came from.
    pub origin: Origin,
}

/// What the core image must know to read its menu and start a kernel.
const MODULES: [&str; 17] = [
    "biosdisk",
    "chain",
    "drivemap",
    "part_gpt",
    "fat",
    "normal",
    "configfile",
    "linux",
    "boot",
    "test",
    "echo",
    "serial",
    "terminal",
    "minicmd",
    "reboot",
    "halt",
    "sleep",
];

/// Makes a core image that reads its menu from `prefix`, for example `(,gpt2)/EFI/debian` (the disk it was started from).
///
/// GRUB's own tool makes it, run from the unpacked package: nothing is installed.
///
/// # Errors
/// When the packages cannot be fetched or the tool fails.
pub fn loader(prefix: &str) -> Result<Loader> {
    let images = package::fetch("grub-pc-bin")?;
    let tools = package::fetch("grub-common")?;
    // The one library of grub-mkimage that not every Debian system has.
    let library = package::fetch("libdevmapper1.02.1")?;
    if images.origin.version != tools.origin.version {
        return Err(BuildError::Input(format!(
            "grub-pc-bin is offered as {} and grub-common as {}; run apt-get update",
            images.origin.version, tools.origin.version
        )));
    }
    let folder = images.folder.join("usr/lib/grub/i386-pc");
    let cache = crate::place::cache()?;
    let output = tempfile::NamedTempFile::new_in(&cache).map_err(BuildError::io("create a file in", &cache))?;
    let libraries = ["lib", "usr/lib"].map(|l| library.folder.join(l).join("x86_64-linux-gnu"));
    let libraries = std::env::join_paths(libraries)
        .map_err(|e| BuildError::Input(format!("the path of the build folder has a colon in it: {e}")))?;
    tool::run(
        Command::new(tools.folder.join("usr/bin/grub-mkimage"))
            .env("LD_LIBRARY_PATH", libraries)
            .env("LC_ALL", "C")
            .args(["--format", "i386-pc", "--prefix", prefix, "--directory"])
            .arg(folder)
            .arg("--output")
            .arg(output.path())
            .args(MODULES),
    )?;
    let core = std::fs::read(output.path()).map_err(BuildError::io("read", output.path()))?;
    Ok(Loader { boot: images.read("usr/lib/grub/i386-pc/boot.img")?, core, origin: images.origin })
}

/// Puts GRUB's boot sector into the MBR of a disk with 512-byte sectors and its core image at `at`, the start of its BIOS
/// boot area. The partition table and the disk signature stay.
///
/// The caller has made sure that the area is large enough for the core image.
///
/// # Errors
/// When the files are not GRUB's, or the disk cannot be read or written.
pub fn embed(disk: &mut (impl Read + Write + Seek), boot: &[u8], core: &[u8], at: Lba) -> Result<()> {
    let io = |action| BuildError::io(action, Path::new("the disk"));
    let mut sector = [0; SECTOR];
    disk.seek(SeekFrom::Start(0)).map_err(io("read"))?;
    disk.read_exact(&mut sector).map_err(io("read"))?;
    let (sector, core) = patched(&sector, boot, core, at)?;
    let start =
        at.0.checked_mul(SECTOR as u64).ok_or_else(|| BuildError::Input(format!("no such sector: {}", at.0)))?;
    disk.seek(SeekFrom::Start(start)).map_err(io("write"))?;
    disk.write_all(&core).map_err(io("write"))?;
    // The boot sector last: it points at what must be there.
    disk.seek(SeekFrom::Start(0)).map_err(io("write"))?;
    disk.write_all(&sector).map_err(io("write"))
}

/// The boot sector and the core image as they stand on the disk. `old` is what the disk's first sector holds.
fn patched(old: &[u8; SECTOR], boot: &[u8], core: &[u8], at: Lba) -> Result<([u8; SECTOR], Vec<u8>)> {
    let boot: &[u8; SECTOR] = boot
        .try_into()
        .ok()
        .filter(|b: &&[u8; SECTOR]| b.ends_with(&[0x55, 0xaa]))
        .ok_or_else(|| BuildError::Input(format!("{} bytes are no boot sector of GRUB", boot.len())))?;
    let mut core = core.to_vec();
    core.resize(core.len().next_multiple_of(SECTOR), 0);
    let rest = u16::try_from(core.len() / SECTOR).ok().and_then(|n| n.checked_sub(1)).filter(|n| *n > 0);
    let rest = rest.ok_or_else(|| BuildError::Input(format!("{} bytes are no core image of GRUB", core.len())))?;
    let after = at.0.checked_add(1).ok_or_else(|| BuildError::Input(format!("no such sector: {}", at.0)))?;

    let mut sector = *old;
    sector[..3].copy_from_slice(&boot[..3]);
    sector[AFTER_BPB..CODE_LEN].copy_from_slice(&boot[AFTER_BPB..CODE_LEN]);
    sector[KERNEL_SECTOR..][..8].copy_from_slice(&at.0.to_le_bytes());
    sector[DRIVE_CHECK..][..2].copy_from_slice(&NOPS);
    sector[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);

    core[BLOCK_LIST..][..8].copy_from_slice(&after.to_le_bytes());
    core[BLOCK_LIST + 8..][..2].copy_from_slice(&rest.to_le_bytes());
    core[BLOCK_LIST + 10..][..2].copy_from_slice(&REST_SEGMENT.to_le_bytes());
    Ok((sector, core))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn boot() -> Vec<u8> {
        let mut boot = vec![0x11; SECTOR];
        boot[SECTOR - 2..].copy_from_slice(&[0x55, 0xaa]);
        boot
    }

    #[test]
    fn the_table_and_the_signature_stay() {
        let mut disk = Cursor::new(vec![0x22; SECTOR * 64]);
        embed(&mut disk, &boot(), &[0x33; 1300], Lba(8)).unwrap();
        let disk = disk.into_inner();
        assert_eq!(&disk[..3], &[0x11; 3]);
        assert_eq!(&disk[3..AFTER_BPB], &[0x22; AFTER_BPB - 3]);
        assert_eq!(&disk[KERNEL_SECTOR..][..8], &8_u64.to_le_bytes());
        assert_eq!(&disk[DRIVE_CHECK..][..2], &NOPS);
        assert_eq!(&disk[CODE_LEN..0x1fe], &[0x22; 0x1fe - CODE_LEN]);
        assert_eq!(&disk[0x1fe..0x200], &[0x55, 0xaa]);
        let core = &disk[8 * SECTOR..];
        assert_eq!(&core[0x1f4..0x1fc], &9_u64.to_le_bytes());
        assert_eq!(&core[0x1fc..0x1fe], &2_u16.to_le_bytes());
        assert_eq!(&core[0x1fe..0x200], &REST_SEGMENT.to_le_bytes());
        assert_eq!(&core[0x200..1300], &[0x33; 1300 - 0x200]);
        assert_eq!(&core[1300..1536], &[0; 236]);
        assert_eq!(core[1536], 0x22);
    }

    #[test]
    fn other_files_are_refused() {
        let mut disk = Cursor::new(vec![0; SECTOR * 64]);
        assert!(embed(&mut disk, &[0; 512], &[0; 1300], Lba(8)).is_err());
        assert!(embed(&mut disk, &boot()[..100], &[0; 1300], Lba(8)).is_err());
        assert!(embed(&mut disk, &boot(), &[0; 100], Lba(8)).is_err());
        assert!(embed(&mut disk, &boot(), &[0; 1300], Lba(u64::MAX)).is_err());
        assert!(disk.into_inner().iter().all(|b| *b == 0));
    }
}
