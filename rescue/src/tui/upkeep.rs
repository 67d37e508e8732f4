//! Looking after the store: what the screen of the store offers, and what is said of what came of it.

use super::state::{Action, Key, Screen, Ui};
use super::steps::{Does, Step};
use super::text::count;
use super::{update, words};
use model::command::Command;
use model::event::{JobKind, Outcome};
use model::id::SnapRef;
use model::retention::{KeepPolicy, KeepReason};
use model::run_state::RunState;
use model::upkeep::{ForgetView, Forgetting, Kept, PruneView, Pruning, Upkeep};

/// The word that has saved states forgotten.
pub const WORD: &str = "FORGET";

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

/// What can be done with the store.
pub fn steps(run: &RunState) -> Vec<Step> {
    if run.store.is_none() {
        return vec![Step { says: "Back".into(), does: Does::Back }];
    }
    let forget = Upkeep::PlanForget { what: Forgetting::Policy(KeepPolicy::default()), room: true };
    vec![
        submit("Show where its room goes", Command::Upkeep { what: Upkeep::Stats }),
        submit("Look for damage, in what tells where everything is", Command::Check { read_data: false }),
        submit("Look for damage, reading every byte (takes long)", Command::Check { read_data: true }),
        submit("Show what may be forgotten, and why the rest stays", Command::Upkeep { what: forget }),
        prune(),
    ]
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
            let more = "Their room is not free yet: freeing it takes two runs, of which the second frees what the first marked.";
            (format!("DONE. {} forgotten.", gone(view)), vec![more.into()])
        }
        Kept::Keys { keys, .. } => (format!("{} opens the store.", count(keys.len(), "key")), Vec::new()),
        Kept::Pruned(view) => ("DONE. The store was pruned.".into(), pruned(view)),
        Kept::PrunePlanned(view) => ("Nothing was freed: this is what would be.".into(), pruned(view)),
        Kept::Stats(_) => ("Where the store's room goes".into(), Vec::new()),
        Kept::Copied(view) => (format!("DONE. {} copied.", count(view.copied.len(), "saved state")), Vec::new()),
        Kept::Repaired(view) => {
            let broken = view.broken.iter().map(|b| words::sentence(b.why.as_str())).collect();
            (format!("DONE. {} whole again.", count(view.healed.len(), "saved state")), broken)
        }
        Kept::HeadAccepted { .. } => ("DONE. The store is taken as it is.".into(), Vec::new()),
    }
}

fn states(view: &ForgetView) -> String {
    count(view.forget.len(), "saved state")
}

fn gone(view: &ForgetView) -> String {
    format!("{} {}", states(view), if view.forget.len() == 1 { "is" } else { "are" })
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
