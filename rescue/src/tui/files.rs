//! Looking through the files of a snapshot: which part of them is shown, what is chosen, and what is asked of the engine for it.
//!
//! A front end keeps the part it was shown last; whatever lies outside that is asked for, one question at a time. Keys are
//! answered at once, whatever the engine is doing; who goes away stops what is being read.

use super::reading::Reading;
use super::state::{Action, Key, Prompt, Prompted, Screen, Ui};
use super::{draw, list, update, words};
use model::browse::{Browse, Browsed, Folder, Part, Shown};
use model::command::Command;
use model::event::{JobKind, Outcome};
use model::files::{FilePath, ListedVolume, Named};
use model::id::{SnapRef, SnapshotId};
use model::inspection::FileKind;
use model::run_state::RunState;
use model::text::RawName;

/// What is shown of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// Nothing yet.
    Nothing,
    /// Its volumes.
    Volumes(Vec<ListedVolume>),
    /// A part of a folder.
    Folder(Folder),
}

/// Where somebody is in the files of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// Whose files.
    pub snapshot: SnapshotId,
    /// What is shown.
    pub view: View,
    /// The number of the row that is chosen.
    pub at: u64,
    /// What was asked for and did not come yet.
    pub asked: Option<Browse>,
    /// Why nothing is shown.
    pub trouble: Option<String>,
    /// What was given to the engine by this front end, and is not known to have ended.
    sent: Option<Sent>,
}

/// A question that was given to the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    ask: Browse,
    /// It was answered, or is to be stopped already.
    settled: bool,
}

/// What is chosen.
enum Chosen<'a> {
    Volume(&'a ListedVolume),
    Entry(&'a Folder, &'a Named),
}

impl Files {
    fn new(snapshot: SnapshotId) -> Self {
        Self { snapshot, view: View::Nothing, at: 0, asked: None, trouble: None, sent: None }
    }

    /// How many rows there are.
    pub fn count(&self) -> u64 {
        match &self.view {
            View::Nothing => 0,
            View::Volumes(list) => list.len() as u64,
            View::Folder(f) => f.count,
        }
    }

    /// The entry of a number, where it is in the part that is shown.
    pub fn entry(&self, n: u64) -> Option<&Named> {
        let View::Folder(folder) = &self.view else { return None };
        folder.entries.get(usize::try_from(n.checked_sub(folder.from)?).ok()?)
    }

    /// The first of the rows that fit a screen, the chosen one in their middle where it can be.
    pub fn first(&self, rows: usize) -> u64 {
        let rows = rows as u64;
        self.at.saturating_sub(rows / 2).min(self.count().saturating_sub(rows))
    }

    fn chosen(&self) -> Option<Chosen<'_>> {
        match &self.view {
            View::Nothing => None,
            View::Volumes(list) => list.get(usize::try_from(self.at).ok()?).map(Chosen::Volume),
            View::Folder(folder) => self.entry(self.at).map(|entry| Chosen::Entry(folder, entry)),
        }
    }

    /// The folder that is shown, as a place.
    fn place(&self) -> Option<FilePath> {
        match &self.view {
            View::Folder(f) => Some(FilePath { volume: Some(f.volume.clone()), path: f.path.clone() }),
            View::Nothing | View::Volumes(_) => None,
        }
    }

    /// What is waited for is another place than the one that is shown.
    pub fn goes_elsewhere(&self) -> bool {
        self.asked.as_ref().is_some_and(|ask| ask.at != self.place())
    }
}

/// Where a name in a folder leads.
fn below(folder: &Folder, name: &RawName) -> FilePath {
    let path = match folder.path.0.as_slice() {
        b"/" => [&b"/"[..], &name.0].concat(),
        path => [path, b"/", &name.0].concat(),
    };
    FilePath { volume: Some(folder.volume.clone()), path: RawName(path) }
}

/// The folder above, and the last name of a path; `None` for the root of a volume.
fn above(folder: &Folder) -> Option<(FilePath, RawName)> {
    let path = &folder.path.0;
    let slash = path.iter().rposition(|b| *b == b'/')?;
    let name = RawName(path[slash + 1..].to_vec());
    let above = if slash == 0 { b"/".to_vec() } else { path[..slash].to_vec() };
    (!name.0.is_empty()).then(|| (FilePath { volume: Some(folder.volume.clone()), path: RawName(above) }, name))
}

/// Shows the files of a snapshot, once the engine has time.
pub(super) fn open(ui: &mut Ui, run: &RunState, snapshot: SnapshotId) -> Vec<Action> {
    ui.files = Some(Files::new(snapshot));
    ui.show(Screen::Files);
    ask(ui, run, None, Part::Around(0))
}

/// Asks for a part of the files; what was asked for before is no longer waited for.
fn ask(ui: &mut Ui, run: &RunState, at: Option<FilePath>, part: Part) -> Vec<Action> {
    let Some(files) = &mut ui.files else { return Vec::new() };
    files.asked = Some(Browse { snapshot: files.snapshot, at, part });
    next(files, run)
}

/// Gives the engine what is waited for, once it has time; stops what this front end gave it and nobody waits for any more. Another
/// job is never stopped by that.
fn next(files: &mut Files, run: &RunState) -> Vec<Action> {
    match (&mut files.sent, &run.job) {
        (None, None) => {
            let Some(ask) = files.asked.clone() else { return Vec::new() };
            files.sent = Some(Sent { ask: ask.clone(), settled: false });
            vec![Action::Submit(Command::BrowseFiles { ask })]
        }
        (Some(sent), Some((JobKind::Browse, _))) if !sent.settled && files.asked.as_ref() != Some(&sent.ask) => {
            sent.settled = true;
            vec![Action::Submit(Command::Cancel)]
        }
        _ => Vec::new(),
    }
}

/// Waits for nothing any more.
fn forget(files: &mut Files, run: &RunState) -> Vec<Action> {
    files.asked = None;
    next(files, run)
}

/// The run state moved on; `ended` is the job that ended by that. Takes over what was asked for, and asks again where the engine
/// had no time for it.
pub(super) fn follow(ui: &mut Ui, run: &RunState, ended: Option<JobKind>) -> Vec<Action> {
    let open = ui.is_open(Screen::Files);
    let Some(files) = &mut ui.files else { return Vec::new() };
    if !open {
        let actions = forget(files, run);
        ui.files = None;
        return actions;
    }
    if ended.is_some() {
        files.sent = None;
    }
    if let Some(browsed) = run.browsed.as_ref().filter(|b| files.asked.as_ref() == Some(&b.ask)) {
        files.asked = None;
        if let Some(sent) = &mut files.sent {
            sent.settled = true;
        }
        take(ui, browsed);
    } else if ended == Some(JobKind::Browse) && matches!(run.last, Some((JobKind::Browse, Outcome::Failed(_)))) {
        files.asked = None;
    }
    ui.files.as_mut().map(|files| next(files, run)).unwrap_or_default()
}

/// The engine had no time.
pub(super) fn refused(ui: &mut Ui) {
    if let Some(files) = &mut ui.files {
        files.sent = None;
    }
}

/// Takes an answer over.
fn take(ui: &mut Ui, browsed: &Browsed) {
    let Some(files) = &mut ui.files else { return };
    files.trouble = None;
    match &browsed.shown {
        Err(failure) => {
            files.trouble = Some(words::sentence(&failure.to_string()));
            ui.note = Some(words::sentence(failure.says.as_str()));
        }
        Ok(Shown::Volumes(list)) => {
            let before = files.place().and_then(|place| place.volume);
            let known = list.iter().position(|v| Some(&v.volume) == before.as_ref());
            let root = || list.iter().position(|v| v.readable && v.mount.as_deref() == Some("/"));
            let any = || list.iter().position(|v| v.readable);
            files.at = known.or_else(root).or_else(any).unwrap_or(0) as u64;
            files.view = View::Volumes(list.clone());
        }
        Ok(Shown::Folder(folder)) => {
            let place = files.place();
            files.view = View::Folder(folder.clone());
            let same = files.place() == place;
            match (&browsed.ask.part, folder.chosen) {
                (_, Some(chosen)) => files.at = chosen,
                (Part::Containing { text, .. }, None) => ui.note = Some(words::not_found(&text.display().to_string())),
                // Who moved on meanwhile stays there.
                (Part::Around(_) | Part::Named(_), None) if same => {}
                (Part::Around(_) | Part::Named(_), None) => files.at = 0,
            }
            files.at = files.at.min(folder.count.saturating_sub(1));
        }
        Ok(Shown::File(file)) if ui.screen() == Screen::Files => {
            ui.reading = Some(Reading::file(file, ui.body_width()));
            ui.show(Screen::Reading);
        }
        // Somebody looks at something else by now.
        Ok(Shown::File(_)) => {}
    }
}

/// A key on the screen of files.
pub(super) fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let Some(files) = &ui.files else {
        ui.close(Screen::Files);
        return Vec::new();
    };
    let page = draw::files::rows(ui).max(1) as u64;
    let (at, last) = (files.at, files.count().saturating_sub(1));
    let to = match k {
        Key::Enter | Key::Right | Key::Char('l') => return enter(ui, run),
        Key::Char('v') => return view(ui, run),
        Key::Backspace | Key::Left | Key::Char('h') => return up(ui, run),
        Key::Esc | Key::Char('q') | Key::Interrupt => return leave(ui, run),
        Key::Char('g') => return get(ui, run),
        Key::Char('/') => {
            ui.prompt = Some(Prompt::of(Prompted::Search));
            return Vec::new();
        }
        Key::Char('n') => return search(ui, run, false),
        Key::Char('N') => return search(ui, run, true),
        _ => match list::moved(k, at, page, last) {
            Some(to) => to,
            None => return update::common(ui, run, k),
        },
    };
    go(ui, run, to)
}

/// Chooses a row; asks for what lies around it where that is not here.
fn go(ui: &mut Ui, run: &RunState, to: u64) -> Vec<Action> {
    let rows = draw::files::rows(ui);
    let Some(files) = &mut ui.files else { return Vec::new() };
    files.at = to;
    let (first, place) = (files.first(rows), files.place());
    let View::Folder(folder) = &files.view else { return Vec::new() };
    let end = (first + rows as u64).min(folder.count);
    let here = folder.from <= first && end <= folder.from + folder.entries.len() as u64;
    if here || files.goes_elsewhere() { Vec::new() } else { ask(ui, run, place, Part::Around(to)) }
}

/// Goes into what is chosen, or shows it.
fn enter(ui: &mut Ui, run: &RunState) -> Vec<Action> {
    let at = match ui.files.as_ref().and_then(Files::chosen) {
        None => return Vec::new(),
        Some(Chosen::Volume(v)) if !v.readable => {
            ui.note = Some(format!("{}: what {} keeps is not read by this version.", v.volume, v.fs));
            return Vec::new();
        }
        Some(Chosen::Volume(v)) => FilePath { volume: Some(v.volume.clone()), path: "/".into() },
        Some(Chosen::Entry(folder, entry)) => below(folder, &entry.name),
    };
    ask(ui, run, Some(at), Part::Around(0))
}

/// Shows a file.
fn view(ui: &mut Ui, run: &RunState) -> Vec<Action> {
    let folder = match ui.files.as_ref().and_then(Files::chosen) {
        Some(Chosen::Entry(_, entry)) => entry.attributes.as_ref().is_some_and(|a| a.kind == FileKind::Directory),
        Some(Chosen::Volume(_)) => true,
        None => false,
    };
    if folder {
        ui.note = Some("That is no file: Enter goes in.".into());
        return Vec::new();
    }
    enter(ui, run)
}

/// Goes to the folder above; from the volumes, away.
fn up(ui: &mut Ui, run: &RunState) -> Vec<Action> {
    let Some(files) = &mut ui.files else { return Vec::new() };
    if files.view != View::Nothing && files.goes_elsewhere() {
        return forget(files, run);
    }
    match &files.view {
        View::Nothing | View::Volumes(_) => leave(ui, run),
        View::Folder(folder) => match above(folder) {
            Some((at, name)) => ask(ui, run, Some(at), Part::Named(name)),
            None => ask(ui, run, None, Part::Around(0)),
        },
    }
}

/// Stops what is being read; else closes the screen.
fn leave(ui: &mut Ui, run: &RunState) -> Vec<Action> {
    let Some(files) = &mut ui.files else { return Vec::new() };
    let stay = files.view != View::Nothing && files.goes_elsewhere();
    let actions = forget(files, run);
    if !stay {
        close(ui);
    }
    actions
}

/// Closes the screen, and everything on it.
pub(super) fn close(ui: &mut Ui) {
    ui.files = None;
    ui.close(Screen::Files);
}

/// Goes to the next name that has what was sought in it.
pub(super) fn search(ui: &mut Ui, run: &RunState, back: bool) -> Vec<Action> {
    let sought = ui.sought.clone();
    let Some(files) = &mut ui.files else { return Vec::new() };
    let count = files.count();
    if sought.is_empty() || count == 0 {
        ui.note = Some(words::not_found(&sought));
        return Vec::new();
    }
    let from = match back {
        false => (files.at + 1) % count,
        true => files.at.checked_sub(1).unwrap_or(count - 1),
    };
    match &files.view {
        View::Volumes(list) => {
            let shown = |v: &ListedVolume| format!("{} {}", v.volume, v.mount.as_deref().unwrap_or_default());
            let found = list.iter().position(|v| shown(v).contains(&sought));
            match found {
                Some(found) => files.at = found as u64,
                None => ui.note = Some(words::not_found(&sought)),
            }
            Vec::new()
        }
        View::Folder(_) => {
            let place = files.place();
            ask(ui, run, place, Part::Containing { text: RawName(sought.into_bytes()), from, back })
        }
        View::Nothing => Vec::new(),
    }
}

/// Takes what is chosen out: to the save disk in the rescue, elsewhere to a folder that is asked for.
fn get(ui: &mut Ui, run: &RunState) -> Vec<Action> {
    let Some(files) = &ui.files else { return Vec::new() };
    let snapshot = files.snapshot;
    let (at, name) = match files.chosen() {
        None => return Vec::new(),
        Some(Chosen::Volume(v)) => {
            if !v.readable {
                ui.note = Some(format!("{}: what {} keeps is not read by this version.", v.volume, v.fs));
                return Vec::new();
            }
            let name = RawName(v.volume.to_string().replace('/', "-").into_bytes());
            (FilePath { volume: Some(v.volume.clone()), path: "/".into() }, name)
        }
        Some(Chosen::Entry(folder, entry)) => (below(folder, &entry.name), entry.name.clone()),
    };
    if update::is_busy(ui, run) {
        return Vec::new();
    }
    if ui.may_leave {
        ui.prompt = Some(Prompt::of(Prompted::Folder { at, name }));
        return Vec::new();
    }
    update::submit(ui, run, order(snapshot, at, None))
}

/// Takes something out into a folder that was typed; into the present one where nothing was.
pub(super) fn put_into(ui: &mut Ui, run: &RunState, folder: &str, (at, name): (FilePath, RawName)) -> Vec<Action> {
    let Some(snapshot) = ui.files.as_ref().map(|f| f.snapshot) else { return Vec::new() };
    let folder = match folder.trim() {
        "" => ui.here.clone().unwrap_or_else(|| ".".to_owned()),
        typed => typed.to_owned(),
    };
    let to = [folder.trim_end_matches('/').as_bytes(), b"/", &name.0].concat();
    update::submit(ui, run, order(snapshot, at, Some(RawName(to))))
}

fn order(snapshot: SnapshotId, at: FilePath, to: Option<RawName>) -> Command {
    Command::GetFiles { snapshot: SnapRef::Prefix(snapshot.to_string()), at, to, privileged: false }
}
