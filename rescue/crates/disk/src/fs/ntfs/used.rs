//! Which clusters are in use: what `$Bitmap` says, and, of a volume that is marked dirty, what its files lead to besides.

use super::attribute::{Value, kind};
use super::reader::{Reader, system};
use crate::fs::FsError;
use model::units::{ByteLen, Extent, ExtentSet};

/// How much of the bitmap is read at once.
const PIECE: u64 = 64 << 10;

/// What is in use, the bytes behind the last cluster included: the copy of the boot sector stands there.
///
/// # Errors
/// [`FsError::Corrupt`] where the bitmap is shorter than it has to be, or calls clusters free that cannot be.
pub(super) fn used(reader: &Reader, dirty: bool, size: ByteLen) -> Result<ExtentSet, FsError> {
    let boot = &reader.boot;
    let bad = |why: String| FsError::Corrupt(format!("its allocation bitmap: {why}"));
    let bitmap = reader.inode(system::BITMAP)?.stream(kind::DATA, "")?;
    let bitmap = bitmap.ok_or_else(|| bad("there is none".to_owned()))?;
    let need = boot.clusters.div_ceil(8);
    if bitmap.size < need || bitmap.encrypted || bitmap.unit().is_some() {
        return Err(bad(format!("it has {} bytes, not {need}", bitmap.size)));
    }
    let mut used = ExtentSet::new();
    // A run of allocated clusters that is still growing.
    let (mut no, mut run): (u64, Option<u64>) = (0, None);
    let mut at = 0;
    while at < need {
        let mut piece = vec![0; usize::try_from(PIECE.min(need - at)).unwrap_or(0)];
        bitmap.read(reader.bytes(), boot, at, &mut piece)?;
        at += piece.len() as u64;
        for byte in piece {
            for bit in 0..8 {
                match byte >> bit & 1 {
                    _ if no >= boot.clusters => break,
                    1 => run = run.or(Some(no)),
                    _ => {
                        let place = run.take().and_then(|from| boot.clusters_at(from, no - from));
                        used.insert(place.unwrap_or_default());
                    }
                }
                no += 1;
            }
        }
    }
    used.insert(run.and_then(|from| boot.clusters_at(from, no - from)).unwrap_or_default());
    let end = boot.clusters * u64::from(boot.cluster_size);
    used.insert(Extent::between(end, size.0).unwrap_or_default());

    // What the file system cannot be without.
    for (number, what) in
        [(system::MFT, "the MFT"), (system::LOG_FILE, "the log"), (system::BITMAP, "the bitmap itself")]
    {
        let stream = reader.inode(number)?.stream(kind::DATA, "")?;
        if stream.is_none_or(|stream| stream.extents(boot).any(|place| !used.covers(place))) {
            return Err(bad(format!("{what} lies in clusters that it calls free")));
        }
    }
    let single = [0, boot.mft, boot.mirror].map(|cluster| boot.clusters_at(cluster, 1).unwrap_or_default());
    if single.iter().any(|place| !used.covers(*place)) {
        return Err(bad("it calls the boot sector free, or the MFT or its copy".to_owned()));
    }
    if dirty {
        used = used.union(&reached(reader)?);
    }
    Ok(used)
}

/// The clusters of every record in use: a driver that keeps no log may have written it before the bitmap.
fn reached(reader: &Reader) -> Result<ExtentSet, FsError> {
    let mut found: Vec<Extent> = Vec::new();
    let mut runs = Vec::new();
    for number in 0..reader.records() {
        let Some(record) = reader.record(number)? else { continue };
        for attribute in record.attributes() {
            if let Value::Clusters(part) = attribute?.value {
                runs.clear();
                part.runs(reader.boot.clusters, &mut runs)
                    .map_err(|why| FsError::Corrupt(format!("record {number} of the MFT: {why}")))?;
                let places = runs.iter().filter_map(|run| reader.boot.clusters_at(run.at?, run.len));
                found.extend(places);
            }
        }
        // Put together before it takes more memory than what it tells.
        if found.len() > 1 << 20 {
            found = ExtentSet::from(found).into();
        }
    }
    Ok(found.into())
}
