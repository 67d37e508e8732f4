//! The log, `$LogFile`: whether it was closed. What is in it is not carried out (kernel `fs/ntfs3/fslog.c`, `struct RESTART_HDR` and
//! `RESTART_AREA`).

use super::attribute::kind;
use super::reader::{Reader, system};
use super::record::restore;
use crate::fs::FsError;
use crate::numbers::{le16, le32, le64};
use model::inspection::NtfsLog;

/// Sizes of a page that there are.
const PAGES: std::ops::RangeInclusive<u32> = 4096..=64 << 10;
/// No client has it open.
const NO_CLIENT: u16 = 0xffff;
/// In the flags of a restart area: the volume was closed.
const CLEAN: u16 = 0x2;

/// Reads the two restart pages, of which the one that was written last counts.
///
/// # Errors
/// [`FsError`] where the log cannot be read, or neither of them holds together.
pub(super) fn state(reader: &Reader) -> Result<NtfsLog, FsError> {
    let none = || FsError::Corrupt("its log has no content".to_owned());
    let stream = reader.inode(system::LOG_FILE)?.stream(kind::DATA, "")?.ok_or_else(none)?;
    let read = |at: u64, len: u64| -> Result<Vec<u8>, FsError> {
        let mut page = vec![0; usize::try_from(len.min(stream.size.saturating_sub(at))).unwrap_or(0)];
        stream.read(reader.bytes(), &reader.boot, at, &mut page)?;
        Ok(page)
    };
    let head = read(0, u64::from(*PAGES.start()))?;
    if head.len() < 48 {
        return Err(none());
    }
    // Made or emptied, it is filled with ones.
    if head.iter().all(|b| *b == 0xff) {
        return Ok(NtfsLog::Empty);
    }
    let len = le32(&head, 16);
    let len = if head.starts_with(b"RSTR") && PAGES.contains(&len) && len.is_power_of_two() { len } else { 4096 };
    let pages = [0, u64::from(len)].map(|at| read(at, u64::from(len)).map(restart));
    let newest = pages.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().max_by_key(|(lsn, _)| *lsn);
    match newest {
        Some((_, closed)) => Ok(if closed { NtfsLog::Closed } else { NtfsLog::Open }),
        None => Err(FsError::Corrupt("neither restart page of its log holds together".to_owned())),
    }
}

/// The number of the newest change that a restart page knows, and whether the volume was closed.
fn restart(mut page: Vec<u8>) -> Option<(u64, bool)> {
    restore(&mut page, b"RSTR").ok()?;
    let area = page.get(usize::from(le16(&page, 24))..).filter(|area| area.len() >= 48)?;
    let closed = le16(area, 12) == NO_CLIENT || le16(area, 14) & CLEAN != 0;
    Some((le64(area, 0), closed))
}
