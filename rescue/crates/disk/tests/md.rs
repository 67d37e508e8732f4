//! md: superblocks as the kernel lays them out, made here and judged by mdadm; and how the bytes of arrays lie on their members.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod host;

use disk::inspect;
use host::{run, source};
use model::inspection::{Content, Inspection};
use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};
use proptest::prelude::*;
use std::sync::Arc;

const SIZE: usize = 4 << 20;
const CHUNK: usize = 64 << 10;
/// Where data begins in members of formats 1.1 and 1.2.
const DATA: u64 = 1 << 20;
const SET: [u8; 16] = [0xaa; 16];

fn put(b: &mut [u8], at: usize, bytes: &[u8]) {
    b[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A member to be made.
#[derive(Clone, Copy)]
struct Member {
    minor: u8,
    level: i32,
    layout: u32,
    members: u16,
    role: u16,
    events: u64,
    features: u32,
    resync: u64,
}

const PLAIN: Member =
    Member { minor: 2, level: 1, layout: 0, members: 2, role: 0, events: 7, features: 0, resync: u64::MAX };

fn sum(block: &[u8]) -> u32 {
    let all: u64 = block.chunks(4).map(|w| w.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b))).sum();
    u32::try_from(((all & 0xffff_ffff) + (all >> 32)) & 0xffff_ffff).unwrap()
}

/// What of a member of [`SIZE`] bytes an array has: from where, and how many.
fn data(minor: u8) -> (u64, u64) {
    match minor {
        0 => (0, 3 << 20),
        _ => (DATA, 3 << 20),
    }
}

impl Member {
    /// A superblock of format 1.x, at its place in a member whose data is `bytes`.
    fn made(self, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; SIZE];
        let (start, len) = data(self.minor);
        let at = match self.minor {
            0 => (SIZE / 512 - 16) / 8 * 8 * 512,
            1 => 0,
            _ => 4096,
        };
        let mut sb = vec![0; 256 + 2 * 128];
        put(&mut sb, 0, &0xa92b_4efcu32.to_le_bytes());
        put(&mut sb, 4, &1u32.to_le_bytes());
        put(&mut sb, 8, &self.features.to_le_bytes());
        put(&mut sb, 16, &SET);
        put(&mut sb, 32, b"granite:data");
        put(&mut sb, 64, &1_790_000_000u64.to_le_bytes());
        put(&mut sb, 72, &self.level.to_le_bytes());
        put(&mut sb, 76, &self.layout.to_le_bytes());
        put(&mut sb, 80, &(if self.level < 1 { 0 } else { len / 512 }).to_le_bytes());
        put(&mut sb, 88, &u32::try_from(if self.level == 1 { 0 } else { CHUNK / 512 }).unwrap().to_le_bytes());
        put(&mut sb, 92, &u32::from(self.members).to_le_bytes());
        put(&mut sb, 128, &(start / 512).to_le_bytes());
        put(&mut sb, 136, &(len / 512).to_le_bytes());
        put(&mut sb, 144, &(at as u64 / 512).to_le_bytes());
        put(&mut sb, 160, &u32::from(self.role).to_le_bytes());
        put(&mut sb, 168, &[0xb0 + u8::try_from(self.role).unwrap(); 16]);
        put(&mut sb, 192, &1_790_000_000u64.to_le_bytes());
        put(&mut sb, 200, &self.events.to_le_bytes());
        put(&mut sb, 208, &self.resync.to_le_bytes());
        put(&mut sb, 220, &128u32.to_le_bytes());
        for role in 0..128u16 {
            let told = if role < self.members { role } else { 0xffff };
            put(&mut sb, 256 + 2 * usize::from(role), &told.to_le_bytes());
        }
        let told = sum(&sb);
        put(&mut sb, 216, &told.to_le_bytes());
        put(&mut out, usize::try_from(start).unwrap(), bytes);
        put(&mut out, at, &sb);
        out
    }

    /// A superblock of format 0.90, of a mirror of two.
    fn old(self, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![0; SIZE];
        put(&mut out, 0, bytes);
        let mut sb = vec![0; 4096];
        let word = |sb: &mut Vec<u8>, at: usize, value: u32| put(sb, at, &value.to_le_bytes());
        for (at, value) in
            [(0, 0xa92b_4efc), (8, 90), (20, 0x1111_1111), (24, 1_790_000_000), (28, 1), (32, 3072), (36, 2), (40, 2)]
        {
            word(&mut sb, at, value);
        }
        for (at, value) in [(44, 3), (52, 0x2222_2222), (56, 0x3333_3333), (60, 0x4444_4444)] {
            word(&mut sb, at, value);
        }
        // State clean; two active, two working; events.
        for (at, value) in [(128, 1_790_000_000), (132, 1), (136, 2), (140, 2), (156, 9)] {
            word(&mut sb, at, value);
        }
        for disk in 0..2u32 {
            let at = 512 + 128 * disk as usize;
            for (n, value) in [disk, 8, 1 + disk * 16, disk, 0b110].into_iter().enumerate() {
                word(&mut sb, at + 4 * n, value);
                if disk == u32::from(self.role) {
                    word(&mut sb, 4096 - 128 + 4 * n, value);
                }
            }
        }
        let told = sum(&sb);
        word(&mut sb, 152, told);
        put(&mut out, SIZE - (64 << 10), &sb);
        out
    }
}

fn look(members: &[Vec<u8>]) -> Inspection {
    let disks: Vec<_> = (0..).zip(members).map(|(n, bytes)| source(n, Arc::new(bytes.clone()))).collect();
    inspect(&disks)
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        u8::try_from(x >> 32 & 0xff).unwrap()
    };
    (0..len).map(|_| next()).collect()
}

/// What the array holds as it is read; there is one, called `data`.
fn array(members: &[Vec<u8>], inspection: &Inspection) -> Vec<u8> {
    let [volume] = inspection.layered.as_slice() else { panic!("{:?}", inspection.findings) };
    assert!(
        volume.path.to_string().ends_with("/md/data") || volume.path.to_string().ends_with("/md/3"),
        "{}",
        volume.path
    );
    let disks: Vec<_> = (0..).zip(members).map(|(n, bytes)| source(n, Arc::new(bytes.clone()))).collect();
    let bytes = disk::volume::bytes(&disks, volume).unwrap();
    bytes.read_vec(ByteOffset(0), bytes.size().to_usize().unwrap()).unwrap()
}

fn says(i: &Inspection) -> String {
    i.findings.iter().map(|f| f.says.to_string()).collect::<Vec<_>>().join("\n")
}

#[test]
fn mdadm_takes_these_superblocks_for_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("member");
    let examined = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        run("mdadm", "mdadm", &["--examine", file.to_str().unwrap()], "")
    };
    for (minor, version) in [(0, "1.0"), (1, "1.1"), (2, "1.2")] {
        let told = examined(&Member { minor, ..PLAIN }.made(&[]));
        for line in [format!("Version : {version}"), "Raid Level : raid1".into(), "correct".into(), "Events : 7".into()]
        {
            assert!(told.contains(&line), "{line}: {told}");
        }
        assert!(told.contains("Name : granite:data") && told.contains("Device Role : Active device 0"), "{told}");
    }
    let told = examined(&PLAIN.old(&[]));
    assert!(told.contains("Version : 0.90.00") && told.contains("correct") && told.contains("raid1"), "{told}");
}

#[test]
fn mirrors_are_read_once_and_kept_twice() {
    let content = noise(1, 3 << 20);
    for minor in [0, 1, 2] {
        let member = |role| Member { minor, role, ..PLAIN }.made(&content);
        let members = [member(0), member(1)];
        let inspection = look(&members);
        assert_eq!(inspection.findings, [], "1.{minor}");
        assert!(array(&members, &inspection) == content);
        let map = inspection.layered[0].mapping.clone().unwrap();
        assert!(map.read_only.is_none() && map.is_mirrored(), "both are here, and alike: both are written");
        let (start, len) = data(minor);
        let [copy] = map.copies()[..] else { panic!("{:?}", map.copies()) };
        assert_eq!((copy.on, copy.at.0, copy.within.len().0), (1, start, len));
        for disk in &inspection.disks {
            let pv = &disk.volumes[0];
            assert!(matches!(&pv.content, Content::Md(m) if m.level == "raid1"), "{:?}", pv.content);
            let used = disk::coverage::of(&pv.content, Arc::new(members[0].clone())).used;
            assert_eq!(used.total(), ByteLen(SIZE as u64 - len));
        }
        // One is away: the other is read, and that is said.
        let alone = look(&members[1..]);
        assert!(array(&members[1..], &alone) == content);
        assert!(says(&alone).contains("1 of 2 members"), "{}", says(&alone));
        let why = alone.layered[0].mapping.clone().unwrap().read_only.unwrap().to_string();
        assert!(why.contains("its member 0 is not here"), "{why}");
    }
    let old = |role| Member { role, ..PLAIN }.old(&content);
    let members = [old(0), old(1)];
    assert!(array(&members, &look(&members)) == content);
}

/// A group of LVM on a mirror: its volumes lie on both members, and what LVM and md keep is saved with each.
#[test]
fn volumes_of_lvm_on_a_mirror_are_read() {
    let fixture = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lvm/machine.0.zst");
    let mut content = zstd::decode_all(&*std::fs::read(fixture).unwrap()).unwrap();
    let head = content.clone();
    content.extend(noise(6, 15 << 20));
    let member = |role: u16| {
        let mut made = Member { minor: 0, role, ..PLAIN }.made(&[]);
        // The same superblock at the end of a larger member.
        let at = (SIZE / 512 - 16) / 8 * 8 * 512;
        let mut sb = made.split_off(at)[..512].to_vec();
        let mut out = content.clone();
        out.resize(17 << 20, 0);
        let end = (out.len() / 512 - 16) / 8 * 8 * 512;
        for (at, value) in [(80, content.len() / 512), (136, content.len() / 512), (144, end / 512)] {
            put(&mut sb, at, &(value as u64).to_le_bytes());
        }
        sb[216..220].fill(0);
        let told = sum(&sb);
        put(&mut sb, 216, &told.to_le_bytes());
        put(&mut out, end, &sb);
        out
    };
    let members = [member(0), member(1)];
    let inspection = look(&members);
    assert_eq!(inspection.findings, []);
    let paths: Vec<String> = inspection.layered.iter().map(|v| v.path.to_string()).collect();
    assert_eq!(paths, ["d0/target/home", "d0/target/root", "d0/target/swap-1"]);
    let root = &inspection.layered[1];
    let map = root.mapping.as_ref().unwrap();
    assert!(map.read_only.is_none() && map.is_mirrored() && map.beneath.len() == 2);
    let disks: Vec<_> = (0..).zip(&members).map(|(n, bytes)| source(n, Arc::new(bytes.clone()))).collect();
    let read = disk::volume::bytes(&disks, root).unwrap().read_vec(ByteOffset(0), 6 << 20).unwrap();
    // Extents 0 to 2 and 6 to 8, behind the first MiB.
    assert!(read == [&content[1 << 20..4 << 20], &content[7 << 20..10 << 20]].concat());
    for disk in &inspection.disks {
        let Content::Md(m) = &disk.volumes[0].content else { panic!("{:?}", disk.volumes) };
        assert_eq!(m.apart.total(), ByteLen(15 << 20), "all extents, used or not");
        assert!(!m.apart.meets(model::units::Extent::whole(ByteLen(head.len() as u64))));
    }
}

#[test]
fn stripes_lie_where_the_kernel_puts_them() {
    let content = noise(2, 12 << 20);
    // RAID 0 over three, RAID 10 (two near copies) over four: chunk by chunk.
    for (level, layout, members, near) in [(0, 0, 3usize, 1usize), (10, 0x102, 4, 2)] {
        let mut parts = vec![Vec::new(); members];
        for (n, chunk) in content.chunks(CHUNK).enumerate() {
            for copy in 0..near {
                let place = n * near + copy;
                if parts[place % members].len() < 3 << 20 {
                    parts[place % members].extend_from_slice(chunk);
                }
            }
        }
        let count = u16::try_from(members).unwrap();
        let member = |role: u16, bytes: &Vec<u8>| Member { level, layout, members: count, role, ..PLAIN }.made(bytes);
        let made: Vec<Vec<u8>> = (0..count).zip(&parts).map(|(role, bytes)| member(role, bytes)).collect();
        let inspection = look(&made);
        assert_eq!(inspection.findings, []);
        let read = array(&made, &inspection);
        assert_eq!(read.len(), members / near * (3 << 20));
        assert!(read == content[..read.len()], "level {level}");
        let map = inspection.layered[0].mapping.as_ref().unwrap();
        assert_eq!((map.is_mirrored(), map.read_only.is_none()), (level == 10, true));
        let fewer = look(&made[1..]);
        match level {
            0 => assert!(fewer.layered.is_empty() && says(&fewer).contains("member 0 is not here"), "{}", says(&fewer)),
            _ => {
                assert!(array(&made[1..], &fewer) == read, "the other copy is read");
                assert!(fewer.layered[0].mapping.as_ref().unwrap().read_only.is_some(), "and nothing is written");
            }
        }
    }
    let (a, b) = (noise(3, 3 << 20), noise(4, 3 << 20));
    let linear = |role, bytes: &[u8]| Member { level: -1, role, ..PLAIN }.made(bytes);
    let made = [linear(0, &a), linear(1, &b)];
    assert!(array(&made, &look(&made)) == [a, b].concat());
}

#[test]
fn what_is_old_doubled_or_unknown_is_told() {
    let content = noise(5, 3 << 20);
    let of = |m: Member| m.made(&content);
    let stale = look(&[of(Member { events: 3, ..PLAIN }), of(Member { role: 1, ..PLAIN })]);
    assert!(says(&stale).contains("d0") || says(&stale).contains("old member"), "{}", says(&stale));
    assert_eq!(stale.layered[0].path.to_string(), "d1/md/data");
    let twins = look(&[of(PLAIN), of(PLAIN)]);
    assert!(twins.layered.is_empty() && says(&twins).contains("both its member 0"), "{}", says(&twins));
    let dirty = look(&[of(Member { resync: 0, ..PLAIN }), of(Member { resync: 0, role: 1, ..PLAIN })]);
    assert!(dirty.layered.len() == 1 && says(&dirty).contains("mirrors may differ"), "{}", says(&dirty));
    let why = dirty.layered[0].mapping.clone().unwrap().read_only.unwrap().to_string();
    assert!(why.contains("not stopped in order"), "{why}");
    for (level, layout, features) in [(5, 2, 0), (1, 0, 4), (1, 0, 2), (10, 0x202, 0)] {
        let odd = look(&[0, 1].map(|role| of(Member { level, layout, features, role, ..PLAIN })));
        assert!(odd.layered.is_empty() && says(&odd).contains("is not read"), "{}", says(&odd));
        assert!(matches!(&odd.disks[0].volumes[0].content, Content::Recognised { name, .. } if name == "md"));
    }
    let mut torn = of(PLAIN);
    torn[4096 + 200] ^= 1;
    let torn = look(&[torn, of(Member { role: 1, ..PLAIN })]);
    assert!(torn.layered.len() == 1 && says(&torn).contains("checksum"), "{}", says(&torn));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever a superblock says, with its sum made right, a look ends, and what it tells holds together.
    #[test]
    fn hostile_superblocks_cost_an_answer(at in 8usize..256, value in any::<u64>(), len in 1usize..9, level in prop::sample::select(vec![-1, 0, 1, 10])) {
        let mut made = [0, 1].map(|role| Member { level, layout: 0x102, role, ..PLAIN }.made(&[]));
        for member in &mut made {
            let sb = &mut member[4096..4096 + 512];
            let end = (at + len).min(256);
            put(sb, at, &value.to_le_bytes()[..end - at]);
            let most = usize::try_from(u32::from_le_bytes(sb[220..224].try_into().unwrap())).unwrap_or(0).min(128);
            sb[216..220].fill(0);
            let told = sum(&sb[..256 + 2 * most]);
            put(sb, 216, &told.to_le_bytes());
        }
        let inspection = look(&made);
        for v in &inspection.layered {
            prop_assert!(v.mapping.as_ref().unwrap().is_sound(v.extent.len()));
        }
    }
}
