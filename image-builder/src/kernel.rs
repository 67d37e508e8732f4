//! The kernel of the image: the newest signed one that Debian offers this host, or one given by hand.

use crate::error::{BuildError, Result};
use crate::package::{self, Origin};
use crate::{elf, tool};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel and its modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What `uname -r` says: the name of the modules' folder.
    pub release: String,
    /// The bzImage.
    pub image: PathBuf,
    /// `lib/modules/<release>`.
    pub modules: PathBuf,
    /// The package, unless given by hand.
    pub origin: Option<Origin>,
}

impl Kernel {
    /// The newest signed kernel that apt offers.
    ///
    /// # Errors
    /// One sentence when there is none, or it cannot be fetched.
    pub fn newest() -> Result<Self> {
        let package = package::fetch(&newest_package()?)?;
        // Debian 13 ships modules below /usr (merged-usr).
        let modules = ["lib/modules", "usr/lib/modules"]
            .iter()
            .map(|p| package.folder.join(p))
            .find(|p| p.is_dir())
            .ok_or_else(|| BuildError::Input(format!("{} has no lib/modules", package.origin.package)))?;
        let release = only_entry(&modules)?;
        let boot = package.folder.join("boot");
        let kernel = Self {
            image: boot.join(format!("vmlinuz-{release}")),
            modules: modules.join(&release),
            origin: Some(package.origin),
            release: release.clone(),
        };
        check_image(&kernel.image)?;
        let config = boot.join(format!("config-{release}"));
        let text = std::fs::read_to_string(&config).map_err(BuildError::io("read", &config))?;
        check_config(&text, &kernel.release)?;
        Ok(kernel)
    }

    /// A kernel given by hand: a bzImage and the folder `lib/modules/<release>` that belongs to it.
    ///
    /// # Errors
    /// When they are not what they should be.
    pub fn given(image: &Path, modules: &Path) -> Result<Self> {
        check_image(image)?;
        let whole = modules.canonicalize().map_err(BuildError::io("read", modules))?;
        let release = whole.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        if !whole.join("kernel").is_dir() {
            return Err(BuildError::Input(format!(
                "{} has no folder `kernel`; give the folder lib/modules/RELEASE of the kernel",
                modules.display()
            )));
        }
        Ok(Self { release, image: image.to_path_buf(), modules: whole, origin: None })
    }
}

/// The name of the newest package: `linux-image-<version>-amd64`, described as signed.
fn newest_package() -> Result<String> {
    let find = || package::search("^linux-image-[0-9.]+([+]deb[0-9]+|-[0-9]+)?-amd64$");
    let mut found = newest_of(&find()?)?;
    if found.is_none() {
        crate::host::update_lists()?;
        found = newest_of(&find()?)?;
    }
    found.ok_or_else(|| BuildError::Host {
        what: "this host's apt sources offer no signed kernel (linux-image-VERSION-amd64)".to_owned(),
        advice: "add Debian's `main` component to apt's sources, or give --kernel FILE --modules DIR".to_owned(),
    })
}

fn newest_of(packages: &[(String, String)]) -> Result<Option<String>> {
    let mut best: Option<(&str, &str)> = None;
    for (name, description) in packages {
        let version = name.strip_prefix("linux-image-").and_then(|v| v.strip_suffix("-amd64"));
        let Some(version) = version.filter(|_| description.contains("(signed)")) else { continue };
        if best.is_none_or(|(_, old)| is_newer(version, old)) {
            best = Some((name, version));
        }
    }
    Ok(best.map(|(name, _)| name.to_owned()))
}

fn is_newer(a: &str, b: &str) -> bool {
    tool::run(Command::new("dpkg").args(["--compare-versions", a, "gt", b])).is_ok()
}

fn only_entry(folder: &Path) -> Result<String> {
    let entries = std::fs::read_dir(folder).map_err(BuildError::io("read", folder))?;
    let mut names: Vec<String> =
        entries.filter_map(|e| e.ok()).map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    match (names.pop(), names.is_empty()) {
        (Some(name), true) => Ok(name),
        _ => Err(BuildError::Input(format!("{} should hold the modules of one kernel", folder.display()))),
    }
}

/// A bzImage has `HdrS` at 0x202 (kernel documentation, arch/x86/boot.rst).
fn check_image(file: &Path) -> Result<()> {
    let bytes = std::fs::read(file).map_err(BuildError::io("read", file))?;
    if elf::slice(&bytes, 0x202, 4) == Some(b"HdrS") {
        return Ok(());
    }
    Err(BuildError::Input(format!("{} is not an x86 kernel image (no HdrS at 0x202)", file.display())))
}

/// What the image takes for granted of its kernel; modules cover the rest.
const BUILT_IN: [(&str, &str); 6] = [
    ("CONFIG_RD_ZSTD", "unpack the initramfs"),
    ("CONFIG_DEVTMPFS", "make device nodes"),
    ("CONFIG_VIRTIO_PCI", "see virtio devices"),
    ("CONFIG_SERIAL_8250_CONSOLE", "speak on the serial line"),
    ("CONFIG_SECCOMP_FILTER", "confine the parser"),
    ("CONFIG_FB_EFI", "draw on a UEFI screen"),
];

fn check_config(config: &str, release: &str) -> Result<()> {
    let on = |name: &str| config.lines().any(|l| l.strip_prefix(name) == Some("=y"));
    for (name, what) in BUILT_IN {
        // simpledrm took efifb's place in some kernels.
        let stand_in = name == "CONFIG_FB_EFI" && on("CONFIG_DRM_SIMPLEDRM");
        if !on(name) && !stand_in {
            return Err(BuildError::Input(format!(
                "kernel {release} is built without {name}=y, which the image needs to {what}; \
                 give another with --kernel FILE --modules DIR"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    #[test]
    fn the_newest_signed_one_wins() {
        let list = named(&[
            ("linux-image-6.1.0-50-amd64", "Linux 6.1 for 64-bit PCs (signed)"),
            ("linux-image-6.12.9+deb12-amd64", "Linux 6.12 for 64-bit PCs (signed)"),
            ("linux-image-6.12.117+deb12-amd64", "Linux 6.12 for 64-bit PCs (signed)"),
            ("linux-image-6.12-amd64", "Linux for 64-bit PCs (meta-package)"),
            ("linux-image-6.13.1-amd64", "Linux 6.13 for 64-bit PCs"),
            ("linux-image-6.12.99+deb12-amd64", "Linux 6.12 for 64-bit PCs (signed)"),
        ]);
        assert_eq!(newest_of(&list).unwrap().as_deref(), Some("linux-image-6.12.117+deb12-amd64"));
        assert_eq!(newest_of(&[]).unwrap(), None);
    }

    #[test]
    fn debian_offers_one_here() {
        let name = newest_package().unwrap();
        assert!(name.starts_with("linux-image-") && !name.contains("cloud") && !name.contains("rt"), "{name}");
    }

    #[test]
    fn a_kernel_without_what_we_need_is_refused_by_name() {
        let good: String = BUILT_IN.iter().map(|(n, _)| format!("{n}=y\n")).collect();
        assert!(check_config(&good, "6.12").is_ok());
        let bad = good.replace("CONFIG_RD_ZSTD=y", "# CONFIG_RD_ZSTD is not set");
        assert!(check_config(&bad, "6.12").unwrap_err().to_string().contains("CONFIG_RD_ZSTD"));
        let drm = good.replace("CONFIG_FB_EFI=y", "CONFIG_DRM_SIMPLEDRM=y");
        assert!(check_config(&drm, "6.12").is_ok());
    }

    #[test]
    fn other_files_are_no_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("k");
        std::fs::write(&file, b"short").unwrap();
        assert!(check_image(&file).is_err());
        let mut image = vec![0; 0x300];
        image[0x202..0x206].copy_from_slice(b"HdrS");
        std::fs::write(&file, image).unwrap();
        assert!(check_image(&file).is_ok());
        assert!(Kernel::given(&file, folder.path()).is_err());
    }
}
