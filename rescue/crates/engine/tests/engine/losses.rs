//! What a plan loses is told beside it: it decides nothing, holds up nothing, and ends where somebody decides.

use crate::image::machine;
use crate::sim::{Hasty, Sim, Ticking, engine, must};
use disk::table::TableReading;
use engine::parser::{Asked, Local, Parser, ParserError, Scene, State};
use engine::{Config, Engine, Handle, StorePlace};
use model::command::Command;
use model::coverage::Coverage;
use model::differences::{Differences, FsDifferences, Losses};
use model::event::{Happening, Outcome};
use model::evidence::Evidence;
use model::id::{DiskNo, PlanId, SnapRef, VolumePath};
use model::inspection::{Content, Finding, Inspection, System, Volume};
use model::ports::Devices;
use model::units::Extent;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::DecodeHere;
use store::backend::Memory;

const LATEST: Command = Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false };

/// How a parser compares.
#[derive(Clone, Copy)]
enum Compares {
    /// As it does.
    Well,
    /// Not before somebody wants it to stop.
    Never,
}

/// A parser that gathers no evidence, and compares in a way of its own.
struct Comparing {
    inner: Hasty,
    all: Local,
    how: Compares,
    stopped: Arc<AtomicBool>,
}

impl Parser for Comparing {
    fn table(&self, disk: DiskNo) -> Result<TableReading, ParserError> {
        self.inner.table(disk)
    }
    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        self.inner.content(volume, extent)
    }
    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
        self.inner.systems(inspection)
    }
    fn evidence(&self, scene: &Scene, want: usize) -> Result<Vec<Evidence>, ParserError> {
        self.inner.evidence(scene, want)
    }
    fn coverage(&self, volume: &Volume) -> Result<Coverage, ParserError> {
        self.inner.coverage(volume)
    }
    fn differences(
        &self,
        before: &State,
        after: &State,
        asked: &Asked,
        going: &dyn Fn() -> bool,
    ) -> Result<FsDifferences, ParserError> {
        match self.how {
            Compares::Well => self.all.differences(before, after, asked, going),
            Compares::Never => {
                while going() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                self.stopped.store(true, Ordering::Relaxed);
                self.inner.differences(before, after, asked, going)
            }
        }
    }
}

impl DecodeHere for Comparing {}

fn comparing(sim: &Arc<Sim>, objects: &Arc<Memory>, how: Compares) -> (Handle, Arc<AtomicBool>) {
    let stopped = Arc::new(AtomicBool::new(false));
    let (inner, all) = (Hasty(Local::new(sim.disks())), Local::new(sim.disks()));
    let handle = Engine::start(Config {
        devices: sim.clone(),
        parser: Arc::new(Comparing { inner, all, how, stopped: stopped.clone() }),
        store: Some(StorePlace::Objects { objects: objects.clone(), create: true }),
        other: None,
        sticks: None,
        heads: None,
        clock: Arc::new(Ticking::default()),
    });
    (handle, stopped)
}

fn saved() -> Arc<Memory> {
    let objects = Arc::new(Memory::new());
    must(&Sim::new(machine().then.clone()), &objects, Command::Snapshot { full: false });
    objects
}

/// Waits for what a plan loses, and leaves it.
fn losses(handle: &Handle) -> (PlanId, Losses) {
    let mut told = None;
    let outcome = handle.run_told(LATEST, &mut |_| {}, &mut |question| {
        told = question.losses.clone().map(|losses| (question.id, losses));
        told.is_some().then_some(false)
    });
    assert_eq!(outcome, Outcome::Declined);
    told.unwrap()
}

#[test]
fn what_a_plan_loses_is_what_differs_and_no_part_of_it() {
    let objects = saved();
    let sim = Sim::new(machine().now.clone());
    let (handle, _) = comparing(&sim, &objects, Compares::Well);
    let (id, told) = losses(&handle);
    let differences = told.differences.unwrap();
    let outcome =
        handle
            .run(Command::Compare { before: SnapRef::Latest, after: None, text: false }, &mut |_| {}, &mut |_, _| None);
    let Outcome::Compared(all) = outcome else { panic!("{outcome:?}") };
    assert_eq!((differences.before, differences.after), (all.before, None));
    assert!(!differences.volumes.is_empty());
    let counted = |d: &Differences, path: &VolumePath| {
        let volume = d.volumes.iter().find(|v| v.after.as_ref() == Some(path)).unwrap();
        volume.files.as_ref().map(|f| f.counts).map_err(Clone::clone)
    };
    for volume in &differences.volumes {
        let path = volume.after.as_ref().unwrap();
        assert_eq!(counted(&differences, path), counted(&all, path), "{path}");
    }
    assert!(differences.counts().total() > 0, "{differences:?}");
    // A parser that cannot compare says so; the plan is the same one, and can be carried out.
    let hasty = engine(&sim, &objects);
    let (other, untold) = losses(&hasty);
    assert_eq!(other, id, "losses are no part of a plan");
    let volumes = untold.differences.unwrap().volumes;
    assert!(volumes.iter().all(|v| v.files.is_err()), "{volumes:?}");
    assert!(sim.ops().is_empty(), "nothing was written");
    assert!(matches!(must(&sim, &objects, LATEST), Outcome::WroteBack(_)));
}

#[test]
fn whoever_decides_need_not_wait() {
    let objects = saved();
    let sim = Sim::new(machine().now.clone());
    let (handle, stopped) = comparing(&sim, &objects, Compares::Never);
    let mut told = 0;
    let outcome =
        handle.run(LATEST, &mut |event| told += u32::from(matches!(event.what, Happening::Losses(_))), &mut |_, _| {
            Some(true)
        });
    assert!(matches!(outcome, Outcome::WroteBack(_)), "{outcome:?}");
    assert!(stopped.load(Ordering::Relaxed));
    assert_eq!(told, 0, "what nobody waits for is not told");

    let sim = Sim::new(machine().now.clone());
    let (handle, stopped) = comparing(&sim, &saved(), Compares::Never);
    let outcome = handle.clone().run(LATEST, &mut |_| {}, &mut |_, _| {
        handle.submit(Command::Cancel);
        None
    });
    assert!(matches!(outcome, Outcome::Cancelled(_)), "{outcome:?}");
    assert!(stopped.load(Ordering::Relaxed) && sim.ops().is_empty());
}
