//! The variables of the firmware (OVMF): what the machine's own firmware would start.
//!
//! Where the snapshot holds boot entries that start from its disks, those, in their order. Else an entry is made that starts the boot
//! loader which the system installed: without one UEFI starts `EFI/BOOT/BOOTX64.EFI` alone, which many systems do not have; and where it is
//! shim beside its fallback program, it makes an entry and starts the machine again.
//!
//! Sources: UEFI specification 2.10, sections 3.1.3 (load options), 10.3.5 (media device paths); the store of variables is laid
//! out as EDK II has it, MdeModulePkg/Include/Guid/VariableFormat.h and MdePkg/Include/Pi/PiFirmwareVolume.h. Numbers are
//! little-endian.

use crate::plan::firmware::guid;
use model::assessment::Report;
use model::evidence::{BootPart, Fact};
use model::firmware::{BootEntry, BootSettings, name_of};
use model::inspection::{Disk, GPT_ESP, Partition};

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
/// An entry's bytes up to the path: attributes, the length of the path; then its name. And where a partition's GUID stands in a path that
/// begins with that partition.
const OPTION_HEAD: usize = 6;
const GUID_IN_DRIVE: usize = 24;
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

/// A boot entry to be written: its number, and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    number: u16,
    value: Vec<u8>,
    /// For people.
    pub(super) says: String,
}

/// What the machine's firmware is given to start, the first of it first.
pub(super) fn entries(saved: Option<&BootSettings>, report: &Report) -> Vec<Entry> {
    let own = saved.map_or_else(Vec::new, |saved| of(saved, report));
    if !own.is_empty() {
        return own;
    }
    let made = loader(report).map(|l| Entry { number: 0, value: option(&l, "system"), says: l.file.clone() });
    made.into_iter().collect()
}

/// The entries of a snapshot that start from its disks: first those that the firmware tries, in its order, then the others.
pub(super) fn of(saved: &BootSettings, report: &Report) -> Vec<Entry> {
    let place = |number: u16| saved.order.iter().position(|n| *n == number).unwrap_or(usize::MAX);
    let mut own: Vec<&BootEntry> = saved.entries.iter().collect();
    own.sort_by_key(|e| (place(e.number), e.number));
    own.into_iter().filter_map(|entry| on_disk(entry, report)).collect()
}

/// A saved entry, where it starts from one of these disks. One whose path leads there over the machine's own controllers leads nowhere in
/// another machine: it is made to begin with the partition, as those that systems make do.
fn on_disk(entry: &BootEntry, report: &Report) -> Option<Entry> {
    // One that is not active is not tried.
    let told = entry.option.as_ref().ok().filter(|told| told.active)?;
    let wanted = told.partition.as_deref()?;
    let disks = report.inspection.disks.iter();
    let (disk, partition) = disks
        .flat_map(|d| d.table.iter().flat_map(move |t| t.partitions.iter().map(move |p| (d, p))))
        .find(|(_, p)| p.guid.as_deref() == Some(wanted))?;
    let drive = OPTION_HEAD + utf16(told.label.as_str()).len() + GUID_IN_DRIVE;
    let value = match told.guid_at.and_then(|at| usize::try_from(at).ok()) == Some(drive) {
        true => entry.value.0.clone(),
        false => option(&at(disk, partition, told.file.as_ref()?.as_str())?, told.label.as_str()),
    };
    Some(Entry { number: entry.number, value, says: entry.says().to_string() })
}

fn at(disk: &Disk, partition: &Partition, file: &str) -> Option<Loader> {
    let sector = u64::from(disk.hardware.sector.0.max(1));
    Some(Loader {
        number: partition.number,
        start: partition.extent.start().0 / sector,
        sectors: partition.extent.len().0 / sector,
        guid: guid(partition.guid.as_deref()?)?,
        file: file.replace('/', "\\"),
    })
}

/// The boot loader that the first disk's system installed, where it is at a place of its own.
fn loader(report: &Report) -> Option<Loader> {
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
    let partition = partitions(disk).find(|p| volume.disk() == disk.no && volume.number() == Some(p.number))?;
    at(disk, partition, &file)
}

fn partitions(disk: &Disk) -> impl Iterator<Item = &Partition> {
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

/// Adds entries, to be tried in their order. False where there is none, where the variables are not laid out as they must be, or have no
/// room: then nothing is changed.
pub(super) fn add(variables: &mut [u8], entries: &[Entry]) -> bool {
    if entries.is_empty() {
        return false;
    }
    let order: Vec<u8> = entries.iter().flat_map(|e| e.number.to_le_bytes()).collect();
    let mut entry: Vec<u8> = entries.iter().flat_map(|e| variable(&name_of(e.number), &e.value)).collect();
    entry.extend(variable("BootOrder", &order));
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
fn option(loader: &Loader, label: &str) -> Vec<u8> {
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
    out.extend(utf16(label));
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
    use model::firmware::Value;
    use model::id::{Digest, DiskNo};
    use model::inspection::{Inspection, Table, TableKind};
    use model::units::{ByteLen, Extent};

    fn loader() -> Loader {
        let guid = guid("c12a7328-f81f-11d2-ba4b-00a0c93ec93b").unwrap();
        Loader { number: 1, start: 2048, sectors: 1_048_576, guid, file: "\\EFI\\debian\\shimx64.efi".into() }
    }

    fn made() -> [Entry; 1] {
        [Entry { number: 0, value: option(&loader(), "system"), says: String::new() }]
    }

    const ESP: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

    /// A disk with one partition, that of the entries.
    fn report() -> Report {
        let hardware = model::inspection::Hardware {
            transport: "".into(),
            ..model::inspection::Hardware::image("", ByteLen(1 << 30))
        };
        let extent = Extent::between(2048 * 512, (2048 + 1_048_576) * 512).unwrap();
        let guid = Some(ESP.to_owned());
        let partition = Partition { number: 1, extent, type_id: GPT_ESP.into(), guid, name: None, bootable: false };
        let (kind, id) = (TableKind::Gpt, String::new());
        let table = Table { kind, id, partitions: vec![partition], raw: Vec::new(), from_backup: false };
        let disk = Disk { no: DiskNo(0), hardware, head: Digest([0; 32]), table: Some(table), volumes: Vec::new() };
        let inspection = Inspection { disks: vec![disk], ..Inspection::default() };
        Report { inspection, systems: Vec::new(), boot: Vec::new() }
    }

    fn saved(number: u16, value: Vec<u8>) -> BootEntry {
        let option = disk::load_option::read(&value).map_err(|why| why.as_str().into());
        BootEntry { number, attributes: ATTRIBUTES, value: Value(value), option }
    }

    #[test]
    fn what_the_machines_own_firmware_started_comes_first() {
        let debian = option(&loader(), "debian");
        let elsewhere = option(&Loader { guid: [7; 16], ..loader() }, "other");
        // As a firmware makes them itself: over its controllers, with data of its own behind the path.
        let mut long = option(&loader(), "long");
        let path = OPTION_HEAD + utf16("long").len();
        long.splice(path..path, [2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0]);
        long[4] += 12;
        long.extend(b"data");
        let entries = vec![saved(1, long), saved(3, debian.clone()), saved(5, elsewhere), saved(8, debian.clone())];
        let settings = BootSettings { order: vec![5, 3, 9, 1], entries, ..BootSettings::default() };
        let given = entries_of(Some(&settings));
        let told: Vec<(u16, &[u8])> = given.iter().map(|e| (e.number, &e.value[..])).collect();
        let short = option(&loader(), "long");
        assert_eq!(told, [(3, &debian[..]), (1, &short), (8, &debian)]);
        assert!(given[0].says.contains("debian"));
        let mut variables = empty(0x1000);
        assert!(add(&mut variables, &given));
        let order = variable("BootOrder", &[3, 0, 1, 0, 8, 0]);
        assert!(variables.windows(order.len()).any(|w| w == order));
        // None that starts from here, and none at all.
        let none = BootSettings { entries: vec![settings.entries[2].clone()], ..settings.clone() };
        assert_eq!((entries_of(Some(&none)), entries_of(None)), (vec![], vec![]));
    }

    fn entries_of(saved: Option<&BootSettings>) -> Vec<Entry> {
        entries(saved, &report())
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
        assert!(add(&mut variables, &made()));
        let first = &variables[0x64..];
        assert_eq!((&first[..4], &first[4..8]), (&[0xaa, 0x55, 0x3f, 0][..], &[7, 0, 0, 0][..]));
        assert_eq!(first[60..78], *utf16("Boot0000"));
        // Attributes, length of the path (42 + 4 + 48 + 4), description, partition.
        assert_eq!(first[78..84], [1, 0, 0, 0, 98, 0]);
        assert_eq!(first[98..102], [4, 1, 42, 0]);
        assert_eq!(first[122..130], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
        let second = free(&variables).unwrap();
        assert!(second.is_multiple_of(4) && variables[second..0x1048].iter().all(|b| *b == 0xff));
        assert!(add(&mut variables, &made()), "again, behind it");
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
            assert!(!add(&mut bytes, &made()));
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
}
