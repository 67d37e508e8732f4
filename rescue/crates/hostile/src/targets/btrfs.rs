//! btrfs: everything that is asked of it, its log of trees worked in, compressed extents read.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::image::Image;
use crate::sums::{Sum, usual_crc32c};
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "btrfs",
    meets: "btrfs: superblocks, chunks, trees, log, zlib, lzo and zstd; coverage, changes, losses, differences",
    run,
    seeds: || seeds(&BASES),
};

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kept: [&[u8]; 3] = [
        include_bytes!("../../../disk/tests/fixtures/btrfs/today.img.zst"),
        include_bytes!("../../../disk/tests/fixtures/btrfs/mixed.img.zst"),
        include_bytes!("../../../disk/tests/fixtures/btrfs/before.img.zst"),
    ];
    kept.into_iter().map(|kept| base(Image::unpack(kept))).collect()
});

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    crate::files::look(&changed.image, &changed.base.image, changed.flags);
}

/// Most blocks of data that are places.
const MOST_DATA: usize = 300;
/// Where superblocks stand (btrfs on-disk format: "Superblock").
const SUPERBLOCKS: [u64; 2] = [64 << 10, 64 << 20];

/// The superblocks and every tree block: what carries the identity of the file system and whose sum holds.
fn base(image: Image) -> Base {
    let first = SUPERBLOCKS[0];
    let (fsid, node) = (image.get(first + 0x20, 16), image.le(first + 0x94, 4));
    let (mut places, mut sums) = (Vec::new(), Vec::new());
    for at in SUPERBLOCKS.into_iter().filter(|at| at + 4096 <= image.len()) {
        // The system's chunks stand in it too.
        places.extend([(at + 0x20, 0x120), (at + 0x32b, 256), (at + 0x20, 4064)]);
        sums.push(Sum::new(vec![(at + 32, 4064)], vec![(at, 4)], usual_crc32c));
    }
    let blocks: Vec<u64> =
        image.blocks().filter(|at| !SUPERBLOCKS.contains(at) && image.get(at + 0x20, 16) == fsid).collect();
    for at in blocks {
        let sum = Sum::new(vec![(at + 32, node - 32)], vec![(at, 4)], usual_crc32c);
        if sum.holds(&image) {
            // Header, keys and the ends of leaves are where it matters. The same place of a file's data is hit by none of these.
            places.extend([(at + 0x50, 0x15), (at + 0x65, 400), (at + node - 800, 800), (at + 32, node - 32)]);
            sums.push(sum);
        } else {
            places.push((at, 4096));
        }
    }
    // What files hold: compressed extents among it.
    places.extend(image.blocks().filter(|at| image.get(at + 0x20, 16) != fsid).take(MOST_DATA).map(|at| (at, 4096)));
    Base::new(image, places, sums)
}

#[cfg(test)]
mod tests {
    #[test]
    fn tree_blocks_are_known() {
        let sums: Vec<usize> = super::BASES.iter().map(crate::changes::Base::sums).collect();
        assert!(sums.iter().all(|n| *n > 20), "{sums:?}");
    }
}
