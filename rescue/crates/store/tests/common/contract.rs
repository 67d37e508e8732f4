//! The contract of an object store: the same questions for every backend, each on an empty store of its own.

use model::ports::{ObjectError, ObjectName, ObjectStore};
use model::units::{ByteLen, ByteOffset};

pub(crate) fn name(s: &str) -> ObjectName {
    ObjectName::new(s).unwrap()
}

fn names(store: &dyn ObjectStore, prefix: &str) -> Vec<String> {
    store.list(prefix).unwrap().iter().map(|n| n.as_str().to_owned()).collect()
}

pub(crate) fn all(make: &dyn Fn() -> Box<dyn ObjectStore>) {
    put_and_get(&*make());
    exists(&*make());
    missing(&*make());
    listing(&*make());
    deleting(&*make());
    locking(&*make());
    big(&*make());
}

fn put_and_get(store: &dyn ObjectStore) {
    let n = name("packs/ab/abcd");
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    store.put(&n, &bytes).unwrap();
    assert_eq!(store.len(&n).unwrap(), ByteLen(100_000));
    let mut all = vec![0; bytes.len()];
    store.get(&n, ByteOffset(0), &mut all).unwrap();
    assert_eq!(all, bytes);
    let mut part = [0; 7];
    store.get(&n, ByteOffset(99_993), &mut part).unwrap();
    assert_eq!(part, bytes[99_993..]);
    store.get(&n, ByteOffset(100_000), &mut []).unwrap();
    for at in [99_994, 100_000, u64::MAX, i64::MAX.unsigned_abs() + 1] {
        let out = store.get(&n, ByteOffset(at), &mut part);
        assert!(matches!(out, Err(ObjectError::OutOfRange { .. })), "{at}: {out:?}");
    }
    store.put(&name("empty"), &[]).unwrap();
    assert_eq!(store.len(&name("empty")).unwrap(), ByteLen(0));
}

fn exists(store: &dyn ObjectStore) {
    let n = name("packs/aa/one");
    store.put(&n, b"first").unwrap();
    store.put(&n, b"first").unwrap();
    for other in [b"other".as_slice(), b"", b"first and more"] {
        assert!(matches!(store.put(&n, other), Err(ObjectError::Exists(e)) if e == n));
    }
    let mut bytes = [0; 5];
    store.get(&n, ByteOffset(0), &mut bytes).unwrap();
    assert_eq!(&bytes, b"first");
}

fn missing(store: &dyn ObjectStore) {
    store.put(&name("packs/aa/one"), b"1").unwrap();
    for n in ["nothing", "packs/aa/two", "packs/bb/one", "other/aa/one"] {
        let n = name(n);
        assert!(matches!(store.len(&n), Err(ObjectError::Missing(e)) if e == n));
        assert!(matches!(store.get(&n, ByteOffset(0), &mut [0]), Err(ObjectError::Missing(e)) if e == n));
    }
}

fn listing(store: &dyn ObjectStore) {
    assert!(names(store, "").is_empty());
    assert!(names(store, "packs").is_empty(), "a kind never put is empty, not an error");
    let all = ["format", "intents/x", "packs/aa/2", "packs/aa/a", "packs/ab/0", "packs2/q"];
    for n in all.iter().rev() {
        store.put(&name(n), n.as_bytes()).unwrap();
    }
    assert_eq!(names(store, ""), all);
    assert_eq!(names(store, "packs"), all[2..5], "whole components only");
    assert_eq!(names(store, "packs/aa"), all[2..4]);
    assert_eq!(names(store, "format"), ["format"]);
    assert!(names(store, "pack").is_empty());
}

fn deleting(store: &dyn ObjectStore) {
    let n = name("packs/aa/one");
    store.delete(&n).unwrap();
    store.put(&n, b"1").unwrap();
    store.delete(&n).unwrap();
    assert!(matches!(store.len(&n), Err(ObjectError::Missing(_))));
    store.delete(&n).unwrap();
    store.put(&n, b"another").unwrap();
    assert_eq!(store.len(&n).unwrap(), ByteLen(7));
}

fn locking(store: &dyn ObjectStore) {
    let held = store.lock().unwrap();
    assert!(matches!(store.lock(), Err(ObjectError::InUse(_))));
    assert!(names(store, "").is_empty(), "a lock is no object");
    store.put(&name("a"), b"1").unwrap();
    drop(held);
    drop(store.lock().unwrap());
    drop(store.lock().unwrap());
}

fn big(store: &dyn ObjectStore) {
    let bytes = vec![0x5a; 17 << 20];
    store.put(&name("packs/aa/big"), &bytes).unwrap();
    store.put(&name("packs/aa/big"), &bytes).unwrap();
    let mut end = [0; 16];
    store.get(&name("packs/aa/big"), ByteOffset((17 << 20) - 16), &mut end).unwrap();
    assert_eq!(end, [0x5a; 16]);
}
