//! Boot entries of the firmware.

use crate::Target;
use engine::parser::Parser;
use model::firmware::Value;

pub(super) const TARGET: Target =
    Target { name: "firmware", meets: "boot entries of UEFI firmware: labels, device paths", run, seeds };

fn run(input: &[u8]) {
    let parser = engine::parser::Local::new(Vec::new());
    let Ok(read) = parser.load_options(&[Value(input.to_vec())]) else { return };
    for option in read.into_iter().flatten() {
        let place = option.guid_at.and_then(|at| usize::try_from(at).ok());
        let inside = place.is_none_or(|at| at.checked_add(16).is_some_and(|end| end <= input.len()));
        assert!(inside, "a partition's GUID outside its entry");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let units = |text: &str| text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let node = |kind: u8, sub: u8, bytes: &[u8]| {
        [&[kind, sub][..], &u16::try_from(4 + bytes.len()).unwrap_or(4).to_le_bytes(), bytes].concat()
    };
    let option = |label: &str, path: &[u8]| {
        [&1u32.to_le_bytes()[..], &u16::try_from(path.len()).unwrap_or(0).to_le_bytes(), &units(label), path, b"data"]
            .concat()
    };
    let place = [&1u32.to_le_bytes()[..], &2048u64.to_le_bytes(), &8192u64.to_le_bytes(), &[7; 16], &[2, 2]].concat();
    let end = node(0x7f, 0xff, &[]);
    vec![
        option("debian", &[node(4, 1, &place), node(4, 4, &units("\\EFI\\debian\\shimx64.efi")), end.clone()].concat()),
        option("", &[node(4, 4, &units("\\EFI")), node(4, 4, &units("BOOT")), end.clone()].concat()),
        option("net", &[node(4, 7, &[0; 16]), node(3, 11, &[1; 33]), end].concat()),
    ]
}
