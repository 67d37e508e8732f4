//! What an input may cost, and panics that somebody caught.
//!
//! A library's panic is caught where we know that it may (`disk`'s `guarded`) and costs one answer. One of our own code is a finding
//! even where it was caught: so a hook remembers it.

use nix::sys::resource::{Resource, setrlimit};
use nix::time::{ClockId, clock_gettime};
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::time::Duration;

/// Address space of a fuzzing process: that of the parser role.
const MEMORY: u64 = 1 << 30;

/// What one input may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Processor time of the thread that runs it.
    pub time: Duration,
}

impl Limits {
    /// Of a program of the fuzzer, which is optimised.
    pub const FUZZING: Self = Self { time: Duration::from_secs(2) };
    /// Of a test, which is not.
    pub const TESTING: Self = Self { time: Duration::from_secs(20) };
}

thread_local! {
    /// A panic of our own code since it was last looked at.
    static OWN: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// To be called once when a program of the fuzzer begins, after whatever else hooks panics: the address space is bounded as that
/// of the parser role, and a library's panic that is caught goes on.
pub fn begin() {
    remember_panics(true);
    // Best effort: where the system refuses, the fuzzer's own limit on memory stands.
    let _ = setrlimit(Resource::RLIMIT_AS, MEMORY, MEMORY);
}

/// `alone`: without the hook there was. The fuzzer's ends the process at once.
fn remember_panics(alone: bool) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !is_own(info) {
                return;
            }
            OWN.set(Some(info.to_string()));
            match alone {
                true => eprintln!("{info}"),
                false => before(info),
            }
        }));
    });
}

/// True for a panic of code that is no library's.
fn is_own(info: &PanicHookInfo<'_>) -> bool {
    info.location().is_none_or(|place| !place.file().contains("/registry/src/"))
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Runs something, and panics where our code did within, or it took too long.
pub(crate) fn watched(limits: Limits, run: impl FnOnce()) {
    remember_panics(false);
    OWN.set(None);
    let began = processor_time();
    run();
    let took = processor_time().saturating_sub(began);
    if let Some(said) = OWN.take() {
        panic!("our own code panicked, and it was caught: {said}");
    }
    assert!(took <= limits.time, "one input took {took:?} of processor time");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::catch_unwind;

    #[test]
    fn a_panic_that_was_caught_is_still_one() {
        let hidden = catch_unwind(|| watched(Limits::TESTING, || drop(catch_unwind(|| -> () { panic!("hidden") }))));
        assert!(hidden.is_err());
        watched(Limits::TESTING, || ());
    }

    #[test]
    fn what_takes_long_is_told() {
        let limits = Limits { time: Duration::from_millis(20) };
        let slow = catch_unwind(|| {
            watched(limits, || {
                let until = processor_time() + Duration::from_millis(50);
                while processor_time() < until {}
            });
        });
        assert!(slow.is_err());
    }
}
