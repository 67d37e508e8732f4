use super::*;
use model::firmware::Value;
use proptest::prelude::*;

const ESP: &str = "11111111-2222-3333-4444-555555555555";

fn entry(number: u16, partition: Option<&str>, file: &str, mark: u8) -> BootEntry {
    let option = LoadOption {
        active: true,
        label: file.into(),
        partition: partition.map(str::to_owned),
        file: Some(DisplayText::new(&format!("\\EFI\\{file}\\x.efi"))),
        guid_at: None,
    };
    let value = Value(vec![mark, u8::try_from(file.len()).unwrap()]);
    BootEntry { number, attributes: BOOT_ATTRIBUTES, value, option: Ok(option) }
}

fn debian(number: u16) -> BootEntry {
    entry(number, Some(ESP), "debian", 1)
}

fn windows(number: u16) -> BootEntry {
    entry(number, Some(ESP), "Microsoft", 2)
}

fn stick(number: u16) -> BootEntry {
    entry(number, None, "stick", 3)
}

fn settings(order: &[u16], entries: Vec<BootEntry>) -> BootSettings {
    BootSettings { order: order.to_vec(), entries, ..BootSettings::default() }
}

/// An entry whose bytes hold the GUID of its partition where that is told, and bytes of its own behind it.
fn pointing(guid_text: &str, at: u32) -> BootEntry {
    let value = [&[7; 5][..], &guid(guid_text).unwrap(), &[9; 4]].concat();
    let option = entry(0, Some(guid_text), "debian", 0).option.map(|o| LoadOption { guid_at: Some(at), ..o });
    BootEntry { value: Value(value), ..BootEntry { option, ..debian(0) } }
}

#[test]
fn an_entry_points_to_the_partition_that_took_the_place_of_its_own() {
    const NEW: &str = "a1b2c3d4-e5f6-8789-9abc-def012345678";
    assert_eq!(guid(NEW).unwrap()[..8], [0xd4, 0xc3, 0xb2, 0xa1, 0xf6, 0xe5, 0x89, 0x87]);
    for bad in ["", "c12a7328", "c12a7328-f81f-11d2-ba4b-00a0c93ec93", "x12a7328-f81f-11d2-ba4b-00a0c93ec93b"] {
        assert_eq!(guid(bad), None, "{bad}");
    }
    let guids: BTreeMap<String, String> = [(ESP.to_owned(), NEW.to_owned())].into_iter().collect();
    let moved = |entry: BootEntry| repointed(&settings(&[0], vec![entry]), &guids).entries.remove(0);
    let right = moved(pointing(ESP, 5));
    assert_eq!((right.partition(), &right.value), (Some(NEW), &pointing(NEW, 5).value));
    // Where the bytes are others than was told, nothing is changed, and it is nobody's.
    for wrong in [pointing(ESP, 6), pointing(ESP, 24), pointing(ESP, u32::MAX), debian(0), stick(0)] {
        assert_eq!(moved(wrong.clone()), wrong);
    }
    assert_eq!(
        restored(&settings(&[0], vec![right.clone()]), &settings(&[], vec![]), &[NEW.to_owned()].into()).len(),
        2
    );
}

/// The settings after some writes.
fn after(now: &BootSettings, writes: &[VariableWrite], known: &[BootEntry]) -> BootSettings {
    let mut out = now.clone();
    for write in writes {
        assert_eq!(out.value(&write.name), write.before, "{write:?}");
        match model::firmware::number_of(&write.name) {
            None => {
                let bytes = write.after.clone().map_or(Vec::new(), |v| v.0);
                out.order = bytes.as_chunks::<2>().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
            }
            Some(number) => {
                out.entries.retain(|e| e.number != number);
                if let Some(value) = &write.after {
                    let like = known.iter().find(|e| e.value == *value).unwrap();
                    out.entries.push(BootEntry { number, ..like.clone() });
                    out.entries.sort_by_key(|e| e.number);
                }
            }
        }
    }
    out
}

/// Restores, and goes back; gives what was restored.
fn there_and_back(saved: &BootSettings, now: &BootSettings) -> BootSettings {
    let partitions = [ESP.to_owned()].into_iter().collect();
    let writes = restored(saved, now, &partitions);
    let known = [&saved.entries[..], &now.entries[..]].concat();
    let then = after(now, &writes, &known);
    assert_eq!(restored(saved, &then, &partitions), [], "once is enough");
    assert_eq!(again(&writes, &then, false), (vec![], vec![]), "nothing is left to finish");
    let (back, left) = again(&writes, &then, true);
    assert_eq!((after(&then, &back, &known), left), (now.clone(), vec![]));
    // Cut anywhere, both ways lead to where they should.
    for cut in 0..=writes.len() {
        let cut = after(now, &writes[..cut], &known);
        assert_eq!(after(&cut, &again(&writes, &cut, false).0, &known), then);
        assert_eq!(after(&cut, &again(&writes, &cut, true).0, &known), *now);
    }
    then
}

#[test]
fn nothing_is_written_where_nothing_changed() {
    let saved = settings(&[0, 1], vec![debian(0), windows(1)]);
    assert_eq!(there_and_back(&saved, &saved), saved);
    // What was found since, and what the firmware numbered anew, is left alone.
    let now = settings(&[7, 5, 1], vec![windows(1), debian(5), stick(7)]);
    assert_eq!(there_and_back(&settings(&[0, 1], vec![debian(0), windows(1)]), &now), now);
}

#[test]
fn what_is_missing_comes_back_in_its_place() {
    let saved = settings(&[0, 0x2001, 4], vec![debian(0), stick(4), entry(0x2001, None, "usb", 9)]);
    let lost = settings(&[0x2001, 9, 4], vec![stick(4), entry(9, None, "new", 8), entry(0x2001, None, "usb", 9)]);
    let then = there_and_back(&saved, &lost);
    assert_eq!(then.order, [0, 0x2001, 9, 4]);
    assert_eq!(then.entry(0), saved.entry(0));
    // A firmware that lost everything.
    let then = there_and_back(&saved, &BootSettings::default());
    assert_eq!((then.order.as_slice(), then.entries.len()), (&[0][..], 1), "others are not made up");
    // It is there, and not in the order.
    assert_eq!(
        there_and_back(&settings(&[1, 0], vec![debian(0), windows(1)]), &settings(&[1], vec![debian(0), windows(1)]))
            .order,
        [1, 0]
    );
}

#[test]
fn what_was_put_in_front_goes_back() {
    let saved = settings(&[0, 1], vec![debian(0), windows(1)]);
    let now = settings(&[6, 1, 0], vec![debian(0), windows(1), stick(6)]);
    assert_eq!(there_and_back(&saved, &now).order, [6, 0, 1]);
}

#[test]
fn another_systems_number_is_not_taken() {
    let saved = settings(&[0, 1], vec![debian(0), stick(1)]);
    let now = settings(&[0], vec![windows(0)]);
    let then = there_and_back(&saved, &now);
    assert_eq!((then.entry(0), then.order.as_slice()), (now.entry(0), &[1, 0][..]));
    assert_eq!(then.entry(1).map(|e| &e.value), Some(&debian(0).value));
    // A changed entry of the same loader is made as it was.
    let changed = settings(&[0], vec![entry(0, Some(ESP), "DEBIAN", 77)]);
    assert_eq!(there_and_back(&saved, &changed).entries, [debian(0)]);
}

#[test]
fn what_is_of_other_disks_is_left() {
    let other = entry(3, Some("99999999-2222-3333-4444-555555555555"), "debian", 5);
    let saved = settings(&[3, 0], vec![debian(0), other]);
    let now = settings(&[0], vec![debian(0)]);
    assert_eq!(there_and_back(&saved, &now), now);
    // A variable with other attributes is no boot entry of the specification's.
    let odd = BootEntry { attributes: 0x27, ..windows(1) };
    assert_eq!(there_and_back(&settings(&[0, 1], vec![debian(0), odd]), &now), now);
}

#[test]
fn what_was_changed_since_is_told() {
    let writes =
        restored(&settings(&[0], vec![debian(0)]), &settings(&[], vec![]), &[ESP.to_owned()].into_iter().collect());
    let (writes, left) = again(&writes, &settings(&[2, 0], vec![debian(0), stick(2)]), true);
    assert_eq!(writes.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), ["Boot0000"]);
    assert!(left[0].starts_with("BootOrder"), "{left:?}");
}

proptest! {
    /// Whatever was there and is there, with numbers and entries twice: nobody else's entry is touched, none leaves the order, and it can
    /// be gone back from.
    #[test]
    fn others_keep_what_they_have(
        saved in prop::collection::vec((0u16..6, 0u8..5), 0..6),
        now in prop::collection::vec((0u16..6, 0u8..5), 0..6),
        orders in (prop::collection::vec(0u16..7, 0..7), prop::collection::vec(0u16..7, 0..7)),
    ) {
        let of = |list: Vec<(u16, u8)>, order: Vec<u16>| {
            let like = |number, what| match what {
                0 => debian(number),
                1 => windows(number),
                2 => entry(number, Some(ESP), "debian", 40),
                3 => entry(number, Some("99999999-2222-3333-4444-555555555555"), "debian", 50),
                _ => stick(number),
            };
            let entries: BTreeMap<u16, BootEntry> = list.into_iter().map(|(n, what)| (n, like(n, what))).collect();
            settings(&order, entries.into_values().collect())
        };
        let (saved, now) = (of(saved, orders.0), of(now, orders.1));
        let partitions: BTreeSet<String> = [ESP.to_owned()].into_iter().collect();
        let writes = restored(&saved, &now, &partitions);
        let then = after(&now, &writes, &[&saved.entries[..], &now.entries[..]].concat());
        for entry in now.entries.iter().filter(|e| e.partition() != Some(ESP)) {
            prop_assert_eq!(then.entry(entry.number), Some(entry));
        }
        for number in &now.order {
            prop_assert!(then.order.contains(number), "{} left {:?}", number, then.order);
        }
        for entry in saved.of(&partitions) {
            prop_assert!(then.entries.iter().any(|e| e.value == entry.value));
        }
        let (back, left) = again(&writes, &then, true);
        let known = [&saved.entries[..], &now.entries[..]].concat();
        prop_assert_eq!((after(&then, &back, &known), left), (now, vec![]));
    }
}
