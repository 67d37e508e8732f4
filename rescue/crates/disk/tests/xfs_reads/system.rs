//! An installed system whose root is an XFS.

use crate::host::{image, source};
use crate::tools::made;
use disk::inspect;
use model::inspection::Severity;
use std::fs;

#[test]
fn a_system_on_an_xfs_is_found_with_what_its_fstab_names() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let release = write("os-release", "ID=rocky\nVERSION_ID=\"9.4\"\nPRETTY_NAME=\"Rocky Linux 9.4 (Blue Onyx)\"\n");
    let fstab = write("fstab", "LABEL=root / xfs defaults 0 0\nLABEL=srv /srv xfs defaults 0 0\n");
    let hostname = write("hostname", "box\n");
    let prototype = write(
        "prototype",
        &format!(
            "/stand/boot\n0 0\nd--755 0 0\netc d--755 0 0\nos-release ---644 0 0 {release}\nfstab ---644 0 0 {fstab}\nhostname ---644 0 0 {hostname}\n$\nusr d--755 0 0\n$\n$\n"
        ),
    );
    let root = made(dir.path(), 48, &["-L", "root", "-d", "agcount=3"], Some(prototype.as_ref()));
    let other = tempfile::tempdir().unwrap();
    let srv = made(other.path(), 48, &["-L", "srv", "-d", "agcount=3"], None);
    let found = inspect(&[source(0, image(&root)), source(1, image(&srv))]);
    let [system] = found.systems.as_slice() else { panic!("{found:?}") };
    assert_eq!((system.name.as_str(), system.root.to_string()), ("Rocky Linux 9.4 (Blue Onyx)", "d0".to_owned()));
    assert_eq!(system.hostname.as_ref().unwrap().as_str(), "box");
    let other: Vec<_> = system.other.iter().map(|(at, v)| (at.as_str(), v.to_string())).collect();
    assert_eq!(other, [("/srv", "d1".to_owned())]);
    assert!(found.findings.iter().all(|f| f.severity < Severity::Warning), "{:?}", found.findings);
}
