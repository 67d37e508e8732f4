//! What the tests with real tools share.

// Each test program uses its own part of this.
#![allow(dead_code)]

pub(crate) mod histories;
pub(crate) mod journals;
pub(crate) mod lived;
pub(crate) mod machine;

use model::evidence::{Evidence, Fact, Origin};
use model::id::{DiskNo, VolumePath};
use model::ports::{ReadAt, ReadError};
use model::text::RawName;
use model::units::{ByteLen, ByteOffset};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};

/// An origin of that path.
pub(crate) fn at(path: &str) -> Origin {
    Origin { volume: VolumePath::partition(DiskNo(0), 2), path: Some(RawName::from(path)), range: None }
}

/// A file on this machine, and how many bytes were read of it.
pub(crate) struct HostFile {
    file: std::fs::File,
    size: u64,
    read: AtomicU64,
}

impl HostFile {
    pub(crate) fn open(path: &Path) -> Self {
        let file = std::fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let size = file.metadata().unwrap().len();
        Self { file, size, read: AtomicU64::new(0) }
    }

    pub(crate) fn bytes_read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

impl ReadAt for HostFile {
    fn size(&self) -> ByteLen {
        ByteLen(self.size)
    }
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        model::ports::check_range(at, buf.len(), self.size())?;
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.file.read_exact_at(buf, at.0).map_err(|source| ReadError::Io { at: at.0, len: buf.len() as u64, source })
    }
}

/// Runs a tool of this machine, or fails naming the package that has it.
pub(crate) fn run(command: &mut Command, package: &str) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().unwrap_or_else(|e| panic!("{name} does not run ({e}): install the package {package}"))
}

/// The one fact of that kind.
pub(crate) fn facts(evidence: &[Evidence], wanted: impl Fn(&Fact) -> bool) -> Vec<Fact> {
    evidence.iter().map(|e| e.fact.clone()).filter(|f| wanted(f)).collect()
}

/// A seeded generator (xorshift64*), so that a failure can be had again.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.roll() % n as u64).unwrap()
    }
}
