//! How far a phase is, and how fast, over the last seconds.

use super::Observer;
use model::event::Progress;
use model::ports::Clock;
use model::snapshot::Cost;
use model::text::DisplayText;
use model::units::ByteLen;
use std::collections::VecDeque;
use std::time::Duration;

/// The window over which a rate is taken.
const WINDOW: Duration = Duration::from_secs(8);
/// How often progress is told.
const EVERY: Duration = Duration::from_millis(250);

/// Tells an observer how far a phase is, not more often than a screen can show.
pub(crate) struct Meter<'a> {
    observer: &'a dyn Observer,
    clock: &'a dyn Clock,
    phase: DisplayText,
    step: (u32, u32),
    fenced: bool,
    cost: Option<Cost>,
    done: u64,
    total: u64,
    told: Option<Duration>,
    /// When how much was done, oldest first; one entry a telling, so at most 32 within the window.
    seen: VecDeque<(Duration, u64)>,
}

impl<'a> Meter<'a> {
    /// A phase of `total` bytes (0: not known) begins; that is told at once.
    pub(crate) fn start(
        observer: &'a dyn Observer,
        clock: &'a dyn Clock,
        phase: impl AsRef<str>,
        step: (u32, u32),
        total: ByteLen,
        fenced: bool,
    ) -> Self {
        let phase = DisplayText::new(phase.as_ref());
        let seen = VecDeque::from([(clock.monotonic(), 0)]);
        let (done, total, told, cost) = (0, total.0, None, None);
        let mut meter = Self { observer, clock, phase, step, fenced, cost, done, total, told, seen };
        meter.tell(clock.monotonic());
        meter
    }

    /// What saving cost so far: told with the next word.
    pub(crate) fn cost(&mut self, cost: Cost) {
        self.cost = Some(cost);
    }

    /// More bytes are done.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.done = self.done.saturating_add(bytes);
        let now = self.clock.monotonic();
        if self.told.is_none_or(|told| now.saturating_sub(told) >= EVERY) {
            self.tell(now);
        }
    }

    /// So many bytes of so many are done; fewer than before where the next part is counted anew. False where somebody wants
    /// it to stop.
    pub(crate) fn reach(&mut self, done: ByteLen, total: ByteLen) -> bool {
        if done.0 < self.done {
            self.done = 0;
            self.seen = VecDeque::from([(self.clock.monotonic(), 0)]);
        }
        self.total = total.0;
        self.add(done.0 - self.done);
        !self.observer.cancelled()
    }

    /// What it is about changed.
    pub(crate) fn rename(&mut self, phase: impl AsRef<str>) {
        self.phase = DisplayText::new(phase.as_ref());
        self.tell(self.clock.monotonic());
    }

    fn tell(&mut self, now: Duration) {
        self.told = Some(now);
        self.seen.push_back((now, self.done));
        while self.seen.len() > 2 && self.seen.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW) {
            self.seen.pop_front();
        }
        let rate = self.seen.front().and_then(|(at, then)| {
            let millis = u64::try_from(now.saturating_sub(*at).as_millis()).ok().filter(|m| *m > 0)?;
            Some(self.done.saturating_sub(*then).saturating_mul(1000) / millis)
        });
        let rate = rate.unwrap_or(0);
        let left = self.total.saturating_sub(self.done);
        self.observer.progress(Progress {
            phase: self.phase.clone(),
            step: self.step,
            done: ByteLen(self.done),
            total: ByteLen(self.total),
            rate: ByteLen(rate),
            remaining: left.checked_div(rate).filter(|_| self.total > 0),
            cost: self.cost,
            fenced: self.fenced,
        });
    }
}

impl Drop for Meter<'_> {
    /// The last word of a phase is how far it came.
    fn drop(&mut self) {
        self.tell(self.clock.monotonic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::ports::UnixMicros;
    use std::sync::Mutex;

    struct Hand(Mutex<u64>);
    impl Clock for Hand {
        fn now(&self) -> UnixMicros {
            UnixMicros(0)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_millis(*self.0.lock().unwrap())
        }
    }

    #[derive(Default)]
    struct Kept(Mutex<Vec<Progress>>);
    impl Observer for Kept {
        fn progress(&self, p: Progress) {
            self.0.lock().unwrap().push(p);
        }
        fn log(&self, _: &str) {}
        fn cancelled(&self) -> bool {
            false
        }
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let (clock, kept) = (Hand(Mutex::new(0)), Kept::default());
        let mut meter = Meter::start(&kept, &clock, "saving", (1, 2), ByteLen(1_000_000), false);
        for second in 1..=20u64 {
            *clock.0.lock().unwrap() = second * 1000;
            // Slow at first, then ten times as fast.
            meter.add(if second <= 10 { 1000 } else { 10_000 });
            meter.add(0);
        }
        let last = kept.0.lock().unwrap().last().cloned().unwrap();
        assert_eq!((last.done.0, last.rate.0), (110_000, 10_000));
        assert_eq!(last.remaining, Some(89));
        assert_eq!(kept.0.lock().unwrap().len(), 21, "a second call within a quarter of a second is not told");
    }
}
