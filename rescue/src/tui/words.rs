//! The findings of the model in words for a tired person. No jargon; never more certain than the facet.

use model::assessment::{Assessment, Change, Confidence, Installation, Start, Termination};
use model::command::Failure;
use model::esp::EspPart;
use model::event::{JobKind, Lost};
use model::evidence::EndKind;
use model::files::LostPath;
use model::firmware::{BootEntry, BootSettings, name_of};
use model::id::SnapshotId;
use model::inspection::{Content, FileKind, Inspection, Volume};
use model::plan::{ComposedPath, Composition, RollbackPlan, SnapshotEstimate};
use model::restore::Growth;
use model::snapshot::{Machine, Purpose, SnapshotSummary, VolumeRead};
use model::text::{DisplayText, RawName};
use model::units::ByteLen;

/// Most names of what stays on an EFI system partition in one sentence.
const MOST_SHARED: usize = 12;

/// How a line of a list stands: said by a mark, repeated by a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// `[ok]`
    Good,
    /// `[!!]`
    Bad,
    /// `[??]`
    Unsure,
    /// `[--]`: neither good nor bad.
    Plain,
}

impl Mark {
    /// The mark as drawn.
    pub fn shown(self) -> &'static str {
        match self {
            Self::Good => "[ok]",
            Self::Bad => "[!!]",
            Self::Unsure => "[??]",
            Self::Plain => "[--]",
        }
    }
}

/// One facet in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FacetWords {
    /// What it is about.
    pub name: &'static str,
    /// How it stands.
    pub mark: Mark,
    /// What is held to be so, and how sure.
    pub says: String,
    /// The rule that decided.
    pub rule: String,
    /// Evidence for it.
    pub evidence_for: Vec<String>,
    /// Evidence against it.
    pub evidence_against: Vec<String>,
}

/// How sure, in words.
pub fn confidence(c: Confidence) -> &'static str {
    match c {
        Confidence::Certain => "certain",
        Confidence::Likely => "likely",
        Confidence::Weak => "a weak sign only",
    }
}

fn termination(a: &Assessment) -> (Mark, String) {
    match a.termination.value {
        Termination::Clean => {
            let how = match a.how {
                Some(EndKind::Poweroff) => ": powered off",
                Some(EndKind::Reboot) => ": restarted",
                Some(EndKind::Halt) => ": halted",
                Some(EndKind::Kexec) => ": another kernel was started",
                None => "",
            };
            (Mark::Good, format!("shut down in order{how}"))
        }
        Termination::Abrupt => (Mark::Bad, "cut off: power loss, crash or reset".into()),
        Termination::Hibernated => (Mark::Unsure, "asleep on disk (hibernated)".into()),
        Termination::Never => (Mark::Plain, "never ran".into()),
        Termination::Unknown => (Mark::Unsure, "not known".into()),
    }
}

fn start(a: &Assessment) -> (Mark, String) {
    match a.start.value {
        Start::Reached => (Mark::Good, "came up all the way".into()),
        Start::Failed => (Mark::Bad, "did not come up".into()),
        Start::Never => (Mark::Plain, "never started".into()),
        Start::Unknown => (Mark::Unsure, "not known".into()),
    }
}

fn installation(a: &Assessment) -> (Mark, String) {
    match a.installation.value {
        Installation::Idle => (Mark::Good, "nothing was being installed".into()),
        Installation::Completed => (Mark::Good, "the last installation is complete".into()),
        Installation::Interrupted => (Mark::Bad, "cut short in the middle".into()),
        Installation::Broken => (Mark::Bad, "left packages out of order".into()),
        Installation::Unknown => (Mark::Unsure, "not known".into()),
    }
}

fn packages(a: &Assessment, most: usize) -> String {
    if a.packages.is_empty() {
        return String::new();
    }
    let mut names: Vec<String> = a.packages.iter().take(most).map(|p| p.name.shortened(24)).collect();
    if a.packages.len() > most {
        names.push(format!("{} more", a.packages.len() - most));
    }
    format!(": {}", names.join(", "))
}

fn change(a: &Assessment) -> (Mark, String) {
    let since = a.since.map(|s| format!(" since snapshot {}", short(s))).unwrap_or_default();
    match a.change.value {
        Change::Unchanged => (Mark::Good, format!("unchanged{since}")),
        Change::Changed => (Mark::Plain, format!("changed{since}")),
        Change::Unknown if a.since.is_none() => (Mark::Unsure, "no snapshot to compare with".into()),
        Change::Unknown => (Mark::Unsure, format!("not known{since}")),
    }
}

/// The four facets, in the order in which people ask.
pub fn facets(a: &Assessment) -> [FacetWords; 4] {
    fn words<T>(
        name: &'static str,
        (mut mark, mut says): (Mark, String),
        known: bool,
        more: &str,
        f: &model::assessment::Facet<T>,
    ) -> FacetWords {
        // A hint is no alarm: what is done about what is bad is not done for it.
        if mark == Mark::Bad && f.confidence == Confidence::Weak {
            mark = Mark::Unsure;
        }
        if known {
            says = format!("{says} - {}", confidence(f.confidence));
        }
        says.push_str(more);
        let ids = |ids: &[model::evidence::EvidenceId]| ids.iter().map(|i| i.0.clone()).collect();
        FacetWords {
            name,
            mark,
            says,
            rule: f.rule.clone(),
            evidence_for: ids(&f.evidence_for),
            evidence_against: ids(&f.evidence_against),
        }
    }
    [
        words("Last shutdown", termination(a), a.termination.value != Termination::Unknown, "", &a.termination),
        words("Last start", start(a), a.start.value != Start::Unknown, "", &a.start),
        words(
            "Software",
            installation(a),
            a.installation.value != Installation::Unknown,
            &packages(a, 3),
            &a.installation,
        ),
        words("Data", change(a), a.change.value != Change::Unknown, "", &a.change),
    ]
}

/// The part of a snapshot's id that people see and type.
pub fn short(id: SnapshotId) -> String {
    id.0.short(8)
}

/// The state of a snapshot, in a word.
pub fn state(s: &SnapshotSummary) -> (Mark, &'static str) {
    match s.purpose {
        Purpose::Undo { .. } => (Mark::Plain, "undo"),
        Purpose::Repair => (Mark::Plain, "repair"),
        Purpose::Composed { .. } => (Mark::Plain, "composed"),
        Purpose::Keep if s.good => (Mark::Good, "good"),
        Purpose::Keep => (Mark::Bad, "not good"),
    }
}

/// What is composed before anything is written, a paragraph each.
pub fn composed(composed: &Composition) -> Vec<String> {
    let does = match (composed.of, composed.with) {
        (_, Some(_)) => "put in place of what is there",
        (_, None) => "kept as it is now",
    };
    let path = |p: &ComposedPath| {
        let volume = &p.volume;
        match p.counted {
            true => format!("{does}: {} ({volume}), {} in {} names", p.path.display(), p.bytes, p.files),
            false => format!("{does}: {} ({volume}), at most {}, not counted to the end", p.path.display(), p.bytes),
        }
    };
    let mut out: Vec<String> = composed.paths.iter().map(path).collect();
    let first = match composed.paths.is_empty() {
        true => "What is made larger is made so first, by the kernel's own ext4, beside the store,",
        false => "This state is composed first, beside the store,",
    };
    out.push(format!(
        "{first} and saved there; that takes at most {}, mostly much less. If it fails, nothing was written to the disks",
        composed.room
    ));
    out
}

/// What stays on EFI system partitions that others have files on, a paragraph each.
pub fn shared(plan: &RollbackPlan) -> Vec<String> {
    let mut out = Vec::new();
    // Where it cannot stay, a warning says so.
    for esp in plan.esps.iter().filter(|esp| esp.cannot.is_none()) {
        let named = |p: &EspPart| format!("{} ({})", p.shown(), p.whose);
        let told = |which: &dyn Fn(&EspPart) -> bool| -> Vec<String> {
            let all: Vec<String> = esp.stays.iter().filter(|p| which(p)).map(named).collect();
            let more = all.len().saturating_sub(MOST_SHARED);
            let rest = (more > 0).then(|| format!("and {more} more"));
            all.into_iter().take(MOST_SHARED).chain(rest).collect()
        };
        let lists = [
            ("stays as it is now", told(&|p| p.differs)),
            ("is as it was saved, and stays", told(&|p| !p.differs && !p.returns)),
            ("is missing now, and comes back as it was saved", told(&|p| p.returns)),
        ];
        for (says, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
            out.push(format!("On {}, {says}: {}.", esp.volume, list.join(", ")));
        }
    }
    let composed: Vec<String> =
        plan.esps.iter().filter(|esp| esp.is_composed()).map(|esp| esp.volume.to_string()).collect();
    if !composed.is_empty() {
        out.push(format!(
            "What {} goes to is composed first, beside the store, and saved there. If that fails, nothing was written to the disks",
            composed.join(" and ")
        ));
    }
    out
}

/// What a larger disk would have room for.
pub fn may_grow(growth: &Growth) -> String {
    let Growth { volume, from, to, .. } = growth;
    format!("{volume} could be made larger, up to the end of the disk: {to} instead of {from}")
}

/// What a snapshot is, in a sentence.
pub fn snapshot(s: &SnapshotSummary) -> String {
    match s.purpose {
        Purpose::Undo { before } => format!("the state before going to snapshot {}", short(before)),
        Purpose::Repair => "what a repair of what starts the machine went to".into(),
        Purpose::Composed { of, with } if of == with => format!("gone to once: snapshot {}, made larger", short(of)),
        Purpose::Composed { of, with } => {
            format!("gone to once: snapshot {} with files of {}", short(of), short(with))
        }
        Purpose::Keep => match (&s.headline, &s.system) {
            (Some(h), _) => h.to_string(),
            (None, Some(system)) => system.to_string(),
            (None, None) => "no installed system was found in it".into(),
        },
    }
}

/// What somebody, or a policy, called a snapshot, with a space behind it; nothing where nobody did.
pub fn label(s: &SnapshotSummary) -> String {
    s.label.as_ref().map(|label| format!("\"{label}\" ")).unwrap_or_default()
}

/// What came of the last trial of a snapshot, where there was one.
pub fn proof(s: &SnapshotSummary) -> Option<String> {
    let proven = s.proven.iter().map(|how| format!("proven: {how}"));
    proven.chain(s.unproven.iter().map(|why| format!("does not start: {why}"))).next()
}

/// The same in a word; empty where it was not tried.
pub fn proven(s: &SnapshotSummary) -> &'static str {
    match (&s.proven, &s.unproven) {
        (Some(_), _) => "proven",
        (None, Some(_)) => "does not start",
        (None, None) => "",
    }
}

/// Time to the minute; the clock of a machine without a battery says 1970, and then the time says nothing.
pub fn time(t: model::ports::UnixMicros) -> String {
    let (y, mo, d, h, mi, _) = t.civil();
    if y < 2000 { "(clock not set)".into() } else { format!("{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}") }
}

/// A job in progress, in words.
pub fn doing(job: JobKind) -> &'static str {
    match job {
        JobKind::Inspect => "Looking at the disks",
        JobKind::List => "Reading the store",
        JobKind::Open => "Unlocking an encrypted volume",
        JobKind::Snapshot => "Saving the present state",
        JobKind::Auto => "Doing what the policy calls for",
        JobKind::Rollback => "Going back to a saved state",
        JobKind::Restore => "Putting a saved state onto other disks",
        JobKind::Put => "Putting saved files back",
        JobKind::Undo => "Undoing the last rollback",
        JobKind::Resume => "Finishing the rollback that was cut off",
        JobKind::BootRepair => "Putting right what starts the machine",
        JobKind::Check => "Checking the store",
        JobKind::Files => "Taking saved files out",
        JobKind::Browse => "Looking through saved files",
        JobKind::Describe => "Reading the record of a saved state",
        JobKind::Compare => "Looking what changed",
        JobKind::Export => "Writing a saved state out as an image",
        JobKind::Prove => "Starting a saved state in a virtual machine",
        JobKind::Upkeep => "Looking after the store",
    }
}

/// What is on a volume, in a word, with its mount point where a system names one.
pub fn volume(inspection: &Inspection, v: &Volume) -> String {
    let system = inspection.systems.iter().find_map(|s| {
        if s.root == v.path {
            return Some("/".to_owned());
        }
        s.boot.iter().chain(&s.other).find(|(_, p)| *p == v.path).map(|(at, _)| at.clone())
    });
    let kind = match &v.content {
        Content::Fenced(_) => "UNFINISHED".to_owned(),
        Content::Damaged { kind, .. } => format!("DAMAGED {}", kind.name()),
        Content::Recognised { name, .. } => name.clone(),
        Content::BiosBoot => "boot code".to_owned(),
        Content::Lvm(l) => format!("LVM {}", l.group),
        Content::Md(m) => format!("{} {}", m.level, m.array),
        Content::BtrfsDevice(b) => format!("btrfs {}/{}", b.device, b.devices),
        Content::Luks(l) if l.open => "LUKS".to_owned(),
        Content::Luks(_) => "LUKS, locked".to_owned(),
        Content::Ext(_)
        | Content::Fat(_)
        | Content::Exfat(_)
        | Content::Ntfs(_)
        | Content::Xfs(_)
        | Content::Btrfs(_)
        | Content::Swap(_)
        | Content::Empty
        | Content::Unknown => v.kind().to_owned(),
    };
    match system {
        // fstab names swap areas `swap` or `none`.
        Some(at) if at.starts_with('/') => format!("{at} {kind}"),
        _ => kind,
    }
}

/// The machine the report is of, as far as matching snapshots needs it (see [`Machine::is`]).
pub fn machine(inspection: &Inspection) -> Machine {
    let system = inspection.systems.first();
    Machine {
        machine_id: system.and_then(|s| s.machine_id.clone()),
        disks: inspection
            .disks
            .iter()
            .filter_map(|d| match &d.table {
                Some(t) => Some(t.id.clone()),
                None => d.volumes.first().and_then(|v| v.uuid().map(str::to_owned)),
            })
            .collect(),
        hostname: system.and_then(|s| s.hostname.clone()),
    }
}

/// Seconds as people say them.
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// Percent done, where it can be told.
pub fn percent(done: ByteLen, total: ByteLen) -> Option<u8> {
    if total.0 == 0 {
        return None;
    }
    let p = u128::from(done.0) * 100 / u128::from(total.0);
    Some(u8::try_from(p.min(100)).unwrap_or(100))
}

/// A failure as a sentence that ends.
pub fn failure(f: &Failure) -> (String, String) {
    (sentence(f.says.as_str()), sentence(f.advice.as_str()))
}

/// Kind and permissions as `ls` has them: `-rwxr-xr-x`.
pub fn mode(kind: FileKind, mode: u32) -> String {
    let first = match (kind, mode & 0o170_000) {
        (FileKind::File, _) => '-',
        (FileKind::Directory, _) => 'd',
        (FileKind::Symlink, _) => 'l',
        (FileKind::Special, 0o020_000) => 'c',
        (FileKind::Special, 0o060_000) => 'b',
        (FileKind::Special, 0o010_000) => 'p',
        (FileKind::Special, _) => 's',
    };
    let mut out = String::from(first);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        out.push(if bits & 4 != 0 { 'r' } else { '-' });
        out.push(if bits & 2 != 0 { 'w' } else { '-' });
        out.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    out
}

/// Where something lies on the save disk that was put into the folder `files` beside the store: from the root of its file system.
pub fn on_save_disk(path: &RawName) -> Option<DisplayText> {
    let wanted = b"/files/";
    let at = path.0.windows(wanted.len()).position(|part| part == wanted)?;
    Some(DisplayText::from_bytes(&path.0[at + 1..]))
}

/// That nothing has a text in it that was looked for.
pub fn not_found(text: &str) -> String {
    match text {
        "" => "Nothing was looked for yet: press / and type what.".to_owned(),
        text => format!("Nothing here has \"{text}\" in it."),
    }
}

/// A capital at the start, a full stop at the end.
pub fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars();
    let Some(first) = chars.next() else { return String::new() };
    let mut out: String = first.to_uppercase().chain(chars).collect();
    if !out.ends_with(['.', '!', '?']) {
        out.push('.');
    }
    out
}

/// What of the volumes that were saved could not be read, a sentence each.
pub fn unread(volumes: &[VolumeRead]) -> Vec<String> {
    let lost = volumes.iter().filter(|v| v.unreadable.0 > 0);
    let says = |v: &VolumeRead| {
        format!("{} of {} could not be read, and are not part of it. The disk may be dying.", v.unreadable, v.path)
    };
    lost.map(says).collect()
}

/// How much room a snapshot may need, and how much there is: both named for what they are.
pub fn room(e: &SnapshotEstimate) -> String {
    let free = e.free.map_or("how much is free is not known".to_owned(), |free| format!("{free} are free for it"));
    format!("it needs about {} of room (a guess), at most {}; {free}", e.likely, e.at_most)
}

/// What that means where the guess does not fit.
pub const TIGHT: &str = "it may not fit: if it does not, it stops in order, and goes on once there is more room";

/// What lies in lost bytes of a volume, a line each, with at most `most` paths.
pub fn lost(lost: &Lost, most: usize) -> Vec<String> {
    let Some(files) = &lost.files else {
        return lost.why_not.iter().map(|why| format!("which files lie there cannot be told: {why}")).collect();
    };
    let path = |p: &LostPath| match p.kind {
        FileKind::Directory => format!("{} (names in this directory)", p.path.display()),
        _ => p.path.display().to_string(),
    };
    let mut out: Vec<String> = files.paths.iter().take(most).map(path).collect();
    let more = files.count.saturating_sub(out.len() as u64);
    if more > 0 {
        out.push(format!("and {more} more"));
    }
    if files.nameless > 0 {
        let files = if files.nameless == 1 { "1 file".to_owned() } else { format!("{} files", files.nameless) };
        out.push(format!("{files} whose names are lost"));
    }
    if files.metadata {
        out.push("records of the file system itself".into());
    }
    if files.journal {
        out.push("the file system's journal".into());
    }
    if files.unclaimed.0 > 0 {
        out.push(format!("{} that belong to no file that was found", files.unclaimed));
    }
    if let Some(why) = &files.unseen {
        out.push(format!("and maybe others: {why}"));
    }
    out
}

/// The firmware's boot entries in the order in which it tries them, then those that it does not; a line each.
pub fn boot_entries(settings: &BootSettings) -> Vec<String> {
    let ordered = settings.order.iter().filter_map(|n| settings.entry(*n));
    let others = settings.entries.iter().filter(|e| !settings.order.contains(&e.number));
    let line = |e: &BootEntry, tried: bool| {
        let mut line = format!("{} {}", name_of(e.number), e.says());
        let off = e.option.as_ref().is_ok_and(|o| !o.active);
        for (so, says) in [
            (off, ", switched off"),
            (!tried, ", not in the order"),
            (settings.next == Some(e.number), ", the next time first"),
            (settings.current == Some(e.number), ", started now"),
        ] {
            line.push_str(if so { says } else { "" });
        }
        line
    };
    ordered.map(|e| line(e, true)).chain(others.map(|e| line(e, false))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_written_as_ls_does() {
        assert_eq!(mode(FileKind::File, 0o104_755), "-rwsr-xr-x");
        assert_eq!(mode(FileKind::Directory, 0o041_777), "drwxrwxrwt");
        assert_eq!(mode(FileKind::File, 0o102_644), "-rw-r-Sr--");
        assert_eq!(mode(FileKind::Special, 0o060_660), "brw-rw----");
    }

    #[test]
    fn numbers_in_words() {
        assert_eq!(duration(59), "59 s");
        assert_eq!(duration(61), "1 min 01 s");
        assert_eq!(duration(3725), "1 h 02 min");
        assert_eq!(percent(ByteLen(1), ByteLen(0)), None);
        assert_eq!(percent(ByteLen(u64::MAX), ByteLen(u64::MAX)), Some(100));
        assert_eq!(percent(ByteLen(5), ByteLen(4)), Some(100));
        assert_eq!(sentence("no room is left"), "No room is left.");
        assert_eq!(sentence(""), "");
        assert_eq!(not_found("x"), "Nothing here has \"x\" in it.");
        assert_eq!(time(model::ports::UnixMicros(0)), "(clock not set)");
    }
}
