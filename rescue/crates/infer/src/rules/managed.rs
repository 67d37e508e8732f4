//! What a package manager other than dpkg was doing: dnf and zypper above rpm, pacman, apk. The database decides, as with dpkg; what
//! they leave behind tells more, where it is taken away by every other end.

use super::case::{Case, ZONE};
use super::decide::Vote;
use super::installation::{Said, recent_enough};
use super::software::Managed;
use model::assessment::Confidence::{Certain, Likely, Weak};
use model::assessment::Installation::{Broken, Completed, Idle, Interrupted};
use model::evidence::{EvidenceId, Fact, PackageManager, Stamp};

/// How long after a transaction began (in microseconds) its files were being replaced: what is left of it belongs to it.
const LONGEST: i64 = 6 * 3600 * 1_000_000;

/// The evidence of a database, and more.
fn with(managed: &Managed<'_>, more: impl IntoIterator<Item = EvidenceId>) -> Vec<EvidenceId> {
    let mut all: Vec<EvidenceId> = more.into_iter().collect();
    all.extend(managed.databases.iter().cloned());
    all
}

/// Files left of the newest transaction, as far as times tell: rpm's are never taken away, and tell when it began.
fn left(managed: &Managed<'_>) -> Vec<EvidenceId> {
    let of_newest = |at: &Option<Stamp>| match (at, managed.newest.as_ref().and_then(|t| t.time), managed.changed) {
        (Some(at), Some(began), _) => at.at.0 >= began.at.0 - 1_000_000 && at.at.0 - began.at.0 < LONGEST,
        (Some(at), None, Some(changed)) => at.at.0 >= changed.at.0 - LONGEST,
        (Some(_), None, None) => false,
        (None, ..) => true,
    };
    managed.left.iter().filter(|(_, at)| of_newest(at)).map(|(id, _)| id.clone()).collect()
}

pub(super) fn lock_left(case: &Case<'_>) -> Said {
    let managed = case.managed()?;
    let lock = managed.lock.clone()?;
    let confidence = if managed.broken.is_empty() { Likely } else { Certain };
    let newest = managed.newest.as_ref().filter(|t| !t.ended).map(|t| t.id.clone());
    Some(Vote::new(Interrupted, confidence, with(&managed, std::iter::once(lock).chain(newest))))
}

pub(super) fn transaction_cut_off(case: &Case<'_>) -> Said {
    let managed = case.managed()?;
    let newest = managed.newest.as_ref().filter(|t| !t.ended && !t.failed)?;
    let left = left(&managed);
    let traces = !managed.broken.is_empty() || !left.is_empty();
    let open = case.root().is_some_and(|r| r.open);
    let confidence = match managed.manager {
        PackageManager::Dnf if traces => Certain,
        PackageManager::Dnf => Likely,
        _ if traces => Likely,
        // It writes no line where there was nothing to do.
        PackageManager::Zypper if open && recent_enough(newest.time, case.newest_boot().map(|b| b.first.0 - ZONE)) => {
            Likely
        }
        PackageManager::Zypper => Weak,
        // The last lines of a log may be what a power cut lost.
        _ if open => Weak,
        _ => Likely,
    };
    Some(Vote::new(Interrupted, confidence, with(&managed, std::iter::once(newest.id.clone()).chain(left))))
}

pub(super) fn files_left(case: &Case<'_>) -> Said {
    let managed = case.managed()?;
    let left = left(&managed);
    // One that ended, or failed and took back what it did, leaves some at times. rpm, whose files tell when, takes them away where it fails by
    // itself: there somebody above it only noted that it was gone.
    let dated = managed.left.iter().any(|(id, at)| at.is_some() && left.contains(id));
    let told = managed.newest.as_ref().is_some_and(|t| t.ended || (t.failed && !dated));
    (!left.is_empty()).then(|| Vote::new(Interrupted, if told { Weak } else { Likely }, with(&managed, left)))
}

pub(super) fn packages_not_in_order(case: &Case<'_>) -> Said {
    let managed = case.managed()?;
    (!managed.broken.is_empty()).then(|| Vote::new(Broken, Likely, with(&managed, None)))
}

pub(super) fn other_database_damaged(case: &Case<'_>) -> Said {
    let managed = case.managed();
    let whole = managed.is_some_and(|m| !m.databases.is_empty());
    let paths = ["/usr/lib/sysimage/rpm/rpmdb.sqlite", "/var/lib/rpm/rpmdb.sqlite", "/lib/apk/db", "/usr/lib/apk/db"];
    let damaged = case
        .looked_at(&paths)
        .into_iter()
        .find(|id| matches!(case.fact(id), Some(Fact::Unreadable { .. })))
        .filter(|_| case.dpkg().is_none() && !whole)?;
    Some(Vote::new(Broken, Weak, vec![damaged]))
}

pub(super) fn other_in_order(case: &Case<'_>) -> Said {
    let managed = case.managed()?;
    let in_order = managed.broken.is_empty() && managed.lock.is_none();
    let ended = managed.newest.as_ref().is_some_and(|t| t.ended);
    // pacman's database is looked at in parts: only with a transaction on record is anything known.
    if !in_order || (managed.databases.is_empty() && !ended) {
        return None;
    }
    let mut against = left(&managed);
    let unended = managed.newest.as_ref().filter(|t| !t.ended);
    let doubtful = !against.is_empty() || unended.as_ref().is_some_and(|t| !t.failed);
    against.extend(unended.map(|t| t.id.clone()));
    let since = case.newest_boot().map(|b| b.first.0 - ZONE);
    let recent = case.last_package_work().filter(|(_, at)| since.is_some_and(|s| at.at.0 >= s));
    let value = if recent.is_some() { Completed } else { Idle };
    let ids = recent.map(|(id, _)| id.clone()).filter(|id| !against.contains(id));
    Some(Vote::new(value, if doubtful { Weak } else { Likely }, with(&managed, ids)).against(against))
}

#[cfg(test)]
mod tests {
    use super::super::scene::Scene;
    use super::*;
    use model::assessment::{Confidence, Installation};
    use model::evidence::PackageState;
    use model::text::RawName;

    fn said(s: &Scene) -> (Installation, Confidence, String) {
        let f = s.assess().installation;
        (f.value, f.confidence, f.rule)
    }

    fn rpm(doubled: usize) -> Fact {
        let one = PackageState { name: "bash.x86_64".into(), version: "1, 2".into(), state: "installed twice".into() };
        Fact::Packages { manager: PackageManager::Rpm, installed: Some(400), broken: vec![one; doubled] }
    }

    fn transaction(manager: PackageManager, ended: bool, failed: bool) -> Fact {
        Fact::Transaction { manager, age: 0, command: "upgrade".into(), ended, failed, packages: vec![] }
    }

    const DB: &str = "/var/lib/rpm/rpmdb.sqlite";
    const HISTORY: &str = "/var/lib/dnf/history.sqlite";

    #[test]
    fn dnf_without_an_end() {
        let mut s = Scene::new();
        s.fact(DB, rpm(0));
        s.fact(HISTORY, transaction(PackageManager::Dnf, false, false));
        assert_eq!(said(&s), (Interrupted, Likely, "transaction-cut-off".into()));
        s.fact(DB, rpm(1));
        assert_eq!(said(&s), (Interrupted, Certain, "transaction-cut-off".into()));
        assert_eq!(s.assess().packages.len(), 1);
        assert!(s.assess().advice.as_str().contains("dnf"), "{}", s.assess().advice);
    }

    #[test]
    fn rpm_in_order() {
        let mut s = Scene::new();
        s.fact(DB, rpm(0));
        assert_eq!(said(&s), (Idle, Likely, "other-in-order".into()));
        s.fact(HISTORY, transaction(PackageManager::Dnf, true, false));
        assert_eq!(said(&s).0, Idle);
        assert!(s.assess().packages.is_empty());
    }

    #[test]
    fn two_versions_at_once() {
        let mut s = Scene::new();
        s.fact(DB, rpm(2));
        assert_eq!(said(&s), (Broken, Likely, "packages-not-in-order".into()));
    }

    #[test]
    fn pacmans_lock() {
        let mut s = Scene::new();
        s.fact("/var/lib/pacman/db.lck", Fact::LeftLock { manager: PackageManager::Pacman });
        s.fact("/var/log/pacman.log", transaction(PackageManager::Pacman, false, false));
        assert_eq!(said(&s), (Interrupted, Likely, "lock-left".into()));
        let half = PackageState { name: "glibc".into(), version: "2".into(), state: "half installed".into() };
        let half = Fact::Packages { manager: PackageManager::Pacman, installed: None, broken: vec![half] };
        s.fact("/var/lib/pacman/local/glibc-2-1", half);
        assert_eq!(said(&s), (Interrupted, Certain, "lock-left".into()));
    }

    #[test]
    fn apk_and_what_it_left() {
        let mut s = Scene::new();
        let database = Fact::Packages { manager: PackageManager::Apk, installed: Some(20), broken: vec![] };
        s.fact("/lib/apk/db/installed", database);
        assert_eq!(said(&s), (Idle, Likely, "other-in-order".into()));
        let example = RawName::from("/usr/bin/.apk.00");
        s.fact("/usr/bin", Fact::HalfReplaced { manager: PackageManager::Apk, count: 1, example });
        assert_eq!(said(&s), (Interrupted, Likely, "files-left".into()));
    }

    #[test]
    fn beside_dpkg_they_are_tools() {
        let mut s = Scene::new();
        s.dpkg(&[], 0);
        s.fact(DB, rpm(2));
        s.fact(HISTORY, transaction(PackageManager::Dnf, false, false));
        assert_eq!(said(&s).2, "in-order");
    }
}
