//! Proving a snapshot: its system is started in a virtual machine, and what its own records say of that start is the verdict.
//!
//! The disks are read from the store; what the machine writes is kept beside them and thrown away. While it runs, its disks as
//! they are now are looked at as those of any machine are: by the sandboxed parser, which is handed their bytes, and by the
//! evidence that is found. A system that is up has written so to its journal or login record; what appears on a screen decides
//! nothing. The machine cannot outlive the thread that runs this.

mod machine;
pub(super) mod nbd;
mod qmp;
mod running;
mod serial;
mod variables;
mod verdict;

use crate::gather;
use crate::run::export::layout::layouts;
use crate::run::overlay::{Overlay, Room};
use crate::run::saved_disk::{self, Trouble};
use crate::run::{Context, Stop};
use machine::{Attached, Machine};
use model::assessment::Report;
use model::command::ExitCode;
use model::event::Progress;
use model::id::SnapRef;
use model::inspection::Hardware;
use model::note::Says;
use model::ports::DiskSource;
use model::proof::{Firmware, Proof, Trial, Verdict};
use model::snapshot::Manifest;
use model::text::DisplayText;
use model::units::ByteLen;
use running::Running;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use variables::Entry;
use verdict::{Before, End, Seen};

/// What the machine writes: kept in memory up to so much, and up to so much in all.
const IN_MEMORY: ByteLen = ByteLen(256 << 20);
const MOST_WRITTEN: ByteLen = ByteLen(4 << 30);
/// How often its disks are looked at, where it wrote something.
const EVERY: Duration = Duration::from_secs(5);
/// How long a system that is told to shut down may take to write its records out: it may have come up only just now, and what
/// it wrote lies in its memory for half a minute (`dirty_expire_centisecs`).
const LAST_WORDS: Duration = Duration::from_secs(60);
/// How often it is looked whether something happened.
const GLANCE: Duration = Duration::from_millis(100);
/// How often an emergency mode must be seen before it is believed: a system may be on its way through it.
const FALLEN: u32 = 3;

/// Starts a snapshot, waits for what comes of it, and notes that in the store. What is not known is not noted.
///
/// # Errors
/// [`Stop`] where it could not be tried.
pub(crate) fn prove(cx: &Context<'_>, snapshot: &SnapRef, trial: &Trial) -> Result<Proof, Stop> {
    let program = machine::program(std::env::var_os("PATH").as_deref())?;
    let (id, manifest) = cx.store.find(snapshot, None)?;
    let layouts = layouts(id, &manifest, None)?;
    if layouts.len() > machine::MOST_DISKS {
        let says =
            format!("the snapshot has {} disks, and a virtual machine takes {}", layouts.len(), machine::MOST_DISKS);
        return Err(Stop::failed(ExitCode::Refused, says, "nothing was started"));
    }
    if let Some(e) = layouts.iter().flat_map(|l| &l.encrypted).next() {
        let says =
            format!("{} of the snapshot is encrypted: a machine that starts from it asks for its passphrase", e.volume);
        return Err(Stop::failed(ExitCode::Refused, says, "nothing was started"));
    }
    let trouble = Arc::new(Trouble::default());
    let room = Room::new(IN_MEMORY, MOST_WRITTEN, scratch_dir());
    let disk = |layout| Overlay::new(saved_disk::saved(cx.store, layout, &trouble), room.clone());
    let disks = Disks { manifest: &manifest, overlays: layouts.iter().map(disk).collect() };
    tell(cx, format!("looking at snapshot {}", id.0.short(8)));
    let report = disks.look(cx)?;
    if let Some(why) = trouble.first() {
        let says = format!("the store does not give all of snapshot {} back: {why}", id.0.short(8));
        let advice = "nothing was started; `holdfast check` says what is lost, `holdfast repair` mends what can be had";
        return Err(Stop::failed(ExitCode::Damage, says, advice));
    }
    if report.systems.is_empty() {
        let says = format!("no installed system is found in snapshot {}", id.0.short(8));
        return Err(Stop::failed(ExitCode::Refused, says, "nothing would tell that it started: nothing was started"));
    }
    if let Some(missing) = report.inspection.findings.iter().find(|f| gather::is_unanswered(f)) {
        // A start before that shows only later would be taken for this one.
        let says = format!("not all records of snapshot {} can be read: {}", id.0.short(8), missing.says);
        return Err(Stop::failed(ExitCode::Failed, says, "nothing was started; please report this"));
    }
    let before = Before::of(&report, &manifest.systems, cx.clock.now());
    let saved = manifest.firmware.as_ref().map(|saved| gather::reread(cx.parser, saved)).transpose();
    let saved = saved.unwrap_or_else(|why| {
        cx.observer.log(&why);
        None
    });
    let by_firmware = saved.as_ref().is_some_and(|saved| !variables::of(saved, &report).is_empty());
    let machine = parts(&manifest, trial, (&report, by_firmware))?;
    let entries = variables::entries(saved.as_ref(), &report);
    if by_firmware && machine.firmware == Firmware::Uefi {
        let says: Vec<&str> = entries.iter().map(|e| e.says.as_str()).collect();
        cx.observer.log(&format!("the firmware is given the boot entries of the snapshot: {}", says.join(", ")));
    }
    let (entries, before) = (&entries[..], &before);
    let started = Started { program, machine: &machine, entries, disks: &disks, room: &room, before };
    let Watched { seen, mut end, seconds, last_lines } = watch(cx, trial, &started)?;
    let mut warnings: Vec<DisplayText> = layouts.into_iter().flat_map(|l| l.warnings).collect();
    if let Some(why) = trouble.first() {
        warnings.push(DisplayText::new(&format!("the store does not give all of it back: {why}")));
        end = End::Store(why);
    }
    let (verdict, why) = before.judge(&seen, &end);
    let mut proof = Proof {
        snapshot: id,
        verdict,
        why,
        system: report.systems.first().map(|s| s.system.name.clone()),
        boot: seen.boot().map(str::to_owned),
        firmware: machine.firmware,
        seconds,
        written: ByteLen(disks.overlays.iter().map(|o| o.written().0).sum()),
        last_lines,
        warnings,
        recorded: false,
    };
    if let Some(says) = note(&proof) {
        // A verdict that took minutes is told, whether it can be written down or not.
        match cx.store.put_note(id, says, cx.clock.now()) {
            Ok(()) => proof.recorded = true,
            Err(e) => proof.warnings.push(DisplayText::new(&format!("this could not be noted in the store: {e}"))),
        }
    }
    Ok(proof)
}

/// What is noted of it.
fn note(proof: &Proof) -> Option<Says> {
    let on = match proof.firmware {
        Firmware::Bios => "with a BIOS",
        Firmware::Uefi => "with UEFI",
    };
    let text = format!("in a virtual machine {on}, after {} s: {}", proof.seconds, proof.why);
    match proof.verdict {
        Verdict::Proven => Some(Says::Proven { how: DisplayText::new(&text) }),
        Verdict::NotProven => Some(Says::Unproven { why: DisplayText::new(&text) }),
        Verdict::Unknown => None,
    }
}

/// Where the scratch file is made: where programs put what is large and outlasts nothing.
fn scratch_dir() -> PathBuf {
    std::env::var_os("TMPDIR").map(PathBuf::from).filter(|dir| dir.is_absolute()).unwrap_or_else(|| "/var/tmp".into())
}

fn tell(cx: &Context<'_>, phase: String) {
    cx.observer.progress(Progress {
        phase: DisplayText::new(&phase),
        step: (1, 1),
        done: ByteLen::ZERO,
        total: ByteLen::ZERO,
        rate: ByteLen::ZERO,
        remaining: None,
        cost: None,
        fenced: false,
    });
}

/// The disks of a snapshot, with what is written to them.
struct Disks<'a> {
    manifest: &'a Manifest,
    overlays: Vec<Arc<Overlay>>,
}

impl Disks<'_> {
    /// How often they were written to.
    fn writes(&self) -> u64 {
        self.overlays.iter().map(|o| o.writes()).sum()
    }

    /// Looks at them as they are now: as after a power cut.
    fn look(&self, cx: &Context<'_>) -> Result<Report, Stop> {
        let source = |(disk, overlay): (&model::snapshot::SavedDisk, &Arc<Overlay>)| DiskSource {
            no: disk.no,
            hardware: disk.hardware.clone(),
            bytes: overlay.view(),
            clear: None,
        };
        let sources: Vec<DiskSource> = self.manifest.disks.iter().zip(&self.overlays).map(source).collect();
        let parser = cx.parser.over(sources.clone()).map_err(|e| {
            Stop::failed(
                ExitCode::Failed,
                format!("the machine's disks cannot be looked at: {e}"),
                "please report this",
            )
        })?;
        Ok(gather::report(&sources, &*parser, &|_| None))
    }
}

/// What the machine is made of.
fn parts(manifest: &Manifest, trial: &Trial, (report, by_firmware): (&Report, bool)) -> Result<Machine, Stop> {
    let attached = |(no, hardware): (String, &Hardware)| Attached {
        name: no,
        bus: machine::bus(trial, hardware, report),
        serial: machine::serial(hardware),
        sector: hardware.sector.0,
    };
    machine::processor(report)?;
    let disks = manifest.disks.iter().map(|d| attached((d.no.to_string(), &d.hardware))).collect();
    Ok(Machine { firmware: machine::firmware(report, by_firmware)?, accelerator: trial.accelerator, disks })
}

/// What is switched on.
struct Started<'a> {
    program: PathBuf,
    machine: &'a Machine,
    /// What the firmware starts.
    entries: &'a [Entry],
    disks: &'a Disks<'a>,
    room: &'a Arc<Room>,
    before: &'a Before,
}

/// What was seen of it.
struct Watched {
    seen: Seen,
    end: End,
    seconds: u32,
    last_lines: Vec<DisplayText>,
}

/// Switches the machine on and watches it until it is up, has failed, or had its time. It is gone afterwards.
fn watch(cx: &Context<'_>, trial: &Trial, started: &Started<'_>) -> Result<Watched, Stop> {
    let exports: Vec<(String, Arc<Overlay>)> =
        started.machine.disks.iter().zip(&started.disks.overlays).map(|(d, o)| (d.name.clone(), o.clone())).collect();
    let variables = match started.machine.firmware {
        Firmware::Bios => None,
        Firmware::Uefi => {
            let mut bytes = machine::variables()?;
            // Without an entry the firmware still looks at the removable place.
            variables::add(&mut bytes, started.entries);
            Some((machine::VARIABLES.to_owned(), Overlay::new(Arc::new(bytes), started.room.clone())))
        }
    };
    std::thread::scope(|scope| {
        let arguments = machine::arguments(started.machine);
        let mut running = Running::start(
            scope,
            &started.program,
            &arguments,
            exports.into_iter().chain(variables),
            trial.accelerator,
        )?;
        let mut watch = Watch { cx, trial, started, seen: Seen::Nothing, fallen: 0, looked: started.disks.writes() };
        let end = watch.until_the_end(&mut running)?;
        let seconds = u32::try_from(running.age().as_secs()).unwrap_or(u32::MAX);
        Ok(Watched { seen: watch.seen, end, seconds, last_lines: running.last_lines() })
    })
}

struct Watch<'a> {
    cx: &'a Context<'a>,
    trial: &'a Trial,
    started: &'a Started<'a>,
    seen: Seen,
    /// How often emergency mode was seen.
    fallen: u32,
    /// How often the disks had been written to when they were looked at last.
    looked: u64,
}

impl Watch<'_> {
    fn until_the_end(&mut self, running: &mut Running) -> Result<End, Stop> {
        let limit = Duration::from_secs(self.trial.timeout.into());
        let (mut next_look, mut told) = (EVERY, None);
        let mut told_to_stop: Option<Duration> = None;
        loop {
            if self.cx.observer.cancelled() {
                return Err(Stop::Cancelled("stopped; the machine is gone, and nothing was noted".into()));
            }
            let age = running.age();
            let ended = match (self.started.room.full(), told_to_stop) {
                (Some(why), _) => Some(End::Full(why)),
                (None, Some(since)) if age >= since + LAST_WORDS => Some(End::Late(self.trial.timeout)),
                _ => running.ended()?,
            };
            // One that was told to shut down and did has had its time all the same.
            let ended = ended.map(|end| if told_to_stop.is_some() { End::Late(self.trial.timeout) } else { end });
            if age >= next_look || ended.is_some() {
                if let Some(end) = self.look()? {
                    return Ok(end);
                }
                next_look = running.age() + EVERY;
            }
            if let Some(end) = ended {
                return Ok(end);
            }
            if age >= limit && told_to_stop.is_none() {
                self.look()?;
                if matches!(self.seen, Seen::Nothing | Seen::Fell { .. }) {
                    return Ok(End::Late(self.trial.timeout));
                }
                if matches!(self.seen, Seen::Reached { .. }) {
                    return Ok(End::Seen);
                }
                running.press_power();
                told_to_stop = Some(running.age());
            }
            if told != Some(age.as_secs()) {
                told = Some(age.as_secs());
                tell(self.cx, format!("in a virtual machine for {} s: {}", age.as_secs(), self.seen.words()));
            }
            std::thread::sleep(GLANCE);
        }
    }

    /// Looks at the disks, where they were written to since the last time. An end where nothing more is to be waited for.
    fn look(&mut self) -> Result<Option<End>, Stop> {
        let writes = self.started.disks.writes();
        if std::mem::replace(&mut self.looked, writes) != writes {
            let now = self.started.before.seen(&self.started.disks.look(self.cx)?);
            // A look in the middle of a write may see less than the one before.
            self.seen = std::mem::replace(&mut self.seen, Seen::Nothing).max(now);
        }
        Ok(match self.seen {
            Seen::Reached { .. } => Some(End::Seen),
            Seen::Fell { .. } => {
                self.fallen += 1;
                (self.fallen >= FALLEN).then_some(End::Seen)
            }
            _ => None,
        })
    }
}
