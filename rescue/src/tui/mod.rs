//! The terminal UI: keys become commands, run states become screens.
//!
//! [`update::update`] decides, [`draw::draw`] shows, both pure; only [`runtime`] touches a terminal. What the front ends share
//! is in the run state; what one remembers by itself is in [`state::Ui`]. [`front::Front`] is the two together, to which everything comes
//! in that is recorded, and played back ([`recording`]).

pub mod chain;
pub mod changes;
pub mod differences;
pub mod disk_facts;
pub mod disks;
pub mod draw;
pub mod files;
mod finding;
pub mod front;
pub mod history;
pub mod keys;
mod list;
pub mod look;
pub mod mouse;
pub mod prompt;
pub mod reading;
pub mod recording;
pub mod runtime;
pub mod saved;
pub mod state;
pub mod steps;
pub mod target;
pub mod text;
mod timeline;
mod unlocking;
pub mod update;
pub mod upkeep;
pub mod words;
