//! The end of what a machine said on its serial line.

use model::text::DisplayText;
use std::collections::VecDeque;
use std::io::Read;
use std::sync::{Mutex, PoisonError};

/// Bytes kept.
const MOST: usize = 16 << 10;
/// Lines told, and the longest of them in characters.
const MOST_LINES: usize = 12;
const LONGEST: usize = 200;
/// What a kernel says last that gives up (kernel/panic.c, `panic`).
const PANIC: &str = "Kernel panic - not syncing";

/// What was said last.
#[derive(Default)]
pub(super) struct Tail(Mutex<VecDeque<u8>>);

impl Tail {
    /// Takes everything until the line ends.
    pub(super) fn listen(&self, mut line: impl Read) {
        let mut block = [0; 4096];
        while let Ok(n @ 1..) = line.read(&mut block) {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(&block[..n]);
            let over = kept.len().saturating_sub(MOST);
            kept.drain(..over);
        }
    }

    fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
        plain(&String::from_utf8_lossy(&bytes))
    }

    /// The last lines that say something.
    pub(super) fn lines(&self) -> Vec<DisplayText> {
        let text = self.text();
        let mut lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
        // What follows each other and is the same says it once: a screen that is painted again.
        lines.dedup();
        let last = lines.len().saturating_sub(MOST_LINES);
        lines[last..].iter().map(|l| DisplayText::new(&l.chars().take(LONGEST).collect::<String>())).collect()
    }

    /// The words with which a kernel gave up, where one did.
    pub(super) fn panic(&self) -> Option<DisplayText> {
        let text = self.text();
        let words = text.lines().find_map(|l| l.find(PANIC).and_then(|at| l.get(at..)))?;
        Some(DisplayText::new(&words.trim().chars().take(LONGEST).collect::<String>()))
    }
}

/// Without what only moves a cursor or chooses a colour (ECMA-48: CSI sequences, and shorter escapes): it would be
/// spelled out. A jump of the cursor is the end of a line.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\u{1b}' if rest.peek() == Some(&'[') => {
                rest.next();
                if let Some('H' | 'f' | 'J') = rest.by_ref().find(|c| ('@'..='~').contains(c)) {
                    out.push('\n');
                }
            }
            '\u{1b}' => {
                // Up to its final character: `ESC ( B` chooses letters.
                rest.by_ref().find(|c| !(' '..='/').contains(c));
            }
            '\r' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(bytes: &[u8]) -> Tail {
        let tail = Tail::default();
        tail.listen(bytes);
        tail
    }

    fn lines(bytes: &[u8]) -> Vec<String> {
        tail(bytes).lines().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_last_lines_are_told_without_colours() {
        let said = b"\x1b[0;32m  OK  \x1b[0m Reached target\r\n\r\n\x1b[2J\x1b[1;1Hgrub> \x1b(B\nx\x07\n";
        assert_eq!(lines(said), ["OK   Reached target", "grub>", "x\\u{7}"]);
        assert_eq!(lines(&b"again\n".repeat(50)), ["again"]);
        let many: Vec<u8> = (0..10_000).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
        assert_eq!(lines(&many).last().unwrap(), "line 9999");
        assert_eq!(lines(&many).len(), MOST_LINES);
        assert!(tail(&vec![b'y'; 1 << 20]).lines()[0].as_str().len() <= LONGEST);
        assert!(lines(b"\x1b[").is_empty() && lines(b"\x1b").is_empty() && lines(b"").is_empty());
    }

    #[test]
    fn a_kernel_that_gave_up_is_heard() {
        let said = b"[    1.2] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n[    1.3] CPU: 0\r\n\
                     [    1.4] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs ]---\r\n";
        assert_eq!(tail(said).panic().unwrap().as_str(), "Kernel panic - not syncing: VFS: Unable to mount root fs");
        assert_eq!(tail(b"Kernel panic? no").panic(), None);
    }
}
