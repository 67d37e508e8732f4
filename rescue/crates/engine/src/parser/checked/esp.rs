//! What was read of an EFI system partition that several systems start from.

use super::{MOST_TEXT, check};
use crate::parser::ParserError;
use model::esp::EspReading;
use model::files::LONGEST_PATH;
use model::units::{ByteLen, ByteOffset, Extent};

/// Most things that stay, and pieces that are copied or written.
const MOST_PARTS: usize = 8192;
const MOST_PIECES: usize = 1 << 16;
/// Most bytes that are written: directories, and the allocation table twice.
const MOST_WRITTEN: u64 = 64 << 20;
/// Where a FAT says what it is.
const BOOT_SECTOR: u64 = 512;

/// What stays, and how it is put into a partition of `then` bytes, from one of `now` bytes: within the two, not over the boot sector, and no
/// more than there is.
pub(in crate::parser) fn esp(reading: EspReading, then: ByteLen, now: ByteLen) -> Result<EspReading, ParserError> {
    check(reading.stays.len() <= MOST_PARTS, || format!("{} things that stay", reading.stays.len()))?;
    for part in &reading.stays {
        let path = part.path.0.as_slice();
        let named = path.starts_with(b"/") && (2..=LONGEST_PATH).contains(&path.len());
        check(named, || "a path that is none".to_owned())?;
        check(part.whose.as_str().len() <= MOST_TEXT, || "a name without end".to_owned())?;
        check(part.bytes <= ByteLen(then.0.max(now.0)), || format!("{} in a file", part.bytes))?;
    }
    let Ok(graft) = &reading.graft else { return Ok(reading) };
    let pieces = graft.copies.len() + graft.patches.len();
    check(pieces <= MOST_PIECES, || format!("{pieces} pieces that change"))?;
    let inside = |at: ByteOffset, len: u64, size: ByteLen| {
        Extent::new(at, ByteLen(len)).is_some_and(|e| len > 0 && Extent::whole(size).contains(e))
    };
    let (mut copied, mut written) = (0u64, 0u64);
    for copy in &graft.copies {
        let ok = inside(copy.from, copy.len.0, now) && inside(copy.to, copy.len.0, then) && copy.to.0 >= BOOT_SECTOR;
        check(ok, || format!("{} copied from {} to {}", copy.len, copy.from, copy.to))?;
        copied = copied.saturating_add(copy.len.0);
    }
    for (at, bytes) in &graft.patches {
        let ok = inside(*at, bytes.len() as u64, then) && at.0 >= BOOT_SECTOR;
        check(ok, || format!("{} bytes written at {at}", bytes.len()))?;
        written = written.saturating_add(bytes.len() as u64);
    }
    check(copied <= then.0, || format!("{copied} bytes copied"))?;
    check(written <= MOST_WRITTEN, || format!("{written} bytes written"))?;
    Ok(reading)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::esp::{CopiedBytes, EspPart, Graft};

    fn taken(copies: &[(u64, u64, u64)], patches: &[(u64, usize)]) -> bool {
        let copy = |(from, to, len): &(u64, u64, u64)| CopiedBytes {
            from: ByteOffset(*from),
            to: ByteOffset(*to),
            len: ByteLen(*len),
        };
        let patch = |(at, len): &(u64, usize)| (ByteOffset(*at), vec![1; *len]);
        let graft = Graft { copies: copies.iter().map(copy).collect(), patches: patches.iter().map(patch).collect() };
        esp(EspReading { stays: Vec::new(), graft: Ok(graft) }, ByteLen(8192), ByteLen(4096)).is_ok()
    }

    #[test]
    fn what_is_put_there_lies_where_it_may() {
        assert!(taken(&[(0, 512, 4096)], &[(512, 512), (8191, 1)]));
        assert!(!taken(&[(1, 512, 4096)], &[]), "behind the end of the present state");
        assert!(!taken(&[(0, 4097, 4096)], &[]), "behind the end of the saved one");
        assert!(!taken(&[(0, u64::MAX, 2)], &[]));
        assert!(!taken(&[(0, 511, 1)], &[]) && !taken(&[], &[(0, 512)]), "the boot sector");
        assert!(!taken(&[(0, 512, 0)], &[]) && !taken(&[], &[(512, 0)]), "nothing");
        assert!(!taken(&[(0, 512, 4096), (0, 512, 4096), (0, 512, 1)], &[]), "more than there is");
    }

    #[test]
    fn what_stays_has_a_path() {
        let part = |path: &[u8]| EspPart {
            path: model::text::RawName(path.to_vec()),
            whose: "Windows".into(),
            differs: true,
            returns: false,
            files: 1,
            bytes: ByteLen(1),
        };
        let told = |path: &[u8]| {
            let reading = EspReading { stays: vec![part(path)], graft: Err("no".into()) };
            esp(reading, ByteLen(8192), ByteLen(4096)).is_ok()
        };
        assert!(told(b"/EFI/Microsoft"));
        assert!(!told(b"EFI") && !told(b"/") && !told(b"") && !told(&[b'/'; 70_000]));
    }
}
