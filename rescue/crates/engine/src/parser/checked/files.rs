//! Files: what is lost, listed, laid out, and what differs.

use super::{MOST_TEXT, check, refuse};
use crate::parser::{AboutFiles, Asked, MOST_LISTED, MOST_PIECES, OfFiles, ParserError};
use model::browse::{self, FileHead, MOST_WIDENED};
use model::differences::{
    Difference, FileChange, FsDifferences, MOST_GROUPS, MOST_LARGEST, MOST_LINES, MOST_NOTABLE, MOST_PACKAGES,
    TextChange,
};
use model::files::{LONGEST_PATH, Layout, LostFiles, MOST_PATHS, Named};
use model::inspection::FileKind;
use model::units::{ByteLen, Extent, ExtentSet};

/// The longest name: 255 UTF-16 units of a FAT, each three bytes at most.
const LONGEST_NAME: usize = 765;
/// Most bytes of the attributes of a file, names included.
const MOST_XATTRS: usize = 2 << 20;
/// Most bytes of a compressed part of a file: what one extent of btrfs stands for.
const MOST_UNPACKED: usize = 128 << 10;

/// What is lost: bounded, and no more of it than there is.
pub(in crate::parser) fn losses(files: LostFiles, lost: &ExtentSet) -> Result<LostFiles, ParserError> {
    check(files.paths.len() <= MOST_PATHS, || format!("{} paths", files.paths.len()))?;
    check(files.paths.len() as u64 <= files.count, || format!("{} paths of {}", files.paths.len(), files.count))?;
    check(files.paths.iter().all(|p| p.path.0.len() <= LONGEST_PATH), || "a path without end".to_owned())?;
    check(files.unclaimed <= lost.total(), || format!("{} of {} unclaimed", files.unclaimed, lost.total()))?;
    let unseen = files.unseen.as_ref().map_or(0, |why| why.as_str().len());
    check(unseen <= MOST_TEXT, || "a reason without end".to_owned())?;
    Ok(files)
}

/// What was asked of the files of a volume of `size` bytes: names that are names, pieces that lie on it and follow each other.
pub(in crate::parser) fn files(told: OfFiles, ask: &AboutFiles, size: ByteLen) -> Result<OfFiles, ParserError> {
    match (&told, ask) {
        (OfFiles::Found(found), AboutFiles::Find(_)) => found.iter().try_for_each(|n| named(n, n.name.0.is_empty()))?,
        (OfFiles::Listed(list), AboutFiles::List(..)) => {
            check(list.len() <= MOST_LISTED, || format!("{} names", list.len()))?;
            list.iter().try_for_each(|n| named(n, false))?;
        }
        (OfFiles::Lies(Layout::Within(bytes)), AboutFiles::Layout(..)) => {
            check(bytes.0.len() <= MOST_TEXT, || format!("{} bytes within an inode", bytes.0.len()))?;
        }
        (OfFiles::Lies(Layout::Pieces { pieces, end }), AboutFiles::Layout(_, from)) => {
            check(pieces.len() <= MOST_PIECES, || format!("{} pieces", pieces.len()))?;
            let mut at = *from;
            for (start, piece) in pieces {
                let inside = Extent::whole(size).contains(*piece) && *start >= at;
                let next = start.checked_add(piece.len()).filter(|next| inside && next <= end);
                at = next.ok_or_else(|| ParserError::new("the parser's answer was refused: a piece out of place"))?;
            }
        }
        (OfFiles::Lies(Layout::Unpacked { from, bytes, end }), AboutFiles::Layout(_, asked)) => {
            let len = end.0.saturating_sub(from.0);
            let fits = bytes.0.len() <= MOST_UNPACKED && bytes.0.len() as u64 <= len && len > 0;
            check(fits && from == asked, || format!("{} bytes from {} to {}", bytes.0.len(), from.0, end.0))?;
        }
        (OfFiles::Begins(head), AboutFiles::Head(_)) => head.iter().try_for_each(begins)?,
        _ => return refuse("it is about something else"),
    }
    Ok(told)
}

/// How a file begins: no more of it than is shown, in no more lines and characters than that can be.
fn begins(head: &FileHead) -> Result<(), ParserError> {
    let most = browse::MOST_TEXT.min(head.size);
    check(head.read <= most, || format!("{} of a file of {}", head.read, head.size))?;
    let lines = head.lines.as_deref().unwrap_or_default();
    let len = lines.iter().map(|line| line.as_str().len()).fold(0, usize::saturating_add) as u64;
    check(lines.len() as u64 <= head.read.0 && len <= MOST_WIDENED as u64 * head.read.0, || {
        format!("{} lines, {len} bytes long, of {}", lines.len(), head.read)
    })
}

/// What differs: lists and texts that are bounded, paths that are paths.
pub(in crate::parser) fn differences(found: FsDifferences, asked: &Asked) -> Result<FsDifferences, ParserError> {
    check(found.notable.len() <= MOST_NOTABLE && found.largest.len() <= MOST_LARGEST, || {
        format!("{} and {} files", found.notable.len(), found.largest.len())
    })?;
    check(found.groups.len() <= MOST_GROUPS, || format!("{} groups", found.groups.len()))?;
    let path = |path: &[u8]| path.len() <= LONGEST_PATH && path.starts_with(b"/");
    let groups = found.groups.iter().all(|g| path(&g.path.0));
    check(groups, || "a group that has no path".to_owned())?;
    for d in found.notable.iter().chain(&found.largest) {
        let from = match &d.change {
            FileChange::Renamed { from } => path(&from.0),
            _ => true,
        };
        check(path(&d.path.0) && from, || "a file that has no path".to_owned())?;
        text(d, asked.text)?;
    }
    let remarks = &found.unseen.first;
    check(remarks.len() <= MOST_PATHS, || format!("{} remarks", remarks.len()))?;
    let short = remarks.iter().all(|(path, why)| path.0.len() <= LONGEST_PATH && why.as_str().len() <= MOST_TEXT);
    check(short, || "a remark without end".to_owned())?;
    match &found.packages {
        None => {}
        Some(_) if asked.packages.is_none() => return refuse("packages that were not asked for"),
        Some(Err(why)) => check(why.as_str().len() <= MOST_TEXT, || "a reason without end".to_owned())?,
        Some(Ok(packages)) => {
            check(packages.changes.len() <= MOST_PACKAGES, || format!("{} packages", packages.changes.len()))?;
            for p in &packages.changes {
                let texts = [Some(&p.name), p.before.as_ref(), p.after.as_ref()];
                let len: usize = texts.into_iter().flatten().map(|t| t.as_str().len()).sum();
                check(len <= MOST_TEXT, || "a package without end".to_owned())?;
            }
        }
    }
    Ok(found)
}

fn text(d: &Difference, asked: bool) -> Result<(), ParserError> {
    let Some(told) = &d.text else { return Ok(()) };
    check(asked, || "text that was not asked for".to_owned())?;
    match told {
        TextChange::Untold(why) => check(why.as_str().len() <= MOST_TEXT, || "a reason without end".to_owned()),
        TextChange::Lines { hunks, .. } => {
            let mut lines = hunks.iter().flat_map(|h| &h.lines);
            let count = hunks.len().max(lines.clone().count());
            check(count <= MOST_LINES, || format!("{count} lines"))?;
            check(lines.all(|(_, line)| line.as_str().len() <= MOST_TEXT), || "a line without end".to_owned())
        }
    }
}

/// Something with a name: one that can stand in a directory, or none for the root.
fn named(named: &Named, root: bool) -> Result<(), ParserError> {
    let name = &named.name.0;
    let plain = !name.is_empty() && name.len() <= LONGEST_NAME && !name.iter().any(|b| matches!(b, b'/' | 0));
    check(root || plain && name != b"." && name != b"..", || format!("a name like {}", named.name.display()))?;
    let Some(a) = &named.attributes else { return Ok(()) };
    let target = a.target.as_ref().map_or(0, |t| t.0.len());
    check(target <= LONGEST_PATH && (a.kind == FileKind::Symlink) == a.target.is_some(), || {
        "a link that leads nowhere".to_owned()
    })?;
    let values: usize = a.xattrs.iter().map(|(name, value)| name.0.len() + value.0.len()).sum();
    check(values <= MOST_XATTRS, || format!("{values} bytes of attributes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::differences::{ComparedBy, Hunk, LineMark, PackageDifferences};

    #[test]
    fn differences_are_bounded_and_what_was_asked_for() {
        let difference = |path: &str, text: Option<TextChange>| Difference {
            path: path.into(),
            kind: FileKind::File,
            change: FileChange::Created,
            before: None,
            after: None,
            text,
        };
        let of = |list: Vec<Difference>| FsDifferences { notable: list, ..FsDifferences::none(ComparedBy::Records) };
        let (asked, text) = (Asked::default(), Asked { text: true, ..Asked::default() });
        let lines = |n: usize| {
            let hunks = vec![Hunk { before: 1, after: 1, lines: vec![(LineMark::After, "x".into()); n] }];
            Some(TextChange::Lines { hunks, more: false })
        };
        assert!(differences(of(vec![difference("/a", None)]), &asked).is_ok());
        assert!(differences(of(vec![difference("a", None)]), &asked).is_err());
        assert!(differences(of(vec![difference("/a", None); MOST_NOTABLE + 1]), &asked).is_err());
        assert!(differences(of(vec![difference("/a", lines(1))]), &asked).is_err());
        assert!(differences(of(vec![difference("/a", lines(MOST_LINES))]), &text).is_ok());
        assert!(differences(of(vec![difference("/a", lines(MOST_LINES + 1))]), &text).is_err());
        let packages = FsDifferences { packages: Some(Ok(PackageDifferences::default())), ..of(Vec::new()) };
        assert!(differences(packages.clone(), &asked).is_err());
        assert!(differences(packages, &Asked { packages: Some("/x".into()), ..asked }).is_ok());
    }
}
