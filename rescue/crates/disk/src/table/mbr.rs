//! MBR with logical partitions (kernel `block/partitions/msdos.c`). The `mbrman` crate decodes the tables that it can read
//! safely; the chain of extended boot records is walked here first.
//!
//! That crate panics where an entry starts at sector 0, refuses chains that go backwards (which Linux follows), and follows the
//! others without a bound. So the chain is walked here, bounded and each record once, and the crate is asked only where the
//! walk found nothing it would trip over; then both must say the same.

use crate::guarded;
use crate::io::Stream;
use mbrman::{MBR, MBRPartitionEntry};
use model::inspection::Partition;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent, Lba, SectorSize};
use std::sync::Arc;

/// The most extended boot records that are followed. Linux stops at 256 partitions.
const MOST_RECORDS: usize = 256;
/// Type of the entry that protects a GPT.
const PROTECTIVE: u8 = 0xee;

/// One of the four entries of a record. Field names as in kernel `include/linux/msdos_partition.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    boot_ind: u8,
    sys_ind: u8,
    start_sect: u32,
    nr_sects: u32,
}

impl Entry {
    fn used(self) -> bool {
        self.sys_ind != 0 && self.nr_sects != 0
    }

    /// Kernel `is_extended_partition`, with the hidden ones that mbrman and libfdisk know left to be ordinary.
    fn extended(self) -> bool {
        matches!(self.sys_ind, 0x05 | 0x0f | 0x85)
    }

    /// The partition, its start counted from sector `base` of the disk.
    fn partition(self, number: u32, base: u64, sector: SectorSize) -> Option<Partition> {
        let start = Lba(base + u64::from(self.start_sect)).to_bytes(sector)?;
        let len = Lba(u64::from(self.nr_sects)).to_bytes(sector)?;
        Some(Partition {
            number,
            extent: Extent::new(start, ByteLen(len.0))?,
            type_id: format!("{:02x}", self.sys_ind),
            guid: None,
            name: None,
            bootable: self.boot_ind & 0x80 != 0,
        })
    }
}

/// The first sector of a disk, as far as it may be a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    entries: [Entry; 4],
    /// 32 bits at offset 440.
    pub signature: u32,
}

impl Head {
    /// The table in sector 0, or `None` where there is no signature 55 AA or a boot flag that is neither 0 nor 0x80 (then it is
    /// some boot sector; kernel `msdos_partition`).
    pub(super) fn read(bytes: &dyn ReadAt) -> Option<Self> {
        let block = bytes.read_vec(ByteOffset(0), 512).ok()?;
        let entries = entries(&block)?;
        let table = entries.iter().all(|e| e.boot_ind & 0x7f == 0);
        let signature = u32::from_le_bytes(block[440..444].try_into().expect("four bytes"));
        table.then_some(Self { entries, signature })
    }

    /// Has an entry that protects a GPT.
    pub(super) fn protective(&self) -> bool {
        self.entries.iter().any(|e| e.sys_ind == PROTECTIVE)
    }

    /// Has any partition.
    pub(super) fn any(&self) -> bool {
        self.entries.iter().any(|e| e.used())
    }

    /// The number of each of its partitions, its first sector and the one behind its last.
    pub(super) fn places(&self) -> impl Iterator<Item = (u32, u64, u64)> {
        let place = |(number, e): (u32, Entry)| {
            let first = u64::from(e.start_sect);
            e.used().then_some((number, first, first + u64::from(e.nr_sects)))
        };
        (1..).zip(self.entries).filter_map(place)
    }

    /// Every entry in use lies inside a disk of `size` bytes, and not on the table itself.
    pub(super) fn plausible(&self, size: ByteLen, sector: SectorSize) -> bool {
        let inside = |e: &Entry| {
            e.start_sect > 0 && (u64::from(e.start_sect) + u64::from(e.nr_sects)) * u64::from(sector.0) <= size.0
        };
        self.entries.iter().filter(|e| e.used()).all(inside)
    }
}

fn entries(block: &[u8]) -> Option<[Entry; 4]> {
    let table = block.get(446..510)?;
    if block.get(510..512)? != [0x55, 0xaa] {
        return None;
    }
    let u32_at = |e: &[u8], at: usize| u32::from_le_bytes(e[at..at + 4].try_into().expect("four bytes"));
    let entry = |i: usize| {
        let e = &table[i * 16..i * 16 + 16];
        Entry { boot_ind: e[0], sys_ind: e[4], start_sect: u32_at(e, 8), nr_sects: u32_at(e, 12) }
    };
    Some([0, 1, 2, 3].map(entry))
}

/// A whole MBR table.
#[derive(Debug)]
pub(super) struct Reading {
    pub partitions: Vec<Partition>,
    /// Where the extended boot records stand.
    pub records: Vec<Extent>,
    /// What is wrong, a sentence each.
    pub damage: Vec<String>,
}

/// Reads the partitions: 1 to 4 by place, logical ones from 5 in the order of the chain (empty records take no number, as in
/// the kernel).
pub(super) fn read(head: &Head, bytes: &Arc<dyn ReadAt>, sector: SectorSize) -> Reading {
    let mut out = Reading { partitions: Vec::new(), records: Vec::new(), damage: Vec::new() };
    for (number, entry) in (1..).zip(head.entries) {
        if entry.used() {
            out.partitions.extend(entry.partition(number, 0, sector));
        }
    }
    let mut orderly = true;
    // One extended partition is all the kernel's users make; it would follow several, and so does this.
    for extended in head.entries.into_iter().filter(|e| e.used() && e.extended()) {
        orderly &= walk(extended, bytes.as_ref(), sector, &mut out);
    }
    let extended = head.entries.iter().filter(|e| e.extended()).count();
    let no_trap = head.entries.iter().all(|e| e.sys_ind == 0 || e.start_sect > 0);
    let readable = orderly && no_trap && extended <= 1 && out.damage.is_empty();
    if readable && by_crate(bytes, sector).is_some_and(|theirs| theirs != out.partitions) {
        let says = "its chain of logical partitions can be read in more than one way; it is read as Linux does";
        out.damage.push(says.into());
    }
    out
}

/// Follows the chain of one extended partition; true where it goes forward only and is whole.
fn walk(extended: Entry, bytes: &dyn ReadAt, sector: SectorSize, out: &mut Reading) -> bool {
    let base = u64::from(extended.start_sect);
    let mut seen = Vec::new();
    let mut at = base;
    let mut orderly = true;
    loop {
        if seen.contains(&at) {
            out.damage.push(format!("its chain of logical partitions comes back to sector {at}"));
            return false;
        }
        if out.records.len() >= MOST_RECORDS {
            out.damage.push(format!("it has more than {MOST_RECORDS} logical partitions; the rest are not shown"));
            return false;
        }
        orderly &= seen.last().is_none_or(|last| *last < at);
        seen.push(at);
        let place = Lba(at).to_bytes(sector);
        let block = place.and_then(|p| bytes.read_vec(p, 512).ok());
        let Some(found) = block.as_deref().and_then(entries) else {
            // An empty extended partition need not have a record (mbrman and libfdisk agree).
            if at != base || block.is_none() {
                out.damage.push(format!("its chain of logical partitions breaks at sector {at}"));
            }
            return false;
        };
        out.records.extend(place.and_then(|p| Extent::new(p, ByteLen(u64::from(sector.0)))));
        // The kernel looks at all four entries; libfdisk and mbrman at the first two, and nobody writes more.
        orderly &= !found[2].used() && !found[3].used() && !found[0].extended() && found[0].boot_ind & 0x7f == 0;
        for entry in found.iter().filter(|e| e.used() && !e.extended()) {
            let number = out.partitions.iter().map(|p| p.number).max().unwrap_or(0).max(4) + 1;
            out.partitions.extend(entry.partition(number, at, sector));
        }
        match found.iter().find(|e| e.used() && e.extended()) {
            Some(next) => at = base + u64::from(next.start_sect),
            None => return orderly,
        }
    }
}

/// What the crate makes of it, in the same words; `None` where it refuses.
fn by_crate(bytes: &Arc<dyn ReadAt>, sector: SectorSize) -> Option<Vec<Partition>> {
    let mut stream = Stream::new(bytes.clone(), ByteLen::ZERO);
    let mbr = guarded(|| MBR::read_from(&mut stream, sector.0).ok())??;
    let plain = |e: &MBRPartitionEntry| Entry {
        boot_ind: e.boot,
        sys_ind: e.sys,
        start_sect: e.starting_lba,
        nr_sects: e.sectors,
    };
    let primary = (1..).zip(mbr.header.iter()).map(|(number, (_, e))| (number, plain(e)));
    let primary = primary.filter(|(_, e)| e.used());
    let logical = mbr.logical_partitions.iter().map(|l| plain(&l.partition)).filter(|e| e.used());
    primary.chain((5..).zip(logical)).map(|(number, e)| e.partition(number, 0, sector)).collect()
}
