//! What a volume is to its system, and what follows from that.

use super::Planner;
use model::id::DiskNo;
use model::inspection::{Content, GPT_ESP};
use model::plan::VolumeRollback;
use model::snapshot::SavedVolume;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Root,
    Boot,
    Esp,
    Other,
    None,
}

impl Planner<'_> {
    /// True where the plan writes part of a boot set on that disk: a BIOS boot loader's first stage belongs to it.
    pub(super) fn boots(&self, volumes: &[VolumeRollback], disk: DiskNo) -> bool {
        volumes.iter().filter(|v| v.path.disk() == disk).any(|v| {
            let saved = self.q.manifest.volumes.iter().find(|s| s.path == v.saved_as);
            saved.is_some_and(|s| {
                s.content == Content::BiosBoot || matches!(self.role(s), Role::Root | Role::Boot | Role::Esp)
            })
        })
    }

    pub(super) fn role(&self, saved: &SavedVolume) -> Role {
        let q = self.q;
        let partition = self
            .saved_disk(saved.path.disk())
            .and_then(|d| d.table.as_ref())
            .and_then(|t| t.partitions.iter().find(|p| Some(p.number) == saved.path.number()));
        let esp = partition.is_some_and(|p| p.type_id == GPT_ESP);
        for s in q.manifest.systems.iter().map(|s| &s.system) {
            if s.root == saved.path {
                return Role::Root;
            }
            if s.boot.iter().any(|(_, v)| *v == saved.path) {
                return if esp || matches!(saved.content, Content::Fat(_)) { Role::Esp } else { Role::Boot };
            }
            if s.other.iter().any(|(_, v)| *v == saved.path) {
                return Role::Other;
            }
        }
        if esp && matches!(saved.content, Content::Fat(_)) { Role::Esp } else { Role::None }
    }

    /// The order in which volumes become valid again: what boots comes last. Where UEFI firmware is in sight it starts the ESP; else
    /// the core of GRUB is what starts, and must not while the ESP, which a system mounts, is still locked.
    pub(super) fn rank(&self, saved: &SavedVolume) -> u8 {
        match (self.role(saved), &saved.content) {
            (Role::Root, _) => 0,
            (Role::Boot, _) => 1,
            (_, Content::Swap(_)) => 3,
            (_, Content::BiosBoot) if self.q.inspection.firmware.is_some() => 4,
            (Role::Esp, _) => 5,
            (_, Content::BiosBoot) => 6,
            (Role::Other | Role::None, _) => 2,
        }
    }
}
