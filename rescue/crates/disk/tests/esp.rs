//! EFI system partitions that several systems start from, made by mkfs.vfat and mtools in two states: whose what is, and the two made one.
//! fsck.vfat and mtools are the oracles.
#![allow(clippy::unwrap_used, reason = "tests")]

mod host;

use disk::boot::tenants;
use disk::fs::fat::Fat;
use disk::fs::{FileSystem, FsError};
use host::{Seeded, blank, run};
use model::coverage::CaptureMethod;
use model::esp::{EspPart, EspReading, Graft, Tenancy, Tenant};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

const MIB: u64 = 1 << 20;
const ROOT: &str = "11111111-aaaa-4aaa-8aaa-0000000000aa";
const OTHER: &str = "22222222-bbbb-4bbb-8bbb-0000000000bb";
const MACHINE: &str = "0123456789abcdef0123456789abcdef";

type Files = Vec<(String, Vec<u8>)>;

fn body(n: usize, seed: u64) -> Vec<u8> {
    let mut rng = Seeded(seed);
    (0..n.div_ceil(8)).flat_map(|_| rng.next().to_le_bytes()).take(n).collect()
}

fn file(path: &str, content: impl AsRef<[u8]>) -> (String, Vec<u8>) {
    (path.to_owned(), content.as_ref().to_vec())
}

fn stub(uuid: &str) -> String {
    format!("search.fs_uuid {uuid} root \nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n")
}

/// A FAT with these files on it.
fn made(dir: &Path, size: u64, args: &[&str], files: &Files) -> Vec<u8> {
    let path = blank(dir, "esp.img", size);
    let text = path.to_str().unwrap();
    run("dosfstools", "mkfs.vfat", &[args, &["-n", "SYSTEM", "-i", "12ab34cd", text]].concat(), "");
    let tree = dir.join("tree");
    let _ = std::fs::remove_dir_all(&tree);
    for (name, content) in files {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let tops: Vec<PathBuf> = std::fs::read_dir(&tree).unwrap().map(|e| e.unwrap().path()).collect();
    for top in tops {
        run("mtools", "mcopy", &["-i", text, "-s", "-m", top.to_str().unwrap(), "::"], "");
    }
    std::fs::read(path).unwrap()
}

fn on(bytes: &[u8], dir: &Path, command: &str, args: &[&str]) -> String {
    let path = dir.join("on.img");
    std::fs::write(&path, bytes).unwrap();
    let text = path.to_str().unwrap();
    match command {
        "fsck.vfat" => run("dosfstools", command, &[args, &[text]].concat(), ""),
        _ => run("mtools", command, &[&["-i", text], args].concat(), ""),
    }
}

fn load(bytes: &[u8]) -> Result<Fat, FsError> {
    Fat::load(Arc::new(bytes.to_vec()))
}

fn grafted(then: &[u8], now: &[u8], graft: &Graft) -> Vec<u8> {
    let mut out = then.to_vec();
    let place = |at: u64, len: u64| usize::try_from(at).unwrap()..usize::try_from(at + len).unwrap();
    for copy in &graft.copies {
        out[place(copy.to.0, copy.len.0)].copy_from_slice(&now[place(copy.from.0, copy.len.0)]);
    }
    for (at, bytes) in &graft.patches {
        out[place(at.0, bytes.len() as u64)].copy_from_slice(bytes);
    }
    out
}

/// All files, as mtools has them.
fn tree(bytes: &[u8]) -> Files {
    let dir = tempfile::tempdir().unwrap();
    let to = dir.path().join("tree");
    std::fs::create_dir(&to).unwrap();
    on(bytes, dir.path(), "mcopy", &["-s", "-m", "::/", to.to_str().unwrap()]);
    let mut out = Vec::new();
    let mut left = vec![to.clone()];
    while let Some(at) = left.pop() {
        for entry in std::fs::read_dir(at).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => left.push(entry.path()),
                false => {
                    let name = entry.path().strip_prefix(&to).unwrap().to_str().unwrap().to_owned();
                    out.push((name, std::fs::read(entry.path()).unwrap()));
                }
            }
        }
    }
    out.sort();
    out
}

fn below(files: &Files, directories: &[&str]) -> Files {
    files.iter().filter(|(name, _)| directories.iter().any(|d| name.starts_with(d))).cloned().collect()
}

fn tenant(name: &str, os: &str, uuid: &str) -> Tenant {
    let uuids = if uuid.is_empty() { Vec::new() } else { vec![uuid.to_owned()] };
    Tenant { name: name.into(), os: os.into(), machine_id: None, uuids, boot: false }
}

fn beside_windows() -> Tenancy {
    Tenancy { going: vec![tenant("Debian", "debian", ROOT)], staying: vec![tenant("Windows", "windows", "")] }
}

fn read(then: &[u8], now: &[u8], tenancy: &Tenancy) -> EspReading {
    tenants::read(&load(then).unwrap(), &load(now).unwrap(), tenancy).unwrap()
}

/// A Debian and a Windows, in one of two states.
fn both(state: u64) -> Files {
    let mut files = vec![
        file("EFI/debian/shimx64.efi", body(90_000, 1)),
        file("EFI/debian/grubx64.efi", body(120_000, 10 + state)),
        file("EFI/debian/grub.cfg", stub(ROOT)),
        file("EFI/BOOT/BOOTX64.EFI", body(90_000, 1)),
        file("EFI/Microsoft/Boot/bootmgfw.efi", body(100_000, 2)),
        file("EFI/Microsoft/Boot/BCD", body(24_576, 20 + state)),
        file("EFI/Microsoft/Boot/Fonts/a font with a long name.ttf", body(30_000, 3)),
        file("EFI/Microsoft/Boot/empty.log", ""),
    ];
    files.extend((0..12).map(|i| {
        // Some of them grow.
        let len = 700 * (i + 1) + usize::try_from(state).unwrap() * 3000 * (i % 3);
        file(&format!("EFI/Microsoft/Boot/lang-{i:02}/bootmgr.exe.mui"), body(len, 100 + i as u64))
    }));
    if state == 1 {
        files.push(file("EFI/Microsoft/Recovery/BCD.LOG", body(5000, 4)));
        files.push(file("EFI/memtest86+/memtest.efi", body(40_000, 5)));
        files.push(file("EFI/debian/new.efi", body(20_000, 6)));
    } else {
        files.push(file("EFI/Microsoft/Boot/gone.efi", body(15_000, 7)));
    }
    files
}

/// Size of the volume, arguments of mkfs.vfat.
const SHAPES: [(u64, &[&str]); 4] = [
    (4 * MIB, &["-F", "12"]),
    (12 * MIB, &["-F", "16", "-s", "1"]),
    (36 * MIB, &["-F", "32", "-s", "1"]),
    (4 * MIB, &["-F", "12", "-s", "8"]),
];

#[test]
fn what_others_have_is_put_into_the_saved_state() {
    let dir = tempfile::tempdir().unwrap();
    let image = |at: usize, state| made(dir.path(), SHAPES[at].0, SHAPES[at].1, &both(state));
    // Of each kind; and where it was made anew since, in another shape.
    for (then, now) in [(0, 0), (1, 1), (2, 2), (3, 2), (2, 3)] {
        let (then_bytes, now_bytes) = (image(then, 0), image(now, 1));
        let reading = read(&then_bytes, &now_bytes, &beside_windows());
        let told: Vec<(String, &str, bool)> =
            reading.stays.iter().map(|p| (p.shown().to_string(), p.whose.as_str(), p.differs)).collect();
        let whose = "of no system that was found";
        assert_eq!(told, [("EFI/memtest86+".to_owned(), whose, true), ("EFI/Microsoft".to_owned(), "Windows", true)]);
        let is = grafted(&then_bytes, &now_bytes, &reading.graft.unwrap());
        on(&is, dir.path(), "fsck.vfat", &["-n"]);
        let (was, other, now_tree) = (tree(&then_bytes), tree(&is), tree(&now_bytes));
        let (system, others) = (["EFI/debian/", "EFI/BOOT/"], ["EFI/Microsoft/", "EFI/memtest86+/"]);
        assert!(below(&other, &system) == below(&was, &system), "{then}, {now}: the system's");
        assert!(below(&other, &others) == below(&now_tree, &others), "{then}, {now}: the others'");
        assert_eq!(other.len(), below(&other, &system).len() + below(&other, &others).len());
        // Names, their case, and times, as mtools lists them.
        let listed = |bytes: &[u8]| on(bytes, dir.path(), "mdir", &["-/", "-a", "::/EFI/Microsoft"]);
        let lines = |text: String| -> Vec<String> {
            text.lines().filter(|l| !l.contains("bytes free") && !l.contains("Volume")).map(str::to_owned).collect()
        };
        assert_eq!(lines(listed(&is)), lines(listed(&now_bytes)), "{then}, {now}");
        // And once more there is nothing to do.
        let again = read(&is, &now_bytes, &beside_windows());
        assert!(again.stays.iter().all(|p| !p.differs), "{:?}", again.stays);
        assert_eq!(again.graft, Ok(Graft::default()));
    }
}

#[test]
fn what_is_not_in_the_way_stays_where_it_lies() {
    let dir = tempfile::tempdir().unwrap();
    let (then, now) =
        (made(dir.path(), 36 * MIB, SHAPES[2].1, &both(0)), made(dir.path(), 36 * MIB, SHAPES[2].1, &both(1)));
    let graft = read(&then, &now, &beside_windows()).graft.unwrap();
    let len = |which: &dyn Fn(bool) -> bool| -> u64 {
        graft.copies.iter().filter(|c| which(c.from == c.to)).map(|c| c.len.0).sum()
    };
    assert!(len(&|same| same) > len(&|same| !same), "{:?}", graft.copies);
    assert_eq!(graft.patches.iter().map(|(_, bytes)| bytes.len()).filter(|len| *len == 8).count(), 1, "what is free");
}

#[test]
fn a_full_partition_says_that_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut then = both(0);
    then.push(file("EFI/debian/large.efi", body(3_000_000, 8)));
    let mut now = both(1);
    now.push(file("EFI/Microsoft/large.wim", body(2_500_000, 9)));
    let image = |files| made(dir.path(), 4 * MIB, &["-F", "12"], files);
    let why = read(&image(&then), &image(&now), &beside_windows()).graft.unwrap_err();
    assert!(why.as_str().contains("not enough room"), "{why}");
}

/// What stays, by its path.
fn staying(then: &Files, now: &Files, tenancy: &Tenancy) -> Vec<(String, String)> {
    let dir = tempfile::tempdir().unwrap();
    let image = |files| made(dir.path(), 4 * MIB, &["-F", "12"], files);
    let (then, now) = (image(then), image(now));
    let reading = read(&then, &now, tenancy);
    let is = grafted(&then, &now, reading.graft.as_ref().unwrap());
    on(&is, dir.path(), "fsck.vfat", &["-n"]);
    let again = read(&is, &now, tenancy).stays;
    assert!(again.iter().all(|p| !p.differs), "{again:?}");
    let told = |p: &EspPart| {
        let how = if p.returns {
            " comes back"
        } else if p.differs {
            ""
        } else {
            " as it was"
        };
        (p.shown().to_string(), format!("{}{how}", p.whose))
    };
    let mut all: Vec<_> = reading.stays.iter().map(told).collect();
    all.sort();
    all
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[test]
fn two_systems_of_one_name_are_told_by_what_their_loaders_lead_to() {
    let tenancy = Tenancy {
        going: vec![Tenant { machine_id: Some(MACHINE.into()), ..tenant("First", "debian", ROOT) }],
        staying: vec![tenant("Second", "debian", OTHER)],
    };
    let entry = |uuid: &str, version: u64, token: &str| {
        let kernel = format!("/{token}/{version}/linux");
        format!("title Debian\nlinux {kernel}\ninitrd /{token}/{version}/initrd\noptions root=UUID={uuid} ro quiet\n")
    };
    let files = |state: u64| -> Files {
        vec![
            file("EFI/debian/grubx64.efi", body(5000, state)),
            file("EFI/debian/grub.cfg", stub(OTHER) + &"#".repeat(usize::try_from(state).unwrap())),
            file("EFI/first/grubx64.efi", [&body(3000, 9)[..], stub(ROOT).as_bytes(), &body(100, state)].concat()),
            file("EFI/BOOT/BOOTX64.EFI", body(5000, state)),
            file("EFI/systemd/systemd-bootx64.efi", body(4000, 40 + state)),
            file(&format!("loader/entries/{MACHINE}-6.1.conf"), entry("", 6 + state, MACHINE)),
            file("loader/entries/second-6.1.conf", entry(OTHER, 6 + state, "second")),
            file("loader/loader.conf", format!("timeout {state}\n")),
            file(&format!("{MACHINE}/6/linux"), body(3000, 50 + state)),
            file("second/6/linux", body(3000, 60 + state)),
            file("System Volume Information/IndexerVolumeGuid", body(76, 70 + state)),
        ]
    };
    assert_eq!(
        staying(&files(0), &files(1), &tenancy),
        pairs(&[
            ("EFI/BOOT", "Second"),
            ("EFI/debian", "Second"),
            ("EFI/systemd", "of no system that was found"),
            ("System Volume Information", "Windows"),
            ("loader/entries/second-6.1.conf", "Second"),
            ("loader/loader.conf", "of no system that was found"),
            ("second", "Second"),
        ])
    );
    // The other way round.
    let other = Tenancy { going: tenancy.staying.clone(), staying: tenancy.going.clone() };
    let stays = staying(&files(0), &files(1), &other);
    let has = |path: &str| stays.iter().any(|(p, whose)| p == path && whose == "First");
    assert!(has("EFI/first") && has(MACHINE) && has(&format!("loader/entries/{MACHINE}-6.1.conf")), "{stays:?}");
    assert!(!stays.iter().any(|(p, _)| p == "EFI/debian" || p == "second" || p == "EFI/BOOT"), "{stays:?}");
}

#[test]
fn what_was_taken_away_and_what_took_a_place() {
    // Windows' boot manager is missing now; its copy stands where Debian's was; a vendor's tool is new; an entry of nobody is gone.
    let then = vec![
        file("EFI/debian/grub.cfg", stub(ROOT)),
        file("EFI/debian/shimx64.efi", body(3000, 1)),
        file("EFI/BOOT/BOOTX64.EFI", body(3000, 1)),
        file("EFI/Microsoft/Boot/bootmgfw.efi", body(5000, 2)),
        file("EFI/Dell/log.txt", "one"),
        file("EFI/HP/same.txt", "same"),
    ];
    let now = vec![
        file("EFI/debian/grub.cfg", stub(OTHER)),
        file("EFI/BOOT/BOOTX64.EFI", body(5000, 2)),
        file("EFI/Dell/log.txt", "two"),
        file("EFI/HP/same.txt", "same"),
        file("EFI/tool/tool.efi", body(1000, 3)),
    ];
    let nobody = "of no system that was found";
    let same = format!("{nobody} as it was");
    assert_eq!(
        staying(&then, &now, &beside_windows()),
        pairs(&[
            ("EFI/Dell", nobody),
            ("EFI/HP", &same),
            ("EFI/Microsoft", "Windows comes back"),
            ("EFI/tool", nobody),
        ])
    );
    // A system alone: its own is its own, whatever it is called; what starts nothing is not.
    let alone = Tenancy { going: vec![tenant("Arch", "arch", OTHER)], staying: Vec::new() };
    let files = |state: u64| -> Files {
        vec![
            file("EFI/GRUB/grubx64.efi", body(5000, state)),
            file("EFI/BOOT/BOOTX64.EFI", body(5000, 10 + state)),
            file("EFI/Dell/log.txt", body(9, state)),
            file("kernel8.img", body(4000, 20 + state)),
        ]
    };
    assert_eq!(staying(&files(0), &files(1), &alone), pairs(&[("EFI/Dell", nobody)]));
    // Beside a Windows what stands at the root is its kernels where it has the partition mounted there.
    let at_root = |boot: bool| {
        let going = vec![Tenant { boot, ..tenant("Arch", "arch", OTHER) }];
        let stays = staying(&files(0), &files(1), &Tenancy { going, ..beside_windows() });
        stays.iter().any(|(path, _)| path == "kernel8.img")
    };
    assert!(at_root(false) && !at_root(true));
}

/// What stays may have an alias that something in the saved state has too: it gets another one, and is the same all the same.
#[test]
fn an_alias_that_is_taken_is_none_of_what_is_compared() {
    let then = vec![file("EFI/debian/grub.cfg", stub(ROOT)), file("EFI/Microsoft/Boot/bootmgfw.efi", body(5000, 2))];
    let now = vec![file("EFI/debian/grub.cfg", stub(OTHER)), file("EFI/Microsoft tools/a tool.efi", body(3000, 3))];
    assert_eq!(
        staying(&then, &now, &beside_windows()),
        pairs(&[("EFI/Microsoft", "Windows comes back"), ("EFI/Microsoft tools", "of no system that was found")])
    );
}

/// An entry says that its file is longer than the partition: what is told of it is no more than it can have.
#[test]
fn what_is_told_of_a_file_is_no_more_than_its_clusters_hold() {
    let (then, mut now) = small().clone();
    let entry = now.windows(11).position(|w| w == b"BCD        ").unwrap();
    now[entry + 28..entry + 32].copy_from_slice(&0x9000_0000u32.to_le_bytes());
    let reading = read(&then, &now, &beside_windows());
    assert!(reading.graft.is_err(), "its clusters end before");
    assert!(reading.stays.iter().all(|p| p.bytes.0 <= now.len() as u64), "{:?}", reading.stays);
}

/// Both states, small, for what is done to their bytes.
fn small() -> &'static (Vec<u8>, Vec<u8>) {
    static SMALL: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    SMALL.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let image = |state| {
            let files: Files = both(state).into_iter().map(|(n, b)| (n, b[..b.len().min(2000)].to_vec())).collect();
            made(dir.path(), MIB, &["-F", "12", "-s", "1"], &files)
        };
        (image(0), image(1))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the bytes of either state are, nothing stumbles; and what is put together holds together.
    #[test]
    fn damaged_states_are_refused_or_made_whole(
        of_then in prop::collection::vec((0usize..60_000, any::<u8>()), 0..4),
        of_now in prop::collection::vec((0usize..60_000, any::<u8>()), 0..12),
    ) {
        let (mut then, mut now) = small().clone();
        of_then.iter().for_each(|(at, byte)| then[*at] = *byte);
        of_now.iter().for_each(|(at, byte)| now[*at] = *byte);
        if let (Ok(a), Ok(b)) = (load(&then), load(&now))
            && let Ok(EspReading { stays, graft: Ok(graft) }) = tenants::read(&a, &b, &beside_windows())
        {
            let moved = stays.iter().any(|p| p.differs);
            let inside = |at: u64, len: u64, size: usize| at >= 512 && at + len <= size as u64;
            prop_assert!(graft.copies.iter().all(|c| inside(c.to.0, c.len.0, then.len())));
            prop_assert!(graft.patches.iter().all(|(at, b)| inside(at.0, b.len() as u64, then.len())));
            let is = load(&grafted(&then, &now, &graft)).unwrap();
            prop_assert!(!moved || is.coverage().method == CaptureMethod::UsedBlocks, "{}", is.coverage().why);
            let again = tenants::read(&is, &b, &beside_windows());
            prop_assert!(again.is_ok_and(|again| again.stays.iter().all(|p| !p.differs)));
        }
    }
}
