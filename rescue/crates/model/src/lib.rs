//! The words Holdfast thinks in. Pure data, and the ports (traits) through which it meets the outside.
//!
//! Nothing here opens, reads or writes anything. Every other crate depends on this one; it depends on none of them.

pub mod assessment;
pub mod boot;
pub mod browse;
pub mod command;
pub mod coverage;
pub mod cuts;
pub mod differences;
pub mod esp;
pub mod event;
pub mod evidence;
pub mod files;
pub mod firmware;
pub mod hex;
pub mod id;
pub mod inspection;
pub mod inventory;
pub mod luks;
pub mod mapping;
pub mod note;
pub mod plan;
pub mod policy;
pub mod ports;
pub mod proof;
pub mod restore;
pub mod retention;
pub mod run_state;
pub mod signer;
pub mod snapshot;
pub mod text;
pub mod timeline;
pub mod units;
pub mod upkeep;
