//! Opening encrypted volumes: for as long as the engine runs, and on no disk.

use crate::gather;
use crate::jobs::{Done, Jobs};
use crate::keys::stretch;
use crate::parser::ParserError;
use crate::run::saved::Saved;
use crate::run::{Observer, Stop, pending};
use crate::worker::Desk;
use disk::volume::luks::Refused;
use model::command::{ExitCode, VolumeKey};
use model::event::Progress;
use model::id::{SnapRef, VolumePath};
use model::inspection::{Content, Inspection, Volume};
use model::luks::LuksHeader;
use model::ports::ReadAt;
use model::snapshot::{Manifest, SavedVolume};
use model::text::DisplayText;
use model::units::ByteLen;
use std::cell::Cell;
use std::sync::Arc;
use store::Secret;

/// Opens a volume, and looks at the disks again. `plain`: what lies in it may be saved in clear. Where there is no such volume, and a restore
/// was cut off here, that of its snapshot is meant.
pub(crate) fn open(jobs: &Jobs, path: &VolumePath, (by, plain): (&VolumeKey, bool), desk: &Desk) -> Done {
    let (devices, parser) = (&jobs.config.devices, &*jobs.config.parser);
    let disks = devices.disks();
    desk.progress(step(&format!("looking at {path}"), (1, 1)));
    let inspection = gather::inspect(&disks, parser);
    if let Some(snapshot) = cut_restore(jobs, path, &inspection, desk) {
        return open_saved(jobs, (&snapshot, path), by, desk);
    }
    let volume = locked(&inspection, path)?;
    let header = parser.luks(volume).map_err(|e| unread(path, &e))?;
    let bytes = disk::volume::bytes(&disks, volume)
        .ok_or_else(|| refused(format!("{path} is gone"), "look at the disks again"))?;
    opened(jobs, (path, &header), bytes, (by, plain), desk)
}

/// Opens a volume of a snapshot, with the header that was saved of it. The disks are looked at again: what has the same header is open too.
pub(crate) fn open_saved(jobs: &Jobs, (snapshot, path): (&SnapRef, &VolumePath), by: &VolumeKey, desk: &Desk) -> Done {
    let store = jobs.store(desk)?;
    desk.progress(step(&format!("looking at the saved {path}"), (1, 1)));
    let (id, manifest) = store.find(snapshot, None)?;
    let saved = saved_header(&manifest, path)
        .map_err(|(says, advice)| refused(format!("of snapshot {}: {says}", id.0.short(8)), &advice))?;
    let bytes: Arc<dyn ReadAt> = Arc::new(Saved::new(store, saved.map, saved.extent.len()));
    let header = jobs.config.parser.saved_luks(bytes.clone()).map_err(|e| unread(path, &e))?;
    opened(jobs, (path, &header), bytes, (by, false), desk)
}

/// The encrypted volume of a snapshot whose header was saved, and in which something lay that was.
///
/// # Errors
/// What is wrong, and what to do.
fn saved_header<'a>(manifest: &'a Manifest, path: &VolumePath) -> Result<&'a SavedVolume, (String, String)> {
    let open = |v: &&SavedVolume| matches!(&v.content, Content::Luks(l) if l.open);
    let of = manifest.volumes.iter().find(|v| v.path == *path);
    if let Some(saved) = of.filter(open) {
        return Ok(saved);
    }
    let there: Vec<String> = manifest.volumes.iter().filter(open).map(|v| v.path.to_string()).collect();
    let advice = match there.as_slice() {
        [] => "nothing of it has to be unlocked".to_owned(),
        there => format!("what has to be unlocked of it: {}", there.join(", ")),
    };
    let says = match of.map(|v| &v.content) {
        Some(Content::Luks(_)) => format!("{path} was locked when it was saved, and is saved as it lay there"),
        Some(_) => format!("{path} is no LUKS volume"),
        None => format!("there is no volume {path}"),
    };
    Err((says, advice))
}

/// The snapshot of the restore that was cut off on these disks, where no volume of that path is there.
fn cut_restore(jobs: &Jobs, path: &VolumePath, inspection: &Inspection, desk: &Desk) -> Option<SnapRef> {
    if inspection.volume(path).is_some() || inspection.fences().next().is_none() {
        return None;
    }
    let store = jobs.store(desk).ok()?;
    let unfinished = pending::unfinished(&store, inspection).ok()??;
    let plan = unfinished.intent.plan;
    (!plan.disks.is_empty()).then(|| SnapRef::Prefix(plan.to.to_string()))
}

/// Looks for the key of a volume, keeps it, and looks at the disks again.
fn opened(
    jobs: &Jobs,
    (path, header): (&VolumePath, &LuksHeader),
    bytes: Arc<dyn ReadAt>,
    (by, plain): (&VolumeKey, bool),
    desk: &Desk,
) -> Done {
    tried(jobs, (path, header), bytes, (by, plain), desk)?;
    jobs.inspect(desk)
}

/// Looks for the key of a volume, and keeps it.
pub(crate) fn tried(
    jobs: &Jobs,
    (path, header): (&VolumePath, &LuksHeader),
    bytes: Arc<dyn ReadAt>,
    (by, plain): (&VolumeKey, bool),
    desk: &Desk,
) -> Done<()> {
    let secret = Secret::new(by.bytes().to_vec());
    let tried = Cell::new(0);
    let trying = |slot: u32, of: usize| {
        tried.set(tried.get() + 1);
        let of = u32::try_from(of).unwrap_or(u32::MAX);
        desk.progress(step(&format!("trying key slot {slot} of {path}"), (tried.get(), of)));
    };
    match stretch(header, bytes, secret, &|| !desk.cancelled(), &trying) {
        Ok(opened) => {
            desk.log(&format!("key slot {} opened {path}", opened.slot));
            jobs.keys.keep(path, header, opened.key, plain);
            Ok(())
        }
        Err(Refused::Stopped) => Err(Stop::Cancelled(DisplayText::new(&format!("{path} stays locked")))),
        Err(Refused::Io(e)) => {
            let says = format!("the key slots of {path} cannot be read: {e}");
            Err(Stop::failed(ExitCode::Failed, says, "the disk may be failing; save what can be read"))
        }
        Err(Refused::Wrong(not_tried)) => {
            let count = jobs.keys.failed(path);
            let tries = if count == 1 { "1 try".to_owned() } else { format!("{count} tries") };
            let mut says = format!("this does not open {path} ({tries} so far)");
            if !not_tried.is_empty() {
                says.push_str(&format!("; not tried: {}", not_tried.join("; ")));
            }
            Err(refused(says, "nothing was changed; another passphrase or key file may"))
        }
    }
}

fn refused(says: String, advice: &str) -> Stop {
    Stop::failed(ExitCode::Refused, says, advice)
}

fn unread(path: &VolumePath, e: &ParserError) -> Stop {
    refused(format!("the LUKS header of {path} cannot be used: {e}"), "nothing was changed")
}

/// The volume of that path that can be opened.
fn locked<'a>(inspection: &'a Inspection, path: &VolumePath) -> Done<&'a Volume> {
    let volume = inspection.volume(path).ok_or_else(|| {
        let there: Vec<String> = inspection.locked().map(|v| v.path.to_string()).collect();
        let advice = match there.as_slice() {
            [] => "nothing on these disks is encrypted and locked".to_owned(),
            there => format!("encrypted and locked: {}", there.join(", ")),
        };
        refused(format!("there is no volume {path}"), &advice)
    })?;
    match &volume.content {
        Content::Luks(info) => match &info.not_opened {
            None => Ok(volume),
            Some(why) => Err(refused(format!("{path} cannot be opened here: {why}"), "")),
        },
        _ => Err(refused(format!("{path} is no LUKS volume ({})", volume.kind()), "name the encrypted volume")),
    }
}

fn step(phase: &str, step: (u32, u32)) -> Progress {
    Progress {
        phase: DisplayText::new(phase),
        step,
        done: ByteLen::ZERO,
        total: ByteLen::ZERO,
        rate: ByteLen::ZERO,
        remaining: None,
        cost: None,
        fenced: false,
    }
}
