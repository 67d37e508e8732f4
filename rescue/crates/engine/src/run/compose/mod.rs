//! Composing a state that was never there: a saved volume with files of another state put into it.
//!
//! ```text
//!  a saved volume (store) + overlay (memory, scratch file)
//!     -> a file that the engine answers for (FUSE) -> a block device (loop) -> the kernel's ext4, mounted in no place
//!     -> files are put in the place of those of the same name, by a process of their own -> unmounted
//!     -> what was written to is saved over the volume's map: a snapshot like any other
//! ```
//!
//! An EFI system partition is not mounted for it ([`esp`]).
//!
//! So nothing of a write-back is different: it goes to that snapshot. The target itself is never mounted, nor read here: what files are
//! taken from it come from the undo snapshot.

mod esp;
mod growing;
mod orders;
mod role;
mod saving;
mod tree;

pub(crate) use esp::Esp;
pub(crate) use growing::{grow, takes as growing_takes};
pub use role::serve;

use super::export::layout::layouts;
use super::files::{MakeIn, Place, copy};
use super::overlay::{Overlay, Room};
use super::saved_disk::{self, Trouble};
use super::{Context, Meter, Stop};
use model::command::{ExitCode, Failure};
use model::files::{Attributes, FilePath, Got, Named};
use model::id::{SnapshotId, VolumePath};
use model::inspection::{Content, FileKind};
use model::ports::ReadAt;
use model::snapshot::{Manifest, Purpose};
use model::text::{DisplayText, RawName};
use model::units::{ByteLen, Extent};
use std::io;
use std::path::Path;
use std::sync::Arc;
use sys::new_tree::Marks;
use tree::{Mounted, Remote};

/// What is written beside a volume is kept in memory up to so much.
const IN_MEMORY: ByteLen = ByteLen(64 << 20);
const NOTHING: &str = "nothing was written to the disks";

/// One place that files are put to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The volume of the base, as its snapshot names it, and the names that lead to the place on it.
    pub(crate) to: (VolumePath, Vec<Vec<u8>>),
    /// Likewise in the snapshot that the files are taken from.
    pub(crate) from: (VolumePath, Vec<Vec<u8>>),
}

/// What is composed.
pub(crate) struct Order<'a> {
    /// The snapshot that files are put into.
    pub(crate) base: (SnapshotId, &'a Manifest),
    /// The snapshot that they are taken from.
    pub(crate) source: (SnapshotId, &'a Manifest),
    pub(crate) pieces: &'a [Piece],
    /// EFI system partitions on which something is kept as the source has it.
    pub(crate) esps: &'a [Esp],
    /// The volumes of the base that the new snapshot holds.
    pub(crate) volumes: &'a [VolumePath],
    /// Most bytes that are written beside the base, and where they are put aside.
    pub(crate) most: ByteLen,
    pub(crate) scratch: &'a Path,
    pub(crate) steps: (u32, u32),
}

/// A volume that was composed.
struct Made {
    /// In the snapshot it was composed over.
    base: VolumePath,
    /// What was on it there.
    content: Content,
    overlay: Arc<Overlay>,
}

/// The names of a path from the root of a volume; `None` where there are none, or it leads back.
pub(crate) fn names(path: &[u8]) -> Option<Vec<Vec<u8>>> {
    let names: Vec<Vec<u8>> =
        path.split(|b| *b == b'/').filter(|n| !matches!(n, [] | [b'.'])).map(<[u8]>::to_vec).collect();
    (!names.is_empty() && names.iter().all(|n| n != b"..")).then_some(names)
}

/// The path of names.
pub(crate) fn path(names: &[Vec<u8>]) -> RawName {
    RawName([&b"/"[..], &names.join(&b'/')].concat())
}

/// Composes a snapshot and saves it. Nothing of the target is written, whatever comes of it.
///
/// # Errors
/// [`Stop`], which says so.
pub(crate) fn compose(cx: &Context<'_>, order: &Order<'_>) -> Result<(SnapshotId, Manifest), Stop> {
    composed(cx, order).map_err(untouched)
}

/// Whatever came of it, the disks are as they were.
fn untouched(stop: Stop) -> Stop {
    match stop {
        Stop::Cancelled(_) => Stop::Cancelled("stopped; nothing was written to the disks".into()),
        Stop::Failed(failure) => Stop::Failed(unwritten(failure)),
        Stop::Full(failure) => Stop::Full(unwritten(failure)),
    }
}

fn unwritten(failure: Failure) -> Failure {
    let advice = match failure.advice.as_str() {
        // What is said of a place that files are taken out to is not meant here.
        says if failure.code == ExitCode::Refused && !says.is_empty() => format!("{NOTHING}; {says}"),
        _ => NOTHING.to_owned(),
    };
    Failure::new(failure.code, failure.says.as_str(), advice)
}

fn composed(cx: &Context<'_>, order: &Order<'_>) -> Result<(SnapshotId, Manifest), Stop> {
    let room = Room::new(IN_MEMORY, order.most, order.scratch.to_owned());
    let trouble = Arc::new(Trouble::default());
    let (base, manifest) = order.base;
    let mut volumes: Vec<&VolumePath> = order.pieces.iter().map(|p| &p.to.0).collect();
    volumes.sort();
    volumes.dedup();
    let mut made = Vec::new();
    for volume in volumes {
        let saved = manifest.volumes.iter().find(|v| v.path == *volume);
        let saved = saved.ok_or_else(|| refused(format!("{volume} is not in snapshot {}", base.0.short(8))))?;
        fit(&saved.content, volume)?;
        let layout = layouts(base, manifest, Some(volume))?.into_iter().next();
        let layout = layout.ok_or_else(|| refused(format!("{volume} cannot be laid out")))?;
        let overlay = Overlay::new(saved_disk::saved(cx.store, &layout, &trouble), room.clone());
        let filled = fill(cx, order, volume, &overlay);
        told(base, &trouble, &room)?;
        filled?;
        made.push(Made { base: volume.clone(), content: saved.content.clone(), overlay });
    }
    for esp in order.esps {
        let saved = manifest.volumes.iter().find(|v| v.path == esp.to);
        let saved = saved.ok_or_else(|| refused(format!("{} is not in snapshot {}", esp.to, base.0.short(8))))?;
        let layout = layouts(base, manifest, Some(&esp.to))?.into_iter().next();
        let layout = layout.ok_or_else(|| refused(format!("{} cannot be laid out", esp.to)))?;
        let overlay = Overlay::new(saved_disk::saved(cx.store, &layout, &trouble), room.clone());
        esp::fill(cx, (order, esp), saved, &overlay, (&trouble, &room))?;
        made.push(Made { base: esp.to.clone(), content: saved.content.clone(), overlay });
    }
    let purpose = Purpose::Composed { of: base, with: order.source.0 };
    saving::save(cx, order.base, (order.volumes, purpose), &made, order.steps)
}

/// What stood behind an error of a mount tells more than that.
fn told(base: SnapshotId, trouble: &Trouble, room: &Room) -> Result<(), Stop> {
    if let Some(why) = trouble.first() {
        let says = format!("the store does not give all of snapshot {} back: {why}", base.0.short(8));
        return Err(Stop::failed(ExitCode::Damage, says, ""));
    }
    match room.full() {
        Some(why) => Err(Stop::failed(ExitCode::Failed, format!("there is no room to compose it: {why}"), "")),
        None => Ok(()),
    }
}

/// What the kernel gets to mount: a file system that is known in full, and was not known to be broken.
pub(crate) fn fit(content: &Content, volume: &VolumePath) -> Result<(), Stop> {
    match content {
        Content::Ext(e) if e.unknown_features != (0, 0, 0) => {
            Err(refused(format!("{volume} has features that are not known here")))
        }
        Content::Ext(e) if e.errors > 0 || e.state & 2 != 0 => {
            Err(refused(format!("{volume} says of itself that it has errors: check it first (e2fsck)")))
        }
        Content::Ext(_) => Ok(()),
        _ => Err(refused(format!("{volume} is no ext2, ext3 or ext4: files can be put only there"))),
    }
}

fn refused(says: String) -> Stop {
    Stop::failed(ExitCode::Refused, says, "")
}

/// Mounts a volume and puts into it what belongs there.
fn fill(cx: &Context<'_>, order: &Order<'_>, volume: &VolumePath, overlay: &Arc<Overlay>) -> Result<(), Stop> {
    let failed = |what: &str, e: io::Error| {
        let says = format!("{what} {volume} of snapshot {} failed: {e}", order.base.0.0.short(8));
        Stop::failed(ExitCode::Failed, says, "")
    };
    let whole = Extent::whole(overlay.size());
    let mounted = Mounted::start(overlay.clone(), whole, false).map_err(|e| failed("mounting", e))?;
    for piece in order.pieces.iter().filter(|p| p.to.0 == *volume) {
        put(cx, order, &mounted.root(), piece)?;
    }
    mounted.end().map_err(|e| failed("unmounting", e))
}

/// What stands at a place of the source, with all that is kept of it.
fn stands(
    cx: &Context<'_>,
    order: &Order<'_>,
    volume: &VolumePath,
    names: &[Vec<u8>],
) -> Result<(Named, Attributes), Stop> {
    let at = FilePath { volume: Some(volume.clone()), path: path(names) };
    let top = Place::of(cx.store, cx.parser, order.source, &at)?.top()?;
    match top.attributes.clone() {
        Some(attributes) => Ok((top, attributes)),
        None => Err(Stop::failed(ExitCode::Damage, format!("{} is damaged", at.path.display()), "")),
    }
}

fn put(cx: &Context<'_>, order: &Order<'_>, root: &Remote, piece: &Piece) -> Result<(), Stop> {
    let (volume, from) = &piece.from;
    let to = &piece.to.1;
    let shown = path(to).display();
    let (name, above) = to.split_last().ok_or_else(|| refused("a place has no name".to_owned()))?;
    let mut parents = Vec::new();
    for at in 1..from.len() {
        let (_, attributes) = stands(cx, order, volume, &from[..at])?;
        if attributes.kind != FileKind::Directory {
            return Err(refused(format!(
                "{} is no directory: name the place it leads to",
                path(&from[..at]).display()
            )));
        }
        parents.push(attributes);
    }
    let (top, _) = stands(cx, order, volume, from)?;
    let failed = |e: io::Error| Stop::failed(ExitCode::Failed, format!("putting {shown} in its place failed: {e}"), "");
    // Held until the end: what stood there gets its times back then, and what is made its own.
    let mut way: Vec<(Remote, Option<Marks>)> = Vec::new();
    for (at, name) in above.iter().enumerate() {
        let here = way.last().map_or(root, |(dir, _)| dir);
        let next = match here.existing(name) {
            Ok(found) => (found, None),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                // Its like in the source, counted from the end.
                let like = (at + from.len()).checked_sub(to.len()).and_then(|at| parents.get(at));
                let like = like.ok_or_else(|| {
                    refused(format!("{} is not there, and nothing tells whose it would be", path(&to[..=at]).display()))
                })?;
                (here.dir(name).map_err(failed)?, Some(marks(like)))
            }
            Err(_) => {
                let says = format!(
                    "{} is no directory in snapshot {}: nothing is put where a link leads",
                    path(&to[..=at]).display(),
                    order.base.0.0.short(8)
                );
                return Err(refused(says));
            }
        };
        way.push(next);
    }
    let into = way.last().map_or(root, |(dir, _)| dir);
    into.clear(name).map_err(failed)?;
    let at = FilePath { volume: Some(volume.clone()), path: path(from) };
    let place = Place::of(cx.store, cx.parser, order.source, &at)?;
    let phase = format!("composing {shown}");
    let meter = Meter::start(cx.observer, cx.clock, phase, order.steps, ByteLen::ZERO, false);
    let got = copy(&place, &top, (into, name.as_slice()), (cx.observer, meter))?;
    whole(&got, &shown)?;
    for (dir, marks) in way.iter().rev() {
        if let Some(marks) = marks {
            MakeIn::mark(dir, marks).map_err(failed)?;
        }
    }
    // From the deepest up: closing one sets its times, which are its own.
    while way.pop().is_some() {}
    Ok(())
}

fn marks(like: &Attributes) -> Marks {
    Marks {
        owners: Some((like.owner, like.group)),
        mode: like.mode & 0o7777,
        times: like.modified.map(|modified| (like.accessed.unwrap_or(modified), modified)),
        xattrs: like.xattrs.iter().map(|(name, value)| (name.0.clone(), value.0.clone())).collect(),
        flags: like.flags,
    }
}

/// All or nothing: a file that is not there afterwards would be lost without a word.
fn whole(got: &Got, shown: &DisplayText) -> Result<(), Stop> {
    let (code, remarks) = match (got.damaged.count, got.left_out.count) {
        (0, 0) => return Ok(()),
        (0, _) => (ExitCode::Failed, &got.left_out),
        _ => (ExitCode::Damage, &got.damaged),
    };
    let told: Vec<String> =
        remarks.first.iter().take(3).map(|(path, why)| format!("{}: {why}", path.display())).collect();
    let more = if remarks.count > 3 { format!(" and {} more", remarks.count - 3) } else { String::new() };
    Err(Stop::failed(code, format!("not all of {shown} can be carried over: {}{more}", told.join("; ")), ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_its_names() {
        let of = |p: &str| names(p.as_bytes()).map(|n| path(&n).display().to_string());
        assert_eq!(of("/home"), Some("/home".into()));
        assert_eq!(of("//srv/./data/"), Some("/srv/data".into()));
        assert_eq!((of("/"), of(""), of("/srv/../etc")), (None, None, None));
    }
}
