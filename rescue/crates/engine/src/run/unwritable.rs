//! Disks to be saved from that are none: their bytes are made up of others', and nothing can be written to them.

use model::ports::{Devices, DiskSource, LeaseError, LeaseRequest, WriteLease};

/// Such disks. Only a write-back of the snapshot that is made of them writes, to the disks themselves.
pub(crate) struct Unwritable(pub(crate) Vec<DiskSource>);

impl Devices for Unwritable {
    fn disks(&self) -> Vec<DiskSource> {
        self.0.clone()
    }

    fn lease(&self, request: &LeaseRequest) -> Result<Box<dyn WriteLease>, LeaseError> {
        Err(LeaseError::Gone { disk: request.disk })
    }
}
