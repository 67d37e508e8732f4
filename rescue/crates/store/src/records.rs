//! The records of a store: what snapshots there are and what is said of them, which write-backs were begun, and the
//! inventory that says which records must be there (docs/store-format.md, "Records" and "The inventory").

mod aside;
mod chain;
mod check;
mod condemned;
mod forget;
mod inventory;
mod json;
mod lease;
mod listing;
mod manifest;
mod needed;
mod note;
mod record;
mod settle;
mod write_back;

pub use forget::Forgotten;
pub use listing::Listing;

pub(crate) use condemned::Condemned;
pub(crate) use lease::Hold;
pub(crate) use manifest::maps;
pub(crate) use needed::Needed;

use crate::error::StoreError;
use crate::format::FORMAT;
use crate::seal::SigningKey;
use crate::store::Store;
use model::id::Digest;
use model::ports::ObjectName;
use model::signer::SignerId;
use model::text::DisplayText;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// What a store remembers of its records while it is open.
#[derive(Default)]
pub(crate) struct Records {
    /// Entries of the inventory read so far: they never change.
    entries: Mutex<HashMap<ObjectName, Arc<chain::Link>>>,
    trust: RwLock<Trusting>,
    /// Packs that nothing new may count on.
    condemned: RwLock<HashSet<Digest>>,
}

/// Who signs, and who must have signed.
#[derive(Default, Clone)]
struct Trusting {
    signer: Option<SigningKey>,
    required: Option<BTreeSet<SignerId>>,
}

impl Store {
    /// Signs every snapshot recorded from now on, by any clone of this store.
    pub fn set_signer(&self, key: SigningKey) {
        self.records().trust.write().unwrap_or_else(PoisonError::into_inner).signer = Some(key);
    }

    /// From now on only snapshots that one of these signed are used; others are refused as [`StoreError::Untrusted`] before
    /// anything of them is decoded. An empty set refuses all. What is read of a map is then proven against what was signed:
    /// each leaf once, by all its bytes, before any of them is given out.
    pub fn require_signers(&self, signers: BTreeSet<SignerId>) {
        self.records().trust.write().unwrap_or_else(PoisonError::into_inner).required = Some(signers);
    }

    pub(crate) fn requires_signers(&self) -> bool {
        self.records().trust.read().unwrap_or_else(PoisonError::into_inner).required.is_some()
    }

    fn trusting(&self) -> Trusting {
        self.records().trust.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn records(&self) -> &Records {
        &self.inner.records
    }
}

/// Only this program's own format is used.
fn known_format(found: u32, what: &str) -> Result<(), StoreError> {
    match found.cmp(&FORMAT) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::Newer { found }),
        std::cmp::Ordering::Less => {
            Err(StoreError::damaged(format!("{what} has format {found}, which was only used in development")))
        }
    }
}

/// Calls a missing object what people call it.
fn renamed(e: StoreError, what: &str) -> StoreError {
    match e {
        StoreError::NoSuch { .. } => StoreError::NoSuch { what: DisplayText::new(what) },
        e => e,
    }
}
