//! FAT file systems made by mkfs.vfat and mtools: read whole, damaged and hostile. fsck.vfat and mtools are the oracles.
#![allow(clippy::unwrap_used, reason = "tests")]

mod contract;
mod host;

use disk::fs::{self, FileSystem, FsError};
use disk::io::Overlay;
use disk::{content, coverage};
use host::{Seeded, blank, image, patch, run};
use model::coverage::CaptureMethod;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, FatInfo, FileKind, FsKind};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

/// Width, size of the volume, arguments of mkfs.vfat.
const SHAPES: [(u8, u64, &[&str]); 5] = [
    (12, 4 * MIB, &["-F", "12"]),
    (16, 40 * MIB, &["-F", "16"]),
    (32, 40 * MIB, &["-F", "32", "-s", "1"]),
    (32, 300 * MIB, &["-F", "32", "-s", "8"]),
    (32, 300 * MIB, &["-F", "32", "-S", "4096", "-s", "1"]),
];

fn path() -> VolumePath {
    VolumePath::partition(DiskNo(0), 1)
}

fn body(n: usize, seed: u64) -> Vec<u8> {
    let mut rng = Seeded(seed);
    (0..n.div_ceil(8)).flat_map(|_| rng.next().to_le_bytes()).take(n).collect()
}

/// What goes onto every volume: path and content.
fn files() -> Vec<(String, Vec<u8>)> {
    let mut files = vec![
        ("EFI/debian/grubx64.efi".to_owned(), body(300_000, 1)),
        ("EFI/debian/grub.cfg".to_owned(), b"search.fs_uuid 1234 root\n".to_vec()),
        ("loader/entries/a rather long name of an entry.conf".to_owned(), body(5000, 2)),
        ("loader/random-seed".to_owned(), body(32, 3)),
        ("EMPTY.TXT".to_owned(), Vec::new()),
        ("gr\u{fc}n.txt".to_owned(), b"umlaut".to_vec()),
    ];
    files.extend((0..60).map(|i| (format!("many/file-number-{i:03}.dat"), body(i * 37, 100 + i as u64))));
    files
}

fn make(dir: &Path, size: u64, args: &[&str]) -> PathBuf {
    let path = blank(dir, "fat.img", size);
    let text = path.to_str().unwrap();
    run("dosfstools", "mkfs.vfat", &[args, &["-n", "HELLO", "-i", "12ab34cd", text]].concat(), "");
    for d in ["EFI", "EFI/debian", "loader", "loader/entries", "many", "gone"] {
        run("mtools", "mmd", &["-i", text, &format!("::{d}")], "");
    }
    let local = dir.join("body");
    for (name, body) in files() {
        std::fs::write(&local, body).unwrap();
        // mtools takes the name as the locale has it.
        run("mtools", "mcopy", &["-i", text, local.to_str().unwrap(), &format!("::{name}")], "");
    }
    // Something deleted, so that there is free space with old data in it.
    std::fs::write(&local, body(100_000, 9)).unwrap();
    run("mtools", "mcopy", &["-i", text, local.to_str().unwrap(), "::gone/x"], "");
    run("mtools", "mdel", &["-i", text, "::gone/x"], "");
    path
}

fn info(bytes: &Arc<dyn ReadAt>) -> FatInfo {
    match content::identify(&path(), bytes) {
        (Content::Fat(info), findings) => {
            assert_eq!(findings, []);
            info
        }
        other => panic!("{other:?}"),
    }
}

fn open(bytes: &Arc<dyn ReadAt>) -> Box<dyn FileSystem> {
    fs::open(&Content::Fat(info(bytes)), bytes.clone()).unwrap()
}

fn whole(file: &dyn ReadAt) -> Vec<u8> {
    file.read_vec(ByteOffset(0), usize::try_from(file.size().0).unwrap()).unwrap()
}

fn over(base: &Arc<dyn ReadAt>, patches: &[(u64, &[u8])]) -> Arc<dyn ReadAt> {
    let mut o = Overlay::new(base.clone(), 512, ByteLen(16 * MIB));
    for (at, bytes) in patches {
        o.write(ByteOffset(*at), bytes).unwrap();
    }
    Arc::new(o)
}

#[test]
fn every_width_reads_as_it_was_made() {
    for (width, size, args) in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let path = make(dir.path(), size, args);
        let bytes = image(&path);
        let i = info(&bytes);
        assert_eq!((i.width, i.volume_id.as_str(), i.label.as_str(), i.dirty), (width, "12AB-34CD", "HELLO", false));
        let said = run("dosfstools", "fsck.vfat", &["-nv", path.to_str().unwrap()], "");
        assert!(said.contains(&format!("{:>10} bytes per cluster", i.cluster_size)), "{i:?}: {said}");
        assert!(said.contains(&format!("/{} clusters", i.clusters)), "{i:?}: {said}");

        let fs = open(&bytes);
        for (name, body) in files() {
            let file = fs.open(format!("/{name}").as_bytes()).unwrap().unwrap_or_else(|| panic!("{name}"));
            assert!(whole(&*file) == body, "{name}");
            let stat = fs.stat(name.as_bytes()).unwrap().unwrap();
            assert_eq!((stat.size.0, stat.kind), (body.len() as u64, FileKind::File));
            assert!(stat.modified.unwrap() > 1_700_000_000_000_000_000, "made today");
        }
        assert!(fs.open(b"/efi/DEBIAN/GRUB.CFG").unwrap().is_some(), "case does not matter");
        let mut names: Vec<String> =
            fs.read_dir(b"/", 100).unwrap().iter().map(|f| f.name.display().to_string()).collect();
        names.sort();
        assert_eq!(names, ["EFI", "EMPTY.TXT", "gone", "gr\u{fc}n.txt", "loader", "many"]);
        assert_eq!(fs.read_dir(b"/many", 1000).unwrap().len(), 60);
        contract::listings(&*fs, "/many", "/EMPTY.TXT");
        for nowhere in ["/nothing", "/EFI/nothing/x", "/EMPTY.TXT/x", "/../x", "/EFI/../EMPTY.TXT"] {
            assert!(fs.stat(nowhere.as_bytes()).unwrap().is_none(), "{nowhere}");
            assert!(fs.open(nowhere.as_bytes()).unwrap().is_none(), "{nowhere}");
            assert!(fs.read_dir(nowhere.as_bytes(), 9).unwrap().is_empty(), "{nowhere}");
        }
        assert!(fs.open(b"/EFI").unwrap().is_none(), "a directory is no file");
        assert_eq!(fs.stat(b"/").unwrap().unwrap().kind, FileKind::Directory);
        assert_eq!(fs.read_link(b"/EFI").unwrap(), None);
    }
}

/// A file above the size that is read at once.
#[test]
fn a_long_file_is_read_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "fat.img", 64 * MIB);
    let text = path.to_str().unwrap();
    run("dosfstools", "mkfs.vfat", &[text], "");
    let long = body(9_000_001, 5);
    let local = dir.path().join("long");
    std::fs::write(&local, &long).unwrap();
    run("mtools", "mcopy", &["-i", text, local.to_str().unwrap(), "::vmlinuz"], "");
    let file = open(&image(&path)).open(b"/vmlinuz").unwrap().unwrap();
    assert_eq!(file.size().0, long.len() as u64);
    for (at, len) in [(0, 10), (4_000_000, 100_000), (8_999_990, 11), (9_000_001, 0)] {
        assert_eq!(file.read_vec(ByteOffset(at as u64), len).unwrap(), long[at..at + len]);
    }
    assert!(file.read_vec(ByteOffset(8_999_990), 12).is_err());
    assert!(whole(&*file) == long);
}

/// What the coverage leaves out may be anything: with noise there, fsck.vfat and every file are content.
#[test]
fn what_is_not_covered_does_not_matter() {
    for (width, size, args) in SHAPES {
        let dir = tempfile::tempdir().unwrap();
        let path = make(dir.path(), size, args);
        let bytes = image(&path);
        let c = coverage::of(&Content::Fat(info(&bytes)), bytes.clone());
        assert_eq!(c.method, CaptureMethod::UsedBlocks, "{}", c.why);
        assert_eq!(c.why.as_str(), format!("vfat (FAT{width}), clean"));
        assert!(c.used.total().0 < 3 * MIB + size / 50, "{} of {size}", c.used.total());
        for gap in c.used.gaps(Extent::whole(ByteLen(size))).iter() {
            patch(&path, gap.start().0, &vec![0xa5; usize::try_from(gap.len().0).unwrap()]);
        }
        run("dosfstools", "fsck.vfat", &["-nv", path.to_str().unwrap()], "");
        let out = dir.path().join("out");
        for (name, body) in files() {
            let args = ["-n", "-i", path.to_str().unwrap(), &format!("::{name}"), out.to_str().unwrap()];
            run("mtools", "mcopy", &args, "");
            assert!(std::fs::read(&out).unwrap() == body, "FAT{width} {name}");
        }
    }
}

/// Byte offset of the first allocation table, and of the second.
fn tables(bytes: &Arc<dyn ReadAt>) -> (u64, u64) {
    let b = bytes.read_vec(ByteOffset(0), 64).unwrap();
    let u16_at = |at: usize| u64::from(u16::from_le_bytes([b[at], b[at + 1]]));
    let len = if u16_at(22) != 0 { u16_at(22) } else { u16_at(36) | u16_at(38) << 16 };
    let first = u16_at(14) * u16_at(11);
    (first, first + len * u16_at(11))
}

#[test]
fn an_allocation_table_that_lies_is_not_trusted() {
    let dir = tempfile::tempdir().unwrap();
    for (_, size, args) in [SHAPES[1], SHAPES[2]] {
        let bytes = image(&make(dir.path(), size, args));
        let content = Content::Fat(info(&bytes));
        let (one, two) = tables(&bytes);
        let wide = info(&bytes).width == 32;
        let at = |cluster: u64| cluster * if wide { 4 } else { 2 };
        let value = |n: u32| if wide { n.to_le_bytes().to_vec() } else { n.to_le_bytes()[..2].to_vec() };
        let both = |c: u64, n: u32| over(&bytes, &[(one + at(c), &value(n)), (two + at(c), &value(n))]);
        let cases = [
            (over(&bytes, &[(one + at(20), &value(0))]), "tables differ"),
            (both(20, 1), "leads to 1"),
            (both(20, if wide { 0x0fff_fff6 } else { 0xfff6 }), "leads to"),
            (both(20, 30), "two clusters lead to cluster 30"),
            (both(21, 0), "which is free"),
        ];
        for (bytes, wanted) in cases {
            let c = coverage::of(&content, bytes.clone());
            assert_eq!(c.method, CaptureMethod::Raw);
            assert!(c.why.as_str().contains(wanted), "{} for {wanted}", c.why);
            assert_eq!(c.used.total(), bytes.size());
        }
    }
}

#[test]
fn the_dirty_bit() {
    let dir = tempfile::tempdir().unwrap();
    for ((_, size, args), at) in [(SHAPES[0], 37), (SHAPES[1], 37), (SHAPES[2], 65)] {
        let bytes = over(&image(&make(dir.path(), size, args)), &[(at, &[1])]);
        let i = info(&bytes);
        assert!(i.dirty);
        let c = coverage::of(&Content::Fat(i), bytes);
        assert_eq!(c.method, CaptureMethod::UsedBlocks);
        assert!(c.why.as_str().contains("not unmounted cleanly"), "{}", c.why);
    }
}

#[test]
fn a_damaged_boot_sector_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = image(&make(dir.path(), 40 * MIB, &["-F", "32", "-s", "1"]));
    let damage = |b: &Arc<dyn ReadAt>| match content::identify(&path(), b) {
        (Content::Damaged { kind: FsKind::Vfat, why }, findings) => {
            assert_eq!(findings.len(), 1);
            why.to_string()
        }
        other => panic!("{other:?}"),
    };
    assert!(damage(&over(&bytes, &[(13, &[3])])).contains("clusters of 3 sectors"));
    assert!(damage(&over(&bytes, &[(11, &[0, 0])])).contains("sectors of 0 bytes"));
    assert!(damage(&over(&bytes, &[(44, &[0, 0])])).contains("root directory in cluster 0"));
    assert!(damage(&over(&bytes, &[(0, &[0x77; 512])])).contains("backup boot sector at byte 3072"));
    // A volume cut short.
    let short: Arc<dyn ReadAt> =
        Arc::new(model::ports::Window::new(bytes.clone(), Extent::between(0, 39 * MIB).unwrap()).unwrap());
    assert!(damage(&short).contains("41943040 bytes long, on a volume of 40894464"));
    let c = coverage::of(&content::identify(&path(), &short).0, short);
    assert_eq!((c.method, c.used.total().0), (CaptureMethod::Raw, 39 * MIB));
}

/// A directory whose chain comes back to itself: an error after bounded work, or what can be read.
#[test]
fn a_directory_in_a_circle_ends() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = image(&make(dir.path(), 40 * MIB, &["-F", "32", "-s", "1"]));
    let (one, two) = tables(&bytes);
    // The root directory, cluster 2, full of entries that name no end, and leading to itself.
    let data = two + (two - one);
    let entries = [b"AAAAAAAATXT \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0".as_slice(); 16].concat();
    let bad = over(&bytes, &[(one + 8, &[2, 0, 0, 0]), (two + 8, &[2, 0, 0, 0]), (data, &entries)]);
    let fs = open(&bad);
    let began = std::time::Instant::now();
    assert!(fs.stat(b"/nothing").unwrap().is_none());
    assert!(fs.read_dir(b"/", usize::MAX).unwrap().len() <= 65_536);
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

/// A file whose entry names no cluster: an error, never the bytes of something else.
#[test]
fn an_entry_that_leads_nowhere() {
    let dir = tempfile::tempdir().unwrap();
    for (_, size, args) in [SHAPES[1], SHAPES[2]] {
        let bytes = image(&make(dir.path(), size, args));
        let (one, two) = tables(&bytes);
        let data = two + (two - one);
        let root = bytes.read_vec(ByteOffset(data), 16_384).unwrap();
        // The short entry of the file whose name is a word and a dot less extension.
        let entry = root.chunks(32).position(|e| e.starts_with(b"GR\x9aN    TXT")).expect("in the root");
        let at = data + entry as u64 * 32;
        assert!(open(&bytes).open("/gr\u{fc}n.txt".as_bytes()).unwrap().is_some());
        for (high, low) in [(0, 1), (1, 0xfff0), (0x0fff, 0xfff5), (0xffff, 0xffff)] {
            let bad = over(&bytes, &[(at + 20, &u16::to_le_bytes(high)), (at + 26, &u16::to_le_bytes(low))]);
            let read = open(&bad).open("/gr\u{fc}n.txt".as_bytes());
            assert!(matches!(read, Err(FsError::Corrupt(_))), "{high:x} {low:x}");
        }
    }
}

/// A FAT32 with fewer clusters than the specification asks for, which Linux reads all the same.
#[test]
fn a_small_fat32_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "fat.img", 8 * MIB);
    run("dosfstools", "mkfs.vfat", &["-F", "32", path.to_str().unwrap()], "");
    let bytes = image(&path);
    assert_eq!(info(&bytes).width, 32);
    let fs = open(&bytes);
    assert_eq!(fs.stat(b"/x").unwrap(), None);
    assert_eq!(fs.coverage().method, CaptureMethod::UsedBlocks);
}

fn exercise(bytes: &Arc<dyn ReadAt>) {
    let (content, _) = content::identify(&path(), bytes);
    let c = coverage::of(&content, bytes.clone());
    assert!(Extent::whole(bytes.size()).contains(c.used.iter().last().unwrap_or(Extent::whole(ByteLen::ZERO))));
    let Content::Fat(_) = content else { return };
    let Ok(fs) = fs::open(&content, bytes.clone()) else { return };
    for dir in ["/", "/EFI/debian", "/many", "/loader/entries"] {
        for file in fs.read_dir(dir.as_bytes(), 5).unwrap_or_default() {
            let name = [dir.as_bytes(), b"/", &file.name.0].concat();
            if let Ok(Some(f)) = fs.open(&name)
                && f.size().0 < 8 * MIB
            {
                let _ = f.read_vec(ByteOffset(0), usize::try_from(f.size().0).unwrap());
            }
        }
    }
}

/// Seeded mutations of the boot sector, the tables and the directories: never a panic, nothing outside the volume.
#[test]
fn mutated_volumes_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    for (n, (_, size, args)) in [SHAPES[0], SHAPES[1], SHAPES[2]].into_iter().enumerate() {
        let base = image(&make(dir.path(), size, args));
        let (one, two) = tables(&base);
        let data = two + (two - one);
        let mut rng = Seeded(7 + n as u64);
        for _ in 0..60 {
            let mut patches = Vec::new();
            for _ in 0..=rng.below(6) {
                let at = match rng.below(4) {
                    0 => 11 + rng.below(60),
                    1 => one + rng.below(400),
                    2 => two + rng.below(400),
                    _ => data + rng.below(16_384),
                };
                patches.push((at, [rng.byte()]));
            }
            let patches: Vec<(u64, &[u8])> = patches.iter().map(|(at, b)| (*at, b.as_slice())).collect();
            exercise(&over(&base, &patches));
        }
    }
}
