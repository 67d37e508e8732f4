//! What is good in a damaged pack, stored anew.

use super::{Repair, lost};
use crate::error::StoreError;
use crate::frame::Squeezer;
use crate::layout::{PACK_RESERVE, pack_name, small};
use crate::locate::Trust;
use crate::pack::{Encoding, PackBuilder};
use crate::reader::OpenFrame;
use crate::seal;
use crate::writer::LEVEL;
use model::id::Digest;
use model::ports::ObjectError;
use model::text::DisplayText;
use std::collections::HashSet;

/// Names that are tried for one object where damaged ones have the first.
const MOST_NAMES: u8 = u8::MAX;

impl Repair<'_> {
    /// Stores the good chunks of damaged packs anew where no good pack has them.
    pub(super) fn salvage(&mut self) -> Result<(), StoreError> {
        let mut squeezer = Squeezer::new()?;
        for id in self.report.damaged_packs.clone() {
            let Ok(footer) = lost(self.store.read_footer(&id))? else { continue };
            let mut builder = PackBuilder::new();
            let mut places = footer.places().peekable();
            let mut taken = HashSet::new();
            for (no, frame) in (0u16..).zip(&footer.frames) {
                let frame = lost(self.store.read_frame(&id, no, frame))?.map(OpenFrame::new);
                let (mut plain, mut chunks) = (Vec::new(), Vec::new());
                while let Some((entry, place)) = places.next_if(|(c, _)| c.frame == no) {
                    let chunk = frame.as_ref().ok().and_then(|f| f.chunk(self.store.seal(), &entry.id, place));
                    let Some(chunk) = chunk else { continue };
                    if !self.store.has(&entry.id)? && taken.insert(entry.id) {
                        plain.extend_from_slice(&chunk);
                        chunks.push((entry.id, entry.plain, entry.kind));
                    }
                }
                if chunks.is_empty() {
                    continue;
                }
                if builder.is_full(chunks.len()) {
                    self.put_pack(std::mem::replace(&mut builder, PackBuilder::new()))?;
                }
                self.report.salvaged += chunks.len();
                let len = small(plain.len());
                let (encoding, stored): (Encoding, Vec<u8>) = squeezer.squeeze(plain, LEVEL)?;
                let bound = u32::from(builder.next()).to_le_bytes();
                let stored = self.store.seal().seal(seal::Kind::Frame, &bound, &stored, self.store.entropy())?;
                builder.push(encoding, len, &stored, &chunks);
            }
            if !builder.is_empty() {
                self.put_pack(builder)?;
            }
        }
        self.look_again();
        Ok(())
    }

    /// Puts a pack of salvaged chunks and reads it back.
    fn put_pack(&mut self, builder: PackBuilder) -> Result<(), StoreError> {
        let footer = builder.footer().encode();
        let footer = self.store.seal().seal(seal::Kind::Footer, &[], &footer, self.store.entropy())?;
        let mut pack = builder.close(&footer);
        let len = pack.bytes.len() as u64;
        if let Some(free) = self.store.free().filter(|f| f.0 < len.saturating_add(PACK_RESERVE)) {
            let says = format!("{} bytes are free, and {PACK_RESERVE} are kept for records", free.0);
            return Err(StoreError::Full { says: DisplayText::new(&says) });
        }
        let mut id = Digest::of(&pack.bytes);
        for salt in 1..=MOST_NAMES {
            match self.store.objects().put(&pack_name(&id), &pack.bytes) {
                Err(ObjectError::Exists(_)) => {
                    pack.salt(salt);
                    id = Digest::of(&pack.bytes);
                }
                put => {
                    put?;
                    break;
                }
            }
        }
        if let Err(e) = self.store.prove_pack(&id, &mut |_| true) {
            self.store.spoilt(&id);
            return Err(e);
        }
        self.store.add_pack(&id, Trust::Verified, &pack.footer);
        self.good.push(id);
        Ok(())
    }
}
