//! How far the last start got, and whether another one can.

use super::case::{Boot, Case, compare_versions};
use super::decide::Vote;
use super::termination;
use model::assessment::Confidence::{self, Certain, Likely, Weak};
use model::assessment::{Start, Termination};
use model::evidence::{BootPart, EvidenceId};

type Said = Option<Vote<Start>>;

/// A start that is not done after this long (in microseconds) does not get there.
const LONG_ENOUGH: i64 = 5 * 60 * 1_000_000;
/// Who runs for this long (in microseconds), and writes so much that its beginning is thrown away, has come up.
const LONG: i64 = 3600 * 1_000_000;

/// Something without which it cannot start: how sure, what is wrong with it, and the evidence.
pub(crate) fn obstacle<'a>(case: &Case<'a>) -> Option<(Confidence, &'a str, EvidenceId)> {
    let known = |sure: Confidence| if case.debian() { sure } else { Weak };
    // A separate /usr that was not looked into holds all of these; a separate /boot holds the kernels.
    let userland = !case.hidden_below(&["/usr", "/lib", "/sbin"]);
    for part in [BootPart::Libc, BootPart::Init].into_iter().filter(|_| userland) {
        let parts = case.parts(part);
        if let Some((id, _, Some(why))) = parts.iter().find(|p| p.2.is_some()) {
            // systemd is there: some initial RAM file systems start it directly.
            let other = part == BootPart::Init && parts.iter().any(|p| p.2.is_none());
            return Some((known(if other { Likely } else { Certain }), why, (*id).clone()));
        }
    }
    kernel_obstacle(case, &known).or_else(|| {
        let configs = case.parts(BootPart::LoaderConfig);
        let all = configs.iter().all(|p| p.2.is_some());
        configs.iter().find(|_| all).and_then(|(id, _, why)| Some((known(Likely), (*why)?, (*id).clone())))
    })
}

/// The kernel that is started is the newest one, as boot loaders are set up; another may be chosen by hand.
fn kernel_obstacle<'a>(
    case: &Case<'a>,
    known: &dyn Fn(Confidence) -> Confidence,
) -> Option<(Confidence, &'a str, EvidenceId)> {
    let kernels = case.parts(BootPart::Kernel);
    let needs = [BootPart::Kernel, BootPart::Initramfs, BootPart::Modules].map(|p| case.parts(p));
    // The last start tells what that kernel does without.
    let started = case.newest_boot().filter(|b| b.target.is_some() || b.startup_finished).and_then(|b| b.kernel);
    let spared = |version: &str, id: &EvidenceId| {
        let initramfs = needs[1].iter().any(|p| p.0 == id);
        initramfs && started.is_some_and(|k| k.release.as_str() == version && !k.initramfs)
    };
    let wrong = |version: &str| {
        let of = |p: &&(&'a EvidenceId, Option<String>, Option<&'a str>)| {
            p.1.as_deref() == Some(version) && p.2.is_some() && !spared(version, p.0)
        };
        needs.iter().flatten().find(of).and_then(|(id, _, why)| Some(((*why)?, (*id).clone())))
    };
    let mut versions: Vec<&str> = kernels.iter().filter_map(|k| k.1.as_deref()).collect();
    versions.sort_by(|a, b| compare_versions(b, a));
    let Some(newest) = versions.first() else {
        // Kernels may lie elsewhere (on the ESP): a hint only.
        return kernels.iter().find_map(|(id, _, why)| Some((Weak, (*why)?, (*id).clone())));
    };
    let (why, id) = wrong(newest)?;
    // A kernel can be built to need neither modules nor an initial RAM file system, and an older one be the one that is started.
    Some((known(Likely), why, id))
}

pub(super) fn cannot_start(case: &Case<'_>) -> Said {
    obstacle(case).map(|(confidence, _, id)| Vote::new(Start::Failed, confidence, vec![id]))
}

pub(super) fn never_started(case: &Case<'_>) -> Said {
    let never = [
        termination::never_mounted,
        termination::first_start_pending,
        termination::only_installed,
        termination::no_seed_saved,
        termination::copied_in,
    ];
    let votes = never.iter().filter_map(|rule| rule(case)).filter(|v| v.value == Termination::Never);
    // The surest, and of those the first.
    let vote = votes.reduce(|best, vote| if vote.confidence > best.confidence { vote } else { best })?;
    Some(Vote {
        value: Start::Never,
        confidence: vote.confidence,
        evidence_for: vote.evidence_for,
        evidence_against: vote.evidence_against,
    })
}

pub(super) fn not_on_record(case: &Case<'_>) -> Said {
    let (root, boot) = (case.root()?, case.newest_boot()?);
    let elsewhere = case.wtmp().is_some_and(|w| case.wtmp_is_current() && w.run_level.is_some());
    (case.started_after_journal() && !elsewhere)
        .then(|| Vote::new(Start::Unknown, Likely, vec![root.id.clone(), boot.id.clone()]))
}

pub(super) fn emergency_mode(case: &Case<'_>) -> Said {
    let boot = case.newest_boot()?;
    let sure = if case.started_after_journal() { Weak } else { Likely };
    let asked = boot.kernel.is_some_and(|k| k.rescue_asked);
    (boot.emergency && !asked).then(|| Vote::new(Start::Failed, sure, vec![boot.id.clone()]))
}

pub(super) fn rescue_asked(case: &Case<'_>) -> Said {
    let boot = case.newest_boot().filter(|b| b.kernel.is_some_and(|k| k.rescue_asked))?;
    (boot.target.is_none() && !case.started_after_journal())
        .then(|| Vote::new(Start::Unknown, Likely, vec![boot.id.clone()]))
}

pub(super) fn start_loop(case: &Case<'_>) -> Said {
    let short = |b: &&Boot<'_>| {
        b.target.is_none()
            && !b.startup_finished
            && !b.stopped
            && b.ended.is_none()
            && b.last.0 - b.first.0 < LONG_ENOUGH
    };
    let boots = case.boots();
    let row: Vec<EvidenceId> = boots.iter().take_while(short).map(|b| b.id.clone()).collect();
    (row.len() >= 3).then(|| Vote::new(Start::Failed, Likely, row))
}

/// A kernel that never mounted its root leaves nothing else. No more than likely: some never take the mark away.
pub(super) fn not_confirmed(case: &Case<'_>) -> Said {
    case.start_not_confirmed().map(|id| Vote::new(Start::Failed, Likely, vec![id]))
}

/// Certain of the past only: where it cannot start now, or started again since, that it once did says little.
pub(super) fn reached_target(case: &Case<'_>) -> Said {
    let boot = case.newest_boot()?;
    let reached = !boot.emergency && (boot.target.is_some() || boot.startup_finished);
    let past = case.started_after_journal()
        || case.copied_in().is_some()
        || obstacle(case).is_some_and(|(sure, ..)| sure > Weak);
    let confidence = if past {
        Weak
    } else if boot.target.is_some() && case.start_not_confirmed().is_none() {
        Certain
    } else {
        Likely
    };
    reached.then(|| Vote::new(Start::Reached, confidence, vec![boot.id.clone()]))
}

pub(super) fn reached_run_level(case: &Case<'_>) -> Said {
    let wtmp = case.wtmp().filter(|w| case.wtmp_is_current() && matches!(w.run_level, Some('2'..='5')));
    let log = case.init_log().filter(|l| l.reached && case.newest_boot().is_none());
    let evidence: Vec<EvidenceId> = wtmp.map(|w| w.id.clone()).into_iter().chain(log.map(|l| l.id.clone())).collect();
    let past = case.copied_in().is_some() || obstacle(case).is_some_and(|(sure, ..)| sure > Weak);
    let confidence = if past { Weak } else { Likely };
    (!evidence.is_empty()).then(|| Vote::new(Start::Reached, confidence, evidence))
}

/// It says of the last start only that GRUB made it: where it cannot start now, that is the past.
pub(super) fn confirmed(case: &Case<'_>) -> Said {
    let mark = case.start_confirmed()?;
    let past = obstacle(case).is_some_and(|(sure, ..)| sure > Weak) || case.started_after_journal();
    Some(Vote::new(Start::Reached, if past { Weak } else { Likely }, vec![mark]))
}

/// Another entry may have been started since, and have come up.
pub(super) fn tries_used_up(case: &Case<'_>) -> Said {
    let tries = case.tries();
    let used_up: Vec<EvidenceId> = tries.iter().filter(|t| t.used_up && t.tried).map(|t| t.id.clone()).collect();
    let alone = tries.iter().any(|t| t.used_up && t.tried && t.alone);
    (!used_up.is_empty()).then(|| Vote::new(Start::Failed, if alone { Likely } else { Weak }, used_up))
}

/// True where the newest start is on record from its beginning. What lies between it and the one before may have been thrown away to make
/// room, or lie in more files than are read.
fn begins(boots: &[Boot<'_>]) -> bool {
    let Some(newest) = boots.first() else { return false };
    let joined = |b: &Boot<'_>| match (b.order, newest.order) {
        (Some(before), Some(order)) => before.counter != order.counter || before.last.saturating_add(1) >= order.first,
        _ => true,
    };
    newest.kernel.is_some() || newest.order.is_some_and(|o| o.first == 1) || boots.get(1).is_some_and(joined)
}

pub(super) fn ran_long(case: &Case<'_>) -> Said {
    let boots = case.boots();
    let boot = boots.first().filter(|b| b.order.is_some() && !b.emergency && !begins(&boots))?;
    let long = boot.last.0 - boot.first.0 >= LONG && boot.target.is_none() && !boot.startup_finished;
    (long && !case.started_after_journal()).then(|| Vote::new(Start::Reached, Weak, vec![boot.id.clone()]))
}

pub(super) fn reached_nothing(case: &Case<'_>) -> Said {
    let boots = case.boots();
    let boot = boots.first()?;
    let nothing = boot.target.is_none() && !boot.startup_finished && !boot.emergency && boot.ended.is_none();
    let whole = begins(&boots);
    let long = boot.last.0 - boot.first.0 >= LONG_ENOUGH;
    (nothing && whole && long).then(|| Vote::new(Start::Failed, Weak, vec![boot.id.clone()]))
}

#[cfg(test)]
mod tests {
    use super::super::scene::Scene;
    use super::*;
    use model::evidence::{EndKind, Fact};

    fn start(s: &Scene) -> (Start, Confidence, String) {
        let f = s.assess().start;
        (f.value, f.confidence, f.rule)
    }

    fn reached() -> Scene {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| {
            b.reach("graphical.target");
            b.stop(EndKind::Poweroff);
        });
        s
    }

    const LIBC: &str = "/usr/lib/x86_64-linux-gnu/libc.so.6";

    #[test]
    fn a_target_in_the_journal_is_certain() {
        assert_eq!(start(&reached()), (Start::Reached, Certain, "reached-target".into()));
    }

    #[test]
    fn a_missing_library_outweighs_the_past() {
        let mut s = reached();
        s.part(LIBC, BootPart::Libc, Some("/usr/lib/x86_64-linux-gnu/libc.so.6 is missing"));
        let a = s.assess();
        assert_eq!(start(&s), (Start::Failed, Certain, "cannot-start".into()));
        assert!(!a.is_good());
        assert_eq!(a.start.evidence_against.len(), 1, "that it once started is said");
    }

    #[test]
    fn a_missing_library_of_an_unknown_system_is_a_hint() {
        let mut s = reached();
        s.os = "nixos";
        s.part(LIBC, BootPart::Libc, Some("/usr/lib/x86_64-linux-gnu/libc.so.6 is missing"));
        assert_eq!(start(&s).0, Start::Reached);
    }

    #[test]
    fn nothing_is_missed_on_a_volume_nobody_looked_into() {
        let mut s = reached();
        s.other.push(("/usr".into(), model::id::VolumePath::partition(model::id::DiskNo(0), 9)));
        s.part(LIBC, BootPart::Libc, Some("/usr/lib/x86_64-linux-gnu/libc.so.6 is missing"));
        assert_eq!(start(&s), (Start::Reached, Certain, "reached-target".into()));
    }

    #[test]
    fn the_newest_kernel_decides() {
        let mut s = reached();
        s.part("/boot/vmlinuz-6.1.0-9-amd64", BootPart::Kernel, None);
        s.part("/boot/vmlinuz-6.1.0-18-amd64", BootPart::Kernel, None);
        s.part("/boot/initrd.img-6.1.0-18-amd64", BootPart::Initramfs, None);
        // The older one lacks its initial RAM file system: not what is started.
        assert_eq!(start(&s).0, Start::Reached);
        s.part("/boot/vmlinuz-6.1.0-20-amd64", BootPart::Kernel, None);
        assert_eq!(start(&s), (Start::Failed, Likely, "cannot-start".into()));
    }

    #[test]
    fn a_kernel_that_started_without_an_initial_ram_file_system_needs_none() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| {
            b.reach("graphical.target");
            b.kernel("6.9.0-own", false);
            b.stop(EndKind::Poweroff);
        });
        s.part("/boot/vmlinuz-6.9.0-own", BootPart::Kernel, None);
        assert_eq!(start(&s), (Start::Reached, Certain, "reached-target".into()));
        s.part("/boot/vmlinuz-6.10.0-own", BootPart::Kernel, None);
        assert_eq!(start(&s), (Start::Failed, Likely, "cannot-start".into()), "another kernel was not tried");
    }

    #[test]
    fn who_was_told_to_go_to_rescue_mode_did_not_fail() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| {
            b.fall();
            b.kernel("6.1.0", true);
        });
        assert_eq!(start(&s), (Start::Unknown, Likely, "rescue-asked".into()));
    }

    #[test]
    fn a_start_whose_beginning_was_thrown_away() {
        let long = |gap: u64| {
            let mut s = Scene::new();
            s.boot(1, 0, |b| b.first_number(100));
            s.boot(0, 1000, |b| {
                b.last(1_795_010_000);
                b.first_number(151 + gap);
            });
            start(&s)
        };
        assert_eq!(long(900), (Start::Reached, Weak, "ran-long".into()));
        assert_eq!(long(0), (Start::Failed, Weak, "reached-nothing".into()));
    }

    #[test]
    fn an_empty_boot_configuration() {
        let mut s = reached();
        s.part("/boot/grub/grub.cfg", BootPart::LoaderConfig, Some("/boot/grub/grub.cfg is empty"));
        assert_eq!(start(&s), (Start::Failed, Likely, "cannot-start".into()));
    }

    #[test]
    fn never() {
        let mut s = Scene::new();
        s.ext(|e| (e.mount_count, e.mounted_at) = (0, 0));
        assert_eq!(start(&s), (Start::Never, Certain, "never-started".into()));
    }

    #[test]
    fn a_start_that_the_loader_noted_and_nobody_confirmed() {
        let mut s = Scene::new();
        s.boot(0, 1000, |_| {});
        s.fact("/boot/grub/grubenv", Fact::StartNotConfirmed);
        assert_eq!(start(&s), (Start::Failed, Likely, "start-not-confirmed".into()));
        // An older one came up: this one may have failed before it left any trace, or the mark is never taken away.
        let mut s = reached();
        s.fact("/boot/grub/grubenv", Fact::StartNotConfirmed);
        let a = s.assess();
        assert_eq!(start(&s), (Start::Failed, Weak, "start-not-confirmed".into()));
        assert_eq!(a.start.evidence_against.len(), 1);
    }

    #[test]
    fn starts_that_are_counted() {
        let tries = |left, done, others| Fact::BootTries { entry: "a".into(), left, done, others };
        let at = "/boot/efi/loader/entries";
        // Installed, and not tried yet.
        let mut s = Scene::new();
        s.fact(at, tries(3, 0, 0));
        assert_eq!(start(&s).0, Start::Unknown);
        let mut s = Scene::new();
        s.boot(0, 1000, |_| {});
        s.fact(at, tries(2, 1, 1));
        assert_eq!(start(&s), (Start::Failed, Likely, "start-not-confirmed".into()));
        // Given up; another one is there, and may have come up.
        let mut s = reached();
        s.fact(at, tries(0, 3, 1));
        let told = s.assess().start;
        assert_eq!((told.value, told.confidence, told.evidence_against.len()), (Start::Reached, Certain, 1));
        let mut s = Scene::new();
        s.fact(at, tries(0, 3, 0));
        assert_eq!(start(&s), (Start::Failed, Likely, "tries-used-up".into()));
        // Another system's, by its name.
        let mut s = Scene::new();
        let entry = format!("{}-6.1", "f".repeat(32)).as_str().into();
        s.fact(at, Fact::BootTries { entry, left: 0, done: 3, others: 0 });
        assert_eq!(start(&s).0, Start::Unknown);
    }

    #[test]
    fn a_start_that_a_session_confirmed() {
        let mut s = Scene::new();
        s.fact("/boot/grub2/grubenv", Fact::StartConfirmed);
        assert_eq!(start(&s), (Start::Reached, Likely, "start-confirmed".into()));
        s.part(LIBC, BootPart::Libc, Some("/usr/lib/x86_64-linux-gnu/libc.so.6 is missing"));
        assert_eq!(start(&s), (Start::Failed, Certain, "cannot-start".into()));
    }

    #[test]
    fn a_level_in_the_log_of_another_init() {
        let mut s = Scene::new();
        s.fact("/var/log/rc.log", Fact::InitLog { reached: Some("default".into()), going_down: None });
        assert_eq!(start(&s), (Start::Reached, Likely, "reached-run-level".into()));
    }

    #[test]
    fn emergency() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.fall());
        assert_eq!(start(&s), (Start::Failed, Likely, "emergency-mode".into()));
    }

    #[test]
    fn a_mount_after_the_journal_ends_leaves_it_open() {
        let mut s = reached();
        s.ext(|e| e.mounted_at += 5000);
        assert_eq!(start(&s), (Start::Unknown, Likely, "start-not-on-record".into()));
        // Mounted by somebody else: that was no start.
        s.ext(|e| e.last_mounted = "/mnt".into());
        assert_eq!(start(&s).0, Start::Reached);
    }

    #[test]
    fn three_short_starts_in_a_row() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        for age in 0..3 {
            s.boot(age, 9000 - i64::from(age) * 500, |b| {
                b.last(super::super::scene::BEGIN + 9020 - i64::from(age) * 500)
            });
        }
        assert_eq!(start(&s), (Start::Failed, Likely, "start-loop".into()));
    }

    #[test]
    fn one_short_start_says_nothing() {
        let mut s = Scene::new();
        s.boot(0, 9000, |b| b.last(super::super::scene::BEGIN + 9020));
        assert_eq!(start(&s).0, Start::Unknown);
    }

    #[test]
    fn a_long_start_that_reached_nothing() {
        let mut s = Scene::new();
        s.boot(0, 9000, |_| {});
        // Alone, and not from entry 1: its beginning may have been thrown away.
        assert_eq!(start(&s).0, Start::Unknown);
        s.boot(1, 1000, |b| {
            b.reach("graphical.target");
            b.first_number(949);
        });
        assert_eq!(start(&s), (Start::Failed, Weak, "reached-nothing".into()));
    }

    #[test]
    fn a_run_level_where_there_is_no_journal() {
        let mut s = Scene::new();
        s.login(true, '5');
        assert_eq!(start(&s), (Start::Reached, Likely, "reached-run-level".into()));
        let mut s = Scene::new();
        s.login(true, '1');
        assert_eq!(start(&s).0, Start::Unknown);
    }
}
