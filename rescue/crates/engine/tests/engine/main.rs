//! The engine as front ends see it, on simulated machines whose file systems were made by the tools of the host.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod asides;
mod boot;
#[path = "../../../disk/tests/boot_disk/mod.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod boot_disk;
mod browsing;
mod btrfs;
mod crash;
mod devices;
mod encrypted;
mod encrypted_restore;
mod export;
mod faults;
mod files;
mod firmware;
mod flow;
#[path = "../../../disk/tests/host/mod.rs"]
mod host;
mod hostile;
mod image;
mod increments;
mod layered;
mod locked;
mod looking;
mod losses;
mod luks_on_lvm;
#[path = "../../../disk/tests/mirror/mod.rs"]
mod mirror;
mod on_lvm;
mod quick;
mod restore;
mod restore_crash;
mod same;
mod second_stick;
mod sessions;
mod sim;
mod socket;
mod thin;
mod unattended;
mod windows;
mod xfs;
