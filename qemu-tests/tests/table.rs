//! Partition tables are brought back on a real controller: first the primary GPT is gone, so that the kernel of the rescue
//! sees no partitions and everything is written through the whole disk; then the backup GPT is gone, so that the volumes are
//! partitions, which must be let go for the table and taken again. Each time the first screen names the damage, independent
//! tools find both copies right afterwards, and at the end the target starts on UEFI by its restored ESP.

use model::units::SectorSize;
use qemu_tests::guest::Guest;
use qemu_tests::machine::{Bus, Firmware, Parts, run};
use qemu_tests::rescue::{Session, must};
use qemu_tests::{Result, rescue, target, workspace};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Header and entries of one copy: 1 + 32 sectors, as every usual tool writes them (UEFI specification, 5.3).
const COPY: u64 = 33 * SECTOR;
const SECTOR: u64 = SectorSize::B512.0 as u64;
/// Numbers of the target's partitions.
const ESP: usize = 2;
const ROOT: usize = 3;

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("table")?;
    let image = rescue::image()?;
    let base = target::debian(&mut say)?;
    let stick = rescue::stick(&image, &folder.join("stick.qcow2"))?;
    // Raw, so that it can be edited and checked in place.
    let disk = folder.join("disk.img");
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(&base).arg(&disk))?;
    let rescued = |name: &str, bus: Bus| {
        let stick = Parts::new(name, &folder).memory(rescue::MEMORY).disk(&stick, Bus::Usb, "STICK");
        stick.disk(&disk, bus, "TARGET")
    };
    let good = Tables::read(&disk)?;
    good.verified(&disk)?;
    loader(&disk, &good)?;

    say("the rescue saves the target");
    let mut session = Session::start(&rescued("save", Bus::Virtio))?;
    println!("{}", session.snapshot()?);
    session.poweroff()?;
    good.unchanged(&disk)?;

    say("the primary GPT and the start of the ESP are overwritten");
    zero(&disk, SECTOR, COPY)?;
    zero(&disk, good.start_of(ESP), 64 * 1024)?;
    damaged(&disk)?;
    if loader(&disk, &good).is_ok() {
        return Err("the ESP can still be read, though its start was overwritten".into());
    }

    say("now on SATA, the rescue says so, and takes it back through the whole disk");
    let screen = roll_back(&rescued("primary", Bus::Sata))?;
    must(&screen, &["primary partition table is damaged"])?;
    good.unchanged(&disk)?;
    good.verified(&disk)?;
    loader(&disk, &good)?;

    say("the backup GPT is overwritten, and the C library is deleted");
    zero(&disk, good.len - COPY, COPY)?;
    damaged(&disk)?;
    let root = format!("{}?offset={}", disk.display(), good.start_of(ROOT));
    run(Command::new("debugfs").args(["-w", "-R", "rm /usr/lib/x86_64-linux-gnu/libc.so.6", &root]))?;

    say("the rescue says so, and takes it back through the partitions");
    let screen = roll_back(&rescued("backup", Bus::Sata))?;
    must(&screen, &["backup partition table", "libc"])?;
    good.unchanged(&disk)?;
    good.verified(&disk)?;

    say("the target starts on UEFI, and its packages are in order");
    let uefi = Parts::new("target", &folder).firmware(Firmware::Uefi).disk(&disk, Bus::Virtio, "TARGET");
    let mut guest = Guest::login(uefi.start()?)?;
    let limit = Duration::from_secs(120);
    let audit = guest.run("dpkg --audit", limit)?;
    if !audit.trim().is_empty() {
        return Err(format!("dpkg --audit is not content: {audit}").into());
    }
    guest.run("dpkg --verify libc6 && test -d /sys/firmware/efi && test -s /boot/efi/EFI/BOOT/BOOTX64.EFI", limit)?;
    drop(guest);
    say("done");
    Ok(())
}

/// Starts the rescue, takes the last good state back by keystrokes, and gives the first screen.
fn roll_back(parts: &Parts) -> Result<String> {
    let mut session = Session::start(parts)?;
    let first = session.screen();
    println!("{first}");
    println!("{}", session.plan_rollback()?);
    println!("{}", session.approve("ROLLBACK")?);
    session.poweroff()?;
    Ok(first)
}

/// What stands before the first partition and behind the last: boot code, and both copies of the table.
struct Tables {
    len: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Tables {
    fn read(disk: &Path) -> Result<Self> {
        let file = File::open(disk)?;
        let len = file.metadata()?.len();
        let (mut head, mut tail) = (vec![0; 1 << 20], vec![0; usize::try_from(COPY)?]);
        file.read_exact_at(&mut head, 0)?;
        file.read_exact_at(&mut tail, len - COPY)?;
        Ok(Self { len, head, tail })
    }

    /// Where a partition begins, by its entry: 128 bytes each from sector 2 on, its first sector at byte 32 of it.
    fn start_of(&self, number: usize) -> u64 {
        let at = 1024 + (number - 1) * 128 + 32;
        let lba: [u8; 8] = self.head[at..at + 8].try_into().expect("eight bytes");
        u64::from_le_bytes(lba) * SECTOR
    }

    /// Every byte is what it was.
    fn unchanged(&self, disk: &Path) -> Result<()> {
        let now = Self::read(disk)?;
        let differs = |a: &[u8], b: &[u8]| a.iter().zip(b).position(|(a, b)| a != b);
        match (differs(&self.head, &now.head), differs(&self.tail, &now.tail)) {
            (None, None) => Ok(()),
            (Some(at), _) => Err(format!("before the first partition, byte {at} is not what it was").into()),
            (None, Some(at)) => Err(format!("byte {at} of the backup table is not what it was").into()),
        }
    }

    /// Two tools with their own idea of a GPT find nothing wrong with either copy.
    fn verified(&self, disk: &Path) -> Result<()> {
        let (sgdisk, sfdisk) = checked(disk)?;
        match sgdisk.contains("No problems found") && sfdisk.contains("No errors detected") {
            true => Ok(()),
            false => Err(format!("the table is not right; sgdisk: {sgdisk}\nsfdisk: {sfdisk}").into()),
        }
    }
}

/// The tools see the damage: what they say afterwards means something.
fn damaged(disk: &Path) -> Result<()> {
    let (sgdisk, _) = checked(disk)?;
    match sgdisk.contains("No problems found") {
        true => Err("sgdisk finds nothing wrong with a table that was overwritten".into()),
        false => Ok(()),
    }
}

/// What `sgdisk` and `sfdisk` print of the table. Neither writes.
fn checked(disk: &Path) -> Result<(String, String)> {
    let said = |name: &str, package: &str, arg: &str| -> Result<String> {
        let out = Command::new(name).env("LC_ALL", "C.UTF-8").arg(arg).arg(disk).output();
        let out = out.map_err(|e| format!("{name} does not start ({e}); package {package}"))?;
        Ok(format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr)))
    };
    Ok((said("sgdisk", "gdisk", "--verify")?, said("sfdisk", "fdisk", "--verify")?))
}

/// The ESP's loader can be read.
fn loader(disk: &Path, good: &Tables) -> Result<()> {
    let esp = format!("{}@@{}", disk.display(), good.start_of(ESP));
    run(Command::new("mtype").args(["-i", &esp, "::/EFI/BOOT/BOOTX64.EFI"]))
}

fn zero(disk: &Path, at: u64, len: u64) -> Result<()> {
    File::options().write(true).open(disk)?.write_all_at(&vec![0; usize::try_from(len)?], at)?;
    Ok(())
}
