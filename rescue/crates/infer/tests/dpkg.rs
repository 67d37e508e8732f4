//! dpkg's database as dpkg itself leaves it: in order, after a script that fails, and killed in many places. Small packages are
//! made and installed into a folder; `dpkg-query`, which reads the records of `updates/` as we do, and `dpkg --audit` are the oracles.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::{HostFile, at, facts, run};
use infer::{Source, assess, combine, parse, parse_listing};
use model::assessment::{Confidence, Installation};
use model::evidence::{Evidence, Fact, PackageState};
use model::id::{DiskNo, VolumePath};
use model::inspection::{FileKind, Inspection, ListedFile, System};
use model::text::RawName;
use model::units::ByteLen;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const KILL: &str = "#!/bin/sh\nkill -KILL $PPID\nsleep 1\n";
const FAIL: &str = "#!/bin/sh\nexit 1\n";

/// A folder with an empty system, and packages for it.
struct Target {
    dir: tempfile::TempDir,
}

impl Target {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let target = Self { dir };
        for sub in ["info", "updates", "triggers"] {
            fs::create_dir_all(target.admin().join(sub)).unwrap();
        }
        fs::write(target.admin().join("status"), "").unwrap();
        fs::create_dir_all(target.root().join("var/log")).unwrap();
        target
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    fn admin(&self) -> PathBuf {
        self.root().join("var/lib/dpkg")
    }

    /// Builds a package with one program and these maintainer scripts.
    fn package(&self, name: &str, version: &str, scripts: &[(&str, &str)]) -> PathBuf {
        let tree = self.dir.path().join(format!("{name}-{version}"));
        let control = tree.join("DEBIAN");
        fs::create_dir_all(&control).unwrap();
        fs::create_dir_all(tree.join("usr/bin")).unwrap();
        fs::write(tree.join("usr/bin").join(name), format!("{name} {version}\n")).unwrap();
        let text = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDescription: {name}\n"
        );
        fs::write(control.join("control"), text).unwrap();
        for (script, text) in scripts {
            fs::write(control.join(script), text).unwrap();
            fs::set_permissions(control.join(script), fs::Permissions::from_mode(0o755)).unwrap();
        }
        let deb = self.dir.path().join(format!("{name}_{version}.deb"));
        let built = run(
            Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).arg(&tree).arg(&deb),
            "dpkg",
        );
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        deb
    }

    fn dpkg(&self) -> Command {
        let mut command = Command::new("dpkg");
        command
            .arg(format!("--instdir={}", self.root().display()))
            .arg(format!("--admindir={}", self.admin().display()))
            .arg(format!("--log={}", self.root().join("var/log/dpkg.log").display()))
            .args(["--force-script-chrootless", "--force-depends", "--force-bad-path"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn install(&self, debs: &[&Path]) -> bool {
        let mut command = self.dpkg();
        command.arg("--install").args(debs);
        command.status().expect("dpkg does not run: install the package dpkg").success()
    }

    /// What the parsers say, put together.
    fn evidence(&self) -> Vec<Evidence> {
        let mut found =
            parse(Source::DpkgStatus, &at("/var/lib/dpkg/status"), &HostFile::open(&self.admin().join("status")));
        for (name, path) in list(&self.admin().join("updates")) {
            let origin = at(&format!("/var/lib/dpkg/updates/{name}"));
            found.extend(parse(Source::DpkgRecord, &origin, &HostFile::open(&path)));
        }
        for dir in ["/usr/bin", "/var/lib/dpkg/tmp.ci"] {
            let entries: Vec<ListedFile> = list(&self.root().join(&dir[1..]))
                .into_iter()
                .map(|(name, _)| ListedFile {
                    name: RawName(name.into_bytes()),
                    kind: FileKind::File,
                    size: ByteLen(1),
                    modified: None,
                })
                .collect();
            found.extend(parse_listing(Source::Leftovers, &at(dir), &entries));
        }
        let log = self.root().join("var/log/dpkg.log");
        found.extend(parse(Source::DpkgLog, &at("/var/log/dpkg.log"), &HostFile::open(&log)));
        combine(found)
    }

    fn installation(&self) -> (Installation, Confidence) {
        let system = System {
            name: "Debian".into(),
            os: ("debian".into(), "12".into()),
            hostname: None,
            machine_id: None,
            root: VolumePath::partition(DiskNo(0), 2),
            boot: vec![],
            other: vec![],
            subvolumes: Vec::new(),
        };
        let f = assess(&system, &Inspection::default(), &self.evidence(), None).installation;
        (f.value, f.confidence)
    }

    /// Installed packages and those not in order, by `dpkg-query`.
    fn oracle(&self) -> (u32, BTreeMap<String, String>) {
        let mut query = Command::new("dpkg-query");
        query
            .arg(format!("--admindir={}", self.admin().display()))
            .args(["-W", "-f=${Package} ${db:Status-Status}\\n"]);
        let output = run(&mut query, "dpkg");
        let (mut installed, mut broken) = (0, BTreeMap::new());
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let (name, state) = line.split_once(' ').unwrap();
            match state {
                "installed" => installed += 1,
                "not-installed" | "config-files" => {}
                _ => {
                    broken.insert(name.to_owned(), state.to_owned());
                }
            }
        }
        (installed, broken)
    }

    /// What `dpkg --audit` finds not in order; that a package came without checksums of its files is none of it.
    fn audit(&self) -> BTreeSet<String> {
        let mut audit = Command::new("dpkg");
        audit.arg(format!("--admindir={}", self.admin().display())).arg("--audit");
        let output = run(&mut audit, "dpkg");
        let (mut found, mut counts) = (BTreeSet::new(), true);
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            match line.strip_prefix(' ') {
                Some(package) if counts => found.extend(package.split(' ').next().map(str::to_owned)),
                None if line.starts_with("The following") => counts = !line.contains("missing the"),
                _ => {}
            }
        }
        found
    }

    fn told(&self) -> (u32, BTreeMap<String, String>, u32) {
        let found = facts(&self.evidence(), |f| matches!(f, Fact::DpkgState { .. }));
        let [Fact::DpkgState { installed, broken, updates }] = &found[..] else { panic!("{found:?}") };
        let word = |p: &PackageState| p.state.as_str().split(',').next().unwrap().to_owned();
        (*installed, broken.iter().map(|p| (p.name.as_str().to_owned(), word(p))).collect(), *updates)
    }

    fn agrees(&self) -> u32 {
        let (installed, broken, updates) = self.told();
        let oracle = self.oracle();
        assert_eq!(broken, oracle.1);
        assert_eq!(broken.keys().cloned().collect::<BTreeSet<String>>(), self.audit());
        // With records, the count is the database's own, before them.
        assert!(updates > 0 || installed == oracle.0, "{installed} installed, not {}", oracle.0);
        updates
    }
}

/// The files of a folder by name; none where there is no such folder.
fn list(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| (e.file_name().into_string().unwrap(), e.path())).collect()
}

#[test]
fn in_order() {
    let t = Target::new();
    assert!(t.install(&[&t.package("one", "1", &[]), &t.package("two", "1", &[])]));
    assert_eq!(t.agrees(), 0);
    assert_eq!(t.told(), (2, BTreeMap::new(), 0));
    assert_eq!(t.installation().0, Installation::Idle);
    let log = facts(&t.evidence(), |f| matches!(f, Fact::DpkgLogTail { .. }));
    assert!(
        matches!(&log[..], [Fact::DpkgLogTail { line }] if line.as_str() == "status installed two:all 1"),
        "{log:?}"
    );
}

#[test]
fn a_script_that_fails_leaves_it_broken() {
    let t = Target::new();
    assert!(!t.install(&[&t.package("one", "1", &[]), &t.package("bad", "1", &[("postinst", FAIL)])]));
    assert_eq!(t.agrees(), 0);
    assert_eq!(t.told().1, BTreeMap::from([("bad".to_owned(), "half-configured".to_owned())]));
    assert_eq!(t.installation(), (Installation::Broken, Confidence::Likely));
}

#[test]
fn killed_while_configuring() {
    let t = Target::new();
    assert!(t.install(&[&t.package("one", "1", &[])]));
    assert!(!t.install(&[&t.package("bad", "1", &[("postinst", KILL)])]));
    assert!(t.agrees() > 0, "records are left");
    assert_eq!(t.told().1, BTreeMap::from([("bad".to_owned(), "half-configured".to_owned())]));
    assert_eq!(t.installation(), (Installation::Interrupted, Confidence::Certain));
}

#[test]
fn killed_while_unpacking_an_upgrade() {
    let t = Target::new();
    assert!(t.install(&[&t.package("one", "1", &[]), &t.package("bad", "1", &[("postrm", KILL)])]));
    assert!(!t.install(&[&t.package("bad", "2", &[])]));
    assert!(t.agrees() > 0);
    assert_eq!(t.told().1, BTreeMap::from([("bad".to_owned(), "half-installed".to_owned())]));
    let half = facts(&t.evidence(), |f| matches!(f, Fact::HalfReplaced { .. }));
    assert_eq!(half.len(), 2, "the control files and the old program: {half:?}");
    assert_eq!(t.installation(), (Installation::Interrupted, Confidence::Certain));
    // The next run of dpkg merges the records; what is half installed stays so.
    assert!(t.dpkg().args(["--configure", "-a"]).status().is_ok());
    assert_eq!(t.agrees(), 0);
    assert_eq!(t.installation().0, Installation::Interrupted);
}

#[test]
fn removed_packages_are_at_rest() {
    let t = Target::new();
    assert!(t.install(&[&t.package("one", "1", &[]), &t.package("two", "1", &[("postrm", "#!/bin/sh\nexit 0\n")])]));
    assert!(t.dpkg().args(["--remove", "two"]).status().unwrap().success());
    assert_eq!(t.agrees(), 0);
    assert_eq!(t.told().0, 1);
}

/// Whatever moment it is killed at, the database reads as dpkg itself reads it.
#[test]
fn killed_at_any_moment() {
    let t = Target::new();
    let names: Vec<String> = (0..12).map(|i| format!("pkg{i}")).collect();
    let build = |version: &str| -> Vec<PathBuf> { names.iter().map(|n| t.package(n, version, &[])).collect() };
    let (old, new) = (build("1"), build("2"));
    assert!(t.install(&old.iter().map(PathBuf::as_path).collect::<Vec<_>>()));
    let mut with_records = 0;
    for round in 0..10u64 {
        let debs = if round % 2 == 0 { &new } else { &old };
        let mut child = t.dpkg().arg("--install").args(debs).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(40 + 35 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        with_records += u32::from(t.agrees() > 0);
    }
    assert!(with_records > 0, "no round caught dpkg at work");
}
