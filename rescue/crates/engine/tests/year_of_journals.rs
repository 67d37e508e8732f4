//! A root of 100 GB with a year of journals: an inspection reads the newest of them and no more, in little memory. How long it takes is
//! measured by `cargo compare`.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use engine::gather;
use engine::parser::Local;
use model::assessment::Report;
use model::evidence::Fact;
use model::id::DiskNo;
use model::inspection::Hardware;
use model::ports::{DiskSource, ReadAt, ReadError};
use model::units::{ByteLen, ByteOffset};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the file system.
const SIZE: u64 = 100_000_000_000;
/// Journal files of a year, as a machine has them that rotates each three days.
const YEAR: usize = 120;
/// A file of a real journal (two starts), as the others are too here: what is in them is not read twice.
const JOURNAL: &[u8] = include_bytes!("../../infer/tests/fixtures/ended-then-cut.journal.zst");
/// Bytes that a whole inspection may read of such a disk, and the most memory it may take.
const MOST_READ: u64 = 32 << 20;
const MOST_MEMORY: u64 = 128_000_000;

/// An image, and how many bytes were read of it.
struct Image {
    file: File,
    read: AtomicU64,
}

impl ReadAt for Image {
    fn size(&self) -> ByteLen {
        ByteLen(SIZE)
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        model::ports::check_range(at, buf.len(), self.size())?;
        self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.file.read_exact_at(buf, at.0).map_err(|source| ReadError::Io { at: at.0, len: buf.len() as u64, source })
    }
}

/// A root with so many journal files.
fn root(dir: &Path, files: usize) -> Arc<Image> {
    let tree = dir.join("tree");
    let journals = tree.join("var/log/journal/51cf6ccc767e4b04a52ea314ea229dd7");
    fs::create_dir_all(&journals).unwrap();
    fs::create_dir_all(tree.join("etc")).unwrap();
    fs::write(tree.join("etc/os-release"), "ID=debian\nVERSION_ID=12\nPRETTY_NAME=Debian\n").unwrap();
    fs::write(tree.join("etc/machine-id"), "51cf6ccc767e4b04a52ea314ea229dd7\n").unwrap();
    let bytes = zstd::bulk::decompress(JOURNAL, 9 << 20).unwrap();
    let newest = journals.join("system.journal");
    fs::write(&newest, bytes).unwrap();
    for n in 1..files {
        let older = format!("system@0123456789abcdef0123456789abcdef-{:016x}-{:016x}.journal", n * 4000, n * 3_000_000);
        fs::hard_link(&newest, journals.join(older)).unwrap();
    }
    let image = dir.join("root.img");
    File::create(&image).unwrap().set_len(SIZE).unwrap();
    let made = Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(&tree).arg(&image).output();
    let made = made.unwrap_or_else(|e| panic!("mke2fs does not run ({e}): install the package e2fsprogs"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Arc::new(Image { file: File::open(&image).unwrap(), read: AtomicU64::new(0) })
}

/// What an inspection says of it, and how many bytes it read.
fn inspected(image: &Arc<Image>) -> (Report, u64) {
    let hardware = Hardware::image("large", ByteLen(SIZE));
    let disks = vec![DiskSource { no: DiskNo(0), hardware, bytes: image.clone(), clear: None }];
    let report = gather::report(&disks, &Local::new(disks.clone()), &|_| None);
    (report, image.read.load(Ordering::Relaxed))
}

/// The most memory this process ever used, in bytes (`VmHWM`, proc(5)).
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn no_more_is_read_of_a_year_than_of_a_month() {
    let (month, year) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (of_month, of_year) = (root(month.path(), YEAR / 12), root(year.path(), YEAR));
    let (report, read_of_year) = inspected(&of_year);
    let starts = report.systems[0].evidence.iter().filter(|e| matches!(e.fact, Fact::Boot { .. })).count();
    assert_eq!(starts, 2, "{:#?}", report.systems[0].evidence);
    let (_, read_of_month) = inspected(&of_month);
    println!("{read_of_month} and {read_of_year} bytes read, {} bytes of memory", most_memory());
    // The names of the others, and when they were written.
    let names = (YEAR as u64) * 512;
    assert!(read_of_year <= read_of_month + names, "{read_of_year} bytes read of a year, {read_of_month} of a month");
    assert!(read_of_year <= MOST_READ, "{read_of_year} bytes read");
    assert!(most_memory() <= MOST_MEMORY, "{} bytes of memory", most_memory());
}
