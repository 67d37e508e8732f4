//! The roles the program runs in besides its verbs: the engine, and the front end of one console.

use super::Ended;
use super::args::EngineRole;
use super::{secret, session};
use crate::tui::look::Look;
use crate::tui::mouse;
use crate::tui::runtime::{self, Ended as Session, Shows};
use engine::link::{self, Role};
use engine::parser::Child;
use engine::{Config, Engine, Handle, Unattended, take_inherited};
use model::command::{Command, ExitCode, Failure};
use model::event::Happening;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// The directory of the store on a rescue stick's own file system.
const STORE_ON_STICK: &str = "holdfast";

/// `holdfast engine`: under PID 1, or for one front end that gave its socket as stdin.
pub(super) fn engine(args: &EngineRole) -> Ended {
    match args.control {
        Some(fd) => under_control(args, fd),
        None => for_one(args),
    }
}

fn under_control(args: &EngineRole, fd: i32) -> Ended {
    let control = take_inherited(fd).map_err(|e| no_socket("control socket", &e))?;
    let store = args.store.as_ref().map(|mount| {
        let dir = mount.dir.join(STORE_ON_STICK);
        // Made here, so that the disk it lies on is known from the start and left out. Where it cannot be made, opening the
        // store says why.
        let _ = std::fs::create_dir_all(&dir);
        (dir, true)
    });
    let disks = if args.disks.is_empty() { None } else { Some(args.disks.clone()) };
    link::role(Role { control, disks, store, leave_out: args.leave_out.clone(), unattended: unattended(args) })?;
    Ok(ExitCode::Ok)
}

/// The name of the built-in policy.
const BUILT_IN: &str = "auto";
/// Where it is told, in the root of the stick's own file system, what was done by itself.
const RECORD: &str = "unattended.log";

fn unattended(args: &EngineRole) -> Option<Unattended> {
    let name = args.policy.as_ref()?;
    let root = args.store.as_ref().map(|mount| mount.dir.clone()).unwrap_or_default();
    let policy = Some(root.join(name)).filter(|_| name.as_os_str() != BUILT_IN);
    Some(Unattended { policy, record: args.store.as_ref().map(|_| root.join(RECORD)) })
}

fn for_one(args: &EngineRole) -> Ended {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().map_err(|e| no_socket("front end's socket", &e))?;
    let opened = if args.disks.is_empty() {
        engine::machine::discover(args.store.as_ref().map(|s| s.dir.as_path()), &[])?
    } else {
        engine::machine::open(&args.disks)?
    };
    let parser = Arc::new(Child::start(&opened)?);
    let store = args.store.as_ref().map(secret::place_unasked).transpose()?;
    let other = args.other.as_ref().map(secret::other_unasked).transpose()?;
    let (clock, heads) = (engine::machine::clock(), session::heads());
    let handle = Engine::start(Config { devices: opened.devices, parser, store, other, sticks: None, heads, clock });
    // The engine looks by itself; a front end only shows.
    handle.submit(Command::Inspect);
    // A front end that goes away, by whatever way, is the end of the session but not of a running job.
    let served = link::serve(&handle, UnixStream::from(socket));
    finish(&handle);
    served.map(|()| ExitCode::Ok).map_err(|e| no_socket("front end", &e))
}

/// Lets a running job come to its end; a question that nobody can answer any more is a no.
fn finish(handle: &Handle) {
    let events = handle.subscribe();
    for event in events {
        let state = handle.state();
        if state.job.is_none() {
            return;
        }
        let asked = match event.what {
            Happening::State(_) | Happening::DecisionNeeded(_) => state.question,
            _ => None,
        };
        if let Some(question) = asked {
            handle.submit(Command::Answer { plan: question.id, approve: false });
        }
    }
}

fn no_socket(what: &str, e: &std::io::Error) -> Failure {
    Failure::new(ExitCode::Failed, format!("the {what} failed: {e}"), "the program starts this role by itself")
}

/// `holdfast console`: the screens on stdin and stdout, the engine behind an inherited socket.
pub(super) fn console(fd: i32) -> Ended {
    let socket = take_inherited(fd).map_err(|e| no_socket("engine's socket", &e))?;
    let handle = link::connect(UnixStream::from(socket)).map_err(|e| no_socket("engine's socket", &e))?;
    let environment = |name: &str| std::env::var(name).ok();
    let look = Look::of(environment);
    let shows = Shows { look, mouse: mouse::is_there(environment), may_leave: false, other: None };
    shown(runtime::run(&handle, shows, None))
}

/// How a session on a terminal ends as a process.
pub(super) fn shown(session: std::io::Result<Session>) -> Ended {
    match session {
        Ok(Session::Left | Session::Leaving) => Ok(ExitCode::Ok),
        Ok(Session::EngineGone) => {
            Err(Failure::new(ExitCode::Failed, "the engine ended", "what was begun and cut off can be resumed"))
        }
        Ok(Session::TerminalGone) => {
            Err(Failure::new(ExitCode::Failed, "the terminal is gone", "what was running comes to its end by itself"))
        }
        Err(e) => {
            Err(Failure::new(ExitCode::Failed, format!("the terminal cannot be used: {e}"), "run it on a terminal"))
        }
    }
}
