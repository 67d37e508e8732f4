//! The footers of packs seen last: where a chunk lies within its pack, and where its neighbours do.

use super::PackNo;
use super::lru::Lru;
use crate::error::StoreError;
use crate::footer::{Footer, FrameEntry, InFrame};
use model::id::Digest;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of footers that are kept.
const MOST: usize = 32 * 1024 * 1024;
/// Footers that are asked before any index: a few streams of data and one of nodes are read or saved at once.
const HOT: usize = 8;

/// What a pack holds, kept for finding: chunks sorted by their ids.
pub(crate) struct Held {
    frames: Box<[FrameEntry]>,
    chunks: Box<[(Digest, InFrame)]>,
}

impl Held {
    /// From a footer that is valid.
    pub(crate) fn new(footer: &Footer) -> Self {
        let mut chunks: Box<[_]> = footer.places().map(|(chunk, place)| (chunk.id, place)).collect();
        chunks.sort_unstable_by_key(|(id, _)| *id);
        Self { frames: footer.frames.as_slice().into(), chunks }
    }

    /// The frame that a chunk lies in, and where in it.
    pub(crate) fn find(&self, id: &Digest) -> Option<(FrameEntry, InFrame)> {
        let at = self.chunks.binary_search_by(|(other, _)| other.cmp(id)).ok()?;
        let (_, place) = *self.chunks.get(at)?;
        Some((*self.frames.get(usize::from(place.frame))?, place))
    }

    /// Bytes of memory it takes.
    pub(crate) fn size(&self) -> usize {
        size_of_val(&*self.frames) + size_of_val(&*self.chunks) + size_of::<Self>()
    }
}

/// A pack found lately.
type Hot = Option<(PackNo, Arc<Held>)>;

/// The footers seen last. A lookup that found a chunk makes its pack one of the few that are asked first.
pub(crate) struct Footers {
    kept: Lru<PackNo, Held>,
    hot: Mutex<[Hot; HOT]>,
}

/// Where a chunk lies: its pack, the frame there, and the place within.
pub(crate) type Found = (PackNo, FrameEntry, InFrame);

impl Footers {
    pub(crate) fn new() -> Self {
        Self { kept: Lru::new(MOST), hot: Mutex::new([const { None }; HOT]) }
    }

    /// A chunk in the packs found last, without any index. The caller asks for the pack's trust itself.
    pub(crate) fn near(&self, id: &Digest) -> Option<Found> {
        let hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (at, found) = hot.iter().enumerate().find_map(|(at, hot)| {
            let (pack, held) = hot.as_ref()?;
            held.find(id).map(|(frame, place)| (at, (*pack, frame, place)))
        })?;
        if at > HOT / 2 {
            self.make_hot(found.0, hot[at].as_ref()?.1.clone());
        }
        Some(found)
    }

    /// A chunk in one pack, whose footer is read where it is not here.
    ///
    /// # Errors
    /// What `read` fails with.
    pub(crate) fn find(
        &self,
        pack: PackNo,
        id: &Digest,
        read: impl FnOnce() -> Result<Held, StoreError>,
    ) -> Result<Option<Found>, StoreError> {
        let held = match self.kept.get(&pack) {
            Some(held) => held,
            None => {
                let held = Arc::new(read()?);
                self.kept.put(pack, held.clone(), held.size());
                held
            }
        };
        let Some((frame, place)) = held.find(id) else { return Ok(None) };
        self.make_hot(pack, held);
        Ok(Some((pack, frame, place)))
    }

    /// Forgets a pack that is gone.
    pub(crate) fn forget(&self, pack: PackNo) {
        self.kept.remove(&pack);
        for hot in self.hot.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            if hot.as_ref().is_some_and(|(no, _)| *no == pack) {
                *hot = None;
            }
        }
    }

    /// Bytes in use; what is hot and not kept any more comes on top, at most eight footers.
    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.kept.size()
    }

    fn make_hot(&self, pack: PackNo, held: Arc<Held>) {
        let mut hot = self.hot.lock().unwrap_or_else(PoisonError::into_inner);
        let old = hot.iter().position(|h| h.as_ref().is_some_and(|(no, _)| *no == pack));
        hot[..=old.unwrap_or(HOT - 1)].rotate_right(1);
        hot[0] = Some((pack, held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::footer::ChunkEntry;
    use crate::pack::{Encoding, Kind};

    fn id(pack: u32, chunk: u32) -> Digest {
        Digest::of(&[pack.to_le_bytes(), chunk.to_le_bytes()].concat())
    }

    fn held(pack: u32) -> Held {
        let frame = |n: u32| FrameEntry { offset: 16 + n * 50, stored: 50, plain: 100, encoding: Encoding::Zstd };
        let chunk =
            |n: u32| ChunkEntry { id: id(pack, n), plain: 50, frame: u16::try_from(n / 2).unwrap(), kind: Kind::Data };
        let footer = Footer { frames: (0..3).map(frame).collect(), chunks: (0..6).map(chunk).collect() };
        footer.validate().unwrap();
        Held::new(&footer)
    }

    #[test]
    fn neighbours_are_found_without_an_index() {
        let footers = Footers::new();
        assert!(footers.near(&id(1, 0)).is_none());
        let found = footers.find(PackNo(1), &id(1, 5), || Ok(held(1))).unwrap().unwrap();
        assert_eq!((found.1.offset, found.2), (116, InFrame { frame: 2, at: 50, len: 50 }));
        let (pack, frame, place) = footers.near(&id(1, 2)).unwrap();
        assert_eq!((pack, frame.offset, place), (PackNo(1), 66, InFrame { frame: 1, at: 0, len: 50 }));
        assert!(footers.near(&id(2, 0)).is_none());
        assert!(footers.find(PackNo(1), &id(2, 0), || unreachable!("it is kept")).unwrap().is_none());
        footers.forget(PackNo(1));
        assert!(footers.near(&id(1, 2)).is_none());
        assert_eq!(footers.size(), 0);
    }

    #[test]
    fn a_pack_in_use_stays_near_and_others_make_way() {
        let footers = Footers::new();
        for pack in 0..100 {
            footers.find(PackNo(pack), &id(pack, 0), || Ok(held(pack))).unwrap().unwrap();
            assert!(footers.near(&id(0, 1)).is_some(), "{pack}");
        }
        assert!(footers.near(&id(99, 1)).is_some());
        assert!(footers.near(&id(50, 1)).is_none());
        let failed = footers.find(PackNo(1000), &id(0, 0), || Err(StoreError::damaged("torn")));
        assert!(failed.is_err());
    }
}
