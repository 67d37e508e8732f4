//! A parser of which some answers are overruled: by somebody who made the disks, and so knows more of them than their bytes tell.

use super::{Parser, ParserError, Scene};
use disk::table::TableReading;
use model::coverage::{Changes, Coverage};
use model::cuts::Cuts;
use model::evidence::Evidence;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding, Inspection, System, Volume};
use model::inventory::InventoryEntry;
use model::luks::LuksHeader;
use model::mapping::Layers;
use model::note::Note;
use model::ports::ReadAt;
use model::snapshot::{Intent, Receipt, Statement};
use model::units::Extent;
use std::sync::Arc;
use store::{Decode, DecodeError};

/// What is known better.
pub(crate) trait Overrule: Send + Sync {
    /// Which bytes of a volume are worth saving; `parser` is the one that is overruled.
    ///
    /// # Errors
    /// [`ParserError`].
    fn coverage(&self, parser: &dyn Parser, volume: &Volume) -> Result<Coverage, ParserError>;

    /// Which of its bytes are as they were.
    ///
    /// # Errors
    /// [`ParserError`].
    fn changes(&self, _volume: &Volume) -> Result<Changes, ParserError> {
        Ok(Changes::unknown("its records are not looked at"))
    }
}

/// A parser for a capture: what lies on the disks, which of it is saved, and what a store holds.
pub(crate) struct Overruled<'a, O> {
    pub(crate) parser: &'a dyn Parser,
    pub(crate) by: O,
}

impl<O: Overrule> Parser for Overruled<'_, O> {
    fn table(&self, disk: DiskNo) -> Result<TableReading, ParserError> {
        self.parser.table(disk)
    }

    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        self.parser.content(volume, extent)
    }

    fn luks(&self, volume: &Volume) -> Result<LuksHeader, ParserError> {
        self.parser.luks(volume)
    }

    fn layers(&self, inspection: &Inspection) -> Result<Layers, ParserError> {
        self.parser.layers(inspection)
    }

    fn mapped_content(&self, volume: &Volume) -> Result<(Content, Vec<Finding>), ParserError> {
        self.parser.mapped_content(volume)
    }

    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
        self.parser.systems(inspection)
    }

    fn evidence(&self, scene: &Scene, want: usize) -> Result<Vec<Evidence>, ParserError> {
        self.parser.evidence(scene, want)
    }

    fn coverage(&self, volume: &Volume) -> Result<Coverage, ParserError> {
        self.by.coverage(self.parser, volume)
    }

    /// As for what is saved otherwise: chunks that begin where others do are compared by their ids.
    fn cuts(&self, volume: &Volume) -> Cuts {
        self.parser.cuts(volume)
    }

    fn changes(&self, volume: &Volume, _before: Arc<dyn ReadAt>) -> Result<Changes, ParserError> {
        self.by.changes(volume)
    }
}

impl<O: Overrule> Decode for Overruled<'_, O> {
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
