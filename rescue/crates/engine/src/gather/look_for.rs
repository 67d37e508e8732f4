//! One want, looked for in one system: patterns to files, files to evidence. Runs in the parser role.

use crate::parser::{ParserError, Scene};
use disk::fs::FileSystem;
use infer::{Look, Source, Want};
use model::evidence::{Evidence, EvidenceId, Fact, Origin};
use model::inspection::{FileKind, ListedFile, Mounted, Volume};
use model::ports::{ReadAt, Window};
use model::text::{DisplayText, RawName};
use model::units::{ByteLen, Extent};
use std::rc::Rc;
use std::sync::Arc;

/// Entries of a directory looked at for one component of a pattern.
const MOST_ENTRIES: usize = 16 * 1024;
/// Paths a pattern may stand for before the newest are chosen.
const MOST_PATHS: usize = 4096;

/// Opens the file system of a volume of the scene.
pub(crate) type Open<'a> = &'a dyn Fn(&Volume) -> Result<Rc<dyn FileSystem>, ParserError>;

/// The evidence of one want: of the newest files that its pattern names, or that there are none.
pub(crate) fn look_for(scene: &Scene, want: &Want, open: Open<'_>) -> Vec<Evidence> {
    let (volume, inside) = scene.system.place(want.pattern);
    let Mounted { mount, top, .. } = scene.system.mounted(want.pattern);
    // As the system has it.
    let full = |path: &[u8]| [mount.as_bytes(), path.strip_prefix(top.as_bytes()).unwrap_or(path)].concat();
    let origin = |path: Option<Vec<u8>>| Origin { volume: volume.clone(), path: path.map(RawName), range: None };
    let Some(volume) = scene.volumes.iter().find(|v| v.path == *volume) else { return Vec::new() };
    // Damage of the volume itself is told as a finding, once, and not again by every want.
    if !volume.content.is_file_system() {
        return Vec::new();
    }
    let fs = match open(volume) {
        Ok(fs) => fs,
        Err(e) => return vec![unreadable(origin(None), &e.to_string())],
    };
    let candidates = match candidates(&*fs, &inside) {
        Ok(candidates) => own_first(scene.system.machine_id.as_deref(), candidates),
        Err(e) => return vec![unreadable(origin(Some(want.pattern.as_bytes().to_vec())), &e.to_string())],
    };
    let mut evidence = Vec::new();
    let mut seen = 0;
    for (path, file) in candidates {
        if seen == want.most {
            break;
        }
        let origin = origin(Some(full(&path)));
        match want.look {
            Look::Read { most_bytes, from_end } => {
                // A symbolic link is read as what it leads to; what is no file has nothing to read.
                if !matches!(file.kind, FileKind::File | FileKind::Symlink) {
                    continue;
                }
                match fs.open(&path) {
                    Ok(Some(bytes)) => {
                        seen += 1;
                        evidence.extend(read(want, &origin, bytes, most_bytes, from_end));
                    }
                    Ok(None) => {}
                    Err(e) => {
                        seen += 1;
                        evidence.push(unreadable(origin, &e.to_string()));
                    }
                }
            }
            Look::Database => {
                if !matches!(file.kind, FileKind::File | FileKind::Symlink) {
                    continue;
                }
                match database(&*fs, want, &origin, &path) {
                    Ok(Some(found)) => {
                        seen += 1;
                        evidence.extend(found);
                    }
                    Ok(None) => {}
                    Err(e) => {
                        seen += 1;
                        evidence.push(unreadable(origin, &e.to_string()));
                    }
                }
            }
            Look::List { most } => {
                if !matches!(file.kind, FileKind::Directory | FileKind::Symlink) {
                    continue;
                }
                // Such a directory is listed by its own name: `/bin` is a link to `/usr/bin` today.
                if file.kind == FileKind::Symlink && want.source == Source::Leftovers {
                    continue;
                }
                seen += 1;
                let wanted = |name: &[u8]| infer::reads_entry(want.source, &origin, name);
                match fs.select(or_root(&path), most, &wanted) {
                    Ok(entries) => evidence.extend(infer::parse_listing(want.source, &origin, &entries)),
                    Err(e) => evidence.push(unreadable(origin, &e.to_string())),
                }
            }
        }
    }
    if seen == 0 {
        evidence.extend(infer::absent(want.source, &origin(Some(want.pattern.as_bytes().to_vec()))));
    }
    evidence
}

fn read(want: &Want, origin: &Origin, bytes: Box<dyn ReadAt>, most: u64, from_end: bool) -> Vec<Evidence> {
    if from_end || bytes.size().0 <= most {
        return infer::parse(want.source, origin, &*bytes);
    }
    match Window::new(Arc::from(bytes), Extent::whole(ByteLen(most))) {
        Ok(start) => infer::parse(want.source, origin, &start),
        Err(e) => vec![unreadable(origin.clone(), &e.to_string())],
    }
}

/// Reads a database with what a program that was killed left beside it. How much of it is read is the parser's to bound.
fn database(
    fs: &dyn FileSystem,
    want: &Want,
    origin: &Origin,
    path: &[u8],
) -> Result<Option<Vec<Evidence>>, disk::fs::FsError> {
    let Some(database) = fs.open(path)? else { return Ok(None) };
    let beside = |suffix: &[u8]| fs.open(&[path, suffix].concat());
    let (wal, journal) = (beside(b"-wal")?, beside(b"-journal")?);
    let files = infer::Files { database: &*database, wal: wal.as_deref(), journal: journal.as_deref() };
    Ok(Some(infer::parse_database(want.source, origin, files)))
}

fn unreadable(origin: Origin, why: &str) -> Evidence {
    let what = origin.path.as_ref().map_or_else(|| origin.volume.to_string(), |p| p.display().to_string());
    let says = format!("{what} could not be read: {why}");
    Evidence {
        id: EvidenceId("unreadable".to_owned()),
        origin,
        fact: Fact::Unreadable { why: why.into() },
        says: DisplayText::new(&says),
        time: None,
    }
}

/// The root directory's path has no name of its own.
fn or_root(path: &[u8]) -> &[u8] {
    if path.is_empty() { b"/" } else { path }
}

type Candidates = Vec<(Vec<u8>, ListedFile)>;

/// What a pattern stands for, newest first; equal times by name, so that the order is always the same.
fn candidates(fs: &dyn FileSystem, pattern: &str) -> Result<Candidates, disk::fs::FsError> {
    let parts: Vec<&str> = pattern.split('/').filter(|p| !p.is_empty()).collect();
    let mut paths: Vec<Vec<u8>> = vec![Vec::new()];
    let mut last_listing: Option<Candidates> = None;
    for part in parts {
        let mut next = Vec::new();
        if !part.contains('*') {
            last_listing = None;
            next.extend(paths.iter().map(|p| joined(p, part.as_bytes())));
            paths = next;
            continue;
        }
        let mut listed = Vec::new();
        for path in &paths {
            let matching = fs.select(or_root(path), MOST_ENTRIES, &|name| matches(part.as_bytes(), name))?.into_iter();
            for entry in matching.take(MOST_PATHS.saturating_sub(next.len())) {
                let full = joined(path, &entry.name.0);
                next.push(full.clone());
                listed.push((full, entry));
            }
        }
        last_listing = Some(listed);
        paths = next;
    }
    // Where the last component was listed, its entries tell all that a stat would.
    let mut found = match last_listing {
        Some(listed) => listed,
        None => {
            let mut found = Vec::new();
            for path in paths {
                if let Some(file) = fs.stat(or_root(&path))? {
                    found.push((path, file));
                }
            }
            found
        }
    };
    found.sort_by(|(a, x), (b, y)| y.modified.cmp(&x.modified).then_with(|| a.cmp(b)));
    Ok(found)
}

/// Files in a folder that is named by the machine come first: journals of its containers, and of the machine that a disk was copied
/// from, take no place of its own.
fn own_first(machine_id: Option<&str>, mut candidates: Candidates) -> Candidates {
    let own = |path: &[u8]| machine_id.is_some_and(|id| path.split(|b| *b == b'/').any(|part| part == id.as_bytes()));
    // Keeps the order within both.
    candidates.sort_by_key(|(path, _)| !own(path));
    candidates
}

fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    [path, b"/", name].concat()
}

/// True where a name is one of a pattern in which `*` stands for any bytes. Takes at most name times pattern steps, and the
/// patterns are our own.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, n) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{DiskNo, VolumePath};
    use model::inspection::System;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, is) in [
            ("*", "", true),
            ("vmlinuz-*", "vmlinuz-6.1.0-18-amd64", true),
            ("vmlinuz-*", "vmlinuz", false),
            ("*.journal", "system.journal", true),
            ("*.journal", "system.journal~", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), is, "{pattern} {name}");
        }
    }

    #[test]
    fn the_machines_own_come_first() {
        let file = |path: &str| {
            let name = RawName::from("system.journal");
            (path.as_bytes().to_vec(), ListedFile { name, kind: FileKind::File, size: ByteLen(1), modified: None })
        };
        let all = ["/journal/aa/system.journal", "/journal/bb/system.journal", "/journal/cc/system.journal"].map(file);
        let order = |id| own_first(id, all.to_vec()).iter().map(|(path, _)| path[9]).collect::<Vec<u8>>();
        assert_eq!((order(Some("bb")), order(None)), (b"bac".to_vec(), b"abc".to_vec()));
    }

    #[test]
    fn paths_lead_to_their_own_volumes() {
        let volume = |n| VolumePath::partition(DiskNo(0), n);
        let system = System {
            name: "x".into(),
            os: ("debian".into(), "12".into()),
            hostname: None,
            machine_id: None,
            root: volume(2),
            boot: vec![("/boot".into(), volume(3)), ("/boot/efi".into(), volume(1))],
            other: vec![("none".into(), volume(4)), ("/var".into(), volume(5))],
            subvolumes: Vec::new(),
        };
        for (pattern, number, inside) in [
            ("/etc/fstab", 2, "/etc/fstab"),
            ("/boot/vmlinuz-*", 3, "/vmlinuz-*"),
            ("/boot/efi/EFI/*/grubx64.efi", 1, "/EFI/*/grubx64.efi"),
            ("/bootstrap", 2, "/bootstrap"),
            ("/var/log/wtmp", 5, "/log/wtmp"),
            ("/boot", 3, ""),
        ] {
            assert_eq!(system.place(pattern), (&volume(number), inside.to_owned()), "{pattern}");
        }
    }
}
