//! NTFS: what mkntfs makes, what is in use by partclone, states, what is not read, damage.

use crate::host::{blank, image, patch, run};
use crate::tools::{fixture, free_by_partclone, identify, in_file, open};
use disk::coverage;
use disk::fs::FsError;
use model::coverage::CaptureMethod;
use model::inspection::{Content, FileKind, FsKind, NtfsInfo, NtfsLog};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset, Extent};
use std::path::Path;
use std::sync::Arc;

fn info(bytes: &Arc<dyn ReadAt>) -> NtfsInfo {
    match identify(bytes) {
        (Content::Ntfs(info), findings) => {
            assert!(findings.is_empty(), "{findings:?}");
            info
        }
        other => panic!("{other:?}"),
    }
}

/// Copies a file into an image, without mounting it.
fn put(image: &Path, content: &[u8], to: &str) {
    let file = image.with_extension("file");
    std::fs::write(&file, content).unwrap();
    run("ntfs-3g", "ntfscp", &["-f", image.to_str().unwrap(), file.to_str().unwrap(), to], "");
}

/// Where the `n`th part of a record begins that this finds: a record of the MFT by its number.
fn record(bytes: &[u8], number: usize) -> usize {
    let word = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let cluster = word(11) * usize::from(bytes[13]);
    let mft = usize::try_from(u64::from_le_bytes(bytes[48..56].try_into().unwrap())).unwrap() * cluster;
    let size = if bytes[64] < 0x80 { usize::from(bytes[64]) * cluster } else { 1 << (256 - usize::from(bytes[64])) };
    mft + number * size
}

fn all(bytes: &Arc<dyn ReadAt>) -> Vec<u8> {
    bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap()
}

#[test]
fn what_mkntfs_says_is_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let layouts: [(u64, &[&str], u32); 5] = [
        (8 << 20, &["-c", "512", "-L", "\u{dc}ber"], 512),
        (20 << 20, &["-s", "4096", "-c", "4096"], 4096),
        (40 << 20, &["-c", "65536"], 65_536),
        (200 << 20, &["-c", "262144"], 262_144),
        (9 << 20, &["-s", "1024", "-c", "2048"], 2048),
    ];
    for (size, args, cluster) in layouts {
        let path = blank(dir.path(), "image", size);
        let text = path.to_str().unwrap();
        run("ntfs-3g", "mkntfs", &[&["-q", "-Q", "-F"], args, &[text]].concat(), "");
        put(&path, b"some content", "/file");
        let bytes = image(&path);
        let info = info(&bytes);
        assert_eq!((info.version, info.cluster_size, info.dirty), ((3, 1), cluster, false), "{args:?}");
        assert_eq!((info.log, info.hibernated), (NtfsLog::Empty, Some(false)), "{args:?}");
        assert_eq!(info.label.as_str(), if cluster == 512 { "\u{dc}ber" } else { "" });
        let said = run("ntfs-3g", "ntfsinfo", &["-m", "-f", text], "");
        let number = |key: &str| said.lines().find_map(|l| l.trim().strip_prefix(key)).unwrap().trim().to_owned();
        assert_eq!(info.clusters.to_string(), number("Volume Size in Clusters:"), "{args:?}");
        let fs = open(&bytes);
        let file = fs.open(b"/FILE").unwrap().unwrap();
        assert_eq!(file.read_vec(ByteOffset(0), 12).unwrap(), b"some content");
        let listed = fs.read_dir(b"/", 100).unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        let c = coverage::of(&Content::Ntfs(info), bytes.clone());
        assert_eq!((c.method, c.why.as_str()), (CaptureMethod::UsedBlocks, "ntfs, clean"), "{args:?}");
        assert_eq!(c.used.gaps(Extent::whole(bytes.size())), free_by_partclone("ntfs", &path), "{args:?}");
    }
}

/// What the coverage leaves out is what partclone leaves out; it may be anything, and the tools call the volume clean.
#[test]
fn what_is_not_covered_does_not_matter() {
    for name in ["ntfs", "ntfs-small", "ntfs-large"] {
        let dir = tempfile::tempdir().unwrap();
        let path = in_file(dir.path(), name);
        let bytes = image(&path);
        let c = coverage::of(&identify(&bytes).0, bytes.clone());
        assert_eq!((c.method, c.why.as_str()), (CaptureMethod::UsedBlocks, "ntfs, clean"), "{name}");
        let free = c.used.gaps(Extent::whole(bytes.size()));
        assert_eq!(free, free_by_partclone("ntfs", &path), "{name}");
        assert!(c.used.covers(Extent::between((24 << 20) - 512, 24 << 20).unwrap()), "the copy of the boot sector");
        for gap in free.iter() {
            patch(&path, gap.start().0, &vec![0xa5; gap.len().to_usize().unwrap()]);
        }
        let text = path.to_str().unwrap();
        let said = run("ntfs-3g", "ntfsresize", &["-i", "-f", text], "");
        assert!(!said.contains("inconsisten"), "{said}");
        run("ntfs-3g", "ntfsfix", &["-n", text], "");
        let fs = open(&image(&path));
        for file in ["/Documents/large.bin", "/packed/mixed", "/pieces"] {
            let (is, was) =
                (fs.open(file.as_bytes()).unwrap().unwrap(), open(&bytes).open(file.as_bytes()).unwrap().unwrap());
            let len = is.size().to_usize().unwrap();
            assert!(is.read_vec(ByteOffset(0), len).unwrap() == was.read_vec(ByteOffset(0), len).unwrap(), "{file}");
        }
    }
}

/// A restart page as Windows writes it ("[kernel] fs/ntfs3/fslog.c", `struct RESTART_HDR`): open where a client has it.
fn restart_page(lsn: u64, open: bool) -> Vec<u8> {
    let mut page = vec![0u8; 4096];
    page[..4].copy_from_slice(b"RSTR");
    page[4..8].copy_from_slice(&[0x1e, 0, 9, 0]);
    page[16..24].copy_from_slice(&[0, 0x10, 0, 0, 0, 0x10, 0, 0]);
    page[24..30].copy_from_slice(&[0x30, 0, 1, 0, 1, 0]);
    page[0x30..0x38].copy_from_slice(&lsn.to_le_bytes());
    page[0x38..0x3a].copy_from_slice(&[1, 0]);
    page[0x3c..0x3e].copy_from_slice(&if open { [0, 0] } else { [0xff, 0xff] });
    for part in 0..8 {
        let end = (part + 1) * 512;
        let (a, b) = (page[end - 2], page[end - 1]);
        page[0x20 + part * 2..0x22 + part * 2].copy_from_slice(&[a, b]);
        page[end - 2..end].copy_from_slice(&[5, 0]);
    }
    page[0x1e..0x20].copy_from_slice(&[5, 0]);
    page
}

/// Where the log lies: `ntfsinfo` tells.
fn log_at(path: &Path) -> u64 {
    let said = run("ntfs-3g", "ntfsinfo", &["-v", "-f", "-i", "2", path.to_str().unwrap()], "");
    let at = said.find("LCN").unwrap_or_else(|| panic!("{said}"));
    let numbers = said[at..].lines().nth(1).unwrap();
    let lcn = numbers.split_whitespace().nth(1).unwrap();
    u64::from_str_radix(lcn.trim_start_matches("0x"), 16).unwrap() * 4096
}

#[test]
fn a_log_that_was_not_closed_makes_everything_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = in_file(dir.path(), "ntfs");
    let at = log_at(&path);
    let write = |pages: &[Vec<u8>]| pages.iter().zip([at, at + 4096]).for_each(|(page, at)| patch(&path, at, page));
    let state = || {
        let bytes = image(&path);
        let (content, findings) = identify(&bytes);
        let Content::Ntfs(info) = &content else { panic!("{content:?}") };
        (info.log, findings.len(), coverage::of(&content, bytes.clone()))
    };
    write(&[restart_page(10, false), restart_page(9, true)]);
    let (log, findings, c) = state();
    assert_eq!((log, findings, c.method), (NtfsLog::Closed, 0, CaptureMethod::UsedBlocks), "{}", c.why);
    // Of the two pages the newer one counts.
    write(&[restart_page(10, false), restart_page(11, true)]);
    let (log, _, c) = state();
    assert_eq!((log, c.method, c.used.total()), (NtfsLog::Open, CaptureMethod::Raw, ByteLen(24 << 20)));
    assert_eq!(
        c.why.as_str(),
        "ntfs, its log was not closed, and its allocation may not be what its bitmap says: captured raw"
    );
    // One that was cut off while it was written does not count.
    let mut torn = restart_page(11, true);
    torn[511] = 9;
    write(&[restart_page(10, false), torn.clone()]);
    assert_eq!(state().0, NtfsLog::Closed);
    write(&[torn.clone(), torn]);
    let (log, findings, c) = state();
    assert_eq!((log, findings, c.method), (NtfsLog::Untold, 1, CaptureMethod::Raw), "{}", c.why);
}

#[test]
fn a_hibernated_windows_makes_everything_count() {
    let dir = tempfile::tempdir().unwrap();
    for (head, size, wanted) in [
        (&b"HIBR"[..], 9000, true),
        (b"hibr", 9000, true),
        (b"RSTR", 9000, true),
        (b"WAKE", 9000, false),
        (b"\0\0\0\0", 9000, false),
        (b"HIBR", 4000, false),
    ] {
        let path = in_file(dir.path(), "ntfs-large");
        let mut content = vec![0; size];
        content[..4].copy_from_slice(head);
        put(&path, &content, "/hiberfil.sys");
        let bytes = image(&path);
        let info = info(&bytes);
        assert_eq!(info.hibernated, Some(wanted), "{head:?}");
        let c = coverage::of(&Content::Ntfs(info), bytes.clone());
        assert_eq!(c.method == CaptureMethod::Raw, wanted, "{}", c.why);
        assert!(!wanted || c.why.as_str().contains("memory of a hibernated system"), "{}", c.why);
    }
}

/// The dirty mark: what files lead to counts besides, also where the bitmap does not have it.
#[test]
fn a_dirty_volume_counts_what_its_files_lead_to() {
    let bytes = fixture("ntfs");
    let clean = coverage::of(&identify(&bytes).0, bytes.clone());
    let mut changed = all(&bytes);
    let volume = record(&changed, 3);
    // $VOLUME_INFORMATION, resident: its flags are the last two bytes of twelve.
    let at = (volume..volume + 900).find(|at| changed[*at..*at + 4] == [0x70, 0, 0, 0]).unwrap();
    assert_eq!(changed[at + 8], 0, "resident");
    let value = at + usize::from(changed[at + 20]);
    assert_eq!(changed[value + 8..value + 10], [3, 1]);
    changed[value + 10] |= 1;
    let dirty: Arc<dyn ReadAt> = Arc::new(changed.clone());
    assert!(info(&dirty).dirty);
    let c = coverage::of(&identify(&dirty).0, dirty.clone());
    assert_eq!((c.method, &c.used), (CaptureMethod::UsedBlocks, &clean.used), "{}", c.why);
    // An unknown version is not believed.
    changed[value + 9] = 7;
    let newer: Arc<dyn ReadAt> = Arc::new(changed);
    let (content, findings) = identify(&newer);
    assert!(matches!(&content, Content::Recognised { name, .. } if name == "ntfs"), "{content:?}");
    assert!(findings.iter().any(|f| f.says.as_str().contains("version 3.7")), "{findings:?}");
}

#[test]
fn a_damaged_boot_sector_is_damage_and_its_copy_is_told() {
    let bytes = fixture("ntfs");
    let damage = |changes: &[(usize, &[u8])]| {
        let mut changed = all(&bytes);
        changes.iter().for_each(|(at, new)| changed[*at..*at + new.len()].copy_from_slice(new));
        match identify(&(Arc::new(changed) as Arc<dyn ReadAt>)) {
            (Content::Damaged { kind: FsKind::Ntfs, why }, findings) => {
                assert_eq!(findings.len(), 1);
                why.to_string()
            }
            other => panic!("{other:?}"),
        }
    };
    let copy = (24 << 20) - 512;
    let why = damage(&[(13, &[3])]);
    assert!(why.contains("clusters of 0x03 sectors") && why.contains(&format!("at byte {copy} is whole")), "{why}");
    assert!(damage(&[(0, &[0x77; 512])]).contains(&format!("backup boot sector at byte {copy}")));
    assert!(damage(&[(48, &[0xff; 8])]).contains("an MFT in cluster"));
    let mft = record(&all(&bytes), 0);
    assert!(damage(&[(mft, b"BAAD")]).contains("record 0 of the MFT: it begins with \"BAAD\""));
    assert!(damage(&[(mft + 510, &[0xee, 0xee])]).contains("is of another write"));
}

/// A symbolic link and a junction as Windows makes them, a file that it packed by itself, one that is elsewhere.
#[test]
fn what_is_kept_elsewhere_is_named() {
    let bytes = fixture("reparse");
    let fs = open(&bytes);
    for (path, wanted) in [("/link", "Documents/large.bin"), ("/junction", "C:/Users")] {
        assert_eq!(fs.stat(path.as_bytes()).unwrap().unwrap().kind, FileKind::Symlink, "{path}");
        assert_eq!(fs.read_link(path.as_bytes()).unwrap().unwrap(), wanted.as_bytes(), "{path}");
    }
    assert_eq!(fs.open(b"/link").unwrap().unwrap().size().0, 300_001, "it leads there");
    assert!(fs.open(b"/junction").unwrap().is_none(), "it leads out of the volume");
    let why = |path: &str| match fs.open(path.as_bytes()) {
        Err(FsError::Incompatible(why)) => why,
        other => panic!("{path}: {:?}", other.map(|f| f.is_some())),
    };
    assert!(why("/by-the-system").contains("WOF"));
    assert!(why("/in-a-cloud").contains("cloud"));
    // None of the file system's own files is shown.
    assert!(fs.read_dir(b"/", 100).unwrap().iter().all(|f| !f.name.0.starts_with(b"$")));
    assert!(fs.stat(b"/$MFT").unwrap().is_some(), "but it can be asked for");
}
