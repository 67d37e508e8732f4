//! What was saved of an unlocked volume, put onto an empty disk: under the header that it had, encrypted as cryptsetup had encrypted it.

use crate::encrypted::{
    CLEAR, LUKS, PASSPHRASE, decrypted, e2fsck, ended, holds, inspection, machine, plan_of, saved, unlocked,
    with_passphrase,
};
use crate::image::{MIB, tool};
use crate::on_lvm::{HOME, ROOT, SWAP};
use crate::restore::{new_disk, onto_d0};
use crate::sim::{Fault, Loss, Sim, after_cut, engine, reset};
use engine::Handle;
use model::command::{Command, ExitCode, ImageFormat, VolumeKey};
use model::event::Outcome;
use model::id::SnapRef;
use model::plan::RollbackPlan;
use model::ports::ObjectStore;
use model::text::RawName;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use store::backend::Memory;

fn open_saved(passphrase: &str) -> Command {
    let by = VolumeKey::new(passphrase.as_bytes().to_vec());
    Command::OpenSaved { snapshot: SnapRef::Latest, volume: "d0/p3".parse().unwrap(), by }
}

/// An engine in which the saved volume is unlocked.
fn opened(sim: &Arc<Sim>, objects: &Arc<Memory>) -> Handle {
    let handle = engine(sim, objects);
    assert_eq!(ended(&handle, open_saved(PASSPHRASE)), Outcome::Looked);
    handle
}

fn failed(plan: &RollbackPlan) -> String {
    let failed = plan.checks.iter().filter(|c| !c.ok).map(|c| format!("{}: {}", c.what, c.says));
    failed.collect::<Vec<_>>().join("\n")
}

fn wrote(handle: &Handle, command: Command) {
    let outcome = ended(handle, command);
    assert!(matches!(outcome, Outcome::WroteBack(_)), "{outcome:?}\n{:?}", handle.state().log);
}

fn export(handle: &Handle, only: Option<&str>) -> Result<Vec<u8>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let to = RawName(path.as_os_str().as_bytes().to_vec());
    let only = only.map(|o| o.parse().unwrap());
    match ended(handle, Command::Export { snapshot: SnapRef::Latest, only, to, format: ImageFormat::Raw }) {
        Outcome::Exported(_) => Ok(std::fs::read(path).unwrap()),
        Outcome::Failed(f) => Err(f.to_string()),
        other => panic!("{other:?}"),
    }
}

/// What cryptsetup says of the key of the container on a disk.
fn volume_key(disk: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("container");
    std::fs::write(&file, &disk[LUKS.start * MIB..LUKS.end * MIB]).unwrap();
    let mut dump = tool("cryptsetup", "cryptsetup-bin");
    let says = with_passphrase(dump.args(["-q", "luksDump", "--dump-volume-key", "--key-file", "-"]).arg(file));
    assert!(says.contains("MK dump"), "{says}");
    says.lines().filter(|l| !l.contains("LUKS header information for")).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_empty_disk_holds_it_as_cryptsetup_had_it() {
    let (objects, then, _) = saved();
    let was = &machine().0;
    let sim = new_disk(vec![0; was.len()]);
    // Nobody said what opens it.
    let handle = engine(&sim, &objects);
    let says = failed(&plan_of(&handle, onto_d0(&[])));
    assert!(says.contains("d0/p3 of the snapshot is unlocked") && says.contains("--unlock d0/p3"), "{says}");
    let Outcome::Failed(refused) = ended(&handle, onto_d0(&[])) else { panic!("written") };
    assert_eq!(refused.code, ExitCode::Refused);
    let Outcome::Failed(wrong) = ended(&handle, open_saved("correct hose")) else { panic!("opened") };
    assert!(wrong.code == ExitCode::Refused && wrong.says.as_str().contains("1 try"), "{wrong}");
    let by = VolumeKey::new(vec![1]);
    let other = Command::OpenSaved { snapshot: SnapRef::Latest, volume: "d0/p1".parse().unwrap(), by };
    let Outcome::Failed(wrong) = ended(&handle, other) else { panic!("opened") };
    assert!(wrong.to_string().contains("d0/p1 is no LUKS volume; what has to be unlocked of it: d0/p3"), "{wrong}");
    assert!(sim.ops().is_empty(), "nothing was written");
    drop(handle);

    let handle = opened(&sim, &objects);
    let plan = plan_of(&handle, onto_d0(&[]));
    assert!(plan.is_usable(), "{}", failed(&plan));
    wrote(&handle, onto_d0(&[]));
    // What is written has the key that was given: it is seen without being asked for again.
    assert_eq!(inspection(&handle).systems[0].root.to_string(), "d0/p3/luks/target/root");
    let bytes = sim.bytes();
    holds(&objects, then, &bytes).unwrap();
    let same = |from: usize, to: usize, what: &str| assert!(was[from..to] == bytes[from..to], "{what}");
    same(LUKS.start * MIB, (LUKS.start + 1) * MIB, "header and key slots");
    same((LUKS.start + 1) * MIB, (LUKS.start + 2) * MIB, "LVM's own, as it lay there encrypted");
    assert_eq!(volume_key(&bytes), volume_key(was));
    let plain = decrypted(&bytes);
    for volume in [&ROOT[..], &HOME] {
        e2fsck(&CLEAR.volume(&plain, volume));
    }
    let swap = |disk: &[u8]| CLEAR.volume(disk, &SWAP)[..4096].to_vec();
    assert_eq!(swap(&bytes), swap(was));
    assert!(bytes[CLEAR.range(12)].iter().all(|b| *b == 0), "what nobody has is not brought along");
    // The next snapshot goes on from it; and files go back and forth as on the disk it was saved of.
    drop(handle);
    let handle = unlocked(&sim, &objects);
    wrote(&handle, Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false });
    assert!(sim.bytes() == bytes);
}

#[test]
fn an_image_of_the_disk_is_what_a_restore_is() {
    let (objects, ..) = saved();
    let none = Sim::failing(vec![0; 1 << 16], Fault::Lease);
    let says = export(&engine(&none, &objects), None).unwrap_err();
    assert!(says.contains("d0/p3 of the snapshot is encrypted") && says.contains("--unlock d0/p3"), "{says}");
    let handle = opened(&none, &objects);
    let image = export(&handle, None).unwrap();
    let sim = new_disk(vec![0; image.len()]);
    wrote(&opened(&sim, &objects), onto_d0(&[]));
    let bytes = sim.bytes();
    // At the ends of volumes a restore clears what may be taken for a superblock.
    let until = CLEAR.range(14).start;
    let differs = image[MIB..until].iter().zip(&bytes[MIB..until]).position(|(a, b)| a != b);
    assert_eq!(differs.map(|at| at + MIB), None);
    let alone = export(&handle, Some("d0/p3")).unwrap();
    assert!(alone[..] == image[LUKS.start * MIB..LUKS.end * MIB], "the container by itself");
}

#[test]
fn cut_off_it_is_finished_with_its_key() {
    let (objects, then, _) = saved();
    let before = vec![0xa5; machine().0.len()];
    let whole = new_disk(before.clone());
    wrote(&opened(&whole, &objects), onto_d0(&["NEW"]));
    let (ops, after) = (whole.ops(), whole.bytes());
    let intents = objects.list("intents").unwrap();
    reset(&objects, &intents);
    let mut fenced = 0;
    for (n, loss) in [Loss::All, Loss::Nothing, Loss::Torn(1), Loss::Torn(2), Loss::All].into_iter().enumerate() {
        let at = 1 + n * (ops.len() - 2) / 4;
        let half = after_cut(&before, &ops, at, loss);
        let sim = new_disk(half.clone());
        let handle = engine(&sim, &objects);
        ended(&handle, Command::Inspect);
        if inspection(&handle).fences().next().is_none() {
            assert!(half == before || half == after, "cut {at} of {}, {loss:?}", ops.len());
            continue;
        }
        fenced += 1;
        // Without it, nothing is written; the volume is called as the snapshot has it, for there is none here.
        let says = failed(&plan_of(&handle, Command::PlanResume));
        assert!(says.contains("d0/p3 of the snapshot is unlocked"), "{says}");
        assert!(matches!(ended(&handle, Command::PlanResume), Outcome::Failed(f) if f.code == ExitCode::Refused));
        assert!(sim.bytes() == half);
        let by = VolumeKey::new(PASSPHRASE.as_bytes().to_vec());
        let open = Command::OpenVolume { volume: "d0/p3".parse().unwrap(), by, plain: false };
        assert_eq!(ended(&handle, open), Outcome::Looked);
        wrote(&handle, Command::PlanResume);
        assert!(sim.bytes() == after, "cut {at} of {}, {loss:?}", ops.len());
        holds(&objects, then, &sim.bytes()).unwrap();
        reset(&objects, &intents);
    }
    assert!(fenced >= 3, "{fenced} cuts left a fence");
}

/// A policy unlocks what it names with a key file that lies beside it; where it cannot, it says so and goes on without.
#[test]
fn a_policy_unlocks_what_it_names() {
    use model::command::PolicyText;
    use model::policy::{Acted, Manner};
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("right"), PASSPHRASE).unwrap();
    std::fs::write(dir.path().join("wrong"), "correct hose").unwrap();
    std::os::unix::fs::symlink(dir.path().join("right"), dir.path().join("link")).unwrap();
    let keys = RawName(dir.path().as_os_str().as_bytes().to_vec());
    let uuid = {
        let (_, _, manifest) = saved();
        let model::inspection::Content::Luks(info) = &manifest.volumes[1].content else { panic!() };
        info.uuid.clone()
    };
    let auto = |of: &str, more: &str| -> (Acted, Vec<String>) {
        let objects = Arc::new(Memory::new());
        let handle = engine(&Sim::failing(machine().0.clone(), Fault::Lease), &objects);
        let text = format!("[unlock]\n{uuid} = {of}\n{more}");
        let policy = Some(PolicyText(Ok(text.into_bytes())));
        let command = Command::Auto { policy, keys: Some(keys.clone()), manner: Manner::Asked };
        let Outcome::Acted(acted) = ended(&handle, command) else { panic!("{:?}", handle.state().log) };
        let saved = acted.saved.as_ref().map(|s| crate::sim::store(&objects).manifest(s.id).unwrap());
        let paths = saved.iter().flat_map(|m| &m.volumes).map(|v| v.path.to_string()).collect();
        (*acted, paths)
    };
    let (acted, paths) = auto("right", "allow-plain = yes\n");
    assert!(acted.locked.is_empty() && paths.contains(&"d0/p3/luks/target/root".to_owned()), "{acted:?}");
    for (file, more, why) in [
        ("right", "", "would be saved in clear"),
        ("wrong", "allow-plain = yes\n", "its key file wrong does not do"),
        ("none", "allow-plain = yes\n", "its key file none cannot be read"),
        ("link", "allow-plain = yes\n", "it is no plain file"),
    ] {
        let (acted, paths) = auto(file, more);
        assert!(matches!(&acted.locked[..], [one] if one.as_str().contains(why)), "{acted:?}");
        assert_eq!(paths, ["d0/p1"], "as locked volumes are");
    }
    let (_, paths) = auto("wrong", "allow-plain = yes\n[save]\nnot-understood = save\n");
    assert_eq!(paths, ["d0/p1", "d0/p3"], "every byte of it, as it lies there");
}
