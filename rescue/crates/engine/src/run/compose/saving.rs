//! Saving a composed volume over the map it was composed on: what nobody wrote to is taken over, and is not read.

use super::Made;
use crate::parser::{Overrule, Overruled, Parser, ParserError};
use crate::run::capture::record_composed;
use crate::run::unwritable::Unwritable;
use crate::run::{Context, Stop};
use model::assessment::Report;
use model::command::ExitCode;
use model::coverage::{CaptureMethod, Changes, Comparison, Coverage};
use model::id::{Digest, DiskNo, SnapshotId, VolumePath};
use model::inspection::{Content, Disk, Hardware, Inspection, Volume};
use model::plan::{Against, SnapshotPlan, VolumeCapture};
use model::ports::DiskSource;
use model::snapshot::{Manifest, Purpose};
use model::units::{Extent, ExtentSet};

/// Saves what was made over `base`, as a snapshot that holds `volumes` of it.
///
/// # Errors
/// [`Stop`] where a volume does not hold together any more, or cannot be saved.
pub(super) fn save(
    cx: &Context<'_>,
    (base, manifest): (SnapshotId, &Manifest),
    (volumes, purpose): (&[VolumePath], Purpose),
    made: &[Made],
    steps: (u32, u32),
) -> Result<(SnapshotId, Manifest), Stop> {
    // Each volume is looked at as if it were a disk of its own.
    let sources: Vec<DiskSource> = made.iter().zip(0..).map(|(made, no)| source(DiskNo(no), made)).collect();
    let parser = cx.parser.over(sources.clone()).map_err(unseen)?;
    let mut disks = Vec::new();
    let mut parts = Vec::new();
    for (made, source) in made.iter().zip(&sources) {
        let path = VolumePath::whole(source.no);
        let extent = Extent::whole(source.bytes.size());
        let (content, _) = parser.content(&path, extent).map_err(unseen)?;
        holds_together(&content, made)?;
        let volume = Volume::on_disk(path.clone(), extent, content);
        let coverage = parser.coverage(&volume).map_err(unseen)?;
        if coverage.method != CaptureMethod::UsedBlocks {
            return Err(broken(&made.base, coverage.why.as_str()));
        }
        let changed = made.overlay.changed();
        parts.push(Part { path, coverage, same: changed.gaps(extent) });
        let (no, hardware, head) = (source.no, source.hardware.clone(), Digest([0; 32]));
        disks.push(Disk { no, hardware, head, table: None, volumes: vec![volume] });
    }
    let capture = |part: &Part| VolumeCapture {
        path: part.path.clone(),
        method: CaptureMethod::UsedBlocks,
        why: "composed".into(),
        against: Ok(Against { doubt: None }),
        written: None,
    };
    let plan = SnapshotPlan {
        purpose,
        parent: Some(base),
        aside: None,
        volumes: parts.iter().map(capture).collect(),
        left_out: Vec::new(),
        tables: Vec::new(),
        why: "what is gone to, composed of two states".into(),
    };
    let inspection = Inspection { disks, ..Inspection::default() };
    let report = Report { inspection, systems: Vec::new(), boot: Vec::new() };
    let composed: Vec<_> = parts.iter().zip(made).map(|(part, made)| (part.path.clone(), made.base.clone())).collect();
    let devices = Unwritable(sources);
    let parser = Overruled { parser: &*parser, by: Composed(&parts) };
    let with = Context { devices: &devices, parser: &parser, ..*cx };
    record_composed(&with, &plan, &report, manifest, (volumes, &composed), steps)
}

fn source(no: DiskNo, made: &Made) -> DiskSource {
    let bytes = made.overlay.view();
    let hardware = Hardware::image("a composed volume", bytes.size());
    DiskSource { no, hardware, bytes, clear: None }
}

/// The kernel had it mounted and has unmounted it: it is the same file system, in order, and nothing is unknown about it.
fn holds_together(content: &Content, made: &Made) -> Result<(), Stop> {
    match (content, &made.content) {
        (Content::Ext(now), Content::Ext(then))
            if now.uuid == then.uuid && !now.needs_recovery && now.unknown_features == (0, 0, 0) && now.errors == 0 =>
        {
            Ok(())
        }
        (Content::Fat(now), Content::Fat(then)) if now.volume_id == then.volume_id && now.width == then.width => Ok(()),
        (Content::Ext(now), _) if now.errors > 0 => Err(broken(&made.base, "the kernel found errors in it")),
        (Content::Ext(now), _) if now.needs_recovery => Err(broken(&made.base, "it was not unmounted in order")),
        _ => Err(broken(&made.base, "it is not what it was")),
    }
}

pub(super) fn broken(volume: &VolumePath, why: &str) -> Stop {
    let says = format!("the composed {volume} does not hold together: {why}");
    Stop::failed(ExitCode::Damage, says, "")
}

pub(super) fn unseen(e: ParserError) -> Stop {
    Stop::failed(ExitCode::Failed, format!("the composed state cannot be looked at: {e}"), "")
}

/// A composed volume, as it is looked at.
struct Part {
    path: VolumePath,
    coverage: Coverage,
    /// Where nobody wrote.
    same: ExtentSet,
}

/// By which it is known where nobody wrote.
struct Composed<'a>(&'a [Part]);

impl Composed<'_> {
    fn part(&self, volume: &Volume) -> Result<&Part, ParserError> {
        let none = || ParserError::new("it was not composed");
        self.0.iter().find(|p| p.path == volume.path).ok_or_else(none)
    }
}

impl Overrule for Composed<'_> {
    fn coverage(&self, _parser: &dyn Parser, volume: &Volume) -> Result<Coverage, ParserError> {
        self.part(volume).map(|part| part.coverage.clone())
    }

    fn changes(&self, volume: &Volume) -> Result<Changes, ParserError> {
        let same = self.part(volume)?.same.clone();
        Ok(Changes { comparison: Comparison::Metadata, why: "what was not written to is as it was".into(), same })
    }
}
