//! The partition table of the USB image: GPT by the `gpt` crate, behind a protective MBR of our own.
//!
//! UEFI specification, chapter 5. The protective entry must not be marked active (EDK II then refuses the GPT), while some
//! BIOSes start no disk without an active entry: an empty second entry carries the mark, as in images made by xorriso
//! (`--mbr-force-bootable`).

use crate::digest::Seed;
use crate::error::{BuildError, Result};
use crate::manifest::PartitionRecord;
use gpt::disk::LogicalBlockSize;
use gpt::partition::Partition;
use gpt::partition_types::{OperatingSystem, Type};
use model::inspection::{GPT_BIOS_BOOT, GPT_ESP, GPT_STORE};
use model::units::{ByteLen, Lba, SectorSize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// Sectors of 512 bytes in a mebibyte: partitions start and end on these.
pub const ALIGN: u64 = 2048;
/// Where the BIOS boot area lies, 1 MiB long.
pub const BIOS_BOOT: Lba = Lba(ALIGN);
/// Where the EFI system partition lies.
pub const ESP: Lba = Lba(2 * ALIGN);
/// How long the EFI system partition is: room for two generations of kernel and initramfs.
pub const ESP_LEN: ByteLen = ByteLen(64 << 20);

/// Sizes and ids of the image's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The disk's GUID.
    pub disk_guid: String,
    /// Partitions, in order.
    pub partitions: Vec<PartitionRecord>,
    /// Length of the whole image.
    pub len: ByteLen,
}

impl Layout {
    /// BIOS boot area, ESP and a store partition of this length (rounded up to a mebibyte).
    pub fn new(store: ByteLen, seed: &Seed) -> Self {
        let mut partitions = Vec::new();
        let mut at = BIOS_BOOT.0 * 512;
        for (number, type_id, len) in
            (1..).zip([GPT_BIOS_BOOT, GPT_ESP, GPT_STORE]).zip([1 << 20, ESP_LEN.0, store.0]).map(flat)
        {
            let len = len.next_multiple_of(ALIGN * 512);
            let guid = seed.guid(&format!("partition {number}"));
            partitions.push(PartitionRecord { number, guid, type_id: type_id.to_owned(), start: at, len });
            at += len;
        }
        // The backup table takes the last 33 sectors.
        Self { disk_guid: seed.guid("disk"), partitions, len: ByteLen(at + ALIGN * 512) }
    }

    /// The store partition.
    pub fn store(&self) -> &PartitionRecord {
        &self.partitions[2]
    }
}

fn flat<A, B, C>(((a, b), c): ((A, B), C)) -> (A, B, C) {
    (a, b, c)
}

/// Writes the protective MBR and both copies of the GPT onto a file that has its full length.
///
/// # Errors
/// When the file cannot be written.
pub fn write(file: &mut File, layout: &Layout) -> Result<()> {
    let failed = |e: &dyn std::fmt::Display| BuildError::Input(format!("the partition table cannot be written: {e}"));
    let io = |action| BuildError::io(action, Path::new("the image"));
    file.seek(SeekFrom::Start(0)).map_err(io("write"))?;
    file.write_all(&protective_mbr(layout.len)).map_err(io("write"))?;
    let mut entries = BTreeMap::new();
    for p in &layout.partitions {
        let name = NAMES.iter().find(|(t, _)| *t == p.type_id).map_or("", |(_, n)| n);
        let entry = Partition {
            part_type_guid: Type { guid: guid(&p.type_id)?, os: OperatingSystem::None },
            part_guid: guid(&p.guid)?,
            first_lba: p.start / 512,
            last_lba: (p.start + p.len) / 512 - 1,
            flags: 0,
            name: name.to_owned(),
        };
        entries.insert(p.number, entry);
    }
    let config = gpt::GptConfig::new().writable(true).logical_block_size(LogicalBlockSize::Lb512);
    let disk = guid(&layout.disk_guid)?;
    let mut table = config.create_from_device(&mut *file, Some(disk)).map_err(|e| failed(&e))?;
    table.update_partitions(entries).map_err(|e| failed(&e))?;
    table.write().map_err(|e| failed(&e))?;
    Ok(())
}

const NAMES: [(&str, &str); 3] = [(GPT_BIOS_BOOT, "BIOS boot"), (GPT_ESP, "EFI system"), (GPT_STORE, "Holdfast store")];

/// Any type that reads a GUID from text (the `gpt` crate's is not exported by name).
fn guid<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T> {
    text.parse().map_err(|e| BuildError::Input(format!("{text} is not a GUID: {e}")))
}

fn protective_mbr(len: ByteLen) -> [u8; 512] {
    let mut sector = [0; 512];
    let sectors = u32::try_from(len.0 / u64::from(SectorSize::B512.0) - 1).unwrap_or(u32::MAX);
    // Status, first CHS 0/0/2, type, last CHS (beyond what CHS can say), first LBA, count.
    sector[446..454].copy_from_slice(&[0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff]);
    sector[454..458].copy_from_slice(&1_u32.to_le_bytes());
    sector[458..462].copy_from_slice(&sectors.to_le_bytes());
    sector[462] = 0x80;
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn independent_tools_find_what_was_written() {
        let layout = Layout::new(ByteLen(3 << 20), &Seed::of(&[("a", b"b")]));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(layout.len.0).unwrap();
        write(&mut file, &layout).unwrap();
        let sgdisk = crate::tool::find("sgdisk").expect("this test needs the Debian package gdisk");
        let said = String::from_utf8(crate::tool::run(Command::new(sgdisk).arg("-v").arg(&path)).unwrap()).unwrap();
        assert!(said.contains("No problems found"), "{said}");
        let sfdisk = crate::tool::find("sfdisk").expect("this test needs the Debian package fdisk");
        let said = crate::tool::run(Command::new(sfdisk).arg("--json").arg(&path)).unwrap();
        let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
        let table = &said["partitiontable"];
        assert_eq!(table["id"].as_str().unwrap().to_lowercase(), layout.disk_guid);
        let partitions = table["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 3);
        for (found, p) in partitions.iter().zip(&layout.partitions) {
            assert_eq!(found["start"].as_u64().unwrap() * 512, p.start);
            assert_eq!(found["size"].as_u64().unwrap() * 512, p.len);
            assert_eq!(found["uuid"].as_str().unwrap().to_lowercase(), p.guid);
            assert_eq!(found["type"].as_str().unwrap().to_lowercase(), p.type_id);
        }
        // The protective entry is not the active one.
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!((bytes[446], bytes[450], bytes[462], bytes[466]), (0, 0xee, 0x80, 0));
    }
}
