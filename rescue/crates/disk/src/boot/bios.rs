//! What a BIOS starts: the boot code in sector 0, and GRUB's core behind it.

use super::{Checker, Told};
use model::boot::{BootLink, LinkPart, LinkState, Way};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Volume};
use model::ports::ReadAt;
use model::units::{ByteOffset, Extent, Lba};

/// Boot code ends where the table of an MBR begins; what stands before that may be a disk's signature.
const CODE: usize = 440;
/// Where GRUB's boot.img says at which sector its core begins (GRUB `include/grub/i386/pc/boot.h`,
/// `GRUB_BOOT_MACHINE_KERNEL_SECTOR`).
const CORE_SECTOR: usize = 0x5c;
/// Where the core's first sector lists the others: from its end on downwards, 12 bytes each (`GRUB_BOOT_MACHINE_LIST_SIZE`).
const LIST_END: usize = 512 - 12;
/// Most pieces of a core that are followed.
const MOST_PIECES: usize = 16;
/// A sector, as a BIOS counts them.
const SECTOR: u64 = 512;
const ADVICE: &str =
    "start it by other means and run `grub-install` on the disk; a rollback to a snapshot of it writes it again too";

impl Checker<'_> {
    /// True where sector 0 holds boot code, or nothing else is there to be started.
    pub(super) fn boots_by_bios(&self) -> bool {
        let Some(disk) = self.from.inspection.disk(self.first_disk()).filter(|d| d.table.is_some()) else {
            return false;
        };
        let place = disk.volumes.iter().any(|v| v.content == Content::BiosBoot);
        let code = || self.sector_zero().is_some_and(|s| s[..CODE].iter().any(|b| *b != 0));
        place || self.esps().is_empty() || code()
    }

    /// The disk that a BIOS most likely starts: that of the kernels.
    fn first_disk(&self) -> DiskNo {
        self.system.place("/boot").0.disk()
    }

    fn sector_zero(&self) -> Option<Vec<u8>> {
        let bytes = (self.from.disk)(self.first_disk())?;
        bytes.read_vec(ByteOffset(0), 512).ok()
    }

    pub(super) fn bios(&mut self) {
        let whole = VolumePath::whole(self.first_disk());
        let told = |part| Told { part, way: Way::Bios, volume: whole.clone(), path: None, needed: true };
        let Some(sector) = self.sector_zero() else {
            self.tell(told(LinkPart::BootCode), LinkState::NotChecked, "sector 0 cannot be read", "");
            return;
        };
        if sector[..CODE].iter().all(|b| *b == 0) {
            // A disk that was installed for both has a place for GRUB's core, though UEFI alone may ever have started it.
            let loads = |l: &BootLink| l.way == Way::Uefi && l.part == LinkPart::Loader && l.state == LinkState::Ok;
            if self.links.iter().any(loads) {
                let says = "there is no boot code in sector 0: UEFI starts this disk, a BIOS does not";
                self.tell(told(LinkPart::BootCode), LinkState::NotChecked, says, "");
                return;
            }
            // With more disks than one, another may start the machine.
            let alone = self.from.inspection.disks.len() == 1;
            let state = if alone { LinkState::Broken } else { LinkState::NotChecked };
            self.tell(told(LinkPart::BootCode), state, "there is no boot code in sector 0", ADVICE);
            return;
        }
        if sector[510..] != [0x55, 0xaa] {
            let says = "sector 0 does not end with the signature 55 AA: no BIOS starts it";
            self.tell(told(LinkPart::BootCode), LinkState::Broken, says, ADVICE);
            return;
        }
        // boot.img names itself (GRUB `grub-core/boot/i386/pc/boot.S`).
        if !sector[..CODE].windows(5).any(|w| w == b"GRUB ") {
            let says = "the boot code in sector 0 is not GRUB's: what it starts is not known here";
            self.tell(told(LinkPart::BootCode), LinkState::NotChecked, says, "");
            return;
        }
        self.tell(told(LinkPart::BootCode), LinkState::Ok, "GRUB's boot code stands in sector 0", "");
        let at = sector[CORE_SECTOR..CORE_SECTOR + 8].try_into().map(u64::from_le_bytes).unwrap_or(0);
        let core = (self.from.disk)(whole.disk()).ok_or_else(|| "the disk cannot be read".to_owned());
        match core.and_then(|bytes| self.core(&*bytes, Lba(at))) {
            Ok((state, says)) => {
                self.tell(told(LinkPart::Core), state, says, "");
                let says = "what leads GRUB's core to its menu is packed inside it, and is not read";
                self.tell(told(LinkPart::LoaderConfig), LinkState::NotChecked, says, "");
            }
            Err(says) => self.tell(told(LinkPart::Core), LinkState::Broken, says, ADVICE),
        }
    }

    /// GRUB's core, from its first sector on: that it lies where nothing else does, and is not zeros. What is in it (it is
    /// compressed) is not read.
    fn core(&self, bytes: &dyn ReadAt, at: Lba) -> Result<(LinkState, String), String> {
        let start = at.0.checked_mul(SECTOR).filter(|s| *s > 0);
        let start = start.ok_or_else(|| format!("the boot code looks for GRUB's core at sector {}", at.0))?;
        let first = bytes.read_vec(ByteOffset(start), 512).map_err(|e| format!("GRUB's core cannot be read: {e}"))?;
        // diskboot.img says so while it loads the rest.
        if !first.windows(7).any(|w| w == b"loading") {
            return Err(format!("GRUB's core is not at sector {}, where the boot code looks for it", at.0));
        }
        let mut total = 512;
        for n in 0..MOST_PIECES {
            let place = LIST_END - n * 12;
            let from = first[place..place + 8].try_into().map(u64::from_le_bytes).unwrap_or(0);
            let count = u64::from(u16::from_le_bytes([first[place + 8], first[place + 9]]));
            if count == 0 {
                break;
            }
            let extent = from.checked_mul(SECTOR).and_then(|s| Extent::between(s, s.checked_add(count * SECTOR)?));
            let extent = extent.ok_or_else(|| format!("GRUB's core goes on at sector {from}, which cannot exist"))?;
            if let Some(other) = self.in_the_way(extent) {
                // `grub-install --force` lays it into a file of a file system: whether it still is one cannot be told.
                return Ok((LinkState::NotChecked, format!("GRUB's core lies on {other}, as a list of sectors")));
            }
            let len = extent.len().to_usize().unwrap_or(0);
            let piece = bytes.read_vec(extent.start(), len).map_err(|e| format!("GRUB's core cannot be read: {e}"))?;
            if piece.chunks(512).next().is_none_or(|s| s.iter().all(|b| *b == 0)) {
                return Err(format!("GRUB's core holds nothing but zeros from sector {from} on"));
            }
            total += extent.len().0;
        }
        if total == 512 {
            return Err("GRUB's core names no sectors of its own".to_owned());
        }
        Ok((LinkState::Ok, format!("GRUB's core stands at sector {} ({total} bytes)", at.0)))
    }

    /// A volume that a core lies on, and that is not its own.
    fn in_the_way(&self, extent: Extent) -> Option<VolumePath> {
        let disk = self.from.inspection.disk(self.first_disk())?;
        let other = |v: &&Volume| v.content != Content::BiosBoot && v.extent.intersect(extent).is_some();
        disk.volumes.iter().find(other).map(|v| v.path.clone())
    }
}
