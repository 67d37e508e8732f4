//! Chains: from the first cluster of something to where its bytes lie.

use super::boot::Boot;
use crate::fs::FsError;
use crate::numbers::le32;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent};

/// An entry of the allocation table that marks the end of a chain (section 4.1).
const END: u32 = 0xffff_ffff;

/// How the clusters of something follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allocation {
    /// The first cluster; 0 where there is none.
    pub(super) first: u32,
    /// Bytes in them that count.
    pub(super) len: u64,
    /// `NoFatChain`: they lie one behind the other, and what the allocation table says of them means nothing.
    pub(super) contiguous: bool,
}

impl Allocation {
    /// Where its bytes lie, in order: whole clusters, as many as its length needs. An error ends it.
    pub(super) fn places<'a>(
        &self,
        bytes: &'a dyn ReadAt,
        boot: &'a Boot,
    ) -> Box<dyn Iterator<Item = Result<Extent, FsError>> + 'a> {
        let count = self.len.div_ceil(u64::from(boot.cluster_size));
        if count == 0 {
            return Box::new(std::iter::empty());
        }
        if self.contiguous {
            let first = self.first;
            let run = boot.clusters_at(first, count).ok_or_else(|| {
                FsError::Corrupt(format!("{count} clusters from cluster {first} on, of {}", boot.clusters))
            });
            return Box::new(std::iter::once(run));
        }
        let chain = Chain { bytes, boot, next: Some(self.first), left: count };
        Box::new(chain)
    }
}

/// The clusters of a chain, in order. An error ends it: a link that leads to no cluster, one that cannot be read, or an end before
/// there were as many as there have to be.
struct Chain<'a> {
    bytes: &'a dyn ReadAt,
    boot: &'a Boot,
    /// What comes next; `None` after an error.
    next: Option<u32>,
    /// Clusters that are still to come.
    left: u64,
}

impl Iterator for Chain<'_> {
    type Item = Result<Extent, FsError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let no = self.next.take()?;
        if no == END {
            return Some(Err(FsError::Corrupt(format!("a chain of clusters ends {} too early", self.left + 1))));
        }
        let Some(place) = self.boot.cluster(no) else {
            return Some(Err(FsError::Corrupt(format!("a chain leads to cluster {no} of {}", self.boot.clusters))));
        };
        if self.left > 0 {
            match link(self.bytes, self.boot, no) {
                Ok(next) => self.next = Some(next),
                Err(e) => {
                    // This cluster is known; what follows is not.
                    self.left = 0;
                    return Some(Err(e));
                }
            }
        }
        Some(Ok(place))
    }
}

/// What the allocation table that counts says of a cluster.
pub(super) fn link(bytes: &dyn ReadAt, boot: &Boot, no: u32) -> Result<u32, FsError> {
    let table = boot.fats.get(boot.active).copied().unwrap_or_default();
    Ok(le32(&bytes.read_vec(ByteOffset(table.start().0 + u64::from(no) * 4), 4)?, 0))
}

/// The chain that begins with a cluster, whose length nothing tells but its end: that of the root directory (section 6.3.6 of a
/// file's; the root has no entry).
///
/// # Errors
/// [`FsError::Corrupt`] where it leads to no cluster, or runs in a circle.
pub(super) fn to_end(bytes: &dyn ReadAt, boot: &Boot, first: u32, most: u64) -> Result<Allocation, FsError> {
    let (mut at, mut clusters) = (first, 0u64);
    while at != END {
        clusters += 1;
        if boot.cluster(at).is_none() {
            return Err(FsError::Corrupt(format!("a chain leads to cluster {at} of {}", boot.clusters)));
        }
        if clusters > u64::from(boot.clusters) {
            return Err(FsError::Corrupt("a chain of clusters runs in a circle".to_owned()));
        }
        if clusters * u64::from(boot.cluster_size) >= most {
            break;
        }
        at = link(bytes, boot, at)?;
    }
    Ok(Allocation { first, len: clusters * u64::from(boot.cluster_size), contiguous: false })
}
