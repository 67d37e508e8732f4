//! exFAT: everything that is asked of it.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::image::Image;
use crate::sums::Sum;
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "exfat",
    meets: "exFAT: boot region, table, bitmap, up-case table, sets of directory entries; coverage, losses, differences",
    run,
    seeds: || seeds(&BASES),
};

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kept: [&[u8]; 2] = [
        include_bytes!("../../../disk/tests/windows_reads/fixtures/exfat.img.zst"),
        include_bytes!("../../../disk/tests/windows_reads/fixtures/exfat-large.img.zst"),
    ];
    kept.into_iter().map(|kept| base(Image::unpack(kept))).collect()
});

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    crate::files::look(&changed.image, &changed.base.image, changed.flags);
}

/// A boot sector and the eleven behind it (exFAT specification 1.00, section 3).
const BOOT_SECTORS: u64 = 12;

/// Both boot regions, the table's beginning, and every set of directory entries whose sum holds.
fn base(image: Image) -> Base {
    let sector = 1 << image.le(108, 1);
    let fat = image.le(80, 4) * sector;
    let mut places = vec![(64, 56), (0, 120), (fat, 64), (fat, 512)];
    let mut sums = Vec::new();
    for start in [0, BOOT_SECTORS * sector] {
        places.push((start + 64, 56));
        let covered = (BOOT_SECTORS - 1) * sector;
        let times = usize::try_from(sector / 4).unwrap_or(0);
        sums.push(Sum::new(vec![(start, covered)], vec![(start + covered, sector)], move |b| {
            boot_sum(b).repeat(times)
        }));
    }
    let entries: Vec<u64> = image.blocks().flat_map(|at| (at..at + 4096).step_by(32)).collect();
    for at in entries.into_iter().filter(|at| image.le(*at, 1) == 0x85) {
        let len = (image.le(at + 1, 1) + 1) * 32;
        let sum = Sum::new(vec![(at, len)], vec![(at + 2, 2)], set_sum);
        if sum.holds(&image) {
            places.extend([(at, len), (at, 64)]);
            sums.push(sum);
        }
    }
    // The entries of the root that have no sum: bitmap, up-case table, label.
    let root = image.le(88, 4) * sector + (image.le(96, 4).saturating_sub(2) << image.le(109, 1)) * sector;
    places.extend([(root, 96), (root, 512)]);
    Base::new(image, places, sums)
}

/// Section 3.4, figure 1: without the flags of the volume and how full it is.
fn boot_sum(bytes: &[u8]) -> Vec<u8> {
    let counted = bytes.iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
    counted.fold(0u32, |sum, (_, b)| sum.rotate_right(1).wrapping_add(u32::from(*b))).to_le_bytes().to_vec()
}

/// Section 6.3.3, figure 2: without itself.
fn set_sum(bytes: &[u8]) -> Vec<u8> {
    let counted = bytes.iter().enumerate().filter(|(at, _)| !matches!(at, 2 | 3));
    counted.fold(0u16, |sum, (_, b)| sum.rotate_right(1).wrapping_add(u16::from(*b))).to_le_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    #[test]
    fn boot_regions_and_entries_have_their_sums() {
        let sums: Vec<usize> = super::BASES.iter().map(crate::changes::Base::sums).collect();
        assert!(sums.iter().all(|n| *n > 20), "{sums:?}");
    }
}
