//! Looking at a machine: which files the evidence comes from, and what a parser that fails costs.

use crate::image::machine;
use crate::sim::{Sim, Ticking};
use disk::table::TableReading;
use engine::parser::{Local, Parser, ParserError, Scene};
use engine::{Config, Engine, StorePlace};
use model::command::Command;
use model::coverage::{CaptureMethod, Coverage};
use model::event::{Happening, Outcome};
use model::evidence::{Evidence, Fact};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding, Inspection, Severity, System, Volume};
use model::ports::Devices;
use model::units::Extent;
use std::sync::Arc;
use store::DecodeHere;
use store::backend::Memory;

/// A parser that does not answer some questions.
struct Patchy {
    local: Local,
    fails: fn(&Asked<'_>) -> bool,
}

enum Asked<'a> {
    Table,
    Content(&'a VolumePath),
    Systems(&'a Inspection),
    Evidence(usize),
    Coverage(&'a VolumePath),
}

impl Patchy {
    fn ask(&self, asked: &Asked<'_>) -> Result<(), ParserError> {
        if (self.fails)(asked) { Err(ParserError { why: "the parser was killed by SIGSEGV".into() }) } else { Ok(()) }
    }
}

impl Parser for Patchy {
    fn table(&self, disk: DiskNo) -> Result<TableReading, ParserError> {
        self.ask(&Asked::Table)?;
        self.local.table(disk)
    }
    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        self.ask(&Asked::Content(volume))?;
        self.local.content(volume, extent)
    }
    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
        self.ask(&Asked::Systems(inspection))?;
        self.local.systems(inspection)
    }
    fn evidence(&self, scene: &Scene, want: usize) -> Result<Vec<Evidence>, ParserError> {
        self.ask(&Asked::Evidence(want))?;
        self.local.evidence(scene, want)
    }
    fn coverage(&self, volume: &Volume) -> Result<Coverage, ParserError> {
        self.ask(&Asked::Coverage(&volume.path))?;
        self.local.coverage(volume)
    }
}

impl DecodeHere for Patchy {}

fn report(fails: fn(&Asked<'_>) -> bool) -> model::assessment::Report {
    let sim = Sim::new(machine().then.clone());
    let parser = Patchy { local: Local::new(sim.disks()), fails };
    engine::gather::report(&sim.disks(), &parser, &|_| None)
}

#[test]
fn evidence_comes_from_the_volumes_it_lies_on() {
    let report = report(|_| false);
    assert_eq!(report.systems.len(), 1);
    let system = &report.systems[0].system;
    assert_eq!(system.root.to_string(), "d0/p3");
    let boot: Vec<String> = system.boot.iter().map(|(at, v)| format!("{at} {v}")).collect();
    assert_eq!(boot, ["/boot d0/p2", "/boot/efi d0/p1"]);
    let evidence = &report.systems[0].evidence;
    let of = |path: &str| -> Vec<&Evidence> {
        evidence.iter().filter(|e| e.origin.path.as_ref().is_some_and(|p| p.0 == path.as_bytes())).collect()
    };
    assert!(of("/boot/vmlinuz-6.1.0").iter().all(|e| e.origin.volume.to_string() == "d0/p2"), "{evidence:#?}");
    let kernel = evidence.iter().any(|e| e.origin.volume.to_string() == "d0/p2");
    assert!(kernel, "something was read on /boot: {evidence:#?}");
    assert!(evidence.iter().any(|e| e.origin.volume.to_string() == "d0/p1"), "and on the ESP");
    let ids: std::collections::BTreeSet<_> = evidence.iter().map(|e| &e.id).collect();
    assert_eq!(ids.len(), evidence.len(), "every piece has its own name");
    assert!(!evidence.iter().any(|e| matches!(e.fact, Fact::Unreadable { .. })), "{evidence:#?}");
}

fn unanswered(report: &model::assessment::Report) -> Vec<String> {
    let said = |f: &&Finding| f.severity == Severity::Damage && f.says.as_str().contains("SIGSEGV");
    report.inspection.findings.iter().filter(said).map(|f| format!("{}: {}", f.volume, f.says)).collect()
}

#[test]
fn each_question_not_answered_costs_one_finding() {
    let whole = report(|_| false);
    let one_want = report(|a| matches!(a, Asked::Evidence(3)));
    assert_eq!(unanswered(&one_want).len(), 1, "{:?}", unanswered(&one_want));
    assert_eq!(one_want.systems.len(), 1);
    assert!(one_want.systems[0].evidence.len() + 3 >= whole.systems[0].evidence.len());

    let one_volume = report(|a| matches!(a, Asked::Content(v) if v.number() == Some(4)));
    assert_eq!(unanswered(&one_volume), ["d0/p4: what lies on it could not be read: the parser was killed by SIGSEGV"]);
    assert_eq!(one_volume.systems.len(), 1, "/home does not matter for the system");

    let table = report(|a| matches!(a, Asked::Table));
    assert_eq!(unanswered(&table).len(), 1);
    assert_eq!(table.inspection.disks[0].volumes.len(), 1);

    // One volume kills every search for systems it takes part in: it is left out, and the system is found.
    let search = report(|a| match a {
        Asked::Systems(i) => i.volumes().any(|(_, v)| v.path.number() == Some(4) && v.content != Content::Unknown),
        _ => false,
    });
    assert_eq!(unanswered(&search).len(), 1, "{:?}", unanswered(&search));
    assert!(unanswered(&search)[0].starts_with("d0/p4"));
    assert_eq!(search.systems.len(), 1);
}

/// Allocation maps that cannot be read mean that every byte is saved, and that it is said.
#[test]
fn without_maps_everything_is_saved() {
    let sim = Sim::new(machine().then.clone());
    let fails = |a: &Asked<'_>| matches!(a, Asked::Coverage(v) if v.number() == Some(2));
    let parser = Arc::new(Patchy { local: Local::new(sim.disks()), fails });
    let objects = Arc::new(Memory::new());
    let store = StorePlace::Objects { objects: objects.clone(), create: true };
    let config = Config {
        devices: sim,
        parser,
        store: Some(store),
        other: None,
        sticks: None,
        heads: None,
        clock: Arc::new(Ticking::default()),
    };
    let mut lines = Vec::new();
    let outcome = Engine::start(config).run(
        Command::Snapshot { full: false },
        &mut |e| {
            if let Happening::Log(line) = &e.what {
                lines.push(line.to_string());
            }
        },
        &mut |_, _| None,
    );
    let Outcome::Saved { id, .. } = outcome else { panic!("{outcome:?}") };
    let manifest = crate::sim::store(&objects).manifest(id).unwrap();
    let boot = manifest.volumes.iter().find(|v| v.path.number() == Some(2)).unwrap();
    assert_eq!((boot.method, boot.captured), (CaptureMethod::Raw, boot.extent.len()));
    assert!(boot.why.as_str().contains("SIGSEGV"), "{}", boot.why);
    assert!(lines.iter().any(|l| l.contains("every byte is saved")), "{lines:?}");
    let root = manifest.volumes.iter().find(|v| v.path.number() == Some(3)).unwrap();
    assert_eq!(root.method, CaptureMethod::UsedBlocks);
    assert!(root.captured < root.extent.len());
    // What the manifest says of the system is what was known then.
    assert_eq!(manifest.systems.len(), 1);
    assert_eq!(manifest.machine.hostname.as_ref().unwrap().as_str(), "granite");
    assert!(manifest.disks.iter().all(|d| d.hardware.shown_as.is_none()));
}

/// Not one answer, and still a report.
#[test]
fn a_parser_that_never_answers_is_survived() {
    let report = report(|_| true);
    assert_eq!(report.systems.len(), 0);
    assert_eq!(report.inspection.disks.len(), 1);
    assert_eq!(unanswered(&report).len(), 2, "{:?}", unanswered(&report));
}
