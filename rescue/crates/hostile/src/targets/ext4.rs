//! ext2, ext3 and ext4: everything that is asked of them, their journals worked in, against the state before.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::image::Image;
use crate::sums::{Sum, crc32c_from};
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "ext4",
    meets: "ext2, ext3, ext4: superblock, groups, inodes, maps, directories, attributes, journal; coverage, changes, losses, differences",
    run,
    seeds: || seeds(&BASES),
};

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kept: [&[u8]; 7] = [
        include_bytes!("../../bases/ext4.zst"),
        include_bytes!("../../bases/ext4-plain.zst"),
        include_bytes!("../../bases/ext4-4k.zst"),
        include_bytes!("../../bases/ext4-groups.zst"),
        include_bytes!("../../bases/ext4-clusters.zst"),
        include_bytes!("../../bases/ext3.zst"),
        include_bytes!("../../bases/ext2.zst"),
    ];
    kept.into_iter().map(|kept| base(Image::unpack(kept))).collect()
});

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    crate::files::look(&changed.image, &changed.base.image, changed.flags);
}

/// Where the superblock is (kernel `fs/ext4/ext4.h`, `struct ext4_super_block`).
const SB: u64 = 1024;
const JOURNAL_MAGIC: u64 = 0xc03b_3998;

/// What of an image says how it is laid out.
struct Layout {
    block: u64,
    seed: u32,
    /// Where the descriptor of each group is.
    groups: Vec<u64>,
    desc_size: u64,
    blocks_per_group: u64,
    inodes_per_group: u64,
    inode_size: u64,
    /// Bytes of a cluster.
    cluster: u64,
}

impl Layout {
    fn of(image: &Image) -> Self {
        let block = 1024 << image.le(SB + 0x18, 4);
        let (first, blocks, per_group) = (image.le(SB + 0x14, 4), image.le(SB + 4, 4), image.le(SB + 0x20, 4));
        let incompat = image.le(SB + 0x60, 4);
        let desc_size = if incompat & 0x80 == 0 { 32 } else { image.le(SB + 0xfe, 2) };
        let meta_bg = incompat & 0x10 != 0;
        let in_block = block / desc_size;
        let count = (blocks - first).div_ceil(per_group);
        let groups = (0..count).map(|g| match meta_bg {
            false => (first + 1) * block + g * desc_size,
            // The first of a group of groups has their descriptors; its first block is a copy of the superblock where it is group 0, 1
            // or a power of 3, 5, 7: the sums that do not hold are dropped.
            true => {
                let leader = g / in_block * in_block;
                (first + leader * per_group + 1) * block + g % in_block * desc_size
            }
        });
        Self {
            block,
            seed: crc32c_from(!0, &image.get(SB + 0x68, 16)),
            groups: groups.collect(),
            desc_size,
            blocks_per_group: per_group,
            inodes_per_group: image.le(SB + 0x28, 4),
            inode_size: image.le(SB + 0x58, 2).max(128),
            cluster: 1024 << image.le(SB + 0x1c, 4),
        }
    }
}

fn base(image: Image) -> Base {
    let layout = Layout::of(&image);
    let mut places = vec![(SB, 0x280), (SB, 0x70)];
    let mut sums = Vec::new();
    let mut seeds = Vec::new();
    for (number, at) in (0u32..).zip(&layout.groups) {
        places.push((*at, layout.desc_size));
        let table = image.le(at + 8, 4) * layout.block;
        for nth in 0..layout.inodes_per_group {
            let inode = table + nth * layout.inode_size;
            if image.get(inode, 128).iter().all(|b| *b == 0) {
                continue;
            }
            let number = u64::from(number) * layout.inodes_per_group + nth + 1;
            let seed = inode_seed(&image, layout.seed, number, inode);
            seeds.push(seed);
            places.push((inode, layout.inode_size));
            let fields = if layout.inode_size > 128 {
                vec![(inode + 0x7c, 2), (inode + 0x82, 2)]
            } else {
                vec![(inode + 0x7c, 2)]
            };
            sums.push(Sum::new(vec![(inode, layout.inode_size)], fields, le(seed)));
        }
    }
    blocks(&image, layout.block, &seeds, &mut places, &mut sums);
    journal(&image, layout.block, &mut places, &mut sums);
    for (number, at) in (0u32..).zip(&layout.groups) {
        let bitmap = |field: u64, bits: u64| (image.le(at + field, 4) * layout.block, bits / 8);
        let clusters = layout.blocks_per_group * layout.block / layout.cluster;
        for (of, low, high) in [(bitmap(0, clusters), 0x18, 0x38), (bitmap(4, layout.inodes_per_group), 0x1a, 0x3a)] {
            places.push(of);
            let fields = if layout.desc_size >= 64 { vec![(at + low, 2), (at + high, 2)] } else { vec![(at + low, 2)] };
            sums.push(Sum::new(vec![of], fields, le(layout.seed)));
        }
        let seed = crc32c_from(layout.seed, &number.to_le_bytes());
        sums.push(Sum::new(vec![(*at, layout.desc_size)], vec![(at + 0x1e, 2)], le(seed)));
    }
    sums.push(Sum::new(vec![(SB, 1020)], vec![(SB + 1020, 4)], le(!0)));
    Base::new(image, places, sums)
}

/// The CRC-32C from a seed, little-endian; a field that is shorter has its lower half.
fn le(seed: u32) -> impl Fn(&[u8]) -> Vec<u8> + Send + Sync {
    move |bytes| crc32c_from(seed, bytes).to_le_bytes().to_vec()
}

fn be(seed: u32) -> impl Fn(&[u8]) -> Vec<u8> + Send + Sync {
    move |bytes| crc32c_from(seed, bytes).to_be_bytes().to_vec()
}

/// What the blocks of an inode are summed from: its number and generation.
fn inode_seed(image: &Image, seed: u32, number: u64, inode: u64) -> u32 {
    let number = u32::try_from(number).unwrap_or(0);
    crc32c_from(crc32c_from(seed, &number.to_le_bytes()), &image.get(inode + 0x64, 4))
}

/// Directories and nodes of maps: whose they are is found by whose sum holds.
fn blocks(image: &Image, block: u64, seeds: &[u32], places: &mut Vec<(u64, u64)>, sums: &mut Vec<Sum>) {
    let whole: Vec<u64> = image
        .blocks()
        .flat_map(|at| (at..at + 4096).step_by(usize::try_from(block.min(4096)).unwrap_or(4096)))
        .collect();
    for at in whole {
        let bytes = image.get(at, usize::try_from(block).unwrap_or(0));
        let tail = bytes.len() - 12;
        let is_node = bytes.starts_with(&[0x0a, 0xf3]);
        // `.` of 12 bytes and `..`, or the tail with a sum.
        let is_dir = bytes[4..7] == [12, 0, 1] || bytes[tail..tail + 8] == [0, 0, 0, 0, 12, 0, 0, 0xde];
        let cover = match is_node {
            true => 12 * (1 + image.le(at + 4, 2)),
            false => tail as u64,
        };
        if is_node || is_dir {
            places.push((at, block));
            places.push((at, 64));
            let field = if is_node { at + cover } else { at + cover + 8 };
            sums.extend(
                seeds
                    .iter()
                    .map(|seed| Sum::new(vec![(at, cover)], vec![(field, 4)], le(*seed)))
                    .filter(|s| s.holds(image)),
            );
        }
    }
}

/// The log (kernel `include/linux/jbd2.h`), as far as it lies in one piece: what was logged, what says so, and its superblock.
fn journal(image: &Image, block: u64, places: &mut Vec<(u64, u64)>, sums: &mut Vec<Sum>) {
    let aligned = |at: &u64| at.is_multiple_of(block) && image.be(*at, 4) == JOURNAL_MAGIC && image.be(at + 4, 4) == 4;
    let step = usize::try_from(block.min(4096)).unwrap_or(4096);
    let Some(start) = image.blocks().flat_map(|at| (at..at + 4096).step_by(step)).find(aligned) else { return };
    let (count, incompat) = (image.be(start + 0x10, 4), image.be(start + 0x28, 4));
    let seed = crc32c_from(!0, &image.get(start + 0x30, 16));
    places.push((start, 0x100));
    for at in (1..count).map(|n| start + n * block).filter(|at| image.be(*at, 4) == JOURNAL_MAGIC) {
        places.push((at, block));
        places.push((at, 64));
        match image.be(at + 4, 4) {
            1 => {
                // Tags of version 3 (`journal_block_tag3_s`).
                let sequence = crc32c_from(seed, &image.get(at + 8, 4));
                let mut tag = at + 12;
                for nth in 1..=count {
                    if incompat & 0x10 == 0 || tag + 16 > at + block - 4 {
                        break;
                    }
                    places.push((tag, 16));
                    sums.push(Sum::new(vec![(at + nth * block, block)], vec![(tag + 12, 4)], be(sequence)));
                    let flags = image.be(tag + 4, 4);
                    tag += if flags & 2 == 0 { 32 } else { 16 };
                    if flags & 8 != 0 {
                        break;
                    }
                }
                sums.push(Sum::new(vec![(at, block)], vec![(at + block - 4, 4)], be(seed)));
            }
            2 => sums.push(Sum::new(vec![(at, block)], vec![(at + 0x10, 4)], be(seed))),
            _ => sums.push(Sum::new(vec![(at, block)], vec![(at + block - 4, 4)], be(seed))),
        }
    }
    sums.push(Sum::new(vec![(start, 1024)], vec![(start + 0xfc, 4)], be(!0)));
}

#[cfg(test)]
mod tests {
    #[test]
    fn checksums_of_every_kind_are_known() {
        // Superblock, groups, bitmaps, inodes, directories, nodes of maps, the log.
        let sums: Vec<usize> = super::BASES.iter().map(crate::changes::Base::sums).collect();
        assert!(sums[0] > 150 && sums[2] > 150 && sums[3] > 150, "{sums:?}");
        assert_eq!(sums[6], 0, "ext2 has none");
    }
}
