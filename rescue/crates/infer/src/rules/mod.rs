//! The rules: what evidence supports what, as a named table.
//!
//! Each rule is one small function that looks at the [`Case`] and either says nothing or casts a [`Vote`]: a value, how sure,
//! and the evidence for and against. The surest vote decides its facet, the first in the table among equals; a contrary
//! vote as sure as it takes one step off its confidence. The evidence of contrary votes is told as evidence against.

mod case;
mod change;
mod decide;
mod installation;
mod managed;
#[cfg(test)]
pub(crate) mod scene;
mod software;
mod start;
mod termination;
mod windows;

use crate::headline;
pub(crate) use case::{Boot, Case, SYSTEMD_STATE};
pub(crate) use start::obstacle;
pub(crate) use windows::PENDING;

use decide::{Vote, decide};
use model::assessment::{Assessment, Change, Installation, Start, Termination};
use model::evidence::{EndKind, Evidence, PackageState};
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

/// The function of a rule, by the facet it speaks about.
#[derive(Debug, Clone, Copy)]
enum Judge {
    Termination(fn(&Case<'_>) -> Option<Vote<Termination>>),
    Start(fn(&Case<'_>) -> Option<Vote<Start>>),
    Installation(fn(&Case<'_>) -> Option<Vote<Installation>>),
    Change(fn(&Case<'_>) -> Option<Vote<Change>>),
}

/// One rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name, as facets cite it.
    pub name: &'static str,
    /// Its argument, for people.
    pub doc: &'static str,
    judge: Judge,
}

impl Rule {
    /// The facet it speaks about.
    pub fn facet(&self) -> FacetName {
        match self.judge {
            Judge::Termination(_) => FacetName::Termination,
            Judge::Start(_) => FacetName::Start,
            Judge::Installation(_) => FacetName::Installation,
            Judge::Change(_) => FacetName::Change,
        }
    }
}

/// Every rule, in order of precedence among equally sure votes of a facet.
pub fn rules() -> &'static [Rule] {
    RULES
}

static RULES: &[Rule] = &[
    Rule {
        name: "resume-image",
        doc: "The memory of a hibernated system stands in swap and the root was never closed: it is asleep on disk. Certain \
              where the newest start was going to sleep; with a newer start the image may be stale.",
        judge: Judge::Termination(termination::resume_image),
    },
    Rule {
        name: "never-mounted",
        doc: "The root file system was made and never mounted for writing.",
        judge: Judge::Termination(termination::never_mounted),
    },
    Rule {
        name: "first-start-pending",
        doc: "The machine id was never set, the root is closed, and neither the journal nor the login record has a start.",
        judge: Judge::Termination(termination::first_start_pending),
    },
    Rule {
        name: "only-installed",
        doc: "The root was closed by whoever installed it (it was last mounted somewhere else than at /), and there is no \
              trace of a start.",
        judge: Judge::Termination(termination::only_installed),
    },
    Rule {
        name: "no-seed-saved",
        doc: "There is no trace of a start, and systemd is installed and saved no seed of random numbers, as each of its starts does.",
        judge: Judge::Termination(termination::no_seed_saved),
    },
    Rule {
        name: "copied-in",
        doc: "The root file system was made after everything that its files tell of starts: they came from a backup or another machine, \
              and it was not started since.",
        judge: Judge::Termination(termination::copied_in),
    },
    Rule {
        name: "stopped-and-closed",
        doc: "The newest start's journal was stopped and nothing follows, and the root was closed: shut down in order.",
        judge: Judge::Termination(termination::stopped_and_closed),
    },
    Rule {
        name: "on-record-and-closed",
        doc: "A shutdown is on record after the newest start (login record, the log of init, or the journal reached the final \
              target), and the root was closed.",
        judge: Judge::Termination(termination::on_record_and_closed),
    },
    Rule {
        name: "handed-back-and-closed",
        doc: "The newest start let go of the file system that its journal lies on, as it does going down where that is not the root, and \
              the root was closed: the end of the shutdown is not on record.",
        judge: Judge::Termination(termination::handed_back_and_closed),
    },
    Rule {
        name: "closed-since",
        doc: "The newest start's journal breaks off, and the system itself mounted its root after that, and closed it.",
        judge: Judge::Termination(termination::closed_since),
    },
    Rule {
        name: "closed-alone",
        doc: "No start is on record anywhere, but the system itself mounted its root last, and closed it.",
        judge: Judge::Termination(termination::closed_alone),
    },
    Rule {
        name: "cut-off",
        doc: "The root was never closed and the newest start's journal breaks off: power loss, crash or reset. Without a \
              journal the open root alone makes it likely.",
        judge: Judge::Termination(termination::cut_off),
    },
    Rule {
        name: "stopped-and-open",
        doc: "The journal was stopped, and yet the root was never closed: cut off late in the shutdown, or in a later start \
              that left nothing in the journal.",
        judge: Judge::Termination(termination::stopped_and_open),
    },
    Rule {
        name: "journal-cut-off",
        doc: "The newest start's journal breaks off, and the file system that it lies on was never closed, though the root was: one that \
              is mounted to be read only always is.",
        judge: Judge::Termination(termination::journal_cut_off),
    },
    Rule {
        name: "breaks-off-closed",
        doc: "The journal breaks off and no shutdown is on record, though the root is closed: cut off, and checked or \
              mounted elsewhere since. Weak: the end of the journal may be all that is missing.",
        judge: Judge::Termination(termination::breaks_off_closed),
    },
    Rule {
        name: "breaks-off-untold",
        doc: "The journal breaks off and no shutdown is on record, and the root is a btrfs with an empty log, which does not \
              tell how it was left: cut off after its last transaction.",
        judge: Judge::Termination(termination::breaks_off_untold),
    },
    Rule {
        name: "crash-kept",
        doc: "The firmware keeps the last words of a kernel that died since the newest start on record: cut off. Weak where the root \
              was closed: it may have been a mishap that the kernel survived.",
        judge: Judge::Termination(termination::crash_kept),
    },
    Rule {
        name: "windows-asleep",
        doc: "The memory of a Windows stands on its own root: it was hibernated, or shut down with fast start-up, which keeps its kernel.",
        judge: Judge::Termination(windows::asleep),
    },
    Rule {
        name: "windows-closed",
        doc: "The root of a Windows was closed, and no memory of it stands there: shut down in order. Weak where it is marked to be checked, \
              or another driver emptied its log.",
        judge: Judge::Termination(windows::closed),
    },
    Rule {
        name: "windows-cut-off",
        doc: "The log of the root of a Windows was not closed, and it is not asleep: power loss, crash or reset.",
        judge: Judge::Termination(windows::cut_off),
    },
    Rule {
        name: "cannot-start",
        doc: "Something without which it cannot start is missing or empty: init, the C library or its loader, every kernel, \
              the newest kernel's initial RAM file system, the boot loader's configuration.",
        judge: Judge::Start(start::cannot_start),
    },
    Rule { name: "never-started", doc: "As termination's never.", judge: Judge::Start(start::never_started) },
    Rule {
        name: "start-not-on-record",
        doc: "The system mounted its root after the journal's last entry: its last start left nothing to judge by.",
        judge: Judge::Start(start::not_on_record),
    },
    Rule {
        name: "emergency-mode",
        doc: "The newest start fell into emergency or rescue mode and did not come out of it.",
        judge: Judge::Start(start::emergency_mode),
    },
    Rule {
        name: "rescue-asked",
        doc: "The newest start's kernel was told to go into emergency or rescue mode: how far it would have come is not known.",
        judge: Judge::Start(start::rescue_asked),
    },
    Rule {
        name: "start-loop",
        doc: "Three starts or more in a row were short, reached nothing and were never stopped.",
        judge: Judge::Start(start::start_loop),
    },
    Rule {
        name: "tries-used-up",
        doc: "A boot entry was tried as often as it may be, and no start of it was confirmed. Weak where another may be started: \
              that one may have come up.",
        judge: Judge::Start(start::tries_used_up),
    },
    Rule {
        name: "start-not-confirmed",
        doc: "GRUB's mark of a start stands, or the one boot entry that is being tried still has its counters, which the system \
              takes away once it is up or has woken: the last start did not come that far, though an older one on record may have.",
        judge: Judge::Start(start::not_confirmed),
    },
    Rule {
        name: "reached-target",
        doc: "The newest start reached the multi-user or graphical target.",
        judge: Judge::Start(start::reached_target),
    },
    Rule {
        name: "reached-run-level",
        doc: "The login record has a run level from 2 to 5 after the newest start, or the log of init has a level whose services \
              were all started.",
        judge: Judge::Start(start::reached_run_level),
    },
    Rule {
        name: "start-confirmed",
        doc: "GRUB's `boot_success` is set, which it takes away at each start and a user's session of two minutes gives back.",
        judge: Judge::Start(start::confirmed),
    },
    Rule {
        name: "ran-long",
        doc: "The beginning of the newest start was thrown away to make room in the journal, and it ran for an hour or more. Weak: it may \
              have complained all that time.",
        judge: Judge::Start(start::ran_long),
    },
    Rule {
        name: "reached-nothing",
        doc: "The newest start is on record from its beginning, and reached no target in minutes.",
        judge: Judge::Start(start::reached_nothing),
    },
    Rule {
        name: "dpkg-cut-off",
        doc: "dpkg's records in updates/, or the control files of a package being unpacked, are left: it was killed. It \
              clears both away however else it ends.",
        judge: Judge::Installation(installation::dpkg_cut_off),
    },
    Rule {
        name: "half-installed",
        doc: "A package is half installed: its files were being replaced.",
        judge: Judge::Installation(installation::half_installed),
    },
    Rule {
        name: "not-in-order",
        doc: "Packages are unpacked or half configured, and dpkg itself ended: broken where apt noted an error or its \
              end, likely cut off between two runs of dpkg where apt noted no end.",
        judge: Judge::Installation(installation::not_in_order),
    },
    Rule {
        name: "database-damaged",
        doc: "dpkg's database is there and cannot be understood.",
        judge: Judge::Installation(installation::database_damaged),
    },
    Rule {
        name: "unattended-cut-off",
        doc: "The newest run of unattended-upgrades has neither an end nor a failure in its log. Weak: what it left undone, it does the next \
              time; dpkg's database says whether anything was left half done.",
        judge: Judge::Installation(installation::unattended_cut_off),
    },
    Rule {
        name: "in-order",
        doc: "dpkg's database has every package in order: completed where the logs tell of work since the newest start, \
              idle otherwise. The database outranks a transaction without an end in apt's history.",
        judge: Judge::Installation(installation::in_order),
    },
    Rule {
        name: "lock-left",
        doc: "pacman's lock is there, which it takes away however it ends unless it is killed; certain where a package is \
              without its description, too.",
        judge: Judge::Installation(managed::lock_left),
    },
    Rule {
        name: "transaction-cut-off",
        doc: "The newest transaction in the history of dnf, zypper, pacman or apk has no end and did not fail. Certain where dnf's \
              own database says so and packages or files of it were left half done; a log's end alone says less.",
        judge: Judge::Installation(managed::transaction_cut_off),
    },
    Rule {
        name: "files-left",
        doc: "Files that rpm or apk put in place last are left of the newest transaction.",
        judge: Judge::Installation(managed::files_left),
    },
    Rule {
        name: "packages-not-in-order",
        doc: "The database of rpm has a package in two versions at once, that of apk has marked one, that of pacman has one \
              without a description.",
        judge: Judge::Installation(managed::packages_not_in_order),
    },
    Rule {
        name: "other-database-damaged",
        doc: "The database of rpm or apk is there and cannot be understood. Weak: it may be of a kind that is not known here.",
        judge: Judge::Installation(managed::other_database_damaged),
    },
    Rule {
        name: "other-in-order",
        doc: "The database of rpm or apk, or the newest transaction of pacman, has everything in order: completed where there \
              was work since the newest start, idle otherwise.",
        judge: Judge::Installation(managed::other_in_order),
    },
    Rule {
        name: "windows-pending",
        doc: "Windows has changes to its own parts left to do when it starts. Weak: they may only wait for that.",
        judge: Judge::Installation(windows::pending),
    },
    Rule {
        name: "windows-nothing-pending",
        doc: "Windows has no changes to its own parts left to do. What its installers of programs did is not told.",
        judge: Judge::Installation(windows::nothing_pending),
    },
    Rule {
        name: "counters-differ",
        doc: "A file system's mount count, mount or write time, amount written or journal sequence differs from the snapshot's.",
        judge: Judge::Change(change::counters_differ),
    },
    Rule {
        name: "counters-equal",
        doc: "Every ext file system of the system is closed, was so in the snapshot, and all its counters are equal. Likely \
              only, where there are file systems without counters (FAT).",
        judge: Judge::Change(change::counters_equal),
    },
];

/// Where package managers keep their records.
const PACKAGE_RECORDS: &[&str] = &[
    "/var/lib/dpkg",
    "/var/lib/rpm",
    "/usr/lib/sysimage/rpm",
    "/var/lib/dnf",
    "/usr/lib/sysimage/libdnf5",
    "/var/log/zypp",
    "/var/lib/pacman",
    "/var/log/pacman.log",
    "/lib/apk",
    "/usr/lib/apk",
];

/// What the rules decided, before it is put into words.
pub(crate) struct Verdict<'a> {
    pub(crate) case: &'a Case<'a>,
    pub(crate) assessment: Assessment,
}

/// Says what the evidence (as [`crate::combine`] gave it) supports.
pub fn assess(
    system: &System,
    inspection: &Inspection,
    evidence: &[Evidence],
    since: Option<Baseline<'_>>,
) -> Assessment {
    let case = Case::new(system, inspection, evidence, since);
    let (mut terminations, mut starts, mut installations, mut changes) = (vec![], vec![], vec![], vec![]);
    for rule in rules() {
        match rule.judge {
            Judge::Termination(judge) => terminations.extend(judge(&case).map(|v| (rule.name, v))),
            Judge::Start(judge) => starts.extend(judge(&case).map(|v| (rule.name, v))),
            Judge::Installation(judge) => installations.extend(judge(&case).map(|v| (rule.name, v))),
            Judge::Change(judge) => changes.extend(judge(&case).map(|v| (rule.name, v))),
        }
    }
    let sessions =
        case.looked_at(&["/var/log/journal", "/var/log/wtmp", "/var/lib/wtmpdb", "/var/log/rc.log", "/etc/machine-id"]);
    let termination = decide(terminations, Termination::Unknown, &sessions);
    let how = how(&case, termination.value);
    let mut verdict = Verdict {
        case: &case,
        assessment: Assessment {
            headline: Default::default(),
            advice: Default::default(),
            how,
            termination,
            start: decide(starts, Start::Unknown, &sessions),
            installation: decide(installations, Installation::Unknown, &case.looked_at(PACKAGE_RECORDS)),
            packages: packages(&case),
            change: decide(changes, Change::Unknown, &[]),
            since: since.map(|b| b.id),
        },
    };
    let (headline, advice) = headline::of(&verdict);
    verdict.assessment.headline = headline.as_str().into();
    verdict.assessment.advice = advice.as_str().into();
    verdict.assessment
}

fn how(case: &Case<'_>, termination: Termination) -> Option<EndKind> {
    if termination != Termination::Clean {
        return None;
    }
    let wtmp = || case.wtmp().filter(|w| w.shutdown_follows && case.wtmp_is_current()).and_then(|w| w.how);
    let asked = |b: Boot<'_>| b.ended.or(b.asked.filter(|_| b.handed_back));
    case.newest_boot().filter(|_| !case.started_after_journal()).and_then(asked).or_else(wtmp)
}

fn packages(case: &Case<'_>) -> Vec<PackageState> {
    match case.dpkg() {
        Some(dpkg) => dpkg.broken.to_vec(),
        None => case.managed().map(|m| m.broken).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_every_facet_has_rules() {
        for (i, rule) in rules().iter().enumerate() {
            assert!(rules()[..i].iter().all(|r| r.name != rule.name), "{}", rule.name);
            assert!(rule.doc.ends_with('.') && rule.doc.len() > 20, "{}", rule.name);
        }
        for facet in [FacetName::Termination, FacetName::Start, FacetName::Installation, FacetName::Change] {
            assert!(rules().iter().any(|r| r.facet() == facet));
        }
    }

    #[test]
    fn nothing_known_is_unknown() {
        let mut scene = scene::Scene::new();
        scene.unrecognised_root();
        let a = scene.assess();
        assert_eq!(a.termination.value, Termination::Unknown);
        assert_eq!(a.start.value, Start::Unknown);
        assert_eq!(a.installation.value, Installation::Unknown);
        assert_eq!(a.change.value, Change::Unknown);
        assert!(!a.is_good());
    }
}
