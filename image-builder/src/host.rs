//! What the building host must have, and how it gets it.
//!
//! Only tools that are *run* are installed. What goes into the image is downloaded and unpacked ([`crate::package`]).

use crate::error::{BuildError, Result};
use crate::tool;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

/// What the packages are for, to be shown to the user before they are installed.
const REASONS: &[(&str, &str)] = &[
    ("borgbackup", "is measured beside Holdfast"),
    ("bsdutils", "records terminals for the tests"),
    ("cpio", "checks the initramfs"),
    ("dosfstools", "makes and checks FAT file systems"),
    ("dpkg", "unpacks the kernel and the boot loaders"),
    ("dpkg-dev", "makes packages for the tests"),
    ("e2fsprogs", "makes and checks ext4 file systems"),
    ("fdisk", "makes and reads partition tables"),
    ("gcc", "links the programs of the image"),
    ("gdisk", "checks partition tables"),
    ("grub-common", "makes boot loaders for test machines"),
    ("grub-efi-amd64-bin", "is the UEFI boot loader of test machines"),
    ("grub-pc-bin", "is the BIOS boot loader of test machines"),
    ("ipxe-qemu", "boots virtual machines from the network"),
    ("libc6-dev", "is the C library the programs of the image are linked with"),
    ("mmdebstrap", "installs Debian onto test disks"),
    ("mount", "mounts images for the tests"),
    ("mtools", "reads and writes FAT images"),
    ("ovmf", "is the UEFI firmware of virtual machines"),
    ("partclone", "is measured beside Holdfast"),
    ("procps", "counts processes for the tests"),
    ("qemu-system-x86", "runs virtual machines"),
    ("qemu-utils", "makes disk images"),
    ("restic", "is measured beside Holdfast"),
    ("systemd", "reads journals for the tests"),
    ("systemd-journal-remote", "writes journals for the tests"),
    ("util-linux", "makes swap space and reads disks"),
    ("xz-utils", "unpacks the kernel's modules"),
    ("zstd", "compresses what partclone saves"),
];

/// How often packages are installed until none is missing.
const ROUNDS: usize = 3;

/// Makes sure the host has these Debian packages, installing what is missing.
///
/// Says on standard error what it installs and why before it does.
///
/// # Errors
/// [`BuildError::Host`] with one sentence saying what to do, where it cannot install.
pub fn require(packages: &[&str]) -> Result<()> {
    // apt may remove one wanted package for another: a backport of the one that does not go with the other. The next round
    // brings it back in a version that does.
    for _ in 0..ROUNDS {
        let lacking = missing(packages)?;
        if lacking.is_empty() {
            return Ok(());
        }
        install(&lacking)?;
    }
    match missing(packages)?.first() {
        None => Ok(()),
        Some(package) => Err(BuildError::Host {
            what: format!("apt-get ended well and {package} is still not installed"),
            advice: format!("see `apt-cache policy {package}`"),
        }),
    }
}

fn install(lacking: &[&str]) -> Result<()> {
    for package in lacking {
        let reason = REASONS.iter().find(|(p, _)| p == package).map_or("is needed here", |(_, why)| why);
        eprintln!("host: installing {package}: it {reason}");
    }
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(lacking);
    if apt_get(&install, lacking).is_err() {
        // A fresh machine has no package lists, an old one has stale ones.
        apt_get(&["update"], lacking)?;
        apt_get(&install, lacking)?;
    }
    Ok(())
}

/// Those of the packages that are not installed.
///
/// # Errors
/// [`BuildError::Host`] where the host has no dpkg.
pub fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    let Some(query) = tool::find("dpkg-query") else {
        return Err(BuildError::Host { what: "this host has no dpkg".to_owned(), advice: NOT_DEBIAN.to_owned() });
    };
    // It fails where it does not know a name, and answers for the others.
    let answer = Command::new(query)
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output()
        .map_err(|e| BuildError::Tool { command: "dpkg-query".to_owned(), why: e.to_string() })?;
    let answer = String::from_utf8_lossy(&answer.stdout);
    let installed = |p: &str| answer.lines().any(|l| l.split_once(' ') == Some((p, "installed")));
    let mut lacking: Vec<&str> = packages.iter().copied().filter(|p| !installed(p)).collect();
    lacking.sort_unstable();
    lacking.dedup();
    Ok(lacking)
}

/// Reads the package lists anew.
///
/// # Errors
/// As [`require`].
pub fn update_lists() -> Result<()> {
    eprintln!("host: reading Debian's package lists");
    apt_get(&["update"], &[])
}

/// Runs apt-get as root, directly or through sudo.
fn apt_get(arguments: &[&str], packages: &[&str]) -> Result<()> {
    let by_hand = match packages {
        [] => "apt-get update".to_owned(),
        list => format!("apt-get install {}", list.join(" ")),
    };
    let what = || match packages {
        [] => "package lists are missing on this host".to_owned(),
        list => format!("this host lacks {}", list.join(", ")),
    };
    if tool::find("apt-get").is_none() {
        return Err(BuildError::Host { what: format!("{} and has no apt-get", what()), advice: NOT_DEBIAN.to_owned() });
    }
    let root = Path::new("/proc/self").metadata().is_ok_and(|m| m.uid() == 0);
    let mut command = if root {
        Command::new("env")
    } else if tool::find("sudo").is_some() {
        let mut sudo = Command::new("sudo");
        sudo.arg("env");
        sudo
    } else {
        return Err(BuildError::Host { what: what(), advice: format!("run as root: {by_hand}") });
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).args(arguments);
    eprintln!("host: {}", tool::shown(&command));
    // Standard output may be a machine's: the user's progress goes to standard error.
    command.stdout(std::io::stderr());
    tool::run_shown(&mut command).map_err(|e| BuildError::Host {
        what: e.to_string(),
        advice: format!("check the network and apt's sources, then run as root: {by_hand}"),
    })
}

/// What to do on a host that is no Debian.
pub(crate) const NOT_DEBIAN: &str = "build on Debian 12 or newer";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_missing() {
        assert_eq!(missing(&["dpkg", "no-such-package", "base-files"]).unwrap(), ["no-such-package"]);
        assert!(missing(&[]).unwrap().is_empty());
        assert!(require(&["dpkg", "base-files"]).is_ok());
    }

    #[test]
    fn reasons_are_sorted_and_whole() {
        assert!(REASONS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(REASONS.iter().all(|(_, why)| !why.is_empty()));
    }
}
