//! Text that may reach a terminal.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Text safe to show: control characters, escapes and direction overrides from a disk are spelled out, never sent.
///
/// Invariant 5: names stay bytes in the model ([`RawName`]); only this type reaches a screen or a log. Deserialising
/// sanitises again, so a value from another process keeps the promise.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct DisplayText(String);

impl DisplayText {
    /// Sanitises text that came from somewhere else. Keeps ordinary spaces; a newline becomes `\n` spelled out.
    pub fn new(text: &str) -> Self {
        if text.chars().all(is_plain) {
            return Self(text.to_owned());
        }
        let mut out = String::with_capacity(text.len() + 16);
        for c in text.chars() {
            if is_plain(c) { out.push(c) } else { out.extend(c.escape_default()) }
        }
        Self(out)
    }

    /// Sanitises bytes that are probably UTF-8; each byte that is not shows as `\xNN`.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut out = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            out.push_str(&Self::new(chunk.valid()).0);
            for b in chunk.invalid() {
                out.push_str(&format!("\\x{b:02x}"));
            }
        }
        Self(out)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// At most `most` characters, ending in `…` where something was cut.
    pub fn shortened(&self, most: usize) -> String {
        if self.0.chars().count() <= most {
            return self.0.clone();
        }
        self.0.chars().take(most.saturating_sub(1)).chain(['…']).collect()
    }
}

/// C0, DEL, C1, line and paragraph separators, and everything that reorders or hides text.
fn is_plain(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{61c}'))
}

impl From<String> for DisplayText {
    fn from(s: String) -> Self {
        Self::new(&s)
    }
}

impl From<&str> for DisplayText {
    fn from(s: &str) -> Self {
        Self::new(s)
    }
}

impl From<DisplayText> for String {
    fn from(t: DisplayText) -> Self {
        t.0
    }
}

impl fmt::Display for DisplayText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for DisplayText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A name as the disk has it: bytes. Show it through [`RawName::display`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RawName(pub Vec<u8>);

impl RawName {
    /// The name made safe for a screen.
    pub fn display(&self) -> DisplayText {
        DisplayText::from_bytes(&self.0)
    }
}

impl From<&str> for RawName {
    fn from(s: &str) -> Self {
        Self(s.as_bytes().to_vec())
    }
}

impl fmt::Debug for RawName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_spelled_out() {
        assert_eq!(DisplayText::new("a\x1b[2Jb").as_str(), "a\\u{1b}[2Jb");
        assert_eq!(DisplayText::from_bytes(b"ok\xff\n").as_str(), "ok\\xff\\n");
        assert_eq!(DisplayText::new("\u{202e}gpj.exe").as_str(), "\\u{202e}gpj.exe");
    }

    proptest! {
        #[test]
        fn nothing_foreign_gets_through(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let t = DisplayText::from_bytes(&bytes);
            prop_assert!(t.as_str().chars().all(is_plain));
            prop_assert_eq!(DisplayText::new(t.as_str()), t, "sanitising is idempotent");
        }
    }
}
