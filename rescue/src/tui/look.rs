//! How the screen looks on the terminal at hand: colours or none, line-drawing characters or plain ASCII.
//!
//! Screens are drawn once, in full Unicode; where the terminal is not known to show that, [`Look::finish`] replaces every
//! character by a plain one. Colour only repeats what words and marks say.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// What the terminal at hand is trusted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Plain ASCII only.
    pub ascii: bool,
    /// The eight classic colours.
    pub colour: bool,
}

/// Terminals without colours.
const MONOCHROME: [&str; 7] = ["", "dumb", "vt52", "vt100", "vt102", "vt220", "unknown"];
/// Terminals whose font or line is not known to carry more than ASCII.
const PLAIN: [&str; 9] = ["", "dumb", "vt52", "vt100", "vt102", "vt220", "unknown", "linux", "ansi"];

impl Look {
    /// ASCII without colours: what every terminal shows.
    pub const PLAIN: Self = Self { ascii: true, colour: false };

    /// What the environment says of the terminal. In doubt, plain: the rescue has no locale, and its VT font and serial
    /// lines carry ASCII.
    pub fn of(environment: impl Fn(&str) -> Option<String>) -> Self {
        let term = environment("TERM").unwrap_or_default();
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| environment(name).filter(|v| !v.is_empty()))
            .unwrap_or_default()
            .to_ascii_lowercase();
        let unicode = locale.contains("utf-8") || locale.contains("utf8");
        Self {
            ascii: !unicode || PLAIN.contains(&term.as_str()),
            // https://no-color.org: set and not empty.
            colour: environment("NO_COLOR").is_none_or(|v| v.is_empty()) && !MONOCHROME.contains(&term.as_str()),
        }
    }

    fn tint(self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    /// As it should be.
    pub fn good(self) -> Style {
        self.tint(Color::Green)
    }

    /// Not as it should be.
    pub fn bad(self) -> Style {
        // The light one: on the Linux console the other is too dark to read, bold or not.
        self.tint(Color::LightRed).add_modifier(Modifier::BOLD)
    }

    /// Not known, or to be read with care.
    pub fn unsure(self) -> Style {
        self.tint(Color::Yellow)
    }

    /// What to read first.
    pub fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// A key that can be pressed.
    pub fn key(self) -> Style {
        self.tint(Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// The bars at the top and the bottom, and the row chosen.
    pub fn bar(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Makes a drawn screen fit the terminal: plain ASCII where need be, and no cell with a tower of combining marks.
    pub fn finish(self, buffer: &mut Buffer) {
        for cell in &mut buffer.content {
            let symbol = cell.symbol();
            if symbol.is_ascii() {
                continue;
            }
            if self.ascii {
                let plain = symbol.chars().next().map_or(" ", plain);
                cell.set_symbol(plain);
            } else if symbol.len() > 32 {
                cell.set_symbol("?");
            }
        }
    }
}

/// The ASCII stand-in of a character.
fn plain(c: char) -> &'static str {
    match c {
        '─' | '━' | '–' | '—' => "-",
        '│' | '┃' => "|",
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' => "+",
        '█' => "#",
        '░' | '·' => ".",
        '▸' | '▶' | '→' => ">",
        '…' => "~",
        '“' | '”' => "\"",
        '‘' | '’' => "'",
        _ => "?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_doubt_plain() {
        let with = |pairs: &'static [(&'static str, &'static str)]| {
            Look::of(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
        };
        assert_eq!(with(&[]), Look::PLAIN);
        assert_eq!(with(&[("TERM", "linux")]), Look { ascii: true, colour: true });
        assert_eq!(with(&[("TERM", "linux"), ("LANG", "en_US.UTF-8")]), Look { ascii: true, colour: true });
        assert_eq!(with(&[("TERM", "xterm"), ("LANG", "de_DE.utf8")]), Look { ascii: false, colour: true });
        assert!(with(&[("TERM", "xterm"), ("LC_ALL", "C"), ("LANG", "de_DE.utf8")]).ascii);
        assert!(!with(&[("TERM", "xterm"), ("NO_COLOR", "1")]).colour);
        assert_eq!(with(&[("TERM", "vt100"), ("LANG", "C.UTF-8")]), Look::PLAIN);
    }
}
