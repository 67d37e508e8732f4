//! Writing a snapshot out as disk images: every map's bytes at their places, into files that are made new.
//!
//! The store is only read, through the same proofs as everything else; bytes that do not match their name end the export.
//! No lease is taken: the files come from `sys::new_file`, which opens nothing that exists, so that an export can reach
//! neither a disk of a target nor a file of its user.

mod content;
pub(crate) mod layout;
mod qcow2;
mod raw;

use super::sealed_image::Sealer;
use super::{Context, Meter, Stop};
use content::{gathered, measure};
use layout::{Layout, layouts};
use model::command::{ExitCode, ImageFormat};
use model::event::{Exported, ExportedImage};
use model::id::{SnapRef, VolumePath};
use model::text::{DisplayText, RawName};
use model::units::{ByteLen, ByteOffset, Extent};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use store::{Store, StoreError};
use sys::new_file::{NewFile, NewFileError};

/// Reads of the store ahead of the writing: at most 8 MiB.
const AHEAD: usize = 16;

/// What is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Which snapshot.
    pub snapshot: &'a SnapRef,
    /// One disk or volume of it; every disk where `None`.
    pub only: Option<&'a VolumePath>,
    /// The file to be made.
    pub to: &'a RawName,
    /// How.
    pub format: ImageFormat,
}

/// What an image is written to: the file in the making, bytes in memory in tests.
trait Target {
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    fn write_all_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
}

impl Target for &mut NewFile {
    fn set_len(&mut self, len: u64) -> io::Result<()> {
        NewFile::set_len(self, ByteLen(len))
    }
    fn write_all_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        NewFile::write_all_at(self, ByteOffset(at), bytes)
    }
}

/// An image format: takes what there is in rising order; what it was not given reads as zeros.
trait Image {
    /// Takes bytes. An error leaves an image that is not to be used.
    fn put(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes what comes last. Gives the bytes written in all.
    fn finish(&mut self) -> io::Result<u64>;
}

/// An error where the bytes do not lie within the image; its first byte otherwise.
fn check(at: u64, len: usize, size: u64) -> io::Result<u64> {
    match at.checked_add(len as u64) {
        Some(end) if end <= size => Ok(at),
        _ => Err(io::Error::other(format!("{len} bytes at {at} lie outside an image of {size}"))),
    }
}

fn disordered() -> io::Error {
    io::Error::other("the bytes of an image must come in rising order")
}

/// Writes a snapshot out. On return the images are durable under their names.
///
/// # Errors
/// [`Stop`]: then none of the files is there (where one of several cannot be named at the very end, those before it are).
pub fn export(cx: &Context<'_>, order: &Order<'_>) -> Result<Exported, Stop> {
    let (snapshot, manifest) = cx.store.find(order.snapshot, None)?;
    let layouts = layouts(snapshot, &manifest, order.only)?;
    let sealers = layouts.iter().map(|l| Sealer::new(cx, &l.encrypted)).collect::<Result<Vec<_>, _>>()?;
    for layout in &layouts {
        fits(layout, order.format)?;
    }
    let to = PathBuf::from(OsString::from_vec(order.to.0.clone()));
    let several = layouts.len() > 1;
    let path = |l: &Layout| if several { numbered(&to, &l.of) } else { to.clone() };
    // All names first: one that is taken is said before anything is read.
    let mut files =
        layouts.iter().map(|l| NewFile::create(&path(l)).map_err(refused)).collect::<Result<Vec<_>, _>>()?;
    let bytes = room(cx, order.format, &layouts, &files)?;
    let mut meter = Meter::start(cx.observer, cx.clock, "writing", (2, 2), ByteLen(bytes), false);
    let mut images = Vec::new();
    for ((layout, sealer), file) in layouts.into_iter().zip(&sealers).zip(&mut files) {
        meter.rename(format!("writing {}", layout.of));
        let written = write(cx, order.format, (&layout, sealer), file, &mut meter)?;
        meter.rename(format!("writing {}: making it durable", layout.of));
        file.sync().map_err(refused)?;
        for warning in &layout.warnings {
            cx.observer.log(&format!("{}: {warning}", file.path().display()));
        }
        images.push(ExportedImage {
            file: RawName(file.path().as_os_str().as_bytes().to_vec()),
            of: layout.of,
            format: order.format,
            size: layout.size,
            written: ByteLen(written),
            unreadable: layout.unreadable,
            left_out: layout.left_out,
            warnings: layout.warnings,
        });
    }
    go_on(cx)?;
    files.into_iter().try_for_each(|file| file.publish().map_err(refused))?;
    Ok(Exported { snapshot, images })
}

fn go_on(cx: &Context<'_>) -> Result<(), Stop> {
    match cx.observer.cancelled() {
        false => Ok(()),
        true => Err(Stop::Cancelled("stopped; the unfinished image was removed".into())),
    }
}

fn fits(layout: &Layout, format: ImageFormat) -> Result<(), Stop> {
    if format == ImageFormat::Qcow2 && layout.size.0 > qcow2::MOST {
        let says =
            format!("{} has {}: QEMU reads qcow2 images of at most {}", layout.of, layout.size, ByteLen(qcow2::MOST));
        return Err(Stop::failed(ExitCode::Failed, says, "write a raw image, FILE.img"));
    }
    Ok(())
}

/// `disk-d1.img` of `disk.img`.
fn numbered(path: &Path, disk: &VolumePath) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{disk}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Reads the maps: how much there is to be read, and whether the images will find room. What turns out to be zeros takes
/// less, never more.
fn room(cx: &Context<'_>, format: ImageFormat, layouts: &[Layout], files: &[NewFile]) -> Result<u64, Stop> {
    let mut meter = Meter::start(cx.observer, cx.clock, "reading the maps", (1, 2), ByteLen::ZERO, false);
    let (mut bytes, mut needed) = (0u64, 0u64);
    for layout in layouts {
        meter.rename(format!("reading the maps of {}", layout.of));
        let units = match format {
            ImageFormat::Raw => (raw::BLOCK, raw::BLOCK),
            ImageFormat::Qcow2 => (qcow2::CLUSTER, qcow2::L2_REACH),
        };
        let found = measure(cx.store, layout, units, || go_on(cx))?;
        bytes = bytes.saturating_add(found.bytes);
        needed = needed.saturating_add(match format {
            ImageFormat::Raw => found.blocks.saturating_mul(raw::BLOCK),
            ImageFormat::Qcow2 => qcow2::file_len(layout.size.0, found.blocks, found.regions),
        });
    }
    let free = files.first().and_then(NewFile::free);
    match free {
        Some(free) if free.0 < needed => {
            let says = format!("up to {} are to be written where {free} are free", ByteLen(needed));
            Err(Stop::failed(ExitCode::Refused, says, "name a file on a disk with more room; nothing was written"))
        }
        _ => Ok(bytes),
    }
}

/// Bytes of the store, and where they stand in the image.
type Read = Result<(Vec<Extent>, Vec<u8>), StoreError>;

/// Writes one image, the store being read ahead of it.
fn write(
    cx: &Context<'_>,
    format: ImageFormat,
    (layout, sealer): (&Layout, &Sealer),
    file: &mut NewFile,
    meter: &mut Meter<'_>,
) -> Result<u64, Stop> {
    let path = file.path().to_owned();
    let failed = |e: io::Error| unwritten(&path, &e);
    let mut image: Box<dyn Image + '_> = match format {
        ImageFormat::Raw => Box::new(raw::Raw::new(file, layout.size.0).map_err(failed)?),
        ImageFormat::Qcow2 => Box::new(qcow2::Qcow2::new(file, layout.size.0)),
    };
    let (sender, receiver) = sync_channel(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(|| fetch(cx.store, layout, sender));
        // Taken by value: at its end, good or bad, the reading ends too.
        receiver.into_iter().try_for_each(|read| {
            go_on(cx)?;
            let (places, mut bytes) = read?;
            let all = bytes.len() as u64;
            let mut rest = bytes.as_mut_slice();
            for place in places {
                let len = place.len().to_usize().filter(|len| *len <= rest.len());
                let (here, behind) = rest.split_at_mut(len.ok_or_else(|| failed(disordered()))?);
                sealer.encrypt(place.start().0, here).map_err(failed)?;
                image.put(place.start().0, here).map_err(failed)?;
                rest = behind;
            }
            meter.add(all);
            Ok::<(), Stop>(())
        })
    })?;
    image.finish().map_err(failed)
}

/// Reads what an image holds, until all is read, something cannot be, or nobody takes it any more.
fn fetch(store: &Store, layout: &Layout, to: SyncSender<Read>) {
    for next in gathered(store, layout) {
        let read = next.and_then(|g| g.read(store).map(|bytes| (g.places, bytes)));
        let last = read.is_err();
        if to.send(read).is_err() || last {
            return;
        }
    }
}

fn refused(e: NewFileError) -> Stop {
    match &e {
        NewFileError::Exists { disk: true, .. } => Stop::failed(
            ExitCode::Refused,
            format!("{e}: it is a disk"),
            "an export only makes new files; `holdfast rollback` takes a disk back to a snapshot",
        ),
        NewFileError::Exists { .. } => {
            Stop::failed(ExitCode::Refused, e.to_string(), "an export only makes new files: choose another name")
        }
        NewFileError::Nameless { .. } => Stop::failed(ExitCode::Failed, e.to_string(), "name the file to be made"),
        NewFileError::Io { source, .. } => Stop::failed(ExitCode::Failed, e.to_string(), advice(source)),
    }
}

fn unwritten(path: &Path, e: &io::Error) -> Stop {
    let path = DisplayText::from_bytes(path.as_os_str().as_bytes());
    Stop::failed(ExitCode::Failed, format!("writing {path} failed: {e}"), advice(e))
}

fn advice(e: &io::Error) -> &'static str {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "name a file on a disk with more room; the unfinished image was removed"
        }
        io::ErrorKind::FileTooLarge => {
            "the file system there holds no file of that size: write FILE.qcow2, or name another place"
        }
        io::ErrorKind::NotFound => "name a file in a directory that exists",
        _ => "check the place it is to be written to; no unfinished image was left",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Target for Vec<u8> {
        fn set_len(&mut self, len: u64) -> io::Result<()> {
            self.resize(usize::try_from(len).unwrap(), 0);
            Ok(())
        }
        fn write_all_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            let start = usize::try_from(at).unwrap();
            let end = start + bytes.len();
            if self.len() < end {
                self.resize(end, 0);
            }
            self[start..end].copy_from_slice(bytes);
            Ok(())
        }
    }

    impl Target for &mut Vec<u8> {
        fn set_len(&mut self, len: u64) -> io::Result<()> {
            Target::set_len(&mut **self, len)
        }
        fn write_all_at(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            Target::write_all_at(&mut **self, at, bytes)
        }
    }

    #[test]
    fn several_disks_are_numbered_before_the_extension() {
        let name = |path: &str| numbered(Path::new(path), &"d1".parse().unwrap());
        assert_eq!(name("/a/disk.img"), Path::new("/a/disk-d1.img"));
        assert_eq!(name("my.old.qcow2"), Path::new("my.old-d1.qcow2"));
    }
}
