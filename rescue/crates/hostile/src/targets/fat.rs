//! FAT12, FAT16 and FAT32: everything that is asked of them.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::image::Image;
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "fat",
    meets: "FAT12, FAT16, FAT32: boot sector, tables, chains, long names; coverage, losses, differences",
    run,
    seeds: || seeds(&BASES),
};

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kept: [&[u8]; 3] = [
        include_bytes!("../../bases/fat12.zst"),
        include_bytes!("../../bases/fat16.zst"),
        include_bytes!("../../bases/fat32.zst"),
    ];
    let base = |image: Image| {
        let places = places(&image);
        Base::new(image, places, Vec::new())
    };
    kept.into_iter().map(|kept| base(Image::unpack(kept))).collect()
});

/// The boot sector, the beginnings of both tables, and what looks like a directory (Microsoft's FAT specification, 1.03).
pub(super) fn places(image: &Image) -> Vec<(u64, u64)> {
    let (sector, reserved, tables) = (image.le(11, 2), image.le(14, 2), image.le(16, 1));
    let fat = match image.le(22, 2) {
        0 => image.le(36, 4),
        short => short,
    };
    let first = reserved * sector;
    let mut places =
        vec![(0, 90), (11, 30), (512, 512), (6 * sector, 90), (first, 64), (first, 2048), (first + fat * sector, 64)];
    let data = first + tables * fat * sector;
    let in_use = |at: &u64| image.get(*at, 512).iter().any(|b| *b != 0 && *b != b'x');
    let directories: Vec<u64> = (data..image.len()).step_by(512).filter(in_use).take(64).collect();
    places.extend(directories.into_iter().flat_map(|at| [(at, 512), (at, 96)]));
    places
}

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    crate::files::look(&changed.image, &changed.base.image, changed.flags);
}
