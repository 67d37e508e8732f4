//! Everything that the kernel showed of the images that are kept: names, what is kept of each, attributes, content.

use super::fixtures::{self, NAMES};
use disk::fs::FileSystem;
use model::files::{Attributes, FileId, Layout};
use model::id::Digest;
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is shown of one path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Shown {
    kind: String,
    mode: u32,
    owners: (u32, u32),
    links: u32,
    size: u64,
    modified: i64,
    target: String,
    content: String,
    attributes: BTreeMap<String, String>,
}

/// Reads a list as `make.sh` writes it.
fn by_kernel(text: &str) -> BTreeMap<String, Shown> {
    let mut all: BTreeMap<String, Shown> = BTreeMap::new();
    let mut file = None;
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("# file: ") {
            file = Some(path.to_owned());
            continue;
        }
        if let Some((sum, path)) = line.split_once("  ./") {
            all.get_mut(path).unwrap().content = sum.to_owned();
            continue;
        }
        let fields: Vec<&str> = line.split('\t').collect();
        if let [path, kind, mode, owner, group, links, size, modified, target] = fields[..] {
            let (seconds, part) = modified.split_once('.').unwrap();
            let modified = seconds.parse::<i64>().unwrap() * 1_000_000_000 + part[..9].parse::<i64>().unwrap();
            let shown = Shown {
                kind: kind.to_owned(),
                mode: u32::from_str_radix(mode, 8).unwrap(),
                owners: (owner.parse().unwrap(), group.parse().unwrap()),
                links: links.parse().unwrap(),
                size: size.parse().unwrap(),
                modified,
                target: target.to_owned(),
                ..Shown::default()
            };
            all.insert(path.to_owned(), shown);
        } else if let (Some((name, value)), Some(file)) = (line.split_once('='), &file) {
            all.get_mut(file).unwrap().attributes.insert(name.to_owned(), value.trim_start_matches("0x").to_owned());
        }
    }
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The content of a file, put together from where it lies.
fn laid_out(fs: &dyn FileSystem, bytes: &Arc<dyn ReadAt>, file: FileId, size: ByteLen) -> Vec<u8> {
    let mut out = vec![0; usize::try_from(size.0).unwrap()];
    let mut at = ByteOffset(0);
    let mut put = |from: ByteOffset, bytes: &[u8]| {
        let from = usize::try_from(from.0).unwrap();
        out[from..from + bytes.len()].copy_from_slice(bytes);
    };
    while at.0 < size.0 {
        match fs.layout(file, at, 3).unwrap() {
            Layout::Within(bytes) => panic!("{} bytes with the inode", bytes.0.len()),
            Layout::Unpacked { from, bytes, end } => {
                assert!(from == at && end > at && end.0 <= size.0);
                put(from, &bytes.0);
                at = end;
            }
            Layout::Pieces { pieces, end } => {
                assert!(end > at);
                for (from, piece) in pieces {
                    put(from, &bytes.read_vec(piece.start(), piece.len().to_usize().unwrap()).unwrap());
                }
                at = end;
            }
        }
    }
    out
}

/// Everything that we see.
fn by_us(fs: &dyn FileSystem, bytes: &Arc<dyn ReadAt>) -> BTreeMap<String, Shown> {
    let mut all = BTreeMap::new();
    let mut ahead = vec![(fs.find(b"/").unwrap().unwrap().file, String::new())];
    while let Some((dir, above)) = ahead.pop() {
        // In two parts: what comes after the first is asked for by itself.
        let mut entries = fs.list(dir, 0, 7).unwrap();
        entries.extend(fs.list(dir, 7, usize::MAX).unwrap());
        for entry in entries {
            let path = format!("{above}{}", String::from_utf8(entry.name.0.clone()).unwrap());
            let a: Attributes = entry.attributes.clone().unwrap_or_else(|| panic!("{path} is damaged"));
            if a.kind == FileKind::Directory {
                ahead.push((entry.file, format!("{path}/")));
            }
            let found = fs.find(path.as_bytes()).unwrap().unwrap();
            assert_eq!(found, entry, "by its path and in its directory");
            let content = if a.kind == FileKind::File {
                let file = fs.open(path.as_bytes()).unwrap().unwrap();
                let whole = file.read_vec(ByteOffset(0), a.size.to_usize().unwrap()).unwrap();
                assert!(laid_out(fs, bytes, entry.file, a.size) == whole, "{path}: by its layout and by reading it");
                hex(&Digest::of(&whole).0)
            } else {
                String::new()
            };
            let kind = match a.mode & 0xf000 {
                0x8000 => "f",
                0x4000 => "d",
                0xa000 => "l",
                0x6000 => "b",
                0x1000 => "p",
                other => panic!("{path}: {other:#x}"),
            };
            let shown = Shown {
                kind: kind.to_owned(),
                mode: a.mode & 0o7777,
                owners: (a.owner, a.group),
                links: a.links,
                size: a.size.0,
                modified: a.modified.unwrap_or_default(),
                target: a.target.map(|t| String::from_utf8(t.0).unwrap()).unwrap_or_default(),
                content,
                attributes: a
                    .xattrs
                    .iter()
                    .map(|(name, value)| (String::from_utf8(name.0.clone()).unwrap(), hex(&value.0)))
                    .collect(),
            };
            all.insert(path, shown);
        }
    }
    all
}

/// Holds an image against what the kernel showed of it.
pub(crate) fn agrees(name: &str) {
    let image = fixtures::image(name);
    let fs = image.open();
    let (mut theirs, mut ours) = (by_kernel(&fixtures::shown(name)), by_us(&*fs, &image.bytes()));
    assert!(theirs.len() > 150, "{name}: {} things", theirs.len());
    let log = image.info().log;
    for all in [&mut theirs, &mut ours] {
        for shown in all.values_mut().filter(|s| s.kind == "d") {
            // A directory's size means nothing, and what the kernel writes when it works a log in has a time of its own.
            shown.size = 0;
            if log {
                shown.modified = 0;
            }
        }
    }
    for (path, shown) in &theirs {
        assert_eq!(ours.get(path), Some(shown), "{name}: {path}");
    }
    assert_eq!(ours.len(), theirs.len(), "{name}: nothing more is seen");
}

#[test]
fn all_is_seen_that_the_kernel_shows() {
    NAMES.into_iter().for_each(agrees);
}

#[test]
fn links_lead_within_the_subvolume_they_lie_in() {
    let fs = fixtures::image("today").open();
    let size = |path: &str| fs.open(path.as_bytes()).unwrap().map(|file| file.size().0);
    let release = size("/@/etc/os-release");
    assert!(release.is_some());
    assert_eq!(size("/@/absolute"), release, "it begins at the subvolume, which is the root of a system");
    assert_eq!(size("/saved/absolute"), release);
    assert_eq!(size("/absolute"), None);
    assert_eq!(size("/@/relative/../../../etc/../absolute"), release);
    assert_eq!(fs.read_link(b"/@/relative").unwrap().unwrap(), b"a/b/c");
    assert!(fs.read_dir(b"/@/relative", 9).unwrap().is_empty() && fs.stat(b"/@/inline/x").unwrap().is_none());
    let device = fs.find(b"/@/device").unwrap().unwrap().attributes.unwrap();
    assert_eq!(device.device, Some((259, 70_000)));
    let flags = |path: &str| fs.find(path.as_bytes()).unwrap().unwrap().attributes.unwrap().flags;
    assert_eq!((flags("/@/empty"), flags("/@/in-place") & 0x80_0000), (0x10, 0x80_0000));
}

#[test]
fn subvolumes_and_what_was_one() {
    let fs = fixtures::image("today").open();
    let all = fs.subvolumes().unwrap();
    let names: Vec<(&[u8], bool, bool)> = all.iter().map(|s| (&s.path[..], s.is_default, s.is_snapshot)).collect();
    let expected: [(&[u8], bool, bool); 5] = [
        (b"", true, false),
        (b"/@", false, false),
        (b"/@home", false, false),
        (b"/@/nested", false, false),
        (b"/saved", false, true),
    ];
    assert_eq!(names, expected);
    // Where a subvolume was when the one around it was copied, there is an empty directory.
    assert!(fs.stat(b"/@/nested/inside").unwrap().is_some());
    let nested = fs.find(b"/saved/nested").unwrap().unwrap();
    assert!(fs.list(nested.file, 0, 9).unwrap().is_empty());
    assert!(fs.stat(b"/saved/nested/inside").unwrap().is_none());
}
