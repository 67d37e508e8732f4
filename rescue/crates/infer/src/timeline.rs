//! What the machine did, one thing after the other: its starts, how each session ended, sleeps, faults of the kernel, and
//! package operations, put in order out of the evidence.
//!
//! What one source tells stays in that source's own order (the journal's numbers, the lines of a log): only between sources the clock
//! decides, and of a local time without a zone it may be wrong by some hours. Nothing is said more surely here than the record
//! has it: a session without an end is one whose records break off, not a crash.

use crate::combine::end_word;
use crate::rules::{Boot, Case};
use crate::source::stamp;
use model::evidence::{
    ClockTrust, EndKind, Evidence, EvidenceId, Fact, MomentKind, PackageManager, RecordedStart, Stamp,
};
use model::inspection::{Inspection, System};
use model::ports::UnixMicros;
use model::text::DisplayText;
use model::timeline::{Occurred, Occurrence, OperationEnd};

/// Most occurrences told.
const MOST: usize = 64;
/// Packages named in a sentence.
const MOST_NAMED: usize = 4;
/// Longest name of one.
const MOST_NAME: usize = 40;
/// A start in the login record is the journal's where it lies this near to it (in microseconds): the clock is often set in between.
const SAME_START: i64 = 600_000_000;

/// What the records of a system tell of what it did, newest first; at most 64 occurrences.
///
/// `evidence` is that of [`crate::combine`].
pub fn timeline(system: &System, inspection: &Inspection, evidence: &[Evidence]) -> Vec<Occurrence> {
    let case = Case::new(system, inspection, evidence, None);
    let mut streams = vec![sessions(&case)];
    let managers = [
        PackageManager::Apt,
        PackageManager::Rpm,
        PackageManager::Dnf,
        PackageManager::Zypper,
        PackageManager::Pacman,
        PackageManager::Apk,
        PackageManager::Unattended,
        PackageManager::Other,
    ];
    streams.extend(managers.map(|manager| operations(evidence, manager)));
    streams.extend([dpkg_log(evidence), rpm_alone(evidence), deaths(evidence), init_log(&case), last_signs(&case)]);
    let mut all = merged(streams);
    all.reverse();
    all.truncate(MOST);
    all
}

/// One list of several, each of which is in order already: oldest first.
fn merged(streams: Vec<Vec<Occurrence>>) -> Vec<Occurrence> {
    let mut all: Vec<(i64, Occurrence)> = Vec::new();
    for stream in streams {
        // What has no time that can be true stands behind what came before it.
        let mut latest = i64::MIN;
        for o in stream {
            let at = o.time.filter(|t| t.trust != ClockTrust::Suspect).map_or(i64::MIN, |t| t.at.0);
            latest = latest.max(at);
            all.push((latest, o));
        }
    }
    all.sort_by_key(|(at, _)| *at);
    all.into_iter().map(|(_, o)| o).collect()
}

fn occurrence(what: Occurred, time: Option<Stamp>, says: &str, source: &str, evidence: Vec<EvidenceId>) -> Occurrence {
    Occurrence { what, time, says: says.into(), source: source.into(), evidence }
}

/// A start in a login record, and the evidence that has it.
struct Login<'a> {
    start: RecordedStart,
    id: &'a EvidenceId,
}

/// The starts in login records, oldest first.
fn logins<'a>(case: &Case<'a>) -> Vec<Login<'a>> {
    let mut all: Vec<Login<'a>> = Vec::new();
    for e in case.evidence {
        let (Fact::WtmpLastBoot { ended, before, .. }, Some(time)) = (&e.fact, e.time) else { continue };
        let newest = RecordedStart { began: time.at, ended: *ended };
        // A login record has a few; what claims more is not worth the time.
        if all.len() > MOST {
            break;
        }
        for start in before.iter().take(MOST).rev().copied().chain([newest]) {
            // Of two records (wtmp, and wtmpdb which took its place) one is enough.
            let same = |l: &&mut Login<'_>| l.id != &e.id && near(l.start.began, start.began);
            match all.iter_mut().find(same) {
                Some(known) => known.start.ended = known.start.ended.or(start.ended),
                None => all.push(Login { start, id: &e.id }),
            }
        }
    }
    all.sort_by_key(|l| l.start.began);
    all
}

fn near(a: UnixMicros, b: UnixMicros) -> bool {
    a.0.abs_diff(b.0) <= SAME_START.unsigned_abs()
}

/// Starts and ends of sessions, and what happened in between, oldest first.
fn sessions(case: &Case<'_>) -> Vec<Occurrence> {
    let mut logins = logins(case);
    let mut boots: Vec<Vec<Occurrence>> = Vec::new();
    for boot in case.boots().iter().rev() {
        // A record may be of any of several starts that lie close together: the nearest.
        let of_boot = |l: &Login<'_>| near(l.start.began, boot.first);
        let nearest = (0..logins.len())
            .filter(|i| of_boot(&logins[*i]))
            .min_by_key(|i| logins[*i].start.began.0.abs_diff(boot.first.0));
        let login = nearest.map(|i| logins.remove(i));
        boots.push(session(boot, login.as_ref()));
    }
    // Starts that only the login record has stand among the others by the clock.
    let alone: Vec<Occurrence> = logins.iter().flat_map(recorded).collect();
    let mut all = merged(vec![boots.concat(), alone]);
    let told = |at: UnixMicros| all.iter().any(|o| o.time.is_some_and(|t| near(t.at, at)));
    if let Some(root) = case.root()
        && let Some((_, mounted_at)) = root.mounts
        && mounted_at > 0
        && !told(UnixMicros::from_seconds(mounted_at))
        && (case.started_after_journal() || (all.is_empty() && case.mounted_by_itself()))
    {
        let says = "its root file system was mounted to be written to: a start, of which no other record tells";
        let time = stamp(UnixMicros::from_seconds(mounted_at));
        all.push(occurrence(Occurred::Mounted, Some(time), says, "file system", vec![root.id.clone()]));
    }
    all
}

/// A session of the journal, oldest first.
fn session(boot: &Boot<'_>, login: Option<&Login<'_>>) -> Vec<Occurrence> {
    let id = || vec![boot.id.clone()];
    let of = |login: &Login<'_>| vec![boot.id.clone(), login.id.clone()];
    let (start_source, start_ids) = match login {
        Some(login) => ("journal, login record", of(login)),
        None => ("journal", id()),
    };
    let says = match (boot.emergency, boot.target) {
        (true, _) => "started; fell into emergency mode".to_owned(),
        (false, Some(target)) => format!("started; reached {target}"),
        (false, None) if boot.startup_finished => "started; came up".to_owned(),
        (false, None) => "started; nothing says how far it came".to_owned(),
    };
    let what = Occurred::Started { reached: boot.target.map(DisplayText::new), emergency: boot.emergency };
    let mut all = vec![occurrence(what, Some(stamp(boot.first)), &says, start_source, start_ids)];
    for moment in boot.moments.iter().take(MOST) {
        let (what, says) = match moment.what {
            MomentKind::Slept => (Occurred::Slept, "went to sleep"),
            MomentKind::Woke => (Occurred::Woke, "woke"),
            MomentKind::Fault => (Occurred::Fault, "the kernel reported a fault"),
        };
        all.push(occurrence(what, Some(stamp(moment.at)), says, "journal", id()));
    }
    let last = Some(stamp(boot.last));
    all.push(match login.and_then(|l| l.start.ended.map(|ended| (l, ended))) {
        _ if boot.stopped => occurrence(shut_down(boot.ended), last, &ended(boot.ended), "journal", id()),
        Some((login, at)) => {
            let says = "was shut down; the journal does not have the end of it";
            occurrence(shut_down(boot.ended), Some(stamp(at)), says, "login record", of(login))
        }
        None => occurrence(Occurred::BrokeOff, last, broke_off(boot), "journal", id()),
    });
    all
}

fn shut_down(how: Option<EndKind>) -> Occurred {
    Occurred::ShutDown { how }
}

fn ended(how: Option<EndKind>) -> String {
    how.map_or_else(|| "shut down in order".to_owned(), |how| format!("shut down in order ({})", end_word(how)))
}

fn broke_off(boot: &Boot<'_>) -> &'static str {
    match (boot.ended.is_some(), boot.asleep) {
        (true, _) => "its journal breaks off on the way down",
        (false, true) => "its journal breaks off: nothing says that it woke",
        (false, false) => "its journal breaks off: cut off, or the end of it was lost",
    }
}

/// A session that only the login record has, oldest first.
fn recorded(login: &Login<'_>) -> Vec<Occurrence> {
    let told = |what, at, says| occurrence(what, Some(stamp(at)), says, "login record", vec![login.id.clone()]);
    let started = Occurred::Started { reached: None, emergency: false };
    let says = if login.start.ended.is_some() { "started" } else { "started; no shutdown after it is on record" };
    let mut all = vec![told(started, login.start.began, says)];
    all.extend(login.start.ended.map(|at| told(shut_down(None), at, "was shut down")));
    all
}

/// The transactions of a package manager, oldest first.
fn operations(evidence: &[Evidence], wanted: PackageManager) -> Vec<Occurrence> {
    let mut all: Vec<(u32, Occurrence)> = evidence
        .iter()
        .filter_map(|e| match &e.fact {
            Fact::Transaction { manager, age, command, ended, failed, packages } if *manager == wanted => {
                let end = match (ended, failed) {
                    (_, true) => OperationEnd::Failed,
                    (true, false) => OperationEnd::Ended,
                    (false, false) => OperationEnd::Open,
                };
                let what = Occurred::Packages {
                    manager: wanted,
                    command: Some(command.clone()).filter(|c| !c.as_str().is_empty()),
                    ended: end,
                    packages: packages.iter().take(MOST).cloned().collect(),
                };
                let names = names(packages);
                let says = if names.is_empty() { e.says.to_string() } else { format!("{} ({names})", e.says) };
                Some((*age, occurrence(what, e.time, &says, history(wanted), vec![e.id.clone()])))
            }
            _ => None,
        })
        .collect();
    all.sort_by_key(|(age, _)| std::cmp::Reverse(*age));
    all.into_iter().map(|(_, o)| o).collect()
}

/// Whose record tells of a package manager's transactions.
fn history(manager: PackageManager) -> &'static str {
    match manager {
        PackageManager::Apt => "apt's history",
        PackageManager::Rpm => "rpm's database",
        PackageManager::Dnf => "dnf's history",
        PackageManager::Zypper => "zypper's history",
        PackageManager::Pacman => "pacman's log",
        PackageManager::Apk => "apk's log",
        PackageManager::Unattended => "unattended-upgrades' log",
        PackageManager::Other => "a package manager's records",
    }
}

/// `libc6, perl, tar, vim and 12 more`.
fn names(packages: &[DisplayText]) -> String {
    let named: Vec<String> = packages.iter().take(MOST_NAMED).map(|p| p.shortened(MOST_NAME)).collect();
    match packages.len().saturating_sub(MOST_NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

fn unnamed(manager: PackageManager, ended: OperationEnd) -> Occurred {
    Occurred::Packages { manager, command: None, ended, packages: Vec::new() }
}

/// The last line of dpkg's log: what it did by itself is in no history.
fn dpkg_log(evidence: &[Evidence]) -> Vec<Occurrence> {
    let told = |e: &Evidence| match &e.fact {
        Fact::DpkgLogTail { line } => {
            let says = format!("dpkg wrote last: {}", line.shortened(80));
            let what = unnamed(PackageManager::Apt, OperationEnd::Unknown);
            Some(occurrence(what, e.time, &says, "dpkg's log", vec![e.id.clone()]))
        }
        _ => None,
    };
    evidence.iter().filter_map(told).collect()
}

/// What rpm's database and leftovers tell, where nothing above rpm kept a history.
fn rpm_alone(evidence: &[Evidence]) -> Vec<Occurrence> {
    let above = |e: &Evidence| {
        matches!(e.fact, Fact::Transaction { manager: PackageManager::Dnf | PackageManager::Zypper, .. })
    };
    let alone = !evidence.iter().any(above);
    let mut all = Vec::new();
    for e in evidence.iter().filter(|e| e.time.is_some()) {
        let (says, end) = match &e.fact {
            Fact::Packages { manager: PackageManager::Rpm, .. } if alone => {
                ("the newest of rpm's packages was installed", OperationEnd::Unknown)
            }
            Fact::HalfReplaced { manager: PackageManager::Rpm, .. } => {
                ("a transaction of rpm began that was cut off: files of it are left", OperationEnd::Open)
            }
            _ => continue,
        };
        let what = unnamed(PackageManager::Rpm, end);
        // Leftovers of one transaction lie in several directories.
        let again = |o: &Occurrence| o.what == what && o.time == e.time;
        if all.len() < MOST && !all.iter().any(again) {
            let source = if end == OperationEnd::Open { "leftover files" } else { "rpm's database" };
            all.push(occurrence(what, e.time, says, source, vec![e.id.clone()]));
        }
    }
    all.sort_by_key(|o| o.time.map(|t| t.at));
    all
}

/// Kernels whose last words were kept, oldest first.
fn deaths(evidence: &[Evidence]) -> Vec<Occurrence> {
    let died = |e: &Evidence| match &e.fact {
        Fact::KernelDied { line } => {
            Some(occurrence(Occurred::Fault, e.time, &format!("the kernel died: {line}"), "pstore", vec![e.id.clone()]))
        }
        Fact::CrashKept { .. } => {
            let says = "the kernel died; the firmware keeps what it said";
            Some(occurrence(Occurred::Fault, e.time, says, "firmware", vec![e.id.clone()]))
        }
        _ => None,
    };
    let mut all: Vec<Occurrence> = evidence.iter().filter_map(died).collect();
    all.sort_by_key(|o| o.time.map(|t| t.at));
    all
}

/// The newest start in the log of an init program other than systemd, where no other record has it.
fn init_log(case: &Case<'_>) -> Vec<Occurrence> {
    if case.newest_boot().is_some() || case.wtmp().is_some() {
        return Vec::new();
    }
    let mut all = Vec::new();
    for e in case.evidence {
        let Fact::InitLog { reached, going_down } = &e.fact else { continue };
        if all.len() >= MOST {
            break;
        }
        let told = |what, time, says: &str| occurrence(what, time, says, "log of init", vec![e.id.clone()]);
        let started = Occurred::Started { reached: reached.clone(), emergency: false };
        let says = match reached {
            Some(level) => format!("started; reached {}", level.shortened(MOST_NAME)),
            None => "started; nothing says how far it came".to_owned(),
        };
        all.push(told(started, e.time, &says));
        // By the same clock, and as far to be trusted.
        let trust = e.time.map_or(ClockTrust::LocalNoZone, |t| t.trust);
        all.extend(going_down.map(|at| told(shut_down(None), Some(Stamp { at, trust }), "was shut down")));
    }
    all
}

/// The newest change in the root's own journal, where the newest session has no end.
fn last_signs(case: &Case<'_>) -> Vec<Occurrence> {
    if case.newest_boot().is_some_and(|b| b.stopped) {
        return Vec::new();
    }
    let commit = |e: &&Evidence| e.origin.volume == case.system.root && matches!(e.fact, Fact::LastCommit { .. });
    let told = |e: &Evidence| {
        let says = "the last change of its root file system: the last sign of life";
        occurrence(Occurred::LastSign, e.time, says, "file system", vec![e.id.clone()])
    };
    case.evidence.iter().find(commit).map(told).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::scene::{BEGIN, Scene};
    use crate::source::{evidence, test::at};

    fn told(s: &Scene) -> Vec<String> {
        let all = timeline(&s.system(), &s.inspection, &s.combined());
        let line = |o: &Occurrence| {
            let time = o.time.map_or_else(|| "-".to_owned(), |t| (t.at.0 / 1_000_000 - BEGIN).to_string());
            format!("{time} {} [{}]", o.says, o.source)
        };
        all.iter().map(line).collect()
    }

    #[test]
    fn sessions_in_order_with_what_happened_in_them() {
        let mut s = Scene::new();
        s.boot(1, 1000, |b| {
            b.reach("graphical.target");
            b.moment(BEGIN + 1200, MomentKind::Slept);
            b.moment(BEGIN + 1700, MomentKind::Woke);
            b.stop(EndKind::Reboot);
        });
        s.boot(0, 5000, |b| {
            b.reach("multi-user.target");
            b.moment(BEGIN + 5900, MomentKind::Fault);
        });
        s.apt(false, false, 5800);
        assert_eq!(
            told(&s),
            [
                "6000 its journal breaks off: cut off, or the end of it was lost [journal]",
                "5900 the kernel reported a fault [journal]",
                "5800 apt upgrade [apt's history]",
                "5000 started; reached multi-user.target [journal]",
                "2000 shut down in order (reboot) [journal]",
                "1700 woke [journal]",
                "1200 went to sleep [journal]",
                "1000 started; reached graphical.target [journal]",
            ]
        );
    }

    #[test]
    fn the_journals_numbers_outrank_the_clock() {
        // The clock of the newer start is an hour behind.
        let mut s = Scene::new();
        s.boot(1, 5000, |b| b.stop(EndKind::Poweroff));
        s.boot(0, 1400, |b| b.stop(EndKind::Poweroff));
        let times: Vec<String> = told(&s).iter().map(|l| l.split(' ').next().unwrap_or_default().to_owned()).collect();
        assert_eq!(times, ["2400", "1400", "6000", "5000"]);
    }

    #[test]
    fn a_clock_that_was_not_set_moves_nothing() {
        let mut s = Scene::new();
        s.boot(1, 1000, |b| b.stop(EndKind::Poweroff));
        s.boot(0, -BEGIN + 10, |b| b.last(1000));
        s.apt(true, false, 1500);
        let all = timeline(&s.system(), &s.inspection, &s.combined());
        let trust: Vec<_> = all.iter().map(|o| o.time.map(|t| t.trust)).collect();
        let (wrong, utc) = (Some(ClockTrust::Suspect), Some(ClockTrust::Utc));
        assert_eq!(trust, [wrong, wrong, utc, Some(ClockTrust::LocalNoZone), utc], "{all:#?}");
    }

    #[test]
    fn the_login_record_joins_the_journal() {
        let at_second = |s: i64| UnixMicros::from_seconds(BEGIN + s);
        let record = |ended: Option<i64>| Fact::WtmpLastBoot {
            shutdown_follows: ended.is_some(),
            run_level: None,
            ended: ended.map(at_second),
            before: vec![RecordedStart { began: at_second(-90_000), ended: Some(at_second(-80_000)) }],
            how: None,
        };
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.reach("multi-user.target"));
        let put = |s: &mut Scene, fact| {
            s.facts.push(evidence(&at("/var/log/wtmp"), fact, "", Some(stamp(at_second(990)))));
        };
        let mut ended = s.clone();
        put(&mut ended, record(Some(2100)));
        let older = ["-80000 was shut down [login record]", "-90000 started [login record]"];
        assert_eq!(
            told(&ended),
            [
                &[
                    "2100 was shut down; the journal does not have the end of it [login record]",
                    "1000 started; reached multi-user.target [journal, login record]"
                ],
                &older[..]
            ]
            .concat()
        );
        put(&mut s, record(None));
        assert_eq!(told(&s)[0], "2000 its journal breaks off: cut off, or the end of it was lost [journal]");
        assert_eq!(told(&s)[2..], older);
        // Starts that follow each other soon are not one.
        let mut s = Scene::new();
        let before = (1..4).map(|n| RecordedStart { began: at_second(-60 * n), ended: None }).collect();
        put(&mut s, Fact::WtmpLastBoot { shutdown_follows: false, run_level: None, ended: None, before, how: None });
        assert_eq!(told(&s).len(), 4, "{:?}", told(&s));
        // The same in two records is.
        put(&mut s, record(None));
        s.facts.last_mut().unwrap().origin = at("/var/log/wtmp.db");
        assert_eq!(told(&s).len(), 6, "{:?}", told(&s));
    }

    #[test]
    fn a_start_that_only_the_file_system_tells_of() {
        let mut s = Scene::new();
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        s.ext(|e| e.mounted_at = BEGIN + 9000);
        assert!(told(&s)[0].starts_with("9000 its root file system was mounted"), "{:?}", told(&s));
    }

    #[test]
    fn the_last_sign_of_life_follows_what_broke_off() {
        let mut s = Scene::new();
        s.ext(|e| (e.needs_recovery, e.last_commit_at) = (true, Some(BEGIN + 2050)));
        s.boot(0, 1000, |b| b.reach("graphical.target"));
        assert!(told(&s)[0].starts_with("2050 the last change of its root"), "{:?}", told(&s));
        let mut s = Scene::new();
        s.ext(|e| e.last_commit_at = Some(BEGIN + 2050));
        s.boot(0, 1000, |b| b.stop(EndKind::Poweroff));
        assert!(told(&s)[0].starts_with("2000 shut down in order"), "{:?}", told(&s));
    }

    #[test]
    fn packages_are_named_and_all_of_it_is_bounded() {
        let mut s = Scene::new();
        s.unrecognised_root();
        for age in 0..100 {
            let fact = Fact::Transaction {
                manager: PackageManager::Pacman,
                age,
                command: "pacman -Syu".into(),
                ended: true,
                failed: false,
                packages: (0..30).map(|n| DisplayText::new(&format!("p{n}"))).collect(),
            };
            let time = stamp(UnixMicros::from_seconds(BEGIN - i64::from(age)));
            s.facts.push(evidence(&at("/var/log/pacman.log"), fact, "pacman -Syu: ended", Some(time)));
        }
        assert_eq!(told(&s)[0], "0 pacman -Syu: ended (p0, p1, p2, p3 and 26 more) [pacman's log]");
        assert_eq!(told(&s)[1].split(' ').next(), Some("-1"));
        assert_eq!(told(&s).len(), MOST);
    }

    /// Whatever a parser says, this comes to an end, soon.
    #[test]
    fn more_than_there_can_be_is_survived() {
        let mut s = Scene::new();
        let starts = |n: i64| RecordedStart { began: UnixMicros(i64::MAX - n), ended: Some(UnixMicros(i64::MIN)) };
        for n in 0..5000 {
            let before: Vec<RecordedStart> = (0..100).map(|m| starts(n * 4_000_000_000 + m)).collect();
            let fact = Fact::WtmpLastBoot { shutdown_follows: true, run_level: None, ended: None, before, how: None };
            let time = Some(stamp(UnixMicros(n << 40)));
            s.facts.push(evidence(&at("/var/log/wtmp"), fact, "", time));
            let example = format!("/{n}").as_str().into();
            let left = Fact::HalfReplaced { manager: PackageManager::Rpm, count: 1, example };
            s.facts.push(evidence(&at("/usr/bin"), left, "", time));
        }
        let facts = s.facts.clone();
        let all = timeline(&s.system(), &s.inspection, &facts);
        assert_eq!(all.len(), MOST);
    }

    #[test]
    fn a_kernel_that_died_stands_where_it_did() {
        let mut s = Scene::new();
        s.boot(1, 1000, |b| b.last(BEGIN + 1500));
        s.boot(0, 3000, |b| b.stop(EndKind::Poweroff));
        let fact = Fact::KernelDied { line: "Kernel panic - not syncing: Fatal exception".into() };
        let time = stamp(UnixMicros::from_seconds(BEGIN + 1510));
        s.facts.push(evidence(&at("/var/lib/systemd/pstore/179604296/dmesg.txt"), fact, "", Some(time)));
        let all = told(&s);
        let died =
            all.iter().position(|l| l == "1510 the kernel died: Kernel panic - not syncing: Fatal exception [pstore]");
        assert_eq!(died, Some(2), "{all:?}");
    }

    #[test]
    fn a_start_that_only_the_log_of_init_has() {
        let mut s = Scene::new();
        s.unrecognised_root();
        let at_second = |s: i64| UnixMicros::from_seconds(BEGIN + s);
        let fact = Fact::InitLog { reached: Some("default".into()), going_down: Some(at_second(900)) };
        s.facts.push(evidence(&at("/var/log/rc.log"), fact, "", Some(stamp(at_second(10)))));
        assert_eq!(told(&s), ["900 was shut down [log of init]", "10 started; reached default [log of init]"]);
        s.login(true, '5');
        assert!(!told(&s).iter().any(|l| l.ends_with("[log of init]")), "{:?}", told(&s));
    }

    #[test]
    fn nothing_known_is_nothing_told() {
        let mut s = Scene::new();
        s.unrecognised_root();
        assert!(told(&s).is_empty());
    }
}
