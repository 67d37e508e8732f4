//! Reading disks: partition tables, what lies on volumes, file systems, installed systems. Writes nothing.
//!
//! Everything goes over [`model::ports::ReadAt`]; no device is opened here and every byte read is taken for hostile:
//! damage comes back as a [`model::inspection::Finding`] or an [`fs::FsError`], never as a panic, and every loop and
//! allocation that a disk could drive has a bound.
//!
//! [`inspect()`] does it all at once. The steps ([`table::read`], [`content::identify`], [`system::find`],
//! [`coverage::of`]) can be called one by one, each in a process of its own.

mod bits;
pub mod boot;
pub mod content;
pub mod coverage;
pub mod fence;
pub mod fs;
mod inspect;
pub mod io;
pub mod load_option;
mod numbers;
pub mod swap;
pub mod system;
pub mod table;
pub mod volume;

pub use inspect::inspect;

use model::id::VolumePath;
use model::inspection::{Finding, Severity};

/// A finding about a disk or volume.
fn finding(severity: Severity, at: &VolumePath, says: impl AsRef<str>, advice: impl AsRef<str>) -> Finding {
    Finding { severity, volume: at.clone(), says: says.as_ref().into(), advice: advice.as_ref().into() }
}

/// Runs a library's parser and turns a panic of it into `None`. The belt to the braces of validating first: hostile bytes must
/// cost an answer, never the process.
fn guarded<T>(parse: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(parse)).ok()
}
