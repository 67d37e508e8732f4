//! The jobs that go to a state which is composed first: a rollback that keeps paths as they are now, and files of a snapshot that are put
//! into the disks as they are.
//!
//! ```text
//!  a plan, shown and approved by its id -> undo snapshot -> composed (run::compose): saved as a snapshot of its own
//!     -> the ordinary write-back to it
//! ```

use crate::comparison::Planned;
use crate::gather;
use crate::jobs::{Done, Jobs, Making, ask, stands};
use crate::parser::{AboutFiles, MOST_LISTED, OfFiles, Parser, ParserError, SavedFs};
use crate::plan::elsewhere::{self, MARKS, Mark};
use crate::plan::rollback::esps::tenancy;
use crate::plan::rollback::{Set, plain, writes_the_same};
use crate::plan::snapshot::reads;
use crate::run::compose::{Esp, Order, Piece, compose, fit, names, path};
use crate::run::saved::Saved;
use crate::run::{Context, Stop, files, pending, write_back};
use crate::store_place::StorePlace;
use crate::worker::{Desk, Reply};
use model::assessment::Report;
use model::command::ExitCode;
use model::coverage::CaptureMethod;
use model::esp::SharedEsp;
use model::files::{Attributes, FileId, FilePath, Named};
use model::id::{Digest, DiskNo, NodeId, SnapRef, SnapshotId, VolumePath};
use model::inspection::{Content, FileKind, Inspection, Volume};
use model::plan::{Action, Check, ComposedPath, Composition, RollbackPlan, UndoReads};
use model::snapshot::{Cost, FORMAT, Manifest, MapRoot, Purpose, Receipt, SavedDisk, SavedVolume};
use model::text::{DisplayText, RawName};
use model::units::{ByteLen, ExtentSet};
use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Files that are counted before a plan is shown: in a second or two, mostly.
const MOST_COUNTED: u64 = 50_000;
/// How deep that is followed.
const MOST_DEPTH: usize = 256;
/// What a file takes besides its bytes, at most, on the volume and in its journal.
const BESIDES: u64 = 16 << 10;
/// What is written beside a volume besides the files: its journal, written once over, and its own records.
const RECORDS: u64 = 1 << 30;
/// What is written beside an EFI system partition besides the files: its allocation table twice, its directories.
const TABLES: u64 = 64 << 20;

/// Steps of a write-back, of which composing belongs to the first.
const STEPS: (u32, u32) = (1, 4);

/// What is gone to, and what of it is asked for.
struct Composing<'a> {
    /// What is shown and approved.
    plan: RollbackPlan,
    pieces: Vec<Piece>,
    /// The snapshot that was named: files are put into it, or taken from it.
    named: (SnapshotId, &'a Manifest),
    /// True where they are taken from it.
    taken: bool,
}

/// As [`keep`], with those of the paths that can be kept. Where none can, the plan says why of the first.
pub(crate) fn keep_some(
    jobs: &Jobs,
    cx: &Context<'_>,
    planned: Planned<'_>,
    paths: &[RawName],
    desk: &Desk,
) -> Done<Option<Receipt>> {
    keep(jobs, cx, planned, possible(cx, planned, paths), desk)
}

fn possible(cx: &Context<'_>, planned: Planned<'_>, paths: &[RawName]) -> Vec<RawName> {
    let all: Vec<RawName> = paths.iter().filter(|p| held(cx, planned, p).is_ok()).cloned().collect();
    if all.is_empty() { paths.iter().take(1).cloned().collect() } else { all }
}

/// Asks about a rollback that keeps paths, as often as somebody wants other paths kept, and runs what was approved.
pub(crate) fn keep(
    jobs: &Jobs,
    cx: &Context<'_>,
    planned: Planned<'_>,
    mut paths: Vec<RawName>,
    desk: &Desk,
) -> Done<Option<Receipt>> {
    loop {
        if paths.is_empty() {
            return jobs.saved_first(cx, planned, false, desk);
        }
        let composing = kept(cx, planned, &paths);
        match ask(cx, Planned { plan: &composing.plan, ..planned }, desk)? {
            Reply::Approved => return carry_out(jobs, cx, planned, &composing).map(Some),
            Reply::Declined => return Ok(None),
            // All that is in use is read anyway.
            Reply::Reread(_) | Reply::LeaveEsps(_) | Reply::Grow(_) => {}
            Reply::Keep(others) => paths = possible(cx, planned, &others),
        }
    }
}

/// Works out how files of a snapshot are put into the disks as they are now, asks, and does it.
pub(crate) fn put(jobs: &Jobs, from: &SnapRef, at: &[FilePath], desk: &Desk) -> Done {
    let store = jobs.store(desk)?;
    let cx = jobs.context(&store, desk);
    let report = jobs.look(Some(&store), desk);
    if let Some(unfinished) = pending::unfinished(&store, &report.inspection)? {
        return Err(stands(&unfinished));
    }
    let inspection = &report.inspection;
    let (id, source) = store.find(from, Some(&gather::machine(inspection)))?;
    let (mut paths, mut pieces, mut against) = (Vec::new(), Vec::new(), Vec::new());
    for at in at {
        match taken(&cx, (id, &source), at, inspection) {
            Ok((path, piece)) => {
                paths.push(path);
                pieces.push(piece);
            }
            Err(why) => against.push(check(&at.path, "can be put there", why)),
        }
    }
    against.extend(apart(&pieces, &paths));
    let volumes: BTreeSet<VolumePath> = paths.iter().map(|p| p.volume.clone()).collect();
    let manifest = present(&cx, &report, &volumes, (id, &paths));
    let making = Making { action: Action::Put, to: id, manifest: &manifest, set: Set::All, of: None, pending: &[] };
    let mut plan = jobs.make(&cx, &report, &making)?;
    plan.kept.iter_mut().for_each(|(_, why)| *why = "nothing is put there".into());
    let says: Vec<String> = paths.iter().map(|p| p.path.display().to_string()).collect();
    plan.to_says = DisplayText::new(&format!("{} as it was, into what is there now", says.join(", ")));
    plan.checks.push(possible_here());
    plan.checks.extend(against);
    plan.composed = Some(Composition { of: None, with: Some(id), room: room(&paths), paths });
    plan.reads = Some(everything(&cx, &report, &plan));
    let composing = Composing { plan, pieces, named: (id, &source), taken: true };
    let planned = Planned { plan: &composing.plan, manifest: &manifest, report: &report };
    let receipt = jobs.approved(&cx, planned, desk, |_| carry_out(jobs, &cx, planned, &composing));
    jobs.ended(receipt, &store, desk)
}

/// Goes to a state in which what others have on EFI system partitions is as it is now, as a plan that was approved says.
pub(crate) fn shared(jobs: &Jobs, cx: &Context<'_>, planned: Planned<'_>, plan: &RollbackPlan) -> Done<Receipt> {
    let named = (planned.plan.to, planned.manifest);
    carry_out(jobs, cx, planned, &Composing { plan: plan.clone(), pieces: Vec::new(), named, taken: false })
}

/// Saves the present state, composes what is gone to, and goes there.
fn carry_out(jobs: &Jobs, cx: &Context<'_>, planned: Planned<'_>, composing: &Composing<'_>) -> Done<Receipt> {
    let shown = &composing.plan;
    write_back::write_composed(cx, shown, planned.report, |undo, before| {
        let now = (undo, before);
        let (base, source) = if composing.taken { (now, composing.named) } else { (composing.named, now) };
        let volumes: Vec<VolumePath> = shown.volumes.iter().map(|v| v.saved_as.clone()).collect();
        let esps = esps(planned, composing);
        let room = shown.composed.as_ref().map_or(0, |c| c.room.0).saturating_add(shared_room(shown).0);
        let scratch = scratch(jobs);
        let order = Order {
            base,
            source,
            pieces: &composing.pieces,
            esps: &esps,
            volumes: &volumes,
            most: ByteLen(room),
            scratch: &scratch,
            steps: STEPS,
        };
        let (to, manifest) = compose(cx, &order)?;
        let making =
            Making { action: Action::Rollback, to, manifest: &manifest, set: Set::All, of: None, pending: &[] };
        let mut plan = jobs.make(cx, planned.report, &making)?;
        if !writes_the_same(shown, &plan) {
            let says = "the disks are not as they were when the plan was shown";
            return Err(Stop::failed(ExitCode::Refused, says, "nothing was written; make a new plan"));
        }
        plan.reads = shown.reads.clone();
        // As it was shown: entries that start what stays are left alone.
        plan.firmware = shown.firmware.clone();
        Ok(plan)
    })
}

/// The EFI system partitions that are composed.
fn esps(planned: Planned<'_>, composing: &Composing<'_>) -> Vec<Esp> {
    let shown = &composing.plan;
    let esp = |shared: &SharedEsp| {
        let volume = shown.volumes.iter().find(|v| v.path == shared.volume)?;
        let tenancy = tenancy(planned.manifest, &planned.report.inspection, shown, volume)?;
        Some(Esp { to: shared.saved_as.clone(), from: shared.volume.clone(), tenancy })
    };
    shown.esps.iter().filter(|shared| shared.is_composed()).filter_map(esp).collect()
}

/// What is written beside EFI system partitions, at most.
fn shared_room(plan: &RollbackPlan) -> ByteLen {
    let composed = plan.esps.iter().filter(|esp| esp.is_composed());
    // By whole pages, a directory and a file each in one of its own.
    let files = |esp: &SharedEsp| esp.stays.iter().map(|p| p.files).fold(0, u64::saturating_add);
    let one = |esp: &SharedEsp| takes_of(files(esp), esp.bytes()).saturating_add(TABLES);
    ByteLen(composed.map(one).fold(0, u64::saturating_add))
}

/// Where what does not fit into memory is put aside: beside the store, which must have room anyway.
pub(crate) fn scratch(jobs: &Jobs) -> PathBuf {
    match &jobs.config.store {
        Some(StorePlace::Dir { path, .. }) => path.clone(),
        _ => std::env::temp_dir(),
    }
}

fn room(paths: &[ComposedPath]) -> ByteLen {
    let all = paths.iter().map(|p| takes(p).0).fold(0, u64::saturating_add);
    ByteLen(all.saturating_add(all / 8).saturating_add(RECORDS))
}

/// What a path takes on a volume, at most.
fn takes(path: &ComposedPath) -> ByteLen {
    ByteLen(takes_of(path.files, path.bytes))
}

fn takes_of(files: u64, bytes: ByteLen) -> u64 {
    bytes.0.saturating_add(files.saturating_mul(BESIDES))
}

fn possible_here() -> Check {
    can_be("a state can be composed here", sys::served_file::can_be_mounted())
}

/// Whether what is composed can be made larger.
pub(crate) fn may_grow_here() -> Check {
    let can = sys::served_file::can_be_mounted().and_then(|()| sys::block::may_grow_ext4());
    can_be("a file system can be made larger here", can)
}

fn can_be(what: &str, can: io::Result<()>) -> Check {
    let says = can.as_ref().map_or_else(ToString::to_string, |()| "root, with FUSE and the loop driver".to_owned());
    Check { what: what.into(), ok: can.is_ok(), says: DisplayText::new(&says) }
}

fn check(path: &RawName, what: &str, says: impl AsRef<str>) -> Check {
    let what = DisplayText::new(&format!("{} {what}", path.display()));
    Check { what, ok: false, says: DisplayText::new(says.as_ref()) }
}

/// All of it is read: what is written over differs from the named snapshot in more than the two maps tell.
fn everything(cx: &Context<'_>, report: &Report, plan: &RollbackPlan) -> UndoReads {
    let base = pending::last_known(cx.store, &gather::machine(&report.inspection));
    let mut read = reads(report, plan, base.as_ref().map(|(id, manifest)| (*id, manifest)), true);
    read.says = "everything in use is read: what is gone to is composed of it".into();
    read
}

/// The plan of a rollback, with what is kept.
fn kept<'a>(cx: &Context<'_>, planned: Planned<'a>, wanted: &[RawName]) -> Composing<'a> {
    let mut plan = planned.plan.clone();
    let (mut paths, mut pieces) = (Vec::new(), Vec::new());
    let mut failed = Vec::new();
    for wanted in wanted {
        match held(cx, planned, wanted) {
            Ok((path, piece)) => {
                paths.push(path);
                pieces.push(piece);
            }
            Err(why) => failed.push(check(wanted, "can be kept", why)),
        }
    }
    failed.extend(apart(&pieces, &paths));
    for volume in &mut plan.volumes {
        let more = paths.iter().filter(|p| p.volume == volume.path).map(|p| takes(p).0);
        volume.at_most.0 = more.fold(volume.at_most.0, u64::saturating_add);
    }
    warn(cx, planned, &paths, &mut plan.warnings);
    plan.checks.push(possible_here());
    plan.checks.extend(failed);
    plan.composed = Some(Composition { of: Some(plan.to), with: None, room: room(&paths), paths });
    plan.reads = Some(everything(cx, planned.report, &plan));
    Composing { plan, pieces, named: (planned.plan.to, planned.manifest), taken: false }
}

/// Places that lie in each other are one.
fn apart(pieces: &[Piece], paths: &[ComposedPath]) -> Vec<Check> {
    let mut out = Vec::new();
    for (at, one) in pieces.iter().enumerate() {
        let within =
            |other: &&Piece| other.to.0 == one.to.0 && one.to.1.starts_with(&other.to.1) && !std::ptr::eq(*other, one);
        let twice = pieces[..at].iter().any(|other| other.to == one.to);
        if twice || pieces.iter().filter(within).any(|other| other.to != one.to) {
            out.push(check(&paths[at].path, "is named once", "it lies in another that is named"));
        }
    }
    out
}

/// What dislikes going back, and what dislikes it that the rest does.
fn warn(cx: &Context<'_>, planned: Planned<'_>, paths: &[ComposedPath], warnings: &mut Vec<DisplayText>) {
    let goes_back = |path: &VolumePath| planned.plan.volumes.iter().any(|v| v.saved_as == *path);
    let found = files::which(cx.store, cx.parser, (planned.plan.to, planned.manifest), &MARKS);
    let found: Vec<Mark> = found.into_iter().filter(|(path, _)| goes_back(path)).map(|(_, mark)| mark).collect();
    let within = |mark: &&Mark| {
        paths.iter().any(|p| files::below(mark.path.as_bytes(), &String::from_utf8_lossy(&p.path.0)).is_some())
    };
    let holds = |mark: &&Mark| paths.iter().any(|p| files::below(&p.path.0, mark.path).is_some());
    let go: Vec<Mark> = found.iter().filter(|mark| !within(mark)).copied().collect();
    let stay: Vec<Mark> = found.iter().filter(|mark| within(mark) || holds(mark)).copied().collect();
    let before: Vec<DisplayText> = elsewhere::warnings(&found).iter().map(|w| DisplayText::new(w)).collect();
    let after: Vec<DisplayText> = elsewhere::warnings(&go).iter().map(|w| DisplayText::new(w)).collect();
    warnings.retain(|w| !before.contains(w) || after.contains(w));
    warnings.extend(after.into_iter().filter(|w| !before.contains(w)));
    warnings.extend(elsewhere::left_behind(&stay).map(|w| DisplayText::new(&w)));
    let of_the_system = |p: &&ComposedPath| elsewhere::is_of_the_system(&p.path.0);
    for p in paths.iter().filter(of_the_system) {
        let says =
            format!("{} holds programs or their settings: kept, they may not fit what goes back", p.path.display());
        warnings.push(DisplayText::new(&says));
    }
}

/// Where a path of the system lies now: its volume, and the rest of the path on it.
fn place<'a>(inspection: &'a Inspection, path: &'a [u8]) -> Result<(&'a Volume, &'a [u8]), String> {
    let system = inspection.systems.first().ok_or("no installed system is found here that would tell where it lies")?;
    let mounts = system.boot.iter().chain(&system.other).filter(|(at, _)| at.starts_with('/'));
    let mounts = mounts.map(|(at, volume)| (at.as_str(), volume)).chain([("/", &system.root)]);
    let found = mounts.filter_map(|(at, volume)| Some((at.len(), volume, files::below(path, at)?)));
    let (_, volume, rest) = found.max_by_key(|(len, ..)| *len).ok_or("a path begins with /")?;
    let volume = inspection.volume(volume).ok_or_else(|| format!("it lies on {volume}, which is not here"))?;
    Ok((volume, rest))
}

/// A path that is to be kept: what stands there now, and where it goes.
fn held(cx: &Context<'_>, planned: Planned<'_>, wanted: &RawName) -> Result<(ComposedPath, Piece), String> {
    let whole = names(&wanted.0).filter(|_| wanted.0.starts_with(b"/")).ok_or("a path begins with / and has a name")?;
    let wanted = path(&whole);
    let (volume, rest) = place(&planned.report.inspection, &wanted.0)?;
    let Some(planned_volume) = planned.plan.volumes.iter().find(|v| v.path == volume.path) else {
        return Err(format!(
            "it lies on {}, a volume of its own that this plan leaves as it is: it is kept without being named",
            volume.path
        ));
    };
    let names = names(rest).ok_or_else(|| {
        format!(
            "it is a volume of its own ({}): it is kept by leaving that out, with --only for the others",
            volume.path
        )
    })?;
    let saved = planned.manifest.volumes.iter().find(|v| v.path == planned_volume.saved_as);
    let saved = saved.ok_or("the snapshot does not hold its volume")?;
    fit(&saved.content, &saved.path).map_err(why)?;
    if !saved.unreadable.is_empty() {
        return Err(format!("parts of {} could not be read when it was saved", saved.path));
    }
    let fs = now(cx, volume).ok_or_else(|| format!("{} cannot be read", volume.path))?;
    let (files, bytes, counted) = counted(cx, &fs, &names, (volume, false))?;
    let piece = Piece {
        to: (planned_volume.saved_as.clone(), names.clone()),
        // The undo snapshot calls it as it is called now.
        from: (volume.path.clone(), names),
    };
    Ok((ComposedPath { volume: volume.path.clone(), path: wanted, files, bytes, counted }, piece))
}

/// A place of a snapshot that is to be put into the disks: what stands there, and where it goes.
fn taken(
    cx: &Context<'_>,
    (id, source): (SnapshotId, &Manifest),
    at: &FilePath,
    inspection: &Inspection,
) -> Result<(ComposedPath, Piece), String> {
    let (from, there, _) = files::lies(cx.store, cx.parser, (id, source), at).map_err(why)?;
    let saved = source.volumes.iter().find(|v| v.path == from).ok_or("the snapshot does not hold its volume")?;
    let (volume, rest) = match &at.volume {
        None => place(inspection, &at.path.0)?,
        // The file system that was saved, wherever it is now, or else what is in its place.
        Some(_) => {
            let uuid = |v: &Volume| v.uuid().map(str::to_owned);
            let then = saved.volume();
            let all = || inspection.volumes().map(|(_, v)| v);
            let found = all().find(|v| uuid(v).is_some() && uuid(v) == uuid(&then)).or(all().find(|v| v.path == from));
            (found.ok_or_else(|| format!("{from} is not here"))?, &there.0[..])
        }
    };
    fit(&volume.content, &volume.path).map_err(why)?;
    let to = names(rest).ok_or("a whole volume is taken back by a rollback (--only)")?;
    let from_names = names(&there.0).ok_or("a whole volume is put nowhere: name what is in it")?;
    let bytes = Saved::new(cx.store.clone(), saved.map, saved.extent.len());
    let fs = SavedFs { map: saved.map, content: saved.content.clone(), bytes: Arc::new(bytes) };
    let then = saved.volume();
    let (files, bytes, counted) = counted(cx, &fs, &from_names, (&then, true))?;
    let shown = if at.volume.is_some() { path(&to) } else { at.path.clone() };
    let piece = Piece { to: (volume.path.clone(), to), from: (from, from_names) };
    Ok((ComposedPath { volume: volume.path.clone(), path: shown, files, bytes, counted }, piece))
}

fn why(stop: Stop) -> String {
    match stop {
        Stop::Cancelled(says) => says.to_string(),
        Stop::Failed(failure) | Stop::Full(failure) => failure.says.to_string(),
    }
}

/// A volume as it is now, to be asked about its files.
fn now(cx: &Context<'_>, volume: &Volume) -> Option<SavedFs> {
    let bytes = disk::volume::bytes(&cx.devices.disks(), volume)?;
    // It is in no map, and is another one at each look.
    let name = Digest::of(format!("{} now {:?}", volume.path, cx.clock.monotonic()).as_bytes());
    let map = MapRoot { node: NodeId(name), height: 0, content: name };
    Some(SavedFs { map, content: volume.content.clone(), bytes })
}

/// What stands at a place, counted: how many names, how many bytes, and whether that is all. Directories lead there, no link; it may be
/// one itself where `links` says so.
fn counted(
    cx: &Context<'_>,
    fs: &SavedFs,
    names: &[Vec<u8>],
    (volume, links): (&Volume, bool),
) -> Result<(u64, ByteLen, bool), String> {
    let mut top = None;
    for len in 1..=names.len() {
        let here = path(&names[..len]);
        let found = cx.parser.files(fs, &AboutFiles::Find(here.clone())).map_err(|e| e.to_string())?;
        let OfFiles::Found(Some(found)) = found else { return Err(format!("there is no {}", here.display())) };
        let kind = found.attributes.as_ref().map(|a| a.kind);
        match (kind, found.attributes.as_ref().and_then(|a| a.target.as_ref())) {
            (Some(FileKind::Symlink), target) if len < names.len() || !links => {
                let to = target.map_or_else(String::new, |t| t.display().to_string());
                return Err(format!("{} is a symbolic link to {to}: name the place it leads to", here.display()));
            }
            (Some(FileKind::Directory), _) => {}
            (Some(_), _) if len == names.len() => {}
            (Some(_), _) => return Err(format!("{} is no directory", here.display())),
            (None, _) => return Err(format!("what is kept of {} is damaged", here.display())),
        }
        top = Some(found);
    }
    let top = top.ok_or("it has no name")?;
    let mut count = Count::default();
    let whole = count.add(cx.parser, fs, &top, 0).map_err(|e| e.to_string())?;
    // All that is in use on the volume, where there is more than was counted.
    let bytes = if whole { ByteLen(count.bytes) } else { used(volume) };
    Ok((count.files, bytes, whole))
}

/// Bytes in use.
fn used(volume: &Volume) -> ByteLen {
    match &volume.content {
        Content::Ext(e) => ByteLen(e.blocks.saturating_sub(e.free_blocks).saturating_mul(u64::from(e.block_size))),
        Content::Xfs(x) => ByteLen(x.blocks.saturating_sub(x.free_blocks).saturating_mul(u64::from(x.block_size))),
        _ => volume.extent.len(),
    }
}

#[derive(Default)]
struct Count {
    files: u64,
    bytes: u64,
    /// Directories, and files with several names, that were counted.
    seen: BTreeSet<FileId>,
}

impl Count {
    /// Counts something with all that is in it; false where that is too much.
    fn add(&mut self, parser: &dyn Parser, fs: &SavedFs, what: &Named, depth: usize) -> Result<bool, ParserError> {
        self.files += 1;
        if self.files > MOST_COUNTED || depth > MOST_DEPTH {
            return Ok(false);
        }
        let Some(Attributes { kind, size, links, .. }) = &what.attributes else { return Ok(true) };
        match kind {
            FileKind::Directory if self.seen.insert(what.file) => {
                let mut at = 0;
                loop {
                    let OfFiles::Listed(some) = parser.files(fs, &AboutFiles::List(what.file, at))? else {
                        return Ok(false);
                    };
                    for entry in &some {
                        if !self.add(parser, fs, entry, depth + 1)? {
                            return Ok(false);
                        }
                    }
                    at += some.len();
                    if some.len() < MOST_LISTED {
                        return Ok(true);
                    }
                }
            }
            FileKind::File if *links < 2 || self.seen.insert(what.file) => {
                self.bytes = self.bytes.saturating_add(size.0)
            }
            _ => {}
        }
        Ok(true)
    }
}

/// What a snapshot of these volumes as they are now says, before it is made: with digests of what is asked for in the place of maps.
fn present(
    cx: &Context<'_>,
    report: &Report,
    volumes: &BTreeSet<VolumePath>,
    (id, paths): (SnapshotId, &[ComposedPath]),
) -> Manifest {
    let inspection = &report.inspection;
    let saved = |path: &VolumePath| {
        let volume = inspection.volume(path)?;
        let own = paths.iter().filter(|p| p.volume == *path);
        let mut asked = id.0.to_string().into_bytes();
        own.clone().for_each(|p| asked.extend([&b"\0"[..], &p.path.0].concat()));
        let digest = Digest::of(&asked);
        let more = own.map(|p| takes(p).0).fold(0, u64::saturating_add);
        Some(SavedVolume {
            path: path.clone(),
            extent: volume.extent,
            mapping: volume.mapping.clone(),
            content: volume.content.clone(),
            method: CaptureMethod::UsedBlocks,
            why: "with what is put there".into(),
            captured: ByteLen(used(volume).0.saturating_add(more).min(volume.extent.len().0)),
            unreadable: ExtentSet::new(),
            compared: None,
            state: None,
            map: MapRoot { node: NodeId(digest), height: 0, content: digest },
        })
    };
    let disk = |no: DiskNo| {
        let disk = inspection.disk(no)?;
        Some(SavedDisk { no, hardware: plain(&disk.hardware), table: disk.table.clone(), table_map: None })
    };
    let disks: BTreeSet<_> = volumes.iter().map(VolumePath::disk).collect();
    Manifest {
        format: FORMAT,
        counter: 0,
        origin: String::new(),
        parent: None,
        purpose: Purpose::Composed { of: id, with: id },
        machine: gather::machine(inspection),
        taken: cx.clock.now(),
        systems: report.systems.clone(),
        disks: disks.into_iter().filter_map(disk).collect(),
        volumes: volumes.iter().filter_map(saved).collect(),
        firmware: inspection.firmware.clone(),
        cost: Cost::default(),
    }
}
