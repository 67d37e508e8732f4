//! What the volumes of a system say of themselves: superblocks, dirty bits, resume images. Read by `disk`; told here.

use super::{evidence, stamp};
use model::evidence::{Evidence, Fact, Origin};
use model::id::VolumePath;
use model::inspection::{Content, ExtInfo, Inspection, NtfsInfo, NtfsLog, System};
use model::ports::UnixMicros;

/// `s_state` (kernel `fs/ext4/ext4.h`): `EXT4_VALID_FS`, `EXT4_ERROR_FS`.
const VALID: u16 = 1;
const ERROR: u16 = 2;

/// What the volumes of a system say: its root first, then the rest of the boot set, then others it names.
pub fn volume_facts(inspection: &Inspection, system: &System) -> Vec<Evidence> {
    let mut seen: Vec<&VolumePath> = Vec::new();
    let mut found = Vec::new();
    let named = system.boot.iter().chain(&system.other).map(|(_, v)| v);
    for path in [&system.root].into_iter().chain(named).chain(unnamed_swap(inspection, system)) {
        if seen.contains(&path) {
            continue;
        }
        seen.push(path);
        let origin = Origin { volume: path.clone(), path: None, range: None };
        match inspection.volume(path).map(|v| &v.content) {
            Some(Content::Ext(info)) => ext(&origin, info, &mut found),
            Some(Content::Fat(info)) => {
                let says = if info.dirty {
                    "the file system was not unmounted"
                } else {
                    "the file system was unmounted in order"
                };
                found.push(evidence(&origin, Fact::FatState { dirty: info.dirty }, says, None));
            }
            Some(Content::Exfat(info)) => {
                let says = if info.dirty {
                    "the file system was not unmounted"
                } else {
                    "the file system was unmounted in order"
                };
                found.push(evidence(&origin, Fact::ExfatState { dirty: info.dirty }, says, None));
            }
            Some(Content::Ntfs(info)) => ntfs(&origin, info, &mut found),
            Some(Content::Btrfs(info)) if info.not_read.is_none() => {
                let says = if info.log {
                    "the file system was in use and never closed: its log holds what was synced last"
                } else {
                    "the file system's log is empty: whether it was closed in order it does not tell"
                };
                let fact = Fact::BtrfsState { log: info.log, generation: info.generation };
                found.push(evidence(&origin, fact, says, None));
            }
            Some(Content::Xfs(info)) if info.not_read.is_none() => {
                let says = match (info.needs_recovery, info.log_head) {
                    (true, None) => {
                        "the end of the file system's log cannot be told: it counts as in use and never closed"
                    }
                    (true, Some(_)) => "the file system was in use and never closed",
                    (false, _) => "the file system was closed in order",
                };
                let fact = Fact::XfsState { needs_recovery: info.needs_recovery, log_head: info.log_head };
                found.push(evidence(&origin, fact, says, None));
            }
            Some(Content::Swap(info)) => {
                let says = if info.hibernated {
                    "the memory of a hibernated system stands in the swap area"
                } else {
                    "no hibernated system stands in the swap area"
                };
                found.push(evidence(&origin, Fact::SwapState { hibernated: info.hibernated }, says, None));
            }
            _ => {}
        }
    }
    found
}

/// Swap areas that no system names, where there is only one system they can belong to.
fn unnamed_swap<'a>(inspection: &'a Inspection, system: &System) -> Vec<&'a VolumePath> {
    let names_swap = system
        .other
        .iter()
        .any(|(_, path)| inspection.volume(path).is_some_and(|v| matches!(v.content, Content::Swap(_))));
    // Windows uses none.
    let users = inspection.systems.iter().filter(|s| !s.is_windows()).count();
    if names_swap || system.is_windows() || users > 1 {
        return Vec::new();
    }
    let swap = inspection.volumes().filter(|(_, v)| matches!(v.content, Content::Swap(_)));
    swap.map(|(_, v)| &v.path).collect()
}

fn ntfs(origin: &Origin, info: &NtfsInfo, found: &mut Vec<Evidence>) {
    let log = match info.log {
        NtfsLog::Empty => "the file system's log is empty, as a driver leaves it that does not use it",
        NtfsLog::Closed => "the file system was closed in order",
        NtfsLog::Open => "the file system was in use and never closed",
        NtfsLog::Untold => "how the file system's log was left cannot be told",
    };
    let memory = match info.hibernated {
        Some(true) => "; the memory of a system stands on it: hibernated, or shut down with fast start-up",
        Some(false) => "",
        None => "; whether the memory of a hibernated system stands on it cannot be told",
    };
    let dirty = if info.dirty { "; it is marked to be checked" } else { "" };
    let fact = Fact::NtfsState { dirty: info.dirty, log: info.log, hibernated: info.hibernated };
    found.push(evidence(origin, fact, &format!("{log}{memory}{dirty}"), None));
}

fn ext(origin: &Origin, info: &ExtInfo, found: &mut Vec<Evidence>) {
    let valid = info.state & VALID != 0;
    let errors = info.errors > 0 || info.state & ERROR != 0;
    let how = match (info.has_journal, info.needs_recovery, valid) {
        (true, true, _) => "was in use and never closed",
        (true, false, _) => "was closed in order",
        (false, _, true) => "was closed in order, as far as one without a journal can tell",
        (false, _, false) => "was in use and never closed",
    };
    let errors_say = if errors { format!("; it recorded {} errors", info.errors.max(1)) } else { String::new() };
    let says = format!("the file system {how} (mount {}){errors_say}", info.mount_count);
    let mounted = (info.mounted_at > 0).then(|| stamp(UnixMicros::from_seconds(info.mounted_at)));
    let fact = Fact::ExtState {
        needs_recovery: info.needs_recovery,
        has_journal: info.has_journal,
        valid,
        errors,
        mount_count: info.mount_count,
        mounted_at: info.mounted_at,
    };
    found.push(evidence(origin, fact, &says, mounted));
    if let (Some(at), Some(sequence)) = (info.last_commit_at, info.journal_sequence) {
        let time = stamp(UnixMicros::from_seconds(at));
        let says = "the newest change the file system's own journal holds: the last sign of life";
        found.push(evidence(origin, Fact::LastCommit { sequence }, says, Some(time)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::scene::{Scene, ext_info};

    #[test]
    fn root_boot_set_and_swap() {
        let mut scene = Scene::new();
        scene.ext(|e| {
            e.needs_recovery = true;
            e.errors = 2;
            e.last_commit_at = Some(1_795_000_000);
        });
        scene.swap(true);
        scene.esp(false);
        let facts: Vec<Fact> = volume_facts(&scene.inspection, &scene.system()).into_iter().map(|e| e.fact).collect();
        assert_eq!(
            facts,
            [
                Fact::ExtState {
                    needs_recovery: true,
                    has_journal: true,
                    valid: true,
                    errors: true,
                    mount_count: ext_info().mount_count,
                    mounted_at: ext_info().mounted_at
                },
                Fact::LastCommit { sequence: ext_info().journal_sequence.unwrap() },
                Fact::FatState { dirty: false },
                Fact::SwapState { hibernated: true },
            ]
        );
    }

    #[test]
    fn a_swap_area_nobody_names_belongs_to_the_only_system() {
        let mut scene = Scene::new();
        scene.swap(true);
        let mut system = scene.system();
        system.other.clear();
        let swaps = |i: &Inspection, s: &System| {
            volume_facts(i, s).into_iter().filter(|e| matches!(e.fact, Fact::SwapState { .. })).count()
        };
        scene.inspection.systems = vec![system.clone()];
        assert_eq!(swaps(&scene.inspection, &system), 1);
        scene.inspection.systems.push(system.clone());
        assert_eq!(swaps(&scene.inspection, &system), 0);
    }
}
