//! Looking at the EFI system partitions of a rollback: whose the files on them are, and whether those of others can stay as they are.

use crate::parser::State;
use crate::plan::rollback::esps;
use crate::run::Context;
use crate::run::saved::Saved;
use model::assessment::Report;
use model::esp::{EspReading, SharedEsp};
use model::inspection::Content;
use model::plan::RollbackPlan;
use model::snapshot::Manifest;
use model::text::DisplayText;
use std::sync::Arc;

/// What of each partition that a plan writes is not of the systems that go back. Those with nothing of the kind are left out.
pub(crate) fn look(cx: &Context<'_>, report: &Report, manifest: &Manifest, plan: &RollbackPlan) -> Vec<SharedEsp> {
    let inspection = &report.inspection;
    let mut out = Vec::new();
    for (volume, saved) in esps::written(manifest, plan) {
        let Some(tenancy) = esps::tenancy(manifest, inspection, plan, volume) else { continue };
        // What holds something else now has nothing of anybody that could be kept.
        let Some(now) = inspection.volume(&volume.path).filter(|v| matches!(v.content, Content::Fat(_))) else {
            continue;
        };
        let bytes = Arc::new(Saved::new(cx.store.clone(), saved.map, saved.extent.len()));
        let then = State { content: saved.content.clone(), bytes };
        let read = disk::volume::bytes(&cx.devices.disks(), now)
            .ok_or_else(|| DisplayText::new("it cannot be read"))
            .map(|bytes| State { content: now.content.clone(), bytes })
            .and_then(|now| cx.parser.esp(&then, &now, &tenancy).map_err(|e| e.why));
        let (stays, cannot) = match read {
            Ok(EspReading { stays, graft }) => (stays, graft.err()),
            Err(why) if !tenancy.staying.is_empty() => (Vec::new(), Some(why)),
            // Nothing is known of anybody else.
            Err(_) => continue,
        };
        let partly = (!saved.unreadable.is_empty()).then(|| "parts of it could not be read when it was saved".into());
        let cannot = cannot.or(partly.filter(|_| stays.iter().any(|part| part.differs)));
        if !stays.is_empty() || cannot.is_some() {
            out.push(SharedEsp {
                volume: volume.path.clone(),
                saved_as: saved.path.clone(),
                stays,
                cannot,
                left: false,
            });
        }
    }
    out
}
