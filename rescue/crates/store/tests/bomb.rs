//! Nothing a store declares makes this program take memory. Alone in its process, because it measures that.
#![allow(clippy::unwrap_used)] // a failed unwrap is a failed test

mod common;

use common::open;
use model::id::{ChunkId, Digest};
use model::ports::{ObjectName, ObjectStore};
use model::units::{ByteLen, Extent};
use std::io::Write;
use std::sync::Arc;
use store::backend::Memory;
use store::{Decode, LocalDecoder, Slice, SliceContent, Store, StoreError};

/// A pack of one chunk in one frame, made by hand as docs/store-format.md says.
fn pack(id: Digest, stored: &[u8], plain: u32, kind: u8, encoding: u8) -> (ObjectName, Vec<u8>) {
    let mut bytes = b"holdfast pack\0\0\x01".to_vec();
    bytes.extend(stored);
    let mut footer = [1u32, 1, 16, u32::try_from(stored.len()).unwrap(), plain].map(u32::to_le_bytes).concat();
    footer.extend([encoding, 0, 0, 0]);
    footer.extend(id.0);
    footer.extend(plain.to_le_bytes());
    footer.extend([0, 0, kind, 0]);
    bytes.extend(&footer);
    bytes.extend(Digest::of(&footer).0);
    bytes.extend(u32::try_from(footer.len()).unwrap().to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(b"packends");
    let id = Digest::of(&bytes);
    (ObjectName::new(&format!("packs/{}/{id}", id.short(2))).unwrap(), bytes)
}

/// The most memory this process ever used, in bytes (`VmHWM`, proc(5)).
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn a_bomb_does_not_go_off() {
    // 10 GiB of zeros in a frame of about 300 kB would be slow to make: 1 GiB shows the same.
    let mut bomb = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let zeros = vec![0; 1 << 20];
    (0..1024).for_each(|_| bomb.write_all(&zeros).unwrap());
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 200_000, "{}", bomb.len());
    let before = peak();
    let slice =
        |id| Slice { extent: Extent::whole(ByteLen(100)), content: SliceContent::Chunk { id: ChunkId(id), at: 0 } };
    for (plain, listed) in
        [(u32::MAX, false), (u32::MAX / 2, false), (600_000, false), (524_288, true), (130_000, true)]
    {
        let objects = Arc::new(Memory::new());
        Store::init(objects.clone()).unwrap();
        let id = Digest::of(b"bomb");
        // A stored chunk must be shorter than its plain bytes, so that the bomb itself is cut for the small ones.
        let (name, bytes) = pack(id, &bomb[..bomb.len().min(100_000)], plain, 0, 1);
        objects.put(&name, &bytes).unwrap();
        let store = open(&objects).unwrap();
        let error = store.read(&slice(id)).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let report = store.check(true, &mut |_, _| true).unwrap();
        assert!(!report.findings.is_empty());
        assert_eq!(report.chunks, usize::from(listed), "an entry beyond the limits is refused unread");
    }
    assert!(LocalDecoder.frame(&bomb, u32::MAX).is_err());
    assert!(LocalDecoder.frame(&bomb, 131_072).is_err());
    // Objects that claim to be huge are not read into memory either.
    let objects = Arc::new(Memory::new());
    Store::init(objects.clone()).unwrap();
    let huge = vec![0; 40 << 20];
    let id = Digest::of(&huge);
    for kind in ["packs", "snapshots", "index"] {
        objects.put(&ObjectName::new(&format!("{kind}/{}/{id}", id.short(2))).unwrap(), &huge).unwrap();
    }
    let grown_by_store = peak();
    let report = open(&objects).unwrap().check(true, &mut |_, _| true).unwrap();
    assert_eq!(report.findings.len(), 3, "{report:?}");
    assert!(peak() - grown_by_store < 8 << 20, "{} bytes more", peak() - grown_by_store);
    assert!(grown_by_store - before < 300 << 20, "{} bytes more", grown_by_store - before);
}
