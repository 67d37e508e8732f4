//! A store whose objects were changed, under the names that their new bytes have: opened, listed, checked, read.

use crate::Target;
use crate::changes::Dice;
use model::id::Digest;
use model::ports::{ObjectName, ObjectStore};
use model::units::{ByteOffset, Extent};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use store::backend::{LocalDir, Memory};
use store::{Decode, LocalDecoder, OpenOptions, Secret, Store, Unlock};

pub(super) const TARGET: Target = Target {
    name: "store",
    meets: "a store, plain and sealed: format, keys, index, inventory, packs, maps, manifests; opened, listed, checked and read",
    run,
    seeds,
};

/// Most bytes of a map that are read.
const MOST_READ: usize = 4 << 20;

type Objects = Vec<(ObjectName, Vec<u8>)>;

static PLAIN: LazyLock<Objects> = LazyLock::new(|| kept("v1-plain"));
static SEALED: LazyLock<Objects> = LazyLock::new(|| kept("v1-sealed"));

/// The objects of a store that is kept.
fn kept(name: &str) -> Objects {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../store/tests/fixtures").join(name);
    let directory = LocalDir::open(place).expect("a store that is kept");
    let mut names = directory.list("").expect("its names");
    names.sort();
    let read = |name: ObjectName| {
        let len = directory.len(&name).ok()?.to_usize()?;
        let mut bytes = vec![0; len];
        directory.get(&name, ByteOffset(0), &mut bytes).ok()?;
        Some((name, bytes))
    };
    names.into_iter().filter_map(read).collect()
}

/// The objects as they are.
pub(super) fn objects(sealed: bool) -> Objects {
    if sealed { SEALED.clone() } else { PLAIN.clone() }
}

/// Opens a store of these objects and reads all of it.
pub(super) fn read_through(objects: Objects, decode: Arc<dyn Decode>, sealed: bool) {
    let memory = Arc::new(Memory::new());
    for (name, bytes) in objects {
        // Two of one name: the first is it.
        let _ = memory.put(&name, &bytes);
    }
    let key = || Unlock::KeyFile(Secret::new(b"the key file of a fixture, which everybody may have".to_vec()));
    let options = OpenOptions { unlock: sealed.then(key), ..OpenOptions::default() };
    let Ok(store) = Store::open_with(memory, decode, options) else { return };
    let store = store.with_threads(0);
    let _ = (store.keys(), store.intents(), store.asides(), store.candidates(), store.head());
    let _ = store.stats(&mut || true);
    let _ = store.check(true, &mut |_, _| true);
    let Ok(listing) = store.list() else { return };
    for (id, manifest) in &listing.snapshots {
        let _ = (store.vouches_for(*id), store.is_unbroken(*id));
        for volume in manifest.volumes.iter().take(8) {
            let map = store.map(volume.map);
            let mut read = 0;
            for slice in map.slices(Extent::whole(volume.extent.len())).take(1000) {
                let Ok(slice) = slice else { break };
                read += store.read(&slice).map_or(0, |bytes| bytes.len());
                if read > MOST_READ {
                    break;
                }
            }
            let _ = map.used();
        }
    }
    if let [(_, one), .., (_, other)] = listing.snapshots.as_slice()
        && let (Some(one), Some(other)) = (one.volumes.first(), other.volumes.first())
    {
        store.diff(one.map, other.map).take(1000).for_each(drop);
    }
}

/// An input is a byte of flags (1: the sealed store; 2: what was changed keeps its name), then changes: which object (1), where (2),
/// how many bytes (1), the bytes. 255 bytes: it is not there; 254: it ends there.
fn run(input: &[u8]) {
    let [flags, changes @ ..] = input else { return };
    let sealed = flags & 1 != 0;
    let mut objects = objects(sealed);
    let before: Vec<Vec<u8>> = objects.iter().map(|(_, bytes)| bytes.clone()).collect();
    let mut gone = Vec::new();
    let mut rest = changes;
    while let [which, low, high, len, after @ ..] = rest {
        let nth = usize::from(*which) % objects.len();
        let at = usize::from(u16::from_le_bytes([*low, *high]));
        let bytes = &mut objects[nth].1;
        match len {
            255 => gone.push(nth),
            254 => bytes.truncate(at),
            _ => {
                let (new, later) = after.split_at(usize::from(*len).min(after.len()));
                let end = (at + new.len()).min(bytes.len());
                if at < end {
                    bytes[at..end].copy_from_slice(&new[..end - at]);
                }
                rest = later;
                continue;
            }
        }
        rest = after;
    }
    if flags & 2 == 0 {
        for ((name, bytes), before) in objects.iter_mut().zip(&before).filter(|((_, bytes), before)| bytes != *before) {
            *name = renamed(name, &Digest::of(before), &Digest::of(bytes));
        }
    }
    let there = (0..).zip(objects).filter(|(nth, _)| !gone.contains(nth)).map(|(_, object)| object);
    read_through(there.collect(), Arc::new(LocalDecoder), sealed);
}

/// The name of an object that is called after its bytes, called after others.
fn renamed(name: &ObjectName, was: &Digest, is: &Digest) -> ObjectName {
    let (was, is) = (was.to_string(), is.to_string());
    let Some((place, file)) = name.as_str().rsplit_once('/').filter(|(_, file)| file.contains(&was)) else {
        return name.clone();
    };
    // Most lie in a directory that is called after the first two digits.
    let place = place.strip_suffix(&was[..2]).map_or(place.to_owned(), |place| format!("{place}{}", &is[..2]));
    ObjectName::new(&format!("{place}/{}", file.replace(&was, &is))).unwrap_or_else(|| name.clone())
}

fn seeds() -> Vec<Vec<u8>> {
    let mut dice = Dice(3);
    let mut out = vec![vec![0], vec![1]];
    for (sealed, count) in [(0u8, PLAIN.len()), (1, SEALED.len())] {
        for nth in 0..count {
            let which = u8::try_from(nth).unwrap_or(0);
            for round in 0..4u8 {
                let at = u16::try_from(dice.below(if round % 2 == 0 { 64 } else { 600 })).unwrap_or(0).to_le_bytes();
                let flags = sealed | if round == 3 { 2 } else { 0 };
                out.push(vec![flags, which, at[0], at[1], 2, dice.byte(), dice.byte()]);
            }
            out.push(vec![sealed, which, 9, 0, 254]);
            out.push(vec![sealed, which, 0, 0, 255]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_take_the_names_of_their_bytes() {
        // Records are called after what they say, before it was compressed: what changes of them is answered as damage.
        let called = |name: &ObjectName| ["packs/", "index/"].iter().any(|of| name.as_str().starts_with(of));
        for (name, bytes) in objects(false).iter().filter(|(name, _)| called(name)) {
            let other = renamed(name, &Digest::of(bytes), &Digest::of(b"other"));
            assert_ne!(other, *name, "{}", name.as_str());
            assert_eq!(renamed(&other, &Digest::of(b"other"), &Digest::of(bytes)), *name);
        }
    }
}
