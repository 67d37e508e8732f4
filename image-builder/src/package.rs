//! Debian packages: found with apt, verified, unpacked below the cache, never installed.
//!
//! apt verified its index by signature; the index has the SHA-256 of each package; the file in the cache is checked
//! against that every time it is used. What was unpacked lies in a folder named by that hash.

use crate::digest;
use crate::error::{BuildError, Result};
use crate::{host, place, tool};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a file of the image came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// The package.
    pub package: String,
    /// Its version.
    pub version: String,
}

/// A package as apt would install it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Name and version.
    pub origin: Origin,
    /// SHA-256 of the package file, hexadecimal.
    pub sha256: String,
}

/// A package unpacked into the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Name and version.
    pub origin: Origin,
    /// The folder that holds its files.
    pub folder: PathBuf,
}

impl Unpacked {
    /// Reads one of its files.
    ///
    /// # Errors
    /// When the package does not have it.
    pub fn read(&self, path: &str) -> Result<Vec<u8>> {
        let file = self.folder.join(path);
        std::fs::read(&file).map_err(|e| {
            BuildError::Input(format!("{} {} has no {path}: {e}", self.origin.package, self.origin.version))
        })
    }
}

/// What apt would install for this name.
///
/// # Errors
/// One sentence when no source offers it.
pub fn candidate(name: &str) -> Result<Candidate> {
    if let Some(found) = look_up(name)? {
        return Ok(found);
    }
    host::update_lists()?;
    look_up(name)?.ok_or_else(|| BuildError::Host {
        what: format!("Debian's package {name} is not offered by this host's apt sources"),
        advice: "add the `main` component of this Debian release to /etc/apt/sources.list.d and run apt-get update"
            .to_owned(),
    })
}

fn look_up(name: &str) -> Result<Option<Candidate>> {
    need_apt()?;
    // Where nothing has that name apt-cache fails: that is an answer.
    let shown = tool::run(Command::new("apt-cache").args(["show", "--no-all-versions", name])).unwrap_or_default();
    Ok(parse_record(&String::from_utf8_lossy(&shown)))
}

fn need_apt() -> Result<()> {
    match tool::find("apt-cache").and(tool::find("apt-get")) {
        Some(_) => Ok(()),
        None => Err(BuildError::Host {
            what: "this host has no apt, from which the kernel and the boot loaders come".to_owned(),
            advice: host::NOT_DEBIAN.to_owned(),
        }),
    }
}

fn parse_record(text: &str) -> Option<Candidate> {
    let first = text.split("\n\n").next()?;
    let field = |name: &str| first.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned);
    Some(Candidate {
        origin: Origin { package: field("Package")?, version: field("Version")? },
        sha256: field("SHA256")?,
    })
}

/// Names and one-line descriptions of the packages whose name matches a POSIX extended expression.
///
/// # Errors
/// When apt is missing or fails.
pub fn search(names: &str) -> Result<Vec<(String, String)>> {
    need_apt()?;
    let found = tool::run(Command::new("apt-cache").args(["search", "--names-only", names]))?;
    let found = String::from_utf8_lossy(&found);
    Ok(found.lines().filter_map(|l| l.split_once(" - ")).map(|(n, d)| (n.to_owned(), d.to_owned())).collect())
}

/// Downloads (or finds in the cache), verifies and unpacks a package.
///
/// # Errors
/// When apt does not offer it, the download fails or does not have the hash of the index.
pub fn fetch(name: &str) -> Result<Unpacked> {
    host::require(&["dpkg"])?;
    let candidate = candidate(name)?;
    let cache = place::cache()?;
    let file = download(&candidate, &cache)?;
    unpack(&file, &candidate, &cache)
}

fn download(candidate: &Candidate, cache: &Path) -> Result<PathBuf> {
    let Origin { package, version } = &candidate.origin;
    let file = cache.join(format!("{package}_{}.deb", version.replace(':', "%3a")));
    if file.exists() && digest::file(&file)? == candidate.sha256 {
        return Ok(file);
    }
    eprintln!("image: downloading {package} {version}");
    let folder = tempfile::tempdir_in(cache).map_err(BuildError::io("create a folder in", cache))?;
    tool::run(
        Command::new("apt-get")
            .args(["download", "-q", &format!("{package}={version}")])
            .current_dir(folder.path())
            .env("LC_ALL", "C"),
    )
    .map_err(|e| BuildError::Host {
        what: e.to_string(),
        advice: "check the network, run apt-get update, and try again".to_owned(),
    })?;
    let fetched = std::fs::read_dir(folder.path())
        .map_err(BuildError::io("read", folder.path()))?
        .filter_map(|e| e.ok().map(|e| e.path()))
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .ok_or_else(|| BuildError::Input(format!("apt-get download left no file for {package} {version}")))?;
    let found = digest::file(&fetched)?;
    if found != candidate.sha256 {
        return Err(BuildError::Input(format!(
            "{package} {version} has SHA-256 {found} and the package index says {}; run apt-get update and try again",
            candidate.sha256
        )));
    }
    std::fs::rename(&fetched, &file).map_err(BuildError::io("write", &file))?;
    Ok(file)
}

fn unpack(file: &Path, candidate: &Candidate, cache: &Path) -> Result<Unpacked> {
    let origin = candidate.origin.clone();
    let name = format!("{}-{}", origin.package, candidate.sha256.get(..16).unwrap_or(&candidate.sha256));
    let folder = cache.join(name);
    if !folder.exists() {
        let beside = tempfile::tempdir_in(cache).map_err(BuildError::io("create a folder in", cache))?;
        let tree = beside.path().join("tree");
        tool::run(Command::new("dpkg-deb").arg("--extract").arg(file).arg(&tree))?;
        if let Err(e) = std::fs::rename(&tree, &folder) {
            // Another build was faster: its tree has the same name, so the same bytes.
            if !folder.exists() {
                return Err(BuildError::io("create", &folder)(e));
            }
        }
    }
    Ok(Unpacked { origin, folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_and_only_the_first() {
        let text = "Package: a\nVersion: 1:2.0-1\nDescription: x\n Version: no\nSHA256: 00ff\n\nPackage: a\nVersion: 1";
        let found = parse_record(text).unwrap();
        assert_eq!(found.origin, Origin { package: "a".into(), version: "1:2.0-1".into() });
        assert_eq!(found.sha256, "00ff");
        assert_eq!(parse_record(""), None);
        assert_eq!(parse_record("Package: virtual\n"), None);
    }

    #[test]
    fn a_small_package_is_fetched_once_and_unpacked() {
        let first = fetch("shim-signed").unwrap();
        assert!(first.read("usr/lib/shim/shimx64.efi.signed").unwrap().starts_with(b"MZ"));
        assert!(first.read("no/such/file").unwrap_err().to_string().contains("shim-signed"));
        assert_eq!(fetch("shim-signed").unwrap(), first);
    }
}
