//! Images mounted through a loop device, for as long as a value lives.

use qemu_tests::Result;
use qemu_tests::machine::run;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted image.
pub(super) struct Mounted {
    at: PathBuf,
    /// Still to be unmounted.
    held: bool,
}

impl Mounted {
    /// Mounts it to be read: its journal is left alone.
    ///
    /// # Errors
    /// Where mount fails.
    pub(super) fn read_only(image: &Path, at: &Path) -> Result<Self> {
        Self::mount(image, at, "ro,noload")
    }

    /// Mounts it to be written.
    ///
    /// # Errors
    /// Where mount fails.
    pub(super) fn writable(image: &Path, at: &Path, options: &str) -> Result<Self> {
        Self::mount(image, at, options)
    }

    fn mount(image: &Path, at: &Path, options: &str) -> Result<Self> {
        fs::create_dir_all(at)?;
        run(Command::new("mount").args(["-t", "ext4", "-o", &format!("loop,{options}")]).arg(image).arg(at))?;
        Ok(Self { at: at.to_path_buf(), held: true })
    }

    /// Where it is seen.
    pub(super) fn path(&self) -> &Path {
        &self.at
    }

    /// Bytes in use of the file system.
    ///
    /// # Errors
    /// Where df cannot say.
    pub(super) fn used(&self) -> Result<u64> {
        let out = Command::new("df").args(["--output=used", "--block-size=1"]).arg(&self.at).output()?;
        Ok(String::from_utf8(out.stdout)?.lines().nth(1).unwrap_or_default().trim().parse()?)
    }

    /// Unmounts it; what was written to it is in the image then.
    ///
    /// # Errors
    /// Where something still uses it.
    pub(super) fn unmount(mut self) -> Result<()> {
        self.held = false;
        run(Command::new("umount").arg(&self.at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.held {
            let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
        }
    }
}
