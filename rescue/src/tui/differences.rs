//! What differs, and what is lost by going back, in words: for the screens and the command line.

use super::text::count;
use super::words;
use model::differences::{
    ComparedBy, Counts, Difference, Differences, FileChange, FsDifferences, Group, Losses, PackageChange,
    PackageDifference, PackageDifferences, Place, VolumeDifferences, grouped,
};
use model::plan::{Action, RollbackPlan};
use model::text::RawName;
use model::units::ByteLen;

/// Groups, files, and packages that are told of losses.
const MOST_GROUPS: usize = 8;
const MOST_FILES: usize = 5;
const MOST_PACKAGES: usize = 6;

/// How many of what, with what they are together.
fn some(n: u64, what: &str, bytes: ByteLen) -> Option<String> {
    let of = if bytes > ByteLen::ZERO { format!(" ({bytes})") } else { String::new() };
    (n > 0).then(|| format!("{n} {what}{of}"))
}

fn joined(parts: impl IntoIterator<Item = Option<String>>) -> Option<String> {
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// What became of files.
pub fn counts(c: &Counts) -> String {
    let parts = [
        some(c.created.count, "created", c.created.bytes),
        some(c.changed.count, "changed", c.changed.bytes),
        some(c.deleted.count, "deleted", c.deleted.bytes),
        some(c.renamed, "renamed", ByteLen::ZERO),
        some(c.attributes, "with other attributes", ByteLen::ZERO),
    ];
    joined(parts).unwrap_or_else(|| "nothing differs".to_owned())
}

/// What becomes of them by going back.
pub fn lost_counts(c: &Counts) -> String {
    let parts = [
        some(c.created.count, "gone", c.created.bytes),
        some(c.changed.count, "as they were", c.changed.bytes),
        some(c.deleted.count, "back", c.deleted.bytes),
        some(c.renamed, "under their old names", ByteLen::ZERO),
        some(c.attributes, "with their old attributes", ByteLen::ZERO),
    ];
    joined(parts).unwrap_or_else(|| "nothing".to_owned())
}

/// What became of a file, in a word.
pub fn change(c: &FileChange) -> &'static str {
    match c {
        FileChange::Created => "created",
        FileChange::Changed => "changed",
        FileChange::Attributes => "attributes",
        FileChange::Deleted => "deleted",
        FileChange::Renamed { .. } => "renamed",
    }
}

/// What becomes of a file by going back, in a few words.
pub fn change_lost(c: &FileChange) -> &'static str {
    match c {
        FileChange::Created => "gone",
        FileChange::Changed => "as it was",
        FileChange::Attributes => "attributes",
        FileChange::Deleted => "back",
        FileChange::Renamed { .. } => "old name",
    }
}

/// A file that differs: its path, and from which size to which.
pub fn file(v: &VolumeDifferences, d: &Difference) -> String {
    let path = v.shown(&d.path).display();
    let size = match (d.before, d.after) {
        (Some(before), Some(after)) if before != after => format!("  {before} -> {after}"),
        (_, Some(size)) | (Some(size), None) if size > ByteLen::ZERO => format!("  {size}"),
        _ => String::new(),
    };
    match &d.change {
        FileChange::Renamed { from } => format!("{} -> {path}{size}", v.shown(from).display()),
        _ => format!("{path}{size}"),
    }
}

/// A package that differs.
pub fn package(p: &PackageDifference) -> String {
    match (&p.before, &p.after) {
        (Some(before), Some(after)) => format!("{} {before} -> {after}", p.name),
        (Some(version), None) | (None, Some(version)) => format!("{} {version}", p.name),
        (None, None) => p.name.to_string(),
    }
}

/// The same, where it is gone back.
pub fn package_back(p: &PackageDifference) -> String {
    match (&p.before, &p.after) {
        (Some(before), Some(after)) => format!("{} {after} -> {before}", p.name),
        _ => p.name.to_string(),
    }
}

/// What became of packages, in order of how much it means.
const PACKAGES: [PackageChange; 5] = [
    PackageChange::Upgraded,
    PackageChange::Downgraded,
    PackageChange::Installed,
    PackageChange::Removed,
    PackageChange::State,
];

/// What became of a package, in a word.
pub fn package_change(c: PackageChange) -> &'static str {
    match c {
        PackageChange::Installed => "installed",
        PackageChange::Removed => "removed",
        PackageChange::Upgraded => "upgraded",
        PackageChange::Downgraded => "downgraded",
        PackageChange::State => "in another state",
    }
}

/// The same, where it is gone back.
pub fn package_lost(c: PackageChange) -> &'static str {
    match c {
        PackageChange::Installed => "gone",
        PackageChange::Removed => "back",
        PackageChange::Upgraded => "back to an older version",
        PackageChange::Downgraded => "forward to a newer version",
        PackageChange::State => "back in their old state",
    }
}

/// How many packages there are of each kind.
pub fn packages(p: &PackageDifferences) -> String {
    let of = |c: PackageChange| p.changes.iter().filter(|p| p.change == c).count() as u64;
    let parts = PACKAGES.map(|c| some(of(c), package_change(c), ByteLen::ZERO));
    joined(parts).unwrap_or_else(|| "all as they were".to_owned())
}

/// How they were compared, where that is worth a word.
pub fn by(f: &FsDifferences) -> Option<&'static str> {
    (f.by == ComparedBy::Names).then_some(
        "compared by name, size and time: the one was not made of the other, or the file system keeps no more",
    )
}

/// Why something of a volume may not have been seen.
pub fn unseen(v: &VolumeDifferences, f: &FsDifferences, most: usize) -> Vec<String> {
    let place = |path: &RawName| match path.0.is_empty() {
        true => String::new(),
        false => format!("{}: ", v.shown(path).display()),
    };
    let mut out: Vec<String> =
        f.unseen.first.iter().take(most).map(|(path, why)| format!("{}{why}", place(path))).collect();
    let more = f.unseen.count.saturating_sub(out.len() as u64);
    if more > 0 {
        out.push(format!("and {more} more"));
    }
    out
}

/// What else became of files, by directory, the heaviest first: of volumes that have a place in a system all together, of each
/// other by itself, `most` of either.
pub fn groups(d: &Differences, most: usize) -> Vec<(String, Counts)> {
    let of = |v: &VolumeDifferences| v.files.as_ref().map(|f| f.groups.clone()).unwrap_or_default();
    let mounted = d.volumes.iter().filter(|v| v.mount.is_some()).flat_map(|v| {
        let place = |g: Group| Group { path: v.shown(&g.path), counts: g.counts };
        of(v).into_iter().map(place).collect::<Vec<_>>()
    });
    let name = |g: Group| (g.path.display().to_string(), g.counts);
    let mut out: Vec<(String, Counts)> = grouped(mounted, most).into_iter().map(name).collect();
    for v in d.volumes.iter().filter(|v| v.mount.is_none()) {
        let volume = v.volume().map(ToString::to_string).unwrap_or_default();
        let name = |g: Group| (format!("{volume}:{}", g.path.display()), g.counts);
        out.extend(grouped(of(v), most).into_iter().map(name));
    }
    out.sort_by_key(|(_, counts)| std::cmp::Reverse((counts.weight(), counts.total())));
    out
}

/// A part of what is told of losses: a heading, or a line below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What the line begins with; lines that follow it are indented as far.
    pub head: String,
    /// The rest.
    pub text: String,
    /// It stands out.
    pub strong: bool,
}

fn heading(text: impl Into<String>) -> Said {
    Said { head: String::new(), text: text.into(), strong: true }
}

fn line(head: impl Into<String>, text: impl Into<String>) -> Said {
    Said { head: head.into(), text: text.into(), strong: false }
}

/// What a plan loses; what is being worked out, or could not be, is said too. Of one that goes back to nothing it is known by itself.
pub fn losses(plan: &RollbackPlan, losses: Option<&Losses>) -> Vec<Said> {
    if let Some(says) = known_loss(plan) {
        return vec![heading(format!("What you would lose: {says}."))];
    }
    let Some(losses) = losses else {
        return vec![heading("What you would lose: being worked out; you need not wait for it.")];
    };
    let mut out = match &losses.differences {
        Ok(differences) => lost(differences),
        Err(why) => vec![heading(format!("What you would lose could not be told, because {why}."))],
    };
    if let Some((least, most)) = losses.seconds {
        let (least, most) = (words::duration(least.max(1)), words::duration(most.max(1)));
        let span = if least == most { least } else { format!("{least} to {most}") };
        out.push(line("", format!("It takes about {span}; longer where the store is slow.")));
    }
    out
}

/// What a plan loses, where that needs no comparison: without a full stop.
pub(super) fn known_loss(plan: &RollbackPlan) -> Option<String> {
    let names = |lost: bool| -> Vec<String> {
        plan.disks.iter().filter(|d| d.lost == lost).map(|d| d.disk.to_string()).collect()
    };
    match plan.action {
        Action::Put => Some("what is there now in the place of what is put; nothing else changes".into()),
        Action::Restore { .. } if names(true).is_empty() => {
            Some(format!("nothing; {} holds nothing", names(false).join(" and ")))
        }
        Action::Restore { .. } => Some(format!("all that {} holds, for good", names(true).join(" and "))),
        Action::Resume { .. } if !plan.disks.is_empty() => Some("nothing that is not lost already".into()),
        _ => None,
    }
}

fn lost(d: &Differences) -> Vec<Said> {
    let all = d.counts();
    let mut out = Vec::new();
    match (all.total(), d.is_none()) {
        (0, true) => out.push(heading("What you would lose: nothing; no file changed since.")),
        (0, false) => out.push(heading("What you would lose: no file that could be compared changed since.")),
        _ => {
            let says = format!("What you would lose: {} written since", all.lost());
            out.push(heading(format!("{says}. Files: {}.", lost_counts(&all))));
        }
    }
    out.extend(told(d));
    out
}

/// Packages, what lies in places of note, and the rest by directory; what could not be compared last.
fn told(d: &Differences) -> Vec<Said> {
    let mut out = Vec::new();
    match d.packages() {
        Some(Ok(found)) if found.count > 0 => out.extend(lost_packages(found)),
        Some(Err(why)) => out.push(line("  packages: ", why.as_str())),
        _ => {}
    }
    for (place, what) in [(Place::Boot, "boot files"), (Place::Configuration, "below /etc")] {
        let found: Vec<(&VolumeDifferences, &Difference)> = notable(d, place).collect();
        if let Some((v, _)) = found.first() {
            let names: Vec<String> =
                found.iter().take(MOST_FILES).map(|(v, d)| v.shown(&d.path).display().to_string()).collect();
            let more = found.len().saturating_sub(names.len());
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let told = cut_short(v);
            out.push(line(format!("  {what}: "), format!("{}{more}{told}", names.join(", "))));
        }
    }
    for (name, counts) in groups(d, MOST_GROUPS) {
        out.push(line(format!("  {name}: "), lost_counts(&counts)));
    }
    for v in &d.volumes {
        let name = v.volume().map(ToString::to_string).unwrap_or_default();
        match &v.files {
            Err(why) => out.push(line(format!("  {name}: "), format!("not compared, because {why}"))),
            Ok(f) => {
                let told = by(f).map(str::to_owned).into_iter().chain(unseen(v, f, 2));
                out.extend(told.map(|why| line(format!("  {name}: "), why)));
            }
        }
    }
    out
}

/// Where more of a place differ than are told one by one.
fn cut_short(v: &VolumeDifferences) -> String {
    let told = v.files.as_ref().map_or((0, 0), |f| (f.notable.len() as u64, f.notable_counts.total()));
    if told.1 > told.0 { format!(" (of {} in such places the first {})", told.1, told.0) } else { String::new() }
}

/// What is told one by one of a place.
pub fn notable(d: &Differences, place: Place) -> impl Iterator<Item = (&VolumeDifferences, &Difference)> {
    d.volumes.iter().flat_map(move |v| {
        let list = v.files.as_ref().map(|f| &f.notable[..]).unwrap_or_default();
        list.iter().filter(move |d| v.place(&d.path) == place).map(move |d| (v, d))
    })
}

fn lost_packages(p: &PackageDifferences) -> Vec<Said> {
    let mut out = Vec::new();
    for change in PACKAGES {
        let of: Vec<&PackageDifference> = p.changes.iter().filter(|p| p.change == change).collect();
        if of.is_empty() {
            continue;
        }
        let names: Vec<String> = of.iter().take(MOST_PACKAGES).map(|p| package_back(p)).collect();
        let more = of.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let head = format!("  {} {}: ", count(of.len(), "package"), package_lost(change));
        out.push(line(head, format!("{}{more}", names.join(", "))));
    }
    let untold = p.count.saturating_sub(p.changes.len() as u64);
    if untold > 0 {
        out.push(line("  ", format!("and {untold} packages more")));
    }
    out
}
