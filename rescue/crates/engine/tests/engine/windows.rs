//! Two systems on one disk, a Debian and a Windows, which start from the same EFI system partition: what goes back with one leaves the
//! other where it is. And an exFAT and an NTFS that go back, judged by the tools of the host.

use crate::crash::look;
use crate::image::{MIB, ext, fat, noise, run, tool, write};
use crate::restore::new_disk;
use crate::sim::{Fault, Loss, Sim, after_cut, engine, holds, must, reset, store};
use disk::fs::FileSystem;
use disk::fs::exfat::Exfat;
use disk::fs::fat::Fat;
use disk::fs::ntfs::Ntfs;
use engine::parser::Local;
use engine::run::pending;
use model::assessment::{Installation, Termination};
use model::command::{Command, ImageFormat, Onto};
use model::coverage::CaptureMethod;
use model::event::Outcome;
use model::id::{DiskNo, SnapRef, SnapshotId, VolumePath};
use model::plan::RollbackPlan;
use model::ports::{Devices, ObjectStore, ReadAt};
use model::snapshot::Purpose;
use model::text::{DisplayText, RawName};
use model::units::{ByteOffset, ExtentSet};
use std::fs::File;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use store::backend::Memory;

/// Where the allocation table of the EFI system partition begins: behind its boot sector, as mkfs.vfat makes a FAT12.
const FIRST_FAT: usize = 512;
const ROOT: &str = "11111111-aaaa-4aaa-8aaa-0000000000aa";
/// Number, first MiB, end MiB, GPT type: the EFI system partition, Debian, Windows, an exFAT of data.
const PARTITIONS: [(u32, usize, usize, &str); 4] =
    [(1, 1, 3, "EF00"), (2, 3, 9, "8300"), (3, 9, 33, "0700"), (4, 33, 57, "0700")];

fn range(number: u32) -> Range<usize> {
    let (_, from, to, _) = PARTITIONS.iter().find(|p| p.0 == number).copied().unwrap();
    from * MIB..to * MIB
}

/// What a driver left of a file system (made beside the tests of `disk`).
fn fixture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../disk/tests/windows_reads/fixtures").join(name);
    zstd::stream::decode_all(File::open(path).unwrap()).unwrap()
}

/// The Windows, with a letter in it.
fn windows(dir: &Path, letter: &[u8]) -> Vec<u8> {
    static ALL: OnceLock<Vec<u8>> = OnceLock::new();
    let all = ALL.get_or_init(|| fixture("ntfs.imgs.zst"));
    let (image, file) = (dir.join("windows"), dir.join("letter"));
    std::fs::write(&image, &all[4 * 24 * MIB..]).unwrap();
    std::fs::write(&file, letter).unwrap();
    run(tool("ntfscp", "ntfs-3g").arg("-f").arg(&image).arg(&file).arg("/Users/Somebody/letter.txt"));
    std::fs::read(image).unwrap()
}

/// The disk in two states, between which everything on it changed.
fn disk(state: u8) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    write(&root, "etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n");
    write(&root, "etc/fstab", format!("UUID={ROOT} / ext4 defaults 0 1\nUUID=1234-5678 /boot/efi vfat defaults 0 1\n"));
    write(&root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    write(&root, "usr/lib/data", noise(u64::from(state), 200_000));
    let esp = dir.path().join("esp");
    std::fs::write(&esp, fat(dir.path(), &[("grubx64.efi", noise(u64::from(state) + 10, 5000))])).unwrap();
    for made in ["::/EFI/Microsoft", "::/EFI/Microsoft/Boot"] {
        run(tool("mmd", "mtools").arg("-i").arg(&esp).arg(made));
    }
    let loader = dir.path().join("loader");
    std::fs::write(&loader, noise(u64::from(state) + 20, 9000)).unwrap();
    run(tool("mcopy", "mtools").arg("-i").arg(&esp).arg(&loader).arg("::/EFI/Microsoft/Boot/bootmgfw.efi"));
    let mut exfat = fixture("exfat.img.zst");
    // In the first cluster of a file that lies in one piece.
    let at = content_of_large(&exfat);
    exfat[at..at + 1000].copy_from_slice(&noise(u64::from(state) + 30, 1000));
    let volumes = [
        std::fs::read(&esp).unwrap(),
        ext(dir.path(), "root.img", &root, ROOT, 6 * MIB, true),
        windows(dir.path(), &noise(u64::from(state) + 40, 20_000)),
        exfat,
    ];
    let whole = dir.path().join("disk");
    std::fs::write(&whole, vec![0; 58 * MIB]).unwrap();
    let mut table = tool("sgdisk", "gdisk");
    table.args(["--disk-guid", "22222222-bbbb-4bbb-8bbb-000000000001"]);
    for (number, from, to, kind) in PARTITIONS {
        table.arg("--new").arg(format!("{number}:{}:{}", from * 2048, to * 2048 - 1));
        table.arg("--typecode").arg(format!("{number}:{kind}"));
        table.arg("--partition-guid").arg(format!("{number}:33333333-cccc-4ccc-8ccc-00000000001{number}"));
    }
    run(table.arg(&whole));
    let mut bytes = std::fs::read(whole).unwrap();
    for ((number, ..), volume) in PARTITIONS.iter().zip(volumes) {
        bytes[range(*number)].copy_from_slice(&volume);
    }
    bytes
}

fn content_of_large(exfat: &[u8]) -> usize {
    let fs = Exfat::load(Arc::new(exfat.to_vec())).unwrap();
    let file = fs.find(b"/Documents/large.bin").unwrap().unwrap().file;
    let model::files::Layout::Pieces { pieces, .. } = fs.layout(file, ByteOffset(0), 1).unwrap() else { panic!() };
    usize::try_from(pieces[0].1.start().0).unwrap()
}

/// Both states, and a store that holds the first; made once.
struct Pair {
    then: Vec<u8>,
    now: Vec<u8>,
}

fn pair() -> &'static Pair {
    static PAIR: OnceLock<Pair> = OnceLock::new();
    PAIR.get_or_init(|| Pair { then: disk(0), now: disk(1) })
}

fn saved() -> (Arc<Memory>, SnapshotId) {
    let objects = Arc::new(Memory::new());
    let sim = Sim::failing(pair().then.clone(), Fault::Lease);
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    assert!(sim.ops().is_empty());
    (objects, id)
}

/// Rolls back, and gives the plan that was approved.
fn rolled_back(sim: &Arc<Sim>, objects: &Arc<Memory>, to: SnapshotId, only: &[u32]) -> RollbackPlan {
    let only = only.iter().map(|n| VolumePath::partition(DiskNo(0), *n)).collect();
    // The tools make both states of the root with the same records: what proves that nothing changed is not asked.
    let command = Command::PlanRollback { to: SnapRef::Prefix(to.to_string()), only, full: true };
    let mut plan = None;
    let outcome = engine(sim, objects).run(command, &mut |_| {}, &mut |_, p| {
        plan = Some(p.clone());
        Some(true)
    });
    assert!(matches!(outcome, Outcome::WroteBack(_)), "{outcome:?}\n{plan:?}");
    plan.unwrap()
}

fn equal(a: &[u8], b: &[u8], within: &ExtentSet) -> bool {
    within.iter().all(|e| {
        let range = usize::try_from(e.start().0).unwrap()..usize::try_from(e.end().0).unwrap();
        a[range.clone()] == b[range]
    })
}

/// What of a volume is in use, by its own reader.
fn used(bytes: &[u8]) -> ExtentSet {
    let bytes: Arc<dyn ReadAt> = Arc::new(bytes.to_vec());
    let fs: Box<dyn FileSystem> = match (Ntfs::load(bytes.clone()), Exfat::load(bytes.clone())) {
        (Ok(fs), _) => Box::new(fs),
        (_, Ok(fs)) => Box::new(fs),
        _ => Box::new(Fat::load(bytes).unwrap()),
    };
    let coverage = fs.coverage();
    assert_eq!(coverage.method, CaptureMethod::UsedBlocks, "{}", coverage.why);
    coverage.used
}

/// The tools of the host call an NTFS and an exFAT whole.
fn judged(disk: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let (ntfs, exfat) = (dir.path().join("ntfs"), dir.path().join("exfat"));
    std::fs::write(&ntfs, &disk[range(3)]).unwrap();
    std::fs::write(&exfat, &disk[range(4)]).unwrap();
    run(tool("ntfsfix", "ntfs-3g").arg("-n").arg(&ntfs));
    run(tool("ntfsresize", "ntfs-3g").args(["-i", "-f"]).arg(&ntfs));
    run(tool("fsck.exfat", "exfatprogs").arg("-n").arg(&exfat));
}

/// A file of the EFI system partition.
fn on_esp(disk: &[u8], path: &str) -> Vec<u8> {
    let fs = Fat::load(Arc::new(disk[range(1)].to_vec())).unwrap();
    let file = fs.open(path.as_bytes()).unwrap().unwrap();
    file.read_vec(ByteOffset(0), file.size().to_usize().unwrap()).unwrap()
}

/// The boot manager of the Windows.
fn loader(disk: &[u8]) -> Vec<u8> {
    on_esp(disk, "/EFI/Microsoft/Boot/bootmgfw.efi")
}

/// The boot loader of the Debian.
fn grub(disk: &[u8]) -> Vec<u8> {
    on_esp(disk, "/EFI/debian/grubx64.efi")
}

/// The EFI system partition is whole.
fn fsck(disk: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let esp = dir.path().join("esp");
    std::fs::write(&esp, &disk[range(1)]).unwrap();
    run(tool("fsck.vfat", "dosfstools").arg("-n").arg(&esp));
}

fn letter(disk: &[u8]) -> Vec<u8> {
    let fs = Ntfs::load(Arc::new(disk[range(3)].to_vec())).unwrap();
    let file = fs.open(b"/Users/Somebody/letter.txt").unwrap().unwrap();
    file.read_vec(ByteOffset(0), file.size().to_usize().unwrap()).unwrap()
}

#[test]
fn each_system_is_told_with_its_state() {
    let sim = Sim::new(pair().then.clone());
    let report = engine::gather::report(&sim.disks(), &Local::new(sim.disks()), &|_| None);
    let [debian, windows] = report.systems.as_slice() else { panic!("{:?}", report.systems) };
    assert_eq!(
        (debian.system.name.as_str(), windows.system.name.as_str()),
        ("Debian GNU/Linux 12 (bookworm)", "Windows")
    );
    assert_eq!(windows.system.root, VolumePath::partition(DiskNo(0), 3));
    assert_eq!(windows.system.boot, [("esp".to_owned(), VolumePath::partition(DiskNo(0), 1))]);
    // The driver that made it leaves the log empty: that Windows shut it down is no more than a guess.
    let a = &windows.assessment;
    assert_eq!((a.termination.value, a.installation.value), (Termination::Clean, Installation::Idle), "{a:?}");
    assert!(a.is_good());
    // Nothing of Linux is looked for in it, nor the other way round.
    let dpkg = |path: &[u8]| path.starts_with(b"/var");
    let paths = |s: &model::assessment::SystemReport| -> Vec<Vec<u8>> {
        s.evidence.iter().filter_map(|e| e.origin.path.as_ref().map(|p| p.0.clone())).collect()
    };
    assert!(!paths(windows).iter().any(|p| dpkg(p)) && paths(debian).iter().any(|p| dpkg(p)));
    assert!(!paths(debian).iter().any(|p| p.starts_with(b"/Windows")));
    // What starts it is judged: this one is no program.
    assert_eq!(report.boot[1].links.len(), 1, "{:?}", report.boot[1]);
}

#[test]
fn what_is_saved_is_what_is_in_use() {
    let (objects, id) = saved();
    let manifest = store(&objects).manifest(id).unwrap();
    for number in [3, 4] {
        let saved = manifest.volumes.iter().find(|v| v.path.number() == Some(number)).unwrap();
        assert_eq!(saved.method, CaptureMethod::UsedBlocks, "{saved:?}");
        assert_eq!(saved.captured, used(&pair().then[range(number)]).total());
    }
}

#[test]
fn going_back_with_one_system_leaves_the_other_where_it_is() {
    let (objects, id) = saved();
    let Pair { then, now } = pair();
    let sim = Sim::new(now.clone());
    let plan = rolled_back(&sim, &objects, id, &[]);
    let written: Vec<u32> = plan.volumes.iter().filter_map(|v| v.path.number()).collect();
    assert_eq!(written, [2, 1]);
    let is = sim.bytes();
    assert!(is[range(3)] == now[range(3)] && is[range(4)] == now[range(4)], "Windows is untouched");
    assert!(is[range(2)] != now[range(2)]);
    let kept = plan.kept.iter().find(|(v, _)| v.number() == Some(3)).unwrap();
    assert!(kept.1.as_str().contains("Windows"), "{kept:?}");
    let lost = |w: &&DisplayText| ["EFI/", "belong together"].iter().any(|says| w.as_str().contains(says));
    assert_eq!(plan.warnings.iter().find(lost), None);

    // Of the partition that both start from, Windows' boot manager stays as it is now.
    let [esp] = plan.esps.as_slice() else { panic!("{:?}", plan.esps) };
    let stays: Vec<_> = esp.stays.iter().map(|p| (p.shown().to_string(), p.whose.as_str(), p.differs)).collect();
    assert_eq!(stays, [("EFI/Microsoft".to_owned(), "Windows", true)]);
    assert!(loader(&is) == loader(now) && loader(&is) != loader(then));
    assert!(grub(&is) == grub(then) && grub(&is) != grub(now));
    fsck(&is);
    let composed = store(&objects).list().unwrap().summaries().into_iter().max_by_key(|s| s.counter).unwrap();
    assert!(matches!(composed.purpose, Purpose::Composed { of, .. } if of == id), "{composed:?}");

    // And comes back as it was.
    must(&sim, &objects, Command::PlanUndo { full: false });
    let (is, used) = (sim.bytes(), used(&now[range(1)]));
    assert!(equal(&is[range(1)], &now[range(1)], &used) && grub(&is) == grub(now));
    fsck(&is);
}

/// Named alone it goes back as one, and so it does where it was not named with its system.
#[test]
fn what_both_start_from_stays_or_goes_back_as_it_is_named() {
    let (objects, id) = saved();
    let Pair { then, now } = pair();
    let sim = Sim::new(now.clone());
    rolled_back(&sim, &objects, id, &[2]);
    assert!(sim.bytes()[range(1)] == now[range(1)] && sim.bytes()[range(3)] == now[range(3)]);
    let sim = Sim::new(now.clone());
    let plan = rolled_back(&sim, &objects, id, &[1]);
    assert!(plan.esps.is_empty() && loader(&sim.bytes()) == loader(then));
    assert!(plan.warnings.iter().any(|w| w.as_str().contains("EFI/Microsoft")), "{:?}", plan.warnings);
}

/// Where the others' files are as they were saved there is nothing to compose.
#[test]
fn what_is_the_same_needs_no_composing() {
    let (objects, id) = saved();
    let Pair { then, now } = pair();
    let mut only_debian = now.clone();
    only_debian[range(1)].copy_from_slice(&then[range(1)]);
    let sim = Sim::new(only_debian);
    let plan = rolled_back(&sim, &objects, id, &[]);
    assert!(plan.esps.iter().all(|e| !e.is_composed() && e.cannot.is_none()), "{:?}", plan.esps);
    assert_eq!(plan.esps[0].stays.len(), 1);
    let last = store(&objects).list().unwrap().summaries().into_iter().max_by_key(|s| s.counter).unwrap();
    assert!(matches!(last.purpose, Purpose::Undo { .. }), "{last:?}");
}

/// What cannot be read of it now cannot be kept: it goes back as one, and that is said before.
#[test]
fn a_damaged_one_goes_back_as_one_and_says_so() {
    let (objects, id) = saved();
    let Pair { then, now } = pair();
    let mut damaged = now.clone();
    // The first cluster of Windows' boot manager leads back to itself.
    let fs = Fat::load(Arc::new(now[range(1)].to_vec())).unwrap();
    let file = fs.find(b"/EFI/Microsoft/Boot/bootmgfw.efi").unwrap().unwrap().file;
    let at = range(1).start + usize::try_from(file.0).unwrap() + 26;
    let cluster = usize::from(u16::from_le_bytes([damaged[at], damaged[at + 1]]));
    let entry = range(1).start + FIRST_FAT + cluster * 3 / 2;
    let both = u16::from_le_bytes([damaged[entry], damaged[entry + 1]]);
    let looped = u16::try_from(cluster).unwrap();
    let new = if cluster % 2 == 1 { both & 0x000f | looped << 4 } else { both & 0xf000 | looped };
    damaged[entry..entry + 2].copy_from_slice(&new.to_le_bytes());
    let sim = Sim::new(damaged.clone());
    let plan = rolled_back(&sim, &objects, id, &[]);
    let said = plan.warnings.iter().find(|w| w.as_str().contains("cannot be kept on d0/p1")).unwrap();
    assert!(said.as_str().contains("`--only d0/p2`") && said.as_str().contains("belongs to"), "{said}");
    assert!(loader(&sim.bytes()) == loader(then) && grub(&sim.bytes()) == grub(then));
    fsck(&sim.bytes());

    // Or it stays, where somebody wants that: asked again, and back again.
    let sim = Sim::new(damaged.clone());
    let handle = engine(&sim, &objects);
    let (asking, mut asked) = (handle.clone(), Vec::new());
    let to = SnapRef::Prefix(id.to_string());
    let command = Command::PlanRollback { to, only: Vec::new(), full: true };
    let outcome = handle.run(command, &mut |_| {}, &mut |plan_id, plan| {
        asked.push((plan_id, plan.volumes.len(), plan.esps[0].left));
        match asked.len() {
            n if n < 4 => {
                asking.submit(Command::LeaveEsps { plan: plan_id, leave: n != 2 });
                None
            }
            _ => Some(true),
        }
    });
    assert!(matches!(outcome, Outcome::WroteBack(_)), "{outcome:?}");
    assert_eq!(asked.iter().map(|a| (a.1, a.2)).collect::<Vec<_>>(), [(2, false), (1, true), (2, false), (1, true)]);
    assert_eq!((asked[0].0, asked[1].0), (asked[2].0, asked[3].0), "the same plans");
    assert!(sim.bytes()[range(1)] == damaged[range(1)] && sim.bytes()[range(2)] != damaged[range(2)]);
}

/// Cut while it goes to what was composed: it is finished to that, or undone to what was.
#[test]
fn a_composed_one_is_finished_or_undone() {
    let (objects, id) = saved();
    let Pair { then, now } = pair();
    let sim = Sim::new(now.clone());
    rolled_back(&sim, &objects, id, &[]);
    let (ops, whole) = (sim.ops(), sim.bytes());
    let undo = store(&objects).intents().unwrap()[0].1.undo.unwrap();
    let intents = objects.list("intents").unwrap();
    reset(&objects, &intents);
    let mut fenced = 0;
    for (nth, at) in (0..=ops.len()).step_by((ops.len() / 12).max(1)).enumerate() {
        let loss = [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2)][nth % 4];
        let image = after_cut(now, &ops, at, loss);
        if pending::unfinished(&store(&objects), &look(&Sim::new(image.clone()))).unwrap().is_none() {
            continue;
        }
        fenced += 1;
        let forward = Sim::new(image.clone());
        must(&forward, &objects, Command::PlanResume);
        let is = forward.bytes();
        let all = used(&whole[range(1)]);
        assert!(equal(&is[range(1)], &whole[range(1)], &all), "cut {at}, {loss:?}");
        assert!(loader(&is) == loader(now) && grub(&is) == grub(then) && is[range(3)] == now[range(3)]);
        reset(&objects, &intents);
        let back = Sim::new(image);
        must(&back, &objects, Command::PlanUndo { full: false });
        holds(&store(&objects), undo, &[1, 2], &back.bytes()).unwrap_or_else(|e| panic!("cut {at}, {loss:?}: {e}"));
        reset(&objects, &intents);
    }
    assert!(fenced > 4, "{fenced} cuts left a fence");
}

#[test]
fn a_windows_goes_back_where_it_is_named() {
    let (objects, id) = saved();
    let Pair { then, now } = pair();
    let sim = Sim::new(now.clone());
    rolled_back(&sim, &objects, id, &[3, 4]);
    let is = sim.bytes();
    for number in [3, 4] {
        assert!(equal(&is[range(number)], &then[range(number)], &used(&then[range(number)])), "d0/p{number}");
    }
    assert!(is[range(1)] == now[range(1)] && is[range(2)] == now[range(2)], "Debian is untouched");
    assert!(letter(&is) == noise(40, 20_000));
    judged(&is);
    must(&sim, &objects, Command::PlanUndo { full: false });
    for number in [3, 4] {
        assert!(equal(&sim.bytes()[range(number)], &now[range(number)], &used(&now[range(number)])), "d0/p{number}");
    }
    judged(&sim.bytes());
}

#[test]
fn both_come_out_of_a_store_whole() {
    let (objects, _) = saved();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("exported.img");
    let to = RawName(path.as_os_str().as_bytes().to_vec());
    let export = Command::Export { snapshot: SnapRef::Latest, only: None, to, format: ImageFormat::Raw };
    must(&Sim::failing(vec![0; 1 << 16], Fault::Lease), &objects, export);
    let exported = std::fs::read(&path).unwrap();
    judged(&exported);
    assert!(letter(&exported) == noise(40, 20_000));
    let sim = new_disk(vec![0; pair().then.len()]);
    let onto = vec![Onto { saved: None, disk: DiskNo(0) }];
    let restore =
        Command::PlanRestore { to: SnapRef::Latest, onto, overwrite: Vec::new(), new_ids: false, grow: Vec::new() };
    must(&sim, &objects, restore);
    judged(&sim.bytes());
    assert!(letter(&sim.bytes()) == noise(40, 20_000));
}

#[test]
fn a_windows_that_sleeps_is_saved_whole_and_said_so() {
    let dir = tempfile::tempdir().unwrap();
    let (image, file) = (dir.path().join("windows"), dir.path().join("memory"));
    std::fs::write(&image, &pair().then[range(3)]).unwrap();
    let mut memory = noise(7, 65_536);
    memory[..4].copy_from_slice(b"HIBR");
    std::fs::write(&file, &memory).unwrap();
    run(tool("ntfscp", "ntfs-3g").arg("-f").arg(&image).arg(&file).arg("/hiberfil.sys"));
    let mut asleep = pair().then.clone();
    asleep[range(3)].copy_from_slice(&std::fs::read(&image).unwrap());

    let objects = Arc::new(Memory::new());
    let sim = Sim::new(asleep.clone());
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    let manifest = store(&objects).manifest(id).unwrap();
    let saved = manifest.volumes.iter().find(|v| v.path.number() == Some(3)).unwrap();
    assert_eq!((saved.method, saved.captured.0), (CaptureMethod::Raw, 24 << 20), "{saved:?}");
    assert_eq!(manifest.systems[1].assessment.termination.value, Termination::Hibernated);

    // Nothing that it has mounted is written without a word; itself it goes back as it went to sleep, every byte.
    let mut now = asleep.clone();
    now[range(4)].copy_from_slice(&pair().now[range(4)]);
    let sim = Sim::new(now);
    let plan = rolled_back(&sim, &objects, id, &[4]);
    assert!(plan.warnings.iter().any(|w| w.as_str().contains("may damage it when it wakes")), "{:?}", plan.warnings);
    let sim = Sim::new(pair().now.clone());
    let plan = rolled_back(&sim, &objects, id, &[3]);
    assert!(plan.warnings.iter().any(|w| w.as_str().contains("was saved asleep")), "{:?}", plan.warnings);
    assert!(sim.bytes()[range(3)] == asleep[range(3)]);
}
