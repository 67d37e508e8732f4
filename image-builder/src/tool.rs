//! Running the host's tools.

use crate::error::{BuildError, Result};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Runs a command to its end and returns what it wrote to standard output.
///
/// # Errors
/// [`BuildError::Tool`] when it cannot start or fails, with the end of what it wrote to standard error.
pub fn run(command: &mut Command) -> Result<Vec<u8>> {
    let done = command.stdin(Stdio::null()).output().map_err(|e| failed(command, &e.to_string()))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let words = String::from_utf8_lossy(&done.stderr);
    let mut last: Vec<&str> = words.lines().map(str::trim).filter(|l| !l.is_empty()).rev().take(4).collect();
    last.reverse();
    let why = if last.is_empty() { done.status.to_string() } else { last.join(" / ") };
    Err(failed(command, &why))
}

/// Runs a command that talks to the user: its output goes to ours.
///
/// # Errors
/// [`BuildError::Tool`] when it cannot start or fails.
pub fn run_shown(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(|e| failed(command, &e.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(command, &status.to_string())) }
}

fn failed(command: &Command, why: &str) -> BuildError {
    BuildError::Tool { command: shown(command), why: why.to_owned() }
}

/// The command line as one would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// Where a command lies: `PATH`, then the system folders that `PATH` of an ordinary user leaves out.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from));
    folders.map(|folder| folder.join(name)).find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_the_tools_own_words() {
        let error = run(Command::new("ls").arg("/nowhere-at-all")).unwrap_err().to_string();
        assert!(error.contains("ls /nowhere-at-all") && error.contains("No such file"), "{error}");
    }

    #[test]
    fn commands_are_found_and_others_are_not() {
        assert!(find("dpkg").is_some());
        assert!(find("no-such-command-here").is_none());
    }
}
