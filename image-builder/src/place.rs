//! Where the project and its build products lie.

use crate::error::{BuildError, Result};
use std::path::{Path, PathBuf};

/// The workspace's root folder: image-builder runs from the tree it was built from.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Cargo's target folder.
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Downloads and what was unpacked from them: everything in it is checked or named by its hash, and may be deleted.
///
/// # Errors
/// When the folder cannot be made.
pub fn cache() -> Result<PathBuf> {
    let folder = target().join("image-cache");
    std::fs::create_dir_all(&folder).map_err(BuildError::io("create", &folder))?;
    Ok(folder)
}

/// Writes a file whole: beside its place first, then renamed, so that a cut never leaves half of one.
///
/// # Errors
/// When the file cannot be written, or the place is not one for a file.
pub fn write_whole(file: &Path, bytes: &[u8]) -> Result<()> {
    check_output(file)?;
    let folder = folder_of(file);
    let mut beside = tempfile::NamedTempFile::new_in(folder).map_err(BuildError::io("create a file in", folder))?;
    std::io::Write::write_all(&mut beside, bytes).map_err(BuildError::io("write", file))?;
    keep(beside, file)
}

/// Gives a finished temporary file its name and the permissions of an ordinary one.
pub(crate) fn keep(beside: tempfile::NamedTempFile, file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let open = std::fs::Permissions::from_mode(0o644);
    beside.as_file().set_permissions(open).map_err(BuildError::io("write", file))?;
    beside.as_file().sync_all().map_err(BuildError::io("write", file))?;
    beside.persist(file).map_err(|e| BuildError::io("write", file)(e.error))?;
    Ok(())
}

/// The folder a file lies in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses to put an image onto anything but a regular file: writing devices is a decision of its own.
pub(crate) fn check_output(file: &Path) -> Result<()> {
    if file.exists() && !file.is_file() {
        return Err(BuildError::Input(format!(
            "{} is not a regular file; build the image into a file, then write that to the device",
            file.display()
        )));
    }
    let folder = folder_of(file);
    std::fs::create_dir_all(folder).map_err(BuildError::io("create", folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_or_folder_is_no_output() {
        assert!(write_whole(Path::new("/dev/null"), b"x").is_err());
        assert!(write_whole(Path::new("/tmp"), b"x").is_err());
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/a");
        write_whole(&file, b"one").unwrap();
        write_whole(&file, b"two").unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
