//! One session: which files are told to be as they were, and for each rule of that proof a case that it alone decides.

use crate::tools::{open, unpacked};
use disk::fs::FileSystem;
use disk::fs::xfs::{Rule, Xfs, identify};
use model::coverage::{Changes, Comparison};
use model::files::{FileId, Layout};
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent, ExtentSet};
use std::ops::Range;
use std::sync::Arc;

/// A file that the session leaves alone.
const FILE: &str = "/plain";
/// Bytes of an inode, and of a block.
const INODE: usize = 512;
const BLOCK: usize = 4096;

/// An image in memory, whose inodes can be changed.
#[derive(Clone)]
struct Image(Arc<Vec<u8>>);

impl Image {
    fn of(name: &str) -> Self {
        Self(Arc::new(unpacked(&format!("{name}.img.zst"))))
    }

    fn bytes(&self) -> Arc<dyn ReadAt> {
        self.0.clone()
    }

    fn open(&self) -> Xfs {
        open(&self.bytes())
    }

    fn number(&self, path: &str) -> u64 {
        self.open().find(path.as_bytes()).unwrap().unwrap().file.0
    }

    fn be(&self, at: usize, len: usize) -> u64 {
        self.0[at..at + len].iter().fold(0, |all, b| all << 8 | u64::from(*b))
    }

    /// The place of a block by its number.
    fn block(&self, number: u64) -> usize {
        let (blocks, log) = (self.be(84, 4), self.0[124]);
        usize::try_from((number >> log) * blocks + (number & ((1 << log) - 1))).unwrap() * BLOCK
    }

    /// The place of an inode.
    fn inode(&self, path: &str) -> usize {
        let number = self.number(path);
        self.block(number >> 3) + usize::try_from(number & 7).unwrap() * INODE
    }

    /// The same with bytes of an inode changed, and its checksum made anew.
    fn with(mut self, path: &str, field: Range<usize>, bytes: &[u8]) -> Self {
        let at = self.inode(path);
        self.patch(at + field.start, bytes);
        self.sum(at, INODE, 100);
        self
    }

    fn patch(&mut self, at: usize, bytes: &[u8]) {
        Arc::make_mut(&mut self.0)[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn sum(&mut self, at: usize, len: usize, field: usize) {
        self.patch(at + field, &[0; 4]);
        let sum = crc32c::crc32c(&self.0[at..at + len]);
        self.patch(at + field, &sum.to_le_bytes());
    }
}

fn pieces(fs: &Xfs, number: u64) -> ExtentSet {
    let Layout::Pieces { pieces, .. } = fs.layout(FileId(number), ByteOffset(0), 1000).unwrap() else {
        panic!("in blocks")
    };
    pieces.into_iter().map(|(_, extent)| extent).collect::<Vec<_>>().into()
}

/// Whether any of a file's data is told to be the same.
fn same(changes: &Changes, fs: &Xfs, number: u64) -> bool {
    pieces(fs, number).iter().any(|e| changes.same.meets(e))
}

#[test]
fn after_one_session_files_that_nobody_wrote_to_are_as_they_were() {
    let (then, now) = (Image::of("one-then"), Image::of("one-now"));
    let fs = now.open();
    let changes = fs.changes(then.bytes());
    assert_eq!(changes.comparison, Comparison::Metadata, "{}", changes.why);
    for run in changes.same.iter() {
        let range = usize::try_from(run.start().0).unwrap()..usize::try_from(run.end().0).unwrap();
        assert!(then.0[range.clone()] == now.0[range], "{run:?}");
    }
    for path in ["/plain", "/read", "/islands"] {
        let data = pieces(&fs, now.number(path));
        let told = data.iter().all(|e| {
            // The last block of a file as a whole.
            changes.same.covers(e)
        });
        assert!(told, "{path}");
    }
    // That it was read is another inode, and the same file.
    let read = (then.inode("/read"), now.inode("/read"));
    assert_ne!(then.0[read.0..][..INODE], now.0[read.1..][..INODE]);
    for path in
        ["/changed", "/direct", "/mapped", "/back", "/shared", "/new", "/copy", "/fixed", "/swap", "/boot/grub/grubenv"]
    {
        assert!(!same(&changes, &fs, now.number(path)), "{path}");
    }
    assert!(!changes.same.meets(Extent::between(0, 512).unwrap()));
}

/// What a mutant gets wrong.
enum Wrong {
    /// It believes what tells nothing.
    Believes,
    /// It calls the data of that inode unchanged.
    Same(u64),
}

/// An earlier state, the present one, and the mistake.
struct Case(Image, Image, Wrong);

impl Case {
    /// Whether a reader makes the mistake.
    fn shows(&self, without: Option<Rule>) -> bool {
        let Self(before, now, wrong) = self;
        let fs = now.open();
        let changes = match without {
            Some(rule) => fs.changes_without(before.bytes(), rule),
            None => fs.changes(before.bytes()),
        };
        match wrong {
            Wrong::Believes => changes.comparison != Comparison::Content,
            // Directories have no layout: their first block, as their inode's first extent has it.
            Wrong::Same(block) => {
                let at = *block * BLOCK as u64;
                changes.same.meets(Extent::between(at, at + BLOCK as u64).unwrap())
            }
        }
    }
}

/// The first block of an inode's data, by its place on the volume.
fn first(image: &Image, path: &str) -> u64 {
    let inode = image.inode(path);
    let (high, low) = (image.be(inode + 176, 8), image.be(inode + 184, 8));
    (image.block((high & 0x1ff) << 43 | low >> 21) / BLOCK) as u64
}

/// The first node of the map of `/islands`.
fn node(image: &Image) -> usize {
    let inode = image.inode("/islands");
    assert_eq!(image.0[inode + 5], 3, "its map is a tree");
    let end = match image.0[inode + 82] {
        0 => INODE,
        units => 176 + usize::from(units) * 8,
    };
    let room = (end - 176 - 4) / 16;
    image.block(image.be(inode + 176 + 4 + room * 8, 8))
}

fn case(rule: Rule, then: &Image, now: &Image) -> Case {
    let (then, now) = (then.clone(), now.clone());
    let plain = Wrong::Same(first(&now, FILE));
    // The earlier state had another value there.
    let other = |field: Range<usize>| {
        let at = then.inode(FILE);
        let bytes: Vec<u8> = then.0[at..at + INODE][field.clone()].iter().map(|b| b ^ 1).collect();
        then.clone().with(FILE, field, &bytes)
    };
    let untraced = |path: &str| Wrong::Same(first(&now, path));
    match rule {
        Rule::ParentUnmounted => Case(Image::of("session-mounted"), Image::of("session-again"), Wrong::Believes),
        Rule::SameLayout => {
            let mut then = then;
            then.patch(71, &[1]);
            then.sum(0, 512, 224);
            Case(then, now, Wrong::Believes)
        }
        Rule::OneMount => Case(then, Image::of("one-later"), Wrong::Believes),
        Rule::SameRecord => {
            // The operation behind the header of the record begins with the number that was drawn.
            let info = identify(&then.bytes()).unwrap().unwrap();
            let at = usize::try_from(info.log_head.unwrap() & 0xffff_ffff).unwrap();
            let mut now = now;
            now.patch(now.block(now.be(48, 8)) + (at + 1) * 512 + 1, b"?");
            Case(then, now, Wrong::Believes)
        }
        Rule::Loaders => {
            let wrong = untraced("/boot/grub/grubenv");
            Case(then, now, wrong)
        }
        Rule::Peculiar => {
            let wrong = untraced("/fixed");
            Case(then, now, wrong)
        }
        Rule::Swap => {
            let wrong = untraced("/swap");
            Case(then, now, wrong)
        }
        Rule::Regular => {
            let wrong = untraced("/many");
            Case(then, now, wrong)
        }
        Rule::OwnInodes => {
            // What counts the blocks of users is a file with an inode like any other.
            let quota = |mut image: Image| {
                let number = image.number(FILE).to_be_bytes();
                image.patch(160, &number);
                image.sum(0, 512, 224);
                image
            };
            Case(quota(then), quota(now), plain)
        }
        Rule::BeforeSession => {
            // The year 2036, in nanoseconds since 1901.
            let late = (135u64 * 365 * 86_400 * 1_000_000_000).to_be_bytes();
            Case(then.with(FILE, 48..56, &late), now.with(FILE, 48..56, &late), plain)
        }
        Rule::Nodes => {
            let mut then = then;
            let at = node(&then) + BLOCK - 1;
            then.patch(at, &[1]);
            let block = {
                // The first record of the first leaf.
                let record = node(&now) + 72;
                let (high, low) = (now.be(record, 8), now.be(record + 8, 8));
                (now.block((high & 0x1ff) << 43 | low >> 21) / BLOCK) as u64
            };
            Case(then, now, Wrong::Same(block))
        }
        Rule::Root => Case(other(64..72), now, plain),
        Rule::Ctime => Case(other(48..56), now, plain),
        Rule::Mtime => Case(other(40..48), now, plain),
        Rule::ChangeCount => Case(other(104..112), now, plain),
        Rule::Sequence => Case(other(119..120), now, plain),
        Rule::Size => Case(other(63..64), now, plain),
        Rule::Generation => Case(other(92..96), now, plain),
    }
}

#[test]
fn every_rule_is_needed() {
    let (then, now) = (Image::of("one-then"), Image::of("one-now"));
    for rule in Rule::ALL {
        let case = case(*rule, &then, &now);
        assert!(!case.shows(None), "{rule:?}: wrong with all rules");
        assert!(case.shows(Some(*rule)), "{rule:?}: a reader without it is right too");
    }
}

/// What the log tells of mounts, by itself.
#[test]
fn the_log_tells_what_its_last_mount_found() {
    let info = |name| identify(&Image::of(name).bytes()).unwrap().unwrap();
    let [then, now, later] = ["one-then", "one-now", "one-later"].map(info);
    assert_eq!(now.opened, then.log_tail);
    assert_eq!(later.opened, now.log_tail);
    assert!(then.log_tail < now.log_tail && now.log_tail < later.log_tail, "{then:?} {now:?} {later:?}");
}

/// A session that was cut off before anything of it was in the log leaves nothing there. The log and the inodes tell of one session then, and
/// whoever believes them has to know otherwise that the installed system ran once.
#[test]
fn what_was_cut_off_before_anything_was_logged_is_not_told() {
    let [unmounted, again] = ["session-unmounted", "session-again"].map(Image::of);
    let changes = again.open().changes(unmounted.bytes());
    assert_eq!(changes.comparison, Comparison::Metadata, "{}", changes.why);
    let (a, b) = (first(&unmounted, "/data"), first(&again, "/data"));
    assert_eq!(a, b);
    let block = usize::try_from(a).unwrap() * BLOCK;
    assert_ne!(unmounted.0[block..][..5], again.0[block..][..5], "overwritten in place by a session that was cut off");
}
