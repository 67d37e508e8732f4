//! One sentence for a tired person, and what to do next. Never more certain than the facets.

use crate::rules::{Case, Verdict, obstacle};
use model::assessment::{Assessment, Change, Confidence, Facet, Installation, Start, Termination};
use model::boot::Way;
use model::evidence::{PackageManager, PackageState};
use model::inspection::Severity;
use std::borrow::Cow;

/// Most packages named.
const MOST_NAMED: usize = 3;

/// The headline and the advice.
pub(crate) fn of(verdict: &Verdict<'_>) -> (String, String) {
    (headline(verdict), advice(verdict))
}

fn headline(verdict: &Verdict<'_>) -> String {
    let (a, case) = (&verdict.assessment, verdict.case);
    let software = software(a);
    if a.start.value == Start::Failed
        && a.start.rule == "cannot-start"
        && let Some((_, why, _)) = obstacle(case)
    {
        let how = sure(&a.start, ["It cannot start", "It probably cannot start", "It may be unable to start"]);
        let rest = software.map_or_else(String::new, |s| format!("; {s}"));
        return format!("{how}: {why}{rest}.");
    }
    let interrupted = a.installation.value == Installation::Interrupted && a.installation.confidence > Confidence::Weak;
    if interrupted && a.termination.value == Termination::Abrupt && case.packages_in_last_session() {
        let how = sure(&a.termination, ["It was cut off", "It was probably cut off", "It may have been cut off"]);
        let which = if a.packages.is_empty() { String::new() } else { format!(": {}", packages(&a.packages)) };
        return format!("{how} while packages were being installed{which}.");
    }
    let ended = ended(verdict);
    let mut wrong = Vec::new();
    if a.start.value == Start::Failed {
        wrong.push(match a.start.rule.as_str() {
            "emergency-mode" => "its last start ended in emergency mode".to_owned(),
            "start-loop" => "its last starts all broke off early".to_owned(),
            "tries-used-up" => "the boot loader gave up on an entry that never came up".to_owned(),
            _ => "its last start may not have come up".to_owned(),
        });
    }
    wrong.extend(software);
    if case.root().is_some_and(|r| r.errors) {
        wrong.push("the file system recorded errors".to_owned());
    }
    if case.windows_root().is_some_and(|r| r.dirty) {
        wrong.push("its file system is marked to be checked".to_owned());
    }
    wrong.extend(case.chain_break().map(|(why, way)| {
        let from = match way {
            Way::Any => "",
            Way::Uefi => ", from UEFI",
            Way::Bios => ", from a BIOS",
        };
        format!("it will probably not start{from}: {why}")
    }));
    if wrong.is_empty() {
        let fine = a.is_good() && a.termination.value == Termination::Clean && !damaged(case);
        return if fine { format!("{ended}; nothing is wrong.") } else { format!("{ended}.") };
    }
    format!("{ended}; {}.", wrong.join(", and "))
}

/// Something is wrong with the disks: what a snapshot of them would hold, too.
fn damaged(case: &Case<'_>) -> bool {
    case.inspection.findings.iter().any(|f| f.severity > Severity::Note)
}

/// How the last session ended.
fn ended(verdict: &Verdict<'_>) -> String {
    let t = &verdict.assessment.termination;
    match t.value {
        Termination::Abrupt => abrupt(verdict),
        Termination::Clean => clean(verdict),
        Termination::Hibernated if verdict.case.system.is_windows() => sure(
            t,
            [
                "It is asleep on disk: hibernated, or shut down with fast start-up",
                "It is probably asleep on disk: hibernated, or shut down with fast start-up",
                "It may be asleep on disk: hibernated, or shut down with fast start-up",
            ],
        )
        .to_owned(),
        Termination::Hibernated => sure(
            t,
            [
                "It is hibernated: asleep on disk, with its programs open",
                "It is probably hibernated: asleep on disk",
                "It may be hibernated",
            ],
        )
        .to_owned(),
        Termination::Never => {
            sure(t, ["It was never started", "It was probably never started", "It seems that it was never started"])
                .to_owned()
        }
        Termination::Unknown => "How it was last shut down cannot be told".to_owned(),
    }
}

/// What is wrong with the software, where something is.
fn software(a: &Assessment) -> Option<String> {
    let listed = packages(&a.packages);
    match a.installation.value {
        Installation::Interrupted => {
            let words = [
                "an installation was cut short",
                "an installation was cut short",
                "an installation may have been cut short",
            ];
            let how = sure(&a.installation, words);
            Some(if a.packages.is_empty() { how.to_owned() } else { format!("{how}: {listed}") })
        }
        Installation::Broken if a.packages.is_empty() => Some("the package database is damaged".to_owned()),
        Installation::Broken => Some(listed),
        Installation::Idle | Installation::Completed | Installation::Unknown => None,
    }
}

/// The words of a facet by how sure it is: certain, likely, weak.
fn sure<'a, T>(facet: &Facet<T>, words: [&'a str; 3]) -> &'a str {
    match facet.confidence {
        Confidence::Certain => words[0],
        Confidence::Likely => words[1],
        Confidence::Weak => words[2],
    }
}

/// ` on 2026-11-22 21:03 UTC`, or nothing where no clock can be trusted.
fn when(case: &Case<'_>, word: &str) -> String {
    case.last_alive().map_or_else(String::new, |t| {
        let text = t.at.to_string();
        format!(" {word} {} UTC", text.get(..16).unwrap_or(&text))
    })
}

fn abrupt(verdict: &Verdict<'_>) -> String {
    let (a, case) = (&verdict.assessment, verdict.case);
    let boot = case.newest_boot();
    let how = if boot.as_ref().is_some_and(|b| b.panicked) || case.crash_kept().is_some() {
        "It stopped after a fault of the kernel"
    } else if boot.as_ref().is_some_and(|b| b.asleep) {
        "It lost power while it was asleep"
    } else if boot.as_ref().is_some_and(|b| b.stopped) {
        "It was cut off late in a shutdown, or early in a later start"
    } else {
        "It lost power or crashed"
    };
    let how = match a.termination.confidence {
        Confidence::Certain => how.to_owned(),
        Confidence::Likely => format!("Probably {}", lower(how)),
        Confidence::Weak => format!("Perhaps {}", lower(how)),
    };
    format!("{how}{}", when(case, "around"))
}

fn clean(verdict: &Verdict<'_>) -> String {
    let words = ["Shut down in order", "Probably shut down in order", "It seems to have been shut down in order"];
    format!("{}{}", sure(&verdict.assessment.termination, words), when(verdict.case, "on"))
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |c| c.to_lowercase().chain(chars).collect())
}

/// `3 packages are half installed (libc6, tar, ...)`.
fn packages(all: &[PackageState]) -> String {
    let half = |p: &PackageState| p.state.as_str().starts_with("half-installed");
    let state = if all.iter().all(half) { "half installed" } else { "not in order" };
    let mut names: Vec<String> =
        all.iter().take(MOST_NAMED).map(|p| p.name.as_str().split(':').next().unwrap_or_default().to_owned()).collect();
    if all.len() > MOST_NAMED {
        names.push("...".to_owned());
    }
    match all.len() {
        1 => format!("1 package is {state} ({})", names.join(", ")),
        n => format!("{n} packages are {state} ({})", names.join(", ")),
    }
}

/// What to do next, and what goes for any state.
fn advice(verdict: &Verdict<'_>) -> String {
    let (a, case) = (&verdict.assessment, verdict.case);
    let mut advice = first_step(verdict).into_owned();
    if case.resume_image().is_some() && a.termination.value != Termination::Hibernated {
        advice.push_str(" A hibernated system stands in its swap area and may be out of date: do not let it wake.");
    }
    if case.root().is_some_and(|r| r.errors) {
        advice.push_str(" Have its file system checked (`e2fsck -f`), and its disk.");
    }
    advice
}

fn first_step(verdict: &Verdict<'_>) -> Cow<'static, str> {
    let (a, case) = (&verdict.assessment, verdict.case);
    // What keeps it from starting comes before what is only advisable; where packages are half done, that is likely why.
    let packages_fine = !matches!(a.installation.value, Installation::Interrupted | Installation::Broken);
    if case.chain_break().is_some() && packages_fine && a.termination.value != Termination::Hibernated {
        return "See what `repair-boot` can put right (it shows first what it would write), or go back to the newest good snapshot; \
                both can be undone."
            .into();
    }
    if a.start.value == Start::Failed && a.start.confidence > Confidence::Weak {
        return "Go back to the newest good snapshot; the present state is saved first, so that this can be undone."
            .into();
    }
    if case.system.is_windows() {
        return windows(verdict).into();
    }
    match (a.installation.value, a.termination.value) {
        // Where it is no more than a hint, going back is no advice.
        (Installation::Interrupted | Installation::Broken, _)
            if a.installation.confidence == Confidence::Weak && a.packages.is_empty() =>
        {
            let mend = mend(case);
            format!("Take a snapshot, then start it; if packages turn out not to be in order there, {mend}.").into()
        }
        (Installation::Interrupted, _) => {
            let mend = mend(case);
            format!("Take a snapshot, then either go back to the newest good one, or start it and {mend}.").into()
        }
        (Installation::Broken, _) => {
            let mend = mend(case);
            format!("Take a snapshot, then start it and {mend}; if that fails, go back to the newest good snapshot.")
                .into()
        }
        (_, Termination::Hibernated) => {
            "Start it to wake it and shut it down, or go back to a snapshot: what was open and not saved is lost then."
                .into()
        }
        (_, Termination::Abrupt) => {
            "Take a snapshot before anything else; its file systems repair themselves when it starts. If it does not \
             start, go back to the newest good snapshot."
                .into()
        }
        (_, Termination::Clean) if a.change.value == Change::Unchanged => sure(
            &a.change,
            [
                "There is nothing to do: no file system was written since the last snapshot.",
                "There is nothing to do, as far as its file systems tell: nothing was written since the last snapshot.",
                "It may be that nothing was written since the last snapshot; another one does no harm.",
            ],
        )
        .into(),
        (_, Termination::Clean | Termination::Never) if a.is_good() && !damaged(case) => {
            "This is a good moment for a snapshot.".into()
        }
        _ => "Take a snapshot before anything else.".into(),
    }
}

/// What to do next about a Windows.
fn windows(verdict: &Verdict<'_>) -> &'static str {
    let (a, case) = (&verdict.assessment, verdict.case);
    match (a.installation.value, a.termination.value) {
        (_, Termination::Hibernated) => {
            "Start it and shut it down whole (`shutdown /s /t 0`) before anything writes to its disk; until then every byte of its volume \
             is saved, and it goes back asleep as it was."
        }
        (_, Termination::Abrupt) => "Take a snapshot before anything else; it repairs its file system when it starts.",
        (Installation::Interrupted, _) => {
            "Take a snapshot, then start it, so that it can finish what it has left to do."
        }
        _ if a.is_good() && !damaged(case) && case.windows_root().is_none_or(|r| !r.dirty) => {
            "This is a good moment for a snapshot."
        }
        _ => "Take a snapshot before anything else.",
    }
}

/// What puts packages in order again, in the words of who manages them.
fn mend(case: &Case<'_>) -> &'static str {
    match case.managed().map(|m| m.manager) {
        None | Some(PackageManager::Apt | PackageManager::Unattended) => {
            "run `dpkg --configure -a` and `apt-get -f install`"
        }
        Some(PackageManager::Dnf | PackageManager::Rpm) => {
            "run `dnf distro-sync` (or `rpm --verify -a`, to see what is wrong)"
        }
        Some(PackageManager::Zypper) => "run `zypper verify` and `zypper dup`",
        Some(PackageManager::Pacman) => "remove `/var/lib/pacman/db.lck`, if it is there, and run `pacman -Syu`",
        Some(PackageManager::Apk) => "run `apk fix`",
        Some(PackageManager::Other) => "have its package manager check what is installed",
    }
}

#[cfg(test)]
mod tests {
    use crate::rules::scene::Scene;
    use model::assessment::{Confidence, Installation};
    use model::evidence::{BootPart, EndKind};
    use model::id::{DiskNo, VolumePath};
    use model::inspection::{Finding, Severity};

    fn told(s: &Scene) -> String {
        s.assess().headline.as_str().to_owned()
    }

    #[test]
    fn in_order() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| {
            b.reach("graphical.target");
            b.stop(EndKind::Poweroff);
        });
        s.dpkg(&[], 0);
        assert_eq!(told(&s), "Shut down in order on 2026-11-18 11:40 UTC; nothing is wrong.");
        s.ext(|e| e.errors = 1);
        assert_eq!(told(&s), "Shut down in order on 2026-11-18 11:40 UTC; the file system recorded errors.");
    }

    #[test]
    fn what_starts_it_does_not_hold() {
        use crate::source::{evidence, test::at};
        use model::boot::{LinkPart, Way};
        use model::evidence::Fact;
        let mut s = Scene::new();
        s.boot(0, 1000, |b| {
            b.reach("graphical.target");
            b.stop(EndKind::Poweroff);
        });
        s.dpkg(&[], 0);
        let broken = |part, way, says: &str| evidence(&at("/x"), Fact::ChainBroken { part, way }, says, None);
        s.facts.push(broken(LinkPart::Fallback, Way::Uefi, "there is no boot loader"));
        let ended = "Shut down in order on 2026-11-18 11:40 UTC";
        assert_eq!(told(&s), format!("{ended}; it will probably not start, from UEFI: there is no boot loader."));
        assert!(s.assess().advice.as_str().contains("repair-boot"), "{}", s.assess().advice);
        // One that every start comes to is told first; and it is no word about how it was left.
        s.facts.push(broken(LinkPart::Kernel, Way::Any, "there is no kernel"));
        assert_eq!(told(&s), format!("{ended}; it will probably not start: there is no kernel."));
        assert!(s.assess().is_good());
    }

    #[test]
    fn cut_off_amid_packages() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.boot(0, 1000, |b| b.reach("graphical.target"));
        s.dpkg(
            &[
                ("libc6:amd64", "half-installed"),
                ("tar", "half-installed"),
                ("vim", "half-installed"),
                ("x", "half-installed"),
            ],
            2,
        );
        assert_eq!(
            told(&s),
            "It lost power or crashed around 2026-11-18 11:40 UTC; an installation was cut short: 4 packages are half installed \
             (libc6, tar, vim, ...)."
        );
        // The log tells that it was in this session, in UTC or in a zone to the east.
        for zone in [0, 2 * 3600] {
            let mut s = s.clone();
            s.apt(false, false, 1500 + zone);
            assert_eq!(
                told(&s),
                "It was cut off while packages were being installed: 4 packages are half installed (libc6, tar, vim, ...)."
            );
        }
        // An earlier session's.
        s.apt(false, false, 100);
        assert!(told(&s).starts_with("It lost power or crashed around"));
    }

    #[test]
    fn software_cut_short_in_a_session_that_ended_in_order() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Reboot));
        s.dpkg(&[("tar", "unpacked")], 2);
        assert_eq!(
            told(&s),
            "Shut down in order on 2026-11-18 11:40 UTC; an installation was cut short: 1 package is not in order (tar)."
        );
    }

    /// A weak sign leads to no more than care.
    #[test]
    fn advice_is_no_surer_than_what_it_follows_from() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        let fact = model::evidence::Fact::Transaction {
            manager: model::evidence::PackageManager::Zypper,
            age: 0,
            command: "zypper up".into(),
            ended: false,
            failed: false,
            packages: vec![],
        };
        s.fact("/var/log/zypp/history", fact);
        let a = s.assess();
        assert_eq!((a.installation.value, a.installation.confidence), (Installation::Interrupted, Confidence::Weak));
        assert!(!a.advice.as_str().to_lowercase().contains("go back"), "{}", a.advice);
        assert!(a.headline.as_str().contains("may have been cut short"), "{}", a.headline);
    }

    #[test]
    fn damaged_disks_are_not_praised() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| {
            b.reach("graphical.target");
            b.stop(EndKind::Poweroff);
        });
        s.dpkg(&[], 0);
        assert_eq!(s.assess().advice.as_str(), "This is a good moment for a snapshot.");
        let mut finding = |severity| {
            let volume = VolumePath::whole(DiskNo(0));
            let (says, advice) = ("the primary partition table is damaged".into(), "".into());
            s.inspection.findings.push(Finding { severity, volume, says, advice });
            (told(&s), s.assess().advice.as_str().to_owned())
        };
        let (headline, advice) = finding(Severity::Note);
        assert!(headline.ends_with("; nothing is wrong."), "{headline}");
        assert_eq!(advice, "This is a good moment for a snapshot.");
        let (headline, advice) = finding(Severity::Warning);
        assert_eq!(headline, "Shut down in order on 2026-11-18 11:40 UTC.");
        assert_eq!(advice, "Take a snapshot before anything else.");
    }

    #[test]
    fn cannot_start() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Reboot));
        s.part("/usr/lib/x86_64-linux-gnu/libc.so.6", BootPart::Libc, Some("the C library (libc.so.6) is missing"));
        assert_eq!(told(&s), "It cannot start: the C library (libc.so.6) is missing.");
        assert!(s.assess().advice.as_str().starts_with("Go back to the newest good snapshot"));
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Reboot));
        s.part("/boot/vmlinuz-6.1-amd64", BootPart::Kernel, None);
        assert_eq!(told(&s), "It probably cannot start: kernel 6.1-amd64 has no initial RAM file system in /boot.");
        // That it was never started does not hide what is missing.
        let mut s = Scene::new();
        s.ext(|e| (e.mount_count, e.mounted_at) = (0, 0));
        s.part("/usr/lib/x86_64-linux-gnu/libc.so.6", BootPart::Libc, Some("the C library (libc.so.6) is missing"));
        assert_eq!(told(&s), "It probably cannot start: the C library (libc.so.6) is missing.");
    }

    #[test]
    fn power_loss() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.boot(0, 1000, |b| b.reach("graphical.target"));
        s.dpkg(&[], 0);
        assert_eq!(told(&s), "It lost power or crashed around 2026-11-18 11:40 UTC.");
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        assert_eq!(told(&s), "Probably it lost power or crashed.");
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.boot(0, 1000, |b| b.sleep());
        assert_eq!(told(&s), "Probably it lost power while it was asleep around 2026-11-18 11:40 UTC.");
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.boot(0, 1000, |b| b.panic());
        assert_eq!(told(&s), "It stopped after a fault of the kernel around 2026-11-18 11:40 UTC.");
    }

    #[test]
    fn asleep_or_never_or_unknown() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.swap(true);
        s.boot(0, 1000, |b| b.sleep());
        assert_eq!(told(&s), "It is hibernated: asleep on disk, with its programs open.");
        let mut s = Scene::new();
        s.ext(|e| (e.mount_count, e.mounted_at) = (0, 0));
        assert_eq!(told(&s), "It was never started.");
        let mut s = Scene::new();
        s.unrecognised_root();
        assert_eq!(told(&s), "How it was last shut down cannot be told.");
    }

    #[test]
    fn a_stale_image_is_warned_of() {
        let mut s = Scene::new();
        s.swap(true);
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        assert!(s.assess().advice.as_str().contains("do not let it wake"));
    }

    #[test]
    fn emergency_and_broken() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| {
            b.fall();
            b.stop(EndKind::Reboot);
        });
        s.dpkg(&[("x", "half-configured")], 0);
        assert_eq!(
            told(&s),
            "Shut down in order on 2026-11-18 11:40 UTC; its last start ended in emergency mode, and 1 package is not in order (x)."
        );
    }
}
