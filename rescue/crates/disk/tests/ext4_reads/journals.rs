//! Journals that hold what is not yet in its place: logs written by debugfs block by block, and file systems copied while
//! the kernel had them mounted, against what e2fsck and the kernel make of them.

use super::tools::{Image, Noise, assert_same, e2, said, tool};
use disk::fs::FileSystem;
use disk::fs::ext4::{Ext4, identify};
use model::coverage::CaptureMethod;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a log block that is not the log's own must not begin with.
const MAGIC: [u8; 4] = [0xc0, 0x3b, 0x39, 0x98];

/// An image with a file of eight blocks, into whose journal debugfs writes.
struct Log {
    image: Image,
    block_size: usize,
    /// Where the file's blocks are.
    blocks: Vec<u64>,
    /// What they hold before the journal is replayed.
    old: Vec<u8>,
    /// `jo` with its options.
    open: String,
}

impl Log {
    fn make(args: &[&str], block_size: usize, open: &str) -> Self {
        let tree = tempfile::tempdir().unwrap();
        let old = Noise::new(7).bytes(block_size * 8);
        fs::write(tree.path().join("victim"), &old).unwrap();
        let size = block_size.to_string();
        let image = Image::make(24, &[args, &["-b", &size]].concat(), Some(tree.path()));
        let blocks = (0..8)
            .map(|i| said(e2("debugfs").arg("-R").arg(format!("bmap victim {i}")).arg(&image.path)))
            .map(|text| text.trim().parse().unwrap())
            .collect();
        Self { image, block_size, blocks, old, open: open.to_owned() }
    }

    /// Has debugfs write one transaction for each command, where `{n}` is the place of the file's block n and `@name`
    /// the path of that file beside the image.
    fn write(&self, transactions: &[&str]) {
        let mut commands = vec![self.open.clone()];
        for transaction in transactions {
            let mut command = (*transaction).to_owned();
            for (i, block) in self.blocks.iter().enumerate() {
                command = command.replace(&format!("{{{i}}}"), &block.to_string());
            }
            commands.push(command.replace('@', &format!("{}/", self.image.path.parent().unwrap().display())));
        }
        commands.push("jc".to_owned());
        let out = self.image.debugfs(&commands);
        assert!(!out.contains("rror") && !out.contains("sage"), "{out}");
    }

    fn beside(&self, name: &str, bytes: &[u8]) {
        self.image.beside(name, bytes);
    }

    fn victim(&self, fs: &Ext4) -> Vec<u8> {
        let file = fs.open(b"/victim").unwrap().unwrap();
        file.read_vec(ByteOffset(0), self.old.len()).unwrap()
    }

    /// The file with some of its blocks replaced.
    fn with(&self, blocks: &[(usize, &[u8])]) -> Vec<u8> {
        let mut all = self.old.clone();
        for (i, bytes) in blocks {
            all[i * self.block_size..(i + 1) * self.block_size].copy_from_slice(bytes);
        }
        all
    }

    /// Asserts what the file reads as, here and after e2fsck replayed a copy.
    fn assert_reads(&self, expected: &[u8], what: &str) {
        let before = fs::read(&self.image.path).unwrap();
        let fs = self.image.open();
        assert!(self.victim(&fs) == expected, "{what}: our replay differs, {:?}", fs.doubt());
        assert_eq!(fs.doubt(), None, "{what}");
        let copy = self.image.copy();
        copy.replay();
        let dump = copy.path.with_extension("dump");
        said(e2("debugfs").arg("-R").arg(format!("dump victim {}", dump.display())).arg(&copy.path));
        assert!(fs::read(&dump).unwrap() == expected, "{what}: e2fsck differs");
        assert!(fs::read(&self.image.path).unwrap() == before, "looking wrote");
    }

    /// The byte of the image where block `at` of the journal begins.
    fn place(&self, at: u64) -> u64 {
        let text = said(e2("debugfs").arg("-R").arg(format!("bmap <8> {at}")).arg(&self.image.path));
        text.trim().parse::<u64>().unwrap() * self.block_size as u64
    }

    fn flip(&self, at: u64) {
        let file = File::options().read(true).write(true).open(&self.image.path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
    }
}

const LOGS: &[(&str, &[&str], usize, &str)] = &[
    ("no checksums", &["-t", "ext4", "-O", "^metadata_csum"], 1024, "jo"),
    ("no checksums, not 64bit", &["-t", "ext4", "-O", "^metadata_csum,^64bit"], 1024, "jo"),
    ("version 2", &["-t", "ext4"], 1024, "jo -c -v 2"),
    ("version 2, not 64bit", &["-t", "ext4", "-O", "^64bit"], 1024, "jo -c -v 2"),
    ("version 3", &["-t", "ext4"], 1024, "jo -c -v 3"),
    ("version 3, not 64bit", &["-t", "ext4", "-O", "^64bit"], 1024, "jo -c -v 3"),
    ("version 3, 4 KiB blocks", &["-t", "ext4"], 4096, "jo -c -v 3"),
    ("ext3", &["-t", "ext3"], 1024, "jo"),
];

#[test]
fn logged_blocks_are_read_in_their_places() {
    for (name, args, size, open) in LOGS {
        let log = Log::make(args, *size, open);
        let mut noise = Noise::new(3);
        let (a, b, c) = (noise.bytes(*size), noise.bytes(*size), noise.bytes(*size));
        let magic = [&MAGIC[..], &noise.bytes(*size - 4)].concat();
        log.beside("a", &a);
        log.beside("b", &b);
        log.beside("c", &c);
        log.beside("m", &magic);
        log.beside("ab", &[&a[..], &b].concat());
        log.beside("abm", &[&a[..], &b, &magic].concat());

        // One transaction, and a block that looks like the log's own.
        log.write(&["jw -b {0},{3},{5} @abm"]);
        log.assert_reads(&log.with(&[(0, &a), (3, &b), (5, &magic)]), name);
        // The newer copy wins.
        log.write(&["jw -b {3} @c", "jw -b {0} @m"]);
        log.assert_reads(&log.with(&[(0, &magic), (3, &c), (5, &magic)]), name);
        // A revoked block keeps what it had, whatever was logged before...
        log.write(&["jw -r {3}"]);
        log.assert_reads(&log.with(&[(0, &magic), (5, &magic)]), name);
        // ... and gets what is logged later.
        log.write(&["jw -b {3} @b", "jw -r {5}", "jw -b {7},{6} @ab"]);
        log.assert_reads(&log.with(&[(0, &magic), (3, &b), (6, &b), (7, &a)]), name);
        assert_eq!(log.image.open().replayed(), 7, "{name}");

        // A transaction without a commit block never was.
        log.write(&["jw -c -b {1} @a"]);
        log.assert_reads(&log.with(&[(0, &magic), (3, &b), (6, &b), (7, &a)]), name);
    }
}

#[test]
fn a_damaged_log_is_said_and_everything_kept() {
    for (name, args, size, open) in LOGS.iter().filter(|l| l.3.contains("-c")) {
        let log = Log::make(args, *size, open);
        let mut noise = Noise::new(5);
        let (a, b) = (noise.bytes(*size), noise.bytes(*size));
        log.beside("a", &a);
        log.beside("b", &b);
        // Descriptor, data, commit; twice.
        log.write(&["jw -b {2} @a", "jw -b {4} @b"]);
        let check = |at: u64, word: &str, expected: &[u8]| {
            log.flip(at);
            let fs = log.image.open();
            assert!(log.victim(&fs) == expected, "{name}: {word}");
            let doubt = fs.doubt().unwrap_or_default();
            assert!(doubt.contains(word), "{name}: {doubt} is not {word}");
            let coverage = fs.coverage();
            assert_eq!(coverage.method, CaptureMethod::Raw);
            assert!(coverage.why.as_str().contains(word), "{name}: {}", coverage.why);
            log.flip(at);
        };
        check(log.place(6) + 0x31, "commit block of transaction 2", &log.with(&[(2, &a)]));
        check(log.place(5) + 100, "copy of block", &log.with(&[(2, &a)]));
        check(log.place(2) + 100, "copy of block", &log.with(&[(4, &b)]));
        check(log.place(4) + 0x10, "a block of transaction 2", &log.with(&[(2, &a)]));
        check(log.place(0) + 0x20, "superblock", &log.old);
        // A commit block of which only the first sector reached the disk counts: its header is whole.
        log.flip(log.place(6) + 600);
        log.assert_reads_here(&log.with(&[(2, &a), (4, &b)]));
    }
}

impl Log {
    fn assert_reads_here(&self, expected: &[u8]) {
        let fs = self.image.open();
        assert_eq!(fs.doubt(), None);
        assert!(self.victim(&fs) == expected);
    }
}

/// The kernel forgets such a log, e2fsck asks: nobody can say which blocks are in use.
#[test]
fn a_log_with_changes_that_nobody_asks_for_is_in_doubt() {
    let log = Log::make(&["-t", "ext4"], 1024, "jo -c -v 3");
    log.beside("a", &[7; 1024]);
    log.write(&["jw -b {2} @a"]);
    log.image.debugfs(&["feature -needs_recovery".into()]);
    let fs = log.image.open();
    assert!(log.victim(&fs) == log.old);
    assert_eq!(fs.coverage().method, CaptureMethod::Raw);
    assert!(fs.doubt().unwrap().contains("needs_recovery is not set"));
}

/// A file system the kernel has mounted; unmounted when dropped.
pub(super) struct Mount {
    dir: tempfile::TempDir,
    mounted: bool,
}

impl Mount {
    pub(super) fn new(image: &Image, options: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("disk-ext4-mount-").tempdir().unwrap();
        said(
            tool("mount", "mount")
                .args(["-t", "ext4", "-o", &format!("loop,{options}")])
                .arg(&image.path)
                .arg(dir.path()),
        );
        Self { dir, mounted: true }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(super) fn unmount(mut self) {
        self.end().unwrap();
    }

    /// Other tests' children hold copies of our files for the moment between fork and exec: busy is not final.
    fn end(&mut self) -> Result<(), String> {
        if self.mounted {
            let mut output = tool("umount", "mount").arg(self.dir.path()).output().unwrap();
            for _ in 0..100 {
                if output.status.success() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(50));
                output = tool("umount", "mount").arg(self.dir.path()).output().unwrap();
            }
            self.mounted = false;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
        }
        Ok(())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(e) = self.end() {
            eprintln!("left mounted: {e}");
        }
    }
}

fn write_synced(path: PathBuf, bytes: &[u8]) {
    let file = File::create(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_all().unwrap();
}

/// Makes the log hold everything it can: new files, removed ones, blocks of removed directories used again for data (and
/// so revoked), unwritten blocks now written, and more transactions than it has room for.
fn be_busy(mount: &Mount, rounds: usize, extents: bool) {
    let mut noise = Noise::new(11);
    for round in 0..rounds {
        let dir = mount.path(&format!("dir-{round}"));
        fs::create_dir(&dir).unwrap();
        for i in 0..40 {
            fs::write(dir.join(format!("{i}-{}", "long".repeat(30))), b"x").unwrap();
        }
        write_synced(dir.join("synced"), &noise.bytes(5000));
        if round % 2 == 1 {
            fs::remove_dir_all(mount.path(&format!("dir-{}", round - 1))).unwrap();
        }
        write_synced(mount.path(&format!("file-{round}")), &noise.bytes(30_000));
        if round % 3 == 2 {
            fs::remove_file(mount.path(&format!("file-{}", round - 1))).unwrap();
        }
        let half = mount.path(&format!("half-{round}"));
        if extents {
            said(tool("fallocate", "util-linux").args(["-l", "100000"]).arg(&half));
        }
        let file = File::options().create(true).truncate(false).write(true).open(&half).unwrap();
        file.write_all_at(&noise.bytes(10_000), 40_000).unwrap();
        file.sync_all().unwrap();
        // In a journal of data, such a block is escaped.
        write_synced(mount.path(&format!("magic-{round}")), &MAGIC.repeat(1000));
    }
}

const MOUNTS: &[(&str, &[&str], &str)] = &[
    ("ext4", &["-t", "ext4"], "commit=300"),
    ("ext4, 1 KiB blocks, a small log", &["-t", "ext4", "-b", "1024", "-J", "size=1"], "commit=300"),
    ("not 64bit", &["-t", "ext4", "-b", "1024", "-O", "^64bit", "-J", "size=1"], "commit=300"),
    ("no checksums, data journal", &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"], "commit=300,data=journal"),
    ("data journal", &["-t", "ext4", "-J", "size=4"], "commit=300,data=journal"),
    ("ext3", &["-t", "ext3", "-b", "1024", "-J", "size=1"], "commit=300,data=journal"),
    (
        "version 1 checksums",
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,uninit_bg", "-J", "size=1"],
        "commit=300,journal_checksum",
    ),
    (
        "async commit",
        &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"],
        "commit=300,journal_async_commit,data=writeback",
    ),
    ("bigalloc", &["-t", "ext4", "-O", "bigalloc", "-C", "16384"], "commit=300"),
    ("orphan_file, inline_data", &["-t", "ext4", "-O", "orphan_file,inline_data"], "commit=300"),
];

#[test]
fn a_file_system_copied_while_mounted_reads_as_the_kernel_recovers_it() {
    let mut seen = Seen::default();
    for (name, args, options) in MOUNTS {
        let image = Image::make(48, args, None);
        let mount = Mount::new(&image, options);
        be_busy(&mount, 12, !args.contains(&"ext3"));
        let crashed = image.copy();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
        mount.unmount();

        let info = identify(&crashed.bytes()).unwrap().unwrap();
        assert!(info.needs_recovery, "{name}");
        assert!((now - 60..=now).contains(&info.last_commit_at.unwrap()), "{name}: {:?} at {now}", info.last_commit_at);
        let fs = crashed.open();
        assert_eq!(fs.doubt(), None, "{name}");
        assert!(fs.replayed() > 0, "{name}");

        seen.add(&crashed);

        // The kernel's own recovery, of a copy.
        let recovered = crashed.copy();
        let kernel = Mount::new(&recovered, "noatime");
        assert_same(&fs, b"", kernel.dir.path());
        kernel.unmount();

        // What is in use: what was, what is once replayed, and the journal.
        let replayed = crashed.copy();
        replayed.replay();
        let coverage = fs.coverage();
        assert_eq!(coverage.method, CaptureMethod::UsedBlocks, "{name}: {}", coverage.why);
        assert!(!coverage.why.as_str().contains("whole"), "{name}: {}", coverage.why);
        let after = replayed.not_free();
        for e in after.iter() {
            assert!(coverage.used.covers(e), "{name}: {e:?} is in use after the replay");
        }
        let before = Ext4::load(cleared(&crashed)).unwrap().coverage();
        assert_eq!(before.method, CaptureMethod::UsedBlocks, "{name}: {}", before.why);
        // Where a bitmap and its descriptor were not written together, the old bitmap alone counts for nothing.
        if before.why.as_str().contains("whole") {
            assert_eq!(coverage.used.union(&before.used), before.used.union(&after), "{name}");
        } else {
            assert_eq!(coverage.used, before.used.union(&after), "{name}");
            seen.compared += 1;
        }
        seen.missed += u32::from(after.iter().any(|e| !before.used.covers(e)));

        // Unmounted cleanly, the old commits are still there to be seen.
        let clean = identify(&image.bytes()).unwrap().unwrap();
        assert!(!clean.needs_recovery, "{name}");
        assert!((now - 60..=now + 60).contains(&clean.last_commit_at.unwrap()), "{name}");
        assert!(clean.last_commit_at >= info.last_commit_at, "{name}");
        assert_eq!(image.open().coverage().used, image.not_free(), "{name}");
    }
    let all = u32::try_from(MOUNTS.len()).unwrap();
    assert!(seen.revoked > 0 && seen.escaped > 0 && seen.compared > 0, "{seen:?}");
    assert_eq!(seen.missed, all, "{seen:?}");
}

/// A log is a ring: what is to be replayed may begin near its end and go on at its start.
#[test]
fn a_log_that_wraps_is_read_round() {
    for args in [&["-t", "ext4"][..], &["-t", "ext3"]] {
        let image = Image::make(24, &[args, &["-b", "1024", "-J", "size=1"]].concat(), None);
        let mount = Mount::new(&image, "commit=300");
        let mut noise = Noise::new(13);
        let crashed = (0..200).find_map(|_| {
            for i in 0..10 {
                let size = noise.below(3000);
                write_synced(mount.path(&format!("small-{i}")), &noise.bytes(size));
            }
            let copy = image.copy();
            let text = said(e2("debugfs").args(["-c", "-R", "logdump"]).arg(&copy.path));
            let places: Vec<u64> = text
                .lines()
                .filter(|l| l.starts_with("Found expected sequence"))
                .map(|l| l.rsplit(' ').next().unwrap().parse().unwrap())
                .collect();
            places.windows(2).any(|w| w[1] < w[0]).then_some(copy)
        });
        mount.unmount();
        let crashed = crashed.expect("the log never wrapped");
        let fs = crashed.open();
        assert_eq!(fs.doubt(), None);
        let recovered = crashed.copy();
        let kernel = Mount::new(&recovered, "noatime");
        assert_same(&fs, b"", kernel.dir.path());
    }
}

/// What the logs of the copies held, lest the test proves nothing.
#[derive(Debug, Default)]
struct Seen {
    revoked: u32,
    escaped: u32,
    /// Copies whose use was compared down to the block.
    compared: u32,
    /// Copies with blocks in use that the maps on the volume call free.
    missed: u32,
}

impl Seen {
    fn add(&mut self, image: &Image) {
        let text = said(e2("debugfs").args(["-c", "-R", "logdump -a"]).arg(&image.path));
        self.revoked += u32::from(text.contains("revoke table"));
        let escaped = ["0x1)", "0x3)", "0x9)", "0xb)"];
        self.escaped += u32::from(escaped.iter().any(|f| text.contains(&format!("(flags {f}"))));
    }
}

/// The image as if it had no journal to replay, without touching it.
fn cleared(image: &Image) -> Arc<dyn ReadAt> {
    let copy = image.copy();
    copy.debugfs(&["feature -needs_recovery -has_journal".into(), "set_super_value state 1".into()]);
    let bytes = copy.bytes();
    let all = bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap();
    Arc::new(all)
}

/// Fast commits are not replayed: what they hold is missing from what is read, and so it is said and everything kept.
#[test]
fn fast_commits_are_said_and_everything_kept() {
    let image = Image::make(64, &["-t", "ext4", "-b", "1024", "-J", "size=8", "-O", "fast_commit"], None);
    let mount = Mount::new(&image, "commit=300");
    write_synced(mount.path("first"), b"by a whole commit");
    for i in 0..20 {
        write_synced(mount.path(&format!("fast-{i}")), b"by a fast commit");
    }
    let crashed = image.copy();
    mount.unmount();
    let fs = crashed.open();
    let doubt = fs.doubt().expect("the kernel made no fast commits: is it built with them?");
    assert!(doubt.contains("fast commits"), "{doubt}");
    let coverage = fs.coverage();
    assert_eq!(coverage.method, CaptureMethod::Raw);
    assert!(coverage.used.covers(Extent::whole(crashed.bytes().size())));
    // Unmounted, they are of no account.
    assert_eq!(image.open().doubt(), None);
    assert_eq!(image.open().coverage().used, image.not_free());
}
