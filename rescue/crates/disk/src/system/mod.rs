//! Installed systems: an ext, XFS or btrfs volume with an `/etc` that says so, and the volumes its fstab names; an NTFS with a Windows on it.

mod crypttab;
pub(crate) mod fstab;
mod release;
mod subvolume;
pub(crate) mod windows;

use crate::fs::{self, FileSystem, FsError};
use crate::{finding, guarded};
use fstab::Line;
use model::id::VolumePath;
use model::inspection::{Content, FileKind, Finding, GPT_ESP, Inspection, Severity, System, Volume};
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::ByteOffset;
use std::sync::Arc;

/// The longest os-release, fstab or the like that is read.
const MOST_BYTES: u64 = 256 << 10;
/// The mount points besides `/` that have to fit the root: the kernel and its boot loader, and what the package manager
/// fills or keeps its books in. Anything below `/boot` and `/efi` too.
const BOOT_SET: [&str; 4] = ["/boot", "/efi", "/usr", "/var"];
/// What a BIOS boot partition is called in the boot set: it is mounted nowhere.
pub const BIOS_BOOT: &str = "bios-boot";

/// Finds the installed systems on the ext, XFS, btrfs and NTFS volumes of an inspection, those that are no Windows first. `volumes` gives
/// the window of a volume.
///
/// A system is told by its os-release; where that is lost (a crash may leave it empty), by an fstab or passwd beside a `/usr`.
/// A device name such as `/dev/sda2` is believed only where there is one disk.
pub fn find(
    inspection: &Inspection,
    volumes: &dyn Fn(&VolumePath) -> Option<Arc<dyn ReadAt>>,
) -> (Vec<System>, Vec<Finding>) {
    let mut systems = Vec::new();
    let mut findings = Vec::new();
    let may_be_root = |v: &Volume| match &v.content {
        Content::Ext(_) | Content::Xfs(_) => true,
        Content::Btrfs(info) => info.not_read.is_none(),
        Content::Ntfs(_) => true,
        _ => false,
    };
    let open = |volume: &Volume| volumes(&volume.path).and_then(|bytes| fs::open(&volume.content, bytes).ok());
    for (_, volume) in inspection.volumes().filter(|(_, v)| may_be_root(v)) {
        let Some(bytes) = volumes(&volume.path) else { continue };
        let looked = guarded(|| match &volume.content {
            Content::Ntfs(_) => windows::look(inspection, volume, bytes, &open),
            _ => look(inspection, volume, bytes, &mut findings),
        });
        let looked = looked.unwrap_or_else(|| Err(FsError::Corrupt("its structures do not hold together".into())));
        match looked {
            Ok(system) => systems.extend(system),
            Err(e) => findings.push(finding(
                Severity::Warning,
                &volume.path,
                format!("whether a system is installed on it cannot be told: {e}"),
                "what can be read of it is saved all the same",
            )),
        }
    }
    systems.sort_by_key(System::is_windows);
    (systems, findings)
}

/// A small text file; `None` where there is none. One that is too long is read up to the bound.
fn text(fs: &dyn FileSystem, path: &str) -> Result<Option<String>, FsError> {
    let Some(file) = fs.open(path.as_bytes())? else { return Ok(None) };
    let len = usize::try_from(file.size().0.min(MOST_BYTES)).unwrap_or(0);
    let bytes = file.read_vec(ByteOffset(0), len)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

fn is(fs: &dyn FileSystem, path: &str, kind: FileKind) -> Result<bool, FsError> {
    Ok(fs.stat(path.as_bytes())?.is_some_and(|f| f.kind == kind))
}

fn look(
    inspection: &Inspection,
    volume: &Volume,
    bytes: Arc<dyn ReadAt>,
    findings: &mut Vec<Finding>,
) -> Result<Option<System>, FsError> {
    let fs = fs::open(&volume.content, bytes)?;
    let fs = fs.as_ref();
    let found = subvolume::root(fs)?;
    let Some(top) = found.top.clone() else { return Ok(None) };
    let at = |path: &str| format!("{top}{path}");
    // Each file may be damaged alone; none of them is worth losing the system over.
    let mut unreadable = Vec::new();
    let mut read = |path: &str| {
        text(fs, &at(path)).unwrap_or_else(|e| {
            unreadable.push(format!("{path} cannot be read: {e}"));
            None
        })
    };
    let releases = ["/etc/os-release", "/usr/lib/os-release"].map(&mut read);
    let [fstab, hostname, machine_id, crypttab] =
        ["/etc/fstab", "/etc/hostname", "/etc/machine-id", "/etc/crypttab"].map(&mut read);
    let release = releases.iter().flatten().find_map(|text| release::parse(text));
    let names = match release {
        Some(names) => names,
        None => {
            let usr = is(fs, &at("/usr"), FileKind::Directory)? || is(fs, &at("/usr"), FileKind::Symlink)?;
            if !(usr && (fstab.is_some() || is(fs, &at("/etc/passwd"), FileKind::File)?)) {
                return Ok(None);
            }
            unreadable.push("a system is installed here, but its os-release is missing, empty or damaged".into());
            release::Names::unknown()
        }
    };
    let warn = |says: String| finding(Severity::Warning, &volume.path, says, "the system may not start");
    findings.extend(unreadable.into_iter().map(warn));
    let lines = fstab.as_deref().map(fstab::parse).unwrap_or_default();
    let mut system = System {
        name: names.pretty,
        os: (names.id, names.version),
        hostname: hostname.as_deref().and_then(release::first_word).map(DisplayText::new),
        machine_id: machine_id.as_deref().and_then(release::machine_id),
        root: volume.path.clone(),
        boot: Vec::new(),
        other: Vec::new(),
        subvolumes: Vec::new(),
    };
    if !found.others.is_empty() {
        let others = found.others.join(", ");
        let says = format!("another system may be installed in {others}: the one in {top} is looked at");
        findings.push(finding(Severity::Note, &volume.path, says, "what else is on the volume is saved with it"));
    }
    resolve_all(inspection, (&lines, crypttab.as_deref()), &mut system, findings);
    subvolume::add(inspection, &lines, (&found, &top), &mut system);
    add_esp(inspection, fs, &top, &mut system);
    Ok(Some(system))
}

/// Puts what fstab names into its place, and says what it names that is not here.
fn resolve_all(
    inspection: &Inspection,
    (lines, crypttab): (&[Line], Option<&str>),
    system: &mut System,
    findings: &mut Vec<Finding>,
) {
    for line in lines {
        let Some(source) = &line.source else { continue };
        let target = DisplayText::new(&line.target).as_str().to_owned();
        let in_set = in_boot_set(&line.target);
        let unlocked = crypttab::resolve(inspection, crypttab, line.shown.as_str());
        match unlocked.map_or_else(|| fstab::resolve(inspection, source, &system.root), Ok) {
            Ok(path) if line.target == "/" => {
                if path != system.root {
                    let says =
                        format!("its fstab names {path} as the root, not this volume: it may be a copy of that system");
                    findings.push(finding(Severity::Note, &system.root, says, "check which of them starts"));
                }
            }
            Ok(path) if path == system.root => {}
            Ok(path) => {
                let list = if in_set { &mut system.boot } else { &mut system.other };
                let entry = (target, path);
                if !list.contains(&entry) {
                    list.push(entry);
                }
            }
            Err(why) => {
                let severity = if in_set && !line.optional { Severity::Warning } else { Severity::Note };
                let says = format!("its fstab names {} for {target}: {why}", line.shown);
                findings.push(finding(
                    severity,
                    &system.root,
                    says,
                    "what is there is not part of this system's snapshots",
                ));
            }
        }
    }
}

fn in_boot_set(target: &str) -> bool {
    BOOT_SET.contains(&target) || target.starts_with("/boot/") || target.starts_with("/efi/")
}

/// The EFI system partition and the BIOS boot partition belong to the boot set whether fstab names them or not.
fn add_esp(inspection: &Inspection, fs: &dyn FileSystem, top: &str, system: &mut System) {
    let Some(disk) = inspection.disk(system.root.disk()) else { return };
    let Some(table) = &disk.table else { return };
    let of_type = |types: &[&str]| -> Vec<&Volume> {
        let wanted = table.partitions.iter().filter(|p| types.contains(&p.type_id.as_str()));
        wanted.filter_map(|p| disk.volumes.iter().find(|v| v.path.number() == Some(p.number))).collect()
    };
    let esps = of_type(&[GPT_ESP, "ef"]);
    let named = system
        .boot
        .iter()
        .any(|(_, path)| inspection.volume(path).is_some_and(|v| matches!(v.content, Content::Fat(_))));
    // Of two, which one is meant cannot be told.
    if let ([esp], false) = (esps.as_slice(), named)
        && !system.boot.iter().any(|(_, path)| *path == esp.path)
    {
        let exists = |path: &&&str| fs.stat(format!("{top}{path}").as_bytes()).is_ok_and(|f| f.is_some());
        let target = ["/boot/efi", "/efi"].iter().find(exists).unwrap_or(&"/boot/efi");
        system.boot.push(((*target).to_owned(), esp.path.clone()));
    }
    let core = disk.volumes.iter().filter(|v| v.content == Content::BiosBoot);
    system.boot.extend(core.map(|v| (BIOS_BOOT.to_owned(), v.path.clone())));
}
