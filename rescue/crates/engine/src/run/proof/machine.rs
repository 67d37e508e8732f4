//! The virtual machine that a snapshot is tried in: what it is made of, and QEMU's command line for it.
//!
//! It has a processor, memory, the snapshot's disks, a serial line, a power button and a screen that nobody sees. No network, no
//! device, file or folder of this computer: everything it reads and writes comes over sockets it was started with.

use model::assessment::Report;
use model::command::ExitCode;
use model::evidence::{BootPart, Fact};
use model::inspection::{Content, GPT_ESP, Hardware, TableKind};
use model::proof::{Accelerator, Bus, Firmware, Trial};
use serde_json::json;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use sys::process::FIRST_INHERITED;

use crate::run::Stop;

/// The program, and the Debian package that has it.
const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";
/// UEFI without Secure Boot, as Debian's package `ovmf` has it: its code, and its variables before anything was set.
const OVMF: (&str, &str) = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd");
const OVMF_PACKAGE: &str = "ovmf";
/// MiB of memory.
const MEMORY: u32 = 1024;
/// Most disks: what q35's own AHCI controller has ports for.
pub(super) const MOST_DISKS: usize = 6;
/// Longest serial number that a disk can have in every kind of machine (ATA).
const MOST_SERIAL: usize = 20;

/// Descriptors that QEMU inherits: its control line, the serial line, then the disks, then the firmware's variables.
const CONTROL: i32 = FIRST_INHERITED;
const SERIAL: i32 = FIRST_INHERITED + 1;
const DISKS: i32 = FIRST_INHERITED + 2;

/// A disk of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attached {
    /// The name of its export.
    pub(super) name: String,
    pub(super) bus: Bus,
    pub(super) serial: Option<String>,
    /// Bytes of a sector.
    pub(super) sector: u32,
}

/// What a machine is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) firmware: Firmware,
    pub(super) accelerator: Accelerator,
    pub(super) disks: Vec<Attached>,
}

/// QEMU on this computer.
///
/// # Errors
/// [`Stop`] where it is not installed, with the package that has it.
pub(super) fn program(path: Option<&OsStr>) -> Result<PathBuf, Stop> {
    let found = path.and_then(|path| std::env::split_paths(path).map(|dir| dir.join(QEMU)).find(|file| file.is_file()));
    found.ok_or_else(|| missing(&format!("there is no {QEMU} on this computer"), QEMU_PACKAGE))
}

fn missing(says: &str, package: &str) -> Stop {
    let advice = format!("install it (Debian: package {package}); nothing was started");
    Stop::failed(ExitCode::Refused, says, advice)
}

/// The firmware's variables before anything was set.
///
/// # Errors
/// [`Stop`] where they are not there, with the package that has them.
pub(super) fn variables() -> Result<Vec<u8>, Stop> {
    std::fs::read(OVMF.1).map_err(|e| missing(&format!("{} cannot be read: {e}", OVMF.1), OVMF_PACKAGE))
}

/// Chooses the firmware by how the first disk can be started, and by whether there is one. Where the machine's own firmware had entries
/// for its disks (`known`), it is UEFI.
///
/// # Errors
/// [`Stop`] where it starts on UEFI alone, and there is none here.
pub(super) fn firmware(report: &Report, known: bool) -> Result<Firmware, Stop> {
    let (uefi, bios) = starts(report);
    match (uefi || known, bios, Path::new(OVMF.0).is_file()) {
        (true, _, true) => Ok(Firmware::Uefi),
        (true, false, false) => {
            Err(missing("the snapshot starts on UEFI, and there is none for QEMU here", OVMF_PACKAGE))
        }
        _ => Ok(Firmware::Bios),
    }
}

/// On what the first disk can be started: on UEFI, on a BIOS. A disk without anything of either is tried on a BIOS.
fn starts(report: &Report) -> (bool, bool) {
    let Some(disk) = report.inspection.disks.first() else { return (false, true) };
    let Some(table) = disk.table.as_ref().filter(|t| t.kind == TableKind::Gpt) else { return (false, true) };
    let bios = disk.volumes.iter().any(|v| v.content == Content::BiosBoot);
    let esp = |kind: &str| kind == GPT_ESP;
    let has_esp = table.partitions.iter().any(|p| esp(&p.type_id));
    let loader =
        evidence(report).any(|(_, fact)| matches!(fact, Fact::BootPart { part: BootPart::Loader, broken: None }));
    (has_esp && (loader || !bios), bios || !has_esp)
}

/// Facts with the paths they were read at.
fn evidence(report: &Report) -> impl Iterator<Item = (&[u8], &Fact)> {
    let all = report.systems.iter().flat_map(|s| &s.evidence);
    all.map(|e| (e.origin.path.as_ref().map_or(&[][..], |p| &p.0[..]), &e.fact))
}

/// How a disk is attached: as it was, where that is known and there is such a thing here. Kernels that are made for virtual
/// machines know virtio and may know nothing else; every other kernel knows AHCI.
pub(super) fn bus(trial: &Trial, hardware: &Hardware, report: &Report) -> Bus {
    let sector = hardware.sector.0;
    let chosen = trial.bus.unwrap_or_else(|| match hardware.transport.as_str() {
        "nvme" => Bus::Nvme,
        "virtio" => Bus::Virtio,
        _ if is_for_virtual_machines(report) => Bus::Virtio,
        _ => Bus::Sata,
    });
    // QEMU's AHCI disks have sectors of 512 bytes and no others.
    if chosen == Bus::Sata && sector != 512 { Bus::Virtio } else { chosen }
}

/// The names that Debian and Ubuntu give to such kernels.
fn is_for_virtual_machines(report: &Report) -> bool {
    let kernel = [BootPart::Kernel, BootPart::Initramfs, BootPart::Modules];
    let mut paths = evidence(report)
        .filter(|(_, fact)| matches!(fact, Fact::BootPart { part, .. } if kernel.contains(part)))
        .map(|(path, _)| String::from_utf8_lossy(path));
    paths.any(|path| ["-cloud", "-virtual", "-kvm"].iter().any(|name| path.contains(name)))
}

/// Refuses a system for another kind of processor: what this machine cannot start says nothing of the snapshot.
///
/// # Errors
/// [`Stop`], where the names of its kernels and libraries tell.
pub(super) fn processor(report: &Report) -> Result<(), Stop> {
    let own = ["amd64", "x86_64", "x86-64", "i386", "686"];
    let others = ["aarch64", "arm64", "armhf", "armmp", "ppc64", "riscv64", "s390x", "mips"];
    let telling = [BootPart::Kernel, BootPart::Libc];
    let paths: Vec<String> = evidence(report)
        .filter(|(_, fact)| matches!(fact, Fact::BootPart { part, broken: None } if telling.contains(part)))
        .map(|(path, _)| String::from_utf8_lossy(path).into_owned())
        .collect();
    let named = |names: &[&'static str]| names.iter().copied().find(|name| paths.iter().any(|p| p.contains(name)));
    match (named(&own), named(&others)) {
        (None, Some(other)) => {
            let says = format!("the system is for another processor ({other}): virtual machines here are x86-64");
            Err(Stop::failed(ExitCode::Refused, says, "nothing was started"))
        }
        _ => Ok(()),
    }
}

/// A serial number that QEMU takes as it is; others are left out.
pub(super) fn serial(hardware: &Hardware) -> Option<String> {
    let serial = hardware.serial.as_ref()?.as_str();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    ((1..=MOST_SERIAL).contains(&serial.len()) && serial.chars().all(plain)).then(|| serial.to_owned())
}

/// QEMU's arguments. It inherits the descriptors in the order of [`CONTROL`], [`SERIAL`], [`DISKS`].
pub(super) fn arguments(machine: &Machine) -> Vec<String> {
    let accelerator = match machine.accelerator {
        Accelerator::Tcg => "tcg,thread=multi",
        Accelerator::Kvm => "kvm",
    };
    // One processor where QEMU emulates it: with two, a kernel that patches its own code while it starts now and then traps on
    // the other one (seen with QEMU 7.2).
    let processors = if machine.accelerator == Accelerator::Kvm { "2" } else { "1" };
    // Without graphics SeaBIOS talks on the serial line too, and so does what prints through it.
    let mut kind = "q35,graphics=off,usb=off".to_owned();
    if machine.firmware == Firmware::Uefi {
        kind.push_str(",pflash0=code,pflash1=variables");
    }
    let memory = MEMORY.to_string();
    let mut out: Vec<String> = [
        ["-name", "holdfast-prove"],
        ["-machine", &kind],
        ["-accel", accelerator],
        ["-cpu", "max"],
        ["-smp", processors],
        ["-m", &memory],
        ["-rtc", "base=utc"],
        ["-display", "none"],
        ["-monitor", "none"],
        ["-nic", "none"],
        ["-device", "VGA"],
        ["-device", "pvpanic"],
        // What it cannot do once it runs: start programs, gain rights, change its own limits, use obsolete calls.
        ["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
        ["-chardev", &format!("socket,id=control,fd={CONTROL}")],
        ["-mon", "chardev=control,mode=control"],
        ["-chardev", &format!("socket,id=serial,fd={SERIAL}")],
        ["-serial", "chardev:serial"],
    ]
    .concat()
    .into_iter()
    .map(str::to_owned)
    .collect();
    out.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
    for ((index, disk), fd) in machine.disks.iter().enumerate().zip(DISKS..) {
        out.extend(["-blockdev".to_owned(), exported(&disk.name, &disk.name, fd)]);
        // An order that QEMU tells goes before what the variables of UEFI say.
        let order = (machine.firmware == Firmware::Bios).then(|| format!(",bootindex={index}"));
        out.extend(["-device".to_owned(), device(index, disk) + &order.unwrap_or_default()]);
    }
    if machine.firmware == Firmware::Uefi {
        let code = json!({
            "driver": "raw", "node-name": "code", "read-only": true,
            "file": { "driver": "file", "filename": OVMF.0, "read-only": true },
        });
        out.extend(["-blockdev".to_owned(), code.to_string()]);
        let fd = (DISKS..).nth(machine.disks.len()).unwrap_or(DISKS);
        out.extend(["-blockdev".to_owned(), exported("variables", VARIABLES, fd)]);
    }
    out
}

/// The export of the firmware's variables.
pub(super) const VARIABLES: &str = "variables";

/// A block device of this node name whose bytes come over an inherited socket. Its format is told: none is guessed.
fn exported(node: &str, export: &str, fd: i32) -> String {
    let server = json!({ "type": "fd", "str": fd.to_string() });
    json!({
        "driver": "raw", "node-name": node,
        "file": { "driver": "nbd", "server": server, "export": export },
    })
    .to_string()
}

fn device(index: usize, disk: &Attached) -> String {
    let kind = match disk.bus {
        Bus::Sata => format!("ide-hd,bus=ide.{index}"),
        Bus::Virtio => "virtio-blk-pci".to_owned(),
        Bus::Nvme => "nvme".to_owned(),
    };
    let name = &disk.name;
    let mut out = format!("{kind},drive={name}");
    match (&disk.serial, disk.bus) {
        (Some(serial), _) => out.push_str(&format!(",serial={serial}")),
        // NVMe cannot be without.
        (None, Bus::Nvme) => out.push_str(&format!(",serial={name}")),
        (None, _) => {}
    }
    if disk.bus != Bus::Nvme {
        // The machine sees what fails; it is not stopped for it.
        out.push_str(",werror=report,rerror=report");
    }
    if disk.sector != 512 {
        out.push_str(&format!(",logical_block_size={0},physical_block_size={0}", disk.sector));
    }
    out
}

#[cfg(test)]
mod tests;
