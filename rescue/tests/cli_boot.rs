//! The boot chain of a disk as scripts see it: told by `inspect` and after a rollback, and put right by `repair-boot`, which shows its
//! plan first and can be undone.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../crates/disk/tests/boot_disk/mod.rs"]
#[allow(dead_code, reason = "each test file uses its part")]
mod boot_disk;
#[path = "../crates/disk/tests/host/mod.rs"]
mod host;
mod machine;

use boot_disk::{BOOT, Made, OLD, OLDER, ROOT};
use machine::{ask, run};
use serde_json::Value;
use std::fs;

/// A disk image of these bytes, and a store beside it: their paths.
fn at(made: &Made) -> (String, String) {
    let path = |name: &str| made.dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("disk.img"), &made.bytes).unwrap();
    assert_eq!(run(&["store", "init", &path("store")]).0, 0);
    (path("disk.img"), path("store"))
}

fn links<'a>(chain: &'a Value, state: &str) -> Vec<&'a str> {
    let links = chain["links"].as_array().unwrap().iter();
    links.filter(|l| l["state"] == state).map(|l| l["part"].as_str().unwrap()).collect()
}

fn stale() -> Made {
    let mut made = Made::new(|m| {
        m.stub(OLDER, "/grub");
        m.menu(OLDER, OLD);
        m.fstab(OLD, OLDER, "0000-0000");
        m.drop_fallback();
    });
    // The first copy of the table, too.
    made.bytes[512..1024].fill(0);
    made
}

#[test]
fn what_is_broken_is_put_right_and_can_be_undone() {
    let made = stale();
    let (disk, store) = at(&made);
    let chain = |disk: &str| {
        let (code, told) = ask(&["inspect", disk]);
        assert_eq!(code, 0, "a table with one good copy is no damage, nor is a chain that does not resolve");
        told["systems"][0]["boot_chain"].clone()
    };
    let told = chain(&disk);
    assert_eq!(told["state"], "broken");
    let broken = links(&told, "broken");
    for part in ["table", "loader_config", "menu_volume", "root", "fstab"] {
        assert!(broken.contains(&part), "{part}: {broken:?}");
    }
    let (_, human, _) = run(&["inspect", &disk]);
    assert!(human.contains("Boot chain     [!!]") && human.contains("the kernel sees no partitions"), "{human}");

    let (code, shown) = ask(&["repair-boot", &disk, "--store", &store]);
    assert_eq!((code, &shown["done"]), (4, &Value::Null), "{shown}");
    assert_eq!(shown["repairs"].as_array().unwrap().len(), 8, "{shown}");
    assert_eq!((&shown["expected"][0]["state"], &shown["left"]), (&"ok".into(), &Value::Array(vec![])), "{shown}");
    assert_eq!((&shown["plan"]["action"], &shown["plan"]["usable"]), (&"repair".into(), &true.into()), "{shown}");
    assert_eq!(shown["plan"]["tables"][0]["action"], "repair");
    assert!(fs::read(&disk).unwrap() == made.bytes, "nothing was written");
    let (_, list) = ask(&["snapshots", "--store", &store]);
    assert!(list["snapshots"].as_array().unwrap().is_empty(), "nor saved: {list}");
    let id = shown["plan"]["id"].as_str().unwrap().to_owned();
    let (code, again) = ask(&["repair-boot", &disk, "--store", &store, "--plan"]);
    assert_eq!((code, &again["plan"]["id"]), (0, &shown["plan"]["id"]), "the same plan has the same id");

    let (code, done) = ask(&["repair-boot", &disk, "--store", &store, "--approve", &id]);
    assert_eq!(code, 0, "{done}");
    assert_eq!(done["boot_chains"][0]["state"], "ok", "{done}");
    assert_eq!(chain(&disk)["state"], "ok");
    let bytes = fs::read(&disk).unwrap();
    made.judge("put right", &bytes);
    let (_, list) = ask(&["snapshots", "--store", &store]);
    let purposes: Vec<&str> =
        list["snapshots"].as_array().unwrap().iter().map(|s| s["purpose"].as_str().unwrap()).collect();
    assert_eq!(purposes, ["repair", "undo"]);
    let (code, _, says) = run(&["rollback", "latest", &disk, "--store", &store, "--yes"]);
    assert_ne!(code, 0, "neither of them is the latest saved state: {says}");

    let (code, none) = ask(&["repair-boot", &disk, "--store", &store, "--yes"]);
    assert_eq!((code, &none["plan"], &none["repairs"]), (0, &Value::Null, &Value::Array(vec![])), "{none}");
    let (code, says) = ask(&["undo", &disk, "--store", &store, "--yes"]);
    assert_eq!(code, 0, "{says}");
    assert_eq!(says["boot_chains"][0]["state"], "broken");
    let (now, esp) = (fs::read(&disk).unwrap(), 1 << 20..5 << 20);
    // What lies in clusters that were free, and are again, is nobody's.
    let tables = esp.start..esp.start + (32 << 10);
    assert!(
        now[..esp.start] == made.bytes[..esp.start] && now[esp.end..] == made.bytes[esp.end..],
        "every byte is back"
    );
    assert!(now[tables.clone()] == made.bytes[tables], "the allocation table of the ESP, too");
    assert_eq!(chain(&disk), told, "and so is the chain");
}

#[test]
fn a_plan_is_that_of_the_disk_as_it_is() {
    let made = Made::new(|m| m.menu(BOOT, OLD));
    let (disk, store) = at(&made);
    let (_, shown) = ask(&["repair-boot", &disk, "--store", &store]);
    let id = shown["plan"]["id"].as_str().unwrap().to_owned();
    // Something else of it is broken meanwhile.
    let other = Made::new(|m| m.menu(OLDER, OLD));
    fs::write(&disk, &other.bytes).unwrap();
    let (code, told) = ask(&["repair-boot", &disk, "--store", &store, "--approve", &id]);
    assert_eq!((code, &told["done"]), (4, &Value::Null), "{told}");
    assert!(fs::read(&disk).unwrap() == other.bytes);
    let (code, human, _) = run(&["repair-boot", &disk, "--store", &store, "--yes"]);
    assert_eq!(code, 0, "{human}");
    let words: Vec<&str> = human.split_whitespace().collect();
    let wanted = format!("puts {ROOT} in the place of {OLD} in /grub/grub.cfg");
    assert!(words.join(" ").contains(&wanted), "{human}");
    assert!(human.contains("Boot chain     [ok]"), "{human}");
}

#[test]
fn what_cannot_be_put_right_is_told() {
    let made = Made::new(|m| m.drop_boot("vmlinuz-6.1.0-9-amd64"));
    let (disk, store) = at(&made);
    let (code, told) = ask(&["repair-boot", &disk, "--store", &store, "--yes"]);
    assert_eq!((code, &told["plan"], &told["done"]), (3, &Value::Null, &Value::Null), "{told}");
    assert_eq!(links(&told["expected"][0], "broken"), ["kernel"]);
    assert!(fs::read(&disk).unwrap() == made.bytes, "nothing was written");
}

/// A rollback says whether what it left starts: here to a state whose kernel was cut short when it was saved.
#[test]
fn a_rollback_says_whether_the_chain_resolves() {
    let made = Made::new(|m| m.boot("vmlinuz-6.1.0-9-amd64", &boot_disk::kernel()[..9000]));
    let (disk, store) = at(&made);
    let (code, saved) = ask(&["snapshot", &disk, "--store", &store]);
    assert_eq!(code, 0, "{saved}");
    let good = Made::new(|_| {});
    fs::write(&disk, &good.bytes).unwrap();
    let (code, human, says) = run(&["rollback", "latest", &disk, "--store", &store, "--yes"]);
    assert_eq!(code, 0, "{says}");
    assert!(human.contains("Boot chain     [!!] /vmlinuz-6.1.0-9-amd64 is cut short"), "{human}");
    let (_, told) = ask(&["undo", &disk, "--store", &store, "--yes"]);
    assert_eq!(told["boot_chains"][0]["state"], "ok", "{told}");
}
