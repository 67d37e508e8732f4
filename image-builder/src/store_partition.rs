//! The store partition of the stick: an ext4 file system made small and grown by the rescue at its first start.
//!
//! Features are named one by one and mke2fs.conf is not read, so that every host makes the same. Block size and inode
//! ratio are those of a large disk: a store holds few, large files, and the file system keeps them when it grows.

use crate::digest::Seed;
use crate::error::Result;
use crate::{host, initramfs, tool};
use model::units::{ByteLen, ByteOffset};
use std::path::Path;
use std::process::Command;

/// Everything a plain ext4 has since 2017 (e2fsprogs 1.43), and nothing later.
const FEATURES: &str = "none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,\
large_file,huge_file,dir_nlink,extra_isize,metadata_csum";

/// Most 4 KiB blocks the file system can grow to without moving its group descriptors: 2 TiB.
const GROW_TO_BLOCKS: u64 = (2 << 40) / 4096;

/// Makes the file system in `file`, which exists, at `at`.
///
/// # Errors
/// When mke2fs fails.
pub fn make(file: &Path, at: ByteOffset, len: ByteLen, seed: &Seed) -> Result<()> {
    host::require(&["e2fsprogs"])?;
    let mke2fs = tool::find("mke2fs").unwrap_or_else(|| "mke2fs".into());
    let hash_seed = seed.guid("store hash seed");
    // Zero is "not set" to mke2fs: one second later stands for it.
    let time = initramfs::time().max(1).to_string();
    tool::run(
        Command::new(mke2fs)
            .env("MKE2FS_CONFIG", "/dev/null")
            .env("E2FSPROGS_FAKE_TIME", &time)
            .env("SOURCE_DATE_EPOCH", &time)
            .args([
                "-q", "-F", "-t", "ext4", "-T", "default", "-b", "4096", "-I", "256", "-i", "65536", "-m", "0", "-J",
                "size=16",
            ])
            .args(["-L", "holdfast-store", "-O", FEATURES, "-U", &seed.guid("store file system"), "-E"])
            .arg(format!(
                "offset={},hash_seed={hash_seed},resize={GROW_TO_BLOCKS},root_owner=0:0,nodiscard,lazy_itable_init=0,\
                 lazy_journal_init=0",
                at.0
            ))
            .arg(file)
            .arg(format!("{}k", len.0 / 1024)),
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn made(folder: &Path, name: &str, seed: &Seed) -> Vec<u8> {
        let file = folder.join(name);
        std::fs::File::create(&file).unwrap().set_len(65 * MIB).unwrap();
        make(&file, ByteOffset(MIB), ByteLen(64 * MIB), seed).unwrap();
        let bytes = std::fs::read(&file).unwrap();
        assert!(bytes[..1 << 20].iter().all(|b| *b == 0), "bytes before the partition were written");
        assert_eq!(bytes.len() as u64, 65 * MIB);
        bytes[1 << 20..].to_vec()
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_a_sound_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let seed = Seed::of(&[("a", b"b")]);
        let one = made(folder.path(), "one", &seed);
        // Random ids and clocks differ between seconds.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        assert!(one == made(folder.path(), "two", &seed));
        assert!(one != made(folder.path(), "three", &Seed::of(&[("a", b"c")])));
        let plain = folder.path().join("plain");
        std::fs::write(&plain, &one).unwrap();
        let fsck = tool::find("e2fsck").unwrap();
        let said = String::from_utf8(tool::run(Command::new(fsck).arg("-fn").arg(&plain)).unwrap()).unwrap();
        assert!(said.contains("holdfast-store"), "{said}");
        // Growing by a hundred, the way a stick does, works with the reserved descriptors.
        std::fs::File::options().write(true).open(&plain).unwrap().set_len(6400 * MIB).unwrap();
        tool::run(Command::new(tool::find("resize2fs").unwrap()).arg("-f").arg(&plain)).unwrap();
        let dump = tool::run(Command::new(tool::find("dumpe2fs").unwrap()).arg("-h").arg(&plain)).unwrap();
        let dump = String::from_utf8(dump).unwrap();
        assert!(dump.contains("Block count:              1638400"), "{dump}");
    }
}
