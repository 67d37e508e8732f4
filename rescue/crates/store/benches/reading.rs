//! What reading takes: where two maps differ, the slices of a map, and the bytes of a volume.
//!
//! `cargo bench -p store --bench reading`. Everything lies in memory, and happens in one thread.
#![allow(missing_docs, clippy::unwrap_used)] // the macros' functions have none; a failed unwrap is a failed benchmark

mod common;

use common::{empty, leaves, noise, save, text};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use model::units::{ByteLen, Extent};
use store::MAX_VOLUME;

/// Leaves of a map: a volume of 64 GiB, all of it used.
const LEAVES: u64 = 16_384;

fn maps(c: &mut Criterion) {
    let mut group = c.benchmark_group("maps");
    let store = empty();
    let before = leaves(&store, LEAVES, &[]);
    for (name, other) in [("one leaf differs", &[9000][..]), ("64 leaves differ", &scattered(64))] {
        let after = leaves(&store, LEAVES, other);
        group.bench_function(name, |b| b.iter(|| assert_eq!(store.diff(before, after).count(), other.len())));
    }
    group.throughput(Throughput::Elements(LEAVES));
    group.sample_size(20);
    group.bench_function("slices", |b| {
        let all = Extent::whole(ByteLen(MAX_VOLUME));
        b.iter(|| store.map(before).slices(all).map(|s| s.unwrap().extent.len().0).sum::<u64>());
    });
    group.finish();
}

/// Leaves far from each other.
fn scattered(count: u64) -> Vec<u64> {
    (0..count).map(|n| n * (LEAVES / count)).collect()
}

fn bytes(c: &mut Criterion) {
    let mut group = c.benchmark_group("read");
    // More than a store keeps decompressed.
    let len = 32 << 20;
    group.throughput(Throughput::Bytes(len as u64));
    group.sample_size(20);
    for (name, bytes) in [("noise", noise(1, len)), ("text", text(len))] {
        let store = empty();
        let root = save(&store, bytes);
        let all = Extent::whole(ByteLen(len as u64));
        group.bench_function(name, |b| {
            let read = || store.map(root).slices(all).map(|s| store.read(&s.unwrap()).unwrap().len()).sum::<usize>();
            b.iter(|| assert_eq!(read(), len));
        });
    }
    group.finish();
}

criterion_group!(benches, maps, bytes);
criterion_main!(benches);
