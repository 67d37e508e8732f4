//! Gathers evidence, plans and runs: capture, write-back, resume, undo. One handle for every front end.
//!
//! The flow: [`parser`] answers everything that needs bytes of a target or a store interpreted (in a sandboxed process);
//! [`gather`] makes a report of it; [`plan`] makes values that say what a run will do; [`run`] does it. [`Engine`] runs one
//! job at a time on a thread of its own and tells every front end the same sequence of events.
//!
//! **Architecture invariant.** The engine never asks anybody anything: it emits a question and waits for a command.
//!
//! **Architecture invariant.** Only [`run`] takes a lease, and only for an approved plan.

mod boot;
mod comparison;
mod composing;
mod frame;
pub mod gather;
mod handle;
mod heads;
mod hub;
mod jobs;
mod keys;
pub mod link;
pub mod machine;
pub mod parser;
pub mod plan;
mod policy_keys;
mod restoring;
pub mod run;
mod save_disk;
mod saved_files;
mod saving;
mod shared_esp;
mod sticks;
pub mod store_place;
mod stores;
mod unattended;
mod unlocking;
mod upkeep;
mod worker;

/// The main loop of the role that puts files onto a saved volume.
pub use run::compose::serve as serve_composer;

pub use handle::{Config, Engine, Handle};
pub use heads::Heads;
pub use jobs::exit_code;
pub use sticks::{StickAnswer, StickWish, Sticks};
pub use store::{Secret, SigningKey, SystemEntropy, Unlock};
pub use store_place::{Access, StorePlace};
/// A descriptor this process was started with, by its number: the roles' sockets.
pub use sys::process::take_inherited;
pub use unattended::{Unattended, key_files};
