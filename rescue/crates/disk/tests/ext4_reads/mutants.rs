//! For each rule of the proofs one case that it alone decides: a reader that leaves the rule out is wrong about it. What does
//! not notice such a reader proves nothing about the one that keeps them all.

use super::changes::{BLOCK, after, clock, made, same, unlogged};
use super::tools::{Image, said, tool};
use disk::fs::FileSystem;
use disk::fs::ext4::Rule;
use model::coverage::Comparison;
use model::units::Extent;
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// A file whose size says nothing of boot loaders or swap space, and one with a node of its map beside the inode.
const FILE: &str = "/file-300000";
const DEEP: &str = "/islands";

/// Bytes of an inode.
const INODE: u64 = 256;

/// What a mutant gets wrong.
enum Wrong {
    /// It believes what tells nothing.
    Believes,
    /// It calls the file system untouched.
    Untouched,
    /// It calls the data of that file unchanged.
    Same(&'static str),
    /// It calls the boot block unchanged.
    BootBlock,
    /// It calls a block unchanged.
    Block(u64),
    /// It calls a block free.
    Free(u64),
}

/// An earlier state, the present one, and the mistake.
struct Case(Image, Image, Wrong);

impl Case {
    /// Whether a reader makes the mistake.
    fn shows(&self, without: Option<Rule>) -> bool {
        let Self(before, now, wrong) = self;
        let fs = now.open();
        if let Wrong::Free(block) = wrong {
            let coverage = without.map_or_else(|| fs.coverage(), |rule| fs.coverage_without(rule));
            assert!(coverage.why.as_str().contains("1 transactions"), "{}", coverage.why);
            return !coverage.used.covers(Extent::between(block * BLOCK, (block + 1) * BLOCK).unwrap());
        }
        let changes = match without {
            Some(rule) => fs.changes_without(before.bytes(), rule),
            None => fs.changes(before.bytes()),
        };
        match wrong {
            Wrong::Believes => changes.comparison != Comparison::Content,
            Wrong::Untouched => changes.comparison == Comparison::Untouched,
            Wrong::Same(path) => same(&changes, now, path),
            Wrong::Block(block) => changes.same.covers(Extent::between(block * BLOCK, (block + 1) * BLOCK).unwrap()),
            Wrong::BootBlock => changes.same.covers(Extent::between(0, 1).unwrap()),
            Wrong::Free(_) => unreachable!("said above"),
        }
    }
}

fn with(image: &Image, commands: &[String]) -> Image {
    let other = image.copy();
    other.debugfs(commands);
    other
}

fn patched(image: &Image, at: u64, bytes: &[u8]) -> Image {
    let other = image.copy();
    OpenOptions::new().write(true).open(&other.path).unwrap().write_all_at(bytes, at).unwrap();
    other
}

/// The case of a rule; `made` is a file system as it was made.
fn case(rule: Rule, made: &Image) -> Case {
    let one = |command: &str, wrong| Case(made.copy(), after(made, &[command]), wrong);
    let sif = |what: &str, value: &str| one(&format!("sif {FILE} {what} {value}"), Wrong::Same(FILE));
    let untraced = |path| Case(made.copy(), after(made, &[]), Wrong::Same(path));
    match rule {
        Rule::OwnJournal => another(&["-O", "^has_journal"], Wrong::Believes),
        Rule::ParentUnmounted => Case(with(made, &["ssv state 0".into()]), after(made, &[]), Wrong::Believes),
        Rule::NowUnmounted => one("feature needs_recovery", Wrong::Believes),
        Rule::SameLayout => one("ssv first_ino 12", Wrong::Believes),
        Rule::SameSuperblock => {
            let now = unlogged(made, &[&format!("sif {FILE} ctime {}", clock(0))]);
            Case(made.copy(), now, Wrong::Untouched)
        }
        // The sequence of the log goes on.
        Rule::SameJournal => Case(made.copy(), patched(made, block_of(made, "<8>", 0) + 0x18, &[7]), Wrong::Untouched),
        Rule::NoDataInJournal => one("ssv default_mount_opts 0x20", Wrong::Believes),
        Rule::SameMaking => one("ssv lastcheck @1900000000", Wrong::Believes),
        Rule::OneSession => one("ssv mnt_count 2", Wrong::Believes),
        Rule::NothingReplayed => {
            let now = after(made, &[]);
            Case(made.copy(), patched(&now, block_of(&now, "<8>", 0) + 0x18, &[0, 0, 0, 7]), Wrong::Believes)
        }
        Rule::Forwards => one("ssv mtime @1000000000", Wrong::Believes),
        Rule::BootBlock => Case(made.copy(), made.copy(), Wrong::BootBlock),
        Rule::Loaders => untraced("/boot/grub/grubenv"),
        Rule::Peculiar => {
            // Extents, and immutable.
            let before = with(made, &[format!("sif {FILE} flags 0x80010")]);
            let now = after(&before, &[]);
            Case(before, now, Wrong::Same(FILE))
        }
        Rule::Swap => untraced("/swap"),
        Rule::EncryptedSwap => {
            // Extents, and encrypted.
            let before = with(made, &["sif /pages flags 0x80800".into()]);
            let now = after(&before, &[]);
            Case(before, now, Wrong::Same("/pages"))
        }
        Rule::Regular => untraced("/many"),
        Rule::UnusedInodes => {
            // One that was not used before is.
            let unused = in_stats(made, |stats| stats.split(" unused inodes").next()?.split_whitespace().next_back());
            let commands = [format!("set_bg 0 itable_unused {}", unused - 64), "set_bg 0 checksum calc".into()];
            let now = after(made, &commands.each_ref().map(String::as_str));
            let table = inode_table(made);
            let used = (table.end - table.start) * BLOCK - unused * INODE;
            let block = table.start + used / BLOCK + 2;
            Case(made.copy(), patched(&now, block * BLOCK, &[7]), Wrong::Block(block))
        }
        Rule::OwnInodes => untraced("<8>"),
        Rule::Nanoseconds => another(&["-I", "128"], Wrong::Same(FILE)),
        Rule::BeforeSession => {
            let before = with(made, &[format!("sif {FILE} ctime {}", clock(90))]);
            let now = after(&before, &[]);
            Case(before, now, Wrong::Same(FILE))
        }
        Rule::Nodes => {
            // Another generation of the header, in a node without a checksum.
            let plain = super::changes::made(&["-O", "^metadata_csum"]);
            let now = after(&plain, &[]);
            Case(patched(&plain, block_of(&plain, DEEP, 0) + 8, &[7]), now, Wrong::Same(DEEP))
        }
        // The same in the root.
        Rule::Root => sif("block[2]", "7"),
        Rule::Ctime => sif("ctime", &clock(0)),
        Rule::Mtime => sif("mtime", &clock(0)),
        Rule::Times => {
            let command = |what| format!("sif {FILE} {what} {}", clock(0));
            let now = after(made, &[&command("ctime"), &command("mtime"), &format!("sif {FILE} version 7")]);
            Case(made.copy(), now, Wrong::Same(FILE))
        }
        Rule::Unsettable => {
            let ctime = format!("sif {FILE} ctime {}", clock(0));
            let now = after(made, &[&ctime, &format!("sif {FILE} version 7")]);
            Case(made.copy(), now, Wrong::Same(FILE))
        }
        Rule::Size => sif("size", "299999"),
        Rule::Generation => sif("generation", "7"),
        Rule::Replay => logged_bitmap(|bits, block| set(bits, block, true)),
        Rule::AsItLies => logged_bitmap(|bits, block| set(bits, block, false)),
    }
}

/// A file system of another kind, and a session after it.
fn another(args: &[&str], wrong: Wrong) -> Case {
    let before = made(args);
    let now = after(&before, &[]);
    Case(before, now, wrong)
}

/// The byte at which a block of a file lies, a node of its map being the first.
fn block_of(image: &Image, path: &str, nth: usize) -> u64 {
    super::tools::blocks(image, path)[nth] * BLOCK
}

/// A number that debugfs says.
fn in_stats(image: &Image, find: impl Fn(&str) -> Option<&str>) -> u64 {
    let stats = said(tool("debugfs", "e2fsprogs").args(["-R", "stats"]).arg(&image.path));
    find(&stats).unwrap().trim_end_matches(',').parse().unwrap()
}

/// The blocks of the first group's inode table.
pub(super) fn inode_table(image: &Image) -> Range<u64> {
    let first = in_stats(image, |stats| stats.split("inode table at ").nth(1)?.split(char::is_whitespace).next());
    let blocks = in_stats(image, |stats| stats.split("Inode blocks per group:").nth(1)?.split_whitespace().next());
    first..first + blocks
}

fn set(bitmap: &mut [u8], block: usize, used: bool) {
    let bit = 1 << (block % 8);
    bitmap[block / 8] = bitmap[block / 8] & !bit | if used { bit } else { 0 };
}

/// A file system with a block that is in use in the bitmap on the volume or in the one in the log, as `log` changes it, and
/// free in the other.
fn logged_bitmap(log: impl Fn(&mut [u8], usize)) -> Case {
    let image = made(&["-O", "^metadata_csum,^uninit_bg"]);
    let stats = said(tool("debugfs", "e2fsprogs").args(["-R", "stats"]).arg(&image.path));
    let at = stats.split("block bitmap at ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
    let at: u64 = at.trim().parse().unwrap();
    let all = fs::read(&image.path).unwrap();
    let start = usize::try_from(at * BLOCK).unwrap();
    let lies = &all[start..start + usize::try_from(BLOCK).unwrap()];
    // Of a file, and of none: group 0 begins at block 0.
    let taken = usize::try_from(super::tools::blocks(&image, FILE)[0]).unwrap();
    let free = (0..16_000).rev().find(|b| lies[b / 8] >> (b % 8) & 1 == 0).unwrap();
    let wanted = [free, taken].into_iter().find_map(|block| {
        let mut logged = lies.to_vec();
        log(&mut logged, block);
        (logged != lies).then_some((block, logged))
    });
    let (block, logged) = wanted.unwrap();
    let file = image.beside("bitmap", &logged);
    image.debugfs(&["jo".into(), format!("jw -b {at} {}", file.display()), "jc".into()]);
    Case(image.copy(), image, Wrong::Free(block as u64))
}

#[test]
fn every_rule_decides_a_case_alone() {
    let made = made(&[]);
    for rule in Rule::ALL {
        let case = case(*rule, &made);
        assert!(!case.shows(None), "{rule:?}: with all rules it is wrong");
        assert!(
            case.shows(Some(*rule)),
            "{rule:?}: without the rule nothing is wrong, so nothing shows that it is needed"
        );
    }
}
