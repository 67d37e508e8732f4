//! Looking: disks to inspection, inspection to evidence, evidence to report.
//!
//! Everything here survives a parser that crashes: each question that was not answered costs one finding.

mod encrypted;
mod entries;
mod firmware;
mod look_for;

pub(crate) use entries::follow as follow_entries;
pub(crate) use firmware::{add_crashes, boot_settings, partitions, reread};
pub(crate) use look_for::look_for;

use crate::parser::{Parser, ParserError, Scene};
use infer::Baseline;
use model::assessment::{Report, SystemReport};
use model::boot::BootChain;
use model::evidence::Evidence;
use model::id::{Digest, DiskNo, VolumePath};
use model::inspection::{Content, Disk, Finding, Inspection, Severity, System, Volume};
use model::ports::{DiskSource, HEAD_LEN, ReadAt};
use model::snapshot::Machine;
use model::text::DisplayText;
use model::timeline::Occurrence;
use model::units::{ByteLen, ByteOffset, Extent};

/// Most evidence of one system: what a screen and a manifest can take.
const MOST_EVIDENCE: usize = 20_000;
const REPORT_IT: &str = "the rest was looked at all the same; please report this with a copy of the disk's first MiB";

/// How far a look is: what is being done, which step of how many.
pub(crate) type Step<'a> = &'a mut dyn FnMut(&str, u32, u32);

/// Looks at every disk: tables, contents, systems. Writes nothing, and asks for no lease.
pub fn inspect(disks: &[DiskSource], parser: &dyn Parser) -> Inspection {
    inspect_by_step(disks, parser, &mut |_, _, _| {})
}

pub(crate) fn inspect_by_step(disks: &[DiskSource], parser: &dyn Parser, step: Step<'_>) -> Inspection {
    parser.forget();
    let mut inspection = Inspection::default();
    let all = u32::try_from(disks.len()).unwrap_or(u32::MAX);
    for (i, source) in (1..).zip(disks) {
        step(&format!("looking at {}", source.no), i, all);
        let disk = disk(source, parser, &mut inspection.findings);
        inspection.disks.push(disk);
    }
    let straight: Vec<Volume> = inspection.disks.iter().flat_map(|d| d.volumes.clone()).collect();
    let opened = encrypted::open(&mut inspection, &straight, disks, parser);
    layers(&mut inspection, parser);
    encrypted::without_carriers(&mut inspection, &opened);
    let layered: Vec<Volume> = inspection.layered.iter().filter(|v| !v.is_sealed()).cloned().collect();
    encrypted::open(&mut inspection, &layered, disks, parser);
    encrypted::tell_locked(&mut inspection);
    inspection.layered.sort_by(|a, b| a.path.cmp(&b.path));
    step("looking for systems", all, all);
    let (systems, findings) = systems(&inspection, parser);
    inspection.systems = systems;
    inspection.findings.extend(findings);
    inspection
}

fn unanswered(volume: VolumePath, what: &str, error: &ParserError) -> Finding {
    let says = format!("{what}: {error}");
    Finding { severity: Severity::Damage, volume, says: says.as_str().into(), advice: REPORT_IT.into() }
}

/// True where a look could have told more, and its parser did not answer: what is not in the report may be there all the same.
#[cfg(feature = "prove")]
pub(crate) fn is_unanswered(finding: &Finding) -> bool {
    finding.severity == Severity::Damage && finding.advice.as_str() == REPORT_IT
}

fn disk(source: &DiskSource, parser: &dyn Parser, findings: &mut Vec<Finding>) -> Disk {
    let whole = VolumePath::whole(source.no);
    let (table, places) = match parser.table(source.no) {
        Ok(reading) => {
            findings.extend(reading.findings);
            (reading.table, reading.volumes)
        }
        Err(e) => {
            findings.push(unanswered(whole.clone(), "its partition table could not be read", &e));
            (None, vec![(whole.clone(), Extent::whole(source.hardware.size), Some(Content::Unknown))])
        }
    };
    let mut volumes = Vec::new();
    for (path, extent, said) in places {
        let content = match said {
            // What a table says is there may be covered by a fence.
            Some(Content::BiosBoot) => match parser.content(&path, extent) {
                Ok((Content::Fenced(fence), found)) => {
                    findings.extend(found);
                    Content::Fenced(fence)
                }
                _ => Content::BiosBoot,
            },
            Some(content) => content,
            None => match parser.content(&path, extent) {
                Ok((content, found)) => {
                    findings.extend(found);
                    content
                }
                Err(e) => {
                    findings.push(unanswered(path.clone(), "what lies on it could not be read", &e));
                    Content::Unknown
                }
            },
        };
        volumes.push(Volume::on_disk(path, extent, content));
    }
    Disk { no: source.no, hardware: source.hardware.clone(), head: head(source, findings), table, volumes }
}

/// Adds what layers make of the volumes on the disks: LVM, md.
fn layers(inspection: &mut Inspection, parser: &dyn Parser) {
    let Some(first) = inspection.volumes().map(|(_, v)| v).find(|v| v.content.may_carry()).map(|v| v.path.clone())
    else {
        return;
    };
    let layers = match parser.layers(inspection) {
        Ok(layers) => layers,
        Err(e) => {
            inspection.findings.push(unanswered(first, "what volumes lie on it could not be read", &e));
            return;
        }
    };
    inspection.findings.extend(layers.findings);
    inspection.set_physical(layers.physical);
    for mut volume in layers.volumes.into_iter().filter_map(|(path, mapping)| Volume::mapped(path, mapping)) {
        match parser.mapped_content(&volume) {
            Ok((content, found)) => {
                inspection.findings.extend(found);
                volume.content = content;
            }
            Err(e) => {
                inspection.findings.push(unanswered(volume.path.clone(), "what lies on it could not be read", &e))
            }
        }
        inspection.layered.push(volume);
    }
}

/// The digest that stands for the disk's table, as leases check it again.
fn head(source: &DiskSource, findings: &mut Vec<Finding>) -> Digest {
    let len = HEAD_LEN.0.min(source.bytes.size().0);
    match source.bytes.read_vec(ByteOffset(0), usize::try_from(len).unwrap_or(0)) {
        Ok(bytes) => Digest::of(&bytes),
        Err(e) => {
            let says = format!("the start of the disk cannot be read: {e}");
            let advice = "the disk may be dying: save what you can, and do not write to it".into();
            let volume = VolumePath::whole(source.no);
            findings.push(Finding { severity: Severity::Damage, volume, says: says.as_str().into(), advice });
            Digest::of(&[])
        }
    }
}

/// The systems. Where all volumes together are too much for the parser, it is tried again without each one in turn.
fn systems(inspection: &Inspection, parser: &dyn Parser) -> (Vec<System>, Vec<Finding>) {
    let error = match parser.systems(inspection) {
        Ok(found) => return found,
        Err(e) => e,
    };
    let suspects = inspection.volumes().map(|(_, v)| v).filter(|v| v.content.is_file_system());
    for suspect in suspects.take(16) {
        let mut without = inspection.clone();
        let volumes = without.disks.iter_mut().flat_map(|d| &mut d.volumes).chain(&mut without.layered);
        for volume in volumes.filter(|v| v.path == suspect.path) {
            volume.content = Content::Unknown;
        }
        if let Ok((systems, mut findings)) = parser.systems(&without) {
            findings.push(unanswered(suspect.path.clone(), "it could not be searched for a system", &error));
            return (systems, findings);
        }
    }
    let at = inspection.disks.first().map_or(DiskNo(0), |d| d.no);
    (Vec::new(), vec![unanswered(VolumePath::whole(at), "the volumes could not be searched for systems", &error)])
}

/// What the newest snapshot of a machine says of its volumes, to see what changed.
pub struct Since {
    /// Its id.
    pub id: model::id::SnapshotId,
    /// Its volumes.
    pub volumes: Vec<model::snapshot::SavedVolume>,
    /// What the firmware started.
    pub firmware: Option<model::firmware::BootSettings>,
}

/// Looks at everything and says what happened. `since` finds the snapshot to compare with, once the machine is known.
pub fn report(disks: &[DiskSource], parser: &dyn Parser, since: &dyn Fn(&Machine) -> Option<Since>) -> Report {
    report_by_step(disks, parser, since, &mut |_, _, _| {})
}

pub(crate) fn report_by_step(
    disks: &[DiskSource],
    parser: &dyn Parser,
    since: &dyn Fn(&Machine) -> Option<Since>,
    step: Step<'_>,
) -> Report {
    let mut inspection = inspect_by_step(disks, parser, step);
    let since = since(&machine(&inspection));
    let mut reports = Vec::new();
    let mut findings = Vec::new();
    let mut chains = Vec::new();
    for system in &inspection.systems {
        let chain = boot(system, &inspection, parser, &mut findings, step);
        let evidence = evidence(system, &inspection, &chain, parser, &mut findings, step);
        reports.push(judged(system, &inspection, evidence, since.as_ref()));
        chains.push(chain);
    }
    inspection.findings.extend(findings);
    Report { inspection, systems: reports, boot: chains }
}

/// The boot chain of a system.
fn boot(
    system: &System,
    inspection: &Inspection,
    parser: &dyn Parser,
    findings: &mut Vec<Finding>,
    step: Step<'_>,
) -> BootChain {
    step(&format!("following the boot chain of {}", system.root), 1, 1);
    parser.boot(inspection, system).unwrap_or_else(|e| {
        findings.push(unanswered(system.root.clone(), "its boot chain could not be followed", &e));
        BootChain { root: system.root.clone(), links: Vec::new() }
    })
}

/// What a report says once it is compared with another snapshot, of disks that nobody wrote to since: they are not read again.
pub(crate) fn compared(report: &Report, since: Option<&Since>) -> Report {
    let inspection = report.inspection.clone();
    let again = |s: &SystemReport| judged(&s.system, &inspection, s.evidence.clone(), since);
    let systems = report.systems.iter().map(again).collect();
    Report { inspection, systems, boot: report.boot.clone() }
}

/// Adds evidence to that of the only system there is, and judges anew. With several, whose it is cannot be told.
fn add_evidence(report: &mut Report, more: &dyn Fn(&System) -> Vec<Evidence>, since: Option<&Since>) {
    let [only] = report.systems.as_mut_slice() else { return };
    let more = more(&only.system);
    if !more.is_empty() {
        let evidence = infer::combine([std::mem::take(&mut only.evidence), more].concat());
        *only = judged(&only.system, &report.inspection, evidence, since);
    }
}

fn judged(system: &System, inspection: &Inspection, evidence: Vec<Evidence>, since: Option<&Since>) -> SystemReport {
    let baseline = since.map(|s| Baseline { id: s.id, volumes: &s.volumes });
    let assessment = infer::assess(system, inspection, &evidence, baseline);
    SystemReport { system: system.clone(), assessment, evidence }
}

/// What a system did, as its evidence tells it, newest first; at most 64 occurrences. Cheap enough for every time it is drawn.
pub fn timeline(inspection: &Inspection, system: &SystemReport) -> Vec<Occurrence> {
    infer::timeline(&system.system, inspection, &system.evidence)
}

/// Every fact of a system: each want is one question.
fn evidence(
    system: &System,
    inspection: &Inspection,
    chain: &BootChain,
    parser: &dyn Parser,
    findings: &mut Vec<Finding>,
    step: Step<'_>,
) -> Vec<Evidence> {
    let scene = Scene::of(system, inspection);
    let mut all = infer::volume_facts(inspection, system);
    all.extend(infer::chain_facts(chain));
    let wants = infer::wants();
    let of = u32::try_from(wants.len()).unwrap_or(u32::MAX);
    for (index, want) in wants.iter().enumerate().filter(|(_, want)| want.is_for(system)) {
        step(&format!("reading the evidence of {}", system.root), u32::try_from(index + 1).unwrap_or(of), of);
        match parser.evidence(&scene, index) {
            Ok(found) => all.extend(found),
            Err(e) => {
                let what = format!("the evidence at {} could not be read", want.pattern);
                findings.push(unanswered(system.root.clone(), &what, &e));
            }
        }
        if all.len() > MOST_EVIDENCE {
            let says = format!("more than {MOST_EVIDENCE} pieces of evidence; the rest was not looked at");
            let (severity, volume) = (Severity::Warning, system.root.clone());
            findings.push(Finding { severity, volume, says: says.as_str().into(), advice: DisplayText::default() });
            all.truncate(MOST_EVIDENCE);
            break;
        }
    }
    infer::combine(all)
}

/// Which machine these disks are of.
pub fn machine(inspection: &Inspection) -> Machine {
    let id = |disk: &Disk| match &disk.table {
        Some(table) if !crate::plan::disks::nameless(table) => Some(table.id.clone()),
        Some(_) => disk.volumes.iter().find_map(|v| v.uuid()).map(str::to_owned),
        None => disk.volumes.first().and_then(|v| v.uuid()).map(str::to_owned),
    };
    let ours = |disk: &&Disk| !crate::plan::is_store_disk(disk, inspection);
    Machine {
        machine_id: inspection.systems.iter().find_map(|s| s.machine_id.clone()),
        disks: inspection.disks.iter().filter(ours).filter_map(id).collect(),
        hostname: inspection.systems.iter().find_map(|s| s.hostname.clone()),
    }
}

/// The length a volume's head digest covers (`VolumeRollback::volume_head`).
pub(crate) const VOLUME_HEAD: ByteLen = ByteLen(64 * 1024);
