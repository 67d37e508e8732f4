//! File systems that mkfs.xfs makes: layouts, and what is in use by three programs that find it in ways of their own.

use crate::host::{image, patch, run};
use crate::tools::{Free, free, made, open, xfs_db};
use disk::fs::FileSystem;
use disk::fs::xfs::{Xfs, identify};
use disk::{content, coverage};
use model::coverage::CaptureMethod;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, FileKind};
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent, ExtentSet};
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// What is made, and the bytes of a block and blocks of a group that come of it.
const LAYOUTS: [(&str, &[&str], u64, u64); 4] = [
    ("version 4", &["-m", "crc=0", "-d", "agcount=3"], 4096, 4096),
    (
        "version 4 of old",
        &["-m", "crc=0", "-n", "ftype=0", "-i", "attr=1,projid32bit=0", "-b", "size=1024", "-d", "agcount=3"],
        1024,
        16384,
    ),
    ("sectors of 4096", &["-s", "size=4096", "-d", "agcount=3"], 4096, 4096),
    ("blocks of 64 KiB", &["-b", "size=65536", "-d", "agcount=1"], 65536, 768),
];

/// A prototype of a tree (mkfs.xfs(8)) with directories of every form.
fn prototype(dir: &Path) -> PathBuf {
    let content = dir.join("content");
    fs::write(&content, "some content\n".repeat(3000)).unwrap();
    let content = content.to_str().unwrap();
    let mut text = format!(
        "/stand/boot\n0 0\nd--755 0 0\nplain ---644 7 8 {content}\nlink l--777 0 0 etc/os-release\netc d--755 0 0\nos-release ---644 0 0 {content}\n$\nmany d--755 0 0\n"
    );
    for i in 0..700 {
        text += &format!("an-entry-with-a-name-of-some-length-{i} ---600 {i} 0 /dev/null\n");
    }
    text += "$\nnull c--666 0 0 1 3\n$\n";
    let path = dir.join("prototype");
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn layouts_are_read_and_their_free_space_agrees_with_xfs_db() {
    for (name, args, block, group) in LAYOUTS {
        let dir = tempfile::tempdir().unwrap();
        let path = made(dir.path(), 48, args, Some(&prototype(dir.path())));
        let bytes = image(&path);
        let info = identify(&bytes).unwrap().unwrap();
        assert!(!info.needs_recovery && info.log_head.is_some(), "{name}: {info:?}");
        assert_eq!(u64::from(info.block_size), block, "{name}");
        let xfs = open(&bytes);
        let listed = xfs.read_dir(b"/many", 10_000).unwrap();
        assert_eq!(listed.len(), 700, "{name}");
        crate::contract::listings(&xfs, "/many", "/plain");
        let plain = xfs.open(b"/plain").unwrap().unwrap();
        assert_eq!(
            plain.read_vec(ByteOffset(0), 39_000).unwrap(),
            "some content\n".repeat(3000).into_bytes(),
            "{name}"
        );
        assert_eq!(xfs.read_link(b"/link").unwrap().unwrap(), b"etc/os-release", "{name}");
        assert_eq!(xfs.stat(b"/null").unwrap().unwrap().kind, FileKind::Special, "{name}");
        let named = xfs.find(b"/many/an-entry-with-a-name-of-some-length-300").unwrap().unwrap();
        assert_eq!(named.attributes.unwrap().owner, 300, "{name}");

        let commands: Vec<String> = std::iter::once("freesp -d".to_owned())
            .chain((0..info.blocks.div_ceil(group)).flat_map(|no| [format!("agf {no}"), "print freeblks".to_owned()]))
            .collect();
        let theirs = Free::parse(&xfs_db(&path, &commands.iter().map(|c| &c[..]).collect::<Vec<_>>()), block, group);
        let ours = free(&xfs, bytes.size());
        assert!(ours.iter().all(|run| theirs.runs.covers(run)), "{name}");
        assert_eq!(ours.total().0, theirs.blocks * block, "{name}");
    }
}

/// What partclone would save, from the map it writes for ddrescue.
fn by_partclone(path: &Path) -> ExtentSet {
    let map = path.with_extension("map");
    let log = path.with_extension("log");
    let args = ["-D", "-q", "-s", path.to_str().unwrap(), "-o", map.to_str().unwrap(), "-L", log.to_str().unwrap()];
    run("partclone", "partclone.xfs", &args, "");
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let text = fs::read_to_string(map).unwrap();
    let used = text.lines().filter_map(|line| line.strip_suffix('+')).map(|line| {
        let mut fields = line.split_whitespace().map(number);
        let (at, len) = (fields.next().unwrap(), fields.next().unwrap());
        Extent::between(at, at + len).unwrap()
    });
    used.collect()
}

#[test]
fn partclone_saves_the_same_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let path = made(dir.path(), 48, &["-d", "agcount=3"], Some(&prototype(dir.path())));
    let ours = open(&image(&path)).coverage().used;
    let theirs = by_partclone(&path);
    for run in theirs.iter() {
        assert!(ours.covers(run), "{run:?} is in use for partclone alone");
    }
    // The free lists (four blocks in each group, at first) are in use here, and not there.
    let more = ours.total().0 - theirs.total().0;
    assert!(more <= 3 * 16 * 4096, "{more}");
}

/// What is put back has all that a check looks at: every byte outside of what is in use is lost before it.
#[test]
fn what_is_in_use_is_a_whole_file_system_for_xfs_repair() {
    let dir = tempfile::tempdir().unwrap();
    let path = made(dir.path(), 48, &["-d", "agcount=3"], Some(&prototype(dir.path())));
    let bytes = image(&path);
    let used = open(&bytes).coverage().used;
    let back = dir.path().join("back");
    let file = fs::File::create(&back).unwrap();
    file.set_len(48 << 20).unwrap();
    // Not zeros: what is not there may hold anything.
    for gap in used.gaps(Extent::whole(bytes.size())).iter() {
        file.write_all_at(&vec![0xa5; gap.len().to_usize().unwrap()], gap.start().0).unwrap();
    }
    for run in used.iter() {
        file.write_all_at(&bytes.read_vec(run.start(), run.len().to_usize().unwrap()).unwrap(), run.start().0).unwrap();
    }
    drop(file);
    run("xfsprogs", "xfs_repair", &["-n", "-f", back.to_str().unwrap()], "");
    assert_eq!(open(&image(&back)).read_dir(b"/many", 10_000).unwrap().len(), 700);
}

fn identified(path: &Path) -> (Content, Vec<String>) {
    let (content, findings) = content::identify(&VolumePath::whole(DiskNo(0)), &image(path));
    (content, findings.into_iter().map(|f| f.says.to_string()).collect())
}

#[test]
fn what_is_not_known_is_saved_byte_for_byte_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = made(dir.path(), 48, &["-d", "agcount=3"], None);
    // Bit 8 of the incompatible features: directories of metadata. The checksum is made again by xfs_db.
    run(
        "xfsprogs",
        "xfs_db",
        &["-x", "-c", "sb 0", "-c", "write -d features_incompat 0x10b", path.to_str().unwrap()],
        "",
    );
    let (content, findings) = identified(&path);
    let Content::Xfs(info) = &content else { panic!("{content:?}") };
    assert!(info.not_read.as_ref().unwrap().as_str().contains("0x100"), "{info:?}");
    assert!(findings.iter().any(|f| f.contains("not read")), "{findings:?}");
    let bytes = image(&path);
    let raw = coverage::of(&content, bytes.clone());
    assert_eq!((raw.method, raw.used.total()), (CaptureMethod::Raw, bytes.size()));
    assert!(Xfs::load(bytes).is_err());
    // A log on another device.
    let path = made(dir.path(), 48, &["-m", "crc=0", "-d", "agcount=3"], None);
    patch(&path, 48, &[0; 8]);
    let (content, _) = identified(&path);
    let Content::Xfs(info) = &content else { panic!("{content:?}") };
    assert!(info.not_read.as_ref().unwrap().as_str().contains("another device"), "{info:?}");
}

/// A group whose free space does not hold together is kept whole; the others are not.
#[test]
fn damage_costs_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = made(dir.path(), 48, &["-d", "agcount=3"], None);
    let group = 4096 * 4096;
    let used = |path: &Path| open(&image(path)).coverage();
    let before = used(&path);
    assert!(!before.used.covers(Extent::between(group + (8 << 20), group + (9 << 20)).unwrap()));
    patch(&path, group + 512 + 52, &[0xff]);
    let after = used(&path);
    assert!(after.used.covers(Extent::between(group, 2 * group).unwrap()));
    assert!(after.why.as_str().contains("1 of 3 groups"), "{}", after.why);
    assert!(!after.used.covers(Extent::between(2 * group, 3 * group).unwrap()));
}
