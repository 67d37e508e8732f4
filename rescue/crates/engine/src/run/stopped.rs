//! What becomes of a capture that does not reach its end: what it saved so far is put aside, and the next one goes on from there.
//!
//! That is done now and then as well, for a capture that nobody can stop in order: a power cut, a stick that is pulled out.

use super::capture::Capture;
use super::choice::at_most;
use super::{Meter, Stop};
use model::command::{ExitCode, Failure};
use model::snapshot::Manifest;
use model::text::DisplayText;
use model::units::ByteLen;
use std::time::Duration;

/// How long what is under way may take to be stored once somebody wants the capture to stop.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often what was saved is put aside on the way: each time the last packs are put before they are full.
const EVERY: Duration = Duration::from_secs(300);

/// Bytes of an aside that need no reading again, as long as nobody writes to their file systems: others say nothing of whether
/// somebody did.
fn proven(aside: &Manifest) -> ByteLen {
    let told = aside.volumes.iter().filter(|v| v.state.is_some() && v.unreadable.is_empty());
    ByteLen(told.map(|v| v.captured.0).fold(0, u64::saturating_add))
}

/// Puts aside what was saved so far, where that was not done for a while.
pub(super) fn now_and_then(run: &mut Capture<'_>) -> Result<(), Stop> {
    let now = run.cx.clock.monotonic();
    if !run.keeps() || now.saturating_sub(run.put_aside) < EVERY {
        return Ok(());
    }
    run.put_aside = now;
    let aside = run.so_far()?;
    if worth(run, &aside) {
        run.writer.put_aside(aside, &mut || true)?;
    }
    Ok(())
}

/// True where going on from this aside saves no less reading than going on from the one before.
fn worth(run: &Capture<'_>, aside: &Manifest) -> bool {
    !aside.volumes.is_empty() && proven(aside).0 >= run.offered
}

/// What is left of a capture for the next one.
enum Left {
    /// An aside with so many bytes that need no reading again.
    Aside(ByteLen),
    /// The aside before, which has more.
    Before,
    /// Packs that nothing names.
    Packs,
}

/// A capture that has to stop.
pub(super) struct Stopped<'a> {
    run: Capture<'a>,
}

impl<'a> Stopped<'a> {
    pub(super) fn new(run: Capture<'a>) -> Self {
        Self { run }
    }

    /// Puts aside what was saved, where the capture was cancelled or the store became full; gives the stop with what to expect.
    pub(super) fn end(mut self, stop: Stop) -> Stop {
        if !self.run.keeps() {
            return stop;
        }
        match stop {
            Stop::Cancelled(_) => Stop::Cancelled(self.put_aside(false).after_cancel()),
            Stop::Full(full) => {
                let left = self.put_aside(true);
                Stop::Full(self.after_full(&full, &left))
            }
            failed @ Stop::Failed(_) => failed,
        }
    }

    /// Whoever cancels waits for what is under way, and not for long.
    fn put_aside(&mut self, full: bool) -> Left {
        let run = &mut self.run;
        let (observer, clock) = (run.cx.observer, run.cx.clock);
        let _meter: Meter<'_> = run.meter("putting aside what was saved so far", ByteLen::ZERO);
        let began = clock.monotonic();
        let patient = || !(if full { observer.cancelled() } else { observer.is_hurried() });
        let mut go_on = || patient() && clock.monotonic().saturating_sub(began) < PATIENCE;
        let put = run.so_far().and_then(|aside| {
            if !worth(run, &aside) {
                return Ok(None);
            }
            let proven = proven(&aside);
            Ok(run.writer.put_aside(aside, &mut go_on)?.map(|_| proven))
        });
        match put {
            Ok(Some(proven)) => Left::Aside(proven),
            Ok(None) if run.offered > 0 => Left::Before,
            Ok(None) => Left::Packs,
            Err(stop) => {
                let why = match stop {
                    Stop::Cancelled(says) => says,
                    Stop::Failed(f) | Stop::Full(f) => f.says,
                };
                observer.log(&format!("what was saved so far could not be put aside: {why}"));
                if run.offered > 0 { Left::Before } else { Left::Packs }
            }
        }
    }

    /// What a person does about a full store.
    fn after_full(&self, full: &Failure, left: &Left) -> Failure {
        let rest = ByteLen(self.run.to_read);
        let cost = self.run.writer.cost();
        // As the part that was read went; of little nothing can be told.
        let likely = match cost.read.0 {
            0 => rest.0 / 2,
            read => u64::try_from(u128::from(rest.0) * u128::from(cost.stored.0) / u128::from(read)).unwrap_or(rest.0),
        };
        let most = at_most(rest);
        let says = match rest.0 {
            0 => format!("{}; a little more room is needed", full.says),
            _ => format!("{}; about {} more are needed, at most {most}", full.says, ByteLen(likely.min(most.0))),
        };
        let (code, next) = match left {
            Left::Packs => (ExitCode::Failed, "then save again; nothing is stored twice".to_owned()),
            left => (ExitCode::Interrupted, format!("then save again; {}", left.says())),
        };
        let advice = format!(
            "make room with `holdfast forget` and `holdfast prune`, which need none, or use another store; {next}"
        );
        Failure::new(code, says, advice)
    }
}

impl Left {
    fn after_cancel(&self) -> DisplayText {
        DisplayText::new(&format!("stopped; no snapshot was made; {}", self.says()))
    }

    fn says(&self) -> String {
        match self {
            Self::Aside(ByteLen::ZERO) => "the next one reads all of it again, and stores nothing twice".to_owned(),
            Self::Aside(proven) => format!(
                "the next one goes on from here, and {proven} need not be read again as long as the system is not started before"
            ),
            Self::Before => "the next one goes on from what was put aside before".to_owned(),
            Self::Packs => "the next one stores nothing twice".to_owned(),
        }
    }
}
