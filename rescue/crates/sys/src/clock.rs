//! The machine's clock.

use model::ports::{Clock, UnixMicros};
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime};

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMicros {
        let clip = |d: Duration| i64::try_from(d.as_micros()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => UnixMicros(clip(after)),
            Err(before) => UnixMicros(-clip(before.duration())),
        }
    }

    fn monotonic(&self) -> Duration {
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_forward_and_knows_the_century() {
        let clock = SystemClock;
        let a = clock.monotonic();
        assert!(clock.monotonic() >= a);
        assert!(clock.now() > UnixMicros::from_seconds(1_600_000_000));
    }
}
