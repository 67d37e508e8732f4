//! Files of a saved state, for programs.

use super::{SCHEMA, time};
use model::event::Lost;
use model::files::{FileListing, Got, LostPath, Named, Remarks};
use model::ports::UnixMicros;
use model::text::RawName;
use serde_json::{Value, json};

/// `ls`.
pub(in crate::cli) fn listed(l: &FileListing) -> Value {
    let found = l.found.as_ref();
    json!({
        "schema": SCHEMA,
        "snapshot": l.snapshot,
        "volumes": l.volumes,
        "volume": found.map(|f| &f.volume),
        "path": found.map(|f| f.path.display()),
        "entries": found.map(|f| f.entries.iter().map(entry).collect::<Vec<_>>()),
        "more": found.is_some_and(|f| f.more),
    })
}

fn entry(n: &Named) -> Value {
    let stamp = |t: Option<i64>| t.map(|t| time(UnixMicros(t.div_euclid(1000))));
    let Some(a) = &n.attributes else { return json!({ "name": n.name.display(), "kind": "damaged" }) };
    json!({
        "name": n.name.display(), "kind": a.kind, "mode": format!("{:04o}", a.mode & 0o7777), "owner": a.owner, "group": a.group,
        "links": a.links, "size": a.size, "modified": stamp(a.modified), "device": a.device,
        "target": a.target.as_ref().map(RawName::display),
        "xattrs": a.xattrs.iter().map(|(name, _)| name.display()).collect::<Vec<_>>(),
    })
}

/// `get`.
pub(in crate::cli) fn got(g: &Got) -> Value {
    let remarks = |r: &Remarks| {
        let first = r.first.iter().map(|(path, what)| json!({ "path": path.display(), "what": what }));
        json!({ "first": first.collect::<Vec<_>>(), "count": r.count })
    };
    json!({
        "schema": SCHEMA, "snapshot": g.snapshot, "volume": g.volume, "path": g.path.display(), "made": g.to.display(),
        "files": g.files, "directories": g.directories, "others": g.others, "written": g.written,
        "left_out": remarks(&g.left_out), "damaged": remarks(&g.damaged),
    })
}

/// What is lost of a volume.
pub(super) fn lost(l: &Lost) -> Value {
    let path = |p: &LostPath| json!({ "path": p.path.display(), "kind": p.kind });
    let files = l.files.as_ref().map(|f| {
        json!({
            "paths": f.paths.iter().map(path).collect::<Vec<_>>(),
            "count": f.count,
            "nameless": f.nameless,
            "metadata": f.metadata,
            "journal": f.journal,
            "unclaimed": f.unclaimed,
            "unseen": f.unseen,
        })
    });
    json!({
        "snapshot": l.snapshot, "of": l.of, "bytes": l.bytes, "places": l.places, "first": l.first,
        "files": files, "why_not": l.why_not,
    })
}
