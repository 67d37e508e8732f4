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
        Self::of("ext4", image, at, "ro,noload")
    }

    /// Mounts an image of another file system to be read: its log is left alone.
    ///
    /// # Errors
    /// Where mount fails.
    pub(super) fn read_only_of(kind: &str, image: &Path, at: &Path) -> Result<Self> {
        let options = match kind {
            "ext4" => "ro,noload",
            "xfs" => "ro,norecovery",
            _ => "ro",
        };
        Self::of(kind, image, at, options)
    }

    /// Mounts it to be written.
    ///
    /// # Errors
    /// Where mount fails.
    pub(super) fn writable(image: &Path, at: &Path, options: &str) -> Result<Self> {
        Self::of("ext4", image, at, options)
    }

    /// Mounts an image of a file system that the kernel calls that.
    ///
    /// # Errors
    /// Where mount fails.
    pub(super) fn of(kind: &str, image: &Path, at: &Path, options: &str) -> Result<Self> {
        fs::create_dir_all(at)?;
        run(Command::new("mount").args(["-t", kind, "-o", &format!("loop,{options}")]).arg(image).arg(at))?;
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

/// Unmounts all that is mounted below a folder: what a run that was killed left.
///
/// # Errors
/// Where something still uses it. Nothing below may be deleted then: the host's own devices can be among it.
pub(super) fn release(folder: &Path) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    for at in below(&mounts, folder).into_iter().rev() {
        run(Command::new("umount").arg(at))?;
    }
    match below(&fs::read_to_string("/proc/self/mounts")?, folder).first() {
        None => Ok(()),
        Some(at) => Err(format!("{} is still mounted", at.display()).into()),
    }
}

/// The mount points below a folder, in the order in which they were mounted.
fn below(mounts: &str, folder: &Path) -> Vec<PathBuf> {
    let points = mounts.lines().filter_map(|l| l.split(' ').nth(1));
    // proc(5): spaces and the like are written as three octal digits.
    points.map(|p| PathBuf::from(p.replace("\\040", " "))).filter(|p| p.starts_with(folder)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_mounted_below_is_found() {
        let mounts = "/dev/vda / ext4 rw 0 0\n/dev/loop0 /a/b\\040c/root ext4 rw 0 0\nproc /a/b\\040c/root/proc proc rw 0 0\n\
                      /dev/loop1 /a/bc ext4 rw 0 0\n";
        assert_eq!(
            below(mounts, Path::new("/a/b c")),
            [PathBuf::from("/a/b c/root"), PathBuf::from("/a/b c/root/proc")]
        );
    }
}
