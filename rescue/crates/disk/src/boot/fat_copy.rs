//! A FAT volume in memory to which small files are written, by the `fatfs` crate: it never sees more than a copy. What it
//! leaves undone is mended on the bytes.

use super::image::{self, Seen};
use crate::fs::fat::Fat;
use crate::fs::{self, FileSystem as _};
use crate::io::{Overlay, Stream};
use fatfs::{FileSystem, FsOptions};
use model::coverage::CaptureMethod;
use model::inspection::Content;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;

/// Most that may change: boot loaders are a few MB.
const MOST_CHANGED: ByteLen = ByteLen(48 << 20);
/// The largest file that is copied.
const MOST_FILE: u64 = 32 << 20;

pub(super) struct FatCopy {
    content: Content,
    now: Overlay,
}

impl FatCopy {
    /// A copy of a volume whose allocation table holds together.
    pub(super) fn new(content: &Content, bytes: Arc<dyn ReadAt>) -> Result<Self, &'static str> {
        let copy = Self { content: content.clone(), now: Overlay::new(bytes, 512, MOST_CHANGED) };
        match copy.is_sound() {
            true => Ok(copy),
            false => Err("the FAT does not hold together: let `fsck.vfat` look at it"),
        }
    }

    pub(super) fn end(self) -> Overlay {
        self.now
    }

    /// Copies programs from one place to another.
    pub(super) fn copy(&mut self, files: &[(String, String)]) -> Result<(), String> {
        let contents = files.iter().map(|(from, to)| Ok((to.as_str(), self.program(from)?)));
        let contents = contents.collect::<Result<Vec<_>, String>>()?;
        self.put(&contents)
    }

    /// Writes a file.
    pub(super) fn write(&mut self, path: &str, content: &[u8]) -> Result<(), String> {
        self.put(&[(path, content.to_vec())])
    }

    /// Puts one UUID in the place of another in a text.
    pub(super) fn replace(&mut self, path: &str, old: &str, new: &str) -> Result<(), String> {
        let text = self.read(path)?;
        let text = String::from_utf8(text).map_err(|_| format!("{path} is no text"))?;
        self.put(&[(path, text.replace(old, new).into_bytes())])
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let fs = fs::open(&self.content, Arc::new(self.now.clone())).map_err(|e| e.to_string())?;
        let file = fs.open(path.as_bytes()).map_err(|e| e.to_string())?.ok_or_else(|| format!("{path} is missing"))?;
        match file.size().0 <= MOST_FILE {
            true => file.read_vec(ByteOffset(0), file.size().to_usize().unwrap_or(0)).map_err(|e| e.to_string()),
            false => Err(format!("{path} has {} bytes, more than are copied", file.size().0)),
        }
    }

    /// A program that is whole: nothing else is copied to where firmware looks.
    fn program(&self, path: &str) -> Result<Vec<u8>, String> {
        let bytes = self.read(path)?;
        match image::efi(&bytes).seen {
            Seen::Good(_) => Ok(bytes),
            Seen::Unsure(why) | Seen::Bad(why) => Err(format!("{path} {why}")),
        }
    }

    /// Writes files, and takes all of it back where one cannot be written or does not read back.
    fn put(&mut self, files: &[(&str, Vec<u8>)]) -> Result<(), String> {
        let failed = |e: &dyn std::fmt::Display| format!("it cannot be written to the FAT: {e}");
        let mut stream = Stream::over(self.now.clone());
        let mut made = Vec::new();
        for (path, content) in files {
            if let Some((directory, _)) = path.rsplit_once('/')
                && !self.has(directory)
                && !made.contains(&directory)
            {
                made.push(directory);
            }
            put(&mut stream, path, content).map_err(|e| failed(&e))?;
        }
        let mut now = stream.into_overlay();
        let fs = Fat::load(Arc::new(now.clone())).map_err(|e| failed(&e))?;
        for directory in made {
            mend_directory(&fs, &mut now, directory).map_err(|e| failed(&e))?;
        }
        for (path, _) in files {
            mend_dates(&fs, &mut now, path).map_err(|e| failed(&e))?;
        }
        let before = std::mem::replace(&mut self.now, now);
        let same = |(path, content): &(&str, Vec<u8>)| self.read(path).is_ok_and(|back| back == *content);
        if self.is_sound() && files.iter().all(same) {
            return Ok(());
        }
        self.now = before;
        Err("the FAT did not hold together with it".to_owned())
    }

    fn has(&self, directory: &str) -> bool {
        let fs = Fat::load(Arc::new(self.now.clone()));
        fs.is_ok_and(|fs| fs.stat(directory.as_bytes()).is_ok_and(|found| found.is_some()))
    }

    /// Its allocation table tells what is in use: what is left raw in a snapshot is not written to.
    fn is_sound(&self) -> bool {
        let fs = fs::open(&self.content, Arc::new(self.now.clone()));
        fs.is_ok_and(|fs| fs.coverage().method == CaptureMethod::UsedBlocks)
    }
}

/// Writes one file; makes its directory where that is missing, in one that is there.
fn put(stream: &mut Stream, path: &str, content: &[u8]) -> std::io::Result<()> {
    // It reads from the beginning of what it is given.
    stream.seek(SeekFrom::Start(0))?;
    let fs = FileSystem::new(stream, FsOptions::new())?;
    {
        let (root, path) = (fs.root_dir(), path.trim_start_matches('/'));
        if let Some((directory, _)) = path.rsplit_once('/') {
            root.create_dir(directory)?;
        }
        let mut file = root.create_file(path)?;
        file.truncate()?;
        file.write_all(content)?;
        file.flush()?;
        // Read here once: what a cache of the library holds back would show.
        let mut back = Vec::with_capacity(content.len());
        root.open_file(path)?.read_to_end(&mut back)?;
        if back != content {
            return Err(std::io::Error::other("it does not read back"));
        }
    }
    fs.unmount()
}

/// Bytes of an entry of a directory, and what marks one that is unused (Microsoft "FAT32 File System Specification" 1.03).
const ENTRY: usize = 32;
const UNUSED: u8 = 0xe5;
/// The first day there is: the crate writes none, and a plan must be the same tomorrow.
const FIRST_DAY: [u8; 2] = 0x21u16.to_le_bytes();
/// Where an entry keeps the days on which it was made, read and written.
const DAYS: [usize; 3] = [16, 18, 24];

/// Makes `.` and `..` the first two entries of a directory that the crate made: it gives them long names, which `fsck.vfat` objects
/// to.
fn mend_directory(fs: &Fat, now: &mut Overlay, path: &str) -> Result<(), String> {
    let places = fs.places(path.as_bytes()).map_err(|e| e.to_string())?;
    let first = places.and_then(|(_, first)| first).ok_or("the directory that was made is not there")?;
    let read = now.read_vec(first.start(), 4 * ENTRY).map_err(|e| e.to_string())?;
    let entries: Vec<&[u8]> = read.chunks_exact(ENTRY).collect();
    let called = |name: &[u8; 11]| entries.iter().find(|e| e.starts_with(name)).map(|e| e.to_vec());
    let (own, parent) = called(b".          ").zip(called(b"..         ")).ok_or("it has no entry of its own")?;
    let mut unused = vec![0; ENTRY];
    unused[0] = UNUSED;
    let mended = [own, parent].map(|mut e| {
        day(&mut e);
        e
    });
    now.write(first.start(), &[&mended.concat()[..], &unused, &unused].concat()).map_err(|e| e.to_string())?;
    mend_dates(fs, now, path)
}

fn mend_dates(fs: &Fat, now: &mut Overlay, path: &str) -> Result<(), String> {
    let places = fs.places(path.as_bytes()).map_err(|e| e.to_string())?;
    let (at, _) = places.ok_or("what was made is not there")?;
    let mut entry = now.read_vec(at, ENTRY).map_err(|e| e.to_string())?;
    day(&mut entry);
    now.write(at, &entry).map_err(|e| e.to_string())
}

/// Puts a day where there is none.
fn day(entry: &mut [u8]) {
    for at in DAYS {
        if entry[at..at + 2] == [0, 0] {
            entry[at..at + 2].copy_from_slice(&FIRST_DAY);
        }
    }
}
