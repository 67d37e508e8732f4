//! The variables of the firmware (OVMF): an entry that starts the system's own boot loader.
//!
//! What a machine's firmware remembered is not in a snapshot. Without it UEFI starts `EFI/BOOT/BOOTX64.EFI` alone, which many systems do not
//! have; and where it is shim beside its fallback program, it makes an entry and starts the machine again.
//!
//! Sources: UEFI specification 2.10, sections 3.1.3 (load options), 10.3.5 (media device paths); the store of variables is laid
//! out as EDK II has it, MdeModulePkg/Include/Guid/VariableFormat.h and MdePkg/Include/Pi/PiFirmwareVolume.h. Numbers are
//! little-endian.

use model::assessment::Report;
use model::evidence::{BootPart, Fact};
use model::inspection::{Disk, GPT_ESP};

/// `EFI_FIRMWARE_VOLUME_HEADER`: where its signature and its length stand.
const SIGNATURE: (usize, &[u8]) = (0x28, b"_FVH");
const HEADER_LEN: usize = 0x30;
/// `gEfiAuthenticatedVariableGuid`, with which a `VARIABLE_STORE_HEADER` begins; behind it its size, and 8 bytes of state.
const STORE: [u8; 16] =
    [0x78, 0x2c, 0xf3, 0xaa, 0x7b, 0x94, 0x9a, 0x43, 0xa1, 0x80, 0x2e, 0x14, 0x4e, 0xc3, 0x77, 0x92];
const STORE_HEADER: usize = 28;
/// `AUTHENTICATED_VARIABLE_HEADER`: what it begins with, how long it is, and where the sizes of name and data stand in it.
const START: [u8; 2] = [0xaa, 0x55];
const HEADER: usize = 60;
const NAME_SIZE: usize = 36;
const DATA_SIZE: usize = 40;
/// `VAR_ADDED`.
const ADDED: u8 = 0x3f;
/// `NON_VOLATILE`, `BOOTSERVICE_ACCESS`, `RUNTIME_ACCESS`.
const ATTRIBUTES: u32 = 7;
/// `gEfiGlobalVariableGuid`.
const GLOBAL: [u8; 16] =
    [0x61, 0xdf, 0xe4, 0x8b, 0xca, 0x93, 0xd2, 0x11, 0xaa, 0x0d, 0x00, 0xe0, 0x98, 0x03, 0x2b, 0x8c];

/// A boot loader on an EFI system partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loader {
    /// Number of the partition in its table.
    number: u32,
    /// Its first sector, and how many it has.
    start: u64,
    sectors: u64,
    /// Its unique GUID, as a GPT has it.
    guid: [u8; 16],
    /// The file, as UEFI names it.
    file: String,
}

/// The boot loader that the first disk's system installed, where it is at a place of its own.
pub(super) fn loader(report: &Report) -> Option<Loader> {
    let disk = report.inspection.disks.first()?;
    let system = report.systems.first()?;
    let vendor = system.system.os.0.as_str().to_ascii_lowercase();
    let found = system.evidence.iter().filter_map(|e| {
        let Fact::BootPart { part: BootPart::Loader, broken: None } = &e.fact else { return None };
        let path = std::str::from_utf8(&e.origin.path.as_ref()?.0).ok()?;
        let file = path.strip_prefix("/boot/efi")?.to_owned();
        let rank = rank(&file.to_ascii_lowercase(), &vendor)?;
        Some((rank, file, &e.origin.volume))
    });
    let (_, file, volume) = found.min()?;
    let sector = u64::from(disk.hardware.sector.0);
    let partition = partitions(disk).find(|p| volume.disk() == disk.no && volume.number() == Some(p.number))?;
    Some(Loader {
        number: partition.number,
        start: partition.extent.start().0 / sector,
        sectors: partition.extent.len().0 / sector,
        guid: guid(partition.guid.as_deref()?)?,
        file: file.replace('/', "\\"),
    })
}

fn partitions(disk: &Disk) -> impl Iterator<Item = &model::inspection::Partition> {
    disk.table.iter().flat_map(|t| &t.partitions).filter(|p| p.type_id == GPT_ESP)
}

/// How well a file is the loader that a system's firmware starts: one in the system's own directory first, and shim before what it
/// starts. None for what is no loader, or is found without an entry.
fn rank(file: &str, vendor: &str) -> Option<(bool, usize)> {
    let (dir, name) = file.strip_prefix("/efi/")?.split_once('/')?;
    let known = ["shimx64.efi", "grubx64.efi", "systemd-bootx64.efi"];
    let at = known.iter().position(|k| *k == name).filter(|_| dir != "boot")?;
    Some((dir != vendor, at))
}

/// The bytes of a GUID that is written out: the first three fields are numbers.
fn guid(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.split('-').collect();
    let byte = |i: usize| u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok();
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(order) {
        *to = byte(from)?;
    }
    (digits.len() == 32).then_some(out)
}

/// Adds an entry that starts a loader, as the first one. False where the variables are not laid out as they must be, or have no room:
/// then nothing is changed.
pub(super) fn add(variables: &mut [u8], loader: &Loader) -> bool {
    let entry = [variable("Boot0000", &option(loader)), variable("BootOrder", &[0, 0])].concat();
    match free(variables).and_then(|at| variables.get_mut(at..at + entry.len())) {
        Some(place) if place.iter().all(|b| *b == 0xff) => {
            place.copy_from_slice(&entry);
            true
        }
        _ => false,
    }
}

/// Where the first variable can be added.
fn free(variables: &[u8]) -> Option<usize> {
    let number = |at: usize, len: usize| -> Option<usize> {
        let bytes = variables.get(at..at.checked_add(len)?)?;
        Some(bytes.iter().rev().fold(0, |n, b| n << 8 | usize::from(*b)))
    };
    if variables.get(SIGNATURE.0..SIGNATURE.0 + SIGNATURE.1.len())? != SIGNATURE.1 {
        return None;
    }
    let store = number(HEADER_LEN, 2)?;
    if variables.get(store..store + STORE.len())? != STORE {
        return None;
    }
    let end = store.checked_add(number(store + STORE.len(), 4)?)?;
    let mut at = store + STORE_HEADER;
    while at < end && variables.get(at..at + 2)? == START {
        let len = HEADER.checked_add(number(at + NAME_SIZE, 4)?)?.checked_add(number(at + DATA_SIZE, 4)?)?;
        at = at.checked_add(len)?.next_multiple_of(4);
    }
    (at < end).then_some(at)
}

/// A variable of the specification, and what fills it up to the next one.
fn variable(name: &str, data: &[u8]) -> Vec<u8> {
    let name = utf16(name);
    let mut out = Vec::from(START);
    out.extend([ADDED, 0]);
    out.extend(ATTRIBUTES.to_le_bytes());
    // No count, time and key: it is not authenticated.
    out.extend([0; NAME_SIZE - 8]);
    for len in [name.len(), data.len()] {
        out.extend(u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes());
    }
    out.extend(GLOBAL);
    out.extend(name);
    out.extend(data);
    out.resize(out.len().next_multiple_of(4), 0xff);
    out
}

/// `EFI_LOAD_OPTION`: active, a description, and the path of the loader.
fn option(loader: &Loader) -> Vec<u8> {
    // The partition (type 4, subtype 1), by its GUID (2) in a GPT (2).
    let mut path = vec![4, 1, 42, 0];
    path.extend(loader.number.to_le_bytes());
    path.extend(loader.start.to_le_bytes());
    path.extend(loader.sectors.to_le_bytes());
    path.extend(loader.guid);
    path.extend([2, 2]);
    // The file on it (type 4, subtype 4), and the end of the path.
    let file = utf16(&loader.file);
    path.extend([4, 4]);
    path.extend(u16::try_from(4 + file.len()).unwrap_or(u16::MAX).to_le_bytes());
    path.extend(file);
    path.extend([0x7f, 0xff, 4, 0]);
    let mut out = Vec::from(1u32.to_le_bytes());
    out.extend(u16::try_from(path.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend(utf16("system"));
    out.extend(path);
    out
}

/// UTF-16, with a zero behind it.
fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loader() -> Loader {
        let guid = guid("c12a7328-f81f-11d2-ba4b-00a0c93ec93b").unwrap();
        Loader { number: 1, start: 2048, sectors: 1_048_576, guid, file: "\\EFI\\debian\\shimx64.efi".into() }
    }

    /// An empty store of variables of this size.
    fn empty(size: u32) -> Vec<u8> {
        let mut out = vec![0; 0x48];
        out[0x28..0x2c].copy_from_slice(b"_FVH");
        out[0x30] = 0x48;
        out.extend(STORE);
        out.extend(size.to_le_bytes());
        out.extend([0x5a, 0xfe, 0, 0, 0, 0, 0, 0]);
        out.resize(0x48 + usize::try_from(size).unwrap(), 0xff);
        out.resize(0x2000, 0);
        out
    }

    #[test]
    fn an_entry_goes_behind_what_is_there() {
        let mut variables = empty(0x1000);
        assert_eq!(free(&variables), Some(0x64));
        assert!(add(&mut variables, &loader()));
        let first = &variables[0x64..];
        assert_eq!((&first[..4], &first[4..8]), (&[0xaa, 0x55, 0x3f, 0][..], &[7, 0, 0, 0][..]));
        assert_eq!(first[60..78], *utf16("Boot0000"));
        // Attributes, length of the path (42 + 4 + 48 + 4), description, partition.
        assert_eq!(first[78..84], [1, 0, 0, 0, 98, 0]);
        assert_eq!(first[98..102], [4, 1, 42, 0]);
        assert_eq!(first[122..130], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
        let second = free(&variables).unwrap();
        assert!(second.is_multiple_of(4) && variables[second..0x1048].iter().all(|b| *b == 0xff));
        assert!(add(&mut variables, &loader()), "again, behind it");
        assert!(free(&variables).unwrap() > second);
    }

    #[test]
    fn what_is_laid_out_otherwise_stays() {
        let mut other = empty(0x1000);
        other[0x48] ^= 1;
        let mut unsigned = empty(0x1000);
        unsigned[0x28] = 0;
        let mut endless = empty(0x1000);
        endless[0x64..0x66].copy_from_slice(&START);
        for mut bytes in [Vec::new(), vec![0; 100], vec![0xff; 5000], other, unsigned, endless, empty(0x100)] {
            let before = bytes.clone();
            assert!(!add(&mut bytes, &loader()));
            assert_eq!(bytes, before);
        }
    }

    #[test]
    fn the_own_loader_is_started_and_shim_before_grub() {
        let best = |files: &[&str]| {
            files.iter().filter_map(|f| Some((rank(f, "debian")?, *f))).min().map(|(_, f)| f.to_owned())
        };
        let all = [
            "/efi/boot/bootx64.efi",
            "/efi/boot/fbx64.efi",
            "/efi/debian/fbx64.efi",
            "/efi/debian/grubx64.efi",
            "/efi/debian/mmx64.efi",
            "/efi/debian/shimx64.efi",
            "/efi/ubuntu/shimx64.efi",
        ];
        assert_eq!(best(&all).unwrap(), "/efi/debian/shimx64.efi");
        assert_eq!(best(&all[..5]).unwrap(), "/efi/debian/grubx64.efi");
        assert_eq!(best(&[&all[..3], &all[6..]].concat()).unwrap(), "/efi/ubuntu/shimx64.efi");
        assert_eq!(best(&all[..3]), None);
    }

    #[test]
    fn only_a_guid_is_one() {
        for bad in ["", "c12a7328", "c12a7328-f81f-11d2-ba4b-00a0c93ec93", "x12a7328-f81f-11d2-ba4b-00a0c93ec93b"] {
            assert_eq!(guid(bad), None, "{bad}");
        }
    }
}
