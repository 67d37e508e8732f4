//! Changed bytes: they cost an answer, never the process, and work is bounded.

use crate::changed::Changed;
use crate::host::Seeded;
use crate::tools::{fixture, identify};
use disk::fs;
use disk::{content, coverage};
use model::coverage::CaptureMethod;
use model::id::{DiskNo, VolumePath};
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn look_everywhere(bytes: &Arc<dyn ReadAt>) {
    let (content, _) = content::identify(&VolumePath::whole(DiskNo(0)), bytes);
    let c = coverage::of(&content, bytes.clone());
    assert!(c.used.iter().all(|piece| Extent::whole(bytes.size()).contains(piece)));
    assert!(c.method != CaptureMethod::Raw || c.used.total() == bytes.size());
    let Ok(fs) = fs::open(&content, bytes.clone()) else { return };
    let _ = fs.cuts();
    let _ = fs.losses(&c.used.gaps(Extent::whole(bytes.size())));
    let mut ahead = vec![b"/".to_vec()];
    let mut left = 120;
    while let Some(dir) = ahead.pop() {
        let Ok(Some(found)) = fs.find(&dir) else { continue };
        let _ = fs.list(found.file, 3, 50);
        for entry in fs.read_dir(&dir, 40).unwrap_or_default() {
            let path = [&dir[..], b"/", &entry.name.0].concat();
            left -= 1;
            if left == 0 {
                return;
            }
            match entry.kind {
                FileKind::Directory if path.len() < 200 => ahead.push(path),
                FileKind::File => {
                    if let Ok(Some(named)) = fs.find(&path) {
                        let _ = fs.layout(named.file, ByteOffset(0), 5);
                    }
                    if let Ok(Some(file)) = fs.open(&path) {
                        let len = file.size().0;
                        for at in [0, len / 2, len.saturating_sub(5000)] {
                            let part = usize::try_from((len - at).min(70_000)).unwrap();
                            let _ = file.read_vec(ByteOffset(at), part);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}

/// What a changed byte may lead astray: boot sectors, records, blocks of indexes, tables, directories, the log's first pages.
fn structures(name: &str, base: &[u8]) -> Vec<usize> {
    let sectors = (0..base.len()).step_by(512);
    if name.starts_with("ntfs") {
        let marks: [&[u8]; 2] = [b"FILE", b"INDX"];
        let own = sectors.clone().filter(|at| marks.iter().any(|mark| base[*at..].starts_with(mark)));
        return [0].into_iter().chain(own).collect();
    }
    let entries = |at: &usize| {
        base[*at..*at + 512].as_chunks::<32>().0.iter().filter(|e| matches!(e[0], 0x81..=0x85 | 0xc0 | 0xc1)).count()
            > 1
    };
    // The first of the table, and every directory.
    [0, 2048 * 512].into_iter().chain(sectors.filter(entries)).collect()
}

#[test]
fn changed_bytes_cost_an_answer_and_nothing_else() {
    let mut seeded = Seeded(20_261_130);
    for (name, rounds) in [("exfat", 60), ("ntfs", 90)] {
        let bytes = fixture(name);
        let base = Arc::new(bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap());
        let places = structures(name, &base);
        assert!(places.len() > 30, "{name}: {}", places.len());
        for round in 0..rounds {
            let mut changes = Vec::new();
            for nth in 0..=round % 3 {
                // The first records are what everything hangs on.
                let most = if round % 2 == 0 && nth == 0 { places.len().min(16) } else { places.len() };
                let block = places[usize::try_from(seeded.below(most as u64)).unwrap()];
                for _ in 0..=seeded.below(4) {
                    // Not what an update sequence guards: that would be told at once.
                    let within = usize::try_from(seeded.below(510)).unwrap();
                    changes.push((block + within, seeded.byte()));
                }
            }
            let changed = Arc::new(Changed::new(&base, changes));
            let began = Instant::now();
            look_everywhere(&(changed.clone() as Arc<dyn ReadAt>));
            let read = changed.read();
            assert!(read < 1 << 30, "{name}, round {round}: {read} bytes were read");
            assert!(began.elapsed() < Duration::from_secs(30), "{name}, round {round}");
        }
    }
}

/// A file that says it is as long as can be, a directory that leads to itself, a chain that bites its tail.
#[test]
fn what_has_no_end_ends() {
    let bytes = fixture("exfat");
    let mut changed = bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap();
    // The root's entry in the table leads back to it.
    let fat = 2048 * 512;
    let root = u32::from_le_bytes(changed[96..100].try_into().unwrap());
    let at = fat + usize::try_from(root).unwrap() * 4;
    changed[at..at + 4].copy_from_slice(&root.to_le_bytes());
    let circle: Arc<dyn ReadAt> = Arc::new(changed);
    let (content, _) = identify(&circle);
    assert!(fs::open(&content, circle.clone()).is_err());
    assert_eq!(coverage::of(&content, circle.clone()).used.total(), circle.size());
}
