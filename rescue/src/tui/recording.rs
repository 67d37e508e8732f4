//! Sessions on the screens, recorded and played back: for bug reports, and for tests.
//!
//! A recording is a text of lines, each a value in JSON: first a [`Head`], then what came in ([`Incoming`]) with the milliseconds since
//! the session began. A passphrase is never in it: of what is typed where one is asked for, there is one `*` before the key that
//! sends it. What the engine told is in it as it was shown: names of this machine and of files, and the text of files that were read.

use super::front::{Front, Incoming};
use super::look::Look;
use super::state::{Key, Screen, Ui};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// Version of what this writes.
const FORMAT: u32 = 1;
/// The most bytes of a recording: what would go beyond is left out, and so is all after it.
const MOST: u64 = 64 << 20;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// The format.
    recording: u32,
    /// The version of the program.
    holdfast: String,
    /// Columns and rows before the terminal told its own.
    size: (u16, u16),
    /// Plain ASCII.
    ascii: bool,
    /// Colours.
    colour: bool,
    /// See [`Ui::may_leave`].
    may_leave: bool,
    /// See [`Ui::here`].
    here: Option<String>,
    /// See [`Ui::other`].
    #[serde(default)]
    other: Option<String>,
}

/// A line after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Entry {
    /// Milliseconds since the session began.
    at: u64,
    /// What came in.
    #[serde(flatten)]
    incoming: Incoming,
}

/// Records a session.
pub struct Recorder<W = File> {
    out: W,
    began: Instant,
    left: u64,
}

impl Recorder {
    /// Makes the file, which must be new and which only its owner can read.
    ///
    /// # Errors
    /// Where there is one already, and what the system says.
    pub fn create(file: &Path) -> io::Result<Self> {
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        Ok(Self::to(file, MOST))
    }
}

impl<W: Write> Recorder<W> {
    /// Records to anything, at most so many bytes.
    pub fn to(out: W, most: u64) -> Self {
        Self { out, began: Instant::now(), left: most }
    }

    /// Writes the first line, of a front end that nothing came to yet.
    ///
    /// # Errors
    /// Of writing.
    pub fn head(&mut self, ui: &Ui) -> io::Result<()> {
        let Look { ascii, colour } = ui.look;
        let holdfast = env!("CARGO_PKG_VERSION").to_owned();
        let (size, may_leave, here, other) = (ui.size, ui.may_leave, ui.here.clone(), ui.other.clone());
        self.line(&Head { recording: FORMAT, holdfast, size, ascii, colour, may_leave, here, other })
    }

    /// Writes what comes in to `front`, before it takes it.
    ///
    /// # Errors
    /// Of writing.
    pub fn note(&mut self, front: &Front, incoming: &Incoming) -> io::Result<()> {
        let at = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let secret = front.ui.screen() == Screen::Unlock && front.ui.prompt.is_none();
        match incoming {
            Incoming::Key(Key::Char(_) | Key::Backspace) if secret => Ok(()),
            Incoming::Key(Key::Enter) if secret && !front.ui.typed.is_empty() => {
                self.line(&Entry { at, incoming: Incoming::Key(Key::Char('*')) })?;
                self.line(&Entry { at, incoming: incoming.clone() })
            }
            _ => self.line(&Entry { at, incoming: incoming.clone() }),
        }
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        match self.left.checked_sub(line.len() as u64) {
            Some(left) => {
                self.left = left;
                // Whole lines at once: a session that is cut off leaves what was recorded until then.
                self.out.write_all(&line)
            }
            None => {
                self.left = 0;
                Ok(())
            }
        }
    }
}

/// A recording, as it is played back.
pub struct Playback {
    front: Front,
    entries: std::vec::IntoIter<Entry>,
    at: u64,
}

impl Playback {
    /// Reads a recording, at most as much as one may be long.
    ///
    /// # Errors
    /// `InvalidData` where it is none, or one of a newer program; and what the reader says.
    pub fn read(from: impl Read) -> io::Result<Self> {
        let invalid = |says: String| io::Error::new(io::ErrorKind::InvalidData, says);
        let mut lines = io::BufReader::new(from.take(MOST)).split(b'\n');
        let first = lines.next().transpose()?.unwrap_or_default();
        let head: Head = serde_json::from_slice(&first).map_err(|e| invalid(format!("this is no recording: {e}")))?;
        if head.recording != FORMAT {
            return Err(invalid(format!("this is a recording of format {}, and not of {FORMAT}", head.recording)));
        }
        let lines: Vec<Vec<u8>> = lines.collect::<io::Result<_>>()?;
        let mut entries: Vec<Entry> = Vec::new();
        for (n, line) in lines.iter().enumerate() {
            match serde_json::from_slice(line) {
                Ok(entry) => entries.push(entry),
                // Of a session that was cut off, the last line may be.
                Err(_) if n + 1 == lines.len() => {}
                Err(e) => return Err(invalid(format!("line {} of the recording cannot be read: {e}", n + 2))),
            }
        }
        let mut ui = Ui::new(head.size, Look { ascii: head.ascii, colour: head.colour }, head.may_leave);
        (ui.here, ui.other) = (head.here, head.other);
        Ok(Self { front: Front::new(ui), entries: entries.into_iter(), at: 0 })
    }

    /// Takes the next of what came in; false at the end.
    pub fn step(&mut self) -> bool {
        let Some(entry) = self.entries.next() else { return false };
        // Nothing is asked of anybody.
        self.front.take(&entry.incoming);
        self.at = entry.at;
        true
    }

    /// How long after what came last the next one came; `None` at the end.
    pub fn next_after(&self) -> Option<Duration> {
        let next = self.entries.as_slice().first()?;
        Some(Duration::from_millis(next.at.saturating_sub(self.at)))
    }

    /// Has it drawn in plain characters, whatever it was.
    pub fn in_ascii(&mut self) {
        self.front.ui.look.ascii = true;
    }

    /// What is to be seen now.
    pub fn front(&self) -> &Front {
        &self.front
    }
}
