//! Where files go that are taken out where nobody can say where: the save disk. The room they need is known before anything of
//! them is written.

use super::{MOST, Place};
use crate::run::{Meter, Observer, Stop};
use model::command::ExitCode;
use model::files::{FileId, Layout, Named};
use model::inspection::FileKind;
use model::ports::Clock;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The folder beside the store.
const FOLDER: &str = "files";
/// What stays free for the store (the records of a rollback, and what an undo snapshot of a machine that was saved before adds):
/// this, or half of what is free where that is less.
const RESERVE: u64 = 256 << 20;
/// Blocks of the save disk's file system, and what a name and an inode take of it besides.
const BLOCK: u64 = 4096;
const INODE: u64 = 512;
/// Files longer than this are asked where their content lies: they may be mostly holes.
const LONG: u64 = 1 << 20;
/// Most directories that are looked into.
const MOST_DIRECTORIES: usize = 1 << 20;
/// Names that are tried.
const TRIES: u32 = 1000;

/// A free name for what stands at a place, in a folder of its snapshot in the folder beside a store.
///
/// # Errors
/// [`Stop`] where the folders cannot be made, or everything that could be its name is taken.
pub(super) fn beside(store: &Path, place: &Place<'_>) -> Result<PathBuf, Stop> {
    let all = store.parent().unwrap_or(Path::new("")).join(FOLDER);
    let folder = all.join(place.snapshot.0.short(8));
    make(&all)?;
    make(&folder)?;
    let name = name_of(place);
    for nth in 1..=TRIES {
        let tried = if nth == 1 { name.clone() } else { [&name[..], format!("-{nth}").as_bytes()].concat() };
        let path = folder.join(OsStr::from_bytes(&tried));
        if fs::symlink_metadata(&path).is_err() {
            return Ok(path);
        }
    }
    let says = format!("{} was taken out {TRIES} times already", place.path.display());
    Err(Stop::failed(ExitCode::Refused, says, "remove what is not needed, on another computer"))
}

/// Its name, or that of its volume for all of it.
fn name_of(place: &Place<'_>) -> Vec<u8> {
    let last = place.path.0.rsplit(|b| *b == b'/').next().unwrap_or_default();
    if last.is_empty() { place.volume.to_string().replace('/', "-").into_bytes() } else { last.to_vec() }
}

/// Makes a folder where there is none. A link in its place leads anywhere: it is refused.
fn make(folder: &Path) -> Result<(), Stop> {
    let made = match fs::create_dir(folder) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => match fs::symlink_metadata(folder) {
            Ok(there) if there.is_dir() => Ok(()),
            Ok(_) => Err(io::Error::other("something else has its name")),
            Err(e) => Err(e),
        },
        made => made,
    };
    made.map_err(|e| {
        let says = format!("the folder {} cannot be made: {e}", DisplayText::from_bytes(folder.as_os_str().as_bytes()));
        Stop::failed(ExitCode::Failed, says, "the save disk may be full, or read-only after an error; see the log")
    })
}

/// Removes the folders again where nothing is in them.
pub(super) fn forget_empty(path: &Path) {
    for folder in path.ancestors().skip(1).take(2) {
        // One that holds something stays.
        if fs::remove_dir(folder).is_err() {
            break;
        }
    }
}

/// Refuses what would leave too little room for the store.
pub(super) fn check(needed: ByteLen, free: Option<ByteLen>) -> Result<(), Stop> {
    let Some(free) = free else { return Ok(()) };
    let kept = ByteLen(RESERVE.min(free.0 / 2));
    if needed.0 <= free.0 - kept.0 {
        return Ok(());
    }
    let says = format!(
        "it needs {needed}, and of the {free} that are free on the save disk {kept} are kept for saving and going back"
    );
    let advice = "take out less at a time, or make room by forgetting saved states; it can also be taken out on another computer \
                  with the stick, by `holdfast get`";
    Err(Stop::failed(ExitCode::Refused, says, advice))
}

/// What something takes with everything below it.
pub(super) struct Size {
    /// Room on the disk.
    pub(super) room: ByteLen,
    /// Content, without holes.
    pub(super) content: ByteLen,
}

/// How large something is with everything below it. What cannot be read is not counted.
///
/// # Errors
/// [`Stop::Cancelled`].
pub(super) fn size(
    place: &Place<'_>,
    top: &Named,
    (clock, observer): (&dyn Clock, &dyn Observer),
) -> Result<Size, Stop> {
    let mut counted = Counted {
        place,
        meter: Meter::start(observer, clock, "looking how large it is", (1, 2), ByteLen::ZERO, false),
        linked: HashSet::new(),
        room: 0,
        content: 0,
    };
    let mut seen: HashSet<FileId> = HashSet::new();
    let mut open = Vec::new();
    counted.add(top, &mut open);
    while let Some(dir) = open.pop() {
        if seen.len() >= MOST_DIRECTORIES || !seen.insert(dir) {
            continue;
        }
        let mut skip = 0;
        loop {
            super::get::going(observer)?;
            let Ok((some, last)) = place.entries_behind(dir, skip) else { break };
            skip += some.len();
            some.iter().for_each(|entry| counted.add(entry, &mut open));
            if last || skip >= MOST {
                break;
            }
        }
    }
    Ok(Size { room: ByteLen(counted.room), content: ByteLen(counted.content) })
}

struct Counted<'a> {
    place: &'a Place<'a>,
    meter: Meter<'a>,
    /// Files with several names that were counted.
    linked: HashSet<FileId>,
    room: u64,
    content: u64,
}

impl Counted<'_> {
    /// Counts one thing; a directory is to be opened.
    fn add(&mut self, what: &Named, open: &mut Vec<FileId>) {
        let Some(a) = &what.attributes else { return };
        let (content, blocks) = match a.kind {
            FileKind::Directory => {
                open.push(what.file);
                (0, 1)
            }
            FileKind::File if a.links > 1 && !self.linked.insert(what.file) => return,
            FileKind::File if a.size.0 > LONG => self.stored(what.file, a.size),
            FileKind::File => (a.size.0, a.size.0.div_ceil(BLOCK)),
            FileKind::Symlink | FileKind::Special => (0, 0),
        };
        let room = blocks.saturating_mul(BLOCK).saturating_add(INODE).saturating_add(what.name.0.len() as u64);
        self.room = self.room.saturating_add(room);
        self.content = self.content.saturating_add(content);
        self.meter.add(content);
    }

    /// What a long file has besides holes, and in how many blocks that fits; all of it where that cannot be told.
    fn stored(&self, file: FileId, size: ByteLen) -> (u64, u64) {
        let (mut at, mut content, mut blocks) = (ByteOffset(0), 0u64, 0u64);
        while at.0 < size.0 {
            match self.place.layout(file, at) {
                Ok(Layout::Pieces { pieces, end }) if end > at => {
                    for (_, piece) in &pieces {
                        content = content.saturating_add(piece.len().0);
                        // It may begin and end within one.
                        blocks = blocks.saturating_add(piece.len().0 / BLOCK + 2);
                    }
                    at = end;
                }
                Ok(Layout::Unpacked { bytes, end, .. }) if end > at => {
                    content = content.saturating_add(bytes.0.len() as u64);
                    blocks = blocks.saturating_add(bytes.0.len() as u64 / BLOCK + 2);
                    at = end;
                }
                _ => return (size.0, size.0.div_ceil(BLOCK)),
            }
        }
        (content, blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_left_for_the_store() {
        assert!(check(ByteLen(1), None).is_ok());
        let free = Some(ByteLen(4 * RESERVE));
        assert!(check(ByteLen(3 * RESERVE), free).is_ok());
        assert!(check(ByteLen(1000), Some(ByteLen(2000))).is_ok(), "a small disk takes small files");
        let Err(Stop::Failed(f)) = check(ByteLen(3 * RESERVE + 1), free) else { panic!("no room was taken") };
        assert_eq!(f.code, ExitCode::Refused);
    }
}
