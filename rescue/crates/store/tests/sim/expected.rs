//! What must be true of a store after a history, whatever came in between.

use crate::build::{Build, Deed, Step, is_exact, is_part};
use crate::fs::SimFs;
use model::id::SnapshotId;
use model::note::Noted;
use model::snapshot::Manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use store::{CheckReport, Listing, Store};

/// What a check may find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Nothing at all.
    NothingWrong,
    /// Damage that costs no snapshot: cross-linked names on FAT, or a disk that lies, may hurt what nothing needs.
    NothingLost,
}

/// What is done before everything is looked at for the last time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Next {
    /// The volume of the next snapshot.
    pub(crate) volume: usize,
    /// Then what nothing needs is freed.
    pub(crate) prunes: bool,
}

/// What was acknowledged.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    pub(crate) store: bool,
    pub(crate) snapshots: BTreeSet<SnapshotId>,
    forgotten: BTreeSet<SnapshotId>,
    notes: BTreeMap<SnapshotId, Noted>,
    /// Write-backs by where they go to, and whether they ended.
    write_backs: BTreeMap<SnapshotId, bool>,
    /// The volume of which something was put aside.
    aside: Option<usize>,
    /// What was begun and not acknowledged: it happened or not.
    begun: Option<Deed>,
}

impl Expected {
    pub(crate) fn begin(&mut self, deed: Deed) {
        if let (Step::Forget(_), Some(id)) = (deed.step, deed.about) {
            self.snapshots.remove(&id);
        }
        self.begun = Some(deed);
    }

    pub(crate) fn acknowledge(&mut self, deed: Deed, id: Option<SnapshotId>) {
        self.begun = None;
        match (deed.step, deed.about) {
            (Step::Init, _) => self.store = true,
            (Step::Snapshot(_) | Step::GoOn(_) | Step::Beside(..), _) => {
                self.snapshots.extend(id);
                self.aside = None;
            }
            (Step::Stop(n), _) => self.aside = Some(n),
            (Step::Forget(_), Some(id)) => {
                self.snapshots.remove(&id);
                self.forgotten.insert(id);
            }
            (Step::Intent(_), Some(id)) => {
                self.write_backs.entry(id).or_default();
            }
            (Step::Receipt(_), Some(id)) => {
                self.write_backs.insert(id, true);
            }
            (Step::Note(_, word), Some(id)) => self.notes.entry(id).or_default().take(&word.says()),
            _ => {}
        }
    }

    /// A snapshot was begun since, and maybe recorded: what was put aside is not needed any more.
    pub(crate) fn saved_since(self) -> Self {
        Self { aside: None, ..self }
    }

    /// True where something was begun.
    pub(crate) fn is_between(&self) -> bool {
        self.begun.is_some()
    }

    /// Opens the store and looks at all of it; then goes on with it, and looks again. Returns what is there then.
    pub(crate) fn verify(&self, build: &Build, fs: &SimFs, look: Look, next: Next) -> Result<Self, String> {
        let done = catch_unwind(AssertUnwindSafe(|| {
            let store = match build.open(fs) {
                Err(_) if !self.store => return self.verify_new(build, fs, look, next),
                opened => opened.map_err(|e| format!("the store does not open: {e}"))?,
            };
            let seen = self.whole(&store, look)?;
            drop(store);
            seen.go_on(build, fs, look, next)
        }));
        done.unwrap_or_else(|_| Err("a panic".to_owned()))
    }

    /// Before the store was acknowledged it may be there or not, and can then be made.
    fn verify_new(&self, build: &Build, fs: &SimFs, look: Look, next: Next) -> Result<Self, String> {
        let deed = Step::Init.of(&[]);
        let id = build.act(fs, deed).map_err(|e| format!("making the store again: {e}"))?;
        let mut expected = self.clone();
        expected.acknowledge(deed, id);
        expected.go_on(build, fs, look, next)
    }

    /// One more snapshot; then everything is looked at again, since what went wrong before may show in what is written now.
    fn go_on(&self, build: &Build, fs: &SimFs, look: Look, next: Next) -> Result<Self, String> {
        let deed = Step::Snapshot(next.volume).of(&[]);
        let id = build.act(fs, deed).map_err(|e| format!("the next snapshot: {e}"))?;
        let mut expected = self.clone();
        expected.acknowledge(deed, id);
        if next.prunes {
            let deed = Step::Prune { now: true }.of(&[]);
            build.act(fs, deed).map_err(|e| format!("the next prune: {e}"))?;
        }
        let store = build.open(fs).map_err(|e| format!("opening after the next snapshot: {e}"))?;
        let (report, seen) = expected.looked_at(&store, look).map_err(|e| format!("after the next snapshot: {e}"))?;
        if next.prunes && look == Look::NothingWrong && !build.shared {
            is_tidy(build, fs, &report)?;
        }
        Ok(seen)
    }

    /// Every snapshot acknowledged is there, everything listed reads back, and a check agrees. Returns what is there: from
    /// then on all of that is expected.
    pub(crate) fn whole(&self, store: &Store, look: Look) -> Result<Self, String> {
        self.looked_at(store, look).map(|(_, seen)| seen)
    }

    fn looked_at(&self, store: &Store, look: Look) -> Result<(CheckReport, Self), String> {
        let listing = store.list().map_err(|e| format!("listing: {e}"))?;
        if let Some(damage) = listing.damage.first() {
            return Err(format!("something torn is listed: {damage}"));
        }
        let write_backs = self.begun_and_ended(store)?;
        let aside = self.put_aside(store, look)?;
        let seen = Self { write_backs, aside, ..self.seen(&listing)? };
        if !listing.snapshots.is_sorted_by(|(_, a), (_, b)| a.counter < b.counter) {
            return Err("two snapshots have one counter".to_owned());
        }
        for (_, manifest) in &listing.snapshots {
            reads_back(store, manifest)?;
        }
        let report = store.check(true, &mut |_, _| true).map_err(|e| format!("checking: {e}"))?;
        if !report.affected.is_empty() {
            return Err(format!("the check finds snapshots affected: {:?}", report.findings));
        }
        if !report.findings.is_empty() && look == Look::NothingWrong {
            return Err(format!("the check finds damage: {:?}", report.findings));
        }
        Ok((report, seen))
    }

    /// What was put aside, where it is whole, and there if it was acknowledged and nothing that replaces it was begun. Where the disk lies
    /// it is nobody's promise.
    fn put_aside(&self, store: &Store, look: Look) -> Result<Option<usize>, String> {
        let asides = store.asides().map_err(|e| format!("listing what was put aside: {e}"))?;
        for (_, aside) in asides.iter().filter(|_| look == Look::NothingWrong) {
            match is_part(store, aside) {
                Ok(true) => {}
                Ok(false) => return Err(format!("what was put aside of {} is something else", aside.taken.0)),
                Err(e) => return Err(format!("what was put aside of {} does not read back: {e}", aside.taken.0)),
            }
        }
        let there = |n: &usize| asides.iter().any(|(_, a)| usize::try_from(a.taken.0) == Ok(*n));
        let begun = self.begun.map(|deed| deed.step);
        let replaced = matches!(begun, Some(Step::Stop(_) | Step::Snapshot(_) | Step::GoOn(_) | Step::Beside(..)));
        match self.aside {
            Some(n) if look == Look::NothingWrong && !replaced && !there(&n) => {
                Err(format!("what was put aside of {n} is gone"))
            }
            aside => Ok(aside.filter(there)),
        }
    }

    /// The write-backs there are, where they are those that were acknowledged.
    fn begun_and_ended(&self, store: &Store) -> Result<BTreeMap<SnapshotId, bool>, String> {
        let intents = store.intents().map_err(|e| format!("listing write-backs: {e}"))?;
        let found = intents.into_iter().map(|(_, intent, receipt)| (intent.plan.to, receipt.is_some())).collect();
        let mut done = self.clone();
        if let Some(deed @ Deed { step: Step::Intent(_) | Step::Receipt(_), .. }) = self.begun {
            done.acknowledge(deed, None);
        }
        match found == self.write_backs || found == done.write_backs {
            true => Ok(found),
            false => Err(format!(
                "the write-backs there are (and whether they ended): {found:?}, not {:?}",
                self.write_backs
            )),
        }
    }

    /// What a listing has, where it has all that was acknowledged.
    fn seen(&self, listing: &Listing) -> Result<Self, String> {
        let listed: BTreeSet<SnapshotId> = listing.snapshots.iter().map(|(id, _)| *id).collect();
        if let Some(lost) = self.snapshots.difference(&listed).next() {
            return Err(format!("snapshot {} was acknowledged and is gone", lost.0.short(12)));
        }
        if let Some(back) = self.forgotten.intersection(&listed).next() {
            return Err(format!("snapshot {} was forgotten and is there", back.0.short(12)));
        }
        let mut seen = Self { begun: None, snapshots: listed, ..self.clone() };
        if let Some(Deed { step: Step::Forget(_), about: Some(id) }) = self.begun
            && !seen.snapshots.contains(&id)
        {
            seen.forgotten.insert(id);
        }
        for id in &seen.snapshots {
            let noted = listing.notes.get(id).cloned().unwrap_or_default();
            let mut good = vec![self.notes.get(id).cloned().unwrap_or_default()];
            if let Some(Deed { step: Step::Note(_, word), about: Some(about) }) = self.begun
                && about == *id
            {
                let mut said = good[0].clone();
                said.take(&word.says());
                good.push(said);
            }
            if !good.contains(&noted) {
                return Err(format!("of snapshot {} {noted:?} is said and not {good:?}", id.0.short(12)));
            }
            seen.notes.insert(*id, noted);
        }
        Ok(seen)
    }
}

/// A prune that nothing stood in the way of leaves nothing that nobody needs.
fn is_tidy(build: &Build, fs: &SimFs, report: &CheckReport) -> Result<(), String> {
    let objects = build.objects(build.dir(fs).map_err(|e| e.to_string())?);
    for kind in ["leases", "condemned", "asides"] {
        if let Some(left) = objects.list(kind).map_err(|e| e.to_string())?.first() {
            return Err(format!("after a prune there is {}", left.as_str()));
        }
    }
    match report.leftover_packs {
        0 => Ok(()),
        n => Err(format!("after a prune {n} packs are there that nothing needs")),
    }
}

fn reads_back(store: &Store, manifest: &Manifest) -> Result<(), String> {
    match is_exact(store, manifest) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("snapshot {} reads back as something else", manifest.taken.0)),
        Err(e) => Err(format!("snapshot {} does not read back: {e}", manifest.taken.0)),
    }
}
