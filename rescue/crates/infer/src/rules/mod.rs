//! The rules: what evidence supports what, as a named table.

use model::assessment::{Assessment, Change, Confidence, Facet, Installation, Start, Termination};
use model::evidence::Evidence;
use model::id::SnapshotId;
use model::inspection::{Inspection, System};
use model::snapshot::SavedVolume;

/// The snapshot to compare with.
#[derive(Debug, Clone, Copy)]
pub struct Baseline<'a> {
    /// Its id.
    pub id: SnapshotId,
    /// Its volumes.
    pub volumes: &'a [SavedVolume],
}

/// The four facets of an assessment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FacetName {
    /// How the last session ended.
    Termination,
    /// How far the last start got.
    Start,
    /// What the package manager was doing.
    Installation,
    /// Whether data changed.
    Change,
}

/// One rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name, as facets cite it.
    pub name: &'static str,
    /// Its argument, for people.
    pub doc: &'static str,
    /// The facet it speaks about.
    pub facet: FacetName,
}

/// Every rule.
pub fn rules() -> &'static [Rule] {
    &[]
}

/// Says what the evidence (as [`crate::combine`] gave it) supports.
pub fn assess(
    system: &System,
    inspection: &Inspection,
    evidence: &[Evidence],
    since: Option<Baseline<'_>>,
) -> Assessment {
    let _ = (system, inspection, evidence);
    fn unknown<T>(value: T) -> Facet<T> {
        Facet {
            value,
            confidence: Confidence::Weak,
            rule: "none".into(),
            evidence_for: vec![],
            evidence_against: vec![],
        }
    }
    Assessment {
        headline: "What happened last cannot be told.".into(),
        advice: "".into(),
        termination: unknown(Termination::Unknown),
        how: None,
        start: unknown(Start::Unknown),
        installation: unknown(Installation::Unknown),
        packages: vec![],
        change: unknown(Change::Unknown),
        since: since.map(|b| b.id),
    }
}
