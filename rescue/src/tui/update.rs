//! What an input does: the only place that decides. Pure: it changes the [`Ui`] and gives back what is to be done.
//!
//! Invariant: nothing destructive lies within two keys of any screen. A plan is approved by typing a word; leaving the
//! machine takes a choice and Enter (rescue/tests/keys.rs tries every sequence).

use super::reading::Reading;
use super::state::{Action, Comparing, Input, Key, Screen, Seen, Ui};
use super::steps::{self, Does, Step};
use super::{
    changes, differences, disks, draw, files, finding, prompt, reading, saved, target, timeline, unlocking, upkeep,
    words,
};
use model::command::{Command, PowerAction};
use model::event::{JobKind, Outcome, Question};
use model::id::VolumePath;
use model::plan;
use model::run_state::RunState;
use model::text::RawName;
use model::upkeep::{Kept, Upkeep};

/// The most characters a typed word may have: longer than any word that is asked for.
const TYPED_MOST: usize = 12;

/// The word that stops a job that must not be stopped lightly.
pub const STOP_WORD: &str = "STOP";

/// The word that approves a plan: another one where the snapshot is of another machine, and where something is lost for good.
pub fn word(plan: &plan::RollbackPlan) -> &'static str {
    match plan.action {
        _ if plan.foreign.is_some() => "ANOTHER",
        plan::Action::Rollback => "ROLLBACK",
        plan::Action::Restore { .. } if plan.disks.iter().any(|d| d.lost) => "OVERWRITE",
        plan::Action::Restore { .. } => "RESTORE",
        plan::Action::Repair => "REPAIR",
        plan::Action::Put => "PUT",
        plan::Action::Undo { .. } => "UNDO",
        plan::Action::Resume { .. } => "FINISH",
    }
}

/// A way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// None.
    Stay,
    /// Of the program only: it is not the rescue that runs here.
    Program,
    /// Of the rescue.
    Rescue(PowerAction),
}

/// The ways out of the power menu; the first stays.
pub fn ways_out(ui: &Ui) -> &'static [(WayOut, &'static str)] {
    const STAY: (WayOut, &str) = (WayOut::Stay, "Stay here");
    if ui.may_leave {
        return &[STAY, (WayOut::Program, "Leave Holdfast")];
    }
    &[
        STAY,
        (WayOut::Rescue(PowerAction::Reboot), "Restart, into this machine's own system"),
        (WayOut::Rescue(PowerAction::Poweroff), "Power off"),
    ]
}

/// Takes one input in.
pub fn update(ui: &mut Ui, run: &RunState, input: Input) -> Vec<Action> {
    match input {
        Input::Resize(columns, rows) => {
            ui.size = (columns, rows);
            let columns = ui.body_width();
            if let Some(reading) = &mut ui.reading {
                reading.fit(columns);
            }
            vec![Action::Redraw]
        }
        Input::Changed => follow(ui, run),
        Input::Refused(why) => {
            files::refused(ui);
            ui.note = Some(words::sentence(&why));
            Vec::new()
        }
        // Whatever it is, it says that somebody is there.
        Input::Key(_) if run.waiting.is_some() && run.leaving.is_none() => vec![Action::Submit(Command::Cancel)],
        Input::Key(Key::Redraw) => vec![Action::Redraw],
        // Nothing is decided blindly.
        Input::Key(k) if ui.too_small() => match k {
            Key::Char('q') | Key::Interrupt if ui.may_leave => vec![Action::Leave],
            _ => Vec::new(),
        },
        Input::Key(k) => {
            ui.note = None;
            key(ui, run, k)
        }
    }
}

/// Brings the screens in line with what the engine is doing.
fn follow(ui: &mut Ui, run: &RunState) -> Vec<Action> {
    let question = run.question.as_ref().map(|q| q.id);
    let job = run.job.as_ref().map(|(kind, _)| *kind);
    let waiting = run.waiting.is_some();
    let mut again = Vec::new();
    let before = std::mem::replace(&mut ui.seen, Seen { question, job, waiting, joined: true });

    if (job, waiting) != (before.job, before.waiting) {
        ui.close(Screen::Progress);
        // What waits for somebody to stop it is told on the overview.
        if job.is_some_and(is_shown) && !waiting {
            // Somebody may have begun it on another console: what was said of the last one is no longer so.
            ui.note = None;
            ui.close(Screen::Outcome);
            ui.close(Screen::Power);
            ui.show(Screen::Progress);
        }
        if let (Some(ended), None, true) = (before.job, job, before.joined) {
            ended_now(ui, run, ended, before.waiting);
            again = unlocking::ended(ui, run, ended);
        }
    }
    let still =
        |volume: &VolumePath| run.report.as_ref().is_some_and(|r| r.inspection.locked().any(|v| v.path == *volume));
    if ui.reopening.is_none() && ui.unlocking.as_ref().map_or(run.store.is_some(), |volume| !still(volume)) {
        ui.close(Screen::Unlock);
    }
    if question != before.question {
        ui.close(Screen::Confirm);
        if ui.comparing.of_plan {
            ui.close(Screen::Differences);
            ui.comparing = Comparing::default();
        }
        if question.is_some() {
            ui.show(Screen::Confirm);
        }
    }
    if ui.is_open(Screen::Differences) && changes::told(ui, run).is_none() {
        ui.close(Screen::Differences);
    }
    if ui.is_open(Screen::Forget) && upkeep::planned(run).is_none() {
        ui.close(Screen::Forget);
    }
    again.extend(files::follow(ui, run, before.job.filter(|_| job.is_none())));
    again
}

fn ended_now(ui: &mut Ui, run: &RunState, ended: JobKind, waited: bool) {
    match &run.last {
        Some((JobKind::Auto, Outcome::Cancelled(says))) if waited => ui.note = Some(words::sentence(says.as_str())),
        Some((kind, Outcome::Declined)) if *kind == ended => ui.note = Some("Nothing was written.".into()),
        // Whoever typed the passphrase of the store types it again; that screen says what to do next. That there is no store is told on
        // every screen: it is not worth one of its own.
        Some((JobKind::List, Outcome::Failed(f))) if ended == JobKind::List => {
            ui.note = match std::mem::take(&mut ui.opening) && run.locked {
                true => {
                    if matches!(ui.screen(), Screen::Home | Screen::Disks) {
                        ui.show(Screen::Unlock);
                    }
                    Some(words::sentence(f.says.as_str()))
                }
                false => Some(words::sentence(&f.to_string())),
            };
        }
        // Whoever typed it types it again.
        Some((JobKind::Open, Outcome::Failed(f))) if ended == JobKind::Open => {
            if ui.reopening.is_some() || ui.unlocking.is_some() && matches!(ui.screen(), Screen::Home | Screen::Disks) {
                ui.show(Screen::Unlock);
            }
            // The screen itself says what to do next.
            ui.note = Some(words::sentence(f.says.as_str()));
        }
        Some((JobKind::Open, Outcome::Cancelled(says))) if ended == JobKind::Open => {
            ui.note = Some(words::sentence(says.as_str()));
        }
        Some((JobKind::Upkeep, Outcome::Kept(Kept::ForgetPlanned(_)))) if std::mem::take(&mut ui.forgetting) => {
            ui.show(Screen::Forget);
        }
        Some((_, Outcome::Compared(_))) if ended == JobKind::Compare => changes::open(ui, false),
        // Whoever went elsewhere meanwhile is not called back.
        Some((_, Outcome::Described(d))) if ended == JobKind::Describe => {
            let wanted = ui.describing.take().is_some_and(|id| id == d.summary.id);
            if wanted && ui.screen() == Screen::Timeline {
                let (title, text) = saved::told(d);
                ui.reading = Some(Reading::sentences(title, text, ui.body_width()));
                ui.show(Screen::Reading);
            }
        }
        // A listing or a look that went well leaves the outcome of an older job standing.
        Some((kind, outcome)) if *kind == ended && (is_shown(ended) || matches!(outcome, Outcome::Failed(_))) => {
            ui.show(Screen::Outcome);
        }
        _ => {}
    }
}

/// True for jobs that take over the screen.
fn is_shown(job: JobKind) -> bool {
    !matches!(job, JobKind::Inspect | JobKind::List | JobKind::Open | JobKind::Browse | JobKind::Describe)
}

fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    if run.leaving.is_some() {
        return Vec::new();
    }
    if ui.prompt.is_some() {
        return prompt::key(ui, run, k);
    }
    match ui.screen() {
        Screen::Unlock => unlocking::key(ui, run, k),
        Screen::Confirm => confirm(ui, run, k),
        Screen::Progress => progress(ui, run, k),
        Screen::Power => power(ui, run, k),
        Screen::Timeline => timeline::key(ui, run, k),
        Screen::Files => files::key(ui, run, k),
        Screen::Reading => reading::key(ui, run, k),
        Screen::Differences => changes::key(ui, run, k),
        Screen::Disks => disks::key(ui, run, k),
        Screen::Target => target::key(ui, run, k),
        Screen::Store => {
            let steps = upkeep::steps(run, ui.other.as_deref(), !ui.may_leave);
            choose(ui, run, k, steps)
        }
        Screen::Forget => upkeep::key(ui, run, k),
        Screen::Home => choose(ui, run, k, steps::home(run, ui.may_leave)),
        Screen::Outcome => {
            let steps = steps::outcome(run, ui.may_leave, ui.other.as_deref());
            choose(ui, run, k, steps)
        }
        Screen::Evidence | Screen::Log | Screen::Help => match k {
            Key::Char('/' | 'n' | 'N') => {
                finding::key(ui, run, k);
                Vec::new()
            }
            _ => scroll(ui, run, k),
        },
    }
}

/// Keys that mean the same on every screen where nothing is typed.
pub(super) fn common(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    match k {
        Key::Esc | Key::Left | Key::Backspace | Key::Char('q') | Key::Interrupt => return leave(ui, run, k),
        Key::Char('?') => ui.show(Screen::Help),
        Key::Char('d') => ui.show(Screen::Disks),
        Key::Char('e') => ui.show(Screen::Evidence),
        Key::Char('l') => {
            ui.show(Screen::Log);
            ui.scroll = bottom(ui, run);
        }
        Key::Char('p') => ui.show(Screen::Power),
        Key::Char('o') => ui.show(Screen::Store),
        Key::Char('t') => ui.show(Screen::Timeline),
        Key::Char('s') => return submit(ui, run, Command::Snapshot { full: false }),
        Key::Char('u') => return submit(ui, run, Command::PlanUndo { full: false }),
        Key::Char('i') => return submit(ui, run, Command::Inspect),
        Key::Char('r') => {
            ui.snapshot = steps::last_good(run).map(|s| s.id);
            ui.show(Screen::Timeline);
            ui.note = Some("Choose where to go back to, then press Enter: the plan is shown first.".into());
        }
        Key::Char('c') if run.job.is_some() => ui.show(Screen::Progress),
        Key::Tab => {
            let systems = run.report.as_ref().map_or(0, |r| r.systems.len());
            ui.system = (ui.system + 1) % systems.max(1);
        }
        _ => {}
    }
    Vec::new()
}

/// Why nobody leaves now.
const BUSY: &str = "Something is still going on. Wait for it, or stop it first (press c).";

fn leave(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    if ui.back() {
        return Vec::new();
    }
    match k {
        Key::Char('q') | Key::Interrupt if ui.may_leave && run.job.is_some() => ui.note = Some(BUSY.into()),
        Key::Char('q') | Key::Interrupt if ui.may_leave => return vec![Action::Leave],
        Key::Char('q') | Key::Interrupt => {
            ui.note = Some("This is the overview. Press p to restart or power off.".into())
        }
        _ => {}
    }
    Vec::new()
}

/// True, and said, where a job is running.
pub(super) fn is_busy(ui: &mut Ui, run: &RunState) -> bool {
    if let Some((job, _)) = &run.job {
        ui.note = Some(format!("{} is still going on. Wait for it, or press c to stop it.", words::doing(*job)));
    }
    run.job.is_some()
}

/// Sends a command, unless it is known that the engine would refuse it.
pub(super) fn submit(ui: &mut Ui, run: &RunState, command: Command) -> Vec<Action> {
    if is_busy(ui, run) {
        return Vec::new();
    }
    let store = !matches!(command, Command::Inspect | Command::Unlock { .. } | Command::OpenVolume { .. });
    if run.store.is_none() && store {
        let why = match run.locked {
            true => "The store is locked: unlock it first, from the overview.",
            false => "There is no store here to save to or to go back from: this session can only look.",
        };
        ui.note = Some(why.into());
        return Vec::new();
    }
    ui.forgetting = matches!(command, Command::Upkeep { what: Upkeep::PlanForget { .. } });
    vec![Action::Submit(command)]
}

/// A screen with numbered steps.
fn choose(ui: &mut Ui, run: &RunState, k: Key, steps: Vec<Step>) -> Vec<Action> {
    ui.step = ui.step.min(steps.len().saturating_sub(1));
    let chosen = match k {
        Key::Up | Key::Char('k') => {
            ui.step = ui.step.saturating_sub(1);
            return Vec::new();
        }
        Key::Down | Key::Char('j') => {
            ui.step = (ui.step + 1).min(steps.len().saturating_sub(1));
            return Vec::new();
        }
        Key::Enter | Key::Right => ui.step,
        Key::Char(c @ '1'..='9') => usize::try_from(u32::from(c) - u32::from('1')).unwrap_or(usize::MAX),
        _ => return common(ui, run, k),
    };
    match steps.into_iter().nth(chosen).map(|s| s.does) {
        Some(Does::Submit(command)) => submit(ui, run, command),
        Some(Does::Show(screen)) => {
            if screen == Screen::Unlock {
                (ui.unlocking, ui.reopening) = (None, None);
            }
            ui.show(screen);
            Vec::new()
        }
        Some(Does::Unlock(volume)) => {
            unlocking::ask(ui, volume);
            Vec::new()
        }
        Some(Does::Back) => {
            ui.back();
            Vec::new()
        }
        None => Vec::new(),
    }
}

fn bottom(ui: &Ui, run: &RunState) -> usize {
    draw::extent(ui, run).map_or(0, |(len, height)| len.saturating_sub(height))
}

/// Moves a scrolled text; `None` where the key is not about that.
fn moved(ui: &Ui, run: &RunState, k: Key, letters: bool) -> Option<usize> {
    let k = match k {
        Key::Char('k') if letters => Key::Up,
        Key::Char('j') if letters => Key::Down,
        Key::Char(' ') if letters => Key::PageDown,
        Key::Char('g') if letters => Key::Home,
        Key::Char('G') if letters => Key::End,
        Key::Up | Key::Down | Key::PageUp | Key::PageDown | Key::Home | Key::End => k,
        _ => return None,
    };
    let (len, height) = draw::extent(ui, run)?;
    let most = len.saturating_sub(height);
    let at = ui.scroll.min(most);
    // In the last row stands how much more there is.
    let whole = height.saturating_sub(1).max(1);
    let to = match k {
        Key::Up => at.saturating_sub(1),
        Key::Down => at + 1,
        Key::PageUp => at.saturating_sub(whole),
        Key::PageDown => at + whole,
        Key::End => most,
        _ => 0,
    };
    Some(to.min(most))
}

pub(super) fn scroll(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    match moved(ui, run, k, true) {
        Some(to) => {
            ui.scroll = to;
            Vec::new()
        }
        None => common(ui, run, k),
    }
}

fn confirm(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let Some(question) = &run.question else {
        ui.close(Screen::Confirm);
        return Vec::new();
    };
    match k {
        Key::Esc | Key::Interrupt => {
            ui.typed.clear();
            return vec![Action::Submit(Command::Answer { plan: question.id, approve: false })];
        }
        Key::Enter if question.plan.is_usable() => {
            let word = word(&question.plan);
            if ui.typed.eq_ignore_ascii_case(word) {
                ui.typed.clear();
                return vec![Action::Submit(Command::Answer { plan: question.id, approve: true })];
            }
            ui.note = Some(format!("That is not the word. Type {word}, then Enter; or press Esc to leave."));
        }
        Key::Enter => ui.note = Some("This plan cannot be carried out; see the checks. Press Esc to leave.".into()),
        Key::Tab => match question.losses.as_ref().map(|losses| losses.differences.is_ok()) {
            Some(true) => changes::open(ui, true),
            Some(false) if differences::known_loss(&question.plan).is_some() => {
                ui.note = Some("What would be lost stands in the plan.".into());
            }
            Some(false) => ui.note = Some("What would be lost could not be told.".into()),
            None if question.plan.action == plan::Action::Repair => {
                ui.note = Some("It writes what is listed above, and nothing else.".into());
            }
            None => ui.note = Some("What would be lost is still being worked out.".into()),
        },
        // Where it has to be, no word is typed.
        Key::Char('u' | 'U') if unlocking::locked_there(run).is_some() => {
            return unlocking::ask_for_saved(ui, run, question);
        }
        // No word that approves a plan before which something is saved has an F in it.
        Key::Char('f' | 'F')
            if ui.typed.is_empty() && question.plan.reads.is_some() && question.plan.composed.is_none() =>
        {
            let full = question.plan.reads.as_ref().is_some_and(|r| !r.everything);
            return vec![Action::Submit(Command::Reread { plan: question.id, full })];
        }
        // Nor does one begin with a K.
        Key::Char('k' | 'K') if ui.typed.is_empty() && question.plan.action == plan::Action::Rollback => {
            let paths = match &question.plan.composed {
                Some(_) => Vec::new(),
                None => steps::may_be_kept(run),
            };
            if question.plan.composed.is_some() || !paths.is_empty() {
                let paths = paths.into_iter().map(RawName::from).collect();
                return vec![Action::Submit(Command::Keep { plan: question.id, paths })];
            }
        }
        // Nor with an E.
        Key::Char('e' | 'E')
            if ui.typed.is_empty()
                && question.plan.action == plan::Action::Rollback
                && question.plan.esps.iter().any(|esp| esp.cannot.is_some()) =>
        {
            let leave = !question.plan.esps.iter().any(|esp| esp.left);
            return vec![Action::Submit(Command::LeaveEsps { plan: question.id, leave })];
        }
        // Nor does one that approves a restore begin with a G.
        Key::Char('g' | 'G')
            if ui.typed.is_empty()
                && question.plan.disks.iter().any(|d| d.growth.is_some())
                && is_restore(question) =>
        {
            let grow = !question.plan.disks.iter().any(|d| d.growth.as_ref().is_some_and(|g| g.wanted));
            return vec![Action::Submit(Command::Grow { plan: question.id, grow })];
        }
        _ => typing(ui, run, k),
    }
    Vec::new()
}

/// True for a plan that is not the rest of one that was cut off.
pub(super) fn is_restore(question: &Question) -> bool {
    matches!(question.plan.action, plan::Action::Restore { .. })
}

/// A letter of a word that is asked for, or a move of the text above it.
pub(super) fn typing(ui: &mut Ui, run: &RunState, k: Key) {
    match k {
        Key::Backspace => {
            ui.typed.pop();
        }
        Key::Char(c) if c.is_ascii_alphabetic() && ui.typed.len() < TYPED_MOST => ui.typed.push(c.to_ascii_uppercase()),
        // It is no letter of any word.
        Key::Char('/') => finding::key(ui, run, k),
        _ => {
            if let Some(to) = moved(ui, run, k, false) {
                ui.scroll = to;
            }
        }
    }
}

fn progress(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let Some((job, progress)) = &run.job else {
        ui.close(Screen::Progress);
        return Vec::new();
    };
    if !ui.stopping {
        return match k {
            Key::Char('c') | Key::Interrupt => {
                ui.stopping = true;
                Vec::new()
            }
            _ => common(ui, run, k),
        };
    }
    let fenced = progress.as_ref().is_some_and(|p| p.fenced);
    match k {
        Key::Esc => {
            ui.stopping = false;
            ui.typed.clear();
        }
        Key::Char('y' | 'Y') if !fenced => {
            ui.stopping = false;
            // What is stopped here is not asked for again.
            if *job == JobKind::Browse {
                files::close(ui);
            }
            return vec![Action::Submit(Command::Cancel)];
        }
        Key::Enter if fenced && ui.typed.eq_ignore_ascii_case(STOP_WORD) => {
            ui.stopping = false;
            ui.typed.clear();
            return vec![Action::Submit(Command::Cancel)];
        }
        Key::Enter if fenced => {
            ui.note = Some(format!("That is not the word; the work goes on. Type {STOP_WORD}, then Enter; or Esc."));
        }
        _ if fenced => typing(ui, run, k),
        _ => ui.stopping = false,
    }
    Vec::new()
}

fn power(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let ways = ways_out(ui);
    match k {
        Key::Up | Key::Char('k') => ui.way_out = ui.way_out.saturating_sub(1),
        Key::Down | Key::Char('j') => ui.way_out = (ui.way_out + 1).min(ways.len() - 1),
        Key::Char('1') => ui.way_out = 1,
        Key::Char('2') if ways.len() > 2 => ui.way_out = 2,
        Key::Enter => match ways.get(ui.way_out).map(|(way, _)| *way) {
            None | Some(WayOut::Stay) => {
                ui.back();
            }
            Some(_) if run.job.is_some() => ui.note = Some(BUSY.into()),
            Some(WayOut::Program) => return vec![Action::Leave],
            Some(WayOut::Rescue(action)) => return vec![Action::Submit(Command::Power(action))],
        },
        _ => return common(ui, run, k),
    }
    Vec::new()
}
