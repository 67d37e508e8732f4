//! Where things lie: the sources, and the folder for what is built and kept between runs.

use crate::Result;
use std::fs;
use std::path::{Path, PathBuf};

/// The top of the source tree.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate lies one folder below the top").to_path_buf()
}

/// `target/qemu`: images and targets made once and kept. Safe to delete.
///
/// # Errors
/// Where it cannot be created.
pub fn cache() -> Result<PathBuf> {
    let dir = root().join("target/qemu");
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// A fresh folder below the cache for one run's overlays and consoles.
///
/// # Errors
/// Where it cannot be created.
pub fn scratch(name: &str) -> Result<PathBuf> {
    let dir = cache()?.join("runs").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}
