//! Unlocking what a policy names, with key files that lie beside it.
//!
//! A key file is read by the engine alone, from a folder that whoever gave the policy named, by a name that leads nowhere else.

use crate::gather;
use crate::jobs::{Done, Jobs};
use crate::run::{Observer, Stop};
use crate::unlocking::tried;
use crate::worker::Desk;
use model::command::VolumeKey;
use model::inspection::{Content, Volume};
use model::policy::{Policy, UnlockBy};
use model::text::{DisplayText, RawName};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use store::Store;

/// Longest key file: cryptsetup's own bound, unless it is told otherwise (8 MiB, cryptsetup(8), `--keyfile-size`).
const MOST_KEY: u64 = 8 << 20;

/// Unlocks the volumes that a policy names. Gives of those that stay locked why, a sentence each: they are saved as locked ones are.
///
/// # Errors
/// [`Stop::Cancelled`].
pub(crate) fn unlock(
    jobs: &Jobs,
    (policy, folder): (&Policy, Option<&RawName>),
    store: &Store,
    desk: &Desk,
) -> Done<Vec<DisplayText>> {
    let mut locked = Vec::new();
    if policy.unlock.is_empty() {
        return Ok(locked);
    }
    let inspection = gather::inspect(&jobs.config.devices.disks(), &*jobs.config.parser);
    for volume in inspection.locked() {
        let Content::Luks(info) = &volume.content else { continue };
        let Some(by) = policy.unlock.iter().find(|u| u.uuid.eq_ignore_ascii_case(&info.uuid)) else { continue };
        let opened = match (store.is_encrypted(), policy.allow_plain) {
            (false, false) => Err("what lies in it would be saved in clear, and the policy does not allow that \
                                   (`allow-plain = yes`)"
                .to_owned()),
            _ => open(jobs, (volume, by), (folder, policy.allow_plain), desk)?,
        };
        if let Err(why) = opened {
            let says = format!("{} stays locked: {why}", volume.path);
            desk.log(&says);
            locked.push(DisplayText::new(&says));
        }
    }
    Ok(locked)
}

/// Unlocks one; or why not.
fn open(
    jobs: &Jobs,
    (volume, by): (&Volume, &UnlockBy),
    (folder, plain): (Option<&RawName>, bool),
    desk: &Desk,
) -> Done<Result<(), String>> {
    let key = match folder.map(|f| read(Path::new(OsStr::from_bytes(&f.0)), &by.file)) {
        Some(Ok(key)) => VolumeKey::new(key),
        Some(Err(e)) => return Ok(Err(format!("its key file {} cannot be read: {e}", by.file))),
        None => return Ok(Err(format!("nobody told where its key file {} is", by.file))),
    };
    let header = match jobs.config.parser.luks(volume) {
        Ok(header) => header,
        Err(e) => return Ok(Err(format!("its LUKS header cannot be used: {e}"))),
    };
    let Some(bytes) = disk::volume::bytes(&jobs.config.devices.disks(), volume) else {
        return Ok(Err("it is gone".to_owned()));
    };
    match tried(jobs, (&volume.path, &header), bytes, (&key, plain), desk) {
        Ok(()) => Ok(Ok(())),
        Err(Stop::Cancelled(says)) => Err(Stop::Cancelled(says)),
        Err(Stop::Failed(f) | Stop::Full(f)) => Ok(Err(format!("its key file {} does not do: {}", by.file, f.says))),
    }
}

/// A key file of the folder.
fn read(folder: &Path, name: &str) -> io::Result<Vec<u8>> {
    let key = sys::plain_file::read(&folder.join(name), MOST_KEY)?;
    match key.len() as u64 {
        0 => Err(io::Error::other("it is empty")),
        len if len > MOST_KEY => Err(io::Error::other(format!("it has more than {MOST_KEY} bytes"))),
        _ => Ok(key),
    }
}
