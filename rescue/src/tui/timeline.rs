//! What keys do among the saved states: going back to one, seeing what is in it, comparing two.

use super::state::{Action, Key, Prompt, Prompted, Ui};
use super::text::next_of;
use super::{draw, files, list, steps, target, update, upkeep, words};
use model::command::Command;
use model::id::SnapRef;
use model::run_state::RunState;
use model::snapshot::SnapshotSummary;

/// A key among the saved states.
pub(super) fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let list = steps::timeline(run);
    let last = list.len().saturating_sub(1);
    let at = ui.snapshot.and_then(|id| list.iter().position(|s| s.id == id)).unwrap_or(0);
    let page = draw::timeline::rows(ui).max(1);
    let to = match k {
        Key::Enter | Key::Right | Key::Char('r') => {
            let Some(chosen) = list.get(at) else { return Vec::new() };
            if !steps::is_here(run, chosen) {
                ui.note = Some("That snapshot is of another machine: its plan may be refused.".into());
            }
            let to = SnapRef::Prefix(chosen.id.to_string());
            return update::submit(ui, run, Command::PlanRollback { to, only: Vec::new(), full: false });
        }
        Key::Char('n') => {
            let Some(chosen) = list.get(at) else { return Vec::new() };
            return target::begin(ui, run, chosen);
        }
        Key::Char('d') => {
            let Some(chosen) = list.get(at) else { return Vec::new() };
            return update::submit(ui, run, compared(ui, &list, chosen));
        }
        Key::Char('v') => {
            let Some(chosen) = list.get(at).map(|s| s.id) else { return Vec::new() };
            let asked = update::submit(ui, run, Command::Describe { snapshot: SnapRef::Prefix(chosen.to_string()) });
            ui.describing = Some(chosen).filter(|_| !asked.is_empty());
            return asked;
        }
        Key::Char('m') => {
            mark(ui, list.get(at).copied());
            at
        }
        Key::Char('/') => {
            ui.prompt = Some(Prompt::of(Prompted::Search));
            at
        }
        Key::Char('x') => {
            let Some(chosen) = list.get(at) else { return Vec::new() };
            return upkeep::forget_one(ui, run, SnapRef::Prefix(chosen.id.to_string()));
        }
        Key::Char('b') => {
            let Some(chosen) = list.get(at).map(|s| s.id) else { return Vec::new() };
            return files::open(ui, run, chosen);
        }
        _ => match list::moved_here(k, at, page, last) {
            Some(to) => to,
            None => return update::common(ui, run, k),
        },
    };
    ui.snapshot = list.get(to.min(last)).map(|s| s.id);
    Vec::new()
}

/// Marks a saved state, so that another is compared with it; or takes the mark away.
fn mark(ui: &mut Ui, chosen: Option<&SnapshotSummary>) {
    let Some(chosen) = chosen.map(|s| s.id) else { return };
    ui.marked = Some(chosen).filter(|id| ui.marked != Some(*id));
    ui.note = Some(match ui.marked {
        Some(id) => {
            format!("{} is marked: now choose another, and d shows what changed between the two.", words::short(id))
        }
        None => "The mark is gone: d shows what changed since the one that is chosen.".into(),
    });
}

/// What is asked where changes are wanted: between the state that is marked and the one that is chosen, the earlier first; else since the
/// one that is chosen.
fn compared(ui: &Ui, list: &[&SnapshotSummary], chosen: &SnapshotSummary) -> Command {
    let name = |s: &SnapshotSummary| SnapRef::Prefix(s.id.to_string());
    let marked = ui.marked.filter(|id| *id != chosen.id).and_then(|id| list.iter().copied().find(|s| s.id == id));
    let (before, after) = match marked {
        None => (name(chosen), None),
        Some(other) if other.counter < chosen.counter => (name(other), Some(name(chosen))),
        Some(other) => (name(chosen), Some(name(other))),
    };
    Command::Compare { before, after, text: true }
}

/// The row of the next saved state that has what was sought in what is told of it, or the present one.
pub(super) fn search(ui: &mut Ui, run: &RunState) -> usize {
    let list = steps::timeline(run);
    let at = ui.snapshot.and_then(|id| list.iter().position(|s| s.id == id)).unwrap_or(0);
    let wanted = ui.sought.to_ascii_lowercase();
    let has = |n: &usize| draw::timeline::text(list[*n]).to_ascii_lowercase().contains(&wanted);
    let found = next_of(list.len(), at, false, has).filter(|_| !wanted.is_empty());
    if found.is_none() {
        ui.note = Some(words::not_found(&ui.sought));
    }
    found.unwrap_or(at)
}
