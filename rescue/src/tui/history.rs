//! What a machine did, in words.

use super::words::{short, time};
use model::evidence::{ClockTrust, Stamp};
use model::snapshot::SnapshotSummary;
use model::timeline::{Occurrence, Operation};

/// Most columns of [`moment`].
pub const MOMENT: usize = 22;

/// When something happened, and by which clock: at most [`MOMENT`] columns.
pub fn moment(t: Option<Stamp>) -> String {
    let Some(t) = t else { return "(time not known)".into() };
    match t.trust {
        ClockTrust::Utc => format!("{} UTC", time(t.at)),
        ClockTrust::LocalNoZone => format!("{} local", time(t.at)),
        // A year of five digits is no time.
        ClockTrust::Suspect if t.at.civil().0 >= 2000 => "(clock wrong)".into(),
        ClockTrust::Suspect => "(clock not set)".into(),
    }
}

/// One thing that a machine did, behind its [`moment`]; whose record says so last.
pub fn occurrence(o: &Occurrence) -> String {
    format!("{} [{}]", o.says, o.source)
}

/// Where the last good state stands: before or after the newest package operation.
pub fn back_to(good: &SnapshotSummary, operation: &Operation, before: bool) -> String {
    let command = match operation.command.as_str() {
        "" => "the newest package operation".to_owned(),
        _ => format!("`{}`", operation.command.shortened(40)),
    };
    let stands = if before { "is from before" } else { "has in it already" };
    format!(
        "The last good state, {} of {} UTC, {stands} {command} ({}).",
        short(good.id),
        time(good.taken),
        moment(Some(operation.began))
    )
}

/// What is to be known of a list of what a machine did, where there is something: which of its times are not UTC.
pub fn clocks(told: &[Occurrence]) -> Option<&'static str> {
    let has = |trust| told.iter().any(|o| o.time.is_some_and(|t| t.trust == trust));
    match (has(ClockTrust::LocalNoZone), has(ClockTrust::Suspect)) {
        (true, false) => Some(
            "\"local\" is the machine's own time, of which the zone is not recorded: these may stand some hours off their place.",
        ),
        (false, true) => Some("Where the clock was wrong, the order is that of the records."),
        (true, true) => Some(
            "\"local\" is the machine's own time, of which the zone is not recorded: these may stand some hours off their place. \
             Where the clock was wrong, the order is that of the records.",
        ),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ports::UnixMicros;

    #[test]
    fn a_moment_says_which_clock_it_is_by() {
        for (seconds, trust, says) in [
            (1_795_000_000, ClockTrust::Utc, "2026-11-18 11:06 UTC"),
            (1_795_000_000, ClockTrust::LocalNoZone, "2026-11-18 11:06 local"),
            (10, ClockTrust::Suspect, "(clock not set)"),
            (i64::MAX / 1_000_000, ClockTrust::Suspect, "(clock wrong)"),
        ] {
            let told = moment(Some(Stamp { at: UnixMicros::from_seconds(seconds), trust }));
            assert_eq!(told, says);
            assert!(told.len() <= MOMENT);
        }
    }
}
