//! The `holdfast` program as a library, so that its parts can be tested; `main.rs` only calls it.

pub mod cli;
pub mod tui;
