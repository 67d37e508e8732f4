//! The value of an attribute: in the record, in clusters, or packed in clusters.

use super::attribute::{Attribute, Run, Value};
use super::boot::Boot;
use super::lznt1;
use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};

/// Most runs of one attribute.
const MOST_RUNS: usize = 1 << 22;
/// Most bytes that are compressed together: Windows compresses 16 clusters of at most 4096 bytes.
const MOST_UNIT: u64 = 64 << 10;

/// The value of an attribute.
#[derive(Debug, Clone)]
pub(super) struct Stream {
    /// Its length in bytes.
    pub(super) size: u64,
    /// Encrypted by the system.
    pub(super) encrypted: bool,
    /// Where it is.
    pub(super) place: Place,
}

/// Where a value is.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// In the record.
    Within(Vec<u8>),
    /// In clusters.
    Clusters {
        /// The runs, in order and without gaps.
        runs: Vec<Run>,
        /// What lies behind this byte reads as zeros.
        valid: u64,
        /// So many clusters are compressed together.
        unit: Option<u64>,
    },
}

/// Puts the parts of an attribute together, which may stand in several records.
pub(super) struct Builder<'a> {
    clusters: u64,
    first: Option<Stream>,
    /// Parts in clusters: the first cluster, the one behind the last, and the runs.
    parts: Vec<(u64, u64, Vec<Run>)>,
    held: usize,
    what: &'a str,
}

impl<'a> Builder<'a> {
    /// For a volume of so many clusters; `what` names the attribute in errors.
    pub(super) fn new(clusters: u64, what: &'a str) -> Self {
        Self { clusters, first: None, parts: Vec::new(), held: 0, what }
    }

    fn bad(&self, why: &str) -> FsError {
        FsError::Corrupt(format!("{}: {why}", self.what))
    }

    /// Adds a part.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where it does not hold together, or is one too many.
    pub(super) fn add(&mut self, attribute: &Attribute<'_>) -> Result<(), FsError> {
        let encrypted = attribute.is_encrypted();
        match attribute.value {
            Value::Resident(bytes) => {
                if self.first.is_some() {
                    return Err(self.bad("it is there twice"));
                }
                let place = Place::Within(bytes.to_vec());
                self.first = Some(Stream { size: bytes.len() as u64, encrypted, place });
            }
            Value::Clusters(part) => {
                let mut runs = Vec::new();
                part.runs(self.clusters, &mut runs).map_err(|why| self.bad(&why))?;
                self.held += runs.len();
                if self.held > MOST_RUNS {
                    return Err(self.bad("it has more runs than are followed"));
                }
                if part.first == 0 {
                    if self.first.is_some() {
                        return Err(self.bad("it is there twice"));
                    }
                    let unit = (attribute.is_compressed() && part.unit > 0).then(|| 1 << part.unit.min(63));
                    let place = Place::Clusters { runs: Vec::new(), valid: part.valid, unit };
                    self.first = Some(Stream { size: part.size, encrypted, place });
                }
                self.parts.push((part.first, part.end, runs));
            }
        }
        Ok(())
    }

    /// The value; `None` where there was no part.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where parts are missing.
    pub(super) fn finish(mut self) -> Result<Option<Stream>, FsError> {
        self.parts.sort_by_key(|(first, ..)| *first);
        let mut at = 0;
        let mut all = Vec::new();
        for (first, end, runs) in std::mem::take(&mut self.parts) {
            if first != at {
                return Err(self.bad(&format!("what lies in its cluster {at} is not told")));
            }
            at = end;
            all.extend(runs);
        }
        let Some(mut stream) = self.first.take() else {
            return if at > 0 { Err(self.bad("its beginning is not told")) } else { Ok(None) };
        };
        match &mut stream.place {
            Place::Clusters { runs, .. } => *runs = all,
            Place::Within(_) if at > 0 => return Err(self.bad("it is there twice")),
            Place::Within(_) => {}
        }
        Ok(Some(stream))
    }
}

impl Stream {
    /// The runs of one in clusters.
    pub(super) fn runs(&self) -> &[Run] {
        match &self.place {
            Place::Within(_) => &[],
            Place::Clusters { runs, .. } => runs,
        }
    }

    /// Adds runs behind those of one in clusters.
    pub(super) fn append(&mut self, more: Vec<Run>) {
        if let Place::Clusters { runs, .. } = &mut self.place {
            runs.extend(more);
        }
    }

    /// Where its clusters lie.
    pub(super) fn extents<'a>(&'a self, boot: &'a Boot) -> impl Iterator<Item = Extent> + 'a {
        self.runs().iter().filter_map(|run| boot.clusters_at(run.at?, run.len))
    }

    /// Clusters that are compressed together, where any are.
    pub(super) fn unit(&self) -> Option<u64> {
        match self.place {
            Place::Clusters { unit, .. } => unit,
            Place::Within(_) => None,
        }
    }

    /// The run that a cluster of it lies in, from that cluster on; `None` behind the last.
    pub(super) fn run(&self, cluster: u64) -> Option<Run> {
        let runs = self.runs();
        let run = runs.get(runs.partition_point(|run| run.from + run.len <= cluster))?;
        let skip = cluster.checked_sub(run.from)?;
        Some(Run { from: cluster, len: run.len - skip, at: run.at.map(|at| at + skip) })
    }

    /// Reads from byte `at` on; all of `buf` lies inside it.
    ///
    /// # Errors
    /// [`FsError`] where clusters cannot be read, or do not unpack.
    pub(super) fn read(&self, bytes: &dyn ReadAt, boot: &Boot, at: u64, buf: &mut [u8]) -> Result<(), FsError> {
        let (runs_valid, unit) = match &self.place {
            Place::Within(value) => {
                let from = usize::try_from(at).unwrap_or(usize::MAX);
                let part = from.checked_add(buf.len()).and_then(|end| value.get(from..end));
                buf.copy_from_slice(part.ok_or_else(|| FsError::Corrupt("a value ends too early".to_owned()))?);
                return Ok(());
            }
            Place::Clusters { valid, unit, .. } => (*valid, *unit),
        };
        let mut done = 0;
        while done < buf.len() {
            let here = at + done as u64;
            let rest = &mut buf[done..];
            if here >= runs_valid {
                rest.fill(0);
                break;
            }
            let most = ByteLen(runs_valid - here).to_usize().unwrap_or(usize::MAX).min(rest.len());
            done += match unit {
                None => self.read_plain(bytes, boot, here, &mut rest[..most])?,
                Some(unit) => {
                    let len = self.unit_len(boot, unit)?;
                    let unpacked = self.unpacked(bytes, boot, here / len, unit)?;
                    let part = unpacked.get(usize::try_from(here % len).unwrap_or(usize::MAX)..).unwrap_or_default();
                    let n = part.len().min(most);
                    rest[..n].copy_from_slice(&part[..n]);
                    n
                }
            };
        }
        Ok(())
    }

    /// Reads what lies within one run; gives how much was read. `buf` is not empty.
    fn read_plain(&self, bytes: &dyn ReadAt, boot: &Boot, at: u64, buf: &mut [u8]) -> Result<usize, FsError> {
        let size = u64::from(boot.cluster_size);
        let run = self.run(at / size).ok_or_else(|| FsError::Corrupt(format!("a value ends before its byte {at}")))?;
        let within = at % size;
        let n = usize::try_from(run.len.saturating_mul(size) - within).unwrap_or(usize::MAX).min(buf.len());
        match run.at.and_then(|at| boot.clusters_at(at, run.len)) {
            None => buf[..n].fill(0),
            Some(place) => bytes.read_exact_at(ByteOffset(place.start().0 + within), &mut buf[..n])?,
        }
        Ok(n)
    }

    /// Bytes that are compressed together.
    ///
    /// # Errors
    /// [`FsError::Corrupt`] where they are more than Windows compresses.
    pub(super) fn unit_len(&self, boot: &Boot, unit: u64) -> Result<u64, FsError> {
        let len = unit.checked_mul(u64::from(boot.cluster_size)).filter(|len| *len <= MOST_UNIT);
        len.ok_or_else(|| FsError::Corrupt(format!("{unit} clusters are compressed together")))
    }

    /// The content of compressed clusters: the `no`th so many of them (kernel `fs/ntfs3/frecord.c`, `ni_read_frame`). Those of which all
    /// have a place are not compressed.
    ///
    /// # Errors
    /// [`FsError`] where they cannot be read, or do not unpack.
    pub(super) fn unpacked(&self, bytes: &dyn ReadAt, boot: &Boot, no: u64, unit: u64) -> Result<Vec<u8>, FsError> {
        let len = ByteLen(self.unit_len(boot, unit)?).to_usize().unwrap_or(0);
        let (mut packed, mut clusters) = (Vec::new(), 0);
        let (mut at, end) = (no.saturating_mul(unit), no.saturating_mul(unit).saturating_add(unit));
        while at < end {
            let run = self.run(at).ok_or_else(|| FsError::Corrupt(format!("a value ends before its cluster {at}")))?;
            let count = run.len.min(end - at);
            if let Some(place) = run.at.and_then(|first| boot.clusters_at(first, count)) {
                packed.extend(bytes.read_vec(place.start(), place.len().to_usize().unwrap_or(0))?);
                clusters += count;
            }
            at += count;
        }
        match clusters {
            0 => Ok(vec![0; len]),
            all if all == unit => Ok(packed),
            _ => lznt1::unpack(&packed, len).map_err(|why| FsError::Corrupt(format!("compressed clusters: {why}"))),
        }
    }
}
