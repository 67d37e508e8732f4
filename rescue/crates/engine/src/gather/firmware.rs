//! What the firmware starts: its boot variables, told apart here and read by the parser.

use super::{Since, add_evidence};
use crate::parser::Parser;
use model::assessment::Report;
use model::firmware::{BootEntry, BootSettings, MOST_ENTRIES, MOST_VALUE, Value, Variable, number_of};
use model::inspection::Inspection;
use model::ports::Devices;
use std::collections::BTreeSet;

/// What the firmware starts, where there is such a thing. Where the disks were named, only where it starts something from one of them:
/// else they may be another machine's.
///
/// # Errors
/// A sentence that says why it cannot be told.
pub(crate) fn boot_settings(
    devices: &dyn Devices,
    parser: &dyn Parser,
    inspection: &Inspection,
) -> Result<Option<BootSettings>, String> {
    let Some(variables) = devices.boot_variables() else { return Ok(None) };
    let all = variables.read_all().map_err(|e| format!("the firmware's boot entries could not be read: {e}"))?;
    let settings = settings(all, parser)?;
    let is_ours = !devices.are_named() || settings.of(&partitions(inspection)).next().is_some();
    Ok(is_ours.then_some(settings))
}

/// Adds what the firmware keeps of kernels that died. It must be this machine's: where boot entries of it were found.
///
/// # Errors
/// A sentence that says why it cannot be told.
pub(crate) fn add_crashes(devices: &dyn Devices, report: &mut Report, since: Option<&Since>) -> Result<(), String> {
    let Some(variables) = devices.boot_variables() else { return Ok(()) };
    let names = variables.crash_records();
    let names = names.map_err(|e| format!("what the firmware keeps of kernels that died could not be read: {e}"))?;
    if !names.is_empty() {
        add_evidence(report, &|system| infer::crash_facts(&system.root, &names), since);
    }
    Ok(())
}

/// What was saved of the firmware, with its entries read again: by this version, whatever the one that saved them made of them.
///
/// # Errors
/// A sentence that says why they cannot be.
pub(crate) fn reread(parser: &dyn Parser, saved: &BootSettings) -> Result<BootSettings, String> {
    let values: Vec<Value> = saved.entries.iter().map(|e| e.value.clone()).collect();
    let options = parser.load_options(&values).map_err(|e| format!("the saved boot entries: {e}"))?;
    let entries = saved.entries.iter().zip(options).map(|(entry, option)| BootEntry { option, ..entry.clone() });
    Ok(BootSettings { entries: entries.collect(), ..saved.clone() })
}

/// The GUIDs of all partitions.
pub(crate) fn partitions(inspection: &Inspection) -> BTreeSet<String> {
    let tables = inspection.disks.iter().filter_map(|d| d.table.as_ref());
    tables.flat_map(|t| &t.partitions).filter_map(|p| p.guid.clone()).collect()
}

/// What these variables say.
fn settings(all: Vec<Variable>, parser: &dyn Parser) -> Result<BootSettings, String> {
    let mut settings = BootSettings::default();
    let mut entries: Vec<(u16, u32, Value)> = Vec::new();
    for Variable { name, attributes, value } in all {
        if value.0.len() > MOST_VALUE {
            return Err(format!("{name} of the firmware has {} bytes", value.0.len()));
        }
        if let Some(number) = number_of(&name) {
            entries.push((number, attributes, value));
            continue;
        }
        let number = || value.0.first_chunk().map(|unit| u16::from_le_bytes(*unit));
        match name.as_str() {
            "BootOrder" => {
                settings.order = value.0.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
            }
            "BootNext" => settings.next = number(),
            "BootCurrent" => settings.current = number(),
            "OsIndications" => settings.os_indications = value.0.first_chunk().map(|b| u64::from_le_bytes(*b)),
            _ => {}
        }
    }
    if entries.len() > MOST_ENTRIES {
        return Err(format!("the firmware has {} boot entries", entries.len()));
    }
    entries.sort_by_key(|(number, ..)| *number);
    let values: Vec<Value> = entries.iter().map(|(_, _, value)| value.clone()).collect();
    let options = parser.load_options(&values).map_err(|e| format!("the firmware's boot entries: {e}"))?;
    let entry = |((number, attributes, value), option)| BootEntry { number, attributes, value, option };
    settings.entries = entries.into_iter().zip(options).map(entry).collect();
    Ok(settings)
}
