//! The targets, one file each. A new one is such a file, a line here, and a program of three lines in `rescue/fuzz`.

mod answers;
mod boot;
mod btrfs;
mod content;
mod database;
mod esp;
mod evidence;
mod exfat;
mod ext4;
mod fat;
mod firmware;
mod journal;
mod listing;
mod luks;
mod lvm;
mod machine;
mod md;
mod ntfs;
mod objects;
mod plans;
mod policy;
mod store;
mod table;
mod talk;
mod xfs;

use crate::Target;

/// All of them.
pub const TARGETS: &[Target] = &[
    table::TARGET,
    content::TARGET,
    ext4::TARGET,
    fat::TARGET,
    esp::TARGET,
    exfat::TARGET,
    ntfs::TARGET,
    xfs::TARGET,
    btrfs::TARGET,
    luks::TARGET,
    lvm::TARGET,
    md::TARGET,
    machine::TARGET,
    boot::TARGET,
    firmware::TARGET,
    evidence::TARGET,
    listing::TARGET,
    journal::TARGET,
    database::TARGET,
    objects::TARGET,
    store::TARGET,
    answers::TARGET,
    talk::TARGET,
    policy::TARGET,
    plans::TARGET,
];
