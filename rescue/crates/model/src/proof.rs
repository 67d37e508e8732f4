//! Proofs: what came of starting a snapshot in a virtual machine.

use crate::id::SnapshotId;
use crate::text::DisplayText;
use crate::units::ByteLen;
use serde::{Deserialize, Serialize};

/// How a snapshot is to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Seconds that its start may take; what the machine needs to write its records out comes on top of it.
    pub timeout: u32,
    /// What computes for it.
    pub accelerator: Accelerator,
    /// How its disks are attached; chosen by what the snapshot says of them where `None`.
    pub bus: Option<Bus>,
}

impl Trial {
    /// Seconds a start may take where nothing else is said. An emulated processor is slow.
    pub const TIMEOUT: u32 = 600;
    /// Most seconds that can be asked for: a day.
    pub const LONGEST: u32 = 24 * 60 * 60;
}

/// What computes for a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// QEMU itself: slow, and works everywhere.
    Tcg,
    /// The kernel's KVM. That `/dev/kvm` is there does not tell that a kernel starts on it, so it is never chosen unasked.
    Kvm,
}

/// How the disks of a virtual machine are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// AHCI.
    Sata,
    /// virtio-blk.
    Virtio,
    /// NVMe.
    Nvme,
}

/// What starts the system of a virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF, without Secure Boot.
    Uefi,
}

/// What is held of a snapshot once it was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The system's own records say that this start came up.
    Proven,
    /// It did not come up.
    NotProven,
    /// Nothing there tells how far it came.
    Unknown,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// What is held of it.
    pub verdict: Verdict,
    /// By what, or why not: a sentence without a full stop.
    pub why: DisplayText,
    /// The system that was looked at.
    pub system: Option<DisplayText>,
    /// The id of the start that was seen, 32 hexadecimal digits, where it is on record.
    pub boot: Option<String>,
    /// The firmware it was started with.
    pub firmware: Firmware,
    /// Seconds from switching on to the verdict.
    pub seconds: u32,
    /// Bytes that the machine wrote, each place counted once; they are gone.
    pub written: ByteLen,
    /// The last lines of its serial line.
    pub last_lines: Vec<DisplayText>,
    /// What the disks of the machine lacked, a sentence each.
    pub warnings: Vec<DisplayText>,
    /// True where the verdict was written down in the store.
    pub recorded: bool,
}
