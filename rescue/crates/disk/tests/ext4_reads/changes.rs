//! What is taken to be the same, and what never is. How a kernel writes is tried by the histories in a machine
//! (`qemu-tests/src/histories`); here is one test for each rule.

use super::tools::{Image, Noise, blocks, tree};
use disk::fs::FileSystem;
use model::coverage::{Changes, Comparison};
use model::units::Extent;
use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, SystemTime};

const MIB: u64 = 64;
pub(super) const BLOCK: u64 = 4096;

/// What boot loaders may write of that tree.
const LOADERS: [&str; 3] = ["/boot/grub/grubenv", "/boot/map", "/boot/sys"];

/// A tree with a swap file and GRUB's environment in it.
fn files() -> tempfile::TempDir {
    let tree = tree(20);
    let mut swap = Noise::new(3).bytes(300 * 4096);
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    fs::write(tree.path().join("swap"), swap).unwrap();
    // As long, and something else.
    fs::write(tree.path().join("pages"), Noise::new(4).bytes(300 * 4096)).unwrap();
    let mut grub = b"# GRUB Environment Block\n".to_vec();
    grub.resize(1024, b'#');
    fs::create_dir_all(tree.path().join("boot/grub")).unwrap();
    fs::write(tree.path().join("boot/grub/grubenv"), &grub).unwrap();
    fs::write(tree.path().join("environment"), grub).unwrap();
    fs::write(tree.path().join("boot/map"), Noise::new(5).bytes(5 * 512)).unwrap();
    std::os::unix::fs::symlink("boot/sys", tree.path().join("ldlinux.sys")).unwrap();
    fs::write(tree.path().join("boot/sys"), Noise::new(6).bytes(60_001)).unwrap();
    fs::write(tree.path().join("sectors"), Noise::new(7).bytes(8192)).unwrap();
    // Islands enough for a node of the tree beside the inode.
    let deep = fs::File::create(tree.path().join("islands")).unwrap();
    deep.set_len((2 << 20) + 1).unwrap();
    (0..9).for_each(|n| deep.write_all_at(&Noise::new(n).bytes(4096), n * 3 * 4096).unwrap());
    tree
}

pub(super) fn made(args: &[&str]) -> Image {
    Image::make(MIB, &[&["-t", "ext4", "-b", "4096"], args].concat(), Some(files().path()))
}

/// Seconds since 1970, so many from now.
pub(super) fn clock(from_now: u64) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap() + Duration::from_secs(from_now);
    format!("@{}", now.as_secs())
}

/// The same after a session that is told by its mount count and times alone, and what `commands` do besides.
pub(super) fn after(image: &Image, commands: &[&str]) -> Image {
    let later = unlogged(image, commands);
    logged(&later);
    later
}

/// The same without a trace in the journal.
pub(super) fn unlogged(image: &Image, commands: &[&str]) -> Image {
    let later = image.copy();
    // When it was last written to, debugfs says by itself.
    let session = ["ssv mnt_count 1".to_owned(), format!("ssv mtime {}", clock(0))];
    let all: Vec<String> = session.into_iter().chain(commands.iter().map(|c| (*c).to_owned())).collect();
    later.debugfs(&all);
    later
}

/// Leaves what a session leaves in a journal: a transaction of nothing, and the number after it to be the next.
fn logged(image: &Image) {
    let journal = blocks(image, "<8>");
    let bytes = fs::read(&image.path).unwrap();
    let word = |at: u64| {
        let at = usize::try_from(at).unwrap();
        u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
    };
    let Some(head) = journal.first().map(|block| block * BLOCK).filter(|at| word(*at) == 0xc03b_3998) else { return };
    // No checksums: mke2fs makes journals without.
    assert_eq!(word(head + 0x28), 0, "incompatible features of the journal");
    let sequence = word(head + 0x18);
    let commit: Vec<u8> = [0xc03b_3998, 2, sequence].into_iter().flat_map(u32::to_be_bytes).collect();
    let file = fs::OpenOptions::new().write(true).open(&image.path).unwrap();
    file.write_all_at(&commit, journal[1] * BLOCK).unwrap();
    file.write_all_at(&(sequence + 1).to_be_bytes(), head + 0x18).unwrap();
}

fn compare(before: &Image, now: &Image) -> Changes {
    now.open().changes(before.bytes())
}

/// Whether the data of a file is called the same: all of it or nothing.
pub(super) fn same(changes: &Changes, image: &Image, path: &str) -> bool {
    let all: Vec<bool> = blocks(image, path)
        .into_iter()
        .filter(|b| *b != 0)
        // debugfs lists the node of the tree first.
        .skip(usize::from(path == "/islands"))
        .map(|b| changes.same.covers(Extent::between(b * BLOCK, (b + 1) * BLOCK).unwrap()))
        .collect();
    assert!(!all.is_empty() && all.iter().all(|s| *s == all[0]), "{path}: {all:?}");
    all[0]
}

#[test]
fn a_session_is_told_by_its_inodes() {
    let before = made(&[]);
    let touched = format!("sif /file-65536 ctime {}", clock(90));
    let now = after(&before, &[&touched, "sif /file-300000 mode 0100600", "sif /file-4097 atime @1"]);
    let changes = compare(&before, &now);
    assert_eq!(changes.comparison, Comparison::Metadata, "{}", changes.why);
    for path in ["/file-3000001", "/pages", "/islands", "/deep/er/still/here", "/file-4097", "/sparse", "/sectors"] {
        assert!(same(&changes, &now, path), "{path}");
    }
    for path in ["/file-65536", "/file-300000", "/swap", "/environment", "/many", "/"].iter().chain(&LOADERS) {
        assert!(!same(&changes, &now, path), "{path}");
    }
    // The journal and the quotas look like files.
    assert!(!same(&changes, &now, "<8>"));
    // Of the inode table all but the blocks with the two inodes that changed.
    let table = super::mutants::inode_table(&before);
    let differ =
        table.filter(|block| !changes.same.covers(Extent::between(block * BLOCK, (block + 1) * BLOCK).unwrap()));
    assert!((1..=3).contains(&differ.count()));
}

#[test]
fn a_session_is_believed_where_its_end_left_a_trace() {
    let before = made(&["-O", "^metadata_csum"]);
    let told = |now: &Image| compare(&before, now).comparison;
    let patched = |image: &Image, at: u64, bytes: &[u8]| {
        let other = image.copy();
        fs::OpenOptions::new().write(true).open(&other.path).unwrap().write_all_at(bytes, at).unwrap();
        other
    };
    let written = |image: &Image, later: u64| {
        let at = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() + later;
        patched(image, 1024 + 0x30, &u32::try_from(at).unwrap().to_le_bytes())
    };
    // Nothing was logged: it was unmounted, or cut off and looked at.
    let idle = unlogged(&before, &[]);
    assert_eq!(told(&idle), Comparison::Content);
    assert_eq!(told(&written(&idle, 60)), Comparison::Metadata);
    // The journal ends with its last transaction, or a number was passed over.
    let ended = after(&before, &[]);
    assert_eq!(told(&ended), Comparison::Metadata);
    let journal = blocks(&ended, "<8>")[0] * BLOCK;
    let sequence = |next: u8| patched(&ended, journal + 0x18, &[0, 0, 0, next]);
    let replayed = sequence(3);
    assert_eq!(told(&sequence(2)), Comparison::Metadata);
    assert_eq!(told(&replayed), Comparison::Content);
    assert_eq!(told(&written(&replayed, 60)), Comparison::Metadata, "it was unmounted");
    // The log goes on behind what is called its end: e2fsck replayed it. Kernels before 6.4 leave that as it was, and what is behind it is
    // older.
    let commit = |image: &Image, block: usize, sequence: u8| {
        let header = [[0xc0, 0x3b, 0x39, 0x98], [0, 0, 0, 2], [0, 0, 0, sequence]].concat();
        patched(image, blocks(&ended, "<8>")[block] * BLOCK, &header)
    };
    let ends_at = |image: &Image, block: u8| patched(image, journal + 0x58, &[0, 0, 0, block]);
    let replayed = written(&patched(&ended, journal + 0x18, &[0, 0, 0, 9]), 60);
    let goes_on = ends_at(&commit(&commit(&replayed, 20, 6), 21, 7), 21);
    assert_eq!(told(&goes_on), Comparison::Content);
    let older = ends_at(&commit(&commit(&commit(&replayed, 20, 6), 21, 7), 1, 8), 21);
    assert_eq!(told(&older), Comparison::Metadata);
    // The session went round the log: copies of blocks come first, of a transaction that began at its end.
    let round = |next: u8| {
        let stale = ends_at(&commit(&patched(&ended, journal + 0x18, &[0, 0, 0, next]), 20, 6), 21);
        let copies = patched(&stale, blocks(&ended, "<8>")[1] * BLOCK, &[7; 2 * 4096]);
        commit(&commit(&copies, 3, 7), 4, 8)
    };
    assert_eq!(told(&round(9)), Comparison::Metadata);
    assert_eq!(told(&round(10)), Comparison::Content);
    // It was longer than the one before: what is called the end lies in the middle of it.
    let longer = |next: u8| {
        let stale = ends_at(&patched(&ended, journal + 0x18, &[0, 0, 0, next]), 3);
        (1..=4).fold(stale, |image, block| commit(&image, usize::from(block), block + 4))
    };
    assert_eq!(told(&longer(9)), Comparison::Metadata);
    assert_eq!(told(&longer(10)), Comparison::Content);
}

#[test]
fn untouched_but_for_what_boot_loaders_write() {
    let before = made(&[]);
    let changes = compare(&before, &before);
    assert_eq!(changes.comparison, Comparison::Untouched, "{}", changes.why);
    for path in ["/file-3000001", "/pages", "/islands", "/swap", "/many", "/sectors", "<8>"] {
        assert!(same(&changes, &before, path), "{path}");
    }
    for path in LOADERS {
        assert!(!same(&changes, &before, path), "{path}");
    }
    assert!(!changes.same.covers(Extent::between(0, 1).unwrap()), "the boot block");
}

#[test]
fn a_node_of_the_map_is_part_of_the_file() {
    let before = made(&["-O", "^metadata_csum"]);
    let now = after(&before, &[]);
    assert!(same(&compare(&before, &now), &now, "/islands"));
    // The unused end of every node that is one: it is not what it was.
    let bytes = fs::read(&before.path).unwrap();
    let mut nodes = 0;
    let file = fs::OpenOptions::new().write(true).open(&before.path).unwrap();
    for (no, block) in (0..).zip(bytes.chunks_exact(4096)) {
        if block[..2] == [0x0a, 0xf3] {
            file.write_all_at(&[1], no * BLOCK + 4090).unwrap();
            nodes += 1;
        }
    }
    assert_eq!(nodes, 1);
    let changes = compare(&before, &now);
    assert!(!same(&changes, &now, "/islands") && same(&changes, &now, "/pages"));
}

#[test]
fn nothing_is_told_where_it_cannot_be() {
    let before = made(&[]);
    let told = |before: &Image, now: &Image| {
        let changes = compare(before, now);
        assert_eq!(changes.comparison, Comparison::Content);
        assert!(changes.same.is_empty());
        changes.why.as_str().to_owned()
    };
    let with = |image: &Image, command: &str| {
        let other = image.copy();
        other.debugfs(&[command.to_owned()]);
        other
    };
    let now = after(&before, &[]);
    assert!(told(&before, &with(&now, "ssv mnt_count 2")).contains("2 sessions"));
    assert!(told(&before, &with(&now, "ssv mnt_count 0")).contains("0 sessions"));
    assert!(told(&before, &with(&now, "ssv mtime @1000000000")).contains("backwards"));
    assert!(told(&before, &with(&now, "ssv state 0")).contains("not unmounted"));
    assert!(told(&before, &with(&now, "feature needs_recovery")).contains("not unmounted"));
    assert!(told(&with(&before, "ssv state 0"), &now).contains("in use"));
    assert!(told(&with(&before, "feature needs_recovery"), &now).contains("in use"));
    assert!(told(&before, &with(&now, "ssv lastcheck @1900000000")).contains("checked"));
    assert!(told(&before, &with(&now, "ssv default_mount_opts 0x20")).contains("journal"));
    assert!(told(&made(&[]), &now).contains("made anew"));
    let empty = Image::make(MIB, &["-t", "ext4"], None);
    fs::write(&empty.path, vec![0; 64 << 20]).unwrap();
    assert!(told(&empty, &now).contains("no ext file system"));
    let without = made(&["-O", "^has_journal"]);
    assert!(told(&without, &without).contains("no journal"));
}

#[test]
fn inodes_without_nanoseconds_tell_nothing() {
    let before = made(&["-I", "128"]);
    let now = after(&before, &[]);
    let changes = compare(&before, &now);
    assert_eq!(changes.comparison, Comparison::Metadata);
    for path in ["/file-3000001", "/pages", "/deep/er/still/here"] {
        assert!(!same(&changes, &now, path), "{path}");
    }
}

/// Whatever stands in the earlier state, it is an answer, in bounded time.
#[test]
fn a_hostile_past_is_survived() {
    let before = made(&[]);
    let now = after(&before, &[]);
    let good = fs::read(&before.path).unwrap();
    let used: Vec<usize> =
        (0..good.len() / 4096).filter(|b| good[b * 4096..(b + 1) * 4096].iter().any(|x| *x != 0)).collect();
    let mut noise = Noise::new(11);
    for _ in 0..60 {
        let mut bad = good.clone();
        for _ in 0..1 + noise.below(6) {
            let block = if noise.below(2) == 0 { noise.below(12) } else { used[noise.below(used.len())] };
            let at = block * 4096 + noise.below(4090);
            let len = 1 + noise.below(6);
            let patch = noise.bytes(len);
            bad[at..at + patch.len()].copy_from_slice(&patch);
        }
        let fs = now.open();
        let _ = fs.changes(std::sync::Arc::new(bad));
    }
}

/// What a capture that was stopped is gone on from: the name of the state, which is told by what proves that nobody wrote, and by no more.
#[test]
fn the_state_of_what_nobody_wrote_to_has_one_name() {
    let name = |image: &Image| image.open().coverage().state;
    let before = made(&[]);
    assert!(name(&before).is_some());
    assert_eq!(name(&before.copy()), name(&before));
    // When it was last written to, debugfs says by itself: maybe in the same second.
    for command in ["ssv mnt_count 1", "ssv mtime @1790000000", "ssv kbytes_written 9"] {
        let later = before.copy();
        later.debugfs(&[command.to_owned()]);
        assert!(name(&later).is_some_and(|n| Some(n) != name(&before)), "{command}");
    }
    let in_use = before.copy();
    in_use.debugfs(&["ssv state 0".to_owned()]);
    assert_eq!((name(&in_use), name(&made(&["-O", "^has_journal"]))), (None, None));
}
