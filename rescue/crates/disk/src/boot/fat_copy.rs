//! A FAT volume in memory to which small files are written, by the `fatfs` crate: it never sees more than a copy.

use super::image::{self, Seen};
use crate::fs;
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
        let mut stream = Stream::over(self.now.clone());
        let written = files.iter().try_for_each(|(path, content)| put(&mut stream, path, content));
        written.map_err(|e| format!("it cannot be written to the FAT: {e}"))?;
        let before = std::mem::replace(&mut self.now, stream.into_overlay());
        let same = |(path, content): &(&str, Vec<u8>)| self.read(path).is_ok_and(|back| back == *content);
        if self.is_sound() && files.iter().all(same) {
            return Ok(());
        }
        self.now = before;
        Err("the FAT did not hold together with it".to_owned())
    }

    /// Its allocation table tells what is in use: what is left raw in a snapshot is not written to.
    fn is_sound(&self) -> bool {
        let fs = fs::open(&self.content, Arc::new(self.now.clone()));
        fs.is_ok_and(|fs| fs.coverage().method == CaptureMethod::UsedBlocks)
    }
}

fn put(stream: &mut Stream, path: &str, content: &[u8]) -> std::io::Result<()> {
    // It reads from the beginning of what it is given.
    stream.seek(SeekFrom::Start(0))?;
    let fs = FileSystem::new(stream, FsOptions::new())?;
    {
        let root = fs.root_dir();
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        for depth in 1..parts.len() {
            root.create_dir(&parts[..depth].join("/"))?;
        }
        let mut file = root.create_file(&parts.join("/"))?;
        file.truncate()?;
        file.write_all(content)?;
        file.flush()?;
        // Read here once: what a cache of the library holds back would show.
        let mut back = Vec::with_capacity(content.len());
        root.open_file(&parts.join("/"))?.read_to_end(&mut back)?;
        if back != content {
            return Err(std::io::Error::other("it does not read back"));
        }
    }
    fs.unmount()
}
