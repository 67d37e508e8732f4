//! Files of a snapshot are taken out: what that costs, and what becomes of answers that no file system gives.

use crate::image::machine;
use crate::sim::{Fault, Sim, Ticking, must};
use engine::parser::{AboutFiles, Local, OfFiles, Parser, ParserError, SavedFs, Scene};
use engine::{Config, Engine, StorePlace};
use model::command::Command;
use model::coverage::Coverage;
use model::event::Outcome;
use model::evidence::Evidence;
use model::files::{Attributes, FileId, FilePath, Got, Layout, Named};
use model::id::{DiskNo, SnapRef, VolumePath};
use model::inspection::{Content, FileKind, Finding, Inspection, System, Volume};
use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use store::DecodeHere;
use store::backend::Memory;

/// A store that counts what is read of packs.
struct Counted(Arc<Memory>, Arc<AtomicU64>);

impl ObjectStore for Counted {
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        self.0.put(name, bytes)
    }
    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
        self.1.fetch_add(if name.as_str().starts_with("packs") { buf.len() as u64 } else { 0 }, Ordering::Relaxed);
        self.0.get(name, at, buf)
    }
    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
        self.0.len(name)
    }
    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError> {
        self.0.list(prefix)
    }
    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
        self.0.delete(name)
    }
    fn free(&self) -> Option<ByteLen> {
        None
    }
}

/// Takes a path of a volume out; gives how it ended, and how many bytes of packs were read.
fn get(objects: &Arc<Memory>, parser: Arc<dyn Parser>, path: &str, to: &Path) -> (Outcome, u64) {
    let read = Arc::new(AtomicU64::new(0));
    let store = Arc::new(Counted(objects.clone(), read.clone()));
    let engine = Engine::start(Config {
        devices: Sim::failing(vec![0; 1 << 16], Fault::Lease),
        parser,
        store: Some(StorePlace::Objects { objects: store, create: false }),
        other: None,
        sticks: None,
        heads: None,
        clock: Arc::new(Ticking::default()),
    });
    let command = Command::GetFiles {
        snapshot: SnapRef::Latest,
        at: FilePath { volume: Some("d0/p3".parse().unwrap()), path: path.into() },
        to: Some(RawName(to.as_os_str().as_bytes().to_vec())),
        privileged: false,
    };
    let outcome = engine.run(command, &mut |_| {}, &mut |_, _| None);
    (outcome, read.load(Ordering::Relaxed))
}

fn saved() -> Arc<Memory> {
    let objects = Arc::new(Memory::new());
    must(&Sim::new(machine().then.clone()), &objects, Command::Snapshot { full: false });
    objects
}

#[test]
fn one_file_costs_what_is_read_for_it() {
    let (objects, dir) = (saved(), tempfile::tempdir().unwrap());
    let packs: u64 = objects.list("packs").unwrap().iter().map(|name| objects.len(name).unwrap().0).sum();
    let to = dir.path().join("release");
    let (outcome, read) = get(&objects, Arc::new(Local::new(Vec::new())), "/etc/os-release", &to);
    assert!(matches!(&outcome, Outcome::Got(Got { files: 1, .. })), "{outcome:?}");
    assert!(fs::read_to_string(&to).unwrap().contains("PRETTY_NAME"));
    assert!(read < packs / 2, "{read} of {packs}");
}

/// A parser that was taken over: its answers are not even looked at before they get here.
struct Lying(Local);

fn thing(name: &[u8], file: u64, kind: FileKind) -> Named {
    let attributes = Attributes {
        kind,
        mode: 0o777,
        owner: 0,
        group: 0,
        links: 1,
        size: ByteLen(if kind == FileKind::File { 4 } else { 0 }),
        modified: Some(0),
        accessed: None,
        device: (kind == FileKind::Special).then_some((8, 0)),
        target: (kind == FileKind::Symlink).then(|| RawName(b"..".to_vec())),
        xattrs: Vec::new(),
        flags: 0,
    };
    Named { name: RawName(name.to_vec()), file: FileId(file), attributes: Some(attributes) }
}

impl Parser for Lying {
    fn table(&self, disk: DiskNo) -> Result<disk::table::TableReading, ParserError> {
        self.0.table(disk)
    }
    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        self.0.content(volume, extent)
    }
    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
        self.0.systems(inspection)
    }
    fn evidence(&self, scene: &Scene, want: usize) -> Result<Vec<Evidence>, ParserError> {
        self.0.evidence(scene, want)
    }
    fn coverage(&self, volume: &Volume) -> Result<Coverage, ParserError> {
        self.0.coverage(volume)
    }
    fn files(&self, _: &SavedFs, ask: &AboutFiles) -> Result<OfFiles, ParserError> {
        Ok(match ask {
            AboutFiles::Find(_) => OfFiles::Found(Some(thing(b"", 1, FileKind::Directory))),
            // A directory that holds itself, names that lead out, a link and then a directory of its name.
            AboutFiles::List(FileId(1), 0) => OfFiles::Listed(vec![
                thing(b"../out", 2, FileKind::File),
                thing(b"..", 3, FileKind::Directory),
                thing(b"/etc/out", 4, FileKind::Symlink),
                thing(b"link", 5, FileKind::Symlink),
                thing(b"link", 6, FileKind::Directory),
                thing(b"self", 1, FileKind::Directory),
                thing(b"disk", 7, FileKind::Special),
                thing(b"good", 8, FileKind::File),
            ]),
            AboutFiles::List(..) => OfFiles::Listed(vec![thing(b"out", 9, FileKind::File)]),
            AboutFiles::Layout(FileId(8), _) => OfFiles::Lies(Layout::Within(RawName(b"good".to_vec()))),
            AboutFiles::Layout(..) => OfFiles::Lies(Layout::Pieces { pieces: Vec::new(), end: ByteOffset(0) }),
            AboutFiles::Head(..) => OfFiles::Begins(None),
        })
    }
}

impl DecodeHere for Lying {}

#[test]
fn whatever_a_tree_says_nothing_is_made_outside_it() {
    let (objects, dir) = (saved(), tempfile::tempdir().unwrap());
    let to = dir.path().join("tree");
    let (outcome, _) = get(&objects, Arc::new(Lying(Local::new(Vec::new()))), "/", &to);
    let Outcome::Got(got) = outcome else { panic!("{outcome:?}") };
    let names = |path: &Path| {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!((names(dir.path()), names(&to)), (vec!["tree".into()], vec!["good".into(), "link".into()]));
    assert!(fs::symlink_metadata(to.join("link")).unwrap().is_symlink());
    assert_eq!((got.files, got.directories, got.others), (1, 1, 1));
    assert!(got.damaged.count > 0 && got.left_out.count > 0, "{got:?}");
}
