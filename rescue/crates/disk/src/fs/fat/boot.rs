//! The boot sector of a FAT file system (Microsoft "FAT32 File System Specification" 1.03; judged as kernel
//! `fs/fat/inode.c`, `fat_read_bpb` and `fat_fill_super` do).

use super::super::FsError;
use model::inspection::FatInfo;
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent};

/// FAT12 has at most this many clusters (kernel `MAX_FAT12`).
const MAX_FAT12: u64 = 0xff4;
/// FAT16 and FAT32 likewise.
const MAX_FAT16: u64 = 0xfff4;
const MAX_FAT32: u64 = 0x0fff_fff6;
/// The first two entries of a FAT belong to no cluster.
pub(super) const FIRST_CLUSTER: u32 = 2;
/// The most bytes of a root directory that are searched for a label.
const MOST_ROOT: u64 = 2 << 20;

/// Where everything lies, in bytes from the start of the volume. All of it inside the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Geometry {
    /// 12, 16 or 32.
    pub width: u8,
    pub cluster_size: u32,
    pub clusters: u32,
    /// The copies of the allocation table.
    pub fats: Vec<Extent>,
    /// Which of them counts, and whether the others mirror it.
    pub active: usize,
    pub mirrored: bool,
    /// FAT12 and FAT16: the root directory. Empty for FAT32.
    pub root: Extent,
    /// FAT32: first cluster of the root directory.
    pub root_cluster: u32,
    /// Where the clusters begin, and where they end.
    pub data: Extent,
}

impl Geometry {
    /// Where a cluster lies, or `None` where there is no such cluster.
    pub(super) fn cluster(&self, no: u32) -> Option<Extent> {
        let index = no.checked_sub(FIRST_CLUSTER).filter(|i| *i < self.clusters)?;
        let size = u64::from(self.cluster_size);
        Extent::new(ByteOffset(self.data.start().0 + u64::from(index) * size), ByteLen(size))
    }

    /// The cluster that begins at a place of the data; `None` where none does.
    pub(super) fn number(&self, place: Extent) -> Option<u32> {
        let index = place.start().0.checked_sub(self.data.start().0)? / u64::from(self.cluster_size);
        u32::try_from(index).ok().filter(|i| *i < self.clusters).map(|i| i + FIRST_CLUSTER)
    }

    /// Byte offset in the volume of the entry of a cluster in copy `copy` of the table (FAT12: of the byte it begins in).
    pub(super) fn entry_at(&self, copy: usize, cluster: u32) -> u64 {
        self.fats[copy].start().0 + u64::from(cluster) * u64::from(self.width) / 8
    }

    /// The entry of a cluster in the copy that counts.
    pub(super) fn entry(&self, bytes: &dyn ReadAt, cluster: u32) -> Result<u32, FsError> {
        let at = ByteOffset(self.entry_at(self.active, cluster));
        Ok(match self.width {
            12 => {
                let b = bytes.read_vec(at, 2)?;
                let both = u32::from(b[0]) | u32::from(b[1]) << 8;
                if cluster % 2 == 1 { both >> 4 } else { both & 0xfff }
            }
            16 => bytes.read_vec(at, 2)?.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b)),
            _ => bytes.read_vec(at, 4)?.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b)) & 0x0fff_ffff,
        })
    }
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// A boot sector that was judged.
pub(super) struct Boot {
    pub geometry: Geometry,
    /// The facts; the label is that of the boot sector.
    pub info: FatInfo,
}

/// True where a sector says in words that it is a FAT boot sector.
fn says_fat(b: &[u8]) -> bool {
    b[54..57] == *b"FAT" || b[82..87] == *b"FAT32"
}

/// Reads a boot sector at `at` for a volume of `size` bytes; `None` where there is none.
pub(super) fn read(bytes: &dyn ReadAt, at: ByteOffset) -> Result<Option<Boot>, FsError> {
    let size = bytes.size();
    if size.0 < at.0 + 512 {
        return Ok(None);
    }
    let b = bytes.read_vec(at, 512)?;
    let jump = matches!(b[0], 0xeb | 0xe9);
    if b[510..512] != [0x55, 0xaa] || !(jump || says_fat(&b)) {
        return Ok(None);
    }
    match parse(&b, size) {
        Ok(boot) => Ok(Some(boot)),
        // Without its name, numbers that make no sense are just somebody else's boot sector.
        Err(_) if !says_fat(&b) => Ok(None),
        Err(why) => Err(FsError::Corrupt(format!("its boot sector does not hold together: {why}"))),
    }
}

fn parse(b: &[u8], size: ByteLen) -> Result<Boot, String> {
    // Names as in the specification.
    let byts_per_sec = u64::from(u16_at(b, 11));
    let sec_per_clus = u64::from(b[13]);
    let rsvd_sec_cnt = u64::from(u16_at(b, 14));
    let num_fats = u64::from(b[16]);
    let root_ent_cnt = u64::from(u16_at(b, 17));
    let tot_sec = if u16_at(b, 19) != 0 { u64::from(u16_at(b, 19)) } else { u64::from(u32_at(b, 32)) };
    let media = b[21];
    let fat32 = u16_at(b, 22) == 0;
    let fat_sz = if fat32 { u64::from(u32_at(b, 36)) } else { u64::from(u16_at(b, 22)) };

    if !(512..=4096).contains(&byts_per_sec) || !byts_per_sec.is_power_of_two() {
        return Err(format!("sectors of {byts_per_sec} bytes"));
    }
    if !sec_per_clus.is_power_of_two() {
        return Err(format!("clusters of {sec_per_clus} sectors"));
    }
    if rsvd_sec_cnt == 0 || !(1..=2).contains(&num_fats) || fat_sz == 0 {
        return Err(format!("{rsvd_sec_cnt} reserved sectors, {num_fats} allocation tables of {fat_sz} sectors"));
    }
    if !(media >= 0xf8 || media == 0xf0) {
        return Err(format!("media byte {media:#04x}"));
    }
    if root_ent_cnt * 32 % byts_per_sec != 0 || (fat32 && root_ent_cnt != 0) {
        return Err(format!("{root_ent_cnt} entries of a root directory"));
    }
    // All factors are below 2^32 times 2^12: nothing overflows.
    let root_sec = root_ent_cnt * 32 / byts_per_sec;
    let first_data_sec = rsvd_sec_cnt + num_fats * fat_sz + root_sec;
    let data_sec = tot_sec.saturating_sub(first_data_sec);
    let mut clusters = data_sec / sec_per_clus;
    if clusters == 0 {
        return Err(format!("{tot_sec} sectors, of which {first_data_sec} come before the first cluster"));
    }
    let width: u8 = match clusters {
        _ if fat32 => 32,
        n if n > MAX_FAT12 => 16,
        _ => 12,
    };
    // The kernel takes what the table has room for.
    clusters = clusters.min((fat_sz * byts_per_sec * 8 / u64::from(width)).saturating_sub(2));
    let most = match width {
        12 => MAX_FAT12,
        16 => MAX_FAT16,
        _ => MAX_FAT32,
    };
    if clusters == 0 || clusters > most {
        return Err(format!("{clusters} clusters in FAT{width}"));
    }
    if tot_sec * byts_per_sec > size.0 {
        return Err(format!("{} bytes long, on a volume of {}", tot_sec * byts_per_sec, size.0));
    }
    let root_cluster = if fat32 { u32_at(b, 44) } else { 0 };
    if fat32 && !(2..clusters + 2).contains(&u64::from(root_cluster)) {
        return Err(format!("a root directory in cluster {root_cluster} of {clusters}"));
    }
    let flags = if fat32 { u16_at(b, 40) } else { 0 };
    let active = usize::from(flags & 0xf);
    let mirrored = flags & 0x80 == 0;
    if !mirrored && active as u64 >= num_fats {
        return Err(format!("allocation table {active} of {num_fats}"));
    }
    let sectors = |from: u64, n: u64| {
        Extent::new(ByteOffset(from * byts_per_sec), ByteLen(n * byts_per_sec)).ok_or("its end overflows")
    };
    let fats = (0..num_fats).map(|i| sectors(rsvd_sec_cnt + i * fat_sz, fat_sz)).collect::<Result<Vec<_>, _>>()?;
    let clusters_u32 = u32::try_from(clusters).map_err(|_| format!("{clusters} clusters"))?;
    let cluster_size = u32::try_from(sec_per_clus * byts_per_sec).map_err(|_| "its cluster size".to_owned())?;
    // What follows the head differs in place: physical drive number, flags, extended boot signature, id, label, type.
    let tail = if fat32 { 64 } else { 36 };
    let extended = matches!(b[tail + 2], 0x28 | 0x29);
    let id = u32_at(b, tail + 3);
    let label =
        if extended && b[tail + 2] == 0x29 { label_text(&b[tail + 7..tail + 18]) } else { DisplayText::default() };
    Ok(Boot {
        geometry: Geometry {
            width,
            cluster_size,
            clusters: clusters_u32,
            fats,
            active: if mirrored { 0 } else { active },
            mirrored,
            root: sectors(rsvd_sec_cnt + num_fats * fat_sz, root_sec)?,
            root_cluster,
            data: sectors(first_data_sec, clusters * sec_per_clus)?,
        },
        info: FatInfo {
            width,
            volume_id: if extended { format!("{:04X}-{:04X}", id >> 16, id & 0xffff) } else { String::new() },
            label,
            cluster_size,
            clusters: clusters_u32,
            dirty: b[tail + 1] & 1 != 0,
        },
    })
}

/// A padded label; `NO NAME` is how none is written.
fn label_text(raw: &[u8]) -> DisplayText {
    let end = raw.iter().rposition(|b| *b != b' ' && *b != 0).map_or(0, |i| i + 1);
    if raw[..end] == *b"NO NAME" { DisplayText::default() } else { DisplayText::from_bytes(&raw[..end]) }
}

/// The label entry of the root directory, where it has one.
pub(super) fn root_label(bytes: &dyn ReadAt, g: &Geometry) -> Result<Option<DisplayText>, FsError> {
    let mut left = MOST_ROOT;
    let mut place = if g.width == 32 { g.cluster(g.root_cluster) } else { Some(g.root) };
    let mut cluster = g.root_cluster;
    while let Some(extent) = place {
        let len = extent.len().0.min(left);
        let piece = bytes.read_vec(extent.start(), ByteLen(len).to_usize().unwrap_or(0))?;
        for entry in piece.chunks_exact(32) {
            match entry[0] {
                0 => return Ok(None),
                0xe5 => {}
                // Volume label set, and not the mark of a long name.
                _ if entry[11] & 0x3f != 0x0f && entry[11] & 0x08 != 0 => return Ok(Some(label_text(&entry[..11]))),
                _ => {}
            }
        }
        left -= len;
        if g.width != 32 || left == 0 {
            break;
        }
        cluster = g.entry(bytes, cluster)?;
        place = g.cluster(cluster);
    }
    Ok(None)
}
