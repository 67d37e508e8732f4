//! Leases on image files: only what is leased is written, only to the disk the plan was made for, only by one.

#![expect(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "test fixtures")]

use model::id::{Digest, DiskNo};
use model::ports::{Devices, HEAD_LEN, LeaseError, LeaseRequest, ReadAt, WriteError};
use model::units::{ByteLen, ByteOffset, Extent};
use std::fs::File;
use std::path::PathBuf;
use sys::device::{DeviceError, Machine};
use tempfile::TempDir;

const SIZE: usize = 1 << 20;

fn image(dir: &TempDir, name: &str, seed: u8) -> PathBuf {
    let path = dir.path().join(name);
    let bytes: Vec<u8> = (0..SIZE).map(|i| (i as u8).wrapping_mul(31).wrapping_add(seed)).collect();
    std::fs::write(&path, bytes).unwrap();
    path
}

fn request(machine: &Machine, disk: u16, start: u64, end: u64) -> LeaseRequest {
    let source = machine.disks().remove(usize::from(disk));
    let head = source.bytes.read_vec(ByteOffset(0), usize::try_from(HEAD_LEN.0).unwrap()).unwrap();
    let extent = Extent::between(start, end).unwrap();
    LeaseRequest { disk: DiskNo(disk), extent, hardware: source.hardware, head: Some(Digest::of(&head)) }
}

#[test]
fn only_the_extent_is_written_and_it_is_read_back_and_seen() {
    let dir = TempDir::new().unwrap();
    let path = image(&dir, "a.img", 1);
    let before = std::fs::read(&path).unwrap();
    let machine = Machine::open(std::slice::from_ref(&path)).unwrap();
    let source = machine.disks().remove(0);
    assert_eq!((source.hardware.size, source.hardware.transport.as_str()), (ByteLen(SIZE as u64), "image"));
    let mut lease = machine.lease(&request(&machine, 0, 65_536, 131_072)).unwrap();
    assert_eq!(lease.size(), ByteLen(65_536));
    let data = vec![0xAB; 65_536];
    lease.write_all_at(ByteOffset(0), &data[..1000]).unwrap();
    lease.write_all_at(ByteOffset(1000), &data[1000..]).unwrap();
    for (at, len) in [(65_535, 2), (65_536, 1), (u64::MAX, 1), (0, 65_537)] {
        let refused = lease.write_all_at(ByteOffset(at), &vec![1; len]);
        assert!(matches!(refused, Err(WriteError::OutOfRange { .. })), "{len} at {at}");
        assert!(lease.read_back(ByteOffset(at), &mut vec![1; len]).is_err());
    }
    lease.sync().unwrap();
    let mut back = vec![0; 65_536];
    lease.read_back(ByteOffset(0), &mut back).unwrap();
    assert!(back == data);
    assert!(source.bytes.read_vec(ByteOffset(65_536), 65_536).unwrap() == data, "those who look see it");
    drop(lease);
    let after = std::fs::read(&path).unwrap();
    assert!(after[..65_536] == before[..65_536] && after[131_072..] == before[131_072..], "nothing else changed");
    assert_eq!(after.len(), before.len());
}

#[test]
fn looking_cannot_write() {
    let dir = TempDir::new().unwrap();
    let machine = Machine::open(&[image(&dir, "a.img", 1)]).unwrap();
    let fd = machine.descriptors().unwrap().remove(0);
    use std::os::unix::fs::FileExt;
    assert!(File::from(fd).write_at(b"x", 0).is_err());
}

#[test]
fn one_writer_at_a_time() {
    let dir = TempDir::new().unwrap();
    let path = image(&dir, "a.img", 1);
    let machine = Machine::open(std::slice::from_ref(&path)).unwrap();
    let first = machine.lease(&request(&machine, 0, 0, 65_536)).unwrap();
    let mut second = machine.lease(&request(&machine, 0, 65_536, 131_072)).expect("another part, same run");
    second.write_all_at(ByteOffset(0), b"x").unwrap();
    let overlap = machine.lease(&request(&machine, 0, 4096, 8192));
    assert!(matches!(overlap, Err(LeaseError::InUse { .. })));
    // Another run, and a program that locks as QEMU does.
    let other = Machine::open(std::slice::from_ref(&path)).unwrap();
    assert!(matches!(other.lease(&request(&other, 0, 524_288, 524_800)), Err(LeaseError::InUse { .. })));
    drop(first);
    assert!(other.lease(&request(&other, 0, 524_288, 524_800)).is_err(), "the second still stands");
    drop(second);
    drop(other.lease(&request(&other, 0, 524_288, 524_800)).expect("free again"));
    let vm = File::options().read(true).write(true).open(&path).unwrap();
    let lock = libc::flock { l_type: libc::F_RDLCK as i16, l_whence: 0, l_start: 100, l_len: 1, l_pid: 0 };
    nix::fcntl::fcntl(&vm, nix::fcntl::FcntlArg::F_OFD_SETLK(&lock)).unwrap();
    let said = other.lease(&request(&other, 0, 0, 512)).map(drop).unwrap_err().to_string();
    assert!(said.contains("virtual machine"), "{said}");
}

#[test]
fn another_disk_is_refused() {
    let dir = TempDir::new().unwrap();
    let (a, b) = (image(&dir, "a.img", 1), image(&dir, "b.img", 2));
    let machine = Machine::open(&[a.clone(), b.clone()]).unwrap();
    let good = request(&machine, 0, 0, 4096);
    drop(machine.lease(&good).expect("the plan's own disk"));

    let mut wrong = good.clone();
    wrong.hardware.serial = Some("S1".into());
    let said = machine.lease(&wrong).map(drop).unwrap_err().to_string();
    assert!(said.contains("serial number was S1, is none"), "{said}");
    let mut wrong = good.clone();
    wrong.hardware.size = ByteLen(5);
    assert!(matches!(machine.lease(&wrong), Err(LeaseError::OtherDisk { .. })));
    let mut wrong = good.clone();
    wrong.head = request(&machine, 1, 0, 4096).head;
    let said = machine.lease(&wrong).map(drop).unwrap_err().to_string();
    assert!(said.contains("hash to"), "{said}");
    let mut unnamed = good.clone();
    unnamed.head = None;
    drop(machine.lease(&unnamed).expect("told apart by their heads"));
    let outside = LeaseRequest { extent: Extent::between(0, SIZE as u64 + 1).unwrap(), ..good.clone() };
    assert!(machine.lease(&outside).is_err());
    assert!(matches!(machine.lease(&LeaseRequest { disk: DiskNo(7), ..good.clone() }), Err(LeaseError::Gone { .. })));

    // Changed since the plan; another file under the name; grown; gone.
    std::fs::write(&b, std::fs::read(&a).unwrap()).unwrap();
    let said = machine.lease(&good).map(drop).unwrap_err().to_string();
    assert!(said.contains("cannot be told apart"), "{said}");
    std::fs::write(&b, b"short").unwrap();
    File::options().write(true).open(&a).unwrap().set_len(SIZE as u64 + 512).unwrap();
    assert!(matches!(machine.lease(&good), Err(LeaseError::OtherDisk { .. })));
    std::fs::rename(&b, &a).unwrap();
    let said = machine.lease(&good).map(drop).unwrap_err().to_string();
    assert!(said.contains("another file"), "{said}");
    std::fs::remove_file(&a).unwrap();
    assert!(matches!(machine.lease(&good), Err(LeaseError::Gone { .. })));
}

#[test]
fn what_is_no_disk_is_refused_and_twice_is_once_too_often() {
    let dir = TempDir::new().unwrap();
    let a = image(&dir, "a.img", 1);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&a, &link).unwrap();
    assert!(matches!(Machine::open(&[a, link]), Err(DeviceError::Twice { .. })));
    assert!(matches!(Machine::open(&["/dev/null".into()]), Err(DeviceError::NotADisk { .. })));
    assert!(matches!(Machine::open(&[dir.path().into()]), Err(DeviceError::NotADisk { .. })));
    assert!(matches!(Machine::open(&["/nonexistent".into()]), Err(DeviceError::Open { .. })));
    let fifo = dir.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(Machine::open(&[fifo]), Err(DeviceError::NotADisk { .. })), "and does not hang");
}

#[test]
fn this_computers_disks_can_be_listed() {
    // Machines differ; every disk being left out, none is opened or made read-only.
    let machine = Machine::discover(|_| true);
    assert!(machine.disks().is_empty() && machine.problems().is_empty());
}
