//! States of an image as the blocks in which they differ from another.

use qemu_tests::Result;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Bytes compared at once.
const BLOCK: usize = 4096;
/// Bytes read at once.
const PIECE: usize = 1 << 20;

/// A file of records: the place of a block as eight bytes, little end first, and its bytes.
pub(super) struct Delta {
    path: PathBuf,
}

impl Delta {
    /// The one in this file.
    ///
    /// # Errors
    /// Where there is none.
    pub(super) fn open(path: &Path) -> Result<Self> {
        path.metadata().map_err(|e| format!("{}: {e}; delete its folder, and it is made again", path.display()))?;
        Ok(Self { path: path.to_path_buf() })
    }

    /// What `image` has other than `base`, an image of the same size.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn make(base: &Path, image: &Path, path: &Path) -> Result<Self> {
        let mut out = BufWriter::new(File::create(path)?);
        compare(base, image, |at, bytes| {
            out.write_all(&at.to_le_bytes())?;
            out.write_all(bytes)?;
            Ok(())
        })?;
        out.flush()?;
        Self::open(path)
    }

    /// Writes its blocks to the image.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn apply(&self, image: &Path) -> Result<()> {
        let image = File::options().write(true).open(image)?;
        self.each(|at, bytes| Ok(image.write_all_at(bytes, at)?))
    }

    /// Gives the image what `base` has in the places of its blocks.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn undo(&self, base: &Path, image: &Path) -> Result<()> {
        let (base, image) = (File::open(base)?, File::options().write(true).open(image)?);
        let mut old = vec![0; BLOCK];
        self.each(|at, _| {
            base.read_exact_at(&mut old, at)?;
            Ok(image.write_all_at(&old, at)?)
        })
    }

    /// Bytes of blocks in which this state differs from another, or from the base where there is none.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn differing(&self, other: Option<&Self>) -> Result<u64> {
        let mut blocks = 0;
        let back = self.each_since(other, |_| {
            blocks += 1;
            Ok(())
        })?;
        Ok((blocks + back) * BLOCK as u64)
    }

    /// Puts the blocks in which this state differs from another, or from the base, into a file, one after the other; those that went
    /// back to what the base has are left out.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn extract(&self, other: Option<&Self>, file: &Path) -> Result<()> {
        let mut out = BufWriter::new(File::create(file)?);
        self.each_since(other, |bytes| Ok(out.write_all(bytes)?))?;
        Ok(out.flush()?)
    }

    /// Gives each block in which this state differs from another and from the base; counts those that went back to what the base has.
    fn each_since(&self, other: Option<&Self>, mut with: impl FnMut(&[u8]) -> Result<()>) -> Result<u64> {
        let mut before = BTreeMap::new();
        if let Some(other) = other {
            other.each(|at, bytes| {
                before.insert(at, Sha256::digest(bytes));
                Ok(())
            })?;
        }
        self.each(|at, bytes| match before.remove(&at) {
            Some(was) if was == Sha256::digest(bytes) => Ok(()),
            _ => with(bytes),
        })?;
        Ok(before.len() as u64)
    }

    fn each(&self, mut with: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
        let mut from = BufReader::with_capacity(PIECE, File::open(&self.path)?);
        let (mut at, mut bytes) = ([0; 8], vec![0; BLOCK]);
        loop {
            match from.read_exact(&mut at) {
                Err(e) if e.kind() == ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            }
            from.read_exact(&mut bytes)?;
            with(u64::from_le_bytes(at), &bytes)?;
        }
    }
}

/// Copies an image to a new file; what is zero stays a hole.
///
/// # Errors
/// What the system says.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let file = File::create_new(to)?;
    file.set_len(from.metadata()?.len())?;
    compare(to, from, |at, bytes| Ok(file.write_all_at(bytes, at)?))
}

/// Calls `with` for each block of `image` that differs from that of `base`.
fn compare(base: &Path, image: &Path, mut with: impl FnMut(u64, &[u8]) -> Result<()>) -> Result<()> {
    let (base, image) = (File::open(base)?, File::open(image)?);
    let len = image.metadata()?.len();
    if base.metadata()?.len() != len || len % BLOCK as u64 != 0 {
        return Err("two images of different sizes, or not of whole blocks".into());
    }
    let (mut old, mut new) = (vec![0; PIECE], vec![0; PIECE]);
    let mut at = 0;
    while at < len {
        let n = usize::try_from((len - at).min(PIECE as u64))?;
        base.read_exact_at(&mut old[..n], at)?;
        image.read_exact_at(&mut new[..n], at)?;
        if old[..n] != new[..n] {
            for (k, (was, is)) in old[..n].chunks(BLOCK).zip(new[..n].chunks(BLOCK)).enumerate() {
                if was != is {
                    with(at + (k * BLOCK) as u64, is)?;
                }
            }
        }
        at += n as u64;
    }
    Ok(())
}
