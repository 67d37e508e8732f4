//! The outputs from small fake parts: the same bytes twice, sound to independent tools, weighed against the budget.

#![expect(clippy::unwrap_used, reason = "a helper of a test panics as the test does")]

use image_builder::initramfs::{Boot, Initramfs, Sources};
use image_builder::manifest::{Manifest, OutputManifest, SCHEMA};
use image_builder::package::Origin;
use image_builder::usb::{self, Loaders, Options, Report};
use image_builder::{BuildError, bios, netboot, tool};
use model::inspection::{GPT_BIOS_BOOT, GPT_ESP, GPT_STORE};
use model::units::ByteLen;
use std::path::Path;
use std::process::Command;

const MIB: u64 = 1 << 20;

fn origin() -> Origin {
    Origin { package: "fake".to_owned(), version: "1".to_owned() }
}

fn boot(kernel: Vec<u8>) -> Boot {
    let manifest = Manifest {
        schema: SCHEMA,
        version: "0".to_owned(),
        kernel: "6.12-fake".to_owned(),
        kernel_origin: origin(),
        files: Vec::new(),
        modules: Vec::new(),
        absent_modules: Vec::new(),
    };
    let initramfs = Initramfs { bytes: vec![7; 100_000], unpacked_len: 1, manifest };
    Boot { release: "6.12-fake".to_owned(), kernel, kernel_origin: origin(), initramfs }
}

fn loaders() -> Loaders {
    let mut sector = vec![0x90; 512];
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    Loaders {
        bios: bios::Loader { boot: sector, core: vec![0xcc; 30_000], origin: origin() },
        efi: vec![("EFI/BOOT/BOOTX64.EFI".to_owned(), b"MZ".to_vec(), origin())],
    }
}

fn options(output: &Path) -> Options {
    Options { output: output.to_path_buf(), sources: Sources::default(), store: ByteLen(40 * MIB), fresh_ids: false }
}

fn assemble(output: &Path, kernel: &[u8]) -> Report {
    usb::assemble(&options(output), &boot(kernel.to_vec()), &loaders()).unwrap()
}

fn manifest(file: &Path) -> OutputManifest {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

#[test]
fn the_same_parts_give_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let one = assemble(&at("one"), b"kernel");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let two = assemble(&at("two"), b"kernel");
    assert!(std::fs::read(&one.output).unwrap() == std::fs::read(&two.output).unwrap());
    let (mut a, mut b) = (manifest(&one.manifest), manifest(&two.manifest));
    a.output.as_mut().unwrap().path.clear();
    b.output.as_mut().unwrap().path.clear();
    assert_eq!(a, b);
    // Another kernel is another image, with other ids.
    let three = assemble(&at("three"), b"other");
    assert_ne!(one.store_guid, three.store_guid);
    let fresh = Options { fresh_ids: true, ..options(&at("four")) };
    let fresh = usb::assemble(&fresh, &boot(b"kernel".to_vec()), &loaders()).unwrap();
    assert_ne!(one.store_guid, fresh.store_guid);
}

#[test]
fn independent_tools_find_a_sound_disk() {
    let folder = tempfile::tempdir().unwrap();
    let report = assemble(&folder.path().join("disk.img"), b"kernel");
    let manifest = manifest(&report.manifest);
    let sgdisk = tool::find("sgdisk").expect("this test needs the Debian package gdisk");
    let said = String::from_utf8(tool::run(Command::new(sgdisk).arg("-v").arg(&report.output)).unwrap()).unwrap();
    assert!(said.contains("No problems found"), "{said}");

    let types: Vec<&str> = manifest.partitions.iter().map(|p| p.type_id.as_str()).collect();
    assert_eq!(types, [GPT_BIOS_BOOT, GPT_ESP, GPT_STORE]);
    assert_eq!(manifest.partitions[2].guid, report.store_guid);
    let disk = std::fs::read(&report.output).unwrap();
    assert_eq!(disk.len() as u64, report.len.0);
    let part = |n: usize| {
        let p = &manifest.partitions[n];
        let (start, len) = (usize::try_from(p.start).unwrap(), usize::try_from(p.len).unwrap());
        &disk[start..start + len]
    };
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let fsck = tool::find("fsck.vfat").expect("this test needs the Debian package dosfstools");
    let esp = file("esp", part(1));
    tool::run(Command::new(fsck).arg("-n").arg(&esp)).unwrap();
    let fsck = tool::find("e2fsck").expect("this test needs the Debian package e2fsprogs");
    tool::run(Command::new(fsck).arg("-fn").arg(file("store", part(2)))).unwrap();

    // GRUB is told the store partition that is there, and finds its core image.
    let mtype = tool::find("mtype").expect("this test needs the Debian package mtools");
    let menu = tool::run(Command::new(mtype).arg("-i").arg(&esp).arg("::/EFI/debian/grub.cfg")).unwrap();
    assert!(String::from_utf8(menu).unwrap().contains(&format!("holdfast.store={}", report.store_guid)));
    assert_eq!(&disk[0x5c..0x64], &(manifest.partitions[0].start / 512).to_le_bytes());
    assert_eq!(part(0)[0], 0xcc);
}

#[test]
fn the_manifest_names_every_file_with_its_origin() {
    let folder = tempfile::tempdir().unwrap();
    let report = assemble(&folder.path().join("disk.img"), b"kernel");
    let manifest = manifest(&report.manifest);
    let whole = manifest.output.unwrap();
    assert_eq!(whole.size, report.len.0);
    assert_eq!(whole.sha256, image_builder::digest::file(&report.output).unwrap());
    let paths: Vec<&str> = manifest.files.iter().map(|f| f.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "EFI/BOOT/BOOTX64.EFI",
            "EFI/BOOT/grub.cfg",
            "EFI/debian/grub.cfg",
            "holdfast/initramfs.zst",
            "holdfast/vmlinuz",
            "(BIOS) boot.img",
            "(BIOS) core.img"
        ]
    );
    assert!(manifest.files.iter().all(|f| f.sha256.len() == 64 && !f.origin.package.is_empty()));
}

#[test]
fn what_is_over_the_budget_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("disk.img");
    let heavy = boot(vec![1; 36_000_000]);
    let refused = usb::assemble(&options(&output), &heavy, &loaders()).unwrap_err();
    assert!(matches!(refused, BuildError::OverBudget { .. }), "{refused}");
    assert!(netboot::assemble(&folder.path().join("net"), &heavy, &[]).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_netboot_bundle_is_the_same_twice_and_its_script_names_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let loaders = [("ipxe.efi", b"MZ".to_vec(), origin())];
    let mut bundles = ["one", "two"].map(|name| {
        let bundle = folder.path().join(name);
        netboot::assemble(&bundle, &boot(b"kernel".to_vec()), &loaders).unwrap();
        let files = std::fs::read_dir(&bundle).unwrap().map(|e| e.unwrap());
        let mut files: Vec<_> =
            files.map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap())).collect();
        files.sort();
        files
    });
    assert!(bundles[0] == bundles[1]);
    let names: Vec<String> = bundles[0].iter().map(|(n, _)| n.clone()).collect();
    assert_eq!(names, ["README.txt", "holdfast.ipxe", "initramfs.zst", "ipxe.efi", "manifest.json", "vmlinuz"]);
    let script = String::from_utf8(bundles[0].swap_remove(1).1).unwrap();
    assert!(script.starts_with("#!ipxe\n") && script.contains("kernel vmlinuz initrd=initramfs.zst"), "{script}");
}
