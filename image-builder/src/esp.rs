//! The EFI system partition: a FAT32 file system built in memory.
//!
//! The `fatfs` crate writes it; what it leaves undone is mended on the bytes: it gives `.` and `..` long names and no
//! label entry to the root folder (fsck.vfat objects to both), and no place on the disk to the boot sector.
//! Layout: Microsoft's FAT specification (fatgen103), sections "Boot Sector and BPB" and "FAT Directory Structure".

use crate::error::{BuildError, Result};
use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions, format_volume};
use model::units::{ByteLen, Lba};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};

/// Bytes of a sector, and of a cluster: small, so that 64 MiB have the 65525 clusters that make a FAT a FAT32.
const SECTOR: usize = 512;
const LABEL: &[u8; 11] = b"HOLDFAST   ";
const ENTRY: usize = 32;
const ATTR_LABEL: u8 = 0x08;
const ATTR_FOLDER: u8 = 0x10;
const ATTR_LONG_NAME: u8 = 0x0f;
const DELETED: u8 = 0xe5;

/// Builds the file system. Paths use `/` and have no leading one.
///
/// # Errors
/// When the files do not fit, or `len` is too small for FAT32.
pub fn build(files: &BTreeMap<String, Vec<u8>>, len: ByteLen, volume_id: u32, start: Lba) -> Result<Vec<u8>> {
    let most = 1 << 30;
    let len = len.to_usize().filter(|n| *n <= most && n % SECTOR == 0);
    let len = len.ok_or_else(|| BuildError::Input("the ESP must be whole sectors and at most 1 GiB".to_owned()))?;
    let mut image = vec![0; len];
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_cluster(512)
        .volume_id(volume_id)
        .volume_label(*LABEL);
    format_volume(Cursor::new(&mut image[..]), options).map_err(|e| failed("formatted", &e))?;
    let shape = Shape::of(&image).ok_or_else(|| failed("formatted", &"its boot sector makes no sense"))?;
    label(&mut image, &shape);
    fill(&mut image, files).map_err(|e| failed("filled", &e))?;
    mend_dots(&mut image, &shape).ok_or_else(|| failed("mended", &"its folders make no sense"))?;
    hidden_sectors(&mut image, start)?;
    Ok(image)
}

fn failed(verb: &str, why: &dyn std::fmt::Display) -> BuildError {
    BuildError::Input(format!("the EFI system partition cannot be {verb}: {why}"))
}

fn fill(image: &mut [u8], files: &BTreeMap<String, Vec<u8>>) -> std::io::Result<()> {
    // Dates stay those of 1980: the crate is built without a clock.
    let fs = FileSystem::new(Cursor::new(image), FsOptions::new())?;
    for (path, bytes) in files {
        for (at, _) in path.match_indices('/') {
            fs.root_dir().create_dir(&path[..at])?;
        }
        let mut file = fs.root_dir().create_file(path)?;
        file.write_all(bytes)?;
        file.flush()?;
    }
    fs.unmount()
}

/// Where things lie in the image.
struct Shape {
    fat: usize,
    data: usize,
    root: usize,
    cluster: usize,
    backup: usize,
}

impl Shape {
    fn of(image: &[u8]) -> Option<Self> {
        let u16_at = |at: usize| Some(usize::from(u16::from_le_bytes(image.get(at..at + 2)?.try_into().ok()?)));
        let u32_at = |at: usize| usize::try_from(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?)).ok();
        let (sector, per_cluster) = (u16_at(11)?, usize::from(*image.get(13)?));
        let (reserved, fats, fat_len) = (u16_at(14)?, usize::from(*image.get(16)?), u32_at(36)?);
        Some(Self {
            fat: reserved * sector,
            data: (reserved + fats * fat_len) * sector,
            root: u32_at(44)?,
            cluster: sector * per_cluster,
            backup: u16_at(50)? * sector,
        })
    }

    fn place(&self, cluster: usize) -> Option<usize> {
        self.data.checked_add(cluster.checked_sub(2)?.checked_mul(self.cluster)?)
    }

    /// The cluster after this one, if the chain goes on.
    fn next(&self, image: &[u8], cluster: usize) -> Option<usize> {
        let at = self.fat + cluster * 4;
        let next = u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) & 0x0fff_ffff;
        (2..0x0fff_fff8).contains(&next).then(|| usize::try_from(next).ok())?
    }
}

/// The label is the root folder's first entry.
fn label(image: &mut [u8], shape: &Shape) {
    if let Some(entry) = shape.place(shape.root).and_then(|at| image.get_mut(at..at + ENTRY)) {
        entry[..11].copy_from_slice(LABEL);
        entry[11] = ATTR_LABEL;
    }
}

/// Makes `.` and `..` the first two entries of every folder but the root.
fn mend_dots(image: &mut [u8], shape: &Shape) -> Option<()> {
    let mut folders = vec![shape.root];
    // Each folder is met once: we made the tree, and it has no loops. The bound is for the day that is not true.
    for _ in 0..10_000 {
        let Some(first) = folders.pop() else { return Some(()) };
        let mut cluster = Some(first);
        while let Some(this) = cluster {
            let at = shape.place(this)?;
            let block = image.get_mut(at..at + shape.cluster)?;
            if this == first && first != shape.root {
                dots_first(block, shape.root);
            }
            folders.extend(block.chunks_exact(ENTRY).filter(|e| is_subfolder(e)).filter_map(start_cluster));
            cluster = shape.next(image, this);
        }
    }
    None
}

/// The crate writes: long name of `.`, `.`, long name of `..`, `..`. The long names go. The root folder as parent is
/// written as cluster 0, which the crate does not do.
fn dots_first(block: &mut [u8], root: usize) {
    let dot = |name: &[u8; 11]| block.chunks_exact(ENTRY).take(4).find(|e| e.starts_with(name)).map(<[u8]>::to_vec);
    if let (Some(own), Some(mut parent)) = (dot(b".          "), dot(b"..         ")) {
        if start_cluster(&parent) == Some(root) {
            parent[20..22].fill(0);
            parent[26..28].fill(0);
        }
        block[..ENTRY].copy_from_slice(&own);
        block[ENTRY..2 * ENTRY].copy_from_slice(&parent);
        for unused in block[2 * ENTRY..4 * ENTRY].chunks_exact_mut(ENTRY) {
            unused.fill(0);
            unused[0] = DELETED;
        }
    }
}

fn is_subfolder(entry: &[u8]) -> bool {
    !matches!(entry[0], 0 | DELETED | b'.') && entry[11] != ATTR_LONG_NAME && entry[11] & ATTR_FOLDER != 0
}

fn start_cluster(entry: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes([entry[26], entry[27], entry[20], entry[21]])).ok()
}

/// Tells the boot sector and its copy where on the disk they lie.
fn hidden_sectors(image: &mut [u8], start: Lba) -> Result<()> {
    let hidden = u32::try_from(start.0).map_err(|e| failed("placed", &e))?.to_le_bytes();
    let backup = Shape::of(image).map_or(0, |s| s.backup);
    image[0x1c..0x20].copy_from_slice(&hidden);
    image[backup + 0x1c..backup + 0x20].copy_from_slice(&hidden);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const MIB: u64 = 1 << 20;

    fn sample() -> BTreeMap<String, Vec<u8>> {
        let long: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        BTreeMap::from([
            ("EFI/BOOT/BOOTX64.EFI".to_owned(), b"shim".to_vec()),
            ("EFI/BOOT/grub.cfg".to_owned(), b"menu".to_vec()),
            ("EFI/debian/grub.cfg".to_owned(), b"menu".to_vec()),
            ("holdfast/a name that is long.img".to_owned(), long),
        ])
    }

    #[test]
    fn fsck_has_no_complaint_and_mtools_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("esp");
        std::fs::write(&file, build(&sample(), ByteLen(64 * MIB), 0x1234_abcd, Lba(4096)).unwrap()).unwrap();
        let fsck = crate::tool::find("fsck.vfat").expect("this test needs the Debian package dosfstools");
        let said = Command::new(fsck).arg("-nv").arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(said.status.success(), "{text}");
        assert!(text.contains("FATs, 32 bit entries") && !text.contains("label"), "{text}");
        let mtype = crate::tool::find("mtype").expect("this test needs the Debian package mtools");
        for (path, bytes) in sample() {
            let out = Command::new(&mtype).arg("-i").arg(&file).arg(format!("::/{path}")).output().unwrap();
            assert!(out.stdout == bytes, "{path}");
        }
    }

    #[test]
    fn same_files_same_bytes() {
        let one = build(&sample(), ByteLen(64 * MIB), 7, Lba(4096)).unwrap();
        assert!(one == build(&sample(), ByteLen(64 * MIB), 7, Lba(4096)).unwrap());
        assert!(one != build(&sample(), ByteLen(64 * MIB), 8, Lba(4096)).unwrap());
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let big = BTreeMap::from([("a".to_owned(), vec![1; 65 << 20])]);
        assert!(build(&big, ByteLen(64 * MIB), 7, Lba(4096)).unwrap_err().to_string().contains("filled"));
        assert!(build(&sample(), ByteLen(MIB), 7, Lba(4096)).is_err());
        assert!(build(&sample(), ByteLen(100), 7, Lba(4096)).is_err());
    }
}
