//! LUKS: headers of both versions, as they are recognised, read, and made a volume of.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::files::{answered, inspect, source};
use crate::image::Image;
use crate::sums::Sum;
use engine::parser::{Local, Parser};
use model::id::Digest;
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "luks",
    meets: "LUKS headers of versions 1 and 2 with both copies and their text, and the map of what lies encrypted",
    run,
    seeds: || seeds(&BASES),
};

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kept: [&[u8]; 3] = [
        include_bytes!("../../bases/luks2.zst"),
        include_bytes!("../../bases/luks2-argon2.zst"),
        include_bytes!("../../bases/luks1.zst"),
    ];
    kept.into_iter().map(|kept| base(Image::unpack(kept))).collect()
});

/// Bytes of the binary part of a header of version 2 (LUKS2 on-disk format 1.1.3, chapter 2.1), and where its sum stands.
const BINARY: u64 = 4096;
const SUM: u64 = 0x1c0;

/// A volume of that many bytes with the smallest header: its key slots are made up.
pub(super) fn image(len: u64) -> Image {
    let mut image = Image::blank(len);
    let kept = Image::unpack(include_bytes!("../../bases/luks1.zst"));
    image.put(0, &kept.get(0, 4096));
    // Where its payload begins, in sectors.
    image.put(104, &1024u32.to_be_bytes());
    image
}

fn base(image: Image) -> Base {
    // Version 1: fields, then eight key slots (LUKS1 on-disk format 1.2.3, figure 1).
    let mut places = vec![(0, 208), (208, 8 * 48)];
    let mut sums = Vec::new();
    if image.be(6, 2) == 2 {
        let len = image.be(8, 8);
        for at in [0, len] {
            let text = image.get(at + BINARY, usize::try_from(len - BINARY).unwrap_or(0));
            let said = text.iter().position(|b| *b == 0).unwrap_or(0) as u64;
            places.push((at, 512));
            // Nearly all that counts is in the text.
            places.extend([(at + BINARY, said); 4]);
            let sha = |bytes: &[u8]| Digest::of(bytes).0.to_vec();
            // What is summed has zeros in all of the field, of which SHA-256 fills half.
            sums.push(Sum::new(vec![(at, len)], vec![(at + SUM, 32)], sha));
        }
    }
    Base::new(image, places, sums)
}

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    let disks = vec![source(0, changed.image.bytes())];
    let report = inspect(disks.clone());
    let parser = Local::new(disks);
    for (_, volume) in report.inspection.volumes() {
        let Some(header) = answered(parser.luks(volume)) else { continue };
        if let Ok((path, mapping)) = disk::volume::luks::mapping(volume, &header) {
            let whole = mapping.len().is_some_and(|len| mapping.is_sound(len));
            assert!(whole, "{path} is mapped unsoundly");
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_copies_have_their_sums() {
        let sums: Vec<usize> = super::BASES.iter().map(crate::changes::Base::sums).collect();
        assert_eq!(sums, [2, 2, 0]);
    }
}
