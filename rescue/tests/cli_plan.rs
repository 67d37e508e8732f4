//! What a plan says before anybody approves it: what dislikes going back, what is read first, and whose state it is.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod machine;

use machine::{Machine, ask, run, tool};
use serde_json::Value;

fn warnings(plan: &Value) -> Vec<String> {
    plan["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_plan_says_what_dislikes_going_back_and_what_is_read() {
    let m = Machine::new();
    let keytab = m.arg("root/etc/hostname");
    m.put(&keytab, "/etc/krb5.keytab");
    m.save();
    let (disk, store) = m.both();
    let plan = |more: &[&str]| {
        let (code, answer) = ask(&[&["rollback", "latest", &disk, "--store", &store, "--plan"], more].concat());
        assert_eq!(code, 0, "{answer:#}");
        answer["plan"].clone()
    };
    let quick = plan(&[]);
    let told = warnings(&quick);
    assert_eq!(told.iter().filter(|w| w.contains("Kerberos: /etc/krb5.keytab")).count(), 1, "{told:?}");
    assert!(!told.iter().any(|w| w.contains("databases") || w.contains("TPM")), "{told:?}");
    let full = plan(&["--full"]);
    assert_eq!(
        (&quick["reads"]["everything"], &full["reads"]["everything"]),
        (&Value::Bool(false), &Value::Bool(true))
    );
    assert_ne!(quick["id"], full["id"], "another plan");
    assert_eq!(quick["id"], plan(&[])["id"]);
}

/// The disks have the partitions of the snapshot, and another system: that is meant, or it is not.
#[test]
fn another_machines_state_is_named_and_undone() {
    let m = Machine::new();
    let id = m.save();
    std::fs::write(m.path("root/etc/machine-id"), "f".repeat(32)).unwrap();
    std::fs::write(m.path("root/etc/hostname"), "db1\n").unwrap();
    let (disk, store, root) = (m.arg("disk.img"), m.arg("store"), m.arg("root"));
    let other = "99999999-2222-4333-8444-555555555555";
    let at = format!("offset={},nodiscard", 9 << 20);
    tool("mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4", "-U", other, "-d", &root, "-E", &at, &disk, "49152k"]);
    let now = m.bytes();
    let back = ["rollback", &id, &disk, "--store", &store];

    let (code, answer) = ask(&[&back[..], &["--plan"]].concat());
    assert_eq!((code, &answer["plan"]["foreign"]), (0, &Value::from("web1")), "{answer:#}");
    for more in [&["--yes"][..], &["--yes", "--foreign-machine", "db1"]] {
        let (code, _, err) = run(&[&back[..], more].concat());
        assert!(code == 4 && err.contains("--foreign-machine web1"), "{code} {err}");
        assert!(m.bytes() == now, "nothing was written");
    }
    let (code, _, err) = run(&[&back[..], &["--yes", "--foreign-machine", "WEB1"]].concat());
    assert_eq!(code, 0, "{err}");
    assert!(m.bytes() != now);
    let (code, _, err) = run(&["undo", &disk, "--store", &store, "--yes"]);
    assert_eq!(code, 0, "{err}");
    let (_, report) = ask(&["inspect", &disk]);
    assert_eq!(report["systems"][0]["hostname"], "db1");
}
