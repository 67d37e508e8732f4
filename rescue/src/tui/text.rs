//! Text for a screen: wrapped to a width before it is drawn, so that what scrolls knows how long it is.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Columns a text takes on a terminal.
pub fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Wraps at spaces to lines of at most `most` columns; a word that is longer is broken. Never empty.
pub fn wrap(text: &str, most: usize) -> Vec<String> {
    let most = most.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|w| !w.is_empty()) {
        let len = width(word);
        if used > 0 && used + 1 + len > most {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        if len <= most - used.min(most) {
            line.push_str(word);
            used += len;
            continue;
        }
        for c in word.chars() {
            let mut bytes = [0; 4];
            let columns = width(c.encode_utf8(&mut bytes));
            if used + columns > most && used > 0 {
                lines.push(std::mem::take(&mut line));
                used = 0;
            }
            line.push(c);
            used += columns;
        }
    }
    lines.push(line);
    lines
}

/// Cuts to at most `most` columns, ending in `…` where something was cut.
pub fn cut(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        let mut bytes = [0; 4];
        let columns = width(c.encode_utf8(&mut bytes));
        if used + columns + 1 > most {
            break;
        }
        out.push(c);
        used += columns;
    }
    if most > 0 {
        out.push('…');
    }
    out
}

/// Cuts to at most `most` columns, the end staying, beginning in `…` where something was cut.
pub fn tail(text: &str, most: usize) -> String {
    if width(text) <= most {
        return text.to_owned();
    }
    let mut kept: Vec<char> = Vec::new();
    let mut used = 0;
    for c in text.chars().rev() {
        let mut bytes = [0; 4];
        let columns = width(c.encode_utf8(&mut bytes));
        if used + columns + 1 > most {
            break;
        }
        kept.push(c);
        used += columns;
    }
    if most > 0 {
        kept.push('…');
    }
    kept.iter().rev().collect()
}

/// Breaks a line to parts of at most `most` columns wherever it must be, every space staying. Never empty.
pub fn broken(line: &str, most: usize) -> Vec<String> {
    let most = most.max(2);
    if line.len() <= most {
        return vec![line.to_owned()];
    }
    let mut parts = Vec::new();
    let (mut part, mut used) = (String::new(), 0);
    for c in line.chars() {
        let mut bytes = [0; 4];
        let columns = if c.is_ascii() { 1 } else { width(c.encode_utf8(&mut bytes)) };
        if used + columns > most {
            parts.push(std::mem::take(&mut part));
            used = 0;
        }
        part.push(c);
        used += columns;
    }
    parts.push(part);
    parts
}

/// The first of some texts that is no wider than that, or the last.
pub fn fitting<'a>(texts: &[&'a str], most: usize) -> &'a str {
    texts.iter().find(|text| width(text) <= most).or(texts.last()).copied().unwrap_or_default()
}

/// Cuts or fills with spaces to exactly `columns`.
pub fn field(text: &str, columns: usize) -> String {
    let mut out = cut(text, columns);
    let used = width(&out);
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// A wrapped paragraph, each line behind `indent` spaces.
pub fn paragraph(text: &str, style: Style, indent: usize, columns: usize) -> Vec<Line<'static>> {
    hanging(&" ".repeat(indent), text, style, columns)
}

/// A wrapped paragraph: the first line behind `head`, the others behind as many spaces.
pub fn hanging(head: &str, text: &str, style: Style, columns: usize) -> Vec<Line<'static>> {
    let indent = width(head);
    let mut head = head.to_owned();
    wrap(text, columns.saturating_sub(indent).max(8))
        .into_iter()
        .map(|part| {
            let before = std::mem::replace(&mut head, " ".repeat(indent));
            Line::from(vec![Span::raw(before), Span::styled(part, style)])
        })
        .collect()
}

/// At most `most` lines of a paragraph; where more was cut off, the last one ends in `…`.
pub fn at_most(most: usize, mut lines: Vec<Line<'static>>) -> Vec<Line<'static>> {
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            last.spans.push(Span::raw("…"));
        }
    }
    lines
}

/// The next of `count` rows behind `at`, or before it where `back`, that is looked for: all round, row `at` itself last.
pub fn next_of(count: usize, at: usize, back: bool, wanted: impl Fn(&usize) -> bool) -> Option<usize> {
    let (here, next) = (at.min(count), (at + 1).min(count));
    match back {
        false => (next..count).chain(0..next).find(wanted),
        true => (0..here).rev().chain((here..count).rev()).find(wanted),
    }
}

/// The first of `count` rows from row `from` on, or before it where `back`, that is looked for: all round.
pub fn next_from(count: usize, from: usize, back: bool, wanted: impl Fn(&usize) -> bool) -> Option<usize> {
    let from = from.min(count);
    match back {
        false => (from..count).chain(0..from).find(wanted),
        true => (0..from).rev().chain((from..count).rev()).find(wanted),
    }
}

/// `1 snapshot`, `2 snapshots`.
pub fn count(n: usize, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wraps_at_spaces_and_breaks_what_is_too_long() {
        assert_eq!(wrap("the power was cut", 9), ["the power", "was cut"]);
        assert_eq!(wrap("abcdefgh", 3), ["abc", "def", "gh"]);
        assert_eq!(wrap("", 3), [""]);
        assert_eq!(cut("abcdef", 4), "abc…");
        assert_eq!(field("ab", 4), "ab  ");
        assert_eq!([3, 2, 1].map(|most| fitting(&["abc", "ab"], most)), ["abc", "ab", "ab"]);
        assert_eq!(tail("abcdef", 4), "…def");
    }

    #[test]
    fn looks_all_round() {
        let is = |wanted: &'static [usize]| move |n: &usize| wanted.contains(n);
        assert_eq!(next_of(5, 2, false, is(&[1, 2, 4])), Some(4));
        assert_eq!(next_of(5, 4, false, is(&[1, 2, 4])), Some(1));
        assert_eq!(next_of(5, 2, true, is(&[1, 2, 4])), Some(1));
        assert_eq!(next_of(5, 1, true, is(&[1, 2, 4])), Some(4));
        assert_eq!(next_of(5, 2, false, is(&[2])), Some(2));
        assert_eq!(next_of(5, 9, true, is(&[3])), Some(3));
        assert_eq!(next_of(0, 0, false, is(&[0])), None);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_too_wide(text in "[a-z中é ]{0,60}", most in 2usize..20) {
            let lines = wrap(&text, most);
            prop_assert!(lines.iter().all(|l| width(l) <= most), "{:?}", lines);
            let plain = |s: &str| s.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert_eq!(plain(&lines.concat()), plain(&text));
            prop_assert!(width(&cut(&text, most)) <= most);
            prop_assert_eq!(width(&field(&text, most)), most);
            prop_assert!(width(&tail(&text, most)) <= most);
            let parts = broken(&text, most);
            prop_assert!(parts.iter().all(|l| width(l) <= most), "{:?}", parts);
            prop_assert_eq!(parts.concat(), text);
        }
    }
}
