//! Things that are recognised by a signature and not read further.

use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::ByteOffset;

/// A signature at a fixed place from the start of the volume.
struct Mark {
    name: &'static str,
    at: u64,
    bytes: &'static [u8],
}

const fn mark(name: &'static str, at: u64, bytes: &'static [u8]) -> Mark {
    Mark { name, at, bytes }
}

/// Kernel and format documents name them: the OEM names of NTFS, exFAT, ReFS and BitLocker,
/// LUKS_MAGIC, LVM2 label (one of the first four sectors), md version 1.1 and 1.2, SQUASHFS_MAGIC, ISO 9660 volume descriptor,
/// F2FS_SUPER_MAGIC, EROFS_SUPER_MAGIC_V1, HFS+, APFS container, bcache.
const MARKS: [Mark; 19] = [
    mark("ntfs", 3, b"NTFS    "),
    mark("exfat", 3, b"EXFAT   "),
    mark("refs", 3, b"ReFS\0\0\0\0"),
    mark("bitlocker", 3, b"-FVE-FS-"),
    mark("luks", 0, b"LUKS\xba\xbe"),
    mark("lvm2", 0, b"LABELONE"),
    mark("lvm2", 512, b"LABELONE"),
    mark("lvm2", 1024, b"LABELONE"),
    mark("lvm2", 1536, b"LABELONE"),
    mark("md", 0, MD),
    mark("md", 4096, MD),
    mark("squashfs", 0, b"hsqs"),
    mark("iso9660", 32_769, b"CD001"),
    mark("f2fs", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    mark("erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    mark("hfsplus", 1024, b"H+\0\x04"),
    mark("hfsplus", 1024, b"HX\0\x05"),
    mark("apfs", 32, b"NXSB"),
    mark("bcache", 4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf7\x7f\x48\xba\x6d\x81"),
];

/// `MD_SB_MAGIC`, little-endian.
const MD: &[u8] = &[0xfc, 0x4e, 0x2b, 0xa9];

/// What the volume's beginning says it is.
pub(super) fn at_start(bytes: &dyn ReadAt) -> Result<Option<&'static str>, FsError> {
    for m in &MARKS {
        if bytes.size().0 >= m.at + m.bytes.len() as u64 && bytes.read_vec(ByteOffset(m.at), m.bytes.len())? == m.bytes
        {
            return Ok(Some(m.name));
        }
    }
    Ok(None)
}

/// A member of an md array whose superblock stands at the end (version 1.0 and 0.90), so that what is on the array begins at
/// the volume's first byte (kernel `drivers/md/md.c`, `super_1_load` and `calc_dev_sboffset`).
pub(super) fn at_end(bytes: &dyn ReadAt) -> Result<Option<&'static str>, FsError> {
    let sectors = bytes.size().0 / 512;
    if let Some(at) = sectors.checked_sub(16).map(|s| s & !7) {
        let sb = bytes.read_vec(ByteOffset(at * 512), 256)?;
        let major = u32::from_le_bytes(sb[4..8].try_into().expect("four bytes"));
        let offset = u64::from_le_bytes(sb[144..152].try_into().expect("eight bytes"));
        if sb.starts_with(MD) && major == 1 && offset == at {
            return Ok(Some("md"));
        }
    }
    if let Some(at) = (sectors & !127).checked_sub(128) {
        let sb = bytes.read_vec(ByteOffset(at * 512), 12)?;
        if sb.starts_with(MD) && sb[4..12] == [0, 0, 0, 0, 90, 0, 0, 0] {
            return Ok(Some("md"));
        }
    }
    Ok(None)
}
