//! What saving takes: hashing, compressing, packing, and finding out what the store has already.
//!
//! `cargo bench -p store --bench saving`. Everything lies in memory and happens in one thread: it is the work that is
//! measured, and not the disk or the processors. What is made for one round is made before its time is taken.
#![allow(missing_docs, clippy::unwrap_used)] // the macros' functions have none; a failed unwrap is a failed benchmark

mod common;

use common::{Chunks, empty, noise, save, text};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use model::id::Digest;
use std::hint::black_box;
use store::{LEAF, LeafHasher};

/// The bytes of a volume that is saved.
const VOLUME: usize = 8 << 20;
/// Chunks of a store that has many, and those of them that are saved again.
const MANY: u64 = 200_000;
const SOME: u64 = 4096;
/// The bytes of each: the less there are to hash, the more of the time is the look-up's.
const TINY: usize = 64;

fn hash(c: &mut Criterion) {
    let mut group = c.benchmark_group("hash");
    let leaf = noise(1, usize::try_from(LEAF).unwrap());
    let chunk = &leaf[..128 << 10];
    group.throughput(Throughput::Bytes(chunk.len() as u64));
    group.bench_function("a chunk", |b| b.iter(|| Digest::of(black_box(chunk))));
    group.throughput(Throughput::Bytes(leaf.len() as u64));
    group.bench_function("the content of a leaf", |b| {
        b.iter(|| {
            let mut hasher = LeafHasher::default();
            hasher.add(0, black_box(&leaf)).unwrap();
            hasher.finish()
        });
    });
    group.finish();
}

fn volumes(c: &mut Criterion) {
    let mut group = c.benchmark_group("save");
    group.throughput(Throughput::Bytes(VOLUME as u64));
    group.sample_size(20);
    let twice = [noise(2, VOLUME / 8), noise(2, VOLUME / 8)].concat().repeat(4);
    for (name, bytes) in [("noise", noise(1, VOLUME)), ("text", text(VOLUME)), ("the same again and again", twice)] {
        group.bench_function(name, |b| {
            b.iter_batched(|| (empty(), bytes.clone()), |(store, bytes)| save(&store, bytes), BatchSize::PerIteration);
        });
    }
    let (store, bytes) = (empty(), noise(1, VOLUME));
    save(&store, bytes.clone());
    group.bench_function("what is there", |b| {
        b.iter_batched(|| bytes.clone(), |bytes| save(&store, bytes), BatchSize::PerIteration);
    });
    group.finish();
}

fn look_up(c: &mut Criterion) {
    let mut group = c.benchmark_group("look up");
    group.throughput(Throughput::Elements(SOME));
    group.sample_size(20);
    let (large, small) = (empty(), empty());
    Chunks::in_order(MANY).bytes(TINY).save(&large);
    // Scattered over all packs, since neighbours are found in the footer at hand.
    let known = Chunks::scattered(SOME, MANY);
    let mut new = Chunks::in_order(SOME).from(MANY);
    group.bench_function("known chunks of many", |b| {
        b.iter_batched(|| known.clone().bytes(TINY), |chunks| chunks.hand_over(&large), BatchSize::PerIteration);
    });
    for (name, store) in [("new chunks beside many", &large), ("new chunks beside none", &small)] {
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    new = new.clone().next();
                    new.clone().bytes(TINY)
                },
                |chunks| chunks.hand_over(store),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, hash, volumes, look_up);
criterion_main!(benches);
