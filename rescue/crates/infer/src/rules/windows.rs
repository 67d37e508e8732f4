//! What is told of a Windows: how it was left, by its root, and whether changes to its parts are left to do.

use super::case::Case;
use super::decide::Vote;
use model::assessment::Confidence::{Certain, Likely, Weak};
use model::assessment::{Installation, Termination};
use model::evidence::Fact;
use model::inspection::NtfsLog;

/// What the servicing stack keeps while it is not done.
pub(crate) const PENDING: &str = "/Windows/WinSxS/pending.xml";

/// Its memory is on its own root, and nothing was written there since that would have said so.
pub(super) fn asleep(case: &Case<'_>) -> Option<Vote<Termination>> {
    let root = case.windows_root()?;
    let sure = if root.dirty { Likely } else { Certain };
    (root.hibernated == Some(true)).then(|| Vote::new(Termination::Hibernated, sure, vec![root.id.clone()]))
}

/// An empty log tells that another driver closed the volume: what Windows did before that is not told.
pub(super) fn closed(case: &Case<'_>) -> Option<Vote<Termination>> {
    let root = case.windows_root()?;
    let sure = match root.log {
        NtfsLog::Closed if !root.dirty => Likely,
        NtfsLog::Closed | NtfsLog::Empty => Weak,
        NtfsLog::Open | NtfsLog::Untold => return None,
    };
    (root.hibernated == Some(false)).then(|| Vote::new(Termination::Clean, sure, vec![root.id.clone()]))
}

/// Windows closes the log when it shuts down.
pub(super) fn cut_off(case: &Case<'_>) -> Option<Vote<Termination>> {
    let root = case.windows_root()?;
    let open = root.log == NtfsLog::Open && root.hibernated != Some(true);
    let sure = if root.hibernated == Some(false) { Likely } else { Weak };
    open.then(|| Vote::new(Termination::Abrupt, sure, vec![root.id.clone()]))
}

/// They may wait for a start, or were cut off in one.
pub(super) fn pending(case: &Case<'_>) -> Option<Vote<Installation>> {
    let pending = case.evidence.iter().find(|e| e.fact == Fact::WindowsPending)?;
    Some(Vote::new(Installation::Interrupted, Weak, vec![pending.id.clone()]))
}

/// Nothing is left to do.
pub(super) fn nothing_pending(case: &Case<'_>) -> Option<Vote<Installation>> {
    let looked = case.looked_at(&[PENDING]);
    let absent = looked.into_iter().find(|id| case.fact(id) == Some(&Fact::NotThere))?;
    case.system.is_windows().then(|| Vote::new(Installation::Idle, Likely, vec![absent]))
}

#[cfg(test)]
mod tests {
    use super::super::scene::Scene;
    use super::*;
    use model::assessment::Confidence;

    fn ended(log: NtfsLog, hibernated: Option<bool>, dirty: bool) -> (Termination, Confidence) {
        let mut scene = Scene::new();
        scene.windows(log, hibernated, dirty);
        let ended = scene.assess().termination;
        (ended.value, ended.confidence)
    }

    #[test]
    fn how_a_windows_was_left() {
        assert_eq!(ended(NtfsLog::Closed, Some(false), false), (Termination::Clean, Likely));
        assert_eq!(ended(NtfsLog::Closed, Some(false), true), (Termination::Clean, Weak));
        assert_eq!(ended(NtfsLog::Empty, Some(false), false), (Termination::Clean, Weak));
        assert_eq!(ended(NtfsLog::Open, Some(false), false), (Termination::Abrupt, Likely));
        assert_eq!(ended(NtfsLog::Open, Some(true), false), (Termination::Hibernated, Certain));
        assert_eq!(ended(NtfsLog::Closed, Some(true), true), (Termination::Hibernated, Likely));
        assert_eq!(ended(NtfsLog::Open, None, false), (Termination::Abrupt, Weak));
        assert_eq!(ended(NtfsLog::Untold, Some(false), false).0, Termination::Unknown);
    }

    #[test]
    fn its_parts_and_its_words() {
        let mut scene = Scene::new();
        scene.windows(NtfsLog::Closed, Some(false), false);
        scene.fact(PENDING, Fact::NotThere);
        let a = scene.assess();
        assert!(a.is_good(), "{a:?}");
        assert_eq!(a.headline.as_str(), "Probably shut down in order; nothing is wrong.");
        let mut scene = Scene::new();
        scene.windows(NtfsLog::Open, Some(true), false);
        let a = scene.assess();
        assert!(a.headline.as_str().contains("fast start-up"), "{}", a.headline);
        assert!(a.advice.as_str().contains("shutdown /s"), "{}", a.advice);
    }
}
