//! The leases of a write-back: one for each volume, all or none.

use super::{Context, Stop};
use crate::gather::VOLUME_HEAD;
use model::command::ExitCode;
use model::id::{Digest, VolumePath};
use model::plan::{RollbackPlan, VolumeRollback};
use model::ports::{LeaseError, LeaseRequest, WriteError, WriteLease};
use model::units::ByteOffset;

/// The right to write every volume of a plan.
pub(crate) struct Leases {
    held: Vec<(VolumePath, Box<dyn WriteLease>)>,
}

impl Leases {
    /// Takes a lease for every volume. `heads`: each disk's start must still be what it was at the inspection; false where this very
    /// run has rewritten a table meanwhile.
    ///
    /// # Errors
    /// [`Stop`]; nothing is held then.
    pub(crate) fn take(cx: &Context<'_>, plan: &RollbackPlan, heads: bool) -> Result<Self, Stop> {
        let mut held = Vec::new();
        for volume in &plan.volumes {
            let lease = cx.devices.lease(&LeaseRequest {
                disk: volume.path.disk(),
                extent: volume.extent,
                hardware: volume.hardware.clone(),
                head: heads.then_some(volume.disk_head),
            });
            let lease = lease.map_err(refused)?;
            if lease.size() != volume.extent.len() {
                let says = format!("{} has {} bytes, not {}", volume.path, lease.size().0, volume.extent.len().0);
                return Err(Stop::failed(ExitCode::Refused, says, "look at the disks again and make a new plan"));
            }
            held.push((volume.path.clone(), lease));
        }
        Ok(Self { held })
    }

    /// The lease of a volume of the plan.
    pub(crate) fn of(&mut self, volume: &VolumeRollback) -> Result<&mut dyn WriteLease, Stop> {
        match self.held.iter_mut().find(|(path, _)| *path == volume.path) {
            Some((_, lease)) => Ok(&mut **lease),
            None => Err(Stop::failed(ExitCode::Failed, format!("{} is not leased", volume.path), "please report this")),
        }
    }

    /// Checks, on the very descriptors that will write, that each volume still begins as it did when the plan was made.
    pub(crate) fn unchanged(&mut self, plan: &RollbackPlan) -> Result<(), Stop> {
        for volume in &plan.volumes {
            let len = VOLUME_HEAD.0.min(volume.extent.len().0);
            let mut head = vec![0; usize::try_from(len).unwrap_or(0)];
            let lease = self.of(volume)?;
            lease.read_back(ByteOffset(0), &mut head).map_err(|e| medium(&e))?;
            if Digest::of(&head) != volume.volume_head {
                let says = format!("{} changed after the plan was made", volume.path);
                return Err(Stop::failed(ExitCode::Refused, says, "nothing was written; make a new plan"));
            }
        }
        Ok(())
    }
}

/// Why a lease was not given, with what to do.
pub(crate) fn refused(e: LeaseError) -> Stop {
    let (code, advice) = match &e {
        LeaseError::Gone { .. } => {
            (ExitCode::Failed, "nothing was written; check the cable, then look at the disks again")
        }
        LeaseError::OtherDisk { .. } => {
            (ExitCode::Refused, "nothing was written; look at the disks again and make a new plan")
        }
        LeaseError::InUse { .. } => {
            (ExitCode::Refused, "nothing was written; unmount it or end that program, then run this again")
        }
        LeaseError::Io { .. } => (ExitCode::Failed, "nothing was written; check the disk and its cable"),
    };
    Stop::failed(code, e.to_string(), advice)
}

/// The medium failed.
pub(crate) fn medium(e: &WriteError) -> Stop {
    Stop::failed(ExitCode::Failed, e.to_string(), "check the disk and its cable")
}
