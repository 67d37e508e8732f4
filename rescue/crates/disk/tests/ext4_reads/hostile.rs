//! Images with bytes changed: nothing panics, nothing runs on, nothing takes memory without a bound.

use super::tools::{Image, Noise, e2, said};
use crate::changed::Changed;
use disk::fs::FileSystem;
use disk::fs::ext4::{Ext4, identify};
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent};
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything a caller does with a file system, on as much of it as is there.
fn look_everywhere(bytes: Arc<dyn ReadAt>) {
    let _ = identify(&bytes);
    let size = bytes.size();
    let Ok(fs) = Ext4::load(bytes) else { return };
    let coverage = fs.coverage();
    assert!(coverage.used.iter().all(|e| Extent::whole(size).contains(e)), "in use outside the volume");
    assert!(coverage.used.covers(Extent::between(0, 2048).unwrap()), "the superblock is in use");
    assert!(fs.cuts().after(0) > 0);
    let mut ahead = vec![Vec::new()];
    let mut looked = 0;
    while let Some(path) = ahead.pop() {
        for entry in fs.read_dir(&path, 50).unwrap_or_default() {
            looked += 1;
            if looked > 200 {
                return;
            }
            let path = [&path[..], b"/", &entry.name.0].concat();
            let _ = fs.stat(&path);
            match entry.kind {
                FileKind::Directory if path.len() < 200 => ahead.push(path),
                FileKind::Symlink => {
                    let _ = fs.read_link(&path);
                    let _ = fs.open(&path);
                }
                FileKind::File => {
                    if let Ok(Some(file)) = fs.open(&path) {
                        let len = file.size().0;
                        for at in [0, len / 2, len.saturating_sub(5000)] {
                            let part = usize::try_from((len - at).min(70_000)).unwrap();
                            let _ = file.read_vec(ByteOffset(at), part);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// Small images whose checksums do not stand in the way, and one whose do.
fn images() -> Vec<(&'static str, Image)> {
    let tree = tempfile::tempdir().unwrap();
    let mut noise = Noise::new(1);
    fs::create_dir(tree.path().join("dir")).unwrap();
    for i in 0..60 {
        fs::write(tree.path().join(format!("dir/{i}-{}", "n".repeat(40))), noise.bytes(i * 3)).unwrap();
    }
    fs::write(tree.path().join("large"), noise.bytes(400_000)).unwrap();
    let pieces = fs::File::create(tree.path().join("pieces")).unwrap();
    for i in 0..200u64 {
        std::os::unix::fs::FileExt::write_all_at(&pieces, &[7; 1024], i * 8192).unwrap();
    }
    symlink("dir", tree.path().join("link")).unwrap();
    symlink("x/".repeat(60), tree.path().join("long")).unwrap();
    let make = |args: &[&str]| {
        let image = Image::make(8, &[args, &["-b", "1024", "-N", "128"]].concat(), Some(tree.path()));
        if !args.contains(&"ext2") {
            let blocks: Vec<String> = (300..340).map(|b| b.to_string()).collect();
            let data = image.beside("data", &Noise::new(9).bytes(blocks.len() * 1024));
            let revoke = image.beside("none", b"");
            let out = image.debugfs(&[
                "jo".into(),
                format!("jw -b {} {}", blocks.join(","), data.display()),
                format!("jw -r 301,302,400 {}", revoke.display()),
                format!("jw -b {} {}", blocks[..20].join(","), data.display()),
                "jc".into(),
            ]);
            assert!(!out.contains("sage"), "{out}");
            assert!(Ext4::load(image.bytes()).unwrap().replayed() > 1);
        }
        image
    };
    vec![
        ("ext4 without checksums", make(&["-t", "ext4", "-O", "^metadata_csum,^uninit_bg"])),
        ("ext4 with a small meta_bg", make(&["-t", "ext4", "-g", "512", "-O", "^metadata_csum,meta_bg,^resize_inode"])),
        ("ext3", make(&["-t", "ext3"])),
        ("ext2", make(&["-t", "ext2"])),
        ("inline data", make(&["-t", "ext4", "-O", "^metadata_csum,inline_data"])),
        ("bigalloc", make(&["-t", "ext4", "-O", "^metadata_csum,bigalloc", "-C", "4096"])),
        ("ext4", make(&["-t", "ext4"])),
    ]
}

/// The bytes of an image that steer its reading: superblock, descriptors, the inodes in use, directories, the log.
fn steering(image: &Image, base: &[u8]) -> Vec<std::ops::Range<usize>> {
    let text = said(e2("dumpe2fs").arg(&image.path));
    let table = text.lines().find_map(|l| l.trim().strip_prefix("Inode table at ")).unwrap();
    let table: usize = table.split(['-', ' ']).next().unwrap().parse().unwrap();
    let mut places = vec![1024..1024 + 0x280, 2048..2048 + 256, table * 1024..table * 1024 + 24 * 256];
    for name in ["<2>", "dir", "<8>", "pieces"] {
        let text = said(e2("debugfs").arg("-R").arg(format!("blocks {name}")).arg(&image.path));
        for block in text.split_whitespace().take(8).filter_map(|b| b.parse::<usize>().ok()).filter(|b| *b != 0) {
            places.push(block * 1024..block * 1024 + 200);
        }
    }
    places.retain(|p| p.end <= base.len());
    places
}

#[test]
fn changed_bytes_never_panic_and_cost_little() {
    let began = Instant::now();
    for (name, image) in images() {
        let base = Arc::new(fs::read(&image.path).unwrap());
        look_everywhere(Arc::new(Changed::new(&base, Vec::new())));
        let places = steering(&image, &base);
        let mut noise = Noise::new(42);
        for seed in 0..250 {
            let mut changes = Vec::new();
            for _ in 0..1 + noise.below(4) {
                let place = places[noise.below(places.len())].clone();
                let at = place.start + noise.below(place.len());
                let byte = match noise.below(4) {
                    0 => 0,
                    1 => 0xff,
                    2 => base[at] ^ 1 << noise.below(8),
                    _ => u8::try_from(noise.below(256)).unwrap(),
                };
                // Whole fields, now and then.
                for i in 0..[1, 1, 2, 4][noise.below(4)] {
                    changes.push((at + i, byte));
                }
            }
            let changed = Arc::new(Changed::new(&base, changes));
            let one = Instant::now();
            look_everywhere(changed.clone());
            let (took, read) = (one.elapsed(), changed.read());
            assert!(
                took < Duration::from_secs(10) && read < 1 << 30,
                "{name}, seed {seed}: {took:?} and {read} bytes for {:?}",
                changed.changes
            );
        }
    }
    assert!(began.elapsed() < Duration::from_secs(120), "{:?}", began.elapsed());
}

/// Fields of the superblock that have brought readers down, each with values that should not be.
#[test]
fn a_superblock_that_cannot_be_is_refused_in_words() {
    let image = Image::make(8, &["-t", "ext4", "-O", "^metadata_csum"], None);
    let base = Arc::new(fs::read(&image.path).unwrap());
    let fields: &[(&str, usize, usize)] = &[
        ("s_inodes_count", 0x0, 4),
        ("s_blocks_count_lo", 0x4, 4),
        ("s_first_data_block", 0x14, 4),
        ("s_log_block_size", 0x18, 4),
        ("s_log_cluster_size", 0x1c, 4),
        ("s_blocks_per_group", 0x20, 4),
        ("s_clusters_per_group", 0x24, 4),
        ("s_inodes_per_group", 0x28, 4),
        ("s_inode_size", 0x58, 2),
        ("s_reserved_gdt_blocks", 0xce, 2),
        ("s_journal_inum", 0xe0, 4),
        ("s_desc_size", 0xfe, 2),
        ("s_first_meta_bg", 0x104, 4),
        ("s_blocks_count_hi", 0x150, 4),
        ("s_mmp_block", 0x168, 8),
        ("s_feature_incompat", 0x60, 4),
        ("s_feature_ro_compat", 0x64, 4),
    ];
    for (name, at, len) in fields {
        for value in [0, 1, 2, 3, 7, 8, 31, 33, 63, 127, 255, 256, 1000, 65_535, 1 << 31, u64::from(u32::MAX), u64::MAX]
        {
            let bytes = value.to_le_bytes();
            let changes = (0..*len).map(|i| (1024 + at + i, bytes[i])).collect();
            let changed = Changed::new(&base, changes);
            let began = Instant::now();
            let changed: Arc<dyn ReadAt> = Arc::new(changed);
            if let Err(e) = identify(&changed) {
                let text = e.to_string();
                assert!(text.len() > 20 && !text.ends_with('.'), "{name} {value}: {text}");
            }
            look_everywhere(changed);
            assert!(began.elapsed() < Duration::from_secs(5), "{name} {value}: {:?}", began.elapsed());
        }
    }
}

/// A file that says it is huge is not believed with memory, nor read for ever.
#[test]
fn a_size_that_cannot_be_is_refused() {
    let tree = tempfile::tempdir().unwrap();
    fs::write(tree.path().join("file"), b"small").unwrap();
    fs::create_dir(tree.path().join("dir")).unwrap();
    symlink("y".repeat(100), tree.path().join("link")).unwrap();
    let image = Image::make(8, &["-t", "ext4"], Some(tree.path()));
    image.debugfs(&[
        "set_inode_field file size 0x4000000000000000".into(),
        "set_inode_field dir size 0xf0000000".into(),
        "set_inode_field link size 0xf0000000".into(),
    ]);
    let fs = image.open();
    assert!(fs.open(b"/file").err().unwrap().to_string().contains("bytes long"));
    assert!(fs.read_dir(b"/dir", 9).err().unwrap().to_string().contains("bytes long"));
    assert!(fs.read_link(b"/link").err().unwrap().to_string().contains("bytes long"));
    // The directory they are in is listed all the same.
    assert_eq!(fs.read_dir(b"/", 9).unwrap().len(), 4);
}
