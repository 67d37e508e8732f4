//! What a policy makes of a state: a pure function of what is known, and a sentence that says why.

use model::assessment::{Assessment, Installation, Start, SystemReport, Termination};
use model::id::SnapshotId;
use model::policy::{Decision, FullReads, Policy, Saving, Wish};
use model::ports::UnixMicros;
use model::snapshot::Manifest;
use model::text::DisplayText;

const DAY: i64 = 86_400_000_000;

/// What is known of the installed systems, taken together: whatever is so of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct State {
    cut_short: bool,
    out_of_order: bool,
    not_started: bool,
    cut_off: bool,
    asleep: bool,
    doubtful: bool,
    absent: bool,
    good: bool,
}

impl State {
    /// The state that these reports tell of.
    pub fn of(systems: &[SystemReport]) -> Self {
        let any = |is: &dyn Fn(&Assessment) -> bool| systems.iter().any(|s| is(&s.assessment));
        Self {
            cut_short: any(&|a| a.installation.value == Installation::Interrupted),
            out_of_order: any(&|a| a.installation.value == Installation::Broken),
            not_started: any(&|a| a.start.value == Start::Failed),
            cut_off: any(&|a| a.termination.value == Termination::Abrupt),
            asleep: any(&|a| a.termination.value == Termination::Hibernated),
            doubtful: any(&|a| a.termination.value == Termination::Unknown),
            absent: systems.is_empty(),
            good: !systems.is_empty() && systems.iter().all(|s| s.assessment.is_good()),
        }
    }

    /// True where it would be no good to go back to, whatever its session did.
    fn is_broken(self) -> bool {
        self.cut_short || self.out_of_order || self.not_started
    }

    /// What it is, for people.
    fn says(self) -> String {
        let all = [
            (self.cut_short, "an installation was cut short"),
            (self.out_of_order, "an installation left packages out of order"),
            (self.not_started, "the last start failed"),
            (self.cut_off, "the last session was cut off"),
            (self.asleep, "the system is asleep on disk"),
            (self.absent, "no installed system was found"),
        ];
        let so: Vec<&str> = all.into_iter().filter(|(so, _)| *so).map(|(_, says)| says).collect();
        match (so.is_empty(), self.good, self.doubtful) {
            (false, ..) => so.join(", and "),
            (true, true, _) => "the state is good".to_owned(),
            (true, false, true) => "how it was left is not known".to_owned(),
            (true, false, false) => "not all of the state is known".to_owned(),
        }
    }
}

/// How the disks compare with the snapshot that they were last known to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// Nobody asked, or there is none: nothing is proven.
    NotKnown,
    /// It is proven that it holds all of them.
    Same(SnapshotId),
    /// They differ from it, or may.
    Differs,
}

/// True where [`decide`] makes something of [`Since::Same`]: finding out costs reads.
pub fn asks(policy: &Policy, state: State, due: Option<&str>) -> bool {
    policy.unchanged == Wish::Skip && due.is_none() && !state.asleep
}

/// What the policy makes of a state. `due` is the reason why everything is to be read, as [`full_due`] gives it.
///
/// Skipped is only what is proven to be saved already, and a sleeping system that the policy leaves alone.
pub fn decide(policy: &Policy, state: State, due: Option<&str>, since: &Since) -> Decision {
    let skip = |why: String| Decision { save: None, why: DisplayText::new(&why) };
    if state.asleep && policy.hibernated == Wish::Skip {
        return skip(format!("{}: the policy leaves such a state alone", state.says()));
    }
    if let (true, Since::Same(id)) = (asks(policy, state, due), since) {
        return skip(format!("nothing changed since snapshot {}, which holds all of this", id.0.short(8)));
    }
    let label = match () {
        () if state.is_broken() => policy.label_broken.clone(),
        () if state.cut_off => policy.label_crashed.clone(),
        () => None,
    };
    let everything = state.cut_off || due.is_some();
    let how = if everything { "everything is read and saved" } else { "it is saved" };
    let called = label.as_ref().map(|label| format!(", as \"{label}\"")).unwrap_or_default();
    let due = due.map(|due| format!(" ({due})")).unwrap_or_default();
    let why = DisplayText::new(&format!("{}: {how}{called}{due}", state.says()));
    Decision { save: Some(Saving { everything, label }), why }
}

/// A snapshot of the past, as far as it matters when everything is to be read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// It read everything.
    pub everything: bool,
    /// When, by a clock that may be wrong.
    pub at: UnixMicros,
}

impl Taken {
    /// The snapshot of a manifest.
    pub fn of(manifest: &Manifest) -> Self {
        Self { everything: manifest.read_everything(), at: manifest.taken }
    }
}

/// Why everything is to be read now, where it is. `history` are the machine's snapshots (no undo points), oldest first.
///
/// Snapshots are counted; days count only between two times that can both be true.
pub fn full_due(reads: FullReads, history: &[Taken], now: UnixMicros) -> Option<String> {
    let partial = history.iter().rev().take_while(|t| !t.everything).count();
    let last = history.iter().rfind(|t| t.everything).map(|t| t.at);
    let since = u32::try_from(partial).unwrap_or(u32::MAX);
    // Before the first snapshot there is nothing to take over: it reads everything anyway.
    if !history.is_empty() && reads.every.is_some_and(|every| since.saturating_add(1) >= every) {
        let taken = if since == 1 { "one snapshot was".to_owned() } else { format!("{since} snapshots were") };
        return Some(match since {
            0 => "the policy wants that each time".to_owned(),
            _ => format!("{taken} taken since that was last done"),
        });
    }
    let days = last.filter(|last| last.is_plausible()).map(|last| now.0.saturating_sub(last.0).div_euclid(DAY));
    match (reads.days, days) {
        (Some(most), Some(days)) if days >= i64::from(most) => Some(format!("that was last done {days} days ago")),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
