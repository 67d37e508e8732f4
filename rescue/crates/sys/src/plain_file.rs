//! Files of a stick that somebody else may have had in hands: whatever stands in their place is read as a plain file, or not at all.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Reads a file, and one byte more than `most` at the most: so whoever reads it sees that it is too long. No link is followed, and nothing is
/// waited for (open(2), `O_NOFOLLOW`, `O_NONBLOCK`: a pipe without a writer).
///
/// # Errors
/// It is not there, is no plain file, or cannot be read.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let odd = || io::Error::other("it is no plain file");
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(path);
    // Of a link itself, open(2) says no more than that.
    let file = opened.map_err(|e| if e.raw_os_error() == Some(libc::ELOOP) { odd() } else { e })?;
    if !file.metadata()?.is_file() {
        return Err(odd());
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), b"0123456789").unwrap();
        assert_eq!(read(&at("file"), 10).unwrap(), b"0123456789");
        assert_eq!(read(&at("file"), 3).unwrap(), b"0123");
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        for odd in [at("link"), at("pipe"), at("none"), dir.path().to_path_buf()] {
            assert!(read(&odd, 10).is_err(), "{odd:?}");
        }
    }
}
