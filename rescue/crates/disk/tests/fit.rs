//! Tables fitted to disks of other sizes: `sfdisk` and `sgdisk` judge them, and our own reader finds the partitions where they were.
#![allow(clippy::unwrap_used, reason = "tests")]

mod host;

use disk::io::Overlay;
use disk::table::{self, fit};
use host::{Seeded, blank, image, patch, run};
use model::id::{Digest, DiskNo};
use model::inspection::{Table, TableKind};
use model::ports::ReadAt;
use model::restore::{FitTable, FittedTable, GrowPartition};
use model::units::{ByteLen, ByteOffset, SectorSize};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 64 * MIB;

fn gpt(dir: &Path) -> PathBuf {
    let path = blank(dir, "gpt.img", SIZE);
    let script = "label: gpt\nlabel-id: 0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0\n\
         1 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, name=\"core\"\n\
         2 : start=4096, size=16384, type=U, name=\"Système ☃\", attrs=\"LegacyBIOSBootable GUID:50\"\n\
         4 : start=40960, size=40960, type=L\n\
         3 : start=90112, size=2048, type=S, uuid=11111111-2222-3333-4444-555555555555\n";
    run("fdisk", "sfdisk", &["-q", path.to_str().unwrap()], script);
    // Boot code.
    patch(&path, 0, &[0xeb, 0x63, 0x90]);
    path
}

fn wanted(kind: TableKind, sector: SectorSize, size: u64) -> FitTable {
    FitTable { kind, sector, size: ByteLen(size), new_ids: None, grow: None }
}

fn fitted(path: &Path, wanted: &FitTable) -> FittedTable {
    fit(&*image(path), wanted).unwrap()
}

/// An image, to be damaged in memory.
fn over(bytes: Arc<dyn ReadAt>) -> Overlay {
    Overlay::new(bytes, 512, ByteLen(MIB))
}

/// An image that holds the table and nothing else.
fn written(dir: &Path, fitted: &FittedTable, size: u64) -> PathBuf {
    let path = blank(dir, "new.img", size);
    for made in &fitted.made {
        patch(&path, made.place.start().0, &made.whole(1 << 20).unwrap());
    }
    path
}

fn read(path: &Path, sector: SectorSize) -> Table {
    let reading = table::read(DiskNo(0), sector, &image(path));
    assert_eq!(reading.findings, [], "nothing is wrong with it");
    reading.table.unwrap()
}

/// What sfdisk tells of a disk, without what depends on its size and its name.
fn sfdisk(path: &Path) -> Value {
    let json: Value = serde_json::from_str(&run("fdisk", "sfdisk", &["--json", path.to_str().unwrap()], "")).unwrap();
    let mut table = json["partitiontable"].clone();
    for gone in ["device", "lastlba"] {
        table.as_object_mut().unwrap().remove(gone);
    }
    for p in table["partitions"].as_array_mut().unwrap() {
        let number = p["node"].as_str().unwrap().strip_prefix(path.to_str().unwrap()).unwrap().to_owned();
        p["node"] = number.into();
    }
    table
}

fn judged(path: &Path) {
    let text = path.to_str().unwrap();
    let said = run("fdisk", "sfdisk", &["--verify", text], "");
    assert!(said.contains("No errors detected"), "{said}");
    let said = run("gdisk", "sgdisk", &["-v", text], "");
    assert!(said.contains("No problems found"), "{said}");
}

#[test]
fn a_gpt_grows_shrinks_and_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = gpt(dir.path());
    // The last partition ends at sector 92160; behind it stand 32 sectors of entries and a header.
    let smallest = (92160 + 33) * 512;
    for size in [smallest, SIZE - 512, SIZE, SIZE + 512, 100 * MIB, 3 * 1024 * 1024 * MIB] {
        let fitted = fitted(&path, &wanted(TableKind::Gpt, SectorSize::B512, size));
        assert_eq!((fitted.sector, fitted.smallest), (SectorSize::B512, ByteLen(smallest)));
        let new = written(dir.path(), &fitted, size);
        judged(&new);
        assert_eq!(sfdisk(&new), sfdisk(&path), "{size}");
        let (then, now) = (read(&path, SectorSize::B512), read(&new, SectorSize::B512));
        assert_eq!((&now.partitions, &now.id), (&then.partitions, &then.id));
        assert_eq!(fitted.id, now.id);
        assert_eq!(now.raw.last().unwrap().end().0, size, "the backup ends where the disk does");
        let zero = image(&new).read_vec(ByteOffset(0), 512).unwrap();
        assert_eq!(zero[..3], [0xeb, 0x63, 0x90], "the boot code");
        let covered = u32::from_le_bytes(zero[458..462].try_into().unwrap());
        assert_eq!(u64::from(covered), (size / 512 - 1).min(u64::from(u32::MAX)), "what the protective entry covers");
        if size == SIZE {
            let all = image(&path).read_vec(ByteOffset(0), usize::try_from(SIZE).unwrap()).unwrap();
            assert!(image(&new).read_vec(ByteOffset(0), all.len()).unwrap() == all, "not a bit differs");
        }
        std::fs::remove_file(new).unwrap();
    }
    let small = fitted(&path, &wanted(TableKind::Gpt, SectorSize::B512, smallest - 512));
    assert!(small.made.is_empty() && small.smallest.0 == smallest, "{small:?}");
}

#[test]
fn either_copy_will_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = gpt(dir.path());
    let wanted = wanted(TableKind::Gpt, SectorSize::B512, 100 * MIB);
    let whole = fitted(&path, &wanted);
    let without = |at: &[u64]| {
        let mut bytes = over(image(&path));
        at.iter().for_each(|at| bytes.write(ByteOffset(*at), &[0xff; 16]).unwrap());
        fit(&bytes, &wanted)
    };
    assert_eq!(without(&[512]).unwrap(), whole, "the first header");
    assert_eq!(without(&[1024]).unwrap(), whole, "the first entries");
    assert_eq!(without(&[SIZE - 512]).unwrap(), whole, "the second header");
    assert!(without(&[512, SIZE - 512]).unwrap_err().contains("no copy"));
    // Without its protective MBR it is given one.
    let mut bytes = over(image(&path));
    bytes.write(ByteOffset(446), &[0; 66]).unwrap();
    let new = written(dir.path(), &fit(&bytes, &wanted).unwrap(), 100 * MIB);
    judged(&new);
}

#[test]
fn new_identifiers_are_new_and_the_same_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = gpt(dir.path());
    let seed = Some(Digest::of(b"this disk"));
    let wanted = FitTable { new_ids: seed, ..wanted(TableKind::Gpt, SectorSize::B512, 100 * MIB) };
    let fitted = fitted(&path, &wanted);
    assert_eq!(fit(&*image(&path), &wanted).unwrap(), fitted);
    let new = written(dir.path(), &fitted, 100 * MIB);
    judged(&new);
    let (then, now) = (read(&path, SectorSize::B512), read(&new, SectorSize::B512));
    assert_eq!(fitted.id, now.id);
    let ids = |t: &Table| [vec![t.id.clone()], t.partitions.iter().map(|p| p.guid.clone().unwrap()).collect()].concat();
    let mut all = [ids(&then), ids(&now)].concat();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 10, "five old ones and five new ones");
    for id in ids(&now) {
        assert_eq!(&id[14..15], "8", "version 8 of RFC 9562: {id}");
        assert!(matches!(&id[19..20], "8" | "9" | "a" | "b"), "{id}");
    }
    for (a, b) in then.partitions.iter().zip(&now.partitions) {
        assert_eq!((a.number, a.extent, &a.type_id, &a.name), (b.number, b.extent, &b.type_id, &b.name));
    }
}

#[test]
fn sectors_of_4096_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "4k.img", SIZE);
    run("fdisk", "fdisk", &["-b", "4096", path.to_str().unwrap()], "g\nn\n1\n\n+8M\nn\n3\n\n+16M\nw\n");
    let then = read(&path, SectorSize::B4096);
    // Whether the system told its sectors, or it was an image file, for which 512 is assumed.
    for told in [SectorSize::B4096, SectorSize::B512] {
        for size in [SIZE, SIZE + 4096, 200 * MIB] {
            let fitted = fitted(&path, &wanted(TableKind::Gpt, told, size));
            assert_eq!((fitted.sector, fitted.smallest), (SectorSize::B4096, ByteLen(25 * MIB + 5 * 4096)));
            let new = written(dir.path(), &fitted, size);
            let now = read(&new, SectorSize::B4096);
            assert_eq!((&now.partitions, &now.id), (&then.partitions, &then.id));
            let listed = run("fdisk", "fdisk", &["-b", "4096", "-l", new.to_str().unwrap()], "v\n");
            assert!(!listed.contains("corrupt") && !listed.contains("not on the end"), "{listed}");
            std::fs::remove_file(new).unwrap();
        }
    }
}

#[test]
fn an_mbr_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "mbr.img", SIZE);
    let script = "label: dos\nlabel-id: 0x12ab34cd\nstart=2048, size=20480, type=83, bootable\nstart=22528, size=60000, type=5\n\
                  start=24576, size=8192, type=83\nstart=40960, size=4096, type=82\n";
    run("fdisk", "sfdisk", &["-q", path.to_str().unwrap()], script);
    let wanted = wanted(TableKind::Mbr, SectorSize::B512, SIZE * 2);
    let fitted = fitted(&path, &wanted);
    assert_eq!((fitted.smallest, fitted.id.as_str()), (ByteLen(82528 * 512), "12ab34cd"));
    let zero = image(&path).read_vec(ByteOffset(0), 512).unwrap();
    assert_eq!(fitted.made.len(), 1);
    assert_eq!(fitted.made[0].whole(512).unwrap(), zero);
    let other = fit(&*image(&path), &FitTable { new_ids: Some(Digest::of(b"x")), ..wanted.clone() }).unwrap();
    let made = other.made[0].whole(512).unwrap();
    assert_eq!((&made[..440], &made[444..]), (&zero[..440], &zero[444..]), "the signature alone differs");
    assert_ne!(made[440..444], zero[440..444]);
    let small = FitTable { size: ByteLen(82527 * 512), ..wanted };
    assert!(fit(&*image(&path), &small).unwrap().made.is_empty());
}

fn grow(number: u32, by: u64) -> Option<GrowPartition> {
    Some(GrowPartition { number, by: ByteLen(by) })
}

/// The partition grows by as much as is told, what lies behind it moves as far, and nothing else changes.
#[test]
fn the_last_partition_but_for_swap_grows_on_a_gpt() {
    let dir = tempfile::tempdir().unwrap();
    let path = gpt(dir.path());
    for size in [SIZE + 100 * MIB, SIZE + 77 * 512] {
        let plain = fitted(&path, &wanted(TableKind::Gpt, SectorSize::B512, size));
        // The last ends at 45 MiB; 33 sectors are the second copy's.
        let room = (size - 45 * MIB - 33 * 512) / MIB * MIB;
        assert_eq!(plain.room, ByteLen(room));
        let by = |by| FitTable { grow: grow(4, by), ..wanted(TableKind::Gpt, SectorSize::B512, size) };
        let grown = fitted(&path, &by(room));
        let new = written(dir.path(), &grown, size);
        judged(&new);
        let (then, now) = (read(&path, SectorSize::B512), read(&new, SectorSize::B512));
        for (was, is) in then.partitions.iter().zip(&now.partitions) {
            let (start, end) = (was.extent.start().0, was.extent.end().0);
            let moved = match was.number {
                4 => (start, end + room),
                3 => (start + room, end + room),
                _ => (start, end),
            };
            assert_eq!((is.extent.start().0, is.extent.end().0), moved, "{}", was.number);
            assert_eq!(
                (&is.guid, &is.type_id, &is.name, is.bootable),
                (&was.guid, &was.type_id, &was.name, was.bootable)
            );
            assert!(grown.guids.contains(&(was.number, was.guid.clone().unwrap())));
        }
        // What was made for this disk is what is made of it again.
        let again = fit(&*image(&new), &wanted(TableKind::Gpt, SectorSize::B512, size)).unwrap();
        assert_eq!((&again.made, again.room), (&grown.made, ByteLen::ZERO));
        for bad in [by(room + MIB), by(100), FitTable { grow: grow(5, MIB), ..by(0) }] {
            assert!(fit(&*image(&path), &bad).is_err(), "{bad:?}");
        }
    }
    // A table that an MBR doubles would not be told by it.
    let mut hybrid = over(image(&path));
    hybrid.write(ByteOffset(462), &[0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0]).unwrap();
    let wanted = FitTable { grow: grow(4, MIB), ..wanted(TableKind::Gpt, SectorSize::B512, 2 * SIZE) };
    assert!(fit(&hybrid, &wanted).unwrap_err().contains("its MBR"));
}

#[test]
fn the_last_partition_but_for_swap_grows_on_an_mbr() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "mbr.img", SIZE);
    let script = "label: dos\nlabel-id: 0x12ab34cd\nstart=2048, size=20480, type=83, bootable\nstart=22528, size=60000, type=5\n\
                  start=24576, size=8192, type=82\n";
    run("fdisk", "sfdisk", &["-q", path.to_str().unwrap()], script);
    let size = 3 * SIZE + 512;
    let plain = fitted(&path, &wanted(TableKind::Mbr, SectorSize::B512, size));
    let room = (size - 82528 * 512) / MIB * MIB;
    assert_eq!((plain.room, plain.guids.as_slice()), (ByteLen(room), &[][..]));
    let grown = fitted(&path, &FitTable { grow: grow(1, room), ..wanted(TableKind::Mbr, SectorSize::B512, size) });
    let new = written(dir.path(), &grown, size);
    // The record of the logical partition counts from where it stands: moved as it is, it tells of the same place behind it.
    patch(&new, 22528 * 512 + room, &image(&path).read_vec(ByteOffset(22528 * 512), 512).unwrap());
    let said = run("fdisk", "sfdisk", &["--verify", new.to_str().unwrap()], "");
    assert!(said.contains("No errors detected"), "{said}");
    let now = read(&new, SectorSize::B512);
    let places: Vec<_> = now.partitions.iter().map(|p| (p.number, p.extent.start().0, p.extent.len().0)).collect();
    let sector = |n: u64| n * 512;
    assert_eq!(
        places,
        [
            (1, sector(2048), sector(20480) + room),
            (2, sector(22528) + room, sector(60000)),
            (5, sector(24576) + room, sector(8192))
        ]
    );
    assert_eq!(now.id, "12ab34cd");
    // Behind 2 TiB its numbers end.
    let huge = fitted(&path, &wanted(TableKind::Mbr, SectorSize::B512, 5 << 40));
    assert_eq!(huge.room.0, ((1 << 41) - 512 - 82528 * 512) / MIB * MIB);
    let most = FitTable { grow: grow(1, huge.room.0), ..wanted(TableKind::Mbr, SectorSize::B512, 5 << 40) };
    assert!(fit(&*image(&path), &most).is_ok());
}

/// Whatever the bytes: no panic, no long work, and what is made lies on the disk.
#[test]
fn hostile_tables() {
    let dir = tempfile::tempdir().unwrap();
    let path = gpt(dir.path());
    let base = image(&path);
    let mut seeded = Seeded(7);
    let mut refused = 0;
    for _ in 0..400 {
        let mut bytes = over(base.clone());
        for _ in 0..=seeded.below(3) {
            let places = [seeded.below(1200), 512 + seeded.below(92), SIZE - 512 + seeded.below(92)];
            let at = places[usize::try_from(seeded.below(3)).unwrap()];
            bytes.write(ByteOffset(at), &[seeded.byte()]).unwrap();
        }
        let bytes: Arc<dyn ReadAt> = Arc::new(bytes);
        for kind in [TableKind::Gpt, TableKind::Mbr] {
            let plain = wanted(kind, SectorSize::B512, 100 * MIB);
            for wanted in [FitTable { grow: grow(4, seeded.below(60) * MIB), ..plain.clone() }, plain] {
                match fit(&*bytes, &wanted) {
                    Ok(fitted) => assert!(fitted.made.iter().all(|m| m.place.end().0 <= 100 * MIB)),
                    Err(_) => refused += 1,
                }
            }
        }
    }
    assert!(refused > 20, "{refused} were refused");
}
