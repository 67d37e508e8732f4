//! What a capture reads, volume by volume: which bytes, and which of them a snapshot has already.

use super::ahead::Ahead;
use super::kept::{Kept, Past};
use super::{Context, Stop};
use crate::plan::snapshot;
use disk::fence::FENCE_LEN;
use model::assessment::Report;
use model::command::ExitCode;
use model::coverage::{CaptureMethod, Changes, Comparison, Coverage};
use model::id::{Digest, DiskNo, SnapshotId, VolumePath};
use model::inspection::Volume;
use model::plan::{Against, SnapshotPlan, VolumeCapture};
use model::ports::ReadAt;
use model::snapshot::{Manifest, MapRoot, SavedVolume};
use model::text::DisplayText;
use model::units::{ByteLen, Extent};
use std::sync::Arc;

/// The disks, as they were looked at.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) report: &'a Report,
    /// What a capture that was stopped had saved of this machine.
    pub(super) aside: Option<&'a Manifest>,
}

impl<'a> Target<'a> {
    pub(super) fn volume(&self, path: &VolumePath) -> Result<&'a Volume, Stop> {
        self.report.inspection.volume(path).ok_or_else(|| gone(path.disk()))
    }

    /// The bytes of a disk.
    pub(super) fn disk(&self, disk: DiskNo) -> Result<Arc<dyn ReadAt>, Stop> {
        let source = self.cx.devices.disks().into_iter().find(|d| d.no == disk).ok_or_else(|| gone(disk))?;
        Ok(source.bytes)
    }

    /// The bytes of a volume.
    pub(super) fn bytes(&self, volume: &Volume) -> Result<Arc<dyn ReadAt>, Stop> {
        disk::volume::bytes(&self.cx.devices.disks(), volume).ok_or_else(|| {
            let says = format!("a disk of {} is gone or changed its size", volume.path);
            Stop::failed(ExitCode::Failed, says, "look at the disks again")
        })
    }

    /// Which bytes are saved. Where the maps cannot be read: all of them, and that is said.
    pub(super) fn coverage(&self, volume: &Volume) -> Coverage {
        let mut coverage = self.cx.parser.coverage(volume).unwrap_or_else(|e| {
            let why = format!("its allocation maps could not be read ({e}): every byte is saved");
            self.cx.observer.log(&format!("{}: {why}", volume.path));
            let used = [Extent::whole(volume.extent.len())].into_iter().collect();
            Coverage { method: CaptureMethod::Raw, why: DisplayText::new(&why), used, state: None }
        });
        // A fence will stand here one day: what it covers must be known, whatever the file system says of it.
        coverage.used.insert(Extent::whole(ByteLen(FENCE_LEN.0.min(volume.extent.len().0))));
        coverage
    }

    /// What needs not be read: first what was put aside of this very state, then what the records of the file system prove to be as
    /// the snapshot before has it.
    pub(super) fn kept(
        &self,
        volume: &Volume,
        coverage: &Coverage,
        plan: &SnapshotPlan,
        wanted: &VolumeCapture,
    ) -> Result<Kept, Stop> {
        let aside = self.aside.and_then(|aside| snapshot::same(volume, aside));
        let parent = self.past(volume, plan.parent)?;
        // All that is read is compared with what is there by its digest, whatever it was saved for.
        let map = parent.as_ref().map(|p| p.map).or(aside.map(|saved| saved.map));
        let mut kept = Kept::nothing(&coverage.used, map, "nothing is saved of it yet".into());
        let now = self.bytes(volume)?;
        if let Some(saved) = aside {
            self.resume(&mut kept, volume, saved, (coverage.state, &now))?;
        }
        match &wanted.against {
            Err(why) => kept.compared.why = why.clone(),
            Ok(Against { doubt }) => match (plan.parent, parent) {
                (Some(id), Some(past)) => {
                    self.compare(&mut kept, volume, (doubt.as_ref(), wanted.written), (id, &past, &*now))?
                }
                _ => kept.compared.why = "the snapshot before was not signed with this key".into(),
            },
        }
        Ok(kept)
    }

    /// The volume as the snapshot before has it, where that can be built upon: what is taken over from it will be signed as if it
    /// had been read here.
    fn past(&self, volume: &Volume, parent: Option<SnapshotId>) -> Result<Option<Past<'a>>, Stop> {
        let Some(id) = parent else { return Ok(None) };
        if !self.cx.store.vouches_for(id)? {
            return Ok(None);
        }
        let manifest = self.cx.store.manifest(id)?;
        Ok(snapshot::there(volume, &manifest).map(|saved| Past::new(self.cx.store, saved)))
    }

    /// Takes over what was put aside, where the file system is in the state in which it was read then: nobody wrote to it in between.
    /// What may be written below it is not proven by that, and told by what it is now alone.
    fn resume(
        &self,
        kept: &mut Kept,
        volume: &Volume,
        saved: &SavedVolume,
        (state, now): (Option<Digest>, &Arc<dyn ReadAt>),
    ) -> Result<(), Stop> {
        if state.is_none() || state != saved.state {
            return Ok(());
        }
        let Ok(changes) = self.cx.parser.changes(volume, now.clone()) else { return Ok(()) };
        if changes.comparison == Comparison::Untouched {
            let past = Past::new(self.cx.store, saved);
            let (same, looked_at) = kept.proven(&past, changes, &**now);
            let taken = kept.take(&past, &same, || go_on(self.cx))?;
            kept.compared.resumed = ByteLen(taken.0.saturating_sub(looked_at.0));
        }
        Ok(())
    }

    /// Takes over from the snapshot before what the records of the file system prove; or says why nothing.
    fn compare(
        &self,
        kept: &mut Kept,
        volume: &Volume,
        (doubt, written): (Option<&DisplayText>, Option<MapRoot>),
        (id, past, now): (SnapshotId, &Past<'_>, &dyn ReadAt),
    ) -> Result<(), Stop> {
        let before = Arc::new(Ahead::new(past.bytes.clone()));
        let changes = match self.cx.parser.changes(volume, before) {
            Ok(changes) => changes,
            Err(e) => Changes::unknown(&format!("its records could not be compared ({e})")),
        };
        if changes.comparison == Comparison::Content {
            kept.compared.why = changes.why;
            return Ok(());
        }
        if let Some(why) = doubt.filter(|_| changes.comparison == Comparison::Metadata) {
            kept.compared.why = why.clone();
            return Ok(());
        }
        (kept.compared.by, kept.compared.why) = (changes.comparison, changes.why.clone());
        let (mut same, looked_at) = kept.proven(past, changes, now);
        if let Some(wanted) = written {
            same = past.left_by(wanted, &same, now)?;
        }
        let taken = match kept.take_whole(id, past, &same) {
            Some(all) => all,
            None => kept.take(past, &same, || go_on(self.cx))?,
        };
        kept.compared.taken_over = ByteLen(taken.0.saturating_sub(looked_at.0));
        kept.compared.with = (taken > ByteLen::ZERO).then_some(id);
        kept.same = same;
        Ok(())
    }
}

pub(super) fn gone(no: DiskNo) -> Stop {
    Stop::failed(ExitCode::Failed, format!("{no} is gone"), "nothing was saved; look at the disks again")
}

pub(super) fn go_on(cx: &Context<'_>) -> Result<(), Stop> {
    match cx.observer.cancelled() {
        false => Ok(()),
        true => Err(Stop::Cancelled("stopped; no snapshot was made".into())),
    }
}
