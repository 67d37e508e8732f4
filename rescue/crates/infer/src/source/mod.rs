//! Evidence parsers, one file each.

use crate::want::Source;
use model::evidence::{Evidence, EvidenceId, Fact, Origin, Stamp};
use model::inspection::{Inspection, ListedFile, System};
use model::ports::ReadAt;
use model::text::DisplayText;

/// Reads one file. Never fails: what cannot be understood is evidence too ([`Fact::Unreadable`]).
pub fn parse(source: Source, origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let _ = (source, origin, file);
    Vec::new()
}

/// Reads the listing of a directory.
pub fn parse_listing(source: Source, origin: &Origin, entries: &[ListedFile]) -> Vec<Evidence> {
    let _ = (source, origin, entries);
    Vec::new()
}

/// What it says that a source was looked for and is not there; `None` where that is usual and says nothing.
pub fn absent(source: Source, origin: &Origin) -> Option<Evidence> {
    let _ = source;
    Some(evidence(origin, Fact::NotThere, "not there", None))
}

/// What the volumes of a system say of themselves.
pub fn volume_facts(inspection: &Inspection, system: &System) -> Vec<Evidence> {
    let _ = (inspection, system);
    Vec::new()
}

/// One piece of evidence, not yet named.
pub(crate) fn evidence(origin: &Origin, fact: Fact, says: &str, time: Option<Stamp>) -> Evidence {
    Evidence { id: EvidenceId(String::new()), origin: origin.clone(), fact, says: DisplayText::new(says), time }
}
