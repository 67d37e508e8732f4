//! Looking through the files of a snapshot: what a front end asks to see of them, and what it is shown. However large a folder or
//! a file is, an answer is a part of it that fits a screen.

use crate::command::Failure;
use crate::files::{FilePath, ListedVolume, Named};
use crate::id::{SnapshotId, VolumePath};
use crate::text::{DisplayText, RawName};
use crate::units::ByteLen;
use serde::{Deserialize, Serialize};

/// Most entries of a folder that are shown at once.
pub const MOST_SHOWN: usize = 512;
/// Most bytes of a file that are shown.
pub const MOST_TEXT: ByteLen = ByteLen(64 << 10);
/// Most characters that a tab or an escaped byte becomes.
pub const MOST_WIDENED: usize = 8;

/// What is wanted of a snapshot's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browse {
    /// Which snapshot.
    pub snapshot: SnapshotId,
    /// A folder or a file of it; its volumes where `None`. A link is followed.
    pub at: Option<FilePath>,
    /// Which part of a folder.
    pub part: Part,
}

/// Which part of a folder is wanted. Its entries are numbered from 0, in the order of the bytes of their names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// What lies around the entry of this number.
    Around(u64),
    /// What lies around the entry of this name.
    Named(RawName),
    /// What lies around the next entry whose name contains a text.
    Containing {
        /// The text; letters of ASCII mean their capitals too.
        text: RawName,
        /// The entry that is looked at first. Those that are left over come when the end is reached.
        from: u64,
        /// Whether it goes towards the first.
        back: bool,
    },
}

/// An answer, with what it is the answer to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Browsed {
    /// What was asked.
    pub ask: Browse,
    /// What is there.
    pub shown: Result<Shown, Failure>,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// The volumes of the snapshot.
    Volumes(Vec<ListedVolume>),
    /// A part of a folder.
    Folder(Folder),
    /// A file.
    File(ShownFile),
}

/// A part of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// The volume it lies on.
    pub volume: VolumePath,
    /// Its path from the root of that volume.
    pub path: RawName,
    /// How many entries it has.
    pub count: u64,
    /// It has more than were counted.
    pub more: bool,
    /// The number of the first of `entries`.
    pub from: u64,
    /// At most [`MOST_SHOWN`], without extended attributes.
    pub entries: Vec<Named>,
    /// The entry that was asked for, where there is one.
    pub chosen: Option<u64>,
}

/// A file, to be read by people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownFile {
    /// The volume it lies on.
    pub volume: VolumePath,
    /// Its path from the root of that volume.
    pub path: RawName,
    /// How it begins.
    pub head: FileHead,
    /// Some of what is shown could not be read when it was saved: zeros stand there.
    pub damaged: bool,
}

/// How a file begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHead {
    /// Its size.
    pub size: ByteLen,
    /// How much of it was looked at.
    pub read: ByteLen,
    /// Its lines, without their ends and with spaces for tabs; `None` where it is no text.
    pub lines: Option<Vec<DisplayText>>,
}

impl FileHead {
    /// How a file of that size begins that begins with these bytes.
    pub fn of(bytes: &[u8], size: ByteLen) -> Self {
        let read = ByteLen(bytes.len() as u64);
        Self { size, read, lines: is_text(bytes).then(|| lines(bytes)) }
    }
}

/// Text has no zero bytes, and few that are no characters or control something.
fn is_text(bytes: &[u8]) -> bool {
    let mut strange = 0;
    for chunk in bytes.utf8_chunks() {
        let controls = |c: &char| c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{8}' | '\u{c}' | '\u{1b}');
        strange += chunk.valid().chars().filter(controls).count() + chunk.invalid().len();
    }
    !bytes.contains(&0) && strange <= bytes.len() / 8
}

fn lines(bytes: &[u8]) -> Vec<DisplayText> {
    let mut lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines.into_iter().map(|line| widened(line.strip_suffix(b"\r").unwrap_or(line))).collect()
}

/// A line with its tabs as wide as they are on a terminal.
fn widened(line: &[u8]) -> DisplayText {
    if !line.contains(&b'\t') {
        return DisplayText::from_bytes(line);
    }
    let mut out = String::new();
    let mut columns = 0;
    for (nth, part) in line.split(|b| *b == b'\t').enumerate() {
        if nth > 0 {
            let wide = MOST_WIDENED - columns % MOST_WIDENED;
            out.extend(std::iter::repeat_n(' ', wide));
            columns += wide;
        }
        let part = DisplayText::from_bytes(part);
        columns += part.as_str().chars().count();
        out.push_str(part.as_str());
    }
    DisplayText::new(&out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(bytes: &[u8]) -> Option<Vec<String>> {
        let head = FileHead::of(bytes, ByteLen(bytes.len() as u64));
        head.lines.map(|lines| lines.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn text_is_shown_by_lines_and_the_rest_is_not_shown() {
        assert_eq!(shown(b"a\tb\r\n\n\x1b[2Jc").unwrap(), ["a       b", "", "\\u{1b}[2Jc"]);
        assert_eq!(shown(b"").unwrap(), [""; 0]);
        assert_eq!(shown(b"gr\xfc\xdfe an alle Kollegen\n").unwrap(), ["gr\\xfc\\xdfe an alle Kollegen"]);
        assert_eq!(shown(b"\x7fELF\0\0"), None);
        assert_eq!(shown(b"\x01\x02\x03\x04"), None);
    }

    proptest! {
        #[test]
        fn whatever_a_file_holds_its_lines_are_bounded(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
            let Some(lines) = shown(&bytes) else { return Ok(()) };
            prop_assert!(lines.len() <= bytes.len());
            prop_assert!(lines.iter().map(String::len).sum::<usize>() <= MOST_WIDENED * bytes.len());
            prop_assert!(!lines.concat().chars().any(char::is_control));
        }
    }
}
