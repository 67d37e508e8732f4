//! Whether a stick is as large as it says.
//!
//! Sticks are sold whose controller claims more than their flash holds. What is written beyond is dropped, or lands on what
//! was there before: the controller ignores the upper bits of the address, so that two places a power of two apart are one.
//! The probe writes a different mark at places a power of two apart, all of them, and only then reads any.

use crate::block;
use model::id::Digest;
use model::units::{ByteLen, Extent};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Length of a mark: a page, so that no sector is written in part.
const MARK: usize = 4096;
/// About how many places are marked. A stick that holds less than one part in so many of what it says less is not found.
const PLACES: u64 = 64;

/// Something to be probed.
pub trait Medium {
    /// What it says it holds, in bytes.
    fn size(&self) -> u64;

    /// Writes at a place.
    ///
    /// # Errors
    /// What the system says.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written durable, and forgets it, so that what is read next comes from the medium.
    ///
    /// # Errors
    /// What the system says.
    fn settle(&mut self) -> io::Result<()>;

    /// Reads at a place.
    ///
    /// # Errors
    /// What the system says.
    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// A whole block device, opened for reading and writing.
#[derive(Debug)]
pub struct Device(File, u64);

impl Device {
    /// Takes a device.
    ///
    /// # Errors
    /// What the kernel says: not a block device, or gone.
    pub fn new(file: File) -> io::Result<Self> {
        let size = block::size(&file)?;
        Ok(Self(file, size.0))
    }
}

impl Medium for Device {
    fn size(&self) -> u64 {
        self.1
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn settle(&mut self) -> io::Result<()> {
        self.0.sync_all()?;
        block::drop_cache(&self.0, Extent::whole(ByteLen(self.1)))
    }

    fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buf, at)
    }
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every mark was there.
    Keeps,
    /// It holds less than it says.
    Less {
        /// It holds at most this.
        most: ByteLen,
        /// How it showed.
        how: &'static str,
    },
}

/// Probes a medium from byte `from` on; nothing below is written, not even by a medium that wraps at a power of two. What lies
/// above is overwritten at some places: it must be nobody's. `nonce` makes the marks different from those of an earlier
/// probe.
///
/// # Errors
/// What the system says of a write or a sync; a read that fails is a verdict.
pub fn probe(medium: &mut dyn Medium, from: u64, nonce: u64) -> io::Result<Verdict> {
    let places = places(from, medium.size());
    for at in &places {
        medium.write(*at, &mark(nonce, *at))?;
    }
    medium.settle()?;
    let marks: Vec<Vec<u8>> = places.iter().map(|at| mark(nonce, *at)).collect();
    // Of each mark, where it was seen last, and the least distance between two places that show the same.
    let mut seen: Vec<Option<u64>> = vec![None; places.len()];
    let mut apart: Option<u64> = None;
    let mut found = [0; MARK];
    for at in &places {
        if medium.read(*at, &mut found).is_err() {
            return Ok(Verdict::Less { most: ByteLen(*at), how: "what was written there cannot be read" });
        }
        let Some(shown) = marks.iter().position(|m| found[..] == m[..]) else {
            return Ok(Verdict::Less { most: ByteLen(*at), how: "what is written beyond is not kept" });
        };
        if let Some(before) = seen[shown].replace(*at) {
            apart = Some(apart.map_or(*at - before, |least| least.min(*at - before)));
        }
    }
    let how = "what is written beyond lands on what was written before";
    Ok(apart.map_or(Verdict::Keeps, |most| Verdict::Less { most: ByteLen(most), how }))
}

/// The places to be marked. They are multiples of a power of two apart that is not less than `from`: whatever power of two
/// the medium wraps at, a place lands at `from` or above.
fn places(from: u64, size: u64) -> Vec<u64> {
    let power = |n: u64| n.checked_next_power_of_two().unwrap_or(1 << 63);
    let step = power((size / PLACES).max(from).max(MARK as u64));
    let first = from.next_multiple_of(MARK as u64);
    let end = size.saturating_sub(MARK as u64);
    std::iter::successors(Some(first), |at| at.checked_add(step)).take_while(|at| *at <= end).collect()
}

fn mark(nonce: u64, at: u64) -> Vec<u8> {
    let seed = [nonce.to_le_bytes(), at.to_le_bytes()].concat();
    Digest::of(&seed).0.repeat(MARK / 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Copy, PartialEq)]
    enum Beyond {
        Dropped,
        Wraps,
        Fails,
    }

    /// A stick that says `says` and holds `holds`.
    struct Stick {
        says: u64,
        holds: u64,
        beyond: Beyond,
        pages: BTreeMap<u64, Vec<u8>>,
        lowest: u64,
    }

    impl Stick {
        fn new(says: u64, holds: u64, beyond: Beyond) -> Self {
            Self { says, holds, beyond, pages: BTreeMap::new(), lowest: u64::MAX }
        }

        fn place(&self, at: u64) -> Option<u64> {
            if at < self.holds {
                return Some(at);
            }
            (self.beyond == Beyond::Wraps).then_some(at % self.holds)
        }
    }

    impl Medium for Stick {
        fn size(&self) -> u64 {
            self.says
        }

        fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            assert!(at + bytes.len() as u64 <= self.says);
            if let Some(at) = self.place(at) {
                self.lowest = self.lowest.min(at);
                self.pages.insert(at, bytes.to_vec());
            }
            Ok(())
        }

        fn settle(&mut self) -> io::Result<()> {
            Ok(())
        }

        fn read(&mut self, at: u64, buf: &mut [u8]) -> io::Result<()> {
            match self.place(at).and_then(|at| self.pages.get(&at)) {
                Some(page) => buf.copy_from_slice(page),
                None if self.beyond == Beyond::Fails => return Err(io::Error::from_raw_os_error(5)),
                None => buf.fill(0),
            }
            Ok(())
        }
    }

    const IMAGE: u64 = 100 << 20;

    #[test]
    fn an_honest_stick_is_believed() {
        for size in [1 << 30, 8_053_063_680, 64 << 30, 2_000_398_934_016, u64::MAX >> 1] {
            let mut stick = Stick::new(size, size, Beyond::Fails);
            assert_eq!(probe(&mut stick, IMAGE, 1).unwrap(), Verdict::Keeps, "{size}");
            assert!(stick.pages.len() >= 8 || size < 2 << 30, "{size}: {} places", stick.pages.len());
            assert!(stick.pages.len() <= 129);
        }
    }

    #[test]
    fn a_stick_that_lies_is_found_and_its_start_is_spared() {
        for beyond in [Beyond::Dropped, Beyond::Wraps, Beyond::Fails] {
            for holds in [1u64 << 30, 4 << 30, 8 << 30, 32 << 30] {
                for says in [holds * 2, holds * 8, 256 << 30, 1_000_204_886_016] {
                    let mut stick = Stick::new(says, holds, beyond);
                    let found = probe(&mut stick, IMAGE, 7).unwrap();
                    let Verdict::Less { most, .. } = found else { panic!("{holds} sold as {says} was believed") };
                    let step = (says / PLACES).max(IMAGE).next_power_of_two();
                    assert!(most.0 <= holds + step + IMAGE, "{holds} sold as {says}: {most}");
                    assert!(stick.lowest >= IMAGE, "{holds} sold as {says} wrote at {}", stick.lowest);
                    if beyond == Beyond::Wraps && holds >= step {
                        assert_eq!(most.0, holds, "sold as {says}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_medium_with_no_room_behind_the_image_has_nothing_to_prove() {
        let mut stick = Stick::new(IMAGE + 100, IMAGE + 100, Beyond::Dropped);
        assert_eq!(probe(&mut stick, IMAGE, 1).unwrap(), Verdict::Keeps);
        assert!(stick.pages.is_empty());
    }
}
