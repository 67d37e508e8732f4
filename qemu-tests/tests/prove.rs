//! `holdfast prove` on a real Debian: a state that starts is proven, by its login record and by its journal; the same without its
//! initial RAM file system, with a disk in its fstab that is not there, and without its C library is not, each for its own reason.
//! One of these starts on UEFI from a place that only an entry of the firmware knows, one on a BIOS. Nothing is left lying about.

use qemu_tests::machine::{Bus, Parts, run};
use qemu_tests::{Error, Result, history, target, workspace};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Where the target's root and its ESP lie on its disk, in bytes (`target::debian`).
const ROOT: u64 = 66 << 20;
const ESP: u64 = 2 << 20;
/// Seconds that a start may take on an emulated processor, on a host that does something else beside it.
const START: &str = "600";
/// Seconds that what does not start is given: more than what does needs here.
const BROKEN: &str = "300";

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("prove")?;
    let holdfast = program()?;
    let disk = folder.join("disk.img");
    run(Command::new("cp").arg("--sparse=always").arg(target::debian(&mut say)?).arg(&disk))?;

    say("the target starts and powers off: what a start leaves behind is there already");
    history::first_start(&Parts::new("first", &folder).disk(&disk, Bus::Virtio, "TARGET"))?;
    let test = Test { holdfast, store: folder.join("store"), folder };
    test.holdfast(&["store", "init", &test.store()])?;
    let good = test.save(&disk)?;

    say("the good state is proven");
    let proof = test.prove(&good, &["--timeout", START], 0)?;
    told(&mut say, &proof);
    must(&proof, "verdict", "proven")?;
    must(&proof, "firmware", "uefi")?;
    if proof["written"].as_u64().is_none_or(|n| n == 0) {
        return Err(format!("a start that writes nothing leaves no record: {proof}").into());
    }

    say("without a login record its journal proves it, on another kind of disk");
    let other = test.folder.join("other.img");
    run(Command::new("cp").arg("--sparse=always").arg(&disk).arg(&other))?;
    test.ruin(&other, NO_LOGIN_RECORD)?;
    let proof = test.prove(&test.save(&other)?, &["--timeout", START, "--bus", "nvme"], 0)?;
    told(&mut say, &proof);
    must(&proof, "verdict", "proven")?;
    if proof["boot"].as_str().is_none_or(|id| id.len() != 32) || !says(&proof, "it reached graphical.target") {
        return Err(format!("it is proven by something else than its journal: {proof}").into());
    }

    // That a kernel starts shows that its boot loader did.
    for (what, ruin, loader, firmware, why) in [
        ("without its initial RAM file system", RUIN_INITRAMFS, MOVED, "uefi", "Unable to mount root fs"),
        (
            "with a disk in its fstab that is not there",
            RUIN_FSTAB,
            &[][..],
            "uefi",
            "it fell into emergency or rescue mode",
        ),
        ("without its C library", RUIN_LIBC, GONE, "bios", "Attempted to kill init!"),
    ] {
        say(&format!("{what} it is not"));
        let broken = test.folder.join("broken.img");
        run(Command::new("cp").arg("--sparse=always").arg(&disk).arg(&broken))?;
        test.ruin(&broken, ruin)?;
        for command in loader {
            let (tool, arguments) = command.split_once(' ').ok_or("no arguments")?;
            run(Command::new(tool).arg("-i").arg(format!("{}@@{ESP}", broken.display())).args(arguments.split(' ')))?;
        }
        let snapshot = test.save(&broken)?;
        let proof = test.prove(&snapshot, &["--timeout", BROKEN], 3)?;
        told(&mut say, &proof);
        for line in proof["last_lines"].as_array().into_iter().flatten() {
            println!("    | {}", line.as_str().unwrap_or_default());
        }
        must(&proof, "verdict", "not_proven")?;
        must(&proof, "firmware", firmware)?;
        if !says(&proof, why) {
            return Err(format!("it is not proven for another reason than {why:?}: {proof}").into());
        }
    }

    say("the verdicts are in the store, and the store is whole");
    let listed = test.json(&["snapshots", "--store", &test.store(), "--json"], 0)?;
    let listed = listed["snapshots"].as_array().ok_or("no list")?;
    let proven = |s: &&Value| s["proven"].is_string() && s["unproven"].is_null();
    let unproven = |s: &&Value| s["proven"].is_null() && s["unproven"].is_string();
    if (listed.iter().filter(proven).count(), listed.iter().filter(unproven).count()) != (2, 3) {
        return Err(format!("two of five must be proven: {listed:?}").into());
    }
    test.holdfast(&["check", "--read-data", "--store", &test.store()])?;
    say("done");
    Ok(())
}

/// What a Debian has that keeps no login record: systemd makes none anew where there is something of that name.
const NO_LOGIN_RECORD: &[&str] = &["rm /var/log/wtmp", "symlink /var/log/wtmp /dev/null"];
/// Commands of debugfs; `LINES` is the file that stands for an fstab.
const RUIN_INITRAMFS: &[&str] = &["rm /initrd.img", "rm /boot/initrd.img-*"];
const RUIN_FSTAB: &[&str] = &["rm /etc/fstab", "write LINES /etc/fstab"];
const RUIN_LIBC: &[&str] = &["rm /usr/lib/x86_64-linux-gnu/libc.so.6"];
/// What is done to the boot loader on the ESP, with mtools: where distributions put theirs, and away.
const MOVED: &[&str] = &["mmd ::/EFI/debian", "mmove ::/EFI/BOOT/BOOTX64.EFI ::/EFI/debian/grubx64.efi"];
const GONE: &[&str] = &["mdel ::/EFI/BOOT/BOOTX64.EFI"];
/// The wait is cut short: 90 seconds are the rule.
const FSTAB: &str = "UUID=7f1a0c1e-4c0b-4b7e-9d0e-0a5d5c1f0001 / ext4 errors=remount-ro 0 1\n\
                     UUID=00000000-0000-4000-8000-000000000000 /srv ext4 x-systemd.device-timeout=20 0 2\n";

struct Test {
    holdfast: PathBuf,
    store: PathBuf,
    folder: PathBuf,
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Test {
    fn store(&self) -> String {
        text(&self.store)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.holdfast);
        // What it remembers of stores is none of the user's.
        command.args(args).stdin(Stdio::null()).env("XDG_STATE_HOME", self.folder.join("state"));
        command.env("TMPDIR", &self.folder);
        command
    }

    fn holdfast(&self, args: &[&str]) -> Result<()> {
        run(&mut self.command(args))
    }

    fn json(&self, args: &[&str], code: i32) -> Result<Value> {
        let out = self.command(args).stderr(Stdio::inherit()).output()?;
        let said = String::from_utf8_lossy(&out.stdout);
        if out.status.code() != Some(code) {
            return Err(format!("{args:?} ended with {} and not with {code}: {said}", out.status).into());
        }
        Ok(serde_json::from_str(&said)?)
    }

    fn save(&self, disk: &Path) -> Result<String> {
        let saved = self.json(&["snapshot", &text(disk), "--store", &self.store(), "--json"], 0)?;
        Ok(saved["snapshot"].as_str().ok_or("no snapshot")?.to_owned())
    }

    /// Proves a snapshot, and makes sure that nothing is left of it.
    fn prove(&self, snapshot: &str, how: &[&str], code: i32) -> Result<Value> {
        let before = self.left()?;
        let proof = self.json(&[&["prove", snapshot, "--store", &self.store(), "--json"], how].concat(), code)?;
        if self.left()? != before {
            return Err(format!("it left something: {:?}", self.left()?).into());
        }
        must(&proof, "snapshot", snapshot)?;
        if proof["recorded"] != true { Err(format!("it was not noted: {proof}").into()) } else { Ok(proof) }
    }

    /// Names in the folder that it works in.
    fn left(&self) -> Result<Vec<PathBuf>> {
        let mut names: Vec<PathBuf> = fs::read_dir(&self.folder)?.filter_map(|e| Some(e.ok()?.path())).collect();
        names.sort();
        Ok(names)
    }

    /// Changes the root file system of a disk.
    fn ruin(&self, disk: &Path, commands: &[&str]) -> Result<()> {
        let lines = self.folder.join("fstab");
        fs::write(&lines, FSTAB)?;
        let at = format!("{}?offset={ROOT}", disk.display());
        for command in commands {
            let command = match command.split_once('*') {
                None => command.replace("LINES", &text(&lines)),
                Some((start, _)) => self.matching(&at, start)?,
            };
            let out = Command::new("debugfs").args(["-w", "-R", &command, &at]).stdin(Stdio::null()).output()?;
            let said = String::from_utf8_lossy(&out.stderr);
            // It ends with 0 whatever happens, and says its version first.
            if !out.status.success() || said.lines().count() > 1 {
                return Err(format!("debugfs {command}: {said} (package e2fsprogs)").into());
            }
        }
        Ok(())
    }

    /// The command with the one name in its directory that begins so.
    fn matching(&self, at: &str, start: &str) -> Result<String> {
        let (before, name) = start.rsplit_once('/').ok_or("no path")?;
        let dir = before.split_once(' ').ok_or("no argument")?.1;
        let out = Command::new("debugfs").args(["-R", &format!("ls -p {dir}"), at]).output()?;
        let listed = String::from_utf8_lossy(&out.stdout).into_owned();
        let found = listed.lines().filter_map(|l| l.split('/').nth(5)).find(|n| n.starts_with(name));
        let found = found.ok_or_else(|| -> Error { format!("there is no {start}* in {listed}").into() })?;
        Ok(format!("{before}/{found}"))
    }
}

/// The program, built, beside this test's own.
fn program() -> Result<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    if !cargo.args(["build", "--quiet", "-p", "holdfast"]).current_dir(workspace::root()).status()?.success() {
        return Err("the program could not be built".into());
    }
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("this test lies nowhere")?;
    Ok(folder.join("holdfast"))
}

fn told(say: &mut dyn FnMut(&str), proof: &Value) {
    say(&format!("{} after {} s: {}", proof["verdict"], proof["seconds"], proof["why"]));
}

fn says(proof: &Value, words: &str) -> bool {
    proof["why"].as_str().is_some_and(|why| why.contains(words))
}

fn must(proof: &Value, field: &str, is: &str) -> Result<()> {
    if proof[field] == is { Ok(()) } else { Err(format!("{field} is not {is}: {proof}").into()) }
}
