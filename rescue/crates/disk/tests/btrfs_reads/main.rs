//! btrfs, read without mounting: images that the kernel wrote, held against what it showed of them, and images that mkfs.btrfs makes.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../host/mod.rs"]
mod host;

#[path = "../contract/mod.rs"]
mod contract;

mod devices;
mod fixtures;
mod hostile;
mod kernel;
mod lived;
mod made;
mod state;
mod used;
