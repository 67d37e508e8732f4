//! A small installed system on a disk image, made with the tools of the host; and the program itself.
#![allow(dead_code, reason = "each test file uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const MIB: u64 = 1 << 20;
/// Where the root file system lies on the disk.
const ROOT: (u64, u64) = (9 * MIB, 48 * MIB);
/// Stands for a shared library: the magic of an ELF file, and something behind it.
const ELF: &str =
    "\x7fELF: a shared library would have its headers, its symbols and its code behind these four bytes\n";
const DPKG_GOOD: &str = "Package: openssl\nStatus: install ok installed\nVersion: 3.0.15\nArchitecture: amd64\n\n";
const DPKG_BAD: &str = "Package: openssl\nStatus: install ok half-configured\nVersion: 3.0.15\nArchitecture: amd64\n\n";

/// Where programs under test keep their state: not in the home of whoever runs the tests.
pub(crate) const STATE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/state");

pub(crate) fn holdfast() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.env("XDG_STATE_HOME", STATE);
    command
}

/// Runs the program; gives its exit code, stdout and stderr.
pub(crate) fn run(args: &[&str]) -> (i32, String, String) {
    let out = holdfast().args(args).stdin(Stdio::null()).output().unwrap();
    let code = out.status.code().unwrap_or_else(|| panic!("{args:?} was killed: {out:?}"));
    (code, String::from_utf8(out.stdout).unwrap(), String::from_utf8(out.stderr).unwrap())
}

/// Runs the program with `--json`; gives its exit code and answer.
pub(crate) fn ask(args: &[&str]) -> (i32, serde_json::Value) {
    let (code, out, err) = run(&[args, &["--json"]].concat());
    assert!(!out.is_empty(), "{args:?}: {code} {err}");
    (code, json(&out))
}

/// Bytes that repeat nowhere, the same ones for a seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| next()).collect()
}

/// Runs a tool of the host.
pub(crate) fn tool(name: &str, package: &str, args: &[&str]) -> Output {
    let out = match Command::new(name).args(args).output() {
        Ok(out) => out,
        Err(e) => panic!("{name} cannot be run ({e}): install the package {package}"),
    };
    assert!(out.status.success(), "{name} {args:?}: {out:?}");
    out
}

/// A disk image with a GPT, an EFI system partition (empty) and a root file system that shut down in order.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        let root = machine.path("root");
        for (name, text) in [
            ("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n"),
            ("etc/hostname", "web1\n"),
            ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
            ("etc/fstab", "UUID=11111111-2222-4333-8444-555555555555 / ext4 defaults 0 1\n"),
            ("var/lib/dpkg/status", DPKG_GOOD),
            ("sbin/init", "#!\n"),
            ("lib64/ld-linux-x86-64.so.2", ELF),
            ("usr/lib/x86_64-linux-gnu/libc.so.6", ELF),
            ("boot/vmlinuz-6.1.0-30-amd64", "kernel\n"),
            ("boot/initrd.img-6.1.0-30-amd64", "initrd\n"),
            ("usr/lib/modules/6.1.0-30-amd64/modules.dep", "kernel/fs/ext4/ext4.ko:\n"),
            ("home/ann/letter", "Dear Ben,\n"),
        ] {
            let file = root.join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let disk = machine.disk();
        fs::File::create(&disk).unwrap().set_len(64 * MIB).unwrap();
        let disk = disk.to_str().unwrap();
        tool("sgdisk", "gdisk", &["-n1:1M:+8M", "-t1:ef00", "-n2:9M:+48M", "-t2:8300", disk]);
        let offset = format!("offset={},nodiscard", ROOT.0);
        let uuid = "11111111-2222-4333-8444-555555555555";
        let root = root.to_str().unwrap();
        let size = format!("{}k", ROOT.1 / 1024);
        let args = ["-q", "-F", "-t", "ext4", "-U", uuid, "-d", root, "-E", &offset, disk, &size];
        tool("mke2fs", "e2fsprogs", &args);
        machine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path as an argument.
    pub(crate) fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.path("disk.img")
    }

    /// The disk and the store as arguments.
    pub(crate) fn both(&self) -> (String, String) {
        (self.arg("disk.img"), self.arg("store"))
    }

    /// Makes the store and saves the present state; gives the snapshot's id.
    pub(crate) fn save(&self) -> String {
        let (disk, store) = self.both();
        if !Path::new(&store).exists() {
            assert_eq!(run(&["store", "init", &store]).0, 0);
        }
        let (code, out, err) = run(&["snapshot", &disk, "--store", &store, "--json"]);
        assert_eq!(code, 0, "{err}");
        json(&out)["snapshot"].as_str().unwrap().to_owned()
    }

    /// Leaves a package half configured, as an installation that was cut short does.
    pub(crate) fn break_packages(&self) {
        fs::write(self.path("bad"), DPKG_BAD).unwrap();
        // Nobody mounts it, and a file is put in the place of another like it: that it was written to shows by the second of its
        // superblock's time alone.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let at = format!("{}?offset={}", self.arg("disk.img"), ROOT.0);
        let status = "/var/lib/dpkg/status";
        tool("debugfs", "e2fsprogs", &["-w", "-R", &format!("rm {status}"), &at]);
        tool("debugfs", "e2fsprogs", &["-w", "-R", &format!("write {} {status}", self.arg("bad")), &at]);
    }

    /// Puts a file of the host on the root file system.
    pub(crate) fn put(&self, file: &str, at: &str) {
        let disk = format!("{}?offset={}", self.arg("disk.img"), ROOT.0);
        tool("debugfs", "e2fsprogs", &["-w", "-R", &format!("write {file} {at}"), &disk]);
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        fs::read(self.disk()).unwrap()
    }
}

pub(crate) fn json(text: &str) -> serde_json::Value {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    assert_eq!(value["schema"], 1);
    value
}
