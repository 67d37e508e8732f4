//! The handle over a socket: for front ends in processes of their own, and the engine role that serves them.

use crate::frame;
use crate::handle::{Config, Engine, Handle};
use crate::hub::Hub;
use crate::parser::Child;
use crate::sticks::{Asked, StickAnswer, StickWish, Sticks};
use crate::store_place::StorePlace;
use crate::unattended::Unattended;
use model::command::{Command, ExitCode, Failure, PowerAction};
use model::event::{Event, Happening};
use serde::{Deserialize, Serialize};
use std::io;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use sys::process::Channel;

/// Longest command: a list of volumes at most.
const MOST_COMMAND: usize = 1 << 20;
/// Longest event: a report with all its evidence.
const MOST_EVENT: usize = 64 << 20;
/// How long a front end may take to read one event before it is given up. It gets a new socket and the whole state then.
const PATIENCE: Duration = Duration::from_secs(30);

/// Serves one front end until it goes away: its commands in, every event out.
///
/// # Errors
/// What the socket says, or a message that makes no sense.
pub fn serve(handle: &Handle, socket: UnixStream) -> io::Result<()> {
    let events = handle.subscribe();
    let mut out = socket.try_clone()?;
    out.set_write_timeout(Some(PATIENCE))?;
    let writer = std::thread::spawn(move || {
        for event in events {
            if frame::send_json(&mut out, &event, MOST_EVENT).is_err() {
                break;
            }
        }
        // The engine ended or the front end does not listen: both show at its end as a closed socket.
        let _ = out.shutdown(Shutdown::Both);
    });
    let mut commands = socket.try_clone()?;
    let result = loop {
        match frame::receive_json::<Command>(&mut commands, MOST_COMMAND) {
            Ok(Some(command)) => handle.submit(command),
            Ok(None) => break Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ConnectionReset => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    let _ = socket.shutdown(Shutdown::Both);
    // The writer learns of the closed socket with the next event; it holds nothing that anybody waits for.
    drop(writer);
    result
}

/// The handle of an engine at the other end of a socket. Waits for its state.
///
/// # Errors
/// What the socket says, or a message that makes no sense.
pub fn connect(socket: UnixStream) -> io::Result<Handle> {
    let hub = Arc::new(Hub::default());
    let mut events = socket.try_clone()?;
    match frame::receive_json::<Event>(&mut events, MOST_EVENT)? {
        Some(first) if matches!(first.what, Happening::State(_)) => hub.relay(first),
        Some(_) => return Err(io::Error::other("the engine said something else before its state")),
        None => return Err(io::ErrorKind::UnexpectedEof.into()),
    }
    let (sender, commands) = channel::<Command>();
    let reading = hub.clone();
    std::thread::spawn(move || {
        // An end and an error are the same to a front end: the engine is gone.
        while let Ok(Some(event)) = frame::receive_json::<Event>(&mut events, MOST_EVENT) {
            reading.relay(event);
        }
        reading.close();
    });
    std::thread::spawn(move || {
        let mut out = socket;
        for command in commands {
            if frame::send_json(&mut out, &command, MOST_COMMAND).is_err() {
                break;
            }
        }
        // The last handle is gone: so is this front end.
        let _ = out.shutdown(Shutdown::Both);
    });
    Ok(Handle::new(hub, sender))
}

/// What the engine role is started with.
pub struct Role {
    /// The control socket to whoever started it (`sys::process::Channel`): front ends come through it.
    pub control: OwnedFd,
    /// The disks to open, or `None` for every real one.
    pub disks: Option<Vec<PathBuf>>,
    /// The store's directory, and whether a store is made there on first use.
    pub store: Option<(PathBuf, bool)>,
    /// Disks that are none of the machine's, by their kernel names: other sticks of the rescue.
    pub leave_out: Vec<String>,
    /// What is done by itself; nothing but looking where `None`.
    pub unattended: Option<Unattended>,
}

/// What comes over the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// A front end of this name; the socket to it comes with the message.
    Attach(String),
    /// Somebody pressed Ctrl-Alt-Del: leave this way, unless a job is running.
    Ask(PowerAction),
    /// What became of a wish about a second stick.
    Stick(StickAnswer),
}

/// What goes over the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Leave the rescue.
    Power(PowerAction),
    /// Mount or unmount a second stick.
    Stick(StickWish),
}

/// The main loop of `holdfast engine`: opens disks and store, starts the parser, serves every front end that comes, and ends
/// when the control socket closes.
///
/// # Errors
/// [`Failure`] where the disks cannot be opened or the parser cannot be started.
pub fn role(role: Role) -> Result<(), Failure> {
    let opened = match &role.disks {
        Some(paths) => crate::machine::open(paths)?,
        None => crate::machine::discover(role.store.as_ref().map(|(path, _)| path.as_path()), &role.leave_out)?,
    };
    let parser = Arc::new(Child::start(&opened)?);
    let store = role.store.map(|(path, create)| StorePlace::Dir { path, create, access: Box::default() });
    let clock = crate::machine::clock();
    let control = Arc::new(Channel::from(role.control));
    let (answered, answers) = channel();
    let sticks: Option<Arc<dyn Sticks>> = match store {
        // Without a stick of its own there is nothing to copy, and nothing to repair.
        Some(_) => Some(Arc::new(Asked::new(control.clone(), answers))),
        None => None,
    };
    let devices = opened.devices;
    let config = Config { devices, parser, store, other: None, sticks, heads: None, clock: clock.clone() };
    let handle = Engine::start(config);
    for problem in opened.problems {
        handle.note(problem);
    }
    // However many front ends come, the disks are looked at once for all of them.
    match role.unattended {
        Some(unattended) => unattended.begin(&handle, clock),
        None => handle.submit(Command::Inspect),
    }
    pass_on_power(&handle, &control);
    loop {
        match control.receive() {
            Ok(Some(message)) => told(&handle, &answered, &message.bytes, message.fd),
            Ok(None) => return Ok(()),
            Err(e) => {
                let advice = "the rescue starts it again; what was begun and cut off can be resumed";
                return Err(Failure::new(ExitCode::Failed, format!("the control socket failed: {e}"), advice));
            }
        }
    }
}

/// Asks for power off or reboot when the engine decided to leave.
fn pass_on_power(handle: &Handle, control: &Arc<Channel>) {
    let (events, control) = (handle.subscribe(), control.clone());
    std::thread::spawn(move || {
        for event in events {
            if let Happening::Leaving(action) = event.what
                && let Ok(wish) = serde_json::to_vec(&Wish::Power(action))
            {
                // Where nobody listens the process is about to end anyway.
                let _ = control.send(&wish, None);
            }
        }
    });
}

fn told(handle: &Handle, answered: &Sender<StickAnswer>, bytes: &[u8], fd: Option<OwnedFd>) {
    match (serde_json::from_slice::<Control>(bytes), fd) {
        (Ok(Control::Attach(name)), Some(fd)) => {
            let handle = handle.clone();
            std::thread::spawn(move || {
                if let Err(e) = serve(&handle, UnixStream::from(fd)) {
                    handle.note(format!("the front end {name} was let go: {e}").as_str().into());
                }
            });
        }
        (Ok(Control::Attach(name)), None) => {
            handle.note(format!("the front end {name} came without a socket").as_str().into());
        }
        // These are keys too: whoever presses them stops what would go on by itself.
        (Ok(Control::Ask(_)), _) if handle.state().waiting.is_some() => handle.submit(Command::Cancel),
        // While a job runs this is refused, with a line of the log.
        (Ok(Control::Ask(action)), _) => handle.submit(Command::Power(action)),
        // Where nobody waits for it any more, it means nothing.
        (Ok(Control::Stick(answer)), _) => drop(answered.send(answer)),
        (Err(e), _) => handle.note(format!("a message on the control socket makes no sense: {e}").as_str().into()),
    }
}
