//! Files and directories of a FAT file system, through the `fatfs` crate.
//!
//! The crate wants to write (on drop, for one) and follows what the disk says without a bound: it gets a [`Stream`] that keeps
//! writes in memory, ends where the clusters end, and gives up after enough calls; and a panic of it is an error.

use super::boot::Geometry;
use crate::fs::FsError;
use crate::guarded;
use crate::io::Stream;
use fatfs::{DirEntry, FileSystem as Inner, FsOptions};
use model::inspection::{FileKind, ListedFile};
use model::ports::{ReadAt, ReadError, UnixMicros, check_range};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset};
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

/// Files up to this size are read when they are opened; of longer ones each read is a walk of its own.
const SLURP: u64 = 4 << 20;
/// Overlay for whatever the crate writes: a status byte, an FSInfo sector.
const MOST_WRITTEN: ByteLen = ByteLen(64 << 10);
/// The most entries of one directory that are looked at: as many as a FAT directory can have (2 MiB of 32 bytes).
const MOST_ENTRIES: usize = 65_536;
/// How deep a path may go.
const MOST_DEPTH: usize = 64;

/// A FAT tree that can be browsed. The crate's own type may not go between threads, so it is made anew for each operation: that
/// reads two sectors.
#[derive(Clone)]
pub(super) struct Files {
    bytes: Arc<dyn ReadAt>,
    /// Where the clusters end.
    end: u64,
    /// No file is longer than all clusters.
    most: u64,
}

/// The upper half of code page 437, which the kernel takes short names to be in (`CONFIG_FAT_DEFAULT_CODEPAGE`).
const CP437: &str = "\
    ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐\
    └┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u{a0}";

/// How short names are written.
#[derive(Debug)]
struct Cp437;

impl fatfs::OemCpConverter for Cp437 {
    fn decode(&self, oem: u8) -> char {
        match oem.checked_sub(0x80) {
            None => char::from(oem),
            Some(upper) => CP437.chars().nth(usize::from(upper)).unwrap_or(char::REPLACEMENT_CHARACTER),
        }
    }

    fn encode(&self, c: char) -> Option<u8> {
        if c.is_ascii() {
            return u8::try_from(c).ok();
        }
        let upper = CP437.chars().position(|x| x == c)?;
        u8::try_from(upper + 0x80).ok()
    }
}

type Entry<'a> = DirEntry<'a, Stream>;

/// What is at a path.
enum At<'a> {
    Root,
    Entry(Entry<'a>),
}

impl Files {
    pub(super) fn new(bytes: Arc<dyn ReadAt>, g: &Geometry) -> Self {
        Self { bytes, end: g.data.end().0, most: g.data.len().0 }
    }

    /// Runs one operation; a panic in it becomes an error.
    fn run<T>(&self, path: &[u8], f: impl FnOnce(&Inner<Stream>) -> std::io::Result<T>) -> Result<T, FsError> {
        let shown = || RawName(path.to_vec()).display();
        let stream = Stream::new(self.bytes.clone(), MOST_WRITTEN).ending_at(self.end);
        guarded(move || match Inner::new(stream, FsOptions::new().oem_cp_converter(&Cp437)) {
            Ok(fs) => Ok(f(&fs)),
            Err(e) => Err(FsError::Incompatible(format!("its files cannot be read: {e}"))),
        })
        .ok_or_else(|| FsError::Corrupt(format!("the way to {} does not hold together", shown())))??
        .map_err(|e| FsError::Corrupt(format!("{} cannot be read: {e}", shown())))
    }

    pub(super) fn stat(&self, path: &[u8]) -> Result<Option<ListedFile>, FsError> {
        let Some(parts) = parts(path) else { return Ok(None) };
        self.run(path, |fs| {
            Ok(find(fs, &parts)?.map(|at| match at {
                At::Root => ListedFile {
                    name: RawName::default(),
                    kind: FileKind::Directory,
                    size: ByteLen::ZERO,
                    modified: None,
                },
                At::Entry(e) => listed(&e),
            }))
        })
    }

    pub(super) fn read_dir(&self, path: &[u8], most: usize) -> Result<Vec<ListedFile>, FsError> {
        let Some(parts) = parts(path) else { return Ok(Vec::new()) };
        self.run(path, |fs| {
            let dir = match find(fs, &parts)? {
                Some(At::Root) => fs.root_dir(),
                Some(At::Entry(e)) if e.is_dir() => e.to_dir(),
                _ => return Ok(Vec::new()),
            };
            let mut out = Vec::new();
            for entry in dir.iter().take(MOST_ENTRIES) {
                let file = listed(&entry?);
                if out.len() == most {
                    break;
                }
                if !matches!(file.name.0.as_slice(), b"." | b"..") {
                    out.push(file);
                }
            }
            Ok(out)
        })
    }

    pub(super) fn open(&self, path: &[u8]) -> Result<Option<Box<dyn ReadAt>>, FsError> {
        let Some(parts) = parts(path) else { return Ok(None) };
        let size = self.run(path, |fs| {
            Ok(match find(fs, &parts)? {
                Some(At::Entry(e)) if e.is_file() => Some(e.len()),
                _ => None,
            })
        })?;
        let Some(size) = size else { return Ok(None) };
        if size > self.most {
            let name = RawName(path.to_vec()).display();
            return Err(FsError::Corrupt(format!(
                "{name} says it has {size} bytes, more than the {} there are",
                self.most
            )));
        }
        let file = File { files: self.clone(), parts, path: path.to_vec(), size: ByteLen(size) };
        if size > SLURP {
            return Ok(Some(Box::new(file)));
        }
        let mut all = vec![0; ByteLen(size).to_usize().expect("bounded by SLURP")];
        file.fill(0, &mut all)?;
        Ok(Some(Box::new(all)))
    }
}

/// The components of a path; `None` for one that leads nowhere in a FAT tree.
fn parts(path: &[u8]) -> Option<Vec<String>> {
    let text = std::str::from_utf8(path).ok()?;
    let parts: Vec<String> = text.split('/').filter(|p| !p.is_empty() && *p != ".").map(str::to_owned).collect();
    (parts.len() <= MOST_DEPTH && parts.iter().all(|p| p != "..")).then_some(parts)
}

/// Goes down a path. Names are equal without regard to case, long or short, as in the kernel.
fn find<'a>(fs: &'a Inner<Stream>, parts: &[String]) -> std::io::Result<Option<At<'a>>> {
    let mut at = At::Root;
    for part in parts {
        let dir = match &at {
            At::Root => fs.root_dir(),
            At::Entry(e) if e.is_dir() => e.to_dir(),
            At::Entry(_) => return Ok(None),
        };
        let wanted = part.to_lowercase();
        let mut next = None;
        for entry in dir.iter().take(MOST_ENTRIES) {
            let entry = entry?;
            if entry.file_name().to_lowercase() == wanted || entry.short_file_name().to_lowercase() == wanted {
                next = Some(entry);
                break;
            }
        }
        match next {
            Some(entry) => at = At::Entry(entry),
            None => return Ok(None),
        }
    }
    Ok(Some(at))
}

/// FAT keeps local time without saying where; it is given as if it were UTC.
fn listed(entry: &Entry<'_>) -> ListedFile {
    let t = entry.modified();
    let small = |n: u16| u8::try_from(n).unwrap_or(u8::MAX);
    let (date, time) = (t.date, t.time);
    let modified = UnixMicros::from_civil(
        i64::from(date.year),
        small(date.month),
        small(date.day),
        small(time.hour),
        small(time.min),
        small(time.sec),
    );
    ListedFile {
        name: RawName(entry.file_name().into_bytes()),
        kind: if entry.is_dir() { FileKind::Directory } else { FileKind::File },
        size: if entry.is_dir() { ByteLen::ZERO } else { ByteLen(entry.len()) },
        modified: modified.and_then(|m| m.0.checked_mul(1000)),
    }
}

/// A file that is too long to be read at once.
struct File {
    files: Files,
    parts: Vec<String>,
    path: Vec<u8>,
    size: ByteLen,
}

impl File {
    fn fill(&self, at: u64, buf: &mut [u8]) -> Result<(), FsError> {
        self.files.run(&self.path, |fs| {
            let Some(At::Entry(entry)) = find(fs, &self.parts)? else {
                return Err(std::io::Error::other("it is gone"));
            };
            let mut file = entry.to_file();
            if file.seek(SeekFrom::Start(at))? != at {
                return Err(std::io::Error::other(format!("its clusters end before byte {at}")));
            }
            file.read_exact(buf)
        })
    }
}

impl ReadAt for File {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size)?;
        let len = buf.len() as u64;
        self.fill(at.0, buf).map_err(|e| ReadError::Io { at: at.0, len, source: std::io::Error::other(e) })
    }
}

#[cfg(test)]
mod tests {
    use super::Cp437;
    use fatfs::OemCpConverter;

    #[test]
    fn every_byte_has_its_character() {
        assert_eq!(Cp437.decode(0x81), 'ü');
        assert_eq!(Cp437.decode(0xff), '\u{a0}');
        for byte in 0..=255 {
            assert_eq!(Cp437.encode(Cp437.decode(byte)), Some(byte));
        }
    }
}
