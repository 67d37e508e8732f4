//! Files of a snapshot shown part by part, as somebody looks through them on a screen.

use super::{MOST, Place, below, mounts, volumes};
use crate::parser::{Parser, ParserError};
use crate::run::{Observer, Stop};
use model::browse::{Browse, Folder, MOST_SHOWN, MOST_TEXT, Part, Shown, ShownFile};
use model::command::ExitCode;
use model::event::Progress;
use model::files::{FileId, FilePath, LONGEST_PATH, Layout, Named};
use model::id::{SnapshotId, VolumePath};
use model::inspection::FileKind;
use model::snapshot::Manifest;
use model::text::{DisplayText, RawName};
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::{Arc, Mutex, PoisonError};
use store::Store;

/// Most links on the way that are followed, as the kernel has it (`MAXSYMLINKS`).
const MOST_LINKS: usize = 40;

/// The folder that was shown last, in order: a large one takes a while to read, and is asked about part by part.
#[derive(Default)]
pub(crate) struct Shelf(Mutex<Option<Arc<Kept>>>);

struct Kept {
    snapshot: SnapshotId,
    volume: VolumePath,
    path: RawName,
    /// By name.
    entries: Vec<Named>,
    more: bool,
}

impl Shelf {
    /// Keeps nothing any more: other work needs the memory.
    pub(crate) fn clear(&self) {
        self.put(None);
    }

    fn put(&self, kept: Option<Arc<Kept>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = kept;
    }

    fn of(&self, place: &Place<'_>) -> Option<Arc<Kept>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.filter(|k| k.snapshot == place.snapshot && k.volume == place.volume && k.path == place.path)
    }
}

/// Shows a part of a snapshot's files.
///
/// # Errors
/// [`Stop`] where there is no such snapshot or place, it cannot be read, or nobody wants it any more.
pub(crate) fn browse(
    store: &Store,
    parser: &dyn Parser,
    (shelf, observer): (&Shelf, &dyn Observer),
    ask: &Browse,
) -> Result<Shown, Stop> {
    let manifest = store.manifest(ask.snapshot)?;
    let Some(at) = &ask.at else { return Ok(Shown::Volumes(volumes(&manifest))) };
    let saved = (ask.snapshot, &manifest);
    let place = Place::of(store, parser, saved, at)?;
    if let Some(kept) = shelf.of(&place) {
        return Ok(Shown::Folder(folder(&kept, &ask.part)));
    }
    let (place, top) = followed(store, parser, saved, place)?;
    match top.attributes.as_ref().map(|a| a.kind) {
        Some(FileKind::Directory) => {
            let kept = match shelf.of(&place) {
                Some(kept) => kept,
                None => Arc::new(read(&place, top.file, observer)?),
            };
            shelf.put(Some(kept.clone()));
            Ok(Shown::Folder(folder(&kept, &ask.part)))
        }
        Some(FileKind::File) => file(&place, &top).map(Shown::File),
        other => {
            let what = match other {
                Some(_) => "a device, a pipe or a socket: there is nothing in it to show",
                None => "damaged: nothing that is kept of it can be read",
            };
            Err(Stop::failed(ExitCode::Refused, format!("{} is {what}", place.path.display()), ""))
        }
    }
}

/// The place that links lead to, and what stands there.
fn followed<'a>(
    store: &Store,
    parser: &'a dyn Parser,
    saved: (SnapshotId, &Manifest),
    from: Place<'a>,
) -> Result<(Place<'a>, Named), Stop> {
    let mut place = from;
    for _ in 0..MOST_LINKS {
        let top = place.top()?;
        let Some(target) = top.attributes.as_ref().and_then(|a| a.target.as_ref()) else { return Ok((place, top)) };
        place = Place::of(store, parser, saved, &led(&place, saved.1, &target.0))?;
    }
    Err(Stop::failed(ExitCode::Failed, format!("{} leads from link to link", place.path.display()), ""))
}

/// Where a link at a place leads: in the system where that has the volume, else on the volume alone. Names are taken as they are
/// written.
fn led(place: &Place<'_>, manifest: &Manifest, target: &[u8]) -> FilePath {
    let own = place.path.0.iter().rposition(|b| *b == b'/').map_or(&[][..], |end| &place.path.0[..end]);
    let known = mounts(manifest).into_iter().filter(|m| *m.volume == place.volume);
    let known = known.filter_map(|m| Some((m.top.len(), m.mount, below(own, m.top)?)));
    let mounted = known.max_by_key(|(len, ..)| *len);
    let (above, own) = mounted.map_or((&[][..], own), |(_, mount, own)| (mount.as_bytes(), own));
    let whole = match target.first() {
        Some(b'/') => target.to_vec(),
        _ => [above, own, b"/", target].concat(),
    };
    let volume = mounted.is_none().then(|| place.volume.clone());
    FilePath { volume, path: RawName(plain(&whole)) }
}

/// A path without `.` and `..`.
fn plain(path: &[u8]) -> Vec<u8> {
    let mut names: Vec<&[u8]> = Vec::new();
    for name in path.split(|b| *b == b'/') {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let mut out = names.iter().flat_map(|name| [&b"/"[..], name].concat()).collect::<Vec<u8>>();
    out.truncate(LONGEST_PATH);
    if out.is_empty() { b"/".to_vec() } else { out }
}

/// Reads a folder. What is kept of a large one is what a screen shows.
fn read(place: &Place<'_>, dir: FileId, observer: &dyn Observer) -> Result<Kept, Stop> {
    let (mut entries, mut more) = (Vec::new(), false);
    loop {
        if observer.cancelled() {
            return Err(Stop::Cancelled("nobody waits for it any more".into()));
        }
        let (some, last) = place.entries_behind(dir, entries.len()).map_err(|e| place.unread(&place.path.0, &e))?;
        entries.extend(some.into_iter().map(without_xattrs));
        if last {
            break;
        }
        if entries.len() >= MOST {
            more = true;
            break;
        }
        observer.progress(far(entries.len()));
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Kept { snapshot: place.snapshot, volume: place.volume.clone(), path: place.path.clone(), entries, more })
}

fn without_xattrs(mut entry: Named) -> Named {
    if let Some(a) = &mut entry.attributes {
        a.xattrs = Vec::new();
    }
    entry
}

fn far(names: usize) -> Progress {
    Progress {
        phase: DisplayText::new(&format!("{names} names so far")),
        step: (1, 1),
        done: ByteLen::ZERO,
        total: ByteLen::ZERO,
        rate: ByteLen::ZERO,
        remaining: None,
        cost: None,
        fenced: false,
    }
}

/// The part of a folder that is asked for.
fn folder(kept: &Kept, part: &Part) -> Folder {
    let (all, count) = (&kept.entries, kept.entries.len());
    let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(count.saturating_sub(1));
    let chosen = match part {
        Part::Around(_) => None,
        Part::Named(name) => all.binary_search_by(|e| e.name.cmp(name)).ok(),
        Part::Containing { text, from, back } => {
            let has = |n: &usize| contains(&all[*n].name.0, &text.0);
            let from = number(*from);
            match back {
                false => (from..count).chain(0..from.min(count)).find(has),
                true => {
                    let here = count.min(from + 1);
                    (0..here).rev().chain((here..count).rev()).find(has)
                }
            }
        }
    };
    let middle = match (chosen, part) {
        (Some(n), _) => n,
        (None, Part::Around(n) | Part::Containing { from: n, .. }) => number(*n),
        (None, Part::Named(_)) => 0,
    };
    let from = middle.saturating_sub(MOST_SHOWN / 2).min(count.saturating_sub(MOST_SHOWN));
    Folder {
        volume: kept.volume.clone(),
        path: kept.path.clone(),
        count: count as u64,
        more: kept.more,
        from: from as u64,
        entries: all.iter().skip(from).take(MOST_SHOWN).cloned().collect(),
        chosen: chosen.map(|n| n as u64),
    }
}

/// True where a name has a text in it, small letters and capitals of ASCII taken for the same.
fn contains(name: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && name.windows(text.len()).any(|part| part.eq_ignore_ascii_case(text))
}

/// How a file begins.
fn file(place: &Place<'_>, top: &Named) -> Result<ShownFile, Stop> {
    let unread = |e: ParserError| place.unread(&place.path.0, &e);
    let head = place.head().map_err(unread)?;
    let head = head.ok_or_else(|| {
        let says = format!("{} is no regular file", place.path.display());
        Stop::failed(ExitCode::Damage, says, "")
    })?;
    let mut damaged = false;
    if !place.unreadable.is_empty()
        && let Layout::Pieces { pieces, .. } = place.layout(top.file, ByteOffset(0)).map_err(unread)?
    {
        let lost = |piece: &Extent| !place.unreadable.clip(*piece).is_empty();
        damaged = pieces.iter().any(|(start, piece)| start.0 < MOST_TEXT.0 && lost(piece));
    }
    Ok(ShownFile { volume: place.volume.clone(), path: place.path.clone(), head, damaged })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(count: usize) -> Kept {
        let named = |n: usize| Named {
            name: RawName(format!("file {n:06}").into_bytes()),
            file: FileId(n as u64),
            attributes: None,
        };
        let path = RawName::from("/");
        let entries = (0..count).map(named).collect();
        Kept {
            snapshot: SnapshotId(model::id::Digest([0; 32])),
            volume: VolumePath::whole(model::id::DiskNo(0)),
            path,
            entries,
            more: false,
        }
    }

    #[test]
    fn a_part_lies_around_what_is_asked_for() {
        let kept = kept(100_000);
        let around = |part: Part| {
            let f = folder(&kept, &part);
            assert_eq!((f.count, f.entries.len()), (100_000, MOST_SHOWN));
            (f.from, f.chosen)
        };
        assert_eq!(around(Part::Around(0)), (0, None));
        assert_eq!(around(Part::Around(u64::MAX)), (100_000 - MOST_SHOWN as u64, None));
        assert_eq!(around(Part::Named("file 050000".into())), (49_744, Some(50_000)));
        assert_eq!(around(Part::Named("nothing".into())), (0, None));
        let containing = |text: &str, from: u64, back: bool| {
            around(Part::Containing { text: text.into(), from, back }).1.unwrap_or(u64::MAX)
        };
        assert_eq!(containing("FILE 0999", 0, false), 99_900);
        assert_eq!(containing("999", 1000, false), 1999);
        assert_eq!(containing("999", 999, true), 999);
        assert_eq!(containing("0001", 5000, false), 10_001);
        assert_eq!(containing("000001", 5000, false), 1, "and begins again at the start");
        assert_eq!(containing("099999", 5, true), 99_999);
        assert_eq!(containing("nothing", 7, false), u64::MAX);
    }

    #[test]
    fn an_empty_folder_has_no_part() {
        for part in [
            Part::Around(7),
            Part::Named("x".into()),
            Part::Containing { text: "x".into(), from: 3, back: true },
            Part::Containing { text: "x".into(), from: 3, back: false },
        ] {
            let f = folder(&kept(0), &part);
            assert_eq!((f.count, f.from, f.entries.len(), f.chosen), (0, 0, 0, None));
        }
    }

    #[test]
    fn paths_are_made_plain() {
        assert_eq!(plain(b"/usr/./bin/../lib//x"), b"/usr/lib/x");
        assert_eq!(plain(b"/../.."), b"/");
    }
}
