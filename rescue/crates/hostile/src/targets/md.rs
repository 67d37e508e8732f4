//! md: superblocks of both formats, and the arrays made of their members.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::files::{inspect, source};
use crate::image::Image;
use crate::sums::Sum;
use model::ports::Window;
use model::units::Extent;
use std::sync::{Arc, LazyLock};

pub(super) const TARGET: Target = Target {
    name: "md",
    meets: "md: superblocks 0.90 and 1.x, arrays of two members: mirrors, stripes, linear, RAID 10",
    run,
    seeds: || seeds(&BASES),
};

/// Bytes of a member; two lie one behind the other in an image.
const SIZE: u64 = 4 << 20;
/// Where data begins in a member of format 1.2.
const DATA: u64 = 1 << 20;
const MAGIC: u32 = 0xa92b_4efc;

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kinds = [(1, 0, 2), (0, 0, 2), (-1, 0, 2), (10, 0x102, 2)];
    let mut bases: Vec<Base> = kinds.into_iter().map(|(level, layout, members)| base(level, layout, members)).collect();
    bases.push(old());
    bases
});

/// The sum of words, with what is carried out added once (kernel `drivers/md/md.c`, `calc_sb_1_csum`).
fn sum(bytes: &[u8]) -> Vec<u8> {
    let all: u64 = bytes.chunks(4).map(|w| w.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b))).sum();
    let folded = (all & 0xffff_ffff) + (all >> 32);
    folded.to_le_bytes()[..4].to_vec()
}

/// An array of format 1.2 (kernel `include/uapi/linux/raid/md_p.h`, `struct mdp_superblock_1`).
fn base(level: i32, layout: u32, members: u16) -> Base {
    let mut image = Image::blank(SIZE * u64::from(members));
    let (mut places, mut sums) = (Vec::new(), Vec::new());
    for role in 0..members {
        let start = u64::from(role) * SIZE + 4096;
        let mut put = |at: u64, bytes: &[u8]| image.put(start + at, bytes);
        put(0, &MAGIC.to_le_bytes());
        put(4, &1u32.to_le_bytes());
        put(16, &[0xaa; 16]);
        put(32, b"box:data");
        put(64, &1_790_000_000u64.to_le_bytes());
        put(72, &level.to_le_bytes());
        put(76, &layout.to_le_bytes());
        put(80, &(if level < 1 { 0u64 } else { (3 << 20) / 512 }).to_le_bytes());
        put(88, &(if level == 1 { 0u32 } else { 128 }).to_le_bytes());
        put(92, &u32::from(members).to_le_bytes());
        put(128, &(DATA / 512).to_le_bytes());
        put(136, &((3u64 << 20) / 512).to_le_bytes());
        put(144, &8u64.to_le_bytes());
        put(160, &u32::from(role).to_le_bytes());
        put(168, &[0xb0 + role.to_le_bytes()[0]; 16]);
        put(192, &1_790_000_000u64.to_le_bytes());
        put(200, &7u64.to_le_bytes());
        put(208, &u64::MAX.to_le_bytes());
        put(220, &128u32.to_le_bytes());
        for n in 0..128u16 {
            put(256 + 2 * u64::from(n), &(if n < members { n } else { u16::MAX }).to_le_bytes());
        }
        sums.push(Sum::new(vec![(start, 512)], vec![(start + 216, 4)], sum));
        places.extend([(start, 256), (start, 512), (start + 64, 40), (start + 128, 96)]);
    }
    summed(image, places, sums)
}

/// A mirror of format 0.90 (`struct mdp_superblock_s`).
fn old() -> Base {
    let mut image = Image::blank(SIZE * 2);
    let (mut places, mut sums) = (Vec::new(), Vec::new());
    for role in 0..2u32 {
        let start = u64::from(role + 1) * SIZE - (64 << 10);
        let mut word = |at: u64, value: u32| image.put(start + at, &value.to_le_bytes());
        for (at, value) in
            [(0, MAGIC), (8, 90), (20, 0x1111), (24, 1_790_000_000), (28, 1), (32, 3072), (36, 2), (40, 2)]
        {
            word(at, value);
        }
        for (at, value) in
            [(44, 3), (52, 0x22), (56, 0x33), (60, 0x44), (128, 1_790_000_000), (132, 1), (136, 2), (140, 2), (156, 9)]
        {
            word(at, value);
        }
        for disk in 0..2u32 {
            for (n, value) in (0u64..).zip([disk, 8, 1 + disk * 16, disk, 0b110]) {
                word(512 + 128 * u64::from(disk) + 4 * n, value);
                if disk == role {
                    word(4096 - 128 + 4 * n, value);
                }
            }
        }
        sums.push(Sum::new(vec![(start, 4096)], vec![(start + 152, 4)], sum));
        places.extend([(start, 256), (start + 512, 256), (start + 4096 - 128, 128)]);
    }
    summed(image, places, sums)
}

/// An image whose sums were not made yet.
fn summed(mut image: Image, places: Vec<(u64, u64)>, sums: Vec<Sum>) -> Base {
    for sum in &sums {
        sum.renew(&mut image);
    }
    Base::new(image.settled(), places, sums)
}

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    let bytes = changed.image.bytes();
    let part = |n: u64| Extent::between(n * SIZE, (n + 1) * SIZE).and_then(|e| Window::new(bytes.clone(), e).ok());
    let disks = (0..2u16).filter_map(|n| Some(source(n, Arc::new(part(n.into())?))));
    inspect(disks.collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_found() {
        for input in [[0, 0], [1, 0], [2, 0], [3, 0], [4, 0]] {
            let changed = changed(&BASES, &input).unwrap();
            let bytes = changed.image.bytes();
            let part = |n: u64| Window::new(bytes.clone(), Extent::between(n * SIZE, (n + 1) * SIZE).unwrap()).unwrap();
            let disks = vec![source(0, Arc::new(part(0))), source(1, Arc::new(part(1)))];
            assert_eq!(inspect(disks).inspection.layered.len(), 1, "{input:?}");
            assert_eq!(changed.base.sums(), 2);
        }
    }
}
