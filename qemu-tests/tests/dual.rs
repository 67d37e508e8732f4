//! A Debian beside a Windows, which start from the same EFI system partition: saved, then the one broken and the other lived in. The Debian comes
//! back by keystrokes; the partition of the Windows, which sleeps by then, and all that it has where both start from stay to the byte as they are.
//!
//! The Windows is a stand-in: an NTFS with its directories that ntfs-3g filled, a boot manager and a store of boot entries that are none.

use qemu_tests::computer::Computer;
use qemu_tests::guest::Guest;
use qemu_tests::machine::run;
use qemu_tests::partitions::{Partition, Partitions};
use qemu_tests::rescue::must;
use qemu_tests::{Result, history, rescue, target, workspace};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// How long a command in the target may take.
const COMMAND: Duration = Duration::from_secs(120);
/// Size of the Windows, and of the disk with room for it.
const WINDOWS: u64 = 24 * MIB;
const DISK: u64 = 3104 * MIB;
/// Type of a partition with data of Windows (Microsoft, "CREATE_PARTITION_PARAMETERS": basic data).
const DATA: &str = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7";

fn main() -> Result<()> {
    let began = Instant::now();
    let mut say = |text: &str| println!("[{:>4} s] {text}", began.elapsed().as_secs());
    let folder = workspace::scratch("dual")?;
    let image = rescue::image()?;
    let dual = Dual::make(&target::debian(&mut say)?, &image, &folder)?;

    say("the target starts, and both are saved");
    history::first_start(&dual.computer.target("first"))?;
    let mut session = dual.computer.rescued("save")?;
    must(&session.screen(), &["Debian GNU/Linux"])?;
    session.snapshot()?;
    session.poweroff()?;
    let (debian_then, fallback_then) = (dual.hashes("::/EFI/debian")?, dual.hashes("::/EFI/BOOT")?);

    say("the Debian loses its kernel and its boot loader; the Windows goes on, and to sleep");
    let mut guest = Guest::login(dual.computer.target("break").start()?)?;
    for broken in ["/boot/efi/EFI/debian/grubx64.efi", "/boot/efi/EFI/BOOT/BOOTX64.EFI"] {
        guest.run(&format!("echo ruined >{broken}"), COMMAND)?;
    }
    guest.run("rm -f /boot/vmlinuz-* /boot/initrd.img-* && touch /boot/efi/EFI/debian/stray && sync", COMMAND)?;
    guest.poweroff()?;
    dual.windows_lives_on()?;
    let (windows, microsoft, tool) =
        (dual.windows_hash()?, dual.hashes("::/EFI/Microsoft")?, dual.hashes("::/EFI/HP")?);

    say("the rescue takes the Debian back");
    let mut session = dual.computer.rescued("back")?;
    println!("{}", session.screen());
    println!("{}", session.plan_rollback()?);
    // It may begin behind the end of the screen.
    let plan = session.press("\u{1b}[6~", &["stays as it is now", "EFI/Microsoft (Windows)"])?;
    println!("{plan}");
    let done = session.approve("ROLLBACK")?;
    println!("{done}");
    must(&done, &["DONE."])?;
    session.poweroff()?;

    say("the Windows is where it was, and so is what it starts by; the Debian's loader is as it was saved");
    same("the partition of the Windows", &dual.windows_hash()?, &windows)?;
    same("EFI/Microsoft", &dual.hashes("::/EFI/Microsoft")?, &microsoft)?;
    same("EFI/HP", &dual.hashes("::/EFI/HP")?, &tool)?;
    same("EFI/debian", &dual.hashes("::/EFI/debian")?, &debian_then)?;
    same("EFI/BOOT", &dual.hashes("::/EFI/BOOT")?, &fallback_then)?;
    run(Command::new("fsck.vfat").arg("-n").arg(dual.esp_alone()?).stdout(Stdio::null()))?;

    say("the Debian starts");
    let mut guest = Guest::login(dual.computer.target("again").start()?)?;
    guest.run("test -e /vmlinuz && ! test -e /boot/efi/EFI/debian/stray && test -z \"$(dpkg --audit)\"", COMMAND)?;
    guest.run("test -e /boot/efi/EFI/Microsoft/Boot/bootmgfw.efi", COMMAND)?;
    guest.poweroff()?;
    same("the partition of the Windows", &dual.windows_hash()?, &windows)?;
    say("done");
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, is: &T, was: &T) -> Result<()> {
    if is == was { Ok(()) } else { Err(format!("{what} is not what it was: {is:?}, and was {was:?}").into()) }
}

/// Path and SHA-256 of each file.
type Hashes = BTreeMap<PathBuf, String>;

/// The computer that both start on, and what they start from.
struct Dual {
    computer: Computer,
    folder: PathBuf,
    esp: Partition,
    windows: Partition,
}

impl Dual {
    /// The target's disk, with room for the Windows behind it.
    fn make(base: &Path, image: &Path, folder: &Path) -> Result<Self> {
        let disk = folder.join("disk.img");
        run(Command::new("cp").arg("--sparse=always").arg(base).arg(&disk))?;
        File::options().write(true).open(&disk)?.set_len(DISK)?;
        run(sfdisk().args(["--relocate", "gpt-bak-std"]).arg(&disk))?;
        let mut append = sfdisk().arg("--append").arg(&disk).stdin(Stdio::piped()).spawn()?;
        let line = format!("size={}, type={DATA}, name=\"Basic data partition\"\n", WINDOWS / 512);
        append.stdin.take().ok_or("no pipe to sfdisk")?.write_all(line.as_bytes())?;
        if !append.wait()?.success() {
            return Err("sfdisk --append failed".into());
        }
        let partitions = Partitions::of(&disk)?;
        let windows = partitions.all.iter().find(|p| p.kind == DATA).ok_or("the new partition is not there")?.clone();
        let (esp, computer) = (partitions.esp()?.clone(), Computer::new(disk, image, folder)?);
        let dual = Self { computer, folder: folder.to_path_buf(), esp, windows };
        dual.fill()?;
        Ok(dual)
    }

    /// What the two systems have where both start from, and the Windows itself.
    fn fill(&self) -> Result<()> {
        let loader = self.folder.join("loader.efi");
        run(self.on_esp("mcopy").arg("::/EFI/BOOT/BOOTX64.EFI").arg(&loader))?;
        run(self.on_esp("mmd").args(["::/EFI/debian", "::/EFI/Microsoft", "::/EFI/Microsoft/Boot", "::/EFI/HP"]))?;
        run(self.on_esp("mcopy").arg(&loader).arg("::/EFI/debian/grubx64.efi"))?;
        for (path, len) in
            [("Microsoft/Boot/bootmgfw.efi", 1_600_000), ("Microsoft/Boot/BCD", 24_576), ("HP/log.txt", 99)]
        {
            self.put(path, 1, len)?;
        }
        // As a Windows that was shut down whole: what ntfs-3g left of it (made beside the tests of `disk`).
        let fixture = workspace::root().join("rescue/crates/disk/tests/windows_reads/fixtures/ntfs.imgs.zst");
        let all = zstd::stream::decode_all(File::open(fixture)?)?;
        let len = usize::try_from(WINDOWS)?;
        let last = all.len().checked_sub(len).ok_or("the fixture is shorter than a volume")?;
        self.write(self.windows.start, &all[last..])
    }

    /// New boot entries, a log, a directory that was not there; a letter, and its memory on its disk.
    fn windows_lives_on(&self) -> Result<()> {
        run(self.on_esp("mmd").args(["::/EFI/Microsoft/Recovery", "::/EFI/Microsoft/Boot/de-DE"]))?;
        for (path, len) in [
            ("Microsoft/Boot/BCD", 28_672),
            ("Microsoft/Boot/BCD.LOG", 20_480),
            ("Microsoft/Boot/de-DE/bootmgfw.efi.mui", 80_000),
            ("Microsoft/Recovery/BCD", 20_480),
            ("HP/log.txt", 250),
        ] {
            self.put(path, 2, len)?;
        }
        let (volume, file) = (self.folder.join("windows.img"), self.folder.join("file"));
        fs::write(&volume, self.read(self.windows.start, WINDOWS)?)?;
        let memory = [&b"HIBR"[..], &noise(3, 65_532)].concat();
        for (content, path) in [(noise(4, 20_000), "/Users/Somebody/letter.txt"), (memory, "/hiberfil.sys")] {
            fs::write(&file, content)?;
            run(Command::new("ntfscp").args(["-q", "-f"]).arg(&volume).arg(&file).arg(path))?;
        }
        self.write(self.windows.start, &fs::read(&volume)?)
    }

    fn put(&self, path: &str, seed: u64, len: usize) -> Result<()> {
        let file = self.folder.join("file");
        fs::write(&file, noise(seed + len as u64, len))?;
        run(self.on_esp("mcopy").args(["-o"]).arg(&file).arg(format!("::/EFI/{path}")))
    }

    /// A tool of mtools, on the EFI system partition.
    fn on_esp(&self, tool: &str) -> Command {
        let mut command = Command::new(tool);
        command.env("MTOOLS_SKIP_CHECK", "1").arg("-i").arg(format!(
            "{}@@{}",
            self.computer.disk.display(),
            self.esp.start
        ));
        command
    }

    /// All files in a directory of the EFI system partition.
    fn hashes(&self, directory: &str) -> Result<Hashes> {
        let to = self.folder.join("tree");
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to)?;
        run(self.on_esp("mcopy").args(["-s", "-m", directory]).arg(&to))?;
        let (mut out, mut left) = (Hashes::new(), vec![to.clone()]);
        while let Some(at) = left.pop() {
            for entry in fs::read_dir(at)? {
                let path = entry?.path();
                match path.is_dir() {
                    true => left.push(path),
                    false => _ = out.insert(path.strip_prefix(&to)?.to_path_buf(), hash(&fs::read(&path)?)),
                }
            }
        }
        Ok(out)
    }

    fn windows_hash(&self) -> Result<String> {
        Ok(hash(&self.read(self.windows.start, self.windows.len)?))
    }

    fn esp_alone(&self) -> Result<PathBuf> {
        let file = self.folder.join("esp.img");
        fs::write(&file, self.read(self.esp.start, self.esp.len)?)?;
        Ok(file)
    }

    fn read(&self, at: u64, len: u64) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len)?];
        let mut disk = File::open(&self.computer.disk)?;
        disk.seek(SeekFrom::Start(at))?;
        disk.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        let mut disk = File::options().write(true).open(&self.computer.disk)?;
        disk.seek(SeekFrom::Start(at))?;
        Ok(disk.write_all(bytes)?)
    }
}

fn sfdisk() -> Command {
    let mut command = Command::new("sfdisk");
    command.args(["-q", "--no-reread"]).stdout(Stdio::null());
    command
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes that do not compress, of a seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x.to_le_bytes()[4]
    };
    (0..len).map(|_| next()).collect()
}
