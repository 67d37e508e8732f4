//! EFI system partitions with something on them that is not of the systems that go back (decision 12): who has files there, and what the plan
//! says of it.

use super::Planner;
use model::esp::{SharedEsp, Tenancy, Tenant};
use model::firmware::{BootEntry, BootSettings};
use model::id::VolumePath;
use model::inspection::{Content, GPT_ESP, Inspection, System};
use model::plan::{RollbackPlan, VolumeRollback};
use model::snapshot::{Manifest, SavedVolume};

/// Where a system has the partition mounted for boot loaders alone.
const ONLY_LOADERS: [&str; 2] = ["/boot/efi", "/efi"];

/// The EFI system partitions among the volumes that a plan writes, as they were saved.
pub(crate) fn written<'a>(
    manifest: &'a Manifest,
    plan: &'a RollbackPlan,
) -> impl Iterator<Item = (&'a VolumeRollback, &'a SavedVolume)> {
    let saved = |v: &VolumeRollback| manifest.volumes.iter().find(|s| s.path == v.saved_as);
    plan.volumes.iter().filter_map(move |v| Some((v, saved(v)?))).filter(|(_, saved)| is_esp(manifest, saved))
}

fn is_esp(manifest: &Manifest, saved: &SavedVolume) -> bool {
    let table = manifest.disks.iter().find(|d| d.no == saved.path.disk()).and_then(|d| d.table.as_ref());
    let partition = table.and_then(|t| t.partitions.iter().find(|p| Some(p.number) == saved.path.number()));
    let by_type = partition.is_some_and(|p| p.type_id == GPT_ESP || p.type_id == "ef");
    let named = manifest.systems.iter().any(|s| s.system.boot.iter().any(|(_, v)| *v == saved.path));
    matches!(saved.content, Content::Fat(_)) && (by_type || named)
}

/// Who has files on such a partition: a system goes back where its root does. `None` where none does: a partition that is named without
/// its system goes back as one.
pub(crate) fn tenancy(
    manifest: &Manifest,
    inspection: &Inspection,
    plan: &RollbackPlan,
    esp: &VolumeRollback,
) -> Option<Tenancy> {
    let then = |path: &VolumePath| manifest.volumes.iter().find(|v| v.path == *path).map(|v| v.volume());
    let now = |path: &VolumePath| inspection.volume(path).cloned();
    let place = |path: &VolumePath| plan.volumes.iter().find(|v| v.saved_as == *path).map(|v| v.path.clone());
    let tenant = |system: &System, esp: &VolumePath, uuids: Vec<String>| Tenant {
        name: system.name.clone(),
        os: system.os.0.clone(),
        machine_id: system.machine_id.clone(),
        uuids,
        boot: system
            .boot
            .iter()
            .any(|(at, path)| path == esp && at.starts_with('/') && !ONLY_LOADERS.contains(&at.as_str())),
    };
    let volumes = |system: &System, esp: &VolumePath| -> Vec<VolumePath> {
        let all = std::iter::once(&system.root).chain(system.boot.iter().map(|(_, path)| path));
        all.filter(|path| *path != esp).cloned().collect()
    };
    let uuid = |v: model::inspection::Volume| v.uuid().filter(|uuid| !uuid.is_empty()).map(str::to_owned);
    let mut tenancy = Tenancy::default();
    for system in manifest.systems.iter().map(|s| &s.system) {
        let own = volumes(system, &esp.saved_as);
        let mut uuids: Vec<String> = own.iter().filter_map(then).filter_map(uuid).collect();
        match place(&system.root) {
            Some(_) => {
                // What was made anew in their places since leads there too.
                uuids.extend(own.iter().filter_map(place).filter_map(|path| uuid(now(&path)?)));
                tenancy.going.push(tenant(system, &esp.saved_as, uuids));
            }
            None => tenancy.staying.push(tenant(system, &esp.saved_as, uuids)),
        }
    }
    let written = |path: &VolumePath| plan.volumes.iter().any(|v| v.path == *path);
    for system in inspection.systems.iter().filter(|s| !written(&s.root)) {
        let uuids = volumes(system, &esp.path).iter().filter_map(now).filter_map(uuid).collect();
        tenancy.staying.push(tenant(system, &esp.path, uuids));
    }
    (!tenancy.going.is_empty()).then_some(tenancy)
}

impl Planner<'_> {
    /// Warns where what others have on a partition goes back with it. What is carried over is written too.
    pub(super) fn esps(&mut self, volumes: &mut [VolumeRollback]) -> Vec<SharedEsp> {
        let esps = self.q.facts.esps.clone();
        for esp in &esps {
            let others: Vec<String> =
                volumes.iter().filter(|v| v.path != esp.volume).map(|v| v.path.to_string()).collect();
            if let Some(why) = &esp.cannot {
                self.warn(format!(
                    "{} cannot be kept on {} as it is now ({why}): all of that volume goes back; to leave it as it is, name the \
                     others: `--only {}` - but then its boot loader or kernels may not fit what goes back",
                    of_others(esp),
                    esp.volume,
                    others.join(",")
                ));
            }
            for volume in volumes.iter_mut().filter(|v| v.path == esp.volume && esp.is_composed()) {
                volume.at_most.0 = volume.at_most.0.saturating_add(esp.bytes().0);
            }
        }
        esps
    }

    /// The saved boot entries without those that start something that stays.
    pub(super) fn without_staying(&self, saved: &BootSettings) -> BootSettings {
        let kept = self.q.facts.esps.iter().filter(|e| e.cannot.is_none()).flat_map(|e| &e.stays);
        let kept: Vec<String> = kept.map(|part| part.path.display().as_str().to_lowercase()).collect();
        let stays = |entry: &BootEntry| {
            let file = entry.option.as_ref().ok().and_then(|option| option.file.as_ref());
            let file = file.map(|file| file.as_str().replace('\\', "/").to_lowercase());
            let within = |file: &str, part: &str| file.strip_prefix(part).is_some_and(|rest| rest.starts_with('/'));
            file.is_some_and(|file| kept.iter().any(|part| file == *part || within(&file, part)))
        };
        let mut out = saved.clone();
        out.entries.retain(|entry| !stays(entry));
        out
    }
}

fn of_others(esp: &SharedEsp) -> String {
    let named: Vec<String> = esp.stays.iter().take(4).map(|p| format!("{} ({})", p.shown(), p.whose)).collect();
    match (named.as_slice(), esp.stays.len()) {
        ([], _) => "what other systems have there".to_owned(),
        (_, more @ 5..) => format!("{} and {} more", named.join(", "), more - 4),
        _ => named.join(", "),
    }
}
