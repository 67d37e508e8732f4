//! What a capture will save: of each volume the bytes in use, told apart into those to be read and those taken over from what was
//! saved before. And what that will cost, as far as it can be told beforehand.

use super::kept::Kept;
use super::target::{Target, go_on, gone};
use super::{Context, Meter, Stop};
use crate::plan::snapshot;
use model::assessment::Report;
use model::coverage::{Comparison, Coverage};
use model::inspection::Volume;
use model::plan::{SnapshotEstimate, SnapshotPlan, VolumeEstimate};
use model::snapshot::VolumeRead;
use model::text::DisplayText;
use model::units::ByteLen;

/// What maps, footers and the index need at most, as a part of the bytes saved: a chunk of one block of 4 KiB costs 106 bytes besides.
const BESIDES: u64 = 16;

/// A volume, and what is saved of it.
pub(super) struct Chosen<'a> {
    pub(super) volume: &'a Volume,
    pub(super) coverage: Coverage,
    pub(super) kept: Kept,
}

/// Looks at what is to be saved: reads the allocation maps, and compares with what is saved.
///
/// # Errors
/// [`Stop`] where a volume is gone, the store cannot be read, or somebody wants it to stop.
pub(super) fn choose<'a>(
    cx: &Context<'_>,
    plan: &SnapshotPlan,
    report: &'a Report,
    steps: (u32, u32),
) -> Result<Vec<Chosen<'a>>, Stop> {
    let aside = match plan.aside {
        Some(id) => cx.store.asides()?.into_iter().find(|(found, _)| *found == id).map(|(_, manifest)| manifest),
        None => None,
    };
    let target = Target { cx, report, aside: aside.as_ref() };
    let mut meter = Meter::start(cx.observer, cx.clock, "reading the allocation maps", steps, ByteLen::ZERO, false);
    let mut chosen = Vec::new();
    for wanted in &plan.volumes {
        meter.rename(format!("reading the allocation maps of {}", wanted.path));
        let volume = report.inspection.volume(&wanted.path).ok_or_else(|| gone(wanted.path.disk()))?;
        let coverage = target.coverage(volume);
        go_on(cx)?;
        meter.rename(format!("comparing {} with what is saved of it", wanted.path));
        let kept = target.kept(volume, &coverage, plan, wanted)?;
        chosen.push(Chosen { volume, coverage, kept });
        go_on(cx)?;
    }
    Ok(chosen)
}

/// What a snapshot would read and need; nothing is saved.
///
/// # Errors
/// As [`super::capture::capture`], before anything is saved.
pub fn estimate(cx: &Context<'_>, plan: &SnapshotPlan, report: &Report) -> Result<SnapshotEstimate, Stop> {
    let chosen = choose(cx, plan, report, (1, 1))?;
    Ok(estimated(cx, plan, &chosen))
}

/// What saving this costs. The upper bound is one; the rest is a guess, and says what it rests on.
pub(super) fn estimated(cx: &Context<'_>, plan: &SnapshotPlan, chosen: &[Chosen<'_>]) -> SnapshotEstimate {
    let before = plan.parent.and_then(|id| cx.store.manifest(id).ok());
    let (mut read, mut new, mut known) = (0u64, 0u64, 0u64);
    for Chosen { volume, kept, .. } in chosen {
        let bytes = kept.to_read.total().0;
        read = read.saturating_add(bytes);
        let by_hash = kept.compared.by == Comparison::Content;
        let there = before.as_ref().is_some_and(|m| by_hash && snapshot::same(volume, m).is_some());
        *(if there { &mut known } else { &mut new }) += bytes / 2;
    }
    let grew = before.map_or(0, |m| m.cost.stored.0);
    let because = match (known, grew < known) {
        (0, _) => "half of what is read, as is usual".to_owned(),
        (_, true) => format!("most of it is saved already: the snapshot before took {}", ByteLen(grew)),
        (_, false) => "half of what is read: how much of it is saved already shows as it is read".to_owned(),
    };
    let volume = |c: &Chosen<'_>| VolumeEstimate {
        method: c.coverage.method,
        method_why: c.coverage.why.clone(),
        used: c.coverage.used.total(),
        read: VolumeRead {
            path: c.volume.path.clone(),
            read: c.kept.read(),
            unreadable: ByteLen::ZERO,
            compared: c.kept.compared.clone(),
        },
    };
    SnapshotEstimate {
        volumes: chosen.iter().map(volume).collect(),
        left_out: plan.left_out.clone(),
        read: ByteLen(read),
        at_most: at_most(ByteLen(read)),
        likely: ByteLen(new + known.min(grew)),
        likely_because: DisplayText::new(&because),
        free: cx.store.room(),
    }
}

/// The room that saving so many bytes takes, if the store has none of them and none get smaller.
pub(super) fn at_most(read: ByteLen) -> ByteLen {
    ByteLen(read.0.saturating_add(read.0 / BESIDES))
}

/// What is said of a volume while it is saved.
pub(super) fn named(volume: &Volume, report: &Report) -> String {
    let (path, kind) = (&volume.path, volume.kind());
    match snapshot::mount_point(volume, &report.inspection) {
        Some((at, _)) if at == "root" => format!("{path} (/, {kind})"),
        Some((at, _)) => format!("{path} ({at}, {kind})"),
        None => format!("{path} ({kind})"),
    }
}
