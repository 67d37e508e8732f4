//! Whether anybody wrote to it: four states of one file system, as a kernel left them.

use crate::tools::{fixture, open};
use disk::fs::FileSystem;
use disk::fs::xfs::identify;
use model::coverage::Comparison;
use model::files::Layout;
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent};

const STATES: [&str; 4] = ["session-unmounted", "session-mounted", "session-overwritten", "session-again"];

#[test]
fn only_what_nobody_mounted_since_is_called_untouched() {
    let states = STATES.map(fixture);
    let content = |at: usize| {
        let file = open(&states[at]).open(b"/data").unwrap().unwrap();
        file.read_vec(ByteOffset(0), 5).unwrap()
    };
    // What makes the proof hard: other data, and the log says of both that it was unmounted.
    assert_eq!((content(1), content(2)), (b"1\n2\n3".to_vec(), b"other".to_vec()));
    let heads = [0, 1, 2, 3].map(|at| identify(&states[at]).unwrap().unwrap()).map(|i| (i.needs_recovery, i.log_head));
    assert_eq!(heads[0], heads[1]);
    assert_eq!(heads[0], heads[2]);
    assert!(!heads[0].0 && !heads[3].0 && heads[3].1 > heads[0].1, "{heads:?}");
    for (now, after) in states.iter().enumerate() {
        let fs = open(after);
        // A state in which it was not mounted since is named, and each by another name.
        assert_eq!(fs.coverage().state.is_some(), matches!(now, 0 | 3), "{}", STATES[now]);
        for (then, before) in states.iter().enumerate() {
            let untouched = fs.changes(before.clone()).comparison == Comparison::Untouched;
            assert_eq!(untouched, now == then && matches!(now, 0 | 3), "{} after {}", STATES[now], STATES[then]);
        }
    }
}

/// What boot loaders write below the file system is read even so.
#[test]
fn an_untouched_one_is_read_where_boot_loaders_write() {
    let bytes = fixture("session-unmounted");
    let fs = open(&bytes);
    let changes = fs.changes(bytes.clone());
    let pieces = |path: &[u8]| {
        let file = fs.find(path).unwrap().unwrap().file;
        let Layout::Pieces { pieces, .. } = fs.layout(file, ByteOffset(0), 10).unwrap() else { panic!("in blocks") };
        pieces.into_iter().map(|(_, extent)| extent).collect::<Vec<_>>()
    };
    assert!(pieces(b"/boot/grub/grubenv").iter().all(|e| !changes.same.meets(*e)));
    assert!(pieces(b"/data").iter().all(|e| changes.same.covers(*e)));
    assert!(!changes.same.meets(Extent::between(0, 512).unwrap()));
    assert!(changes.same.total().0 > bytes.size().0 - (1 << 20));
}
