//! Walking two trees side by side.
//!
//! What has a name in one state only is put aside with all that is in it, to be matched by its number: it may have another name in
//! the other. What is not matched is gone, or new.

use super::gather::Gather;
use crate::fs::FsError;
use crate::fs::names::Names;
use model::differences::{Difference, FileChange};
use model::inspection::FileKind;
use model::text::RawName;
use model::units::ByteLen;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ops::ControlFlow;

/// Most entries of one directory that are compared.
const MOST_ENTRIES: usize = 1 << 20;
/// Most files that are held because they have a name in one state only.
const MOST_HELD: usize = 1 << 20;

/// Which of the two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fs) enum Side {
    Before,
    After,
}

/// What tells a file from every other that was ever in its file system: its number, and what is given anew with it.
pub(in crate::fs) type Identity = [u64; 3];

/// What is kept of a file, as far as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fs) struct Facts {
    /// What it is.
    pub(in crate::fs) kind: FileKind,
    /// Its size; of a directory it means nothing.
    pub(in crate::fs) size: u64,
    /// Nanoseconds since 1970 of the last change of its content.
    pub(in crate::fs) modified: Option<i64>,
    /// Type and permissions, owner, group.
    pub(in crate::fs) mode: (u32, u32, u32),
    /// Where a symbolic link leads, where that is kept apart.
    pub(in crate::fs) target: Option<RawName>,
    /// Where the file system keeps enough to tell.
    pub(in crate::fs) identity: Option<Identity>,
}

/// What is done with an entry of a directory: its name, its number, and what is kept of it where that comes with it.
pub(in crate::fs) type Visit<'a> = dyn FnMut(&[u8], u64, Option<Facts>) -> ControlFlow<()> + 'a;

/// Two states of a file system, as a walk needs them.
pub(in crate::fs) trait Pair {
    /// The numbers of the root directories.
    fn roots(&self) -> (u64, u64);

    /// Shows the entries of a directory, without `.` and `..`.
    ///
    /// # Errors
    /// [`FsError`] where it cannot be read whole.
    fn entries(&self, side: Side, dir: u64, visit: &mut Visit<'_>) -> Result<(), FsError>;

    /// What is kept of a file.
    ///
    /// # Errors
    /// [`FsError`] where its record cannot be read.
    fn facts(&self, side: Side, file: u64) -> Result<Facts, FsError>;

    /// Where the record of a file says that nothing of it changed: whether it is a directory. What is in a directory is not part
    /// of that.
    fn unchanged(&self, before: u64, after: u64) -> Option<bool>;

    /// True where a directory is proven to have the same entries in both states.
    fn same_entries(&self, before: u64, after: u64) -> bool;

    /// What became of a file under one name, where its kind is the same.
    ///
    /// # Errors
    /// [`FsError`] where its record cannot be read.
    fn change(&self, before: (u64, &Facts), after: (u64, &Facts)) -> Result<Option<FileChange>, FsError>;
}

/// Compares two trees.
pub(super) fn walk(pair: &dyn Pair, gather: &mut Gather<'_>) {
    let mut walk = Walk {
        pair,
        gather,
        names: Names::default(),
        ahead: VecDeque::new(),
        met: [HashSet::new(), HashSet::new()],
        seen: [HashSet::new(), HashSet::new()],
        matched: [HashSet::new(), HashSet::new()],
        aside: [Vec::new(), Vec::new()],
        full: false,
    };
    let (before, after) = pair.roots();
    walk.names.start(0, b"");
    walk.met[0].insert(before);
    walk.met[1].insert(after);
    walk.ahead.push_back(Twice { files: [before, after], places: [0, 0] });
    loop {
        while let Some(next) = walk.ahead.pop_front() {
            walk.directory(&next);
        }
        walk.expand(Side::Before);
        walk.expand(Side::After);
        walk.renamed();
        // A directory that has another name may have more in it that has.
        if walk.ahead.is_empty() {
            break;
        }
    }
    walk.finish();
}

/// A directory that is there in both states.
struct Twice {
    files: [u64; 2],
    /// The places of its names.
    places: [usize; 2],
}

/// Something that has a name in one state only.
struct Item {
    /// The directory it is in, and the place of that.
    directory: u64,
    parent: usize,
    name: Box<[u8]>,
    file: u64,
    facts: Facts,
    /// What was put aside before because it is the directory this is in.
    above: Option<usize>,
    /// What is in it was put aside too.
    expanded: bool,
}

/// Where something that is put aside lies.
struct Within {
    /// The directory.
    directory: u64,
    /// The place of its name.
    place: usize,
    /// Its place in what was put aside, where it was.
    above: Option<usize>,
}

impl Within {
    /// A directory that is there in both states.
    fn of(twice: &Twice, side: Side) -> Self {
        Self { directory: twice.files[at(side)], place: twice.places[at(side)], above: None }
    }
}

/// True for what has another name, or lies in what has.
fn is_taken(items: &[Item], taken: &[bool], place: usize) -> bool {
    let mut next = Some(place);
    while let Some(place) = next {
        if taken.get(place).copied().unwrap_or(false) {
            return true;
        }
        next = items.get(place).and_then(|item| item.above);
    }
    false
}

struct Walk<'a, 'b> {
    pair: &'a dyn Pair,
    gather: &'a mut Gather<'b>,
    names: Names,
    ahead: VecDeque<Twice>,
    /// Directories that were met in both states.
    met: [HashSet<u64>; 2],
    /// Directories that are put aside, with what is in them.
    seen: [HashSet<u64>; 2],
    /// What has another name in the other state, by its directory and its name: told already.
    matched: [HashSet<(u64, Box<[u8]>)>; 2],
    aside: [Vec<Item>; 2],
    /// More has a name in one state only than is held.
    full: bool,
}

fn at(side: Side) -> usize {
    match side {
        Side::Before => 0,
        Side::After => 1,
    }
}

/// The entries of one name in both states.
#[derive(Default)]
struct Slot([Option<(u64, Option<Facts>)>; 2]);

impl Walk<'_, '_> {
    fn path(&self, place: usize, name: &[u8]) -> Option<Vec<u8>> {
        self.names.path(place, name)
    }

    /// The path of a directory at a place.
    fn path_of(&self, place: usize) -> Vec<u8> {
        let mut path = self.path(place, b"").unwrap_or_default();
        if path.len() > 1 {
            path.pop();
        }
        path
    }

    fn unseen(&mut self, place: usize, name: &[u8], why: &str) {
        let path = self.path(place, name).unwrap_or_default();
        self.gather.unseen(&path, why);
    }

    fn directory(&mut self, twice: &Twice) {
        let [before, after] = twice.files;
        let mut slots: BTreeMap<Vec<u8>, Slot> = BTreeMap::new();
        let same = self.pair.same_entries(before, after);
        for side in [Side::Before, Side::After] {
            if same && side == Side::Before {
                continue;
            }
            let pair = self.pair;
            let mut full = false;
            let read = pair.entries(side, twice.files[at(side)], &mut |name, file, facts| {
                if same && pair.unchanged(file, file) == Some(false) {
                    return ControlFlow::Continue(());
                }
                let matched = &self.matched[at(side)];
                if !matched.is_empty() && matched.contains(&(twice.files[at(side)], name.into())) {
                    return ControlFlow::Continue(());
                }
                full = slots.len() >= MOST_ENTRIES && !slots.contains_key(name);
                if full {
                    return ControlFlow::Break(());
                }
                let slot = slots.entry(name.to_vec()).or_default();
                if same {
                    slot.0[0] = Some((file, facts.clone()));
                }
                slot.0[at(side)] = Some((file, facts));
                ControlFlow::Continue(())
            });
            let which = if side == Side::Before { "earlier" } else { "later" };
            let why = match read {
                Ok(()) if full => format!("it has more than {MOST_ENTRIES} names"),
                Ok(()) => continue,
                Err(e) => e.to_string(),
            };
            // What cannot be read in one state is neither gone nor new.
            let path = self.path_of(twice.places[at(side)]);
            return self.gather.unseen(&path, &format!("what is in it in the {which} state cannot be told: {why}"));
        }
        let within = |side: Side| Within::of(twice, side);
        for (name, Slot(slot)) in slots {
            match slot {
                [Some(before), Some(after)] => self.both(twice, &name, before, after),
                [Some(before), None] => self.put_aside(Side::Before, within(Side::Before), &name, before),
                [None, Some(after)] => self.put_aside(Side::After, within(Side::After), &name, after),
                [None, None] => {}
            }
        }
    }

    fn facts(&mut self, side: Side, (file, known): (u64, Option<Facts>)) -> Result<(u64, Facts), FsError> {
        Ok((file, known.map_or_else(|| self.pair.facts(side, file), Ok)?))
    }

    /// One name in both states.
    fn both(&mut self, twice: &Twice, name: &[u8], before: (u64, Option<Facts>), after: (u64, Option<Facts>)) {
        let places = twice.places;
        match self.pair.unchanged(before.0, after.0) {
            Some(false) => return,
            Some(true) => return self.enter([before.0, after.0], places, name),
            None => {}
        }
        let facts = self.facts(Side::Before, before).and_then(|b| Ok((b, self.facts(Side::After, after)?)));
        let ((b, was), (a, is)) = match facts {
            Ok(facts) => facts,
            Err(e) => return self.unseen(places[1], name, &e.to_string()),
        };
        if was.kind != is.kind {
            self.put_aside(Side::Before, Within::of(twice, Side::Before), name, (b, Some(was)));
            return self.put_aside(Side::After, Within::of(twice, Side::After), name, (a, Some(is)));
        }
        if is.kind == FileKind::Directory {
            self.enter([b, a], places, name);
        }
        match self.pair.change((b, &was), (a, &is)) {
            Ok(None) => {}
            Ok(Some(change)) => {
                let path = self.path(places[1], name);
                self.tell(path, change, Some(&was), Some(&is));
            }
            Err(e) => self.unseen(places[1], name, &e.to_string()),
        }
    }

    /// Goes into a directory later on.
    fn enter(&mut self, files: [u64; 2], places: [usize; 2], name: &[u8]) {
        let fresh = [self.met[0].insert(files[0]), self.met[1].insert(files[1])];
        if fresh != [true, true] {
            return self.unseen(places[1], name, TWICE);
        }
        let first = self.names.push(places[0], name);
        let second = if places[0] == places[1] { first } else { self.names.push(places[1], name) };
        match (first, second) {
            (Some(first), Some(second)) => self.ahead.push_back(Twice { files, places: [first, second] }),
            _ => self.gather.unseen(b"", "it has more directories than are followed"),
        }
    }

    fn put_aside(&mut self, side: Side, within: Within, name: &[u8], what: (u64, Option<Facts>)) {
        let Within { directory, place: parent, above } = within;
        if self.aside[0].len() + self.aside[1].len() >= MOST_HELD {
            self.full = true;
            return;
        }
        match self.facts(side, what) {
            Ok((file, facts)) => {
                let item = Item { directory, parent, name: name.into(), file, facts, above, expanded: false };
                self.aside[at(side)].push(item);
            }
            Err(e) => self.unseen(parent, name, &e.to_string()),
        }
    }

    /// Matches what has another name: directories first that lie higher, with all that is in them.
    fn renamed(&mut self) {
        let [before, after] = std::mem::take(&mut self.aside);
        let key = |item: &Item| Some((item.facts.kind as u8, item.facts.identity?));
        let mut new: HashMap<_, usize> = HashMap::new();
        for (place, item) in after.iter().enumerate() {
            if let Some(key) = key(item) {
                new.entry(key).or_insert(place);
            }
        }
        let mut taken = [vec![false; before.len()], vec![false; after.len()]];
        for (place, old) in before.iter().enumerate() {
            let found = key(old).and_then(|key| new.get(&key)).copied();
            let Some((other, now)) = found.and_then(|other| Some((other, after.get(other)?))) else { continue };
            if is_taken(&before, &taken[0], place) || is_taken(&after, &taken[1], other) {
                continue;
            }
            (taken[0][place], taken[1][other]) = (true, true);
            for (matched, item) in self.matched.iter_mut().zip([old, now]) {
                matched.insert((item.directory, item.name.clone()));
            }
            self.has_other_name(old, now);
        }
        self.aside = [self.left(Side::Before, before, &taken[0]), self.left(Side::After, after, &taken[1])];
    }

    /// What is not taken, nor in what is.
    fn left(&mut self, side: Side, items: Vec<Item>, taken: &[bool]) -> Vec<Item> {
        let (mut left, mut places) = (Vec::new(), Vec::with_capacity(items.len()));
        for (item, taken) in items.into_iter().zip(taken) {
            let above = item.above.map(|above| places.get(above).copied().flatten());
            // What is above stands before: where that is not left, this is not either.
            if *taken || above == Some(None) {
                self.seen[at(side)].remove(&item.file);
                places.push(None);
            } else {
                places.push(Some(left.len()));
                left.push(Item { above: above.flatten(), ..item });
            }
        }
        left
    }

    fn has_other_name(&mut self, old: &Item, new: &Item) {
        let (from, to) = (self.path(old.parent, &old.name), self.path(new.parent, &new.name));
        let Some(from) = from else { return self.gather.unseen(b"", TOO_LONG) };
        let change = FileChange::Renamed { from: RawName(from) };
        self.tell(to.clone(), change, Some(&old.facts), Some(&new.facts));
        if new.facts.kind == FileKind::Directory {
            let places = (self.names.push(old.parent, &old.name), self.names.push(new.parent, &new.name));
            let fresh = [self.met[0].insert(old.file), self.met[1].insert(new.file)];
            match places {
                (Some(first), Some(second)) if fresh == [true, true] => {
                    self.ahead.push_back(Twice { files: [old.file, new.file], places: [first, second] });
                }
                _ => self.gather.unseen(&to.unwrap_or_default(), "what is in it cannot be followed"),
            }
            return;
        }
        if let Ok(Some(FileChange::Changed)) = self.pair.change((old.file, &old.facts), (new.file, &new.facts)) {
            self.tell(to, FileChange::Changed, Some(&old.facts), Some(&new.facts));
        }
    }

    /// Puts aside what is in directories that are gone, or new, and in those within.
    fn expand(&mut self, side: Side) {
        let mut next = 0;
        while let Some(item) = self.aside[at(side)].get_mut(next) {
            next += 1;
            if item.facts.kind != FileKind::Directory || std::mem::replace(&mut item.expanded, true) {
                continue;
            }
            let (file, parent, name) = (item.file, item.parent, item.name.clone());
            if !self.seen[at(side)].insert(file) {
                self.unseen(parent, &name, TWICE);
                continue;
            }
            let Some(place) = self.names.push(parent, &name) else {
                self.gather.unseen(b"", "it has more directories than are followed");
                continue;
            };
            let mut found = Vec::new();
            let read = self.pair.entries(side, file, &mut |name, file, facts| {
                found.push((name.to_vec(), file, facts));
                if found.len() < MOST_ENTRIES { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            });
            if let Err(e) = read {
                self.unseen(parent, &name, &format!("what is in it cannot be read whole: {e}"));
            }
            let directory = file;
            for (name, file, facts) in found {
                let within = Within { directory, place, above: Some(next - 1) };
                self.put_aside(side, within, &name, (file, facts));
            }
        }
    }

    fn finish(mut self) {
        let [gone, new] = std::mem::take(&mut self.aside);
        for item in gone {
            let path = self.path(item.parent, &item.name);
            self.tell(path, FileChange::Deleted, Some(&item.facts), None);
        }
        for item in new {
            let path = self.path(item.parent, &item.name);
            self.tell(path, FileChange::Created, None, Some(&item.facts));
        }
        if self.full {
            self.gather.unseen(b"", "more files were created or deleted than are followed");
        }
    }

    fn tell(&mut self, path: Option<Vec<u8>>, change: FileChange, was: Option<&Facts>, is: Option<&Facts>) {
        let (Some(path), Some(kind)) = (path, is.or(was).map(|f| f.kind)) else {
            return self.gather.unseen(b"", TOO_LONG);
        };
        let size = |facts: Option<&Facts>| facts.map(|f| ByteLen(if kind == FileKind::File { f.size } else { 0 }));
        let (before, after) = (size(was), size(is));
        self.gather.add(Difference { path: RawName(path), kind, change, before, after, text: None });
    }
}

const TWICE: &str = "a directory that has two names, or is its own parent";
const TOO_LONG: &str = "some paths are longer than a path can be";
