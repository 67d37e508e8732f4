//! Which subvolume of a btrfs is the root of the system on it, and which others it mounts.
//!
//! A system that is set up to be taken back keeps copies of its root beside it, each with an os-release in it: they are no systems of their
//! own. The root is the subvolume that its own fstab calls so (Fedora, Debian, Ubuntu, Arch); else the default one (openSUSE, whose fstab names
//! none for `/`); else one that holds a system and is no copy of another. The kernel's command line (`rootflags=subvol=`) is not asked: the
//! installers write the same there.

use super::fstab::{self, Line, Subvolume as Named};
use super::text;
use crate::fs::{FileSystem, FsError, Subvolume};
use model::inspection::{Inspection, MountedSubvolume, System};

/// Most subvolumes that are looked into.
const MOST: usize = 4096;

/// What was found on a volume.
pub(super) struct Root {
    /// The path of the root of the system, without a slash at its end; empty where that is the root of the volume. `None` where no subvolume
    /// holds a system.
    pub(super) top: Option<String>,
    /// Other subvolumes that say of themselves that they are the root of a system.
    pub(super) others: Vec<String>,
    subvolumes: Vec<Subvolume>,
}

/// A subvolume that holds a system.
struct Candidate {
    top: String,
    /// Its fstab calls it the root.
    named: bool,
    is_default: bool,
    is_snapshot: bool,
}

/// Finds the root of the system on a file system. Of a kind without subvolumes it is its root.
///
/// # Errors
/// [`FsError`] where its subvolumes cannot be told.
pub(super) fn root(fs: &dyn FileSystem) -> Result<Root, FsError> {
    let subvolumes = fs.subvolumes()?;
    if subvolumes.is_empty() {
        return Ok(Root { top: Some(String::new()), others: Vec::new(), subvolumes });
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    for subvolume in subvolumes.iter().take(MOST) {
        // A mount point is text; a path that is none cannot stand in an fstab.
        let Ok(top) = String::from_utf8(subvolume.path.clone()) else { continue };
        if !holds_system(fs, &top) {
            continue;
        }
        let lines = text(fs, &format!("{top}/etc/fstab")).unwrap_or_default().map(|text| fstab::parse(&text));
        let named = lines.iter().flatten().filter(|l| l.target == "/").any(|l| match &l.subvolume {
            Some(Named::Path(path)) => *path == top,
            Some(Named::Id(id)) => *id == subvolume.id,
            None => false,
        });
        let Subvolume { is_default, is_snapshot, .. } = *subvolume;
        candidates.push(Candidate { top, named, is_default, is_snapshot });
    }
    // Of several that are as good, the default one, then the one with the lowest number.
    candidates.sort_by_key(|c| (!c.named, !c.is_default, c.is_snapshot));
    let first = candidates.first();
    let top = first.map(|c| c.top.clone());
    let named = first.is_some_and(|c| c.named);
    let others = candidates.iter().skip(1).filter(|c| named && c.named || !named && !c.is_snapshot);
    let others = others.map(|c| format!("{}/", c.top)).take(8).collect();
    Ok(Root { top, others, subvolumes })
}

fn holds_system(fs: &dyn FileSystem, top: &str) -> bool {
    let there = |path: &str| fs.stat(format!("{top}{path}").as_bytes()).is_ok_and(|f| f.is_some());
    // Where an os-release was lost in a crash, an fstab beside a /usr tells.
    there("/etc/os-release")
        || there("/usr/lib/os-release")
        || (there("/usr") && (there("/etc/fstab") || there("/etc/passwd")))
}

/// Adds the subvolumes that a system mounts: its root, and what its fstab names.
pub(super) fn add(inspection: &Inspection, lines: &[Line], (found, top): (&Root, &str), system: &mut System) {
    let mut add = |mount: &str, volume, path: String| {
        if !path.is_empty() && system.subvolumes.iter().all(|s| s.mount != mount) {
            system.subvolumes.push(MountedSubvolume { mount: mount.to_owned(), volume, path });
        }
    };
    add("/", system.root.clone(), top.to_owned());
    for line in lines.iter().filter(|l| l.target.starts_with('/') && l.target != "/") {
        let Some(Ok(volume)) = line.source.as_ref().map(|s| fstab::resolve(inspection, s, &system.root)) else {
            continue;
        };
        let own = volume == system.root;
        let by = |is: &dyn Fn(&Subvolume) -> bool| {
            let found = found.subvolumes.iter().filter(|_| own).find(|s| is(s))?;
            String::from_utf8(found.path.clone()).ok()
        };
        let path = match &line.subvolume {
            Some(Named::Path(path)) => Some(path.clone()),
            Some(Named::Id(id)) => by(&|s| s.id == *id),
            None => by(&|s| s.is_default),
        };
        if let Some(path) = path {
            add(&line.target, volume, path);
        }
    }
}
