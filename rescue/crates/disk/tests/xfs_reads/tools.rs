//! Images: fixtures that a kernel made, and new ones that mkfs.xfs makes.

use crate::host::run;
use disk::fs::FileSystem;
use disk::fs::xfs::Xfs;
use model::files::{Attributes, FileId, Named};
use model::id::Digest;
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// A fixture's file, unpacked.
pub(crate) fn unpacked(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/xfs_reads/fixtures").join(name);
    zstd::stream::decode_all(fs::File::open(path).unwrap()).unwrap()
}

/// A fixture's image.
pub(crate) fn fixture(name: &str) -> Arc<dyn ReadAt> {
    Arc::new(unpacked(&format!("{name}.img.zst")))
}

pub(crate) fn open(bytes: &Arc<dyn ReadAt>) -> Xfs {
    Xfs::load(bytes.clone()).unwrap()
}

/// An image that `mkfs.xfs` makes, with a tree of its own. It makes none below 300 MB but for its own tests.
pub(crate) fn made(dir: &Path, mib: u64, args: &[&str], prototype: Option<&Path>) -> PathBuf {
    let path = crate::host::blank(dir, "image", mib << 20);
    let mut mkfs = Command::new("/usr/sbin/mkfs.xfs");
    mkfs.args(["-q", "-f"]).args(args).envs([("TEST_DIR", "x"), ("TEST_DEV", "x"), ("QA_CHECK_FS", "x")]);
    if let Some(prototype) = prototype {
        mkfs.arg("-p").arg(prototype);
    }
    let output = mkfs.arg(&path).output().unwrap_or_else(|e| panic!("this test needs xfsprogs: {e}"));
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    path
}

/// What xfs_db prints.
pub(crate) fn xfs_db(image: &Path, commands: &[&str]) -> String {
    let mut args = vec!["-r"];
    commands.iter().for_each(|c| args.extend(["-c", c]));
    args.push(image.to_str().unwrap());
    run("xfsprogs", "xfs_db", &args, "")
}

/// The bytes that are free, and how many blocks of each group its header says are, as `freesp -d` and `print freeblks` tell it.
pub(crate) struct Free {
    /// With the blocks of the free lists.
    pub(crate) runs: ExtentSet,
    pub(crate) blocks: u64,
}

impl Free {
    pub(crate) fn parse(text: &str, block: u64, group: u64) -> Self {
        let (mut runs, mut blocks) = (Vec::new(), 0);
        for line in text.lines() {
            if let Some(count) = line.strip_prefix("freeblks = ") {
                blocks += count.trim().parse::<u64>().unwrap();
                continue;
            }
            let numbers: Vec<u64> = line.split_whitespace().map_while(|n| n.parse().ok()).collect();
            if let [no, start, len] = numbers[..] {
                let at = (no * group + start) * block;
                runs.extend(Extent::between(at, at + len * block));
            }
        }
        Self { runs: runs.into(), blocks }
    }
}

/// What is free by our reader.
pub(crate) fn free(fs: &Xfs, size: ByteLen) -> ExtentSet {
    fs.coverage().used.gaps(Extent::whole(size))
}

/// A tree as the script beside the fixtures lists it.
pub(crate) fn tree(fs: &Xfs) -> Vec<String> {
    let root = fs.find(b"/").unwrap().unwrap();
    let mut lines = vec![line(fs, "/", &root)];
    let mut ahead = vec![(root.file, String::new())];
    while let Some((dir, path)) = ahead.pop() {
        let mut skip = 0;
        loop {
            let some = fs.list(dir, skip, 100).unwrap();
            skip += some.len();
            for entry in &some {
                let path = format!("{path}/{}", String::from_utf8(entry.name.0.clone()).unwrap());
                lines.push(line(fs, &path, entry));
                if attributes(entry).kind == FileKind::Directory {
                    ahead.push((entry.file, path));
                }
            }
            if some.len() < 100 {
                break;
            }
        }
    }
    lines.sort();
    lines
}

fn attributes(entry: &Named) -> &Attributes {
    entry.attributes.as_ref().unwrap_or_else(|| panic!("{:?} is damaged", entry.name))
}

fn line(fs: &Xfs, path: &str, entry: &Named) -> String {
    let a = attributes(entry);
    let hex = |bytes: &[u8]| Digest::of(bytes).to_string();
    let (kind, what) = match a.kind {
        FileKind::File => ("f", hex(&content(fs, path, entry.file))),
        FileKind::Directory => ("d", "-".to_owned()),
        FileKind::Symlink => ("l", hex(&a.target.as_ref().unwrap().0)),
        FileKind::Special => ("s", "-".to_owned()),
    };
    let size = if matches!(a.kind, FileKind::Directory) { 0 } else { a.size.0 };
    let device = a.device.map_or("-".to_owned(), |(major, minor)| format!("{major}:{minor}"));
    let mut xattrs: Vec<(&[u8], &[u8])> = a.xattrs.iter().map(|(k, v)| (&k.0[..], &v.0[..])).collect();
    xattrs.sort_unstable();
    let xattrs: Vec<Vec<u8>> = xattrs.into_iter().map(|(k, v)| [k, b"=", v, b"\n"].concat()).collect();
    let mode = format!("0o{:o}", a.mode);
    let modified = a.modified.unwrap();
    let (owner, group, links, count) = (a.owner, a.group, a.links, xattrs.len());
    format!(
        "{path} {kind} {mode} {owner} {group} {links} {size} {modified} {device} {what} {count}:{}",
        hex(&xattrs.concat())
    )
}

/// The content of a file, which has to be the same where its layout says that it lies.
fn content(fs: &Xfs, path: &str, id: FileId) -> Vec<u8> {
    let file = fs.open(path.as_bytes()).unwrap().unwrap();
    let bytes = file.read_vec(ByteOffset(0), file.size().to_usize().unwrap()).unwrap();
    let mut at = ByteOffset(0);
    while at.0 < bytes.len() as u64 {
        let model::files::Layout::Pieces { pieces, end } = fs.layout(id, at, 3).unwrap() else { panic!("{path}") };
        assert!(end > at, "{path}");
        assert!(pieces.iter().all(|(from, e)| from.0 + e.len().0 <= bytes.len() as u64));
        at = end;
    }
    bytes
}
