//! What a disk holds after its power failed: everything that was flushed, and of what was written since, anything.

use crate::chance::Chance;
use crate::recorder::Entry;

/// The unit that a disk writes whole.
const SECTOR: usize = 512;
/// Where the superblock ends. It is two sectors, and ext4 counts on their being written together: no kernel mounts a torn one.
const SUPERBLOCK_END: usize = 2048;

/// The disk whose power fails when the first `at` entries of the log have reached it. Of the writes since the last flush some
/// stay, in whole or in sectors of theirs; or, as often, all do, as where the host alone failed.
pub(crate) fn cut(base: &[u8], log: &[Entry], at: usize, chance: &mut Chance) -> Vec<u8> {
    let mut disk = base.to_vec();
    let durable = log[..at].iter().rposition(|e| matches!(e, Entry::Flush)).unwrap_or(0);
    let whole = chance.one_in(2);
    for (nth, entry) in log[..at].iter().enumerate() {
        let Entry::Write(place, bytes) = entry else { continue };
        if nth < durable || whole {
            disk[*place..*place + bytes.len()].copy_from_slice(bytes);
            continue;
        }
        match chance.below(5) {
            0 | 1 => disk[*place..*place + bytes.len()].copy_from_slice(bytes),
            2 if *place >= SUPERBLOCK_END => torn(&mut disk[*place..*place + bytes.len()], bytes, chance),
            _ => {}
        }
    }
    disk
}

/// Puts some sectors of a write in place.
fn torn(place: &mut [u8], bytes: &[u8], chance: &mut Chance) {
    for (old, new) in place.chunks_mut(SECTOR).zip(bytes.chunks(SECTOR)) {
        if chance.one_in(2) {
            old.copy_from_slice(new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_stays_and_of_the_rest_any_sectors() {
        let log = [
            Entry::Write(0, vec![1; 2048]),
            Entry::Flush,
            Entry::Write(2048, vec![2; 1024]),
            Entry::Write(3584, vec![3; 512]),
            Entry::Write(0, vec![4; 2048]),
            Entry::Write(2048, vec![5; 512]),
        ];
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let disk = cut(&[0; 4096], &log, 5, &mut Chance::new(seed, "cuts"));
            assert!(disk.chunks(SECTOR).all(|s| s.iter().all(|b| *b == s[0])), "a sector is written whole");
            let sectors: Vec<u8> = disk.chunks(SECTOR).map(|s| s[0]).collect();
            assert!(sectors[..4] == [1; 4] || sectors[..4] == [4; 4], "the superblock is too: {sectors:?}");
            assert_eq!(sectors[6], 0);
            seen.insert((sectors[0], sectors[4], sectors[5], sectors[7]));
        }
        // Every subset, the later writes without the earlier among them.
        assert_eq!(seen.len(), 16, "{seen:?}");
    }
}
