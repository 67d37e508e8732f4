//! What only shows when everything read is on the table.

use model::evidence::{Evidence, EvidenceId};

/// Puts together what was read of one system, and names each piece.
pub fn combine(evidence: Vec<Evidence>) -> Vec<Evidence> {
    number(evidence)
}

/// Names each piece of evidence, for example `journal:1`.
pub fn number(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
    for (i, e) in evidence.iter_mut().enumerate() {
        e.id = EvidenceId(format!("e:{}", i + 1));
    }
    evidence
}
