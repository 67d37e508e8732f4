//! Files of a snapshot are shown part by part, and taken out to a folder beside the store.

use crate::image::machine;
use crate::sim::{Sim, Ticking};
use engine::parser::{AboutFiles, Local, MOST_LISTED, OfFiles, Parser, ParserError, SavedFs, Scene};
use engine::{Config, Engine, Handle, StorePlace};
use model::browse::{Browse, Browsed, Folder, MOST_SHOWN, Part, Shown};
use model::command::{Command, ExitCode, Failure};
use model::coverage::Coverage;
use model::event::{Happening, JobKind, Outcome};
use model::evidence::Evidence;
use model::files::{FileId, FilePath, Got, Named};
use model::id::{DiskNo, SnapRef, SnapshotId, VolumePath};
use model::inspection::{Content, Finding, Inspection, System, Volume};
use model::ports::Devices;
use model::text::RawName;
use model::units::Extent;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::DecodeHere;

/// A machine that is saved in a store below a directory.
fn saved(dir: &Path) -> (Handle, SnapshotId) {
    let place = StorePlace::Dir { path: dir.join("holdfast"), create: true, access: Box::default() };
    let sim = Sim::new(machine().then.clone());
    let handle = Engine::start(Config {
        parser: Arc::new(Local::new(sim.disks())),
        devices: sim,
        store: Some(place),
        other: None,
        sticks: None,
        heads: None,
        clock: Arc::new(Ticking::default()),
    });
    match handle.run(Command::Snapshot { full: false }, &mut |_| {}, &mut |_, _| None) {
        Outcome::Saved { id, .. } => (handle, id),
        other => panic!("{other:?}"),
    }
}

fn system(path: &str) -> Option<FilePath> {
    Some(FilePath { volume: None, path: path.into() })
}

/// What is shown at a place.
fn shown(handle: &Handle, snapshot: SnapshotId, at: Option<FilePath>, part: Part) -> Result<Shown, Failure> {
    let ask = Browse { snapshot, at, part };
    let mut told: Vec<Browsed> = Vec::new();
    let outcome = handle.run(
        Command::BrowseFiles { ask: ask.clone() },
        &mut |event| {
            if let Happening::Browsed(browsed) = &event.what {
                told.push((**browsed).clone());
            }
        },
        &mut |_, _| None,
    );
    assert_eq!(outcome, Outcome::Looked);
    assert_eq!(handle.state().browsed.as_ref(), told.last(), "who joins now sees it too");
    let [Browsed { ask: of, shown }] = <[Browsed; 1]>::try_from(told).unwrap();
    assert_eq!(of, ask);
    shown
}

fn folder(handle: &Handle, snapshot: SnapshotId, path: &str, part: Part) -> Folder {
    match shown(handle, snapshot, system(path), part) {
        Ok(Shown::Folder(folder)) => folder,
        other => panic!("{path}: {other:?}"),
    }
}

fn names(folder: &Folder) -> Vec<String> {
    folder.entries.iter().map(|e| e.name.display().to_string()).collect()
}

#[test]
fn what_a_snapshot_holds_is_shown_from_its_volumes_to_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, id) = saved(dir.path());
    let before = handle.state().last;
    let Ok(Shown::Volumes(volumes)) = shown(&handle, id, None, Part::Around(0)) else { panic!("no volumes") };
    assert!(volumes.iter().any(|v| v.mount.as_deref() == Some("/") && v.readable));
    assert!(volumes.iter().any(|v| !v.readable), "swap has no files: {volumes:?}");

    let root = folder(&handle, id, "/", Part::Around(0));
    let all = names(&root);
    assert!(all.is_sorted() && all.contains(&"etc".to_owned()), "{all:?}");
    assert_eq!((root.count, root.from), (all.len() as u64, 0));
    let etc = folder(&handle, id, "/etc", Part::Named("os-release".into()));
    let at = usize::try_from(etc.chosen.unwrap()).unwrap();
    assert_eq!(names(&etc)[at], "os-release");
    let again = folder(&handle, id, "/etc", Part::Containing { text: "RELEASE".into(), from: 0, back: false });
    assert_eq!(again.chosen, etc.chosen);
    // A folder of another volume, by the path that the system has for it.
    assert_ne!(folder(&handle, id, "/boot", Part::Around(0)).volume, root.volume);

    match shown(&handle, id, system("/etc/os-release"), Part::Around(0)) {
        Ok(Shown::File(file)) => {
            let lines = file.head.lines.unwrap();
            assert!(lines.iter().any(|l| l.as_str().contains("PRETTY_NAME")), "{lines:?}");
            assert!(!file.damaged);
        }
        other => panic!("{other:?}"),
    }
    let missing = shown(&handle, id, system("/nothing/here"), Part::Around(0)).unwrap_err();
    assert_eq!(missing.code, ExitCode::Failed);
    assert_eq!(handle.state().last, before, "how the last job ended stays to be told");
    // Nothing of it stays in the state once something else is done.
    handle.run(Command::ListSnapshots, &mut |_| {}, &mut |_, _| None);
    assert_eq!(handle.state().browsed, None);
}

#[test]
fn nobody_is_told_what_nobody_waits_for() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, id) = saved(dir.path());
    let events = handle.subscribe();
    for _ in 0..20 {
        handle.submit(Command::BrowseFiles { ask: Browse { snapshot: id, at: system("/"), part: Part::Around(0) } });
        handle.submit(Command::Cancel);
        for event in &events {
            match event.what {
                Happening::Browsed(browsed) => {
                    assert!(browsed.shown.is_ok(), "stopped is no answer: {browsed:?}");
                }
                Happening::Ended { job: JobKind::Browse, outcome } => {
                    assert_eq!(outcome, Outcome::Looked);
                    break;
                }
                _ => {}
            }
        }
    }
}

#[test]
fn files_are_put_beside_the_store_and_nothing_there_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, id) = saved(dir.path());
    let get = |path: &str| {
        let command = Command::GetFiles {
            snapshot: SnapRef::Prefix(id.to_string()),
            at: system(path).unwrap(),
            to: None,
            privileged: false,
        };
        handle.run(command, &mut |_| {}, &mut |_, _| None)
    };
    let folder = dir.path().join("files").join(id.0.short(8));
    let to = |outcome: Outcome| -> PathBuf {
        match outcome {
            Outcome::Got(Got { to: RawName(to), .. }) => PathBuf::from(String::from_utf8(to).unwrap()),
            other => panic!("{other:?}"),
        }
    };
    let first = to(get("/etc/os-release"));
    assert_eq!(first, folder.join("os-release"));
    assert!(fs::read_to_string(&first).unwrap().contains("PRETTY_NAME"));
    fs::write(&first, "mine now").unwrap();
    assert_eq!(to(get("/etc/os-release")), folder.join("os-release-2"));
    assert_eq!(fs::read_to_string(&first).unwrap(), "mine now");
    assert!(to(get("/etc")).join("os-release").exists());
    // Where nothing is made, nothing is left: not even a folder.
    fs::remove_dir_all(dir.path().join("files")).unwrap();
    assert!(matches!(get("/nothing"), Outcome::Failed(_)));
    assert!(!dir.path().join("files").exists());
    // A link in the place of the folder leads anywhere.
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), dir.path().join("files")).unwrap();
    let Outcome::Failed(failure) = get("/etc/os-release") else { panic!("a link was followed") };
    assert!(failure.says.as_str().contains("something else has its name"), "{failure}");
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

/// A parser that finds a large folder on every volume.
struct Large(Local);

/// How many names it has: more than the parser tells in one answer.
const MANY: usize = 2 * MOST_LISTED + 100;

impl Parser for Large {
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
    fn files(&self, saved: &SavedFs, ask: &AboutFiles) -> Result<OfFiles, ParserError> {
        // The last come first.
        let named = |n: usize| Named {
            name: RawName(format!("file {:06}", MANY - 1 - n).into_bytes()),
            file: FileId(n as u64 + 100),
            attributes: None,
        };
        match ask {
            AboutFiles::List(_, skip) => {
                Ok(OfFiles::Listed((*skip..MANY.min(skip + MOST_LISTED)).map(named).collect()))
            }
            _ => self.0.files(saved, ask),
        }
    }
}

impl DecodeHere for Large {}

#[test]
fn a_large_folder_is_read_whole_and_shown_in_part() {
    let dir = tempfile::tempdir().unwrap();
    let (_, id) = saved(dir.path());
    let place = StorePlace::Dir { path: dir.path().join("holdfast"), create: false, access: Box::default() };
    let sim = Sim::new(machine().then.clone());
    let handle = Engine::start(Config {
        parser: Arc::new(Large(Local::new(sim.disks()))),
        devices: sim,
        store: Some(place),
        other: None,
        sticks: None,
        heads: None,
        clock: Arc::new(Ticking::default()),
    });
    let shown = folder(&handle, id, "/", Part::Around(0));
    assert_eq!((shown.count, shown.entries.len(), shown.more), (MANY as u64, MOST_SHOWN, false));
    assert_eq!(names(&shown)[0], "file 000000");
    let end = folder(&handle, id, "/", Part::Around(u64::MAX));
    assert_eq!(names(&end).last().unwrap(), &format!("file {:06}", MANY - 1));
    let found = folder(&handle, id, "/", Part::Containing { text: "5000".into(), from: 0, back: false });
    assert_eq!(found.chosen, Some(5000));
    assert!(serde_json::to_vec(&handle.state()).unwrap().len() < 1 << 20, "the state stays small");
}
