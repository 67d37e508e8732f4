//! Images with bytes changed: nothing panics, nothing runs on, nothing takes memory without a bound.

use crate::changed::Changed;
use crate::host::Seeded;
use crate::tools::fixture;
use disk::fs::FileSystem;
use disk::fs::xfs::{Xfs, identify};
use model::inspection::FileKind;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Everything a caller does with a file system, on as much of it as is there.
fn look_everywhere(bytes: &Arc<dyn ReadAt>) {
    let _ = identify(bytes);
    let size = bytes.size();
    let Ok(fs) = Xfs::load(bytes.clone()) else { return };
    let coverage = fs.coverage();
    assert!(coverage.used.iter().all(|e| Extent::whole(size).contains(e)), "in use outside the volume");
    assert!(coverage.used.covers(Extent::between(0, 2048).unwrap()), "the superblock is in use");
    assert!(fs.cuts().after(0) > 0);
    let _ = fs.changes(bytes.clone());
    let _ = fs.losses(&[Extent::between(3 << 20, 4 << 20).unwrap()].into_iter().collect());
    let mut ahead = vec![Vec::new()];
    let mut looked = 0;
    while let Some(path) = ahead.pop() {
        for entry in fs.read_dir(&path, 50).unwrap_or_default() {
            looked += 1;
            if looked > 200 {
                return;
            }
            let path = [&path[..], b"/", &entry.name.0].concat();
            let _ = fs.find(&path);
            match entry.kind {
                FileKind::Directory if path.len() < 200 => ahead.push(path),
                FileKind::Symlink => {
                    let _ = fs.read_link(&path);
                    let _ = fs.open(&path);
                }
                FileKind::File => {
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

/// Blocks of 512 bytes that hold something which is not a file's: what a changed byte may lead astray.
fn structures(base: &[u8]) -> Vec<usize> {
    let marks: [&[u8]; 12] = [
        b"XFSB",
        b"XAGF",
        b"XAGI",
        b"AB3B",
        b"IAB3",
        b"BMA3",
        b"XDB3",
        b"XDD3",
        b"XARM",
        b"XSLM",
        b"IN",
        &[0xfe, 0xed, 0xba, 0xbe],
    ];
    (0..base.len()).step_by(512).filter(|at| marks.iter().any(|mark| base[*at..].starts_with(mark))).collect()
}

/// Checksums stand in the way of most changes: they are made anew for the block that was changed, by the place where its kind has
/// them, so that what is behind them is reached.
fn sealed(base: &[u8], at: usize, changes: &mut Vec<(usize, u8)>) {
    let (sum, len) = match &base[at..at + 4] {
        b"XFSB" => (224, 512),
        b"XAGF" => (216, 512),
        b"XAGI" => (312, 512),
        b"AB3B" | b"IAB3" => (52, 4096),
        b"BMA3" => (64, 4096),
        b"XDB3" | b"XDD3" => (4, 4096),
        b"XARM" | b"XSLM" => (12, 4096),
        _ if base[at..].starts_with(b"IN") => (100, 512),
        _ => return,
    };
    let mut block = base[at..at + len].to_vec();
    changes
        .iter()
        .filter(|(place, _)| (at..at + len).contains(place))
        .for_each(|(place, byte)| block[place - at] = *byte);
    block[sum..sum + 4].fill(0);
    let crc = crc32c::crc32c(&block).to_le_bytes();
    changes.extend(crc.into_iter().enumerate().map(|(i, byte)| (at + sum + i, byte)));
}

#[test]
fn changed_bytes_cost_an_answer_and_nothing_else() {
    let mut seeded = Seeded(20_261_130);
    for (name, rounds) in [("v5", 40), ("dirty-v5", 40)] {
        let bytes = fixture(name);
        let base = Arc::new(bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap());
        let places = structures(&base);
        assert!(places.len() > 100, "{name}");
        for round in 0..rounds {
            let mut changes = Vec::new();
            for _ in 0..=round % 3 {
                let block = places[usize::try_from(seeded.below(places.len() as u64)).unwrap()];
                for _ in 0..=seeded.below(4) {
                    let within = usize::try_from(seeded.below(if round % 2 == 0 { 200 } else { 512 })).unwrap();
                    changes.push((block + within, seeded.byte()));
                }
                sealed(&base, block, &mut changes);
            }
            let changed = Arc::new(Changed::new(&base, changes));
            let began = Instant::now();
            look_everywhere(&(changed.clone() as Arc<dyn ReadAt>));
            let read = changed.read();
            assert!(read < 2 << 30, "{name}, round {round}: {read} bytes were read");
            assert!(began.elapsed() < Duration::from_secs(60), "{name}, round {round}");
        }
    }
}

/// A block that names itself as its child, in every tree there is.
#[test]
fn trees_that_bite_their_tails_end() {
    let bytes = fixture("v5");
    let base = bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap();
    for magic in [b"AB3B", b"IAB3"] {
        for at in (0..base.len()).step_by(4096).filter(|at| base[*at..].starts_with(magic)) {
            let mut base = base.clone();
            let own = u32::try_from(at / 4096 % 4096).unwrap().to_be_bytes();
            // Level 1, one entry, every pointer to itself.
            base[at + 4..at + 8].copy_from_slice(&[0, 1, 0, 1]);
            base[at + 56..at + 4096].chunks_exact_mut(4).for_each(|p| p.copy_from_slice(&own));
            let mut changes = Vec::new();
            sealed(&base, at, &mut changes);
            changes.into_iter().for_each(|(place, byte)| base[place] = byte);
            look_everywhere(&(Arc::new(base) as Arc<dyn ReadAt>));
        }
    }
}

/// `xlog_cksum` of the record that begins at a byte, made anew.
fn sealed_record(base: &[u8], at: usize, changes: &mut Vec<(usize, u8)>) {
    let word = |at: usize| usize::try_from(u32::from_be_bytes(base[at..at + 4].try_into().unwrap())).unwrap();
    let (len, headers) = (word(at + 12), word(at + 320).div_ceil(32 << 10).max(1));
    let mut record = base[at..at + headers * 512 + len].to_vec();
    changes.iter().for_each(|(place, byte)| {
        if let Some(b) = place.checked_sub(at).and_then(|i| record.get_mut(i)) {
            *b = *byte;
        }
    });
    record[32..36].fill(0);
    let mut sum = crc32c::crc32c(&record[..328]);
    for nth in 1..len.div_ceil(32 << 10) {
        sum = crc32c::crc32c_append(sum, &record[nth * 512..nth * 512 + 260]);
    }
    sum = crc32c::crc32c_append(sum, &record[headers * 512..]);
    changes.extend(sum.to_le_bytes().into_iter().enumerate().map(|(i, byte)| (at + 32 + i, byte)));
}

/// Records of a log that say anything: nothing of it is believed further than its bounds.
#[test]
fn a_log_that_lies_costs_an_answer_and_nothing_else() {
    let mut seeded = Seeded(77);
    for name in ["dirty-v5", "dirty-v5-small"] {
        let bytes = fixture(name);
        let base = Arc::new(bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap());
        let is_record = |at: &usize| {
            base[*at..].starts_with(&[0xfe, 0xed, 0xba, 0xbe]) && base[at + 40..at + 44] != [0; 4] && base[at + 11] == 2
        };
        let records: Vec<usize> = (0..base.len()).step_by(512).filter(is_record).collect();
        assert!(records.len() > 3, "{name}");
        // Sealed as it is, a record is what it was: so changes are reached behind the checksum.
        let mut same = Vec::new();
        sealed_record(&base, records[1], &mut same);
        assert!(same.iter().all(|(place, byte)| base[*place] == *byte), "{name}");
        let mut doubts = 0;
        for _ in 0..60 {
            let at = records[usize::try_from(seeded.below(records.len() as u64)).unwrap()];
            let len = u64::from(u32::from_be_bytes(base[at + 12..at + 16].try_into().unwrap()));
            let mut changes = Vec::new();
            for _ in 0..=seeded.below(3) {
                let within = 512 + usize::try_from(seeded.below(len.min(6000))).unwrap();
                changes.push((at + within, seeded.byte()));
            }
            sealed_record(&base, at, &mut changes);
            let changed: Arc<dyn ReadAt> = Arc::new(Changed::new(&base, changes));
            doubts += u32::from(Xfs::load(changed.clone()).is_ok_and(|fs| fs.doubt().is_some()));
            look_everywhere(&changed);
        }
        assert!(doubts > 0, "{name}: {doubts} of 60 noticed");
    }
}

/// Two states of one file system, one of which lies: what they have in common is an answer within the volume, soon.
#[test]
fn states_that_lie_are_compared_in_bounds() {
    let mut seeded = Seeded(1_201);
    let base = |name| Arc::new(crate::tools::unpacked(&format!("{name}.img.zst")));
    let [then, now] = ["one-then", "one-now"].map(base);
    let mut told = 0;
    for round in 0..40 {
        let lies = if round % 2 == 0 { &now } else { &then };
        // Nodes of maps and of trees of inodes, and inodes.
        let marks: [&[u8]; 3] = [b"IN", b"BMA3", b"IAB3"];
        let is_one = |at: &usize| marks.iter().any(|mark| lies[*at..].starts_with(mark));
        let places: Vec<usize> = (0..lies.len()).step_by(512).filter(is_one).collect();
        let mut changes = Vec::new();
        for _ in 0..=round % 4 {
            let block = places[usize::try_from(seeded.below(places.len() as u64)).unwrap()];
            changes.push((block + usize::try_from(seeded.below(300)).unwrap(), seeded.byte()));
            sealed(lies, block, &mut changes);
        }
        let lies = Arc::new(Changed::new(lies, changes));
        let [before, after]: [Arc<dyn ReadAt>; 2] =
            if round % 2 == 0 { [then.clone(), lies.clone()] } else { [lies.clone(), now.clone()] };
        let Ok(fs) = Xfs::load(after.clone()) else { continue };
        let same = fs.changes(before).same;
        told += u32::from(!same.is_empty());
        assert!(same.iter().all(|e| Extent::whole(after.size()).contains(e)), "round {round}");
        assert!(lies.read() < 256 << 20, "round {round}: {} bytes were read", lies.read());
    }
    assert!(told > 20, "{told} of 40");
}
