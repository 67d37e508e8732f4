//! exFAT: what mkfs.exfat makes, what is in use by partclone, states, damage.

use crate::host::{blank, image, patch, run};
use crate::tools::{fixture, free_by_partclone, identify, in_file, open};
use disk::coverage;
use model::coverage::CaptureMethod;
use model::inspection::{Content, ExfatInfo, FsKind};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};
use std::sync::Arc;

fn info(bytes: &Arc<dyn ReadAt>) -> ExfatInfo {
    match identify(bytes) {
        (Content::Exfat(info), findings) => {
            assert!(findings.is_empty(), "{findings:?}");
            info
        }
        other => panic!("{other:?}"),
    }
}

/// A copy with other bytes at some places.
fn over(bytes: &Arc<dyn ReadAt>, changes: &[(u64, &[u8])]) -> Arc<dyn ReadAt> {
    let mut all = bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap();
    for (at, new) in changes {
        let at = usize::try_from(*at).unwrap();
        all[at..at + new.len()].copy_from_slice(new);
    }
    Arc::new(all)
}

#[test]
fn what_mkfs_says_is_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    for (size, args, cluster) in
        [(8 << 20, &["-c", "512"][..], 512), (300 << 20, &["-c", "128K", "-L", "\u{dc}ber"], 131_072)]
    {
        let path = blank(dir.path(), "image", size);
        run("exfatprogs", "mkfs.exfat", &[args, &[path.to_str().unwrap()]].concat(), "");
        let info = info(&image(&path));
        let said = run("exfatprogs", "dump.exfat", &[path.to_str().unwrap()], "");
        let number = |key: &str| said.lines().find_map(|l| l.strip_prefix(key)).unwrap().trim().to_owned();
        assert_eq!(info.clusters.to_string(), number("Cluster Count:"));
        assert_eq!(info.cluster_size, cluster);
        let serial = number("Volume Serial:");
        let serial = u32::from_str_radix(serial.trim_start_matches("0x"), 16).unwrap();
        assert_eq!(info.volume_id, format!("{:04X}-{:04X}", serial >> 16, serial & 0xffff));
        assert_eq!(info.label.as_str(), if cluster == 512 { "" } else { "\u{dc}ber" });
        assert!(!info.dirty && !info.media_failure);
    }
}

/// What the coverage leaves out is what partclone leaves out; it may be anything, and the tools call the volume clean.
#[test]
fn what_is_not_covered_does_not_matter() {
    for name in ["exfat", "exfat-large"] {
        let dir = tempfile::tempdir().unwrap();
        let path = in_file(dir.path(), name);
        let bytes = image(&path);
        let c = coverage::of(&identify(&bytes).0, bytes.clone());
        assert_eq!((c.method, c.why.as_str()), (CaptureMethod::UsedBlocks, "exfat, clean"));
        let free = c.used.gaps(Extent::whole(bytes.size()));
        assert_eq!(free, free_by_partclone("exfat", &path), "{name}");
        assert!(free.total().0 > 4 << 20, "{name}");
        for gap in free.iter() {
            patch(&path, gap.start().0, &vec![0xa5; gap.len().to_usize().unwrap()]);
        }
        run("exfatprogs", "fsck.exfat", &["-n", path.to_str().unwrap()], "");
        let fs = open(&image(&path));
        let file = fs.open(b"/Documents/large.bin").unwrap().unwrap();
        let was = open(&bytes).open(b"/Documents/large.bin").unwrap().unwrap();
        let len = file.size().to_usize().unwrap();
        assert!(file.read_vec(ByteOffset(0), len).unwrap() == was.read_vec(ByteOffset(0), len).unwrap());
    }
}

/// Byte offset of the allocation bitmap, which mkfs.exfat puts into the first cluster.
fn bitmap(bytes: &Arc<dyn ReadAt>) -> u64 {
    let b = bytes.read_vec(ByteOffset(0), 512).unwrap();
    u64::from(u32::from_le_bytes(b[88..92].try_into().unwrap())) << b[108]
}

#[test]
fn a_volume_that_was_not_closed_counts_what_its_files_lead_to() {
    let bytes = fixture("exfat");
    let clean = coverage::of(&identify(&bytes).0, bytes.clone());
    // The bitmap forgets all but the first five clusters: its own, the table's, the root's.
    let at = bitmap(&bytes);
    let forgotten = over(&bytes, &[(at, &[0x1f]), (at + 1, &[0; 600])]);
    let believed = coverage::of(&identify(&forgotten).0, forgotten.clone());
    assert!(believed.used.total() < clean.used.total());
    let dirty = over(&forgotten, &[(106, &[2])]);
    let Content::Exfat(info) = identify(&dirty).0 else { panic!("not an exFAT any more") };
    assert!(info.dirty);
    let counted = coverage::of(&identify(&dirty).0, dirty.clone());
    assert!(counted.why.as_str().contains("not unmounted cleanly"), "{}", counted.why);
    for piece in clean.used.iter() {
        assert!(counted.used.covers(piece), "{piece:?}");
    }
    // Where a directory cannot be followed either, everything is in use.
    let root = dirty.read_vec(ByteOffset(at), 64 << 10).unwrap();
    let entry = root.as_chunks::<32>().0.iter().position(|e| e[0] == 0x85).unwrap() as u64 * 32;
    let broken = over(&dirty, &[(at + entry + 4, &[0x77])]);
    let raw = coverage::of(&identify(&broken).0, broken.clone());
    assert_eq!((raw.method, raw.used.total()), (CaptureMethod::Raw, bytes.size()), "{}", raw.why);
    assert!(raw.why.as_str().contains("checksum of a directory entry"), "{}", raw.why);
}

#[test]
fn a_bitmap_that_calls_the_root_free_is_not_trusted() {
    let bytes = fixture("exfat");
    let wrong = over(&bytes, &[(bitmap(&bytes), &[0])]);
    let c = coverage::of(&identify(&wrong).0, wrong.clone());
    assert_eq!((c.method, c.used.total()), (CaptureMethod::Raw, bytes.size()));
    assert!(c.why.as_str().contains("calls free"), "{}", c.why);
}

#[test]
fn a_damaged_boot_region_is_damage_and_its_copy_is_told() {
    let bytes = fixture("exfat");
    let damage = |b: &Arc<dyn ReadAt>| match identify(b) {
        (Content::Damaged { kind: FsKind::Exfat, why }, findings) => {
            assert_eq!(findings.len(), 1);
            why.to_string()
        }
        other => panic!("{other:?}"),
    };
    let why = damage(&over(&bytes, &[(92, &[9, 9])]));
    assert!(why.contains("its checksum is") && why.contains("the copy of it at byte 6144 is whole"), "{why}");
    // What changes while it is in use is not in the checksum.
    assert!(matches!(identify(&over(&bytes, &[(112, &[77])])).0, Content::Exfat(_)));
    let gone = over(&bytes, &[(0, &[0x77; 512])]);
    assert!(damage(&gone).contains("backup boot sector at byte 6144"), "{}", damage(&gone));
    let both = over(&bytes, &[(92, &[9, 9]), (6144 + 92, &[9, 9])]);
    assert!(!damage(&both).contains("whole"));
    let c = coverage::of(&identify(&both).0, both.clone());
    assert_eq!(c.used.total(), ByteLen(24 << 20));
}

#[test]
fn an_unknown_revision_is_saved_byte_for_byte() {
    let dir = tempfile::tempdir().unwrap();
    let path = in_file(dir.path(), "exfat");
    let mut region = std::fs::read(&path).unwrap()[..6144].to_vec();
    region[105] = 2;
    let counted = region[..5632].iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
    let sum = counted.fold(0u32, |sum, (_, b)| sum.rotate_right(1).wrapping_add(u32::from(*b)));
    region[5632..].as_chunks_mut::<4>().0.iter_mut().for_each(|c| *c = sum.to_le_bytes());
    patch(&path, 0, &region);
    let bytes = image(&path);
    let (content, findings) = identify(&bytes);
    assert!(matches!(&content, Content::Recognised { name, .. } if name == "exfat"), "{content:?}");
    assert!(findings.iter().any(|f| f.says.as_str().contains("revision 2.00")), "{findings:?}");
    assert_eq!(coverage::of(&content, bytes.clone()).used.total(), bytes.size());
}
