//! Images that mkfs.btrfs makes with a tree in them: every kind of checksum, sizes of tree blocks, copies that are damaged.

use super::fixtures::Image;
use super::host::{blank, run};
use super::used::used;
use disk::content;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, FsKind};
use model::ports::ReadAt;
use model::units::ByteOffset;
use std::path::Path;

fn tree(at: &Path) {
    std::fs::create_dir_all(at.join("dir/deep")).unwrap();
    std::fs::write(at.join("dir/file"), vec![b'x'; 300_000]).unwrap();
    std::fs::write(at.join("dir/deep/small"), b"small").unwrap();
    for n in 0..500 {
        std::fs::write(at.join(format!("dir/{n}")), format!("{n}\n")).unwrap();
    }
}

fn made(dir: &Path, args: &[&str]) -> Image {
    let path = blank(dir, "image", 128 << 20);
    let root = dir.join("tree");
    let end = ["--rootdir", root.to_str().unwrap(), path.to_str().unwrap()];
    run("btrfs-progs", "mkfs.btrfs", &[&["-q"], args, &end].concat(), "");
    Image::read(&path)
}

#[test]
fn every_kind_of_checksum() {
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("tree"));
    let kinds: [&[&str]; 5] = [
        &["--csum", "crc32c", "-n", "4096"],
        &["--csum", "xxhash", "-L", "a label"],
        &["--csum", "sha256", "-n", "65536"],
        &["--csum", "blake2"],
        &["-m", "single", "-O", "^no-holes,^skinny-metadata"],
    ];
    for args in kinds {
        let image = made(dir.path(), args);
        let fs = image.open();
        assert_eq!(fs.read_dir(b"/dir", 10_000).unwrap().len(), 502, "{args:?}");
        crate::contract::listings(&*fs, "/dir", "/dir/file");
        let file = fs.open(b"/dir/file").unwrap().unwrap();
        assert_eq!(file.read_vec(ByteOffset(0), 300_000).unwrap(), vec![b'x'; 300_000], "{args:?}");
        let why = used(&image).why;
        assert!(why.as_str().contains("as its last transaction left it"), "{why}");
        let mut broken = image.clone();
        broken.put((64 << 10) + 0x1000 - 1, b"x");
        let (content, findings) = content::identify(&VolumePath::whole(DiskNo(0)), &broken.bytes());
        assert!(matches!(content, Content::Damaged { kind: FsKind::Btrfs, .. }), "{content:?} {findings:?}");
        let info = image.info();
        assert_eq!((info.devices, info.log, info.not_read), (1, false, None));
        assert_eq!(info.label.as_str(), if args.contains(&"-L") { "a label" } else { "" });
    }
}

/// Both copies of a block are there: one that is damaged is passed over, and the file system is whole.
#[test]
fn a_damaged_copy_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("tree"));
    let image = made(dir.path(), &["-m", "dup"]);
    let node = usize::try_from(16_384u32).unwrap();
    let fsid = image.get((64 << 10) + 0x20, 16);
    // Tree blocks by the address they say they have.
    let mut copies = std::collections::BTreeMap::<Vec<u8>, Vec<u64>>::new();
    for at in image.blocks() {
        let head = image.get(at, 0x40);
        if head[0x20..0x30] == fsid[..] && at != 64 << 10 && at != 64 << 20 {
            let block = image.get(at, node);
            if crc32c::crc32c(&block[32..]).to_le_bytes() == block[..4] {
                copies.entry(head[0x30..0x38].to_vec()).or_default().push(at);
            }
        }
    }
    let twice: Vec<&Vec<u64>> = copies.values().filter(|at| at.len() == 2).collect();
    assert!(twice.len() > 5, "{copies:?}");
    let seen = |image: &Image| image.open().read_dir(b"/dir", 10_000).unwrap().len();
    for which in [0, 1] {
        let mut damaged = image.clone();
        twice.iter().for_each(|at| damaged.put(at[which] + 500, b"damage"));
        assert_eq!(seen(&damaged), 502);
        assert_eq!(used(&damaged).used, used(&image).used);
    }
    // Of the last one of both, nothing is believed.
    let mut damaged = image.clone();
    twice.iter().for_each(|at| at.iter().for_each(|at| damaged.put(*at + 500, b"damage")));
    assert!(disk::fs::open(&damaged.content(), damaged.bytes()).is_err());
    let coverage = disk::coverage::of(&damaged.content(), damaged.bytes());
    assert_eq!(coverage.used.total(), damaged.size());
}

#[test]
fn a_lost_superblock_is_told_by_its_copy() {
    let dir = tempfile::tempdir().unwrap();
    tree(&dir.path().join("tree"));
    let mut image = made(dir.path(), &[]);
    let path = VolumePath::whole(DiskNo(0));
    image.put((64 << 10) + 0x50, b"damage");
    let (found, findings) = content::identify(&path, &image.bytes());
    let Content::Damaged { kind: FsKind::Btrfs, why } = found else { panic!("{found:?} {findings:?}") };
    assert!(why.as_str().contains("wrong checksum; the copy of its superblock at byte 67108864"), "{why}");
    image.put(64 << 10, &[0; 4096]);
    let (_, findings) = content::identify(&path, &image.bytes());
    assert!(findings.iter().any(|f| f.says.as_str().contains("a backup superblock of btrfs")), "{findings:?}");
}
