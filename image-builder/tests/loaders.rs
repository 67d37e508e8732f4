//! The loaders for real: SeaBIOS and OVMF start GRUB from the image, GRUB shows our menu and takes the default entry.
//! The kernel is a fake: whether the rescue itself starts is seen where whole machines are tested.

#![expect(clippy::unwrap_used, reason = "a helper of a test panics as the test does")]

use image_builder::initramfs::{Boot, Initramfs, Sources};
use image_builder::manifest::{Manifest, SCHEMA};
use image_builder::package::Origin;
use image_builder::usb::{self, Options};
use image_builder::{host, tool};
use model::units::ByteLen;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A machine that is switched off when the test ends, however it ends.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    fn start(image: &Path, more: &[String]) -> Self {
        let lacking = host::missing(&["qemu-system-x86", "ovmf"]).unwrap();
        assert!(lacking.is_empty(), "this test needs the Debian packages {}", lacking.join(", "));
        let mut qemu = Command::new(tool::find("qemu-system-x86_64").unwrap());
        qemu.args([
            "-accel", "tcg", "-cpu", "max", "-m", "256", "-display", "none", "-serial", "stdio", "-nic", "none",
        ])
        .args(["-device", "qemu-xhci", "-device", "usb-storage,drive=stick,bootindex=0", "-drive"])
        .arg(format!("if=none,id=stick,format=raw,snapshot=on,file={}", image.display()))
        .args(more);
        Self(qemu.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap())
    }

    /// Waits until these words have come over the serial line, in this order. `key` is pressed once the first has come.
    fn expect(&mut self, words: &[&str], key: Option<u8>) {
        let mut line = self.0.stdout.take().unwrap();
        let (send, receive) = mpsc::channel();
        std::thread::spawn(move || {
            let mut block = [0; 4096];
            while let Ok(n @ 1..) = line.read(&mut block) {
                if send.send(block[..n].to_vec()).is_err() {
                    return;
                }
            }
        });
        let start = Instant::now();
        let mut said = String::new();
        let mut key = key;
        loop {
            if let Some(byte) = key.filter(|_| said.contains(words[0])) {
                self.0.stdin.as_mut().unwrap().write_all(&[byte]).unwrap();
                key = None;
            }
            let mut rest = said.as_str();
            let all = words.iter().all(|word| match rest.split_once(word) {
                Some((_, after)) => {
                    rest = after;
                    true
                }
                None => false,
            });
            if all {
                return;
            }
            let left = Duration::from_secs(100).saturating_sub(start.elapsed());
            match receive.recv_timeout(left) {
                Ok(block) => said.push_str(&String::from_utf8_lossy(&block)),
                Err(_) => panic!("the machine did not say {words:?}; it said:\n{}", said.escape_debug()),
            }
        }
    }
}

fn image(folder: &Path) -> PathBuf {
    let origin = Origin { package: "fake".to_owned(), version: "1".to_owned() };
    let manifest = Manifest {
        schema: SCHEMA,
        version: "0".to_owned(),
        kernel: "fake".to_owned(),
        kernel_origin: origin.clone(),
        files: Vec::new(),
        modules: Vec::new(),
        absent_modules: Vec::new(),
    };
    let initramfs = Initramfs { bytes: vec![7; 5000], unpacked_len: 1, manifest };
    let boot = Boot { release: "fake".to_owned(), kernel: vec![0; 70_000], kernel_origin: origin, initramfs };
    let output = folder.join("stick.img");
    let options =
        Options { output: output.clone(), sources: Sources::default(), store: ByteLen(40 << 20), fresh_ids: false };
    usb::assemble(&options, &boot, &usb::loaders().unwrap()).unwrap();
    output
}

/// The menu, then the default entry's own words. "error" is GRUB on meeting the fake kernel: it read the file.
const MENU: [&str; 3] = ["Holdfast rescue (Linux fake)", "Starting Holdfast", "error: "];

#[test]
fn a_bios_starts_grub_from_the_stick() {
    let folder = tempfile::tempdir().unwrap();
    Machine::start(&image(folder.path()), &[]).expect(&MENU, None);
}

#[test]
fn a_bios_hands_over_to_the_installed_disk() {
    let folder = tempfile::tempdir().unwrap();
    // Says "installed" on the serial line and halts: mov dx, 0x3f8; then mov al, letter; out dx, al for each; hlt.
    let mut sector = vec![0xba, 0xf8, 0x03];
    sector.extend(b"installed".iter().flat_map(|letter| [0xb0, *letter, 0xee]));
    sector.extend([0xf4, 0xeb, 0xfd]);
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    sector.resize(1 << 20, 0);
    let disk = folder.path().join("disk");
    std::fs::write(&disk, sector).unwrap();
    let more = ["-drive".to_owned(), format!("if=virtio,format=raw,file={}", disk.display())];
    Machine::start(&image(folder.path()), &more)
        .expect(&["executed automatically", "Starting the disk hd1", "installed"], Some(b'i'));
}

#[test]
fn uefi_starts_the_signed_grub_from_the_stick() {
    let folder = tempfile::tempdir().unwrap();
    let variables = folder.path().join("variables");
    std::fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).unwrap();
    let firmware = [
        "-machine".to_owned(),
        "q35".to_owned(),
        "-drive".to_owned(),
        "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd".to_owned(),
        "-drive".to_owned(),
        format!("if=pflash,format=raw,file={}", variables.display()),
    ];
    Machine::start(&image(folder.path()), &firmware).expect(&MENU, None);
}
