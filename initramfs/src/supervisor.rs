//! Keeps the engine and a front end per console running, and leaves when asked to.
//!
//! The engine's control socket carries small JSON messages, each whole: `{"attach":"ttyS0"}` to the engine with one end
//! of a socket pair whose other end the front end of that console inherits; `{"ask":"reboot"}` to the engine when
//! somebody pressed Ctrl-Alt-Del; `{"power":"reboot"}` or `{"power":"poweroff"}` from it. `{"stick":"attach"}` and `{"stick":"detach"}` come from
//! it where a second stick is wanted, and are answered ([`crate::second`]).

use crate::cmdline::Options;
use crate::console::{self, Console};
use crate::devices::{self, Devices};
use crate::failure::{self, Choice};
use crate::report::Report;
use crate::second::{self, Helper};
use crate::store;
use model::command::PowerAction;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};
use sys::process::{Channel, Child, Launch, describe};
use sys::signal::{Came, wait};

const PROGRAM: &str = "/bin/holdfast";
/// A program that lived shorter than this did not start properly.
const SHORT: Duration = Duration::from_secs(10);
/// So many bad starts of the engine in a row, and people are told.
const MOST_BAD_STARTS: u32 = 3;
/// How long a program that is told to end is awaited.
const GRACE: Duration = Duration::from_secs(5);
/// The longest pause before a front end is started again.
const MOST_PAUSE: Duration = Duration::from_secs(15);

/// All that runs is started with.
pub(crate) struct Session<'a> {
    pub(crate) options: &'a Options,
    pub(crate) report: &'a mut Report,
    pub(crate) devices: &'a mut Devices,
    pub(crate) store: bool,
}

struct Engine {
    child: Child,
    control: Channel,
    started: Instant,
}

struct Front {
    console: Console,
    child: Option<Child>,
    started: Instant,
    pause: Duration,
}

/// How a round with one engine ended.
enum End {
    Leave(PowerAction),
    Died(String),
}

impl Session<'_> {
    /// Runs until the machine is to be left.
    pub(crate) fn run(&mut self) -> PowerAction {
        let mut bad_starts = 0;
        let mut ran = false;
        loop {
            let consoles = console::all(self.options);
            let began = Instant::now();
            let (says, hopeless) = match self.start_engine() {
                // Not there or not executable: it will not be a second later either.
                Err(e) => (format!("starting {PROGRAM} failed: {e}"), true),
                Ok(engine) => {
                    ran = true;
                    match self.attend(engine, &consoles) {
                        End::Leave(how) => return how,
                        End::Died(says) => (says, false),
                    }
                }
            };
            self.report.trouble(says.clone());
            bad_starts = if began.elapsed() < SHORT { bad_starts + 1 } else { 0 };
            if !hopeless && bad_starts < MOST_BAD_STARTS {
                std::thread::sleep(Duration::from_millis(500));
                continue;
            }
            bad_starts = 0;
            match self.tell(&consoles, ran, &says) {
                Choice::Leave(how) => return how,
                Choice::Again => self.look_again(),
            }
        }
    }

    fn tell(&mut self, consoles: &[Console], ran: bool, says: &str) -> Choice {
        devices::list(self.report);
        // Drawn as things stand; devices are still taken in while it shows, for the next try.
        let shown = std::mem::replace(self.report, Report::new());
        self.report.aloud = false;
        let choice = failure::show(consoles, &shown, ran, says, || {
            self.devices.news(self.report);
            let left = wait(Duration::ZERO) == Some(Came::Interrupt);
            left.then_some(Choice::Leave(PowerAction::Reboot))
        });
        *self.report = shown;
        choice
    }

    /// Another try: perhaps the stick is plugged in now.
    fn look_again(&mut self) {
        self.devices.news(self.report);
        if let (false, Some(guid)) = (self.store, &self.options.store) {
            self.store = store::bring_up(guid, self.report);
        }
    }

    fn start_engine(&self) -> io::Result<Engine> {
        let (ours, theirs) = Channel::pair()?;
        let null = File::open("/dev/null")?;
        let log = console::log(self.options)?;
        let mut launch = Launch::program(Path::new(PROGRAM))?.arg("engine")?.arg("--control")?.arg("3")?;
        if self.store {
            launch = launch.arg("--store")?.arg(store::MOUNT_POINT)?;
        }
        // Of an engine that died over it.
        let _ = store::let_go(second::MOUNT_POINT);
        if self.store {
            for stick in second::sticks() {
                launch = launch.arg("--leave-out")?.arg(stick.name())?;
            }
        }
        if let Some(policy) = self.options.policy.as_ref().filter(|_| is_first()) {
            launch = launch.arg("--policy")?.arg(policy)?;
        }
        let launch = launch.environment(&["PATH=/bin", "HOME=/"])?;
        let launch = launch.stdio(0, null.into()).stdio(1, log.try_clone()?.into()).stdio(2, log.into());
        let child = launch.inherit(theirs.into()).spawn()?;
        Ok(Engine { child, control: ours, started: Instant::now() })
    }

    fn start_front(&self, console: &Console, engine: &Engine) -> io::Result<Child> {
        let (ours, theirs) = UnixStream::pair()?;
        let tty: OwnedFd = console.open()?.into();
        let log = console::log(self.options)?;
        let launch = Launch::program(Path::new(PROGRAM))?.arg("console")?.arg("--engine")?.arg("3")?;
        let launch = launch.environment(&["PATH=/bin", "HOME=/", console.term()])?;
        let child = launch.on_terminal(tty)?.stdio(2, log.into()).inherit(ours.into()).spawn()?;
        // A console's name holds letters and digits only (cmdline::is_device).
        let message = format!("{{\"attach\":\"{}\"}}", console.name);
        engine.control.send(message.as_bytes(), Some(theirs.as_fd()))?;
        Ok(child)
    }

    /// Looks after one engine and its front ends until it ends or the machine is to be left.
    fn attend(&mut self, mut engine: Engine, consoles: &[Console]) -> End {
        let front =
            |c: &Console| Front { console: c.clone(), child: None, started: engine.started, pause: Duration::ZERO };
        let mut fronts: Vec<Front> = consoles.iter().map(front).collect();
        self.report.aloud = false;
        let helper = Helper::start();
        let end = loop {
            for front in &mut fronts {
                self.keep(front, &engine);
            }
            let mut fds = vec![engine.control.as_fd()];
            fds.extend(engine.child.handle());
            fds.extend(self.devices.descriptor());
            fds.extend(fronts.iter().filter_map(|f| f.child.as_ref()?.handle()));
            let ready = sys::poll(&fds, Some(Duration::from_millis(500))).unwrap_or_default();
            if wait(Duration::ZERO) == Some(Came::Interrupt)
                && let Err(e) = engine.control.send(b"{\"ask\":\"reboot\"}", None)
            {
                self.report.trouble(format!("the engine does not take messages: {e}"));
            }
            while let Some(answer) = helper.answer() {
                if let Err(e) = engine.control.send(answer.as_bytes(), None) {
                    self.report.trouble(format!("the engine does not take messages: {e}"));
                }
            }
            self.devices.news(self.report);
            if let Ok(Some(status)) = engine.child.try_wait() {
                break End::Died(format!("the engine {}", describe(status)));
            }
            if ready.first() == Some(&true) {
                match engine.control.receive() {
                    Ok(Some(message)) => match wish(&message.bytes) {
                        Some(Wish::Leave(how)) => break End::Leave(how),
                        Some(Wish::Stick(wish)) => helper.wish(wish),
                        None => self.report.trouble("the engine sent a message of no meaning".to_owned()),
                    },
                    Ok(None) => break End::Died(self.last_words(&mut engine)),
                    Err(e) => break End::Died(format!("the engine's control socket failed: {e}")),
                }
            }
        };
        let children = fronts.iter_mut().filter_map(|f| f.child.as_mut()).collect::<Vec<_>>();
        end_all(children);
        end_all(vec![&mut engine.child]);
        end
    }

    /// Its socket closed: it is about to end, or has lost its mind.
    fn last_words(&self, engine: &mut Engine) -> String {
        match engine.child.wait_for(Duration::from_secs(2)) {
            Ok(Some(status)) => format!("the engine {}", describe(status)),
            _ => "the engine closed its control socket".to_owned(),
        }
    }

    /// Starts a front end where none runs, in time.
    fn keep(&mut self, front: &mut Front, engine: &Engine) {
        if let Some(child) = &mut front.child {
            let Ok(Some(status)) = child.try_wait() else { return };
            front.child = None;
            self.report.trouble(format!("the program on {} {}", front.console.name, describe(status)));
            // Soon for one that ran well, later for one that keeps falling over.
            front.pause = match front.started.elapsed() < SHORT {
                true => (front.pause * 2).clamp(Duration::from_secs(1), MOST_PAUSE),
                false => Duration::ZERO,
            };
            front.started = Instant::now();
        }
        if front.started.elapsed() < front.pause {
            return;
        }
        front.started = Instant::now();
        match self.start_front(&front.console, engine) {
            Ok(child) => front.child = Some(child),
            Err(e) => {
                front.pause = (front.pause * 2).clamp(Duration::from_secs(1), MOST_PAUSE);
                self.report.trouble(format!("starting the program on {} failed: {e}", front.console.name));
            }
        }
    }
}

/// Made when an engine is told what to do by itself.
const BEGUN: &str = "/run/holdfast.policy";

/// True once after each start of the machine: an engine that died of what it did by itself does not do it again, and
/// somebody who came meanwhile is not overrun. Where that cannot be remembered it is never done.
fn is_first() -> bool {
    File::create_new(BEGUN).is_ok()
}

/// Tells processes to end, together, and ends those that do not.
fn end_all(children: Vec<&mut Child>) {
    for child in &children {
        let _ = child.terminate();
    }
    let until = Instant::now() + GRACE;
    for child in children {
        let left = until.saturating_duration_since(Instant::now());
        if !matches!(child.wait_for(left), Ok(Some(_))) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What an engine wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Leave(PowerAction),
    Stick(second::Wish),
}

/// Reads what an engine wants; spaces mean nothing.
fn wish(message: &[u8]) -> Option<Wish> {
    let tight: Vec<u8> = message.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    match tight.as_slice() {
        b"{\"power\":\"reboot\"}" => Some(Wish::Leave(PowerAction::Reboot)),
        b"{\"power\":\"poweroff\"}" => Some(Wish::Leave(PowerAction::Poweroff)),
        b"{\"stick\":\"attach\"}" => Some(Wish::Stick(second::Wish::Attach)),
        b"{\"stick\":\"detach\"}" => Some(Wish::Stick(second::Wish::Detach)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read() {
        assert_eq!(wish(b"{ \"power\": \"reboot\" }\n"), Some(Wish::Leave(PowerAction::Reboot)));
        assert_eq!(wish(b"{\"power\":\"poweroff\"}"), Some(Wish::Leave(PowerAction::Poweroff)));
        assert_eq!(wish(b"{\"power\":\"halt\"}"), None);
        assert_eq!(wish(b"{\"stick\":\"attach\"}"), Some(Wish::Stick(second::Wish::Attach)));
        assert_eq!(wish(b"{\"stick\": \"detach\"}"), Some(Wish::Stick(second::Wish::Detach)));
        assert_eq!(wish(b"{\"stick\":\"mount\"}"), None);
        assert_eq!(wish(b""), None);
    }

    #[test]
    fn who_does_not_end_is_ended() {
        let launch =
            |script: &str| Launch::program("/bin/sh".as_ref()).unwrap().arg("-c").unwrap().arg(script).unwrap();
        let mut polite = launch("exec sleep 60").spawn().unwrap();
        let (mut ready, writer) = io::pipe().unwrap();
        let stubborn = launch("trap '' TERM; echo >&3; while :; do sleep 1; done").inherit(writer.into());
        let mut stubborn = stubborn.spawn().unwrap();
        io::Read::read_exact(&mut ready, &mut [0]).unwrap();
        let began = Instant::now();
        end_all(vec![&mut polite, &mut stubborn]);
        assert!(began.elapsed() < GRACE + Duration::from_secs(2));
        assert_eq!(describe(polite.wait().unwrap()), "was killed by SIGTERM");
        assert_eq!(describe(stubborn.wait().unwrap()), "was killed by SIGKILL");
    }
}
