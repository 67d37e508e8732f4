//! Extents of files (kernel `struct btrfs_file_extent_item`).

use super::packed::{MOST, Method};
use crate::fs::FsError;
use crate::numbers::{byte, le16, le64};

/// Bytes of one before what lies within it, and of one that lies elsewhere.
const HEAD: usize = 21;
const LEN: usize = 53;

/// Where a run of bytes of a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// Nowhere, or in bytes that were never written: it reads as zeros.
    Zeros,
    /// From this address on.
    At(u64),
    /// Here, already unpacked.
    Within(Vec<u8>),
    /// In a compressed extent.
    Packed(Packed),
}

/// A compressed extent, and the part of it that is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packed {
    /// Its address.
    pub(super) at: u64,
    /// Its bytes as they lie there.
    pub(super) len: usize,
    /// Bytes that it stands for.
    pub(super) plain: usize,
    /// How many of these come before the part.
    pub(super) skip: usize,
    /// How it is compressed.
    pub(super) method: Method,
}

/// A run of bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    /// The byte of the file it begins with.
    pub(super) from: u64,
    /// The byte behind its last.
    pub(super) end: u64,
    /// Where it is.
    pub(super) what: What,
}

impl Run {
    /// A run that begins at byte `from` of a file, of its item.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together, [`FsError::Incompatible`] where it is kept in a way not known here.
    pub(super) fn parse(from: u64, item: &[u8], sector: u32) -> Result<Self, FsError> {
        let bad = |why: String| Err(FsError::Corrupt(format!("the extent from byte {from} of a file on: {why}")));
        let (plain, method, kind) = (le64(item, 8), Method::of_type(byte(item, 16))?, byte(item, 20));
        if (byte(item, 17), le16(item, 18)) != (0, 0) {
            return Err(FsError::Incompatible("an extent is encrypted".to_owned()));
        }
        if kind == 0 {
            let within = item.get(HEAD..).unwrap_or_default();
            let Ok(len) = usize::try_from(plain.min(MOST + 1)) else { return bad("it is too long".to_owned()) };
            if from != 0 || plain > MOST || (method.is_none() && within.len() != len) {
                return bad(format!("{} bytes within it stand for {plain}", within.len()));
            }
            let bytes = match method {
                None => within.to_vec(),
                Some(method) => method.unpack(within, len, usize::try_from(sector).unwrap_or(4096))?,
            };
            return Ok(Self { from, end: plain, what: What::Within(bytes) });
        }
        let (at, len, skip, bytes) = (le64(item, 21), le64(item, 29), le64(item, 37), le64(item, 45));
        let Some(end) = from.checked_add(bytes).filter(|_| item.len() >= LEN && bytes > 0 && kind <= 2) else {
            return bad(format!("it is of kind {kind}, and {bytes} bytes long"));
        };
        let within = skip.checked_add(bytes).is_some_and(|end| end <= plain);
        let what = match (at, kind, method) {
            (0, ..) | (_, 2, _) => What::Zeros,
            (at, _, None) => match at.checked_add(skip).filter(|_| skip.checked_add(bytes).is_some_and(|e| e <= len)) {
                Some(at) => What::At(at),
                None => return bad(format!("{bytes} bytes behind {skip} of {len}")),
            },
            (at, _, Some(method)) => {
                let short = |n: u64| usize::try_from(n).ok().filter(|_| within && n <= MOST);
                let (Some(len), Some(plain), Some(skip)) = (short(len), short(plain), short(skip)) else {
                    return bad(format!("{len} bytes stand for {plain}, of which {bytes} behind {skip} are meant"));
                };
                What::Packed(Packed { at, len, plain, skip, method })
            }
        };
        Ok(Self { from, end, what })
    }

    /// A run of zeros.
    pub(super) fn hole(from: u64, end: u64) -> Self {
        Self { from, end, what: What::Zeros }
    }

    /// The part up to a byte of the file.
    pub(super) fn until(self, end: u64) -> Self {
        Self { end: self.end.min(end), ..self }
    }

    /// The part from a byte of the file on, which lies within it.
    pub(super) fn behind(self, from: u64) -> Self {
        let cut = from.saturating_sub(self.from);
        let places = usize::try_from(cut).unwrap_or(usize::MAX);
        let what = match self.what {
            What::Zeros => What::Zeros,
            What::At(at) => What::At(at.saturating_add(cut)),
            What::Within(bytes) => What::Within(bytes.get(places..).unwrap_or_default().to_vec()),
            What::Packed(p) => What::Packed(Packed { skip: p.skip.saturating_add(places), ..p }),
        };
        Self { from: self.from.max(from), end: self.end, what }
    }
}
