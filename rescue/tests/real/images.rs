//! Images of disks, put together of what tools made: partition tables by sgdisk, LUKS by cryptsetup, how physical volumes begin by LVM
//! (`disk/tests/fixtures/lvm`), file systems by mke2fs (`fixtures/layers`). What md writes at the end of a member is laid out here, as
//! `disk/tests/md.rs` has mdadm judge it.

use std::path::Path;
use std::process::{Command, Stdio};

pub(crate) const MIB: usize = 1 << 20;
/// What opens the encrypted volumes.
pub(crate) const PASSPHRASE: &str = "correct horse";

fn unpacked(below: &str) -> Vec<u8> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(below);
    let packed = std::fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    zstd::decode_all(&*packed).unwrap()
}

/// A file system of the fixtures.
pub(crate) fn file_system(name: &str) -> Vec<u8> {
    unpacked(&format!("tests/fixtures/layers/{name}.img.zst"))
}

/// How a physical volume begins that LVM made.
fn physical(name: &str) -> Vec<u8> {
    unpacked(&format!("crates/disk/tests/fixtures/lvm/{name}.zst"))
}

/// Runs a tool of the host, which is given a text.
fn tool(name: &str, package: &str, args: &[&str], says: &str) {
    let child = Command::new(name)
        .args(args)
        .env("MTOOLS_SKIP_CHECK", "1")
        .env("E2FSPROGS_FAKE_TIME", "1795412415")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|e| panic!("{name} cannot be run ({e}): install the package {package}"));
    // One that does not read it ends before it is written.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), says.as_bytes());
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{name} {args:?}: {out:?}");
}

/// What a tool makes of these bytes in a file.
pub(crate) fn changed_by(bytes: &[u8], change: impl FnOnce(&str)) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("image");
    std::fs::write(&file, bytes).unwrap();
    change(file.to_str().unwrap());
    std::fs::read(file).unwrap()
}

/// A disk with a GPT: of each partition its type as sgdisk names it, and its bytes, whole MiB. `id` is what its identifiers are made of.
pub(crate) fn gpt(id: u32, parts: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let all: usize = parts.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut disk = vec![0; all + 2 * MIB];
    let mut args = vec!["--disk-guid".to_owned(), format!("{id:08}-aaaa-4aaa-8aaa-000000000000")];
    let mut at = MIB;
    for (n, (kind, bytes)) in (1..).zip(parts) {
        disk[at..at + bytes.len()].copy_from_slice(bytes);
        args.push(format!("-n{n}:{}:{}", at / 512, (at + bytes.len()) / 512 - 1));
        args.push(format!("-t{n}:{kind}"));
        args.push(format!("-u{n}:{id:08}-bbbb-4bbb-8bbb-{n:012}"));
        at += bytes.len();
    }
    changed_by(&disk, |file| {
        let args: Vec<&str> = args.iter().map(String::as_str).chain([file]).collect();
        tool("sgdisk", "gdisk", &args, "");
    })
}

/// A machine with LVM on a partition, its root in two pieces, /home and swap: where they lie is what LVM says of `machine`.
pub(crate) fn on_lvm() -> Vec<u8> {
    let mut volume = physical("machine.0");
    volume.resize(16 * MIB, 0);
    let mut put = |extents: &[usize], bytes: &[u8]| {
        for (n, piece) in extents.iter().zip(bytes.chunks(MIB)) {
            let at = (1 + n) * MIB;
            volume[at..at + piece.len()].copy_from_slice(piece);
        }
    };
    put(&[0, 1, 2, 6, 7, 8], &file_system("root"));
    put(&[3, 4], &file_system("home"));
    let swap = changed_by(&vec![0; MIB], |file| {
        tool("mkswap", "util-linux", &["-q", "-U", "44444444-0000-4000-8000-000000000009", file], "");
    });
    put(&[5], &swap);
    volume
}

/// The physical volumes of a group on two disks, with nothing in its volumes.
pub(crate) fn on_two(n: usize) -> Vec<u8> {
    let mut volume = physical(&format!("two.{n}"));
    volume.resize(24 * MIB, 0);
    volume
}

/// What cryptsetup makes of bytes: they lie encrypted behind a header of one MiB, with as much behind them.
pub(crate) fn container(plain: &[u8], uuid: &str) -> Vec<u8> {
    let mut bytes = plain.to_vec();
    // It moves what is there to behind the header, by half of what the volume shrinks by.
    bytes.resize(plain.len() + 2 * MIB, 0);
    changed_by(&bytes, |file| {
        let args = ["-q", "reencrypt", "--encrypt", "--type", "luks2", "--reduce-device-size", "2M", "--key-file", "-"];
        let small = ["--luks2-metadata-size", "16k", "--luks2-keyslots-size", "512k", "--sector-size", "512"];
        let quick =
            ["--pbkdf", "argon2id", "--pbkdf-force-iterations", "4", "--pbkdf-memory", "32", "--pbkdf-parallel", "1"];
        let args: Vec<&str> = args.into_iter().chain(small).chain(quick).chain([file]).collect();
        tool("cryptsetup", "cryptsetup-bin", &args, PASSPHRASE);
        tool("cryptsetup", "cryptsetup-bin", &["-q", "luksUUID", "--uuid", uuid, file], "");
    })
}

/// Deletes files of the EFI partition of the machine of `fixtures/machine`.
pub(crate) fn without(disk: &[u8], files: &[&str]) -> Vec<u8> {
    changed_by(disk, |image| {
        let place = format!("{image}@@1M");
        let files: Vec<String> = files.iter().map(|file| format!("::{file}")).collect();
        let args: Vec<&str> = ["-i", &place].into_iter().chain(files.iter().map(String::as_str)).collect();
        tool("mdel", "mtools", &args, "");
    })
}

/// Deletes some files of the file system on the first partition that have names which are no good names, and puts another there.
pub(crate) fn emptied(disk: &[u8], folder: &str) -> Vec<u8> {
    changed_by(disk, |image| {
        let place = format!("{image}?offset={MIB}");
        let evil = format!("{folder}/evil\u{1b}[2Jevil");
        let request =
            format!("rm {folder}/program\nrm {folder}/.bash_history\nmkdir {evil}\nsymlink {evil}/\u{1b}]0;new /etc\n");
        tool("debugfs", "e2fsprogs", &["-w", "-f", "-", &place], &request);
    })
}
