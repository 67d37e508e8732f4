//! What differs between two states of a file system, against what the kernel shows of both.

use super::journals::Mount;
use super::tools::{Image, Noise, tree};
use disk::fs::{Two, ext4};
use model::differences::{ComparedBy, Difference, FileChange, FsDifferences, LineMark, TextChange};
use model::inspection::{Content, FileKind};
use model::text::RawName;
use model::units::ByteLen;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn content(image: &Image) -> Content {
    Content::Ext(ext4::identify(&image.bytes()).unwrap().unwrap())
}

fn compared(before: &Image, after: &Image, notable: &[&str], text: bool) -> FsDifferences {
    let (b, a) = (content(before), content(after));
    let two = Two::open((&b, before.bytes()), (&a, after.bytes())).unwrap();
    let notable: Vec<RawName> = notable.iter().map(|n| RawName::from(*n)).collect();
    two.differences(&notable, text).unwrap()
}

/// What the kernel shows of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Shown {
    kind: u32,
    inode: u64,
    changed: (i64, i64),
    modified: (i64, i64),
    mode: (u32, u32, u32),
    content: Vec<u8>,
}

fn shown(root: &Path) -> BTreeMap<Vec<u8>, Shown> {
    let mut all = BTreeMap::new();
    let mut ahead = vec![root.to_path_buf()];
    while let Some(dir) = ahead.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let m = fs::symlink_metadata(&path).unwrap();
            let content = match m.file_type() {
                t if t.is_file() => fs::read(&path).unwrap(),
                t if t.is_symlink() => fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec(),
                _ => Vec::new(),
            };
            if m.is_dir() {
                ahead.push(path.clone());
            }
            let name = [b"/", path.strip_prefix(root).unwrap().as_os_str().as_bytes()].concat();
            all.insert(
                name,
                Shown {
                    kind: m.mode() & 0o170_000,
                    inode: m.ino(),
                    changed: (m.ctime(), m.ctime_nsec()),
                    modified: (m.mtime(), m.mtime_nsec()),
                    mode: (m.mode(), m.uid(), m.gid()),
                    content,
                },
            );
        }
    }
    all
}

/// Does many things to the files below a directory.
fn be_busy(root: &Path, noise: &mut Noise, steps: usize) {
    let list = |dirs: bool| -> Vec<PathBuf> {
        let (mut found, mut ahead) = (Vec::new(), vec![root.to_path_buf()]);
        while let Some(dir) = ahead.pop() {
            let mut entries: Vec<_> = fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
            entries.sort_by_key(fs::DirEntry::file_name);
            for entry in entries.into_iter().filter(|e| e.file_name() != "lost+found") {
                let is_dir = entry.file_type().unwrap().is_dir();
                if is_dir {
                    ahead.push(entry.path());
                }
                found.extend((is_dir == dirs).then(|| entry.path()));
            }
        }
        found
    };
    for step in 0..steps {
        let (files, mut dirs) = (list(false), list(true));
        dirs.push(root.to_path_buf());
        let file = |noise: &mut Noise| files.get(noise.below(files.len().max(1))).cloned();
        let dir = dirs[noise.below(dirs.len())].clone();
        let new = dir.join(format!("n{step}"));
        // What the file system of this layout cannot hold is left out.
        let _ = match noise.below(12) {
            0 | 1 => fs::write(&new, vec![b'x'; noise.below(9000)]),
            2 => fs::create_dir(&new),
            3 => file(noise).map_or(Ok(()), fs::remove_file),
            4 => file(noise).map_or(Ok(()), |f| fs::rename(f, &new)),
            5 if dir != root => fs::rename(&dir, root.join(format!("moved{step}"))),
            6 => file(noise).filter(|f| !f.is_symlink()).map_or(Ok(()), |f| fs::hard_link(f, &new)),
            7 => symlink(format!("target-{step}-{}", "y".repeat(noise.below(100))), &new),
            8 => file(noise).filter(|f| f.is_file() && !f.is_symlink()).map_or(Ok(()), |f| {
                fs::set_permissions(&f, fs::Permissions::from_mode(0o600 + u32::try_from(step % 64).unwrap()))
            }),
            9 => file(noise).filter(|f| f.is_file() && !f.is_symlink()).map_or(Ok(()), |f| {
                let at = noise.next() % 20_000;
                fs::File::options().write(true).open(f).and_then(|f| f.write_all_at(&noise.bytes(10), at))
            }),
            // As editors and package managers write files.
            10 => file(noise)
                .filter(|f| !f.is_symlink())
                .map_or(Ok(()), |f| fs::write(&new, noise.bytes(700)).and_then(|()| fs::rename(&new, f))),
            _ if dir != root && noise.below(3) == 0 => fs::remove_dir_all(&dir),
            _ => fs::set_permissions(&dir, fs::Permissions::from_mode(0o700 + u32::try_from(step % 64).unwrap())),
        };
    }
}

/// The names of the earlier state, carried over into the later by what is said to differ.
fn carried(before: &BTreeMap<Vec<u8>, Shown>, list: &[Difference]) -> BTreeSet<Vec<u8>> {
    let renamed: BTreeMap<&[u8], &Difference> = list
        .iter()
        .filter_map(|d| match &d.change {
            FileChange::Renamed { from } => Some((&from.0[..], d)),
            _ => None,
        })
        .collect();
    let deleted: BTreeSet<&[u8]> =
        list.iter().filter(|d| d.change == FileChange::Deleted).map(|d| &d.path.0[..]).collect();
    let mut names = BTreeSet::new();
    for name in before.keys().filter(|n| !deleted.contains(&n[..])) {
        // The nearest of it and its directories that has another name.
        let mut end = name.len();
        let to = loop {
            if let Some(d) = renamed.get(&name[..end]).filter(|d| end == name.len() || d.kind == FileKind::Directory) {
                break [&d.path.0[..], &name[end..]].concat();
            }
            match name[..end].iter().rposition(|b| *b == b'/') {
                Some(0) | None => break name.clone(),
                Some(slash) => end = slash,
            }
        };
        assert!(names.insert(to.clone()), "{} comes twice", String::from_utf8_lossy(&to));
    }
    names.extend(list.iter().filter(|d| d.change == FileChange::Created).map(|d| d.path.0.clone()));
    names
}

fn judge(said: &FsDifferences, before: &BTreeMap<Vec<u8>, Shown>, after: &BTreeMap<Vec<u8>, Shown>, context: &str) {
    let list = &said.notable;
    assert_eq!(said.by, ComparedBy::Records, "{context}");
    assert_eq!(said.counts.total(), list.len() as u64, "{context}: {list:#?} {before:#?} {after:#?}");
    let names: BTreeSet<Vec<u8>> = after.keys().cloned().collect();
    let carried = carried(before, list);
    assert_eq!(carried, names, "{context}");
    let told = |change: &FileChange| -> BTreeSet<&[u8]> {
        list.iter().filter(|d| d.change == *change).map(|d| &d.path.0[..]).collect()
    };
    let (changed, attributes) = (told(&FileChange::Changed), told(&FileChange::Attributes));
    for (name, is) in after {
        let Some(was) = before.get(name).filter(|was| was.kind == is.kind) else { continue };
        // Renamed away and another made of its name: told as such.
        let told_otherwise = list
            .iter()
            .any(|d| matches!(&d.change, FileChange::Renamed { from } if from.0 == *name || d.path.0 == *name));
        if told_otherwise {
            continue;
        }
        let name_shown = String::from_utf8_lossy(name);
        if is.content != was.content {
            assert!(changed.contains(&name[..]), "{context}: {name_shown} changed");
        }
        if is.mode != was.mode {
            assert!(
                changed.contains(&name[..]) || attributes.contains(&name[..]),
                "{context}: {name_shown} has another mode"
            );
        }
        if is == was {
            assert!(
                !changed.contains(&name[..]) && !attributes.contains(&name[..]),
                "{context}: {name_shown} is the same"
            );
        }
    }
    for d in list {
        let size = |map: &BTreeMap<Vec<u8>, Shown>, name: &[u8]| {
            map.get(name).filter(|s| s.kind == 0o100_000).map_or(0, |s| s.content.len() as u64)
        };
        if let Some(len) = d.after {
            assert_eq!(len.0, size(after, &d.path.0), "{context}: {d:?}");
        }
        if let (Some(len), FileChange::Deleted | FileChange::Created) = (d.before, &d.change) {
            assert_eq!(len.0, size(before, &d.path.0), "{context}: {d:?}");
        }
    }
}

const LAYOUTS: [(&str, &[&str]); 4] = [
    ("ext4", &["-t", "ext4"]),
    ("small blocks, no checksums", &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit"]),
    ("ext2, inodes of 128 bytes", &["-t", "ext2", "-I", "128"]),
    ("inline data", &["-t", "ext4", "-O", "inline_data"]),
];

/// Whatever the kernel did to the files of a file system, what is said to differ leads from the one state to the other.
#[test]
fn what_differs_leads_from_one_state_to_the_other() {
    for (seed, (name, args)) in (1..).zip(LAYOUTS) {
        let coarse = args.contains(&"128");
        let mut noise = Noise::new(seed);
        let image = Image::make(32, args, Some(tree(40).path()));
        let mut states = Vec::new();
        for round in 0..3 {
            if coarse && round > 0 {
                std::thread::sleep(Duration::from_millis(1100));
            }
            let mount = Mount::new(&image, "noatime");
            be_busy(&mount.path(""), &mut noise, 45);
            let files = shown(&mount.path(""));
            mount.unmount();
            states.push((image.copy(), files));
        }
        for (b, a) in [(0, 1), (0, 2), (2, 1)] {
            let ((before, was), (after, is)) = (&states[b], &states[a]);
            let said = compared(before, after, &[""], false);
            assert_eq!(said.unseen.count, 0, "{name}: {:?}", said.unseen);
            judge(&said, was, is, &format!("{name}, {b} to {a}"));
        }
        let none = compared(&states[2].0, &states[2].0.copy(), &[""], false);
        // Without a journal its superblock alone does not tell.
        let by = if args.contains(&"ext2") { ComparedBy::Records } else { ComparedBy::Untouched };
        assert_eq!(none, FsDifferences::none(by), "{name}");
    }
}

/// The same where the later state was cut off, and where nobody says that the one was made of the other.
#[test]
fn a_file_system_in_use_is_compared_as_its_journal_leaves_it() {
    let image = Image::make(32, &["-t", "ext4"], Some(tree(40).path()));
    let mount = Mount::new(&image, "noatime");
    let was = shown(&mount.path(""));
    mount.unmount();
    let before = image.copy();
    let mount = Mount::new(&image, "noatime,commit=300");
    be_busy(&mount.path(""), &mut Noise::new(9), 60);
    let is = shown(&mount.path(""));
    fs::File::open(mount.path("")).unwrap().sync_all().unwrap();
    super::tools::said(super::tools::tool("sync", "coreutils").arg("-f").arg(mount.path("")));
    let crashed = image.copy();
    mount.unmount();
    let said = compared(&before, &crashed, &[""], false);
    assert!(said.unseen.first[0].1.as_str().contains("was not unmounted"), "{:?}", said.unseen);
    judge(&said, &was, &is, "cut off");

    // With another UUID it is another file system: by names, sizes and times the same is seen but for what has another name.
    // It wants a file system that was checked; what a check finds to mend is none of ours.
    super::tools::e2("e2fsck").arg("-fy").arg(&image.path).output().unwrap();
    super::tools::said(super::tools::e2("tune2fs").args(["-f", "-U", "random"]).arg(&image.path));
    let other = compared(&before, &image, &[""], false);
    assert_eq!(other.by, ComparedBy::Names);
    assert_eq!(carried(&was, &other.notable), is.keys().cloned().collect());
    let same = compared(
        &before,
        &{
            let copy = before.copy();
            super::tools::e2("e2fsck").arg("-fy").arg(&copy.path).output().unwrap();
            super::tools::said(super::tools::e2("tune2fs").args(["-U", "random"]).arg(&copy.path));
            copy
        },
        &[""],
        false,
    );
    assert_eq!(same, FsDifferences::none(ComparedBy::Names), "nothing was touched");
}

#[test]
fn what_has_another_name_is_told_as_that_with_all_that_is_in_it() {
    let image = Image::make(32, &["-t", "ext4"], None);
    let mount = Mount::new(&image, "noatime");
    let at = |name: &str| mount.path(name);
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::create_dir(at("etc")).unwrap();
    for name in ["a/one", "a/b/two", "a/b/c/three", "etc/fstab", "etc/secret", "etc/zeros"] {
        fs::write(at(name), format!("{name}\nsecond\nthird\n")).unwrap();
    }
    fs::set_permissions(at("etc/secret"), fs::Permissions::from_mode(0o600)).unwrap();
    mount.unmount();
    let before = image.copy();
    let mount = Mount::new(&image, "noatime");
    let at = |name: &str| mount.path(name);
    // A directory out of one that is removed; a change in what was moved; a name that is taken by another.
    fs::rename(at("a/b"), at("moved")).unwrap();
    fs::write(at("moved/c/three"), vec![7; 5000]).unwrap();
    fs::remove_dir_all(at("a")).unwrap();
    fs::write(at("a"), b"no directory").unwrap();
    fs::write(at("etc/fstab"), "etc/fstab\nother\nthird\nfourth\n").unwrap();
    fs::write(at("etc/secret"), "hidden\n").unwrap();
    fs::write(at("etc/zeros"), [0, 1, 2]).unwrap();
    fs::write(at("etc/new"), "new\n").unwrap();
    mount.unmount();
    let said = compared(&before, &image, &["/etc"], true);
    let of = |list: &[Difference]| {
        let line = |d: &Difference| (d.path.display().to_string(), d.change.clone());
        list.iter().map(line).collect::<BTreeSet<_>>()
    };
    let path = |p: &str| p.to_owned();
    assert_eq!(
        of(&said.largest),
        BTreeSet::from([
            (path("/moved"), FileChange::Renamed { from: "/a/b".into() }),
            (path("/moved/c/three"), FileChange::Changed),
            (path("/a"), FileChange::Deleted),
            (path("/a/one"), FileChange::Deleted),
            (path("/a"), FileChange::Created),
        ])
    );
    assert_eq!(said.largest[0].weight(), ByteLen(5000));
    assert_eq!((said.counts.total(), said.notable_counts.total(), said.counts.renamed), (9, 4, 1));
    assert_eq!(said.groups.iter().map(|g| g.counts.total()).sum::<u64>(), 5);
    let text = |name: &str| {
        let d = said.notable.iter().find(|d| d.path == name.into()).unwrap_or_else(|| panic!("{name}"));
        match d.text.as_ref().unwrap() {
            TextChange::Lines { hunks, more } => {
                assert!(!more);
                let line = |(mark, line): &(LineMark, model::text::DisplayText)| {
                    format!(
                        "{}{line}",
                        match mark {
                            LineMark::Both => ' ',
                            LineMark::Before => '-',
                            LineMark::After => '+',
                        }
                    )
                };
                hunks.iter().flat_map(|h| h.lines.iter().map(line)).collect::<Vec<_>>().join("|")
            }
            TextChange::Untold(why) => format!("untold: {why}"),
        }
    };
    assert_eq!(text("/etc/fstab"), " etc/fstab|-second|+other| third|+fourth");
    assert_eq!(text("/etc/new"), "+new");
    assert_eq!(text("/etc/secret"), "untold: not everybody may read it on the machine");
    assert_eq!(text("/etc/zeros"), "untold: it is no text");
}

/// Damage costs remarks, or the answer: it never panics, and what is said stays within bounds.
#[test]
fn damaged_states_are_compared_as_far_as_they_hold_together() {
    let image = Image::make(8, &["-t", "ext4", "-b", "1024"], Some(tree(30).path()));
    let good = fs::read(&image.path).unwrap();
    let content = content(&image);
    let mut noise = Noise::new(5);
    let (mut told, mut remarked) = (0, 0);
    for round in 0..60 {
        let mut bad = good.clone();
        for _ in 0..1 + round % 12 * 20 {
            // Superblock, descriptors, inode tables, directories.
            let at = noise.below(if round % 2 == 0 { 600_000 } else { good.len() });
            bad[at] ^= u8::try_from(1 + noise.below(255)).unwrap();
        }
        let (before, after) = if round % 3 == 0 { (bad.clone(), good.clone()) } else { (good.clone(), bad) };
        let two = Two::open((&content, Arc::new(before)), (&content, Arc::new(after)));
        let found = match two.and_then(|two| two.differences(&["/deep".into()], true)) {
            Ok(found) => found,
            Err(e) => {
                assert!(!e.to_string().contains("its records do not hold together"), "it panicked: {e}");
                continue;
            }
        };
        told += 1;
        remarked += u32::from(found.unseen.count > 0);
        assert!(found.counts.total() < 1000, "{:?}", found.counts);
    }
    assert!(told > 20 && remarked > 5, "{told} {remarked}");
}

/// A directory that is its own parent, in either state, ends the walk into it and nothing else.
#[test]
fn circles_end() {
    let image = Image::make(8, &["-t", "ext4"], None);
    image.debugfs(&["mkdir /a".into(), "mkdir /a/b".into(), "mkdir /c".into()]);
    let before = image.copy();
    image.debugfs(&["link /a /a/b/up".into(), "link /a /new".into(), "mkdir /c/d".into()]);
    for (b, a) in [(&before, &image), (&image, &before), (&image, &image.copy())] {
        let found = compared(b, a, &[""], false);
        assert!(found.counts.total() < 10, "{found:?}");
    }
}
