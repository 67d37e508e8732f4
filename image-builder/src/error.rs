//! Why an image could not be built.

use std::path::{Path, PathBuf};

/// Why an image could not be built, in one sentence that says what to do where something can be done.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The host lacks something.
    #[error("{what}; {advice}")]
    Host {
        /// What is missing or refused.
        what: String,
        /// What the user does about it.
        advice: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A tool of the host failed.
    #[error("`{command}` failed: {why}")]
    Tool {
        /// The command line.
        command: String,
        /// Its last words, or its status.
        why: String,
    },
    /// An input is not what it should be.
    #[error("{0}")]
    Input(String),
    /// The image would be larger than its budget.
    #[error("the image needs {used} bytes and the budget is {budget}; drop drivers from image-builder/drivers.list")]
    OverBudget {
        /// Bytes needed.
        used: u64,
        /// Bytes allowed.
        budget: u64,
    },
}

impl BuildError {
    /// For `map_err`: the system's error with the verb and the path.
    pub fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { action, path, source }
    }
}

/// What building functions return.
pub type Result<T> = std::result::Result<T, BuildError>;
