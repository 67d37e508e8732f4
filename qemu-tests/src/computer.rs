//! One computer with UEFI firmware: its disk, its firmware's memory, and the stick that is put into it.

use crate::Result;
use crate::machine::{Bus, Firmware, Parts};
use crate::rescue::{self, Session};
use std::path::{Path, PathBuf};

/// It, off.
pub struct Computer {
    /// The image of its disk.
    pub disk: PathBuf,
    /// What its firmware remembers; made at the first start, by nobody before.
    pub variables: PathBuf,
    stick: PathBuf,
    folder: PathBuf,
}

impl Computer {
    /// One with that disk; a stick is made of the rescue's image.
    ///
    /// # Errors
    /// Where the stick cannot be made.
    pub fn new(disk: PathBuf, image: &Path, folder: &Path) -> Result<Self> {
        let stick = rescue::stick(image, &folder.join("stick.qcow2"))?;
        Ok(Self { disk, variables: folder.join("variables.fd"), stick, folder: folder.to_path_buf() })
    }

    /// It with its own disk alone, to be started.
    pub fn target(&self, name: &str) -> Parts {
        self.firmware(name).disk(&self.disk, Bus::Virtio, "TARGET")
    }

    /// Starts it from the stick.
    ///
    /// # Errors
    /// Where the rescue does not come up.
    pub fn rescued(&self, name: &str) -> Result<Session> {
        let parts = self.firmware(name).memory(rescue::MEMORY).disk(&self.stick, Bus::Usb, "STICK");
        Session::start(&parts.disk(&self.disk, Bus::Virtio, "TARGET"))
    }

    fn firmware(&self, name: &str) -> Parts {
        Parts::new(name, &self.folder).firmware(Firmware::Uefi).variables(&self.variables)
    }
}
