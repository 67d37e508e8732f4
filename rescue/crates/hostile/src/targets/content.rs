//! What lies on a volume, by its signatures: swap, LUKS, fences, file systems, and what is only recognised.

use crate::Target;
use crate::files::{answered, source};
use crate::image::Image;
use engine::parser::{Local, Parser};
use model::id::{DiskNo, VolumePath};
use model::inspection::Volume;
use model::units::Extent;

pub(super) const TARGET: Target = Target {
    name: "content",
    meets: "signatures of what lies on a volume: swap, hibernation images, LUKS headers, fences, everything recognised; coverage",
    run,
    seeds,
};

/// Where signatures stand; those below zero count from the end. An input is pieces: which place (1), how many bytes (2), the bytes.
const PLACES: [i64; 16] = [
    0,
    3,
    512,
    1024,
    1024 + 0x38,
    4086,
    4096,
    0x2000,
    32_769,
    65_536,
    65_536 + 0x40,
    -512,
    -4096,
    -8192,
    -65_536,
    -131_072,
];
const SIZES: [u64; 4] = [1 << 20, 16 << 20, 5000, 64 << 20];

fn run(input: &[u8]) {
    let [size, pieces @ ..] = input else { return };
    let mut image = Image::blank(SIZES[usize::from(*size) % SIZES.len()]);
    let mut rest = pieces;
    while let [place, low, high, after @ ..] = rest {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(after.len());
        let (bytes, later) = after.split_at(len);
        let place = PLACES[usize::from(*place) % PLACES.len()];
        let at = if place < 0 { image.len().saturating_sub(place.unsigned_abs()) } else { place.unsigned_abs() };
        image.put(at, bytes);
        rest = later;
    }
    let bytes = image.bytes();
    let parser = Local::new(vec![source(0, bytes.clone())]);
    let (path, extent) = (VolumePath::whole(DiskNo(0)), Extent::whole(bytes.size()));
    if let Some((content, _)) = answered(parser.content(&path, extent)) {
        let volume = Volume::on_disk(path, extent, content);
        answered(parser.coverage(&volume));
        parser.cuts(&volume);
    }
}

/// An input of these pieces.
fn input(size: u8, pieces: &[(u8, &[u8])]) -> Vec<u8> {
    let mut out = vec![size];
    for (place, bytes) in pieces {
        out.push(*place);
        out.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
        out.extend_from_slice(bytes);
    }
    out
}

fn seeds() -> Vec<Vec<u8>> {
    let swap = |version: u32, last: u32| {
        let mut header = vec![0; 64];
        header[..4].copy_from_slice(&version.to_le_bytes());
        header[4..8].copy_from_slice(&last.to_le_bytes());
        header[12..28].copy_from_slice(&[7; 16]);
        header[28..32].copy_from_slice(b"swap");
        header
    };
    let luks = |version: u16| {
        let mut header = [&b"LUKS\xba\xbe"[..], &version.to_be_bytes(), &4096u64.to_be_bytes()].concat();
        header.resize(512, 0);
        header[168..204].copy_from_slice(b"01234567-89ab-cdef-0123-456789abcdef");
        header
    };
    let ntfs = [&b"\xeb\x52\x90NTFS    \x00\x02\x08"[..], &[0; 60]].concat();
    let exfat = [&b"\xeb\x76\x90EXFAT   "[..], &[0; 53], &[9, 3, 1, 0x80]].concat();
    let ext = {
        let mut sb = vec![0; 0x280];
        sb[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        sb
    };
    let fat = Image::unpack(include_bytes!("../../bases/fat12.zst")).get(0, 512);
    vec![
        input(0, &[(5, b"SWAPSPACE2"), (3, &swap(1, 255))]),
        input(0, &[(5, b"S1SUSPEND\0"), (3, &swap(1, 255))]),
        input(0, &[(5, b"LINHIB0001"), (3, &swap(1, 9))]),
        input(1, &[(0, &luks(1))]),
        input(1, &[(0, &luks(2)), (6, &luks(2))]),
        input(1, &[(0, &ntfs), (11, &ntfs)]),
        input(1, &[(0, &exfat)]),
        input(1, &[(0, b"XFSB\0\0\x10\0")]),
        input(1, &[(10, b"_BHRfS_M")]),
        input(1, &[(3, &ext)]),
        input(2, &[(0, &fat)]),
        input(1, &[(2, b"LABELONE\x01\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001")]),
        input(1, &[(6, b"\xfc\x4e\x2b\xa9\x01\0\0\0")]),
        input(1, &[(14, b"\xfc\x4e\x2b\xa9\0\0\0\0")]),
        input(1, &[(8, b"CD001\x01\0")]),
        input(
            1,
            &[(
                0,
                &disk::fence::encode(&model::inspection::FenceInfo {
                    intent: model::id::IntentId(model::id::Digest::of(b"x")),
                    store: "s".into(),
                    was: "ext4".into(),
                }),
            )],
        ),
        input(3, &[]),
    ]
}
