//! A set of small numbers.

/// Numbers below a bound that the caller keeps small: each takes a bit.
pub(crate) struct Bits(Vec<u64>);

impl Bits {
    /// The empty set of numbers below `len`.
    pub(crate) fn new(len: u32) -> Self {
        Self(vec![0; Self::place(len).0 + 1])
    }

    fn place(no: u32) -> (usize, u64) {
        (usize::try_from(no / 64).expect("a usize has 32 bits"), 1 << (no % 64))
    }

    /// True where a number is in it; one past the bound is not.
    pub(crate) fn get(&self, no: u32) -> bool {
        let (word, bit) = Self::place(no);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Puts a number in; false where it was in already, or lies past the bound.
    pub(crate) fn set(&mut self, no: u32) -> bool {
        let (word, bit) = Self::place(no);
        let Some(word) = self.0.get_mut(word) else { return false };
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    /// Takes a number out.
    pub(crate) fn clear(&mut self, no: u32) {
        let (word, bit) = Self::place(no);
        if let Some(word) = self.0.get_mut(word) {
            *word &= !bit;
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// The numbers, rising.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let bits = |word: u64| (0..64).filter(move |bit| word >> bit & 1 == 1);
        (0..).step_by(64).zip(&self.0).flat_map(move |(base, word)| bits(*word).map(move |bit| base + bit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set() {
        let mut bits = Bits::new(200);
        assert!([0, 63, 64, 199].into_iter().all(|no| bits.set(no)));
        assert!(!bits.set(63) && !bits.set(4000) && !bits.get(4000));
        bits.clear(64);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [0, 63, 199]);
        assert_eq!(bits.count(), 3);
    }
}
