//! NTFS: everything that is asked of it, compressed files read.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::image::Image;
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "ntfs",
    meets: "NTFS: boot sector, records, attributes, runs, indexes, the log's end, LZNT1; coverage, losses, differences",
    run,
    seeds: || seeds(&BASES),
};

/// How many images are kept together, and how long each is.
const IMAGES: u64 = 5;
const SIZE: u64 = 24 << 20;

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kept = Image::unpack(include_bytes!("../../../disk/tests/windows_reads/fixtures/ntfs.imgs.zst"));
    (0..IMAGES).map(|nth| base(kept.part(nth, SIZE))).collect()
});

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    crate::files::look(&changed.image, &changed.base.image, changed.flags);
}

/// The boot sector and every record, by its magic (kernel `fs/ntfs3/ntfs.h`): of files, indexes, the log. There are no checksums; what
/// takes the place of the last two bytes of each sector stands at its beginning, and is hit as anything else.
fn base(image: Image) -> Base {
    let mut places = vec![(3, 80), (0, 96)];
    let starts: Vec<u64> = image.blocks().flat_map(|at| (at..at + 4096).step_by(1024)).collect();
    for at in starts {
        match &image.get(at, 4)[..] {
            // Most of the first half is attributes.
            b"FILE" => places.extend([(at, 64), (at + 48, 460), (at, 1024)]),
            b"INDX" => places.extend([(at, 96), (at, 600)]),
            b"RSTR" | b"RCRD" => places.push((at, 256)),
            _ => {}
        }
    }
    Base::new(image, places, Vec::new())
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_image_is_one() {
        for base in super::BASES.iter() {
            assert_eq!(base.image.get(3, 4), b"NTFS");
        }
    }
}
