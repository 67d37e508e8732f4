//! The bytes of an image, in rising order, from the maps it is made of.

use super::layout::{Layout, Part};
use model::units::{ByteLen, Extent, ExtentSet};
use store::{Slice, SliceContent, Store, StoreError};

/// The longest read: no chunk is longer, and neighbours in one chunk are read together up to this.
const MOST: u64 = 512 << 10;

/// Bytes of one chunk, and where they stand in the image: slices of the map that lie side by side in the chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gathered {
    slice: Slice,
    /// Place in the image and length of each, in order; together as long as the slice.
    pub(super) places: Vec<Extent>,
}

impl Gathered {
    /// The bytes, to be cut at the lengths of `places`.
    pub(super) fn read(&self, store: &Store) -> Result<Vec<u8>, StoreError> {
        store.read(&self.slice)
    }

    /// Takes one more slice, where it goes on in the chunk.
    fn take(&mut self, place: Extent, content: SliceContent) -> bool {
        let SliceContent::Chunk { id: mine, at: from } = self.slice.content else { return false };
        let SliceContent::Chunk { id, at } = content else { return false };
        let len = self.slice.extent.len().0;
        let more = len + place.len().0;
        if mine != id || u64::from(at) != u64::from(from) + len || more > MOST {
            return false;
        }
        let Some(longer) = Extent::new(self.slice.extent.start(), ByteLen(more)) else { return false };
        self.slice.extent = longer;
        self.places.push(place);
        true
    }
}

/// A piece of an image: bytes that are no hole, at a rising place. Zeros are told only where they lie encrypted: elsewhere an image has them
/// without being given any.
type Piece = Result<(Extent, SliceContent), StoreError>;

/// Everything of an image that is neither a hole nor zeros in clear. A map that is not in order ends it with an error.
fn pieces<'a>(store: &'a Store, layout: &'a Layout) -> impl Iterator<Item = Piece> + Send + 'a {
    let mut end = 0;
    layout
        .parts
        .iter()
        .flat_map(move |part| {
            let part = *part;
            store.map(part.map).slices(part.within).flat_map(move |slice| match slice {
                Ok(Slice { content: SliceContent::Zero, extent }) => match placed(part, extent) {
                    Ok(place) => encrypted_zeros(layout, place).map(Ok).collect(),
                    Err(e) => vec![Err(e)],
                },
                Ok(Slice { content, extent }) => vec![placed(part, extent).map(|e| (e, content))],
                Err(e) => vec![Err(e)],
            })
        })
        .map(move |piece| {
            // The writers of images rely on it; a map that breaks it is none the store wrote.
            let (place, content) = piece?;
            if place.start().0 < end {
                return Err(out_of_order());
            }
            end = place.end().0;
            Ok((place, content))
        })
}

/// What of a range of zeros is to be written, for it lies encrypted.
fn encrypted_zeros(layout: &Layout, zeros: Extent) -> impl Iterator<Item = (Extent, SliceContent)> {
    let all: ExtentSet =
        layout.encrypted.iter().flat_map(|e| e.places.clip(zeros).iter().collect::<Vec<_>>()).collect();
    let pieces: Vec<Extent> = all
        .iter()
        .flat_map(|e| {
            let (start, end) = (e.start().0, e.end().0);
            let step = usize::try_from(MOST).unwrap_or(usize::MAX);
            (start..end).step_by(step).filter_map(move |at| Extent::between(at, end.min(at + MOST)))
        })
        .collect();
    pieces.into_iter().map(|e| (e, SliceContent::Zero))
}

fn placed(part: Part, slice: Extent) -> Result<Extent, StoreError> {
    let place = slice.start().0.checked_sub(part.within.start().0).filter(|_| part.within.contains(slice));
    place.and_then(|from| Extent::between(part.at + from, part.at + from + slice.len().0)).ok_or_else(out_of_order)
}

fn out_of_order() -> StoreError {
    StoreError::Damaged { what: "a map gives its bytes out of order".into() }
}

/// What is to be read of an image, in order.
pub(super) fn gathered<'a>(
    store: &'a Store,
    layout: &'a Layout,
) -> impl Iterator<Item = Result<Gathered, StoreError>> + Send + 'a {
    let mut pieces = pieces(store, layout);
    let mut held: Option<Gathered> = None;
    let mut failed = None;
    std::iter::from_fn(move || {
        if let Some(e) = failed.take() {
            return Some(Err(e));
        }
        loop {
            match pieces.next() {
                Some(Ok((place, content))) => {
                    if held.as_mut().is_some_and(|h| h.take(place, content)) {
                        continue;
                    }
                    let slice = Slice { extent: place, content };
                    if let Some(full) = held.replace(Gathered { slice, places: vec![place] }) {
                        return Some(Ok(full));
                    }
                }
                Some(Err(e)) => {
                    let Some(full) = held.take() else { return Some(Err(e)) };
                    failed = Some(e);
                    return Some(Ok(full));
                }
                None => return held.take().map(Ok),
            }
        }
    })
}

/// What an image will hold, as far as its maps tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extents {
    /// Bytes to be read.
    pub(super) bytes: u64,
    /// Blocks of the unit asked for that some of them lie in.
    pub(super) blocks: u64,
    /// The same of the larger unit.
    pub(super) regions: u64,
}

/// Counts what an image will hold; `go_on` is asked now and then. Only maps are read.
pub(super) fn measure<E: From<StoreError>>(
    store: &Store,
    layout: &Layout,
    (block, region): (u64, u64),
    mut go_on: impl FnMut() -> Result<(), E>,
) -> Result<Extents, E> {
    let mut out = Extents::default();
    // First block and region that are not counted yet.
    let (mut blocks, mut regions) = (0, 0);
    for piece in pieces(store, layout) {
        go_on()?;
        let (place, ..) = piece?;
        out.bytes += place.len().0;
        out.blocks += touched(place, block, &mut blocks);
        out.regions += touched(place, region, &mut regions);
    }
    Ok(out)
}

/// Units that a range lies in and none before it did. Ranges come in rising order.
fn touched(place: Extent, unit: u64, next: &mut u64) -> u64 {
    let first = (place.start().0 / unit).max(*next);
    let end = place.end().0.div_ceil(unit).max(first);
    *next = end;
    end - first
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::ChunkId;

    #[test]
    fn neighbours_in_a_chunk_are_read_together() {
        let id = |n| ChunkId(model::id::Digest([n; 32]));
        let place = |start, end| Extent::between(start, end).unwrap();
        let first = Slice { extent: place(1000, 1100), content: SliceContent::Chunk { id: id(1), at: 50 } };
        let mut held = Gathered { slice: first, places: vec![first.extent] };
        let chunk = |n, at| SliceContent::Chunk { id: id(n), at };
        assert!(!held.take(place(2000, 2100), chunk(2, 150)), "another chunk");
        assert!(!held.take(place(2000, 2100), chunk(1, 151)), "not side by side in it");
        assert!(!held.take(place(2000, 2100), SliceContent::Zero), "in no chunk");
        assert!(!held.take(place(2000, 2000 + MOST - 99), chunk(1, 150)), "longer than a slice may be");
        assert!(held.take(place(2000, 2000 + MOST - 100), chunk(1, 150)));
        assert_eq!(held.slice.extent, place(1000, 1000 + MOST), "one read of the chunk, from where it began");
        assert_eq!((held.slice.content, held.places.len()), (first.content, 2));
    }

    #[test]
    fn units_are_counted_once() {
        let mut next = 0;
        let mut count = |start, end| touched(Extent::between(start, end).unwrap(), 10, &mut next);
        assert_eq!([count(0, 1), count(5, 8), count(9, 11), count(12, 30), count(45, 46)], [1, 0, 1, 1, 1]);
    }
}
