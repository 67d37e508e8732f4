//! Installed systems, on disks put together with sfdisk, mke2fs and mkfs.vfat.
#![allow(clippy::unwrap_used, reason = "tests")]

mod host;

use disk::inspect;
use disk::io::Overlay;
use disk::system::BIOS_BOOT;
use host::{Seeded, blank, image, place, run, source, texts};
use model::id::VolumePath;
use model::inspection::{Inspection, Severity, System};
use model::units::{ByteLen, ByteOffset};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const ROOT: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const BOOT: &str = "aaaaaaaa-0000-4000-8000-000000000002";
const HOME: &str = "aaaaaaaa-0000-4000-8000-000000000003";
const SWAP: &str = "aaaaaaaa-0000-4000-8000-000000000004";

/// An ext4 file system of 16 MiB with files in it.
fn ext(dir: &Path, uuid: &str, files: &[(&str, &str)]) -> PathBuf {
    let tree = dir.join(format!("tree-{uuid}"));
    std::fs::create_dir_all(tree.join("usr/lib")).unwrap();
    for (name, body) in files {
        let path = tree.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match body.strip_prefix("-> ") {
            Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
            None => std::fs::write(path, body).unwrap(),
        }
    }
    let path = blank(dir, &format!("{uuid}.ext4"), 16 * MIB);
    let args = ["-q", "-t", "ext4", "-U", uuid, "-L", "mylabel", "-d", tree.to_str().unwrap(), path.to_str().unwrap()];
    run("e2fsprogs", "mke2fs", &args, "");
    std::fs::remove_dir_all(tree).unwrap();
    path
}

/// A GPT disk: BIOS boot, ESP, boot, root, swap, home. The unique GUID of the last ends in 6.
fn machine(dir: &Path, name: &str, root: &[(&str, &str)]) -> PathBuf {
    let path = blank(dir, name, 128 * MIB);
    let script = "label: gpt\nstart=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649\n\
        size=16M, type=U\nsize=16M, type=L\nsize=16M, type=L, name=\"the root\"\nsize=8M, type=S\n\
        size=16M, type=L, uuid=bbbbbbbb-0000-4000-8000-000000000006\n";
    run("fdisk", "sfdisk", &["-q", path.to_str().unwrap()], script);
    let esp = blank(dir, "esp", 16 * MIB);
    run("dosfstools", "mkfs.vfat", &["-i", "12ab34cd", esp.to_str().unwrap()], "");
    let swap = blank(dir, "swap", 8 * MIB);
    run("util-linux", "mkswap", &["-U", SWAP, swap.to_str().unwrap()], "");
    place(&esp, &path, 2 * MIB);
    place(&ext(dir, BOOT, &[("vmlinuz", "k")]), &path, 18 * MIB);
    place(&ext(dir, ROOT, root), &path, 34 * MIB);
    place(&swap, &path, 50 * MIB);
    place(&ext(dir, HOME, &[("me/x", "x")]), &path, 58 * MIB);
    path
}

const DEBIAN: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n";

fn paths(list: &[(String, VolumePath)]) -> Vec<(&str, String)> {
    list.iter().map(|(target, path)| (target.as_str(), path.to_string())).collect()
}

fn one(inspection: &Inspection) -> &System {
    assert_eq!(inspection.systems.len(), 1, "{:?}", inspection.findings);
    &inspection.systems[0]
}

#[test]
fn a_system_with_everything() {
    let dir = tempfile::tempdir().unwrap();
    let fstab = format!(
        "# made by hand\nUUID={ROOT} / ext4 errors=remount-ro 0 1\nUUID={BOOT} /boot ext4 defaults 0 2\n\
         UUID=12AB-34CD /boot/efi vfat umask=0077 0 1\n/dev/disk/by-uuid/{SWAP} none swap sw 0 0\n\
         PARTUUID=BBBBBBBB-0000-4000-8000-000000000006 /home ext4 defaults 0 2\ntmpfs /tmp tmpfs defaults 0 0\n\
         UUID=00000000-dead-4000-8000-000000000000 /mnt/usb ext4 nofail 0 0\n"
    );
    let files = [
        ("etc/os-release", "-> ../usr/lib/os-release"),
        ("usr/lib/os-release", DEBIAN),
        ("etc/hostname", "lab-7\n"),
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("etc/fstab", fstab.as_str()),
    ];
    let disk = machine(dir.path(), "disk.img", &files);
    let inspection = inspect(&[source(0, image(&disk))]);
    let s = one(&inspection);
    assert_eq!(s.name.as_str(), "Debian GNU/Linux 12 (bookworm)");
    assert_eq!((s.os.0.as_str(), s.os.1.as_str()), ("debian", "12"));
    assert_eq!(s.hostname.as_ref().unwrap().as_str(), "lab-7");
    assert_eq!(s.machine_id.as_deref(), Some("0123456789abcdef0123456789abcdef"));
    assert_eq!(s.root.to_string(), "d0/p4");
    let boot = [("/boot", "d0/p3"), ("/boot/efi", "d0/p2"), (BIOS_BOOT, "d0/p1")];
    assert_eq!(paths(&s.boot), boot.map(|(t, p)| (t, p.to_owned())));
    assert_eq!(paths(&s.other), [("swap", "d0/p5"), ("/home", "d0/p6")].map(|(t, p)| (t, p.to_owned())));
    let kinds: Vec<&str> = inspection.disks[0].volumes.iter().map(|v| v.kind()).collect();
    assert_eq!(kinds, ["bios-boot", "vfat", "ext4", "ext4", "swap", "ext4"]);
    assert_eq!(texts(&inspection.findings, Severity::Warning), Vec::<&str>::new());
    assert_eq!(texts(&inspection.findings, Severity::Note).len(), 1, "the stick that is not here");
}

#[test]
fn kernel_names_count_on_one_disk_only() {
    let dir = tempfile::tempdir().unwrap();
    let fstab = "/dev/sda4 / ext4 defaults\n/dev/sda3 /boot ext4 defaults\nLABEL=mylabel /home ext4\n\
        PARTLABEL=the\\040root /again ext4\n/dev/mapper/vg-var /var ext4 defaults\n";
    let disk = machine(dir.path(), "disk.img", &[("etc/os-release", DEBIAN), ("etc/fstab", fstab)]);
    let inspection = inspect(&[source(0, image(&disk))]);
    let s = one(&inspection);
    // The ESP that fstab does not name is found by its type.
    let boot = [("/boot", "d0/p3"), ("/boot/efi", "d0/p2"), (BIOS_BOOT, "d0/p1")];
    assert_eq!(paths(&s.boot), boot.map(|(t, p)| (t, p.to_owned())));
    assert!(s.other.is_empty(), "three volumes have that label: {:?}", s.other);
    let said = texts(&inspection.findings, Severity::Warning);
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("/dev/mapper/vg-var for /var"), "{said:?}");

    let second = blank(dir.path(), "second.img", 4 * MIB);
    let inspection = inspect(&[source(0, image(&disk)), source(1, image(&second))]);
    let s = one(&inspection);
    assert_eq!(paths(&s.boot), [("/boot/efi", "d0/p2"), (BIOS_BOOT, "d0/p1")].map(|(t, p)| (t, p.to_owned())));
    let said = texts(&inspection.findings, Severity::Warning);
    assert!(said[0].contains("with more than one disk"), "{said:?}");
}

/// A copy of a disk beside it: every name is there twice, and each system is given its own.
#[test]
fn two_disks_with_the_same_names() {
    let dir = tempfile::tempdir().unwrap();
    let fstab =
        format!("UUID={ROOT} / ext4 defaults\nUUID={BOOT} /boot ext4 defaults\nUUID={HOME} /home ext4 defaults\n");
    let disk = machine(dir.path(), "disk.img", &[("etc/os-release", DEBIAN), ("etc/fstab", &fstab)]);
    let inspection = inspect(&[source(0, image(&disk)), source(1, image(&disk))]);
    assert_eq!(inspection.systems.len(), 2);
    for (n, s) in inspection.systems.iter().enumerate() {
        assert_eq!(s.root.to_string(), format!("d{n}/p4"));
        assert_eq!(s.boot[0].1.to_string(), format!("d{n}/p3"));
        assert_eq!(s.other[0].1.to_string(), format!("d{n}/p6"));
    }
    assert_eq!(texts(&inspection.findings, Severity::Note), Vec::<&str>::new());
}

/// A crash may leave files empty or full of zeros; the system is still there.
#[test]
fn an_os_release_that_was_lost() {
    let dir = tempfile::tempdir().unwrap();
    for (n, lost) in ["", "\0\0\0\0\0\0\0\0"].into_iter().enumerate() {
        let files = [("etc/os-release", lost), ("etc/passwd", "root:x:0:0::/root:/bin/sh\n")];
        let disk = machine(dir.path(), &format!("{n}.img"), &files);
        let inspection = inspect(&[source(0, image(&disk))]);
        let s = one(&inspection);
        assert_eq!((s.name.as_str(), s.os.0.as_str()), ("Linux", "linux"));
        assert_eq!((s.hostname.as_ref(), s.machine_id.as_ref()), (None, None));
        let said = texts(&inspection.findings, Severity::Warning);
        assert_eq!(said.len(), 1);
        assert!(said[0].contains("os-release is missing, empty or damaged"), "{said:?}");
    }
}

/// A file system straight on a disk, as in small virtual machines; and disks with no system.
#[test]
fn a_system_without_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let disk = ext(dir.path(), ROOT, &[("usr/lib/os-release", DEBIAN), ("etc/fstab", "/dev/vda / ext4 defaults\n")]);
    let inspection = inspect(&[source(0, image(&disk))]);
    let s = one(&inspection);
    assert_eq!(s.root.to_string(), "d0");
    assert_eq!(inspection.findings, []);
    let data = ext(dir.path(), HOME, &[("me/etc/os-release", DEBIAN)]);
    assert_eq!(inspect(&[source(0, image(&data))]).systems, []);
    assert_eq!(inspect(&[]), Inspection::default());
}

/// Seeded mutations all over the metadata of a whole machine: an inspection always comes back, and survives the wire.
#[test]
fn a_mutated_machine_is_still_inspected() {
    let dir = tempfile::tempdir().unwrap();
    let fstab = format!("UUID={ROOT} / ext4 defaults\nUUID={BOOT} /boot ext4 defaults\n");
    let base = image(&machine(dir.path(), "disk.img", &[("etc/os-release", DEBIAN), ("etc/fstab", &fstab)]));
    let mut rng = Seeded(23);
    let mut found = 0;
    for _ in 0..150 {
        let mut bytes = Overlay::new(base.clone(), 512, ByteLen(MIB));
        for _ in 0..=rng.below(8) {
            // The table; then the beginning of the ESP, of boot, root and swap.
            let start = [0, 2 * MIB, 18 * MIB, 34 * MIB, 34 * MIB, 50 * MIB][usize::try_from(rng.below(6)).unwrap()];
            let (from, span) = match (start, rng.below(2)) {
                (0, _) => (440, 1500),
                (_, 0) => (0, 4096),
                _ => (0, 400_000),
            };
            let within = from + rng.below(span);
            bytes.write(ByteOffset(start + within), &[rng.byte()]).unwrap();
        }
        let inspection = inspect(&[source(0, Arc::new(bytes))]);
        found += inspection.systems.len();
        let wire = serde_json::to_string(&inspection).unwrap();
        assert_eq!(serde_json::from_str::<Inspection>(&wire).unwrap(), inspection);
    }
    assert!(found > 75, "most of them are still recognised: {found}");
}
