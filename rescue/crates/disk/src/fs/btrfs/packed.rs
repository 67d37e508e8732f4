//! Compressed extents (kernel `fs/btrfs/compression.c`, `zlib.c`, `lzo.c`, `zstd.c`): each stands for at most 128 KiB.

use super::lzo;
use crate::fs::FsError;
use crate::numbers::le32;
use std::io::Read;

/// `BTRFS_MAX_UNCOMPRESSED` and `BTRFS_MAX_COMPRESSED`.
pub(super) const MOST: u64 = 128 << 10;

/// How an extent is compressed (`enum btrfs_compression_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Zlib,
    Lzo,
    Zstd,
}

impl Method {
    /// By its number; `None` within for what is not compressed.
    ///
    /// # Errors
    /// [`FsError::Incompatible`] for one not known here.
    pub(super) fn of_type(number: u8) -> Result<Option<Self>, FsError> {
        match number {
            0 => Ok(None),
            1 => Ok(Some(Self::Zlib)),
            2 => Ok(Some(Self::Lzo)),
            3 => Ok(Some(Self::Zstd)),
            other => Err(FsError::Incompatible(format!("an extent is compressed in a way not known here ({other})"))),
        }
    }

    /// The bytes an extent stands for: `len` of them, with zeros behind what is there (as the kernel fills them up). `sector` is that of the
    /// file system.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together.
    pub(super) fn unpack(self, packed: &[u8], len: usize, sector: usize) -> Result<Vec<u8>, FsError> {
        let plain = match self {
            Self::Zlib => inflate(packed, len),
            Self::Lzo => segments(packed, len, sector),
            Self::Zstd => unzstd(packed, len),
        };
        let mut plain = plain.ok_or_else(|| FsError::Corrupt(format!("a compressed extent ({self:?}) is damaged")))?;
        plain.resize(len, 0);
        Ok(plain)
    }
}

fn inflate(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(packed, len).ok()
}

/// One frame; what follows it fills up the sector.
fn unzstd(packed: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let decoder = zstd::stream::read::Decoder::with_buffer(packed).ok()?.single_frame();
    decoder.take(len as u64).read_to_end(&mut out).ok()?;
    Some(out)
}

/// How long all of it is, then blocks with their lengths: each stands for a sector, and the length of none lies across the end of one.
fn segments(packed: &[u8], len: usize, sector: usize) -> Option<Vec<u8>> {
    let end = usize::try_from(le32(packed, 0)).ok()?;
    let packed = packed.get(..end)?;
    let mut at = 4;
    let mut out = Vec::new();
    while at < end && out.len() < len {
        let left = sector - at % sector;
        if left < 4 {
            at += left;
        }
        let block = usize::try_from(le32(packed.get(at..at + 4)?, 0)).ok()?;
        at += 4;
        out.extend(lzo::unpack(packed.get(at..at.checked_add(block)?)?, sector.min(len - out.len()))?);
        at += block;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_behind_a_frame_does_not_matter() {
        let plain = vec![b'x'; 100_000];
        let mut packed = zstd::bulk::compress(&plain, 3).unwrap();
        packed.resize(4096, 0);
        assert_eq!(Method::Zstd.unpack(&packed, plain.len(), 4096).unwrap(), plain);
        let mut longer = plain.clone();
        longer.resize(128 << 10, 0);
        assert_eq!(Method::Zstd.unpack(&packed, longer.len(), 4096).unwrap(), longer);
        let mut packed = miniz_oxide::deflate::compress_to_vec_zlib(&plain, 3);
        packed.resize(4096, 0);
        assert_eq!(Method::Zlib.unpack(&packed, plain.len(), 4096).unwrap(), plain);
        assert!(Method::Zlib.unpack(&packed[..60], plain.len(), 4096).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(packed in prop::collection::vec(any::<u8>(), 0..200), len in 0usize..5000) {
            for method in [Method::Zlib, Method::Lzo, Method::Zstd] {
                if let Ok(out) = method.unpack(&packed, len, 4096) {
                    prop_assert_eq!(out.len(), len);
                }
            }
        }
    }
}
