//! The arguments of the verbs about the room a store takes, and about two stores.

use super::given::{Given, named};
use super::{StoreAt, Usage, nothing_else};
use model::id::SnapRef;
use model::upkeep::Pruning;

/// `prune --store S [--dry-run] [--now] [--rewrite N%] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    /// Where.
    pub store: StoreAt,
    /// How.
    pub how: Pruning,
    /// Only say what would be done.
    pub dry_run: bool,
    /// For programs.
    pub json: bool,
}

/// `copy [SNAP..] --store S --to S2 [--to-passphrase-file F | --to-key-file F] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Which snapshots; all where there are none.
    pub snapshots: Vec<SnapRef>,
    /// From where.
    pub store: StoreAt,
    /// To where.
    pub to: StoreAt,
    /// For programs.
    pub json: bool,
}

/// `repair --store S [--from S2 [--from-passphrase-file F | --from-key-file F]] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// What is repaired.
    pub store: StoreAt,
    /// Another store that has the same snapshots.
    pub from: Option<StoreAt>,
    /// For programs.
    pub json: bool,
}

pub(super) fn prune(given: &Given, store: StoreAt) -> Result<Prune, Usage> {
    nothing_else("prune", &given.words)?;
    let rewrite = given.rewrite.unwrap_or(Pruning::default().rewrite);
    Ok(Prune { store, how: Pruning { now: given.now, rewrite }, dry_run: given.dry_run, json: given.json })
}

pub(super) fn copy(given: &Given, store: StoreAt) -> Result<Copy, Usage> {
    let to = given.other_at()?.ok_or_else(|| Usage("`copy` needs --to DIRECTORY, a store".into()))?;
    let snapshots = given.words.iter().cloned().map(named).collect::<Result<_, _>>()?;
    Ok(Copy { snapshots, store, to, json: given.json })
}

pub(super) fn repair(given: &Given, store: StoreAt) -> Result<Repair, Usage> {
    nothing_else("repair", &given.words)?;
    Ok(Repair { store, from: given.other_at()?, json: given.json })
}
