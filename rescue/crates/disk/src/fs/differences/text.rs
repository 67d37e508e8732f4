//! Which lines of a text differ.
//!
//! By Eugene W. Myers, "An O(ND) Difference Algorithm and Its Variations" (1986), its greedy form, up to a bound; beyond that all
//! lines between the first and the last that differ are told.

use crate::fs::FileSystem;
use model::differences::{Difference, FileChange, Hunk, LineMark, MOST_LINES, TextChange};
use model::inspection::FileKind;
use model::text::{DisplayText, RawName};
use model::units::ByteOffset;

/// Longest file whose lines are compared.
const MOST_BYTES: u64 = 256 << 10;
/// Most bytes of all files whose lines are compared.
const MOST_IN_ALL: u64 = 32 << 20;
/// Longest part of a line that is told, in characters.
const MOST_COLUMNS: usize = 400;
/// Most lines of all files that are told.
const MOST_LINES_IN_ALL: usize = 20_000;
/// Lines around those that differ.
const AROUND: usize = 3;
/// Most lines that differ before no shortest way is looked for any more.
const MOST_STEPS: usize = 500;
/// `S_IROTH`.
const EVERYBODY_READS: u32 = 0o4;

/// Adds to each file which lines of it differ, or why that is not told.
pub(super) fn add(before: &dyn FileSystem, after: &dyn FileSystem, list: &mut [Difference]) {
    let (mut bytes, mut lines) = (MOST_IN_ALL, MOST_LINES_IN_ALL);
    for difference in list.iter_mut().filter(|d| d.kind == FileKind::File && d.change != FileChange::Attributes) {
        let from = match &difference.change {
            FileChange::Renamed { from } => from,
            _ => &difference.path,
        };
        let mut read = |fs: &dyn FileSystem, path: &RawName, there: bool| match there {
            true => content(fs, path, &mut bytes),
            false => Ok(Vec::new()),
        };
        let both = read(before, from, difference.before.is_some())
            .and_then(|was| Ok((was, read(after, &difference.path, difference.after.is_some())?)));
        let told = match both {
            Ok(_) if lines == 0 => TextChange::Untold("more lines differ than are told".into()),
            Ok((was, is)) => compare(&was, &is),
            Err(why) => TextChange::Untold(DisplayText::new(&why)),
        };
        if let TextChange::Lines { hunks, .. } = &told {
            lines = lines.saturating_sub(hunks.iter().map(|h| h.lines.len()).sum());
        }
        difference.text = Some(told);
    }
}

/// The content of a file of text that everybody may read, or why there is none.
fn content(fs: &dyn FileSystem, path: &RawName, left: &mut u64) -> Result<Vec<u8>, String> {
    let unread = |e: &dyn std::fmt::Display| format!("it cannot be read: {e}");
    let found = fs.find(&path.0).map_err(|e| unread(&e))?;
    let mode = found.and_then(|f| f.attributes).map_or(0, |a| a.mode);
    if mode & EVERYBODY_READS == 0 {
        return Err("not everybody may read it on the machine".to_owned());
    }
    let file = fs.open(&path.0).map_err(|e| unread(&e))?.ok_or("it is no plain file")?;
    let size = file.size().0;
    if size > MOST_BYTES {
        return Err(format!("it is longer than {} KiB", MOST_BYTES >> 10));
    }
    *left = left.checked_sub(size).ok_or("there are more such files than are read")?;
    let bytes = file.read_vec(ByteOffset(0), usize::try_from(size).unwrap_or(0)).map_err(|e| unread(&e))?;
    if bytes.contains(&0) { Err("it is no text".to_owned()) } else { Ok(bytes) }
}

fn compare(before: &[u8], after: &[u8]) -> TextChange {
    let (before, after) = (lines(before), lines(after));
    let marked = marked(&before, &after);
    let (hunks, more) = hunks(&marked);
    TextChange::Lines { hunks, more }
}

/// Lines without their ends. A last one that does not end counts like any other.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines
}

/// All lines of both, in an order in which those that are in both come once.
fn marked<'a>(before: &[&'a [u8]], after: &[&'a [u8]]) -> Vec<(LineMark, &'a [u8])> {
    let head = before.iter().zip(after).take_while(|(a, b)| a == b).count();
    let (b, a) = (&before[head..], &after[head..]);
    let tail = b.iter().rev().zip(a.iter().rev()).take_while(|(a, b)| a == b).count();
    let (b, a) = (&b[..b.len() - tail], &a[..a.len() - tail]);
    let mut out: Vec<(LineMark, &[u8])> = before[..head].iter().map(|l| (LineMark::Both, *l)).collect();
    match shortest(b, a) {
        Some(way) => out.extend(way),
        None => {
            out.extend(b.iter().map(|l| (LineMark::Before, *l)));
            out.extend(a.iter().map(|l| (LineMark::After, *l)));
        }
    }
    out.extend(before[before.len() - tail..].iter().map(|l| (LineMark::Both, *l)));
    out
}

/// The shortest way from one to the other; `None` where it has more than [`MOST_STEPS`] steps.
fn shortest<'a>(before: &[&'a [u8]], after: &[&'a [u8]]) -> Option<Vec<(LineMark, &'a [u8])>> {
    // Furthest places in `before` on each diagonal (place in `before` less place in `after`), one list for each count of steps.
    let most = (before.len() + after.len()).min(MOST_STEPS);
    let mut trace: Vec<Vec<usize>> = Vec::new();
    for steps in 0..=most {
        let mut row = Vec::with_capacity(steps + 1);
        for nth in 0..=steps {
            let mut x = match trace.last() {
                None => 0,
                Some(last) => came_from(last, nth, steps).1,
            };
            // The diagonal is 2 * nth - steps; where it leads out of either text, it is a dead end.
            let Some(mut y) = (x + steps).checked_sub(2 * nth) else {
                row.push(DEAD);
                continue;
            };
            if x == DEAD || x > before.len() || y > after.len() {
                row.push(DEAD);
                continue;
            }
            while x < before.len() && y < after.len() && before[x] == after[y] {
                (x, y) = (x + 1, y + 1);
            }
            row.push(x);
            if x == before.len() && y == after.len() {
                trace.push(row);
                return Some(way(&trace, before, after));
            }
        }
        trace.push(row);
    }
    None
}

/// A diagonal that leads nowhere.
const DEAD: usize = usize::MAX / 4;

/// Where diagonal `nth` of a row of `steps` steps is reached from: true where a line of `before` is passed, and the place then.
fn came_from(last: &[usize], nth: usize, steps: usize) -> (bool, usize) {
    let alive = |x: &usize| (*x != DEAD).then_some(*x);
    let right = nth.checked_sub(1).and_then(|n| last.get(n)).and_then(alive).map(|x| x + 1);
    let down = if nth < steps { last.get(nth).and_then(alive) } else { None };
    match (right, down) {
        (Some(right), Some(down)) if right > down => (true, right),
        (Some(right), None) => (true, right),
        (_, Some(down)) => (false, down),
        (None, None) => (false, DEAD),
    }
}

/// The way back through the trace, turned round.
fn way<'a>(trace: &[Vec<usize>], before: &[&'a [u8]], after: &[&'a [u8]]) -> Vec<(LineMark, &'a [u8])> {
    let mut out = Vec::new();
    let (mut x, mut y) = (before.len(), after.len());
    for steps in (1..trace.len()).rev() {
        // x - y = 2 * nth - steps
        let nth = (x + steps - y) / 2;
        let (passed, begun) = came_from(&trace[steps - 1], nth, steps);
        while x > begun {
            (x, y) = (x - 1, y - 1);
            out.push((LineMark::Both, before[x]));
        }
        if passed {
            x -= 1;
            out.push((LineMark::Before, before[x]));
        } else {
            y -= 1;
            out.push((LineMark::After, after[y]));
        }
    }
    while x > 0 {
        x -= 1;
        out.push((LineMark::Both, before[x]));
    }
    out.reverse();
    out
}

/// The parts that differ, with some lines around each.
fn hunks(marked: &[(LineMark, &[u8])]) -> (Vec<Hunk>, bool) {
    let differs: Vec<usize> =
        marked.iter().enumerate().filter(|(_, (mark, _))| *mark != LineMark::Both).map(|(at, _)| at).collect();
    let mut hunks: Vec<Hunk> = Vec::new();
    let mut left = MOST_LINES;
    // The place in `marked` up to which was told, and the numbers of the lines there.
    let (mut told, mut numbers) = (0, (1, 1));
    for at in differs {
        let from = at.saturating_sub(AROUND);
        if from > told || hunks.is_empty() {
            for (mark, _) in &marked[told..from] {
                passed(&mut numbers, *mark);
            }
            told = from;
            hunks.push(Hunk { before: numbers.0, after: numbers.1, lines: Vec::new() });
        }
        let Some(hunk) = hunks.last_mut() else { break };
        let end = (at + AROUND + 1).min(marked.len());
        for (mark, line) in &marked[told.min(end)..end] {
            if left == 0 {
                return (hunks, true);
            }
            left -= 1;
            passed(&mut numbers, *mark);
            let text = DisplayText::from_bytes(line);
            hunk.lines.push((*mark, DisplayText::new(&text.shortened(MOST_COLUMNS))));
        }
        told = told.max(end);
    }
    (hunks, false)
}

fn passed((before, after): &mut (u32, u32), mark: LineMark) {
    *before += u32::from(mark != LineMark::After);
    *after += u32::from(mark != LineMark::Before);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(before: &str, after: &str) -> String {
        let TextChange::Lines { hunks, .. } = compare(before.as_bytes(), after.as_bytes()) else { panic!("no text") };
        let mut out = String::new();
        for hunk in hunks {
            out.push_str(&format!("@{},{}\n", hunk.before, hunk.after));
            for (mark, line) in &hunk.lines {
                let mark = match mark {
                    LineMark::Both => ' ',
                    LineMark::Before => '-',
                    LineMark::After => '+',
                };
                out.push_str(&format!("{mark}{line}\n"));
            }
        }
        out
    }

    #[test]
    fn what_differs_is_told_with_what_is_around_it() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n11\n12\n13\n";
        let after = "1\n2\n3\n4\nfive\n6\n7\n8\n9\n10\n11\n12\nafter\n13\n";
        assert_eq!(
            shown(before, after),
            "@2,2\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n@10,10\n 10\n 11\n 12\n+after\n 13\n"
        );
        assert_eq!(shown(before, before), "");
        assert_eq!(shown("", "a\nb"), "@1,1\n+a\n+b\n");
        assert_eq!(shown("a\x1b[2J\n", ""), "@1,1\n-a\\u{1b}[2J\n");
    }

    #[test]
    fn what_is_told_of_one_file_is_bounded() {
        let many: String = (0..5000).map(|n| format!("{n}\n")).collect();
        let other: String = (0..5000).map(|n| format!("x{n}\n")).collect();
        let TextChange::Lines { hunks, more } = compare(many.as_bytes(), other.as_bytes()) else { panic!("no text") };
        assert!(more);
        assert_eq!(hunks.iter().map(|h| h.lines.len()).sum::<usize>(), MOST_LINES);
    }

    /// The length of the longest common subsequence, by the table.
    fn longest(a: &[&[u8]], b: &[&[u8]]) -> usize {
        let mut row = vec![0; b.len() + 1];
        for x in a {
            let mut corner = 0;
            for (n, y) in b.iter().enumerate() {
                let above = row[n + 1];
                row[n + 1] = if x == y { corner + 1 } else { above.max(row[n]) };
                corner = above;
            }
        }
        row[b.len()]
    }

    proptest! {
        /// Each text is made of the lines that are told to be its own, and no more lines differ than must.
        #[test]
        fn both_texts_come_out_and_the_way_is_the_shortest(a in prop::collection::vec(0u8..4, 0..40), b in prop::collection::vec(0u8..4, 0..40)) {
            let text = |v: &[u8]| v.iter().map(|n| vec![b'a' + n]).collect::<Vec<_>>();
            let (a, b) = (text(&a), text(&b));
            let (a, b): (Vec<&[u8]>, Vec<&[u8]>) = (a.iter().map(|l| &l[..]).collect(), b.iter().map(|l| &l[..]).collect());
            let marked = marked(&a, &b);
            let of = |not: LineMark| marked.iter().filter(|(m, _)| *m != not).map(|(_, l)| *l).collect::<Vec<_>>();
            prop_assert_eq!(of(LineMark::After), a.clone());
            prop_assert_eq!(of(LineMark::Before), b.clone());
            let same = marked.iter().filter(|(m, _)| *m == LineMark::Both).count();
            prop_assert_eq!(same, longest(&a, &b));
        }
    }
}
