//! What the engine does with an answer of the parser, whoever gave it: for the fuzz targets alone (feature `fuzzing`), which play a
//! parser that was taken over.

use super::desk::Desk;
use super::role::answer;
use super::wire::{Answer, Request, decode_ranges, give_patches};
use super::{ParserError, Scene, checked};
use disk::table::TableReading;
use model::boot::{BootChain, BootRepairs};
use model::coverage::{Changes, Coverage};
use model::cuts::Cuts;
use model::evidence::Evidence;
use model::firmware::Value;
use model::id::DiskNo;
use model::inspection::{Content, Inspection, System, Volume};
use model::luks::LuksHeader;
use model::mapping::Layers;
use model::policy::Policy;
use model::ports::DiskSource;
use model::restore::{FitTable, FittedTable};
use model::units::{ByteLen, Extent, ExtentSet};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

/// An answer that the engine took.
pub enum Taken {
    /// To what the partition table of disk 0 is.
    Table(TableReading),
    /// To what lies on a volume.
    Content(Content),
    /// To what opens an encrypted volume.
    Luks(LuksHeader),
    /// To what layers make of volumes.
    Layers(Layers),
    /// To which systems there are.
    Systems(Vec<System>),
    /// To what a file tells.
    Evidence(Vec<Evidence>),
    /// To how the first system starts.
    Boot(BootChain),
    /// To what can be put right of that.
    Repairs(BootRepairs),
    /// To which bytes of a volume are in use.
    Coverage(Coverage),
    /// To which are as they were.
    Changes(Changes),
    /// To where it is cut.
    Cuts(Cuts),
    /// To what a table is on another disk.
    Fitted(FittedTable),
    /// To what a policy says.
    Policy(Policy),
    /// To anything else.
    Other,
}

/// Takes an answer as it comes over the wire, the way [`super::Child`] does, to a question about this inspection: about its last
/// volume, and its first system.
///
/// # Errors
/// [`ParserError`] where it is none, or was refused.
pub fn take(json: &[u8], bulk: &[u8], inspection: &Inspection, wanted: &FitTable) -> Result<Taken, ParserError> {
    let none = || ParserError::new("no answer");
    let answer: Answer = serde_json::from_slice(json).map_err(|e| ParserError::new(e.to_string()))?;
    let disk = inspection.disks.first().ok_or_else(none)?;
    let volume: &Volume = disk.volumes.last().ok_or_else(none)?;
    let system = inspection.systems.first().ok_or_else(none)?;
    let lost: ExtentSet = Extent::between(0, 1 << 20).into_iter().collect();
    let ranges = || decode_ranges(bulk).ok_or_else(none);
    Ok(match answer {
        Answer::Table(reading) => Taken::Table(checked::table(reading.into(), disk.no, disk.hardware.size.0)?),
        Answer::Content { content, findings } => Taken::Content(checked::content(content, findings, &volume.path)?.0),
        Answer::Luks { header } => Taken::Luks(checked::luks(*header, volume.extent.len())?),
        Answer::Layers { layers } => Taken::Layers(checked::layers(layers, inspection)?),
        Answer::Systems { systems, findings } => Taken::Systems(checked::systems(systems, findings, inspection)?.0),
        Answer::Evidence { evidence } => Taken::Evidence(checked::evidence(evidence, &Scene::of(system, inspection))?),
        Answer::Boot { chain } => Taken::Boot(checked::boot(chain, inspection, system)?),
        Answer::BootRepairs { repairs, lengths } => {
            let repairs = give_patches(repairs, &lengths, bulk).ok_or_else(none)?;
            Taken::Repairs(checked::boot_repairs(repairs, inspection)?)
        }
        Answer::Coverage { method, why, state } => {
            Taken::Coverage(checked::coverage(Coverage { method, why, used: ranges()?, state }, volume)?)
        }
        Answer::Changes { comparison, why } => {
            Taken::Changes(checked::changes(Changes { comparison, why, same: ranges()? }, volume)?)
        }
        Answer::Cuts => Taken::Cuts(Cuts::from_bytes(volume.extent.len(), bulk).ok_or_else(none)?),
        Answer::Losses { files } => {
            checked::losses(files, &lost)?;
            Taken::Other
        }
        Answer::Fitted { table } => Taken::Fitted(checked::fitted(*table, wanted)?),
        Answer::Policy { read: Ok(policy) } => Taken::Policy(checked::policy(*policy)?),
        Answer::Policy { read: Err(e) } => {
            checked::policy_error(e)?;
            Taken::Other
        }
        Answer::LoadOptions { options } => {
            checked::load_options(options, 1)?;
            Taken::Other
        }
        _ => Taken::Other,
    })
}

/// What an honest parser says of disks, as it goes over the wire: JSON, and plain bytes. An inspection of them must be given.
///
/// # Errors
/// What the system says where no socket can be had.
pub fn honest(disks: &[DiskSource], inspection: &Inspection) -> std::io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let desk = Desk::new(disks.to_vec());
    let sizes: Vec<(DiskNo, u64)> = disks.iter().map(|d| (d.no, d.hardware.size.0)).collect();
    let asking = Arc::new(Mutex::new(UnixStream::pair()?.0));
    let mut requests: Vec<(Request, Vec<u8>)> = vec![
        (Request::Layers { inspection: inspection.clone() }, Vec::new()),
        (Request::Systems { inspection: inspection.clone() }, Vec::new()),
        (Request::BootRepairs { inspection: inspection.clone() }, Vec::new()),
        (Request::Policy, b"[save]\nunchanged = save\n".to_vec()),
        (Request::Policy, b"[nothing]\n".to_vec()),
        (Request::LoadOptions { entries: vec![Value(vec![1, 0, 0, 0, 0, 0, 0, 0])] }, Vec::new()),
    ];
    for disk in &inspection.disks {
        requests.push((Request::Table { disk: disk.no }, Vec::new()));
        for volume in &disk.volumes {
            let (path, extent) = (volume.path.clone(), volume.extent);
            requests.push((Request::Content { volume: path, extent }, Vec::new()));
            requests.push((Request::Coverage { volume: volume.clone() }, Vec::new()));
            requests.push((Request::Luks { volume: volume.clone() }, Vec::new()));
            requests.push((Request::Cuts { volume: volume.clone() }, Vec::new()));
        }
    }
    for system in &inspection.systems {
        let scene = Scene::of(system, inspection);
        requests.push((Request::Boot { inspection: inspection.clone(), system: system.clone() }, Vec::new()));
        requests.extend(
            (0..infer::wants().len()).map(|want| (Request::Evidence { scene: scene.clone(), want }, Vec::new())),
        );
    }
    let told = requests.iter().map(|(request, bulk)| {
        let (answer, bytes) = answer(&desk, &sizes, request, bulk, &asking);
        Ok((serde_json::to_vec(&answer)?, bytes))
    });
    let mut told = told.collect::<std::io::Result<Vec<_>>>()?;
    if let Some(disk) = disks.first() {
        let wanted = wanted(ByteLen(disk.hardware.size.0 * 2));
        if let Ok(table) = super::desk::fit_table(&*disk.bytes, &wanted) {
            told.push((serde_json::to_vec(&Answer::Fitted { table: Box::new(table) })?, Vec::new()));
        }
    }
    told.dedup();
    Ok(told)
}

/// A table for a disk of that size.
pub fn wanted(size: ByteLen) -> FitTable {
    let (kind, sector) = (model::inspection::TableKind::Gpt, model::units::SectorSize::B512);
    FitTable { kind, sector, size, new_ids: None, grow: None }
}
