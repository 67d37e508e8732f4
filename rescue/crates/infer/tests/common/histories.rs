//! Histories of real package managers, laid out as files, and the evidence in them.

use super::{HostFile, at};
use infer::{Files, Look, Want, absent, assess, combine, parse, parse_database, parse_listing, wants};
use model::assessment::Assessment;
use model::evidence::{Evidence, Fact, PackageManager};
use model::id::{DiskNo, VolumePath};
use model::inspection::{FileKind, Inspection, ListedFile, System};
use model::ports::ReadAt;
use model::text::RawName;
use model::units::ByteLen;
use std::fs;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A history, laid out as files.
pub(crate) struct History {
    at: PathBuf,
    /// Where it was unpacked alone.
    _own: Option<tempfile::TempDir>,
}

/// A system without an identity, as these histories are of none.
pub(crate) fn system() -> System {
    System {
        name: "a system".into(),
        os: ("fedora".into(), "43".into()),
        hostname: None,
        machine_id: None,
        root: VolumePath::partition(DiskNo(0), 2),
        boot: vec![],
        other: vec![],
        subvolumes: Vec::new(),
    }
}

/// An archive of the fixtures, unpacked.
pub(crate) fn unpacked(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{name}.tar.zst"));
    let mut tar = Vec::new();
    zstd::stream::copy_decode(fs::File::open(path).unwrap(), &mut tar).unwrap();
    let mut unpack = Command::new("tar").args(["-x", "-C"]).arg(dir.path()).stdin(Stdio::piped()).spawn().unwrap();
    unpack.stdin.take().unwrap().write_all(&tar).unwrap();
    assert!(unpack.wait().unwrap().success());
    dir
}

impl History {
    /// One of a package manager.
    pub(crate) fn of(name: &str) -> Self {
        Self::within("managers", name)
    }

    /// One of that folder of fixtures.
    pub(crate) fn within(folder: &str, name: &str) -> Self {
        let dir = unpacked(&format!("{folder}/{name}"));
        Self { at: dir.path().to_owned(), _own: Some(dir) }
    }

    /// One that lies in a folder already.
    pub(crate) fn at(folder: &Path) -> Self {
        Self { at: folder.to_owned(), _own: None }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.at.join(path.trim_start_matches('/'))
    }

    pub(crate) fn oracle(&self) -> Vec<String> {
        fs::read_to_string(self.path("ORACLE")).unwrap().lines().map(str::to_owned).collect()
    }

    /// What a want's pattern stands for: the newest, as many as it takes.
    fn found(&self, want: &Want) -> Vec<String> {
        let mut paths = vec![String::new()];
        for part in want.pattern.split('/').skip(1) {
            if !part.contains('*') {
                paths.iter_mut().for_each(|p| *p = format!("{p}/{part}"));
                continue;
            }
            let within = |path: &String| {
                let names = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
                let names = names.map(|e| e.file_name().to_str().unwrap().to_owned());
                names.filter(|n| fits(part, n)).map(|n| format!("{path}/{n}")).collect::<Vec<_>>()
            };
            paths = paths.iter().flat_map(within).collect();
        }
        paths.retain(|p| self.path(p).exists());
        let written = |path: &String| fs::metadata(self.path(path)).unwrap().modified().unwrap();
        paths.sort_by(|a, b| written(b).cmp(&written(a)).then_with(|| a.cmp(b)));
        paths.truncate(want.most);
        paths
    }

    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        for want in wants() {
            let found = self.found(want);
            if found.is_empty() {
                evidence.extend(absent(want.source, &at(want.pattern)));
            }
            for path in found {
                let (origin, host) = (at(&path), self.path(&path));
                match want.look {
                    Look::Read { .. } if host.is_file() => {
                        evidence.extend(parse(want.source, &origin, &HostFile::open(&host)));
                    }
                    Look::Database if host.is_file() => {
                        let beside = |suffix: &str| Some(self.path(&format!("{path}{suffix}"))).filter(|p| p.exists());
                        let open = |suffix: &str| beside(suffix).map(|p| HostFile::open(&p));
                        let (database, wal, journal) = (HostFile::open(&host), open("-wal"), open("-journal"));
                        let files = Files {
                            database: &database,
                            wal: wal.as_ref().map(|f| f as &dyn ReadAt),
                            journal: journal.as_ref().map(|f| f as &dyn ReadAt),
                        };
                        evidence.extend(parse_database(want.source, &origin, files));
                    }
                    Look::List { .. } if host.is_dir() => {
                        evidence.extend(parse_listing(want.source, &origin, &listing(&host)));
                    }
                    _ => {}
                }
            }
        }
        combine(evidence)
    }

    pub(crate) fn assessed(&self) -> Assessment {
        assess(&system(), &Inspection::default(), &self.evidence(), None)
    }

    /// How many packages are installed, and which are there in two versions, by the database.
    pub(crate) fn rpm(&self) -> (usize, Vec<(String, String)>) {
        let evidence = self.evidence();
        let state = evidence.iter().find_map(|e| match &e.fact {
            Fact::Packages { manager: PackageManager::Rpm, installed, broken } => {
                let doubled = broken.iter().map(|p| (p.name.as_str().to_owned(), p.version.as_str().to_owned()));
                Some((usize::try_from(installed.unwrap()).unwrap(), doubled.collect()))
            }
            _ => None,
        });
        state.unwrap_or_else(|| panic!("{evidence:?}"))
    }
}

/// True where a name is one of a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|n| rest.is_char_boundary(n) && fits(after, &rest[n..]))),
    }
}

fn listing(path: &Path) -> Vec<ListedFile> {
    let file = |entry: fs::DirEntry| {
        let meta = entry.metadata().unwrap();
        let kind = match meta.file_type() {
            t if t.is_dir() => FileKind::Directory,
            t if t.is_symlink() => FileKind::Symlink,
            _ => FileKind::File,
        };
        let modified = Some(meta.mtime() * 1_000_000_000 + meta.mtime_nsec());
        ListedFile { name: RawName(entry.file_name().into_encoded_bytes()), kind, size: ByteLen(meta.len()), modified }
    };
    fs::read_dir(path).unwrap().map(|e| file(e.unwrap())).collect()
}
