//! What differs between two states, what nobody wrote to, what is lost, and where an installed system is.

use super::fixtures::{self, Image};
use super::host::source;
use disk::coverage;
use disk::fs::{Two, losses};
use model::coverage::Comparison;
use model::differences::{ComparedBy, FileChange};
use model::inspection::Severity;
use model::units::{Extent, ExtentSet};

/// As it was before anything was synced: without its log.
fn without_log(image: &Image) -> Image {
    let mut before = image.clone();
    before.patch_superblock(0x60, &[0; 8]);
    before
}

#[test]
fn what_nobody_wrote_to_is_told() {
    let image = fixtures::image("today");
    let told = |now: &Image, before: &Image| coverage::changes(&now.content(), now.bytes(), before.bytes());
    let same = told(&image, &image);
    assert_eq!(same.comparison, Comparison::Untouched, "{}", same.why);
    let used = super::used::used(&image).used;
    let again: ExtentSet = used.iter().flat_map(|e| same.same.gaps(e).iter().collect::<Vec<_>>()).collect();
    // The first MiB, and what is written in place.
    assert!(again.covers(Extent::between(0, 1 << 20).unwrap()));
    let fs = image.open();
    let lies = |path: &str| {
        let file = fs.find(path.as_bytes()).unwrap().unwrap().file;
        let model::files::Layout::Pieces { pieces, .. } = fs.layout(file, model::units::ByteOffset(0), 100).unwrap()
        else {
            panic!("{path} is compressed")
        };
        pieces.into_iter().map(|(_, piece)| piece).collect::<Vec<_>>()
    };
    assert!(!lies("/@/in-place").is_empty() && lies("/@/in-place").iter().all(|e| again.covers(*e)));
    assert!(!lies("/@/noise").is_empty() && lies("/@/noise").iter().all(|e| same.same.covers(*e)));
    assert!(again.total().0 < 3 << 20, "{}", again.total());

    let before = without_log(&image);
    // What was synced since is in the log, and of no extent that both have.
    let differs = told(&image, &before);
    assert_eq!(differs.comparison, Comparison::Metadata, "{}", differs.why);
    assert!(lies("/@/new").iter().chain(&lies("/@/in-place")).all(|e| differs.same.clip(*e).is_empty()));
    assert!(lies("/saved/noise").iter().all(|e| differs.same.covers(*e)));
    assert_ne!(super::used::used(&image).state, super::used::used(&before).state);
    let other = fixtures::image("before");
    assert_eq!(told(&image, &other).comparison, Comparison::Content);
}

/// One session of a kernel later: what is told to be the same is, and it is most of what the session left alone.
#[test]
fn what_a_session_left_alone_is_told() {
    let (before, now) = (fixtures::image("small-0"), fixtures::image("small-1"));
    let told = coverage::changes(&now.content(), now.bytes(), before.bytes());
    assert_eq!(told.comparison, Comparison::Metadata, "{}", told.why);
    for run in told.same.iter() {
        let len = run.len().to_usize().unwrap();
        assert!(now.get(run.start().0, len) == before.get(run.start().0, len), "{run:?}");
    }
    let fs = now.open();
    let lies = |path: &str| {
        let file = fs.find(path.as_bytes()).unwrap().unwrap().file;
        match fs.layout(file, model::units::ByteOffset(0), 100).unwrap() {
            model::files::Layout::Pieces { pieces, .. } => pieces.into_iter().map(|(_, e)| e).collect::<Vec<_>>(),
            other => panic!("{path}: {other:?}"),
        }
    };
    let (same, data) = (lies("/usr/same"), lies("/usr/data"));
    assert!(same.iter().map(|e| e.len().0).sum::<u64>() > 200_000 && same.iter().all(|e| told.same.covers(*e)));
    assert!(!data.is_empty() && data.iter().all(|e| told.same.clip(*e).is_empty()), "it was written anew");
    // The other way round it would be an older state; one that was made anew has nothing in common.
    let back = coverage::changes(&before.content(), before.bytes(), now.bytes());
    assert!(back.same.is_empty() && back.why.as_str().contains("older transaction"), "{}", back.why);
    // An extent of the same place and transaction with other bytes in it, as another history would have it, is not the same: its sums tell.
    let mut other = before.clone();
    let first = same[0].start().0;
    let sum = crc32c::crc32c(&before.get(first, 4096)).to_le_bytes();
    let holds = |at: &u64| before.get(*at, 4096).windows(4).any(|w| w == sum);
    let nodes: Vec<u64> = before.blocks().filter(holds).collect();
    assert!(!nodes.is_empty());
    for at in nodes {
        let mut block = before.get(at, 4096);
        let place = block.windows(4).position(|w| w == sum).unwrap();
        block[place] ^= 1;
        other.put(at, &block);
        // With tree blocks of 4096 bytes, as small file systems have them.
        other.sum(at, 4096);
    }
    let told = coverage::changes(&now.content(), now.bytes(), other.bytes());
    let sector = Extent::between(first, first + 4096).unwrap();
    assert!(
        told.same.clip(sector).is_empty()
            && told.same.covers(same[0].intersect(Extent::between(first + 4096, first + 8192).unwrap()).unwrap()),
        "{}",
        told.why
    );
}

#[test]
fn differences_are_those_of_the_log() {
    let image = fixtures::image("today");
    let before = without_log(&image);
    let two = Two::open((&before.content(), before.bytes()), (&image.content(), image.bytes())).unwrap();
    let found = two.differences(&["".into()], true).unwrap();
    assert_eq!((found.by, found.unseen.count), (ComparedBy::Names, 0));
    let seen: Vec<(String, FileChange)> =
        found.notable.iter().map(|d| (d.path.display().to_string(), d.change.clone())).collect();
    let is = |path: &str, wanted: &dyn Fn(&FileChange) -> bool| {
        assert!(seen.iter().any(|(p, change)| p == path && wanted(change)), "{path}: {seen:?}");
    };
    is("/@/new", &|c| *c == FileChange::Created);
    is("/@/gone/other", &|c| *c == FileChange::Created);
    is("/@/gone/file", &|c| *c == FileChange::Deleted);
    is("/@/text", &|c| *c == FileChange::Changed);
    is("/@home/user/letter-2", &|c| *c == FileChange::Created);
    assert!(seen.iter().all(|(path, _)| !path.starts_with("/saved") && !path.contains("many")), "{seen:?}");
}

#[test]
fn lost_bytes_have_names() {
    let image = fixtures::image("today");
    let fs = image.open();
    let file = fs.find(b"/saved/noise").unwrap().unwrap().file;
    let model::files::Layout::Pieces { pieces, .. } = fs.layout(file, model::units::ByteOffset(0), 100).unwrap() else {
        panic!("it is compressed")
    };
    let lost: ExtentSet = pieces.iter().map(|(_, piece)| *piece).take(1).collect();
    let found = losses(&image.content(), image.bytes(), &lost).unwrap();
    let names: Vec<String> = found.paths.iter().map(|p| p.path.display().to_string()).collect();
    assert_eq!(names, ["/@/noise", "/@/noise-again", "/saved/noise", "/saved/noise-again"]);
    assert_eq!((found.count, found.nameless, found.metadata, found.unclaimed.0), (4, 0, false, 0));
    let superblock: ExtentSet = Extent::between(64 << 10, (64 << 10) + 512).into_iter().collect();
    assert!(losses(&image.content(), image.bytes(), &superblock).unwrap().metadata);
}

#[test]
fn the_system_is_found_in_its_subvolume() {
    let image = fixtures::image("today");
    let inspection = disk::inspect(&[source(0, image.bytes())]);
    let warnings = super::host::texts(&inspection.findings, Severity::Warning);
    assert!(warnings.is_empty(), "{warnings:?}");
    let [system] = &inspection.systems[..] else { panic!("{:?}", inspection.systems) };
    assert_eq!((system.name.as_str(), system.hostname.as_ref().unwrap().as_str()), ("Fixture Linux", "fixture"));
    let place = |path: &str| system.place(path).1;
    assert_eq!(place("/etc/fstab"), "/@/etc/fstab");
    assert_eq!(place("/home/user"), "/@home/user");
    assert_eq!((place("/"), place("/home"), place("/homeless")), ("/@/".into(), "/@home".into(), "/@/homeless".into()));
    // One whose root is the root of its volume.
    let inspection = disk::inspect(&[source(0, fixtures::image("before").bytes())]);
    assert_eq!(inspection.systems.len(), 1, "its snapshot is no system of its own");
    assert!(inspection.systems[0].subvolumes.is_empty());
}
