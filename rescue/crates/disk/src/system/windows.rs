//! Windows: an NTFS with its directories on it, and what starts it.

use super::is;
use crate::fs::{self, FileSystem, FsError};
use model::inspection::{Content, Disk, FileKind, GPT_ESP, Inspection, OS_WINDOWS, System, Volume};
use model::ports::ReadAt;
use std::sync::Arc;

/// The directory of the system with its registry, and its kernel: what no Windows is without, and no disk of data has.
const REGISTRY: &str = "/Windows/System32/config";
const KERNEL: &str = "/Windows/System32/ntoskrnl.exe";
/// Where its boot manager is on the EFI system partition.
pub(crate) const LOADER: &str = "/EFI/Microsoft/Boot/bootmgfw.efi";
/// Where it is on the volume that a BIOS starts it from.
const MANAGER: &str = "/bootmgr";

/// What the EFI system partition is called in its boot set: Windows mounts it nowhere.
pub(crate) const ESP: &str = "esp";
/// What the volume with its boot manager is called there, where that is another one.
pub(crate) const BOOT_MANAGER: &str = "bootmgr";

/// The Windows on an NTFS; `None` where there is none. `volumes` gives the window of a volume.
///
/// # Errors
/// [`FsError`] where that cannot be told.
pub(super) fn look(
    inspection: &Inspection,
    volume: &Volume,
    bytes: Arc<dyn ReadAt>,
    open: &dyn Fn(&Volume) -> Option<Box<dyn FileSystem>>,
) -> Result<Option<System>, FsError> {
    let fs = fs::open(&volume.content, bytes)?;
    if !is(&*fs, REGISTRY, FileKind::Directory)? || !is(&*fs, KERNEL, FileKind::File)? {
        return Ok(None);
    }
    let mut system = System {
        name: "Windows".into(),
        os: (OS_WINDOWS.into(), "".into()),
        hostname: None,
        machine_id: None,
        root: volume.path.clone(),
        boot: Vec::new(),
        other: Vec::new(),
        subvolumes: Vec::new(),
    };
    if let Some(disk) = inspection.disk(volume.path.disk()) {
        let holds = |v: &&Volume, path: &str| open(v).is_some_and(|fs| is(&*fs, path, FileKind::File).unwrap_or(false));
        let esps = disk.volumes.iter().filter(|v| is_esp(disk, v) && matches!(v.content, Content::Fat(_)));
        system.boot.extend(esps.filter(|v| holds(v, LOADER)).map(|v| (ESP.to_owned(), v.path.clone())));
        // Where it is on the root itself, there is no other volume to tell of.
        if system.boot.is_empty() && !is(&*fs, MANAGER, FileKind::File)? {
            let ntfs = disk.volumes.iter().filter(|v| matches!(v.content, Content::Ntfs(_)) && v.path != volume.path);
            let managers = ntfs.filter(|v| holds(v, MANAGER));
            system.boot.extend(managers.map(|v| (BOOT_MANAGER.to_owned(), v.path.clone())));
        }
    }
    Ok(Some(system))
}

fn is_esp(disk: &Disk, volume: &Volume) -> bool {
    let mut partitions = disk.table.iter().flat_map(|t| &t.partitions);
    partitions.any(|p| Some(p.number) == volume.path.number() && matches!(p.type_id.as_str(), GPT_ESP | "ef"))
}
