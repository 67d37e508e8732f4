//! Opening encrypted volumes: for as long as the engine runs, and on no disk.

use crate::gather;
use crate::jobs::{Done, Jobs};
use crate::keys::stretch;
use crate::run::{Observer, Stop};
use crate::worker::Desk;
use disk::volume::luks::Refused;
use model::command::{ExitCode, VolumeKey};
use model::event::Progress;
use model::id::VolumePath;
use model::inspection::{Content, Inspection, Volume};
use model::text::DisplayText;
use model::units::ByteLen;
use std::cell::Cell;
use store::Secret;

/// Opens a volume, and looks at the disks again. `plain`: what lies in it may be saved in clear.
pub(crate) fn open(jobs: &Jobs, path: &VolumePath, (by, plain): (&VolumeKey, bool), desk: &Desk) -> Done {
    let (devices, parser) = (&jobs.config.devices, &*jobs.config.parser);
    let disks = devices.disks();
    desk.progress(step(&format!("looking at {path}"), (1, 1)));
    let inspection = gather::inspect(&disks, parser);
    let volume = locked(&inspection, path)?;
    let refused = |says: String, advice: &str| Stop::failed(ExitCode::Refused, says, advice);
    let header = parser
        .luks(volume)
        .map_err(|e| refused(format!("the LUKS header of {path} cannot be used: {e}"), "nothing was changed"))?;
    let bytes = disk::volume::bytes(&disks, volume)
        .ok_or_else(|| refused(format!("{path} is gone"), "look at the disks again"))?;
    let secret = Secret::new(by.bytes().to_vec());
    let tried = Cell::new(0);
    let trying = |slot: u32, of: usize| {
        tried.set(tried.get() + 1);
        let of = u32::try_from(of).unwrap_or(u32::MAX);
        desk.progress(step(&format!("trying key slot {slot} of {path}"), (tried.get(), of)));
    };
    match stretch(&header, bytes, secret, &|| !desk.cancelled(), &trying) {
        Ok(opened) => {
            desk.log(&format!("key slot {} opened {path}", opened.slot));
            jobs.keys.keep(path, &header, opened.key, plain);
            jobs.inspect(desk)
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

/// The volume of that path that can be opened.
fn locked<'a>(inspection: &'a Inspection, path: &VolumePath) -> Done<&'a Volume> {
    let refused = |says: String, advice: String| Stop::failed(ExitCode::Refused, says, advice);
    let volume = inspection.volume(path).ok_or_else(|| {
        let there: Vec<String> = inspection.locked().map(|v| v.path.to_string()).collect();
        let advice = match there.as_slice() {
            [] => "nothing on these disks is encrypted and locked".to_owned(),
            there => format!("encrypted and locked: {}", there.join(", ")),
        };
        refused(format!("there is no volume {path}"), advice)
    })?;
    match &volume.content {
        Content::Luks(info) => match &info.not_opened {
            None => Ok(volume),
            Some(why) => Err(refused(format!("{path} cannot be opened here: {why}"), String::new())),
        },
        _ => Err(refused(
            format!("{path} is no LUKS volume ({})", volume.kind()),
            "name the encrypted volume".to_owned(),
        )),
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
