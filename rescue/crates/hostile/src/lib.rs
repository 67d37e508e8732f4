//! What hostile bytes are put to: one [`Target`] for each family of parsers.
//!
//! A target takes any bytes and does with them what the program does with bytes of that kind, over the same entry points as the
//! parser role. The fuzzer (`rescue/fuzz`) looks for inputs that bring one down; `tests/replay.rs` replays what it found, and the
//! inputs it starts from, as ordinary tests.
//!
//! Images are large and full of checksums, which random bytes never get past. So an input for those is a list of changes to a small
//! image that is kept ([`changes`]), and every checksum that held before is made to hold again.

mod changes;
mod files;
mod image;
mod sums;
mod tar;
mod targets;
mod watch;

pub use targets::TARGETS;
pub use watch::{Limits, begin};

/// Something that hostile bytes are put to.
pub struct Target {
    /// Its name: that of its program in `rescue/fuzz`, and of its corpus.
    pub name: &'static str,
    /// What of the program meets the bytes, in a line.
    pub meets: &'static str,
    /// Takes any bytes. A panic is a finding.
    run: fn(&[u8]),
    /// Inputs to begin with: good ones, and some that are changed here and there.
    seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    /// Puts bytes to it, and looks at what that cost.
    ///
    /// # Panics
    /// Where the bytes brought our code down, were answered by nonsense, or cost more than `limits`.
    pub fn run(&self, bytes: &[u8], limits: Limits) {
        watch::watched(limits, || (self.run)(bytes));
    }

    /// Inputs to begin with.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }
}

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|t| t.name == name)
}

/// Puts bytes to the target of that name, within [`Limits::FUZZING`]: what a program of `rescue/fuzz` does.
///
/// # Panics
/// As [`Target::run`], and where there is no such target.
pub fn fuzz(name: &str, bytes: &[u8]) {
    let target = target(name).unwrap_or_else(|| panic!("there is no target {name:?}"));
    target.run(bytes, Limits::FUZZING);
}
