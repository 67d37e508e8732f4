//! Histories that were sought to be told wrongly (`fixtures/unseen.sh`): a real Debian 13 in QEMU, disks that somebody worked on from
//! another system, and dpkg and apt of a Debian 12 in a folder.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::facts;
use common::histories::{History, unpacked};
use common::lived::Lived;
use model::assessment::Confidence::Certain;
use model::assessment::Installation::{self, Broken, Completed, Idle, Interrupted};
use model::assessment::Start::{self, Reached};
use model::assessment::Termination::{self, Abrupt, Clean};
use model::evidence::{EndKind, Fact};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

const CUT: (Termination, Option<EndKind>) = (Abrupt, None);
const OFF: (Termination, Option<EndKind>) = (Clean, Some(EndKind::Poweroff));
const NEVER: (Termination, Option<EndKind>) = (Termination::Never, None);

/// A folder of the archive, what was done, and what is true of it.
type Machine = (&'static str, &'static str, (Termination, Option<EndKind>), Start, Installation);

const MACHINES: &[Machine] = &[
    ("var-off", "powered off, with `/var` on a file system of its own", OFF, Reached, Idle),
    ("var-cut", "cut off, with `/var` on a file system of its own", CUT, Reached, Idle),
    ("single", "told on its command line to start in rescue mode, and powered off", OFF, Start::Unknown, Idle),
    ("soft-hang", "started anew by soft-reboot, and cut off while its services started", CUT, Start::Unknown, Idle),
    ("clock", "started with a clock 8 hours ahead, set right, and powered off", OFF, Reached, Idle),
    ("volatile-off", "told to keep its journal in memory, started once more, and powered off", OFF, Reached, Idle),
    ("isolate", "taken to rescue mode by hand, and powered off there", OFF, Reached, Idle),
    ("liar", "cut off; a program of root had written lines as systemd's and the kernel's", CUT, Reached, Idle),
    ("cut-checked", "the same, and checked by e2fsck from another system", CUT, Reached, Idle),
    ("cut-mounted", "the same, and mounted for writing by another system", CUT, Reached, Idle),
    ("cut-restored", "the same, and its files unpacked into a new file system, a day later", NEVER, Start::Never, Idle),
    ("live", "powered off, and files changed from another system", OFF, Reached, Idle),
    ("live-cut", "powered off, and the other system cut off while it had the root mounted", CUT, Reached, Idle),
    ("template", "powered off, and its machine id taken away", OFF, Reached, Idle),
    ("no-logs", "powered off, and its journal and login record taken away", OFF, Reached, Idle),
    ("chroot", "powered off, then entered by chroot from another system", OFF, Reached, Completed),
    ("restored", "its files unpacked into a new file system, a day later", NEVER, Start::Never, Idle),
    ("byhand", "put together and entered by chroot from another system, never started", NEVER, Start::Never, Idle),
];

/// What dpkg and apt were at, and how it left the packages.
const PACKAGES: &[(&str, &str, Installation)] = &[
    ("failed", "a script after unpacking failed", Broken),
    ("failed-fixed", "a script after unpacking failed, mended by `dpkg --configure -a`", Idle),
    ("killed", "apt and dpkg killed in a script after unpacking", Interrupted),
    ("killed-fixed", "apt and dpkg killed in a script after unpacking, mended by `dpkg --configure -a`", Idle),
    ("killed-fixed-failed", "apt killed and mended, and a month later a script failed, called by dpkg", Broken),
    ("in-preinst", "dpkg killed in a script before unpacking", Interrupted),
    ("in-prerm", "dpkg killed in a script before a removal", Interrupted),
    ("in-postrm", "dpkg killed in a script after a removal", Interrupted),
    ("unpacked-by-hand", "a package unpacked by dpkg, and not configured", Broken),
    ("purged", "a package installed, and purged", Idle),
    ("removal-failed", "a script after a removal failed", Broken),
    ("removal-failed-apt", "a script after a removal failed, called by apt", Broken),
    ("preinst-failed", "a script before unpacking failed, called by apt", Idle),
    ("prerm-failed", "a script before a removal failed", Idle),
    ("upgrade-failed", "a script after unpacking an upgrade failed", Broken),
    ("upgrade-killed", "apt and dpkg killed in a script after unpacking an upgrade", Interrupted),
    ("upgrade-preinst-failed", "a script before unpacking an upgrade failed", Idle),
    ("dependency-missing", "a package installed by dpkg, and what it depends on is not there", Broken),
    ("in-trigger", "apt and dpkg killed in a trigger", Interrupted),
    ("triggers-put-off", "a package installed by dpkg, told to leave triggers for later", Broken),
    ("removed", "a package installed, and removed", Idle),
    ("downgraded", "a package upgraded, and downgraded again", Idle),
    ("held", "a package installed, and held", Idle),
    ("dpkg-ran-again-after-kill", "apt and dpkg killed, mended by `dpkg --configure -a --no-triggers`", Idle),
    ("failed-long-ago-then-unpacked", "a script failed; a month later a package unpacked by dpkg", Broken),
];

fn lower(told: impl Debug) -> String {
    format!("{told:?}").to_lowercase()
}

/// The verdicts are true, or unknown, and the tables in docs/evidence.md have them as they are.
#[test]
fn the_verdicts() {
    let all = unpacked("unseen");
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/evidence.md");
    let docs = fs::read_to_string(docs).unwrap();
    let (mut wrong, mut lines) = (Vec::new(), Vec::new());
    for (name, done, how_ended, how_far, packages) in MACHINES {
        let told = Lived::debian(&all.path().join(name)).assessed();
        let (ended, start, software) = (&told.termination, &told.start, &told.installation);
        let mut one = |right: bool, unknown: bool, what: &dyn Debug| {
            if !right && !unknown {
                wrong.push(format!("{name}: {what:?}"));
            }
        };
        // How it was told to go down may not be on record.
        let how = told.how.is_none() || told.how == how_ended.1;
        one(ended.value == how_ended.0 && how, ended.value == Termination::Unknown, ended);
        one(start.value == *how_far, start.value == Start::Unknown, start);
        one(software.value == *packages, software.value == Installation::Unknown, software);
        let how = told.how.map_or_else(String::new, |how| format!(" ({})", lower(how)));
        let sure = [ended.confidence, start.confidence, software.confidence].map(lower);
        let (value, far) = (lower(ended.value), lower(start.value));
        lines.push(format!(
            "| {done} | {value}{how}, {} | `{}` | {far}, {} | `{}` | {}, {} |",
            sure[0],
            ended.rule,
            sure[1],
            start.rule,
            lower(software.value),
            sure[2]
        ));
    }
    for (name, done, packages) in PACKAGES {
        let told = History::at(&all.path().join(name)).assessed().installation;
        if told.value != *packages {
            wrong.push(format!("{name}: {told:?}"));
        }
        lines.push(format!("| {done} | {} | {} | `{}` |", lower(told.value), lower(told.confidence), told.rule));
    }
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", lines.join("\n"));
    for line in &lines {
        assert!(docs.lines().any(|l| l == line), "docs/evidence.md lacks\n{line}\nof\n{}", lines.join("\n"));
    }
}

/// What `journalctl --list-boots` said of the starts, and `dpkg --audit` of the packages.
#[test]
fn others_say_the_same() {
    let all = unpacked("unseen");
    let names = MACHINES.iter().map(|m| m.0).chain(PACKAGES.iter().map(|p| p.0));
    for name in names {
        let machine = Lived::debian(&all.path().join(name));
        let evidence = machine.history.evidence();
        let mut boots: Vec<String> = evidence
            .iter()
            .filter_map(|e| match &e.fact {
                Fact::Boot { boot_id, .. } => Some(boot_id.clone()),
                _ => None,
            })
            .collect();
        boots.reverse();
        let listed = machine.values("boots").into_iter().map(|line| line.split(' ').nth(1).unwrap().to_owned());
        assert_eq!(boots, listed.collect::<Vec<_>>(), "{name}");
        let broken: Vec<BTreeSet<String>> = facts(&evidence, |f| matches!(f, Fact::DpkgState { .. }))
            .into_iter()
            .map(|fact| match fact {
                Fact::DpkgState { broken, .. } => broken.iter().map(|p| p.name.as_str().to_owned()).collect(),
                _ => BTreeSet::new(),
            })
            .collect();
        let audit = machine.values("audit").into_iter().map(str::to_owned).collect::<BTreeSet<String>>();
        assert_eq!(broken, [audit], "{name}");
    }
}

/// Who writes into logs what systemd and the kernel write fools nobody: what was done after the lies is told as without them.
#[test]
fn lies_are_not_believed() {
    let all = unpacked("unseen");
    let told = Lived::debian(&all.path().join("liar")).assessed();
    assert_eq!((told.termination.confidence, told.start.confidence), (Certain, Certain));
    let evidence = Lived::debian(&all.path().join("liar")).evidence();
    for fact in facts(&evidence, |f| matches!(f, Fact::Boot { .. })) {
        let Fact::Boot { emergency, panicked, asleep, .. } = fact else { continue };
        assert!(!emergency && !panicked && !asleep);
    }
}
