//! What all records share: a header, the body (compressed where that pays, then sealed), a sum.

use crate::error::StoreError;
use crate::format::FORMAT;
use crate::layout::{MAX_RECORD, small};
use crate::seal;
use crate::store::{Store, read_object};
use model::id::Digest;
use model::ports::{ObjectError, ObjectName};
use model::text::DisplayText;

const MAGIC: [u8; 15] = *b"holdfast record";
/// Bytes before the body.
const HEADER: usize = 24;
/// Bytes behind it.
const SUM: usize = 32;
/// Bytes a record has besides its body, at most: header, nonce and tag, sum.
const AROUND: u64 = 128;
/// zstd's level for bodies: they are small, and written rarely.
const LEVEL: i32 = 9;

/// What a record is. The number is part of what seals it, so that one kind cannot stand in another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum RecordKind {
    Manifest = 1,
    Aside = 2,
    Intent = 3,
    Receipt = 4,
    Note = 5,
    Entry = 6,
    Condemned = 7,
}

/// The fixed-width part of a record.
struct Parts<'a> {
    compressed: bool,
    plain: u32,
    sealed: &'a [u8],
}

impl Store {
    /// The bytes of a record.
    pub(crate) fn record(&self, kind: RecordKind, body: &[u8]) -> Result<Vec<u8>, StoreError> {
        if body.len() as u64 > MAX_RECORD {
            return Err(StoreError::misuse(format!("a record of {} bytes; the most is {MAX_RECORD}", body.len())));
        }
        let packed = zstd::bulk::compress(body, LEVEL).ok().filter(|p| p.len() < body.len());
        let mut out = Vec::with_capacity(packed.as_ref().map_or(body.len(), Vec::len) + 100);
        out.extend(MAGIC);
        out.extend([1, kind as u8, u8::from(packed.is_some()), 0, 0]);
        out.extend(small(body.len()).to_le_bytes());
        let encoded = packed.as_deref().unwrap_or(body);
        out.extend(self.seal().seal(seal::Kind::Record, &[kind as u8], encoded, self.entropy())?);
        out.extend(Digest::of(&out).0);
        Ok(out)
    }

    /// The plain body of a record that lies under this name.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Newer`], [`StoreError::Damaged`], [`StoreError::Io`].
    pub(crate) fn read_record(&self, kind: RecordKind, name: &ObjectName) -> Result<Vec<u8>, StoreError> {
        let bytes = read_object(self.objects(), name, MAX_RECORD + AROUND)?;
        let bad = |what: &str| StoreError::damaged(format!("{}: {what}", name.as_str()));
        let parts = split(kind, &bytes, &bad)?;
        let encoded = self.seal().open(seal::Kind::Record, &[kind as u8], parts.sealed.to_vec())?;
        let body = match parts.compressed {
            true if encoded.len() as u64 >= u64::from(parts.plain) => {
                return Err(bad("it is longer than what it holds"));
            }
            true => self.decoder().frame(&encoded, parts.plain).map_err(|e| StoreError::decoding(name.as_str(), e))?,
            false => encoded,
        };
        if body.len() as u64 != u64::from(parts.plain) {
            return Err(bad("its body has another length than it says"));
        }
        Ok(body)
    }

    /// Puts a record and proves that it is there. The same record put again is no error.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where another one has this name; [`StoreError::Full`], [`StoreError::Io`];
    /// [`StoreError::Damaged`] where it does not read back: whatever lies there then is not wanted.
    pub(crate) fn put_record(&self, kind: RecordKind, name: &ObjectName, body: &[u8]) -> Result<(), StoreError> {
        let bytes = self.record(kind, body)?;
        match self.objects().put(name, &bytes) {
            Ok(()) => {}
            Err(ObjectError::Exists(_)) => {
                return match self.read_record(kind, name) {
                    // Sealed twice it has other bytes each time.
                    Ok(there) if there == body => Ok(()),
                    _ => Err(StoreError::Exists { what: DisplayText::new(name.as_str()) }),
                };
            }
            Err(e) => return Err(e.into()),
        }
        match read_object(self.objects(), name, MAX_RECORD + AROUND) {
            Ok(there) if there == bytes => Ok(()),
            Err(StoreError::Io { says }) => Err(StoreError::Io { says }),
            _ => Err(StoreError::damaged(format!("{} does not read back as it was written", name.as_str()))),
        }
    }

    /// As [`Store::put_record`], of a record that another attempt puts under the same name: where it does not read back, what
    /// lies there must not be in that one's way, nor be told as damage of something that nobody was promised.
    pub(super) fn put_again(&self, kind: RecordKind, name: &ObjectName, body: &[u8]) -> Result<(), StoreError> {
        self.put_record(kind, name, body).inspect_err(|e| {
            if matches!(e, StoreError::Damaged { .. }) {
                let _ = self.objects().delete(name);
            }
        })
    }
}

/// Format first, then the sum, then the rest.
fn split<'a>(kind: RecordKind, bytes: &'a [u8], bad: &dyn Fn(&str) -> StoreError) -> Result<Parts<'a>, StoreError> {
    let header = bytes.first_chunk::<HEADER>().filter(|h| h.starts_with(&MAGIC));
    let header = header.ok_or_else(|| bad("it does not begin as a record does"))?;
    match u32::from(header[15]) {
        FORMAT => {}
        0 => return Err(bad("it has format 0, which was only used in development")),
        found => return Err(StoreError::Newer { found }),
    }
    let (before, sum) = bytes.split_last_chunk::<SUM>().ok_or_else(|| bad("it is too short"))?;
    if before.len() < HEADER || Digest::of(before).0 != *sum {
        return Err(bad("it does not match its sum"));
    }
    if header[16] != kind as u8 {
        return Err(bad("it is a record of another kind"));
    }
    let plain = u32::from_le_bytes([header[20], header[21], header[22], header[23]]);
    if header[17] > 1 || header[18..20] != [0, 0] || u64::from(plain) > MAX_RECORD {
        return Err(bad("its header breaks a rule"));
    }
    Ok(Parts { compressed: header[17] == 1, plain, sealed: &before[HEADER..] })
}
