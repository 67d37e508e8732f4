//! A machine in QEMU: its disks, its firmware, its power switch.

use crate::console::Console;
use crate::qmp::Qmp;
use crate::{Result, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Which firmware a machine starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS.
    Bios,
    /// OVMF.
    Uefi,
}

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// virtio-blk.
    Virtio,
    /// A USB stick on xHCI.
    Usb,
    /// AHCI.
    Sata,
    /// NVMe.
    Nvme,
}

/// A disk of a machine.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The image.
    pub file: PathBuf,
    /// `raw` or `qcow2`.
    pub format: &'static str,
    /// How it is attached.
    pub bus: Bus,
    /// Its serial number.
    pub serial: &'static str,
    /// Bytes of a sector, logical and physical.
    pub sector: u32,
}

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Names the run: console file, OVMF variables.
    pub name: String,
    /// Where the run keeps its files.
    pub folder: PathBuf,
    /// Memory in MiB.
    pub memory: u32,
    /// Firmware.
    pub firmware: Firmware,
    /// Where OVMF keeps its variables; without a name each machine has its own, new ones.
    pub variables: Option<PathBuf>,
    /// Disks, in boot order.
    pub disks: Vec<Disk>,
    /// How many other devices come before the disks in boot order.
    pub disks_boot_after: usize,
    /// True where it has a screen, and its keyboard is pressed through QEMU.
    pub screen: bool,
    /// True where QEMU takes commands: [`Machine::control`]. A screen brings that along.
    pub control: bool,
    /// True where its first serial line ends in a socket, whose other end may go away: [`Machine::hang_up`].
    pub line: bool,
    /// Further arguments for QEMU.
    pub more: Vec<String>,
}

impl Parts {
    /// A BIOS machine without disks.
    pub fn new(name: &str, folder: &Path) -> Self {
        Self {
            name: name.to_owned(),
            folder: folder.to_path_buf(),
            memory: 1024,
            firmware: Firmware::Bios,
            variables: None,
            disks: Vec::new(),
            disks_boot_after: 0,
            screen: false,
            control: false,
            line: false,
            more: Vec::new(),
        }
    }

    /// With this much memory, in MiB.
    #[must_use]
    pub fn memory(mut self, mib: u32) -> Self {
        self.memory = mib;
        self
    }

    /// With this firmware.
    #[must_use]
    pub fn firmware(mut self, firmware: Firmware) -> Self {
        self.firmware = firmware;
        self
    }

    /// On UEFI, with its variables in this file: what is one computer, whatever starts on it. Made new where it is not there.
    #[must_use]
    pub fn variables(mut self, file: &Path) -> Self {
        self.variables = Some(file.to_path_buf());
        self
    }

    /// With another disk, after those before it in boot order.
    #[must_use]
    pub fn disk(mut self, file: &Path, bus: Bus, serial: &'static str) -> Self {
        let format = if file.extension().is_some_and(|e| e == "qcow2") { "qcow2" } else { "raw" };
        self.disks.push(Disk { file: file.to_path_buf(), format, bus, serial, sector: 512 });
        self
    }

    /// With sectors of so many bytes on the disk that was added last. QEMU's AHCI disks have 512, whatever is said.
    #[must_use]
    pub fn sectors(mut self, bytes: u32) -> Self {
        if let Some(disk) = self.disks.last_mut() {
            disk.sector = bytes;
        }
        self
    }

    /// With a line to QEMU itself.
    #[must_use]
    pub fn controlled(mut self) -> Self {
        self.control = true;
        self
    }

    /// With a screen and a keyboard besides the serial line.
    #[must_use]
    pub fn screen(mut self) -> Self {
        self.screen = true;
        self
    }

    /// With a serial line whose other end may go away and come back.
    #[must_use]
    pub fn line(mut self) -> Self {
        self.line = true;
        self
    }

    /// With further arguments.
    #[must_use]
    pub fn with(mut self, args: &[&str]) -> Self {
        self.more.extend(args.iter().map(|a| (*a).to_owned()));
        self
    }

    /// QEMU's command line, without anything said of the console.
    ///
    /// # Errors
    /// Where OVMF's variables cannot be copied.
    pub fn command(&self) -> Result<Command> {
        let mut q = Command::new("qemu-system-x86_64");
        let memory = self.memory.to_string();
        let machine = if self.firmware == Firmware::Uefi { "q35" } else { "pc" };
        // One processor where QEMU emulates it: with two, a kernel that patches its own code while it starts now and then
        // traps on the other one (`Oops: int3`, seen with QEMU 7.2).
        let processors = if accelerator() == "kvm" { "2" } else { "1" };
        q.args([
            "-nodefaults",
            "-no-user-config",
            "-machine",
            machine,
            "-cpu",
            "max",
            "-smp",
            processors,
            "-m",
            &memory,
        ]);
        q.args(["-accel", accelerator(), "-no-reboot", "-monitor", "none", "-rtc", "base=utc"]);
        if self.firmware == Firmware::Uefi {
            let code = "/usr/share/OVMF/OVMF_CODE_4M.fd";
            let own = || self.folder.join(format!("{}-vars.fd", self.name));
            let vars = self.variables.clone().unwrap_or_else(own);
            if !vars.exists() {
                fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &vars)?;
            }
            q.args(["-drive", &format!("if=pflash,format=raw,readonly=on,file={code}")]);
            q.args(["-drive", &format!("if=pflash,format=raw,file={}", vars.display())]);
        }
        if self.disks.iter().any(|d| d.bus == Bus::Usb) {
            q.args(["-device", "qemu-xhci,id=xhci"]);
        }
        if self.disks.iter().any(|d| d.bus == Bus::Sata) {
            q.args(["-device", "ich9-ahci,id=ahci"]);
        }
        for (i, d) in self.disks.iter().enumerate() {
            let file = d.file.display();
            q.args(["-drive", &format!("if=none,id=d{i},format={},file={file}", d.format)]);
            let device = match d.bus {
                Bus::Virtio => "virtio-blk-pci",
                Bus::Usb => "usb-storage,bus=xhci.0,removable=on",
                Bus::Sata => "ide-hd,bus=ahci.0",
                Bus::Nvme => "nvme",
            };
            let sectors = match d.sector {
                512 => String::new(),
                bytes => format!(",logical_block_size={bytes},physical_block_size={bytes}"),
            };
            let boots = self.disks_boot_after + i;
            q.args(["-device", &format!("{device},drive=d{i},serial={},bootindex={boots}{sectors}", d.serial)]);
        }
        if self.screen {
            q.args(["-device", "VGA"]);
        }
        q.args(&self.more);
        Ok(q)
    }

    /// Switches it on, with its first serial line as the console.
    ///
    /// # Errors
    /// Where QEMU does not start.
    pub fn start(&self) -> Result<Machine> {
        let mut q = self.command()?;
        q.args(["-display", "none"]);
        let line = Qmp::socket(&format!("{}-line", self.name));
        match self.line {
            // It waits for the other end once, so that nothing of the start is missed.
            true => {
                let _ = fs::remove_file(&line);
                let place = format!("socket,id=line,path={},server=on,wait=on", line.display());
                q.args(["-chardev", &place, "-serial", "chardev:line"]);
            }
            false => drop(q.args(["-serial", "stdio"])),
        }
        let socket = Qmp::socket(&self.name);
        let controlled = self.screen || self.control;
        if controlled {
            let _ = fs::remove_file(&socket);
            q.args(["-qmp", &format!("unix:{},server=on,wait=off", socket.display())]);
        }
        let errors = fs::File::create(self.folder.join(format!("{}-qemu.log", self.name)))?;
        q.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child =
            q.spawn().map_err(|e| format!("qemu-system-x86_64 does not start ({e}); package qemu-system-x86"))?;
        let (Some(keys), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("QEMU was started without pipes".into());
        };
        let log = self.folder.join(format!("{}-console.txt", self.name));
        let console = match self.line {
            true => Console::at(&line, log)?,
            false => Console::new(output, keys, log)?,
        };
        let line = self.line.then_some(line);
        let mut machine = Machine { name: self.name.clone(), child, console, line, qmp: None, began: Instant::now() };
        if controlled {
            machine.qmp = Some(Qmp::connect(socket, &self.folder)?);
        }
        Ok(machine)
    }
}

/// A running machine. Dropping it cuts its power.
pub struct Machine {
    name: String,
    child: Child,
    /// Its first serial line.
    pub console: Console,
    /// The socket that line ends in, where it does.
    line: Option<PathBuf>,
    qmp: Option<Qmp>,
    began: Instant,
}

impl Machine {
    /// Its screen and keyboard.
    ///
    /// # Errors
    /// Where it was made without.
    pub fn screen(&mut self) -> Result<&mut Qmp> {
        self.qmp.as_mut().ok_or_else(|| "this machine was made without a screen".into())
    }

    /// QEMU itself.
    ///
    /// # Errors
    /// Where the machine was made without such a line.
    pub fn control(&mut self) -> Result<&mut Qmp> {
        self.qmp.as_mut().ok_or_else(|| "this machine was made without a line to QEMU".into())
    }

    /// The other end of the serial line goes away: whatever comes over it now is lost. [`Machine::call`] comes back.
    ///
    /// # Errors
    /// Where the line ends in no socket.
    pub fn hang_up(&mut self) -> Result<()> {
        self.console.hang_up()
    }

    /// Somebody else is at the other end of the serial line, with an empty screen.
    ///
    /// # Errors
    /// Where the line ends in no socket, or nobody answers there.
    pub fn call(&mut self) -> Result<()> {
        let line = self.line.as_ref().ok_or("this machine's serial line ends in no socket")?;
        let log = self.console.log().with_extension("again.txt");
        self.console = Console::at(line, log)?;
        Ok(())
    }

    /// Cuts the power, now. What the guest had not written out is lost; what it had written to its disk stays, since the
    /// host's cache survives: the loss of a disk's own cache is simulated elsewhere.
    pub fn cut_power(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for the machine to switch itself off (or to reboot, which ends it just so).
    ///
    /// # Errors
    /// Where it does not within `limit`.
    pub fn wait_off(mut self, limit: Duration) -> Result<()> {
        let until = Instant::now() + limit;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait()? {
                return if status.success() { Ok(()) } else { Err(format!("QEMU ended with {status}").into()) };
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!(
            "{} did not switch off in {} seconds; its screen is:\n{}",
            self.name,
            limit.as_secs(),
            self.console.screen()
        )
        .into())
    }

    /// Time since it was switched on.
    pub fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy-on-write overlay over a raw image, as a new qcow2 file.
///
/// # Errors
/// Where qemu-img fails (package qemu-utils).
pub fn overlay(base: &Path, file: &Path) -> Result<PathBuf> {
    let format = if base.extension().is_some_and(|e| e == "qcow2") { "qcow2" } else { "raw" };
    let base = base.canonicalize()?;
    run(Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", "-F", format, "-b"]).arg(base).arg(file))?;
    Ok(file.to_path_buf())
}

/// SHA-256 of a disk's content as a guest sees it, whatever the format of its image.
///
/// # Errors
/// Where qemu-img or sha256sum fails.
pub fn content_hash(image: &Path) -> Result<String> {
    let raw = image.with_extension("hash.raw");
    run(Command::new("qemu-img").args(["convert", "-O", "raw", "-S", "4k"]).arg(image).arg(&raw))?;
    let out = Command::new("sha256sum").arg(&raw).output()?;
    fs::remove_file(&raw)?;
    let text = String::from_utf8(out.stdout)?;
    Ok(text.split_whitespace().next().ok_or("sha256sum printed nothing")?.to_owned())
}

/// Runs a command to its end.
///
/// # Errors
/// Where it does not start or fails: with what it printed on its error output.
pub fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{name} does not start: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    let tail = String::from_utf8_lossy(&out.stderr);
    Err(format!("{name} failed with {}: {}", out.status, tail.trim_end()).into())
}

/// `kvm` where a kernel really starts on it, else `tcg,thread=multi`. `HOLDFAST_ACCEL` overrides.
///
/// A `/dev/kvm` that is there proves nothing: on some hosts distribution kernels hang on it. So one is started.
fn accelerator() -> &'static str {
    static FOUND: OnceLock<String> = OnceLock::new();
    FOUND.get_or_init(|| {
        let tcg = "tcg,thread=multi".to_owned();
        if let Ok(said) = std::env::var("HOLDFAST_ACCEL") {
            return said;
        }
        if !Path::new("/dev/kvm").exists() {
            return tcg;
        }
        match workspace::cache().and_then(|c| kvm_works(&c)) {
            Ok(true) => "kvm".to_owned(),
            _ => tcg,
        }
    })
}

/// Starts the kernel of the rescue image on KVM without a root: a working one panics within seconds.
fn kvm_works(cache: &Path) -> Result<bool> {
    let verdict = cache.join("kvm-works");
    if let Ok(said) = fs::read_to_string(&verdict) {
        return Ok(said.trim() == "yes");
    }
    let kernel = image_builder::kernel::Kernel::newest()?.image;
    let mut child = Command::new("qemu-system-x86_64")
        .args([
            "-nodefaults",
            "-accel",
            "kvm",
            "-cpu",
            "max",
            "-m",
            "256",
            "-display",
            "none",
            "-serial",
            "stdio",
            "-no-reboot",
        ])
        .arg("-kernel")
        .arg(&kernel)
        .args(["-append", "console=ttyS0 panic=-1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take().ok_or("no pipe")?;
    let mut console = Console::new(output, std::io::sink(), cache.join("kvm-probe.txt"))?;
    let works = console.expect("Kernel panic", Duration::from_secs(15)).is_ok();
    let _ = child.kill();
    let _ = child.wait();
    fs::write(&verdict, if works { "yes\n" } else { "no\n" })?;
    Ok(works)
}
