//! What differs between two states, for programs.

use super::SCHEMA;
use model::differences::{
    Counts, Difference, Differences, FileChange, FsDifferences, Group, Hunk, LineMark, Losses, PackageDifference,
    PackageDifferences, Tally, TextChange, VolumeDifferences,
};
use model::text::{DisplayText, RawName};
use serde_json::{Value, json};

/// `diff`.
pub(in crate::cli) fn compared(d: &Differences) -> Value {
    json!({ "schema": SCHEMA, "before": d.before, "after": d.after, "volumes": volumes(d), "counts": counts(&d.counts()) })
}

/// What a plan loses.
pub(super) fn losses(losses: &Losses) -> Value {
    let (told, why_not) = match &losses.differences {
        Ok(d) => (Some(d), None),
        Err(why) => (None, Some(why)),
    };
    json!({
        "volumes": told.map(volumes),
        "counts": told.map(|d| counts(&d.counts())),
        "written_since": told.map(|d| d.counts().lost()),
        "returning": told.map(|d| d.counts().returning()),
        "why_not": why_not,
        "seconds": losses.seconds.map(|(least, most)| json!({ "at_least": least, "at_most": most })),
    })
}

fn volumes(d: &Differences) -> Vec<Value> {
    d.volumes.iter().map(volume).collect()
}

fn volume(v: &VolumeDifferences) -> Value {
    let (found, why_not) = match &v.files {
        Ok(found) => (Some(found), None),
        Err(why) => (None, Some(why)),
    };
    json!({
        "before": v.before, "after": v.after, "fs": v.fs, "mount": v.mount,
        "files": found.map(|f| files(v, f)),
        "packages": found.and_then(|f| f.packages.as_ref()).map(packages),
        "why_not": why_not,
    })
}

fn files(v: &VolumeDifferences, f: &FsDifferences) -> Value {
    let unseen = f.unseen.first.iter().map(|(path, why)| json!({ "path": path.display(), "why": why }));
    let group = |g: &Group| json!({ "path": g.path.display(), "counts": counts(&g.counts) });
    json!({
        "by": f.by,
        "counts": counts(&f.counts),
        "notable": f.notable.iter().map(|d| file(v, d)).collect::<Vec<_>>(),
        "notable_counts": counts(&f.notable_counts),
        "groups": f.groups.iter().map(group).collect::<Vec<_>>(),
        "largest": f.largest.iter().map(|d| file(v, d)).collect::<Vec<_>>(),
        "unseen": { "first": unseen.collect::<Vec<_>>(), "count": f.unseen.count },
    })
}

fn tally(t: &Tally) -> Value {
    json!({ "count": t.count, "bytes": t.bytes })
}

fn counts(c: &Counts) -> Value {
    json!({
        "created": tally(&c.created),
        "changed": { "count": c.changed.count, "bytes": c.changed.bytes, "bytes_before": c.changed_from },
        "deleted": tally(&c.deleted),
        "renamed": c.renamed,
        "attributes": c.attributes,
    })
}

fn file(v: &VolumeDifferences, d: &Difference) -> Value {
    let (change, from) = match &d.change {
        FileChange::Created => ("created", None),
        FileChange::Changed => ("changed", None),
        FileChange::Attributes => ("attributes", None),
        FileChange::Deleted => ("deleted", None),
        FileChange::Renamed { from } => ("renamed", Some(RawName::display(from))),
    };
    json!({
        "path": d.path.display(), "place": v.place(&d.path), "kind": d.kind, "change": change, "from": from,
        "before": d.before, "after": d.after, "text": d.text.as_ref().map(text),
    })
}

fn text(t: &TextChange) -> Value {
    match t {
        TextChange::Untold(why) => json!({ "hunks": null, "more": false, "why_not": why }),
        TextChange::Lines { hunks, more } => {
            let line = |(mark, line): &(LineMark, DisplayText)| json!({ "in": mark, "line": line });
            let hunk = |h: &Hunk| json!({ "before": h.before, "after": h.after, "lines": h.lines.iter().map(line).collect::<Vec<_>>() });
            json!({ "hunks": hunks.iter().map(hunk).collect::<Vec<_>>(), "more": more, "why_not": null })
        }
    }
}

fn packages(p: &Result<PackageDifferences, DisplayText>) -> Value {
    let one =
        |p: &PackageDifference| json!({ "name": p.name, "change": p.change, "before": p.before, "after": p.after });
    match p {
        Ok(p) => {
            json!({ "changes": p.changes.iter().map(one).collect::<Vec<_>>(), "count": p.count, "why_not": null })
        }
        Err(why) => json!({ "changes": [], "count": null, "why_not": why }),
    }
}
