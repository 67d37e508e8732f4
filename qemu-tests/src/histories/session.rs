//! What happens to a file system from when it is mounted until it is not.

use crate::chance::Chance;
use crate::kinds::Kind;
use crate::operations::{create, files, islands, operate};
use crate::recorder::{Entry, Recorder};
use nix::mount::{MsFlags, mount, umount2};
use qemu_tests::Result;
use qemu_tests::machine::run;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// So much longer than a session must be to be told by its times.
const LONG: Duration = Duration::from_millis(2100);

/// Length of the swap file.
pub(crate) const SWAP: usize = 1280 << 10;

/// The disks of a history, and where they are mounted.
pub(crate) struct Place<'a> {
    pub(crate) kind: &'a Kind,
    pub(crate) disk: &'a Recorder,
    /// The disk of a journal that is elsewhere.
    pub(crate) journal: &'a Recorder,
    pub(crate) at: &'a Path,
}

/// A mounted file system, unmounted at the end of the value at the latest.
pub(crate) struct Mounted<'a>(&'a Path, bool);

impl<'a> Mounted<'a> {
    pub(crate) fn new(place: &Place<'a>, flags: MsFlags) -> Result<Self> {
        let mut options = place.kind.mounted.to_owned();
        if place.kind.external {
            options = format!("journal_path={}", place.journal.device.display());
        }
        mount(Some(&place.disk.device), place.at, Some("ext4"), flags, Some(options.as_str()))
            .map_err(|e| format!("the kernel does not mount it ({e})"))?;
        Ok(Self(place.at, true))
    }

    /// Changes what may be done with it.
    fn remount(&self, flags: MsFlags) -> Result<()> {
        Ok(mount(None::<&str>, self.0, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>)?)
    }

    pub(crate) fn unmount(mut self) -> Result<()> {
        self.1 = false;
        // Somebody may be looking, if only at which devices there are.
        for _ in 0..50 {
            match umount2(self.0, nix::mount::MntFlags::empty()) {
                Err(nix::errno::Errno::EBUSY) => std::thread::sleep(Duration::from_millis(20)),
                other => return Ok(other?),
            }
        }
        Err("it cannot be unmounted: it is in use".into())
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.1 {
            let _ = umount2(self.0, nix::mount::MntFlags::MNT_DETACH);
        }
    }
}

/// The inodes of what is written below the file system.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Below {
    pub(crate) swap: u64,
    pub(crate) grub: u64,
}

/// The session that fills the file system.
pub(crate) fn first(place: &Place<'_>, chance: &mut Chance) -> Result<Below> {
    let mounted = Mounted::new(place, MsFlags::empty())?;
    let at = place.at;
    for dir in 0..4 {
        let dir = at.join(format!("d{dir}"));
        fs::create_dir(&dir)?;
        if place.kind.folds {
            run(Command::new("chattr").arg("+F").arg(&dir))?;
        }
    }
    for _ in 0..60 {
        let _ = create(at, chance);
    }
    for _ in 0..3 {
        islands(at, chance)?;
    }
    let (grub, swap) = (at.join("boot/grub/grubenv"), at.join("swap"));
    fs::create_dir_all(at.join("boot/grub"))?;
    fs::write(&grub, grub_environment())?;
    // Longer than anything a boot loader writes; its blocks must be there.
    fs::write(&swap, vec![0; SWAP])?;
    fs::set_permissions(&swap, fs::Permissions::from_mode(0o600))?;
    run(Command::new("mkswap").arg("-q").arg(&swap))?;
    let below = Below { swap: fs::metadata(swap)?.ino(), grub: fs::metadata(grub)?.ino() };
    mounted.unmount()?;
    Ok(below)
}

fn grub_environment() -> Vec<u8> {
    let mut block = b"# GRUB Environment Block\nsaved_entry=0\n".to_vec();
    block.resize(1024, b'#');
    block
}

/// What reached the disk in a session that ended in order.
pub(crate) struct Session {
    pub(crate) log: Vec<Entry>,
    /// Where in the log it was mounted, and began to be unmounted.
    pub(crate) mounted: usize,
    pub(crate) unmounting: usize,
}

/// A session on what the disk holds.
pub(crate) fn live(place: &Place<'_>, chance: &mut Chance) -> Result<Session> {
    let (disk, at) = (place.disk, place.at);
    // As a root is: mounted to be read, then to be written, and made so again before the end.
    let as_root = !chance.one_in(3);
    // Linux 6.18 cannot replay the fast commit of a hard link where it mounts to read (`ext4_fc_replay_link`: EROFS).
    let to_read = if as_root { Mounted::new(place, MsFlags::MS_RDONLY).ok() } else { None };
    let mounted = match to_read {
        Some(mounted) => {
            mounted.remount(MsFlags::empty())?;
            mounted
        }
        None => Mounted::new(place, MsFlags::empty())?,
    };
    // Now and then so long that the time of its end tells it from one that was cut off.
    let long = chance.one_in(12);
    let began = disk.position();
    for _ in 0..1 + chance.below(14) {
        operate(at, chance)?;
        match chance.below(8) {
            // Data may go out long before the times of its inode do...
            0 => some(at, chance, |file| file.sync_data())?,
            // ... and the times before the data.
            1 => {
                some(at, chance, |file| file.sync_all())?;
                disk.sync_device()?;
            }
            _ => {}
        }
    }
    if long {
        std::thread::sleep(LONG);
    }
    let unmounting = disk.position();
    if as_root {
        mounted.remount(MsFlags::MS_RDONLY)?;
    }
    mounted.unmount()?;
    Ok(Session { log: disk.take_log(), mounted: began, unmounting })
}

/// Looks at the file system, and changes nothing.
pub(crate) fn look(place: &Place<'_>) -> Result<()> {
    let mounted = Mounted::new(place, MsFlags::MS_RDONLY)?;
    for file in files(place.at)?.into_iter().take(5) {
        let _ =
            fs::File::open(file).and_then(|f| std::io::copy(&mut std::io::Read::take(f, 9000), &mut std::io::sink()));
    }
    mounted.unmount()
}

/// Does something with a few files.
fn some(at: &Path, chance: &mut Chance, act: impl Fn(&fs::File) -> std::io::Result<()>) -> Result<()> {
    let files = files(at)?;
    for _ in 0..3.min(files.len()) {
        // A full disk is said here.
        let _ = act(&fs::File::open(&files[chance.index(files.len())])?);
    }
    Ok(())
}
