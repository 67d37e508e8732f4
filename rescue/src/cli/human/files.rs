//! Files of a saved state, for people.

use super::{count, line_of, paragraph};
use crate::tui::words;
use model::files::{FileListing, Got, Named, Remarks};
use model::ports::UnixMicros;

/// Remarks that are told to people.
const MOST_REMARKS: usize = 20;

/// `ls`.
pub(in crate::cli) fn listed(listing: &FileListing) -> String {
    let mut out = String::new();
    let Some(found) = &listing.found else {
        line_of(&mut out, format_args!("snapshot {} holds:", words::short(listing.snapshot)));
        for v in &listing.volumes {
            let mount = v.mount.as_deref().unwrap_or("-");
            let so = if v.readable { "" } else { "  (its files are not read by this version)" };
            line_of(&mut out, format_args!("  {:<8}  {:<8}  {mount}{so}", v.volume.to_string(), v.fs));
        }
        return out;
    };
    for entry in &found.entries {
        line_of(&mut out, format_args!("{}", line(entry, &found.path.display().to_string())));
    }
    if found.more {
        out.push_str("... and more: it has more entries than are listed\n");
    }
    out
}

/// As `ls -ln` has it.
fn line(entry: &Named, path: &str) -> String {
    let name = match entry.name.0.is_empty() {
        true => path.to_owned(),
        false => entry.name.display().to_string(),
    };
    let Some(a) = &entry.attributes else { return format!("?????????? DAMAGED  {name}") };
    let time = a.modified.map_or_else(|| "-".to_owned(), |t| words::time(UnixMicros(t.div_euclid(1000))));
    let size = match a.device {
        Some((major, minor)) => format!("{major}, {minor}"),
        None => a.size.0.to_string(),
    };
    let target = a.target.as_ref().map(|t| format!(" -> {}", t.display())).unwrap_or_default();
    let more = if a.xattrs.is_empty() { ' ' } else { '+' };
    format!(
        "{}{more} {:>3} {:>5} {:>5} {size:>12} {time:<16} {name}{target}",
        words::mode(a.kind, a.mode),
        a.links,
        a.owner,
        a.group
    )
}

/// `get`.
pub(in crate::cli) fn got(g: &Got) -> String {
    let mut out = String::new();
    remarks(&mut out, "DAMAGED: ", &g.damaged, g);
    remarks(&mut out, "left out: ", &g.left_out, g);
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let what = format!(
        "made {}: {}, {}, {} others; {} written",
        g.to.display(),
        count(number(g.files), "file"),
        if g.directories == 1 { "1 directory".to_owned() } else { format!("{} directories", g.directories) },
        g.others,
        g.written
    );
    paragraph(&mut out, "", &what);
    out
}

fn remarks(out: &mut String, head: &str, remarks: &Remarks, got: &Got) {
    for (path, what) in remarks.first.iter().take(MOST_REMARKS) {
        let path = if path.0.is_empty() { got.path.display() } else { path.display() };
        paragraph(out, head, &format!("{path}: {what}"));
    }
    let more = remarks.count.saturating_sub(remarks.first.len().min(MOST_REMARKS) as u64);
    if more > 0 {
        paragraph(out, head, &format!("and {more} more"));
    }
}
