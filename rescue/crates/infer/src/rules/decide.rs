//! Votes, and how they make a facet.

use model::assessment::{Confidence, Facet};
use model::evidence::EvidenceId;

/// What one rule says.
#[derive(Debug, Clone)]
pub(crate) struct Vote<T> {
    pub(crate) value: T,
    pub(crate) confidence: Confidence,
    pub(crate) evidence_for: Vec<EvidenceId>,
    pub(crate) evidence_against: Vec<EvidenceId>,
}

impl<T> Vote<T> {
    pub(crate) fn new(value: T, confidence: Confidence, evidence_for: Vec<EvidenceId>) -> Self {
        Self { value, confidence, evidence_for, evidence_against: Vec::new() }
    }

    pub(crate) fn against(mut self, evidence: Vec<EvidenceId>) -> Self {
        self.evidence_against = evidence;
        self
    }
}

/// One step less sure.
pub(crate) fn less(confidence: Confidence) -> Confidence {
    match confidence {
        Confidence::Certain => Confidence::Likely,
        Confidence::Likely | Confidence::Weak => Confidence::Weak,
    }
}

/// The facet that the votes (in order of precedence) make; `unknown`, citing what was looked at, where there are none.
pub(crate) fn decide<T: Copy + PartialEq>(
    votes: Vec<(&'static str, Vote<T>)>,
    unknown: T,
    looked: &[EvidenceId],
) -> Facet<T> {
    let best = votes.iter().map(|(_, v)| v.confidence).max();
    let Some((name, winner)) = votes.iter().find(|(_, v)| Some(v.confidence) == best) else {
        return Facet {
            value: unknown,
            confidence: Confidence::Weak,
            rule: "no-rule-applies".into(),
            evidence_for: looked.to_vec(),
            evidence_against: Vec::new(),
        };
    };
    let agree = |v: &Vote<T>| v.value == winner.value;
    let contested = votes.iter().any(|(_, v)| !agree(v) && v.confidence == winner.confidence);
    let mut evidence_for: Vec<EvidenceId> = Vec::new();
    let mut evidence_against: Vec<EvidenceId> = winner.evidence_against.clone();
    for (_, vote) in &votes {
        let side = if agree(vote) { &mut evidence_for } else { &mut evidence_against };
        side.extend(vote.evidence_for.iter().cloned());
    }
    // The deciding rule's evidence first; none twice, and none on both sides.
    let mut all_for = winner.evidence_for.clone();
    all_for.append(&mut evidence_for);
    unique(&mut all_for);
    unique(&mut evidence_against);
    evidence_against.retain(|id| !all_for.contains(id));
    Facet {
        value: winner.value,
        confidence: if contested { less(winner.confidence) } else { winner.confidence },
        rule: (*name).to_owned(),
        evidence_for: all_for,
        evidence_against,
    }
}

fn unique(ids: &mut Vec<EvidenceId>) {
    let mut seen = std::collections::BTreeSet::new();
    ids.retain(|id| seen.insert(id.clone()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use Confidence::{Certain, Likely, Weak};

    fn ids(names: &[&str]) -> Vec<EvidenceId> {
        names.iter().map(|n| EvidenceId((*n).to_owned())).collect()
    }

    fn vote(value: u8, confidence: Confidence, names: &[&str]) -> Vote<u8> {
        Vote::new(value, confidence, ids(names))
    }

    #[test]
    fn the_surest_decides() {
        let f = decide(
            vec![("a", vote(1, Likely, &["x"])), ("b", vote(2, Certain, &["y"])), ("c", vote(2, Weak, &["z"]))],
            0,
            &[],
        );
        assert_eq!((f.value, f.confidence, f.rule.as_str()), (2, Certain, "b"));
        assert_eq!((f.evidence_for, f.evidence_against), (ids(&["y", "z"]), ids(&["x"])));
    }

    #[test]
    fn contradiction_costs_confidence() {
        let f = decide(vec![("a", vote(1, Likely, &["x"])), ("b", vote(2, Likely, &["x", "y"]))], 0, &[]);
        assert_eq!((f.value, f.confidence, f.rule.as_str()), (1, Weak, "a"));
        assert_eq!((f.evidence_for, f.evidence_against), (ids(&["x"]), ids(&["y"])));
    }

    #[test]
    fn no_votes_cite_what_was_looked_at() {
        let f = decide(vec![], 7, &ids(&["absent:1"]));
        assert_eq!((f.value, f.confidence, f.evidence_for), (7, Weak, ids(&["absent:1"])));
    }
}
