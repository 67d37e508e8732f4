//! What lies on a volume: swap made by mkswap, ext by mke2fs, signatures, fences, wiped and failing volumes.
#![allow(clippy::unwrap_used, reason = "tests")]

mod host;

use disk::{content, coverage, fence};
use host::{Seeded, blank, image, patch, run};
use model::coverage::CaptureMethod;
use model::id::{Digest, DiskNo, IntentId, VolumePath};
use model::inspection::{Content, FenceInfo, Finding, FsKind, Severity, SwapInfo};
use model::ports::{ReadAt, ReadError};
use model::units::{ByteLen, ByteOffset};
use std::sync::Arc;

const MIB: u64 = 1 << 20;

fn identify(bytes: &Arc<dyn ReadAt>) -> (Content, Vec<Finding>) {
    content::identify(&VolumePath::partition(DiskNo(0), 1), bytes)
}

fn with(size: usize, patches: &[(usize, &[u8])]) -> Arc<dyn ReadAt> {
    let mut v = vec![0; size];
    for (at, bytes) in patches {
        v[*at..at + bytes.len()].copy_from_slice(bytes);
    }
    Arc::new(v)
}

#[test]
fn swap_reads_as_mkswap_made_it() {
    for page in [4096u32, 8192, 16_384, 65_536] {
        let dir = tempfile::tempdir().unwrap();
        let path = blank(dir.path(), "swap.img", 8 * MIB);
        let uuid = "01234567-89ab-cdef-0123-456789abcdef";
        let args = ["-p", &page.to_string(), "-L", "my swap", "-U", uuid, path.to_str().unwrap()];
        run("util-linux", "mkswap", &args, "");
        let info = SwapInfo { uuid: Some(uuid.into()), label: "my swap".into(), page_size: page, hibernated: false };
        assert_eq!(identify(&image(&path)), (Content::Swap(info.clone()), vec![]));
        let c = coverage::of(&Content::Swap(info.clone()), image(&path));
        assert_eq!((c.method, c.used.total().0), (CaptureMethod::HeaderOnly, u64::from(page)));
        // As the kernel leaves it when it hibernates: the signature alone changes.
        for signature in [b"S1SUSPEND\0", b"ULSUSPEND\0", b"LINHIB0001"] {
            patch(&path, u64::from(page) - 10, signature);
            let asleep = SwapInfo { hibernated: true, ..info.clone() };
            assert_eq!(identify(&image(&path)), (Content::Swap(asleep.clone()), vec![]));
            let c = coverage::of(&Content::Swap(asleep), image(&path));
            assert_eq!((c.method, c.used.total().0), (CaptureMethod::Raw, 8 * MIB));
        }
    }
}

#[test]
fn swap_that_is_too_long_for_its_volume() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "swap.img", 8 * MIB);
    run("util-linux", "mkswap", &[path.to_str().unwrap()], "");
    std::fs::File::options().write(true).open(&path).unwrap().set_len(4 * MIB).unwrap();
    let (content, findings) = identify(&image(&path));
    assert!(matches!(content, Content::Swap(_)));
    assert!(findings[0].says.as_str().contains("counts 2048 pages"), "{findings:?}");
}

#[test]
fn signatures() {
    let size = 256 << 10;
    let known: [(&str, usize, &[u8]); 9] = [
        ("ntfs", 3, b"NTFS    "),
        ("exfat", 3, b"EXFAT   "),
        ("bitlocker", 3, b"-FVE-FS-"),
        ("lvm2", 512, b"LABELONE"),
        ("md", 4096, &[0xfc, 0x4e, 0x2b, 0xa9]),
        ("squashfs", 0, b"hsqs"),
        ("iso9660", 32_769, b"CD001"),
        ("f2fs", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
        ("erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    ];
    for (name, at, mark) in known {
        let bytes = with(size, &[(at, mark)]);
        let (content, findings) = identify(&bytes);
        assert_eq!(content, Content::Recognised { name: name.into(), sealed: false });
        assert_eq!(findings, []);
        assert_eq!(coverage::of(&content, bytes).method, CaptureMethod::Raw);
    }
    // A header of no known version: recognised, and said what is wrong with it.
    let (content, findings) = identify(&with(size, &[(0, b"LUKS\xba\xbe\0\x09")]));
    assert_eq!(content, Content::Recognised { name: "luks".into(), sealed: false });
    assert!(findings[0].says.as_str().contains("version 9"), "{findings:?}");
    assert_eq!(identify(&with(size, &[])).0, Content::Empty);
    assert_eq!(identify(&with(2 << 20, &[((1 << 20) + 5, b"x")])).0, Content::Empty, "past the first MiB");
    assert_eq!(identify(&with(size, &[(200, b"x")])).0, Content::Unknown);
    for small in [0, 1, 511, 512, 1024, 4095, 4096, 5000] {
        assert_eq!(identify(&with(small, &[])).0, Content::Empty, "{small} bytes");
    }
}

/// The leg of a mirror whose superblock is at the end begins like the file system on it.
#[test]
fn a_mirror_is_not_taken_for_its_file_system() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "leg.img", 8 * MIB);
    run("dosfstools", "mkfs.vfat", &[path.to_str().unwrap()], "");
    assert!(matches!(identify(&image(&path)).0, Content::Fat(_)));
    let sector = (8 * MIB / 512 - 16) & !7;
    let mut sb = [0u8; 256];
    sb[..8].copy_from_slice(&[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0]);
    sb[144..152].copy_from_slice(&sector.to_le_bytes());
    patch(&path, sector * 512, &sb);
    assert_eq!(identify(&image(&path)).0, Content::Recognised { name: "md".into(), sealed: false });
    // Of an array that stood elsewhere: a leftover.
    sb[144] ^= 8;
    patch(&path, sector * 512, &sb);
    assert!(matches!(identify(&image(&path)).0, Content::Fat(_)));
}

#[test]
fn a_fence_goes_before_everything() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "ext.img", 8 * MIB);
    run("e2fsprogs", "mke2fs", &["-q", "-t", "ext4", path.to_str().unwrap()], "");
    let info = FenceInfo { intent: IntentId(Digest::of(b"x")), store: "s1".into(), was: "ext4 root".into() };
    patch(&path, 0, &fence::encode(&info));
    let (content, findings) = identify(&image(&path));
    assert_eq!(content, Content::Fenced(info));
    assert_eq!(findings[0].severity, Severity::Damage);
    assert!(findings[0].says.as_str().contains("ext4 root"));
    let c = coverage::of(&content, image(&path));
    assert_eq!((c.method, c.used.total().0), (CaptureMethod::Raw, 8 * MIB));
    // And nothing else takes it for anything: blkid sees no file system.
    let (ok, said) = host::attempt("util-linux", "blkid", &["-p", path.to_str().unwrap()], "");
    assert!(!ok && said.is_empty(), "{said}");
}

#[test]
fn ext_and_its_damage() {
    for (args, kind, backup) in [
        (["-t", "ext2", "-b", "1024"], FsKind::Ext2, 8193 * 1024),
        (["-t", "ext3", "-b", "2048"], FsKind::Ext3, 16_384 * 2048),
        (["-t", "ext4", "-b", "4096"], FsKind::Ext4, 32_768 * 4096),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = blank(dir.path(), "ext.img", 200 * MIB);
        run("e2fsprogs", "mke2fs", &[&args, ["-q", "-L", "root", path.to_str().unwrap()].as_slice()].concat(), "");
        let (content, findings) = identify(&image(&path));
        let Content::Ext(info) = content else { panic!("{content:?}") };
        assert_eq!((info.kind, info.label.as_str()), (kind, "root"));
        assert_eq!(findings, []);
        // The superblock overwritten with something else.
        patch(&path, 1024, &[0x77; 1024]);
        let (content, findings) = identify(&image(&path));
        let Content::Damaged { kind: k, why } = &content else { panic!("{content:?}") };
        assert_eq!(*k, kind);
        assert!(why.as_str().contains(&format!("byte {backup} is still there")), "{why}");
        assert_eq!(findings.len(), 1);
        assert_eq!(coverage::of(&content, image(&path)).used.total().0, 200 * MIB);
        // The first MiB zero: empty, with a warning.
        patch(&path, 0, &vec![0; 1 << 20]);
        let (content, findings) = identify(&image(&path));
        assert_eq!(content, Content::Empty);
        assert!(findings[0].says.as_str().contains("backup superblock"), "{findings:?}");
    }
}

#[test]
fn a_superblock_that_lies_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let path = blank(dir.path(), "ext.img", 200 * MIB);
    run("e2fsprogs", "mke2fs", &["-q", "-t", "ext4", path.to_str().unwrap()], "");
    // s_blocks_per_group, which the checksum covers.
    patch(&path, 1024 + 0x20, &[1]);
    let (content, _) = identify(&image(&path));
    let Content::Damaged { why, .. } = &content else { panic!("{content:?}") };
    assert!(why.as_str().contains("is still there"), "{why}");
}

/// A disk whose first sectors cannot be read.
struct Failing;

impl ReadAt for Failing {
    fn size(&self) -> ByteLen {
        ByteLen(64 * MIB)
    }
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        if at.0 < 65_536 {
            let len = buf.len() as u64;
            return Err(ReadError::Io { at: at.0, len, source: std::io::Error::from_raw_os_error(5) });
        }
        buf.fill(0);
        Ok(())
    }
}

#[test]
fn a_failing_disk_is_a_finding() {
    let (content, findings) = identify(&(Arc::new(Failing) as Arc<dyn ReadAt>));
    assert_eq!(content, Content::Unknown);
    assert!(findings[0].says.as_str().contains("cannot be told"), "{findings:?}");
    let inspection = disk::inspect(&[host::source(0, Arc::new(Failing))]);
    assert_eq!(inspection.disks[0].volumes.len(), 1);
    assert!(inspection.findings.iter().all(|f| f.severity == Severity::Damage));
}

/// Noise with the marks of every reader in it: never a panic.
#[test]
fn noise_never_panics() {
    let mut rng = Seeded(11);
    for _ in 0..300 {
        let mut v: Vec<u8> = (0..96 << 10).map(|_| rng.byte()).collect();
        v[510..512].copy_from_slice(&[0x55, 0xaa]);
        match rng.below(5) {
            0 => v[1024 + 0x38..1024 + 0x3a].copy_from_slice(&[0x53, 0xef]),
            1 => v[4086..4096].copy_from_slice(b"SWAPSPACE2"),
            2 => v[82..90].copy_from_slice(b"FAT32   "),
            3 => v[54..62].copy_from_slice(b"FAT16   "),
            _ => v[0] = 0xeb,
        }
        let bytes: Arc<dyn ReadAt> = Arc::new(v);
        let (content, _) = identify(&bytes);
        let c = coverage::of(&content, bytes.clone());
        assert!(c.used.total() <= bytes.size());
        let _ = disk::fs::open(&content, bytes);
    }
}
