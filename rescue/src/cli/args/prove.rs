//! The arguments of `prove`.

use super::given::{Given, named};
use super::{StoreAt, Usage};
use model::id::SnapRef;
use model::proof::{Accelerator, Bus, Trial};
use model::text::DisplayText;

/// `prove SNAP --store S [--timeout SECONDS] [--accel tcg|kvm] [--bus sata|virtio|nvme] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prove {
    /// Which snapshot.
    pub snapshot: SnapRef,
    /// How.
    pub trial: Trial,
    /// The store's directory.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

pub(super) fn prove(given: &Given, store: StoreAt) -> Result<Prove, Usage> {
    let [snapshot] = given.words.as_slice() else { return Err(Usage("`prove` takes one snapshot and no disk".into())) };
    let trial = Trial {
        timeout: given.timeout.unwrap_or(Trial::TIMEOUT),
        accelerator: given.accelerator.unwrap_or(Accelerator::Tcg),
        bus: given.bus,
    };
    Ok(Prove { snapshot: named(snapshot.clone())?, trial, store, json: given.json })
}

/// Seconds, as a number.
pub(super) fn timeout(text: &str) -> Result<u32, Usage> {
    let seconds = text.parse().ok().filter(|s| (1..=Trial::LONGEST).contains(s));
    seconds.ok_or_else(|| {
        Usage(format!("{} is no number of seconds from 1 to {}", DisplayText::new(text), Trial::LONGEST))
    })
}

pub(super) fn accelerator(text: &str) -> Result<Accelerator, Usage> {
    match text {
        "tcg" => Ok(Accelerator::Tcg),
        "kvm" => Ok(Accelerator::Kvm),
        other => Err(Usage(format!("there is no accelerator {}: tcg and kvm are", DisplayText::new(other)))),
    }
}

pub(super) fn bus(text: &str) -> Result<Bus, Usage> {
    match text {
        "sata" => Ok(Bus::Sata),
        "virtio" => Ok(Bus::Virtio),
        "nvme" => Ok(Bus::Nvme),
        other => Err(Usage(format!("there is no bus {}: sata, virtio and nvme are", DisplayText::new(other)))),
    }
}
