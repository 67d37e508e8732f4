//! Bytes of a store that are decoded before anything is known of them: records, frames, nodes, footers, fences.

use crate::Target;
use model::id::{ChunkId, Digest};
use model::inventory::InventoryEntry;
use model::note::Note;
use model::snapshot::{Intent, Receipt, Statement};
use std::sync::{Arc, Mutex, PoisonError};
use store::{ChunkEntry, Decode, DecodeError, Encoding, Footer, FrameEntry, Kind, LocalDecoder, Node};

pub(super) const TARGET: Target = Target {
    name: "objects",
    meets: "what the decoder of a store reads: statements, notes, inventory, intents, receipts, frames of zstd; nodes of maps, footers of packs, fences",
    run,
    seeds,
};

/// The first byte says what it is taken for.
fn run(input: &[u8]) {
    let [kind, bytes @ ..] = input else { return };
    match kind % 9 {
        0 => drop(LocalDecoder.statement(bytes)),
        1 => drop(LocalDecoder.note(bytes)),
        2 => drop(LocalDecoder.inventory_entry(bytes)),
        3 => drop(LocalDecoder.intent(bytes)),
        4 => drop(LocalDecoder.receipt(bytes)),
        5 => {
            let Some((len, stored)) = bytes.split_first_chunk() else { return };
            let plain = u32::from_le_bytes(*len);
            if let Ok(out) = LocalDecoder.frame(stored, plain) {
                assert_eq!(out.len() as u64, u64::from(plain), "a frame of another length");
            }
        }
        6 => {
            if let Ok(node) = Node::decode(bytes) {
                assert!(node.encode() == bytes && node.validate().is_ok(), "a node in two ways");
                let _ = (node.content(), node.used(), node.height());
            }
        }
        7 => {
            if let Ok(footer) = Footer::decode(bytes) {
                assert!(footer.encode() == bytes && footer.validate().is_ok(), "a footer in two ways");
                footer.places().for_each(drop);
                let _ = (footer.end(), footer.is_sealed(40));
            }
        }
        _ => {
            if let Some(fence) = disk::fence::decode(bytes) {
                assert!(fence.store.len() <= 4096, "a fence without end");
            }
        }
    }
}

/// A decoder that remembers what it was given.
#[derive(Default)]
struct Listening(Mutex<Vec<Vec<u8>>>);

impl Listening {
    fn heard(&self, kind: u8, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push([&[kind][..], bytes].concat());
    }
}

impl Decode for Listening {
    fn statement(&self, bytes: &[u8]) -> Result<Statement, DecodeError> {
        self.heard(0, bytes);
        LocalDecoder.statement(bytes)
    }
    fn note(&self, bytes: &[u8]) -> Result<Note, DecodeError> {
        self.heard(1, bytes);
        LocalDecoder.note(bytes)
    }
    fn inventory_entry(&self, bytes: &[u8]) -> Result<InventoryEntry, DecodeError> {
        self.heard(2, bytes);
        LocalDecoder.inventory_entry(bytes)
    }
    fn intent(&self, bytes: &[u8]) -> Result<Intent, DecodeError> {
        self.heard(3, bytes);
        LocalDecoder.intent(bytes)
    }
    fn receipt(&self, bytes: &[u8]) -> Result<Receipt, DecodeError> {
        self.heard(4, bytes);
        LocalDecoder.receipt(bytes)
    }
    fn frame(&self, stored: &[u8], plain_len: u32) -> Result<Vec<u8>, DecodeError> {
        self.heard(5, &[&plain_len.to_le_bytes()[..], stored].concat());
        let plain = LocalDecoder.frame(stored, plain_len)?;
        if Node::decode(&plain).is_ok() {
            self.heard(6, &plain);
        }
        if Footer::decode(&plain).is_ok() {
            self.heard(7, &plain);
        }
        Ok(plain)
    }
}

/// What is decoded when the stores that are kept are read through.
fn seeds() -> Vec<Vec<u8>> {
    let listening = Arc::new(Listening::default());
    for which in [false, true] {
        super::store::read_through(super::store::objects(which), listening.clone(), which);
    }
    let heard = std::mem::take(&mut *listening.0.lock().unwrap_or_else(PoisonError::into_inner));
    let mut out: Vec<Vec<u8>> = heard.into_iter().filter(|h| h.len() < 10_000).collect();
    let footer = Footer {
        frames: vec![FrameEntry { offset: 64, stored: 30, plain: 90, encoding: Encoding::Zstd }],
        chunks: vec![ChunkEntry { id: Digest::of(b"x"), plain: 90, frame: 0, kind: Kind::Node }],
    };
    out.push([&[7][..], &footer.encode()].concat());
    let inner = Node::Inner(store::Inner {
        height: 2,
        used: 77,
        children: vec![store::Child { index: 3, id: model::id::NodeId(Digest::of(b"n")), content: Digest::of(b"c") }],
    });
    out.push([&[6][..], &inner.encode()].concat());
    let leaf = Node::Leaf(store::Leaf {
        content: Digest::of(b"c"),
        cells: vec![Some(Digest::of(b"cell"))],
        chunks: vec![ChunkId(Digest::of(b"x"))],
        slices: vec![
            store::LeafSlice { start: 0, len: 512, content: store::LeafContent::Zero },
            store::LeafSlice { start: 600, len: 7, content: store::LeafContent::Chunk { number: 0, at: 500 } },
        ],
    });
    out.push([&[6][..], &leaf.encode()].concat());
    let fence = model::inspection::FenceInfo {
        intent: model::id::IntentId(Digest::of(b"i")),
        store: "0123456789abcdef0123456789abcdef".into(),
        was: "ext4".into(),
    };
    out.push([&[8][..], &disk::fence::encode(&fence)[..]].concat());
    out.sort();
    out.dedup();
    out
}
