//! The XFS reader against xfsprogs and the kernel: trees, free space, logs, hostile bytes.

// A failed step is a failed test.
#![allow(clippy::unwrap_used)]

#[path = "../host/mod.rs"]
mod host;

#[path = "../changed/mod.rs"]
mod changed;

#[path = "../contract/mod.rs"]
mod contract;

mod fixtures;
mod histories;
mod hostile;
mod lived;
mod losses;
mod made;
mod sessions;
mod system;
mod tools;
mod unchanged;
