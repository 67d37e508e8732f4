//! The disks as they would be with some bytes changed: what is saved of them is what a write-back then goes to. Nothing is
//! written, and nothing of them can be leased.

use crate::parser::{Overrule, Parser, ParserError};
use crate::run::unwritable::Unwritable;
use disk::io::Overlay;
use model::boot::Patch;
use model::coverage::Coverage;
use model::inspection::{Inspection, Volume};
use model::ports::DiskSource;
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::Arc;

/// Blocks of the overlay.
const BLOCK: u32 = 4096;
/// Most that it holds: what may change (`parser::checked`), in blocks.
const MOST: ByteLen = ByteLen(256 << 20);

/// Lays patches over disks.
///
/// # Errors
/// A sentence where a patch does not lie on its disk, or the disk cannot be read.
pub(super) fn patched(
    disks: Vec<DiskSource>,
    inspection: &Inspection,
    patches: &[Patch],
) -> Result<Unwritable, String> {
    let patched = disks.into_iter().map(|source| {
        let mut over = Overlay::new(source.bytes.clone(), BLOCK, MOST);
        for patch in patches.iter().filter(|p| p.volume.disk() == source.no) {
            let start = inspection.volume(&patch.volume).map_or(0, |v| v.extent.start().0);
            let at = ByteOffset(start.saturating_add(patch.at.0));
            over.write(at, &patch.bytes).map_err(|e| format!("{}: {e}", patch.volume))?;
        }
        Ok(DiskSource { bytes: Arc::new(over), ..source })
    });
    Ok(Unwritable(patched.collect::<Result<_, String>>()?))
}

/// The parser looks at the disks as they are, and of changed bytes it is known that they are in use.
pub(super) struct Patched<'a>(pub(super) &'a [Patch]);

impl Overrule for Patched<'_> {
    fn coverage(&self, parser: &dyn Parser, volume: &Volume) -> Result<Coverage, ParserError> {
        let mut coverage = parser.coverage(volume)?;
        for patch in self.0.iter().filter(|p| p.volume == volume.path) {
            // What a FAT newly has in use lies in blocks that change, or it would have nothing to say.
            let changed = Extent::new(patch.at, ByteLen(patch.bytes.len() as u64));
            changed.into_iter().for_each(|e| coverage.used.insert(e));
        }
        Ok(coverage)
    }
}
