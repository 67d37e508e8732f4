//! The ports: how the pure parts of Holdfast meet disks, stores and clocks. `sys` and `store` implement them for real
//! things, tests for simulated ones.

use crate::firmware::Variable;
use crate::id::{Digest, DiskNo};
use crate::inspection::Hardware;
use crate::luks::{LuksHeader, Sealed};
use crate::mapping::Beneath;
use crate::text::DisplayText;
use crate::units::{ByteLen, ByteOffset, Extent};
use serde::{Deserialize, Serialize};
use std::io;
use std::sync::Arc;

/// Reading failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The range does not lie inside the thing being read.
    #[error("{len} bytes at {at} lie outside the {size} bytes there are")]
    OutOfRange {
        /// Where the read began.
        at: u64,
        /// How much was asked for.
        len: u64,
        /// How much there is.
        size: u64,
    },
    /// The medium or the system refused.
    #[error("reading {len} bytes at {at} failed: {source}")]
    Io {
        /// Where the read began.
        at: u64,
        /// How much was asked for.
        len: u64,
        /// What the system said.
        source: io::Error,
    },
}

/// Something whose bytes can be read by position: a disk, a volume, an image, a file in a target.
///
/// The contract: a read gives all the bytes asked for or an error, never fewer; concurrent reads are allowed; reading
/// changes nothing.
pub trait ReadAt: Send + Sync {
    /// Size in bytes. Does not change while the value lives.
    fn size(&self) -> ByteLen;

    /// Fills `buf` from byte `at`.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] where any byte asked for lies past the end; [`ReadError::Io`] where the medium fails.
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError>;

    /// Reads `len` bytes from `at` into a new vector. `len` is checked against the size before memory is taken.
    ///
    /// # Errors
    /// As [`ReadAt::read_exact_at`].
    fn read_vec(&self, at: ByteOffset, len: usize) -> Result<Vec<u8>, ReadError> {
        check_range(at, len, self.size())?;
        let mut buf = vec![0; len];
        self.read_exact_at(at, &mut buf)?;
        Ok(buf)
    }
}

/// Says whether `len` bytes at `at` lie within `size`; shared by every implementation of [`ReadAt`].
///
/// # Errors
/// [`ReadError::OutOfRange`] where they do not.
pub fn check_range(at: ByteOffset, len: usize, size: ByteLen) -> Result<(), ReadError> {
    let len = len as u64;
    match at.0.checked_add(len) {
        Some(end) if end <= size.0 => Ok(()),
        _ => Err(ReadError::OutOfRange { at: at.0, len, size: size.0 }),
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn size(&self) -> ByteLen {
        (**self).size()
    }
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        (**self).read_exact_at(at, buf)
    }
}

/// Bytes in memory.
impl ReadAt for Vec<u8> {
    fn size(&self) -> ByteLen {
        ByteLen(self.len() as u64)
    }
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        let start = usize::try_from(at.0).expect("checked against the length of a vector");
        buf.copy_from_slice(&self[start..start + buf.len()]);
        Ok(())
    }
}

/// A window onto part of something readable: a partition of a disk.
#[derive(Clone)]
pub struct Window {
    inner: Arc<dyn ReadAt>,
    extent: Extent,
}

impl Window {
    /// The bytes of `extent` of `inner`, addressed from 0.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] where the extent does not lie inside `inner`.
    pub fn new(inner: Arc<dyn ReadAt>, extent: Extent) -> Result<Self, ReadError> {
        if extent.end().0 > inner.size().0 {
            return Err(ReadError::OutOfRange { at: extent.start().0, len: extent.len().0, size: inner.size().0 });
        }
        Ok(Self { inner, extent })
    }
}

impl ReadAt for Window {
    fn size(&self) -> ByteLen {
        self.extent.len()
    }
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        self.inner.read_exact_at(ByteOffset(self.extent.start().0 + at.0), buf)
    }
}

/// Writing failed, or could not be proven to have succeeded.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The range does not lie inside what the lease covers.
    #[error("{len} bytes at {at} lie outside the {size} bytes of this lease")]
    OutOfRange {
        /// Where the write began, within the lease.
        at: u64,
        /// How much was to be written.
        len: u64,
        /// How much the lease covers.
        size: u64,
    },
    /// The medium or the system refused.
    #[error("{what} at {at} failed: {source}")]
    Io {
        /// `write`, `sync` or `read back`.
        what: &'static str,
        /// Position within the lease (0 for a sync).
        at: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Bytes that are kept more than once are not the same in all places.
    #[error("the copies of {len} bytes at {at} are not the same")]
    Differ {
        /// Position within the lease.
        at: u64,
        /// How much was compared.
        len: u64,
    },
}

/// The right to write one volume (or one disk's table), and nothing else. Only a [`Devices::lease`] makes one.
///
/// Offsets count from the start of the leased extent. After any failed sync the lease is poisoned: every further call fails.
pub trait WriteLease: Send {
    /// Size of the leased extent in bytes.
    fn size(&self) -> ByteLen;

    /// Writes all of `bytes` at `at`. Durable only after [`WriteLease::sync`].
    ///
    /// # Errors
    /// [`WriteError::OutOfRange`] past the lease, with nothing written; [`WriteError::Io`] otherwise.
    fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError>;

    /// Makes all writes so far durable: on return they survive a power cut.
    ///
    /// # Errors
    /// [`WriteError::Io`]; nothing may be assumed of the unsynced writes then.
    fn sync(&mut self) -> Result<(), WriteError>;

    /// Reads from the medium, not from a cache that remembers what was written (O_DIRECT, or after dropping the cache).
    ///
    /// # Errors
    /// As [`WriteLease::write_all_at`]; [`WriteError::Differ`] where it is kept more than once and the copies are not the same.
    fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError>;

    /// The same of the copy that whoever looks reads, where it is kept more than once.
    ///
    /// # Errors
    /// As [`WriteLease::write_all_at`].
    fn read_first(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        self.read_back(at, buf)
    }
}

/// A disk that can be looked at: what the system says of it, and its bytes.
#[derive(Clone)]
pub struct DiskSource {
    /// Its number in this run.
    pub no: DiskNo,
    /// What the system says of it.
    pub hardware: Hardware,
    /// Its bytes, read-only.
    pub bytes: Arc<dyn ReadAt>,
    /// What shows of it what lies encrypted, where that can be shown.
    pub clear: Option<Arc<dyn Clear>>,
}

/// Shows what lies encrypted, as far as it was opened.
pub trait Clear: Send + Sync {
    /// The bytes of a volume beneath another one, where [`Beneath::sealed`] says that they are encrypted: in their places, in clear. Nothing
    /// else of it can be read then. `raw` are its bytes as they lie on the disk. `None` where it was not opened.
    fn view(&self, beneath: &Beneath, raw: Arc<dyn ReadAt>) -> Option<Arc<dyn ReadAt>>;

    /// True where the volume with that header was opened.
    fn is_open(&self, _header: &LuksHeader) -> bool {
        false
    }

    /// What encrypts what is to be written to it; `None` where it was not opened, or nothing is written from here.
    fn cipher(&self, _sealed: &Sealed) -> Option<Arc<dyn SectorCipher>> {
        None
    }
}

/// A cipher with its key. Works on whole sectors, which are known by the byte that they begin with.
pub trait SectorCipher: Send + Sync {
    /// Bytes of a sector.
    fn sector(&self) -> ByteLen;

    /// Decrypts sectors that follow each other. `counts` is that of the first ([`crate::luks::SealedRun::counts`]).
    fn decrypt(&self, counts: ByteOffset, bytes: &mut [u8]);

    /// Encrypts them.
    fn encrypt(&self, counts: ByteOffset, bytes: &mut [u8]);
}

/// Which part of a disk a lease is wanted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRequest {
    /// The disk, as numbered by this [`Devices`].
    pub disk: DiskNo,
    /// The bytes of the disk to be leased.
    pub extent: Extent,
    /// What the disk was when the plan was made: re-checked on the new descriptor.
    pub hardware: Hardware,
    /// SHA-256 over [`HEAD_LEN`] bytes (or the whole of a smaller disk) at the disk's start when it was inspected:
    /// re-checked on the descriptor. `None` where the head is itself part of what an interrupted run has written.
    pub head: Option<Digest>,
}

/// How much of a disk's start stands for its table in [`LeaseRequest::head`]: protective MBR, GPT header and entries at
/// both sector sizes (34 * 512 and 6 * 4096 bytes), rounded up.
pub const HEAD_LEN: ByteLen = ByteLen(32 * 1024);

/// A lease could not be given.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// There is no such disk any more.
    #[error("{disk} is gone")]
    Gone {
        /// The disk asked for.
        disk: DiskNo,
    },
    /// The descriptor is not the disk the plan was made for.
    #[error("{disk} is not the disk the plan was made for: {what}")]
    OtherDisk {
        /// The disk asked for.
        disk: DiskNo,
        /// What differs, with both values.
        what: DisplayText,
    },
    /// Something else holds it: a mount, another program, another lease.
    #[error("{disk} is in use: {holder}")]
    InUse {
        /// The disk asked for.
        disk: DiskNo,
        /// Who holds it, as far as the system tells.
        holder: DisplayText,
    },
    /// The system refused.
    #[error("opening {disk} for writing failed: {source}")]
    Io {
        /// The disk asked for.
        disk: DiskNo,
        /// What the system said.
        source: io::Error,
    },
}

/// The disks of one run: opened for looking when it began, leased for writing only on request.
pub trait Devices: Send + Sync {
    /// Every disk of this run, in order of number.
    fn disks(&self) -> Vec<DiskSource>;

    /// Opens part of a disk exclusively for writing, after re-checking on that descriptor that it is the same disk.
    ///
    /// # Errors
    /// See [`LeaseError`]; nothing was written in any of these cases.
    fn lease(&self, request: &LeaseRequest) -> Result<Box<dyn WriteLease>, LeaseError>;

    /// What holds part of a disk now, a sentence each: mounts, swap in use, devices built on it. A lease of it would be refused.
    fn holders(&self, _disk: DiskNo, _extent: Extent) -> Vec<DisplayText> {
        Vec::new()
    }

    /// The boot variables of this computer; `None` where it has none (BIOS), or where an image is among the disks.
    fn boot_variables(&self) -> Option<Arc<dyn BootVariables>> {
        None
    }

    /// True where somebody named the disks: they may be another machine's, attached to this one.
    fn are_named(&self) -> bool {
        false
    }
}

/// The boot variables of a UEFI firmware: `Boot####`, `BootOrder`, `BootNext`, `BootCurrent`, `OsIndications` of the vendor
/// `EFI_GLOBAL_VARIABLE`. The firmware keeps a change once it has answered.
pub trait BootVariables: Send + Sync {
    /// All of them, by name.
    ///
    /// # Errors
    /// What the system says; a variable that is longer than [`crate::firmware::MOST_VALUE`].
    fn read_all(&self) -> io::Result<Vec<Variable>>;

    /// The names of the variables in which kernels that died left their last words, at most [`crate::firmware::MOST_CRASHES`]; the
    /// words themselves are not read.
    ///
    /// # Errors
    /// What the system says.
    fn crash_records(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Makes a variable hold something: `Boot####` or `BootOrder`, no other.
    ///
    /// # Errors
    /// What the system says: the firmware may refuse, or have no room.
    fn set(&self, variable: &Variable) -> io::Result<()>;

    /// Removes one of those; absent already is no error.
    ///
    /// # Errors
    /// As [`BootVariables::set`].
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// The name of an object in a store: lower-case components joined by `/`, for example `packs/3f/3fa4…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectName(String);

impl ObjectName {
    /// Checks a name: one to four components of `[0-9a-z._-]`, none empty or starting with a dot, at most 128 bytes in all.
    pub fn new(name: &str) -> Option<Self> {
        let good = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'z' | b'.' | b'_' | b'-'))
        };
        let parts = name.split('/').count();
        (name.len() <= 128 && parts <= 4 && name.split('/').all(good)).then(|| Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An object store failed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no object of that name.
    #[error("the store has no object {0:?}")]
    Missing(ObjectName),
    /// An object of that name exists with other bytes; it was left as it is.
    #[error("the store already has another object {0:?}")]
    Exists(ObjectName),
    /// The range lies outside the object.
    #[error("{len} bytes at {at} lie outside object {name:?}")]
    OutOfRange {
        /// The object.
        name: ObjectName,
        /// Where the read began.
        at: u64,
        /// How much was asked for.
        len: u64,
    },
    /// Another process (or another run of this one) holds the store for writing.
    #[error("the store is in use: {0}")]
    InUse(String),
    /// No room is left where the store lies. Nothing torn was left under the name.
    #[error("the store is full: {0}")]
    Full(io::Error),
    /// The system refused.
    #[error("{what} in the store failed: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Where a store keeps its objects. Whole objects are put durably, read by range, listed and deleted; nothing is
/// renamed or appended to, so that a remote vault or an object store can stand behind it.
pub trait ObjectStore: Send + Sync {
    /// Puts a whole object durably: on return it survives a power cut under its name, whole. Putting the same bytes
    /// again is allowed.
    ///
    /// # Errors
    /// [`ObjectError::Exists`], [`ObjectError::Full`] or [`ObjectError::Io`]; then the name is absent or as it was.
    fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError>;

    /// Reads part of an object, from the medium where the backend can tell it from its cache.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::OutOfRange`], [`ObjectError::Io`].
    fn get(&self, name: &ObjectName, at: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError>;

    /// Size of an object in bytes.
    ///
    /// # Errors
    /// [`ObjectError::Missing`], [`ObjectError::Io`].
    fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError>;

    /// The names that begin with `prefix` (whole components, for example `packs`), in byte order. Torn leftovers of
    /// a killed put are never listed.
    ///
    /// # Errors
    /// [`ObjectError::Io`]: an error is never an empty list.
    fn list(&self, prefix: &str) -> Result<Vec<ObjectName>, ObjectError>;

    /// Deletes an object; absent already is no error.
    ///
    /// # Errors
    /// [`ObjectError::Io`].
    fn delete(&self, name: &ObjectName) -> Result<(), ObjectError>;

    /// Bytes free where the store lies, or `None` where that cannot be known.
    fn free(&self) -> Option<ByteLen>;

    /// Holds the store for one writer until the value returned is dropped. The lock of a process that died is free.
    /// A backend that cannot be reached by two writers at once may leave this as it is.
    ///
    /// # Errors
    /// [`ObjectError::InUse`] at once, without waiting, where another holds it; [`ObjectError::Io`].
    fn lock(&self) -> Result<Box<dyn Send>, ObjectError> {
        Ok(Box::new(()))
    }

    /// True where [`ObjectStore::lock`] keeps every other writer out: whoever holds it knows that nobody else is at work.
    fn locks_out(&self) -> bool {
        false
    }
}

/// A point in time, in microseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMicros(pub i64);

impl UnixMicros {
    /// The moment of a civil date and time of day, read as UTC; `None` where a field is out of range (years 1 to 9999).
    pub fn from_civil(year: i64, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<Self> {
        let in_range = (1..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 61;
        if !in_range {
            return None;
        }
        // Days from civil, after Howard Hinnant's public description of the proleptic Gregorian calendar: years begin in March.
        let y = if month <= 2 { year - 1 } else { year };
        let era = y.div_euclid(400);
        let year_of_era = y.rem_euclid(400);
        let month_from_march = i64::from((month + 9) % 12);
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        let seconds = days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        seconds.checked_mul(1_000_000).map(Self)
    }

    /// 2020-01-01 UTC: no snapshot is older.
    pub const EARLIEST: Self = Self(1_577_836_800_000_000);

    /// False for a time that comes from a clock that lost its battery.
    pub fn is_plausible(self) -> bool {
        self >= Self::EARLIEST
    }

    /// From whole seconds since 1970, saturating.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// (year, month, day, hour, minute, second) in UTC.
    pub fn civil(self) -> (i64, u8, u8, u8, u8, u8) {
        let seconds = self.0.div_euclid(1_000_000);
        let days = seconds.div_euclid(86_400) + 719_468;
        let of_day = seconds.rem_euclid(86_400);
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let small = |n: i64| u8::try_from(n).unwrap_or(0);
        (year, small(month), small(day), small(of_day / 3600), small(of_day / 60 % 60), small(of_day % 60))
    }
}

/// `2026-11-23 05:42:07`, in UTC.
impl std::fmt::Display for UnixMicros {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (y, mo, d, h, mi, s) = self.civil();
        write!(f, "{y:04}-{mo:02}-{d:02} {h:02}:{mi:02}:{s:02}")
    }
}

/// Time, so that tests can hold it still. Never used for order or for safety: those go by counters.
pub trait Clock: Send + Sync {
    /// Now, as far as this machine knows.
    fn now(&self) -> UnixMicros;

    /// Time since some fixed moment, which never goes backwards.
    fn monotonic(&self) -> std::time::Duration;
}

/// Randomness, so that a seed reproduces a run in tests. What it gives becomes keys and nonces: a real one must be
/// unpredictable and never repeat itself.
pub trait Entropy: Send + Sync {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// What the system said; `out` is then of no use.
    fn fill(&self, out: &mut [u8]) -> io::Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_names_cannot_climb() {
        for good in ["format", "packs/3f/3fa4", "snapshots/ab.json"] {
            assert!(ObjectName::new(good).is_some(), "{good}");
        }
        for bad in ["", "/x", "x/", "../x", "packs/..", "A", "a/b/c/d/e", "a\0b", ".tmp"] {
            assert!(ObjectName::new(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn dates_read_as_the_calendar_has_them() {
        let known = [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (-1, "1969-12-31 23:59:59"),
            (1_795_412_527, "2026-11-23 05:42:07"),
        ];
        for (seconds, said) in known {
            let t = UnixMicros::from_seconds(seconds);
            assert_eq!(t.to_string(), said);
            let (y, mo, d, h, mi, s) = t.civil();
            assert_eq!(UnixMicros::from_civil(y, mo, d, h, mi, s), Some(t));
        }
        assert_eq!(UnixMicros::from_civil(2026, 13, 1, 0, 0, 0), None);
    }

    #[test]
    fn a_window_ends_where_it_ends() {
        let inner: Arc<dyn ReadAt> = Arc::new((0..100u8).collect::<Vec<u8>>());
        let w = Window::new(inner.clone(), Extent::between(10, 20).expect("ordered")).expect("inside");
        assert_eq!(w.read_vec(ByteOffset(8), 2).expect("inside"), [18, 19]);
        assert!(w.read_vec(ByteOffset(8), 3).is_err());
        assert!(w.read_vec(ByteOffset(u64::MAX), 1).is_err());
        assert!(Window::new(inner, Extent::between(90, 101).expect("ordered")).is_err());
    }
}
