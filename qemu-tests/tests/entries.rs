//! A computer whose firmware lost its boot entries, as after an empty battery or with a new mainboard: its Debian starts by an entry of its
//! own alone, without anything where firmware looks by itself. The rescue saved the entry with the disk, and puts it back by keystrokes.
//!
//! The entry is made and read by efibootmgr of the host, which is carried into the target with the libraries it needs.

use qemu_tests::computer::Computer;
use qemu_tests::guest::Guest;
use qemu_tests::machine::{Bus, Machine, overlay, run};
use qemu_tests::rescue::must;
use qemu_tests::{Result, breakage, rescue, target, workspace};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// How long a command in the target may take.
const COMMAND: Duration = Duration::from_secs(120);
/// How long the firmware may take to say that it starts nothing.
const NOTHING: Duration = Duration::from_secs(240);
const LABEL: &str = "Debian of ours";
const LOADER: &str = "\\EFI\\debian\\grubx64.efi";

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("entries")?;
    let image = rescue::image()?;
    let tools = efibootmgr(&folder)?;
    let disk = overlay(&target::debian(&mut say)?, &folder.join("disk.qcow2"))?;
    let computer = Computer::new(disk, &image, &folder)?;

    say("the target gives itself an entry, and its loader another place");
    let mut guest = starts(&computer, "first", &tools)?;
    guest
        .run("mkdir -p /boot/efi/EFI/debian && cd /boot/efi/EFI && mv BOOT/BOOTX64.EFI debian/grubx64.efi", COMMAND)?;
    guest.run(&format!("{EFIBOOTMGR} -q -c -d /dev/vda -p 2 -L '{LABEL}' -l '{LOADER}'"), COMMAND)?;
    guest.poweroff()?;
    let mut guest = starts(&computer, "second", &tools)?;
    let made = entry(&mut guest)?;
    guest.poweroff()?;
    say(&format!("by that alone it starts: {made}"));

    say("the rescue saves it");
    let mut session = computer.rescued("save")?;
    session.snapshot()?;
    session.poweroff()?;

    say("the firmware forgets everything");
    fs::remove_file(&computer.variables)?;
    let mut machine = computer.target("forgotten").start()?;
    let words = [breakage::NOTHING_ON_UEFI, &["Linux version"]].concat();
    let (index, said) = machine.console.expect_any(&words, NOTHING)?;
    if index + 1 == words.len() {
        return Err(format!("it starts without an entry: {said}").into());
    }
    machine.cut_power();

    say("the rescue puts the entry back");
    let mut session = computer.rescued("back")?;
    let home = session.screen();
    println!("{home}");
    must(&home, &["not start, from UEFI", "forgotten", LABEL])?;
    let plan = session.plan_rollback()?;
    println!("{plan}");
    let done = session.approve("ROLLBACK")?;
    println!("{done}");
    must(&done, &["DONE."])?;
    session.poweroff()?;

    let mut guest = starts(&computer, "again", &tools)?;
    let now = entry(&mut guest)?;
    if now != made {
        return Err(format!("the entry was {made}, is {now}").into());
    }
    guest.poweroff()?;
    say("it starts by the same entry");
    Ok(())
}

/// Starts the target, with efibootmgr at hand.
fn starts(computer: &Computer, name: &str, tools: &Path) -> Result<Guest> {
    let machine: Machine = computer.target(name).disk(tools, Bus::Virtio, "TOOLS").start()?;
    let mut guest = Guest::login(machine)?;
    guest.run("mkdir /tmp/tools && tar -xf /dev/vdb -C /tmp/tools", COMMAND)?;
    guest.run("mountpoint -q /sys/firmware/efi/efivars", COMMAND)?;
    Ok(guest)
}

/// By its own loader and libraries: those of the target may be older than the host's.
const EFIBOOTMGR: &str = "/tmp/tools/ld-linux-x86-64.so.2 --library-path /tmp/tools /tmp/tools/efibootmgr";

/// The host's efibootmgr and its libraries, in an archive that a machine sees as a disk.
fn efibootmgr(folder: &Path) -> Result<PathBuf> {
    let bin = ["/usr/bin/efibootmgr", "/bin/efibootmgr"].map(PathBuf::from).into_iter().find(|p| p.exists());
    let bin = bin.ok_or("efibootmgr is not there (package efibootmgr)")?;
    let out = Command::new("ldd").arg(&bin).output()?;
    let listed = String::from_utf8(out.stdout)?;
    let libraries = listed.split_whitespace().filter(|w| w.starts_with('/'));
    let archive = folder.join("tools.img");
    // Links are followed, and everything lies at the top.
    let mut tar = Command::new("tar");
    tar.args(["-chf"]).arg(&archive).args(["--transform", "s,.*/,,"]).arg(&bin).args(libraries);
    run(tar.stderr(std::process::Stdio::null()))?;
    let len = fs::metadata(&archive)?.len();
    File::options().write(true).open(&archive)?.set_len(len.next_multiple_of(1 << 20))?;
    Ok(archive)
}

/// The entry by which the target was started, as efibootmgr shows it, with where it leads.
fn entry(guest: &mut Guest) -> Result<String> {
    let told = guest.run(&format!("{EFIBOOTMGR} -v"), COMMAND)?;
    let line = told.lines().map(str::trim).find(|l| l.contains(LABEL)).ok_or_else(|| format!("no entry: {told}"))?;
    let number = line.get(4..8).ok_or("no number")?;
    // Nothing else starts it.
    if !told.lines().any(|l| l.trim() == format!("BootCurrent: {number}")) {
        return Err(format!("it was not started by that entry: {told}").into());
    }
    Ok(line.split_whitespace().collect::<Vec<_>>().join(" "))
}
