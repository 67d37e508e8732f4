//! Machines in QEMU: what they boot, what they show, and what is typed into them.
//!
//! [`target`] makes real Debian systems from packages and [`small`] disks that only look like one, [`machine`] runs them
//! and the rescue image, [`console`] watches a serial line and types on it, [`qmp`] looks at the screen and presses the
//! keyboard. The scenarios in `tests/` and the demo are built of these.

pub mod breakage;
pub mod computer;
pub mod console;
pub mod dissect;
pub mod guest;
pub mod history;
pub mod large;
pub mod machine;
pub mod partitions;
pub mod patch;
pub mod qmp;
pub mod rescue;
pub mod small;
pub mod stack;
pub mod target;
pub mod workspace;

/// What went wrong, in words. The scenarios stop at the first.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;
