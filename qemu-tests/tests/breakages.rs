//! A real Debian, saved by the rescue while it was good, is broken in seven ways: on a BIOS and on UEFI, on disks with sectors of 512 and
//! of 4096 bytes. Each time it is shown that it does not start (or the rescue says what is broken, where a start proves nothing), it is taken
//! back by keystrokes over the serial line, and then comes up: login prompt, journal, packages, file systems.
//!
//! `HOLDFAST_BREAKAGES="bios-512-kernel uefi-4096-esp"` does only these. The good machines stay in `target/qemu/breakages` until all was
//! done.

use qemu_tests::breakage::{Breakage, Start, Target};
use qemu_tests::guest::{BOOT, Guest};
use qemu_tests::machine::{Bus, Firmware, Parts, overlay, run};
use qemu_tests::partitions::with_large_sectors;
use qemu_tests::rescue::{Session, must};
use qemu_tests::{Result, history, rescue, target, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The machines, and what befalls each.
const MACHINES: [(Firmware, u32, &[Breakage]); 3] = [
    (Firmware::Bios, 512, &Breakage::ALL),
    (Firmware::Uefi, 512, &Breakage::ALL),
    // On a BIOS, GRUB starts from no disk with such sectors (`with_large_sectors`).
    (Firmware::Uefi, 4096, &[Breakage::Esp, Breakage::Table, Breakage::BothTables, Breakage::Kernel]),
];

/// How long a broken machine may take to say so.
const BROKEN: Duration = Duration::from_secs(240);
/// How long a command in the target may take.
const COMMAND: Duration = Duration::from_secs(180);

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::cache()?.join("breakages");
    fs::create_dir_all(&folder)?;
    let image = rescue::image()?;
    let only = std::env::var("HOLDFAST_BREAKAGES").ok();
    let only: Option<Vec<&str>> = only.as_deref().map(|names| names.split_whitespace().collect());
    let mut done = 0;
    for (firmware, sector, breakages) in MACHINES {
        let wanted = |b: &&Breakage| only.as_ref().is_none_or(|o| o.contains(&name(firmware, sector, **b).as_str()));
        let wanted: Vec<Breakage> = breakages.iter().filter(wanted).copied().collect();
        if wanted.is_empty() {
            continue;
        }
        let machine = Machine::prepare(&folder, &image, firmware, sector, &mut say)?;
        for breakage in wanted {
            machine.broken_and_taken_back(breakage, &mut say)?;
            done += 1;
        }
    }
    if only.is_none() {
        fs::remove_dir_all(&folder)?;
    }
    if only.is_some_and(|o| o.len() != done) {
        return Err(format!("{done} cases were done: not as many as were named").into());
    }
    say(&format!("done: {done} cases"));
    Ok(())
}

fn name(firmware: Firmware, sector: u32, breakage: Breakage) -> String {
    let firmware = if firmware == Firmware::Bios { "bios" } else { "uefi" };
    format!("{firmware}-{sector}-{}", breakage.name())
}

/// A kind of machine, its disk when it was good, and the stick on which that is saved.
struct Machine<'a> {
    folder: &'a Path,
    firmware: Firmware,
    sector: u32,
    good: PathBuf,
    /// Where the partitions are told from: an image for sectors of 512 bytes.
    like: PathBuf,
    stick: PathBuf,
}

impl<'a> Machine<'a> {
    fn prepare(
        folder: &'a Path,
        image: &Path,
        firmware: Firmware,
        sector: u32,
        say: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        let like = target::debian(say)?;
        let file = |what: &str| folder.join(format!("{firmware:?}-{sector}-{what}").to_lowercase());
        let machine = Self { folder, firmware, sector, good: file("good.img"), like, stick: file("stick.qcow2") };
        let (kept, made_of) = (file("made-of"), format!("{} {}", rescue::fingerprint(image)?, target::recipe()?));
        if fs::read_to_string(&kept).is_ok_and(|k| k == made_of) {
            say(&format!("{firmware:?}, sectors of {sector} bytes: as an earlier run made it"));
            return Ok(machine);
        }
        let _ = fs::remove_file(&kept);
        rescue::stick(image, &machine.stick)?;
        match sector {
            512 => copy(&machine.like, &machine.good)?,
            _ => with_large_sectors(&machine.like, folder, &machine.good)?,
        }
        let good = machine.good.clone();
        say(&format!("{firmware:?}, sectors of {sector} bytes: the target starts, installs a package and powers off"));
        history::install_package(&machine.target("install", &good))?;
        say("the rescue saves it");
        let mut session = Session::start(&machine.rescued("save", &machine.stick.clone(), &good))?;
        must(&session.screen(), &["[ok] shut down in order"])?;
        session.snapshot()?;
        session.poweroff()?;
        fs::write(kept, made_of)?;
        Ok(machine)
    }

    /// The target by itself.
    fn target(&self, what: &str, disk: &Path) -> Parts {
        let name = format!("{:?}-{}-{what}", self.firmware, self.sector).to_lowercase();
        Parts::new(&name, self.folder).firmware(self.firmware).disk(disk, Bus::Virtio, "TARGET").sectors(self.sector)
    }

    /// The rescue on it.
    fn rescued(&self, what: &str, stick: &Path, disk: &Path) -> Parts {
        let name = format!("{:?}-{}-{what}", self.firmware, self.sector).to_lowercase();
        let parts = Parts::new(&name, self.folder).firmware(self.firmware).memory(rescue::MEMORY);
        parts.disk(stick, Bus::Usb, "STICK").disk(disk, Bus::Virtio, "TARGET").sectors(self.sector)
    }

    fn broken_and_taken_back(&self, breakage: Breakage, say: &mut dyn FnMut(&str)) -> Result<()> {
        let case = name(self.firmware, self.sector, breakage);
        let (disk, stick) = (self.folder.join("broken.img"), self.folder.join("broken-stick.qcow2"));
        copy(&self.good, &disk)?;
        let _ = fs::remove_file(&stick);
        overlay(&self.stick, &stick)?;
        let target = Target::new(&disk, self.sector, &self.like)?;
        let tables = target.tables()?;
        let part = |what: &str| format!("{}-{what}", breakage.name());

        say(&format!("{case}: it is broken"));
        match breakage {
            Breakage::Upgrade => say(&history::cut_upgrade(&self.target(&part("cut"), &disk))?),
            _ => breakage.befall(&target)?,
        }
        match breakage.start(self.firmware) {
            Start::Says { words, no_kernel } => {
                let said = does_not_start(&self.target(&part("broken"), &disk), words, no_kernel)?;
                say(&format!("{case}: it does not start: {said:?}"));
            }
            Start::NotTried => say(&format!("{case}: a start proves nothing")),
        }

        let mut session = Session::start(&self.rescued(&part("rescue"), &stick, &disk))?;
        let home = session.screen();
        println!("{home}");
        let found = found(&mut session)?;
        must(&format!("{home}\n{found}"), breakage.told())?;
        say(&format!("{case}: the rescue says so, and takes it back"));
        let plan = plan(&mut session, breakage, &home)?;
        println!("{plan}");
        let word = if breakage == Breakage::BothTables { "OVERWRITE" } else { "ROLLBACK" };
        println!("{}", session.approve(word)?);
        session.poweroff()?;

        if target.tables()? != tables {
            return Err(format!("{case}: a copy of the partition table is not what it was").into());
        }
        comes_up(&self.target(&part("whole"), &disk), self.firmware, self.sector)?;
        target.check()?;
        say(&format!("{case}: it comes up, and is whole"));
        fs::remove_file(disk)?;
        Ok(fs::remove_file(stick)?)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to))
}

/// Starts a broken target, and gives by which of the words it says so.
fn does_not_start(parts: &Parts, words: &[&str], no_kernel: bool) -> Result<String> {
    let mut parts = parts.clone();
    if parts.firmware == Firmware::Bios {
        // What SeaBIOS says goes to the serial line then.
        parts = parts.with(&["-machine", "graphics=off"]);
    }
    let mut machine = parts.start()?;
    let started: &[&str] = if no_kernel { &["Linux version", "login: "] } else { &["login: "] };
    let all = [words, started].concat();
    let (index, _) = machine.console.expect_any(&all, BROKEN)?;
    match words.get(index) {
        Some(word) => Ok((*word).to_owned()),
        None => Err("it starts, though it was broken".into()),
    }
}

/// What was found, and where: the first pages of it.
fn found(session: &mut Session) -> Result<String> {
    session.press("e", &["what was found, and where"])?;
    let mut told = String::new();
    // What is wrong stands on the first ones.
    for _ in 0..8 {
        let page = session.screen();
        told.push_str(&page);
        told.push('\n');
        if !page.contains("more below") {
            break;
        }
        session.machine.console.send("\x1b[6~")?;
    }
    session.press("\x1b", &["what happened", "What to do next"])?;
    Ok(told)
}

/// Asks for the plan: by the first step where the overview offers it, else from the saved states.
fn plan(session: &mut Session, breakage: Breakage, home: &str) -> Result<String> {
    if breakage == Breakage::BothTables {
        must(home, &["1  Put the state of"])?;
        return session.press("1", &["please read, then decide", "is lost for good", "OVERWRITE"]);
    }
    if home.contains("1  Go back to the last good state") {
        return session.press("1", &["please read, then decide", "ROLLBACK"]);
    }
    session.plan_rollback()
}

/// It comes up all the way, from the firmware and the disk that are meant, and everything of it is in order.
fn comes_up(parts: &Parts, firmware: Firmware, sector: u32) -> Result<()> {
    let mut guest = Guest::login(parts.start()?)?;
    let up =
        "systemctl is-system-running --wait >/dev/null; journalctl -q -b -o cat _PID=1 | grep 'Startup finished in'";
    guest.run(up, BOOT)?;
    let audit = guest.run("dpkg --audit", COMMAND)?;
    if !audit.trim().is_empty() {
        return Err(format!("dpkg --audit is not content: {audit}").into());
    }
    guest.run("dpkg --verify libc6 hello && hello >/dev/null && ls /var/lib/dpkg/updates | (! grep .)", COMMAND)?;
    guest.run("mountpoint -q /boot/efi && test -s /boot/efi/EFI/BOOT/BOOTX64.EFI", COMMAND)?;
    let not = if firmware == Firmware::Bios { "! " } else { "" };
    guest.run(
        &format!(
            "test {not}-d /sys/firmware/efi && test \"$(cat /sys/block/vda/queue/logical_block_size)\" = {sector}"
        ),
        COMMAND,
    )?;
    guest.poweroff()
}
