//! What differs between two states of a machine: saved ones, or a saved one and the disks as they are now.

use super::saved::Saved;
use super::target::gone;
use super::{Context, Stop};
use crate::parser::{Asked, State};
use crate::run::ahead::Ahead;
use model::differences::{BOOT, CONFIGURATION, ComparedBy, Differences, FsDifferences, VolumeDifferences};
use model::event::Progress;
use model::id::{DiskNo, SnapshotId, VolumePath};
use model::inspection::{Content, Inspection, Mounted, System, Volume};
use model::snapshot::{Manifest, MapRoot};
use model::text::{DisplayText, RawName};
use model::units::{ByteLen, Extent};
use std::sync::Arc;

/// dpkg's database.
const DPKG: &str = "/var/lib/dpkg";

/// A volume in one state.
struct Seen {
    path: VolumePath,
    state: State,
    /// Where it is saved.
    map: Option<MapRoot>,
    /// How it was called in the other state, where that is known.
    other: Option<VolumePath>,
}

impl Seen {
    fn volume(&self) -> Volume {
        let extent = Extent::whole(self.state.bytes.size());
        Volume::on_disk(self.path.clone(), extent, self.state.content.clone())
    }
}

/// One of the two states.
pub(crate) struct Side {
    /// Its snapshot; `None`: now.
    id: Option<SnapshotId>,
    volumes: Vec<Seen>,
    systems: Vec<System>,
    /// Paths of the system in which nothing is told.
    but: Vec<RawName>,
}

impl Side {
    /// As a snapshot has it.
    pub(crate) fn saved(cx: &Context<'_>, id: SnapshotId, manifest: &Manifest) -> Self {
        let volume = |v: &model::snapshot::SavedVolume| {
            let bytes = Ahead::new(Arc::new(Saved::new(cx.store.clone(), v.map, v.extent.len())));
            let state = State { content: v.content.clone(), bytes: Arc::new(bytes) };
            Seen { path: v.path.clone(), state, map: Some(v.map), other: None }
        };
        let systems = manifest.systems.iter().map(|s| s.system.clone()).collect();
        Self { id: Some(id), volumes: manifest.volumes.iter().map(volume).collect(), systems, but: Vec::new() }
    }

    /// As the disks are.
    ///
    /// # Errors
    /// [`Stop`] where a disk is gone.
    pub(crate) fn now(cx: &Context<'_>, inspection: &Inspection) -> Result<Self, Stop> {
        let sources = cx.devices.disks();
        let mut volumes = Vec::new();
        for (disk, v) in inspection.volumes() {
            let no: DiskNo = disk.no;
            let bytes = disk::volume::bytes(&sources, v).ok_or_else(|| gone(no))?;
            let state = State { content: v.content.clone(), bytes };
            volumes.push(Seen { path: v.path.clone(), state, map: None, other: None });
        }
        Ok(Self { id: None, volumes, systems: inspection.systems.clone(), but: Vec::new() })
    }

    /// The same with these volumes alone, each with its name in the other state.
    pub(crate) fn only(mut self, pairs: &[(VolumePath, VolumePath)]) -> Self {
        self.volumes.retain_mut(|v| {
            v.other = pairs.iter().find(|(here, _)| *here == v.path).map(|(_, there)| there.clone());
            v.other.is_some()
        });
        self
    }

    /// The same, where of what lies in these paths of the system nothing is told.
    pub(crate) fn but(self, but: Vec<RawName>) -> Self {
        Self { but, ..self }
    }

    /// Where the first system that knows a volume has it; what is not part of the tree of files (swap) nowhere.
    fn mount(&self, path: &VolumePath) -> Option<(&System, &str)> {
        self.systems.iter().find_map(|s| {
            if s.root == *path {
                return Some((s, "/"));
            }
            let others = s.boot.iter().chain(&s.other);
            others.into_iter().find(|(at, p)| p == path && at.starts_with('/')).map(|(at, _)| (s, at.as_str()))
        })
    }

    /// What is asked of a volume.
    fn asked(&self, path: &VolumePath, text: bool) -> Asked {
        let Some((system, _)) = self.mount(path) else { return Asked { text, ..Asked::default() } };
        let mounts: Vec<Mounted<'_>> = system.mounts().filter(|m| m.volume == path).collect();
        // A place of note from the root of the volume: below a mount point of it, or all that is mounted there where the place is above
        // that.
        let place = |m: &Mounted<'_>, place: &str| {
            let below = |of: &str, path: &str| {
                path.strip_prefix(of).filter(|rest| rest.is_empty() || rest.starts_with('/')).map(str::to_owned)
            };
            let inside = below(m.mount, place).or_else(|| below(place, m.mount).map(|_| String::new()))?;
            Some(RawName(format!("{}{inside}", m.top).into_bytes()))
        };
        let places = || BOOT.into_iter().chain([CONFIGURATION]);
        let notable = mounts.iter().flat_map(|m| places().filter_map(|p| place(m, p))).collect();
        // The database is on the volume that is mounted nearest to it.
        let (holds, database) = system.place(DPKG);
        let packages = (holds == path).then(|| RawName(database.into_bytes()));
        let kept = |p: &RawName| {
            let inside =
                |m: &Mounted<'_>| Some(RawName([m.top.as_bytes(), p.0.strip_prefix(m.mount.as_bytes())?].concat()));
            mounts.iter().find_map(inside)
        };
        let but = self.but.iter().filter_map(kept).collect();
        Asked { notable, but, text, packages }
    }

    /// Which subvolumes of a volume the system mounts, and where.
    fn subvolumes(&self, path: &VolumePath) -> Vec<(String, String)> {
        let Some((system, _)) = self.mount(path) else { return Vec::new() };
        let own = system.mounts().filter(|m| m.volume == path);
        let own = own.map(|m| (m.top.to_owned(), m.mount.to_owned())).collect::<Vec<_>>();
        if own.iter().all(|(top, _)| top.is_empty()) { Vec::new() } else { own }
    }
}

/// Compares two states. Each volume is told by itself; one that cannot be compared says why.
///
/// # Errors
/// [`Stop::Cancelled`] where `going` says no.
pub(crate) fn compare(
    cx: &Context<'_>,
    before: &Side,
    after: &Side,
    text: bool,
    going: &dyn Fn() -> bool,
) -> Result<Differences, Stop> {
    let pairs = pairs(before, after);
    let of = pairs.len();
    let mut volumes = Vec::new();
    for (nth, (b, a)) in pairs.into_iter().enumerate() {
        if let Some(seen) = a.or(b) {
            cx.observer.progress(step(&seen.path, nth, of));
        }
        volumes.push(volume(cx, (before, b), (after, a), text, going));
        if !going() {
            return Err(Stop::Cancelled("stopped; nothing was changed".into()));
        }
    }
    let id = before.id.ok_or_else(|| {
        Stop::failed(model::command::ExitCode::Usage, "the earlier state must be a saved one", "name a snapshot first")
    })?;
    Ok(Differences { before: id, after: after.id, volumes })
}

fn step(path: &VolumePath, nth: usize, of: usize) -> Progress {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Progress {
        phase: DisplayText::new(&format!("comparing {path}")),
        step: (number(nth + 1), number(of)),
        done: ByteLen::ZERO,
        total: ByteLen::ZERO,
        rate: ByteLen::ZERO,
        remaining: None,
        cost: None,
        fenced: false,
    }
}

fn volume(
    cx: &Context<'_>,
    (before, b): (&Side, Option<&Seen>),
    (after, a): (&Side, Option<&Seen>),
    text: bool,
    going: &dyn Fn() -> bool,
) -> VolumeDifferences {
    let mounted = |side: &Side, seen: Option<&Seen>| side.mount(&seen?.path).map(|(_, at)| at.to_owned());
    let fs = a.or(b).map(|s| s.volume().kind().to_owned()).unwrap_or_default();
    let mount = mounted(after, a).or_else(|| mounted(before, b));
    let files = match (b, a) {
        (Some(b), Some(a)) => {
            let side = if mounted(after, Some(a)).is_some() { (after, a) } else { (before, b) };
            files(cx, b, a, &side.0.asked(&side.1.path, text), going)
        }
        (Some(_), None) => Err("the later state does not hold it".into()),
        (None, _) => Err("the earlier state does not hold it".into()),
    };
    let (before, after, subvolumes) = match (b, a) {
        (b, Some(a)) => (b.map(|s| s.path.clone()), Some(a.path.clone()), after.subvolumes(&a.path)),
        (b, None) => (b.map(|s| s.path.clone()), None, b.map(|b| before.subvolumes(&b.path)).unwrap_or_default()),
    };
    VolumeDifferences { before, after, fs, mount, subvolumes, files }
}

fn files(
    cx: &Context<'_>,
    b: &Seen,
    a: &Seen,
    asked: &Asked,
    going: &dyn Fn() -> bool,
) -> Result<FsDifferences, DisplayText> {
    // The digest is of the plain content, however it is cut.
    if b.map.zip(a.map).is_some_and(|(b, a)| (b.content, b.height) == (a.content, a.height)) {
        let packages = asked.packages.as_ref().map(|_| Ok(model::differences::PackageDifferences::default()));
        return Ok(FsDifferences { packages, ..FsDifferences::none(ComparedBy::Bytes) });
    }
    match (&b.state.content, &a.state.content) {
        (was, is) if was.is_file_system() && is.is_file_system() => {
            cx.parser.differences(&b.state, &a.state, asked, going).map_err(|e| e.why)
        }
        (Content::Swap(_), Content::Swap(_)) => Err("it is swap: there are no files on it".into()),
        (_, Content::Fenced(_)) => Err("an unfinished rollback stands on it".into()),
        (was, is) if std::mem::discriminant(was) != std::mem::discriminant(is) => {
            let says = format!(
                "it held {} in the earlier state and holds {} in the later",
                b.volume().kind(),
                a.volume().kind()
            );
            Err(DisplayText::new(&says))
        }
        (_, beneath) if beneath.apart().is_some() => Err("what lies on it is told by itself".into()),
        _ => Err("no files are read on it by this version".into()),
    }
}

/// Which volume is which: by what was said, by the one file system that has that id in both, else by its name.
fn pairs<'a>(before: &'a Side, after: &'a Side) -> Vec<(Option<&'a Seen>, Option<&'a Seen>)> {
    let id = |s: &Seen| s.volume().uuid().filter(|u| !u.is_empty()).map(str::to_owned);
    let alone =
        |side: &Side, wanted: &str| side.volumes.iter().filter(|s| id(s).as_deref() == Some(wanted)).count() == 1;
    let mut left: Vec<&Seen> = before.volumes.iter().collect();
    let mut pairs: Vec<(Option<&Seen>, Option<&Seen>)> = Vec::new();
    let mut take = |is: &dyn Fn(&Seen) -> bool| {
        let at = left.iter().position(|b| is(b))?;
        Some(left.remove(at))
    };
    let mut later: Vec<(&Seen, Option<&Seen>)> = Vec::new();
    for a in &after.volumes {
        let found = match (&a.other, id(a)) {
            (Some(other), _) => take(&|b| b.path == *other),
            (None, Some(uuid)) if alone(before, &uuid) && alone(after, &uuid) => {
                take(&|b| id(b).as_deref() == Some(&uuid[..]))
            }
            _ => None,
        };
        later.push((a, found));
    }
    for (a, found) in later {
        let found = found.or_else(|| take(&|b| b.path == a.path));
        pairs.push((found, Some(a)));
    }
    pairs.extend(left.into_iter().map(|b| (Some(b), None)));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(mounts: &[(&str, &str)]) -> Side {
        let system = System {
            name: "x".into(),
            os: ("debian".into(), "12".into()),
            hostname: None,
            machine_id: None,
            root: "d0/p2".parse().unwrap(),
            boot: Vec::new(),
            other: mounts.iter().map(|(at, path)| ((*at).to_owned(), path.parse().unwrap())).collect(),
            subvolumes: Vec::new(),
        };
        Side { id: None, volumes: Vec::new(), systems: vec![system], but: Vec::new() }
    }

    #[test]
    fn places_of_note_are_told_from_the_root_of_their_volume() {
        let mounted = side(&[("/boot", "d0/p3"), ("/boot/efi", "d0/p1"), ("/var", "d0/p4"), ("none", "d0/p5")]);
        let asked = |path: &str| {
            let asked = mounted.asked(&path.parse().unwrap(), false);
            let shown = |n: &RawName| n.display().to_string();
            (asked.notable.iter().map(shown).collect::<Vec<_>>(), asked.packages.as_ref().map(shown))
        };
        let places = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(asked("d0/p2"), (places(&["/boot", "/efi", "/etc"]), None));
        assert_eq!(asked("d0/p3"), (places(&[""]), None));
        assert_eq!(asked("d0/p1"), (places(&[""]), None));
        assert_eq!(asked("d0/p4"), (places(&[]), Some("/lib/dpkg".into())));
        assert_eq!(asked("d0/p5"), (places(&[]), None));
        let plain = side(&[]);
        let root = plain.asked(&"d0/p2".parse().unwrap(), false);
        assert_eq!(root.packages, Some("/var/lib/dpkg".into()));
    }
}
