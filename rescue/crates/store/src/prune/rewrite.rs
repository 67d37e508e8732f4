//! Writing again the live chunks of packs that are mostly dead.

use super::{Prune, PruneProgress};
use crate::error::StoreError;
use crate::layout::big;
use crate::pack::Kind;
use crate::writer::Writer;
use model::id::Digest;

impl Prune<'_> {
    /// Writes the live chunks of packs of which more than `limit` in a hundred is dead into new packs, which are read back and
    /// indexed. Gives the packs that are not needed any more; `None` where it was stopped. Where there is no room for new packs
    /// everything stays as it is.
    pub(super) fn rewrite(
        &mut self,
        alive: &[usize],
        limit: u8,
        progress: PruneProgress<'_>,
    ) -> Result<Option<Vec<usize>>, StoreError> {
        let mut chosen = Vec::new();
        for pack in alive {
            let (live, all) = self.weigh(*pack)?;
            if u128::from(all - live) * 100 > u128::from(all) * u128::from(limit) {
                chosen.push(*pack);
            }
        }
        if chosen.is_empty() || self.dry {
            return Ok(Some(chosen));
        }
        let mut writer = Writer::inside(self.store.clone())?;
        let written = self.carry(&mut writer, &chosen, progress).and_then(|carried| {
            let Some(carried) = carried else { return Ok(None) };
            let proven = writer.prove(&mut |_, _| progress("reading back", 0, 0))?;
            Ok(proven.then_some(carried))
        });
        match written {
            Ok(Some(carried)) => Ok(Some(carried)),
            Ok(None) => {
                writer.take_back();
                Ok(None)
            }
            // It can wait: nothing depends on it, and what is dead as a whole makes room first.
            Err(StoreError::Full { .. }) => {
                writer.take_back();
                Ok(Some(Vec::new()))
            }
            Err(e) => {
                writer.take_back();
                Err(e)
            }
        }
    }

    /// Hands the live chunks to a writer; a pack that cannot be read whole stays where it is.
    fn carry(
        &mut self,
        writer: &mut Writer,
        chosen: &[usize],
        progress: PruneProgress<'_>,
    ) -> Result<Option<Vec<usize>>, StoreError> {
        let mut carried = Vec::new();
        for (n, pack) in chosen.iter().enumerate() {
            if !progress("writing again what is mostly dead", n, chosen.len()) {
                return Ok(None);
            }
            if self.carry_one(writer, *pack, chosen)? {
                carried.push(*pack);
            }
        }
        Ok(Some(carried))
    }

    fn carry_one(&mut self, writer: &mut Writer, pack: usize, chosen: &[usize]) -> Result<bool, StoreError> {
        let id = self.ground.packs[pack].id;
        let footer = self.store.read_footer(&id)?;
        let mut open: Option<(u16, Vec<u8>)> = None;
        for (bit, (chunk, place)) in self.ground.bits_of(pack).zip(footer.places()) {
            if !self.live.get(bit) || self.lies_elsewhere(&chunk.id, pack, chosen)? {
                continue;
            }
            if open.as_ref().is_none_or(|(number, _)| *number != place.frame) {
                let entry = &footer.frames[usize::from(place.frame)];
                match self.store.read_frame(&id, place.frame, entry) {
                    Ok(plain) => open = Some((place.frame, plain)),
                    Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                    Err(_) => return Ok(false),
                }
            }
            let plain = open.as_ref().and_then(|(_, p)| p.get(big(place.at)..big(place.at) + big(place.len)));
            match plain {
                Some(plain) if self.store.seal().name(&Digest::of(plain)) == chunk.id => {
                    writer.carry(chunk.id, plain.to_vec(), chunk.kind == Kind::Node)?;
                }
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// True where another pack, which is not written again itself, has a good copy.
    fn lies_elsewhere(&mut self, id: &Digest, pack: usize, chosen: &[usize]) -> Result<bool, StoreError> {
        let copies = self.ground.copies(id)?;
        for bit in copies {
            let other = self.ground.pack_of(bit);
            if other != pack && chosen.binary_search(&other).is_err() && self.is_proven(other)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
