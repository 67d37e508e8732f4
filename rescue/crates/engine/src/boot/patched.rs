//! The disks as they would be with some bytes changed: what is saved of them is what a write-back then goes to. Nothing is
//! written, and nothing of them can be leased.

use crate::parser::Scene;
use crate::parser::{Parser, ParserError};
use disk::io::Overlay;
use disk::table::TableReading;
use model::boot::Patch;
use model::coverage::Coverage;
use model::cuts::Cuts;
use model::evidence::Evidence;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding, Inspection, System, Volume};
use model::inventory::InventoryEntry;
use model::note::Note;
use model::ports::{Devices, DiskSource, LeaseError, LeaseRequest, WriteLease};
use model::snapshot::{Intent, Receipt, Statement};
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::Arc;
use store::{Decode, DecodeError};

/// Blocks of the overlay.
const BLOCK: u32 = 4096;
/// Most that it holds: what may change (`parser::checked`), in blocks.
const MOST: ByteLen = ByteLen(256 << 20);

/// Disks with changed bytes.
pub(super) struct PatchedDisks {
    disks: Vec<DiskSource>,
}

impl PatchedDisks {
    /// Lays the patches over the disks.
    ///
    /// # Errors
    /// A sentence where a patch does not lie on its disk, or the disk cannot be read.
    pub(super) fn new(disks: Vec<DiskSource>, inspection: &Inspection, patches: &[Patch]) -> Result<Self, String> {
        let patched = disks.into_iter().map(|source| {
            let mut over = Overlay::new(source.bytes.clone(), BLOCK, MOST);
            for patch in patches.iter().filter(|p| p.volume.disk() == source.no) {
                let start = inspection.volume(&patch.volume).map_or(0, |v| v.extent.start().0);
                let at = ByteOffset(start.saturating_add(patch.at.0));
                over.write(at, &patch.bytes).map_err(|e| format!("{}: {e}", patch.volume))?;
            }
            Ok(DiskSource { bytes: Arc::new(over), ..source })
        });
        Ok(Self { disks: patched.collect::<Result<_, String>>()? })
    }
}

impl Devices for PatchedDisks {
    fn disks(&self) -> Vec<DiskSource> {
        self.disks.clone()
    }

    fn lease(&self, request: &LeaseRequest) -> Result<Box<dyn WriteLease>, LeaseError> {
        // Only a write-back of the snapshot that is made of this writes, to the disks themselves.
        Err(LeaseError::Gone { disk: request.disk })
    }
}

/// A parser for them: it looks at the disks as they are, and of changed bytes it is known that they are in use.
pub(super) struct PatchedParser<'a> {
    pub(super) parser: &'a dyn Parser,
    pub(super) patches: &'a [Patch],
}

impl Parser for PatchedParser<'_> {
    fn table(&self, disk: DiskNo) -> Result<TableReading, ParserError> {
        self.parser.table(disk)
    }

    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        self.parser.content(volume, extent)
    }

    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
        self.parser.systems(inspection)
    }

    fn evidence(&self, scene: &Scene, want: usize) -> Result<Vec<Evidence>, ParserError> {
        self.parser.evidence(scene, want)
    }

    fn coverage(&self, volume: &Volume) -> Result<Coverage, ParserError> {
        let mut coverage = self.parser.coverage(volume)?;
        for patch in self.patches.iter().filter(|p| p.volume == volume.path) {
            // What a FAT newly has in use lies in blocks that change, or it would have nothing to say.
            let changed = Extent::new(patch.at, ByteLen(patch.bytes.len() as u64));
            changed.into_iter().for_each(|e| coverage.used.insert(e));
        }
        Ok(coverage)
    }

    /// As for the undo snapshot that follows: chunks that begin where its do are compared by their ids.
    fn cuts(&self, volume: &Volume) -> Cuts {
        self.parser.cuts(volume)
    }
}

impl Decode for PatchedParser<'_> {
    fn statement(&self, bytes: &[u8]) -> Result<Statement, DecodeError> {
        self.parser.statement(bytes)
    }

    fn intent(&self, bytes: &[u8]) -> Result<Intent, DecodeError> {
        self.parser.intent(bytes)
    }

    fn receipt(&self, bytes: &[u8]) -> Result<Receipt, DecodeError> {
        self.parser.receipt(bytes)
    }

    fn note(&self, bytes: &[u8]) -> Result<Note, DecodeError> {
        self.parser.note(bytes)
    }

    fn inventory_entry(&self, bytes: &[u8]) -> Result<InventoryEntry, DecodeError> {
        self.parser.inventory_entry(bytes)
    }

    fn frame(&self, stored: &[u8], plain_len: u32) -> Result<Vec<u8>, DecodeError> {
        self.parser.frame(stored, plain_len)
    }
}
