//! Frames on a socket: a length in four bytes (little-endian) and that many bytes. Both ends bound what they take.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// Sends one frame.
///
/// # Errors
/// What the socket says; [`io::ErrorKind::InvalidInput`] where the frame would be longer than `most`.
pub(crate) fn send(to: &mut impl Write, bytes: &[u8], most: usize) -> io::Result<()> {
    let len = u32::try_from(bytes.len()).ok().filter(|_| bytes.len() <= most);
    let len = len.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("a message of {} bytes; the most is {most}", bytes.len()))
    })?;
    to.write_all(&len.to_le_bytes())?;
    to.write_all(bytes)
}

/// Receives one frame, or `None` where the other end closed between two.
///
/// # Errors
/// What the socket says; [`io::ErrorKind::InvalidData`] for a frame longer than `most`.
pub(crate) fn receive(from: &mut impl Read, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut len = [0; 4];
    // The first byte apart: an end before it is an ordinary end.
    loop {
        match from.read(&mut len[..1]) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) => return Ok(None),
            Ok(_) => break,
            Err(e) => return Err(e),
        }
    }
    from.read_exact(&mut len[1..])?;
    let len = u32::from_le_bytes(len);
    let len = usize::try_from(len).ok().filter(|n| *n <= most).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("a message of {len} bytes; the most is {most}"))
    })?;
    // Grows with what really arrives: a length alone buys no memory.
    let mut bytes = Vec::with_capacity(len.min(64 * 1024));
    if from.take(len as u64).read_to_end(&mut bytes)? < len {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(bytes))
}

/// Sends a value as one frame of JSON.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_json<T: Serialize>(to: &mut impl Write, value: &T, most: usize) -> io::Result<()> {
    send(to, &serde_json::to_vec(value).map_err(io::Error::other)?, most)
}

/// Receives a value as one frame of JSON.
///
/// # Errors
/// As [`receive`]; [`io::ErrorKind::InvalidData`] where it is not such a value.
pub(crate) fn receive_json<T: DeserializeOwned>(from: &mut impl Read, most: usize) -> io::Result<Option<T>> {
    let Some(bytes) = receive(from, most)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_end_where_they_end() {
        let mut wire = Vec::new();
        send(&mut wire, b"one", 8).unwrap();
        send_json(&mut wire, &2, 8).unwrap();
        assert_eq!(send(&mut wire, &[0; 9], 8).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        let mut from = wire.as_slice();
        assert_eq!(receive(&mut from, 8).unwrap().unwrap(), b"one");
        assert_eq!(receive_json::<u8>(&mut from, 8).unwrap(), Some(2));
        assert_eq!(receive(&mut from, 8).unwrap(), None);
        assert_eq!(receive(&mut &wire[..5], 8).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(receive(&mut &wire[..3], 8).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(receive(&mut &[255; 8][..], 8).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
