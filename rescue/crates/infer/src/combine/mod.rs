//! What only shows when everything read of a system is on the table.

mod boots;
mod packages;
mod parts;

use model::evidence::{Evidence, EvidenceId, Fact, PackageManager};
use std::collections::BTreeMap;

pub(crate) use boots::{end_word, says as boot_says};

/// Puts together what was read of one system (its files, its volumes, what was not there), and names each piece.
///
/// Boots told by several journal files become one each, in order of the journal's own numbers; dpkg's records are applied to its
/// database; kernels are paired with what they need. Combining again changes nothing.
pub fn combine(evidence: Vec<Evidence>) -> Vec<Evidence> {
    let evidence = boots::merge(evidence);
    let evidence = packages::apply(evidence);
    let mut evidence = parts::pair(evidence);
    // Two wants may lead to the same file: `/lib` is a link to `/usr/lib` today.
    let mut kept: Vec<Evidence> = Vec::with_capacity(evidence.len());
    for e in evidence.drain(..) {
        if !kept.iter().any(|k| k.origin == e.origin && k.fact == e.fact) {
            kept.push(e);
        }
    }
    // In order of kind, then of path; starts and transactions are in order of age already.
    kept.sort_by_cached_key(|e| {
        let aged = matches!(e.fact, Fact::Boot { .. } | Fact::Transaction { .. });
        (kind(&e.fact).0, e.origin.path.clone().filter(|_| !aged))
    });
    number(kept)
}

/// Names each piece of evidence by what it is about, for example `boot:1`.
pub fn number(mut evidence: Vec<Evidence>) -> Vec<Evidence> {
    let mut counts = BTreeMap::<&str, u32>::new();
    for e in &mut evidence {
        let word = kind(&e.fact).1;
        let count = counts.entry(word).or_default();
        *count += 1;
        e.id = EvidenceId(format!("{word}:{count}"));
    }
    evidence
}

/// Where a kind of fact stands in the order they are told, and the word its ids begin with.
fn kind(fact: &Fact) -> (u8, &'static str) {
    match fact {
        Fact::ExtState { .. } => (0, "ext"),
        Fact::BtrfsState { .. } => (0, "btrfs"),
        Fact::XfsState { .. } => (0, "xfs"),
        Fact::LastCommit { .. } => (1, "commit"),
        Fact::SwapState { .. } => (2, "swap"),
        Fact::NtfsState { .. } => (0, "ntfs"),
        Fact::FatState { .. } => (3, "fat"),
        Fact::ExfatState { .. } => (3, "exfat"),
        Fact::WindowsPending => (11, "pending"),
        Fact::Boot { .. } => (4, "boot"),
        Fact::JournalFile { .. } => (5, "journal"),
        Fact::WtmpLastBoot { .. } => (6, "wtmp"),
        Fact::FirstBootPending => (7, "first"),
        Fact::DpkgState { .. } => (8, "dpkg"),
        Fact::DpkgRecord { .. } => (9, "record"),
        Fact::Packages { manager, .. } => (10, word(*manager)),
        Fact::LeftLock { .. } => (11, "lock"),
        Fact::HalfReplaced { .. } => (12, "half"),
        Fact::Transaction { manager, .. } => (13, word(*manager)),
        Fact::DpkgLogTail { .. } => (14, "log"),
        Fact::NulRun { .. } => (15, "nul"),
        Fact::BootPart { .. } => (16, "part"),
        Fact::ProgramMachine { .. } => (16, "machine"),
        Fact::ChainBroken { .. } => (16, "chain"),
        Fact::KernelDied { .. } | Fact::CrashKept { .. } => (5, "died"),
        Fact::StartNotConfirmed | Fact::StartConfirmed | Fact::NextEntry { .. } => (16, "mark"),
        Fact::BootTries { .. } => (16, "tries"),
        Fact::InitLog { .. } => (6, "init"),
        Fact::HardwareClock { .. } => (7, "clock"),
        Fact::SignOfLife { .. } => (7, "sign"),
        Fact::Recognised { .. } => (16, "recognised"),
        Fact::NotThere => (17, "absent"),
        Fact::Unreadable { .. } => (18, "unreadable"),
        Fact::Other => (19, "other"),
    }
}

fn word(manager: PackageManager) -> &'static str {
    match manager {
        PackageManager::Apt => "apt",
        PackageManager::Rpm => "rpm",
        PackageManager::Dnf => "dnf",
        PackageManager::Zypper => "zypper",
        PackageManager::Pacman => "pacman",
        PackageManager::Apk => "apk",
        PackageManager::Unattended => "unattended",
        PackageManager::Other => "packages",
    }
}
