//! Taking files out of a snapshot: into a tree that is made new, under its name only when it is whole.
//!
//! What gives power to whoever made the file system is left out unless it is asked for: devices, set-user-ID and
//! set-group-ID bits, capabilities and other attributes of the system.

use super::into::{Filled, MakeIn};
use super::{Place, room};
use crate::parser::{Parser, ParserError};
use crate::run::{Meter, Observer, Stop};
use model::command::ExitCode;
use model::files::{Attributes, FileId, FilePath, Got, Layout, Named, Remarks};
use model::id::SnapRef;
use model::inspection::FileKind;
use model::ports::Clock;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use store::Store;
use sys::new_file::NewFileError;
use sys::new_tree::{Marks, NewTree, may_give_away};

/// Bytes that are read at a time.
const PIECE: u64 = 1 << 20;
/// How deep a tree is followed: each directory on the way is held open.
const MOST_DEPTH: usize = 256;
/// Most entries of a directory, most directories, and most files with several names that are remembered.
const MOST: usize = 1 << 20;

/// What is wanted.
pub(crate) struct Order<'a> {
    pub(crate) snapshot: &'a SnapRef,
    pub(crate) at: &'a FilePath,
    pub(crate) to: To<'a>,
    pub(crate) privileged: bool,
}

/// What is to be made.
#[derive(Clone, Copy)]
pub(crate) enum To<'a> {
    /// This, as the system names it.
    Path(&'a RawName),
    /// Something beside the store in this directory.
    Beside(&'a Path),
}

/// Takes a file or a directory with everything in it out of a snapshot.
///
/// # Errors
/// [`Stop`]; then nothing was made.
pub(crate) fn get(
    store: &Store,
    parser: &dyn Parser,
    (clock, observer): (&dyn Clock, &dyn Observer),
    order: &Order<'_>,
) -> Result<Got, Stop> {
    let (snapshot, manifest) = store.find(order.snapshot, None)?;
    let place = Place::of(store, parser, (snapshot, &manifest), order.at)?;
    let top = place.top()?;
    match order.to {
        To::Path(path) => {
            let to = PathBuf::from(OsString::from_vec(path.0.clone()));
            let tree = NewTree::create(&to).map_err(refused)?;
            made(&place, tree, &top, (clock, observer), (order, ("writing", (1, 1), ByteLen::ZERO)))
        }
        To::Beside(store) => {
            let size = room::size(&place, &top, (clock, observer))?;
            let to = room::beside(store, &place)?;
            let got = NewTree::create(&to).map_err(refused).and_then(|tree| {
                room::check(size.room, tree.free())?;
                made(&place, tree, &top, (clock, observer), (order, ("writing", (2, 2), size.content)))
            });
            if got.is_err() {
                room::forget_empty(&to);
            }
            got
        }
    }
}

/// Fills a tree and gives it its name.
fn made(
    place: &Place<'_>,
    tree: NewTree,
    top: &Named,
    (clock, observer): (&dyn Clock, &dyn Observer),
    (order, phase): (&Order<'_>, (&str, (u32, u32), ByteLen)),
) -> Result<Got, Stop> {
    let (got, made) = take(place, &tree, top, (clock, observer), (order, phase))?;
    if !made {
        let why = got.damaged.first.first().or(got.left_out.first.first()).map(|(_, why)| why.to_string());
        let says = format!("{} was not taken out: {}", place.path.display(), why.unwrap_or_default());
        let code = if got.damaged.count > 0 { ExitCode::Damage } else { ExitCode::Refused };
        return Err(Stop::failed(code, says, "nothing was made"));
    }
    going(observer)?;
    tree.publish().map_err(refused)?;
    Ok(got)
}

/// Makes what is wanted in a tree; says what was made, and whether anything was.
fn take(
    place: &Place<'_>,
    tree: &NewTree,
    top: &Named,
    (clock, observer): (&dyn Clock, &dyn Observer),
    (order, (phase, step, total)): (&Order<'_>, (&str, (u32, u32), ByteLen)),
) -> Result<(Got, bool), Stop> {
    let (dir, name) = tree.top();
    let meter = Meter::start(observer, clock, phase, step, total, false);
    let made = RawName(tree.path().as_os_str().as_bytes().to_vec());
    let mut taker = Taker::new(place, observer, meter, dir, &made);
    taker.privileged = order.privileged;
    taker.owners = may_give_away();
    let made = taker.one(dir, name, top, &mut vec![name.to_vec()])?;
    if !taker.owners {
        taker.got.left_out.add(b"", "owners and groups: only root can give files to others");
    }
    Ok((taker.got, made))
}

/// Copies what stands at a place, `top`, to a free name in a directory, with everything that is kept of it.
///
/// # Errors
/// [`Stop`] where it was stopped, or cannot be written. What cannot be read or made is told, and left out.
pub(in crate::run) fn copy<D: MakeIn>(
    place: &Place<'_>,
    top: &Named,
    (dir, name): (&D, &[u8]),
    (observer, meter): (&dyn Observer, Meter<'_>),
) -> Result<Got, Stop> {
    let mut taker = Taker::new(place, observer, meter, dir, &RawName(name.to_vec()));
    (taker.privileged, taker.owners, taker.flags) = (true, true, true);
    taker.one(dir, name, top, &mut vec![name.to_vec()])?;
    Ok(taker.got)
}

pub(super) fn going(observer: &dyn Observer) -> Result<(), Stop> {
    match observer.cancelled() {
        false => Ok(()),
        true => Err(Stop::Cancelled("stopped; what was begun was removed".into())),
    }
}

struct Taker<'a, D: MakeIn> {
    place: &'a Place<'a>,
    observer: &'a dyn Observer,
    meter: Meter<'a>,
    /// What paths of things made before begin in.
    base: &'a D,
    privileged: bool,
    /// Owners can be given.
    owners: bool,
    /// Inode flags are given.
    flags: bool,
    /// Directories that were made: one that comes again is no tree.
    seen: HashSet<FileId>,
    /// Where a file with several names was made.
    linked: HashMap<FileId, Vec<Vec<u8>>>,
    got: Got,
}

/// Why a file was not made as it was.
enum Fault {
    /// It cannot be read.
    Read(String),
    /// It cannot be written here: nothing else can be, either.
    Stop(Stop),
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<ParserError> for Fault {
    fn from(e: ParserError) -> Self {
        Self::Read(e.to_string())
    }
}

impl<'a, D: MakeIn> Taker<'a, D> {
    fn new(place: &'a Place<'a>, observer: &'a dyn Observer, meter: Meter<'a>, base: &'a D, to: &RawName) -> Self {
        Self {
            place,
            observer,
            meter,
            base,
            privileged: false,
            owners: false,
            flags: false,
            seen: HashSet::new(),
            linked: HashMap::new(),
            got: Got {
                snapshot: place.snapshot,
                volume: place.volume.clone(),
                path: place.path.clone(),
                to: to.clone(),
                files: 0,
                directories: 0,
                others: 0,
                written: ByteLen::ZERO,
                left_out: Remarks::default(),
                damaged: Remarks::default(),
            },
        }
    }

    /// Makes one thing of a name that is free; false where it is left out. `path` is where, from the base.
    fn one(&mut self, dir: &D, name: &[u8], what: &Named, path: &mut Vec<Vec<u8>>) -> Result<bool, Stop> {
        going(self.observer)?;
        let Some(a) = &what.attributes else {
            self.got.damaged.add(&shown(path), "what is kept of it is damaged");
            return Ok(false);
        };
        let marks = self.marks(a, path);
        match a.kind {
            FileKind::Directory => self.directory(dir, name, what.file, &marks, path),
            FileKind::File => self.file(dir, name, (what.file, a), &marks, path),
            FileKind::Symlink => {
                let target = a.target.as_ref().map_or(&[][..], |t| &t.0);
                let made = dir.symlink(name, target, &marks);
                self.other(made, path)
            }
            FileKind::Special if a.device.is_some() && !self.privileged => {
                self.got.left_out.add(&shown(path), "a device: --privileged makes it");
                Ok(false)
            }
            FileKind::Special => {
                let made = dir.special(name, a.mode, a.device.unwrap_or_default(), &marks);
                self.other(made, path)
            }
        }
    }

    fn other(&mut self, made: io::Result<()>, path: &[Vec<u8>]) -> Result<bool, Stop> {
        match made {
            Ok(()) => {
                self.got.others += 1;
                Ok(true)
            }
            Err(e) => self.unmade(&e, path),
        }
    }

    /// Something could not be made: another of its name stands there, or the place knows no such thing. A full disk ends all.
    fn unmade(&mut self, e: &io::Error, path: &[Vec<u8>]) -> Result<bool, Stop> {
        match e.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::ReadOnlyFilesystem => {
                Err(unwritten(e))
            }
            io::ErrorKind::AlreadyExists => {
                let why = "its name is taken: it is there twice, or upper and lower case are one here";
                self.got.damaged.add(&shown(path), why);
                Ok(false)
            }
            _ => {
                self.got.left_out.add(&shown(path), &format!("it cannot be made here: {e}"));
                Ok(false)
            }
        }
    }

    fn directory(
        &mut self,
        dir: &D,
        name: &[u8],
        file: FileId,
        marks: &Marks,
        path: &mut Vec<Vec<u8>>,
    ) -> Result<bool, Stop> {
        if path.len() > MOST_DEPTH || self.seen.len() >= MOST || !self.seen.insert(file) {
            self.got.damaged.add(&shown(path), "a directory that is too deep, or its own parent");
            return Ok(false);
        }
        let entries = match self.place.entries(file, MOST) {
            Ok((entries, false)) => entries,
            Ok((entries, true)) => {
                self.got.damaged.add(&shown(path), "it has more names than are taken out");
                entries
            }
            Err(e) => {
                self.got.damaged.add(&shown(path), &e.to_string());
                return Ok(false);
            }
        };
        let here = match dir.dir(name) {
            Ok(here) => here,
            Err(e) => return self.unmade(&e, path),
        };
        self.got.directories += 1;
        for entry in &entries {
            path.push(entry.name.0.clone());
            let made = self.one(&here, &entry.name.0, entry, path);
            path.pop();
            made?;
        }
        let marked = here.mark(marks);
        self.marked(marked, path, || here.mark(&Marks { xattrs: Vec::new(), ..marks.clone() }))?;
        Ok(true)
    }

    fn file(
        &mut self,
        dir: &D,
        name: &[u8],
        (file, a): (FileId, &Attributes),
        marks: &Marks,
        path: &[Vec<u8>],
    ) -> Result<bool, Stop> {
        if let Some(first) = self.linked.get(&file) {
            return match self.base.link(first, dir, name) {
                Ok(()) => Ok(true),
                Err(e) => self.unmade(&e, path),
            };
        }
        let made = match dir.file(name) {
            Ok(made) => made,
            Err(e) => return self.unmade(&e, path),
        };
        match self.content(&made, file, a.size, path) {
            Ok(()) => {}
            Err(Fault::Stop(stop)) => return Err(stop),
            Err(Fault::Read(why)) => {
                self.got.damaged.add(&shown(path), &why);
                dir.remove(name).map_err(|e| unwritten(&e))?;
                return Ok(false);
            }
        }
        let marked = made.mark(marks);
        self.marked(marked, path, || made.mark(&Marks { xattrs: Vec::new(), ..marks.clone() }))?;
        self.got.files += 1;
        if a.links > 1 && self.linked.len() < MOST {
            self.linked.insert(file, path.to_vec());
        }
        Ok(true)
    }

    /// Attributes are what places do not know: without them the rest is tried again.
    fn marked(
        &mut self,
        marked: io::Result<()>,
        path: &[Vec<u8>],
        without: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Stop> {
        let Err(e) = marked else { return Ok(()) };
        self.got.left_out.add(&shown(path), &format!("some of its attributes: {e}"));
        if let Err(e) = without() {
            self.got.left_out.add(&shown(path), &format!("its owner, mode or times: {e}"));
        }
        Ok(())
    }

    fn content(&mut self, to: &D::File, file: FileId, size: ByteLen, path: &[Vec<u8>]) -> Result<(), Fault> {
        let failed = |e: io::Error| Fault::Stop(unwritten(&e));
        to.set_len(size).map_err(failed)?;
        let (mut at, mut lost) = (ByteOffset(0), 0);
        while at.0 < size.0 {
            match self.place.layout(file, at)? {
                Layout::Within(bytes) => {
                    let len = size.to_usize().unwrap_or(usize::MAX).min(bytes.0.len());
                    to.write_all_at(ByteOffset(0), &bytes.0[..len]).map_err(failed)?;
                    self.got.written.0 += len as u64;
                    return Ok(());
                }
                Layout::Unpacked { from, bytes, end } => {
                    let len = size.0.saturating_sub(from.0).min(bytes.0.len() as u64);
                    to.write_all_at(from, &bytes.0[..ByteLen(len).to_usize().unwrap_or(0)]).map_err(failed)?;
                    self.got.written.0 += len;
                    self.meter.add(len);
                    at = behind(end, at)?;
                }
                Layout::Pieces { pieces, end } => {
                    for (start, piece) in pieces {
                        lost += self.place.unreadable.clip(piece).total().0;
                        self.piece(to, start, piece, size)?;
                    }
                    at = behind(end, at)?;
                }
            }
        }
        if lost > 0 {
            let says = format!("{} of it could not be read when it was saved: zeros", ByteLen(lost));
            self.got.damaged.add(&shown(path), &says);
        }
        Ok(())
    }

    /// Writes a piece of a file that begins at its byte `start`; nothing past its end.
    fn piece(&mut self, to: &D::File, start: ByteOffset, piece: Extent, size: ByteLen) -> Result<(), Fault> {
        let len = piece.len().0.min(size.0.saturating_sub(start.0));
        let mut done = 0;
        while done < len {
            going(self.observer)?;
            let n = (len - done).min(PIECE);
            let place = ByteOffset(piece.start().0 + done);
            let bytes = self.place.bytes().read_vec(place, ByteLen(n).to_usize().unwrap_or(0));
            let bytes = bytes.map_err(|e| Fault::Read(e.to_string()))?;
            to.write_all_at(ByteOffset(start.0 + done), &bytes).map_err(|e| Fault::Stop(unwritten(&e)))?;
            self.got.written.0 += n;
            self.meter.add(n);
            done += n;
        }
        Ok(())
    }

    /// What a thing is to be given, without what is not asked for.
    fn marks(&mut self, a: &Attributes, path: &[Vec<u8>]) -> Marks {
        let mut mode = a.mode & 0o7777;
        let mut without = Vec::new();
        if mode & 0o6000 != 0 && !self.privileged && a.kind != FileKind::Symlink {
            mode &= !0o6000;
            without.push("its set-user-ID or set-group-ID bit".to_owned());
        }
        let (xattrs, system): (Vec<_>, Vec<_>) = a.xattrs.iter().partition(|(name, _)| {
            self.privileged || name.0.starts_with(b"user.") || name.0.starts_with(b"system.posix_acl_")
        });
        without.extend(system.iter().map(|(name, _)| format!("its attribute {}", name.display())));
        for what in without {
            self.got.left_out.add(&shown(path), &format!("{what}: --privileged keeps it"));
        }
        Marks {
            owners: self.owners.then_some((a.owner, a.group)),
            mode,
            times: a.modified.map(|modified| (a.accessed.unwrap_or(modified), modified)),
            xattrs: xattrs.into_iter().map(|(name, value)| (name.0.clone(), value.0.clone())).collect(),
            flags: if self.flags { a.flags } else { 0 },
        }
    }
}

/// Up to where a part of a file tells, if that is further than it was asked from.
fn behind(end: ByteOffset, at: ByteOffset) -> Result<ByteOffset, Fault> {
    if end > at { Ok(end) } else { Err(Fault::Read("its map does not hold together".to_owned())) }
}

/// A path from where the taking out began.
fn shown(path: &[Vec<u8>]) -> Vec<u8> {
    path.get(1..).unwrap_or_default().join(&b'/')
}

fn refused(e: NewFileError) -> Stop {
    match &e {
        NewFileError::Exists { .. } => {
            Stop::failed(ExitCode::Refused, e.to_string(), "nothing is overwritten: choose another name")
        }
        NewFileError::Nameless { .. } => Stop::failed(ExitCode::Failed, e.to_string(), "name what is to be made"),
        NewFileError::Io { .. } => Stop::failed(
            ExitCode::Failed,
            e.to_string(),
            "check the place it is to be written to; nothing was left there",
        ),
    }
}

fn unwritten(e: &io::Error) -> Stop {
    let advice = "check the place it is to be written to, or name one with more room; what was begun was removed";
    Stop::failed(ExitCode::Failed, format!("writing failed: {e}"), advice)
}
