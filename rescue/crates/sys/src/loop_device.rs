//! Block devices over files: the kernel's loop driver (`include/uapi/linux/loop.h`; `LOOP_CONFIGURE`, Linux 5.8).
#![expect(unsafe_code, reason = "ioctls")]

use nix::errno::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

mod raw {
    nix::ioctl_none_bad!(loop_ctl_get_free, 0x4C82);
    nix::ioctl_write_ptr_bad!(loop_configure, 0x4C0A, super::Config);
}

/// What gives out free devices.
pub(crate) const CONTROL: &str = "/dev/loop-control";
/// It lets go of its file when nobody has it open or mounted any more.
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// How often a device is looked for: others may take the one that was free.
const TRIES: u32 = 16;

/// `struct loop_config`, with `struct loop_info64` within it.
#[repr(C)]
#[derive(Debug)]
pub struct Config {
    fd: u32,
    block_size: u32,
    device: [u64; 3],
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    names: [u8; 64 + 64 + 32],
    init: [u64; 2],
    reserved: [u64; 8],
}

/// A block device over a file, for as long as it is open or mounted.
#[derive(Debug)]
pub struct LoopDevice {
    path: PathBuf,
    _device: File,
}

impl LoopDevice {
    /// Makes one. The file may be closed then.
    ///
    /// # Errors
    /// What the system says: there is no loop driver, or no device of it is free.
    pub fn over(file: impl AsFd) -> io::Result<Self> {
        let told = |what: &str, e: io::Error| io::Error::new(e.kind(), format!("{what}: {e}"));
        let control = OpenOptions::new().read(true).write(true).open(CONTROL);
        let control = control.map_err(|e| told(&format!("{CONTROL} cannot be opened"), e))?;
        let mut last = io::Error::from(io::ErrorKind::ResourceBusy);
        for _ in 0..TRIES {
            // SAFETY: takes no argument and gives a number.
            let number = unsafe { raw::loop_ctl_get_free(control.as_raw_fd()) };
            let number = number.map_err(|e| told("no loop device is free", e.into()))?;
            let path = PathBuf::from(format!("/dev/loop{number}"));
            let device = OpenOptions::new().read(true).write(true).open(&path);
            let device = device.map_err(|e| told(&format!("{} cannot be opened", path.display()), e))?;
            let fd = u32::try_from(file.as_fd().as_raw_fd()).map_err(io::Error::other)?;
            let config = Config {
                fd,
                block_size: 0,
                device: [0; 3],
                offset: 0,
                size_limit: 0,
                number: 0,
                encryption: [0; 2],
                flags: LO_FLAGS_AUTOCLEAR,
                names: [0; 160],
                init: [0; 2],
                reserved: [0; 8],
            };
            // SAFETY: reads one `struct loop_config` of a live local, whose layout is the kernel's (304 bytes, tested).
            match unsafe { raw::loop_configure(device.as_raw_fd(), &raw const config) } {
                Ok(_) => return Ok(Self { path, _device: device }),
                Err(Errno::EBUSY) => {}
                Err(e) => {
                    last = e.into();
                    break;
                }
            }
        }
        Err(told("the loop driver does not take the file", last))
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(size_of::<Config>(), 304);
        assert_eq!((offset_of!(Config, offset), offset_of!(Config, flags)), (8 + 24, 8 + 52));
        assert_eq!((offset_of!(Config, names), offset_of!(Config, reserved)), (8 + 56, 8 + 232));
    }
}
