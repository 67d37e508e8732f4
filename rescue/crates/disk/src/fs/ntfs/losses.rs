//! Which files lie in bytes that are lost.

use super::attribute::{Value, kind};
use super::index;
use super::inode::Inode;
use super::reader::{Reader, system};
use super::record::Record;
use crate::fs::FsError;
use crate::fs::losses::census::{self, Census, Visit};
use model::files::LostFiles;
use model::inspection::FileKind;
use model::units::{Extent, ExtentSet};
use std::ops::ControlFlow;

/// Most records that are gone through.
const MOST_RECORDS: u64 = 1 << 26;
/// What the index says of a directory, in the words of the other file systems' directories.
const DIRECTORY: u8 = 2;
const FILE: u8 = 1;

/// Goes through all records, then all names.
pub(super) fn losses(reader: &Reader, lost: &ExtentSet) -> LostFiles {
    let mut census = Census::new(lost);
    let records = reader.records().min(MOST_RECORDS);
    if records < reader.records() {
        census.found.unseen("it has more files than are followed");
    }
    census.begin(u32::try_from(records).unwrap_or(u32::MAX));
    census.found.metadata(reader.boot.clusters_at(0, 1).unwrap_or_default());
    let end = reader.boot.clusters * u64::from(reader.boot.cluster_size);
    census.found.metadata(Extent::between(end, reader.bytes().size().0).unwrap_or_default());
    for number in 0..u32::try_from(records).unwrap_or(u32::MAX) {
        match reader.record(u64::from(number)) {
            Ok(Some(record)) => record_of(reader, number, &record, &mut census),
            Ok(None) => {}
            Err(FsError::Io(_)) => census.unreadable(number),
            Err(e) => {
                census.found.unseen(&e.to_string());
                census.unreadable(number);
            }
        }
    }
    census.finish(&Names(reader))
}

/// A record in use: what of its file lies in lost bytes, as far as the record tells.
fn record_of(reader: &Reader, number: u32, record: &Record, census: &mut Census<'_>) {
    let own = u64::from(number) < system::FIRST_USER && u64::from(number) != system::ROOT;
    // The file that it is of, by the place of its first record.
    let (file, base) = match record.base() {
        None => (number, None),
        Some(base) => (u32::try_from(base.number()).unwrap_or(u32::MAX), Some(base.number())),
    };
    let kind = if record.is_directory() { FileKind::Directory } else { FileKind::File };
    if base.is_none() {
        census.in_use(number, kind, !own && record.attributes().flatten().any(|a| a.kind == kind::NAME));
    }
    let mut touched = false;
    for attribute in record.attributes() {
        let part = match attribute {
            Ok(attribute) => attribute.value,
            Err(e) => {
                census.found.unseen(&e.to_string());
                break;
            }
        };
        let Value::Clusters(part) = part else { continue };
        let mut runs = Vec::new();
        if let Err(why) = part.runs(reader.boot.clusters, &mut runs) {
            census.found.unseen(&format!("record {number} of the MFT: {why}"));
        }
        for place in runs.iter().filter_map(|run| reader.boot.clusters_at(run.at?, run.len)) {
            match u64::from(number) {
                system::LOG_FILE => census.found.journal(place),
                // Bad clusters are told as a file as large as the volume, of holes.
                _ if own => census.found.metadata(place),
                _ => touched |= census.found.claim(place),
            }
        }
    }
    if touched {
        let kind = base.and_then(|base| reader.inode(base).ok()).map_or(kind, |inode| inode.kind);
        census.touched(file, kind);
    }
}

/// Directories by the numbers of their first records.
struct Names<'a>(&'a Reader);

impl census::Directories for Names<'_> {
    fn root(&self) -> Option<u32> {
        u32::try_from(system::ROOT).ok()
    }

    fn number(&self, inode: u32) -> u64 {
        u64::from(inode)
    }

    fn entries(&self, inode: u32, visit: &mut Visit<'_>) -> Result<Option<FsError>, FsError> {
        let dir: Inode = self.0.inode(u64::from(inode))?;
        let mut unseen = None;
        let mut damaged = |e: FsError| {
            unseen.get_or_insert(e);
            Ok(())
        };
        index::each(self.0, &dir, &mut damaged, &mut |entry| {
            // A short name is a second one of the same file.
            if !entry.short
                && let Ok(number) = u32::try_from(entry.reference.number())
            {
                let kind = if entry.kind == FileKind::Directory { DIRECTORY } else { FILE };
                visit(number, entry.name.as_bytes(), kind);
            }
            ControlFlow::Continue(())
        })?;
        Ok(unseen)
    }
}
