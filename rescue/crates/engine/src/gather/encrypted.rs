//! Encrypted volumes: what lies in those that somebody opened is looked at like any other volume, and of the others it is said that they
//! are locked.

use super::unanswered;
use crate::parser::Parser;
use model::id::VolumePath;
use model::inspection::{Content, Finding, Inspection, LuksInfo, Severity, Volume};
use model::mapping::Mapping;
use model::ports::DiskSource;
use model::units::ExtentSet;

/// Adds what lies in the opened ones of these volumes, and gives its paths.
pub(super) fn open(
    inspection: &mut Inspection,
    volumes: &[Volume],
    disks: &[DiskSource],
    parser: &dyn Parser,
) -> Vec<VolumePath> {
    let mut added = Vec::new();
    for volume in volumes {
        let Content::Luks(info) = &volume.content else { continue };
        let shows = disks.iter().find(|d| d.no == volume.path.disk()).and_then(|d| d.clear.as_ref());
        let Some(shows) = shows.filter(|_| info.not_opened.is_none()) else { continue };
        let header = match parser.luks(volume) {
            Ok(header) => header,
            Err(e) => {
                inspection.findings.push(unanswered(volume.path.clone(), "its LUKS header could not be read", &e));
                continue;
            }
        };
        if !shows.is_open(&header) {
            continue;
        }
        let made = disk::volume::luks::mapping(volume, &header);
        let made = made.and_then(|(path, mapping)| Volume::mapped(path, mapping).ok_or_else(|| "it is empty".into()));
        let mut inner = match made {
            Ok(inner) => inner,
            Err(why) => {
                let says = format!("it was opened, and what lies in it is not read: {why}");
                inspection.findings.push(said(Severity::Warning, volume.path.clone(), &says, ""));
                continue;
            }
        };
        match parser.mapped_content(&inner) {
            Ok((content, found)) => {
                inspection.findings.extend(found);
                inner.content = content;
            }
            Err(e) => inspection.findings.push(unanswered(inner.path.clone(), "what lies on it could not be read", &e)),
        }
        if let Content::Luks(again) = &mut inner.content {
            again.not_opened.get_or_insert_with(|| "it lies in an encrypted volume itself".into());
        }
        let apart: ExtentSet = [header.payload].into_iter().collect();
        let opened = LuksInfo { open: true, apart, ..info.clone() };
        inspection.set_physical(vec![(volume.path.clone(), Content::Luks(opened))]);
        added.push(inner.path.clone());
        inspection.layered.push(inner);
    }
    added
}

/// Takes out what only carries volumes of LVM that were found: as an array below LVM it is no volume of its own.
pub(super) fn without_carriers(inspection: &mut Inspection, opened: &[VolumePath]) {
    let lies_on = |mapping: &Mapping, carrier: &Mapping| mapping.beneath.iter().any(|b| carrier.beneath.contains(b));
    let carries = |v: &Volume| {
        let others = inspection.layered.iter().filter(|o| o.path != v.path).filter_map(|o| o.mapping.as_ref());
        opened.contains(&v.path) && v.mapping.as_ref().is_some_and(|m| others.into_iter().any(|o| lies_on(o, m)))
    };
    let gone: Vec<VolumePath> = inspection.layered.iter().filter(|v| carries(v)).map(|v| v.path.clone()).collect();
    inspection.layered.retain(|v| !gone.contains(&v.path));
}

/// Says which ones are locked.
pub(super) fn tell_locked(inspection: &mut Inspection) {
    let locked: Vec<VolumePath> = inspection.locked().map(|v| v.path.clone()).collect();
    for path in locked {
        let advice =
            "unlock it to see, save and take back what lies in it: `--unlock`, or the step for it on the screen";
        let says = "it is encrypted and locked: what lies in it is not seen, an unfinished rollback included";
        inspection.findings.push(said(Severity::Note, path, says, advice));
    }
}

fn said(severity: Severity, volume: VolumePath, says: &str, advice: &str) -> Finding {
    Finding { severity, volume, says: says.into(), advice: advice.into() }
}
