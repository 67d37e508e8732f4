//! Real Debian targets, made from packages: once, then used through overlays.
//!
//! The disk is GPT: a BIOS boot area, an ESP, an ext4 root and a swap area; GRUB starts it on BIOS and on UEFI. The
//! release's own packages are installed and the security archive's newer ones lie in `/opt/packages/upgrade`, so that a
//! real upgrade can be run, and cut, without a network.

use crate::machine::run;
use crate::{Error, Result, workspace};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian packages the recipe needs on the host.
pub const HOST_PACKAGES: &[&str] = &[
    "mmdebstrap",
    "e2fsprogs",
    "dosfstools",
    "mtools",
    "fdisk",
    "util-linux",
    "qemu-utils",
    "qemu-system-x86",
    "ovmf",
    "grub-common",
    "grub-pc-bin",
    "grub-efi-amd64-bin",
    "ipxe-qemu",
];

const MIB: u64 = 1 << 20;
const SIZE: u64 = 3072 * MIB;
/// Start and size of each partition in MiB.
const BIOS_BOOT: (u64, u64) = (1, 1);
const ESP: (u64, u64) = (2, 64);
const ROOT: (u64, u64) = (66, 2876);
const SWAP: (u64, u64) = (2942, 128);

const ROOT_UUID: &str = "7f1a0c1e-4c0b-4b7e-9d0e-0a5d5c1f0001";
const SWAP_UUID: &str = "7f1a0c1e-4c0b-4b7e-9d0e-0a5d5c1f0002";
const DISK_GUID: &str = "7F1A0C1E-4C0B-4B7E-9D0E-0A5D5C1F0003";
const ESP_ID: &str = "7F1A-0C1E";

/// What the target's root holds besides the essential packages.
const PACKAGES: &str = "systemd-sysv,linux-image-cloud-amd64,udev,kmod,e2fsprogs,less";

/// What it needs besides to install itself onto other file systems and layers ([`crate::stack`]), and to start from them.
const TOOLS: &str = "xfsprogs,btrfs-progs,lvm2,cryptsetup,cryptsetup-initramfs";

const HOOK: &str = include_str!("target-hook.sh");

const GRUB_CFG: &str = "\
set timeout=1
serial --unit=0 --speed=115200
terminal_input serial console
terminal_output serial console
menuentry 'Debian GNU/Linux' {
    search --no-floppy --fs-uuid --set=root ROOT_UUID
    linux /vmlinuz root=UUID=ROOT_UUID ro console=ttyS0,115200
    initrd /initrd.img
}
";

const GRUB_EARLY: &str = "\
serial --unit=0 --speed=115200
terminal_output serial console
search --no-floppy --fs-uuid --set=root ROOT_UUID
set prefix=($root)/boot/grub
configfile ($root)/boot/grub/grub.cfg
";

const GRUB_MODULES: &[&str] = &[
    "part_gpt",
    "ext2",
    "fat",
    "search",
    "search_fs_uuid",
    "configfile",
    "normal",
    "linux",
    "serial",
    "terminal",
    "echo",
    "test",
];

/// The freshly installed target: a raw disk image that is never written. Use it through [`crate::machine::overlay`].
///
/// Built on first use (about a minute), and again when the recipe changes.
///
/// # Errors
/// Where a package is missing or a tool fails.
pub fn debian(say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    made("target", PACKAGES, say)
}

/// The same with the tools that make other file systems and layers.
///
/// # Errors
/// As [`debian`].
pub fn with_tools(say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    made("target-tools", &format!("{PACKAGES},{TOOLS}"), say)
}

fn made(name: &str, packages: &str, say: &mut dyn FnMut(&str)) -> Result<PathBuf> {
    // Scenarios that run side by side want the same one.
    let turn = File::create(workspace::cache()?.join("target.lock"))?;
    turn.lock()?;
    let dir = workspace::cache()?.join(name);
    let disk = dir.join("debian.img");
    let stamp = dir.join("recipe");
    let recipe = recipe()?;
    if disk.exists() && fs::read_to_string(&stamp).is_ok_and(|s| s == recipe) {
        return Ok(disk);
    }
    if dir.exists() {
        as_root("rm").arg("-rf").arg(&dir).status()?;
    }
    fs::create_dir_all(&dir)?;
    say("installing a Debian from packages into a folder");
    let root = dir.join("root");
    install(&dir, &root, packages)?;
    say("writing it onto a disk image");
    write_disk(&dir, &root, &disk)?;
    run(as_root("rm").arg("-rf").arg(&root))?;
    fs::write(stamp, recipe)?;
    Ok(disk)
}

/// Names the recipe: everything the image depends on, but for the archive's state.
///
/// # Errors
/// Where the host's os-release cannot be read.
pub fn recipe() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release")?;
    let mut hash = Sha256::new();
    for part in [HOOK, GRUB_CFG, GRUB_EARLY, PACKAGES, TOOLS, ROOT_UUID, &release, include_str!("target.rs")] {
        hash.update(part);
    }
    Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

/// The command, through sudo where this is not root.
fn as_root(program: &str) -> Command {
    if nix::unistd::geteuid().is_root() {
        return Command::new(program);
    }
    let mut sudo = Command::new("sudo");
    sudo.args(["--preserve-env=ROOT_UUID,SWAP_UUID,ESP_ID,GRUB_CFG", program]);
    sudo
}

/// The host's own release and package sources: what its apt can fetch, so can ours.
fn install(dir: &Path, root: &Path, packages: &str) -> Result<()> {
    let hook = dir.join("hook.sh");
    fs::write(&hook, HOOK)?;
    let grub_cfg = dir.join("grub.cfg");
    fs::write(&grub_cfg, GRUB_CFG.replace("ROOT_UUID", ROOT_UUID))?;
    let suite = suite()?;
    let mut command = as_root("mmdebstrap");
    command
        .args(["--quiet", "--variant=apt", "--format=directory", "--include", packages])
        .args(["--aptopt=APT::Install-Recommends \"false\"", &format!("--aptopt=APT::Default-Release \"{suite}\"")])
        .arg(format!("--customize-hook=sh '{}' \"$1\"", hook.display()))
        .arg(&suite)
        .arg(root)
        .env("ROOT_UUID", ROOT_UUID)
        .env("SWAP_UUID", SWAP_UUID)
        .env("ESP_ID", ESP_ID)
        .env("GRUB_CFG", &grub_cfg);
    let sources = debian_sources()?;
    if sources.is_empty() {
        return Err("no Debian package source was found in /etc/apt; mmdebstrap needs one".into());
    }
    run(command.args(sources))
}

/// The host's own release, which is what is installed.
///
/// # Errors
/// Where /etc/os-release names none.
pub fn suite() -> Result<String> {
    os_release("VERSION_CODENAME").ok_or("/etc/os-release names no VERSION_CODENAME; a Debian is needed".into())
}

/// The value of a key of /etc/os-release.
fn os_release(key: &str) -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix('='))?;
    Some(line.trim_matches('"').to_owned())
}

/// The source files of the host that name Debian's own archive.
///
/// # Errors
/// None so far: a folder that cannot be read has no source in it.
pub fn debian_sources() -> Result<Vec<PathBuf>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(entries.filter_map(|e| Some(e.ok()?.path())));
    }
    files.retain(|f| {
        let known = f.extension().is_some_and(|e| e == "list" || e == "sources");
        known && fs::read_to_string(f).is_ok_and(|t| t.contains("debian-archive") || t.contains("debian.org"))
    });
    files.sort();
    Ok(files)
}

/// Those source files for another release of Debian than the host's own, written to a folder.
///
/// # Errors
/// Where there is none, or one cannot be read.
pub fn sources_of(suite: &str, folder: &Path) -> Result<Vec<PathBuf>> {
    let own = self::suite()?;
    fs::create_dir_all(folder)?;
    let mut files = Vec::new();
    for file in debian_sources()? {
        let other = folder.join(file.file_name().ok_or("a package source without a name")?);
        fs::write(&other, fs::read_to_string(&file)?.replace(&own, suite))?;
        files.push(other);
    }
    if files.is_empty() { Err("no Debian package source was found in /etc/apt".into()) } else { Ok(files) }
}

fn write_disk(dir: &Path, root: &Path, disk: &Path) -> Result<()> {
    let image = disk.with_extension("partial");
    File::create(&image)?.set_len(SIZE)?;
    partition(&image)?;
    let offset = |part: (u64, u64)| (part.0 * MIB).to_string();
    run(as_root("mke2fs")
        .args(["-q", "-F", "-t", "ext4", "-L", "root", "-U", ROOT_UUID, "-d"])
        .arg(root)
        .args(["-E", &format!("offset={}", offset(ROOT))])
        .arg(&image)
        .arg(format!("{}m", ROOT.1)))?;
    graft(&image, ESP, &dir.join("esp.img"), |file| esp(dir, file))?;
    graft(&image, SWAP, &dir.join("swap.img"), |file| {
        run(Command::new("mkswap").args(["-q", "-U", SWAP_UUID]).arg(file))
    })?;
    bios_loader(&early(), dir, &image)?;
    fs::rename(image, disk)?;
    Ok(())
}

/// What GRUB's core does: it looks for the root, and goes by the menu there.
fn early() -> String {
    GRUB_EARLY.replace("ROOT_UUID", ROOT_UUID)
}

fn partition(image: &Path) -> Result<()> {
    let script = format!(
        "label: gpt\nlabel-id: {DISK_GUID}\nunit: sectors\n\
         start={}, size={}, type=21686148-6449-6E6F-744E-656564454649\n\
         start={}, size={}, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=ESP\n\
         start={}, size={}, type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709, name=root\n\
         start={}, size={}, type=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F, name=swap\n",
        BIOS_BOOT.0 * 2048,
        BIOS_BOOT.1 * 2048,
        ESP.0 * 2048,
        ESP.1 * 2048,
        ROOT.0 * 2048,
        ROOT.1 * 2048,
        SWAP.0 * 2048,
        SWAP.1 * 2048
    );
    sfdisk(image, &script)
}

/// Has sfdisk make the table that its script says.
///
/// # Errors
/// Where it fails.
pub(crate) fn sfdisk(image: &Path, script: &str) -> Result<()> {
    let mut sfdisk = Command::new("sfdisk")
        .args(["-q", "--no-reread"])
        .arg(image)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()?;
    sfdisk.stdin.take().ok_or("no pipe to sfdisk")?.write_all(script.as_bytes())?;
    if sfdisk.wait()?.success() { Ok(()) } else { Err("sfdisk failed".into()) }
}

/// Makes a volume in a file of its own and copies what is in it to its place on the disk, holes left as holes.
fn graft(image: &Path, place: (u64, u64), file: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    File::create(file)?.set_len(place.1 * MIB)?;
    make(file)?;
    let mut from = File::open(file)?;
    let mut to = File::options().write(true).open(image)?;
    let mut block = vec![0; 64 * 1024];
    let mut at = place.0 * MIB;
    loop {
        let n = from.read(&mut block)?;
        if n == 0 {
            break;
        }
        if block[..n].iter().any(|b| *b != 0) {
            to.seek(SeekFrom::Start(at))?;
            to.write_all(&block[..n])?;
        }
        at += n as u64;
    }
    fs::remove_file(file)?;
    Ok(())
}

fn esp(dir: &Path, file: &Path) -> Result<()> {
    run(Command::new("mkfs.vfat").args(["-F", "32", "-n", "ESP", "-i", &ESP_ID.replace('-', "")]).arg(file))?;
    let loader = dir.join("bootx64.efi");
    grub_image("x86_64-efi", &early(), dir, &loader)?;
    run(Command::new("mmd").arg("-i").arg(file).args(["::/EFI", "::/EFI/BOOT"]))?;
    run(Command::new("mcopy").arg("-i").arg(file).arg(loader).arg("::/EFI/BOOT/BOOTX64.EFI"))
}

fn grub_image(format: &str, says: &str, dir: &Path, out: &Path) -> Result<()> {
    let early = dir.join("early.cfg");
    fs::write(&early, says)?;
    let mut command = Command::new("grub-mkimage");
    command.args(["-O", format, "-p", "/boot/grub", "-c"]).arg(early).arg("-o").arg(out).args(GRUB_MODULES);
    if format == "i386-pc" {
        command.arg("biosdisk");
    }
    run(&mut command)
}

/// Puts GRUB's boot sector into the MBR, and its core image, which does what `early` says, into the BIOS boot area.
///
/// # Errors
/// Where a part of GRUB is missing, or the image cannot be written.
pub(crate) fn bios_loader(early: &str, dir: &Path, image: &Path) -> Result<()> {
    let core = dir.join("core.img");
    grub_image("i386-pc", early, dir, &core)?;
    let boot = fs::read("/usr/lib/grub/i386-pc/boot.img")
        .map_err(|e| -> Error { format!("GRUB's boot.img cannot be read ({e}); package grub-pc-bin").into() })?;
    let mut disk = File::options().read(true).write(true).open(image)?;
    image_builder::bios::embed(&mut disk, &boot, &fs::read(core)?, model::units::Lba(BIOS_BOOT.0 * 2048))?;
    Ok(())
}
