//! The main boot region of an exFAT and its copy (Microsoft "exFAT file system specification", revision 1.00, section 3).

use crate::fs::FsError;
use crate::numbers::{byte, le16, le32, le64};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};

/// `FileSystemName`, behind the jump.
const NAME: &[u8] = b"EXFAT   ";
/// `BootSignature` of a sector.
const SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// Sectors of a boot region: the boot sector, eight more of boot code, one for an OEM, one that is reserved, the checksum.
const REGION: u64 = 12;
/// The first cluster's number.
pub(super) const FIRST_CLUSTER: u32 = 2;
/// `ClusterCount` is at most this: numbers above mark bad clusters and ends.
const MOST_CLUSTERS: u32 = 0xffff_fff5;

/// Bits of `VolumeFlags`.
mod flag {
    pub(super) const ACTIVE_FAT: u16 = 0x1;
    pub(super) const VOLUME_DIRTY: u16 = 0x2;
    pub(super) const MEDIA_FAILURE: u16 = 0x4;
}

/// A boot sector that was judged: where everything lies, in bytes from the start of the volume, all of it inside the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boot {
    /// `VolumeSerialNumber`.
    pub(super) serial: u32,
    /// The allocation tables: one, or two of TexFAT.
    pub(super) fats: Vec<Extent>,
    /// Which of them counts, and which allocation bitmap.
    pub(super) active: usize,
    /// It was in use and not closed.
    pub(super) dirty: bool,
    /// The driver met sectors that it could not read or write.
    pub(super) media_failure: bool,
    /// Bytes per cluster.
    pub(super) cluster_size: u32,
    /// Clusters of the cluster heap.
    pub(super) clusters: u32,
    /// The first cluster of the root directory.
    pub(super) root: u32,
    /// The cluster heap.
    pub(super) heap: Extent,
}

impl Boot {
    /// Where a cluster lies, or `None` where there is no such cluster.
    pub(super) fn cluster(&self, no: u32) -> Option<Extent> {
        self.clusters_at(no, 1)
    }

    /// Where `count` clusters from `first` on lie, or `None` where there are not that many.
    pub(super) fn clusters_at(&self, first: u32, count: u64) -> Option<Extent> {
        let index = u64::from(first.checked_sub(FIRST_CLUSTER)?);
        let size = u64::from(self.cluster_size);
        let inside = index.checked_add(count).is_some_and(|end| end <= u64::from(self.clusters));
        let extent = Extent::new(ByteOffset(self.heap.start().0 + index * size), ByteLen(count.checked_mul(size)?));
        extent.filter(|_| inside)
    }
}

/// Reads the main boot region; `None` where there is none.
///
/// # Errors
/// [`FsError::Corrupt`] where it does not hold together; the text says whether its copy still does. [`FsError::Incompatible`] where it is
/// of a revision that is not known.
pub(super) fn read(bytes: &dyn ReadAt) -> Result<Option<Boot>, FsError> {
    if bytes.size().0 < 512 {
        return Ok(None);
    }
    let head = bytes.read_vec(ByteOffset(0), 512)?;
    if head.get(3..11) != Some(NAME) || head.get(510..512) != Some(&SIGNATURE) {
        return Ok(None);
    }
    match region(bytes, &head, ByteOffset(0)) {
        Err(FsError::Corrupt(why)) => {
            let copy = match backup(bytes) {
                Some(at) => format!("; the copy of it at byte {at} is whole"),
                None => String::new(),
            };
            Err(FsError::Corrupt(format!("its boot region does not hold together: {why}{copy}")))
        }
        other => other.map(Some),
    }
}

/// Where the copy of a boot region stands, behind a first one that is lost. It is whole.
pub(crate) fn backup(bytes: &dyn ReadAt) -> Option<ByteOffset> {
    let whole = |at: &ByteOffset| {
        let head = bytes.read_vec(*at, 512).unwrap_or_default();
        head.get(3..11) == Some(NAME)
            && u64::from(sector(&head).unwrap_or(0)) * REGION == at.0
            && region(bytes, &head, *at).is_ok()
    };
    (9..=12).map(|shift| ByteOffset(REGION << shift)).find(whole)
}

/// Bytes per sector: `BytesPerSectorShift` is from 9 to 12.
fn sector(head: &[u8]) -> Option<u32> {
    let shift = byte(head, 108);
    (9..=12).contains(&shift).then(|| 1 << shift)
}

/// Judges the boot region that begins at `at` with the sector whose first 512 bytes are `head`.
fn region(bytes: &dyn ReadAt, head: &[u8], at: ByteOffset) -> Result<Boot, FsError> {
    let corrupt = |why: String| FsError::Corrupt(why);
    let sector = u64::from(sector(head).ok_or_else(|| corrupt(format!("sectors of 2^{} bytes", byte(head, 108))))?);
    let len = ByteLen(sector * REGION).to_usize().unwrap_or(0);
    if at.0.saturating_add(sector * REGION) > bytes.size().0 {
        return Err(corrupt("it does not fit the volume".to_owned()));
    }
    let region = bytes.read_vec(at, len)?;
    let (summed, check) = region.split_at(len - len / 12);
    let sum = checksum(summed);
    // Section 3.4: the last sector is filled with it.
    if let Some(other) = check.as_chunks::<4>().0.iter().map(|c| u32::from_le_bytes(*c)).find(|c| *c != sum) {
        return Err(corrupt(format!("its checksum is {sum:#010x}, not {other:#010x} as it says")));
    }
    parse(head, sector, bytes.size())
}

/// Section 3.4, without `VolumeFlags` and `PercentInUse`, which change.
fn checksum(sectors: &[u8]) -> u32 {
    let counted = sectors.iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
    counted.fold(0u32, |sum, (_, b)| sum.rotate_right(1).wrapping_add(u32::from(*b)))
}

fn parse(b: &[u8], sector: u64, size: ByteLen) -> Result<Boot, FsError> {
    // Names as in the specification.
    let volume_length = le64(b, 72);
    let fat_offset = u64::from(le32(b, 80));
    let fat_length = u64::from(le32(b, 84));
    let cluster_heap_offset = u64::from(le32(b, 88));
    let cluster_count = le32(b, 92);
    let root = le32(b, 96);
    let revision = le16(b, 104);
    let volume_flags = le16(b, 106);
    let per_cluster_shift = byte(b, 109);
    let number_of_fats = byte(b, 110);

    if revision >> 8 != 1 {
        return Err(FsError::Incompatible(format!("an exFAT of revision {}.{:02}", revision >> 8, revision & 0xff)));
    }
    let corrupt = |why: String| Err(FsError::Corrupt(why));
    // Clusters have at most 32 MiB.
    if sector << per_cluster_shift.min(63) > 32 << 20 || per_cluster_shift > 25 {
        return corrupt(format!("clusters of 2^{per_cluster_shift} sectors"));
    }
    let cluster_size = u32::try_from(sector << per_cluster_shift).unwrap_or(u32::MAX);
    if volume_length.checked_mul(sector).is_none_or(|len| len > size.0) {
        return corrupt(format!("{volume_length} sectors of {sector} bytes, on a volume of {}", size.0));
    }
    if !(1..=2).contains(&number_of_fats) || fat_offset < 2 * REGION {
        return corrupt(format!("{number_of_fats} allocation tables from sector {fat_offset} on"));
    }
    // All factors are below 2^33: nothing overflows.
    let fats_end = fat_offset + fat_length * u64::from(number_of_fats);
    if fat_length * sector / 4 < u64::from(cluster_count) + 2 || fats_end > cluster_heap_offset {
        return corrupt(format!("allocation tables of {fat_length} sectors before sector {cluster_heap_offset}"));
    }
    let heap = u64::from(cluster_count) * u64::from(cluster_size);
    if cluster_count == 0
        || cluster_count > MOST_CLUSTERS
        || cluster_heap_offset * sector + heap > volume_length * sector
    {
        return corrupt(format!("{cluster_count} clusters in {volume_length} sectors"));
    }
    if root.checked_sub(FIRST_CLUSTER).is_none_or(|index| index >= cluster_count) {
        return corrupt(format!("a root directory in cluster {root} of {cluster_count}"));
    }
    let active = usize::from(volume_flags & flag::ACTIVE_FAT);
    if active >= usize::from(number_of_fats) {
        return corrupt(format!("allocation table {active} of {number_of_fats}"));
    }
    let extent = |from: u64, len: u64| Extent::new(ByteOffset(from), ByteLen(len)).unwrap_or_default();
    let fat = |n: u8| extent((fat_offset + fat_length * u64::from(n)) * sector, fat_length * sector);
    Ok(Boot {
        serial: le32(b, 100),
        fats: (0..number_of_fats).map(fat).collect(),
        active,
        dirty: volume_flags & flag::VOLUME_DIRTY != 0,
        media_failure: volume_flags & flag::MEDIA_FAILURE != 0,
        cluster_size,
        clusters: cluster_count,
        root,
        heap: extent(cluster_heap_offset * sector, heap),
    })
}
