//! The flaws of the mutants that forget and prune: in what is deleted when, and in what stands in the way of that.

use crate::held::{Deviation, Held, above};
use model::ports::{ObjectError, ObjectName, ObjectStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::backend::LocalDir;

/// A flaw above the directory backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Haste {
    /// The entry that follows is put after the manifest is deleted.
    DeletesManifestFirst,
    /// What a prune writes again is put after the old packs are deleted.
    PutsRewrittenLast,
    /// What a prune writes again is read back from memory.
    TrustsRewritten,
    /// No lease is ever seen.
    IgnoresLeases,
    /// Packs are deleted as soon as they are condemned.
    DeletesAtOnce,
    /// A writer does not see what is condemned.
    CountsOnCondemned,
}

struct Hasty {
    haste: Haste,
    /// A lease was put: this is a writer and no prune.
    saves: AtomicBool,
}

/// The directory, used with a flaw.
pub(crate) fn hasty(dir: LocalDir, haste: Haste) -> Arc<dyn ObjectStore> {
    above(dir, Hasty { haste, saves: AtomicBool::new(false) })
}

impl Deviation for Hasty {
    fn put(&self, held: &Held, name: &ObjectName, bytes: &[u8]) -> Result<(), ObjectError> {
        let of = |kind: &str| name.as_str().starts_with(kind);
        if of("leases/") {
            self.saves.store(true, Ordering::Relaxed);
        }
        let prunes = !self.saves.load(Ordering::Relaxed);
        match self.haste {
            Haste::DeletesManifestFirst => {
                held.release()?;
                if of("inventory/") {
                    held.keep(name, bytes, false);
                    return Ok(());
                }
            }
            Haste::PutsRewrittenLast if prunes && of("packs/") => {
                held.keep(name, bytes, false);
                return Ok(());
            }
            Haste::PutsRewrittenLast if of("inventory/") => held.release()?,
            Haste::TrustsRewritten if prunes && of("packs/") => held.keep(name, bytes, true),
            _ => {}
        }
        held.dir.put(name, bytes)?;
        if self.haste == Haste::DeletesAtOnce && of("condemned/") {
            // A record of digests that nothing makes shorter: 24 bytes before them, their number, 32 bytes behind.
            for pack in bytes[28..bytes.len() - 32].chunks(32) {
                let id: String = pack.iter().map(|b| format!("{b:02x}")).collect();
                held.dir.delete(&ObjectName::new(&format!("packs/{}/{id}", &id[..2])).unwrap())?;
            }
        }
        Ok(())
    }

    fn hides(&self, held: &Held, prefix: &str) -> Result<bool, ObjectError> {
        match self.haste {
            Haste::IgnoresLeases => Ok(prefix == "leases"),
            Haste::CountsOnCondemned => Ok(prefix == "condemned" && self.saves.load(Ordering::Relaxed)),
            Haste::DeletesManifestFirst => held.release().map(|()| false),
            _ => Ok(false),
        }
    }

    fn end(&self, held: &Held) {
        // Only the order is wrong: nothing is left out.
        let _ = held.release();
    }
}
