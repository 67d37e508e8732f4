//! Bytes from a terminal become keys. A pure decoder: it is given bytes as they come and told when nothing came for a
//! while, which is what tells the Esc key from the start of a sequence.
//!
//! The sequences are those of xterm, the Linux console and the VT100/VT220 (ECMA-48 section 5.4; `console_codes(4)`;
//! xterm's ctlseqs). Any other sequence is swallowed whole, so that none of its letters becomes a key.

use super::mouse::{Act, Mouse};
use super::state::Key;

/// The most bytes a sequence may have; what is longer is noise on the line.
const LONGEST: usize = 32;
/// Bytes that follow the start of a report on the mouse in the old way (xterm's ctlseqs, "X10 compatibility mode"): button, column, row.
const OLD_REPORT: u8 = 3;

/// What was decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// A key.
    Key(Key),
    /// The terminal's answer to "where is the cursor": row and column, from 1.
    Cursor(u16, u16),
    /// What was done with a mouse.
    Mouse(Mouse),
}

/// Decodes a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    /// A sequence or a multi-byte character that is not complete.
    pending: Vec<u8>,
    /// The last byte was a carriage return: a line feed behind it is the same key.
    after_return: bool,
    /// The terminal was asked to tell what its mouse does.
    mouse: bool,
    /// Bytes to come that are no keys: of a report on the mouse in the old way, by a terminal that knows no other.
    skip: u8,
}

impl Decoder {
    /// One for a terminal that was asked to tell what its mouse does, or was not.
    pub fn of(mouse: bool) -> Self {
        Self { mouse, ..Self::default() }
    }

    /// True where more bytes may follow at once: the caller says [`Decoder::idle`] when they do not.
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Decoded> {
        let mut out = Vec::new();
        for b in bytes {
            self.one(*b, &mut out);
        }
        out
    }

    /// Nothing came for a while: a lone Esc was the Esc key.
    pub fn idle(&mut self) -> Option<Decoded> {
        let pending = std::mem::take(&mut self.pending);
        (pending == [0x1b]).then_some(Decoded::Key(Key::Esc))
    }

    fn one(&mut self, b: u8, out: &mut Vec<Decoded>) {
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        if !self.pending.is_empty() {
            return self.more(b, out);
        }
        let after_return = std::mem::replace(&mut self.after_return, b == b'\r');
        match b {
            0x1b | 0xc2..=0xf4 => self.pending.push(b),
            b'\n' if after_return => {}
            _ => out.extend(plain(b).map(Decoded::Key)),
        }
    }

    fn more(&mut self, b: u8, out: &mut Vec<Decoded>) {
        if self.pending[0] != 0x1b {
            // No key of ours lies outside ASCII: the rest of the character is swallowed.
            let want = match self.pending[0] {
                0xc2..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            if !(0x80..=0xbf).contains(&b) {
                self.pending.clear();
                return self.one(b, out);
            }
            self.pending.push(b);
            if self.pending.len() == want {
                self.pending.clear();
            }
            return;
        }
        match (self.pending.as_slice(), b) {
            // Esc, Esc: the key twice, or the start of a sequence after the key.
            ([0x1b], 0x1b) => {
                out.push(Decoded::Key(Key::Esc));
                return;
            }
            ([0x1b], b'[' | b'O') => {}
            // Alt and a key, sent as Esc and the key: not a key of ours.
            ([0x1b], _) => {
                self.pending.clear();
                return;
            }
            // The Linux console sends its function keys as Esc [ [ letter.
            ([0x1b, b'['], b'[') => {}
            ([0x1b, b'[', b'['], _) | ([0x1b, b'O', ..], 0x40..=0x7e) => {
                out.extend(sequence(&self.pending[1..], b));
                self.pending.clear();
                return;
            }
            (_, 0x40..=0x7e) => {
                self.ended(b, out);
                return;
            }
            (_, 0x20..=0x3f) => {}
            // Not part of any sequence: noise. Start over with this byte.
            _ => {
                self.pending.clear();
                return self.one(b, out);
            }
        }
        self.pending.push(b);
        if self.pending.len() > LONGEST {
            self.pending.clear();
        }
    }

    /// A sequence of ECMA-48 came to its last byte.
    fn ended(&mut self, last: u8, out: &mut Vec<Decoded>) {
        match (self.pending.as_slice(), last) {
            ([0x1b, b'['], b'M') if self.mouse => self.skip = OLD_REPORT,
            ([0x1b, b'[', b'<', ..], _) => {
                let told = std::str::from_utf8(&self.pending[2..]).ok().and_then(mouse);
                out.extend(told.filter(|_| self.mouse && last == b'M').map(Decoded::Mouse));
            }
            (whole, last) => out.extend(sequence(&whole[1..], last)),
        }
        self.pending.clear();
    }
}

/// A report on a mouse (xterm's ctlseqs, "SGR (1006)"): button, column and row from 1, `M` where it went down. Of buttons the first and the
/// wheel, alone: with a key held it belongs to the terminal or to nobody.
fn mouse(parameters: &str) -> Option<Mouse> {
    let mut numbers = parameters.strip_prefix('<')?.split(';').map(str::parse::<u16>);
    let mut next = || numbers.next()?.ok();
    let act = match next()? {
        0 => Act::Press,
        64 => Act::Up,
        65 => Act::Down,
        _ => return None,
    };
    Some(Mouse { act, column: next()?.checked_sub(1)?, row: next()?.checked_sub(1)? })
}

fn plain(b: u8) -> Option<Key> {
    Some(match b {
        b'\r' | b'\n' => Key::Enter,
        b'\t' => Key::Tab,
        0x7f | 0x08 => Key::Backspace,
        0x03 => Key::Interrupt,
        0x0c => Key::Redraw,
        0x20..=0x7e => Key::Char(char::from(b)),
        _ => return None,
    })
}

/// A whole sequence: what stands between Esc and the last byte, and that byte.
fn sequence(middle: &[u8], last: u8) -> Option<Decoded> {
    let parameters = std::str::from_utf8(middle.get(1..)?).ok()?;
    Some(Decoded::Key(match (middle[0], last) {
        (b'[', b'R') => {
            let (row, column) = parameters.split_once(';')?;
            return Some(Decoded::Cursor(row.parse().ok()?, column.parse().ok()?));
        }
        (_, b'A') => Key::Up,
        (_, b'B') => Key::Down,
        (_, b'C') => Key::Right,
        (_, b'D') => Key::Left,
        (_, b'H') => Key::Home,
        (_, b'F') => Key::End,
        // The keypad's Enter in application mode.
        (b'O', b'M') => Key::Enter,
        (b'[', b'~') => match parameters.split(';').next()? {
            "1" | "7" => Key::Home,
            "4" | "8" => Key::End,
            "5" => Key::PageUp,
            "6" => Key::PageDown,
            _ => return None,
        },
        _ => return None,
    }))
    .filter(|_| middle.get(1) != Some(&b'['))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(bytes: &[u8]) -> Vec<Decoded> {
        let mut d = Decoder::default();
        let mut out = d.push(bytes);
        out.extend(d.idle());
        out
    }

    fn keys(bytes: &[u8]) -> Vec<Key> {
        all(bytes)
            .into_iter()
            .map(|d| match d {
                Decoded::Key(k) => k,
                other => panic!("{other:?} was not asked for"),
            })
            .collect()
    }

    #[test]
    fn keys_of_the_usual_terminals() {
        assert_eq!(
            keys(b"a\x1b[A\x1bOB\x1b[5~\x1b[1;5H\r"),
            [Key::Char('a'), Key::Up, Key::Down, Key::PageUp, Key::Home, Key::Enter]
        );
        assert_eq!(keys(b"\x1b"), [Key::Esc]);
        assert_eq!(keys(b"\x1b\x1b[A"), [Key::Esc, Key::Up]);
        assert_eq!(keys(b"\r\n\n"), [Key::Enter, Key::Enter]);
        assert_eq!(keys(b"\x7f\x08\x03\x0c"), [Key::Backspace, Key::Backspace, Key::Interrupt, Key::Redraw]);
        assert_eq!(all(b"\x1b[25;80R"), [Decoded::Cursor(25, 80)]);
    }

    #[test]
    fn a_sequence_that_is_not_ours_leaves_no_letters() {
        assert_eq!(keys(b"\x1b[[A\x1b[200~\x1b[?1;2c\x1bOP\x1b[15~x"), [Key::Char('x')]);
        assert_eq!(keys("é中s".as_bytes()), [Key::Char('s')]);
        assert_eq!(keys(b"\xe4\xb8s"), [Key::Char('s')], "a torn character does not eat the next key");
        assert_eq!(keys(b"\x1bs"), [], "Alt-s is not s");
        assert_eq!(all(b"\x1b[99999;1R"), []);
    }

    /// Reports on the mouse are no keys, in whatever way they come; and nothing is told of it unless it was asked for.
    #[test]
    fn a_mouse_types_nothing() {
        let told = |bytes: &[u8]| Decoder::of(true).push(bytes);
        let at = |act, column, row| Decoded::Mouse(Mouse { act, column, row });
        assert_eq!(told(b"\x1b[<0;5;25M\x1b[<0;5;25m"), [at(Act::Press, 4, 24)], "and nothing where it goes up");
        assert_eq!(told(b"\x1b[<64;1;1M\x1b[<65;80;2M"), [at(Act::Up, 0, 0), at(Act::Down, 79, 1)]);
        assert_eq!(told(b"\x1b[<2;5;5M\x1b[<16;5;5M\x1b[<0;0;5M\x1b[<0;5M\x1b[<0;99999;1M\x1b[<0;1;1A"), []);
        assert_eq!(told(b"\x1b[M s!x"), [Decoded::Key(Key::Char('x'))], "in the old way");
        assert_eq!(all(b"\x1b[<0;5;25M"), []);
        assert_eq!(keys(b"\x1b[Ms"), [Key::Char('s')], "no mouse was asked for");
    }

    proptest! {
        /// However the line cuts the bytes up, the same keys come out; and nothing grows.
        #[test]
        fn cuts_do_not_matter(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..200) {
            let whole = all(&bytes);
            let (a, b) = bytes.split_at(at.min(bytes.len()));
            let mut d = Decoder::default();
            let mut cut = d.push(a);
            cut.extend(d.push(b));
            prop_assert!(d.pending.len() <= LONGEST);
            cut.extend(d.idle());
            prop_assert_eq!(whole, cut);
        }
    }
}
