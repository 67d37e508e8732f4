//! The line that is typed below a screen: what to look for there, where files go, or what names a disk.

use super::state::{Action, Key, Prompted, Screen, Ui};
use super::text::{cut, fitting, tail};
use super::{changes, disks, files, finding, reading, steps, target, timeline};
use model::run_state::RunState;

/// The most bytes of it.
const MOST: usize = 1024;

/// The line as it is shown on so many columns: what is typed goes before what it is for.
pub fn shown(ui: &Ui, run: &RunState, columns: usize) -> Option<String> {
    let prompt = ui.prompt.as_ref()?;
    let what = match &prompt.what {
        Prompted::Search if ui.sought.is_empty() => "Find: ".to_owned(),
        Prompted::Search => format!("Find (Enter: {}): ", ui.sought),
        Prompted::Folder { name, .. } => {
            let here = ui.here.as_deref().unwrap_or(".");
            format!("Put {} into the folder (Enter: {}): ", cut(&name.display().to_string(), 20), tail(here, 24))
        }
        Prompted::Disk { disk } => {
            let found = run.report.as_ref().and_then(|r| r.inspection.disk(*disk));
            let [long, short] = [found.map(target::named), found.map(target::named_by)].map(Option::unwrap_or_default);
            let long = format!("All on {disk} will be lost. Type {long}: ");
            let short = format!("To lose all on {disk}, type {short}: ");
            fitting(&[&long, &short], columns.saturating_sub(super::text::width(&prompt.text) + 1)).to_owned()
        }
    };
    let typed = tail(&format!("{}_", prompt.text), columns / 2);
    Some(format!("{}{typed}", cut(&what, columns.saturating_sub(super::text::width(&typed)))))
}

/// A line that is typed below the screen: no letter is a command there.
pub(super) fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    let Some(prompt) = &mut ui.prompt else { return Vec::new() };
    match k {
        Key::Esc | Key::Interrupt => ui.prompt = None,
        // What was deleted to its beginning was not meant.
        Key::Backspace if prompt.text.pop().is_none() => ui.prompt = None,
        Key::Char(c) if prompt.text.len() + c.len_utf8() <= MOST => prompt.text.push(c),
        Key::Enter => {
            let text = std::mem::take(&mut prompt.text);
            let what = ui.prompt.take().map(|p| p.what);
            return match what {
                Some(Prompted::Folder { at, name }) => files::put_into(ui, run, &text, (at, name)),
                Some(Prompted::Search) => search(ui, run, text),
                Some(Prompted::Disk { disk }) => target::typed(ui, run, disk, &text),
                None => Vec::new(),
            };
        }
        _ => {}
    }
    Vec::new()
}

/// Looks for a text on the screen on top; for the one before where none was typed.
fn search(ui: &mut Ui, run: &RunState, text: String) -> Vec<Action> {
    if !text.is_empty() {
        ui.sought = text;
    }
    match ui.screen() {
        Screen::Files => return files::search(ui, run, false),
        Screen::Reading => reading::search(ui, run, false),
        Screen::Differences => ui.comparing.row = changes::search(ui, run, false),
        Screen::Disks => ui.disk_row = disks::search(ui, run, false),
        Screen::Target => target::search(ui, run),
        Screen::Timeline => {
            let at = timeline::search(ui, run);
            ui.snapshot = steps::timeline(run).get(at).map(|s| s.id);
        }
        Screen::Evidence | Screen::Log | Screen::Help | Screen::Confirm | Screen::Forget => {
            finding::search(ui, run, false);
        }
        _ => {}
    }
    Vec::new()
}
