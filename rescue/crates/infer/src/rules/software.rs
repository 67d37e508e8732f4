//! The evidence of a system's packages, as rules ask for it.

use super::case::Case;
use model::evidence::{ClockTrust, Evidence, EvidenceId, Fact, PackageManager, PackageState, Stamp};

/// How long a transaction of apt takes at most (in microseconds).
const LONGEST: i64 = 12 * 3600 * 1_000_000;

/// dpkg's database.
pub(crate) struct Dpkg<'a> {
    pub(crate) id: &'a EvidenceId,
    pub(crate) broken: &'a [PackageState],
    pub(crate) updates: u32,
}

/// What the package manager of a system without dpkg has on record.
pub(crate) struct Managed<'a> {
    /// Whose records they are: of those of rpm and dnf, dnf's.
    pub(crate) manager: PackageManager,
    /// Its databases.
    pub(crate) databases: Vec<EvidenceId>,
    pub(crate) broken: Vec<PackageState>,
    /// A lock that was left.
    pub(crate) lock: Option<EvidenceId>,
    /// Files that were left, and when their transaction began where that is known.
    pub(crate) left: Vec<(EvidenceId, Option<Stamp>)>,
    /// When its database was last changed, where that is known.
    pub(crate) changed: Option<Stamp>,
    /// The newest of its transactions.
    pub(crate) newest: Option<Transaction<'a>>,
}

/// The newest transaction of a package manager.
pub(crate) struct Transaction<'a> {
    pub(crate) id: &'a EvidenceId,
    pub(crate) ended: bool,
    pub(crate) failed: bool,
    pub(crate) time: Option<Stamp>,
}

impl<'a> Case<'a> {
    pub(crate) fn dpkg(&self) -> Option<Dpkg<'a>> {
        self.evidence.iter().find_map(|e| match &e.fact {
            Fact::DpkgState { broken, updates, .. } => Some(Dpkg { id: &e.id, broken, updates: *updates }),
            _ => None,
        })
    }

    pub(crate) fn apt(&self) -> Option<Transaction<'a>> {
        self.newest_of(|m| m == PackageManager::Apt).map(|(_, t)| t)
    }

    /// dpkg worked long after a transaction of apt began: not for that one. Both logs keep the same local time.
    pub(crate) fn worked_since(&self, apt: &Transaction<'_>) -> bool {
        let tail = self.evidence.iter().find(|e| matches!(e.fact, Fact::DpkgLogTail { .. })).and_then(|e| e.time);
        tail.zip(apt.time).is_some_and(|(tail, began)| tail.at.0.saturating_sub(began.at.0) > LONGEST)
    }

    /// The newest run of unattended-upgrades.
    pub(crate) fn unattended(&self) -> Option<Transaction<'a>> {
        self.newest_of(|m| m == PackageManager::Unattended).map(|(_, t)| t)
    }

    /// The newest transaction of some package managers, and whose it is.
    fn newest_of(&self, of: impl Fn(PackageManager) -> bool) -> Option<(PackageManager, Transaction<'a>)> {
        let transaction = |e: &'a Evidence| match &e.fact {
            Fact::Transaction { manager, age: 0, ended, failed, .. } if of(*manager) => {
                Some((*manager, Transaction { id: &e.id, ended: *ended, failed: *failed, time: e.time }))
            }
            _ => None,
        };
        self.evidence.iter().filter_map(transaction).max_by_key(|(_, t)| t.time.map(|t| t.at))
    }

    /// What another package manager than dpkg has on record; `None` where there is none, or dpkg's database is there: the others are
    /// tools there.
    pub(crate) fn managed(&self) -> Option<Managed<'a>> {
        if self.dpkg().is_some() {
            return None;
        }
        // They work by dpkg, or nothing is known of them.
        let beside = [PackageManager::Apt, PackageManager::Unattended, PackageManager::Other];
        let newest = self.newest_of(|m| !beside.contains(&m));
        let mut whose = newest.as_ref().map(|(manager, _)| *manager);
        let mut found = Managed {
            manager: PackageManager::Rpm,
            databases: Vec::new(),
            broken: Vec::new(),
            lock: None,
            left: Vec::new(),
            changed: None,
            newest: newest.map(|(_, t)| t),
        };
        for e in self.evidence {
            match &e.fact {
                Fact::Packages { manager, broken, .. } => {
                    whose = whose.or(Some(*manager));
                    found.databases.push(e.id.clone());
                    found.broken.extend(broken.iter().cloned());
                    found.changed = found.changed.into_iter().chain(e.time).max_by_key(|t| t.at);
                }
                Fact::LeftLock { manager } => {
                    whose = whose.or(Some(*manager));
                    found.lock = Some(e.id.clone());
                }
                Fact::HalfReplaced { manager, .. } if *manager != PackageManager::Apt => {
                    whose = whose.or(Some(*manager));
                    found.left.push((e.id.clone(), e.time));
                }
                _ => {}
            }
        }
        whose.map(|manager| Managed { manager, ..found })
    }

    /// When packages were last worked on, by the logs.
    pub(crate) fn last_package_work(&self) -> Option<(&'a EvidenceId, Stamp)> {
        let dated = |e: &'a Evidence| match e.fact {
            Fact::DpkgLogTail { .. } | Fact::Transaction { age: 0, .. } | Fact::Packages { .. } => {
                Some((&e.id, e.time?))
            }
            _ => None,
        };
        self.evidence.iter().filter_map(dated).filter(|(_, t)| t.trust != ClockTrust::Suspect).max_by_key(|(_, t)| t.at)
    }

    /// Files dpkg left half replaced: those of packages, or (with `control`) its control files.
    pub(crate) fn half_replaced(&self, control: bool) -> Vec<EvidenceId> {
        let wanted = |e: &&Evidence| {
            matches!(e.fact, Fact::HalfReplaced { manager: PackageManager::Apt, .. })
                && Self::path(e).ends_with(b"/tmp.ci") == control
        };
        self.evidence.iter().filter(wanted).map(|e| e.id.clone()).collect()
    }

    /// True where packages were last worked on in the newest start, as far as logs without a time zone tell.
    pub(crate) fn packages_in_last_session(&self) -> bool {
        /// Time zones are whole quarters of an hour from UTC (in microseconds), up to 14 hours.
        const QUARTER: i64 = 15 * 60 * 1_000_000;
        const SLACK: i64 = 60_000_000;
        let (Some((_, work)), Some(boot)) = (self.last_package_work(), self.newest_boot()) else { return false };
        let alive = self.last_alive().map_or(boot.last, |t| t.at.max(boot.last));
        let session = boot.first.0 - SLACK..=alive.0 + SLACK;
        if work.at.0 < *session.start() {
            return false;
        }
        // Work after the end is local time east of Greenwich, if some zone puts it into the session.
        (0..=14 * 4).any(|k| session.contains(&(work.at.0 - k * QUARTER)))
    }
}
