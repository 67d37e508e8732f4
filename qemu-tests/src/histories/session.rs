//! What happens to a mounted file system.

use qemu_tests::Result;
use qemu_tests::machine::run;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Length of the swap file.
pub(crate) const SWAP: usize = 1280 << 10;

/// How a session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Unmounted.
    InOrder,
    /// The power fails: what the disk has by then is all there is.
    Cut,
    /// There was none.
    Untouched,
}

/// What is drawn by lot, the same for the same seed.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64, of: &str) -> Self {
        // splitmix64's finish: small seeds must not begin alike.
        let mut x = of.bytes().fold(seed, |x, b| (x ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
        x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self((x ^ x >> 31) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 8
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    pub(crate) fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(usize::try_from(len).unwrap_or(0)).collect()
    }
}

/// A mounted image, unmounted at the end of the value at the latest.
struct Mounted<'a>(&'a Path, bool);

impl<'a> Mounted<'a> {
    fn at(image: &Path, at: &'a Path) -> Result<Self> {
        run(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(image).arg(at))?;
        Ok(Self(at, true))
    }

    fn unmount(mut self) -> Result<()> {
        self.1 = false;
        run(Command::new("umount").arg(self.0))
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        if self.1 {
            let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
        }
    }
}

/// The session that fills the file system.
pub(crate) fn first(image: &Path, at: &Path, chance: &mut Chance) -> Result<()> {
    let mounted = Mounted::at(image, at)?;
    for dir in 0..4 {
        fs::create_dir(at.join(format!("d{dir}")))?;
    }
    for _ in 0..60 {
        create(at, chance)?;
    }
    fs::write(at.join("grubenv"), grub_environment())?;
    // Longer than anything a boot loader writes; its blocks must be there.
    fs::write(at.join("swap"), vec![0; SWAP])?;
    run(Command::new("chmod").arg("600").arg(at.join("swap")))?;
    run(Command::new("mkswap").arg("-q").arg(at.join("swap")))?;
    mounted.unmount()
}

/// A session on a copy of the image. Gives the disk as it is after it.
pub(crate) fn live(image: &Path, at: &Path, end: End, chance: &mut Chance) -> Result<Vec<u8>> {
    let mounted = Mounted::at(image, at)?;
    let steps = 1 + chance.below(14);
    let cut_after = chance.below(steps);
    let mut cut = None;
    for step in 0..steps {
        operate(at, chance)?;
        if end == End::Cut && step == cut_after {
            // Data may go out long before the times of its inode do.
            if chance.below(2) == 0 {
                run(Command::new("sync").arg("-d").args(files(at)?.into_iter().take(3)))?;
            }
            cut = Some(fs::read(image)?);
        }
    }
    mounted.unmount()?;
    match cut {
        Some(cut) => Ok(cut),
        None => Ok(fs::read(image)?),
    }
}

fn grub_environment() -> Vec<u8> {
    let mut block = b"# GRUB Environment Block\nsaved_entry=0\n".to_vec();
    block.resize(1024, b'#');
    block
}

/// The files there are, but the two that are written below.
fn files(at: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![at.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let kind = fs::symlink_metadata(&path)?.file_type();
            if kind.is_dir() && !path.ends_with("lost+found") {
                todo.push(path);
            } else if kind.is_file() && !path.ends_with("swap") && !path.ends_with("grubenv") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn any(at: &Path, chance: &mut Chance) -> Result<Option<PathBuf>> {
    let mut files = files(at)?;
    if files.is_empty() {
        return Ok(None);
    }
    let nth = usize::try_from(chance.below(files.len() as u64))?;
    Ok(Some(files.swap_remove(nth)))
}

fn create(at: &Path, chance: &mut Chance) -> Result<()> {
    let path = at.join(format!("d{}/f{}", chance.below(4), chance.below(1000)));
    let len = match chance.below(10) {
        0 => 0,
        1..=4 => chance.below(3000),
        5..=7 => chance.below(60_000),
        // Pages, as databases have them.
        8 => 4096 * chance.below(40),
        _ => chance.below(600_000),
    };
    // Where it is full, it is.
    let _ = fs::write(path, chance.bytes(len));
    Ok(())
}

/// One operation. One that the file system has no room for is none.
fn operate(at: &Path, chance: &mut Chance) -> Result<()> {
    let Some(path) = any(at, chance)? else { return create(at, chance) };
    let len = fs::metadata(&path)?.len();
    let place = chance.below(len);
    let bytes = {
        let most = 1 + chance.below(20_000);
        chance.bytes(most)
    };
    let open = || OpenOptions::new().write(true).open(&path);
    let fallocate = |how: &[&str], len: u64| {
        let mut command = Command::new("fallocate");
        let command = command.args(how).args(["-o", &place.to_string(), "-l", &len.max(1).to_string()]).arg(&path);
        // Not every kind can.
        command.stderr(std::process::Stdio::null()).status().map(|_| ())
    };
    let elsewhere = at.join(format!("d{}/g{}", chance.below(4), chance.below(1000)));
    let ignored = match chance.below(20) {
        0..=2 => return create(at, chance),
        // Overwritten in place, within what is there: no block and no size changes.
        3..=5 => open()?.write_all_at(&bytes[..bytes.len().min(usize::try_from(len - place)?)], place),
        6 => open()?.write_all_at(&bytes, place),
        7 => OpenOptions::new().append(true).open(&path)?.write_all(&bytes),
        8 => open()?.set_len(place),
        9 => fs::rename(&path, &elsewhere),
        10 => fs::remove_file(&path),
        11 => fs::hard_link(&path, &elsewhere),
        12 => fs::set_permissions(&path, fs::Permissions::from_mode(0o600 + u32::try_from(chance.below(8))?)),
        // Past the page cache: on the disk at once, its times later.
        13 => direct(&path, place, chance),
        // Each write waits for the disk.
        14 => OpenOptions::new().write(true).custom_flags(nix::libc::O_DSYNC).open(&path)?.write_all_at(&bytes, place),
        15 => fallocate(&["--punch-hole"], chance.below(len)),
        16 => fallocate(&["--zero-range"], chance.below(len)),
        17 => fallocate(&["--keep-size"], chance.below(100_000)),
        18 => {
            let mut file = File::create(&elsewhere)?;
            file.seek(SeekFrom::Start(chance.below(8 << 20)))?;
            file.write_all(&bytes)
        }
        _ => symlink(&path, &elsewhere).and_then(|()| File::open(&path)?.sync_all()),
    };
    // Names that are taken, and a disk that is full.
    let _ = ignored;
    Ok(())
}

fn direct(path: &Path, place: u64, chance: &mut Chance) -> std::io::Result<()> {
    const PAGE: usize = 4096;
    let memory = chance.bytes(2 * PAGE as u64);
    let skew = memory.as_ptr().align_offset(PAGE);
    let file = OpenOptions::new().write(true).custom_flags(nix::libc::O_DIRECT).open(path)?;
    file.write_all_at(&memory[skew..skew + PAGE], place / PAGE as u64 * PAGE as u64)
}
