//! Files of a saved state are listed and taken out, as scripts do it; what `mke2fs -d` and mtools put in is what comes out.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::fs;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, symlink};
use std::path::Path;

const MIB: u64 = 1 << 20;

/// A file system with every kind of thing on it, made from a directory that is given back too.
fn disk(m: &Machine, args: &[&str]) -> std::path::PathBuf {
    let tree = m.path("tree");
    fs::create_dir_all(tree.join("dir/deeper")).unwrap();
    fs::write(tree.join("dir/big"), noise(3_000_000, 1)).unwrap();
    fs::write(tree.join("dir/small"), "few bytes\n").unwrap();
    fs::write(tree.join("dir/empty"), "").unwrap();
    fs::hard_link(tree.join("dir/small"), tree.join("dir/deeper/same")).unwrap();
    symlink("../../../../etc/passwd", tree.join("dir/link")).unwrap();
    symlink(format!("/{}", "long/".repeat(40)), tree.join("dir/long-link")).unwrap();
    // mke2fs cuts such a file short where there is inline data.
    if !args.contains(&"inline_data") {
        let sparse = fs::File::create(tree.join("dir/sparse")).unwrap();
        sparse.set_len(40_000_000).unwrap();
        sparse.write_all_at(&noise(5000, 1), 20_000_000).unwrap();
    }
    fs::write(tree.join("dir/setuid"), "#!").unwrap();
    fs::set_permissions(tree.join("dir/setuid"), std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    fs::set_permissions(tree.join("dir/small"), std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    for n in 0..700 {
        fs::write(tree.join("dir/deeper").join(format!("entry {n}")), format!("{n}\n")).unwrap();
    }
    tool("mkfifo", "coreutils", &[tree.join("dir/pipe").to_str().unwrap()]);
    let image = m.path("fs.img");
    fs::File::create(&image).unwrap().set_len(64 * MIB).unwrap();
    let made = ["-q", "-F", "-d", tree.to_str().unwrap()];
    tool("mke2fs", "e2fsprogs", &[&made[..], args, &[image.to_str().unwrap()]].concat());
    // A device, attributes, and an access control list as programs see it (debugfs brings it into the form on the disk): the
    // owner, user 1000, the group, the mask and all others, each with a tag, permissions and a number.
    let entries = [(1, 6, !0), (2, 4, 1000), (4, 4, !0), (0x10, 4, !0), (0x20, 0, !0_u32)];
    let entry =
        |(tag, may, id): (u16, u16, u32)| [&tag.to_le_bytes()[..], &may.to_le_bytes(), &id.to_le_bytes()].concat();
    fs::write(m.path("acl"), [vec![2, 0, 0, 0], entries.map(entry).concat()].concat()).unwrap();
    let debugfs = |command: &str| {
        tool("debugfs", "e2fsprogs", &["-w", "-R", command, image.to_str().unwrap()]);
    };
    debugfs("mknod device b 8 1");
    debugfs("ea_set /dir/small user.colour blue");
    debugfs(&format!("ea_set -f {} /dir/small system.posix_acl_access", m.arg("acl")));
    tree
}

fn save(m: &Machine) -> String {
    let store = m.arg("store");
    assert_eq!(run(&["store", "init", &store]).0, 0);
    let (code, out, err) = run(&["snapshot", &m.arg("fs.img"), "--store", &store, "--json"]);
    assert_eq!(code, 0, "{err}");
    json(&out)["snapshot"].as_str().unwrap()[..12].to_owned()
}

fn same(a: &Path, b: &Path) {
    let (x, y) = (fs::symlink_metadata(a).unwrap(), fs::symlink_metadata(b).unwrap());
    assert_eq!(x.file_type(), y.file_type(), "{a:?}");
    assert_eq!(x.mtime(), y.mtime(), "{a:?}");
    if x.is_symlink() {
        assert_eq!(fs::read_link(a).unwrap(), fs::read_link(b).unwrap());
        return;
    }
    assert_eq!(x.mode() & 0o1777, y.mode() & 0o1777, "{a:?}");
    assert_eq!((x.uid(), x.gid()), (y.uid(), y.gid()), "{a:?}");
    if x.is_dir() {
        let names = |dir: &Path| {
            let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(a), names(b), "{a:?}");
        names(a).iter().for_each(|name| same(&a.join(name), &b.join(name)));
    } else if x.is_file() {
        assert!(fs::read(a).unwrap() == fs::read(b).unwrap(), "{a:?}");
        assert_eq!(x.nlink(), y.nlink(), "{a:?}");
    }
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    for args in [&["-t", "ext4"][..], &["-t", "ext2", "-b", "1024"], &["-t", "ext4", "-O", "inline_data", "-I", "256"]]
    {
        let m = Machine::new();
        let tree = disk(&m, args);
        let id = save(&m);
        let (store, out) = (m.arg("store"), m.path("out"));
        let get = |from: &str, to: &Path, more: &[&str]| {
            let place = format!("{id}:d0:{from}");
            ask(&[&["get", &place, "-o", to.to_str().unwrap(), "--store", &store], more].concat())
        };
        let (code, got) = get("/dir", &out, &[]);
        assert_eq!(code, 0, "{got}");
        same(&tree.join("dir"), &out);
        // 700, big, small, empty, sparse, setuid; the other name of one is no file of its own.
        let sparse = !args.contains(&"inline_data");
        let files = 704 + u64::from(sparse);
        assert_eq!(
            (&got["files"], &got["directories"], &got["others"]),
            (&files.into(), &2.into(), &3.into()),
            "{got}"
        );
        assert_eq!(fs::metadata(out.join("setuid")).unwrap().mode() & 0o7777, 0o755);
        assert_eq!(
            (&got["left_out"]["count"], &got["left_out"]["first"][0]["path"]),
            (&1.into(), &"setuid".into()),
            "{got}"
        );
        assert!(!sparse || fs::metadata(out.join("sparse")).unwrap().blocks() * 512 < MIB, "a hole stays a hole");
        assert!(got["written"].as_u64().unwrap() < 4_000_000, "{got}");
        // What attributes came out is read by putting the tree into another file system.
        let again = m.arg("again.img");
        fs::File::create(&again).unwrap().set_len(64 * MIB).unwrap();
        tool("mke2fs", "e2fsprogs", &["-q", "-F", "-t", "ext4", "-d", out.to_str().unwrap(), &again]);
        let attribute = |name: &str| {
            let ask = format!("ea_get -f {} /small {name}", m.arg("value"));
            tool("debugfs", "e2fsprogs", &["-R", &ask, &again]);
            fs::read(m.path("value")).unwrap()
        };
        assert_eq!(attribute("user.colour"), b"blue");
        // libext2fs gives 0 for the number of an entry that has none, the kernel's programs all ones.
        let acl = fs::read(m.path("acl")).unwrap().into_iter().map(|b| if b == 0xff { 0 } else { b });
        assert_eq!(attribute("system.posix_acl_access"), acl.collect::<Vec<u8>>());
        // Nothing is overwritten, and nothing is left of what was refused.
        assert_eq!(get("/dir", &out, &[]).0, 4);
        assert_eq!(get("/nothing", &m.path("none"), &[]).0, 1);
        assert_eq!(get("/device", &m.path("none"), &[]).0, 4);
        let left: Vec<_> = fs::read_dir(m.path("")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|n| !n.to_string_lossy().contains("part") && n != "none"), "{left:?}");
        // With what gives power, a single file, a link by itself.
        let (code, got) = get("/device", &m.path("device"), &["--privileged"]);
        assert_eq!(code, 0, "{got}");
        let device = fs::metadata(m.path("device")).unwrap();
        assert!(device.file_type().is_block_device() && device.rdev() == 0x801);
        assert_eq!(get("/dir/setuid", &m.path("setuid"), &["--privileged"]).0, 0);
        assert_eq!(fs::metadata(m.path("setuid")).unwrap().mode() & 0o7777, 0o4755);
        assert_eq!(get("/dir/link", &m.path("link"), &[]).0, 0);
        assert_eq!(fs::read_link(m.path("link")).unwrap(), Path::new("../../../../etc/passwd"));

        let (code, list) = ask(&["ls", &format!("{id}:d0:/dir"), "--store", &store]);
        let entries = list["entries"].as_array().unwrap();
        let entry = |name: &str| entries.iter().find(|e| e["name"] == name).unwrap_or_else(|| panic!("{name}: {list}"));
        assert_eq!((code, entries.len()), (0, fs::read_dir(tree.join("dir")).unwrap().count()));
        assert_eq!((&entry("small")["mode"], &entry("small")["links"]), (&"0640".into(), &2.into()));
        assert_eq!(entry("small")["xattrs"], serde_json::json!(["user.colour", "system.posix_acl_access"]));
        assert_eq!(
            (&entry("link")["target"], &entry("link")["kind"]),
            (&"../../../../etc/passwd".into(), &"symlink".into())
        );
        let (_, list) = ask(&["ls", &format!("{id}:d0:/dir/deeper"), "--store", &store]);
        assert_eq!(list["entries"].as_array().unwrap().len(), 701);
        let (code, text, _) = run(&["ls", &format!("{id}:d0:/dir/small"), "--store", &store]);
        assert_eq!(code, 0);
        assert!(text.starts_with("-rw-r-----+   2") && text.trim_end().ends_with(" small"), "{text}");
    }
}

#[test]
fn a_path_leads_through_the_mount_points_of_the_saved_system() {
    let m = Machine::new();
    let disk = m.arg("disk.img");
    tool("mkfs.vfat", "dosfstools", &["-F", "12", "--offset", "2048", "-i", "1a2b3c4d", &disk, "8192"]);
    fs::write(m.path("file"), noise(100_000, 1)).unwrap();
    tool("mcopy", "mtools", &["-i", &format!("{disk}@@{MIB}"), &m.arg("file"), "::A long name.efi"]);
    let fstab =
        "UUID=11111111-2222-4333-8444-555555555555 / ext4 defaults 0 1\nUUID=1A2B-3C4D /boot/efi vfat defaults 0 1\n";
    fs::write(m.path("fstab"), fstab).unwrap();
    let root = format!("{disk}?offset={}", 9 * MIB);
    tool("debugfs", "e2fsprogs", &["-w", "-R", "rm /etc/fstab", &root]);
    m.put(&m.arg("fstab"), "/etc/fstab");
    let id = m.save();
    let store = m.arg("store");
    let get = |place: &str, to: &str| run(&["get", &format!("{id}:{place}"), "-o", &m.arg(to), "--store", &store]);
    assert_eq!(get("/etc/hostname", "hostname").0, 0);
    assert_eq!(fs::read(m.path("hostname")).unwrap(), b"web1\n");
    let (code, _, err) = get("/boot/efi/a LONG name.efi", "efi");
    assert_eq!(code, 0, "{err}");
    assert!(fs::read(m.path("efi")).unwrap() == noise(100_000, 1));
    assert_eq!(get("d0/p1:/", "esp").0, 0);
    assert!(fs::read(m.path("esp/A long name.efi")).unwrap() == noise(100_000, 1));
    let (code, list) = ask(&["ls", "latest:good", "--store", &store]);
    assert_eq!(code, 0);
    let mounts: Vec<_> = list["volumes"].as_array().unwrap().iter().map(|v| (&v["volume"], &v["mount"])).collect();
    assert_eq!(mounts, [(&"d0/p1".into(), &"/boot/efi".into()), (&"d0/p2".into(), &"/".into())]);
    let (code, out, _) = run(&["ls", "latest:/home/ann", "--store", &store]);
    assert!(code == 0 && out.contains(" letter\n"), "{out}");
    assert_eq!(run(&["ls", "latest:d0/p9:/", "--store", &store]).0, 1);
    assert_eq!(run(&["get", "latest:/etc", "--store", &store]).0, 2);
}
