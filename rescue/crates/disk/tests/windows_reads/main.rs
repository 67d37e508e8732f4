//! The exFAT and NTFS readers against drivers and tools of others: trees, what is in use, states, hostile bytes.

// A failed step is a failed test.
#![allow(clippy::unwrap_used)]

#[path = "../host/mod.rs"]
mod host;

#[path = "../changed/mod.rs"]
mod changed;

#[path = "../contract/mod.rs"]
mod contract;

mod exfat;
mod hostile;
mod losses;
mod ntfs;
mod system;
mod tools;
mod trees;
