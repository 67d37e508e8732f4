//! LUKS: headers of both versions, what opens them, and the bytes in clear.
//!
//! What interprets bytes of a disk ([`read`]) runs where everything hostile is read, and gives a [`LuksHeader`]: numbers, salts, digests.
//! What works with a key ([`keyslot`], [`Unsealed`]) interprets nothing: it runs in the engine, which alone has the key.

mod cipher;
mod keyslot;
mod luks1;
mod luks2;
mod unsealed;

pub use cipher::Key;
pub use keyslot::{Attempt, Opened, Refused, open};
pub use unsealed::{Unsealed, cipher};

use crate::fs::FsError;
use model::id::{LUKS, VolumePath};
use model::inspection::{LuksInfo, Volume};
use model::luks::{LuksHeader, Sealed, SealedRun};
use model::mapping::{Beneath, Leg, Mapping, Segment};
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent};

/// How a header begins.
const MAGIC: &[u8] = b"LUKS\xba\xbe";

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What is told of it.
    pub info: LuksInfo,
    /// What opens it; why nothing here can where that is so.
    pub header: Result<LuksHeader, String>,
    /// What is wrong with it, where it can be used all the same.
    pub wrong: Option<String>,
}

/// Reads the header of a volume. `None` where it is none of LUKS.
///
/// # Errors
/// [`FsError::Io`]; [`FsError::Corrupt`] where no copy of it holds together; [`FsError::Incompatible`] for another version.
pub fn read(bytes: &dyn ReadAt) -> Result<Option<Reading>, FsError> {
    if bytes.size().0 < 4096 {
        return Ok(None);
    }
    let head = bytes.read_vec(ByteOffset(0), 8)?;
    if !head.starts_with(MAGIC) {
        return Ok(None);
    }
    match u16::from_be_bytes([head[6], head[7]]) {
        1 => luks1::read(bytes).map(Some),
        2 => luks2::read(bytes).map(Some),
        other => Err(FsError::Incompatible(format!("its LUKS header is of version {other}"))),
    }
}

/// Reading with every answer that cannot be relied on refused: a header that is not sound is none.
fn reading(
    mut info: LuksInfo,
    header: Result<LuksHeader, String>,
    wrong: Option<String>,
    len: ByteLen,
) -> Result<Reading, FsError> {
    let header = match header {
        Ok(header) if !header.is_sound(len) => {
            return Err(FsError::Corrupt("its LUKS header names places or numbers that cannot be".to_owned()));
        }
        Ok(header) if header.slots.is_empty() => Err(no_slots(&header)),
        header => header,
    };
    info.not_opened = header.as_ref().err().map(|why| DisplayText::new(why));
    Ok(Reading { info, header, wrong })
}

fn no_slots(header: &LuksHeader) -> String {
    match header.unusable.as_slice() {
        [] => "it has no key slot that a passphrase or a key file opens".to_owned(),
        some => some.iter().map(DisplayText::as_str).collect::<Vec<_>>().join("; "),
    }
}

/// The volume that lies encrypted in another one, whose header is sound: its path, and how its bytes lie.
///
/// # Errors
/// A sentence: it lies in a way that is not read.
pub fn mapping(volume: &Volume, header: &LuksHeader) -> Result<(VolumePath, Mapping), String> {
    let path = volume.path.above(&[LUKS]).ok_or("it lies below too many others")?;
    let mut making = Making { header, beneath: Vec::new(), runs: Vec::new(), segments: Vec::new() };
    match &volume.mapping {
        None => {
            making.beneath.push(Beneath::plain(volume.path.clone(), volume.extent));
            making.runs.push(Vec::new());
            making.segment(header.payload.len(), &Leg::new(0, header.payload.start()), ByteLen::ZERO)?;
        }
        Some(below) if below.is_sealed() => return Err("it is encrypted twice".to_owned()),
        Some(below) => {
            making.beneath.clone_from(&below.beneath);
            making.runs.resize(below.beneath.len(), Vec::new());
            making.over(below)?;
        }
    }
    let mut beneath = making.beneath;
    for (b, mut runs) in beneath.iter_mut().zip(making.runs) {
        runs.sort_unstable_by_key(|r| r.at);
        let (header, cipher, sector) = (header.identity(), header.cipher, header.sector);
        b.sealed = Some(Box::new(Sealed { header, cipher, sector, runs }));
    }
    // A volume beneath that has no byte of the payload has nothing to do with it.
    let kept: Vec<usize> = (0..beneath.len()).filter(|n| !runs_of(&beneath[*n]).is_empty()).collect();
    let place = |on: usize| kept.iter().position(|k| *k == on).unwrap_or(0);
    for leg in making.segments.iter_mut().flat_map(|s| &mut s.legs) {
        leg.on = place(leg.on);
        leg.mirrors.iter_mut().for_each(|(on, _)| *on = place(*on));
    }
    let beneath = kept.iter().map(|n| beneath[*n].clone()).collect();
    let partly = (header.cipher == model::luks::Cipher::AesCbcEssiv).then(|| {
        DisplayText::new("within a sector of its cipher, bytes depend on each other; such a volume is only read here")
    });
    let read_only = volume.mapping.as_ref().and_then(|m| m.read_only.clone()).or(partly);
    let says = DisplayText::new(&format!("LUKS volume {}", header.uuid));
    let mapping = Mapping { says, id: format!("luks/{}", header.uuid), beneath, segments: making.segments, read_only };
    match mapping.is_sound(header.payload.len()) {
        true => Ok((path, mapping)),
        false => Err("how its bytes lie does not hold together".to_owned()),
    }
}

fn runs_of(beneath: &Beneath) -> &[SealedRun] {
    beneath.sealed.as_ref().map_or(&[], |s| &s.runs)
}

/// A map of what lies encrypted, under construction.
struct Making<'a> {
    header: &'a LuksHeader,
    beneath: Vec<Beneath>,
    runs: Vec<Vec<SealedRun>>,
    segments: Vec<Segment>,
}

impl Making<'_> {
    /// Adds so many bytes, `done` of the encrypted volume being before them.
    fn segment(&mut self, len: ByteLen, leg: &Leg, done: ByteLen) -> Result<(), String> {
        let outside = || "it lies past any disk".to_owned();
        let tweak = self.header.tweak.checked_mul(512).ok_or_else(outside)?;
        let counts = ByteOffset(done.0).checked_add(ByteLen(tweak)).ok_or_else(outside)?;
        for (on, at) in std::iter::once((leg.on, leg.at)).chain(leg.mirrors.iter().copied()) {
            let at = Extent::new(at, len).ok_or_else(outside)?;
            self.runs.get_mut(on).ok_or_else(outside)?.push(SealedRun { at, counts });
        }
        self.segments.push(Segment { len, stripe: ByteLen::ZERO, skip: ByteLen::ZERO, legs: vec![leg.clone()] });
        Ok(())
    }

    /// Adds the payload of a volume that lies on others itself.
    fn over(&mut self, below: &Mapping) -> Result<(), String> {
        let mut start = 0u64;
        for segment in &below.segments {
            let whole = Extent::new(ByteOffset(start), segment.len).ok_or("it lies past any disk")?;
            start = whole.end().0;
            let Some(part) = whole.intersect(self.header.payload).filter(|p| !p.is_empty()) else { continue };
            let [leg] = segment.legs.as_slice() else { return Err("it lies in stripes".to_owned()) };
            let by = part.start().0 - whole.start().0;
            let moved = |at: ByteOffset| at.checked_add(ByteLen(by)).ok_or("it lies past any disk");
            let mirrors = leg.mirrors.iter().map(|(on, at)| Ok((*on, moved(*at)?)));
            let leg = Leg { on: leg.on, at: moved(leg.at)?, mirrors: mirrors.collect::<Result<_, &str>>()? };
            let done = part.start().0 - self.header.payload.start().0;
            self.segment(part.len(), &leg, ByteLen(done))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
