//! What the firmware's entries mean for boot chains. Firmware looks for one boot loader by itself (UEFI specification 2.10, section
//! 3.5.1.1); one in a directory of its own is started by an entry that leads there, or not at all.

use super::{Since, judged};
use model::assessment::Report;
use model::boot::{BootChain, BootLink, LinkPart, LinkState, Way};
use model::firmware::{BootEntry, BootSettings, LoadOption};
use model::id::VolumePath;
use model::inspection::Inspection;
use model::text::DisplayText;

/// Tells of each chain without a boot loader where firmware looks by itself whether an entry leads to its own. Where the snapshot of the
/// same machine has one and the firmware has it no more, the chain is broken, whatever else may hold: this is how it was started.
pub(crate) fn follow(report: &mut Report, since: Option<&Since>) {
    let Some(now) = report.inspection.firmware.clone() else { return };
    let saved = since.and_then(|since| Some((since, since.firmware.as_ref()?)));
    for (chain, system) in report.boot.iter_mut().zip(&mut report.systems) {
        let loaders = loaders(chain);
        let mut lost = Vec::new();
        for link in chain.links.iter_mut().filter(|l| is_open(l)) {
            let leads = |settings: &BootSettings| leading(settings, &report.inspection, &loaders, &link.volume);
            let path = link.path.as_ref().map(|p| p.display().to_string()).unwrap_or_default();
            if let Some(entry) = leads(&now) {
                link.state = LinkState::Ok;
                link.says = DisplayText::new(&format!(
                    "there is no {path}, and none is needed: the firmware has the entry {entry}"
                ));
                continue;
            }
            link.state = LinkState::Broken;
            link.says = DisplayText::new(&format!(
                "there is no {path}, and the firmware has no entry that leads to the boot loader"
            ));
            if let Some((since, entry)) = saved.and_then(|(since, saved)| Some((since, leads(saved)?))) {
                let snapshot = since.id.0.short(8);
                link.needed = true;
                link.says = DisplayText::new(&format!(
                    "the firmware has forgotten the entry {entry} that snapshot {snapshot} has"
                ));
                let advice = format!(
                    "going back to snapshot {snapshot} puts it there again; or `holdfast repair-boot` does without one"
                );
                link.advice = DisplayText::new(&advice);
                lost.push(link.clone());
            }
        }
        if !lost.is_empty() {
            let facts = infer::chain_facts(&BootChain { root: chain.root.clone(), links: lost });
            let evidence = infer::combine([std::mem::take(&mut system.evidence), facts].concat());
            *system = judged(&system.system, &report.inspection, evidence, since);
        }
    }
}

/// A link that nothing but an entry can hold.
fn is_open(link: &BootLink) -> bool {
    link.part == LinkPart::Fallback && link.way == Way::Uefi && link.state == LinkState::NotChecked && !link.needed
}

/// The boot loaders of a chain, as the firmware's entries name them.
fn loaders(chain: &BootChain) -> Vec<(VolumePath, String)> {
    let there = chain.links.iter().filter(|l| l.part == LinkPart::Loader && l.state != LinkState::Broken);
    there.filter_map(|l| Some((l.volume.clone(), l.path.as_ref()?.display().to_string().to_lowercase()))).collect()
}

/// The entry that starts a loader on this volume.
fn leading(
    settings: &BootSettings,
    inspection: &Inspection,
    loaders: &[(VolumePath, String)],
    volume: &VolumePath,
) -> Option<DisplayText> {
    let guid = inspection.disks.iter().find_map(|disk| {
        let partitions = &disk.table.as_ref()?.partitions;
        partitions.iter().find(|p| VolumePath::partition(disk.no, p.number) == *volume)?.guid.clone()
    })?;
    let starts = |entry: &&BootEntry| {
        let Ok(LoadOption { active: true, partition: Some(partition), file: Some(file), .. }) = &entry.option else {
            return false;
        };
        let file = file.as_str().replace('\\', "/").to_lowercase();
        *partition == guid && loaders.iter().any(|(on, path)| on == volume && *path == file)
    };
    settings.entries.iter().find(starts).map(BootEntry::says)
}
