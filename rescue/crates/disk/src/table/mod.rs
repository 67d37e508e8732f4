//! Partition tables.

use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding, Table};
use model::ports::ReadAt;
use model::units::{Extent, SectorSize};
use std::sync::Arc;

/// What was read of a disk's partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReading {
    /// The table, where there is one that could be read.
    pub table: Option<Table>,
    /// The volumes in order of place, each with what the table alone says is on it.
    pub volumes: Vec<(VolumePath, Extent, Option<Content>)>,
    /// What is not as it should be.
    pub findings: Vec<Finding>,
}

/// Reads the partition table of a disk.
pub fn read(disk: DiskNo, _sector: SectorSize, bytes: &Arc<dyn ReadAt>) -> TableReading {
    TableReading {
        table: None,
        volumes: vec![(VolumePath::whole(disk), Extent::whole(bytes.size()), None)],
        findings: Vec::new(),
    }
}
