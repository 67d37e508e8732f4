//! What lies on a volume.

mod signature;

use crate::fs::{FsError, btrfs, exfat, ext4, fat, ntfs, xfs};
use crate::volume::luks;
use crate::{fence, finding, guarded, swap};
use model::id::VolumePath;
use model::inspection::{BtrfsInfo, Content, ExtInfo, Finding, FsKind, LuksInfo, Severity, XfsInfo};
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::ByteOffset;
use std::sync::Arc;

/// How much of a volume has to be zero for it to be called empty.
const EMPTY: u64 = 1 << 20;
const RESTORE: &str = "a rollback to a snapshot that holds this volume can restore it";

/// Says what lies on the volume whose window is `bytes`, and what is wrong with it.
pub fn identify(path: &VolumePath, bytes: &Arc<dyn ReadAt>) -> (Content, Vec<Finding>) {
    let mut findings = Vec::new();
    let content = guarded(|| look(path, bytes, &mut findings)).unwrap_or_else(|| {
        findings.clear();
        Content::Unknown
    });
    match &content {
        Content::Fenced(f) => findings.push(finding(
            Severity::Damage,
            path,
            format!("an unfinished rollback stands here, over {}", f.was),
            "run `holdfast resume` to finish it, or `holdfast undo` to go back",
        )),
        Content::Damaged { kind, why } => {
            findings.push(finding(Severity::Damage, path, format!("it looks like {}, but {why}", kind.name()), RESTORE))
        }
        Content::Ext(e) if e.unknown_features != (0, 0, 0) => {
            let (compat, incompat, ro) = e.unknown_features;
            findings.push(finding(
                Severity::Note,
                path,
                format!("it uses features of ext4 that are not known here ({compat:#x}, {incompat:#x}, {ro:#x})"),
                "every byte of it is saved",
            ));
        }
        // Of a device among several it is told when all volumes are known.
        Content::Btrfs(BtrfsInfo { not_read: Some(why), devices, .. }) if *devices == 1 || path.is_layered() => {
            findings.push(finding(Severity::Note, path, format!("it is a btrfs: {why}"), "every byte of it is saved"));
        }
        Content::Luks(LuksInfo { not_opened: Some(why), .. }) => {
            let says = format!("it is encrypted, and cannot be opened here: {why}");
            findings.push(finding(Severity::Note, path, says, "`--full` saves every byte of it, encrypted as it is"));
        }
        Content::Xfs(XfsInfo { not_read: Some(why), .. }) => findings.push(finding(
            Severity::Note,
            path,
            format!("its files are not read: {why}"),
            "every byte of it is saved",
        )),
        _ => {}
    }
    (content, findings)
}

fn look(path: &VolumePath, bytes: &Arc<dyn ReadAt>, findings: &mut Vec<Finding>) -> Content {
    // A volume smaller than a fence holds nothing that is known here; a read error shows in what follows.
    if let Ok(head) = bytes.read_vec(ByteOffset(0), 4096)
        && let Some(fence) = fence::decode(&head)
    {
        return Content::Fenced(fence);
    }
    match probe(bytes) {
        Ok(Probe { content, wrong }) => {
            if let Some(wrong) = wrong {
                findings.push(finding(Severity::Warning, path, wrong, "the kernel may refuse to use it"));
            }
            if content == Content::Empty
                && let Some((at, kind)) = backup_superblock(bytes)
            {
                let says =
                    format!("it begins with zeros, but a backup superblock of {} stands at byte {at}", kind.name());
                findings.push(finding(Severity::Warning, path, says, RESTORE));
            }
            content
        }
        Err(e) => {
            let says = format!("what lies on it cannot be told: {e}");
            findings.push(finding(Severity::Damage, path, says, "the disk may be failing; save what can be read"));
            Content::Unknown
        }
    }
}

struct Probe {
    content: Content,
    /// What is wrong with it, where it can still be used.
    wrong: Option<String>,
}

/// Why an ext file system that was not unmounted may not read as the installed system would see it, where that is so.
fn ext_doubt(info: &ExtInfo, bytes: &Arc<dyn ReadAt>) -> Option<String> {
    if !info.needs_recovery {
        return None;
    }
    let why = match ext4::Ext4::load(bytes.clone()) {
        Ok(fs) => fs.doubt()?.to_owned(),
        Err(e) => e.to_string(),
    };
    Some(format!("its journal could not be read whole ({why}); every byte of it is saved"))
}

/// Why a btrfs may not read as the installed system would see it, or not at all, where that is so.
fn btrfs_doubt(info: &BtrfsInfo, bytes: &Arc<dyn ReadAt>) -> Option<String> {
    if info.not_read.is_some() {
        return None;
    }
    let why = match btrfs::Btrfs::load(bytes.clone()) {
        Ok(fs) => fs.doubt()?.to_owned(),
        Err(e) => e.to_string(),
    };
    Some(format!("its trees could not be read whole ({why}); every byte of it is saved"))
}

/// The same of an XFS.
fn xfs_doubt(info: &XfsInfo, bytes: &Arc<dyn ReadAt>) -> Option<String> {
    if !info.needs_recovery || info.not_read.is_some() {
        return None;
    }
    let why = match xfs::Xfs::load(bytes.clone()) {
        Ok(fs) => fs.doubt()?.to_owned(),
        Err(e) => e.to_string(),
    };
    Some(format!("its log could not be read whole ({why}); every byte of it is saved"))
}

/// Asks every reader. What holds together goes before what only looks like something.
fn probe(bytes: &Arc<dyn ReadAt>) -> Result<Probe, FsError> {
    let plain = |content| Ok(Probe { content, wrong: None });
    // A member of a mirror may look like the file system on it: writing to one leg alone would split it.
    if let Some(name) = signature::at_end(bytes.as_ref())? {
        return plain(recognised(name));
    }
    let mut damaged = None;
    match ext4::identify(bytes) {
        Ok(Some(info)) => return Ok(Probe { wrong: ext_doubt(&info, bytes), content: Content::Ext(info) }),
        Ok(None) => {}
        Err(FsError::Io(e)) => return Err(e.into()),
        Err(FsError::Incompatible(why)) => {
            return Ok(Probe { content: recognised("ext"), wrong: Some(why) });
        }
        Err(FsError::Corrupt(why)) => {
            let backup = match ext_backup_superblock(bytes) {
                Some((at, _)) => format!("; the backup superblock at byte {at} is still there"),
                None => String::new(),
            };
            damaged = Some((FsKind::Ext4, format!("{why}{backup}")));
        }
    }
    match fat::identify(bytes) {
        Ok(Some(info)) => return plain(Content::Fat(info)),
        Ok(None) => {}
        Err(FsError::Io(e)) => return Err(e.into()),
        Err(e) => damaged = damaged.or(Some((FsKind::Vfat, e.to_string()))),
    }
    match btrfs::identify(bytes) {
        Ok(Some(info)) => return Ok(Probe { wrong: btrfs_doubt(&info, bytes), content: Content::Btrfs(info) }),
        // The superblock of a device is hidden while a rollback is unfinished, of which the fence stands on another.
        Ok(None) if btrfs::is_hidden(bytes.as_ref()) => return plain(recognised("btrfs")),
        Ok(None) => {}
        Err(FsError::Io(e)) => return Err(e.into()),
        Err(FsError::Incompatible(why)) => return Ok(Probe { content: recognised("btrfs"), wrong: Some(why) }),
        Err(FsError::Corrupt(why)) => {
            let backup = match btrfs::backup_superblock(bytes.as_ref()) {
                Some(at) => format!("; the copy of its superblock at byte {at} is still there"),
                None => String::new(),
            };
            damaged = damaged.or(Some((FsKind::Btrfs, format!("{why}{backup}"))));
        }
    }
    match xfs::identify(bytes) {
        Ok(Some(info)) => return Ok(Probe { wrong: xfs_doubt(&info, bytes), content: Content::Xfs(info) }),
        Ok(None) => {}
        Err(FsError::Io(e)) => return Err(e.into()),
        Err(FsError::Incompatible(why)) => return Ok(Probe { content: recognised("xfs"), wrong: Some(why) }),
        Err(FsError::Corrupt(why)) => damaged = damaged.or(Some((FsKind::Xfs, why))),
    }
    if let Some((info, wrong)) = swap::identify(bytes.as_ref())? {
        return Ok(Probe { content: Content::Swap(info), wrong });
    }
    match luks::read(bytes.as_ref()) {
        Ok(Some(read)) => return Ok(Probe { wrong: read.wrong, content: Content::Luks(read.info) }),
        Ok(None) => {}
        Err(FsError::Io(e)) => return Err(e.into()),
        Err(e) => return Ok(Probe { content: recognised("luks"), wrong: Some(e.to_string()) }),
    }
    // What was made over an old one of these may have left its boot sector, and all of it.
    match exfat::identify(bytes) {
        Ok(Some(info)) => return plain(Content::Exfat(info)),
        Ok(None) => {}
        Err(FsError::Io(e)) => return Err(e.into()),
        Err(FsError::Incompatible(why)) => return Ok(Probe { content: recognised("exfat"), wrong: Some(why) }),
        Err(FsError::Corrupt(why)) => damaged = damaged.or(Some((FsKind::Exfat, why))),
    }
    match ntfs::identify(bytes) {
        Ok(Some((info, wrong))) => return Ok(Probe { content: Content::Ntfs(info), wrong }),
        Ok(None) => {}
        Err(FsError::Io(e)) => return Err(e.into()),
        Err(FsError::Incompatible(why)) => return Ok(Probe { content: recognised("ntfs"), wrong: Some(why) }),
        Err(FsError::Corrupt(why)) => damaged = damaged.or(Some((FsKind::Ntfs, why))),
    }
    // Their names stand where the signature of theirs is looked for.
    if let Some((kind @ (FsKind::Exfat | FsKind::Ntfs), why)) = &damaged {
        return plain(Content::Damaged { kind: *kind, why: DisplayText::new(why) });
    }
    if let Some(name) = signature::at_start(bytes.as_ref())? {
        return plain(recognised(name));
    }
    if let Some((kind, why)) = damaged {
        return plain(Content::Damaged { kind, why: DisplayText::new(&why) });
    }
    if is_empty(bytes.as_ref())? {
        return plain(Content::Empty);
    }
    if let Some((at, kind)) = backup_superblock(bytes) {
        let why = format!("its superblock is gone; the backup superblock at byte {at} is still there");
        return plain(Content::Damaged { kind, why: DisplayText::new(&why) });
    }
    let backups = [
        (FsKind::Vfat, fat::backup_boot(bytes.as_ref())),
        (FsKind::Exfat, exfat::backup_boot(bytes.as_ref())),
        (FsKind::Ntfs, ntfs::backup_boot(bytes.as_ref())),
    ];
    if let Some((kind, at)) = backups.into_iter().find_map(|(kind, at)| Some((kind, at?))) {
        let why = format!("its boot sector is gone; the backup boot sector at byte {at} is still there");
        return plain(Content::Damaged { kind, why: DisplayText::new(&why) });
    }
    plain(Content::Unknown)
}

fn recognised(name: &str) -> Content {
    Content::Recognised { name: name.to_owned(), sealed: false }
}

fn is_empty(bytes: &dyn ReadAt) -> Result<bool, FsError> {
    let end = bytes.size().0.min(EMPTY);
    let mut at = 0;
    while at < end {
        let len = (end - at).min(64 << 10);
        let piece = bytes.read_vec(ByteOffset(at), usize::try_from(len).unwrap_or(0))?;
        if piece.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        at += len;
    }
    Ok(true)
}

/// A backup superblock that still stands, and of what kind.
fn backup_superblock(bytes: &Arc<dyn ReadAt>) -> Option<(u64, FsKind)> {
    let btrfs = || btrfs::backup_superblock(bytes.as_ref()).map(|at| (at, FsKind::Btrfs));
    ext_backup_superblock(bytes).or_else(btrfs)
}

/// The first backup superblock of an ext file system (kernel Documentation/filesystems/ext4: group 1 always has one), and the
/// kind it says. Only what ties it to its place is looked at.
fn ext_backup_superblock(bytes: &Arc<dyn ReadAt>) -> Option<(u64, FsKind)> {
    for log in 0..=6u32 {
        let block = 1024u64 << log;
        // Blocks per group as mke2fs has it: one bitmap block's worth. With 1 KiB blocks the first group begins at block 1.
        let at = (block * 8 + u64::from(log == 0)) * block;
        let Ok(sb) = bytes.read_vec(ByteOffset(at), 1024) else { continue };
        let u32_at = |at: usize| u32::from_le_bytes(sb[at..at + 4].try_into().expect("four bytes"));
        let magic = sb[0x38..0x3a] == [0x53, 0xef];
        let group = u16::from_le_bytes([sb[0x5a], sb[0x5b]]);
        if magic && group == 1 && u32_at(0x18) == log {
            // s_feature_incompat: extents or 64bit; s_feature_compat: has_journal.
            let kind = match (u32_at(0x60) & 0xc0 != 0, u32_at(0x5c) & 4 != 0) {
                (true, _) => FsKind::Ext4,
                (false, true) => FsKind::Ext3,
                (false, false) => FsKind::Ext2,
            };
            return Some((at, kind));
        }
    }
    None
}
