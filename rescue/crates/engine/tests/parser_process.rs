//! The parser in a process of its own. This test starts itself again in that role, as the program does, and has therefore a main
//! of its own.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use engine::parser::{Child, Local, Parser, State, serve};
use engine::{gather, link, machine};
use model::command::Command;
use model::esp::{Tenancy, Tenant};
use model::event::Outcome;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Hardware, Volume};
use model::ports::{DiskSource, ReadAt};
use model::units::Extent;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Decode;
use sys::process::Channel;

#[path = "engine/image.rs"]
mod image;

fn main() {
    if std::env::args().nth(1).as_deref() == Some("parser") {
        std::process::exit(i32::from(serve()));
    }
    let filter = std::env::args().skip(1).find(|a| !a.starts_with('-')).unwrap_or_default();
    let tests: [(&str, fn()); 8] = [
        ("a_process_answers_as_this_one_would", a_process_answers_as_this_one_would),
        ("a_disk_is_handed_over_piece_by_piece", a_disk_is_handed_over_piece_by_piece),
        ("two_states_of_an_esp_are_handed_over", two_states_of_an_esp_are_handed_over),
        ("a_killed_process_costs_one_answer", a_killed_process_costs_one_answer),
        ("a_refused_record_is_no_death", a_refused_record_is_no_death),
        ("hostile_disks_are_survived", hostile_disks_are_survived),
        ("the_role_serves_whoever_is_attached", the_role_serves_whoever_is_attached),
        ("the_role_does_what_a_policy_says", the_role_does_what_a_policy_says),
    ];
    for (name, test) in tests.iter().filter(|(name, _)| name.contains(&filter)) {
        test();
        println!("test {name} ... ok");
    }
}

fn on_disk(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    std::fs::write(&path, bytes).unwrap();
    (dir, path)
}

fn a_process_answers_as_this_one_would() {
    let (_dir, path) = on_disk(&image::machine().then);
    let opened = machine::open(&[path]).unwrap();
    let disks = opened.devices.disks();
    let child = Child::start(&opened).unwrap();
    let there = gather::report(&disks, &child, &|_| None);
    let here = gather::report(&disks, &Local::new(opened.devices.disks()), &|_| None);
    assert_eq!(there, here);
    assert_eq!(there.systems.len(), 1, "{:?}", there.inspection.findings);
    assert!(there.systems[0].evidence.len() > 3);
    for (_, volume) in there.inspection.volumes() {
        assert_eq!(child.coverage(volume), Local::new(disks.clone()).coverage(volume), "{}", volume.path);
    }
    let entries = [model::firmware::Value(vec![1, 0, 0, 0, 4, 0, b'x', 0, 0, 0, 0x7f, 0xff, 4, 0]), Default::default()];
    let options = child.load_options(&entries).unwrap();
    assert_eq!(options, Local::new(disks.clone()).load_options(&entries).unwrap());
    assert!(options[0].is_ok() && options[1].is_err(), "{options:?}");
    // Compressed bytes go through it too.
    let local = store::LocalDecoder;
    assert_eq!(child.frame(b"no zstd", 10).unwrap_err(), local.frame(b"no zstd", 10).unwrap_err());
}

fn a_disk_is_handed_over_piece_by_piece() {
    let nothing = Child::start(&machine::open(&[]).unwrap()).unwrap();
    let bytes = Arc::new(image::machine().then.clone());
    let hardware = Hardware { transport: "memory".into(), ..Hardware::image("handed", bytes.size()) };
    // Two of them, so that one cannot be taken for the other.
    let zeros = Arc::new(vec![0; bytes.len()]);
    let disks = vec![
        DiskSource { no: DiskNo(0), hardware: hardware.clone(), bytes: zeros, clear: None },
        DiskSource { no: DiskNo(1), hardware, bytes, clear: None },
    ];
    let there = gather::report(&disks, &*nothing.over(disks.clone()).unwrap(), &|_| None);
    let here = gather::report(&disks, &Local::new(disks.clone()), &|_| None);
    assert_eq!(there, here);
    assert_eq!(there.systems.len(), 1, "{:?}", there.inspection.findings);
}

fn two_states_of_an_esp_are_handed_over() {
    let child = Child::start(&machine::open(&[]).unwrap()).unwrap();
    let local = Local::new(Vec::new());
    let state = |bytes: &[u8]| {
        let bytes: Arc<dyn ReadAt> = Arc::new(bytes.to_vec());
        State { content: disk::content::identify(&VolumePath::whole(DiskNo(0)), &bytes).0, bytes }
    };
    let machine = image::machine();
    let (then, now) = (state(&machine.then[image::range(1)]), state(&machine.now[image::range(1)]));
    let tenant = |name: &str, os: &str| Tenant {
        name: name.into(),
        os: os.into(),
        machine_id: None,
        uuids: Vec::new(),
        boot: false,
    };
    // What Debian has there is another's for once.
    let tenancy = Tenancy { going: vec![tenant("Arch", "arch")], staying: vec![tenant("Debian", "debian")] };
    let (there, here) = (child.esp(&then, &now, &tenancy).unwrap(), local.esp(&then, &now, &tenancy).unwrap());
    assert_eq!(there, here);
    let graft = there.graft.unwrap();
    assert!(there.stays[0].differs && !graft.patches.is_empty() && !graft.copies.is_empty(), "{:?}", there.stays);
    let none = State { content: Content::Unknown, ..now };
    assert_eq!(child.esp(&then, &none, &tenancy), local.esp(&then, &none, &tenancy));
}

fn a_killed_process_costs_one_answer() {
    let (_dir, path) = on_disk(&image::machine().then);
    let opened = machine::open(&[path]).unwrap();
    let child = Child::start(&opened).unwrap();
    assert!(child.table(DiskNo(0)).is_ok());
    let first = child.process_id().unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &first.to_string()]).status().unwrap();
    assert!(killed.success());
    let until = Instant::now() + Duration::from_secs(10);
    let why = loop {
        // The signal may arrive a moment later.
        match child.table(DiskNo(0)) {
            Err(e) => break e.to_string(),
            Ok(_) => assert!(Instant::now() < until, "it did not die"),
        }
    };
    assert!(why.contains("SIGKILL"), "{why}");
    assert!(child.table(DiskNo(0)).is_ok(), "the next question starts another");
    assert_ne!(child.process_id().unwrap(), first);
    assert!(child.table(DiskNo(7)).is_err(), "there is no such disk");
}

fn a_refused_record_is_no_death() {
    let (_dir, path) = on_disk(&vec![0; 1 << 20]);
    let opened = machine::open(&[path]).unwrap();
    let child = Child::start(&opened).unwrap();
    let process = child.process_id();
    for bytes in [&b""[..], b"{}", b"{\"format\": 99}", &[0xff; 5000]] {
        assert_eq!(child.statement(bytes).unwrap_err(), store::LocalDecoder.statement(bytes).unwrap_err());
        assert_eq!(child.intent(bytes).is_err(), store::LocalDecoder.intent(bytes).is_err());
        assert_eq!(child.receipt(bytes).is_err(), store::LocalDecoder.receipt(bytes).is_err());
        assert_eq!(child.note(bytes).is_err(), store::LocalDecoder.note(bytes).is_err());
        assert_eq!(child.inventory_entry(bytes).is_err(), store::LocalDecoder.inventory_entry(bytes).is_err());
    }
    assert_eq!(child.process_id(), process, "the same process answered all of it");
    // A range outside the disk is refused by the process, and by this one where the process does not.
    let volume = Volume::on_disk("d0".parse().unwrap(), Extent::between(0, 1 << 40).unwrap(), Content::Unknown);
    assert!(child.coverage(&volume).is_err());
}

/// Seeded mutations of a good disk: whatever they cost, a report comes, and nothing of it lies outside the disk.
fn hostile_disks_are_survived() {
    let good = &image::machine().then;
    for seed in 0..12u64 {
        let mut bytes = good.clone();
        let noise = image::noise(seed + 1000, 400);
        for chunk in noise.chunks_exact(4) {
            // Most hits go where structures are: tables, superblocks, first groups.
            let base =
                [0, image::range(1).start, image::range(2).start, image::range(3).start][usize::from(chunk[0] & 3)];
            let at = base + (usize::from(chunk[1]) << 8 | usize::from(chunk[2]));
            bytes[at] = chunk[3];
        }
        let (_dir, path) = on_disk(&bytes);
        let opened = machine::open(&[path]).unwrap();
        let child = Child::start(&opened).unwrap();
        let report = gather::report(&opened.devices.disks(), &child, &|_| None);
        for (disk, volume) in report.inspection.volumes() {
            assert!(volume.extent.end().0 <= disk.hardware.size.0, "seed {seed}");
            if let Ok(coverage) = child.coverage(volume) {
                assert!(coverage.used.iter().all(|e| e.end().0 <= volume.extent.len().0), "seed {seed}");
            }
        }
    }
}

/// The engine role as PID 1 starts it: a front end comes through the control socket, works, and asks to leave.
fn the_role_serves_whoever_is_attached() {
    let (dir, path) = on_disk(&image::machine().then);
    let (control, theirs) = Channel::pair().unwrap();
    let store = Some((dir.path().join("store"), true));
    let role =
        link::Role { control: theirs.into(), disks: Some(vec![path]), store, leave_out: Vec::new(), unattended: None };
    let role = std::thread::spawn(move || link::role(role));
    let (ours, front) = UnixStream::pair().unwrap();
    let attach = serde_json::to_vec(&link::Control::Attach("ttyS0".to_owned())).unwrap();
    assert_eq!(attach, br#"{"attach":"ttyS0"}"#);
    control.send(&attach, Some(std::os::fd::AsFd::as_fd(&front))).unwrap();
    drop(front);
    let handle = link::connect(ours).unwrap();
    // The engine looks by itself first.
    let until = Instant::now() + Duration::from_secs(20);
    while handle.state().job.is_some() || handle.state().report.is_none() {
        assert!(Instant::now() < until, "it never looked");
        std::thread::sleep(Duration::from_millis(5));
    }
    let outcome = handle.run(Command::Snapshot { full: false }, &mut |_| {}, &mut |_, _| None);
    assert!(matches!(outcome, Outcome::Saved { .. }), "{outcome:?}");
    let outcome = handle.run(Command::Check { read_data: true }, &mut |_| {}, &mut |_, _| None);
    assert!(matches!(&outcome, Outcome::Checked(r) if r.damage.is_empty() && r.snapshots == 1), "{outcome:?}");
    // Ctrl-Alt-Del, as PID 1 passes it on.
    control.send(br#"{"ask":"reboot"}"#, None).unwrap();
    let wish = control.receive().unwrap().unwrap();
    assert_eq!(wish.bytes, br#"{"power":"reboot"}"#);
    drop(control);
    role.join().unwrap().unwrap();
}

/// Nobody is there: the policy of the stick is carried out, told in its record, and the machine is left as it says. Whoever
/// comes and presses Ctrl-Alt-Del stops it.
fn the_role_does_what_a_policy_says() {
    let (dir, path) = on_disk(&image::machine().then);
    let (policy, record) = (dir.path().join("policy.conf"), dir.path().join("unattended.log"));
    let start = |wait: u32| {
        std::fs::write(&policy, format!("[rescue]\nwait = {wait}\nthen = poweroff\n[save]\nunchanged = skip\n"))
            .unwrap();
        let (control, theirs) = Channel::pair().unwrap();
        let role = link::Role {
            control: theirs.into(),
            disks: Some(vec![path.clone()]),
            store: Some((dir.path().join("store"), true)),
            leave_out: Vec::new(),
            unattended: Some(engine::Unattended { policy: Some(policy.clone()), record: Some(record.clone()) }),
        };
        (control, std::thread::spawn(move || link::role(role)))
    };
    let lines = || std::fs::read_to_string(&record).unwrap_or_default();
    let last_says = |count: usize, what: &str| {
        let lines = lines();
        assert_eq!(lines.lines().count(), count, "{lines}");
        assert!(lines.lines().last().unwrap().contains(what), "{lines}");
    };

    let (control, role) = start(3600);
    let until = Instant::now() + Duration::from_secs(60);
    while lines().is_empty() {
        assert!(Instant::now() < until, "it never stopped");
        // Before it waits at all these are the ordinary keys, which a running job refuses.
        control.send(br#"{"ask":"reboot"}"#, None).unwrap();
        std::thread::sleep(Duration::from_millis(200));
    }
    last_says(1, "stopped: somebody is here");
    drop(control);
    role.join().unwrap().unwrap();

    for (count, told) in [(2, "saved "), (3, "not saved: nothing changed since snapshot ")] {
        let (control, role) = start(3);
        assert_eq!(control.receive().unwrap().unwrap().bytes, br#"{"power":"poweroff"}"#);
        last_says(count, told);
        drop(control);
        role.join().unwrap().unwrap();
    }
}
