//! What differs between two states of a FAT that mtools wrote to.
#![allow(clippy::unwrap_used, reason = "tests")]

mod host;

use disk::content;
use disk::fs::Two;
use host::{blank, image, run};
use model::differences::{ComparedBy, FileChange, FsDifferences};
use model::id::{DiskNo, VolumePath};
use model::units::ByteLen;
use std::path::Path;

const MIB: u64 = 1 << 20;

fn compared(before: &Path, after: &Path) -> FsDifferences {
    let of = |path: &Path| {
        let bytes = image(path);
        (content::identify(&VolumePath::whole(DiskNo(0)), &bytes).0, bytes)
    };
    let (before, after) = (of(before), of(after));
    let two = Two::open((&before.0, before.1), (&after.0, after.1)).unwrap();
    two.differences(&["/loader".into()], false).unwrap()
}

#[test]
fn what_mtools_did_is_told_by_names_sizes_and_times() {
    for (size, args) in [(4 * MIB, ["-F", "12"]), (40 * MIB, ["-F", "32"])] {
        let dir = tempfile::tempdir().unwrap();
        let path = blank(dir.path(), "fat.img", size);
        let (text, local) = (path.to_str().unwrap(), dir.path().join("body"));
        run("dosfstools", "mkfs.vfat", &[&args[..], &[text]].concat(), "");
        let put = |name: &str, len: usize| {
            std::fs::write(&local, vec![b'x'; len]).unwrap();
            run("mtools", "mcopy", &["-o", "-i", text, local.to_str().unwrap(), &format!("::{name}")], "");
        };
        let tell = |tool: &str, name: &str| run("mtools", tool, &["-i", text, &format!("::{name}")], "");
        ["EFI", "EFI/old", "loader"].iter().for_each(|d| drop(tell("mmd", d)));
        put("EFI/same.efi", 70_000);
        put("EFI/old/gone.efi", 30_000);
        put("loader/a rather long name.conf", 900);
        let before = dir.path().join("before.img");
        std::fs::copy(&path, &before).unwrap();
        assert_eq!(compared(&before, &path), FsDifferences::none(ComparedBy::Names));
        tell("mdeltree", "EFI/old");
        put("loader/a rather long name.conf", 901);
        put("EFI/new.efi", 5000);
        let found = compared(&before, &path);
        assert_eq!(found.unseen.count, 0, "{:?}", found.unseen);
        let told = |list: &[model::differences::Difference]| {
            let one = |d: &model::differences::Difference| {
                (d.path.display().to_string(), d.change.clone(), d.before, d.after)
            };
            list.iter().map(one).collect::<Vec<_>>()
        };
        let (some, named) = (|n| Some(ByteLen(n)), |n: &str| n.to_owned());
        assert_eq!(
            told(&found.notable),
            [(named("/loader/a rather long name.conf"), FileChange::Changed, some(900), some(901))]
        );
        assert_eq!(
            told(&found.largest),
            [
                (named("/EFI/old/gone.efi"), FileChange::Deleted, some(30_000), None),
                (named("/EFI/new.efi"), FileChange::Created, None, some(5000)),
                (named("/EFI/old"), FileChange::Deleted, some(0), None),
            ]
        );
        assert_eq!((found.counts.lost(), found.counts.returning()), (ByteLen(5901), ByteLen(30_900)));
    }
}
