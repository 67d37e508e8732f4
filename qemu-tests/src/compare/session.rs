//! A session of the installed system: started in QEMU, upgraded, and switched off by itself.
//!
//! What is left on the disk is what a machine in use leaves: one more mount by the file system's own count, and the system's own
//! records of a start and a shutdown. A mounted image in which apt is run has neither.

use super::mount::Mounted;
use qemu_tests::guest::Guest;
use qemu_tests::machine::{Bus, Machine, Parts, run};
use qemu_tests::{Error, Result};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a desktop may take to start on an emulated processor, and an upgrade in it.
const LIMIT: Duration = Duration::from_secs(30 * 60);
/// MiB of memory of the machine.
const MEMORY: u32 = 3072;
/// No line has a login: a root shell stands on the serial line instead (systemd-debug-generator(8)). The screen that the desktop
/// would start has no use.
const OPTIONS: &str = "root=/dev/vda ro quiet systemd.unit=multi-user.target systemd.debug_shell=ttyS0";

/// A system that is running on an image.
pub(super) struct Session {
    guest: Guest,
    image: PathBuf,
    mounts: u32,
}

impl Session {
    /// Starts the system of an image (a file system without a table) with its own kernel, and waits until it is up. A further
    /// disk can be given; files are kept in `dir`.
    ///
    /// # Errors
    /// Where it does not come up.
    pub(super) fn start(image: &Path, further: Option<&Path>, dir: &Path) -> Result<Self> {
        let mounts = closed(image)?;
        let boot = dir.join("boot");
        kernel(image, &boot, &dir.join("root"))?;
        let mut parts = Parts::new("session", &boot).memory(MEMORY).disk(image, Bus::Virtio, "root");
        if let Some(file) = further {
            parts = parts.disk(file, Bus::Virtio, "packages");
        }
        // QEMU has the kernel it is given come first.
        parts.disks_boot_after = 1;
        let (kernel, initrd) = (boot.join("vmlinuz"), boot.join("initrd.img"));
        let text = |path: &Path| path.display().to_string();
        let machine: Machine =
            parts.with(&["-kernel", &text(&kernel), "-initrd", &text(&initrd), "-append", OPTIONS]).start()?;
        let mut guest = Guest::shell(machine)?;
        // It ends with a failure where some unit failed, as some do in a machine without a screen or a network.
        let state = guest.run("systemctl is-system-running --wait || true", LIMIT)?;
        println!("input: the system is up after {} seconds: {}", guest.machine.age().as_secs(), state.trim());
        Ok(Self { guest, image: image.to_path_buf(), mounts })
    }

    /// Runs a line of shell in it and gives what it prints.
    ///
    /// # Errors
    /// Where it fails.
    pub(super) fn run(&mut self, line: &str) -> Result<String> {
        self.guest.run(line, LIMIT)
    }

    /// Shuts it down in order, and looks whether that is what the image says.
    ///
    /// # Errors
    /// Where it does not switch off, or was mounted more than once.
    pub(super) fn end(mut self) -> Result<()> {
        // Its shell is on the way out: what it says of the bus that is gone already is no failure.
        self.guest.start("systemctl poweroff")?;
        self.guest.machine.wait_off(LIMIT)?;
        let mounts = closed(&self.image)?;
        if mounts != self.mounts + 1 {
            return Err(
                format!("{} was mounted {} times, not {}", self.image.display(), mounts, self.mounts + 1).into()
            );
        }
        Ok(())
    }
}

/// How often a file system was mounted so far, by its superblock.
///
/// # Errors
/// Where it was not closed in order.
fn closed(image: &Path) -> Result<u32> {
    let out = Command::new("dumpe2fs").arg("-h").arg(image).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    if !out.status.success() || text.contains("needs_recovery") {
        return Err(format!("{} is no ext4 that was closed in order", image.display()).into());
    }
    let count = text.lines().find_map(|l| l.strip_prefix("Mount count:")?.trim().parse().ok());
    count.ok_or_else(|| format!("dumpe2fs tells no mount count of {}", image.display()).into())
}

/// Copies the kernel of an image, and its initramfs, to a folder.
fn kernel(image: &Path, folder: &Path, at: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let root = Mounted::read_only(image, at)?;
    let mut kernels: Vec<PathBuf> =
        fs::read_dir(root.path().join("boot"))?.filter_map(|e| Some(e.ok()?.path())).collect();
    kernels.retain(|p| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("vmlinuz-")));
    kernels.sort();
    let newest = kernels.last().ok_or_else(|| -> Error { format!("{} has no kernel", image.display()).into() })?;
    let initrd = newest.to_string_lossy().replace("/boot/vmlinuz-", "/boot/initrd.img-");
    fs::copy(newest, folder.join("vmlinuz"))?;
    fs::copy(initrd, folder.join("initrd.img"))?;
    root.unmount()
}

/// A file system in a file, with a numbered folder for each of these upgrades of the system in `image`: the packages that its apt
/// wants for it. The image is only read.
///
/// # Errors
/// Where the archive does not have them any more.
pub(super) fn packages(image: &Path, upgrades: &[String], dir: &Path) -> Result<PathBuf> {
    let folder = dir.join("packages");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let root = Mounted::read_only(image, &dir.join("root"))?;
    let at = |below: &str| root.path().join(below).display().to_string();
    for (n, names) in upgrades.iter().enumerate() {
        let to = folder.join((n + 1).to_string());
        fs::create_dir_all(to.join("partial"))?;
        run(Command::new("apt-get")
            .args(["-q", "-y", "--download-only", "install", "--only-upgrade", "--no-remove"])
            // The system in the image, not the one that is running.
            .args(["-o", &format!("Dir={}", root.path().display())])
            .args(["-o", &format!("Dir::State::status={}", at("var/lib/dpkg/status"))])
            .args(["-o", &format!("Dir::Cache::archives={}", to.display())])
            .args(["-o", "Dir::Cache::pkgcache=", "-o", "Dir::Cache::srcpkgcache=", "-o", "Debug::NoLocking=true"])
            .args(["-o", "APT::Default-Release=", "-o", "APT::Install-Recommends=false"])
            .args(names.split(' ')))?;
        fs::remove_dir(to.join("partial"))?;
    }
    root.unmount()?;
    let file = dir.join("packages.img");
    File::create(&file)?.set_len(super::size(&folder)? * 5 / 4 + (64 << 20))?;
    run(Command::new("mke2fs").args(["-q", "-F", "-t", "ext4", "-d"]).arg(&folder).arg(&file))?;
    fs::remove_dir_all(folder)?;
    Ok(file)
}
