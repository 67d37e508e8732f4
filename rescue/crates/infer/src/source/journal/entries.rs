//! Every entry of files that a real journald wrote, whole and damaged, against `journalctl`.

use super::file::Journal;
use crate::want::JOURNAL_READS;
use model::ports::ReadAt;
use std::path::Path;
use std::process::Command;

/// An entry: its number, when it was written (microseconds since 1970), and the start it is of.
type Told = (u64, u64, String);

/// The files of `tests/fixtures`.
const FILES: [&[u8]; 2] = [
    include_bytes!("../../../tests/fixtures/cut.journal.zst"),
    include_bytes!("../../../tests/fixtures/ended-then-cut.journal.zst"),
];
/// What a file system loses of a file at a time.
const BLOCK: usize = 4096;

fn ours(file: &dyn ReadAt) -> Vec<Told> {
    let Ok(mut journal) = Journal::open(file, JOURNAL_READS) else { return Vec::new() };
    let end = journal.end();
    let entries = (0..end).filter_map(|index| journal.entry(index));
    entries.map(|e| (e.seqnum, e.realtime, super::hex(&e.boot_id))).collect()
}

/// Of the cursors of `journalctl -o export`: `s=COUNTER;i=NUMBER;b=START;m=MONOTONIC;t=TIME;x=HASH`, numbers in hexadecimal.
fn journalctl(file: &[u8], dir: &Path) -> Vec<Told> {
    let path = dir.join("system.journal");
    std::fs::write(&path, file).unwrap();
    let mut command = Command::new("journalctl");
    command.arg(format!("--file={}", path.display())).args(["--no-pager", "-o", "export", "--output-fields=_BOOT_ID"]);
    let output =
        command.output().unwrap_or_else(|e| panic!("journalctl does not run ({e}): install the package systemd"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let cursors = text.lines().filter_map(|line| line.strip_prefix("__CURSOR="));
    cursors
        .map(|cursor| {
            let part = |name: &str| cursor.split(';').find_map(|p| p.strip_prefix(name)?.strip_prefix('=')).unwrap();
            let number = |name| u64::from_str_radix(part(name), 16).unwrap();
            (number("i"), number("t"), part("b").to_owned())
        })
        .collect()
}

fn unpacked(file: &[u8]) -> Vec<u8> {
    zstd::bulk::decompress(file, 9 << 20).unwrap()
}

#[test]
fn every_entry_of_a_whole_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut count = 0;
    for file in FILES.map(unpacked) {
        let told = ours(&file);
        count += told.len();
        assert_eq!(told, journalctl(&file, dir.path()));
    }
    assert!(count > 1000, "{count} entries");
}

/// Blocks that were lost, as after a power cut, and files that end early: of what was in the file, all that journalctl still reads is read, in
/// the same order, and nothing else is. (It tells of torn entries too, of a start without an id.)
#[test]
fn every_entry_of_a_damaged_file() {
    let dir = tempfile::tempdir().unwrap();
    let mut seed = 0x0123_4567_89ab_cdef_u64;
    let mut below = |most: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(seed >> 33).unwrap() % most
    };
    let (mut told, mut more) = (0, 0);
    for file in FILES.map(unpacked) {
        let whole = ours(&file);
        let used = file.iter().rposition(|b| *b != 0).unwrap() / BLOCK;
        for round in 0..12 {
            let mut torn = file.clone();
            if round % 4 == 3 {
                torn.truncate((1 + below(used)) * BLOCK);
            } else {
                for _ in 0..=below(6) {
                    // Not the header: without it neither reads anything.
                    let at = (1 + below(used)) * BLOCK;
                    let end = (at + (1 + below(8)) * BLOCK).min(torn.len());
                    torn[at..end].fill(0);
                }
            }
            let (ours, theirs) = (ours(&torn), journalctl(&torn, dir.path()));
            let mut rest = ours.iter();
            let is_true = |t: &&Told| whole.binary_search(t).is_ok();
            let missed: Vec<&Told> = theirs.iter().filter(is_true).filter(|t| !rest.any(|o| o == *t)).collect();
            assert!(missed.is_empty(), "round {round}: journalctl reads {} more: {:?}", missed.len(), missed.first());
            let invented: Vec<&Told> = ours.iter().filter(|o| whole.binary_search(o).is_err()).collect();
            assert!(invented.is_empty(), "round {round}: {invented:?}");
            told += theirs.len();
            more += ours.len().saturating_sub(theirs.len());
        }
    }
    println!("{told} entries as journalctl reads them, and {more} that it does not");
    assert!(told > 1000, "{told} entries");
}
