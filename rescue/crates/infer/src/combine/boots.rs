//! Boots over several journal files: pieces of one boot become one, and all are put in order.

use crate::source::{evidence, stamp};
use model::evidence::{EndKind, Evidence, Fact};
use model::ports::UnixMicros;
use std::collections::BTreeMap;

/// Most boots kept, newest first.
const MOST_BOOTS: usize = 12;
/// Most moments kept of each.
const MOST_MOMENTS: usize = 16;

/// Merges and orders the boots; all other evidence is left as it is.
pub(super) fn merge(all: Vec<Evidence>) -> Vec<Evidence> {
    let (boots, mut rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|e| matches!(e.fact, Fact::Boot { .. }));
    let mut by_id = BTreeMap::<String, Vec<Evidence>>::new();
    for e in boots {
        if let Fact::Boot { boot_id, .. } = &e.fact {
            by_id.entry(boot_id.clone()).or_default().push(e);
        }
    }
    let mut merged: Vec<Evidence> = by_id.into_values().filter_map(one).collect();
    // Numbers of one counter order for certain; between counters only the clock is left.
    let newest = newest(&merged);
    merged.sort_by_cached_key(|e| {
        let counter = counter(&e.fact);
        let group = newest.get(&counter).copied();
        std::cmp::Reverse((group, counter, numbers(&e.fact).1, times(&e.fact).1.0))
    });
    // Those of other machines, in folders of their own, take no place of these.
    let mut kept = BTreeMap::<Vec<u8>, usize>::new();
    merged.retain(|e| {
        let count = kept.entry(folder(e).to_vec()).or_default();
        *count += 1;
        *count <= MOST_BOOTS
    });
    for (i, e) in (0u32..).zip(&mut merged) {
        if let Fact::Boot { age, .. } = &mut e.fact {
            *age = i;
        }
        *e = evidence(&e.origin, e.fact.clone(), &says(&e.fact), Some(stamp(times(&e.fact).1)));
    }
    rest.append(&mut merged);
    rest
}

/// How new the newest entry of each counter is: that of the file that journald goes on writing, `system.journal`, is newer than all
/// others, whatever the clock said; then by the clock.
fn newest(boots: &[Evidence]) -> BTreeMap<String, (bool, i64)> {
    let mut newest = BTreeMap::<String, (bool, i64)>::new();
    for e in boots {
        let current = e.origin.path.as_ref().is_some_and(|p| p.0.ends_with(b"/system.journal"));
        let (is_current, at) = newest.entry(counter(&e.fact)).or_insert((false, i64::MIN));
        (*is_current, *at) = (*is_current || current, (*at).max(times(&e.fact).1.0));
    }
    newest
}

/// The folder of the journal file, which is named by its machine.
fn folder(e: &Evidence) -> &[u8] {
    let path = e.origin.path.as_ref().map_or(&[][..], |p| &p.0);
    path.rsplitn(2, |b| *b == b'/').nth(1).unwrap_or_default()
}

fn counter(fact: &Fact) -> String {
    match fact {
        Fact::Boot { order: Some(order), .. } => order.counter.clone(),
        _ => String::new(),
    }
}

fn numbers(fact: &Fact) -> (u64, u64) {
    match fact {
        Fact::Boot { order: Some(order), .. } => (order.first, order.last),
        _ => (0, 0),
    }
}

fn times(fact: &Fact) -> (UnixMicros, UnixMicros) {
    match fact {
        Fact::Boot { first, last, .. } => (*first, *last),
        _ => (UnixMicros(0), UnixMicros(0)),
    }
}

/// One boot of its pieces. What its end says (stopped, asleep, ended) is the last piece's to say.
fn one(mut pieces: Vec<Evidence>) -> Option<Evidence> {
    // As below: numbers order the pieces of one counter, and of two (a journal of its own that a unit keeps) the clock does.
    let newest = newest(&pieces);
    pieces.sort_by_cached_key(|e| {
        let counter = counter(&e.fact);
        (newest.get(&counter).copied(), counter, numbers(&e.fact), times(&e.fact))
    });
    let mut pieces = pieces.into_iter();
    let mut whole = pieces.next()?;
    for piece in pieces {
        if let (
            Fact::Boot {
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
            },
            Fact::Boot {
                last: last_2,
                journal_stopped: stopped_2,
                startup_finished: finished_2,
                reached_target: target_2,
                emergency: emergency_2,
                ended: ended_2,
                asleep: asleep_2,
                panicked: panicked_2,
                order: order_2,
                moments: moments_2,
                kernel: kernel_2,
                handed_back: handed_back_2,
                asked: asked_2,
                ..
            },
        ) = (&mut whole.fact, piece.fact)
        {
            *last = last_2;
            *journal_stopped = stopped_2;
            *startup_finished |= finished_2;
            // Who goes there by hand once it is up has started.
            *emergency = (emergency_2 && reached_target.is_none()) || (*emergency && target_2.is_none());
            *kernel = kernel.take().or(kernel_2);
            *handed_back = handed_back_2;
            *asked = asked_2.or(*asked);
            *reached_target = target_2.or(reached_target.take());
            *ended = ended_2;
            *asleep = asleep_2;
            *panicked |= panicked_2;
            moments.extend(moments_2);
            moments.drain(..moments.len().saturating_sub(MOST_MOMENTS));
            if let (Some(order), Some(order_2)) = (order.as_mut(), order_2)
                && order.counter == order_2.counter
            {
                order.last = order.last.max(order_2.last);
            }
            whole.origin = piece.origin;
        }
    }
    Some(whole)
}

/// A boot in words.
pub(crate) fn says(fact: &Fact) -> String {
    let Fact::Boot {
        boot_id,
        first,
        last,
        journal_stopped,
        reached_target,
        emergency,
        ended,
        asleep,
        panicked,
        startup_finished,
        ..
    } = fact
    else {
        return String::new();
    };
    let id = boot_id.get(..8).unwrap_or(boot_id);
    let start = match (emergency, reached_target, startup_finished) {
        (true, ..) => "fell into emergency mode".to_owned(),
        (false, Some(target), _) => format!("reached {target}"),
        (false, None, true) => "finished starting".to_owned(),
        (false, None, false) => "nothing says how far it came".to_owned(),
    };
    let end = match (journal_stopped, ended, asleep) {
        (true, Some(kind), _) => format!("shut down in order ({})", end_word(*kind)),
        (true, None, _) => "its journal was stopped in order".to_owned(),
        (false, Some(kind), _) => format!("was on its way down ({}), the end is not recorded", end_word(*kind)),
        (false, None, true) => "was going to sleep, and nothing says that it woke".to_owned(),
        (false, None, false) => "its journal breaks off".to_owned(),
    };
    let fault = if *panicked { "; the kernel reported a fault" } else { "" };
    format!("the start {id} ({first} to {last} UTC) {start}; {end}{fault}")
}

/// A kind of shutdown in a word.
pub(crate) fn end_word(kind: EndKind) -> &'static str {
    match kind {
        EndKind::Poweroff => "power off",
        EndKind::Reboot => "reboot",
        EndKind::Halt => "halt",
        EndKind::Kexec => "kexec",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::scene::boot;
    use crate::source::test::at;
    use model::evidence::JournalOrder;
    use model::text::DisplayText;

    fn piece(id: &str, counter: &str, numbers: (u64, u64), seconds: i64, change: impl FnOnce(&mut Fact)) -> Evidence {
        let mut fact = boot(id, seconds, seconds + 10);
        if let Fact::Boot { order, .. } = &mut fact {
            *order = Some(JournalOrder { counter: counter.into(), first: numbers.0, last: numbers.1 });
        }
        change(&mut fact);
        evidence(&at("/var/log/journal/m/system.journal"), fact, "", None)
    }

    fn ages(all: Vec<Evidence>) -> Vec<(String, u32)> {
        let mut told: Vec<(String, u32)> = merge(all)
            .into_iter()
            .filter_map(|e| match e.fact {
                Fact::Boot { boot_id, age, .. } => Some((boot_id, age)),
                _ => None,
            })
            .collect();
        told.sort_by_key(|(_, age)| *age);
        told
    }

    #[test]
    fn numbers_order_where_the_clock_went_back() {
        // The newer boot has the older clock.
        let all = vec![piece("a", "c", (1, 50), 5000, |_| {}), piece("b", "c", (51, 90), 1000, |_| {})];
        assert_eq!(ages(all), [("b".into(), 0), ("a".into(), 1)]);
    }

    #[test]
    fn counters_are_ordered_by_the_clock() {
        let all = vec![
            piece("a", "old", (900, 950), 1000, |_| {}),
            piece("b", "new", (1, 50), 5000, |_| {}),
            piece("c", "new", (51, 60), 2000, |_| {}),
        ];
        assert_eq!(ages(all), [("c".into(), 0), ("b".into(), 1), ("a".into(), 2)]);
        // The pieces of one start, too: the name of a counter is chance.
        let own = piece("a", "1", (1, 9), 2000, |f| {
            if let Fact::Boot { journal_stopped, .. } = f {
                *journal_stopped = true;
            }
        });
        let merged = merge(vec![own, piece("a", "9", (1, 9), 1000, |_| {})]);
        assert!(matches!(merged[..], [Evidence { fact: Fact::Boot { journal_stopped: true, .. }, .. }]), "{merged:?}");
    }

    #[test]
    fn the_file_that_is_written_is_newest_whatever_the_clock_says() {
        let mut old = piece("a", "old", (1, 50), 9000, |_| {});
        old.origin = at("/var/log/journal/m/system@1.journal~");
        assert_eq!(ages(vec![old, piece("b", "new", (1, 50), 100, |_| {})]), [("b".into(), 0), ("a".into(), 1)]);
    }

    #[test]
    fn a_boot_over_two_files_is_one() {
        let first = piece("a", "c", (1, 50), 1000, |f| {
            if let Fact::Boot { reached_target, startup_finished, journal_stopped, .. } = f {
                *reached_target = Some(DisplayText::new("multi-user.target"));
                *startup_finished = true;
                *journal_stopped = true; // journald was restarted where the file was rotated
            }
        });
        let second = piece("a", "c", (51, 70), 2000, |_| {});
        for all in [vec![first.clone(), second.clone()], vec![second, first]] {
            let merged = merge(all);
            let [Evidence { fact, .. }] = &merged[..] else { panic!("{merged:?}") };
            let Fact::Boot { reached_target, journal_stopped, first, last, order, .. } = fact else { panic!() };
            assert_eq!(reached_target.as_ref().unwrap().as_str(), "multi-user.target");
            assert!(!journal_stopped, "entries follow");
            assert_eq!((first.0, last.0), (1_000_000_000, 2_010_000_000));
            assert_eq!(order.as_ref().unwrap().last, 70);
        }
    }
}
