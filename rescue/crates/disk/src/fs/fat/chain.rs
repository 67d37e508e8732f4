//! Chains: from the first cluster of a file or directory to where its bytes lie.

use super::boot::{FIRST_CLUSTER, Geometry};
use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::Extent;

/// The clusters of a chain, in order. An error ends it: a link that leads to no cluster, or one that cannot be read.
pub(super) struct Chain<'a> {
    bytes: &'a dyn ReadAt,
    geometry: &'a Geometry,
    /// What comes next; `None` after the end.
    next: Option<u32>,
    /// Why nobody knows what comes next.
    broken: Option<FsError>,
    /// Clusters it may still have: a chain that is longer than the volume runs in a circle.
    left: u32,
}

impl<'a> Chain<'a> {
    /// The chain that begins with cluster `first`.
    pub(super) fn new(bytes: &'a dyn ReadAt, geometry: &'a Geometry, first: u32) -> Self {
        Self { bytes, geometry, next: Some(first), broken: None, left: geometry.clusters }
    }
}

impl Iterator for Chain<'_> {
    type Item = Result<Extent, FsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(e) = self.broken.take() {
            return Some(Err(e));
        }
        let no = self.next.take()?;
        // FAT12 and FAT16 keep the low bits only; the marks of an end begin behind that of a bad cluster.
        let bad = match self.geometry.width {
            12 => 0xff7,
            16 => 0xfff7,
            _ => 0x0fff_fff7,
        };
        let Some(place) = self.geometry.cluster(no) else {
            return Some(Err(FsError::Corrupt(format!("a chain leads to cluster {no} of {}", self.geometry.clusters))));
        };
        let Some(left) = self.left.checked_sub(1) else {
            return Some(Err(FsError::Corrupt("a chain of clusters runs in a circle".into())));
        };
        self.left = left;
        match self.geometry.entry(self.bytes, no) {
            Err(e) => self.broken = Some(e),
            Ok(value) if value > bad => {}
            // An entry of 0 or of a bad cluster is no cluster's number, and an error in its turn.
            Ok(value) => self.next = Some(if value == bad { FIRST_CLUSTER - 1 } else { value }),
        }
        Some(Ok(place))
    }
}
