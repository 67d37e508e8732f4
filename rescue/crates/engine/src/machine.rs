//! The disks and the clock of this computer, for the program.

use model::command::{ExitCode, Failure};
use model::ports::{Clock, Devices};
use model::text::DisplayText;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The disks of one run.
pub struct Opened {
    /// For looking and leasing.
    pub devices: Arc<dyn Devices>,
    /// A read-only descriptor of each, in order: what the parser role inherits.
    pub descriptors: Vec<OwnedFd>,
    /// Disks that were found and could not be opened, a sentence each.
    pub problems: Vec<DisplayText>,
}

/// Opens the disks and image files named, for looking only.
///
/// # Errors
/// [`Failure`] for the first that cannot be opened.
pub fn open(paths: &[PathBuf]) -> Result<Opened, Failure> {
    let refused = |e: sys::device::DeviceError| {
        Failure::new(ExitCode::Failed, e.to_string(), "check the name; `lsblk` lists the disks of this computer")
    };
    opened(sys::device::Machine::open(paths).map_err(refused)?)
}

/// Opens every real disk of this computer for looking only, but the disk on which `store` lies and those that are to be left out, by
/// their kernel names.
///
/// # Errors
/// [`Failure`] where no more descriptors can be had.
pub fn discover(store: Option<&Path>, leave_out: &[String]) -> Result<Opened, Failure> {
    let skip =
        |disk: &sys::device::Candidate| leave_out.contains(&disk.name) || store.is_some_and(|path| disk.holds(path));
    let mut opened = opened(sys::device::Machine::discover(skip))?;
    let left_out =
        |name: &String| DisplayText::new(&format!("{name} is another stick of the rescue: it is left out here"));
    opened.problems.extend(leave_out.iter().map(left_out));
    Ok(opened)
}

fn opened(machine: sys::device::Machine) -> Result<Opened, Failure> {
    let descriptors = machine.descriptors().map_err(|e| {
        Failure::new(ExitCode::Failed, format!("no more descriptors can be had: {e}"), "name fewer disks")
    })?;
    let problems = machine.problems().iter().map(|p| DisplayText::new(&p.to_string())).collect();
    Ok(Opened { devices: Arc::new(machine), descriptors, problems })
}

/// The clock of this computer.
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(sys::clock::SystemClock)
}
