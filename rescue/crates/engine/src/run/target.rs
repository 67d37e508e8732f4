//! What a capture reads, volume by volume: which bytes, and which of them a snapshot has already.

use super::kept::{Kept, Past};
use super::saved::Saved;
use super::{Context, Stop};
use crate::plan::snapshot;
use disk::fence::FENCE_LEN;
use model::assessment::Report;
use model::command::ExitCode;
use model::coverage::{CaptureMethod, Comparison, Coverage};
use model::id::{DiskNo, SnapshotId, VolumePath};
use model::inspection::Volume;
use model::plan::{SnapshotPlan, VolumeCapture};
use model::ports::{ReadAt, Window};
use model::text::DisplayText;
use model::units::{ByteLen, Extent, ExtentSet};
use std::sync::Arc;

/// The disks, as they were looked at.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) report: &'a Report,
}

impl<'a> Target<'a> {
    pub(super) fn volume(&self, path: &VolumePath) -> Result<&'a Volume, Stop> {
        self.report.inspection.volume(path).ok_or_else(|| gone(path.disk()))
    }

    pub(super) fn bytes(&self, disk: DiskNo, extent: Extent) -> Result<Arc<dyn ReadAt>, Stop> {
        let source = self.cx.devices.disks().into_iter().find(|d| d.no == disk).ok_or_else(|| gone(disk))?;
        let window = Window::new(source.bytes, extent).map_err(|e| {
            Stop::failed(ExitCode::Failed, format!("{disk} changed its size: {e}"), "look at the disks again")
        })?;
        Ok(Arc::new(window))
    }

    /// Which bytes are saved. Where the maps cannot be read: all of them, and that is said.
    pub(super) fn coverage(&self, volume: &Volume) -> Coverage {
        let mut coverage = self.cx.parser.coverage(volume).unwrap_or_else(|e| {
            let why = format!("its allocation maps could not be read ({e}): every byte is saved");
            self.cx.observer.log(&format!("{}: {why}", volume.path));
            let used = [Extent::whole(volume.extent.len())].into_iter().collect();
            Coverage { method: CaptureMethod::Raw, why: DisplayText::new(&why), used }
        });
        // A fence will stand here one day: what it covers must be known, whatever the file system says of it.
        coverage.used.insert(Extent::whole(ByteLen(FENCE_LEN.0.min(volume.extent.len().0))));
        coverage
    }

    /// The volume as the snapshot before has it, where that can be built upon: what is taken over from it will be signed as if it
    /// had been read here.
    fn past(&self, volume: &Volume, parent: Option<SnapshotId>) -> Result<Option<Past<'a>>, Stop> {
        let Some(id) = parent else { return Ok(None) };
        if !self.cx.store.vouches_for(id)? {
            return Ok(None);
        }
        let manifest = self.cx.store.manifest(id)?;
        let Some(saved) = snapshot::there(volume, &manifest) else { return Ok(None) };
        let bytes = Arc::new(Saved::new(self.cx.store.clone(), saved.map, volume.extent.len()));
        Ok(Some(Past { id, store: self.cx.store, map: saved.map, bytes }))
    }

    /// What needs not be read, because the records of its file system prove that it is as a snapshot has it.
    pub(super) fn kept(
        &self,
        volume: &Volume,
        used: &ExtentSet,
        plan: &SnapshotPlan,
        wanted: &VolumeCapture,
    ) -> Result<Kept, Stop> {
        let past = self.past(volume, plan.parent)?;
        let map = past.as_ref().map(|p| p.map);
        let doubt = match &wanted.against {
            Ok(against) => against.doubt.as_ref(),
            Err(why) => return Ok(Kept::nothing(used, map, why.clone())),
        };
        let Some(past) = past else {
            return Ok(Kept::nothing(used, None, "the snapshot before was not signed with this key".into()));
        };
        match self.cx.parser.changes(volume, past.bytes.clone()) {
            Ok(changes) => match doubt.filter(|_| changes.comparison == Comparison::Metadata) {
                Some(why) => Ok(Kept::nothing(used, map, why.clone())),
                None => {
                    let now = self.bytes(volume.path.disk(), volume.extent)?;
                    Kept::choose(&past, changes, (&*now, used), || go_on(self.cx))
                }
            },
            Err(e) => Ok(Kept::nothing(used, map, format!("its records could not be compared ({e})").into())),
        }
    }
}

pub(super) fn gone(no: DiskNo) -> Stop {
    Stop::failed(ExitCode::Failed, format!("{no} is gone"), "nothing was saved; look at the disks again")
}

pub(super) fn go_on(cx: &Context<'_>) -> Result<(), Stop> {
    match cx.observer.cancelled() {
        false => Ok(()),
        true => Err(Stop::Cancelled(
            "stopped; no snapshot was made, and what was saved so far speeds up the next one".into(),
        )),
    }
}
