//! Where the store is, and opening it.

use crate::parser::Parser;
use model::command::Failure;
use model::ports::ObjectStore;
use std::path::PathBuf;
use std::sync::Arc;
use store::{Decode, Store, StoreError};

/// Where the store is.
#[derive(Clone)]
pub enum StorePlace {
    /// A directory.
    Dir {
        /// Its path.
        path: PathBuf,
        /// Make a store there on first use: in the rescue, whose save disk is made for it.
        create: bool,
    },
    /// Anything that keeps objects.
    Objects {
        /// It.
        objects: Arc<dyn ObjectStore>,
        /// Make a store there on first use.
        create: bool,
    },
}
