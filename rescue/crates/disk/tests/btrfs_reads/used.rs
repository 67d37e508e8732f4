//! What is in use: all else may hold anything, and `btrfs check` and we ourselves see the same. partclone finds it in a way of its own.

use super::fixtures::{self, Image, NAMES};
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
fn spoiled(image: &Image, used: &ExtentSet) -> Image {
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
        run("btrfs-progs", "btrfs", &["check", "--check-data-csum", path], "");
        let before = image.open().open(b"/noise").unwrap().or_else(|| image.open().open(b"/@/noise").unwrap()).unwrap();
        let after =
            spoiled.open().open(b"/noise").unwrap().or_else(|| spoiled.open().open(b"/@/noise").unwrap()).unwrap();
        let len = usize::try_from(before.size().0).unwrap();
        assert!(before.read_vec(ByteOffset(0), len).unwrap() == after.read_vec(ByteOffset(0), len).unwrap());
    }
}

/// partclone saves what the extent tree has, and the superblocks, in blocks as long as tree blocks are.
#[test]
fn partclone_sees_nothing_in_use_that_we_do_not() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["before", "mixed"] {
        let image = fixtures::image(name);
        let used = used(&image).used;
        let path = dir.path().join(name);
        image.write(&path);
        let (map, log) = (dir.path().join("map"), dir.path().join("log"));
        let args = ["-D", "-q", "-s", path.to_str().unwrap(), "-o", map.to_str().unwrap(), "-L", log.to_str().unwrap()];
        run("partclone", "partclone.btrfs", &args, "");
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        let text = std::fs::read_to_string(&map).unwrap();
        let theirs: ExtentSet = text
            .lines()
            .filter_map(|line| line.strip_suffix('+'))
            .map(|line| {
                let mut fields = line.split_whitespace().map(number);
                let (at, len) = (fields.next().unwrap(), fields.next().unwrap());
                Extent::between(at, at + len).unwrap()
            })
            .collect();
        std::fs::remove_file(&map).unwrap();
        assert!(theirs.total().0 > 1 << 18, "{name}: {}", theirs.total());
        let node = u64::from(u32::from_le_bytes(image.get((64 << 10) + 0x94, 4).try_into().unwrap()));
        // It adds the block behind each extent.
        let widened =
            |e: Extent| Extent::between(e.start().0 / node * node, e.end().0.next_multiple_of(node) + node).unwrap();
        let ours: ExtentSet = used.iter().map(widened).collect();
        let missing: Vec<Extent> = theirs.iter().filter(|e| !ours.covers(*e)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
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
