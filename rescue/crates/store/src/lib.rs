//! The snapshot store: where saved points in time live, and how they come back.
//!
//! docs/store-format.md is the normative description of every byte written here. In one paragraph: a volume's used bytes
//! are cut on a fixed grid into chunks named by their SHA-256; chunks lie compressed in packs; a map (a Merkle tree over
//! volume addresses) says which chunk lies where; a manifest names the maps of one snapshot and is written last. Objects
//! are only ever added, each under the hash of its bytes, so a run that is cut off leaves leftovers and never damage.
//!
//! Everything that interprets bytes of a store goes through [`Decode`], which the program runs in a sandboxed process;
//! what comes back is checked again here: hashes, bounds, order, sums.

pub mod backend;
mod cache;
mod check;
mod content;
mod copy;
mod decode;
mod entropy;
mod error;
mod footer;
mod format;
mod frame;
mod layout;
mod leaf;
mod locate;
mod map;
mod node;
mod opening;
mod pack;
mod pieces;
mod probe;
mod prune;
mod reader;
mod records;
mod repair;
mod seal;
mod store;
mod writer;

pub use check::{CheckFinding, CheckReport, Loss};
pub use content::{Cell, LeafHasher};
pub use copy::Copied;
pub use decode::{Decode, DecodeError, DecodeHere, LocalDecoder};
pub use entropy::SystemEntropy;
pub use error::StoreError;
pub use footer::{ChunkEntry, Footer, FrameEntry, InFrame};
pub use format::FORMAT;
pub use layout::{CELL, LEAF, MAX_VOLUME};
pub use map::{Changes, LeafRef, Leaves, MapReader, Slice, SliceContent, Slices};
pub use node::{Child, Inner, Leaf, LeafContent, LeafSlice, Node};
pub use opening::{InitOptions, KeySlot, OpenOptions};
pub use pack::{Encoding, Kind};
pub use pieces::{Bytes, Pieces};
pub use probe::{Probed, probe};
pub use prune::{PruneOptions, PruneProgress, PruneReport, SnapshotSpace, Stats};
pub use reader::ReadAhead;
pub use records::{Forgotten, Listing};
pub use repair::{Missing, Repaired};
pub use seal::{Secret, SigningKey, Unlock, verify};
pub use store::Store;
pub use writer::Writer;
