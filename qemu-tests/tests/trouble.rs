//! When something is not as it should be: no disk, no store, a broken program, damaged disks. Each time there is a readable
//! screen that says what is the matter and what to do, and nothing is written.

use image_builder::cpio::{Archive, Node};
use image_builder::initramfs::{self, Sources};
use image_builder::kernel::Kernel;
use qemu_tests::machine::{Bus, Machine, Parts, content_hash};
use qemu_tests::rescue::{Session, must};
use qemu_tests::small::{self, Harm};
use qemu_tests::{Result, rescue, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A boot of the kernel and its first screen, without hardware acceleration.
const START: Duration = Duration::from_secs(180);
/// An answer to a key.
const SOON: Duration = Duration::from_secs(30);
/// A machine that leaves in order.
const LEAVING: Duration = Duration::from_secs(60);
/// A store that nobody has.
const NOBODYS: &str = "holdfast.store=00000000-1111-2222-3333-444444444444 holdfast.settle=3";

fn main() -> Result<()> {
    let folder = workspace::scratch("trouble")?;
    let image = rescue::image()?;
    no_disk(&folder, &image)?;
    damaged_disks(&folder, &image)?;
    let netboot = Netboot::build(&folder)?;
    no_store(&folder, &netboot)?;
    broken_program(&folder, &netboot)?;
    program_that_ends(&folder, &netboot)?;
    println!("done");
    Ok(())
}

/// The stick and nothing else: both consoles say so. Ctrl-Alt-Del starts the machine again.
fn no_disk(folder: &Path, image: &Path) -> Result<()> {
    println!("no disk but the stick");
    let stick = rescue::stick(image, &folder.join("stick.qcow2"))?;
    let parts = Parts::new("no-disk", folder).memory(rescue::MEMORY).screen().disk(&stick, Bus::Usb, "STICK");
    let mut session = Session::start(&parts)?;
    let screen = session.screen();
    println!("{screen}");
    must(&screen, &["No disk of this machine was found", "see that the disk is connected", "power off"])?;
    if screen.contains("Save the present state") {
        return Err("it offers to save what is not there".into());
    }
    session.machine.screen()?.expect_text("the same", SOON, |s| s.contains("No disk of this machine was found"))?;
    let screen =
        session.press("s", &["how it ended", "IT FAILED", "There is nothing on these disks that can be saved"])?;
    println!("{screen}");
    session.press("\x1b", &["HOLDFAST  what happened", "No disk of this machine was found"])?;
    session.press("p", &["restart or power off", "Power off"])?;
    println!("Ctrl-Alt-Del");
    session.machine.screen()?.press(&["ctrl", "alt", "delete"])?;
    session.machine.wait_off(LEAVING)
}

/// Disks that nobody can make sense of, one on each bus of a q35: the rescue says what is wrong with each, and writes none.
fn damaged_disks(folder: &Path, image: &Path) -> Result<()> {
    println!("damaged disks");
    let stick = rescue::stick(image, &folder.join("stick-2.qcow2"))?;
    let noise = small::noise(folder, "noise")?;
    let primary = small::system(folder, "primary")?;
    small::harm(&primary, Harm::PrimaryTable)?;
    let truncated = small::system(folder, "truncated")?;
    small::harm(&truncated, Harm::Truncated)?;
    let superblock = small::system(folder, "superblock")?;
    small::harm(&superblock, Harm::Superblock)?;
    let disks = [&noise, &primary, &truncated, &superblock];
    let before = disks.iter().map(|d| content_hash(d)).collect::<Result<Vec<_>>>()?;
    let parts = Parts::new("damaged", folder)
        .memory(rescue::MEMORY)
        .with(&["-machine", "q35"])
        .disk(&stick, Bus::Usb, "STICK")
        .disk(&noise, Bus::Sata, "NOISE")
        .disk(&primary, Bus::Nvme, "PRIMARY")
        .disk(&truncated, Bus::Virtio, "TRUNCATED")
        .disk(&superblock, Bus::Usb, "SUPER");
    let mut session = Session::start(&parts)?;
    println!("{}", session.screen());
    session.press("e", &["what was found, and where"])?;
    let mut told = String::new();
    for _ in 0..12 {
        let page = session.screen();
        told.push_str(&page);
        told.push('\n');
        if !page.contains("more below") {
            break;
        }
        session.machine.console.send("\x1b[6~")?;
    }
    println!("{told}");
    must(
        &told,
        &[
            "d0 unknown, 16.7 MB",
            "but its superblock is gone",
            "d1/p1 DAMAGED ext4",
            "The disk ends at sector 98303, its partition table at 131071",
            "the file system has 63488 blocks",
            "The primary partition table is damaged",
            "the backup at sector 131071 is good and is used",
        ],
    )?;
    session.press("\x1b", &["what happened"])?;
    println!("saved all the same");
    let saved = session.snapshot()?;
    println!("{saved}");
    session.poweroff()?;
    for (disk, before) in disks.iter().zip(before) {
        if content_hash(disk)? != before {
            return Err(format!("{} was changed", disk.display()).into());
        }
    }
    Ok(())
}

/// A kernel and an initramfs, started without any loader.
struct Netboot {
    kernel: PathBuf,
    initramfs: PathBuf,
}

impl Netboot {
    fn build(folder: &Path) -> Result<Self> {
        let initramfs = folder.join("initramfs.zst");
        initramfs::build(&Sources::default(), &initramfs)?;
        Ok(Self { kernel: Kernel::newest()?.image, initramfs })
    }

    /// With another program in the place of `holdfast`: the kernel unpacks one archive after the other.
    fn with_program(&self, file: &Path, bytes: &[u8]) -> Result<Self> {
        let mut archive = Archive::default();
        archive.add("bin/holdfast", Node::File { bytes: bytes.to_vec(), program: true });
        let mut all = fs::read(&self.initramfs)?;
        all.resize(all.len().next_multiple_of(4), 0);
        all.extend(archive.to_bytes(0));
        fs::write(file, all)?;
        Ok(Self { kernel: self.kernel.clone(), initramfs: file.to_path_buf() })
    }

    fn parts(&self, name: &str, folder: &Path, options: &str) -> Parts {
        let line = format!("quiet loglevel=3 console=tty0 console=ttyS0,115200 {options}");
        let (kernel, initramfs) = (self.kernel.to_string_lossy(), self.initramfs.to_string_lossy());
        let parts = Parts::new(name, folder).memory(rescue::MEMORY);
        parts.with(&["-kernel", &kernel, "-initrd", &initramfs, "-append", &line])
    }
}

/// No disk at all, and no store: it says that it can only look.
fn no_store(folder: &Path, netboot: &Netboot) -> Result<()> {
    println!("no store");
    let session = Session::start(&netboot.parts("no-store", folder, ""))?;
    let screen = session.screen();
    println!("{screen}");
    must(&screen, &["no store: can only look", "No disk of this machine was found", "No save disk is here"])?;
    session.poweroff()
}

/// `/bin/holdfast` is not a program. Enter tries again; `p` switches off.
fn broken_program(folder: &Path, netboot: &Netboot) -> Result<()> {
    println!("a program that is none");
    let broken = netboot.with_program(&folder.join("broken.initramfs"), b"\x7fELF, but no program")?;
    let mut machine = broken.parts("broken", folder, NOBODYS).start()?;
    let screen = failure(&mut machine, "HOLDFAST COULD NOT START ITS PROGRAM")?;
    must(&screen, &["Nothing was written to your disks", "starting /bin/holdfast failed: Exec format error"])?;
    must(
        &screen,
        &["no disk has that partition", "holdfast.store=000", "Drivers", "none were found", "r and Enter start"],
    )?;
    let before = machine.console.transcript().matches("COULD NOT START").count();
    machine.console.send("\r")?;
    machine.console.expect("COULD NOT START", SOON)?;
    let after = machine.console.transcript().matches("COULD NOT START").count();
    if after <= before {
        return Err("it did not try again".into());
    }
    failure(&mut machine, "HOLDFAST COULD NOT START ITS PROGRAM")?;
    machine.console.send("p\r")?;
    machine.wait_off(LEAVING)
}

/// `/bin/holdfast` ends at once, each time. `r` starts the machine again.
fn program_that_ends(folder: &Path, netboot: &Netboot) -> Result<()> {
    println!("a program that ends at once");
    let ending = netboot.with_program(&folder.join("ending.initramfs"), &ends_with(7))?;
    let mut machine = ending.parts("ending", folder, "").start()?;
    let screen = failure(&mut machine, "HOLDFAST'S PROGRAM KEEPS ENDING")?;
    must(&screen, &["the engine exited with code 7", "none was asked for", "p and Enter", "switch off"])?;
    if screen.contains("Nothing was written") {
        return Err("it promises what it cannot know".into());
    }
    machine.console.send("r\r")?;
    machine.wait_off(LEAVING)
}

fn failure(machine: &mut Machine, title: &str) -> Result<String> {
    let screen =
        machine.console.expect_screen(title, START, |s| s.contains(title) && s.contains("from a fresh image."))?;
    println!("{screen}");
    Ok(screen)
}

/// A static ELF program for x86-64 of one segment that does nothing but `exit(code)` (System V ABI, AMD64 supplement).
fn ends_with(code: u8) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    // mov edi, code; mov eax, 60 (exit); syscall
    let text = [0xbf, code, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05];
    let entry = 64 + 56;
    let len = entry + text.len() as u64;
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [2_u16, 62] {
        out.extend(half.to_le_bytes());
    }
    out.extend(1_u32.to_le_bytes());
    for word in [BASE + entry, 64, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0_u32.to_le_bytes());
    for half in [64_u16, 56, 1, 0, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    // PT_LOAD, readable and executable.
    out.extend([1_u32.to_le_bytes(), 5_u32.to_le_bytes()].concat());
    for word in [0, BASE, BASE, len, len, 0x1000] {
        out.extend(word.to_le_bytes());
    }
    out.extend(text);
    out
}
