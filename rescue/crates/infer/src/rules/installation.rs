//! What the package manager was doing. The database decides; logs only say more about what it decided.

use super::case::{Case, ZONE};
use super::decide::Vote;
use model::assessment::Confidence::{Certain, Likely, Weak};
use model::assessment::Installation::{self, Broken, Completed, Idle, Interrupted};
use model::evidence::{EvidenceId, Fact, PackageState};

pub(super) type Said = Option<Vote<Installation>>;

fn is_half_installed(p: &PackageState) -> bool {
    p.state.as_str().starts_with("half-installed") || p.state.as_str().ends_with("to be reinstalled")
}

pub(super) fn dpkg_cut_off(case: &Case<'_>) -> Said {
    let control = case.half_replaced(true);
    let dpkg = case.dpkg()?;
    if dpkg.updates == 0 && control.is_empty() {
        return None;
    }
    let mut evidence = vec![dpkg.id.clone()];
    evidence.extend(control);
    evidence.extend(case.half_replaced(false));
    evidence.extend(records(case));
    // Killed between its last package and merging its records, nothing is left undone but that.
    let confidence = if dpkg.updates > 0 && !dpkg.broken.is_empty() { Certain } else { Likely };
    Some(Vote::new(Interrupted, confidence, evidence))
}

fn records(case: &Case<'_>) -> Vec<EvidenceId> {
    let record = |e: &&model::evidence::Evidence| matches!(e.fact, Fact::DpkgRecord { .. });
    case.evidence.iter().filter(record).map(|e| e.id.clone()).take(8).collect()
}

pub(super) fn half_installed(case: &Case<'_>) -> Said {
    let dpkg = case.dpkg()?;
    if !dpkg.broken.iter().any(is_half_installed) {
        return None;
    }
    let mut evidence = vec![dpkg.id.clone()];
    let files = case.half_replaced(false);
    let unended = case.apt().filter(|a| !a.ended && !case.worked_since(a));
    let cut = !files.is_empty() || unended.is_some();
    evidence.extend(files);
    evidence.extend(unended.map(|a| a.id.clone()));
    // dpkg takes back what it cannot finish; half installed is what it had no time to take back, or failed to.
    Some(Vote::new(Interrupted, if cut { Likely } else { Weak }, evidence))
}

pub(super) fn not_in_order(case: &Case<'_>) -> Said {
    let dpkg = case.dpkg()?;
    if dpkg.broken.is_empty() {
        return None;
    }
    let mut evidence = vec![dpkg.id.clone()];
    let Some(apt) = case.apt() else { return Some(Vote::new(Broken, Likely, evidence)) };
    evidence.push(apt.id.clone());
    if dpkg.broken.iter().any(is_half_installed) && !apt.failed {
        return Some(Vote::new(Broken, Weak, evidence));
    }
    // Somebody called dpkg since: what apt noted is of what went before.
    if case.worked_since(&apt) {
        return Some(Vote::new(Broken, Likely, evidence));
    }
    Some(match (apt.failed, apt.ended) {
        (true, _) => Vote::new(Broken, Certain, evidence),
        (false, true) => Vote::new(Broken, Likely, evidence),
        // apt runs dpkg several times; between two runs nothing of dpkg's own is left to tell.
        (false, false) => Vote::new(Interrupted, Likely, evidence),
    })
}

pub(super) fn database_damaged(case: &Case<'_>) -> Said {
    let damaged = case
        .looked_at(&["/var/lib/dpkg/status"])
        .into_iter()
        .find(|id| matches!(case.fact(id), Some(Fact::Unreadable { .. })))?;
    let confidence = if case.dpkg().is_some() { Weak } else { Likely };
    Some(Vote::new(Broken, confidence, vec![damaged]))
}

/// It upgrades in small steps, between which dpkg and apt's history are in order: only its own log tells that there was more to do.
pub(super) fn unattended_cut_off(case: &Case<'_>) -> Said {
    let newest = case.unattended().filter(|t| !t.ended && !t.failed)?;
    Some(Vote::new(Interrupted, Weak, vec![newest.id.clone()]))
}

pub(super) fn in_order(case: &Case<'_>) -> Said {
    let dpkg = case.dpkg()?;
    if !dpkg.broken.is_empty() || dpkg.updates > 0 {
        return None;
    }
    let mut evidence = vec![dpkg.id.clone()];
    let mut against = case.half_replaced(false);
    let unended = case.apt().filter(|a| !a.ended || a.failed);
    let work = case.last_package_work();
    let since = case.newest_boot().map(|b| b.first.0 - ZONE);
    let recent = work.filter(|(_, at)| since.is_some_and(|s| at.at.0 >= s));
    let open = case.root().is_some_and(|r| r.open);
    // A transaction without an end on a root that was cut off: it may have come only part of the way, between packages.
    let doubtful =
        !against.is_empty() || (unended.as_ref().is_some_and(|a| !a.ended && recent_enough(a.time, since)) && open);
    against.extend(unended.map(|a| a.id.clone()));
    evidence.extend(recent.map(|(id, _)| id.clone()).filter(|id| !against.contains(id)));
    let value = if recent.is_some() { Completed } else { Idle };
    Some(Vote::new(value, if doubtful { Weak } else { Likely }, evidence).against(against))
}

pub(super) fn recent_enough(time: Option<model::evidence::Stamp>, since: Option<i64>) -> bool {
    match (time, since) {
        (Some(at), Some(since)) => at.at.0 >= since,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scene::Scene;
    use super::*;
    use model::assessment::Confidence;
    use model::evidence::{EndKind, PackageManager};
    use model::text::RawName;

    fn said(s: &Scene) -> (Installation, Confidence, String) {
        let f = s.assess().installation;
        (f.value, f.confidence, f.rule)
    }

    #[test]
    fn records_and_packages_not_in_order_are_certain() {
        let mut s = Scene::new();
        s.dpkg(&[("libc6", "half-installed, to be reinstalled")], 3);
        assert_eq!(said(&s), (Interrupted, Certain, "dpkg-cut-off".into()));
        assert_eq!(s.assess().packages.len(), 1);
    }

    #[test]
    fn records_alone_are_likely() {
        let mut s = Scene::new();
        s.dpkg(&[], 3);
        assert_eq!(said(&s), (Interrupted, Likely, "dpkg-cut-off".into()));
    }

    #[test]
    fn what_apt_noted_is_not_of_what_dpkg_did_long_after() {
        let mut s = Scene::new();
        s.dpkg(&[("x", "half-configured")], 0);
        s.apt(false, false, 10);
        assert_eq!(said(&s), (Interrupted, Likely, "not-in-order".into()));
        s.fact("/var/log/dpkg.log", Fact::DpkgLogTail { line: "status half-configured x:all 1".into() });
        let tail = s.facts.len() - 1;
        s.facts[tail].time = s.facts[1]
            .time
            .map(|t| model::evidence::Stamp { at: model::ports::UnixMicros(t.at.0 + 13 * 3600 * 1_000_000), ..t });
        assert_eq!(said(&s), (Broken, Likely, "not-in-order".into()));
    }

    #[test]
    fn control_files_left_of_an_unpacking() {
        let mut s = Scene::new();
        s.dpkg(&[], 0);
        let left = Fact::HalfReplaced {
            manager: PackageManager::Apt,
            count: 1,
            example: RawName::from("/var/lib/dpkg/tmp.ci/control"),
        };
        s.fact("/var/lib/dpkg/tmp.ci", left);
        assert_eq!(said(&s).0, Interrupted);
    }

    #[test]
    fn a_failed_script_is_broken_not_interrupted() {
        let mut s = Scene::new();
        s.dpkg(&[("x", "half-configured")], 0);
        assert_eq!(said(&s), (Broken, Likely, "not-in-order".into()));
        s.apt(true, true, 10);
        assert_eq!(said(&s), (Broken, Certain, "not-in-order".into()));
    }

    #[test]
    fn unattended_upgrades_cut_off_between_two_steps() {
        let run = |ended| Fact::Transaction {
            manager: PackageManager::Unattended,
            age: 0,
            command: "unattended-upgrades".into(),
            ended,
            failed: false,
            packages: vec![],
        };
        for (ended, against) in [(true, 0), (false, 1)] {
            let mut s = Scene::new();
            s.dpkg(&[], 0);
            s.fact("/var/log/unattended-upgrades/unattended-upgrades.log", run(ended));
            assert_eq!(said(&s), (Idle, Likely, "in-order".into()));
            assert_eq!(s.assess().installation.evidence_against.len(), against);
        }
    }

    #[test]
    fn unpacked_and_no_end_in_apts_history() {
        let mut s = Scene::new();
        s.dpkg(&[("x", "unpacked")], 0);
        s.apt(false, false, 10);
        assert_eq!(said(&s), (Interrupted, Likely, "not-in-order".into()));
    }

    #[test]
    fn half_installed_with_files_left() {
        let mut s = Scene::new();
        s.dpkg(&[("x", "half-installed, to be reinstalled")], 0);
        s.fact(
            "/usr/bin",
            Fact::HalfReplaced {
                manager: PackageManager::Apt,
                count: 2,
                example: RawName::from("/usr/bin/x.dpkg-new"),
            },
        );
        assert_eq!(said(&s).0, Interrupted);
    }

    #[test]
    fn no_end_in_apts_history_is_no_proof() {
        let mut s = Scene::new();
        s.boot(0, 0, |b| b.stop(EndKind::Poweroff));
        s.dpkg(&[], 0);
        s.apt(false, false, 10);
        let f = s.assess().installation;
        assert_eq!((f.value, f.confidence), (Completed, Likely));
        assert_eq!(f.evidence_against.len(), 1);
    }

    #[test]
    fn idle_and_completed() {
        let mut s = Scene::new();
        s.boot(0, 1_000_000, |b| b.stop(EndKind::Poweroff));
        s.dpkg(&[], 0);
        s.apt(true, false, 10);
        assert_eq!(said(&s), (Idle, Likely, "in-order".into()));
        s.facts.pop();
        s.apt(true, false, 1_000_100);
        assert_eq!(said(&s), (Completed, Likely, "in-order".into()));
    }

    #[test]
    fn a_damaged_database_is_not_idle() {
        let mut s = Scene::new();
        s.fact("/var/lib/dpkg/status", Fact::Unreadable { why: "zeros".into() });
        assert_eq!(said(&s), (Broken, Likely, "database-damaged".into()));
    }

    #[test]
    fn no_database_is_unknown() {
        let mut s = Scene::new();
        s.fact("/var/lib/dpkg/status", Fact::NotThere);
        let f = s.assess().installation;
        assert_eq!(f.value, Installation::Unknown);
        assert_eq!(f.evidence_for.len(), 1, "what was looked at is said");
    }
}
