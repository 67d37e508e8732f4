//! A file without a name: for what one run has to put aside, and nobody after it.

use nix::libc;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// A new file in a directory, readable and writable, that has no name there (`O_TMPFILE`, open(2)): it is gone when it is
/// closed, however the process ends. Where the file system cannot do that, it is made with a name that is taken away at once.
///
/// # Errors
/// What the system says.
pub fn unnamed(dir: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    if let Ok(file) = options.clone().custom_flags(libc::O_TMPFILE).open(dir) {
        return Ok(file);
    }
    let path = dir.join(format!(".holdfast-scratch-{}", std::process::id()));
    let file = options.create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn it_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (unnamed(dir.path()).unwrap(), unnamed(dir.path()).unwrap());
        one.write_all_at(b"one", 5).unwrap();
        other.write_all_at(b"two", 5).unwrap();
        let mut read = [0; 3];
        one.read_exact_at(&mut read, 5).unwrap();
        assert_eq!(&read, b"one");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(unnamed(&dir.path().join("none")).is_err());
    }
}
