//! dissect.target, an offline reader of installed systems that knows nothing of ours: installed into an environment of its own, and
//! asked for records.

use crate::machine::run;
use crate::{Result, workspace};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian packages that it is installed with.
pub const HOST_PACKAGES: &[&str] = &["python3-venv"];

/// What is installed from PyPI: the reader, the file systems it needs here, and what systemd compresses with.
const PACKAGES: &[&str] = &[
    "dissect.target==3.25.1",
    "dissect.extfs==3.15",
    "dissect.fat==3.13",
    "dissect.volume==3.18",
    "backports.zstd==1.8.0",
];

/// It, installed.
pub struct Dissect {
    query: PathBuf,
}

impl Dissect {
    /// Installs it below the cache, saying so, or takes what is there.
    ///
    /// # Errors
    /// Where Python or its packages cannot be had.
    pub fn installed(say: &mut dyn FnMut(&str)) -> Result<Self> {
        let dir = workspace::cache()?.join("dissect");
        let (query, stamp) = (dir.join("bin/target-query"), dir.join("packages"));
        if fs::read_to_string(&stamp).is_ok_and(|known| known == PACKAGES.join("\n")) {
            return Ok(Self { query });
        }
        say(&format!("installing {} from PyPI into {}", PACKAGES.join(", "), dir.display()));
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        run(Command::new("python3").args(["-m", "venv"]).arg(&dir))?;
        run(Command::new(dir.join("bin/pip")).args(["install", "--quiet"]).args(PACKAGES))?;
        fs::write(stamp, PACKAGES.join("\n"))?;
        Ok(Self { query })
    }

    /// The version of it.
    pub fn version() -> &'static str {
        PACKAGES[0]
    }

    /// Its program that prints records.
    pub fn query(&self) -> &Path {
        &self.query
    }

    /// The records that one of its functions finds in an image.
    ///
    /// # Errors
    /// Where it fails, or prints no JSON.
    pub fn records(&self, image: &Path, function: &str) -> Result<Vec<Value>> {
        let mut command = Command::new(&self.query);
        let out = command.args(["-q", "-j", "-f", function]).arg(image).stdin(Stdio::null()).output()?;
        if !out.status.success() {
            let says = String::from_utf8_lossy(&out.stderr);
            return Err(format!("target-query -f {function} ended with {}: {}", out.status, says.trim_end()).into());
        }
        let mut records = Vec::new();
        for line in String::from_utf8(out.stdout)?.lines() {
            let value: Value = serde_json::from_str(line)?;
            if value["_type"] == "record" {
                records.push(value);
            }
        }
        Ok(records)
    }
}
