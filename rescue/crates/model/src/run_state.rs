//! The state of a run, folded from its events: what every front end shows.

use crate::assessment::Report;
use crate::boot::BootRepairs;
use crate::browse::Browsed;
use crate::command::PowerAction;
use crate::event::{Event, Happening, JobKind, Outcome, Progress, Question, StoreView, Waiting};
use crate::plan::SnapshotEstimate;
use crate::text::DisplayText;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// How many log lines are kept.
pub const LOG_LINES: usize = 500;

/// Everything a front end needs to draw. Two front ends that saw the same events show the same thing.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunState {
    /// Number of the last event folded in.
    pub seq: u64,
    /// The running job and how far it is.
    pub job: Option<(JobKind, Option<Progress>)>,
    /// The running job waits for somebody to stop it.
    pub waiting: Option<Waiting>,
    /// What the running snapshot will read and need, once that is known; afterwards what the last one was told to.
    pub estimate: Option<SnapshotEstimate>,
    /// The last look at the disks.
    pub report: Option<Report>,
    /// What the last repair of what starts the machine found that can be put right.
    pub boot_repairs: Option<BootRepairs>,
    /// The store, where there is one.
    pub store: Option<StoreView>,
    /// There is a store, encrypted, and nobody opened it yet.
    pub locked: bool,
    /// What was shown last of a snapshot's files, until the next job begins. A front end takes over what it asked for.
    pub browsed: Option<Browsed>,
    /// What waits for a decision.
    pub question: Option<Question>,
    /// The last job that ended, and how. Inspections and listings that went well do not count; they end what failed before.
    pub last: Option<(JobKind, Outcome)>,
    /// The log, oldest first.
    pub log: VecDeque<DisplayText>,
    /// What a person must know of the store, each once; in the log too.
    pub warnings: Vec<DisplayText>,
    /// The rescue is being left.
    pub leaving: Option<PowerAction>,
}

impl RunState {
    /// Folds one event in. An event seen already (by number) changes nothing.
    pub fn apply(&mut self, event: &Event) {
        if let Happening::State(whole) = &event.what {
            self.clone_from(whole);
            return;
        }
        if event.seq <= self.seq {
            return;
        }
        self.seq = event.seq;
        match &event.what {
            Happening::State(_) => {}
            Happening::Started(kind) => {
                self.job = Some((*kind, None));
                self.estimate = None;
                self.browsed = None;
            }
            Happening::Progress(p) => {
                if let Some((_, progress)) = &mut self.job {
                    *progress = Some(p.clone());
                }
            }
            Happening::Waiting(waiting) => self.waiting = Some(waiting.clone()).filter(|w| w.seconds != Some(0)),
            Happening::Ended { job, outcome } => {
                self.job = None;
                self.waiting = None;
                self.question = None;
                let is_same = |before: &(JobKind, Outcome)| before.0 == *job;
                let cut_short = |o: &Outcome| matches!(o, Outcome::Failed(_) | Outcome::Cancelled(_));
                if *outcome != Outcome::Looked {
                    self.last = Some((*job, outcome.clone()));
                } else if self.last.as_ref().is_some_and(|last| is_same(last) && cut_short(&last.1)) {
                    self.last = None;
                }
            }
            Happening::Estimate(e) => self.estimate = Some((**e).clone()),
            Happening::Report(r) => self.report = Some((**r).clone()),
            Happening::BootRepairs(r) => self.boot_repairs = Some((**r).clone()),
            Happening::Locked => self.locked = true,
            Happening::Snapshots(s) => {
                self.store = Some(s.clone());
                self.locked = false;
            }
            Happening::DecisionNeeded(q) => self.question = Some((**q).clone()),
            Happening::Losses(losses) => {
                if let Some(question) = self.question.as_mut().filter(|q| q.id == losses.plan) {
                    question.losses = Some((**losses).clone());
                }
            }
            Happening::Browsed(browsed) => self.browsed = Some((**browsed).clone()),
            Happening::Decided { plan, .. } => {
                if self.question.as_ref().is_some_and(|q| q.id == *plan) {
                    self.question = None;
                }
            }
            Happening::Log(line) => self.note(line),
            Happening::Warning(line) => {
                if self.warnings.len() < LOG_LINES && !self.warnings.contains(line) {
                    self.warnings.push(line.clone());
                    self.note(line);
                }
            }
            Happening::Leaving(action) => self.leaving = Some(*action),
        }
    }

    fn note(&mut self, line: &DisplayText) {
        if self.log.len() == LOG_LINES {
            self.log.pop_front();
        }
        self.log.push_back(line.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_joiners_show_the_same() {
        let events = [
            Happening::Started(JobKind::Inspect),
            Happening::Log("hello".into()),
            Happening::Warning("beware".into()),
            Happening::Warning("beware".into()),
            Happening::Ended { job: JobKind::Inspect, outcome: Outcome::Looked },
            Happening::Started(JobKind::Snapshot),
            Happening::Ended { job: JobKind::Snapshot, outcome: Outcome::Declined },
        ];
        let events: Vec<Event> = (1..).zip(events).map(|(seq, what)| Event { seq, what }).collect();
        let mut first = RunState::default();
        let mut late = RunState::default();
        for (i, e) in events.iter().enumerate() {
            first.apply(e);
            if i == 2 {
                late.apply(&Event { seq: e.seq, what: Happening::State(Box::new(first.clone())) });
            }
            late.apply(e);
        }
        assert_eq!(first.seq, 7);
        assert_eq!(late, first);
        assert_eq!((first.warnings.len(), first.log.len()), (1, 2), "a warning is told once");
        assert_eq!(first.last, Some((JobKind::Snapshot, Outcome::Declined)));
    }
}
