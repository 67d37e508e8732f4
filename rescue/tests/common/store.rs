//! What a store lists.

use super::*;

pub(crate) fn summary(name: &str, counter: u64, taken: UnixMicros, good: bool, headline: &str) -> SnapshotSummary {
    let cost =
        Cost { read: ByteLen(3 * GIB), shared: ByteLen(2 * GIB), new: ByteLen(300 * MIB), stored: ByteLen(120 * MIB) };
    SnapshotSummary {
        id: snapshot_id(name),
        counter,
        purpose: Purpose::Keep,
        machine: holdfast::tui::words::machine(&Inspection {
            disks: vec![disk()],
            systems: vec![system()],
            ..Inspection::default()
        }),
        taken,
        system: Some("Debian GNU/Linux 12 (bookworm)".into()),
        headline: Some(headline.into()),
        kernel: Some("6.1.0-27-amd64".into()),
        packages: Some(1203),
        operation: None,
        good,
        captured: ByteLen(3 * GIB),
        cost,
        label: None,
        pinned: false,
        proven: None,
        unproven: None,
        signers: Vec::new(),
    }
}

pub(crate) fn store() -> StoreView {
    let mut other = summary("two", 2, at(20, 9, 30), true, "This machine shut down in order.");
    other.machine = Machine { machine_id: Some("f".repeat(32)), disks: vec![], hostname: Some("db7".into()) };
    let mut undo = summary("four", 4, at(22, 21, 10), false, "The power failed while software was being installed.");
    undo.purpose = Purpose::Undo { before: snapshot_id("three") };
    let mut crashed = summary("five", 5, at(23, 5, 12), false, "The power failed; nothing was being installed.");
    crashed.label = Some("crashed".into());
    crashed.kernel = Some("6.1.0-28-amd64".into());
    crashed.packages = Some(1207);
    let mut first = summary("one", 1, at(19, 22, 5), true, "This machine shut down in order.");
    first.proven = Some("it came up to multi-user.target in 41 s".into());
    StoreView {
        id: "5f0c".into(),
        free: Some(ByteLen(34_500_000_000)),
        snapshots: vec![
            first,
            other,
            summary(
                "three",
                3,
                at(21, 23, 59),
                true,
                "This machine shut down in order; the last installation is complete.",
            ),
            undo,
            crashed,
        ],
        damage: vec![],
    }
}
/// What the record of a snapshot says, of a machine that was left in the middle.
pub(crate) fn described(s: &SnapshotSummary) -> Statement {
    let systems = broken_run().report.unwrap().systems;
    let disk = SavedDisk { no: DiskNo(0), hardware: hardware(), table: disk().table, table_map: None };
    Statement {
        format: FORMAT,
        counter: s.counter,
        origin: "5f0c".into(),
        parent: None,
        purpose: s.purpose,
        machine: s.machine.clone(),
        taken: s.taken,
        systems,
        disks: vec![disk],
        volumes: Vec::new(),
        firmware: None,
        cost: s.cost,
    }
}
