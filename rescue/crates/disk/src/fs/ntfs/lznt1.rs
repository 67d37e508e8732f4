//! LZNT1, in which the file system packs files ("[MS-XCA]: Xpress Compression Algorithm", section 2.5).

use crate::numbers::{byte, le16};

/// What one chunk unpacks to.
const CHUNK: usize = 4096;
/// In the header of a chunk: it is compressed.
const COMPRESSED: u16 = 0x8000;

/// Unpacks chunks to `len` bytes; what no chunk is there for is zeros.
///
/// # Errors
/// Why they do not unpack.
pub(super) fn unpack(packed: &[u8], len: usize) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(len);
    let mut at = 0;
    while at + 2 <= packed.len() && out.len() < len {
        let header = le16(packed, at);
        if header == 0 {
            break;
        }
        let size = usize::from(header & 0xfff) + 1;
        let body = packed.get(at + 2..at + 2 + size).ok_or_else(|| format!("a chunk of {size} bytes is cut off"))?;
        at += 2 + size;
        let start = out.len();
        if header & COMPRESSED == 0 {
            out.extend_from_slice(body);
        } else {
            chunk(body, &mut out)?;
        }
        if out.len() - start > CHUNK {
            return Err(format!("a chunk unpacks to {} bytes", out.len() - start));
        }
        out.resize((start + CHUNK).min(len), 0);
    }
    out.resize(len, 0);
    Ok(out)
}

/// Unpacks one chunk behind what is there.
fn chunk(body: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let start = out.len();
    let mut at = 0;
    while at < body.len() {
        let flags = byte(body, at);
        at += 1;
        for bit in 0..8 {
            if at >= body.len() {
                break;
            }
            let so_far = out.len() - start;
            if so_far >= CHUNK {
                return Err("a chunk unpacks to more than it may".to_owned());
            }
            if flags >> bit & 1 == 0 {
                out.push(byte(body, at));
                at += 1;
                continue;
            }
            if at + 2 > body.len() || so_far == 0 {
                return Err("a chunk refers to what is not there".to_owned());
            }
            let token = le16(body, at);
            at += 2;
            // How the bits are shared out depends on how much can be referred to.
            let back_bits = (usize::BITS - (so_far - 1).leading_zeros()).max(4);
            let length_bits = 16 - back_bits;
            let back = usize::from(token >> length_bits) + 1;
            let count = usize::from(token & ((1 << length_bits) - 1)) + 3;
            if back > so_far || so_far + count > CHUNK {
                return Err(format!("a chunk refers {back} bytes back at byte {so_far}, for {count}"));
            }
            for _ in 0..count {
                let b = out[out.len() - back];
                out.push(b);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_refers_to_nothing_is_an_error() {
        assert!(unpack(&[0x02, 0xb0, 0x01, 0x00, 0x00], 4096).is_err());
        assert!(unpack(&[0x03, 0xb0, 0x02, 0x41, 0xff, 0xff], 4096).is_err());
        assert!(unpack(&[0xff, 0xbf, 0x02], 4096).is_err());
        assert_eq!(unpack(&[], 10).unwrap(), [0; 10]);
        // A byte, and the same again 4095 times: as long as a chunk may get.
        let full = unpack(&[0x03, 0xb0, 0x02, 0x41, 0xfc, 0x0f], 4096).unwrap();
        assert!(full.iter().all(|b| *b == 0x41));
    }
}
