//! A text to be read on a screen of its own: a saved file, or the lines of one that differ.

use super::state::{Action, Key, Prompt, Prompted, Ui};
use super::text::{broken, next_from, wrap};
use super::{draw, update, words};
use model::browse::ShownFile;
use model::run_state::RunState;

/// How a line stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// Not at all.
    Plain,
    /// It heads what follows.
    Heading,
    /// It is in the earlier state alone.
    Before,
    /// It is in the later state alone.
    After,
    /// It is to be read with care.
    Caution,
    /// It is not as it should be.
    Alarm,
}

/// A line and how it stands out.
pub type Toned = (Tone, String);

/// A text, and where somebody is in it. How far it is scrolled is in the [`Ui`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it is, one line.
    pub title: String,
    text: Vec<Toned>,
    /// Lines are broken at spaces: they are sentences, and no bytes of a file.
    sentences: bool,
    columns: usize,
    lines: Vec<Toned>,
    /// The line that was found last.
    pub found: Option<usize>,
}

impl Reading {
    /// A text, to be shown on so many columns.
    pub fn new(title: String, text: Vec<Toned>, columns: usize) -> Self {
        Self::broken(title, text, false, columns)
    }

    /// Sentences, a line each.
    pub fn sentences(title: String, text: Vec<Toned>, columns: usize) -> Self {
        Self::broken(title, text, true, columns)
    }

    fn broken(title: String, text: Vec<Toned>, sentences: bool, columns: usize) -> Self {
        let mut reading = Self { title, text, sentences, columns: 0, lines: Vec::new(), found: None };
        reading.fit(columns);
        reading
    }

    /// A saved file.
    pub fn file(file: &ShownFile, columns: usize) -> Self {
        let head = &file.head;
        let title = format!("{}: {}, {}", file.volume, file.path.display(), head.size);
        let mut text = Vec::new();
        if file.damaged {
            let says = "Some of this could not be read when it was saved: zeros stand there.";
            text.push((Tone::Heading, says.to_owned()));
        }
        match &head.lines {
            None => {
                text.push((Tone::Heading, format!("Binary: {} bytes. Press Esc, then g to take it out.", head.size.0)))
            }
            Some(lines) if lines.is_empty() => text.push((Tone::Heading, "It is empty.".to_owned())),
            Some(lines) => text.extend(lines.iter().map(|line| (Tone::Plain, line.to_string()))),
        }
        if head.lines.is_some() && head.read < head.size {
            let says = format!("-- The first {} of {} bytes are shown. --", head.read.0, head.size.0);
            text.push((Tone::Heading, says));
        }
        Self::new(title, text, columns)
    }

    /// Breaks its lines to so many columns.
    pub fn fit(&mut self, columns: usize) {
        if columns == self.columns {
            return;
        }
        self.columns = columns;
        self.found = None;
        let breaking = if self.sentences { wrap } else { broken };
        let parts =
            |(tone, line): &Toned| breaking(line, columns).into_iter().map(|part| (*tone, part)).collect::<Vec<_>>();
        self.lines = self.text.iter().flat_map(parts).collect();
    }

    /// Its lines as they are shown.
    pub fn lines(&self) -> &[Toned] {
        &self.lines
    }

    /// The next line that has a text in it, small letters and capitals of ASCII taken for the same.
    fn find(&self, text: &str, from: usize, back: bool) -> Option<usize> {
        let wanted = text.to_ascii_lowercase();
        let has = |n: &usize| self.lines[*n].1.to_ascii_lowercase().contains(&wanted);
        next_from(self.lines.len(), from, back, has)
    }
}

/// A key on the screen of a text.
pub(super) fn key(ui: &mut Ui, run: &RunState, k: Key) -> Vec<Action> {
    match k {
        Key::Char('/') => ui.prompt = Some(Prompt::of(Prompted::Search)),
        Key::Char('n') => search(ui, run, false),
        Key::Char('N') => search(ui, run, true),
        Key::Char('h') => return update::common(ui, run, Key::Left),
        _ => return update::scroll(ui, run, k),
    }
    Vec::new()
}

/// Goes to the next line that has what was sought in it.
pub(super) fn search(ui: &mut Ui, run: &RunState, back: bool) {
    let Some(reading) = &mut ui.reading else { return };
    let from = match (reading.found, back) {
        (Some(found), false) => found + 1,
        (Some(found), true) => found,
        (None, _) => ui.scroll,
    };
    reading.found = match ui.sought.is_empty() {
        true => None,
        false => reading.find(&ui.sought, from, back),
    };
    let found = reading.found;
    match found {
        Some(found) => {
            let (len, height) = draw::extent(ui, run).unwrap_or_default();
            // Some lines before it are worth seeing.
            ui.scroll = found.saturating_sub(height / 3).min(len.saturating_sub(height));
        }
        None => ui.note = Some(words::not_found(&ui.sought)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_and_found_again() {
        let text = ["  indented", "abcdefgh", "", "Abc"].map(|line| (Tone::Plain, line.to_owned()));
        let mut reading = Reading::new("x".into(), text.into(), 5);
        let lines = |r: &Reading| r.lines().iter().map(|(_, l)| l.clone()).collect::<Vec<_>>();
        assert_eq!(lines(&reading), ["  ind", "ented", "abcde", "fgh", "", "Abc"]);
        assert_eq!(reading.find("ABC", 0, false), Some(2));
        assert_eq!(reading.find("abc", 3, false), Some(5));
        assert_eq!(reading.find("abc", 6, false), Some(2), "from the start again");
        assert_eq!(reading.find("abc", 5, true), Some(2));
        assert_eq!(reading.find("abc", 2, true), Some(5));
        assert_eq!(reading.find("xyz", 0, true), None);
        reading.fit(80);
        assert_eq!(lines(&reading).len(), 4);
    }
}
