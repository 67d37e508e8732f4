//! A Windows beside another system: what is its, and what both have.

use super::Planner;
use model::id::VolumePath;
use model::inspection::{Content, System};
use model::plan::{Action, VolumeRollback};
use model::snapshot::SavedVolume;

impl Planner<'_> {
    fn saved_systems(&self) -> impl Iterator<Item = &System> {
        self.q.manifest.systems.iter().map(|s| &s.system)
    }

    /// True for a volume of a Windows alone, where the snapshot knows another system too: it stays where that one goes back.
    pub(super) fn is_of_windows_beside(&self, saved: &SavedVolume) -> bool {
        let mut users = self.saved_systems().filter(|s| s.uses(&saved.path)).peekable();
        users.peek().is_some() && users.all(System::is_windows) && self.saved_systems().any(|s| !s.is_windows())
    }

    /// True for a Windows of which nothing goes back but what another system has too.
    pub(super) fn stays(&self, system: &System, volumes: &[VolumeRollback]) -> bool {
        let shared = |path: &VolumePath| self.saved_systems().any(|s| !s.is_windows() && s.uses(path));
        let goes = |path: &VolumePath| volumes.iter().any(|v| v.saved_as == *path);
        let own = system.boot.iter().map(|(_, path)| path).chain([&system.root]).filter(|path| !shared(path));
        system.is_windows() && !own.into_iter().any(goes)
    }

    /// Warns where the EFI system partition of a Windows that stays goes back as one, and of a Windows that is asleep now.
    pub(super) fn beside(&mut self, volumes: &[VolumeRollback]) {
        let q = self.q;
        if q.action != Action::Rollback {
            return;
        }
        let staying: Vec<&System> =
            q.manifest.systems.iter().map(|s| &s.system).filter(|s| self.stays(s, volumes)).collect();
        for system in staying {
            let shared = volumes.iter().filter(|v| system.boot.iter().any(|(_, path)| *path == v.saved_as));
            let told = |v: &&VolumeRollback| q.facts.esps.iter().any(|e| e.volume == v.path);
            for esp in shared.filter(|v| !told(v)) {
                let others: Vec<String> =
                    volumes.iter().filter(|v| v.path != esp.path).map(|v| v.path.to_string()).collect();
                self.warn(format!(
                    "{} stays as it is, but {}, which it starts from too, goes back with all that is on it, its boot manager in \
                     EFI/Microsoft included; to leave that volume as it is, name the others: `--only {}`",
                    system.name,
                    esp.path,
                    others.join(",")
                ));
            }
        }
        self.asleep(volumes);
    }

    /// What a Windows that is asleep would go on with from memory.
    fn asleep(&mut self, volumes: &[VolumeRollback]) {
        let q = self.q;
        let is = |content: &Content| matches!(content, Content::Ntfs(n) if n.hibernated == Some(true));
        for (_, volume) in q.inspection.volumes().filter(|(_, v)| is(&v.content)) {
            let path = &volume.path;
            if volumes.iter().any(|v| v.path == *path) {
                self.warn(format!(
                    "the Windows on {path} is asleep: what it had in memory is saved with the undo snapshot, and gone from the machine"
                ));
                continue;
            }
            let ntfs = |v: &&VolumeRollback| {
                let now = q.inspection.volume(&v.path).map(|v| &v.content);
                matches!(now, Some(Content::Ntfs(_) | Content::Exfat(_)))
            };
            let under_it: Vec<String> = volumes.iter().filter(ntfs).map(|v| v.path.to_string()).collect();
            if !under_it.is_empty() {
                self.warn(format!(
                    "the Windows on {path} is asleep, and knows {} as it is now: it may damage it when it wakes. Start it and shut it \
                     down whole first (`shutdown /s /t 0`)",
                    under_it.join(", ")
                ));
            }
        }
        for saved in q.manifest.volumes.iter().filter(|v| is(&v.content)) {
            if volumes.iter().any(|v| v.saved_as == saved.path) {
                self.warn(format!(
                    "the Windows in {} was saved asleep: it will wake where it went to sleep",
                    saved.path
                ));
            }
        }
    }
}
