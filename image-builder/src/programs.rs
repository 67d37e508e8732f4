//! Builds the programs of the image: `init` and `holdfast`, static, the same bytes from the same sources.

use crate::error::{BuildError, Result};
use crate::{elf, host, place, tool};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// The programs of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// PID 1.
    pub init: Vec<u8>,
    /// The program.
    pub holdfast: Vec<u8>,
}

/// Builds them with cargo, in a target folder of their own (other flags than the host's programs).
///
/// # Errors
/// When cargo fails or a program is not static.
pub fn build() -> Result<Programs> {
    eprintln!("image: building init and holdfast (static, small: this takes minutes the first time)");
    // Without what only a management computer can do: starting snapshots in virtual machines.
    let without = "--no-default-features";
    read(&compile(&[without, "-p", "initramfs", "--bin", "init", "-p", "holdfast", "--bin", "holdfast"])?)
}

/// Builds another program of the workspace in the same way, and says where it lies: for tests that run it in a machine.
///
/// # Errors
/// As [`build`].
pub fn build_one(package: &str, program: &str) -> Result<PathBuf> {
    let file = compile(&["-p", package, "--bin", program])?.join(program);
    read_static(&file).map(|_| file)
}

/// Has cargo compile what `wanted` names; gives the folder with the results.
fn compile(wanted: &[&str]) -> Result<PathBuf> {
    if std::env::consts::ARCH != "x86_64" {
        return Err(BuildError::Host {
            what: format!("this host is {}, and the image is for x86_64", std::env::consts::ARCH),
            advice: "build on an x86_64 machine, or give --programs DIR".to_owned(),
        });
    }
    host::require(&["gcc", "libc6-dev"])?;
    let target = place::target().join("image");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(cargo);
    command
        .current_dir(place::workspace())
        .args(["build", "--quiet", "--locked", "--profile", "image", "--target", TRIPLE])
        .args(wanted)
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(&target))
        // Paths that C code has through __FILE__.
        .env(format!("CFLAGS_{}", normal_triple()), c_flags(&target))
        // What a build on the user's side may have set and would change the bytes.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET")
        .env("SOURCE_DATE_EPOCH", "0")
        .stdout(std::io::stderr());
    tool::run_shown(&mut command)?;
    Ok(target.join(TRIPLE).join("image"))
}

/// Reads the programs from a folder.
///
/// # Errors
/// When one is missing or not static.
pub fn read(folder: &Path) -> Result<Programs> {
    Ok(Programs { init: read_static(&folder.join("init"))?, holdfast: read_static(&folder.join("holdfast"))? })
}

fn read_static(file: &Path) -> Result<Vec<u8>> {
    let bytes = std::fs::read(file).map_err(BuildError::io("read", file))?;
    elf::check_static(&bytes)
        .map_err(|why| BuildError::Input(format!("{} is not a static program: {why}", file.display())))?;
    Ok(bytes)
}

/// Folders whose names must not show in the programs, and what stands for them.
fn renamed(target: &Path) -> Vec<(OsString, &'static str)> {
    let mut list = vec![(place::workspace().as_os_str().to_owned(), "/holdfast")];
    let home = std::env::var_os("CARGO_HOME")
        .or_else(|| std::env::var_os("HOME").map(|h| Path::new(&h).join(".cargo").into_os_string()));
    list.extend(home.map(|h| (h, "/cargo")));
    // Last: the compiler takes the last that matches, and this one may lie in the first.
    list.push((target.as_os_str().to_owned(), "/build"));
    list
}

/// Separated by 0x1f, so that a path with spaces stays one word (cargo's own rule).
fn rust_flags(target: &Path) -> OsString {
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    for (folder, name) in renamed(target) {
        flags.push("\u{1f}--remap-path-prefix=");
        flags.push(folder);
        flags.push("=");
        flags.push(name);
    }
    flags
}

fn c_flags(target: &Path) -> OsString {
    let mut flags = OsString::new();
    for (folder, name) in renamed(target) {
        flags.push(" -ffile-prefix-map=");
        flags.push(folder);
        flags.push("=");
        flags.push(name);
    }
    flags
}

/// The `cc` crate wants the triple with underscores in variable names.
fn normal_triple() -> String {
    TRIPLE.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_keep_paths_with_spaces_whole() {
        let flags = rust_flags(Path::new("/a b/target")).into_string().unwrap();
        let words: Vec<&str> = flags.split('\u{1f}').collect();
        assert_eq!(words[0], "-Ctarget-feature=+crt-static");
        assert_eq!(*words.last().unwrap(), "--remap-path-prefix=/a b/target=/build");
    }

    #[test]
    fn a_shared_program_is_refused_by_name() {
        let own = std::env::current_exe().unwrap();
        assert!(read_static(&own).unwrap_err().to_string().contains("not a static program"));
    }
}
