//! Transactions put together again out of the operations of a log's records (kernel `fs/xfs/xfs_log_recover.c`,
//! `xlog_recover_process_data` and on).

use super::log::{Log, Operation};
use crate::fs::FsError;
use crate::numbers::{le16, le32};
use std::collections::HashMap;

/// Flags of an operation: it begins a transaction, ends it, goes on in the next record, goes on from the last one, ends one that goes on.
mod flag {
    pub(super) const START: u8 = 0x1;
    pub(super) const COMMIT: u8 = 0x2;
    pub(super) const CONTINUE: u8 = 0x4;
    pub(super) const WAS_CONTINUED: u8 = 0x8;
    pub(super) const END: u8 = 0x10;
    pub(super) const UNMOUNT: u8 = 0x20;
}

/// `XFS_TRANS_HEADER_MAGIC`, and bytes of `struct xfs_trans_header`.
const MAGIC: u32 = 0x5452_414e;
const HEADER: usize = 16;
/// Regions of one item: a buffer's format and its dirty parts, one for each 128 bytes of 64 KiB at most, or somewhat more in pieces.
const MOST_REGIONS: u16 = 1024;
/// Most bytes of transactions that are not at their end, and of one item.
const MOST_OPEN: usize = 128 << 20;

/// A change to one thing.
#[derive(Debug, Default)]
pub(super) struct Item {
    /// Its format, then what it says of the thing.
    pub(super) regions: Vec<Vec<u8>>,
    most: usize,
}

impl Item {
    /// What kind of item it is (`XFS_LI_BUF` and on).
    pub(super) fn kind(&self) -> u16 {
        le16(self.region(0), 0)
    }

    /// A region; nothing where it has fewer.
    pub(super) fn region(&self, nth: usize) -> &[u8] {
        self.regions.get(nth).map_or(&[], |r| &r[..])
    }
}

/// A transaction on its way.
#[derive(Debug, Default)]
struct Open {
    lsn: u64,
    header: Vec<u8>,
    items: Vec<Item>,
    held: usize,
}

fn bad<T>(why: &str) -> Result<T, FsError> {
    Err(FsError::Corrupt(format!("its log: {why}")))
}

/// What is done with a transaction: the sequence number of the record it began in, and its items.
pub(super) type Each<'a> = dyn FnMut(u64, &[Item]) -> Result<(), FsError> + 'a;

/// Shows every transaction that was committed, in the order of their ends. Gives how many there were.
///
/// # Errors
/// [`FsError::Corrupt`] where they cannot be put together with certainty; what `each` gives.
pub(super) fn transactions(log: &Log, (tail, head): (u64, u64), each: &mut Each<'_>) -> Result<u32, FsError> {
    let (mut open, mut count): (HashMap<u32, Open>, u32) = (HashMap::new(), 0);
    log.records(tail, head, &mut |record| {
        for operation in record.operations()? {
            if let Some(done) = apply(&mut open, record.header.lsn, operation)? {
                count += 1;
                each(done.lsn, &done.items)?;
            }
        }
        let held = open.values().map(|o| o.held).fold(0usize, usize::saturating_add);
        if held > MOST_OPEN { bad("it holds more than is carried out in memory") } else { Ok(()) }
    })?;
    Ok(count)
}

/// One operation; gives the transaction that it commits.
fn apply(open: &mut HashMap<u32, Open>, lsn: u64, operation: Operation<'_>) -> Result<Option<Open>, FsError> {
    let Some(here) = open.get_mut(&operation.transaction) else {
        // What is left of a transaction that began before the log's tail.
        if operation.flags & flag::START != 0 {
            if !operation.bytes.is_empty() {
                return bad("a transaction begins with something");
            }
            open.insert(operation.transaction, Open { lsn, ..Open::default() });
        }
        return Ok(None);
    };
    let mut flags = operation.flags & !flag::END;
    if flags & flag::WAS_CONTINUED != 0 {
        flags &= !flag::CONTINUE;
    }
    match flags {
        0 | flag::CONTINUE => here.add(operation.bytes)?,
        flag::WAS_CONTINUED => here.go_on(operation.bytes)?,
        flag::COMMIT => return Ok(open.remove(&operation.transaction)),
        flag::UNMOUNT => {
            open.remove(&operation.transaction);
        }
        other => return bad(&format!("an operation has flags {other:#x}")),
    }
    Ok(None)
}

impl Open {
    /// A new region (`xlog_recover_add_to_trans`).
    fn add(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.held += bytes.len();
        if self.items.is_empty() {
            if le32(bytes, 0) != MAGIC || bytes.len() > HEADER {
                return bad("a transaction has no header");
            }
            self.header = bytes.to_vec();
            if bytes.len() == HEADER {
                self.items.push(Item::default());
            }
            return Ok(());
        }
        if self.items.last().is_some_and(|item| item.most != 0 && item.most == item.regions.len()) {
            self.items.push(Item::default());
        }
        let Some(item) = self.items.last_mut() else { return Ok(()) };
        if item.most == 0 {
            let count = le16(bytes, 2);
            if bytes.len() < 4 || count == 0 || count > MOST_REGIONS {
                return bad(&format!("an item has {count} regions"));
            }
            item.most = usize::from(count);
        }
        item.regions.push(bytes.to_vec());
        Ok(())
    }

    /// The rest of a region that was begun in the record before (`xlog_recover_add_to_cont_trans`).
    fn go_on(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        self.held += bytes.len();
        if self.items.is_empty() {
            self.header.extend_from_slice(bytes);
            if self.header.len() != HEADER {
                return bad("the header of a transaction is cut off");
            }
            self.items.push(Item::default());
            return Ok(());
        }
        match self.items.last_mut().and_then(|item| item.regions.last_mut()) {
            Some(region) => {
                region.extend_from_slice(bytes);
                Ok(())
            }
            None => bad("a transaction goes on with nothing"),
        }
    }
}
