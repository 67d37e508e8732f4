//! A disk that remembers what is written to it: a file in memory, served by FUSE, below a loop device. The kernel's own loop
//! driver sends it every write as it comes, and an fsync for every flush of the disk's cache.

use crate::fuse::{self, Served};
use qemu_tests::Result;
use qemu_tests::machine::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What reached the disk.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// Bytes, for that place.
    Write(usize, Vec<u8>),
    /// All that was written before is to be durable.
    Flush,
}

/// The disk's content, and what was written since it was put in.
#[derive(Default)]
pub(crate) struct Medium {
    bytes: Vec<u8>,
    log: Vec<Entry>,
}

impl Served for Medium {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, at: usize, len: usize) -> &[u8] {
        let at = at.min(self.bytes.len());
        &self.bytes[at..(at + len).min(self.bytes.len())]
    }

    fn write(&mut self, at: usize, bytes: &[u8]) -> bool {
        let Some(place) = self.bytes.get_mut(at..at + bytes.len()) else { return false };
        place.copy_from_slice(bytes);
        self.log.push(Entry::Write(at, bytes.to_vec()));
        true
    }

    fn sync(&mut self) {
        self.log.push(Entry::Flush);
    }
}

/// A disk of a fixed size, attached.
pub(crate) struct Recorder {
    medium: Arc<Mutex<Medium>>,
    folder: PathBuf,
    /// The loop device.
    pub(crate) device: PathBuf,
    server: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Attaches a disk of `size` bytes; `folder` is where it is served, and must not be there yet.
    pub(crate) fn new(folder: PathBuf, size: usize) -> Result<Self> {
        fs::create_dir(&folder)?;
        let medium = Arc::new(Mutex::new(Medium { bytes: vec![0; size], log: Vec::new() }));
        let server = fuse::serve(&folder, medium.clone())?;
        let file = folder.join(fuse::NAME);
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&file).output()?;
        let device = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let recorder = Self { medium, folder, device, server: Some(server) };
        if !output.status.success() {
            return Err(format!("losetup: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
        }
        Ok(recorder)
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts other content in; what was remembered is forgotten. Nobody may have the device open.
    pub(crate) fn load(&self, bytes: &[u8]) {
        let mut medium = self.medium();
        medium.bytes.copy_from_slice(bytes);
        medium.log.clear();
    }

    /// What it holds.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.medium().bytes.clone()
    }

    /// How much was written and flushed so far.
    pub(crate) fn position(&self) -> usize {
        self.medium().log.len()
    }

    /// Hands over what was written since the content was put in.
    pub(crate) fn take_log(&self) -> Vec<Entry> {
        std::mem::take(&mut self.medium().log)
    }

    /// Has the kernel write out what it keeps of the device itself: the metadata of a mounted file system, without its data.
    pub(crate) fn sync_device(&self) -> Result<()> {
        Ok(fs::File::open(&self.device)?.sync_all()?)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = run(Command::new("losetup").arg("--detach").arg(&self.device));
        unmount(&self.folder);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Unmounts what may still be in use for a moment: a loop device lets go of its file a little later.
fn unmount(at: &Path) {
    for _ in 0..50 {
        if sys::mount::unmount(at).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let _ = run(Command::new("umount").arg("--lazy").arg(at));
}
