//! Unlocking: the store, an encrypted volume, or one of a snapshot before a plan onto an empty disk can be carried out.

use super::state::{Action, Key, Reopening, Screen, Ui};
use super::steps;
use super::update::{is_busy, is_restore, submit};
use model::command::{Command, Passphrase, VolumeKey};
use model::event::{JobKind, Question};
use model::id::{SnapRef, VolumePath};
use model::run_state::RunState;

/// The most bytes of a passphrase that is typed.
const PASSPHRASE_MOST: usize = 1024;

/// Asks for the passphrase of an encrypted volume.
pub(super) fn ask(ui: &mut Ui, volume: VolumePath) {
    (ui.unlocking, ui.reopening) = (Some(volume), None);
    ui.plain = false;
    ui.show(Screen::Unlock);
}

/// The encrypted volume of the snapshot that has to be unlocked before the plan that is asked about can be carried out.
pub(super) fn locked_there(run: &RunState) -> Option<&VolumePath> {
    let plan = run.question.as_ref().map(|q| &q.plan)?;
    plan.disks.iter().flat_map(|d| &d.encrypted).find(|e| !e.open).map(|e| &e.volume)
}

/// Leaves the plan that is asked about to ask for the passphrase that it wants; it is made again then.
pub(super) fn ask_for_saved(ui: &mut Ui, run: &RunState, question: &Question) -> Vec<Action> {
    let plan = &question.plan;
    let Some(volume) = locked_there(run).cloned() else { return Vec::new() };
    let then = if is_restore(question) { steps::onto_again(plan, run) } else { Command::PlanResume };
    ask(ui, volume);
    ui.reopening = Some(Reopening { snapshot: plan.to, then });
    vec![Action::Submit(Command::Answer { plan: question.id, approve: false })]
}

/// Whatever can be typed belongs to the passphrase: no letter is a command here.
pub(super) fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    match k {
        Key::Esc | Key::Interrupt => {
            (ui.unlocking, ui.reopening) = (None, None);
            ui.back();
        }
        Key::Backspace => {
            ui.typed.pop();
        }
        Key::Char(c) if ui.typed.len() + c.len_utf8() <= PASSPHRASE_MOST => ui.typed.push(c),
        Key::Enter if ui.typed.is_empty() => {
            ui.note = Some("Type the passphrase first, or press Esc to leave.".into());
        }
        Key::Tab if ui.unlocking.is_some() && ui.reopening.is_none() => ui.plain = !ui.plain,
        // What was typed stays until it can be sent.
        Key::Enter if is_busy(ui, run) => {}
        Key::Enter => {
            // What was said of an earlier try is no longer so.
            ui.note = None;
            if let Some(volume) = ui.unlocking.clone() {
                let by = VolumeKey::new(std::mem::take(&mut ui.typed).into_bytes());
                ui.close(Screen::Unlock);
                let command = match &ui.reopening {
                    Some(r) => Command::OpenSaved { snapshot: SnapRef::Prefix(r.snapshot.to_string()), volume, by },
                    None => Command::OpenVolume { volume, by, plain: ui.plain },
                };
                return submit(ui, run, command);
            }
            let passphrase = Passphrase::new(std::mem::take(&mut ui.typed));
            ui.close(Screen::Unlock);
            ui.opening = true;
            return submit(ui, run, Command::Unlock { passphrase });
        }
        _ => {}
    }
    Vec::new()
}

/// What was asked for before a volume of a snapshot had to be unlocked is asked for again.
pub(super) fn ended(ui: &mut Ui, run: &RunState, ended: JobKind) -> Vec<Action> {
    let open = ended == JobKind::Open && !matches!(&run.last, Some((JobKind::Open, _)));
    // What another console unlocks while somebody types here is another matter.
    if !open || ui.is_open(Screen::Unlock) {
        return Vec::new();
    }
    match ui.reopening.take() {
        Some(reopening) => {
            ui.unlocking = None;
            submit(ui, run, reopening.then)
        }
        None => Vec::new(),
    }
}
