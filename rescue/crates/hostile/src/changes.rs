//! Inputs that are changes to an image that is kept.
//!
//! The first byte says which image, the second is for the target ([`Changed::flags`]); then come records of [`RECORD`] bytes, little-endian:
//! which place (2), where within it (2), how (1), a value (8). A place is a structure of the image, so that bytes which steer a reader
//! are hit often. Unless a record says otherwise, every checksum over the bytes it changed is then made to hold again: what is hostile
//! knows how to make checksums.

use crate::image::Image;
use crate::sums::Sum;

/// Bytes of one record.
const RECORD: usize = 13;
/// Most records that are looked at.
const MOST: usize = 64;

/// How: the width of the value is 1, 2, 4 or 8 bytes (bits 0 and 1).
const WIDTH: u8 = 0b11;
/// It is added to what stands there, as a little-endian number.
const ADD: u8 = 1 << 2;
/// No checksum is made anew.
const UNSUMMED: u8 = 1 << 3;
/// It is written eight times, one behind the other.
const REPEAT: u8 = 1 << 4;

/// An image that inputs change.
pub(crate) struct Base {
    pub(crate) image: Image,
    places: Vec<(u64, u64)>,
    sums: Vec<Sum>,
}

/// An image that was changed.
pub(crate) struct Changed<'a> {
    pub(crate) base: &'a Base,
    pub(crate) image: Image,
    pub(crate) flags: u8,
}

impl Base {
    /// An image with places of so many bytes, and checksums in the order in which they are made: one over others comes behind them. Those
    /// that do not hold are none.
    pub(crate) fn new(image: Image, places: Vec<(u64, u64)>, sums: Vec<Sum>) -> Self {
        let sums = sums.into_iter().filter(|s| s.holds(&image)).collect();
        let places = places.into_iter().filter(|(at, len)| *len > 0 && at + len <= image.len()).collect();
        Self { image, places, sums }
    }

    /// How many checksums it has.
    #[cfg(test)]
    pub(crate) fn sums(&self) -> usize {
        self.sums.len()
    }

    fn apply(&self, records: &[u8]) -> Image {
        let mut image = self.image.clone();
        let mut touched: Vec<(u64, u64)> = Vec::new();
        for record in records.chunks_exact(RECORD).take(MOST) {
            let [p0, p1, w0, w1, how, value @ ..] = record else { continue };
            let (place, within) =
                (usize::from(u16::from_le_bytes([*p0, *p1])), u64::from(u16::from_le_bytes([*w0, *w1])));
            let Some((start, len)) = self.places.get(place % self.places.len().max(1)) else { continue };
            let at = start + within % len;
            let value = &value[..1 << (how & WIDTH)];
            let put = match how & ADD {
                0 => value.to_vec(),
                _ => added(&image.get(at, value.len()), value),
            };
            let put = if how & REPEAT == 0 { put } else { put.repeat(8) };
            image.put(at, &put);
            if how & UNSUMMED == 0 {
                touched.push((at, put.len() as u64));
            }
        }
        for sum in &self.sums {
            if sum.is_over(&touched) {
                touched.extend(sum.renew(&mut image));
            }
        }
        image
    }
}

/// The sum of two little-endian numbers, as long as each.
fn added(there: &[u8], value: &[u8]) -> Vec<u8> {
    let number = |b: &[u8]| b.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    number(there).wrapping_add(number(value)).to_le_bytes()[..there.len()].to_vec()
}

/// The image that an input makes of one of `bases`.
pub(crate) fn changed<'a>(bases: &'a [Base], input: &[u8]) -> Option<Changed<'a>> {
    let [which, flags, records @ ..] = input else { return None };
    let base = bases.get(usize::from(*which) % bases.len().max(1))?;
    Some(Changed { base, image: base.apply(records), flags: *flags })
}

/// Inputs to begin with: each image as it is, and with one place or a few of it changed.
pub(crate) fn seeds(bases: &[Base]) -> Vec<Vec<u8>> {
    let mut dice = Dice(20_261_130);
    let mut out = Vec::new();
    for (which, base) in (0u8..).zip(bases) {
        out.push(vec![which, 0]);
        out.push(vec![which, 0xff]);
        for round in 0..24 {
            let mut input = vec![which, dice.byte()];
            for _ in 0..=round % 4 {
                let place = u16::try_from(dice.below(base.places.len().max(1) as u64)).unwrap_or(0);
                // The beginnings of structures steer most.
                let within = dice.below(if round % 3 == 0 { 512 } else { 96 });
                input.extend(place.to_le_bytes());
                input.extend(u16::try_from(within).unwrap_or(0).to_le_bytes());
                input.push(dice.byte() & (WIDTH | ADD));
                input.extend(dice.value().to_le_bytes());
            }
            out.push(input);
        }
    }
    out
}

/// A small generator of numbers that are the same on every run (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }

    /// A number, often one of those that break things.
    fn value(&mut self) -> u64 {
        let n = self.next();
        [0, 1, 0x7f, 0x80, 0xff, u64::MAX, 1 << 31, n][usize::from(n.to_le_bytes()[7] % 8)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_change_places_and_sums_follow() {
        let mut image = Image::of(&[0; 64]);
        let sum = |b: &[u8]| vec![b.iter().fold(0u8, |n, b| n.wrapping_add(*b))];
        image.put(40, &[0]);
        let base = Base::new(image, vec![(8, 8), (0, 4)], vec![Sum::new(vec![(0, 32)], vec![(40, 1)], sum)]);
        let bases = [base];
        let input = [0, 9, 2, 0, 10, 0, 1, 5, 6, 0, 0, 0, 0, 0, 0];
        let changed = changed(&bases, &input).unwrap();
        assert_eq!((changed.flags, changed.image.get(10, 2), changed.image.get(40, 1)), (9, vec![5, 6], vec![11]));
    }
}
