//! The partitions of an image, and the target's disk with sectors of another size.

use crate::Result;
use crate::machine::run;
use serde_json::Value;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};

const MIB: u64 = 1 << 20;
/// Type of an EFI system partition (UEFI specification 2.10, 5.3.3).
const ESP: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
/// Type of a root of Linux on x86-64 (The Discoverable Partitions Specification).
const ROOT: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";

/// A partition of an image with sectors of 512 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its first byte.
    pub start: u64,
    /// Its bytes.
    pub len: u64,
    /// The GUID of its type.
    pub kind: String,
    name: Option<String>,
}

/// The partitions of an image, and what else its table says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partitions {
    /// The GUID of the disk.
    pub disk: String,
    /// In the order of the table.
    pub all: Vec<Partition>,
}

impl Partitions {
    /// Reads them, by sfdisk.
    ///
    /// # Errors
    /// Where it fails, or finds no GPT.
    pub fn of(image: &Path) -> Result<Self> {
        let out = Command::new("sfdisk").arg("--json").arg(image).output();
        let out = out.map_err(|e| format!("sfdisk does not start ({e}); package fdisk"))?;
        if !out.status.success() {
            return Err(format!("sfdisk: {}", String::from_utf8_lossy(&out.stderr)).into());
        }
        let told: Value = serde_json::from_slice(&out.stdout)?;
        let table = &told["partitiontable"];
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let partition = |p: &Value| {
            let node = text(&p["node"])?;
            let digits = node.len() - node.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            Some(Partition {
                number: node.get(node.len() - digits..)?.parse().ok()?,
                start: p["start"].as_u64()? * 512,
                len: p["size"].as_u64()? * 512,
                kind: text(&p["type"])?,
                name: text(&p["name"]),
            })
        };
        let all: Option<Vec<Partition>> =
            table["partitions"].as_array().map(|all| all.iter().filter_map(partition).collect());
        match (text(&table["id"]), all) {
            (Some(disk), Some(all)) if !all.is_empty() => Ok(Self { disk, all }),
            _ => Err(format!("sfdisk tells of no partitions: {told}").into()),
        }
    }

    fn first(&self, kind: &str) -> Result<&Partition> {
        self.all.iter().find(|p| p.kind == kind).ok_or_else(|| format!("there is no partition of type {kind}").into())
    }

    /// The EFI system partition.
    ///
    /// # Errors
    /// Where there is none.
    pub fn esp(&self) -> Result<&Partition> {
        self.first(ESP)
    }

    /// The root.
    ///
    /// # Errors
    /// Where there is none.
    pub fn root(&self) -> Result<&Partition> {
        self.first(ROOT)
    }
}

/// Makes of a target's disk ([`target::debian`]) one with sectors of 4096 bytes, in `file`: the same partitions at the same places and the
/// same root, in a table written for such sectors; its ESP is made anew, for FAT counts in them too.
///
/// It starts on UEFI only. A BIOS reads a disk in sectors of 512 bytes (interrupt 0x13), and GRUB's `boot.img` and `biosdisk` count in
/// them (grub-core/disk/i386/pc/biosdisk.c).
///
/// # Errors
/// Where a tool is missing or fails.
pub fn with_large_sectors(base: &Path, folder: &Path, file: &Path) -> Result<()> {
    const SECTOR: u64 = 4096;
    let partitions = Partitions::of(base)?;
    run(Command::new("cp").arg("--sparse=always").arg(base).arg(file))?;
    let len = fs::metadata(file)?.len();
    {
        let disk = File::options().write(true).open(file)?;
        // The table for sectors of 512 bytes, and the boot code.
        disk.write_all_at(&vec![0; usize::try_from(MIB)?], 0)?;
        disk.write_all_at(&vec![0; usize::try_from(MIB)?], len - MIB)?;
    }
    let mut script = format!("label: gpt\nlabel-id: {}\nunit: sectors\n", partitions.disk);
    for p in &partitions.all {
        script.push_str(&format!("start={}, size={}, type={}", p.start / SECTOR, p.len / SECTOR, p.kind));
        script.push_str(&p.name.iter().map(|name| format!(", name=\"{name}\"")).collect::<String>());
        script.push('\n');
    }
    let table = folder.join("large-sectors.table");
    fs::write(&table, script)?;
    // sfdisk takes an image to have sectors of 512 bytes; fdisk is told.
    let mut fdisk = Command::new("fdisk")
        .args(["-b", "4096"])
        .arg(file)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| format!("fdisk does not start ({e}); package fdisk"))?;
    let keys = format!("I\n{}\nw\n", table.display());
    fdisk.stdin.take().ok_or("no pipe to fdisk")?.write_all(keys.as_bytes())?;
    if !fdisk.wait()?.success() {
        return Err("fdisk -b 4096 failed".into());
    }
    esp(base, partitions.esp()?, folder, file)
}

/// FAT16: with clusters of one sector there are too few of them for FAT32.
fn esp(base: &Path, place: &Partition, folder: &Path, file: &Path) -> Result<()> {
    let (volume, loader) = (folder.join("large-sectors.esp"), folder.join("large-sectors.efi"));
    let _ = fs::remove_file(&loader);
    let saved = format!("{}@@{}", base.display(), place.start);
    run(Command::new("mcopy").args(["-i", &saved, "::/EFI/BOOT/BOOTX64.EFI"]).arg(&loader))?;
    File::create(&volume)?.set_len(place.len)?;
    // fstab knows it by its id, which a FAT32 has at byte 67 (Microsoft FAT specification of 2000).
    let mut id = [0; 4];
    File::open(base)?.read_exact_at(&mut id, place.start + 67)?;
    let id = format!("{:08x}", u32::from_le_bytes(id));
    run(Command::new("mkfs.vfat").args(["-S", "4096", "-F", "16", "-s", "1", "-n", "ESP", "-i", &id]).arg(&volume))?;
    run(Command::new("mmd").arg("-i").arg(&volume).args(["::/EFI", "::/EFI/BOOT"]))?;
    run(Command::new("mcopy").arg("-i").arg(&volume).arg(&loader).arg("::/EFI/BOOT/BOOTX64.EFI"))?;
    File::options().write(true).open(file)?.write_all_at(&fs::read(&volume)?, place.start)?;
    fs::remove_file(volume)?;
    fs::remove_file(loader)?;
    Ok(())
}
