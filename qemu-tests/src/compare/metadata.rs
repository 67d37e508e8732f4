//! What a file system keeps about its files: a capture by metadata has to look at it.

use super::mount::Mounted;
use qemu_tests::Result;
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

/// Bytes of what a file system keeps about its files, by dumpe2fs: the used part of its inode tables, its bitmaps, its journal;
/// and its directories.
///
/// # Errors
/// Where dumpe2fs fails.
pub(super) fn of(image: &Path, at: &Path) -> Result<u64> {
    let out = Command::new("dumpe2fs").arg(image).output()?;
    if !out.status.success() {
        return Err(format!("dumpe2fs failed: {}", String::from_utf8_lossy(&out.stderr)).into());
    }
    let root = Mounted::read_only(image, at)?;
    let list = Command::new("find").arg(root.path()).args(["-xdev", "-type", "d", "-printf", "%s\\n"]).output()?;
    root.unmount()?;
    let mut bytes = tables(&String::from_utf8_lossy(&out.stdout)).ok_or("dumpe2fs tells no sizes")?;
    for line in String::from_utf8(list.stdout)?.lines() {
        bytes += line.parse::<u64>()?;
    }
    Ok(bytes)
}

/// What dumpe2fs tells of tables, bitmaps and the journal.
fn tables(says: &str) -> Option<u64> {
    let text = |key: &str| Some(says.lines().find_map(|l| l.strip_prefix(key))?.trim());
    let number = |key: &str| text(key)?.parse::<u64>().ok();
    let (block, inode, each) = (number("Block size:")?, number("Inode size:")?, number("Inodes per group:")?);
    let journal = text("Total journal size:")?.strip_suffix('M')?.parse::<u64>().ok()? * MIB;
    let (mut groups, mut unused) = (0, 0);
    for line in says.lines() {
        groups += u64::from(line.starts_with("Group "));
        let last = line.rsplit(", ").next().and_then(|l| l.strip_suffix(" unused inodes"));
        unused += last.and_then(|n| n.parse::<u64>().ok()).unwrap_or_default();
    }
    Some((groups * each).checked_sub(unused)? * inode + groups * 2 * block + journal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_what_is_used_of_the_tables() {
        let says = "Inodes per group:         8192\nBlock size:               4096\nInode size:\t          256\n\
                    Total journal size:       64M\n\n\
                    Group 0: (Blocks 0-32767) csum 0x1 [ITABLE_ZEROED]\n  \
                      10 free blocks, 12 free inodes, 5 directories, 92 unused inodes\n\
                    Group 1: (Blocks 32768-65535) csum 0x2 [INODE_UNINIT]\n  \
                      32766 free blocks, 8192 free inodes, 0 directories, 8192 unused inodes\n";
        assert_eq!(tables(says), Some(8100 * 256 + 4 * 4096 + 64 * MIB));
        assert_eq!(tables("Block size: 4096\n"), None);
    }
}
