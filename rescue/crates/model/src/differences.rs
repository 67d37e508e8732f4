//! What differs between two states of a machine, an earlier and a later one: files, and packages.

use crate::files::Remarks;
use crate::id::{PlanId, SnapshotId, VolumePath};
use crate::inspection::FileKind;
use crate::text::{DisplayText, RawName};
use crate::units::ByteLen;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most files that are told one by one because of where they lie.
pub const MOST_NOTABLE: usize = 4096;
/// Most of the other files that are told one by one: the largest.
pub const MOST_LARGEST: usize = 200;
/// Most groups of the other files.
pub const MOST_GROUPS: usize = 64;
/// Most packages that are told one by one.
pub const MOST_PACKAGES: usize = 8192;
/// Most lines of text that are told of one file.
pub const MOST_LINES: usize = 400;

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileChange {
    /// It is there now, and was not.
    Created,
    /// Its content was written, or another file has its name.
    Changed,
    /// Its owner, mode, times or attributes are others. A file that was written and whose time was put back looks like this.
    Attributes,
    /// It was there, and is not.
    Deleted,
    /// It has another name.
    Renamed {
        /// The path it had, from the root of its volume.
        from: RawName,
    },
}

/// A file, directory or link that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its path from the root of the volume: that of the later state, of the earlier where it was deleted.
    pub path: RawName,
    /// What it is, or was.
    pub kind: FileKind,
    /// What became of it.
    pub change: FileChange,
    /// Its size in the earlier state, where it was there.
    pub before: Option<ByteLen>,
    /// Its size in the later state, where it is there.
    pub after: Option<ByteLen>,
    /// The lines that differ, where they were asked for.
    pub text: Option<TextChange>,
}

impl Difference {
    /// The larger of its sizes: what it weighs in a list.
    pub fn weight(&self) -> ByteLen {
        self.before.max(self.after).unwrap_or_default()
    }
}

/// What differs in a file of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TextChange {
    /// These lines, with some around them.
    Lines {
        /// Runs of lines in the order of the file.
        hunks: Vec<Hunk>,
        /// There is more than is told.
        more: bool,
    },
    /// It is not told, for a reason.
    Untold(DisplayText),
}

/// A run of lines some of which differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hunk {
    /// The number of its first line in the earlier state, from 1; 0 where it has no line there.
    pub before: u32,
    /// The same in the later state.
    pub after: u32,
    /// Its lines, without their ends.
    pub lines: Vec<(LineMark, DisplayText)>,
}

/// In which state a line stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineMark {
    /// In both.
    Both,
    /// In the earlier alone.
    Before,
    /// In the later alone.
    After,
}

/// How many of something, and how large they are together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// How many.
    pub count: u64,
    /// The sum of the sizes of regular files among them.
    pub bytes: ByteLen,
}

impl Tally {
    fn add(&mut self, bytes: Option<ByteLen>) {
        self.count += 1;
        self.bytes.0 = self.bytes.0.saturating_add(bytes.unwrap_or_default().0);
    }

    fn join(&mut self, other: &Self) {
        self.count = self.count.saturating_add(other.count);
        self.bytes.0 = self.bytes.0.saturating_add(other.bytes.0);
    }
}

/// What became of many files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Created, with their sizes in the later state.
    pub created: Tally,
    /// Changed, with their sizes in the later state.
    pub changed: Tally,
    /// The sizes in the earlier state of those that changed.
    pub changed_from: ByteLen,
    /// Deleted, with their sizes in the earlier state.
    pub deleted: Tally,
    /// Renamed.
    pub renamed: u64,
    /// Of which only attributes differ.
    pub attributes: u64,
}

impl Counts {
    /// Counts one.
    pub fn add(&mut self, difference: &Difference) {
        // What the size of a directory is means nothing.
        let file = difference.kind == FileKind::File;
        let (before, after) = (difference.before.filter(|_| file), difference.after.filter(|_| file));
        match &difference.change {
            FileChange::Created => self.created.add(after),
            FileChange::Changed => {
                self.changed.add(after);
                self.changed_from.0 = self.changed_from.0.saturating_add(before.unwrap_or_default().0);
            }
            FileChange::Deleted => self.deleted.add(before),
            FileChange::Renamed { .. } => self.renamed += 1,
            FileChange::Attributes => self.attributes += 1,
        }
    }

    /// Counts what others counted.
    pub fn join(&mut self, other: &Self) {
        self.created.join(&other.created);
        self.changed.join(&other.changed);
        self.deleted.join(&other.deleted);
        self.changed_from.0 = self.changed_from.0.saturating_add(other.changed_from.0);
        self.renamed = self.renamed.saturating_add(other.renamed);
        self.attributes = self.attributes.saturating_add(other.attributes);
    }

    /// How many differ.
    pub fn total(&self) -> u64 {
        let counts = [self.created.count, self.changed.count, self.deleted.count, self.renamed, self.attributes];
        counts.into_iter().fold(0, u64::saturating_add)
    }

    /// What they weigh in a list: content that is new, another, or gone.
    pub fn weight(&self) -> ByteLen {
        let sizes = [self.created.bytes, self.changed.bytes.max(self.changed_from), self.deleted.bytes];
        ByteLen(sizes.into_iter().fold(0, |sum, size| sum.saturating_add(size.0)))
    }

    /// Content of the later state that the earlier has not: what going back loses.
    pub fn lost(&self) -> ByteLen {
        ByteLen(self.created.bytes.0.saturating_add(self.changed.bytes.0))
    }

    /// Content of the earlier state that the later has not, or not so: what going back writes, the file system's own records
    /// apart.
    pub fn returning(&self) -> ByteLen {
        ByteLen(self.deleted.bytes.0.saturating_add(self.changed_from.0))
    }
}

/// What differs below a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The directory, from the root of the volume.
    pub path: RawName,
    /// What became of the files in it and below it.
    pub counts: Counts,
}

/// Puts groups together until there are at most so many: all are cut to the same depth. The heaviest come first.
pub fn grouped(groups: impl IntoIterator<Item = Group>, most: usize) -> Vec<Group> {
    let mut by_path: BTreeMap<Vec<u8>, Counts> = BTreeMap::new();
    for group in groups {
        by_path.entry(group.path.0).or_default().join(&group.counts);
    }
    let depth = |path: &[u8]| path.split(|b| *b == b'/').filter(|name| !name.is_empty()).count();
    let mut deepest = by_path.keys().map(|path| depth(path)).max().unwrap_or(0);
    while by_path.len() > most.max(1) && deepest > 0 {
        deepest -= 1;
        let mut cut: BTreeMap<Vec<u8>, Counts> = BTreeMap::new();
        for (path, counts) in by_path {
            cut.entry(shortened(&path, deepest)).or_default().join(&counts);
        }
        by_path = cut;
    }
    let mut out: Vec<Group> = by_path.into_iter().map(|(path, counts)| Group { path: RawName(path), counts }).collect();
    let heaviest = |g: &Group| std::cmp::Reverse((g.counts.weight(), g.counts.total()));
    out.sort_by(|a, b| heaviest(a).cmp(&heaviest(b)).then_with(|| a.path.cmp(&b.path)));
    out
}

/// The first so many names of a path.
fn shortened(path: &[u8], names: usize) -> Vec<u8> {
    let kept: Vec<&[u8]> = path.split(|b| *b == b'/').filter(|name| !name.is_empty()).take(names).collect();
    if kept.is_empty() {
        return b"/".to_vec();
    }
    kept.iter().flat_map(|name| [&b"/"[..], name].concat()).collect()
}

/// What became of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PackageChange {
    /// It is there now, and was not.
    Installed,
    /// It was there, and is not.
    Removed,
    /// It is of a newer version.
    Upgraded,
    /// It is of an older version.
    Downgraded,
    /// It is of the same version, and in another state.
    State,
}

/// A package that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageDifference {
    /// Its name, with its architecture where there may be several of it.
    pub name: DisplayText,
    /// What became of it.
    pub change: PackageChange,
    /// Its version in the earlier state, with its state where that is not in order.
    pub before: Option<DisplayText>,
    /// The same in the later state.
    pub after: Option<DisplayText>,
}

/// What became of the packages of a system.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PackageDifferences {
    /// By name; at most [`MOST_PACKAGES`].
    pub changes: Vec<PackageDifference>,
    /// How many differ.
    pub count: u64,
}

/// By what two states of a file system were compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComparedBy {
    /// They hold the same bytes.
    Bytes,
    /// Nobody wrote to it in between: its superblock and journal are as they were.
    Untouched,
    /// By the records of each file: everything that is kept of it, its number and its times to the nanosecond.
    Records,
    /// By name, size and time of change: the one was not made of the other, or the file system keeps no more.
    Names,
}

/// What differs between two states of a file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FsDifferences {
    /// How they were compared.
    pub by: ComparedBy,
    /// Everything that differs.
    pub counts: Counts,
    /// What lies in places of note, by path; at most [`MOST_NOTABLE`].
    pub notable: Vec<Difference>,
    /// How much lies there.
    pub notable_counts: Counts,
    /// Everything else, by directory; the heaviest first, at most [`MOST_GROUPS`].
    pub groups: Vec<Group>,
    /// The largest of everything else, the largest first; at most [`MOST_LARGEST`].
    pub largest: Vec<Difference>,
    /// What became of packages, where their database was looked for.
    pub packages: Option<Result<PackageDifferences, DisplayText>>,
    /// What could not be compared, and why; there may be more that differs.
    pub unseen: Remarks,
}

impl FsDifferences {
    /// Nothing differs.
    pub fn none(by: ComparedBy) -> Self {
        Self {
            by,
            counts: Counts::default(),
            notable: Vec::new(),
            notable_counts: Counts::default(),
            groups: Vec::new(),
            largest: Vec::new(),
            packages: None,
            unseen: Remarks::default(),
        }
    }
}

/// A volume in two states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeDifferences {
    /// What it was called in the earlier state, where it was there.
    pub before: Option<VolumePath>,
    /// What it is called in the later state, where it is there.
    pub after: Option<VolumePath>,
    /// What is on it, in a word.
    pub fs: String,
    /// Where a system has it.
    pub mount: Option<String>,
    /// Where a system has subvolumes of it: their paths from its root, and their mount points, both without a slash at the end. Of what lies
    /// in none of them the path on the volume is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subvolumes: Vec<(String, String)>,
    /// What differs, or why that cannot be told.
    pub files: Result<FsDifferences, DisplayText>,
}

/// Where something lies, for whoever reads of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// What the machine starts from.
    Boot,
    /// How it is set up: below `/etc`.
    Configuration,
    /// Everything else.
    Other,
}

impl VolumeDifferences {
    /// The volume as it is called now, or was.
    pub fn volume(&self) -> Option<&VolumePath> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// A path of the volume as the system has it; from the root of the volume where no system has it.
    pub fn shown(&self, path: &RawName) -> RawName {
        if !self.subvolumes.is_empty() {
            return self.in_subvolume(path).unwrap_or_else(|| path.clone());
        }
        match self.mount.as_deref().map(|mount| mount.trim_end_matches('/')) {
            None | Some("") => path.clone(),
            Some(mount) if path.0 == b"/" => RawName(mount.as_bytes().to_vec()),
            Some(mount) => RawName([mount.as_bytes(), &path.0].concat()),
        }
    }

    /// A path of the volume as the system has it, where that mounts the subvolume it lies in.
    fn in_subvolume(&self, path: &RawName) -> Option<RawName> {
        let below = |(top, mount): &(String, String)| {
            let rest = path.0.strip_prefix(top.as_bytes()).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))?;
            let whole = [mount.as_bytes(), rest].concat();
            Some((top.len(), RawName(if whole.is_empty() { b"/".to_vec() } else { whole })))
        };
        self.subvolumes.iter().filter_map(below).max_by_key(|(len, _)| *len).map(|(_, whole)| whole)
    }

    /// Where a path of the volume lies.
    pub fn place(&self, path: &RawName) -> Place {
        let elsewhere = !self.subvolumes.is_empty() && self.in_subvolume(path).is_none();
        if self.mount.is_none() || elsewhere {
            return Place::Other;
        }
        let shown = self.shown(path);
        let below = |top: &str| {
            shown.0.strip_prefix(top.as_bytes()).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        };
        match () {
            () if BOOT.iter().any(|top| below(top)) => Place::Boot,
            () if below(CONFIGURATION) => Place::Configuration,
            () => Place::Other,
        }
    }
}

/// What a machine starts from lies below these; `/efi` is where systemd has the EFI system partition.
pub const BOOT: [&str; 2] = ["/boot", "/efi"];
/// How it is set up.
pub const CONFIGURATION: &str = "/etc";

/// What differs between two states of a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differences {
    /// The earlier state.
    pub before: SnapshotId,
    /// The later state; `None`: as the disks are now.
    pub after: Option<SnapshotId>,
    /// Every volume of either, in the order of the later.
    pub volumes: Vec<VolumeDifferences>,
}

impl Differences {
    /// All that differs, of all volumes together.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.volumes.iter().filter_map(|v| v.files.as_ref().ok()).for_each(|f| counts.join(&f.counts));
        counts
    }

    /// The packages of the first system that has any.
    pub fn packages(&self) -> Option<&Result<PackageDifferences, DisplayText>> {
        self.volumes.iter().find_map(|v| v.files.as_ref().ok()?.packages.as_ref())
    }

    /// True where nothing differs, and everything could be compared.
    pub fn is_none(&self) -> bool {
        self.volumes.iter().all(|v| {
            let files = v.files.as_ref().ok();
            files.is_some_and(|f| {
                let same = !matches!(&f.packages, Some(Ok(p)) if p.count > 0) && !matches!(f.packages, Some(Err(_)));
                same && f.counts.total() == 0 && f.unseen.count == 0
            })
        })
    }

    /// The same with shorter lists, for a screen.
    pub fn shortened(mut self, groups: usize, files: usize) -> Self {
        for found in self.volumes.iter_mut().filter_map(|v| v.files.as_mut().ok()) {
            found.groups = grouped(std::mem::take(&mut found.groups), groups);
            found.largest.truncate(files);
            found.notable.truncate(files);
            if let Some(Ok(packages)) = &mut found.packages {
                packages.changes.truncate(files);
            }
        }
        self
    }
}

/// What going to a saved state takes from whoever works with the machine now: everything that changed since. It is told beside the
/// plan and is no part of it: the same plan may be shown with other losses, or with none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// The plan.
    pub plan: PlanId,
    /// What differs on the volumes that are written, from the saved state to the present one; or why that could not be told.
    pub differences: Result<Differences, DisplayText>,
    /// Seconds it will take, about: at least and at most; `None` where that could not be told.
    pub seconds: Option<(u64, u64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(path: &str, created: u64) -> Group {
        let created = Tally { count: 1, bytes: ByteLen(created) };
        Group { path: path.into(), counts: Counts { created, ..Counts::default() } }
    }

    #[test]
    fn groups_are_cut_to_one_depth_and_the_heaviest_come_first() {
        let all = || {
            ["/", "/etc", "/home/ann/a", "/home/ann/b/c", "/home/bob", "/var/log"]
                .into_iter()
                .zip([1, 2, 4, 8, 16, 32])
                .map(|(path, size)| group(path, size))
        };
        let shown = |most: usize| {
            let groups = grouped(all(), most);
            groups.into_iter().map(|g| (g.path.display().to_string(), g.counts.created.bytes.0)).collect::<Vec<_>>()
        };
        let pairs = |list: &[(&str, u64)]| list.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect::<Vec<_>>();
        assert_eq!(shown(9).len(), 6);
        assert_eq!(shown(5), pairs(&[("/var/log", 32), ("/home/bob", 16), ("/home/ann", 12), ("/etc", 2), ("/", 1)]));
        assert_eq!(shown(4), pairs(&[("/var", 32), ("/home", 28), ("/etc", 2), ("/", 1)]));
        assert_eq!(shown(1), pairs(&[("/", 63)]));
        assert!(grouped([], 3).is_empty());
    }

    #[test]
    fn places_are_those_of_the_system() {
        let volume = |mount: Option<&str>| VolumeDifferences {
            before: None,
            after: None,
            fs: "ext4".into(),
            mount: mount.map(str::to_owned),
            subvolumes: Vec::new(),
            files: Err("".into()),
        };
        let root = volume(Some("/"));
        assert_eq!(root.place(&"/etc/fstab".into()), Place::Configuration);
        assert_eq!(root.place(&"/etcetera".into()), Place::Other);
        assert_eq!(root.place(&"/boot".into()), Place::Boot);
        let esp = volume(Some("/boot/efi"));
        assert_eq!(esp.place(&"/EFI/debian/grub.cfg".into()), Place::Boot);
        assert_eq!(esp.shown(&"/EFI".into()), "/boot/efi/EFI".into());
        assert_eq!(esp.shown(&"/".into()), "/boot/efi".into());
        assert_eq!(volume(None).place(&"/etc/fstab".into()), Place::Other);
        assert_eq!(volume(None).shown(&"/etc".into()), "/etc".into());
        let subvolumes = vec![("/@".into(), String::new()), ("/@/.snapshots".into(), "/.snapshots".into())];
        let btrfs = VolumeDifferences { subvolumes, ..volume(Some("/")) };
        assert_eq!(btrfs.place(&"/@/etc/fstab".into()), Place::Configuration);
        assert_eq!(btrfs.shown(&"/@".into()), "/".into());
        assert_eq!(btrfs.shown(&"/@/.snapshots/1".into()), "/.snapshots/1".into());
        // What the system does not mount is not its own.
        assert_eq!((btrfs.place(&"/etc".into()), btrfs.shown(&"/@x/etc".into())), (Place::Other, "/@x/etc".into()));
    }
}
