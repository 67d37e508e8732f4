//! The boot sector of an NTFS and its copy in the volume's last sector (Microsoft "NTFS boot sector", as the kernel's
//! `fs/ntfs3/ntfs.h`, `struct NTFS_BOOT`, has it; judged as `fs/ntfs3/super.c`, `ntfs_init_from_boot`, does).

use crate::fs::FsError;
use crate::numbers::{byte, le16, le32, le64};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};

/// `system_id`.
const NAME: &[u8] = b"NTFS    ";
/// `boot_magic`.
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// The smallest and largest cluster that Windows formats with.
const CLUSTERS: std::ops::RangeInclusive<u64> = 512..=2 << 20;
/// Sizes of records of the MFT that Windows formats with, and of blocks of an index.
const RECORDS: std::ops::RangeInclusive<u32> = 1024..=4096;
const INDEX_BLOCKS: std::ops::RangeInclusive<u32> = 512..=64 << 10;

/// A boot sector that was judged. Clusters are counted from the start of the volume, and all of them lie inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boot {
    /// `serial_num`.
    pub(super) serial: u64,
    /// Bytes per cluster.
    pub(super) cluster_size: u32,
    /// Whole clusters.
    pub(super) clusters: u64,
    /// `mft_clst`: where the MFT begins.
    pub(super) mft: u64,
    /// `mft2_clst`: where the copy of its first records does.
    pub(super) mirror: u64,
    /// Bytes per record of the MFT.
    pub(super) record_size: u32,
    /// Bytes per block of an index.
    pub(super) index_size: u32,
    /// `sectors_per_volume`, in bytes: its copy is the sector behind that.
    pub(super) len: u64,
}

impl Boot {
    /// Where `count` clusters from `first` on lie, or `None` where there are not that many.
    pub(super) fn clusters_at(&self, first: u64, count: u64) -> Option<Extent> {
        let inside = first.checked_add(count).is_some_and(|end| end <= self.clusters);
        let size = u64::from(self.cluster_size);
        // Inside the volume nothing overflows.
        inside.then(|| Extent::new(ByteOffset(first * size), ByteLen(count * size))).flatten()
    }
}

/// Reads the boot sector; `None` where there is none.
///
/// # Errors
/// [`FsError::Corrupt`] where it does not hold together; the text says whether its copy still does. [`FsError::Incompatible`] where its
/// sizes are out of the range that is documented.
pub(super) fn read(bytes: &dyn ReadAt) -> Result<Option<Boot>, FsError> {
    if bytes.size().0 < 512 {
        return Ok(None);
    }
    let head = bytes.read_vec(ByteOffset(0), 512)?;
    if !is_one(&head) {
        return Ok(None);
    }
    match parse(&head, bytes.size()) {
        Err(FsError::Corrupt(why)) => {
            let copy = match backup(bytes) {
                Some(at) => format!("; the copy of it at byte {at} is whole"),
                None => String::new(),
            };
            Err(FsError::Corrupt(format!("its boot sector does not hold together: {why}{copy}")))
        }
        other => other.map(Some),
    }
}

fn is_one(head: &[u8]) -> bool {
    head.get(3..11) == Some(NAME) && head.get(510..512) == Some(&SIGNATURE)
}

/// Where the copy of a boot sector stands, behind a first one that is lost. It is whole, and says that it belongs there.
pub(crate) fn backup(bytes: &dyn ReadAt) -> Option<ByteOffset> {
    let size = bytes.size();
    let places = [512, 1024, 2048, 4096].into_iter().filter_map(|sector| size.0.checked_sub(sector));
    places.map(ByteOffset).find(|at| {
        let head = bytes.read_vec(*at, 512).unwrap_or_default();
        is_one(&head) && parse(&head, size).is_ok_and(|boot| boot.len == at.0)
    })
}

fn parse(b: &[u8], size: ByteLen) -> Result<Boot, FsError> {
    let sector = u64::from(le16(b, 11));
    let per_cluster = byte(b, 13);
    let sectors = le64(b, 40);

    let corrupt = |why: String| Err(FsError::Corrupt(why));
    if !(512..=4096).contains(&sector) || !sector.is_power_of_two() {
        return corrupt(format!("sectors of {sector} bytes"));
    }
    // What FAT has there is zero: reserved sectors, tables, root entries, sectors, sectors per table, large sectors.
    if le16(b, 14) != 0
        || byte(b, 16) != 0
        || le16(b, 17) != 0
        || le16(b, 19) != 0
        || le16(b, 22) != 0
        || le32(b, 32) != 0
    {
        return corrupt("fields that only FAT has are not zero".to_owned());
    }
    // Up to 128 as a number; above that as the power of two that it lacks to 256 (Windows 10 and later).
    let factor = match per_cluster {
        1..=0x80 if per_cluster.is_power_of_two() => u64::from(per_cluster),
        0xe1..=0xff => 1 << (256 - u32::from(per_cluster)),
        _ => return corrupt(format!("clusters of {per_cluster:#04x} sectors")),
    };
    let cluster = sector * factor;
    if !CLUSTERS.contains(&cluster) {
        return Err(FsError::Incompatible(format!("an NTFS with clusters of {cluster} bytes")));
    }
    let len = sectors.checked_mul(sector).filter(|len| *len > 0 && *len <= size.0);
    let Some(len) = len else {
        return corrupt(format!("{sectors} sectors of {sector} bytes, on a volume of {}", size.0));
    };
    let clusters = len / cluster;
    let (mft, mirror) = (le64(b, 48), le64(b, 56));
    if mft >= clusters || mirror >= clusters || mft == 0 {
        return corrupt(format!("an MFT in cluster {mft}, its copy in {mirror}, of {clusters}"));
    }
    let [record_size, index_size] = [64, 68].map(|at| size_of(byte(b, at), cluster));
    let (Some(record_size), Some(index_size)) = (record_size, index_size) else {
        return corrupt(format!("records of {:#04x} and index blocks of {:#04x}", byte(b, 64), byte(b, 68)));
    };
    if !RECORDS.contains(&record_size) || !INDEX_BLOCKS.contains(&index_size) {
        let says = format!("an NTFS with records of {record_size} bytes and index blocks of {index_size}");
        return Err(FsError::Incompatible(says));
    }
    let cluster_size = u32::try_from(cluster).unwrap_or(u32::MAX);
    Ok(Boot { serial: le64(b, 72), cluster_size, clusters, mft, mirror, record_size, index_size, len })
}

/// A size that is given in clusters, or, below zero, as the power of two of bytes.
fn size_of(raw: u8, cluster: u64) -> Option<u32> {
    let size = match raw.cast_signed() {
        clusters @ 1.. => u64::from(clusters.unsigned_abs()).checked_mul(cluster)?,
        power @ -31..=-1 => 1 << power.unsigned_abs(),
        _ => return None,
    };
    u32::try_from(size).ok().filter(|size| size.is_power_of_two())
}
