//! What differs between two states is told as scripts ask for it: a session of the kernel's lies between them, and `dpkg-query` says what
//! became of packages.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// The root file system of a machine, mounted by the kernel while something is done to it; gives what dpkg says of it then.
fn session(m: &Machine, does: impl FnOnce(&Path)) -> BTreeMap<String, String> {
    let at = m.path("mounted");
    fs::create_dir_all(&at).unwrap();
    let (disk, place) = (m.arg("disk.img"), at.to_str().unwrap());
    let options = format!("rw,loop,offset={},sizelimit={},noatime", 9 * MIB, 48 * MIB);
    tool("mount", "mount", &["-t", "ext4", "-o", &options, &disk, place]);
    does(&at);
    let packages = packages(&at);
    tool("umount", "mount", &[place]);
    packages
}

/// Packages and their versions, as dpkg tells them.
fn packages(root: &Path) -> BTreeMap<String, String> {
    let database = format!("--admindir={}", root.join("var/lib/dpkg").display());
    let format = "${Package} ${db:Status-Status} ${Version}\n";
    let out = tool("dpkg-query", "dpkg", &[&database, "-W", "-f", format]).stdout;
    let installed = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let (name, state, version) = (words.next()?, words.next()?, words.next()?);
        (state == "installed").then_some((name, version))
    };
    String::from_utf8(out).unwrap().lines().filter_map(installed).collect()
}

fn stanza(name: &str, version: &str) -> String {
    format!(
        "Package: {name}\nStatus: install ok installed\nMaintainer: A <a@b.c>\nVersion: {version}\nArchitecture: amd64\nDescription: x\n\n"
    )
}

fn root(answer: &Value) -> &Value {
    answer["volumes"].as_array().unwrap().iter().find(|v| v["mount"] == "/").unwrap_or_else(|| panic!("{answer}"))
}

fn told(list: &Value) -> BTreeMap<&str, &str> {
    let list = list.as_array().unwrap();
    list.iter().map(|d| (d["path"].as_str().unwrap(), d["change"].as_str().unwrap())).collect()
}

#[test]
fn what_a_session_did_is_told_and_lost_by_going_back() {
    let m = Machine::new();
    let before = session(&m, |root| {
        let status = ["openssl 3.0.15", "libfoo 1:2.9-1", "gone 4"].map(|p| {
            let (name, version) = p.split_once(' ').unwrap();
            stanza(name, version)
        });
        fs::write(root.join("var/lib/dpkg/status"), status.concat()).unwrap();
        fs::write(root.join("home/ann/old"), noise(50_000, 3)).unwrap();
        fs::write(root.join("boot/grub.cfg"), "menu\n").unwrap();
    });
    let first = m.save();
    let after = session(&m, |root| {
        let status = [stanza("openssl", "3.0.15"), stanza("libfoo", "1:2.10-1"), stanza("hello", "2.10-3")];
        fs::write(root.join("var/lib/dpkg/status"), status.concat()).unwrap();
        fs::write(root.join("etc/fstab"), "UUID=11111111-2222-4333-8444-555555555555 / ext4 noatime 0 1\n").unwrap();
        fs::write(root.join("boot/vmlinuz-6.1.0-31-amd64"), "newer\n").unwrap();
        fs::remove_file(root.join("boot/grub.cfg")).unwrap();
        fs::create_dir(root.join("home/ann/work")).unwrap();
        fs::write(root.join("home/ann/work/film"), noise(3_000_000, 4)).unwrap();
        fs::write(root.join("home/ann/work/notes"), "words\n").unwrap();
        fs::rename(root.join("home/ann/old"), root.join("home/ann/kept")).unwrap();
    });
    let (disk, store) = m.both();
    let bytes = m.bytes();
    let (code, now) = ask(&["diff", &first[..12], "now", &disk, "--store", &store]);
    assert_eq!((code, &now["before"], &now["after"]), (0, &first[..].into(), &Value::Null), "{now}");
    assert!(m.bytes() == bytes, "looking writes nothing");
    let second = m.save();
    let (code, saved) = ask(&["diff", &first[..12], &second[..12], "--store", &store]);
    assert_eq!(code, 0, "{saved}");
    assert_eq!(root(&saved)["files"], root(&now)["files"], "saved or not, it is the same");

    let files = &root(&now)["files"];
    assert_eq!((&files["by"], &files["unseen"]["count"]), (&"records".into(), &0.into()), "{files}");
    assert_eq!(
        told(&files["notable"]),
        BTreeMap::from([
            ("/boot/grub.cfg", "deleted"),
            ("/boot/vmlinuz-6.1.0-31-amd64", "created"),
            ("/etc/fstab", "changed"),
        ])
    );
    assert_eq!(
        told(&files["largest"]),
        BTreeMap::from([
            ("/home/ann/kept", "renamed"),
            ("/home/ann/work", "created"),
            ("/home/ann/work/film", "created"),
            ("/home/ann/work/notes", "created"),
            ("/var/lib/dpkg/status", "changed"),
        ])
    );
    let film = &files["largest"][0];
    assert_eq!((&film["path"], &film["after"]), (&"/home/ann/work/film".into(), &3_000_000.into()));
    assert_eq!(files["counts"]["created"], serde_json::json!({ "count": 4, "bytes": 3_000_012 }));

    // Packages, as dpkg itself tells both states apart.
    let mut expected = BTreeMap::new();
    for name in before.keys().chain(after.keys()) {
        let (was, is) = (before.get(name), after.get(name));
        if was != is {
            expected.insert(name.as_str(), (was.map(String::as_str), is.map(String::as_str)));
        }
    }
    let packages = &root(&now)["packages"];
    let list = packages["changes"].as_array().unwrap();
    let found: BTreeMap<&str, (Option<&str>, Option<&str>)> =
        list.iter().map(|p| (p["name"].as_str().unwrap(), (p["before"].as_str(), p["after"].as_str()))).collect();
    assert_eq!((found, &packages["count"]), (expected, &3.into()));
    let change = |name: &str| list.iter().find(|p| p["name"] == name).unwrap()["change"].as_str().unwrap();
    assert_eq!([change("hello"), change("gone"), change("libfoo")], ["installed", "removed", "upgraded"]);

    let (code, text, _) = run(&["diff", &first[..12], &second[..12], "--store", &store, "--text"]);
    assert_eq!(code, 0);
    for says in [
        "  upgraded   libfoo 1:2.9-1 -> 1:2.10-1",
        "  changed    /etc/fstab",
        "    -UUID",
        "    +UUID",
        "noatime",
        "  /home/ann/work  ",
    ] {
        assert!(text.contains(says), "{says}: {text}");
    }
    assert!(text.lines().all(|l| l.chars().count() < 100), "{text}");

    // What differs is what going back loses; the plan's id is the plan's alone.
    let plan = ["rollback", &first[..12], &disk, "--store", &store, "--plan"];
    let (code, planned) = ask(&plan);
    assert_eq!(code, 0, "{planned}");
    let losses = &planned["losses"];
    assert_eq!(told(&root(losses)["files"]["notable"]), told(&files["notable"]));
    assert_eq!(
        losses["written_since"].as_u64().unwrap(),
        losses["counts"]["created"]["bytes"].as_u64().unwrap() + losses["counts"]["changed"]["bytes"].as_u64().unwrap()
    );
    assert_eq!(
        (&losses["counts"]["created"]["bytes"], &root(losses)["packages"]["count"]),
        (&3_000_012.into(), &3.into())
    );
    let (least, most) =
        (losses["seconds"]["at_least"].as_u64().unwrap(), losses["seconds"]["at_most"].as_u64().unwrap());
    assert!(least <= most && most < 600, "{losses}");
    let (_, text, _) = run(&plan);
    assert!(text.contains("What you would lose: 3.0 MB written since"), "{text}");
    assert!(text.contains("1 package back to an older version: libfoo 1:2.10-1 -> 1:2.9-1"), "{text}");
    let id = planned["plan"]["id"].as_str().unwrap();
    let (code, done) = ask(&["rollback", &first[..12], &disk, "--store", &store, "--approve", id]);
    assert_eq!(code, 0, "{done}");
    assert!(done["done"]["written"].as_u64().unwrap() <= done["plan"]["at_most"].as_u64().unwrap());
    let (code, same) = ask(&["diff", &first[..12], "now", &disk, "--store", &store]);
    assert_eq!((code, &root(&same)["files"]["by"]), (0, &"untouched".into()), "{same}");
    assert_eq!(same["counts"]["created"]["count"], 0);
}
