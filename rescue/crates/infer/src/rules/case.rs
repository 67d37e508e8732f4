//! The evidence of one system, as rules ask for it.

use super::Baseline;
use crate::source::boot_files::versioned;
use model::boot::Way;
use model::evidence::{
    BootPart, ClockTrust, EndKind, Evidence, EvidenceId, Fact, JournalOrder, LifeSign, Moment, Stamp, StartedKernel,
};
use model::inspection::{Content, ExtInfo, Inspection, NtfsLog, System};
use model::ports::UnixMicros;
use std::cmp::Ordering;

/// How much later than the journal's end (in microseconds) a mount belongs to another session. The root is mounted
/// some seconds before a start's first entry.
const ANOTHER_SESSION: i64 = 60_000_000;

/// How far a local time may be from UTC (in microseconds).
pub(super) const ZONE: i64 = 14 * 3600 * 1_000_000;

/// Where systemd keeps the seed of random numbers.
pub(crate) const SYSTEMD_STATE: &str = "/var/lib/systemd";

/// Everything a rule may look at.
pub(crate) struct Case<'a> {
    pub(crate) system: &'a System,
    pub(crate) inspection: &'a Inspection,
    pub(crate) evidence: &'a [Evidence],
    pub(crate) since: Option<Baseline<'a>>,
}

/// The root file system.
pub(crate) struct Root<'a> {
    pub(crate) id: &'a EvidenceId,
    pub(crate) info: Option<&'a ExtInfo>,
    /// It was in use and never closed.
    pub(crate) open: bool,
    /// It has a journal: without one `open` is no more than likely.
    pub(crate) has_journal: bool,
    pub(crate) errors: bool,
    /// How often it was mounted, and when last (seconds since 1970); `None` where it keeps neither, as XFS.
    pub(crate) mounts: Option<(u16, i64)>,
}

/// The root of a Windows.
pub(crate) struct WindowsRoot<'a> {
    pub(crate) id: &'a EvidenceId,
    pub(crate) dirty: bool,
    pub(crate) log: NtfsLog,
    pub(crate) hibernated: Option<bool>,
}

/// A start, as the journal tells it.
pub(crate) struct Boot<'a> {
    pub(crate) id: &'a EvidenceId,
    pub(crate) age: u32,
    pub(crate) first: UnixMicros,
    pub(crate) last: UnixMicros,
    pub(crate) stopped: bool,
    pub(crate) startup_finished: bool,
    pub(crate) target: Option<&'a str>,
    pub(crate) emergency: bool,
    pub(crate) ended: Option<EndKind>,
    pub(crate) asleep: bool,
    pub(crate) panicked: bool,
    pub(crate) moments: &'a [Moment],
    pub(crate) kernel: Option<&'a StartedKernel>,
    pub(crate) handed_back: bool,
    pub(crate) asked: Option<EndKind>,
    /// Where its entries stand among all of them, where known.
    pub(crate) order: Option<&'a JournalOrder>,
}

/// The newest start in the login record.
pub(crate) struct Wtmp<'a> {
    pub(crate) id: &'a EvidenceId,
    pub(crate) shutdown_follows: bool,
    pub(crate) run_level: Option<char>,
    /// Where init was told to go down.
    pub(crate) how: Option<EndKind>,
    pub(crate) at: Option<Stamp>,
}

/// The newest start in the log of an init program other than systemd.
pub(crate) struct InitLog<'a> {
    pub(crate) id: &'a EvidenceId,
    pub(crate) reached: bool,
    pub(crate) going_down: bool,
}

/// A boot entry whose starts are counted.
pub(crate) struct Tries<'a> {
    pub(crate) id: &'a EvidenceId,
    /// It is given up.
    pub(crate) used_up: bool,
    /// It was tried, and is not confirmed.
    pub(crate) tried: bool,
    /// No other entry may be started.
    pub(crate) alone: bool,
}

impl<'a> Case<'a> {
    pub(crate) fn new(
        system: &'a System,
        inspection: &'a Inspection,
        evidence: &'a [Evidence],
        since: Option<Baseline<'a>>,
    ) -> Self {
        Self { system, inspection, evidence, since }
    }

    pub(super) fn path(e: &Evidence) -> &[u8] {
        e.origin.path.as_ref().map_or(&[], |p| &p.0)
    }

    /// True where the places that tell of starts were looked at and understood: without that, finding none says little.
    pub(crate) fn looked_for_starts(&self) -> bool {
        let below = |e: &&Evidence| {
            [&b"/var/log/journal"[..], b"/var/log/wtmp", b"/var/lib/wtmpdb"]
                .iter()
                .any(|b| Self::path(e).starts_with(b))
        };
        let mut seen = self.evidence.iter().filter(below).peekable();
        seen.peek().is_some() && seen.all(|e| !matches!(e.fact, Fact::Unreadable { .. }))
    }

    /// What was looked for below these paths and was not there, or could not be understood.
    pub(crate) fn looked_at(&self, below: &[&str]) -> Vec<EvidenceId> {
        let nothing = |e: &&Evidence| matches!(e.fact, Fact::NotThere | Fact::Unreadable { .. });
        let here = |e: &&Evidence| below.iter().any(|b| Self::path(e).starts_with(b.as_bytes()));
        self.evidence.iter().filter(nothing).filter(here).map(|e| e.id.clone()).collect()
    }

    pub(crate) fn root(&self) -> Option<Root<'a>> {
        let info = match self.inspection.volume(&self.system.root).map(|v| &v.content) {
            Some(Content::Ext(info)) => Some(info),
            _ => None,
        };
        self.evidence.iter().filter(|e| e.origin.volume == self.system.root).find_map(|e| match e.fact {
            Fact::ExtState { needs_recovery, has_journal, valid, errors, mount_count, mounted_at } => Some(Root {
                id: &e.id,
                info,
                // With a journal, `s_state` keeps its valid bit while mounted.
                open: if has_journal { needs_recovery } else { !valid },
                has_journal,
                errors,
                mounts: Some((mount_count, mounted_at)),
            }),
            // Where the end of its log cannot be told, it is no more than likely that it was in use.
            Fact::XfsState { needs_recovery, log_head } => Some(Root {
                id: &e.id,
                info,
                open: needs_recovery,
                has_journal: log_head.is_some(),
                errors: false,
                mounts: None,
            }),
            // To unmount a btrfs ends a transaction, which empties the log. Without one nothing tells.
            Fact::BtrfsState { log: true, .. } => {
                Some(Root { id: &e.id, info, open: true, has_journal: true, errors: false, mounts: None })
            }
            _ => None,
        })
    }

    /// The root, where it is a Windows'.
    pub(crate) fn windows_root(&self) -> Option<WindowsRoot<'a>> {
        let own = self.evidence.iter().filter(|e| self.system.is_windows() && e.origin.volume == self.system.root);
        own.filter_map(|e| match e.fact {
            Fact::NtfsState { dirty, log, hibernated } => Some(WindowsRoot { id: &e.id, dirty, log, hibernated }),
            _ => None,
        })
        .next()
    }

    /// The file system that the journal of a start lies on, where that is another one than the root, and was never closed.
    pub(crate) fn open_journal(&self, boot: &Boot<'_>) -> Option<&'a EvidenceId> {
        let volume = self.evidence.iter().find(|e| e.id == *boot.id).map(|e| &e.origin.volume)?;
        let beside = self.evidence.iter().filter(|e| e.origin.volume == *volume && *volume != self.system.root);
        let open = |e: &&Evidence| match e.fact {
            Fact::ExtState { needs_recovery, has_journal, valid, .. } => needs_recovery || (!has_journal && !valid),
            Fact::XfsState { needs_recovery, .. } => needs_recovery,
            _ => false,
        };
        beside.filter(open).map(|e| &e.id).next()
    }

    /// The root is a btrfs that does not tell how it was left.
    pub(crate) fn untold_root(&self) -> Option<&'a EvidenceId> {
        let own = self.evidence.iter().filter(|e| e.origin.volume == self.system.root);
        own.filter(|e| matches!(e.fact, Fact::BtrfsState { log: false, .. })).map(|e| &e.id).next()
    }

    /// The starts the journal of this system tells of, newest first. Journals of other machines (a copied disk) do not count.
    pub(crate) fn boots(&self) -> Vec<Boot<'a>> {
        let ours = |e: &&Evidence| match (&self.system.machine_id, Self::path(e).strip_prefix(b"/var/log/journal/")) {
            (Some(id), Some(rest)) => rest.split(|b| *b == b'/').next().is_some_and(|d| d == id.as_bytes()),
            _ => true,
        };
        let mut boots: Vec<Boot<'a>> = self
            .evidence
            .iter()
            .filter(ours)
            .filter_map(|e| match &e.fact {
                Fact::Boot {
                    age,
                    first,
                    last,
                    journal_stopped,
                    startup_finished,
                    reached_target,
                    emergency,
                    ended,
                    asleep,
                    panicked,
                    order,
                    moments,
                    kernel,
                    handed_back,
                    asked,
                    ..
                } => Some(Boot {
                    id: &e.id,
                    age: *age,
                    first: *first,
                    last: *last,
                    stopped: *journal_stopped,
                    startup_finished: *startup_finished,
                    target: reached_target.as_ref().map(|t| t.as_str()),
                    emergency: *emergency,
                    ended: *ended,
                    asleep: *asleep,
                    panicked: *panicked,
                    moments,
                    kernel: kernel.as_ref(),
                    handed_back: *handed_back,
                    asked: *asked,
                    order: order.as_ref(),
                }),
                _ => None,
            })
            .collect();
        boots.sort_by_key(|b| b.age);
        boots
    }

    pub(crate) fn newest_boot(&self) -> Option<Boot<'a>> {
        self.boots().into_iter().next()
    }

    /// The mark of a start that the boot loader left and the system did not take away: GRUB's, or a counter of the only entry that was
    /// tried. With several counted ones, which was started last is not told.
    pub(crate) fn start_not_confirmed(&self) -> Option<EvidenceId> {
        let mark = self.evidence.iter().find(|e| e.fact == Fact::StartNotConfirmed).map(|e| e.id.clone());
        mark.or_else(|| {
            let tries = self.tries();
            let mut tried = tries.iter().filter(|t| t.tried && (!t.used_up || t.alone));
            tried.next().filter(|_| tried.next().is_none()).map(|t| t.id.clone())
        })
    }

    /// The mark of a start that a user's session confirmed.
    pub(crate) fn start_confirmed(&self) -> Option<EvidenceId> {
        self.evidence.iter().find(|e| e.fact == Fact::StartConfirmed).map(|e| e.id.clone())
    }

    /// The boot entries of this system whose starts are counted. Those that are named by another machine id are another system's.
    pub(crate) fn tries(&self) -> Vec<Tries<'a>> {
        let is_id = |token: &str| token.len() == 32 && token.bytes().all(|b| b.is_ascii_hexdigit());
        let ours = |entry: &str| {
            let token = entry.split('-').next().filter(|token| is_id(token));
            token.zip(self.system.machine_id.as_deref()).is_none_or(|(token, id)| token == id)
        };
        let counted = |e: &'a Evidence| match &e.fact {
            Fact::BootTries { entry, left, done, others } if ours(entry.as_str()) => {
                Some(Tries { id: &e.id, used_up: *left == 0, tried: *done > 0, alone: *others == 0 })
            }
            _ => None,
        };
        self.evidence.iter().filter_map(counted).collect()
    }

    pub(crate) fn init_log(&self) -> Option<InitLog<'a>> {
        self.evidence.iter().find_map(|e| match &e.fact {
            Fact::InitLog { reached, going_down } => {
                Some(InitLog { id: &e.id, reached: reached.is_some(), going_down: going_down.is_some() })
            }
            _ => None,
        })
    }

    /// True where the hardware clock keeps local time: what was written before the system corrected its own by the zone is off by it.
    fn clock_is_local(&self) -> bool {
        self.evidence.iter().any(|e| e.fact == Fact::HardwareClock { local: true })
    }

    /// A kernel died in the newest start, or after it: the firmware keeps its last words still.
    pub(crate) fn crash_kept(&self) -> Option<EvidenceId> {
        let began = self.newest_boot().map_or(i64::MIN, |b| b.first.0);
        let since = |e: &&Evidence| e.time.is_some_and(|t| t.trust == ClockTrust::Utc && t.at.0 >= began);
        let kept = self.evidence.iter().filter(|e| matches!(e.fact, Fact::CrashKept { .. }));
        kept.filter(since).max_by_key(|e| e.time.map(|t| t.at)).map(|e| e.id.clone())
    }

    /// Of several records (wtmp, and wtmpdb which took its place) the one that goes on.
    pub(crate) fn wtmp(&self) -> Option<Wtmp<'a>> {
        let records = self.evidence.iter().filter_map(|e| match e.fact {
            Fact::WtmpLastBoot { shutdown_follows, run_level, how, .. } => {
                Some(Wtmp { id: &e.id, shutdown_follows, run_level, how, at: e.time })
            }
            _ => None,
        });
        records.max_by_key(|w| w.at.map(|t| t.at))
    }

    /// True where the login record's newest start is (or may be) the journal's newest, or a later one. Where the system mounted its root
    /// after all that the journal tells, a start that the journal has is not the last one.
    pub(crate) fn wtmp_is_current(&self) -> bool {
        match (self.wtmp(), self.newest_boot()) {
            (Some(w), Some(b)) if self.started_after_journal() => w.at.is_some_and(|t| t.at >= b.last),
            (Some(w), Some(b)) => w.at.is_some_and(|t| t.at.0 >= b.first.0 - 10 * ANOTHER_SESSION),
            (Some(_), None) => true,
            (None, _) => false,
        }
    }

    /// The root was mounted for writing by the system itself (`s_last_mounted` is what its initramfs or kernel saw) after the
    /// newest start's journal ended.
    pub(crate) fn started_after_journal(&self) -> bool {
        let (Some(root), Some(boot)) = (self.root(), self.newest_boot()) else { return false };
        // The root is mounted before the system corrects a clock that keeps local time, or is wrong: then its first entry is newer than
        // its last.
        let slack = ANOTHER_SESSION + if self.clock_is_local() { ZONE } else { 0 };
        let end = boot.last.max(boot.first).0.saturating_add(slack);
        let after = |(_, at): (u16, i64)| UnixMicros::from_seconds(at).0 > end;
        self.mounted_by_itself() && root.mounts.is_some_and(after) && !self.mounted_by_hand()
    }

    /// The root was mounted and closed, and the seed that systemd saves in each start is older: somebody repaired it from another
    /// system. What is first opened by a program that has its root there makes `s_last_mounted` say `/`.
    fn mounted_by_hand(&self) -> bool {
        let Some((_, mounted)) = self.root().filter(|r| !r.open).and_then(|r| r.mounts) else { return false };
        let seed = |e: &&Evidence| {
            e.fact == Fact::SignOfLife { sign: LifeSign::SeedSaved } && Self::path(e) == SYSTEMD_STATE.as_bytes()
        };
        let seeds = self.evidence.iter().filter(seed).filter_map(|e| e.time);
        seeds.max_by_key(|t| t.at).is_some_and(|t| t.at.0 < UnixMicros::from_seconds(mounted).0)
    }

    /// systemd is installed, and the seed that it saves in each start is not there: it never started.
    pub(crate) fn no_seed(&self) -> Option<&'a EvidenceId> {
        let none = |e: &&Evidence| e.fact == Fact::NotThere && Self::path(e) == SYSTEMD_STATE.as_bytes();
        self.evidence.iter().find(none).map(|e| &e.id)
    }

    /// The root was made after everything that its files tell of starts: they were copied into it, from a backup or another machine.
    /// The evidence of that.
    pub(crate) fn copied_in(&self) -> Option<Vec<EvidenceId>> {
        let root = self.root()?;
        let made = UnixMicros::from_seconds(root.info?.made_at).0;
        let boot = self.newest_boot();
        let login = self.wtmp().and_then(|w| Some((w.id, w.at?.at)));
        let told = boot.map(|b| (b.id, b.last.max(b.first))).into_iter().chain(login);
        let told: Vec<(&EvidenceId, UnixMicros)> = told.collect();
        let alive = self.evidence.iter().filter(|e| matches!(e.fact, Fact::SignOfLife { .. })).filter_map(|e| e.time);
        let since =
            alive.map(|t| t.at).chain(told.iter().map(|(_, at)| *at)).any(|at| at.0.saturating_add(ZONE) > made);
        (!told.is_empty() && !since && !root.open)
            .then(|| std::iter::once(root.id).chain(told.iter().map(|(id, _)| *id)).cloned().collect())
    }

    /// The last mount of the root was a start's: `/` (no initramfs), `/root` (initramfs-tools), `/sysroot` (dracut, systemd).
    pub(crate) fn mounted_by_itself(&self) -> bool {
        let info = self.root().and_then(|r| r.info);
        info.is_some_and(|i| matches!(i.last_mounted.as_str(), "/" | "/root" | "/sysroot"))
    }

    /// The swap area in which a hibernated system stands.
    pub(crate) fn resume_image(&self) -> Option<&'a EvidenceId> {
        self.evidence.iter().find(|e| e.fact == Fact::SwapState { hibernated: true }).map(|e| &e.id)
    }

    pub(crate) fn first_boot_pending(&self) -> Option<&'a EvidenceId> {
        self.evidence.iter().find(|e| e.fact == Fact::FirstBootPending).map(|e| &e.id)
    }

    /// The last sign of life: the last entry of the newest start's journal or the file system's last commit; where there is neither, the
    /// newest of what is written now and then. A clock that went back makes an older start seem later: it does not count.
    pub(crate) fn last_alive(&self) -> Option<Stamp> {
        let newest = self.newest_boot().map(|b| b.id);
        let trusted = |wanted: &dyn Fn(&Evidence) -> bool| {
            let times = self.evidence.iter().filter(|e| wanted(e)).filter_map(|e| e.time);
            times.filter(|t| t.trust == ClockTrust::Utc).max_by_key(|t| t.at)
        };
        let last = |e: &Evidence| match e.fact {
            Fact::Boot { .. } => newest == Some(&e.id),
            Fact::LastCommit { .. } => e.origin.volume == self.system.root,
            _ => false,
        };
        let now_and_then = |e: &Evidence| matches!(e.fact, Fact::SignOfLife { .. } | Fact::HardwareClock { .. });
        trusted(&last).or_else(|| trusted(&now_and_then))
    }

    /// Boot parts of that kind: id, kernel version where the path tells one, and what is broken.
    pub(crate) fn parts(&self, wanted: BootPart) -> Vec<(&'a EvidenceId, Option<String>, Option<&'a str>)> {
        self.evidence
            .iter()
            .filter_map(|e| match &e.fact {
                Fact::BootPart { part, broken } if *part == wanted => {
                    let version = versioned(Self::path(e)).map(|(_, v)| v);
                    Some((&e.id, version, broken.as_ref().map(|b| b.as_str())))
                }
                _ => None,
            })
            .collect()
    }

    /// The first break of the boot chain: what was seen, and for which firmware it is one. Of breaks that any start comes to before those of
    /// one kind of firmware, which may not be this machine's.
    pub(crate) fn chain_break(&self) -> Option<(&'a str, Way)> {
        let breaks = self.evidence.iter().filter_map(|e| match e.fact {
            Fact::ChainBroken { way, .. } => Some((e.says.as_str(), way)),
            _ => None,
        });
        breaks.min_by_key(|(_, way)| *way != Way::Any)
    }

    /// True where a volume of its own is mounted at one of these: links from the root into it lead nowhere while it is not, so
    /// that what seems missing there may not be.
    pub(crate) fn hidden_below(&self, mounts: &[&str]) -> bool {
        self.system.other.iter().any(|(m, _)| mounts.contains(&m.as_str()))
    }

    /// Debian and what is made of it: where things lie is known.
    pub(crate) fn debian(&self) -> bool {
        matches!(self.system.os.0.as_str(), "debian" | "ubuntu" | "raspbian" | "linuxmint" | "devuan" | "kali" | "pop")
    }

    /// Text of the evidence of that id.
    pub(crate) fn fact(&self, id: &EvidenceId) -> Option<&'a Fact> {
        self.evidence.iter().find(|e| e.id == *id).map(|e| &e.fact)
    }
}

/// Orders versions as package managers do: runs of digits as numbers, everything else as text.
pub(crate) fn compare_versions(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let text = |s: &[u8]| s.iter().position(u8::is_ascii_digit).unwrap_or(s.len());
        let (i, j) = (text(a), text(b));
        match a[..i].cmp(&b[..j]) {
            Ordering::Equal => {}
            other => return other,
        }
        (a, b) = (&a[i..], &b[j..]);
        let digits = |s: &[u8]| s.iter().position(|c| !c.is_ascii_digit()).unwrap_or(s.len());
        let (i, j) = (digits(a), digits(b));
        let zeros = |s: &[u8]| s.iter().take_while(|c| **c == b'0').count();
        let (x, y) = (&a[zeros(&a[..i])..i], &b[zeros(&b[..j])..j]);
        match (x.len(), x).cmp(&(y.len(), y)) {
            Ordering::Equal => {}
            other => return other,
        }
        (a, b) = (&a[i..], &b[j..]);
        if a.is_empty() && b.is_empty() {
            return Ordering::Equal;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count() {
        for (a, b) in
            [("6.1.0-9-amd64", "6.1.0-18-amd64"), ("6.1", "6.10"), ("5.10.0-30", "6.1.0-1"), ("6.1", "6.1-rt")]
        {
            assert_eq!(compare_versions(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(compare_versions(b, a), Ordering::Greater, "{b} {a}");
        }
        assert_eq!(compare_versions("6.01", "6.1"), Ordering::Equal);
    }
}
