//! Looking after the store: what the screen of the store offers, and what is said of what came of it.

use super::state::{Action, Key, Screen, Ui};
use super::steps::{Does, Step};
use super::text::{count, tail};
use super::{update, words};
use model::command::Command;
use model::event::{CheckReport, JobKind, Outcome};
use model::id::SnapRef;
use model::retention::{KeepPolicy, KeepReason};
use model::run_state::RunState;
use model::upkeep::{Broken, CopyView, ForgetView, Forgetting, Kept, PruneView, Pruning, RepairView, Upkeep};

/// The word that has saved states forgotten.
pub const WORD: &str = "FORGET";

/// Most columns of the place of a second store.
const PLACE: usize = 24;

/// Why a saved state stays.
pub fn reason(why: KeepReason) -> &'static str {
    match why {
        KeepReason::Pinned => "pinned",
        KeepReason::WriteBack => "a rollback that is not finished needs it",
        KeepReason::Floor => "among the newest of its machine (the good ones, where there are any)",
        KeepReason::Last => "among the last",
        KeepReason::Hourly => "hourly",
        KeepReason::Daily => "daily",
        KeepReason::Weekly => "weekly",
        KeepReason::Monthly => "monthly",
        KeepReason::Yearly => "yearly",
        KeepReason::Within => "young enough",
        KeepReason::BeforeTrouble => "the last good one before trouble",
        KeepReason::BeforeUpgrade => "the last good one before an upgrade",
        KeepReason::Labelled => "has a label",
        KeepReason::TimeUnknown => "its time is not known",
    }
}

fn submit(says: &str, command: Command) -> Step {
    Step { says: says.into(), does: Does::Submit(command) }
}

fn prune() -> Step {
    let what = Upkeep::Prune { how: Pruning::default(), dry_run: false };
    submit("Free the room of what was forgotten (takes two runs: the second frees it)", Command::Upkeep { what })
}

fn store() -> Step {
    Step { says: "Back to the store".into(), does: Does::Show(Screen::Store) }
}

/// What can be done with the store; `other`: see [`Ui::other`]. In the rescue (`stick`) a second stick can be plugged in.
pub fn steps(run: &RunState, other: Option<&str>, stick: bool) -> Vec<Step> {
    if run.store.is_none() {
        return vec![Step { says: "Back".into(), does: Does::Back }];
    }
    let forget = Upkeep::PlanForget { what: Forgetting::Policy(KeepPolicy::default()), room: true };
    let mut steps = vec![
        submit("Show where its room goes", Command::Upkeep { what: Upkeep::Stats }),
        submit("Look for damage, in what tells where everything is", Command::Check { read_data: false }),
        submit("Look for damage, reading every byte (takes long)", Command::Check { read_data: true }),
        submit("Show what may be forgotten, and why the rest stays", Command::Upkeep { what: forget }),
        prune(),
        repair(other),
    ];
    steps.extend(other.map(|other| {
        let what = Upkeep::Copy { snapshots: Vec::new() };
        let says = format!("Copy into {} every saved state that is not there yet", tail(other, PLACE));
        submit(&says, Command::Upkeep { what })
    }));
    if stick {
        let upkeep = |what| Command::Upkeep { what };
        steps
            .push(submit("Copy every saved state onto a second stick (plug it in first)", upkeep(Upkeep::CopyToStick)));
        let says = "Put right what is damaged, with the help of a second stick (plug it in first)";
        steps.push(submit(says, upkeep(Upkeep::RepairFromStick)));
    }
    steps
}

fn repair(other: Option<&str>) -> Step {
    let says = match other {
        Some(other) => format!("Put right what is damaged, with the help of {}", tail(other, PLACE)),
        None => "Put right what is damaged, from what is left of it".to_owned(),
    };
    submit(&says, Command::Upkeep { what: Upkeep::Repair })
}

/// What to do after looking for damage.
pub fn after_check(report: &CheckReport, other: Option<&str>, home: Step, log: Step) -> Vec<Step> {
    match report.damage.is_empty() {
        true => vec![home, log],
        false => vec![repair(other), store(), home],
    }
}

/// What to do after looking after it.
pub fn after(kept: &Kept, home: Step) -> Vec<Step> {
    match kept {
        Kept::Forgotten(_) => vec![prune(), store(), home],
        Kept::Pruned(view) if view.condemned > 0 => vec![prune(), store(), home],
        _ => vec![store(), home],
    }
}

/// Asks what would come of forgetting one saved state.
pub fn forget_one(ui: &mut Ui, run: &RunState, chosen: SnapRef) -> Vec<Action> {
    let what = Upkeep::PlanForget { what: Forgetting::Named(vec![chosen]), room: true };
    update::submit(ui, run, Command::Upkeep { what })
}

/// What would be forgotten, where that was the last thing that was told.
pub fn planned(run: &RunState) -> Option<&ForgetView> {
    match &run.last {
        Some((JobKind::Upkeep, Outcome::Kept(Kept::ForgetPlanned(view)))) => Some(view),
        _ => None,
    }
}

/// A key while it is asked whether to forget.
pub fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let Some(view) = planned(run) else {
        ui.close(Screen::Forget);
        return Vec::new();
    };
    match k {
        Key::Esc | Key::Interrupt => {
            ui.back();
            ui.note = Some("Nothing was forgotten.".into());
        }
        Key::Enter if view.forget.is_empty() => {
            ui.back();
        }
        Key::Enter if ui.typed != WORD => {
            ui.note =
                Some(format!("Nothing is forgotten before {WORD} is typed, whole. Esc leaves everything as it is."));
        }
        // What was typed stays until it can be sent.
        Key::Enter if update::is_busy(ui, run) => {}
        Key::Enter => {
            // These and no others, whatever was saved meanwhile.
            let ids = view.ids();
            let named = ids.iter().map(|id| SnapRef::Prefix(id.to_string())).collect();
            ui.close(Screen::Forget);
            let what = Upkeep::Forget { what: Forgetting::Named(named), ids };
            return update::submit(ui, run, Command::Upkeep { what });
        }
        _ => update::typing(ui, run, k),
    }
    Vec::new()
}

/// What came of it: a heading, then a line each.
pub fn told(kept: &Kept) -> (String, Vec<String>) {
    match kept {
        Kept::Made(_) => ("DONE. The store is made.".into(), Vec::new()),
        Kept::Noted { snapshot, .. } => {
            (format!("DONE. It is noted of snapshot {}.", words::short(*snapshot)), Vec::new())
        }
        Kept::ForgetPlanned(view) => (format!("{} may be forgotten. None was.", states(view)), Vec::new()),
        Kept::Forgotten(view) => {
            let more =
                "The room is not free yet: freeing it takes two runs, of which the second frees what the first marked.";
            (format!("DONE. {} forgotten.", gone(view)), vec![more.into()])
        }
        Kept::Keys { keys, .. } => (format!("{} opens the store.", count(keys.len(), "key")), Vec::new()),
        Kept::Pruned(view) => ("DONE. The store was pruned.".into(), pruned(view)),
        Kept::PrunePlanned(view) => ("Nothing was freed: this is what would be.".into(), pruned(view)),
        Kept::Stats(_) => ("Where the store's room goes".into(), Vec::new()),
        Kept::Copied(view) => copied(view),
        Kept::Repaired(view) => repaired(view),
        Kept::HeadAccepted { .. } => ("DONE. The store is taken as it is.".into(), Vec::new()),
    }
}

fn states(view: &ForgetView) -> String {
    count(view.forget.len(), "saved state")
}

fn gone(view: &ForgetView) -> String {
    are(view.forget.len())
}

/// Most of what is not whole that is told; the command line tells all.
const MOST_BROKEN: usize = 4;

fn broken(broken: &[Broken]) -> Vec<String> {
    let one = |b: &Broken| match b.snapshot {
        Some(id) => format!("{}: {}", words::short(id), words::sentence(b.why.as_str())),
        None => words::sentence(b.why.as_str()),
    };
    let mut out: Vec<String> = broken.iter().take(MOST_BROKEN).map(one).collect();
    if broken.len() > out.len() {
        out.push(format!("And {} more.", broken.len() - out.len()));
    }
    out
}

fn copied(view: &CopyView) -> (String, Vec<String>) {
    let heading = match (view.copied.len(), view.failed.len()) {
        (0, 0) => "DONE. The other store had all of them.".to_owned(),
        (n, 0) => format!("DONE. {} copied.", count(n, "saved state")),
        (n, _) => format!("NOT ALL OF THEM. {} copied.", count(n, "saved state")),
    };
    let grew = || format!("{} were read; the other store grew by {}.", view.read, view.stored);
    let mut out: Vec<String> = (view.read.0 > 0).then(grew).into_iter().collect();
    if !view.present.is_empty() {
        let said = match view.noted.len() {
            0 => String::new(),
            n => format!("; labels and pins of {n} were brought up to date"),
        };
        out.push(format!("{} there already{said}.", were(view.present.len())));
    }
    if !view.failed.is_empty() {
        out.push(format!("{} not copied; nothing half is there:", were(view.failed.len())));
    }
    out.extend(broken(&view.failed));
    (heading, out)
}

fn repaired(view: &RepairView) -> (String, Vec<String>) {
    let heading = match (view.damaged.is_empty(), view.healed.len(), view.broken.is_empty()) {
        (true, 0, true) => "DONE. There was nothing to put right.".to_owned(),
        (false, 0, true) => "DONE. Every saved state is whole.".to_owned(),
        (_, n, true) => format!("DONE. {} whole again.", are(n)),
        (_, n, false) => format!("NOT ALL OF IT IS WHOLE. {} whole again.", are(n)),
    };
    let packs = count(view.damaged.len(), "damaged or missing pack");
    let found = || format!("{packs} found; {} pieces of them were good and were written again.", view.salvaged);
    let mut out: Vec<String> = (!view.damaged.is_empty()).then(found).into_iter().collect();
    if !view.broken.is_empty() {
        out.push("What is still not whole; another store that has it can help:".to_owned());
    }
    out.extend(broken(&view.broken));
    (heading, out)
}

fn were(n: usize) -> String {
    format!("{} {}", count(n, "saved state"), if n == 1 { "was" } else { "were" })
}

fn are(n: usize) -> String {
    format!("{} {}", count(n, "saved state"), if n == 1 { "is" } else { "are" })
}

fn pruned(view: &PruneView) -> Vec<String> {
    let mut out = vec![format!(
        "{} freed, in {}.",
        view.freed,
        count(usize::try_from(view.deleted).unwrap_or(usize::MAX), "pack")
    )];
    if view.condemned > 0 {
        out.push(format!("{} more are marked: the next run frees them.", view.to_be_freed));
    }
    if let Some(free) = view.free {
        out.push(format!("{free} are free where the store lies."));
    }
    out
}
