//! Whether the place of a store holds what it says: it is filled, read back whole, and emptied again.
//!
//! A stick that drops what is beyond its true size, or writes it over what was there before, gives everything back right
//! after it was written. So nothing is read before the last byte is written.

use crate::error::StoreError;
use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset};

/// Bytes of an object of the probe.
const OBJECT: usize = 16 << 20;
/// Where they are put.
const PLACE: &str = "probe";

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probed {
    /// Everything that was written came back.
    Keeps {
        /// So much was written: all the room there was, or what was asked for.
        written: ByteLen,
    },
    /// Something did not.
    Loses {
        /// Bytes that came back as they were written.
        kept: ByteLen,
        /// Bytes that were written.
        written: ByteLen,
        /// The first that did not come back.
        first: DisplayText,
    },
    /// It was stopped.
    Stopped,
}

/// Fills the place (or at most `most` bytes of it), reads everything back, and empties it. `progress` is told bytes done and
/// to do (an estimate while writing), and stops the probe by returning false; what was written is deleted in any case.
/// `nonce` makes the bytes others than those of an earlier probe.
///
/// # Errors
/// [`StoreError::Io`], [`StoreError::InUse`]; a read that fails is what the probe looks for, not an error.
pub fn probe(
    objects: &dyn ObjectStore,
    most: Option<ByteLen>,
    nonce: u64,
    progress: &mut dyn FnMut(ByteLen, ByteLen) -> bool,
) -> Result<Probed, StoreError> {
    let held = objects.lock()?;
    empty(objects)?;
    let probed = fill_and_read(objects, most.map(|m| m.0), nonce, progress);
    let emptied = empty(objects);
    drop(held);
    probed.and_then(|found| emptied.map(|()| found))
}

fn fill_and_read(
    objects: &dyn ObjectStore,
    most: Option<u64>,
    nonce: u64,
    progress: &mut dyn FnMut(ByteLen, ByteLen) -> bool,
) -> Result<Probed, StoreError> {
    let room = match (objects.free().map(|f| f.0), most) {
        (Some(free), Some(most)) => free.min(most),
        (one, other) => one.or(other).unwrap_or(0),
    };
    let to_do = ByteLen(room.saturating_mul(2));
    let size = OBJECT as u64;
    let mut bytes = vec![0; OBJECT];
    let mut count = 0u64;
    while most.is_none_or(|most| count * size < most) {
        if !progress(ByteLen(count * size), to_do) {
            return Ok(Probed::Stopped);
        }
        fill(&mut bytes, nonce, count);
        match objects.put(&name(count), &bytes) {
            Ok(()) => count += 1,
            Err(ObjectError::Full(_)) => break,
            Err(e) => return Err(e.into()),
        }
    }
    let written = count * size;
    let (mut kept, mut first, mut back) = (0, None, vec![0; OBJECT]);
    for number in 0..count {
        if !progress(ByteLen(written + number * size), ByteLen(written * 2)) {
            return Ok(Probed::Stopped);
        }
        fill(&mut bytes, nonce, number);
        let says = match objects.get(&name(number), ByteOffset(0), &mut back) {
            Ok(()) if back == bytes => {
                kept += size;
                continue;
            }
            Ok(()) => format!("what was written from byte {} on came back as something else", number * size),
            Err(e) => format!("what was written from byte {} on cannot be read: {e}", number * size),
        };
        first.get_or_insert(DisplayText::new(&says));
    }
    let (kept, written) = (ByteLen(kept), ByteLen(written));
    Ok(match first {
        None => Probed::Keeps { written },
        Some(first) => Probed::Loses { kept, written, first },
    })
}

fn empty(objects: &dyn ObjectStore) -> Result<(), StoreError> {
    objects.list(PLACE)?.iter().try_for_each(|name| objects.delete(name)).map_err(Into::into)
}

fn name(number: u64) -> ObjectName {
    let text = format!("{PLACE}/{:02x}/{number:016x}", number % 256);
    ObjectName::new(&text).expect("made of lower-case words and hexadecimal digits")
}

/// Bytes that tell their object and place, and do not compress: splitmix64 (Steele, Lea, Flood 2014).
fn fill(bytes: &mut [u8], nonce: u64, number: u64) {
    let mut state = nonce ^ number.wrapping_mul(0xd134_2543_de82_ef95);
    let (words, _) = bytes.as_chunks_mut::<8>();
    for word in words {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        *word = (z ^ z >> 31).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Memory;
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    /// A place that says it is full after `says` objects, and loses the oldest of more than `holds`.
    struct Liar {
        says: usize,
        holds: usize,
        wraps: bool,
        objects: Mutex<Kept>,
    }

    /// Names in the order of their putting, and what is there.
    type Kept = (Vec<ObjectName>, BTreeMap<ObjectName, Vec<u8>>);

    impl ObjectStore for Liar {
        fn put(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
            let (order, kept) = &mut *self.objects.lock().unwrap();
            if order.len() == self.says {
                return Err(ObjectError::Full(std::io::Error::from(std::io::ErrorKind::StorageFull)));
            }
            kept.insert(name.clone(), bytes.to_vec());
            order.push(name.clone());
            let overwritten = order.len().checked_sub(self.holds + 1).and_then(|i| order.get(i)).cloned();
            match overwritten {
                Some(oldest) if self.wraps => {
                    kept.insert(oldest, bytes.to_vec());
                }
                Some(_) => {
                    kept.insert(name.clone(), vec![0; bytes.len()]);
                }
                None => {}
            }
            Ok(())
        }

        fn get(&self, name: &ObjectName, _: ByteOffset, buf: &mut [u8]) -> Result<(), ObjectError> {
            let (_, kept) = &*self.objects.lock().unwrap();
            buf.copy_from_slice(kept.get(name).ok_or_else(|| ObjectError::Missing(name.clone()))?);
            Ok(())
        }

        fn len(&self, name: &ObjectName) -> Result<ByteLen, ObjectError> {
            Err(ObjectError::Missing(name.clone()))
        }

        fn list(&self, _: &str) -> Result<Vec<ObjectName>, ObjectError> {
            Ok(self.objects.lock().unwrap().0.clone())
        }

        fn delete(&self, name: &ObjectName) -> Result<(), ObjectError> {
            let (order, kept) = &mut *self.objects.lock().unwrap();
            order.retain(|n| n != name);
            kept.remove(name);
            Ok(())
        }

        fn free(&self) -> Option<ByteLen> {
            None
        }
    }

    fn liar(says: usize, holds: usize, wraps: bool) -> Liar {
        Liar { says, holds, wraps, objects: Mutex::default() }
    }

    #[test]
    fn a_place_that_loses_is_found_and_left_empty() {
        for wraps in [true, false] {
            let place = liar(5, 3, wraps);
            let found = probe(&place, None, 1, &mut |_, _| true).unwrap();
            let Probed::Loses { kept, written, .. } = found else { panic!("{found:?}") };
            assert_eq!((kept.0, written.0), (3 << 24, 5 << 24), "wraps: {wraps}");
            assert!(place.list("").unwrap().is_empty());
        }
    }

    #[test]
    fn an_honest_place_is_believed_and_left_empty() {
        let place = Memory::with_capacity(ByteLen(50 << 20));
        let found = probe(&place, None, 1, &mut |_, _| true).unwrap();
        assert_eq!(found, Probed::Keeps { written: ByteLen(48 << 20) });
        let found = probe(&place, Some(ByteLen(20 << 20)), 2, &mut |_, _| true).unwrap();
        assert_eq!(found, Probed::Keeps { written: ByteLen(32 << 20) });
        let mut steps = 0;
        let found = probe(&place, None, 3, &mut |_, _| {
            steps += 1;
            steps < 3
        });
        assert_eq!(found.unwrap(), Probed::Stopped);
        assert!(place.list("").unwrap().is_empty());
    }
}
