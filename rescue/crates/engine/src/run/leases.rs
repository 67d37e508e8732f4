//! The leases of a write-back: one for each volume, all or none.

use super::mapped_lease::{MappedLease, SharedLease};
use super::sealed_lease::SealedLease;
use super::{Context, Stop};
use crate::gather::VOLUME_HEAD;
use model::command::ExitCode;
use model::id::{Digest, VolumePath};
use model::luks::Sealed;
use model::mapping::Beneath;
use model::plan::{RollbackPlan, Through, VolumeRollback};
use model::ports::{LeaseError, LeaseRequest, WriteError, WriteLease};
use model::units::ByteOffset;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

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
        let mut shared = Shared::default();
        for volume in &plan.volumes {
            let lease = match &volume.through {
                Some(through) => mapped(cx, volume, through, heads, &mut shared)?,
                None => {
                    let lease = cx.devices.lease(&LeaseRequest {
                        disk: volume.path.disk(),
                        extent: volume.extent,
                        hardware: volume.hardware.clone(),
                        head: heads.then_some(volume.disk_head),
                    });
                    lease.map_err(refused)?
                }
            };
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
            lease.read_first(ByteOffset(0), &mut head).map_err(|e| medium(&e))?;
            if Digest::of(&head) != volume.volume_head {
                let says = format!("{} changed after the plan was made", volume.path);
                return Err(Stop::failed(ExitCode::Refused, says, "nothing was written; make a new plan"));
            }
        }
        Ok(())
    }
}

/// The leases of volumes beneath others: each is had once, and shared.
type Shared = BTreeMap<VolumePath, SharedLease>;

/// Takes the leases of what lies beneath a volume, and gives one that writes through its map.
fn mapped(
    cx: &Context<'_>,
    volume: &VolumeRollback,
    through: &Through,
    heads: bool,
    shared: &mut Shared,
) -> Result<Box<dyn WriteLease>, Stop> {
    let wrong = |what: &str| {
        let says = format!("{}: {what}", volume.path);
        Stop::failed(ExitCode::Refused, says, "look at the disks again and make a new plan")
    };
    let mapping = &through.mapping;
    if !mapping.is_sound(volume.extent.len()) || through.disks.len() != mapping.beneath.len() {
        return Err(wrong("its map does not hold together"));
    }
    let mut beneath = Vec::new();
    for (part, (hardware, head)) in mapping.beneath.iter().zip(&through.disks) {
        let lease = match shared.get(&part.path) {
            Some(lease) => lease.clone(),
            None => {
                let lease = cx.devices.lease(&LeaseRequest {
                    disk: part.path.disk(),
                    extent: part.extent,
                    hardware: hardware.clone(),
                    head: heads.then_some(*head),
                });
                let lease = lease.map_err(refused)?;
                if lease.size() != part.extent.len() {
                    return Err(wrong("what lies beneath it has another size now"));
                }
                let lease = Arc::new(Mutex::new(lease));
                shared.insert(part.path.clone(), lease.clone());
                lease
            }
        };
        beneath.push(match &part.sealed {
            None => lease,
            Some(sealed) => {
                encrypting(cx, part, sealed, lease).ok_or_else(|| wrong("it lies encrypted, and was not opened"))?
            }
        });
    }
    Ok(Box::new(MappedLease { mapping: mapping.clone(), size: volume.extent.len(), beneath }))
}

/// A lease that writes what lies encrypted on a volume; `None` where that was not opened.
fn encrypting(cx: &Context<'_>, part: &Beneath, sealed: &Sealed, beneath: SharedLease) -> Option<SharedLease> {
    let source = cx.devices.disks().into_iter().find(|d| d.no == part.path.disk())?;
    let cipher = source.clear?.cipher(sealed).filter(|_| sealed.is_sound(part.extent.len()))?;
    let lease = SealedLease { beneath, sealed: sealed.clone(), cipher };
    Some(Arc::new(Mutex::new(Box::new(lease))))
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
