//! systemd's journal: which boots a file tells of, and how each began and ended.
//!
//! A boot may have millions of entries. Of each, only a run at its beginning (where targets are reached) and at its end (where
//! it is stopped or falls silent) is read; where a boot begins is found by bisection, since entries lie in order.

#[cfg(test)]
mod entries;
mod event;
mod file;

use super::{evidence, stamp, unreadable};
use crate::want::JOURNAL_READS;
use event::{Event, Fields};
use file::{Entry, Journal};
use model::evidence::{EndKind, Evidence, Fact, JournalOrder, Moment, MomentKind, Origin, StartedKernel};
use model::ports::{ReadAt, UnixMicros};
use model::text::DisplayText;
use std::ops::Range;

/// Most boots told of one file.
const MOST_BOOTS: usize = 8;
/// Entries read at each end of the newest boots of a file, and of older ones.
const NEAR: (usize, u64) = (2, 8192);
const FAR: u64 = 1024;
/// A sleeping machine writes nothing: an entry this much later (in microseconds) means that it woke.
const AWAKE_AFTER: u64 = 300_000_000;
/// Most moments told of a boot.
const MOST_MOMENTS: usize = 16;
/// Entries as near to each other as this (in microseconds) tell of one sleep, one waking, one fault.
const SAME_MOMENT: i64 = 10_000_000;

/// Reads a journal file.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let mut journal = match Journal::open(file, JOURNAL_READS) {
        Ok(journal) => journal,
        Err(e) => return vec![unreadable(origin, "a journal file", &e.0)],
    };
    let boots = boots(&mut journal);
    let mut found = vec![file_evidence(origin, &journal)];
    found.extend(boots.into_iter().map(|fact| {
        let (says, last) = (crate::combine::boot_says(&fact), last_of(&fact));
        evidence(origin, fact, &says, Some(stamp(last)))
    }));
    if let Some(why) = &journal.damage {
        found.push(unreadable(origin, "part of a journal file", why));
    }
    found
}

fn file_evidence(origin: &Origin, journal: &Journal<'_>) -> Evidence {
    let state = journal.header.state;
    let disordered = origin.path.as_ref().is_some_and(|p| p.0.ends_with(b"~"));
    let says = match (state, disordered) {
        (_, true) => "this journal file was found not closed by a later boot".to_owned(),
        (0, _) => "the journal file is closed".to_owned(),
        (1, _) => "the journal file was never closed".to_owned(),
        (2, _) => "the journal file was rotated".to_owned(),
        (other, _) => format!("the journal file is in a state ({other}) that this version does not know"),
    };
    let tail = i64::try_from(journal.header.tail_entry_realtime).unwrap_or(i64::MAX);
    evidence(origin, Fact::JournalFile { state, disordered }, &says, Some(stamp(UnixMicros(tail))))
}

fn last_of(fact: &Fact) -> UnixMicros {
    if let Fact::Boot { last, .. } = fact { *last } else { UnixMicros(0) }
}

/// The boots of a file, newest first.
fn boots(journal: &mut Journal<'_>) -> Vec<Fact> {
    let mut fields = Fields::default();
    let mut found = Vec::new();
    let mut end = journal.end();
    while end > 0 && found.len() < MOST_BOOTS && !fields.exhausted() {
        let Some(last) = journal.entry(end - 1) else { break };
        let start = start_of(journal, &last, end);
        let near = if found.len() < NEAR.0 { NEAR.1 } else { FAR };
        let boot = boot(journal, &mut fields, &last, start..end, near, found.len());
        // A start that was not read to its end would be told wrongly.
        if fields.exhausted() {
            journal.damaged("its entries have more fields than are read of one file".into());
            break;
        }
        found.push(boot);
        end = journal.readable_before(start);
    }
    found
}

/// The index of the first entry of the boot whose last entry is `last`, at `end - 1`.
fn start_of(journal: &mut Journal<'_>, last: &Entry, end: u64) -> u64 {
    /// How far to look for a readable entry beside an unreadable one.
    const BESIDE: u64 = 32;
    let (mut low, mut high) = (0, end - 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let same = (middle..high.min(middle + BESIDE))
            .find_map(|i| journal.entry(i))
            .is_none_or(|e| e.boot_id == last.boot_id);
        if same { high = middle } else { low = middle + 1 }
    }
    low
}

fn boot(
    journal: &mut Journal<'_>,
    fields: &mut Fields,
    last: &Entry,
    range: Range<u64>,
    near: u64,
    age: usize,
) -> Fact {
    let mut tale = Tale::default();
    let mut first = last.clone();
    let head_end = range.end.min(range.start + near);
    let tail_start = range.end.saturating_sub(near).max(head_end);
    for index in (range.start..head_end).chain(tail_start..range.end) {
        if fields.exhausted() {
            break;
        }
        let Some(entry) = journal.entry(index) else { continue };
        if entry.seqnum < first.seqnum {
            first = entry.clone();
        }
        let event = fields.event(journal, &entry);
        tale.next(entry.realtime, event);
    }
    let time = |t: u64| UnixMicros(i64::try_from(t).unwrap_or(i64::MAX));
    Fact::Boot {
        boot_id: hex(&last.boot_id),
        age: u32::try_from(age).unwrap_or(u32::MAX),
        first: time(first.realtime),
        last: time(last.realtime),
        journal_stopped: tale.stopped,
        startup_finished: tale.startup_finished,
        reached_target: tale.target.as_deref().map(DisplayText::new),
        emergency: tale.emergency,
        ended: tale.ended.or(tale.requested.filter(|_| tale.stopped)),
        asleep: tale.asleep_since.is_some(),
        panicked: tale.panicked,
        order: Some(JournalOrder { counter: hex(&journal.header.seqnum_id), first: first.seqnum, last: last.seqnum }),
        moments: tale.moments,
        kernel: tale.kernel.map(|release| StartedKernel {
            release: DisplayText::new(&release),
            initramfs: tale.initramfs,
            rescue_asked: tale.rescue_asked,
        }),
        handed_back: tale.handed_back,
        asked: tale.requested,
    }
}

/// A boot as its entries tell it, one after the other.
#[derive(Debug, Default)]
struct Tale {
    stopped: bool,
    startup_finished: bool,
    target: Option<String>,
    emergency: bool,
    requested: Option<EndKind>,
    ended: Option<EndKind>,
    asleep_since: Option<u64>,
    panicked: bool,
    /// Oldest first.
    moments: Vec<Moment>,
    kernel: Option<String>,
    initramfs: bool,
    rescue_asked: bool,
    handed_back: bool,
}

impl Tale {
    fn next(&mut self, realtime: u64, event: Option<Event>) {
        // `Journal stopped` is also written where only journald is restarted: then something follows.
        self.stopped = event == Some(Event::JournalStopped);
        if self.asleep_since.is_some_and(|since| realtime > since.saturating_add(AWAKE_AFTER)) {
            self.asleep_since = None;
            self.moment(realtime, MomentKind::Woke);
        }
        match event {
            None | Some(Event::JournalStopped) => {}
            Some(Event::StartupFinished) => self.startup_finished = true,
            Some(Event::Reached(target)) => {
                self.emergency = false;
                if self.target.as_deref() != Some("graphical.target") {
                    self.target = Some(target);
                }
            }
            // Who goes there by hand once it is up has started.
            Some(Event::Emergency) => self.emergency |= self.target.is_none(),
            Some(Event::Requested(kind)) => self.requested = Some(kind),
            Some(Event::Ended(kind)) => self.ended = Some(kind),
            Some(Event::SleepStart) => {
                self.asleep_since = Some(realtime);
                self.moment(realtime, MomentKind::Slept);
            }
            Some(Event::SleepStop) => {
                self.asleep_since = None;
                self.moment(realtime, MomentKind::Woke);
            }
            Some(Event::Panic) => {
                self.panicked = true;
                self.moment(realtime, MomentKind::Fault);
            }
            Some(Event::Kernel(release)) => {
                (self.kernel, self.initramfs, self.rescue_asked) = (Some(release), false, false);
            }
            Some(Event::Initramfs) => self.initramfs = true,
            Some(Event::RescueAsked) => self.rescue_asked = true,
            Some(Event::SoftReboot) => {
                (self.target, self.startup_finished, self.emergency) = (None, false, false);
                (self.requested, self.ended) = (None, None);
            }
            Some(Event::HandedBack) => self.handed_back = true,
            Some(Event::TakenUp) => self.handed_back = false,
        }
    }

    /// Notes a moment, once: systemd, logind and the kernel each write of a sleep, and what the kernel wrote before it is seen by
    /// journald only after it.
    fn moment(&mut self, realtime: u64, what: MomentKind) {
        let at = UnixMicros(i64::try_from(realtime).unwrap_or(i64::MAX));
        let before = self.moments.last();
        let near = before.is_some_and(|m| at.0.saturating_sub(m.at.0) <= SAME_MOMENT);
        let slept = before.is_some_and(|m| m.what == MomentKind::Slept);
        let told = match what {
            MomentKind::Slept => slept || (near && before.is_some_and(|m| m.what == MomentKind::Woke)),
            MomentKind::Woke => !slept,
            MomentKind::Fault => near && before.is_some_and(|m| m.what == MomentKind::Fault),
        };
        if told {
            return;
        }
        if self.moments.len() >= MOST_MOMENTS {
            self.moments.remove(0);
        }
        self.moments.push(Moment { at, what });
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tale(events: &[(u64, Option<Event>)]) -> Tale {
        let mut tale = Tale::default();
        for (seconds, event) in events {
            tale.next(seconds * 1_000_000, event.clone());
        }
        tale
    }

    #[test]
    fn a_stop_counts_only_at_the_end() {
        assert!(tale(&[(1, None), (2, Some(Event::JournalStopped))]).stopped);
        assert!(!tale(&[(1, Some(Event::JournalStopped)), (2, None)]).stopped);
    }

    #[test]
    fn a_machine_that_writes_is_awake() {
        assert!(tale(&[(1, Some(Event::SleepStart)), (2, None)]).asleep_since.is_some());
        assert!(tale(&[(1, Some(Event::SleepStart)), (9000, None)]).asleep_since.is_none());
        assert!(tale(&[(1, Some(Event::SleepStart)), (2, Some(Event::SleepStop))]).asleep_since.is_none());
    }

    #[test]
    fn a_sleep_is_one_moment_however_many_write_of_it() {
        let told = |events: &[(u64, Option<Event>)]| {
            let moments = tale(events).moments;
            moments.iter().map(|m| (m.at.0 / 1_000_000, m.what)).collect::<Vec<_>>()
        };
        let (start, stop) = (Some(Event::SleepStart), Some(Event::SleepStop));
        // logind, systemd-sleep and the kernel before it, and after it the kernel's older line, its newer one, and systemd-sleep.
        let events = [
            (100, start.clone()),
            (101, start.clone()),
            (101, start.clone()),
            (9000, start.clone()),
            (9000, stop.clone()),
            (9001, stop.clone()),
            (9100, None),
        ];
        assert_eq!(told(&events), [(100, MomentKind::Slept), (9000, MomentKind::Woke)]);
        assert!(tale(&events).asleep_since.is_none());
        let fault = Some(Event::Panic);
        assert_eq!(told(&[(5, fault.clone()), (6, fault.clone())]), [(5, MomentKind::Fault)]);
        let many: Vec<_> = (0..40).map(|n| (n * 1000, if n % 2 == 0 { start.clone() } else { stop.clone() })).collect();
        let many = told(&many);
        assert_eq!((many.len(), many.last().copied()), (MOST_MOMENTS, Some((39_000, MomentKind::Woke))));
    }

    #[test]
    fn emergency_ends_where_the_target_is_reached() {
        let reached = |t: &str| Some(Event::Reached(t.into()));
        let t =
            tale(&[(1, Some(Event::Emergency)), (2, reached("graphical.target")), (3, reached("multi-user.target"))]);
        assert!(!t.emergency);
        assert_eq!(t.target.as_deref(), Some("graphical.target"));
        let by_hand = tale(&[(1, reached("multi-user.target")), (9, Some(Event::Emergency))]);
        assert!(!by_hand.emergency && by_hand.target.is_some());
    }

    #[test]
    fn what_was_reached_before_a_soft_reboot_does_not_count() {
        let reached = Some(Event::Reached("multi-user.target".into()));
        let up = [(1, reached.clone()), (2, Some(Event::StartupFinished)), (3, Some(Event::SoftReboot))];
        let t = tale(&up);
        assert_eq!((t.target, t.startup_finished), (None, false));
        assert!(tale(&[&up[..], &[(4, reached)]].concat()).target.is_some());
    }

    #[test]
    fn a_journal_that_was_handed_back_may_be_taken_up() {
        let back = (1, Some(Event::HandedBack));
        assert!(tale(&[back.clone(), (2, None)]).handed_back);
        assert!(!tale(&[back, (2, Some(Event::TakenUp))]).handed_back);
    }
}
