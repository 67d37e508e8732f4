//! Where chunks should begin: at the start of every extent that holds content of files.

use super::reader::Reader;
use super::used::each_extent;
use model::cuts::Cuts;

/// Cuts at the extents of `reader`. What cannot be read stays on the grid: cutting is about sharing, never about content.
///
/// Files are written in new extents, so equal files begin with equal ones; the places of extents within files are not looked for.
pub(super) fn cuts(reader: &Reader) -> Cuts {
    let mut cuts = Cuts::on_grid(reader.sb.sector, reader.bytes().size());
    let sector = u64::from(reader.sb.sector);
    let _ = each_extent(reader, &mut |extent| {
        if extent.data {
            for place in reader.chunks.extents(extent.at, extent.len)? {
                cuts.lay(place.start().0 / sector, place.len().0 / sector, 0);
            }
        }
        Ok(())
    });
    cuts
}
