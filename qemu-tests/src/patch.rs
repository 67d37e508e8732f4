//! Images of gigabytes that differ by a little: what differs, kept; one made equal to another; compared to the byte.

use crate::Result;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What is compared at a time.
const BLOCK: u64 = 4096;
/// What is read at a time.
const PIECE: u64 = 1 << 20;

/// What makes one image of another: blocks of 4096 bytes, in rising order, by where they lie.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Patch {
    blocks: Vec<(u64, Vec<u8>)>,
}

impl Patch {
    /// What makes `to` of `from`, images of the same length.
    ///
    /// # Errors
    /// Where they are not, or cannot be read.
    pub fn between(from: &Path, to: &Path) -> Result<Self> {
        let mut blocks = Vec::new();
        differing(&File::open(from)?, &File::open(to)?, &mut |at, bytes| blocks.push((at, bytes.to_vec())))?;
        Ok(Self { blocks })
    }

    /// Keeps it in a file.
    ///
    /// # Errors
    /// What the system says.
    pub fn keep(&self, file: &Path) -> Result<()> {
        let mut out = BufWriter::new(File::create(file)?);
        for (at, bytes) in &self.blocks {
            out.write_all(&at.to_le_bytes())?;
            out.write_all(&u64::try_from(bytes.len())?.to_le_bytes())?;
            out.write_all(bytes)?;
        }
        Ok(out.into_inner()?.sync_all()?)
    }

    /// Takes it from the file in which it was kept.
    ///
    /// # Errors
    /// Where that is not there, or torn.
    pub fn kept(file: &Path) -> Result<Self> {
        let mut input = BufReader::new(File::open(file)?);
        let mut blocks = Vec::new();
        while !input.fill_buf()?.is_empty() {
            let mut number = || -> Result<u64> {
                let mut bytes = [0; 8];
                input.read_exact(&mut bytes)?;
                Ok(u64::from_le_bytes(bytes))
            };
            let (at, len) = (number()?, number()?);
            let mut bytes = vec![0; usize::try_from(len.min(BLOCK))?];
            input.read_exact(&mut bytes)?;
            blocks.push((at, bytes));
        }
        Ok(Self { blocks })
    }

    /// Bytes of the blocks that differ.
    pub fn len(&self) -> u64 {
        self.blocks.iter().map(|(_, bytes)| bytes.len() as u64).sum()
    }

    /// True where both images are the same.
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Where blocks differ, as ranges, the first few.
    pub fn places(&self, most: usize) -> Vec<Range<u64>> {
        let mut out: Vec<Range<u64>> = Vec::new();
        for (at, bytes) in &self.blocks {
            let end = at + bytes.len() as u64;
            let full = out.len() == most;
            match out.last_mut() {
                Some(last) if last.end == *at => last.end = end,
                _ if full => break,
                _ => out.push(*at..end),
            }
        }
        out
    }

    /// Without the blocks of which that is said, by where they lie and what stands there.
    #[must_use]
    pub fn without(mut self, said: impl Fn(u64, &[u8]) -> bool) -> Self {
        self.blocks.retain(|(at, bytes)| !said(*at, bytes));
        self
    }

    /// What stands at a place in the later image, where that differs.
    pub fn at(&self, at: u64) -> Option<&[u8]> {
        let found = self.blocks.binary_search_by_key(&at, |(at, _)| *at).ok()?;
        self.blocks.get(found).map(|(_, bytes)| bytes.as_slice())
    }

    /// Where `image` is not what this patch makes of `base`: what would have to be written.
    ///
    /// # Errors
    /// Where they have not the same length, or cannot be read.
    pub fn missed(&self, base: &Path, image: &Path) -> Result<Self> {
        // What differs from the base and is not in the patch, or otherwise than it says; and what is in it and still the base's.
        let now = Self::between(base, image)?;
        let file = File::open(base)?;
        let mut blocks = Vec::new();
        for (at, bytes) in &now.blocks {
            match self.at(*at) {
                Some(wanted) if wanted == bytes => {}
                Some(wanted) => blocks.push((*at, wanted.to_vec())),
                None => {
                    let mut wanted = vec![0; bytes.len()];
                    file.read_exact_at(&mut wanted, *at)?;
                    blocks.push((*at, wanted));
                }
            }
        }
        blocks.extend(self.blocks.iter().filter(|(at, _)| now.at(*at).is_none()).cloned());
        blocks.sort_unstable_by_key(|(at, _)| *at);
        Ok(Self { blocks })
    }

    /// Makes `image` what this patch makes of `base`, whatever it is now.
    ///
    /// # Errors
    /// Where they have not the same length, or cannot be read or written.
    pub fn make(&self, base: &Path, image: &Path) -> Result<()> {
        let missed = self.missed(base, image)?;
        let file = File::options().write(true).open(image)?;
        Ok(missed.blocks.iter().try_for_each(|(at, bytes)| file.write_all_at(bytes, *at))?)
    }
}

/// Tells of each block that two images of the same length do not share: where it lies, and what stands there in the second.
fn differing(a: &File, b: &File, told: &mut dyn FnMut(u64, &[u8])) -> Result<()> {
    let len = a.metadata()?.len();
    if b.metadata()?.len() != len {
        return Err(format!("one image has {len} bytes, the other {}", b.metadata()?.len()).into());
    }
    let (mut left, mut right) = (vec![0; usize::try_from(PIECE)?], vec![0; usize::try_from(PIECE)?]);
    let mut at = 0;
    // Where both have a hole there is nothing to read.
    while let Some(next) = [a, b].into_iter().filter_map(|f| data(f, at).transpose()).reduce(earlier).transpose()? {
        at = at.max(next / BLOCK * BLOCK);
        let piece = usize::try_from(PIECE.min(len - at))?;
        a.read_exact_at(&mut left[..piece], at)?;
        b.read_exact_at(&mut right[..piece], at)?;
        if left[..piece] != right[..piece] {
            let blocks =
                left[..piece].chunks(usize::try_from(BLOCK)?).zip(right[..piece].chunks(usize::try_from(BLOCK)?));
            for (i, (x, y)) in (0_u64..).zip(blocks) {
                if x != y {
                    told(at + i * BLOCK, y);
                }
            }
        }
        at += piece as u64;
        if at >= len {
            break;
        }
    }
    Ok(())
}

fn earlier(a: Result<u64>, b: Result<u64>) -> Result<u64> {
    Ok(a?.min(b?))
}

/// Where the next byte is that is no hole, from `at` on (lseek(2), `SEEK_DATA`).
fn data(file: &File, at: u64) -> Result<Option<u64>> {
    match lseek(file, i64::try_from(at)?, Whence::SeekData) {
        Ok(next) => Ok(Some(u64::try_from(next)?)),
        Err(Errno::ENXIO) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use std::fs;

    #[test]
    fn an_image_is_made_of_another_and_told_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        let image = |name: &str, bytes: &[(u64, &[u8])]| {
            let made = File::create(file(name)).unwrap();
            made.set_len(5 * PIECE + 4096).unwrap();
            bytes.iter().for_each(|(at, bytes)| made.write_all_at(bytes, *at).unwrap());
        };
        image("base", &[(10, b"one"), (3 * PIECE, b"two")]);
        image("later", &[(10, b"one"), (3 * PIECE, b"TWO"), (5 * PIECE + 4093, b"end")]);
        let patch = Patch::between(&file("base"), &file("later")).unwrap();
        assert_eq!(patch.places(9), [3 * PIECE..3 * PIECE + 4096, 5 * PIECE..5 * PIECE + 4096]);
        assert_eq!(patch.len(), 8192);
        patch.keep(&file("patch")).unwrap();
        assert_eq!(Patch::kept(&file("patch")).unwrap(), patch);
        assert!(patch.missed(&file("base"), &file("later")).unwrap().is_empty());
        assert_eq!(patch.at(3 * PIECE).map(|b| &b[..3]), Some(&b"TWO"[..]));
        let left = patch.clone().without(|at, bytes| at > 4 * PIECE && bytes.ends_with(b"end"));
        assert_eq!((left.len(), left.at(3 * PIECE)), (4096, patch.at(3 * PIECE)));
        // Something else altogether, with a block where neither has one.
        image("other", &[(2 * PIECE, b"stray"), (5 * PIECE + 4093, b"end")]);
        let missed = patch.missed(&file("base"), &file("other")).unwrap();
        assert_eq!(missed.places(9), [0..4096, 2 * PIECE..2 * PIECE + 4096, 3 * PIECE..3 * PIECE + 4096]);
        patch.make(&file("base"), &file("other")).unwrap();
        assert_eq!(fs::read(file("other")).unwrap(), fs::read(file("later")).unwrap());
        Patch::default().make(&file("base"), &file("other")).unwrap();
        assert_eq!(fs::read(file("other")).unwrap(), fs::read(file("base")).unwrap());
        image("short", &[]);
        File::options().write(true).open(file("short")).unwrap().set_len(4096).unwrap();
        assert!(Patch::between(&file("base"), &file("short")).is_err());
    }
}
