//! A large disk made quickly: 100 GiB of ext4 that looks like a Debian, with one written block in every cell of the store's
//! grid. Its map, index and list of ranges are as long as those of a full volume; its bytes are few.

use crate::machine::run;
use crate::{Error, Result};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// Where the volume begins.
const START: u64 = MIB;
/// Its length: a little more than 100 GB.
pub const SIZE: u64 = 100 * GIB;
/// The end of the large file in it; the rest is the file system's own.
const FILE: u64 = 97 * GIB;
/// The store cuts volumes into cells of this many bytes, each with a chunk of its own.
pub const CELL: u64 = 128 * 1024;
/// Bytes of a block of the file system.
const BLOCK: usize = 4096;
const BLOCK_LEN: u64 = BLOCK as u64;
const UUID: &str = "7f1a0c1e-4c0b-4b7e-9d0e-0a5d5c1f0010";
const DISK_GUID: &str = "7F1A0C1E-4C0B-4B7E-9D0E-0A5D5C1F0011";

/// A disk image with one large volume.
pub struct Large {
    /// The image: raw, sparse.
    pub disk: PathBuf,
    folder: PathBuf,
    /// Bytes from one written block to the next.
    step: u64,
}

/// What is in use of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Used {
    /// SHA-256 of the used ranges, their places and their bytes.
    pub digest: String,
    /// Number of ranges.
    pub ranges: u64,
    /// Bytes in use.
    pub bytes: u64,
    /// Cells in which something is in use.
    pub cells: u64,
}

impl Large {
    /// Makes the disk in `folder`, a block written every `step` bytes.
    ///
    /// # Errors
    /// Where a tool is missing or fails.
    pub fn make(folder: &Path, step: u64) -> Result<Self> {
        let disk = folder.join("large.img");
        File::create(&disk)?.set_len(START + SIZE + MIB)?;
        let script = format!(
            "label: gpt\nlabel-id: {DISK_GUID}\nunit: sectors\n\
             start={}, size={}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root\n",
            START / 512,
            SIZE / 512
        );
        let table = folder.join("table.txt");
        fs::write(&table, script)?;
        run(Command::new("sh").args(["-c", "exec sfdisk -q --no-reread \"$1\" <\"$2\"", "sh"]).arg(&disk).arg(&table))?;
        let tree = folder.join("tree");
        system(&tree)?;
        // Inode tables are read as used, and say nothing about memory: few inodes. They stay unwritten, too.
        run(Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4", "-L", "root", "-U", UUID, "-i", "131072", "-E"])
            .arg(format!("offset={START},lazy_itable_init=1"))
            .arg("-d")
            .arg(&tree)
            .arg(&disk)
            .arg(format!("{}m", SIZE / MIB)))?;
        let large = Self { disk, folder: folder.to_path_buf(), step };
        large.mounted(|root| {
            // Where a sparse file goes on, ext4 goes on as far away in the volume (fs/ext4/extents.c, ext4_ext_find_goal).
            let file = File::create(root.join("srv/large"))?;
            (0..FILE).step_by(usize::try_from(step)?).try_for_each(|at| file.write_all_at(&block(at, 0), at))?;
            Ok(file.sync_all()?)
        })?;
        Ok(large)
    }

    /// Changes it as a bad day does: blocks everywhere get other bytes, the last sixteenth of the file goes, and something else
    /// takes its room.
    ///
    /// # Errors
    /// Where it cannot be mounted or written.
    pub fn change(&self) -> Result<()> {
        self.mounted(|root| {
            let file = File::options().write(true).open(root.join("srv/large"))?;
            file.set_len(FILE / 16 * 15)?;
            let every = usize::try_from(self.step * 32)?;
            (0..FILE / 16 * 15).step_by(every).try_for_each(|at| file.write_all_at(&block(at, 1), at))?;
            file.sync_all()?;
            let other = File::create(root.join("srv/other"))?;
            (0..64).try_for_each(|n| other.write_all_at(&block(n * MIB, 2).repeat(256), n * MIB))?;
            fs::remove_file(root.join("etc/hostname"))?;
            Ok(other.sync_all()?)
        })
    }

    /// What is in use, by the file system's own tools.
    ///
    /// # Errors
    /// Where dumpe2fs fails or the image cannot be read.
    pub fn used(&self) -> Result<Used> {
        let free = free(&self.volume())?;
        let image = File::open(&self.disk)?;
        let mut used = Used { digest: String::new(), ranges: 0, bytes: 0, cells: 0 };
        let (mut hash, mut cells, mut at) = (Sha256::new(), BTreeSet::new(), 0);
        let mut bytes = vec![0; 1 << 20];
        for gap in free.into_iter().chain(std::iter::once(SIZE..SIZE)) {
            if at < gap.start {
                used.ranges += 1;
                used.bytes += gap.start - at;
                cells.extend(at / CELL..gap.start.div_ceil(CELL));
                hash.update(at.to_le_bytes());
            }
            while at < gap.start {
                let len = usize::try_from(gap.start - at)?.min(bytes.len());
                image.read_exact_at(&mut bytes[..len], START + at)?;
                hash.update(&bytes[..len]);
                at += len as u64;
            }
            at = at.max(gap.end);
        }
        used.digest = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        used.cells = cells.len() as u64;
        Ok(used)
    }

    /// Checks the file system.
    ///
    /// # Errors
    /// Where e2fsck finds anything.
    pub fn check(&self) -> Result<()> {
        let out = Command::new("e2fsck").args(["-f", "-n"]).arg(self.volume()).output()?;
        if out.status.success() {
            return Ok(());
        }
        Err(format!("e2fsck is not content: {}", String::from_utf8_lossy(&out.stdout)).into())
    }

    /// The volume as the tools of e2fsprogs take it.
    fn volume(&self) -> String {
        format!("{}?offset={START}", self.disk.display())
    }

    /// Mounts the volume, lets `body` work on it, and unmounts it.
    fn mounted(&self, body: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let point = self.folder.join("mounted");
        fs::create_dir_all(&point)?;
        let options = format!("loop,offset={START},noinit_itable");
        run(Command::new("mount").args(["-t", "ext4", "-o", &options]).arg(&self.disk).arg(&point))
            .map_err(|e| format!("{e}; this scenario mounts its disk through a loop device: run it as root"))?;
        let done = body(&point);
        run(Command::new("umount").arg(&point))?;
        done
    }
}

/// The bytes of an ext4 of blocks of 4 KiB that are free, in rising order, by dumpe2fs.
///
/// # Errors
/// Where dumpe2fs fails, or finds none.
pub fn free(volume: &str) -> Result<Vec<Range<u64>>> {
    let out = Command::new("dumpe2fs").arg(volume).output()?;
    let text = String::from_utf8(out.stdout)?;
    let free = text.lines().filter_map(|l| l.strip_prefix("  Free blocks: ")).flat_map(|l| l.split(", "));
    let mut free: Vec<Range<u64>> = free.filter(|r| !r.is_empty()).map(range).collect::<Result<_>>()?;
    if !out.status.success() || free.is_empty() {
        return Err(format!("dumpe2fs failed: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    free.sort_unstable_by_key(|r| r.start);
    Ok(free)
}

fn range(text: &str) -> Result<Range<u64>> {
    let number = |t: &str| t.trim().parse::<u64>().map_err(|e| Error::from(format!("dumpe2fs said {text:?}: {e}")));
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Ok(number(first)? * BLOCK_LEN..(number(last)? + 1) * BLOCK_LEN)
}

/// A block like no other: an eighth of it noise, so that it costs the store about that much.
fn block(at: u64, version: u64) -> Vec<u8> {
    let mut state = (at / BLOCK_LEN * 4 + version).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noise = (0..BLOCK / 8 / 8).flat_map(|_| {
        // Xorshift, by Marsaglia.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let mut block: Vec<u8> = noise.collect();
    block.resize(BLOCK, b'.');
    block
}

/// The files by which a system is known, and without which it would be called broken.
fn system(tree: &Path) -> Result<()> {
    let dirs =
        ["etc", "srv", "boot", "var/lib/dpkg/updates", "usr/lib/systemd", "usr/lib/x86_64-linux-gnu", "usr/lib64"];
    dirs.iter().try_for_each(|d| fs::create_dir_all(tree.join(d)))?;
    for link in ["lib", "lib64"] {
        symlink(format!("usr/{link}"), tree.join(link))?;
    }
    fs::create_dir_all(tree.join("usr/sbin"))?;
    symlink("usr/sbin", tree.join("sbin"))?;
    symlink("../lib/systemd/systemd", tree.join("usr/sbin/init"))?;
    symlink("../lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", tree.join("usr/lib64/ld-linux-x86-64.so.2"))?;
    for file in [
        "usr/lib/systemd/systemd",
        "usr/lib/x86_64-linux-gnu/libc.so.6",
        "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    ] {
        fs::copy(Path::new("/").join(file), tree.join(file)).map_err(|e| format!("/{file} cannot be copied: {e}"))?;
    }
    let texts = [
        ("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n".to_owned()),
        ("etc/hostname", "large\n".to_owned()),
        ("etc/machine-id", "7f1a0c1e4c0b4b7e9d0e0a5d5c1f0012\n".to_owned()),
        ("etc/fstab", format!("UUID={UUID} / ext4 errors=remount-ro 0 1\n")),
        (
            "var/lib/dpkg/status",
            "Package: base-files\nStatus: install ok installed\nArchitecture: amd64\nVersion: 12.4\n".to_owned(),
        ),
    ];
    texts.iter().try_for_each(|(name, text)| fs::write(tree.join(name), text))?;
    Ok(())
}

/// Bytes that a file takes on the host.
///
/// # Errors
/// Where it is not there.
pub fn on_disk(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file)?.blocks() * 512)
}
