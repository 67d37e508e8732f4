//! Boot entries of the firmware: saved with the machine, restored with what they start, and undone; the power is cut between the
//! writes of the variables too.

use crate::boot_disk::{Made, Making};
use crate::crash::look;
use crate::image::{MIB, machine};
use crate::sim::{Hasty, Loss, Sim, Ticking, after_cut, holds, reset, store};
use engine::parser::{Local, Parser};
use engine::{Config, Engine, Handle, StorePlace};
use model::assessment::Report;
use model::boot::{LinkPart, LinkState, Way};
use model::command::{Command, Onto};
use model::event::{Happening, Outcome};
use model::evidence::Fact;
use model::firmware::{BOOT_ATTRIBUTES, Value, Variable, name_of, order_value};
use model::id::{DiskNo, SnapRef};
use model::ports::{BootVariables, Devices, DiskSource, LeaseError, LeaseRequest, ObjectStore, WriteLease};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use store::backend::Memory;

type Vars = BTreeMap<String, Value>;

/// A machine with firmware: what its variables are, and after which write to the disk each was changed.
struct Board {
    sim: Arc<Sim>,
    vars: Mutex<Vars>,
    changes: Mutex<Vec<(usize, Vars)>>,
    full: bool,
    named: bool,
    crashes: Vec<String>,
}

impl Board {
    fn new(bytes: Vec<u8>, vars: Vars) -> Arc<Self> {
        Arc::new(Self {
            sim: Sim::new(bytes),
            vars: Mutex::new(vars),
            changes: Mutex::default(),
            full: false,
            named: false,
            crashes: Vec::new(),
        })
    }

    fn vars(&self) -> Vars {
        self.vars.lock().unwrap().clone()
    }

    fn change(&self, change: impl FnOnce(&mut Vars)) -> io::Result<()> {
        if self.full {
            return Err(io::Error::from_raw_os_error(28));
        }
        let mut vars = self.vars.lock().unwrap();
        change(&mut vars);
        self.changes.lock().unwrap().push((self.sim.ops().len(), vars.clone()));
        Ok(())
    }

    fn engine(self: &Arc<Self>, parser: Arc<dyn Parser>, objects: &Arc<Memory>) -> Handle {
        Engine::start(Config {
            devices: Arc::new(Owner(self.clone())),
            parser,
            store: Some(StorePlace::Objects { objects: objects.clone(), create: true }),
            other: None,
            sticks: None,
            heads: None,
            clock: Arc::new(Ticking::default()),
        })
    }

    /// What a look tells.
    fn report(self: &Arc<Self>, objects: &Arc<Memory>) -> Report {
        let mut report = None;
        let mut told = |event: &model::event::Event| {
            if let Happening::Report(told) = &event.what {
                report = Some((**told).clone());
            }
        };
        self.engine(Arc::new(Local::new(self.sim.disks())), objects).run(Command::Inspect, &mut told, &mut |_, _| None);
        report.unwrap()
    }

    fn run(self: &Arc<Self>, objects: &Arc<Memory>, command: Command) -> Outcome {
        let handle = self.engine(Arc::new(Hasty(Local::new(self.sim.disks()))), objects);
        let outcome = handle.run(command.clone(), &mut |_| {}, &mut |_, _| Some(true));
        assert!(matches!(outcome, Outcome::WroteBack(_) | Outcome::Saved { .. }), "{command:?}: {outcome:?}");
        outcome
    }
}

struct Owner(Arc<Board>);

impl BootVariables for Owner {
    fn read_all(&self) -> io::Result<Vec<Variable>> {
        let variable = |(name, value)| Variable { name, attributes: BOOT_ATTRIBUTES, value };
        Ok(self.0.vars().into_iter().map(variable).collect())
    }
    fn crash_records(&self) -> io::Result<Vec<String>> {
        Ok(self.0.crashes.clone())
    }
    fn set(&self, variable: &Variable) -> io::Result<()> {
        assert_eq!(variable.attributes, BOOT_ATTRIBUTES);
        self.0.change(|vars| drop(vars.insert(variable.name.clone(), variable.value.clone())))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.change(|vars| drop(vars.remove(name)))
    }
}

impl Devices for Owner {
    fn disks(&self) -> Vec<DiskSource> {
        self.0.sim.disks()
    }
    fn lease(&self, request: &LeaseRequest) -> Result<Box<dyn WriteLease>, LeaseError> {
        self.0.sim.lease(request)
    }
    fn boot_variables(&self) -> Option<Arc<dyn BootVariables>> {
        Some(Arc::new(Self(self.0.clone())))
    }
    fn are_named(&self) -> bool {
        self.0.named
    }
}

fn node(kind: u8, sub: u8, bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(4 + bytes.len()).unwrap();
    [&[kind, sub][..], &len.to_le_bytes(), bytes].concat()
}

fn units(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

/// An entry for the ESP of the machine.
fn on_esp(label: &str, file: &str) -> Value {
    on_partition([0x33, 0x33, 0x33, 0x33, 0xcc, 0xcc, 0xcc, 0x4c, 0x8c, 0xcc, 0, 0, 0, 0, 0, 1], label, file)
}

/// An entry for the first partition, which has this GUID, as efibootmgr makes it.
fn on_partition(guid: [u8; 16], label: &str, file: &str) -> Value {
    let place = [&1u32.to_le_bytes()[..], &2048u64.to_le_bytes(), &4096u64.to_le_bytes()].concat();
    let path = [node(4, 1, &[&place[..], &guid, &[2, 2]].concat()), node(4, 4, &units(file)), node(0x7f, 0xff, &[])];
    entry(label, &path.concat())
}

fn entry(label: &str, path: &[u8]) -> Value {
    let len = u16::try_from(path.len()).unwrap();
    Value([&1u32.to_le_bytes()[..], &len.to_le_bytes(), &units(label), path].concat())
}

fn stick() -> Value {
    entry("USB", &[node(3, 5, &[1, 2]), node(0x7f, 0xff, &[])].concat())
}

fn vars(order: &[u16], entries: &[(u16, Value)]) -> Vars {
    let entries = entries.iter().map(|(n, value)| (name_of(*n), value.clone()));
    entries.chain([("BootOrder".to_owned(), order_value(order))]).collect()
}

/// With everything in its place; and after something took the machine's own entry away, and put a stick in front.
fn then_and_now() -> [Vars; 2] {
    let debian = on_esp("debian", "\\EFI\\debian\\shimx64.efi");
    [
        vars(&[1, 2], &[(1, debian), (2, stick())]),
        vars(&[4, 2], &[(2, stick()), (4, entry("PXE", &node(0x7f, 0xff, &[])))]),
    ]
}

const BACK: Command = Command::PlanRollback { to: SnapRef::Latest, only: Vec::new(), full: false };

#[test]
fn what_starts_the_machine_goes_back_with_it() {
    let [then, now] = then_and_now();
    let objects = Arc::new(Memory::new());
    let Outcome::Saved { id, .. } =
        Board::new(machine().then.clone(), then.clone()).run(&objects, Command::Snapshot { full: false })
    else {
        panic!("not saved")
    };
    let saved = store(&objects).manifest(id).unwrap().firmware.unwrap();
    let option = saved.entries[0].option.as_ref().unwrap();
    assert_eq!(option.partition.as_deref(), Some("33333333-cccc-4ccc-8ccc-000000000001"));

    let board = Board::new(machine().now.clone(), now.clone());
    board.run(&objects, BACK);
    let restored = board.vars();
    assert_eq!(restored, {
        let mut all = now.clone();
        all.extend([(name_of(1), then[&name_of(1)].clone()), ("BootOrder".to_owned(), order_value(&[1, 4, 2]))]);
        all
    });
    let intents = objects.list("intents").unwrap();
    let undo = store(&objects).intents().unwrap()[0].1.undo.unwrap();

    let done = Board::new(board.sim.bytes(), restored.clone());
    done.run(&objects, Command::PlanUndo { full: false });
    assert_eq!(done.vars(), now);

    // The power goes before and after each variable: the fences stand, and both ways out lead to their end.
    let changes = board.changes.lock().unwrap().clone();
    assert_eq!(changes.len(), 2);
    let cuts = [(changes[0].0, now.clone())].into_iter().chain(changes);
    for (at, vars) in cuts {
        let image = after_cut(&machine().now, &board.sim.ops(), at, Loss::All);
        assert!(look(&Sim::new(image.clone())).fences().count() > 0);
        for (command, wanted, holding) in
            [(Command::PlanResume, &restored, id), (Command::PlanUndo { full: false }, &now, undo)]
        {
            reset(&objects, &intents);
            let cut = Board::new(image.clone(), vars.clone());
            cut.run(&objects, command);
            assert_eq!(cut.vars(), *wanted);
            holds(&store(&objects), holding, &[1, 2, 3], &cut.sim.bytes()).unwrap();
        }
    }
}

fn onto_a_new_disk(new_ids: bool) -> Command {
    let onto = vec![Onto { saved: None, disk: DiskNo(0) }];
    Command::PlanRestore { to: SnapRef::Latest, onto, overwrite: Vec::new(), new_ids, grow: Vec::new() }
}

/// Onto a new disk, the entries that started from the old one start from it: by the GUID that its partition has now.
#[test]
fn what_started_the_machine_starts_it_from_a_new_disk() {
    let [then, now] = then_and_now();
    let objects = Arc::new(Memory::new());
    Board::new(machine().then.clone(), then.clone()).run(&objects, Command::Snapshot { full: false });
    let saved = objects.list("intents").unwrap();
    for new_ids in [false, true] {
        reset(&objects, &saved);
        let empty = vec![0; 24 * MIB];
        let board = Board::new(empty.clone(), now.clone());
        board.run(&objects, onto_a_new_disk(new_ids));
        let vars = board.vars();
        // The unique GUID in the first entry of the table.
        let guid = board.sim.bytes()[1024 + 16..1024 + 32].to_vec();
        let entry = &vars[&name_of(1)].0;
        assert!(entry.windows(16).any(|w| w == guid), "{entry:?}");
        assert_eq!(*entry == then[&name_of(1)].0, !new_ids);
        assert_eq!(entry.len(), then[&name_of(1)].0.len());
        assert_eq!(vars["BootOrder"], order_value(&[1, 4, 2]));
        assert_eq!((&vars[&name_of(2)], &vars[&name_of(4)]), (&now[&name_of(2)], &now[&name_of(4)]), "those of others");

        // The power goes before, between and after: what is finished then ends as it would have.
        let intents = objects.list("intents").unwrap();
        let changes = board.changes.lock().unwrap().clone();
        assert_eq!(changes.len(), 2);
        for (at, cut_vars) in [(changes[0].0, now.clone())].into_iter().chain(changes) {
            let cut = Board::new(after_cut(&empty, &board.sim.ops(), at, Loss::All), cut_vars);
            assert!(look(&cut.sim).fences().count() > 0);
            reset(&objects, &intents);
            cut.run(&objects, Command::PlanResume);
            assert!(cut.vars() == vars && cut.sim.bytes() == board.sim.bytes());
        }
    }
    // Whoever names disks on a computer need not mean that computer's firmware.
    let mut board = Board::new(vec![0; 24 * MIB], now.clone());
    Arc::get_mut(&mut board).unwrap().named = true;
    reset(&objects, &saved);
    board.run(&objects, onto_a_new_disk(false));
    assert_eq!(board.vars(), now);
}

#[test]
fn a_firmware_that_takes_nothing_stops_nothing() {
    let [then, now] = then_and_now();
    let objects = Arc::new(Memory::new());
    Board::new(machine().then.clone(), then).run(&objects, Command::Snapshot { full: false });
    let mut board = Board::new(machine().now.clone(), now.clone());
    Arc::get_mut(&mut board).unwrap().full = true;
    board.run(&objects, BACK);
    assert_eq!(board.vars(), now);
    assert_eq!(look(&board.sim).fences().count(), 0);
}

/// On a management computer the firmware is another machine's, unless it starts from one of these very disks.
#[test]
fn another_computers_firmware_is_none_of_its_business() {
    let [then, now] = then_and_now();
    for (vars, told) in [(then, true), (now, false)] {
        let objects = Arc::new(Memory::new());
        let mut board = Board::new(machine().then.clone(), vars);
        Arc::get_mut(&mut board).unwrap().named = true;
        let Outcome::Saved { id, .. } = board.run(&objects, Command::Snapshot { full: false }) else {
            panic!("not saved")
        };
        assert_eq!(store(&objects).manifest(id).unwrap().firmware.is_some(), told);
    }
}

/// A boot loader where no firmware looks by itself: an entry holds it, and is missed once it was forgotten. One that leads elsewhere is none.
#[test]
fn an_entry_that_was_forgotten_is_missed() {
    let made = Made::new(Making::drop_fallback);
    // The unique GUID in the first entry of the table.
    let guid: [u8; 16] = made.bytes[1024 + 16..1024 + 32].try_into().unwrap();
    let with = |file: &str| vars(&[1, 2], &[(1, on_partition(guid, "debian", file)), (2, stick())]);
    let (held, elsewhere, forgotten) =
        (with("\\EFI\\Debian\\SHIMX64.EFI"), with("\\EFI\\other\\shimx64.efi"), vars(&[2], &[(2, stick())]));
    let told = |objects: &Arc<Memory>, vars: &Vars| {
        let report = Board::new(made.bytes.clone(), vars.clone()).report(objects);
        let link = report.boot[0].links.iter().find(|l| l.part == LinkPart::Fallback).unwrap().clone();
        let fact = Fact::ChainBroken { part: LinkPart::Fallback, way: Way::Uefi };
        (link, report.systems[0].evidence.iter().filter(|e| e.fact == fact).count())
    };
    let objects = Arc::new(Memory::new());
    for (vars, state, says) in [
        (&held, LinkState::Ok, "none is needed: the firmware has the entry \"debian\""),
        (&elsewhere, LinkState::Broken, "no entry that leads to the boot loader"),
        (&forgotten, LinkState::Broken, "no entry that leads to the boot loader"),
    ] {
        let (link, argued) = told(&objects, vars);
        assert_eq!((link.state, link.needed), (state, false), "{link:?}");
        assert!(link.says.as_str().contains(says), "{link:?}");
        assert_eq!(argued, 0, "nobody knows that it ever had one");
    }
    Board::new(made.bytes.clone(), held.clone()).run(&objects, Command::Snapshot { full: false });
    assert_eq!(told(&objects, &held).0.state, LinkState::Ok);
    for vars in [elsewhere, forgotten] {
        let (link, argued) = told(&objects, &vars);
        assert_eq!((link.state, link.needed, argued), (LinkState::Broken, true, 1), "{link:?}");
        assert!(link.says.as_str().contains("has forgotten the entry \"debian\""), "{link:?}");
    }
}

/// What the firmware keeps of a kernel that died is evidence, where it is this machine's firmware.
#[test]
fn kernels_that_died_are_told() {
    let [then, now] = then_and_now();
    for (vars, told) in [(then, true), (now, false)] {
        let objects = Arc::new(Memory::new());
        let mut board = Board::new(machine().then.clone(), vars);
        let inner = Arc::get_mut(&mut board).unwrap();
        inner.named = true;
        inner.crashes = vec!["dump-type0-1-1-1796042968-C".into(), "dump-type0-2-1-1796042968-C".into()];
        let Outcome::Saved { id, .. } = board.run(&objects, Command::Snapshot { full: false }) else {
            panic!("not saved")
        };
        let systems = store(&objects).manifest(id).unwrap().systems;
        let kept = systems[0].evidence.iter().filter(|e| e.fact == Fact::CrashKept { parts: 2 }).count();
        assert_eq!(kept, usize::from(told));
        // Its root was never mounted, which is surer: it is told as evidence against that.
        assert_eq!(systems[0].assessment.termination.evidence_against.len(), kept, "{:?}", systems[0].assessment);
    }
}
