//! Disks: opened read-only for looking, leased for writing.
//!
//! **Architecture invariant.** A [`Machine`] holds read-only descriptors only. The one place where a descriptor that can
//! write is made is [`lease`], after the disk was recognised again on that very descriptor.

mod lease;
mod medium;
mod reader;

pub use reader::DiskBytes;

use crate::efivars::EfiVars;
use crate::{block, sysfs};
use model::id::DiskNo;
use model::inspection::Hardware;
use model::ports::{BootVariables, Devices, DiskSource, LeaseError, LeaseRequest, WriteLease};
use model::text::DisplayText;
use model::units::{Extent, SectorSize};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// A disk could not be opened for looking.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The system refused.
    #[error("opening {path} failed: {source}")]
    Open {
        /// What was to be opened.
        path: DisplayText,
        /// What the system said.
        source: io::Error,
    },
    /// Neither a block device nor a regular file.
    #[error("{path} is neither a disk nor an image file; name a whole disk such as /dev/sda, or a raw image")]
    NotADisk {
        /// What was named.
        path: DisplayText,
    },
    /// The same disk or file was named twice.
    #[error("{path} was named twice (also as {other}); name each disk once")]
    Twice {
        /// What was named again.
        path: DisplayText,
        /// What it was named first.
        other: DisplayText,
    },
    /// More disks than can be numbered.
    #[error("{count} disks are more than the {most} that can be handled at once; name fewer")]
    TooMany {
        /// How many were named.
        count: usize,
        /// How many can be handled.
        most: usize,
    },
}

/// The most disks of one run: descriptors are inherited by the parser, and a table of this size still fits a screen.
pub const MOST_DISKS: usize = 256;

/// A disk that [`Machine::discover`] may be told to leave out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Kernel name, for example `sda`.
    pub name: String,
    /// What the system says of it.
    pub hardware: Hardware,
}

impl Candidate {
    /// True where the file system of `path` lies on this disk: how a caller leaves out the disk of its own store.
    pub fn holds(&self, path: &Path) -> bool {
        sysfs::disk_holding(path).is_some_and(|d| d.name() == self.name)
    }
}

/// What is needed to find a disk again for writing.
#[derive(Debug)]
enum Place {
    /// An image file.
    Image { path: PathBuf, dev: u64, ino: u64 },
    /// A block device, by number and by the kernel's sequence number where it knows one.
    Block { node: PathBuf, rdev: u64, sequence: Option<u64> },
}

/// One disk of a run.
#[derive(Debug)]
struct Opened {
    no: DiskNo,
    hardware: Hardware,
    bytes: Arc<DiskBytes>,
    place: Place,
    leases: Arc<Mutex<lease::Leases>>,
}

/// The disks of one run.
#[derive(Debug)]
pub struct Machine {
    disks: Vec<Opened>,
    problems: Vec<DeviceError>,
    /// Not where an image is among the disks.
    firmware: Option<EfiVars>,
    named: bool,
}

impl Machine {
    /// Opens the disks and image files named, in that order, for looking only. A block device that nothing holds is
    /// also made read-only in the kernel until the last of its bytes' users is gone.
    ///
    /// # Errors
    /// [`DeviceError`], for the first that cannot be opened.
    pub fn open(paths: &[PathBuf]) -> Result<Self, DeviceError> {
        let mut machine = Self { disks: Vec::new(), problems: Vec::new(), firmware: None, named: true };
        if paths.len() > MOST_DISKS {
            return Err(DeviceError::TooMany { count: paths.len(), most: MOST_DISKS });
        }
        for path in paths {
            machine.add(path)?;
        }
        let block = |d: &Opened| matches!(d.place, Place::Block { .. });
        if !machine.disks.is_empty() && machine.disks.iter().all(block) {
            machine.firmware = EfiVars::of_this_computer();
        }
        Ok(machine)
    }

    /// Opens every real disk of this computer (see [`sysfs::BlockDir::is_real_disk`]) that `skip` does not name, for
    /// looking only. Disks that cannot be opened are told by [`Machine::problems`].
    pub fn discover(skip: impl Fn(&Candidate) -> bool) -> Self {
        let firmware = EfiVars::of_this_computer();
        let mut machine = Self { disks: Vec::new(), problems: Vec::new(), firmware, named: false };
        for dir in sysfs::disks().into_iter().filter(sysfs::BlockDir::is_real_disk) {
            let hardware = dir.hardware(dir.size(), SectorSize::B512);
            if skip(&Candidate { name: dir.name(), hardware }) {
                continue;
            }
            if machine.disks.len() == MOST_DISKS {
                machine.problems.push(DeviceError::TooMany { count: MOST_DISKS + 1, most: MOST_DISKS });
                break;
            }
            if let Err(e) = machine.add(&dir.node()) {
                machine.problems.push(e);
            }
        }
        machine
    }

    /// The disks that [`Machine::discover`] found and could not open, and why.
    pub fn problems(&self) -> &[DeviceError] {
        &self.problems
    }

    /// A read-only descriptor of every disk, in order of number: what the parser role inherits.
    ///
    /// # Errors
    /// What the system says where no more descriptors can be had.
    pub fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        self.disks.iter().map(|d| d.bytes.file().as_fd().try_clone_to_owned()).collect()
    }

    fn add(&mut self, path: &Path) -> Result<(), DeviceError> {
        let shown = || DisplayText::from_bytes(path.as_os_str().as_encoded_bytes());
        let failed = |source| DeviceError::Open { path: shown(), source };
        // O_NONBLOCK: a FIFO named by mistake must not hang the open. It changes nothing for disks and files.
        let file = open_read_only(path).map_err(failed)?;
        let meta = file.metadata().map_err(failed)?;
        let kind = meta.file_type();
        let (place, hardware) = if kind.is_block_device() {
            let size = block::size(&file).map_err(failed)?;
            let sector = block::sector(&file).map_err(failed)?;
            let rdev = meta.rdev();
            let dir = sysfs::BlockDir::of_device(rdev)
                .ok_or_else(|| failed(io::Error::other("the kernel does not list it under /sys/dev/block")))?;
            let place = Place::Block { node: path.to_owned(), rdev, sequence: block::disk_sequence(&file).ok() };
            (place, dir.hardware(size, sector))
        } else if kind.is_file() {
            let path = std::fs::canonicalize(path).map_err(failed)?;
            (Place::Image { path, dev: meta.dev(), ino: meta.ino() }, image_hardware(meta.len(), shown()))
        } else {
            return Err(DeviceError::NotADisk { path: shown() });
        };
        if let Some(first) = self.disks.iter().find(|d| d.place.is_same(&place)) {
            let other = first.hardware.shown_as.clone().unwrap_or_default();
            return Err(DeviceError::Twice { path: shown(), other });
        }
        let hardware = Hardware { write_protected: is_write_protected(&file, &place), ..hardware };
        let made_read_only = match &place {
            Place::Block { rdev, .. } => make_read_only(&file, *rdev),
            Place::Image { .. } => false,
        };
        let no = DiskNo(u16::try_from(self.disks.len()).expect("bounded by MOST_DISKS"));
        let bytes = Arc::new(DiskBytes::new(file, &hardware, made_read_only));
        self.disks.push(Opened { no, hardware, bytes, place, leases: Arc::default() });
        Ok(())
    }
}

impl Place {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Image { dev: d, ino: i, .. }, Self::Image { dev, ino, .. }) => (d, i) == (dev, ino),
            (Self::Block { rdev: a, .. }, Self::Block { rdev: b, .. }) => a == b,
            _ => false,
        }
    }
}

impl Devices for Machine {
    fn disks(&self) -> Vec<DiskSource> {
        let source = |d: &Opened| {
            let (no, hardware, bytes) = (d.no, d.hardware.clone(), d.bytes.clone());
            DiskSource { no, hardware, bytes, clear: None }
        };
        self.disks.iter().map(source).collect()
    }

    fn lease(&self, request: &LeaseRequest) -> Result<Box<dyn WriteLease>, LeaseError> {
        let gone = LeaseError::Gone { disk: request.disk };
        let disk = self.disks.iter().find(|d| d.no == request.disk).ok_or(gone)?;
        lease::give(disk, &self.disks, request).map(|l| Box::new(l) as Box<dyn WriteLease>)
    }

    fn holders(&self, disk: DiskNo, extent: Extent) -> Vec<DisplayText> {
        let Some(disk) = self.disks.iter().find(|d| d.no == disk) else { return Vec::new() };
        let held = match &disk.place {
            Place::Block { rdev, .. } => {
                sysfs::BlockDir::of_device(*rdev).map(|dir| dir.disk().holders_of(extent)).unwrap_or_default()
            }
            Place::Image { path, .. } => {
                sysfs::set_up_on(path).map(|name| format!("{name} is set up on it")).into_iter().collect()
            }
        };
        held.iter().map(|says| DisplayText::new(says)).collect()
    }

    fn boot_variables(&self) -> Option<Arc<dyn BootVariables>> {
        self.firmware.clone().map(|vars| Arc::new(vars) as Arc<dyn BootVariables>)
    }

    fn are_named(&self) -> bool {
        self.named
    }
}

/// Opens for reading without waiting for anything and without becoming anybody's terminal.
fn open_read_only(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)
}

/// An image file has no hardware to tell it from others.
fn image_hardware(size: u64, shown_as: DisplayText) -> Hardware {
    Hardware { shown_as: Some(shown_as), ..Hardware::image("image file", model::units::ByteLen(size)) }
}

/// True where a disk or image takes no writes, whatever is done about it.
///
/// A disk that was made read-only in the kernel (`BLKROSET`, [`make_read_only`]) is not: a lease lifts that. What the disk itself says
/// (`GD_READ_ONLY`, of which `block/ioctl.c`, `blkdev_roset`, takes nothing back) stays when that is lifted, which is tried on a disk that nobody
/// holds, and put back at once.
fn is_write_protected(file: &File, place: &Place) -> bool {
    let Place::Block { rdev, .. } = place else {
        let Place::Image { path, .. } = place else { return false };
        return nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_err();
    };
    if !block::is_read_only(file).unwrap_or(false) {
        return false;
    }
    let free = sysfs::BlockDir::of_device(*rdev).is_some_and(|d| d.disk().holders().is_empty());
    if !free || block::set_read_only(file, false).is_err() {
        return true;
    }
    let stays = block::is_read_only(file).unwrap_or(true);
    // Best effort: it is made read-only again in any case before anybody looks.
    let _ = block::set_read_only(file, true);
    stays
}

/// Makes a device nobody holds read-only. A disk in use (a management computer looking at its own) is left alone: it
/// would break what is mounted. Returns whether anything was changed.
fn make_read_only(file: &File, rdev: u64) -> bool {
    let free = sysfs::BlockDir::of_device(rdev).is_some_and(|d| d.disk().holders().is_empty());
    let writable = block::is_read_only(file).is_ok_and(|ro| !ro);
    free && writable && block::set_read_only(file, true).is_ok()
}
