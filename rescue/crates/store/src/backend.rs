//! Where objects lie: in memory, or in a directory of a save disk.

mod files;
mod local_dir;
mod memory;

pub use files::{Files, Kind, OpenFile, SystemFiles};
pub use local_dir::LocalDir;
pub use memory::Memory;
