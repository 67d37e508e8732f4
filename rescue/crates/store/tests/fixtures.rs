//! Small stores of format 1, made once: every later version reads them.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::objects::Counted;
use common::*;
use std::path::PathBuf;
use std::sync::Arc;
use store::backend::{LocalDir, Memory};
use store::{InitOptions, LocalDecoder, OpenOptions, Secret, Store, Unlock};

fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn key_file() -> Unlock {
    Unlock::KeyFile(Secret::new(b"the key file of a fixture, which everybody may have".to_vec()))
}

fn passphrase() -> Unlock {
    Unlock::Passphrase(Secret::new("a passphrase with an ü".into()))
}

/// What the two snapshots hold: words, noise, zeros, a place far away.
fn volumes_saved() -> [Volume; 2] {
    let mut volume =
        Volume::of(&[(0, fill(1, 1, 90_000)), (1 << 22, fill(2, 2, 9_000)), (5 << 20, fill(0, 0, 70_000))]);
    let first = volume.clone();
    volume.put(1 << 36, &fill(3, 3, 10_000));
    [first, volume]
}

#[test]
#[ignore = "makes what must never be made again"]
fn make() {
    for (name, key) in [("v1-plain", None), ("v1-sealed", Some((key_file(), "key file".to_owned())))] {
        let objects = Arc::new(LocalDir::create(place(name)).unwrap());
        let entropy = Arc::new(Counted::default());
        let sealed = key.is_some();
        let store = Store::init_with(objects, InitOptions { entropy, key }).unwrap().with_threads(0);
        if sealed {
            store.add_key(&key_file(), &passphrase(), "passphrase").unwrap();
        }
        for volume in volumes_saved() {
            snapshot(&store, &volume).unwrap();
        }
    }
}

#[test]
fn stores_of_format_1_are_read() {
    let fresh = Store::init(Arc::new(Memory::new())).unwrap();
    let mut ids = Vec::new();
    for (name, unlock) in [("v1-plain", None), ("v1-sealed", Some(key_file())), ("v1-sealed", Some(passphrase()))] {
        let objects = Arc::new(LocalDir::open(place(name)).unwrap());
        let options = OpenOptions { unlock, ..OpenOptions::default() };
        let store = Store::open_with(objects, Arc::new(LocalDecoder), options).unwrap();
        let listing = store.list().unwrap();
        assert!(listing.damage.is_empty(), "{name}: {:?}", listing.damage);
        assert_eq!(listing.snapshots.len(), 2, "{name}");
        for ((_, manifest), volume) in listing.snapshots.iter().zip(volumes_saved()) {
            let map = manifest.volumes[0].map;
            assert_eq!(load(&store, map).unwrap(), volume, "{name}");
            // Content is named as it was.
            let now = save(&mut fresh.writer().unwrap(), &volume, &[]).unwrap();
            assert_eq!((map.content, map.height), (now.content, now.height), "{name}");
        }
        let report = store.check(true, &mut |_, _| true).unwrap();
        assert!(report.is_clean(), "{name}: {report:?}");
        ids.push(listing.snapshots.iter().map(|(id, _)| *id).collect::<Vec<_>>());
    }
    assert_eq!(ids[1], ids[2], "both keys open the same store");
}
