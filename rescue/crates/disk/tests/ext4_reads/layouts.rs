//! Every layout mke2fs can make: what is in use, and what is in the files.

use super::tools::{Image, assert_same, e2, said, tree};
use disk::fs::FileSystem;
use disk::fs::ext4::{Ext4, identify};
use model::coverage::CaptureMethod;
use model::inspection::FsKind;
use model::ports::{ReadAt, Window};
use model::units::{ByteLen, ByteOffset, Extent};
use std::path::Path;
use std::sync::Arc;

/// Name, size in MiB, what mke2fs is told.
pub(super) const LAYOUTS: &[(&str, u64, &[&str])] = &[
    ("ext2", 16, &["-t", "ext2"]),
    ("ext2 revision 0", 16, &["-t", "ext2", "-r", "0", "-b", "1024"]),
    ("ext2 without sparse_super", 32, &["-t", "ext2", "-b", "1024", "-O", "^sparse_super,^resize_inode,^filetype"]),
    ("ext3", 24, &["-t", "ext3"]),
    ("ext3, 1 KiB blocks", 32, &["-t", "ext3", "-b", "1024"]),
    ("ext4", 64, &["-t", "ext4"]),
    ("ext4, 1 KiB blocks", 40, &["-t", "ext4", "-b", "1024"]),
    ("ext4, 2 KiB blocks", 24, &["-t", "ext4", "-b", "2048"]),
    ("ext4, 64 KiB blocks", 64, &["-t", "ext4", "-b", "65536", "-O", "^resize_inode"]),
    ("bigalloc", 64, &["-t", "ext4", "-O", "bigalloc", "-C", "65536"]),
    ("bigalloc, 1 KiB blocks", 32, &["-t", "ext4", "-b", "1024", "-O", "bigalloc", "-C", "16384", "-g", "8192"]),
    ("not 64bit", 32, &["-t", "ext4", "-O", "^64bit"]),
    ("uninit_bg", 64, &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg"]),
    ("uninit_bg, not 64bit", 64, &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg,^64bit"]),
    ("no checksums", 24, &["-t", "ext4", "-O", "^metadata_csum,^uninit_bg"]),
    ("meta_bg", 40, &["-t", "ext4", "-b", "1024", "-g", "512", "-O", "meta_bg,^resize_inode"]),
    (
        "meta_bg, not 64bit, no flex_bg",
        40,
        &["-t", "ext4", "-b", "1024", "-g", "512", "-O", "meta_bg,^resize_inode,^64bit,^flex_bg,^metadata_csum"],
    ),
    ("sparse_super2", 40, &["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "sparse_super2,^resize_inode"]),
    ("sparse_super2 with room to grow", 40, &["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "sparse_super2"]),
    ("no flex_bg", 40, &["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "^flex_bg"]),
    ("flex_bg of 4", 40, &["-t", "ext4", "-b", "1024", "-g", "1024", "-G", "4"]),
    ("flex_bg of 64", 40, &["-t", "ext4", "-b", "1024", "-g", "1024", "-G", "64"]),
    ("inline_data", 32, &["-t", "ext4", "-O", "inline_data"]),
    ("inline_data, 512-byte inodes", 32, &["-t", "ext4", "-b", "1024", "-I", "512", "-O", "inline_data"]),
    ("128-byte inodes", 24, &["-t", "ext4", "-I", "128"]),
    ("orphan_file", 32, &["-t", "ext4", "-O", "orphan_file"]),
    ("quota and project", 32, &["-t", "ext4", "-O", "quota,project"]),
    ("mmp", 24, &["-t", "ext4", "-O", "mmp"]),
    (
        "many features",
        32,
        &[
            "-t",
            "ext4",
            "-O",
            "metadata_csum_seed,large_dir,ea_inode,encrypt,verity,casefold,fast_commit,stable_inodes",
        ],
    ),
];

#[test]
fn what_is_in_use_and_in_the_files_of_every_layout() {
    let tree = tree(300);
    for (name, mib, args) in LAYOUTS {
        let image = Image::make(*mib, args, Some(tree.path()));
        check(name, &image, tree.path());
    }
}

fn check(name: &str, image: &Image, tree: &Path) {
    let fs = image.open();
    assert_eq!(fs.doubt(), None, "{name}");
    let coverage = fs.coverage();
    assert_eq!(coverage.method, CaptureMethod::UsedBlocks, "{name}: {}", coverage.why);
    assert!(!coverage.why.as_str().contains("whole"), "{name}: {}", coverage.why);
    let expected = image.not_free();
    if coverage.used != expected {
        let whole = Extent::whole(image.bytes().size());
        let more: Vec<_> =
            coverage.used.iter().flat_map(|e| expected.gaps(whole).clip(e).iter().collect::<Vec<_>>()).collect();
        let less: Vec<_> =
            expected.iter().flat_map(|e| coverage.used.gaps(whole).clip(e).iter().collect::<Vec<_>>()).collect();
        panic!("{name}: we have more in use at {more:?}, dumpe2fs at {less:?}");
    }
    assert_same(&fs, b"", tree);
}

/// e2fsck -D rebuilds directories with an index over their names.
#[test]
fn an_indexed_directory_is_read_whole() {
    let tree = tree(1000);
    for args in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext4", "-b", "1024", "-O", "large_dir"], &["-t", "ext3"]] {
        let image = Image::make(48, args, Some(tree.path()));
        let output = e2("e2fsck").args(["-fyD"]).arg(&image.path).output().unwrap();
        assert!(output.status.code().unwrap() <= 1, "{}", String::from_utf8_lossy(&output.stdout));
        let htree = image.debugfs(&["htree_dump many".into()]);
        assert!(htree.contains("Number of entries"), "the directory has no index: {htree}");
        assert_same(&image.open(), b"", tree.path());
    }
}

#[test]
fn paths_lead_where_the_kernel_would_go() {
    let tree = tree(12);
    let image = Image::make(24, &["-t", "ext4"], Some(tree.path()));
    let fs = image.open();
    let read = |path: &str| {
        let file = fs.open(path.as_bytes()).unwrap()?;
        Some(file.read_vec(ByteOffset(0), file.size().to_usize().unwrap()).unwrap())
    };
    for path in
        ["/deep/er/still/here", "deep//er/./still/here/", "/way/er/shortcut/here", "/../deep/er/../er/still/here"]
    {
        assert_eq!(read(path).as_deref(), Some(&b"found"[..]), "{path}");
    }
    assert_eq!(read("/long-link").unwrap().len(), 100);
    for path in ["/loop", "/loop/x", "/dangling", "/file-100/x", "/nowhere", "/deep", "/", "", "/fifo"] {
        assert_eq!(read(path), None, "{path}");
    }
    let names = |path: &str, most| -> Vec<_> {
        fs.read_dir(path.as_bytes(), most).unwrap().into_iter().map(|f| f.name.0).collect()
    };
    assert_eq!(names("/way/er/shortcut", 9), [b"here"]);
    assert_eq!(names("/many", 2).len(), 2);
    assert_eq!(names("/many", 0), Vec::<Vec<u8>>::new());
    assert_eq!(names("/file-100", 9), Vec::<Vec<u8>>::new());
    crate::contract::listings(&fs, "/many", "/file-100");
    assert_eq!(fs.read_link(b"/way/er").unwrap(), None);
    assert_eq!(fs.read_link(b"/way").unwrap().as_deref(), Some(&b"deep"[..]));
    assert_eq!(fs.stat(b"/nowhere/x").unwrap(), None);
    assert!(fs.stat(b"/").unwrap().is_some());
}

/// Blocks that were allocated and never written hold whatever was there before: it must not come to light. And the data
/// behind them must not be lost.
#[test]
fn unwritten_blocks_read_as_zeros() {
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join("stale"), vec![0xaa; 4 << 20]).unwrap();
    std::fs::write(tree.path().join("data"), vec![0x55; 20_000]).unwrap();
    let image = Image::make(16, &["-t", "ext4", "-b", "4096"], Some(tree.path()));
    image.debugfs(&[
        "rm stale".into(),
        "write /dev/null new".into(),
        "fallocate new 0 200".into(),
        "set_inode_field new size 400000".into(),
        "fallocate data 5 90".into(),
        "set_inode_field data size 360000".into(),
    ]);
    let fs = image.open();
    let file = fs.open(b"/new").unwrap().unwrap();
    assert_eq!(file.read_vec(ByteOffset(0), 400_000).unwrap(), vec![0; 400_000]);
    let file = fs.open(b"/data").unwrap().unwrap();
    let bytes = file.read_vec(ByteOffset(0), 360_000).unwrap();
    assert!(bytes[..20_000].iter().all(|b| *b == 0x55) && bytes[20_000..].iter().all(|b| *b == 0));
    // They are in use all the same.
    assert_eq!(fs.coverage().used, image.not_free());
}

/// Enough pieces for a tree with inner nodes.
#[test]
fn deep_extent_trees_and_deep_block_maps_are_followed() {
    for args in [&["-t", "ext4", "-b", "1024"][..], &["-t", "ext2", "-b", "1024"]] {
        let tree = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(tree.path().join("pieces")).unwrap();
        for i in 0..3000u64 {
            std::os::unix::fs::FileExt::write_all_at(&file, &i.to_le_bytes().repeat(128), i * 24_576).unwrap();
        }
        drop(file);
        let image = Image::make(16, args, Some(tree.path()));
        check("pieces", &image, tree.path());
    }
}

#[test]
fn the_superblock_says_what_it_says() {
    let image = Image::make(
        16,
        &["-t", "ext4", "-U", "00112233-4455-6677-8899-aabbccddeeff", "-L", "the label", "-M", "/mnt/x", "-b", "1024"],
        None,
    );
    said(e2("tune2fs").args(["-C", "7", "-T", "20400101000000"]).arg(&image.path));
    let info = identify(&image.bytes()).unwrap().unwrap();
    assert_eq!(info.kind, FsKind::Ext4);
    assert_eq!(info.uuid, "00112233-4455-6677-8899-aabbccddeeff");
    assert_eq!(info.label.as_str(), "the label");
    assert_eq!(info.last_mounted.as_str(), "/mnt/x");
    assert_eq!((info.block_size, info.blocks, info.mount_count), (1024, 16384, 7));
    assert!(info.has_journal && !info.needs_recovery);
    assert_eq!(info.unknown_features, (0, 0, 0));
    assert_eq!(info.checked_at, 2_208_988_800, "past 2038");
    assert_eq!(info.journal_sequence, Some(1));
    assert_eq!(info.last_commit_at, None, "never mounted");
    let free = said(e2("dumpe2fs").arg("-h").arg(&image.path));
    assert!(free.contains(&format!("Free blocks:              {}\n", info.free_blocks)), "{free}");
    for (args, kind) in [("ext2", FsKind::Ext2), ("ext3", FsKind::Ext3)] {
        let image = Image::make(8, &["-t", args], None);
        assert_eq!(identify(&image.bytes()).unwrap().unwrap().kind, kind);
    }
    let nothing: Arc<dyn ReadAt> = Arc::new(vec![0u8; 8192]);
    assert_eq!(identify(&nothing).unwrap(), None);
}

/// Where the maps prove nothing, everything is saved, and it is said why.
#[test]
fn what_is_not_proven_is_captured_raw() {
    let raw = |image: &Image, word: &str| {
        let fs = image.open();
        let coverage = fs.coverage();
        assert_eq!(coverage.method, CaptureMethod::Raw, "{word}: {}", coverage.why);
        assert!(coverage.why.as_str().contains(word), "{word}: {}", coverage.why);
        assert_eq!(coverage.used.total(), image.bytes().size());
    };
    let set = |args: &[&str], field: &str, value: &str| {
        let image = Image::make(8, args, None);
        image.debugfs(&[format!("set_super_value {field} {value}")]);
        image
    };
    raw(&set(&["-t", "ext4"], "state", "3"), "errors");
    raw(&set(&["-t", "ext2"], "state", "0"), "not unmounted");
    raw(&set(&["-t", "ext4"], "feature_compat", "0x8000003c"), "unknown features 0x80000000");
    let image = set(&["-t", "ext4"], "feature_incompat", "0x800002c2");
    assert_eq!(identify(&image.bytes()).unwrap().unwrap().unknown_features.1, 0x8000_0000);
    assert!(Ext4::load(image.bytes()).err().unwrap().to_string().contains("0x80000000"));
    // A journal elsewhere: what it holds is missing, unless it holds nothing.
    let image = set(&["-t", "ext4"], "journal_inum", "0");
    assert_eq!(image.open().coverage().method, CaptureMethod::UsedBlocks);
    image.debugfs(&["feature needs_recovery".into()]);
    assert!(Ext4::load(image.bytes()).err().unwrap().to_string().contains("another device"));
    let journal = Image::make(8, &["-O", "journal_dev"], None);
    assert!(identify(&journal.bytes()).err().unwrap().to_string().contains("another volume"));
}

/// A damaged map costs its group, no more.
#[test]
fn a_bitmap_with_a_wrong_checksum_means_its_whole_group() {
    let tree = tree(3);
    let args = ["-t", "ext4", "-b", "1024", "-g", "2048", "-O", "^flex_bg"];
    let image = Image::make(31, &args, Some(tree.path()));
    let before = image.open().coverage().used;
    // A group whose bitmap was written, with what dumpe2fs says of it.
    let text = said(e2("dumpe2fs").arg(&image.path));
    let (group, text) = text
        .split("\nGroup ")
        .skip(2)
        .find(|g| !g.lines().next().unwrap().contains("BLOCK_UNINIT"))
        .and_then(|g| g.split_once(':'))
        .unwrap();
    let group: u64 = group.parse().unwrap();
    let line = text.lines().find(|l| l.contains("Block bitmap at")).unwrap();
    let block: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    let bytes = image.bytes();
    let mut all = bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap();
    let at = usize::try_from(block * 1024 + 200).unwrap();
    all[at] ^= 1;
    let coverage = Ext4::load(Arc::new(all)).unwrap().coverage();
    assert_eq!(coverage.method, CaptureMethod::UsedBlocks);
    assert!(coverage.why.as_str().contains("1 of 16 groups kept whole"), "{}", coverage.why);
    let group = Extent::between((1 + group * 2048) * 1024, (1 + (group + 1) * 2048) * 1024).unwrap();
    assert_eq!(coverage.used, before.union(&[group].into_iter().collect()));
}

/// What lies behind the file system may be somebody's; a volume that ends too early is damage.
#[test]
fn a_volume_longer_or_shorter_than_its_file_system() {
    let image = Image::make(16, &["-t", "ext4"], None);
    said(e2("resize2fs").arg("-f").arg(&image.path).arg("8M"));
    std::fs::OpenOptions::new().write(true).open(&image.path).unwrap().set_len(16 << 20).unwrap();
    let used = image.open().coverage().used;
    assert!(used.covers(Extent::between(8 << 20, 16 << 20).unwrap()));
    assert!(used.total() < ByteLen(15 << 20));
    let short = Window::new(image.bytes(), Extent::between(0, (8 << 20) - 512).unwrap()).unwrap();
    let short: Arc<dyn ReadAt> = Arc::new(short);
    assert!(identify(&short).err().unwrap().to_string().contains("cut off"));
}
