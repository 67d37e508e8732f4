//! Small disks: one with the marks of an installed system that does not start, for scenarios in which nothing of it runs;
//! and what can befall a disk.

use crate::machine::run;
use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const MIB: u64 = 1024 * 1024;
/// Size of the disk.
const SIZE: u64 = 64 * MIB;
/// Where the root file system lies, in MiB: start and size.
const ROOT: (u64, u64) = (1, 62);
const ROOT_UUID: &str = "8d1c8b5e-2a0e-4a51-9d6c-0f4be4f7a001";

/// A disk with a GPT and one ext4 that holds a system's name, its fstab and a few files.
///
/// # Errors
/// Where a tool fails.
pub fn system(folder: &Path, name: &str) -> Result<PathBuf> {
    let disk = folder.join(format!("{name}.img"));
    let tree = folder.join(format!("{name}.tree"));
    for dir in ["etc", "var/lib/dpkg", "home/user", "usr/lib"] {
        fs::create_dir_all(tree.join(dir))?;
    }
    let files = [
        (
            "usr/lib/os-release",
            "ID=debian\nNAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n",
        ),
        ("etc/os-release", "ID=debian\nNAME=\"Debian GNU/Linux\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
        ("etc/hostname", "small\n"),
        ("etc/machine-id", "5b0c8f3e5d6a4f0e9c0f8a7b6c5d4e3f\n"),
        ("etc/fstab", &format!("UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n")),
        ("var/lib/dpkg/status", "Package: base-files\nStatus: install ok installed\nVersion: 12.4\n\n"),
        ("home/user/letter", &"Dear Sir or Madam. ".repeat(40_000)),
    ];
    for (path, text) in files {
        fs::write(tree.join(path), text)?;
    }
    File::create(&disk)?.set_len(SIZE)?;
    partition(&disk)?;
    let offset = format!("offset={}", ROOT.0 * MIB);
    run(Command::new("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-L", "root", "-U", ROOT_UUID, "-E", &offset, "-d"])
        .arg(&tree)
        .arg(&disk)
        .arg(format!("{}m", ROOT.1)))?;
    fs::remove_dir_all(tree)?;
    Ok(disk)
}

fn partition(disk: &Path) -> Result<()> {
    let script = format!(
        "label: gpt\nlabel-id: 6B9AE7C1-6C31-4D0E-8D64-5CF1E8C7B001\nunit: sectors\n\
         start={}, size={}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root\n",
        ROOT.0 * 2048,
        ROOT.1 * 2048
    );
    let mut sfdisk = Command::new("sfdisk")
        .args(["-q", "--no-reread"])
        .arg(disk)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| -> Error { format!("sfdisk does not start ({e}); package fdisk").into() })?;
    sfdisk.stdin.take().ok_or("no pipe to sfdisk")?.write_all(script.as_bytes())?;
    if sfdisk.wait()?.success() { Ok(()) } else { Err("sfdisk failed".into()) }
}

/// What can befall a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Its primary partition table is overwritten.
    PrimaryTable,
    /// Its last quarter is missing.
    Truncated,
    /// The superblock of its file system is overwritten.
    Superblock,
}

/// Does it to a disk made by [`system`].
///
/// # Errors
/// What the system says.
pub fn harm(disk: &Path, harm: Harm) -> Result<()> {
    let mut file = File::options().write(true).open(disk)?;
    match harm {
        // Header and entry array; the protective MBR stays.
        Harm::PrimaryTable => overwrite(&mut file, 512, 33 * 512),
        Harm::Superblock => overwrite(&mut file, ROOT.0 * MIB + 1024, 1024),
        Harm::Truncated => Ok(file.set_len(SIZE / 4 * 3)?),
    }
}

/// A disk full of noise, the same each time.
///
/// # Errors
/// What the system says.
pub fn noise(folder: &Path, name: &str) -> Result<PathBuf> {
    let disk = folder.join(format!("{name}.img"));
    overwrite(&mut File::create(&disk)?, 0, 16 * MIB)?;
    Ok(disk)
}

/// Marsaglia's xorshift64 is noise enough.
fn overwrite(file: &mut File, at: u64, len: u64) -> Result<()> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    let bytes: Vec<u8> = words.take(usize::try_from(len.div_ceil(8))?).flatten().collect();
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&bytes[..usize::try_from(len)?])?;
    Ok(())
}
