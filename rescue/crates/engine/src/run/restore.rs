//! Putting a snapshot onto other disks, whole: journaled, fenced, verified like a rollback (invariant 4).
//!
//! ```text
//!  restore   leases -> the maps are walked -> intent ─┐
//!  resume                        its own intent ──────┴─> carry_out
//!  carry_out   fences -> all behind them -> the tables' own bytes behind them -> boot entries -> the disks' heads
//!               -> receipt
//! ```
//!
//! A fence stands in the first 4096 bytes of the disk itself, over its protective MBR, MBR or superblock: while it does the disk has no
//! table and no file system, for firmware and kernels alike, and nothing on it boots or mounts. There is no undo snapshot: a disk
//! that held something was named by its owner.

use super::leases::refused;
use super::payload::{self, Compare, Done};
use super::sealed_lease::PartlySealed;
use super::write_back::{interrupted, usable};
use super::{Context, Meter, Stop, fences, firmware, whole_disk};
use disk::fence::FENCE_LEN;
use model::command::ExitCode;
use model::id::{IntentId, VolumePath};
use model::plan::RollbackPlan;
use model::ports::{DiskSource, LeaseRequest, ReadAt, WriteLease};
use model::restore::DiskRestore;
use model::snapshot::{FORMAT, Intent, Receipt};
use model::units::{ByteLen, ByteOffset, Extent};

const FENCED: &str = "the disks are fenced and nothing boots from them meanwhile; `holdfast resume` finishes this";
/// Phases of a restore, as its progress counts them.
const PHASES: u32 = 3;

/// Puts the snapshot onto the disks.
///
/// # Errors
/// [`Stop`], with [`ExitCode::Interrupted`] where fences stand. With any other, nothing was written.
pub fn restore(cx: &Context<'_>, plan: &RollbackPlan) -> Result<Receipt, Stop> {
    usable(plan)?;
    // What can refuse refuses first.
    let leases = take(cx, plan)?;
    proven(cx, plan)?;
    let after = cx.store.list()?.snapshots.iter().map(|(_, m)| m.counter).max().unwrap_or(0);
    let (plan_of, begun) = (plan.clone(), cx.clock.now());
    let intent = Intent { format: FORMAT, plan: plan_of, undo: None, after: Some(after), begun };
    let id = cx.store.put_intent(&intent)?;
    carry_out(cx, plan, id, leases, Compare::Nothing)
}

/// Finishes a restore that was cut off: `plan` is made of its intent and a fresh inspection.
///
/// # Errors
/// As [`restore`].
pub fn resume(cx: &Context<'_>, plan: &RollbackPlan, of: IntentId) -> Result<Receipt, Stop> {
    usable(plan)?;
    let intent = cx.store.intent(of)?;
    if intent.plan.to != plan.to || intent.plan.disks.is_empty() {
        let says = "the plan goes to another snapshot than the restore it is to finish";
        return Err(Stop::failed(ExitCode::Refused, says, "look at the disks again and make a new plan"));
    }
    let leases = take(cx, plan)?;
    walked(cx, plan)?;
    carry_out(cx, plan, of, leases, Compare::NotZeros)
}

/// True where a disk begins as it is to begin in the end, and so is whole: its head comes last.
pub(crate) fn is_whole(cx: &Context<'_>, disk: &DiskRestore, source: &DiskSource) -> bool {
    let now = source.bytes.read_vec(ByteOffset(0), fences::LEN);
    matches!((now, whole_disk::head(cx, disk)), (Ok(now), Ok(head)) if now == head)
}

type Held = Vec<Box<dyn WriteLease>>;

/// The right to write every disk of the plan, in its order: all or none.
fn take(cx: &Context<'_>, plan: &RollbackPlan) -> Result<Held, Stop> {
    let mut held = Vec::new();
    for disk in &plan.disks {
        let size = disk.hardware.size;
        let request = LeaseRequest {
            disk: disk.disk,
            extent: Extent::whole(size),
            hardware: disk.hardware.clone(),
            head: Some(disk.disk_head),
        };
        let lease = cx.devices.lease(&request).map_err(refused)?;
        if lease.size() != size {
            let says = format!("{} has {} bytes, not {}", disk.disk, lease.size().0, size.0);
            return Err(Stop::failed(ExitCode::Refused, says, "look at the disks again and make a new plan"));
        }
        held.push(encrypting(cx, disk, lease)?);
    }
    Ok(held)
}

/// The lease of a disk that encrypts what is to lie encrypted on it, where anything is.
fn encrypting(cx: &Context<'_>, disk: &DiskRestore, lease: Box<dyn WriteLease>) -> Result<Box<dyn WriteLease>, Stop> {
    if disk.encrypted.is_empty() {
        return Ok(lease);
    }
    let mut parts = Vec::new();
    for e in &disk.encrypted {
        let sound = e.sealed.is_sound(disk.hardware.size) && e.places.iter().all(|p| e.sealed.holds(p));
        let wrong = |what: &str| {
            let says = format!("{} of the snapshot {what}", e.volume);
            Stop::failed(ExitCode::Refused, says, "nothing was written; unlock it, and make a new plan")
        };
        if !sound {
            return Err(wrong("does not lie on this disk as the plan has it"));
        }
        let cipher = cx.keys.cipher(&e.sealed).ok_or_else(|| wrong("was not unlocked"))?;
        parts.push((e.places.clone(), e.sealed.clone(), cipher));
    }
    Ok(Box::new(PartlySealed::over(lease, parts)))
}

/// The maps are whole and end where they should, and the heads can be had.
fn walked(cx: &Context<'_>, plan: &RollbackPlan) -> Result<(), Stop> {
    for volume in &plan.volumes {
        payload::walk(cx, volume)?;
    }
    for disk in &plan.disks {
        whole_disk::head(cx, disk)?;
        whole_disk::made(disk, Extent::whole(disk.hardware.size))?;
    }
    Ok(())
}

/// As [`walked`]; and where something is lost by writing, the store is proven to give back every byte first.
fn proven(cx: &Context<'_>, plan: &RollbackPlan) -> Result<(), Stop> {
    let all = ByteLen(plan.disks.iter().filter(|d| d.lost).map(|d| d.at_most.0).fold(0, u64::saturating_add));
    let mut meter = Meter::start(cx.observer, cx.clock, "checking what will be written", (1, PHASES), all, false);
    walked(cx, plan)?;
    for disk in plan.disks.iter().filter(|d| d.lost) {
        payload::prove(cx, whole_disk::slices(cx.store, disk, Extent::whole(disk.hardware.size)), &mut meter)?;
    }
    Ok(())
}

/// The writing: from the first fence to the receipt. The intent is durable.
fn carry_out(
    cx: &Context<'_>,
    plan: &RollbackPlan,
    intent: IntentId,
    leases: Held,
    compare: Compare,
) -> Result<Receipt, Stop> {
    let done = fenced_part(cx, plan, intent, leases, compare).map_err(|stop| interrupted(stop, FENCED))?;
    let (written, verified) = (ByteLen(done.written), ByteLen(done.verified));
    let receipt = Receipt { format: FORMAT, intent, holds: plan.to, written, verified, ended: cx.clock.now() };
    cx.store.put_receipt(&receipt).map_err(|e| {
        let says = format!("everything was written and verified, but the store could not take the record of it: {e}");
        Stop::failed(ExitCode::Failed, says, "the disks hold the snapshot and can be used; make room in the store")
    })?;
    Ok(receipt)
}

fn fenced_part(
    cx: &Context<'_>,
    plan: &RollbackPlan,
    intent: IntentId,
    mut leases: Held,
    compare: Compare,
) -> Result<Done, Stop> {
    let mut done = Done::default();
    let mut add = |part: Done| {
        done.written += part.written;
        done.verified += part.verified;
    };
    let verified = 0;
    for (disk, lease) in plan.disks.iter().zip(&mut leases) {
        let was = match disk.lost {
            true => disk.holds.clone(),
            false => "an empty disk".into(),
        };
        let written = fences::raise_on(&mut **lease, (&was, disk.hardware.sector), intent, cx.store.id())?;
        add(Done { written, verified });
    }
    let mut meter = Meter::start(cx.observer, cx.clock, "writing", (2, PHASES), plan.at_most(), true);
    for (disk, lease) in plan.disks.iter().zip(&mut leases) {
        let path = VolumePath::whole(disk.disk);
        meter.rename(format!("writing {path}"));
        let behind = Extent::between(FENCE_LEN.0, disk.hardware.size.0).ok_or_else(too_small)?;
        let slices = whole_disk::slices(cx.store, disk, behind);
        add(payload::put(cx, (&mut **lease, &path), slices, compare, &mut meter)?);
        // The table comes last: what reads a disk without its first sector finds none that leads anywhere.
        add(payload::put_bytes((&mut **lease, &path), whole_disk::made(disk, behind)?.into_iter())?);
    }
    drop(meter);
    firmware::write(cx, &plan.firmware);
    let _meter = Meter::start(cx.observer, cx.clock, "making the disks valid", (3, PHASES), ByteLen::ZERO, true);
    for (disk, lease) in plan.disks.iter().zip(&mut leases) {
        let head = whole_disk::head(cx, disk)?;
        let written = fences::lower_on(&mut **lease, disk.hardware.sector, &head)?;
        add(Done { written, verified: head.len() as u64 });
    }
    Ok(done)
}

fn too_small() -> Stop {
    Stop::failed(ExitCode::Refused, "the disk has less than 4096 bytes", "name another one; nothing was written")
}
