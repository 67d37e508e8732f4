//! The ext reader against e2fsprogs and the kernel: layouts, journals, hostile bytes.

// A failed step is a failed test.
#![allow(clippy::unwrap_used)]

#[path = "../changed/mod.rs"]
mod changed;

#[path = "../contract/mod.rs"]
mod contract;

mod changes;
mod cuts;
mod differences;
mod hostile;
mod independent;
mod journals;
mod layouts;
mod losses;
mod mutants;
mod tools;
