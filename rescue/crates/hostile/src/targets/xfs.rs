//! XFS: everything that is asked of it, its log worked in, against the state before.

use crate::Target;
use crate::changes::{Base, changed, seeds};
use crate::image::Image;
use crate::sums::{Sum, usual_crc32c};
use std::sync::LazyLock;

pub(super) const TARGET: Target = Target {
    name: "xfs",
    meets: "XFS: superblock, groups, trees, inodes, directories, attributes, log; coverage, changes, losses, differences",
    run,
    seeds: || seeds(&BASES),
};

static BASES: LazyLock<Vec<Base>> = LazyLock::new(|| {
    let kept: [&[u8]; 4] = [
        include_bytes!("../../../disk/tests/xfs_reads/fixtures/dirty-v5.img.zst"),
        include_bytes!("../../../disk/tests/xfs_reads/fixtures/dirty-v5-small.img.zst"),
        include_bytes!("../../../disk/tests/xfs_reads/fixtures/v5.img.zst"),
        include_bytes!("../../../disk/tests/xfs_reads/fixtures/session-mounted.img.zst"),
    ];
    kept.into_iter().map(|kept| base(Image::unpack(kept))).collect()
});

fn run(input: &[u8]) {
    let Some(changed) = changed(&BASES, input) else { return };
    crate::files::look(&changed.image, &changed.base.image, changed.flags);
}

/// The longest record of a log that is summed anew (`XLOG_MAX_RECORD_BSIZE`).
const LONGEST_RECORD: u64 = 256 << 10;

/// Every structure, found by its magic (kernel `fs/xfs/libxfs/xfs_format.h`, `xfs_da_format.h`, `xfs_log_format.h`).
fn base(image: Image) -> Base {
    let (block, sector, inode) = (image.be(4, 4), image.be(102, 2), image.be(104, 2));
    let (mut places, mut sums) = (Vec::new(), Vec::new());
    let starts: Vec<u64> = image.blocks().flat_map(|at| (at..at + 4096).step_by(512)).collect();
    for at in starts {
        let head = image.get(at, 16);
        let (sum, len) = match &head[..4] {
            b"XFSB" => (224, sector),
            b"XAGF" => (216, sector),
            b"XAGI" => (312, sector),
            b"XAFL" => (32, sector),
            b"AB3B" | b"AB3C" | b"IAB3" | b"FIB3" | b"RMB3" | b"R3FC" => (52, block),
            b"BMA3" => (64, block),
            b"XDB3" | b"XDD3" | b"XDF3" => (4, block),
            b"XARM" | b"XSLM" => (12, block),
            _ if head.starts_with(b"IN") && head[4] == 3 => (100, inode),
            [0xfe, 0xed, 0xba, 0xbe] => {
                record(&image, at, &mut places, &mut sums);
                continue;
            }
            // Nodes and leaves of directories and attributes have their magic behind their siblings.
            _ if matches!(&head[8..10], [0x3d, 0xf1 | 0xff] | [0x3e, 0xbe] | [0x3b, 0xee]) => (12, block),
            _ => continue,
        };
        places.push((at, len));
        places.push((at, 128.min(len)));
        sums.push(Sum::new(vec![(at, len)], vec![(at + sum, 4)], usual_crc32c));
    }
    Base::new(image, places, sums)
}

/// A record of the log: its header, those behind it where it is long, and what it holds (`xlog_cksum`).
fn record(image: &Image, at: u64, places: &mut Vec<(u64, u64)>, sums: &mut Vec<Sum>) {
    let (len, size) = (image.be(at + 12, 4), image.be(at + 320, 4));
    let headers = size.div_ceil(32 << 10).max(1);
    if len == 0 || len > LONGEST_RECORD || headers > 8 {
        return;
    }
    let data = at + headers * 512;
    let mut covers = vec![(at, 328)];
    covers.extend((1..len.div_ceil(32 << 10)).map(|nth| (at + nth * 512, 260)));
    covers.push((data, len));
    let sum = Sum::new(covers, vec![(at + 32, 4)], usual_crc32c);
    if sum.holds(image) {
        places.push((at, 328));
        places.push((data, len.min(4096)));
        places.push((data, len));
        sums.push(sum);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn structures_and_records_are_known() {
        let sums: Vec<usize> = super::BASES.iter().map(crate::changes::Base::sums).collect();
        assert!(sums.iter().all(|n| *n > 100), "{sums:?}");
    }
}
