//! How the last session ended.

use super::case::{Case, Root};
use super::decide::Vote;
use model::assessment::Confidence::{Certain, Likely, Weak};
use model::assessment::Termination::{self, Abrupt, Clean, Hibernated, Never};
use model::evidence::EvidenceId;

type Said = Option<Vote<Termination>>;

/// No start anywhere: none in the journal, none in the login record, none in init's log.
fn no_start(case: &Case<'_>) -> bool {
    case.newest_boot().is_none() && case.wtmp().is_none() && case.init_log().is_none()
}

fn traces(case: &Case<'_>) -> Vec<EvidenceId> {
    let boot = case.newest_boot().map(|b| b.id.clone());
    let log = case.init_log().map(|l| l.id.clone());
    boot.into_iter().chain(case.wtmp().map(|w| w.id.clone())).chain(log).collect()
}

/// Never mounted for writing: what its files tell is of another file system, from which they were copied. A check zeroes the
/// count, but not the time.
fn never_written(root: &Root<'_>) -> bool {
    root.mounts == Some((0, 0))
}

/// A resume image counts only where the root was left open, as hibernation leaves it.
pub(super) fn resume_image(case: &Case<'_>) -> Said {
    let (image, root) = (case.resume_image()?, case.root()?);
    if !root.open {
        return None;
    }
    let evidence = vec![image.clone(), root.id.clone()];
    Some(match case.newest_boot() {
        Some(boot) if boot.asleep && !case.started_after_journal() => {
            Vote::new(Hibernated, Certain, [evidence, vec![boot.id.clone()]].concat())
        }
        Some(boot) => Vote::new(Hibernated, Weak, evidence).against(vec![boot.id.clone()]),
        None => Vote::new(Hibernated, Likely, evidence),
    })
}

pub(super) fn never_mounted(case: &Case<'_>) -> Said {
    let root = case.root()?;
    if !never_written(&root) || root.open {
        return None;
    }
    let evidence = vec![root.id.clone()];
    // Files that tell of starts were copied in when the file system was made.
    Some(if no_start(case) {
        Vote::new(Never, Certain, evidence)
    } else {
        Vote::new(Never, Likely, evidence).against(traces(case))
    })
}

pub(super) fn first_start_pending(case: &Case<'_>) -> Said {
    let pending = case.first_boot_pending()?;
    let root = case.root().filter(|r| !r.open).map(|r| r.id).or(case.untold_root())?;
    let confidence = if case.looked_for_starts() { Likely } else { Weak };
    no_start(case).then(|| Vote::new(Never, confidence, vec![pending.clone(), root.clone()]))
}

/// Its seed would be there however the start ended, and whatever became of logs.
pub(super) fn no_seed_saved(case: &Case<'_>) -> Said {
    let seed = case.no_seed()?;
    let root = case.root().filter(|r| !r.open).map(|r| r.id).or(case.untold_root())?;
    (no_start(case) && case.looked_for_starts()).then(|| Vote::new(Never, Likely, vec![seed.clone(), root.clone()]))
}

pub(super) fn copied_in(case: &Case<'_>) -> Said {
    case.copied_in().map(|evidence| Vote::new(Never, Likely, evidence))
}

pub(super) fn only_installed(case: &Case<'_>) -> Said {
    let root = case.root()?;
    let info = root.info?;
    let installer = !info.last_mounted.as_str().is_empty() && !case.mounted_by_itself();
    // Each start counts one mount; an installer, one or two.
    let few = root.mounts.is_some_and(|(count, _)| count <= 2);
    (!root.open && installer && few && no_start(case)).then(|| Vote::new(Never, Weak, vec![root.id.clone()]))
}

pub(super) fn stopped_and_closed(case: &Case<'_>) -> Said {
    let boot = case.newest_boot()?;
    if !boot.stopped {
        return None;
    }
    let Some(root) = case.root() else {
        return Some(Vote::new(Clean, Likely, vec![boot.id.clone()]));
    };
    if never_written(&root) {
        return None;
    }
    // Where nothing tells of a mount, a later session that was cut off before it logged anything is not seen.
    let told = root.mounts.is_some() && !case.started_after_journal();
    let confidence = match case.copied_in() {
        Some(_) => Weak,
        None if root.has_journal && told => Certain,
        None => Likely,
    };
    (!root.open).then(|| Vote::new(Clean, confidence, vec![boot.id.clone(), root.id.clone()]))
}

pub(super) fn on_record_and_closed(case: &Case<'_>) -> Said {
    let root = case.root()?;
    let boot = case.newest_boot();
    let wtmp = case.wtmp().filter(|w| w.shutdown_follows && case.wtmp_is_current());
    let reached = boot.as_ref().filter(|b| b.ended.is_some());
    // The log of another init than systemd, which keeps no journal.
    let log = case.init_log().filter(|l| l.going_down && boot.is_none());
    let mut evidence: Vec<EvidenceId> = wtmp.map(|w| w.id.clone()).into_iter().collect();
    evidence.extend(log.map(|l| l.id.clone()));
    evidence.extend(reached.map(|b| b.id.clone()));
    if root.open || never_written(&root) || evidence.is_empty() {
        return None;
    }
    evidence.push(root.id.clone());
    Some(Vote::new(Clean, if case.copied_in().is_some() { Weak } else { Likely }, evidence))
}

/// Where `/var` is a file system of its own, journald lets go of it before it is unmounted, and the end of the shutdown is nowhere.
pub(super) fn handed_back_and_closed(case: &Case<'_>) -> Said {
    let boot = case.newest_boot().filter(|b| b.handed_back && !b.stopped)?;
    let root = case.root();
    let closed = match &root {
        Some(root) => (!root.open && !never_written(root) && !case.started_after_journal()).then_some(root.id),
        None => case.untold_root(),
    }?;
    let confidence = if case.copied_in().is_some() || case.open_journal(&boot).is_some() { Weak } else { Likely };
    Some(Vote::new(Clean, confidence, vec![boot.id.clone(), closed.clone()]))
}

/// A start that kept its journal in memory, or had no place for it: nobody else mounts a root as its own.
pub(super) fn closed_since(case: &Case<'_>) -> Said {
    let (root, boot) = (case.root()?, case.newest_boot()?);
    let closed = case.started_after_journal() && !root.open && !boot.stopped;
    closed.then(|| Vote::new(Clean, Likely, vec![root.id.clone()]).against(vec![boot.id.clone()]))
}

pub(super) fn closed_alone(case: &Case<'_>) -> Said {
    let root = case.root()?;
    // Who had his root there may have been somebody that put it together from another system.
    if case.no_seed().is_some() {
        return None;
    }
    let itself = !root.open && root.mounts.is_some_and(|(count, _)| count > 0) && case.mounted_by_itself();
    let confidence = if case.looked_for_starts() { Likely } else { Weak };
    (itself && no_start(case)).then(|| Vote::new(Clean, confidence, vec![root.id.clone()]))
}

/// Hibernation leaves the root open too; into a swap file, its image is not seen. So only a journal that breaks off while
/// awake, with no image in sight, makes it certain.
pub(super) fn cut_off(case: &Case<'_>) -> Said {
    let root = case.root()?;
    let boot = case.newest_boot();
    if !root.open || boot.as_ref().is_some_and(|b| b.stopped) {
        return None;
    }
    let mut evidence = vec![root.id.clone()];
    let certain = root.has_journal && boot.as_ref().is_some_and(|b| !b.asleep && b.ended.is_none());
    evidence.extend(boot.map(|b| b.id.clone()));
    let wtmp = case.wtmp().filter(|_| case.wtmp_is_current());
    evidence.extend(case.crash_kept());
    let mut against = Vec::new();
    if let Some(w) = wtmp {
        let side = if w.shutdown_follows { &mut against } else { &mut evidence };
        side.push(w.id.clone());
    }
    if let Some(log) = case.init_log() {
        let side = if log.going_down { &mut against } else { &mut evidence };
        side.push(log.id.clone());
    }
    let confidence = match case.resume_image() {
        None if certain => Certain,
        None => Likely,
        // The image explains the open root as well.
        Some(image) => {
            against.push(image.clone());
            Weak
        }
    };
    Some(Vote::new(Abrupt, confidence, evidence).against(against))
}

pub(super) fn stopped_and_open(case: &Case<'_>) -> Said {
    let (root, boot) = (case.root()?, case.newest_boot()?);
    let open = root.open && boot.stopped && case.resume_image().is_none();
    open.then(|| Vote::new(Abrupt, Likely, vec![root.id.clone()]).against(vec![boot.id.clone()]))
}

pub(super) fn breaks_off_closed(case: &Case<'_>) -> Said {
    let (root, boot) = (case.root()?, case.newest_boot()?);
    let on_record = case.wtmp().is_some_and(|w| w.shutdown_follows && case.wtmp_is_current());
    let breaks_off = !boot.stopped && boot.ended.is_none() && !on_record && !root.open && !never_written(&root);
    let breaks_off = breaks_off && !boot.handed_back && !case.started_after_journal();
    breaks_off.then(|| Vote::new(Abrupt, Weak, vec![boot.id.clone()]).against(vec![root.id.clone()]))
}

/// A root that is mounted to be read only is closed however it ends: the file system that the journal lies on tells.
pub(super) fn journal_cut_off(case: &Case<'_>) -> Said {
    let boot = case.newest_boot().filter(|b| !b.stopped && !b.asleep)?;
    let root = case.root().filter(|r| !r.open)?;
    let open = case.open_journal(&boot)?;
    Some(Vote::new(Abrupt, Likely, vec![open.clone(), boot.id.clone()]).against(vec![root.id.clone()]))
}

/// The firmware keeps the last words only until a start has come far enough to collect them. A kernel may have died of a mishap that it
/// survived (an oops), and have been shut down since.
pub(super) fn crash_kept(case: &Case<'_>) -> Said {
    let crash = case.crash_kept()?;
    let open = case.root().is_none_or(|r| r.open);
    let ended = case.newest_boot().is_some_and(|b| b.stopped);
    Some(Vote::new(Abrupt, if open && !ended { Likely } else { Weak }, vec![crash]))
}

/// A btrfs whose log is empty may have been cut off all the same: nothing was synced since its last transaction, which comes every
/// half minute.
pub(super) fn breaks_off_untold(case: &Case<'_>) -> Said {
    let (root, boot) = (case.untold_root()?, case.newest_boot()?);
    let on_record = case.wtmp().is_some_and(|w| w.shutdown_follows && case.wtmp_is_current());
    let breaks_off = !boot.stopped && boot.ended.is_none() && !on_record && !boot.asleep && !boot.handed_back;
    let confidence = if case.resume_image().is_some() { Weak } else { Likely };
    breaks_off.then(|| Vote::new(Abrupt, confidence, vec![boot.id.clone(), root.clone()]))
}

#[cfg(test)]
mod tests {
    use super::super::scene::Scene;
    use super::*;
    use model::assessment::Confidence;
    use model::evidence::{EndKind, Fact};

    fn ended(scene: &mut Scene) -> (Termination, Confidence, String) {
        let t = scene.assess().termination;
        (t.value, t.confidence, t.rule)
    }

    #[test]
    fn shut_down_in_order() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Reboot));
        assert_eq!(ended(&mut s), (Clean, Certain, "stopped-and-closed".into()));
        assert_eq!(s.assess().how, Some(EndKind::Reboot));
    }

    #[test]
    fn a_journal_on_another_file_system_is_let_go_of_before_the_end() {
        let handed_back = |b: &mut super::super::scene::BootEdit<'_>| b.hand_back(EndKind::Poweroff);
        let mut s = Scene::new();
        s.boot(0, 1000, handed_back);
        assert_eq!(ended(&mut s), (Clean, Likely, "handed-back-and-closed".into()));
        assert_eq!(s.assess().how, Some(EndKind::Poweroff));
        s.ext(|e| e.needs_recovery = true);
        assert_eq!(ended(&mut s), (Abrupt, Certain, "cut-off".into()));
        let mut s = Scene::new();
        s.btrfs(false);
        s.boot(0, 1000, handed_back);
        assert_eq!(ended(&mut s), (Clean, Likely, "handed-back-and-closed".into()));
    }

    /// The journal lies on a file system of its own, the root is mounted to be read only.
    #[test]
    fn a_root_that_is_always_closed_tells_nothing() {
        let mut s = Scene::new();
        s.boot(0, 1000, |_| {});
        assert_eq!(ended(&mut s), (Abrupt, Weak, "breaks-off-closed".into()));
        let var = model::id::VolumePath::partition(model::id::DiskNo(0), 5);
        let (mut journal, mut state) = (s.facts[0].clone(), s.facts[0].clone());
        (journal.origin.volume, state.origin.volume) = (var.clone(), var);
        let (needs_recovery, has_journal, valid, errors) = (true, true, true, false);
        state.fact =
            Fact::ExtState { needs_recovery, has_journal, valid, errors, mount_count: 1, mounted_at: 1_795_000_990 };
        s.facts = vec![journal, state];
        assert_eq!(ended(&mut s), (Abrupt, Likely, "journal-cut-off".into()));
    }

    #[test]
    fn systemd_that_never_saved_a_seed_never_started() {
        let mut s = Scene::new();
        s.no_journal();
        assert_eq!(ended(&mut s), (Clean, Likely, "closed-alone".into()));
        s.fact(super::super::SYSTEMD_STATE, Fact::NotThere);
        assert_eq!(ended(&mut s), (Never, Likely, "no-seed-saved".into()));
        assert_eq!(s.assess().start.value, model::assessment::Start::Never);
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        assert_eq!(ended(&mut s).0, Clean);
    }

    #[test]
    fn files_older_than_their_file_system_were_copied_in() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        s.ext(|e| (e.made_at, e.mounted_at) = (e.mounted_at + 200_000, e.mounted_at + 200_001));
        s.ext(|e| e.last_mounted = "/mnt".into());
        assert_eq!(ended(&mut s), (Never, Likely, "copied-in".into()));
        assert_eq!(s.assess().start.value, model::assessment::Start::Never);
        // Started since, without a journal.
        s.ext(|e| e.last_mounted = "/".into());
        let seed = Fact::SignOfLife { sign: model::evidence::LifeSign::SeedSaved };
        s.fact(super::super::SYSTEMD_STATE, seed);
        s.facts[1].time = Some(crate::source::stamp(model::ports::UnixMicros::from_seconds(1_795_300_000)));
        assert_eq!(ended(&mut s), (Clean, Likely, "stopped-and-closed".into()));
    }

    #[test]
    fn a_later_session_without_a_journal_is_seen_by_the_root() {
        let mut s = Scene::new();
        s.boot(0, 1000, |_| {});
        s.ext(|e| e.mounted_at += 5000);
        assert_eq!(ended(&mut s), (Clean, Likely, "closed-since".into()));
    }

    #[test]
    fn a_clock_that_was_ahead_until_it_was_corrected_makes_no_other_session() {
        let mut s = Scene::new();
        s.boot(0, 30_000, |b| {
            b.last(1_795_002_000);
            b.stop(EndKind::Poweroff);
        });
        assert_eq!(ended(&mut s), (Clean, Certain, "stopped-and-closed".into()));
    }

    #[test]
    fn a_btrfs_without_a_machine_id_was_never_started() {
        let mut s = Scene::new();
        s.btrfs(false);
        s.no_journal();
        s.fact("/etc/machine-id", Fact::FirstBootPending);
        assert_eq!(ended(&mut s), (Never, Likely, "first-start-pending".into()));
    }

    #[test]
    fn cut_off_with_a_journal_is_certain() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.boot(0, 1000, |_| {});
        assert_eq!(ended(&mut s), (Abrupt, Certain, "cut-off".into()));
    }

    #[test]
    fn an_xfs_tells_of_its_end_and_of_no_mounts() {
        let mut s = Scene::new();
        s.xfs(true, Some(0x1_0000_0040));
        s.boot(0, 1000, |_| {});
        assert_eq!(ended(&mut s), (Abrupt, Certain, "cut-off".into()));
        // A later start that was cut off before it logged anything would leave the same traces.
        let mut s = Scene::new();
        s.xfs(false, Some(0x1_0000_0040));
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        assert_eq!(ended(&mut s), (Clean, Likely, "stopped-and-closed".into()));
        // Where the end of the log cannot be told, nothing is certain.
        let mut s = Scene::new();
        s.xfs(true, None);
        s.boot(0, 1000, |_| {});
        assert_eq!(ended(&mut s), (Abrupt, Likely, "cut-off".into()));
        // It was mounted or not: it does not say.
        let mut s = Scene::new();
        s.xfs(false, Some(0x1_0000_0040));
        assert_ne!(ended(&mut s).0, Never);
    }

    #[test]
    fn an_open_root_alone_is_likely() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        assert_eq!(ended(&mut s), (Abrupt, Likely, "cut-off".into()));
    }

    #[test]
    fn a_btrfs_tells_by_its_log_and_else_the_journal_does() {
        let mut s = Scene::new();
        s.btrfs(true);
        assert_eq!(ended(&mut s), (Abrupt, Likely, "cut-off".into()));
        s.boot(0, 1000, |_| {});
        assert_eq!(ended(&mut s), (Abrupt, Certain, "cut-off".into()));
        let mut s = Scene::new();
        s.btrfs(false);
        assert_eq!(ended(&mut s).0, Termination::Unknown, "it keeps no mark of having been unmounted");
        s.boot(0, 1000, |_| {});
        assert_eq!(ended(&mut s), (Abrupt, Likely, "breaks-off-untold".into()));
        let mut s = Scene::new();
        s.btrfs(false);
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        assert_eq!(ended(&mut s), (Clean, Likely, "stopped-and-closed".into()));
    }

    #[test]
    fn the_state_field_does_not_matter_with_a_journal() {
        let mut s = Scene::new();
        s.ext(|e| {
            e.needs_recovery = true;
            e.state = 1;
        });
        assert_eq!(ended(&mut s).0, Abrupt);
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        s.ext(|e| e.state = 0);
        assert_eq!(ended(&mut s).0, Clean);
    }

    #[test]
    fn without_a_journal_the_state_field_tells() {
        let mut s = Scene::new();
        s.ext(|e| {
            e.has_journal = false;
            e.state = 0;
        });
        assert_eq!(ended(&mut s), (Abrupt, Likely, "cut-off".into()));
    }

    #[test]
    fn hibernated_where_the_journal_went_to_sleep() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.swap(true);
        s.boot(0, 1000, |b| b.sleep());
        assert_eq!(ended(&mut s), (Hibernated, Certain, "resume-image".into()));
    }

    #[test]
    fn a_newer_start_makes_the_image_stale() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.swap(true);
        s.boot(0, 9000, |_| {});
        s.boot(1, 1000, |b| b.sleep());
        let (_, confidence, _) = ended(&mut s);
        assert_eq!(confidence, Weak, "it can be either");
        // Closed in order since: the image is certainly stale.
        s.ext(|e| e.needs_recovery = false);
        s.facts.clear();
        s.boot(0, 9000, |b| b.stop(EndKind::Poweroff));
        assert_eq!(ended(&mut s).0, Clean);
    }

    #[test]
    fn asleep_in_memory_and_cut_off_is_not_certain() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.boot(0, 1000, |b| b.sleep());
        assert_eq!(ended(&mut s), (Abrupt, Likely, "cut-off".into()));
    }

    #[test]
    fn never_started() {
        let mut s = Scene::new();
        s.ext(|e| {
            e.mount_count = 0;
            e.mounted_at = 0;
            e.last_mounted = "".into();
        });
        assert_eq!(ended(&mut s), (Never, Certain, "never-mounted".into()));
        // Made from the files of a system that ran: this one did not.
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        assert_eq!(ended(&mut s), (Never, Likely, "never-mounted".into()));
    }

    #[test]
    fn a_pending_first_start_with_a_closed_root() {
        let mut s = Scene::new();
        s.no_journal();
        s.fact("/etc/machine-id", Fact::FirstBootPending);
        s.ext(|e| e.last_mounted = "/target".into());
        assert_eq!(ended(&mut s), (Never, Likely, "first-start-pending".into()));
        s.ext(|e| e.needs_recovery = true);
        assert_eq!(ended(&mut s), (Abrupt, Likely, "cut-off".into()), "cut off while it was installed");
    }

    #[test]
    fn only_an_installer_was_here() {
        let mut s = Scene::new();
        s.ext(|e| {
            e.last_mounted = "/target".into();
            e.mount_count = 1;
        });
        assert_eq!(ended(&mut s), (Never, Weak, "only-installed".into()));
    }

    #[test]
    fn no_journal_but_a_login_record() {
        let mut s = Scene::new();
        s.login(true, '5');
        assert_eq!(ended(&mut s), (Clean, Likely, "on-record-and-closed".into()));
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.login(false, '5');
        assert_eq!(ended(&mut s), (Abrupt, Likely, "cut-off".into()));
    }

    #[test]
    fn what_the_firmware_keeps_of_a_kernel_that_died() {
        use crate::rules::scene::BEGIN;
        use crate::source::crash_facts;
        let kept = |seconds: i64| vec![format!("dump-type0-1-1-{}-C", BEGIN + seconds)];
        let mut s = Scene::new();
        s.btrfs(false);
        s.facts.extend(crash_facts(&s.system().root, &kept(1500)));
        assert_eq!(ended(&mut s), (Abrupt, Likely, "crash-kept".into()));
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.boot(0, 1000, |_| {});
        s.facts.extend(crash_facts(&s.system().root, &kept(2001)));
        let a = s.assess();
        assert_eq!((a.termination.rule.as_str(), a.termination.evidence_for.len()), ("cut-off", 3));
        assert!(a.headline.as_str().starts_with("It stopped after a fault of the kernel"), "{}", a.headline);
        // That was before the newest start, which did not collect it, or survived.
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        s.facts.extend(crash_facts(&s.system().root, &kept(500)));
        assert_eq!(ended(&mut s), (Clean, Certain, "stopped-and-closed".into()));
        assert!(s.assess().termination.evidence_against.is_empty());
        s.facts.extend(crash_facts(&s.system().root, &kept(1500)));
        assert_eq!(s.assess().termination.evidence_against.len(), 1);
    }

    #[test]
    fn another_init_keeps_a_log() {
        let log = |going_down| Fact::InitLog { reached: Some("default".into()), going_down };
        let mut s = Scene::new();
        s.fact("/var/log/rc.log", log(Some(model::ports::UnixMicros(1))));
        assert_eq!(ended(&mut s), (Clean, Likely, "on-record-and-closed".into()));
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.fact("/var/log/rc.log", log(None));
        let t = s.assess().termination;
        assert_eq!((t.value, t.confidence, t.evidence_for.len()), (Abrupt, Likely, 2));
    }

    #[test]
    fn a_closed_root_and_nothing_else() {
        let mut s = Scene::new();
        assert_eq!(ended(&mut s), (Clean, Weak, "closed-alone".into()), "nobody looked");
        s.no_journal();
        assert_eq!(ended(&mut s), (Clean, Likely, "closed-alone".into()));
        s.fact("/var/log/wtmp", Fact::Unreadable { why: "torn".into() });
        assert_eq!(ended(&mut s), (Clean, Weak, "closed-alone".into()));
    }

    #[test]
    fn cut_off_late() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        assert_eq!(ended(&mut s), (Abrupt, Likely, "stopped-and-open".into()));
        assert_eq!(s.assess().how, None);
    }

    #[test]
    fn a_journal_that_breaks_off_on_a_closed_root_is_weak() {
        let mut s = Scene::new();
        s.boot(0, 1000, |_| {});
        assert_eq!(ended(&mut s), (Abrupt, Weak, "breaks-off-closed".into()));
    }

    /// The root is mounted before the system corrects its clock: hours later, by it, than the session's last entry.
    #[test]
    fn a_hardware_clock_in_local_time_is_no_later_start() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        s.ext(|e| e.mounted_at += 2 * 3600);
        assert_eq!(ended(&mut s), (Clean, Likely, "stopped-and-closed".into()), "another start, it seems");
        s.fact("/etc/adjtime", Fact::HardwareClock { local: true });
        assert_eq!(ended(&mut s), (Clean, Certain, "stopped-and-closed".into()));
        s.ext(|e| e.mounted_at += 20 * 3600);
        assert_eq!(ended(&mut s), (Clean, Likely, "stopped-and-closed".into()), "no zone is that far off");
    }

    #[test]
    fn journals_of_another_machine_do_not_count() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.journal_of = "f".repeat(32);
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        assert_eq!(ended(&mut s), (Abrupt, Likely, "cut-off".into()));
    }
}
