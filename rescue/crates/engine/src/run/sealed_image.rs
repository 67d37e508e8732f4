//! Bytes of an image that are to lie encrypted in it: an image is written from its first byte on and never read, so that what encrypts
//! it goes without what stood there.

use super::{Context, Stop};
use model::command::ExitCode;
use model::luks::{Cipher, Sealed};
use model::ports::SectorCipher;
use model::restore::Encrypted;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::io;
use std::sync::Arc;

/// What XTS encrypts by itself, in bytes.
const BLOCK: u64 = 16;

/// What encrypts an image.
pub(super) struct Sealer(Vec<(ExtentSet, Sealed, Arc<dyn SectorCipher>)>);

impl Sealer {
    /// With the keys of the volumes that were opened.
    ///
    /// # Errors
    /// [`Stop`], where one was not.
    pub(super) fn new(cx: &Context<'_>, encrypted: &[Encrypted]) -> Result<Self, Stop> {
        let part = |e: &Encrypted| match cx.keys.cipher(&e.sealed) {
            Some(cipher) => Ok((e.places.clone(), e.sealed.clone(), cipher)),
            None => {
                let says = format!(
                    "{} of the snapshot is encrypted: what lies in it cannot be put into an image as it was",
                    e.volume
                );
                let advice = format!(
                    "unlock it with the passphrase or key file of then (--unlock {}); what lies in it comes out in clear by its own name \
                     (--only), files with `get`",
                    e.volume
                );
                Err(Stop::failed(ExitCode::Refused, says, advice))
            }
        };
        encrypted.iter().map(part).collect::<Result<_, _>>().map(Self)
    }

    /// Encrypts what of these bytes is to be.
    ///
    /// # Errors
    /// They are not whole sectors of a cipher that knows no less, or do not lie where they can.
    pub(super) fn encrypt(&self, at: u64, bytes: &mut [u8]) -> io::Result<()> {
        let whole = Extent::new(ByteOffset(at), ByteLen(bytes.len() as u64)).ok_or_else(odd)?;
        for (places, sealed, cipher) in &self.0 {
            for part in places.clip(whole).iter() {
                let place = |n: u64| usize::try_from(n - at).map_err(|_| odd());
                let part_of = place(part.start().0)?..place(part.end().0)?;
                run(sealed, &**cipher, part, &mut bytes[part_of])?;
            }
        }
        Ok(())
    }
}

/// Encrypts bytes of a place.
fn run(sealed: &Sealed, cipher: &dyn SectorCipher, place: Extent, bytes: &mut [u8]) -> io::Result<()> {
    let sector = u64::from(sealed.sector);
    let least = if sealed.cipher == Cipher::AesXts { BLOCK } else { sector };
    let mut at = place.start();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (run, into) = sealed.run(at).ok_or_else(odd)?;
        let skip = into % sector;
        let len = ByteLen(run.at.end().0 - at.0).to_usize().unwrap_or(usize::MAX).min(rest.len());
        let (now, later) = rest.split_at_mut(len);
        if !skip.is_multiple_of(least) || !(len as u64).is_multiple_of(least) {
            return Err(odd());
        }
        let before = usize::try_from(skip).map_err(|_| odd())?;
        let all = (skip + len as u64).next_multiple_of(sector);
        let mut sectors = vec![0; usize::try_from(all).map_err(|_| odd())?];
        sectors[before..before + len].copy_from_slice(now);
        cipher.encrypt(ByteOffset(run.counts.0 + (into - skip)), &mut sectors);
        now.copy_from_slice(&sectors[before..before + len]);
        at = ByteOffset(at.0 + len as u64);
        rest = later;
    }
    Ok(())
}

fn odd() -> io::Error {
    io::Error::other("bytes that are to lie encrypted are no whole sectors of their cipher")
}
