//! What a boot entry of a UEFI firmware means: `EFI_LOAD_OPTION` (UEFI specification 2.10, section 3.1.3) and the device path in it
//! (section 10.3).

use model::firmware::{LoadOption, MOST_VALUE};
use model::text::DisplayText;

/// `LOAD_OPTION_ACTIVE`.
const ACTIVE: u32 = 1;
/// Most nodes of a device path that are looked at.
const MOST_NODES: usize = 64;

/// Nodes: type and sub-type (sections 10.3.1 and 10.3.5).
const END: u8 = 0x7f;
const MEDIA: u8 = 4;
const MEDIA_HARD_DRIVE: u8 = 1;
const MEDIA_FILE_PATH: u8 = 4;
/// Length of a hard drive node (table 10.49).
const HARD_DRIVE_LEN: usize = 42;
/// `SignatureType` of a hard drive node: a GUID.
const SIGNATURE_GUID: u8 = 2;

/// Reads an entry's bytes: its first device path, which is the one that is started. What follows it is the loader's own.
///
/// # Errors
/// A sentence with the numbers, where the bytes are no load option.
pub fn read(bytes: &[u8]) -> Result<LoadOption, String> {
    if bytes.len() > MOST_VALUE {
        return Err(format!("{} bytes are more than a boot entry has", bytes.len()));
    }
    let (head, rest) =
        bytes.split_at_checked(6).ok_or_else(|| format!("{} bytes are less than its head", bytes.len()))?;
    let attributes = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let len = usize::from(u16::from_le_bytes([head[4], head[5]]));
    let units = utf16(rest);
    let end = units.iter().position(|u| *u == 0).ok_or("its name has no end")?;
    let label = DisplayText::new(&String::from_utf16_lossy(&units[..end]));
    let path = rest.get((end + 1) * 2..).and_then(|after| after.get(..len));
    let path = path.ok_or_else(|| format!("its device path of {len} bytes is cut short"))?;
    let Leads { partition, guid_at, file } = device_path(path)?;
    let guid_at = guid_at.and_then(|at| u32::try_from(head.len() + (end + 1) * 2 + at).ok());
    Ok(LoadOption { active: attributes & ACTIVE != 0, label, partition, file, guid_at })
}

/// Where a path leads: the partition, with where in the path its GUID stands, and the file.
struct Leads {
    partition: Option<String>,
    guid_at: Option<usize>,
    file: Option<DisplayText>,
}

/// The first path in a list of them.
fn device_path(all: &[u8]) -> Result<Leads, String> {
    let (mut partition, mut guid_at, mut file, mut bytes) = (None, None, String::new(), all);
    for _ in 0..MOST_NODES {
        let &[kind, sub, low, high, ..] = bytes else {
            return Err("its device path has no end".to_owned());
        };
        let len = usize::from(u16::from_le_bytes([low, high]));
        let node = bytes.get(4..len).ok_or_else(|| format!("a node of its device path has {len} bytes"))?;
        match (kind, sub) {
            (END, _) => {
                let file = (!file.is_empty()).then(|| DisplayText::new(&file));
                return Ok(Leads { partition, guid_at, file });
            }
            (MEDIA, MEDIA_HARD_DRIVE) if len == HARD_DRIVE_LEN && node[37] == SIGNATURE_GUID => {
                partition = node.get(20..36).and_then(|g| g.try_into().ok()).map(guid);
                guid_at = Some(all.len() - bytes.len() + 4 + 20);
            }
            (MEDIA, MEDIA_FILE_PATH) => {
                // Several follow each other as parts of one path.
                let units = utf16(node);
                let name = units.split(|u| *u == 0).next().unwrap_or_default();
                if !file.is_empty() && !file.ends_with('\\') {
                    file.push('\\');
                }
                file.push_str(&String::from_utf16_lossy(name));
            }
            _ => {}
        }
        bytes = &bytes[len..];
    }
    Err(format!("its device path has more than {MOST_NODES} nodes"))
}

fn utf16(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect()
}

/// A GUID as UEFI lays it out (appendix A): the first three fields are little-endian.
fn guid(b: [u8; 16]) -> String {
    let order = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
    let digits = model::hex::encode(&order.map(|i| b[i]));
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn units(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    fn node(kind: u8, sub: u8, bytes: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + bytes.len()).unwrap();
        [&[kind, sub][..], &len.to_le_bytes(), bytes].concat()
    }

    /// As efibootmgr makes it: the partition and the file alone.
    fn option(label: &str, path: &[u8], data: &[u8]) -> Vec<u8> {
        let len = u16::try_from(path.len()).unwrap();
        [&1u32.to_le_bytes()[..], &len.to_le_bytes(), &units(label), path, data].concat()
    }

    fn drive(signature: [u8; 16], kind: u8) -> Vec<u8> {
        let place = [&1u32.to_le_bytes()[..], &2048u64.to_le_bytes(), &131_072u64.to_le_bytes()].concat();
        node(4, 1, &[&place[..], &signature, &[2, kind]].concat())
    }

    const ID: [u8; 16] = [0x33, 0x22, 0x11, 0, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 1, 2, 3, 4, 5, 6];

    #[test]
    fn partition_and_file() {
        let path = [drive(ID, 2), node(4, 4, &units("\\EFI\\debian\\shimx64.efi")), node(0x7f, 0xff, &[])].concat();
        let bytes = option("debian", &path, b"whatever");
        let read = read(&bytes).unwrap();
        let at = usize::try_from(read.guid_at.unwrap()).unwrap();
        assert_eq!(bytes[at..at + 16], ID);
        assert_eq!((read.active, read.label.as_str()), (true, "debian"));
        assert_eq!(read.partition.as_deref(), Some("00112233-4455-6677-8899-010203040506"));
        assert_eq!(read.file.unwrap().as_str(), "\\EFI\\debian\\shimx64.efi");
    }

    #[test]
    fn what_starts_from_elsewhere_has_no_partition() {
        // A disk known by an MBR signature; an application in the firmware; a network card.
        let end = node(0x7f, 0xff, &[]);
        for path in
            [[drive(ID, 1), end.clone()].concat(), [node(4, 7, &[0; 16]), node(4, 6, &[1; 16]), end.clone()].concat()]
        {
            let read = read(&option("x", &path, &[])).unwrap();
            assert_eq!((read.partition, read.file), (None, None));
        }
        let parts = [node(4, 4, &units("\\EFI")), node(4, 4, &units("BOOT")), end].concat();
        assert_eq!(read(&option("", &parts, &[])).unwrap().file.unwrap().as_str(), "\\EFI\\BOOT");
    }

    /// `Boot0000` of EDK II's firmware for QEMU (OVMF 2022.11 of Debian 12), as Linux 6.1 read it there.
    #[test]
    fn a_firmwares_own_entry_is_read() {
        const ENTRY: [u8; 62] = *b"\x09\x01\0\0\x2c\0U\0i\0A\0p\0p\0\0\0\x04\x07\x14\0\xc9\xbd\xb8\x7c\xeb\xf8\x34\x4f\xaa\xea\x3e\xe4\
            \xaf\x65\x16\xa1\x04\x06\x14\0\x21\xaa\x2c\x46\x14\x76\x03\x45\x83\x6e\x8a\xb6\xf4\x66\x23\x31\x7f\xff\x04\0";
        let read = read(&ENTRY).unwrap();
        assert_eq!((read.active, read.label.as_str(), read.partition, read.file), (true, "UiApp", None, None));
    }

    #[test]
    fn what_is_cut_short_is_told() {
        let path = [drive(ID, 2), node(0x7f, 0xff, &[])].concat();
        let whole = option("debian", &path, &[]);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len} bytes");
        }
        let mut endless = option("x", &[4, 9, 0, 0], &[]);
        assert!(read(&endless).is_err(), "a node without length");
        endless = option("x", &node(4, 9, &[]).repeat(100), &[]);
        assert!(read(&endless).unwrap_err().contains("more than"));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_stumble(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0usize..200, at in 0usize..120, to in any::<u8>()) {
            let _ = read(&bytes);
            let path = [drive(ID, 2), node(4, 4, &units("\\a")), node(0x7f, 0xff, &[])].concat();
            let mut whole = option("debian", &path, &bytes);
            if let Some(b) = whole.get_mut(at) {
                *b = to;
            }
            let _ = read(&whole);
            let _ = read(&whole[..cut.min(whole.len())]);
        }
    }
}
