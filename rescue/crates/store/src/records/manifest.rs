//! Manifests: a statement, the maps' places, signatures. Asides have the same shape.

use super::record::RecordKind;
use super::{json, known_format, renamed};
use crate::error::StoreError;
use crate::layout::{MAX_HEIGHT, aside_name, small, snapshot_name};
use crate::seal::{SigningKey, verify, verify_aside};
use crate::store::Store;
use model::id::{Digest, NodeId, SnapshotId};
use model::inventory::{InventoryEvent, PackSets};
use model::ports::ObjectName;
use model::signer::{Signature, SignerId};
use model::snapshot::{FORMAT, Manifest, MapRoot};
use model::text::DisplayText;
use std::collections::BTreeSet;

/// Most signatures of one snapshot.
const MAX_SIGNATURES: usize = 16;

/// A manifest as it was read: whole, proven, by whom signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stated {
    pub(crate) id: SnapshotId,
    pub(crate) manifest: Manifest,
    /// Whose signatures are on it; every one was verified.
    pub(crate) signers: Vec<SignerId>,
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

/// The parts of a manifest's body.
struct Body<'a> {
    statement: &'a [u8],
    nodes: Vec<NodeId>,
    signatures: Vec<(SignerId, Signature)>,
}

impl<'a> Body<'a> {
    fn encode(&self) -> Vec<u8> {
        let mut out =
            Vec::with_capacity(self.statement.len() + 12 + 32 * self.nodes.len() + 96 * self.signatures.len());
        out.extend(small(self.statement.len()).to_le_bytes());
        out.extend_from_slice(self.statement);
        out.extend(small(self.nodes.len()).to_le_bytes());
        self.nodes.iter().for_each(|n| out.extend(n.0.0));
        out.extend(small(self.signatures.len()).to_le_bytes());
        for (signer, signature) in &self.signatures {
            out.extend(signer.0);
            out.extend(signature.0);
        }
        out
    }

    fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (statement, rest) = counted(bytes, 1)?;
        let (nodes, rest) = counted(rest, 32)?;
        let (signatures, rest) = counted(rest, 96)?;
        let nodes = nodes.as_chunks::<32>().0.iter().map(|n| NodeId(Digest(*n))).collect();
        let signatures = signatures.as_chunks::<96>().0;
        if !rest.is_empty() || signatures.len() > MAX_SIGNATURES {
            return None;
        }
        let signed = |s: &[u8; 96]| {
            let (signer, signature) = s.split_first_chunk::<32>()?;
            Some((SignerId(*signer), Signature(signature.try_into().ok()?)))
        };
        let signatures = signatures.iter().map(signed).collect::<Option<Vec<_>>>()?;
        Some(Self { statement, nodes, signatures })
    }
}

/// A number, and behind it so many items of a length.
fn counted(bytes: &[u8], each: usize) -> Option<(&[u8], &[u8])> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let len = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(each)?;
    rest.split_at_checked(len)
}

impl Store {
    /// One snapshot's manifest.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Damaged`], [`StoreError::Newer`], [`StoreError::Untrusted`],
    /// [`StoreError::Io`].
    pub fn manifest(&self, id: SnapshotId) -> Result<Manifest, StoreError> {
        let what = format!("snapshot {}", id.0.short(12));
        let name = snapshot_name(&self.seal().name(&id.0));
        self.stated(RecordKind::Manifest, &name).map_err(|e| renamed(e, &what)).map(|s| s.manifest)
    }

    /// True where what a snapshot says may be said again by this store's signer: it signed that snapshot itself, or there is none.
    ///
    /// # Errors
    /// As [`Store::manifest`].
    pub fn vouches_for(&self, id: SnapshotId) -> Result<bool, StoreError> {
        let Some(own) = self.trusting().signer.map(|key| key.id()) else { return Ok(true) };
        let name = snapshot_name(&self.seal().name(&id.0));
        Ok(self.stated(RecordKind::Manifest, &name)?.signers.contains(&own))
    }

    /// The manifest (or aside) that lies under a name. Signatures come before the decoder, and the decoder is not believed.
    pub(super) fn stated(&self, kind: RecordKind, name: &ObjectName) -> Result<Stated, StoreError> {
        let body = self.read_record(kind, name)?;
        let bad = |what: &str| StoreError::damaged(format!("{}: {what}", name.as_str()));
        let parts = Body::decode(&body).ok_or_else(|| bad("its parts do not fit into each other"))?;
        let id = SnapshotId(Digest::of(parts.statement));
        let hashed = self.seal().name(&id.0);
        let expected = if kind == RecordKind::Aside { aside_name(&hashed) } else { snapshot_name(&hashed) };
        if expected != *name {
            return Err(bad("it does not match its name"));
        }
        let signers = self.signed(kind, id, &parts.signatures)?;
        let what = format!("snapshot {}", id.0.short(12));
        let statement = self.decoder().statement(parts.statement).map_err(|e| StoreError::decoding(&what, e))?;
        known_format(statement.format, &what)?;
        if !json::encode(&statement, &what).is_ok_and(|again| again == parts.statement) {
            return Err(bad("it was decoded to something else"));
        }
        let manifest = statement.clone().placed(&parts.nodes);
        let manifest = manifest.ok_or_else(|| bad("it has another number of maps than of their places"))?;
        let origin = manifest.origin.as_bytes();
        if origin.len() != 32 || !origin.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(bad("its origin is not the id of a store"));
        }
        if let Some((root, _, map)) = maps(&manifest).iter().find(|(root, ..)| root.height > MAX_HEIGHT) {
            return Err(bad(&format!("the map of {map} has height {}", root.height)));
        }
        Ok(Stated { id, manifest, signers })
    }

    /// Who signed. Of what is required nothing else counts, and a false signature is no slip of a disk.
    fn signed(
        &self,
        kind: RecordKind,
        id: SnapshotId,
        signatures: &[(SignerId, Signature)],
    ) -> Result<Vec<SignerId>, StoreError> {
        let mut signers = BTreeSet::new();
        for (signer, signature) in signatures {
            match kind {
                RecordKind::Aside => verify_aside(signer, &id.0, signature)?,
                _ => verify(signer, &id, signature)?,
            }
            signers.insert(*signer);
        }
        match self.trusting().required {
            Some(required) if kind == RecordKind::Manifest && signers.is_disjoint(&required) => {
                let by = match signers.first() {
                    None => "nobody signed it".to_owned(),
                    Some(one) => format!("it is signed by {}, who is none of those required", one.short(12)),
                };
                Err(StoreError::Untrusted { what: DisplayText::new(&format!("snapshot {}: {by}", id.0.short(12))) })
            }
            _ => Ok(signers.into_iter().collect()),
        }
    }

    /// Puts a manifest or an aside, reads it back, and enters it. On failure nothing is left, as far as the store can still be
    /// reached.
    pub(super) fn put_stated(
        &self,
        kind: RecordKind,
        manifest: &Manifest,
        packs: Option<PackSets>,
    ) -> Result<SnapshotId, StoreError> {
        let statement = json::encode(&manifest.statement(), "a manifest")?;
        let id = SnapshotId(Digest::of(&statement));
        let sign = |key: &SigningKey| match kind {
            RecordKind::Aside => key.sign_aside(&id.0),
            _ => key.sign(&id),
        };
        let signatures = self.trusting().signer.iter().map(|key| (key.id(), sign(key))).collect();
        let nodes = manifest.maps().map(|root| root.node).collect();
        self.put_body(kind, (id, packs), &Body { statement: &statement, nodes, signatures }.encode(), manifest)?;
        Ok(id)
    }

    /// Deletes the manifest of a snapshot where it does not prove itself: that is no object of its name. Whoever asks has
    /// what belongs under the name, with everything it names durable and proven, and puts it next. One that can be read, or
    /// that a newer version wrote, or that is not signed as required, stays.
    ///
    /// # Errors
    /// [`StoreError::Io`]; then it is there as it was, or gone, which the inventory tells.
    pub(crate) fn drop_damaged(&self, id: SnapshotId) -> Result<(), StoreError> {
        let name = snapshot_name(&self.seal().name(&id.0));
        match self.stated(RecordKind::Manifest, &name) {
            Err(StoreError::Damaged { .. }) => Ok(self.objects().delete(&name)?),
            Err(StoreError::Io { says }) => Err(StoreError::Io { says }),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Records a snapshot of another store: its statement and its signatures as they are there, its maps as `manifest`
    /// places them here. Everything it names is durable and proven.
    pub(crate) fn record_copy(&self, from: &Self, id: SnapshotId, manifest: &Manifest) -> Result<(), StoreError> {
        let theirs = from.read_record(RecordKind::Manifest, &snapshot_name(&from.seal().name(&id.0)))?;
        let parts = Body::decode(&theirs).filter(|b| Digest::of(b.statement) == id.0);
        let parts = parts.ok_or_else(|| StoreError::damaged(format!("snapshot {} is another one", id.0.short(12))))?;
        let nodes = manifest.maps().map(|root| root.node).collect();
        let body = Body { nodes, ..parts }.encode();
        self.put_body(RecordKind::Manifest, (id, None), &body, manifest)?;
        // Of a snapshot that was forgotten here, a checkpoint on the way may have deleted it again: by now it is entered.
        self.put_record(RecordKind::Manifest, &snapshot_name(&self.seal().name(&id.0)), &body)
    }

    fn put_body(
        &self,
        kind: RecordKind,
        (id, packs): (SnapshotId, Option<PackSets>),
        body: &[u8],
        manifest: &Manifest,
    ) -> Result<(), StoreError> {
        let hashed = self.seal().name(&id.0);
        let (name, event) = match kind {
            RecordKind::Aside => (aside_name(&hashed), InventoryEvent::Aside { id: id.0 }),
            _ => (snapshot_name(&hashed), InventoryEvent::Snapshot { id, counter: manifest.counter, packs }),
        };
        let there = self.objects().len(&name).is_ok();
        let put = self.put_record(kind, &name, body).and_then(|()| {
            // What could not be read again must not be relied on: found out now, not at the rollback.
            match self.stated(kind, &name)?.manifest == *manifest {
                true => self.enter(event),
                false => Err(StoreError::misuse("the manifest comes back changed")),
            }
        });
        match put {
            Ok(()) => Ok(()),
            Err(e) => {
                // Where only the proof failed, there must be no snapshot by that name.
                if !there {
                    let _ = self.objects().delete(&name);
                }
                Err(e)
            }
        }
    }

    /// Records a snapshot: everything it names is durable and proven. Counter, parent and origin are filled in here.
    pub(crate) fn record_snapshot(&self, manifest: &mut Manifest, packs: PackSets) -> Result<SnapshotId, StoreError> {
        self.number(manifest)?;
        let id = self.put_stated(RecordKind::Manifest, manifest, Some(packs))?;
        // The snapshot is there whatever becomes of them: the next one drops them too.
        let _ = self.drop_asides_of(&manifest.machine, None);
        Ok(id)
    }

    /// Fills in what only the store can tell.
    pub(super) fn number(&self, manifest: &mut Manifest) -> Result<(), StoreError> {
        let listing = self.list()?;
        let listed = listing.snapshots.last().map_or(0, |(_, m)| m.counter);
        let greatest = self.inventory()?.standing.counter.max(listed);
        manifest.format = FORMAT;
        manifest.origin = self.id().to_owned();
        manifest.counter = greatest.checked_add(1).ok_or_else(|| {
            StoreError::damaged("a snapshot of this store has the greatest number there is: none can come after it")
        })?;
        manifest.parent = listing.newest_of(&manifest.machine).map(|(id, _)| *id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_one_shape() {
        let body = Body {
            statement: b"{}",
            nodes: vec![NodeId(Digest([3; 32])), NodeId(Digest([4; 32]))],
            signatures: vec![(SignerId([5; 32]), Signature([6; 64]))],
        };
        let bytes = body.encode();
        let again = Body::decode(&bytes).unwrap();
        assert_eq!((again.statement, &again.nodes, &again.signatures), (body.statement, &body.nodes, &body.signatures));
        for len in 0..bytes.len() {
            assert!(Body::decode(&bytes[..len]).is_none(), "cut at {len}");
        }
        assert!(Body::decode(&[&bytes[..], &[0]].concat()).is_none());
        let many = Body { signatures: vec![(SignerId([5; 32]), Signature([6; 64])); 17], ..body };
        assert!(Body::decode(&many.encode()).is_none());
        assert!(Body::decode(&[0xff; 64]).is_none());
    }
}
