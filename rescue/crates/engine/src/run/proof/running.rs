//! A virtual machine that runs: the process, and the threads that speak with it.

use super::nbd;
use super::qmp::{self, Happened};
use super::serial::Tail;
use super::verdict::End;
use crate::run::Stop;
use crate::run::overlay::Overlay;
use model::command::ExitCode;
use model::proof::Accelerator;
use model::text::DisplayText;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::Scope;
use std::time::{Duration, Instant};
use sys::process::{Child, Launch, describe};

/// What is kept of what QEMU itself says.
const MOST_SAID: u64 = 4096;
/// How long it may take until all that QEMU said before its end was heard, on a busy computer too: another process may hold a line
/// open.
const SETTLE: Duration = Duration::from_secs(5);

/// A machine that is switched on. Dropping it switches it off, and with that every thread that speaks with it ends.
pub(super) struct Running {
    process: Child,
    control: UnixStream,
    began: Instant,
    heard: Arc<Heard>,
}

/// What was heard of it.
#[derive(Default)]
struct Heard {
    happened: Mutex<Option<Happened>>,
    serial: Tail,
    said: Mutex<String>,
    /// Lines on which something may still come.
    open: Mutex<u32>,
    closed: Condvar,
}

fn failed(e: &io::Error) -> Stop {
    Stop::failed(ExitCode::Failed, format!("QEMU cannot be started: {e}"), "nothing was started")
}

impl Running {
    /// Switches a machine on. It inherits a socket for its control line, one for its serial line, and one for each export, in
    /// order, and dies with the calling thread.
    ///
    /// # Errors
    /// [`Stop`] where there are no sockets, threads or processes to be had.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        program: &Path,
        arguments: &[String],
        exports: impl Iterator<Item = (String, Arc<Overlay>)>,
        accelerator: Accelerator,
    ) -> Result<Self, Stop> {
        Self::launch(scope, program, arguments, exports, accelerator).map_err(|e| failed(&e))
    }

    fn launch<'scope>(
        scope: &'scope Scope<'scope, '_>,
        program: &Path,
        arguments: &[String],
        exports: impl Iterator<Item = (String, Arc<Overlay>)>,
        accelerator: Accelerator,
    ) -> io::Result<Self> {
        let ((control, theirs), (serial, their_serial)) = (UnixStream::pair()?, UnixStream::pair()?);
        let (said, their_said) = io::pipe()?;
        let their_said = OwnedFd::from(their_said);
        // Ctrl-C is for us, who then switch it off.
        let mut launch = Launch::program(program)?
            .environment(&["PATH=/usr/bin:/bin", "LC_ALL=C"])?
            .apart()
            .die_with_parent()
            .stdio(0, File::open("/dev/null")?.into())
            .stdio(1, their_said.try_clone()?)
            .stdio(2, their_said)
            .inherit(theirs.into())
            .inherit(their_serial.into());
        // Only root may be allowed to use /dev/kvm.
        if accelerator == Accelerator::Tcg {
            launch = launch.as_nobody();
        }
        for argument in arguments {
            launch = launch.arg(argument)?;
        }
        let mut served = Vec::new();
        for (name, overlay) in exports {
            let (ours, theirs) = UnixStream::pair()?;
            launch = launch.inherit(theirs.into());
            served.push((ours, name, overlay));
        }
        let heard = Arc::new(Heard::default());
        // Whatever fails from here on, the process is ended and its sockets close, which ends the threads.
        let mut running = Self { process: launch.spawn()?, control, began: Instant::now(), heard: heard.clone() };
        let spawn = |name: &str, f: Box<dyn FnOnce() + Send + 'scope>| {
            std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, f).map(|_| ())
        };
        for (mut line, name, overlay) in served {
            // The end of a connection is the end of the machine, which is seen elsewhere, or what the machine sees as a disk that
            // is gone.
            spawn("disk", Box::new(move || drop(nbd::serve(&mut line, &name, &overlay))))?;
        }
        let (control, here) = (running.control.try_clone()?, heard.clone());
        let line = heard.line();
        spawn(
            "control",
            Box::new(move || {
                qmp::listen(control, |what| here.tell(what));
                drop(line);
            }),
        )?;
        let (here, line) = (heard.clone(), heard.line());
        spawn(
            "serial",
            Box::new(move || {
                here.serial.listen(serial);
                drop(line);
            }),
        )?;
        let line = heard.line();
        spawn(
            "said",
            Box::new(move || {
                heard.listen(said);
                drop(line);
            }),
        )?;
        // One that ended already does not listen: how it ended is found when that is asked.
        let _ = qmp::begin(&mut running.control);
        Ok(running)
    }

    /// Time since it was switched on.
    pub(super) fn age(&self) -> Duration {
        self.began.elapsed()
    }

    /// The last lines of its serial line.
    pub(super) fn last_lines(&self) -> Vec<DisplayText> {
        self.heard.serial.lines()
    }

    /// How it ended, where it did.
    ///
    /// # Errors
    /// [`Stop`] where QEMU could not begin at all.
    pub(super) fn ended(&mut self) -> Result<Option<End>, Stop> {
        let happened = || *self.heard.happened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Happened::Panicked) = happened() {
            return Ok(Some(End::Machine(Happened::Panicked)));
        }
        if let Some(line) = self.heard.serial.panic() {
            return Ok(Some(End::Panic(line)));
        }
        let Some(status) = self.process.try_wait().map_err(|e| failed(&e))? else { return Ok(None) };
        self.heard.settle();
        if let Some(happened) = happened() {
            return Ok(Some(End::Machine(happened)));
        }
        let said = self.heard.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !status.success() && self.heard.serial.lines().is_empty() {
            let says = format!("QEMU could not start the machine: {}", said.trim());
            return Err(Stop::failed(ExitCode::Failed, says, "the snapshot was not tried; nothing was noted"));
        }
        Ok(Some(End::Qemu(DisplayText::new(format!("{} {}", describe(status), said.trim()).trim()))))
    }

    /// Presses its power button. Where nobody takes that, it does nothing.
    pub(super) fn press_power(&mut self) {
        let _ = qmp::press_power(&mut self.control);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A line that is listened to, as long as this is there.
struct Line(Arc<Heard>);

impl Drop for Line {
    fn drop(&mut self) {
        *self.0.open.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.closed.notify_all();
    }
}

impl Heard {
    fn line(self: &Arc<Self>) -> Line {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Line(self.clone())
    }

    /// Waits until all was heard that a machine said which ended.
    fn settle(&self) {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Whether or not it came in time: what was heard is what there is.
        drop(self.closed.wait_timeout_while(open, SETTLE, |open| *open > 0));
    }

    fn tell(&self, what: Happened) {
        self.happened.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(what);
    }

    /// Takes what QEMU says, and keeps the beginning of it.
    fn listen(&self, mut from: impl Read) {
        let mut kept = Vec::new();
        let _ = from.by_ref().take(MOST_SAID).read_to_end(&mut kept);
        let lines = String::from_utf8_lossy(&kept).lines().map(str::trim).collect::<Vec<_>>().join("; ");
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = lines;
        // The rest is taken too, so that it does not wait for us.
        let _ = io::copy(&mut from, &mut io::sink());
    }
}
