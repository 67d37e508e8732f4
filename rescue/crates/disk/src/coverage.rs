//! Which bytes of a volume are worth saving, and how they are best cut.

use crate::{fs, guarded};
use model::coverage::{CaptureMethod, Changes, Coverage};
use model::cuts::Cuts;
use model::inspection::{BtrfsInfo, Content, XfsInfo};
use model::ports::ReadAt;
use model::units::{ByteLen, Extent, ExtentSet};
use std::sync::Arc;

/// Every byte of a volume of `size` bytes, and why.
pub fn raw(size: ByteLen, why: &str) -> Coverage {
    Coverage {
        method: CaptureMethod::Raw,
        why: why.into(),
        used: [Extent::whole(size)].into_iter().collect(),
        state: None,
    }
}

/// What of a volume beneath others is saved with it.
fn beneath(why: &str, apart: &ExtentSet, size: ByteLen) -> Coverage {
    let used = apart.gaps(Extent::whole(size));
    Coverage { method: CaptureMethod::UsedBlocks, why: why.into(), used, state: None }
}

/// The bytes of a volume that a snapshot is to hold; `bytes` is the volume's window. Whatever is not proven unused is used, and
/// nothing past the end of the volume is.
pub fn of(content: &Content, bytes: Arc<dyn ReadAt>) -> Coverage {
    let size = bytes.size();
    let mut coverage = match content {
        Content::Btrfs(BtrfsInfo { not_read: Some(why), .. }) => raw(size, &format!("btrfs, {why}: captured raw")),
        Content::Xfs(XfsInfo { not_read: Some(why), .. }) => raw(size, &format!("xfs, {why}: captured raw")),
        Content::Ext(_)
        | Content::Fat(_)
        | Content::Exfat(_)
        | Content::Ntfs(_)
        | Content::Xfs(_)
        | Content::Btrfs(_) => match guarded(|| fs::open(content, bytes).map(|fs| fs.coverage())) {
            Some(Ok(coverage)) => coverage,
            Some(Err(e)) => raw(size, &format!("its allocation maps cannot be read ({e}): captured raw")),
            None => raw(size, "its allocation maps do not hold together: captured raw"),
        },
        Content::Swap(s) if s.hibernated => raw(size, "swap with a hibernation image in it: captured raw"),
        Content::Swap(s) => Coverage {
            method: CaptureMethod::HeaderOnly,
            why: "swap: its header".into(),
            used: [Extent::whole(ByteLen(u64::from(s.page_size)))].into_iter().collect(),
            state: None,
        },
        Content::Fenced(_) => raw(size, "an unfinished rollback: captured raw"),
        Content::Damaged { kind, .. } => raw(size, &format!("damaged {}: captured raw", kind.name())),
        Content::Lvm(l) => beneath("LVM: what it keeps itself, and volumes that are not read", &l.apart, size),
        Content::Md(m) => beneath("md: what it keeps itself", &m.apart, size),
        Content::BtrfsDevice(b) => beneath("btrfs: what lies behind this device of it", &b.apart, size),
        Content::Luks(l) if l.open => {
            beneath("LUKS: its header, and what of it is not read, encrypted as it is", &l.apart, size)
        }
        Content::Luks(_) => raw(size, "an encrypted volume that was not opened: captured raw"),
        Content::Recognised { name, .. } => raw(size, &format!("{name} is not read by this version: captured raw")),
        Content::BiosBoot => raw(size, "boot loader"),
        Content::Empty => raw(size, "nothing known on it: captured raw"),
        Content::Unknown => raw(size, "unknown: captured raw"),
    };
    coverage.used = coverage.used.clip(Extent::whole(size));
    coverage
}

/// Where a volume is best cut into chunks: at its files where they are known, else on a grid.
pub fn cuts(content: &Content, bytes: Arc<dyn ReadAt>) -> Cuts {
    let size = bytes.size();
    let known = match content {
        read if read.is_file_system() => guarded(|| fs::open(content, bytes).ok().map(|fs| fs.cuts())).flatten(),
        _ => None,
    };
    known.unwrap_or_else(|| Cuts::grid(size))
}

/// Which bytes of a volume are proven to be as they were in `before`; see [`fs::FileSystem::changes`].
pub fn changes(content: &Content, bytes: Arc<dyn ReadAt>, before: Arc<dyn ReadAt>) -> Changes {
    let size = bytes.size();
    let mut changes = match content {
        read if read.is_file_system() => match guarded(|| fs::open(content, bytes).map(|fs| fs.changes(before))) {
            Some(Ok(changes)) => changes,
            Some(Err(e)) => Changes::unknown(&format!("its records cannot be read ({e})")),
            None => Changes::unknown("its records do not hold together"),
        },
        _ => Changes::unknown("nothing keeps a record of what changed on it"),
    };
    changes.same = changes.same.clip(Extent::whole(size));
    changes
}
