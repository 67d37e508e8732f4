//! What these tests share: the tools of the host that make images and judge them, and images as things to read.
#![allow(dead_code, reason = "each test file uses its own part")]

use model::id::DiskNo;
use model::inspection::{Hardware, Severity};
use model::ports::{DiskSource, ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// An image file, read as a disk is.
pub(crate) struct Image(File);

impl ReadAt for Image {
    fn size(&self) -> ByteLen {
        ByteLen(self.0.metadata().expect("an open file").len())
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        self.0.read_exact_at(buf, at.0).map_err(|source| ReadError::Io { at: at.0, len: buf.len() as u64, source })
    }
}

/// Opens an image for reading.
pub(crate) fn image(path: &Path) -> Arc<dyn ReadAt> {
    Arc::new(Image(File::open(path).expect("the image that was just made")))
}

/// A disk of an inspection.
pub(crate) fn source(no: u16, bytes: Arc<dyn ReadAt>) -> DiskSource {
    let hardware = Hardware::image("test", bytes.size());
    DiskSource { no: DiskNo(no), hardware, bytes, clear: None }
}

/// A sparse file of that size.
pub(crate) fn blank(dir: &Path, name: &str, size: u64) -> PathBuf {
    let path = dir.join(name);
    File::create(&path).and_then(|f| f.set_len(size)).expect("room for a sparse file");
    path
}

/// Overwrites part of an image.
pub(crate) fn patch(path: &Path, at: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).expect("an image");
    file.write_all_at(bytes, at).expect("room in the image");
}

/// Copies `from` into `into` at `at`.
pub(crate) fn place(from: &Path, into: &Path, at: u64) {
    patch(into, at, &std::fs::read(from).expect("an image"));
}

/// Runs a tool of the host and gives what it printed. Fails where it is missing or fails.
pub(crate) fn run(package: &str, tool: &str, args: &[&str], input: &str) -> String {
    let (ok, out) = attempt(package, tool, args, input);
    assert!(ok, "{tool} {args:?} failed: {out}");
    out
}

/// Runs a tool that may fail: whether it went well, and what it printed.
pub(crate) fn attempt(package: &str, tool: &str, args: &[&str], input: &str) -> (bool, String) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let mut child = Command::new(tool)
        .args(args)
        .env("PATH", path)
        .env("LC_ALL", "C.UTF-8")
        .env("MTOOLS_SKIP_CHECK", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{tool} cannot be run ({e}): install the package {package}"));
    let mut stdin = child.stdin.take().expect("piped");
    // A tool that does not read its input closes it early.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let out = child.wait_with_output().expect("a child of ours");
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// A small generator of numbers that are the same on every run (SplitMix64).
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    /// The next number.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A byte, often one of those that break things.
    pub(crate) fn byte(&mut self) -> u8 {
        let n = self.next();
        let all = [0, 1, 0x7f, 0x80, 0xff, n.to_le_bytes()[1], n.to_le_bytes()[2], n.to_le_bytes()[3]];
        all[usize::try_from(n % 8).expect("below 8")]
    }
}

/// The texts of findings at least as bad as that.
pub(crate) fn texts(findings: &[model::inspection::Finding], from: Severity) -> Vec<&str> {
    findings.iter().filter(|f| f.severity >= from).map(|f| f.says.as_str()).collect()
}
