//! Leases: the only way to write a target.

use super::medium::Medium;
use super::{DiskBytes, Opened, Place};
use crate::{block, sysfs};
use model::id::{Digest, DiskNo};
use model::inspection::Hardware;
use model::ports::{HEAD_LEN, LeaseError, LeaseRequest, ReadAt, WriteError, WriteLease};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// The leases that stand on one disk.
#[derive(Debug, Default)]
pub(super) struct Leases {
    standing: Vec<Extent>,
    /// The write descriptor of an image file or a whole disk: an exclusive claim or lock is had once, so its leases share it.
    shared: Weak<File>,
    /// The disk was read-only in the kernel before the first standing lease lifted that.
    restore_read_only: bool,
}

fn lock(leases: &Mutex<Leases>) -> MutexGuard<'_, Leases> {
    leases.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a write descriptor is open on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Image,
    /// A partition's own node.
    Partition {
        was_read_only: bool,
    },
    /// The whole disk: the kernel reads its table again afterwards.
    Disk,
}

/// The right to write one extent of one disk.
#[derive(Debug)]
pub(super) struct Lease {
    medium: Medium,
    kind: Kind,
    /// The extent as the disk addresses it.
    of_disk: Extent,
    /// The descriptor everyone looks through: what it caches must not outlive what is written here.
    looking: Arc<DiskBytes>,
    leases: Arc<Mutex<Leases>>,
    wrote: bool,
}

/// Opens the extent asked for, or says why not. Nothing is written.
pub(super) fn give(disk: &Opened, all: &[Opened], request: &LeaseRequest) -> Result<Lease, LeaseError> {
    let no = request.disk;
    if request.extent.is_empty() || request.extent.end().0 > disk.hardware.size.0 {
        let (at, len, size) = (request.extent.start().0, request.extent.len().0, disk.hardware.size.0);
        return Err(other(no, format!("{len} bytes at {at} do not lie inside its {size}")));
    }
    same_hardware(no, &request.hardware, &disk.hardware)?;
    let mut leases = lock(&disk.leases);
    if let Some(e) = leases.standing.iter().find(|e| e.intersect(request.extent).is_some()) {
        return Err(in_use(no, format!("this run already writes its bytes {} to {}", e.start(), e.end())));
    }
    let (file, within, kind) = match &disk.place {
        Place::Image { path, dev, ino } => (image(no, path, (*dev, *ino), &mut leases)?, request.extent, Kind::Image),
        Place::Block { node, rdev, sequence } => block_device(disk, node, *rdev, *sequence, request, &mut leases)?,
    };
    if let (Place::Image { .. }, Ok(meta)) = (&disk.place, file.metadata())
        && meta.len() != disk.hardware.size.0
    {
        return Err(other(no, format!("its size was {}, is {}", disk.hardware.size.0, meta.len())));
    }
    leases.standing.push(request.extent);
    drop(leases);
    // From here on the lease's drop puts back what was changed.
    let lease = Lease {
        medium: Medium::new(file, within, disk.hardware.sector),
        kind,
        of_disk: request.extent,
        looking: disk.bytes.clone(),
        leases: disk.leases.clone(),
        wrote: false,
    };
    recognise(disk, all, request)?;
    Ok(lease)
}

fn other(disk: DiskNo, what: impl AsRef<str>) -> LeaseError {
    LeaseError::OtherDisk { disk, what: DisplayText::new(what.as_ref()) }
}

fn in_use(disk: DiskNo, holder: impl AsRef<str>) -> LeaseError {
    LeaseError::InUse { disk, holder: DisplayText::new(holder.as_ref()) }
}

/// Compares what identifies a disk; how it is attached and what it is called today do not.
fn same_hardware(no: DiskNo, planned: &Hardware, found: &Hardware) -> Result<(), LeaseError> {
    fn text(t: Option<&DisplayText>) -> String {
        t.map_or("none", DisplayText::as_str).to_owned()
    }
    let differs = |what: &str, planned: String, found: String| match planned == found {
        true => Ok(()),
        false => Err(other(no, format!("its {what} was {planned}, is {found}"))),
    };
    differs("serial number", text(planned.serial.as_ref()), text(found.serial.as_ref()))?;
    differs("world-wide name", text(planned.wwn.as_ref()), text(found.wwn.as_ref()))?;
    differs("model", planned.model.as_str().into(), found.model.as_str().into())?;
    differs("size", planned.size.0.to_string(), found.size.0.to_string())?;
    differs("sector size", planned.sector.0.to_string(), found.sector.0.to_string())
}

/// Reads the identity again: what the kernel says now, and the head of the medium. The whole disk's descriptor and the
/// write descriptor are one disk by the kernel's sequence number (or by file), so the head may be read through either.
fn recognise(disk: &Opened, all: &[Opened], request: &LeaseRequest) -> Result<(), LeaseError> {
    let no = request.disk;
    if let Place::Block { rdev, .. } = &disk.place {
        let failed = |source| LeaseError::Io { disk: no, source };
        let dir = sysfs::BlockDir::of_device(*rdev).ok_or(LeaseError::Gone { disk: no })?;
        let file = disk.bytes.file();
        let (size, sector) = (block::size(file).map_err(failed)?, block::sector(file).map_err(failed)?);
        same_hardware(no, &request.hardware, &dir.hardware(size, sector))?;
    }
    let head = head(disk)?;
    if let Some(planned) = request.head
        && planned != head
    {
        let says = format!("its first {} hashed to {}, hash to {}", HEAD_LEN, planned.short(12), head.short(12));
        return Err(other(no, says));
    }
    for twin in all.iter().filter(|d| d.no != no && same_hardware(no, &d.hardware, &disk.hardware).is_ok()) {
        if self::head(twin)? == head {
            let says = format!("it and {} cannot be told apart; take one of them out", twin.no);
            return Err(other(no, says));
        }
    }
    Ok(())
}

/// The digest of a disk's head as the medium has it.
fn head(disk: &Opened) -> Result<Digest, LeaseError> {
    let len = HEAD_LEN.0.min(disk.hardware.size.0);
    // Best effort: nothing but our own leases, which drop it themselves, can make this cache stale.
    let _ = block::drop_cache(disk.bytes.file(), Extent::whole(ByteLen(len)));
    let len = usize::try_from(len).expect("at most HEAD_LEN");
    match disk.bytes.read_vec(ByteOffset(0), len) {
        Ok(bytes) => Ok(Digest::of(&bytes)),
        Err(e) => Err(LeaseError::Io { disk: disk.no, source: io::Error::other(e) }),
    }
}

/// Opens an image file for writing, locked against everybody else: by flock, and by open-file-description record locks,
/// as QEMU locks its images (qemu `block/file-posix.c`).
fn image(no: DiskNo, path: &Path, id: (u64, u64), leases: &mut Leases) -> Result<Arc<File>, LeaseError> {
    if let Some(file) = leases.shared.upgrade() {
        return Ok(file);
    }
    let failed = |source| LeaseError::Io { disk: no, source };
    let file = match OpenOptions::new().read(true).write(true).open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(LeaseError::Gone { disk: no }),
        other => other.map_err(failed)?,
    };
    let meta = file.metadata().map_err(failed)?;
    if (meta.dev(), meta.ino()) != id {
        return Err(other(no, "another file now lies under its name"));
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(in_use(no, "another program has locked the image file")),
        Err(TryLockError::Error(e)) => return Err(failed(e)),
    }
    // Other errors: a file system without record locks. Its flock stands.
    if let Err(Errno::EAGAIN | Errno::EACCES) = fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
        return Err(in_use(no, "another program has locked the image file; is a virtual machine running from it?"));
    }
    if let Some(device) = sysfs::set_up_on(path) {
        return Err(in_use(no, format!("{device} is set up on the image file")));
    }
    let file = Arc::new(file);
    leases.shared = Arc::downgrade(&file);
    Ok(file)
}

/// Takes both locks off again. Closing the file would not do: a child that another thread is just starting has a copy of
/// the descriptor until its execve(2), and both locks belong to what the copies describe (flock(2), fcntl(2)).
fn unlock_image(file: &File) {
    // Best effort: closed it is in any case.
    let _ = file.unlock();
    let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)));
}

/// A record lock of all there is of a file, for fcntl(2).
fn whole_file(kind: i32) -> libc::flock {
    let small = |n: i32| i16::try_from(n).expect("a constant below 16");
    libc::flock { l_type: small(kind), l_whence: small(libc::SEEK_SET), l_start: 0, l_len: 0, l_pid: 0 }
}

/// Opens a block device for writing, exclusively: the partition's own node where the extent is one, else the whole disk.
///
/// O_EXCL without O_CREAT claims a block device (open(2)); the kernel then refuses mounts and other claims of it, of its
/// partitions and, for a partition, of its disk (`block/bdev.c`, `bd_may_claim`).
fn block_device(
    disk: &Opened,
    node: &Path,
    rdev: u64,
    sequence: Option<u64>,
    request: &LeaseRequest,
    leases: &mut Leases,
) -> Result<(Arc<File>, Extent, Kind), LeaseError> {
    let no = request.disk;
    let failed = |source| LeaseError::Io { disk: no, source };
    let gone = || LeaseError::Gone { disk: no };
    let dir = sysfs::BlockDir::of_device(rdev).ok_or_else(gone)?;
    let partitions = if dir.is_partition() { Vec::new() } else { dir.partitions() };
    let partition = partitions.into_iter().find(|p| p.extent == request.extent);
    if partition.is_none()
        && let Some(file) = leases.shared.upgrade()
    {
        return Ok((file, request.extent, Kind::Disk));
    }
    let path = match &partition {
        Some(p) => Path::new("/dev").join(p.name.replace('!', "/")),
        None => node.to_owned(),
    };
    let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_EXCL).open(&path).map_err(|e| match e
        .raw_os_error()
    {
        Some(libc::EBUSY) if !leases.standing.is_empty() => in_use(no, "this run still writes another part of it"),
        Some(libc::EBUSY) => in_use(no, said(&dir.disk().holders())),
        Some(libc::ENXIO | libc::ENODEV | libc::ENOENT | libc::ENOMEDIUM) => gone(),
        _ => failed(e),
    })?;
    let opened = file.metadata().map_err(failed)?.rdev();
    let now = sysfs::BlockDir::of_device(opened).ok_or_else(gone)?;
    let same_sequence = sequence.is_none_or(|s| block::disk_sequence(&file).is_ok_and(|now| now == s));
    // The name may be a link that leads to another partition by now, of the same disk.
    let same = if partition.is_some() { now.disk() == dir } else { now == dir };
    if !same || !same_sequence {
        return Err(other(no, "another disk now lies under its name"));
    }
    // Claimed, a partition cannot move any more: what the kernel says now holds while the lease stands.
    let size = block::size(&file).map_err(failed)?;
    let within = match &partition {
        None if request.extent.end().0 <= size.0 => request.extent,
        None => return Err(other(no, format!("it now has {size}"))),
        Some(p) if dir.partitions().contains(p) && now.name() == p.name && size == p.extent.len() => {
            Extent::whole(size)
        }
        Some(p) => return Err(other(no, format!("{} was moved or resized meanwhile", p.name))),
    };
    // What another node of the same disk wrote earlier must not be hidden by this node's cache.
    block::flush_buffers(&file).map_err(failed)?;
    // A disk set read-only covers its partitions, so it is lifted from both; the last lease to end puts it back.
    let looking = disk.bytes.file();
    let first = leases.standing.is_empty();
    if first {
        leases.restore_read_only = block::is_read_only(looking).unwrap_or(false);
    }
    let was_read_only = block::is_read_only(&file).unwrap_or(false);
    if let Err(e) = block::set_read_only(looking, false).and_then(|()| block::set_read_only(&file, false)) {
        if first && leases.restore_read_only {
            let _ = block::set_read_only(looking, true);
        }
        return Err(failed(e));
    }
    let file = Arc::new(file);
    match partition {
        Some(_) => Ok((file, within, Kind::Partition { was_read_only })),
        None => {
            leases.shared = Arc::downgrade(&file);
            Ok((file, within, Kind::Disk))
        }
    }
}

fn said(holders: &[String]) -> String {
    if holders.is_empty() { "another program has opened it exclusively".to_owned() } else { holders.join(", ") }
}

impl WriteLease for Lease {
    fn size(&self) -> ByteLen {
        self.medium.size()
    }

    fn write_all_at(&mut self, at: ByteOffset, bytes: &[u8]) -> Result<(), WriteError> {
        self.wrote = true;
        self.medium.write_all_at(at, bytes)
    }

    fn sync(&mut self) -> Result<(), WriteError> {
        self.medium.sync()?;
        // A partition's cache and its disk's are two: those who look must not be shown what stood there before.
        let _ = block::drop_cache(self.looking.file(), self.of_disk);
        Ok(())
    }

    fn read_back(&mut self, at: ByteOffset, buf: &mut [u8]) -> Result<(), WriteError> {
        self.medium.read_back(at, buf)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leases = lock(&self.leases);
        leases.standing.retain(|e| *e != self.of_disk);
        let last_of_file = self.medium.is_last();
        // Best effort throughout: the writes were synced and read back, or reported as failed, before.
        if self.kind == Kind::Image && last_of_file {
            unlock_image(self.medium.file());
        }
        if self.kind != Kind::Image && self.wrote {
            let _ = block::flush_buffers(self.medium.file());
        }
        if let Kind::Partition { was_read_only: true } = self.kind {
            let _ = block::set_read_only(self.medium.file(), true);
        }
        if self.kind == Kind::Disk && self.wrote && last_of_file {
            let _ = block::reread_table(self.medium.file());
        }
        if self.wrote {
            let _ = block::drop_cache(self.looking.file(), self.of_disk);
        }
        if leases.standing.is_empty() && leases.restore_read_only {
            let _ = block::set_read_only(self.looking.file(), true);
        }
    }
}
