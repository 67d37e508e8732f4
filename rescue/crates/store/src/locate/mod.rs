//! Which packs may hold a chunk, in bounded memory (docs/store-format.md, "Index objects").
//!
//! ```text
//! recent   chunks of good packs that no run has yet         about 30 bytes each, at most about half a million
//! hints    chunks of packs that are not read back yet       8 bytes each, at most 16 million
//! runs     index objects: heads in memory, pages on demand  about 2.1 bytes a chunk
//! ```
//!
//! Everything here is a hint. Whoever asks gets the packs that may hold a chunk and proves it by a pack's footer; the
//! footers seen last ([`Footers`]) answer for a chunk's neighbours without any index. An index object that is damaged or
//! missing therefore costs time: the footers of the packs that it named are read instead. One that lies can hide a chunk until
//! [`Index::rebuild`] has read all footers.
//!
//! A run has every chunk of every pack that it names, so that a pack's name in any run that can be read is enough to know that
//! nothing of it needs to be looked for elsewhere. That is why runs are merged and split by whole packs: with runs split by
//! ranges of ids, one lost object would hide chunks of packs that the others still name.

mod compact;
mod filter;
mod footers;
mod hints;
mod lookup;
mod lru;
mod merge;
mod packs;
mod pages;
mod run;
mod state;
mod upkeep;

#[cfg(test)]
mod scale;
#[cfg(test)]
mod sizes;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub(crate) use footers::{Footers, Found, Held};
pub(crate) use lookup::Index;
pub(crate) use packs::{Pack, PackNo, Trust};
pub(crate) use run::read_head;

use crate::error::StoreError;
use crate::seal::Seal;
use model::id::Digest;
use model::ports::{Entropy, ObjectStore};

/// What an index needs of the store around it. Every call that may read or write takes it.
pub(crate) trait Source {
    /// Where the objects lie.
    fn objects(&self) -> &dyn ObjectStore;

    /// How the store keeps its bytes.
    fn seal(&self) -> &Seal;

    /// Where random bytes come from.
    fn entropy(&self) -> &dyn Entropy;

    /// The chunks of a pack by its footer, which must be proven as far as a footer can be.
    ///
    /// # Errors
    /// [`StoreError::Io`] ends what the index is doing, since the disk may be gone; after any other error the pack counts as
    /// bad and without chunks.
    fn ids(&self, pack: &Digest) -> Result<Vec<Digest>, StoreError>;
}

/// What an entry keeps of a chunk's id.
pub(crate) type Key = [u8; 16];

/// Most packs named for one key by one part of the index. More have no honest cause: a chunk lies in few packs, and two ids
/// that begin alike cost 2^64 hashes to make.
const MOST_SAME: usize = 16;

fn key_of(id: &Digest) -> Key {
    let mut key = [0; 16];
    key.copy_from_slice(&id.0[..16]);
    key
}

/// The first half of a key as a number that orders as the bytes do.
fn prefix(key: &Key) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
