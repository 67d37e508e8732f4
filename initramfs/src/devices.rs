//! Drivers for what is there, and waiting until it is.

use crate::report::Report;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use sys::module::Loader;
use sys::sysfs::{self, BlockDir};
use sys::uevent::{Heard, Listener, modaliases};

const MODULES: &str = "/lib/modules";
/// Wanted by name: no device asks for a file system, and firmware variables announce themselves to nobody. The last two are what a
/// state is composed with, whenever somebody wants that.
const ALWAYS: [&str; 5] = ["ext4", "efivarfs", "crc32c", "fuse", "loop"];
/// Nothing came for so long: all that will come at once has come.
const QUIET: Duration = Duration::from_millis(700);
/// The longest wait where nobody says which disk must be there, and where a store is awaited: a USB stick is asked for
/// its size one second after it was plugged in at the earliest (usb-storage `delay_use`), slow ones take ten.
const MOST: Duration = Duration::from_secs(6);
const MOST_FOR_STORE: Duration = Duration::from_secs(20);

/// The drivers, and the kernel's news of devices.
#[derive(Debug)]
pub(crate) struct Devices {
    loader: Option<Loader>,
    listener: Option<Listener>,
    last_news: Instant,
}

impl Devices {
    /// Loads the drivers of all that is there now.
    pub(crate) fn cold_plug(report: &mut Report) -> Self {
        // Listening begins first: what comes between the walk and the listening would be lost.
        let listener = Listener::new().map_err(|e| report.trouble(format!("listening for devices failed: {e}"))).ok();
        let loader = match Loader::open(Path::new(MODULES)) {
            Ok(loader) => Some(loader),
            Err(e) => {
                report.trouble(format!("reading the driver pack in {MODULES} failed: {e}"));
                None
            }
        };
        let mut devices = Self { loader, listener, last_news: Instant::now() };
        for name in ALWAYS {
            devices.load(name, report);
        }
        devices.walk(report);
        devices
    }

    fn walk(&mut self, report: &mut Report) {
        for alias in modaliases() {
            self.load(&alias, report);
        }
    }

    fn load(&mut self, alias: &str, report: &mut Report) {
        let Some(loader) = &mut self.loader else { return };
        if loader.load(alias) > 0 {
            self.last_news = Instant::now();
        }
        report.modules = loader.loaded().to_vec();
        report.module_failures = loader.failures().map(|(name, why)| format!("{name}: {why}")).collect();
    }

    /// Takes the news that wait, and loads the drivers of what is new. Never waits itself.
    pub(crate) fn news(&mut self, report: &mut Report) {
        // Bounded: a device that comes and goes without end must not keep the rest waiting.
        for _ in 0..4096 {
            let heard = match self.listener.as_ref().map(Listener::next) {
                Some(Ok(heard)) => heard,
                Some(Err(e)) => {
                    report.trouble(format!("listening for devices failed: {e}"));
                    self.listener = None;
                    return;
                }
                None => return,
            };
            match heard {
                Heard::Nothing => return,
                Heard::Lost => self.walk(report),
                Heard::Event(event) => {
                    if event.subsystem == "block" {
                        self.last_news = Instant::now();
                    }
                    if event.action == "add"
                        && let Some(alias) = &event.modalias
                    {
                        self.load(alias, report);
                    }
                }
            }
        }
    }

    /// What to poll for news.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.listener.as_ref().map(AsFd::as_fd)
    }

    /// Waits until the disks have come: until `enough` says so and it has been quiet, or for the longest time.
    pub(crate) fn settle(
        &mut self,
        most: Option<Duration>,
        awaited: bool,
        report: &mut Report,
        mut enough: impl FnMut() -> bool,
    ) {
        let began = Instant::now();
        let most = most.unwrap_or(if awaited { MOST_FOR_STORE } else { MOST });
        loop {
            self.news(report);
            let quiet = self.last_news.elapsed() >= QUIET;
            // Without a disk to wait for, the shortest wait covers a USB stick's first second.
            let waited = awaited || began.elapsed() >= Duration::from_secs(2) || most < Duration::from_secs(2);
            if (quiet && waited && enough()) || began.elapsed() >= most {
                break;
            }
            let fds: Vec<_> = self.descriptor().into_iter().collect();
            let step = Duration::from_millis(100);
            if fds.is_empty() || sys::poll(&fds, Some(step)).is_err() {
                std::thread::sleep(step);
            }
        }
        list(report);
        let (disks, seconds) = (report.disks.len(), began.elapsed().as_secs_f32());
        report.note(&format!("{disks} disks, {} drivers, after {seconds:.1} s", report.modules.len()));
    }
}

/// Writes down the disks there are.
pub(crate) fn list(report: &mut Report) {
    let line = |d: BlockDir| {
        let h = d.hardware(d.size(), model::units::SectorSize::B512);
        format!("{} {} {} ({}, {} partitions)", d.name(), h.size, h.model, h.transport, d.partitions().len())
    };
    report.disks = sysfs::disks().into_iter().filter(BlockDir::is_real_disk).map(line).collect();
}
