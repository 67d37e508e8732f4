//! LVM: labels, metadata areas and their text, and the volumes that are made of it.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::files::{inspect, source};
use crate::image::Image;
use crate::sums::{Sum, crc32_from};
use model::ports::Window;
use model::units::Extent;
use std::sync::{Arc, LazyLock};

pub(super) const TARGET: Target = Target {
    name: "lvm",
    meets: "LVM2: labels, metadata areas, the text of a volume group, the maps made of it, over one physical volume or two",
    run,
    seeds: || seeds(&BASES),
};

/// What LVM's own checksums begin with (LVM2 `lib/misc/crc.h`, `INITIAL_CRC`).
const FIRST: u32 = 0xf597_a6cf;

/// Physical volumes of a group, and how long each is; they lie one behind the other in an image.
type Group = (&'static [&'static [u8]], u64);

const GROUPS: [Group; 4] = [
    (
        &[
            include_bytes!("../../../disk/tests/fixtures/lvm/two.0.zst"),
            include_bytes!("../../../disk/tests/fixtures/lvm/two.1.zst"),
        ],
        25_165_824,
    ),
    (&[include_bytes!("../../../disk/tests/fixtures/lvm/machine.0.zst")], 16_777_216),
    (
        &[
            include_bytes!("../../../disk/tests/fixtures/lvm/kinds.0.zst"),
            include_bytes!("../../../disk/tests/fixtures/lvm/kinds.1.zst"),
        ],
        67_108_864,
    ),
    (&[include_bytes!("../../../disk/tests/fixtures/lvm/grown.0.zst")], 16_777_216),
];

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| GROUPS.iter().map(|(kept, size)| base(kept, *size)).collect());

fn base(kept: &[&[u8]], size: u64) -> Base {
    let mut image = Image::blank(size * kept.len() as u64);
    let (mut places, mut sums) = (Vec::new(), Vec::new());
    for (nth, kept) in (0..).zip(kept) {
        let physical = Image::unpack(kept);
        let start = nth * size;
        let head = physical.get(0, usize::try_from(physical.len()).unwrap_or(0));
        image.put(start, &head);
    }
    let image = image.settled();
    let crc = |bytes: &[u8]| crc32_from(FIRST, bytes).to_le_bytes().to_vec();
    for start in (0..kept.len() as u64).map(|nth| nth * size) {
        // The label, the header of the area behind it, and the text that it leads to (`lib/format_text/layout.h`).
        let (label, area) = (start + 512, start + 4096);
        let (text, len) = (area + image.le(area + 40, 8), image.le(area + 48, 8).min(1 << 20));
        // The text may go on at the beginning of its ring.
        let first = len.min((area + image.le(area + 32, 8)).saturating_sub(text));
        let again = (area + 512, len - first);
        sums.push(Sum::new(vec![(text, first), again], vec![(area + 56, 4)], crc));
        sums.push(Sum::new(vec![(area + 4, 508)], vec![(area, 4)], crc));
        sums.push(Sum::new(vec![(label + 20, 492)], vec![(label + 16, 4)], crc));
        places.extend([(label, 512), (label, 128), (area, 80)]);
        // Most of what can be said is said in the text.
        places.extend([(text, first), again].into_iter().flat_map(|piece| [piece; 4]));
    }
    Base::new(image, places, sums)
}

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    let nth = BASES.iter().position(|b| std::ptr::eq(b, changed.base)).unwrap_or(0);
    let (kept, size) = GROUPS[nth];
    let bytes = changed.image.bytes();
    let part = |n: u64| Extent::between(n * size, (n + 1) * size).and_then(|e| Window::new(bytes.clone(), e).ok());
    let disks = (0..kept.len()).filter_map(|n| Some(source(u16::try_from(n).ok()?, Arc::new(part(n as u64)?))));
    inspect(disks.collect());
}

#[cfg(test)]
mod tests {
    #[test]
    fn labels_areas_and_texts_have_their_sums() {
        let sums: Vec<usize> = super::BASES.iter().map(crate::changes::Base::sums).collect();
        assert_eq!(sums, [6, 3, 6, 3]);
    }
}
