//! The numbers and names everything else agrees on (docs/store-format.md, "Limits" and "Objects").

use model::hex;
use model::id::Digest;
use model::ports::ObjectName;

/// The grid of content digests, and of cutting where no file system tells a better one: 64 KiB.
pub const CELL: u32 = 64 * 1024;
/// Cells of a leaf.
pub(crate) const LEAF_CELLS: u64 = 64;
/// Addresses of a leaf: 4 MiB.
pub const LEAF: u64 = CELL as u64 * LEAF_CELLS;
/// Bits of an address below a leaf.
pub(crate) const LEAF_BITS: u32 = 22;
/// Bits of an address that each level above the leaves decides.
pub(crate) const FAN_BITS: u32 = 8;
/// The highest a map can be: 22 + 5 * 8 = 62 bits of address.
pub(crate) const MAX_HEIGHT: u8 = 5;
/// The longest a volume can be: what the highest map covers.
pub const MAX_VOLUME: u64 = 1 << (LEAF_BITS + FAN_BITS * MAX_HEIGHT as u32);
/// Most slices of a leaf: what a volume of 512-byte units can need at the very most.
pub(crate) const MAX_SLICES: usize = 8192;
/// Most runs of used bytes within one cell that are taken: every second unit of 512 bytes, twice over.
pub(crate) const MAX_RUNS: usize = 128;

/// Longest chunk in plain bytes.
pub(crate) const MAX_DATA: u32 = 512 * 1024;
/// Longest map node in plain bytes (a leaf of 8,192 slices with as many chunks is 377 kB).
pub(crate) const MAX_NODE: u32 = 512 * 1024;
/// A pack is put when its chunks reach this many bytes.
pub(crate) const PACK_TARGET: usize = 16 * 1024 * 1024;
/// Room that is kept free for records when packs are put, so that forgetting and undoing stay possible.
pub(crate) const PACK_RESERVE: u64 = 8 * 1024 * 1024;
/// No valid pack is longer.
pub(crate) const MAX_PACK: u64 = 32 * 1024 * 1024;
/// No valid index object is longer: its entries are at most 2^20 of 20 bytes, its packs 65,536 of 32.
pub(crate) const MAX_INDEX: u64 = 32 * 1024 * 1024;
/// No valid manifest, intent or receipt is longer.
pub(crate) const MAX_RECORD: u64 = 32 * 1024 * 1024;

/// `packs/3f/3fa4...`: a fan-out of 256 keeps a FAT32 directory below the 10,900 long names it holds.
pub(crate) fn pack_name(id: &Digest) -> ObjectName {
    fanned("packs", id)
}

/// `snapshots/3f/3fa4...`, from the name of the id.
pub(crate) fn snapshot_name(hashed: &Digest) -> ObjectName {
    fanned("snapshots", hashed)
}

/// `asides/3f/3fa4...`
pub(crate) fn aside_name(hashed: &Digest) -> ObjectName {
    fanned("asides", hashed)
}

/// `index/3f/3fa4...`
pub(crate) fn index_name(id: &Digest) -> ObjectName {
    fanned("index", id)
}

/// `intents/3f/3fa4...`
pub(crate) fn intent_name(hashed: &Digest) -> ObjectName {
    fanned("intents", hashed)
}

/// `receipts/3f/3fa4...`, under the name of the intent's id.
pub(crate) fn receipt_name(hashed: &Digest) -> ObjectName {
    fanned("receipts", hashed)
}

/// `notes/3f/3fa4...`
pub(crate) fn note_name(hashed: &Digest) -> ObjectName {
    fanned("notes", hashed)
}

/// `inventory/00003/0000000000000c01-3fa4...`: a directory for each 1024 entries.
pub(crate) fn entry_name(number: u64, hashed: &Digest) -> ObjectName {
    name(&format!("inventory/{:05x}/{number:016x}-{hashed}", number / 1024))
}

/// `condemned/0000000000000007-3fa4...`
pub(crate) fn condemned_name(generation: u64, hashed: &Digest) -> ObjectName {
    name(&format!("condemned/{generation:016x}-{hashed}"))
}

/// `leases/0000000000000007-...`, with 32 random digits.
pub(crate) fn lease_name(generation: u64, random: &[u8; 16]) -> ObjectName {
    name(&format!("leases/{generation:016x}-{}", hex::encode(random)))
}

/// The number and the digest that a name ends in, where the name is the one `expected` gives to them.
pub(crate) fn numbered_in(found: &ObjectName, expected: fn(u64, &Digest) -> ObjectName) -> Option<(u64, Digest)> {
    let (number, digest) = found.as_str().rsplit('/').next()?.split_once('-')?;
    let (number, digest) = (u64::from_str_radix(number, 16).ok()?, digest.parse().ok()?);
    (expected(number, &digest) == *found).then_some((number, digest))
}

/// The generation of a lease.
pub(crate) fn lease_in(found: &ObjectName) -> Option<u64> {
    let (number, random) = found.as_str().strip_prefix("leases/")?.split_once('-')?;
    let (number, random) = (u64::from_str_radix(number, 16).ok()?, hex::decode(random)?);
    (lease_name(number, &random) == *found).then_some(number)
}

/// `keys/3fa4...`
pub(crate) fn key_name(id: &Digest) -> ObjectName {
    name(&format!("keys/{id}"))
}

/// `format`
pub(crate) fn format_name() -> ObjectName {
    name("format")
}

fn fanned(kind: &str, id: &Digest) -> ObjectName {
    let hex = id.to_string();
    name(&format!("{kind}/{}/{hex}", &hex[..2]))
}

fn name(s: &str) -> ObjectName {
    ObjectName::new(s).expect("made of lower-case words and hexadecimal digits")
}

/// The digest a name ends in, where the name is the one this module gives to it.
pub(crate) fn digest_in(found: &ObjectName, expected: fn(&Digest) -> ObjectName) -> Option<Digest> {
    let digest: Digest = found.as_str().rsplit('/').next()?.parse().ok()?;
    (expected(&digest) == *found).then_some(digest)
}

/// A length known to be small.
pub(crate) fn small(n: usize) -> u32 {
    u32::try_from(n).expect("bounded far below 4 GiB by the limits above")
}

/// A length that fits memory, as an index.
pub(crate) fn big(n: u32) -> usize {
    usize::try_from(n).expect("usize has at least 32 bits")
}
