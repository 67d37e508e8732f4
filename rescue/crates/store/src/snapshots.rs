//! Manifests, intents and receipts: the small records that say what there is and what was begun.

use crate::error::StoreError;
use crate::format::FORMAT;
use crate::layout::{MAX_HEIGHT, MAX_RECORD, digest_in, intent_name, receipt_name, snapshot_name};
use crate::store::{Store, read_object};
use model::id::{Digest, IntentId, SnapRef, SnapshotId};
use model::ports::{ObjectError, ObjectName};
use model::snapshot::{Intent, Machine, Manifest, MapRoot, Purpose, Receipt};
use model::text::DisplayText;
use serde::Serialize;
use std::collections::HashMap;

/// The snapshots of a store.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Those that can be read, by rising counter.
    pub snapshots: Vec<(SnapshotId, Manifest)>,
    /// What is wrong with the others.
    pub damage: Vec<DisplayText>,
}

/// Every map a manifest names, with the length of what it maps where that is known, and its name for people.
pub(crate) fn maps(manifest: &Manifest) -> Vec<(MapRoot, Option<u64>, String)> {
    let tables = manifest
        .disks
        .iter()
        .filter_map(|d| d.table_map.map(|m| (m, Some(d.hardware.size.0), format!("the table of {}", d.no))));
    let volumes = manifest.volumes.iter().map(|v| (v.map, Some(v.extent.len().0), v.path.to_string()));
    tables.chain(volumes).collect()
}

impl Store {
    /// Every snapshot, by counter. One that cannot be read is told as damage and hides no other.
    ///
    /// # Errors
    /// [`StoreError::Io`]: an error is never an empty list.
    pub fn list(&self) -> Result<Listing, StoreError> {
        let mut listing = Listing::default();
        for name in self.objects().list("snapshots")? {
            let Some(id) = digest_in(&name, snapshot_name) else {
                listing.damage.push(DisplayText::new(&format!("{} is not the name of a snapshot", name.as_str())));
                continue;
            };
            match self.manifest(SnapshotId(id)) {
                Ok(manifest) => listing.snapshots.push((SnapshotId(id), manifest)),
                Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
                Err(e) => listing.damage.push(DisplayText::new(&format!("snapshot {}: {e}", id.short(12)))),
            }
        }
        listing.snapshots.sort_by_key(|(id, m)| (m.counter, *id));
        Ok(listing)
    }

    /// One snapshot's manifest.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Damaged`], [`StoreError::Newer`], [`StoreError::Io`].
    pub fn manifest(&self, id: SnapshotId) -> Result<Manifest, StoreError> {
        let what = || format!("snapshot {}", id.0.short(12));
        let bytes = self.named(&snapshot_name(&id.0), &id.0, MAX_RECORD).map_err(|e| renamed(e, what()))?;
        let manifest = self.decoder().manifest(&bytes).map_err(|e| StoreError::decoding(what(), e))?;
        known_format(manifest.format, what)?;
        match maps(&manifest).iter().find(|(root, ..)| root.height > MAX_HEIGHT) {
            Some((root, _, name)) => {
                Err(StoreError::damaged(format!("{}: the map of {name} has height {}", what(), root.height)))
            }
            None => Ok(manifest),
        }
    }

    /// The snapshot a person means. `latest` and `latest:good` are of one machine and never an undo snapshot; without a
    /// machine they are refused where the store holds more than one.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Ambiguous`], and those of [`Store::manifest`].
    pub fn find(&self, which: &SnapRef, machine: Option<&Machine>) -> Result<(SnapshotId, Manifest), StoreError> {
        let none = |what: String| StoreError::NoSuch { what: DisplayText::new(&what) };
        if let SnapRef::Prefix(prefix) = which {
            let names = self.objects().list("snapshots")?;
            let ids = names.iter().filter_map(|n| digest_in(n, snapshot_name));
            let found: Vec<Digest> = ids.filter(|d| d.to_string().starts_with(prefix.as_str())).collect();
            return match found.as_slice() {
                [] => Err(none(format!("a snapshot {prefix}"))),
                [one] => self.manifest(SnapshotId(*one)).map(|m| (SnapshotId(*one), m)),
                many => {
                    let first: Vec<String> = many.iter().take(4).map(|d| d.short(prefix.len() + 4)).collect();
                    let text = format!("{prefix} could be {} snapshots: {} ...", many.len(), first.join(", "));
                    Err(StoreError::Ambiguous { what: DisplayText::new(&text) })
                }
            };
        }
        let good_only = *which == SnapRef::LatestGood;
        let mut kept = self.list()?.snapshots;
        kept.retain(|(_, m)| m.purpose == Purpose::Keep && machine.is_none_or(|wanted| m.machine.is(wanted)));
        if let (None, Some((_, newest))) = (machine, kept.last())
            && kept.iter().any(|(_, m)| !m.machine.is(&newest.machine))
        {
            let text = format!("the store holds snapshots of several machines: {which} could be of any; give an id");
            return Err(StoreError::Ambiguous { what: DisplayText::new(&text) });
        }
        kept.retain(|(_, m)| !good_only || m.is_good());
        let missing = if good_only { "a good snapshot of this machine" } else { "a snapshot of this machine" };
        kept.pop().ok_or_else(|| none(missing.to_owned()))
    }

    /// Records, durably, that a write-back begins.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Io`], [`StoreError::Damaged`] where it does not read back.
    pub fn put_intent(&self, intent: &Intent) -> Result<IntentId, StoreError> {
        let bytes = encode(intent, "an intent")?;
        let id = Intent::id(&bytes);
        self.put_and_read_back(&intent_name(&id.0), &bytes)?;
        Ok(id)
    }

    /// One intent.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Damaged`], [`StoreError::Newer`], [`StoreError::Io`].
    pub fn intent(&self, id: IntentId) -> Result<Intent, StoreError> {
        let what = || format!("the record {} of a write-back", id.0.short(12));
        let bytes = self.named(&intent_name(&id.0), &id.0, MAX_RECORD).map_err(|e| renamed(e, what()))?;
        let intent = self.decoder().intent(&bytes).map_err(|e| StoreError::decoding(what(), e))?;
        known_format(intent.format, what)?;
        Ok(intent)
    }

    /// Every write-back that was begun, in the order of their undo snapshots, with its receipt where it ended.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Damaged`] where the record of one without a receipt cannot be read: whether
    /// something is pending is then not known. (One that ended and is damaged is left out; `check` names it.)
    pub fn intents(&self) -> Result<Vec<(IntentId, Intent, Option<Receipt>)>, StoreError> {
        let counters: HashMap<SnapshotId, u64> =
            self.list()?.snapshots.iter().map(|(id, m)| (*id, m.counter)).collect();
        let mut found = Vec::new();
        for name in self.objects().list("intents")? {
            let Some(id) = digest_in(&name, intent_name).map(IntentId) else { continue };
            let receipt = self.receipt(id);
            match (self.intent(id), receipt) {
                (Ok(intent), Ok(receipt)) => found.push((id, intent, receipt)),
                (_, Err(e)) => return Err(e),
                (Err(e), Ok(None)) => return Err(e),
                (Err(StoreError::Io { says }), _) => return Err(StoreError::Io { says }),
                (Err(_), Ok(Some(_))) => {}
            }
        }
        found.sort_by_key(|(id, intent, _)| {
            (counters.get(&intent.undo).copied().unwrap_or(u64::MAX), intent.begun, *id)
        });
        Ok(found)
    }

    /// Records, durably, that a write-back ended.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where it ended before, in another way; [`StoreError::Full`], [`StoreError::Io`].
    pub fn put_receipt(&self, receipt: &Receipt) -> Result<(), StoreError> {
        let json = encode(receipt, "a receipt")?;
        let mut bytes = format!("{}\n", Digest::of(&json)).into_bytes();
        bytes.extend(json);
        self.put_and_read_back(&receipt_name(&receipt.intent.0), &bytes)
    }

    /// The receipt of a write-back, where it ended.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], [`StoreError::Newer`], [`StoreError::Io`].
    pub fn receipt(&self, id: IntentId) -> Result<Option<Receipt>, StoreError> {
        let what = || format!("the receipt of write-back {}", id.0.short(12));
        let bytes = match read_object(self.objects(), &receipt_name(&id.0), MAX_RECORD) {
            Ok(bytes) => bytes,
            Err(StoreError::NoSuch { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        // A receipt is found by its intent, so that it carries its own sum: 64 digits and a newline before the JSON.
        let sealed = |sum: &[u8; 65], json: &[u8]| {
            let sum = std::str::from_utf8(sum.strip_suffix(b"\n")?).ok()?.parse::<Digest>().ok()?;
            (sum == Digest::of(json)).then_some(())
        };
        let json = bytes.split_first_chunk::<65>().filter(|(sum, json)| sealed(sum, json).is_some());
        let Some((_, json)) = json else {
            return Err(StoreError::damaged(format!("{} does not match its sum", what())));
        };
        let receipt = self.decoder().receipt(json).map_err(|e| StoreError::decoding(what(), e))?;
        known_format(receipt.format, what)?;
        if receipt.intent != id {
            return Err(StoreError::damaged(format!("{} is of another one", what())));
        }
        Ok(Some(receipt))
    }

    /// Puts a record and proves that it is there.
    pub(crate) fn put_and_read_back(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
        match self.objects().put(name, bytes) {
            Ok(()) => {}
            Err(ObjectError::Exists(_)) => {
                return Err(StoreError::Exists { what: DisplayText::new(name.as_str()) });
            }
            Err(e) => return Err(e.into()),
        }
        if read_object(self.objects(), name, MAX_RECORD)? != bytes {
            return Err(StoreError::damaged(format!("{} does not read back as it was written", name.as_str())));
        }
        Ok(())
    }
}

/// The bytes of a record, within the limit every reader keeps.
pub(crate) fn encode<T: Serialize>(value: &T, what: &str) -> Result<Vec<u8>, StoreError> {
    let bytes = serde_json::to_vec(value).map_err(|e| StoreError::misuse(format!("{what} has no encoding: {e}")))?;
    if bytes.len() as u64 > MAX_RECORD {
        return Err(StoreError::misuse(format!("{what} of {} bytes; the most is {MAX_RECORD}", bytes.len())));
    }
    Ok(bytes)
}

fn known_format(found: u32, what: impl Fn() -> String) -> Result<(), StoreError> {
    match found.cmp(&FORMAT) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(StoreError::Newer { found }),
        std::cmp::Ordering::Less => Err(StoreError::damaged(format!("{} has format {found}", what()))),
    }
}

/// Calls a missing object what people call it.
fn renamed(e: StoreError, what: String) -> StoreError {
    match e {
        StoreError::NoSuch { .. } => StoreError::NoSuch { what: DisplayText::new(&what) },
        e => e,
    }
}
