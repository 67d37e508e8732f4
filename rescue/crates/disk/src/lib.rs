//! Reading disks: partition tables, what lies on volumes, file systems, installed systems. Writes nothing.
//!
//! Everything goes over [`model::ports::ReadAt`]; no device is opened here and every byte read is taken for hostile:
//! damage comes back as a [`model::inspection::Finding`] or an [`fs::FsError`], never as a panic, and every loop and
//! allocation that a disk could drive has a bound.
//!
//! [`inspect()`] does it all at once. The steps ([`table::read`], [`content::identify`], [`system::find`],
//! [`coverage::of`]) can be called one by one, each in a process of its own.

pub mod content;
pub mod coverage;
pub mod fence;
pub mod fs;
mod inspect;
pub mod io;
pub mod swap;
pub mod system;
pub mod table;

pub use inspect::inspect;
