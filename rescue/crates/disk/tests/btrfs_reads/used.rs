//! What is in use: all else may hold anything, and `btrfs check` and we ourselves see the same.

use super::fixtures::{self, Image, LATE, NAMES};
use super::host::{attempt, run};
use disk::coverage;
use model::coverage::{CaptureMethod, Coverage};
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent, ExtentSet};

/// What is in use of an image that can be told.
pub(crate) fn used(image: &Image) -> Coverage {
    let coverage = coverage::of(&image.content(), image.bytes());
    assert_eq!(coverage.method, CaptureMethod::UsedBlocks, "{}", coverage.why);
    coverage
}

/// The same image with noise where it is free.
pub(crate) fn spoiled(image: &Image, used: &ExtentSet) -> Image {
    let mut spoiled = image.clone();
    let noise: Vec<u8> = (0..4096u32).map(|n| u8::try_from(n * 7 % 251 + 1).unwrap()).collect();
    let blocks: Vec<u64> = image.blocks().collect();
    for at in blocks {
        let block = Extent::between(at, at + 4096).unwrap();
        for free in used.gaps(block).iter() {
            spoiled.put(free.start().0, &noise[..free.len().to_usize().unwrap()]);
        }
    }
    // And where nothing was ever written.
    for at in (0..image.size().0).step_by(1 << 20) {
        let block = Extent::between(at, at + 4096).unwrap();
        for free in used.gaps(block).iter() {
            spoiled.put(free.start().0, &noise[..free.len().to_usize().unwrap()]);
        }
    }
    spoiled
}

/// True where the btrfs-progs of this computer know what [`LATE`] has (6.7 and later do).
fn knows_late() -> bool {
    attempt("btrfs-progs", "mkfs.btrfs", &["-O", "list-all"], "").1.contains("squota")
}

#[test]
fn what_is_free_may_hold_anything() {
    let dir = tempfile::tempdir().unwrap();
    for name in NAMES {
        let image = fixtures::image(name);
        let used = used(&image).used;
        assert!(used.total().0 < image.size().0 / 4, "{name}: {} are in use", used.total());
        let spoiled = spoiled(&image, &used);
        assert_eq!(super::used::used(&spoiled).used, used, "{name}");
        let path = dir.path().join(name);
        spoiled.write(&path);
        let path = path.to_str().unwrap();
        // A log that is there is passed over by the check, not looked into.
        if name != LATE || knows_late() {
            run("btrfs-progs", "btrfs", &["check", "--check-data-csum", path], "");
        }
        let before = image.open().open(b"/noise").unwrap().or_else(|| image.open().open(b"/@/noise").unwrap()).unwrap();
        let after =
            spoiled.open().open(b"/noise").unwrap().or_else(|| spoiled.open().open(b"/@/noise").unwrap()).unwrap();
        let len = usize::try_from(before.size().0).unwrap();
        assert!(before.read_vec(ByteOffset(0), len).unwrap() == after.read_vec(ByteOffset(0), len).unwrap());
    }
}

/// All extents and chunks as btrfs-progs prints them, put together: nothing more is in use of what was unmounted, and nothing less.
#[test]
fn the_extents_that_btrfs_progs_prints_are_in_use() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["before", "mixed"] {
        let image = fixtures::image(name);
        let path = dir.path().join(name);
        image.write(&path);
        let dump = |tree: &str| {
            run("btrfs-progs", "btrfs", &["inspect-internal", "dump-tree", "-t", tree, path.to_str().unwrap()], "")
        };
        let node = u64::from(u32::from_le_bytes(image.get((64 << 10) + 0x94, 4).try_into().unwrap()));
        // Address and offset of the keys of one type.
        let keys = |text: &str, kind: &str| -> Vec<(u64, u64)> {
            let keys = text.lines().filter_map(|line| line.split_once(" key (")?.1.split_once(')'));
            let parts = keys.map(|(key, _)| key.split(' ').collect::<Vec<_>>());
            let own = parts.filter(|parts| parts.len() == 3 && parts[1] == kind);
            own.map(|parts| (parts[0].parse().unwrap_or(0), parts[2].parse().unwrap())).collect()
        };
        let chunks = dump("chunk");
        // Of each chunk its address, its length and where its copies begin.
        let mut placed: Vec<(u64, u64, Vec<u64>)> = Vec::new();
        for line in chunks.lines() {
            let word =
                |at: usize| line.split_whitespace().nth(at).and_then(|word| word.trim_end_matches(')').parse().ok());
            match line.trim() {
                text if text.contains("CHUNK_ITEM ") => placed.push((word(5).unwrap(), 0, Vec::new())),
                text if text.starts_with("length ") => placed.last_mut().unwrap().1 = word(1).unwrap(),
                text if text.starts_with("stripe ") => placed.last_mut().unwrap().2.push(word(5).unwrap()),
                _ => {}
            }
        }
        let extents = dump("extent");
        let data = keys(&extents, "EXTENT_ITEM");
        let small = keys(&extents, "METADATA_ITEM").into_iter().map(|(at, _)| (at, node));
        let mut theirs: ExtentSet = [(0, 1 << 20), (64 << 20, (64 << 20) + 4096)]
            .into_iter()
            .filter(|(_, end)| *end <= image.size().0)
            .map(|(start, end)| Extent::between(start, end).unwrap())
            .collect();
        let all: Vec<(u64, u64)> = data.into_iter().chain(small).collect();
        assert!(all.len() > 10 && placed.len() >= 2, "{name}: {all:?} {placed:?}");
        for (at, len) in all {
            let (start, _, copies) = placed.iter().find(|(start, len, _)| (*start..start + len).contains(&at)).unwrap();
            for copy in copies {
                theirs.insert(Extent::between(copy + at - start, copy + at - start + len).unwrap());
            }
        }
        assert_eq!(used(&image).used, theirs, "{name}");
    }
}

/// Whatever does not agree with the rest makes all of it used.
#[test]
fn what_does_not_hold_together_is_saved_whole() {
    let whole = |image: &Image, says: &str| {
        let coverage = coverage::of(&image.content(), image.bytes());
        assert_eq!(coverage.method, CaptureMethod::Raw);
        assert_eq!(coverage.used.total(), image.size());
        assert!(coverage.why.as_str().contains(says), "{}", coverage.why);
    };
    let image = fixtures::image("mixed");
    let mut less = image.clone();
    less.patch_superblock(0x78, &1000u64.to_le_bytes());
    whole(&less, "its superblock says 1000");
    let mut unknown = image.clone();
    unknown.patch_superblock(0xb4, &0x100u64.to_le_bytes());
    whole(&unknown, "unknown features");
    let mut newer = image.clone();
    newer.patch_superblock(0xbc, &(1u64 << 40 | 1).to_le_bytes());
    whole(&newer, "unknown incompatible features 0x10000000000");
    let mut zoned = image;
    zoned.patch_superblock(0xbc, &0x1001u64.to_le_bytes());
    whole(&zoned, "zones");
}

#[test]
fn several_devices_are_named_and_saved_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let paths = [0, 1].map(|n| super::host::blank(dir.path(), &format!("{n}"), 128 << 20));
    let [first, second] = [&paths[0], &paths[1]].map(|path| path.to_str().unwrap());
    run("btrfs-progs", "mkfs.btrfs", &["-q", "-d", "raid1", "-m", "raid1", first, second], "");
    for (path, device) in paths.iter().zip([1, 2]) {
        let image = Image::read(path);
        let info = image.info();
        assert_eq!((info.devices, info.device), (2, device));
        let coverage = coverage::of(&image.content(), image.bytes());
        assert!(coverage.why.as_str().contains("2 devices"), "{}", coverage.why);
        assert_eq!((coverage.method, coverage.used.total()), (CaptureMethod::Raw, image.size()));
        let opened = disk::fs::open(&image.content(), image.bytes());
        assert!(opened.is_err_and(|e| e.to_string().contains("2 devices")));
    }
    let (ok, said) = attempt("btrfs-progs", "btrfs", &["inspect-internal", "dump-super", first], "");
    assert!(ok && said.contains("num_devices\t\t2"), "{said}");
}
