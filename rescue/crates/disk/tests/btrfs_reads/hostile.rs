//! Images that somebody made to do harm: bytes of tree blocks changed, with checksums that hold. Every answer is one, soon.

use super::fixtures::{self, Image};
use super::host::Seeded;
use disk::coverage;
use model::files::FileId;
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};
use std::time::{Duration, Instant};

const CASES: u64 = 16;

/// Tree blocks of an image, and how long they are.
fn blocks(image: &Image) -> (Vec<u64>, usize) {
    let node = usize::try_from(u32::from_le_bytes(image.get((64 << 10) + 0x94, 4).try_into().unwrap())).unwrap();
    let fsid = image.get((64 << 10) + 0x20, 16);
    let own = |at: &u64| image.get(at + 0x20, 16) == fsid && at % (64 << 20) != 64 << 10;
    let all = image.blocks().filter(own).filter(|at| {
        let block = image.get(*at, node);
        crc32c::crc32c(&block[32..]).to_le_bytes() == block[..4]
    });
    (all.collect(), node)
}

/// Asks everything of it that is asked of a file system; `before` is what it was.
fn ask(image: &Image, before: &Image) {
    let Ok(Some(info)) = disk::fs::btrfs::identify(&image.bytes()) else { return };
    let content = model::inspection::Content::Btrfs(info);
    let used = coverage::of(&content, image.bytes()).used;
    assert!(used.iter().all(|e| e.end().0 <= image.size().0));
    coverage::changes(&content, image.bytes(), image.bytes());
    coverage::changes(&content, image.bytes(), before.bytes());
    coverage::changes(&before.content(), before.bytes(), image.bytes());
    coverage::cuts(&content, image.bytes());
    let lost = [Extent::whole(ByteLen(image.size().0 / 2))].into_iter().collect();
    let _ = disk::fs::losses(&content, image.bytes(), &lost);
    let Ok(fs) = disk::fs::open(&content, image.bytes()) else { return };
    let _ = fs.subvolumes();
    let mut ahead: Vec<FileId> = fs.find(b"/").ok().flatten().map(|root| root.file).into_iter().collect();
    let mut asked = 0;
    while let Some(dir) = ahead.pop() {
        for entry in fs.list(dir, 0, 400).unwrap_or_default() {
            asked += 1;
            match entry.attributes.map(|a| a.kind) {
                Some(FileKind::Directory) if asked < 2000 => ahead.push(entry.file),
                Some(FileKind::File) => drop(fs.layout(entry.file, ByteOffset(0), 100)),
                _ => {}
            }
        }
    }
    for path in ["/@/text", "/noise", "/holes", "/@/zstd-cut", "/@/lzo", "/absolute"] {
        if let Ok(Some(file)) = fs.open(path.as_bytes()) {
            let len = usize::try_from(file.size().0.min(1 << 20)).unwrap();
            let _ = file.read_vec(ByteOffset(0), len);
        }
    }
}

#[test]
fn changed_tree_blocks_are_answered() {
    for name in ["today", "mixed", "small-1"] {
        let image = fixtures::image(name);
        let (blocks, node) = blocks(&image);
        assert!(blocks.len() > 20, "{name}: {}", blocks.len());
        for seed in 0..CASES {
            let mut random = Seeded(seed);
            let mut changed = image.clone();
            for _ in 0..random.below(4) + 1 {
                let at = blocks[usize::try_from(random.below(blocks.len() as u64)).unwrap()];
                for _ in 0..random.below(6) + 1 {
                    // Headers, keys and the ends of leaves are where it matters.
                    let place = match random.below(4) {
                        0 => 0x50 + random.below(0x15),
                        1 => 0x65 + random.below(300),
                        2 => node as u64 - 1 - random.below(600),
                        _ => 0x20 + random.below(node as u64 - 0x20),
                    };
                    changed.put(at + place, &[random.byte()]);
                }
                changed.sum(at, node);
            }
            let began = Instant::now();
            ask(&changed, &image);
            assert!(began.elapsed() < Duration::from_secs(10), "{name} {seed}: {:?}", began.elapsed());
        }
    }
}

#[test]
fn changed_superblocks_are_answered() {
    let image = fixtures::image("mixed");
    for seed in 0..CASES {
        let mut random = Seeded(1000 + seed);
        let mut changed = image.clone();
        for _ in 0..random.below(3) + 1 {
            let place = match random.below(3) {
                0 => 0x48 + random.below(0x90),
                1 => 0x32b + random.below(200),
                _ => 0x20 + random.below(0x200),
            };
            changed.put((64 << 10) + place, &[random.byte()]);
        }
        changed.sum(64 << 10, 4096);
        ask(&changed, &image);
    }
}
