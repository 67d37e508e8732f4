//! Everything that is asked of a file system, on as much of it as is there.

use crate::image::Image;
use disk::fs::FileSystem;
use engine::gather;
use engine::parser::{Asked, Local, Parser, ParserError, State};
use model::assessment::Report;
use model::files::{FileId, Layout};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, FileKind, Hardware, Volume};
use model::ports::{DiskSource, ReadAt};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::Arc;

/// Most entries that are looked at.
const MOST_ENTRIES: usize = 150;
/// Bits of the flags of an input: what else is asked.
const CHANGES: u8 = 1;
const LOSSES: u8 = 1 << 1;
const DIFFERENCES: u8 = 1 << 2;
const CUTS: u8 = 1 << 3;

/// A disk of an inspection.
pub(crate) fn source(no: u16, bytes: Arc<dyn ReadAt>) -> DiskSource {
    let hardware = Hardware { serial: Some("1".into()), ..Hardware::image("fuzz", bytes.size()) };
    DiskSource { no: DiskNo(no), hardware, bytes, clear: None }
}

/// An answer, or nothing where there is none. One that the engine refused is a finding: our parser is not to give any.
pub(crate) fn answered<T>(answer: Result<T, ParserError>) -> Option<T> {
    match answer {
        Ok(answer) => Some(answer),
        Err(e) => {
            let why = e.to_string();
            assert!(!why.contains("answer was refused"), "{why}");
            None
        }
    }
}

/// Looks at disks as an inspection does, and at what of their volumes is worth saving. What of it is refused is a finding.
pub(crate) fn inspect(disks: Vec<DiskSource>) -> Report {
    let parser = Local::new(disks.clone());
    let report = gather::report(&disks, &parser, &|_| None);
    let findings = &report.inspection.findings;
    for finding in findings {
        let says = finding.says.as_str();
        assert!(!says.contains("answer was refused"), "{says}");
    }
    for (_, volume) in report.inspection.volumes() {
        answered(parser.coverage(volume));
        if let Some(mapping) = &volume.mapping {
            assert!(mapping.is_sound(volume.extent.len()), "{} is mapped unsoundly", volume.path);
        }
    }
    report
}

/// Looks at a disk that holds one file system and no table. `was` is how it was before it was changed.
pub(crate) fn look(image: &Image, was: &Image, flags: u8) {
    let bytes = image.bytes();
    let parser = Local::new(vec![source(0, bytes.clone())]);
    let path = VolumePath::whole(DiskNo(0));
    let extent = Extent::whole(bytes.size());
    let Some((content, _)) = answered(parser.content(&path, extent)) else { return };
    let volume = Volume::on_disk(path, extent, content.clone());
    answered(parser.coverage(&volume));
    if flags & CUTS != 0 {
        assert!(parser.cuts(&volume).after(0) > 0, "cuts that do not go on");
    }
    if flags & CHANGES != 0 {
        answered(parser.changes(&volume, was.bytes()));
    }
    if flags & LOSSES != 0 {
        let middle = image.len() / 2;
        let lost = Extent::between(middle, image.len()).into_iter().chain(Extent::between(4096, 65_536)).collect();
        answered(parser.losses(&content, bytes.clone(), &lost));
    }
    if flags & DIFFERENCES != 0 {
        differ(&parser, (&content, image), was);
    }
    if let Ok(fs) = disk::fs::open(&content, bytes.clone()) {
        walk(&*fs, bytes.size());
    }
}

fn differ(parser: &Local, (content, image): (&Content, &Image), was: &Image) {
    let (before, _) = disk::content::identify(&VolumePath::whole(DiskNo(0)), &was.bytes());
    let before = State { content: before, bytes: was.bytes() };
    let after = State { content: content.clone(), bytes: image.bytes() };
    let asked = Asked {
        notable: vec![RawName::from("/etc")],
        but: vec![RawName::from("/many")],
        text: true,
        packages: Some(RawName::from("/var/lib/dpkg")),
    };
    answered(parser.differences(&before, &after, &asked, &|| true));
}

/// Walks through it by paths, and by numbers.
fn walk(fs: &dyn FileSystem, size: ByteLen) {
    let _ = fs.subvolumes();
    let mut ahead = vec![Vec::new()];
    let mut looked = 0;
    while let Some(path) = ahead.pop() {
        for entry in fs.read_dir(&path, 50).unwrap_or_default() {
            looked += 1;
            if looked > MOST_ENTRIES {
                ahead.clear();
                break;
            }
            let path = [&path[..], b"/", &entry.name.0].concat();
            let _ = fs.stat(&path);
            match entry.kind {
                FileKind::Directory if path.len() < 200 => ahead.push(path),
                FileKind::Symlink => {
                    let _ = fs.read_link(&path);
                    read(fs, &path);
                }
                FileKind::File => read(fs, &path),
                _ => {}
            }
        }
    }
    let root = fs.find(b"/").ok().flatten();
    let mut ahead: Vec<FileId> = root.map(|root| root.file).into_iter().collect();
    looked = 0;
    while let Some(dir) = ahead.pop() {
        for entry in fs.list(dir, 0, 100).unwrap_or_default() {
            looked += 1;
            if looked > MOST_ENTRIES {
                return;
            }
            let Some(attributes) = entry.attributes else { continue };
            match attributes.kind {
                FileKind::Directory => ahead.push(entry.file),
                FileKind::File => lies(fs, entry.file, attributes.size, size),
                _ => {}
            }
        }
    }
}

fn read(fs: &dyn FileSystem, path: &[u8]) {
    let Ok(Some(file)) = fs.open(path) else { return };
    let len = file.size().0;
    for at in [0, len / 2, len.saturating_sub(5000)] {
        let part = usize::try_from((len - at).min(70_000)).unwrap_or(0);
        let _ = file.read_vec(ByteOffset(at), part);
    }
}

/// Where a file of `len` bytes lies is on the volume, and goes on.
fn lies(fs: &dyn FileSystem, file: FileId, len: ByteLen, size: ByteLen) {
    let mut from = ByteOffset(0);
    for _ in 0..4 {
        if from.0 >= len.0 {
            return;
        }
        let (next, done) = match fs.layout(file, from, 64) {
            Ok(Layout::Pieces { pieces, end }) => {
                let mut at = from;
                for (start, piece) in pieces {
                    assert!(Extent::whole(size).contains(piece), "a piece of a file outside the volume");
                    let next = start.checked_add(piece.len()).filter(|next| start >= at && *next <= end);
                    let told = || panic!("{piece:?} is byte {start} of a file, after {at} and before {end}");
                    at = next.unwrap_or_else(told);
                }
                (end, false)
            }
            Ok(Layout::Unpacked { end, .. }) => (end, false),
            Ok(Layout::Within(_)) | Err(_) => (from, true),
        };
        if done || next <= from {
            return;
        }
        from = next;
    }
}
