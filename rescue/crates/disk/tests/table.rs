//! Partition tables made by sfdisk, fdisk and sgdisk, read whole and damaged. sfdisk's own reading is the oracle.
#![allow(clippy::unwrap_used, reason = "tests")]

mod host;

use disk::io::Overlay;
use disk::table::{self, TableReading};
use host::{Seeded, attempt, blank, image, patch, run, texts};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, GPT_BIOS_BOOT, Severity, Table, TableKind};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent, SectorSize};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const SIZE: u64 = 64 * MIB;

fn read(bytes: &Arc<dyn ReadAt>) -> TableReading {
    table::read(DiskNo(0), SectorSize::B512, bytes)
}

fn read_file(path: &Path) -> TableReading {
    read(&image(path))
}

/// A GPT with a hole in its numbering, a name that is not ASCII, an attribute and a BIOS boot partition.
fn gpt(dir: &Path) -> std::path::PathBuf {
    let path = blank(dir, "gpt.img", SIZE);
    let script = format!(
        "label: gpt\nlabel-id: 0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0\n\
         1 : start=2048, size=2048, type={GPT_BIOS_BOOT}, name=\"core\"\n\
         2 : start=4096, size=16384, type=U, name=\"Système ☃\", attrs=\"LegacyBIOSBootable\"\n\
         4 : start=40960, size=40960, type=L\n\
         3 : start=90112, size=2048, type=S, uuid=11111111-2222-3333-4444-555555555555\n"
    );
    run("fdisk", "sfdisk", &["-q", path.to_str().unwrap()], &script);
    path
}

fn mbr(dir: &Path, script: &str) -> std::path::PathBuf {
    let path = blank(dir, "mbr.img", SIZE);
    run("fdisk", "sfdisk", &["-q", path.to_str().unwrap()], &format!("label: dos\nlabel-id: 0x12ab34cd\n{script}"));
    path
}

/// Compares a table with what sfdisk makes of the same file.
fn agrees_with_sfdisk(path: &Path, table: &Table) {
    let json: Value = serde_json::from_str(&run("fdisk", "sfdisk", &["--json", path.to_str().unwrap()], "")).unwrap();
    let theirs = &json["partitiontable"];
    let id = theirs["id"].as_str().unwrap().to_lowercase();
    assert_eq!(table.id, id.trim_start_matches("0x"));
    let node = path.to_str().unwrap();
    let partitions = theirs["partitions"].as_array().cloned().unwrap_or_default();
    assert_eq!(table.partitions.len(), partitions.len());
    for p in partitions {
        let number: u32 = p["node"].as_str().unwrap().strip_prefix(node).unwrap().parse().unwrap();
        let ours = table.partitions.iter().find(|o| o.number == number).unwrap();
        let at = p["start"].as_u64().unwrap() * 512;
        let len = p["size"].as_u64().unwrap() * 512;
        assert_eq!(ours.extent, Extent::new(ByteOffset(at), ByteLen(len)).unwrap(), "partition {number}");
        let kind = p["type"].as_str().unwrap().to_lowercase();
        assert_eq!(ours.type_id.trim_start_matches('0'), kind.trim_start_matches('0'));
        let text = |key: &str| p[key].as_str().map(str::to_lowercase);
        assert_eq!(ours.guid, text("uuid"));
        assert_eq!(ours.name.as_ref().map(|n| n.as_str().to_lowercase()), text("name"));
        let bootable = p["bootable"].as_bool().unwrap_or(false)
            || p["attrs"].as_str().is_some_and(|a| a.contains("LegacyBIOSBootable"));
        assert_eq!(ours.bootable, bootable);
    }
}

fn raw_bytes(table: &Table) -> Vec<(u64, u64)> {
    table.raw.iter().map(|e| (e.start().0, e.end().0)).collect()
}

/// Lays bytes over an image without changing it.
fn over(base: &Arc<dyn ReadAt>, patches: &[(u64, &[u8])]) -> Arc<dyn ReadAt> {
    let mut o = Overlay::new(base.clone(), 512, ByteLen(MIB));
    for (at, bytes) in patches {
        o.write(ByteOffset(*at), bytes).unwrap();
    }
    Arc::new(o)
}

#[test]
fn a_gpt_reads_as_sfdisk_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = gpt(dir.path());
    let r = read_file(&path);
    assert_eq!(r.findings, []);
    let table = r.table.unwrap();
    agrees_with_sfdisk(&path, &table);
    assert!(!table.from_backup);
    assert_eq!(table.kind, TableKind::Gpt);
    assert_eq!(raw_bytes(&table), [(0, MIB), (SIZE - 33 * 512, SIZE)]);
    let volumes: Vec<(String, bool)> =
        r.volumes.iter().map(|(p, _, c)| (p.to_string(), *c == Some(Content::BiosBoot))).collect();
    let want = [("d0/p1", true), ("d0/p2", false), ("d0/p4", false), ("d0/p3", false)];
    assert_eq!(volumes, want.map(|(p, b)| (p.to_owned(), b)), "in order of place");
}

#[test]
fn sectors_of_4096_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "4k.img", SIZE);
    let text = path.to_str().unwrap();
    run("fdisk", "fdisk", &["-b", "4096", text], "g\nn\n1\n\n+8M\nn\n3\n\n+16M\nw\n");
    let listed = run("fdisk", "fdisk", &["-b", "4096", "-l", "-o", "Device,Start,End,UUID", text], "");
    let r = table::read(DiskNo(0), SectorSize::B4096, &image(&path));
    assert_eq!(r.findings, []);
    let table = r.table.unwrap();
    assert_eq!(table.partitions.iter().map(|p| p.number).collect::<Vec<_>>(), [1, 3]);
    for p in &table.partitions {
        let node = format!("{text}{} ", p.number);
        let line = listed.lines().find(|l| l.starts_with(&node)).unwrap_or_else(|| panic!("{listed}"));
        let f: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(p.extent.start().0, f[1].parse::<u64>().unwrap() * 4096);
        assert_eq!(p.extent.end().0, (f[2].parse::<u64>().unwrap() + 1) * 4096);
        assert_eq!(p.guid.as_deref(), Some(f[3].to_lowercase().as_str()));
    }
    assert_eq!(raw_bytes(&table), [(0, MIB), (SIZE - 5 * 4096, SIZE)]);
    // An image file is taken for a disk of 512-byte sectors until its table says otherwise.
    let guessed = read_file(&path);
    assert_eq!(guessed.table.as_ref(), Some(&table));
    assert_eq!(texts(&guessed.findings, Severity::Note).len(), 1);
    assert!(texts(&guessed.findings, Severity::Warning).is_empty());
}

/// Whatever bit of the primary header or its entries is wrong, the backup gives the same table, and the reader says so.
#[test]
fn every_field_of_the_primary_may_be_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let base = image(&gpt(dir.path()));
    let good = read(&base).table.unwrap();
    let header = base.read_vec(ByteOffset(512), 92).unwrap();
    for (at, byte) in header.iter().enumerate() {
        for bit in [0, 7] {
            let r = read(&over(&base, &[(512 + at as u64, &[byte ^ 1 << bit])]));
            let table = r.table.unwrap();
            assert!(table.from_backup, "byte {at}");
            assert_eq!(table.partitions, good.partitions);
            assert_eq!((&table.id, &table.raw), (&good.id, &good.raw));
            let said = texts(&r.findings, Severity::Warning);
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].starts_with("the primary partition table is damaged: "), "{said:?}");
        }
    }
    let r = read(&over(&base, &[(1024 + 32, &[0xff])]));
    assert!(r.table.unwrap().from_backup);
    assert!(r.findings[0].says.as_str().contains("its entries have checksum"), "{:?}", r.findings);
    // sgdisk finds the same damage.
    let path = dir.path().join("gpt.img");
    patch(&path, 1024 + 32, &[0xff]);
    let (_, said) = attempt("gdisk", "sgdisk", &["-v", path.to_str().unwrap()], "");
    assert!(said.contains("CRC for the main partition table is invalid"), "{said}");
}

#[test]
fn the_backup_may_be_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let base = image(&gpt(dir.path()));
    let good = read(&base).table.unwrap();
    for at in [SIZE - 512, SIZE - 512 + 20, SIZE - 33 * 512 + 5] {
        let flipped = base.read_vec(ByteOffset(at), 1).unwrap()[0] ^ 0x40;
        let r = read(&over(&base, &[(at, &[flipped])]));
        assert_eq!(r.table.unwrap(), good);
        let said = texts(&r.findings, Severity::Warning);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("the primary is good"), "{said:?}");
    }
}

#[test]
fn both_copies_wrong_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let base = image(&gpt(dir.path()));
    let r = read(&over(&base, &[(512 + 60, &[1, 2, 3, 4]), (SIZE - 512 + 60, &[1, 2, 3, 4])]));
    assert_eq!(r.table, None);
    assert_eq!(r.volumes, [(VolumePath::whole(DiskNo(0)), Extent::whole(ByteLen(SIZE)), Some(Content::Unknown))]);
    let said = texts(&r.findings, Severity::Damage);
    assert_eq!(said.len(), 1);
    assert!(said[0].starts_with("both partition tables are damaged"), "{said:?}");
}

#[test]
fn the_first_mib_wiped() {
    let dir = tempfile::tempdir().unwrap();
    let base = image(&gpt(dir.path()));
    let good = read(&base).table.unwrap();
    let r = read(&over(&base, &[(0, &vec![0; 512 << 10])]));
    let table = r.table.unwrap();
    assert_eq!((table.partitions, table.raw, table.from_backup), (good.partitions, good.raw, true));
    assert_eq!(texts(&r.findings, Severity::Damage).len(), 1, "the protective MBR");
    assert_eq!(texts(&r.findings, Severity::Warning).len(), 2, "and the primary");
}

#[test]
fn copies_that_differ_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = gpt(dir.path());
    let old = std::fs::read(&path).unwrap();
    run("fdisk", "sfdisk", &["-q", "--delete", path.to_str().unwrap(), "3"], "");
    let tail = usize::try_from(SIZE - 33 * 512).unwrap();
    patch(&path, SIZE - 33 * 512, &old[tail..]);
    let r = read_file(&path);
    assert_eq!(r.table.unwrap().partitions.len(), 3);
    assert!(r.findings[0].says.as_str().contains("differs from the primary"), "{:?}", r.findings);
}

#[test]
fn a_disk_that_grew_and_one_that_was_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let path = gpt(dir.path());
    let good = read_file(&path).table.unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(SIZE + MIB).unwrap();
    let r = read_file(&path);
    let table = r.table.unwrap();
    assert_eq!(table.partitions, good.partitions);
    assert_eq!(raw_bytes(&table), [(0, MIB), (SIZE - 33 * 512, SIZE)], "the backup where it stands");
    assert!(texts(&r.findings, Severity::Warning).is_empty());
    assert!(r.findings[0].says.as_str().contains("it has grown"), "{:?}", r.findings);
    // And with its primary damaged, the backup that is not at the end is still found.
    patch(&path, 512 + 8, &[0x5a]);
    let r = read_file(&path);
    assert!(r.table.unwrap().from_backup);

    let path = gpt(dir.path());
    let good = read_file(&path).table.unwrap();
    // Within the third partition (20 to 40 MiB); the last is past the end.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(30 * MIB).unwrap();
    let r = read_file(&path);
    assert_eq!(r.table.unwrap().partitions, good.partitions, "as the table has them");
    let p4 = r.volumes.iter().find(|(p, ..)| p.number() == Some(4)).unwrap();
    assert_eq!(p4.1.end().0, 30 * MIB, "clipped");
    assert_eq!(r.volumes.len(), 3, "p3 left out");
    let said = texts(&r.findings, Severity::Damage);
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[0].contains("cut short"), "{said:?}");
}

#[test]
fn an_mbr_reads_as_sfdisk_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let orderly = "start=2048, size=20000, type=83, bootable\nstart=30720, size=90000, type=5\n\
        start=32768, size=4096, type=83\nstart=40000, size=4096, type=82\nstart=60000, size=4096, type=83\n";
    // sfdisk links logical partitions in the order they are given: this chain goes back and forth.
    let wild = "start=2048, size=20000, type=83\nstart=30720, size=90000, type=f\n\
        start=100000, size=4096, type=83\nstart=40000, size=4096, type=82\nstart=60000, size=4096, type=83\n";
    for script in [orderly, wild, "start=4096, size=4096, type=ef\n", ""] {
        let path = mbr(dir.path(), script);
        let r = read_file(&path);
        assert_eq!(r.findings, [], "{script}");
        let table = r.table.unwrap();
        agrees_with_sfdisk(&path, &table);
        assert_eq!(table.kind, TableKind::Mbr);
        assert_eq!(table.id, "12ab34cd");
        assert!(
            r.volumes.iter().all(|(p, ..)| table.partitions.len() < 4 || p.number() != Some(2)),
            "not the extended one"
        );
        let logical = table.partitions.iter().filter(|p| p.number > 4).count();
        // The first record stands in the extended partition's first sector, which is past the gap.
        assert_eq!(table.raw.len(), 1 + logical);
        assert_eq!(table.raw[0], Extent::whole(ByteLen(MIB)));
    }
}

/// A boot loader's EBR area counts: every record is in the raw extents, so the table can be brought back from them alone.
#[test]
fn the_raw_extents_are_the_whole_table() {
    let dir = tempfile::tempdir().unwrap();
    let script = "start=2048, size=20000, type=83\nstart=30720, size=90000, type=5\n\
        start=32768, size=4096, type=83\nstart=40000, size=4096, type=82\n";
    for path in [mbr(dir.path(), script), gpt(dir.path())] {
        let base = image(&path);
        let table = read(&base).table.unwrap();
        let copy = blank(dir.path(), "copy.img", SIZE);
        for e in &table.raw {
            patch(&copy, e.start().0, &base.read_vec(e.start(), usize::try_from(e.len().0).unwrap()).unwrap());
        }
        let dump = |p: &Path| {
            run("fdisk", "sfdisk", &["--dump", p.to_str().unwrap()], "").replace(p.to_str().unwrap(), "disk")
        };
        assert_eq!(dump(&copy), dump(&path));
        assert_eq!(read_file(&copy).table.unwrap(), table);
    }
}

#[test]
fn chains_that_break_or_run_in_a_circle() {
    let dir = tempfile::tempdir().unwrap();
    let script = "start=30720, size=90000, type=5\nstart=32768, size=4096, type=83\nstart=40000, size=4096, type=82\n";
    let base = image(&mbr(dir.path(), script));
    let records: Vec<u64> = read(&base).table.unwrap().raw[1..].iter().map(|e| e.start().0).collect();
    // The second record's link leads back to itself.
    let link = base.read_vec(ByteOffset(records[0] + 462), 16).unwrap();
    let r = read(&over(&base, &[(records[1] + 462, &link)]));
    assert!(r.findings[0].says.as_str().contains("comes back to sector"), "{:?}", r.findings);
    assert_eq!(r.table.unwrap().partitions.len(), 3);
    // The second record is gone.
    let r = read(&over(&base, &[(records[1] + 510, &[0])]));
    assert!(r.findings[0].says.as_str().contains("breaks at sector"), "{:?}", r.findings);
    assert_eq!(r.table.unwrap().partitions.len(), 2);
    // An empty extended partition has no record at all.
    let r = read(&over(&base, &[(records[0], &[0; 512])]));
    assert_eq!((r.table.unwrap().partitions.len(), r.findings), (1, vec![]));
}

/// The 512 bytes that make mbrman 0.6.1 panic: a protective entry that starts at sector 0.
#[test]
fn a_protective_entry_at_sector_0() {
    let mut disk = vec![0u8; 1 << 20];
    disk[446 + 4] = 0xee;
    disk[446 + 12] = 1;
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let r = read(&(Arc::new(disk.clone()) as Arc<dyn ReadAt>));
    assert_eq!(r.table, None);
    assert!(r.findings[0].says.as_str().contains("neither copy"), "{:?}", r.findings);
    // A rollback has nothing to go by here, and must not be promised.
    assert!(r.findings[0].advice.as_str().starts_with("a rollback cannot repair this"), "{:?}", r.findings);
    disk[446 + 4] = 0x83;
    let r = read(&(Arc::new(disk) as Arc<dyn ReadAt>));
    assert_eq!(r.table.unwrap().partitions.len(), 1);
}

#[test]
fn partitions_that_overlap_are_told() {
    let mut disk = vec![0u8; 1 << 20];
    for (i, start) in [(0, 10u8), (1, 15)] {
        let e = &mut disk[446 + i * 16..446 + i * 16 + 16];
        (e[4], e[8], e[12]) = (0x83, start, 10);
    }
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    let r = read(&(Arc::new(disk) as Arc<dyn ReadAt>));
    assert!(r.findings.iter().any(|f| f.says.as_str().contains("d0/p1 and d0/p2 overlap")), "{:?}", r.findings);
}

#[test]
fn a_partition_on_the_table_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let base = image(&gpt(dir.path()));
    // The first entry from sector 1 on.
    let mut entries = base.read_vec(ByteOffset(1024), 16384).unwrap();
    entries[32..40].copy_from_slice(&1u64.to_le_bytes());
    let mut header = base.read_vec(ByteOffset(512), 512).unwrap();
    header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
    header[16..20].fill(0);
    let crc = crc32(&header[..92]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    let r = read(&over(&base, &[(512, &header), (1024, &entries)]));
    let said = texts(&r.findings, Severity::Damage);
    assert!(said[0].contains("d0/p1 overlaps the partition table itself"), "{said:?}");
}

#[test]
fn no_table_is_one_volume() {
    let dir = tempfile::tempdir().unwrap();
    let whole = [(VolumePath::whole(DiskNo(0)), Extent::whole(ByteLen(8 * MIB)), None)];
    let empty = blank(dir.path(), "empty.img", 8 * MIB);
    assert_eq!(read_file(&empty).volumes, whole);
    // A FAT straight on the disk has the boot signature of an MBR.
    run("dosfstools", "mkfs.vfat", &[empty.to_str().unwrap()], "");
    let r = read_file(&empty);
    assert_eq!((r.table, r.volumes.as_slice(), r.findings), (None, whole.as_slice(), vec![]));
    // Disks of any small size.
    for size in [0usize, 1, 511, 512, 513, 1024, 1536, 4096] {
        let bytes: Arc<dyn ReadAt> = Arc::new(vec![0u8; size]);
        let r = read(&bytes);
        assert_eq!((r.table, r.volumes.len()), (None, 1), "{size} bytes");
    }
}

/// What must hold of any reading, whatever was read.
fn sane(r: &TableReading, size: u64) {
    let disk = Extent::whole(ByteLen(size));
    assert!(r.volumes.iter().all(|(_, e, _)| disk.contains(*e)));
    assert!(r.volumes.windows(2).all(|w| w[0].1 <= w[1].1));
    assert!(r.volumes.len() <= 256 && r.findings.len() <= 1000);
    if let Some(t) = &r.table {
        assert!(t.raw.iter().all(|e| disk.contains(*e) && !e.is_empty()));
        let mut numbers: Vec<u32> = t.partitions.iter().map(|p| p.number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), t.partitions.len(), "no number twice");
        assert!(numbers.is_sorted());
    }
}

/// CRC-32, four bits at a time, so that mutated headers are believed.
fn crc32(bytes: &[u8]) -> u32 {
    let nibble = |n: u32| (0..4).fold(n, |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 });
    let table: Vec<u32> = (0..16).map(nibble).collect();
    let step = |crc: u32, n: u32| crc >> 4 ^ table[usize::try_from((crc ^ n) & 15).unwrap()];
    !bytes.iter().fold(!0, |crc: u32, b| step(step(crc, u32::from(*b)), u32::from(*b) >> 4))
}

/// Seeded mutations of good tables, with the checksums made right again in half of them: never a panic, nothing outside the disk.
#[test]
fn mutated_tables_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let script = "start=2048, size=20000, type=83\nstart=30720, size=90000, type=5\n\
        start=32768, size=4096, type=83\nstart=40000, size=4096, type=82\nstart=60000, size=4096, type=83\n";
    let mbr_image = image(&mbr(dir.path(), script));
    let mbr_places: Vec<u64> =
        [0].into_iter().chain(read(&mbr_image).table.unwrap().raw[1..].iter().map(|e| e.start().0)).collect();
    let gpt_image = image(&gpt(dir.path()));
    let mut rng = Seeded(1);
    for round in 0..1500 {
        let mut patches: Vec<(u64, Vec<u8>)> = Vec::new();
        let base = if round % 2 == 0 {
            for _ in 0..=rng.below(4) {
                let place = mbr_places[usize::try_from(rng.below(mbr_places.len() as u64)).unwrap()];
                patches.push((place + 446 + rng.below(64), vec![rng.byte()]));
            }
            &mbr_image
        } else {
            let mut header = gpt_image.read_vec(ByteOffset(512), 512).unwrap();
            for _ in 0..=rng.below(3) {
                header[usize::try_from(8 + rng.below(90)).unwrap()] = rng.byte();
            }
            if rng.below(2) == 0 {
                let mut entries = gpt_image.read_vec(ByteOffset(1024), 16384).unwrap();
                for _ in 0..=rng.below(4) {
                    entries[usize::try_from(rng.below(600)).unwrap()] = rng.byte();
                }
                header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
                patches.push((1024, entries));
            }
            header[16..20].fill(0);
            let crc = crc32(&header[..92]);
            header[16..20].copy_from_slice(&crc.to_le_bytes());
            patches.push((512, header));
            &gpt_image
        };
        let patches: Vec<(u64, &[u8])> = patches.iter().map(|(at, b)| (*at, b.as_slice())).collect();
        sane(&read(&over(base, &patches)), SIZE);
    }
}

/// Entries of 256 bytes, which the specification allows and the `gpt` crate does not.
#[test]
fn entries_of_256_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let base = image(&gpt(dir.path()));
    let good = read(&base).table.unwrap();
    let entries = base.read_vec(ByteOffset(1024), 16384).unwrap();
    let wide: Vec<u8> = entries.chunks(128).take(64).flat_map(|e| [e, &[0xab; 128]].concat()).collect();
    let mut header = base.read_vec(ByteOffset(512), 512).unwrap();
    header[80..84].copy_from_slice(&64u32.to_le_bytes());
    header[84..88].copy_from_slice(&256u32.to_le_bytes());
    header[88..92].copy_from_slice(&crc32(&wide).to_le_bytes());
    header[16..20].fill(0);
    let crc = crc32(&header[..92]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
    let table = read(&over(&base, &[(512, &header), (1024, &wide)])).table.unwrap();
    assert_eq!((table.partitions, table.from_backup), (good.partitions, false));
}

proptest::proptest! {
    /// Any first sector, with a boot signature.
    #[test]
    fn any_first_sector(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 66), flags in 0u8..4) {
        let mut disk = vec![0u8; 256 << 10];
        disk[444..510].copy_from_slice(&bytes);
        disk[510..512].copy_from_slice(&[0x55, 0xaa]);
        for i in 0..4 {
            // Valid boot flags, or it is no table at all; low start sectors, so that something is there.
            disk[446 + i * 16] &= 0x80;
            if flags & 1 == 1 {
                disk[446 + i * 16 + 9..446 + i * 16 + 12].fill(0);
            }
            if flags & 2 == 2 {
                disk[446 + i * 16 + 4] = 5;
            }
        }
        sane(&read(&(Arc::new(disk) as Arc<dyn ReadAt>)), 256 << 10);
    }
}
