//! A root on a thin volume, which is not read: what is said of it, what is saved of its pool, and how that comes back. The physical volumes are
//! LVM's own (`disk/tests/fixtures/lvm.sh`, `thin` and `onlythin`).

use crate::image::{MIB, fat, noise, run, tool};
use crate::on_lvm::physical;
use crate::restore::new_disk;
use crate::sim::{Sim, engine, must, store};
use engine::parser::Local;
use model::command::{Command, Onto};
use model::coverage::CaptureMethod;
use model::event::Outcome;
use model::id::{DiskNo, SnapRef};
use model::plan::RollbackPlan;
use model::ports::Devices;
use std::ops::Range;
use std::sync::Arc;
use store::backend::Memory;

const SIZE: usize = 21;
/// The physical volume, in MiB: its extents of 1 MiB begin behind its first.
const PHYSICAL: Range<usize> = 3..19;
/// The extents of the pool, as the fixtures have them: data, then metadata.
const POOL: [usize; 7] = [4, 5, 6, 7, 8, 9, 12];
const SWAP: Range<usize> = 0..2;

fn extent(n: usize) -> Range<usize> {
    let start = (PHYSICAL.start + 1 + n) * MIB;
    start..start + MIB
}

/// A disk with such a group, in a state.
fn disk(case: &str, state: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("disk");
    std::fs::write(&whole, vec![0; SIZE * MIB]).unwrap();
    let mut table = tool("sgdisk", "gdisk");
    table.args(["--disk-guid", "22222222-bbbb-4bbb-8bbb-000000000077"]);
    for (number, from, to, kind) in [(1, 1, PHYSICAL.start, "EF00"), (2, PHYSICAL.start, PHYSICAL.end, "8E00")] {
        table.arg("--new").arg(format!("{number}:{}:{}", from * 2048, to * 2048 - 1));
        table.arg("--typecode").arg(format!("{number}:{kind}"));
        table.arg("--partition-guid").arg(format!("{number}:33333333-cccc-4ccc-8ccc-00000000007{number}"));
    }
    run(table.arg(&whole));
    let mut bytes = std::fs::read(&whole).unwrap();
    bytes[MIB..PHYSICAL.start * MIB].copy_from_slice(&fat(dir.path(), &[("grubx64.efi", noise(state, 5000))]));
    bytes[PHYSICAL.start * MIB..(PHYSICAL.start + 1) * MIB].copy_from_slice(&physical(case));
    for n in POOL {
        bytes[extent(n)].copy_from_slice(&noise(100 + 50 * state + n as u64, MIB));
    }
    let swap = dir.path().join("swap");
    std::fs::write(&swap, vec![0; SWAP.len() * MIB]).unwrap();
    run(tool("mkswap", "util-linux").args(["-q", "-U", "11111111-aaaa-4aaa-8aaa-000000000077"]).arg(&swap));
    if case == "thin" {
        bytes[extent(SWAP.start).start..extent(SWAP.end).start].copy_from_slice(&std::fs::read(&swap).unwrap());
    }
    bytes
}

fn pool(disk: &[u8]) -> Vec<u8> {
    POOL.iter().flat_map(|n| disk[extent(*n)].to_vec()).collect()
}

fn rolled_back(sim: &Arc<Sim>, objects: &Arc<Memory>) -> RollbackPlan {
    let mut plan = None;
    let command = Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: true };
    let outcome = engine(sim, objects).run(command, &mut |_| {}, &mut |_, p| {
        plan = Some(p.clone());
        Some(true)
    });
    assert!(matches!(outcome, Outcome::WroteBack(_)), "{outcome:?}\n{plan:?}");
    plan.unwrap()
}

/// Beside a volume that is read the pool is saved byte for byte; it comes back with the whole disk, and the plan of a rollback says so.
#[test]
fn a_pool_beside_what_is_read_comes_back_with_the_whole_disk() {
    let then = disk("thin", 0);
    let sim = Sim::new(then.clone());
    let inspection = engine::gather::inspect(&sim.disks(), &Local::new(sim.disks()));
    let told = inspection.findings.iter().find(|f| f.says.as_str().contains("are not read")).unwrap();
    let says = told.says.as_str();
    assert!(
        says.contains("pool00 (it is of the kind thin-pool)") && says.contains("root (it is of the kind thin)"),
        "{says}"
    );
    assert!(told.advice.as_str().contains("saved byte for byte"), "{}", told.advice);
    assert!(inspection.systems.is_empty());
    let objects = Arc::new(Memory::new());
    must(&sim, &objects, Command::Snapshot { full: false });
    let (id, manifest) = store(&objects).find(&SnapRef::Latest, None).unwrap();
    let paths: Vec<String> = manifest.volumes.iter().map(|v| v.path.to_string()).collect();
    assert_eq!(paths, ["d0/p1", "d0/p2", "d0/p2/vg1/swap"], "{id:?}");
    // What LVM keeps, and the pool, data and metadata.
    assert_eq!(manifest.volumes[1].captured.0, ((1 + POOL.len()) * MIB) as u64);

    let now = disk("thin", 1);
    let sim = Sim::new(now.clone());
    let plan = rolled_back(&sim, &objects);
    assert!(pool(&sim.bytes()) == pool(&now), "it stays");
    let kept = plan.kept.iter().find(|(v, _)| v.to_string() == "d0/p2").unwrap();
    assert!(kept.1.as_str().contains("come back with the whole disk"), "{kept:?}");
    let warned = plan.warnings.iter().find(|w| w.as_str().contains("pool00, root of LVM group vg1 on d0/p2"));
    assert!(warned.is_some_and(|w| w.as_str().contains("`restore`")), "{:?}", plan.warnings);

    let sim = new_disk(vec![0; SIZE * MIB]);
    let onto = vec![Onto { saved: None, disk: DiskNo(0) }];
    let to = SnapRef::Prefix(id.to_string());
    must(&sim, &objects, Command::PlanRestore { to, onto, overwrite: Vec::new(), new_ids: false, grow: Vec::new() });
    let bytes = sim.bytes();
    assert!(pool(&bytes) == pool(&then), "the pool, byte for byte");
    let head = PHYSICAL.start * MIB..(PHYSICAL.start + 1) * MIB;
    assert!(bytes[head.clone()] == then[head], "label and metadata");
}

/// Where nothing of the group is read it is one thing: saved where everything is, and taken back as it was.
#[test]
fn a_group_of_thin_volumes_alone_is_saved_where_everything_is() {
    let then = disk("onlythin", 0);
    let sim = Sim::new(then.clone());
    let inspection = engine::gather::inspect(&sim.disks(), &Local::new(sim.disks()));
    let told = inspection.findings.iter().find(|f| f.says.as_str().contains("are not read")).unwrap();
    assert!(told.advice.as_str().contains("`--full` saves them"), "{}", told.advice);
    let objects = Arc::new(Memory::new());
    must(&sim, &objects, Command::Snapshot { full: true });
    let (_, manifest) = store(&objects).find(&SnapRef::Latest, None).unwrap();
    let saved = manifest.volumes.iter().find(|v| v.path.to_string() == "d0/p2").unwrap();
    assert_eq!((saved.method, saved.captured.0), (CaptureMethod::Raw, (PHYSICAL.len() * MIB) as u64), "{saved:?}");
    let sim = Sim::new(disk("onlythin", 1));
    rolled_back(&sim, &objects);
    assert!(pool(&sim.bytes()) == pool(&then), "the pool, byte for byte");
}
