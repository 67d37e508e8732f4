//! LZO1X, one block of it (kernel `Documentation/staging/lzo.rst`).

/// Distances from which the far matches count, and of those of three bytes.
const FAR: usize = 16_384;
const MIDDLE: usize = 2049;

/// Unpacks a block that holds no more than `most` bytes; `None` where it does not hold together.
pub(super) fn unpack(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut block = Block { from: packed, at: 0, out: Vec::new(), most };
    block.run()?;
    Some(block.out)
}

struct Block<'a> {
    from: &'a [u8],
    at: usize,
    out: Vec<u8>,
    most: usize,
}

impl Block<'_> {
    fn byte(&mut self) -> Option<usize> {
        let byte = *self.from.get(self.at)?;
        self.at += 1;
        Some(usize::from(byte))
    }

    /// A length: that of the instruction, or, where that is zero, what its field can hold, 255 for each zero byte that follows, and
    /// the byte behind these.
    fn length(&mut self, said: usize, field: usize) -> Option<usize> {
        if said != 0 {
            return Some(said);
        }
        let mut len = field;
        loop {
            match self.byte()? {
                0 => len += 255,
                last => return Some(len + last),
            }
        }
    }

    fn literals(&mut self, len: usize) -> Option<()> {
        let bytes = self.from.get(self.at..self.at.checked_add(len)?)?;
        if self.out.len() + len > self.most {
            return None;
        }
        self.out.extend_from_slice(bytes);
        self.at += len;
        Some(())
    }

    fn copy(&mut self, distance: usize, len: usize) -> Option<()> {
        let from = self.out.len().checked_sub(distance)?;
        if self.out.len() + len > self.most {
            return None;
        }
        for n in from..from + len {
            self.out.push(*self.out.get(n)?);
        }
        Some(())
    }

    /// Sixteen bits behind an instruction: a distance, and how many literals follow.
    fn pair(&mut self) -> Option<(usize, usize)> {
        let pair = self.byte()? | self.byte()? << 8;
        Some((pair >> 2, pair & 3))
    }

    fn run(&mut self) -> Option<()> {
        // What the last instruction copied as it is: 0 to 3 bytes, or 4 for a run.
        let mut state = 0;
        if let first @ 18.. = usize::from(*self.from.first()?) {
            self.at = 1;
            self.literals(first - 17)?;
            state = (first - 17).min(4);
        }
        loop {
            let code = self.byte()?;
            let literals = match code {
                0..=15 if state == 0 => {
                    let len = self.length(code, 15)? + 3;
                    self.literals(len)?;
                    state = 4;
                    continue;
                }
                0..=15 => {
                    let near = (code >> 2) + (self.byte()? << 2);
                    let (distance, len) = if state == 4 { (near + MIDDLE, 3) } else { (near + 1, 2) };
                    self.copy(distance, len)?;
                    code & 3
                }
                16..=31 => {
                    let len = self.length(code & 7, 7)? + 2;
                    let (low, literals) = self.pair()?;
                    let distance = FAR + ((code & 8) << 11) + low;
                    if distance == FAR {
                        return Some(());
                    }
                    self.copy(distance, len)?;
                    literals
                }
                32..=63 => {
                    let len = self.length(code & 31, 31)? + 2;
                    let (distance, literals) = self.pair()?;
                    self.copy(distance + 1, len)?;
                    literals
                }
                _ => {
                    let len = if code < 128 { 3 + (code >> 5 & 1) } else { 5 + (code >> 5 & 3) };
                    let distance = (code >> 2 & 7) + (self.byte()? << 3) + 1;
                    self.copy(distance, len)?;
                    code & 3
                }
            };
            self.literals(literals)?;
            state = literals;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Made by hand: four literals, a match of three bytes at distance 4, the end.
    #[test]
    fn a_block_is_unpacked() {
        // 17 + 4 literals; M2 of length 3: 0b010_011_00, distance 4 = 3 + 0 * 8 + 1; the end: 17, 0, 0.
        let packed = [21, b'a', b'b', b'c', b'd', 0b0100_1100, 0, 17, 0, 0];
        assert_eq!(unpack(&packed, 4096).unwrap(), b"abcdabc");
        assert_eq!(unpack(&packed, 6), None, "more than there may be");
        assert_eq!(unpack(&packed[..8], 4096), None, "cut off");
        assert_eq!(unpack(&[], 4096), None);
        // A match before the beginning.
        assert_eq!(unpack(&[18, b'a', 0b0100_1100, 9, 17, 0, 0], 4096), None);
    }

    proptest! {
        #[test]
        fn any_bytes_cost_no_more_than_they_may(packed in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(unpack(&packed, 4096).is_none_or(|out| out.len() <= 4096));
        }
    }
}
