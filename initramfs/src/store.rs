//! Finding, growing and mounting the store of a stick: the one we came from, or a second one ([`crate::second`]).

use crate::mounts;
use crate::report::Report;
use crate::store_partition::{self, Rewrite};
use model::id::Digest;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset, Extent, SectorSize};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use sys::block;
use sys::capacity::{self, Device, Verdict};
use sys::sysfs::{self, BlockDir};

/// Where the store's file system is mounted.
pub(crate) const MOUNT_POINT: &str = "/store";

/// How troubles begin that end when the store comes.
const NOT_THERE: &str = "the store: ";

/// The partition that holds the store, as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    disk: BlockDir,
    number: u32,
    extent: Extent,
}

/// A whole disk, opened to read its table.
pub(crate) struct Disk {
    pub(crate) file: File,
    size: ByteLen,
    pub(crate) sector: SectorSize,
}

impl Disk {
    pub(crate) fn open(dir: &BlockDir, write: bool) -> io::Result<Self> {
        let file = File::options().read(true).write(write).open(dir.node())?;
        let (size, sector) = (block::size(&file)?, block::sector(&file)?);
        Ok(Self { file, size, sector })
    }
}

impl ReadAt for Disk {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size)?;
        let len = buf.len() as u64;
        self.file.read_exact_at(buf, at.0).map_err(|source| ReadError::Io { at: at.0, len, source })
    }
}

/// The partitions with that GUID on all disks. More than one: a stick was copied, and nobody can say which is meant.
pub(crate) fn search(guid: &str) -> Vec<Place> {
    sysfs::disks().into_iter().filter(BlockDir::is_real_disk).filter_map(|dir| on(dir, guid)).collect()
}

/// The partition with that GUID on a disk.
pub(crate) fn on(dir: BlockDir, guid: &str) -> Option<Place> {
    let disk = Disk::open(&dir, false).ok()?;
    let found = store_partition::find(&disk, disk.sector, guid).ok()??;
    // A target's partition that was given our GUID by whatever accident is not of our type, and not ours to grow.
    found.is_store.then_some(Place { disk: dir, number: found.number, extent: found.extent })
}

/// Finds the store's partition, lets it fill its stick, mounts it. True where it is mounted in the end.
pub(crate) fn bring_up(guid: &str, report: &mut Report) -> bool {
    let ready = mounts::is_mounted(MOUNT_POINT) || {
        let result = mount(guid, report);
        if let Err(e) = &result {
            report.store = format!("partition {guid}: {e}");
            report.trouble(format!("{NOT_THERE}{e}"));
        }
        result.is_ok()
    };
    if ready {
        // An earlier try without the stick is history.
        report.troubles.retain(|t| !t.starts_with(NOT_THERE));
        report.store = format!("partition {guid}, mounted on {MOUNT_POINT}");
        report.note("the store is mounted");
    }
    ready
}

fn mount(guid: &str, report: &mut Report) -> io::Result<()> {
    let mut places = search(guid);
    let place = match (places.pop(), places.first()) {
        (None, _) => return Err(io::Error::other("no disk has that partition; is the stick plugged in?")),
        (Some(a), Some(b)) => {
            let (a, b) = (a.disk.name(), b.disk.name());
            let says = format!("{a} and {b} both have that partition; take one of the two out and start again");
            return Err(io::Error::other(says));
        }
        (Some(place), None) => place,
    };
    mount_on(&place, guid, MOUNT_POINT, report)
}

/// Lets the partition fill its stick, and mounts it.
pub(crate) fn mount_on(place: &Place, guid: &str, point: &str, report: &mut Report) -> io::Result<()> {
    let extent = match grow(place, guid, report) {
        Ok(extent) => extent,
        Err(e) => {
            // A store that cannot grow is a store all the same.
            report.trouble(format!("the store partition was not enlarged: {e}"));
            place.extent
        }
    };
    let partition = place.disk.partitions().into_iter().find(|p| p.number == place.number && p.extent == extent);
    let Some(partition) = partition else {
        let says =
            format!("the kernel does not know partition {} of {} as its table has it", place.number, place.disk.name());
        return Err(io::Error::other(says));
    };
    let node = PathBuf::from("/dev").join(&partition.name);
    std::fs::create_dir_all(point)?;
    let options = sys::mount::Options { noatime: true, inert: true, ..Default::default() };
    // What the disk says and what the journal says may differ after a cut: the kernel's own replay settles it.
    sys::mount::mount(&node, Path::new(point), "ext4", options, "errors=remount-ro")
        .map_err(|e| io::Error::new(e.kind(), format!("mounting {} failed: {e}", node.display())))?;
    if let Err(e) = block::grow_ext4(File::open(point)?, extent.len()) {
        report.trouble(format!("the store's file system was not enlarged: {e}"));
    }
    Ok(())
}

/// Rewrites the table where that is called for, and tells the kernel. Gives the partition's extent afterwards.
fn grow(place: &Place, guid: &str, report: &Report) -> io::Result<Extent> {
    let disk = Disk::open(&place.disk, false)?;
    let text = |e: store_partition::TableError| io::Error::other(e.to_string());
    let Some(rewrite) = store_partition::grow(&disk, disk.sector, guid).map_err(text)? else {
        return kernel_agrees(place, &disk, place.extent);
    };
    let (from, behind) = (place.extent.len(), place.extent.end());
    drop(disk);
    enrol(&place.disk, behind.0)?;
    report.note(&format!("enlarging the store partition from {from} to {}", rewrite.found.extent.len()));
    write(&place.disk, &rewrite)?;
    let disk = Disk::open(&place.disk, false)?;
    kernel_agrees(place, &disk, rewrite.found.extent)
}

/// Behind the store's end lies the backup of the table, at the end of the image or of the stick: it is spared.
const TABLE: u64 = 2 << 20;
/// Less than this to be gained is not worth a probe.
const WORTH: u64 = 64 << 20;

/// Before the store spreads over a stick: does the stick hold what it says? What lies behind the store and the table is
/// nobody's.
fn enrol(dir: &BlockDir, behind: u64) -> io::Result<()> {
    let disk = File::options().read(true).write(true).open(dir.node())?;
    let from = behind.saturating_add(TABLE);
    if block::size(&disk)?.0.saturating_sub(from) < WORTH {
        return Ok(());
    }
    let nonce = Digest::of(&std::fs::read("/proc/sys/kernel/random/boot_id")?).0;
    let nonce = u64::from_le_bytes(nonce[..8].try_into().expect("eight bytes"));
    match capacity::probe(&mut Device::new(disk)?, from, nonce)? {
        Verdict::Keeps => Ok(()),
        Verdict::Less { most, how } => Err(io::Error::other(format!(
            "{} does not hold what it says: at most {most} are real ({how}); do not trust this stick with anything",
            dir.name()
        ))),
    }
}

/// Writes and reads back, each part durable before the next begins.
fn write(dir: &BlockDir, rewrite: &Rewrite) -> io::Result<()> {
    let disk = Disk::open(dir, true)?;
    for (at, bytes) in &rewrite.writes {
        disk.file.write_all_at(bytes, at.0)?;
        disk.file.sync_all()?;
        block::drop_cache(&disk.file, Extent::whole(disk.size))?;
        let mut back = vec![0; bytes.len()];
        disk.file.read_exact_at(&mut back, at.0)?;
        if back != *bytes {
            return Err(io::Error::other(format!(
                "the stick does not keep what is written at byte {at}; do not trust it"
            )));
        }
    }
    Ok(())
}

/// Makes the kernel's idea of the partition that of the table.
fn kernel_agrees(place: &Place, disk: &Disk, extent: Extent) -> io::Result<Extent> {
    match place.disk.partitions().into_iter().find(|p| p.number == place.number) {
        Some(p) if p.extent == extent => {}
        Some(_) => block::resize_partition(&disk.file, place.number, extent)?,
        // The primary table was torn, and has just been written again.
        None => block::reread_table(&disk.file)?,
    }
    Ok(extent)
}

/// Makes the store whole on its medium before the machine ends.
pub(crate) fn put_away() -> io::Result<()> {
    let_go(MOUNT_POINT)
}

/// Unmounts what is mounted there; where something still holds it, it is made read-only, which is told.
pub(crate) fn let_go(point: &str) -> io::Result<()> {
    if !mounts::is_mounted(point) {
        return Ok(());
    }
    let point = Path::new(point);
    let mut last = Ok(());
    for _ in 0..20 {
        last = sys::mount::unmount(point);
        if last.is_ok() {
            return last;
        }
        // A process that was told to end may still be letting go.
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    sys::mount::make_read_only(point).or(last)
}
