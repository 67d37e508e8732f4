//! A machine whose root, /home and swap lie on LVM in an encrypted partition that cryptsetup made: unlocked, saved, taken back, cut off. Its
//! bytes on the disk are those that cryptsetup wrote, and must be again.

use crate::image::{MIB, run as host, tool};
use crate::on_lvm::{OnLvm, ROOT, methods};
use crate::sim::{Fault, Loss, Op, Sim, after_cut, engine, reset, store};
use disk::volume::luks::{self, Attempt};
use engine::Handle;
use engine::run::pending;
use model::command::{Command, ExitCode, ImageFormat, VolumeKey};
use model::coverage::CaptureMethod;
use model::event::Outcome;
use model::id::{SnapRef, SnapshotId, VolumePath};
use model::inspection::{Content, Inspection};
use model::luks::{Sealed, SealedRun};
use model::plan::RollbackPlan;
use model::ports::{ObjectStore, SectorCipher};
use model::snapshot::Manifest;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, Extent};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;
use std::sync::{Arc, OnceLock};
use store::backend::Memory;

/// The encrypted partition, in MiB; what is encrypted begins behind its first.
pub(crate) const LUKS: std::ops::Range<usize> = 5..24;
const PHYSICAL: usize = LUKS.start + 1;
/// The disk in clear, with nothing where the header of the encrypted partition comes.
pub(crate) const CLEAR: OnLvm = OnLvm {
    size: 25,
    partition: LUKS,
    kind: "8309",
    physical: PHYSICAL,
    mark: "eeee-4eee-8eee",
    system: "PRETTY_NAME=\"Debian\"\nID=debian\n",
};
pub(crate) const PASSPHRASE: &str = "correct horse";

/// What cryptsetup makes of bytes: behind a header of one MiB they lie encrypted, with as much behind them.
pub(crate) fn container(plain: &[u8], sector: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("container");
    // It moves what is there to behind the header, by half of what the volume shrinks by.
    let mut bytes = plain.to_vec();
    bytes.resize(plain.len() + 2 * MIB, 0);
    std::fs::write(&file, bytes).unwrap();
    let mut setup = tool("cryptsetup", "cryptsetup-bin");
    setup.args(["-q", "reencrypt", "--encrypt", "--type", "luks2", "--reduce-device-size", "2M", "--key-file", "-"]);
    setup.args(["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "512k", "--pbkdf", "argon2id"]);
    setup.args(["--pbkdf-force-iterations", "4", "--pbkdf-memory", "32", "--pbkdf-parallel", "1"]);
    with_passphrase(setup.args(["--sector-size", sector]).arg(&file));
    std::fs::read(file).unwrap()
}

/// Runs a command that is given the passphrase, and gives what it says.
pub(crate) fn with_passphrase(command: &mut std::process::Command) -> String {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), PASSPHRASE.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The same, its partition encrypted by cryptsetup.
fn encrypted(clear: &[u8]) -> Vec<u8> {
    let mut disk = clear.to_vec();
    let made = container(&clear[PHYSICAL * MIB..(LUKS.end - 1) * MIB], "4096");
    disk[LUKS.start * MIB..LUKS.end * MIB].copy_from_slice(&made);
    disk
}

/// What works with the volume key of a container.
pub(crate) fn cipher_of(container: &[u8]) -> Arc<dyn SectorCipher> {
    let header = luks::read(&container.to_vec()).unwrap().unwrap().header.unwrap();
    assert_eq!(header.payload.start().0, MIB as u64);
    let any = Attempt { memory: ByteLen(1 << 20), going: &|| true, trying: &|_, _| {} };
    let key = luks::open(&header, &container.to_vec(), PASSPHRASE.as_bytes(), &any).unwrap().key;
    let run = SealedRun { at: header.payload, counts: ByteOffset(0) };
    let (header, cipher, sector) = (header.identity(), header.cipher, header.sector);
    luks::cipher(&Sealed { header, cipher, sector, runs: vec![run] }, &key).unwrap()
}

/// What works with the volume key of a disk.
fn keyed(disk: &[u8]) -> Arc<dyn SectorCipher> {
    cipher_of(&disk[LUKS.start * MIB..LUKS.end * MIB])
}

const PAYLOAD: std::ops::Range<usize> = PHYSICAL * MIB..LUKS.end * MIB;

/// The disk with the payload in clear.
pub(crate) fn decrypted(disk: &[u8]) -> Vec<u8> {
    let mut out = disk.to_vec();
    keyed(disk).decrypt(ByteOffset(0), &mut out[PAYLOAD]);
    out
}

/// The disk in two states, under one key: cryptsetup encrypted the first, and the second is encrypted likewise.
pub(crate) fn machine() -> &'static (Vec<u8>, Vec<u8>) {
    static MACHINE: OnceLock<(Vec<u8>, Vec<u8>)> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let then = encrypted(&CLEAR.made(0));
        let mut now = CLEAR.made(1);
        now[LUKS.start * MIB..PAYLOAD.start].copy_from_slice(&then[LUKS.start * MIB..PAYLOAD.start]);
        keyed(&then).encrypt(ByteOffset(0), &mut now[PAYLOAD]);
        (then, now)
    })
}

pub(crate) fn ended(handle: &Handle, command: Command) -> Outcome {
    handle.run(command, &mut |_| {}, &mut |_, _| Some(true))
}

fn unlock(passphrase: &str, plain: bool) -> Command {
    let by = VolumeKey::new(passphrase.as_bytes().to_vec());
    Command::OpenVolume { volume: "d0/p3".parse().unwrap(), by, plain }
}

/// An engine in which the volume is unlocked, and may be saved in clear.
pub(crate) fn unlocked(sim: &Arc<Sim>, objects: &Arc<Memory>) -> Handle {
    let handle = engine(sim, objects);
    assert_eq!(ended(&handle, unlock(PASSPHRASE, true)), Outcome::Looked);
    handle
}

pub(crate) fn inspection(handle: &Handle) -> Inspection {
    handle.state().report.unwrap().inspection
}

/// Runs a command that must succeed, after unlocking.
fn must(sim: &Arc<Sim>, objects: &Arc<Memory>, command: Command) -> Outcome {
    let handle = unlocked(sim, objects);
    let outcome = ended(&handle, command);
    let log = handle.state().log;
    assert!(!matches!(outcome, Outcome::Failed(_) | Outcome::Cancelled(_) | Outcome::Declined), "{outcome:?}\n{log:?}");
    outcome
}

pub(crate) fn saved() -> (Arc<Memory>, SnapshotId, Manifest) {
    let objects = Arc::new(Memory::new());
    let sim = Sim::failing(machine().0.clone(), Fault::Lease);
    let Outcome::Saved { id, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else {
        panic!("not saved")
    };
    let manifest = store(&objects).manifest(id).unwrap();
    (objects, id, manifest)
}

fn back() -> Command {
    Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false }
}

pub(crate) fn plan_of(handle: &Handle, command: Command) -> RollbackPlan {
    let mut plan = None;
    handle.run(command, &mut |_| {}, &mut |_, p| {
        plan = Some(p.clone());
        Some(false)
    });
    plan.unwrap()
}

/// Whether the root that is saved lies on the disk, byte for byte as cryptsetup encrypted it.
pub(crate) fn holds(objects: &Arc<Memory>, id: SnapshotId, disk: &[u8]) -> Result<(), String> {
    let (store, then) = (store(objects), &machine().0);
    let manifest = store.manifest(id).unwrap();
    let path: VolumePath = "d0/p3/luks/target/root".parse().unwrap();
    let saved = manifest.volumes.iter().find(|v| v.path == path).unwrap();
    let (wanted, found) = (CLEAR.volume(then, &ROOT), CLEAR.volume(disk, &ROOT));
    let mut held = 0;
    for slice in store.map(saved.map).slices(Extent::whole(saved.extent.len())) {
        let slice = slice.unwrap();
        let part = usize::try_from(slice.extent.start().0).unwrap()..usize::try_from(slice.extent.end().0).unwrap();
        if wanted[part.clone()] != found[part.clone()] {
            return Err(format!("it differs within {part:?}"));
        }
        held += part.len();
    }
    assert!(held > MIB, "{held}");
    Ok(())
}

pub(crate) fn e2fsck(bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("fs");
    std::fs::write(&file, bytes).unwrap();
    host(tool("e2fsck", "e2fsprogs").arg("-fn").arg(file));
}

#[test]
fn locked_it_is_said_and_a_wrong_passphrase_is_counted() {
    let objects = Arc::new(Memory::new());
    let handle = engine(&Sim::failing(machine().0.clone(), Fault::Lease), &objects);
    ended(&handle, Command::Inspect);
    let seen = inspection(&handle);
    assert!(seen.systems.is_empty() && seen.layered.is_empty());
    assert_eq!(seen.locked().map(|v| v.path.to_string()).collect::<Vec<_>>(), ["d0/p3"]);
    assert!(seen.findings.iter().any(|f| f.says.as_str().contains("locked")), "{:?}", seen.findings);
    for count in ["1 try", "2 tries"] {
        let Outcome::Failed(wrong) = ended(&handle, unlock("correct hose", false)) else { panic!("opened") };
        assert!(wrong.code == ExitCode::Refused && wrong.says.as_str().contains(count), "{wrong}");
    }
    let elsewhere = Command::OpenVolume { volume: "d0/p1".parse().unwrap(), by: VolumeKey::new(vec![1]), plain: false };
    let Outcome::Failed(wrong) = ended(&handle, elsewhere) else { panic!("opened") };
    assert!(wrong.says.as_str().contains("no LUKS volume"), "{wrong}");
    assert_eq!(ended(&handle, unlock(PASSPHRASE, false)), Outcome::Looked);
    let seen = inspection(&handle);
    assert_eq!(seen.findings, []);
    assert_eq!(seen.systems[0].root.to_string(), "d0/p3/luks/target/root");
    let named = |list: &[(String, VolumePath)]| list.iter().map(|(at, v)| format!("{at} {v}")).collect::<Vec<_>>();
    assert_eq!(named(&seen.systems[0].boot), ["/boot/efi d0/p1"]);
    assert_eq!(named(&seen.systems[0].other), ["/home d0/p3/luks/target/home", "swap d0/p3/luks/target/swap-1"]);
    // The store is not encrypted, and nobody said that it may be so.
    let Outcome::Failed(refused) = ended(&handle, Command::Snapshot { full: false }) else { panic!("saved") };
    assert!(refused.code == ExitCode::Refused && refused.says.as_str().contains("in clear"), "{refused}");
    assert_eq!(store(&objects).list().unwrap().snapshots.len(), 0);
    // What was typed is nowhere in what every front end is sent.
    assert!(!serde_json::to_string(&handle.state()).unwrap().contains("horse"));
}

#[test]
fn what_lies_in_it_is_saved_and_the_rest_as_it_lies_there() {
    let (objects, id, manifest) = saved();
    let told = methods(&manifest);
    let used = CaptureMethod::UsedBlocks;
    let wanted = [
        ("d0/p1", used),
        ("d0/p3", used),
        ("d0/p3/luks/target/home", used),
        ("d0/p3/luks/target/root", used),
        ("d0/p3/luks/target/swap-1", CaptureMethod::HeaderOnly),
    ];
    assert_eq!(told, wanted.map(|(path, method)| (path.to_owned(), method)));
    holds(&objects, id, &machine().0).unwrap();
    // The header, LVM's own first MiB, and what lies behind the last extent: encrypted. No extent, used or not.
    let container = &manifest.volumes[1];
    let Content::Luks(info) = &container.content else { panic!("{:?}", container.content) };
    assert!(info.open);
    let store = store(&objects);
    let mut held = 0;
    for slice in store.map(container.map).slices(Extent::whole(container.extent.len())) {
        let slice = slice.unwrap();
        let at = LUKS.start * MIB + usize::try_from(slice.extent.start().0).unwrap();
        let bytes = store.read(&slice).unwrap();
        assert!(machine().0[at..at + bytes.len()] == bytes[..]);
        assert!(
            (0..15).all(|e| at >= CLEAR.range(e).end || at + bytes.len() <= CLEAR.range(e).start),
            "an extent was saved at {at}"
        );
        held += bytes.len();
    }
    assert!(held >= 2 * MIB, "{held}");
    // Nothing was written since: nothing of the file systems is read again.
    let sim = Sim::failing(machine().0.clone(), Fault::Lease);
    let Outcome::Saved { volumes, .. } = must(&sim, &objects, Command::Snapshot { full: false }) else { panic!() };
    let root = volumes.iter().find(|v| v.path.to_string() == "d0/p3/luks/target/root").unwrap();
    assert!(root.read < ByteLen(64 << 10), "{root:?}");
}

#[test]
fn a_rollback_encrypts_what_it_writes_and_is_undone() {
    let (objects, then, _) = saved();
    let before = machine().1.clone();
    let sim = Sim::new(before.clone());
    let handle = unlocked(&sim, &objects);
    let plan = plan_of(&handle, back());
    assert!(plan.is_usable(), "{:?}", plan.checks);
    let paths: Vec<String> = plan.volumes.iter().map(|v| v.path.to_string()).collect();
    assert_eq!(paths, ["d0/p3/luks/target/root", "d0/p1"]);
    drop(handle);
    must(&sim, &objects, back());
    let after = sim.bytes();
    holds(&objects, then, &after).unwrap();
    let plain = decrypted(&after);
    e2fsck(&CLEAR.volume(&plain, &ROOT));
    let same = |from: usize, to: usize| assert!(before[from..to] == after[from..to], "{from} to {to}");
    same(3 * MIB, (PHYSICAL + 1) * MIB);
    same(CLEAR.range(3).start, CLEAR.range(5).end);
    same(CLEAR.range(9).start, before.len());
    must(&sim, &objects, Command::PlanUndo { full: false });
    assert!(sim.bytes() == before, "exactly what was before");
}

#[test]
fn cut_off_it_is_finished_or_undone() {
    let (objects, then, _) = saved();
    let before = machine().1.clone();
    let sim = Sim::new(before.clone());
    must(&sim, &objects, back());
    let ops = sim.ops();
    let intents = objects.list("intents").unwrap();
    reset(&objects, &intents);
    let mut fenced = 0;
    for (n, loss) in [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2), Loss::All].into_iter().enumerate() {
        let at = 1 + n * (ops.len() - 2) / 4;
        let image = after_cut(&before, &ops, at, loss);
        let open = unlocked(&Sim::new(image.clone()), &objects);
        if pending::unfinished(&store(&objects), &inspection(&open)).unwrap().is_none() {
            let whole = holds(&objects, then, &image).is_ok();
            assert!(image == before || whole, "cut {at} of {}, {loss:?}", ops.len());
            continue;
        }
        fenced += 1;
        let forward = Sim::new(image.clone());
        must(&forward, &objects, Command::PlanResume);
        holds(&objects, then, &forward.bytes()).unwrap();
        reset(&objects, &intents);
        let undone = Sim::new(image);
        must(&undone, &objects, Command::PlanUndo { full: false });
        assert!(undone.bytes() == before, "cut {at} of {}, {loss:?}", ops.len());
        reset(&objects, &intents);
    }
    assert!(fenced >= 2, "{fenced} cuts left a fence");
    assert!(
        ops.iter().any(|op| matches!(op, Op::Write { at, .. } if *at == CLEAR.range(0).start)),
        "a fence stands in it"
    );
}

#[test]
fn what_is_locked_or_has_another_key_is_refused() {
    let (objects, ..) = saved();
    let failed = |plan: &RollbackPlan| {
        let failed = plan.checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.what, c.says));
        failed.collect::<Vec<_>>().join("\n")
    };
    let sim = Sim::failing(machine().1.clone(), Fault::Lease);
    let only = vec!["d0/p3/luks/target/root".parse().unwrap()];
    let rollback = Command::PlanRollback { to: SnapRef::Latest, only, full: false };
    // Locked, which machine it is cannot be told: the snapshot is named.
    let named = |command: Command| match command {
        Command::PlanRollback { only, full, .. } => {
            let id = store(&objects).list().unwrap().snapshots[0].0.to_string();
            Command::PlanRollback { to: SnapRef::Prefix(id), only, full }
        }
        other => other,
    };
    let says = failed(&plan_of(&engine(&sim, &objects), named(rollback)));
    assert!(says.contains("d0/p3 is locked; unlock that first"), "{says}");
    // Encrypted anew since: the volumes of LVM in it have the UUIDs that they had.
    let other = Sim::failing(encrypted(&CLEAR.made(1)), Fault::Lease);
    let says = failed(&plan_of(&unlocked(&other, &objects), named(back())));
    assert!(says.contains("with another key"), "{says}");
    // What was said of saving it in clear counts for what is saved before a rollback, too.
    let handle = engine(&sim, &objects);
    ended(&handle, unlock(PASSPHRASE, false));
    let says = failed(&plan_of(&handle, back()));
    assert!(says.contains("in clear"), "{says}");
    // Where it is no longer there to encrypt it, what lies in it comes out by its own name.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.img");
    let to = RawName(path.as_os_str().as_bytes().to_vec());
    let only = Some("d0/p3/luks/target/root".parse().unwrap());
    let command = Command::Export { snapshot: SnapRef::Latest, only, to, format: ImageFormat::Raw };
    let outcome = ended(&engine(&Sim::failing(vec![0; 1 << 16], Fault::Lease), &objects), command);
    assert!(matches!(outcome, Outcome::Exported(_)), "{outcome:?}");
    e2fsck(&std::fs::read(path).unwrap());
}
