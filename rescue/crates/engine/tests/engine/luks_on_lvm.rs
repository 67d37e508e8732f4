//! A machine whose root lies in an encrypted volume that is a logical volume itself, as openSUSE lays it out: in two pieces on the disk.

use crate::encrypted::{PASSPHRASE, cipher_of, container, e2fsck, ended, inspection, plan_of};
use crate::image::{MIB, ext, noise, write};
use crate::on_lvm::{OnLvm, ROOT, methods};
use crate::restore::{new_disk, onto_d0};
use crate::sim::{Fault, Loss, Sim, after_cut, engine, reset, store};
use engine::Handle;
use model::command::{Command, VolumeKey};
use model::coverage::CaptureMethod;
use model::event::Outcome;
use model::id::{SnapRef, SnapshotId};
use model::ports::ObjectStore;
use model::snapshot::Manifest;
use model::units::{ByteOffset, Extent};
use std::sync::{Arc, OnceLock};
use store::backend::Memory;

const DISK: OnLvm = OnLvm {
    size: 22,
    partition: 5..21,
    kind: "8E00",
    physical: 5,
    mark: "dddd-4ddd-8ddd",
    system: "PRETTY_NAME=\"openSUSE\"\nID=opensuse\n",
};
const CRYPT: &str = "d0/p3/target/root";
const INSIDE: &str = "d0/p3/target/root/luks";
/// Bytes of the file system in it.
const FS: usize = 4 * MIB;

/// The root of a state.
fn root(state: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("root");
    std::fs::create_dir_all(tree.join("home")).unwrap();
    write(&tree, "etc/os-release", DISK.system);
    write(&tree, "etc/machine-id", "1123456789abcdef0123456789abcdef\n");
    let uuid = DISK.uuid(1, 1);
    write(&tree, "etc/fstab", format!("UUID={uuid} / ext4 defaults 0 1\n/dev/target/home /home ext4 defaults 0 2\n"));
    write(&tree, "usr/sbin/init", noise(7, 3000));
    write(&tree, "usr/share/same", noise(8, 1_200_000));
    write(&tree, "var/lib/data", noise(100 + state, 300_000));
    if state == 1 {
        write(&tree, "var/lib/more", noise(9, 400_000));
    }
    ext(dir.path(), "c", &tree, &uuid, FS, true)
}

/// The disk in two states, under one key.
fn machine() -> &'static (Vec<u8>, Vec<u8>) {
    static MACHINE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let mut then = DISK.made(0);
        let crypt = container(&root(0), "512");
        DISK.put(&mut then, &ROOT, &crypt);
        let mut now = then.clone();
        let mut changed = crypt.clone();
        let mut inside = root(1);
        cipher_of(&crypt).encrypt(ByteOffset(0), &mut inside);
        changed[MIB..MIB + FS].copy_from_slice(&inside);
        DISK.put(&mut now, &ROOT, &changed);
        (then, now)
    })
}

/// The file system in it, in clear.
fn inside(disk: &[u8]) -> Vec<u8> {
    let crypt = DISK.volume(disk, &ROOT);
    let mut bytes = crypt[MIB..MIB + FS].to_vec();
    cipher_of(&crypt).decrypt(ByteOffset(0), &mut bytes);
    bytes
}

fn unlocked(sim: &Arc<Sim>, objects: &Arc<Memory>) -> Handle {
    let handle = engine(sim, objects);
    let by = VolumeKey::new(PASSPHRASE.as_bytes().to_vec());
    let open = Command::OpenVolume { volume: CRYPT.parse().unwrap(), by, plain: true };
    assert_eq!(ended(&handle, open), Outcome::Looked, "{:?}", handle.state().log);
    handle
}

fn must(handle: &Handle, command: Command) -> Outcome {
    let outcome = ended(handle, command);
    let ended = matches!(outcome, Outcome::Saved { .. } | Outcome::WroteBack(_));
    assert!(ended, "{outcome:?}\n{:?}", handle.state().log);
    outcome
}

fn saved() -> (Arc<Memory>, SnapshotId, Manifest) {
    let objects = Arc::new(Memory::new());
    let sim = Sim::failing(machine().0.clone(), Fault::Lease);
    let Outcome::Saved { id, .. } = must(&unlocked(&sim, &objects), Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    let manifest = store(&objects).manifest(id).unwrap();
    (objects, id, manifest)
}

fn back() -> Command {
    Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false }
}

/// All that was saved of the file system is on the disk.
fn holds(objects: &Arc<Memory>, manifest: &Manifest, disk: &[u8]) -> Result<(), String> {
    let saved = manifest.volumes.iter().find(|v| v.path.to_string() == INSIDE).unwrap();
    let (wanted, found) = (inside(&machine().0), inside(disk));
    for slice in store(objects).map(saved.map).slices(Extent::whole(saved.extent.len())) {
        let extent = slice.unwrap().extent;
        let part = usize::try_from(extent.start().0).unwrap()..usize::try_from(extent.end().0).unwrap();
        if wanted.get(part.clone()) != found.get(part.clone()) {
            return Err(format!("it differs within {part:?}"));
        }
    }
    Ok(())
}

#[test]
fn it_is_seen_saved_taken_back_and_undone() {
    let (objects, _, manifest) = saved();
    let told = methods(&manifest);
    let used = CaptureMethod::UsedBlocks;
    let wanted = [
        ("d0/p1", used),
        ("d0/p3", used),
        ("d0/p3/target/home", used),
        (CRYPT, used),
        (INSIDE, used),
        ("d0/p3/target/swap-1", CaptureMethod::HeaderOnly),
    ];
    let named: Vec<(String, CaptureMethod)> = wanted.map(|(path, method)| (path.to_owned(), method)).to_vec();
    assert!(named.iter().all(|n| told.contains(n)) && told.len() == named.len(), "{told:?}");
    // Its header, and nothing of what lies in it.
    let crypt = manifest.volumes.iter().find(|v| v.path.to_string() == CRYPT).unwrap();
    assert_eq!(crypt.captured.0, MIB as u64);

    let before = machine().1.clone();
    let sim = Sim::new(before.clone());
    let handle = unlocked(&sim, &objects);
    assert_eq!(inspection(&handle).systems[0].root.to_string(), INSIDE);
    let plan = plan_of(&handle, back());
    assert!(plan.is_usable(), "{:?}", plan.checks);
    must(&handle, back());
    let after = sim.bytes();
    holds(&objects, &manifest, &after).unwrap();
    e2fsck(&inside(&after));
    must(&handle, Command::PlanUndo { full: false });
    assert!(sim.bytes() == before, "exactly what was before");
}

#[test]
fn cut_off_it_is_finished_or_undone() {
    let (objects, _, manifest) = saved();
    let before = machine().1.clone();
    let sim = Sim::new(before.clone());
    must(&unlocked(&sim, &objects), back());
    let ops = sim.ops();
    let intents = objects.list("intents").unwrap();
    reset(&objects, &intents);
    let mut fenced = 0;
    for (n, loss) in [Loss::All, Loss::Torn(1), Loss::Nothing].into_iter().enumerate() {
        let image = after_cut(&before, &ops, 2 + n * (ops.len() - 3) / 3, loss);
        let forward = Sim::new(image.clone());
        let handle = unlocked(&forward, &objects);
        if inspection(&handle).fences().next().is_none() {
            assert!(image == before || holds(&objects, &manifest, &image).is_ok());
            continue;
        }
        fenced += 1;
        must(&handle, Command::PlanResume);
        holds(&objects, &manifest, &forward.bytes()).unwrap();
        reset(&objects, &intents);
        let undone = Sim::new(image);
        must(&unlocked(&undone, &objects), Command::PlanUndo { full: false });
        assert!(undone.bytes() == before, "{loss:?}");
        reset(&objects, &intents);
    }
    assert!(fenced >= 2, "{fenced} cuts left a fence");
}

#[test]
fn an_empty_disk_holds_it_in_its_pieces() {
    let (objects, _, manifest) = saved();
    let was = &machine().0;
    let sim = new_disk(vec![0; was.len()]);
    let handle = engine(&sim, &objects);
    assert!(!plan_of(&handle, onto_d0(&[])).is_usable(), "it is locked");
    let by = VolumeKey::new(PASSPHRASE.as_bytes().to_vec());
    let open = Command::OpenSaved { snapshot: SnapRef::Latest, volume: CRYPT.parse().unwrap(), by };
    assert_eq!(ended(&handle, open), Outcome::Looked);
    must(&handle, onto_d0(&[]));
    let bytes = sim.bytes();
    let crypt = |disk: &[u8]| DISK.volume(disk, &ROOT);
    assert!(crypt(&bytes)[..MIB] == crypt(was)[..MIB], "header and key slots");
    holds(&objects, &manifest, &bytes).unwrap();
    e2fsck(&inside(&bytes));
    assert_eq!(inspection(&handle).systems[0].root.to_string(), INSIDE);
}
