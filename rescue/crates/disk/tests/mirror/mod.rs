//! md's mirrors, made without mdadm: where a test needs one of a size, and of an age, of its own.

/// The member with that role of a mirror of two, in format 1.0: what the mirror holds, and md's superblock behind it. `events` counts the
/// changes of the array that it has seen. `tests/md.rs` has mdadm judge such.
pub(crate) fn member(name: &str, content: &[u8], role: u16, events: u64) -> Vec<u8> {
    let mut out = content.to_vec();
    out.resize(content.len() + (1 << 20), 0);
    let at = (out.len() / 512 - 16) / 8 * 8 * 512;
    let mut sb = vec![0u8; 512];
    let mut put = |at: usize, bytes: &[u8]| sb[at..at + bytes.len()].copy_from_slice(bytes);
    let sectors = (content.len() as u64 / 512).to_le_bytes();
    put(0, &[0xfc, 0x4e, 0x2b, 0xa9, 1]);
    put(16, &[0xaa; 16]);
    put(32, name.as_bytes());
    put(72, &1u32.to_le_bytes());
    put(80, &sectors);
    put(92, &2u32.to_le_bytes());
    put(136, &sectors);
    put(144, &(at as u64 / 512).to_le_bytes());
    put(160, &u32::from(role).to_le_bytes());
    put(168, &[u8::try_from(role).unwrap() + 1; 16]);
    put(200, &events.to_le_bytes());
    put(208, &u64::MAX.to_le_bytes());
    put(220, &128u32.to_le_bytes());
    for n in 0..128u16 {
        put(256 + 2 * usize::from(n), &(if n < 2 { n } else { 0xffff }).to_le_bytes());
    }
    let all: u64 = sb.chunks(4).map(|w| u64::from(u32::from_le_bytes(w.try_into().unwrap()))).sum();
    let sum = u32::try_from(((all & 0xffff_ffff) + (all >> 32)) & 0xffff_ffff).unwrap();
    sb[216..220].copy_from_slice(&sum.to_le_bytes());
    out[at..at + 512].copy_from_slice(&sb);
    out
}
