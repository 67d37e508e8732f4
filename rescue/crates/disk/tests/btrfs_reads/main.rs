//! btrfs, read without mounting: images that the kernel wrote, held against what it showed of them, and images that mkfs.btrfs makes.

#[path = "../host/mod.rs"]
mod host;

mod fixtures;
mod hostile;
mod kernel;
mod made;
mod state;
mod used;
