//! `holdfast tui`: the screens of the rescue on any terminal, with an engine in a process of its own.

use super::args::{Tui, UnlockBy};
use super::{Ended, roles};
use crate::tui::look::Look;
use crate::tui::mouse;
use crate::tui::recording::{Playback, Recorder};
use crate::tui::runtime::{self, Shows};
use model::command::{ExitCode, Failure};
use model::text::DisplayText;
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The most that is shown of an engine's last words.
const LAST_WORDS: u64 = 4096;

pub(super) fn run(args: &Tui) -> Ended {
    if let Some(file) = &args.replay {
        return replay(file, args.ascii);
    }
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        let says = "this is not a terminal";
        return Err(Failure::new(ExitCode::Usage, says, "`holdfast inspect` and the other verbs need none"));
    }
    let recorder =
        args.record.as_ref().map(|file| Recorder::create(file).map_err(|e| no_file(file, &e))).transpose()?;
    let (ours, theirs) = UnixStream::pair().map_err(|e| cannot(&e))?;
    let mut child = start(args, theirs).map_err(|e| cannot(&e))?;
    let handle = match engine::link::connect(ours) {
        Ok(handle) => handle,
        Err(_) => return Err(last_words(&mut child)),
    };
    let mut look = Look::of(|name| std::env::var(name).ok());
    look.ascii |= args.ascii;
    let mouse = mouse::is_there(|name| std::env::var(name).ok());
    let other = args.other.as_ref().map(|other| DisplayText::new(&other.dir.to_string_lossy()).to_string());
    let session = runtime::run(&handle, Shows { look, mouse, may_leave: true, other }, recorder);
    if matches!(session, Ok(runtime::Ended::EngineGone)) {
        return Err(last_words(&mut child));
    }
    // Closes the socket: the engine ends after its running job, in its own time.
    drop(handle);
    roles::shown(session)
}

/// Plays a recording back; where there is no terminal, its last screen is printed.
fn replay(file: &Path, ascii: bool) -> Ended {
    let mut playback = File::open(file).and_then(Playback::read).map_err(|e| no_file(file, &e))?;
    if ascii {
        playback.in_ascii();
    }
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return roles::shown(runtime::play(playback));
    }
    let screen = runtime::last_screen(playback).map_err(|e| no_file(file, &e))?;
    super::print(&screen)
}

fn no_file(file: &Path, e: &std::io::Error) -> Failure {
    let name = DisplayText::new(&file.to_string_lossy());
    let advice = match e.kind() {
        std::io::ErrorKind::AlreadyExists => "nothing is overwritten: name a new file",
        _ => "name another file",
    };
    Failure::new(ExitCode::Failed, format!("{name}: {e}"), advice)
}

fn cannot(e: &std::io::Error) -> Failure {
    Failure::new(ExitCode::Failed, format!("the engine cannot be started: {e}"), "nothing was begun")
}

/// The engine: in a process group of its own, so that neither Ctrl-C nor a lost connection cuts it off in the middle.
fn start(args: &Tui, socket: UnixStream) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("engine").args(&args.disks);
    for (store, option, key) in [(&args.store, "--store", "--"), (&args.other, "--to", "--to-")] {
        let Some(store) = store else { continue };
        command.arg(option).arg(&store.dir);
        match &store.unlock {
            UnlockBy::Asked => {}
            UnlockBy::Passphrase(file) => drop(command.arg(format!("{key}passphrase-file")).arg(file)),
            UnlockBy::KeyFile(file) => drop(command.arg(format!("{key}key-file")).arg(file)),
        }
    }
    command.stdin(Stdio::from(OwnedFd::from(socket))).stdout(Stdio::null()).stderr(Stdio::piped());
    command.process_group(0).spawn()
}

/// Why the engine ended: what it said, in its own words.
fn last_words(child: &mut Child) -> Failure {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // What was not said is not known: the exit code has to do.
        let _ = stderr.take(LAST_WORDS).read_to_end(&mut said);
    }
    let status = child.wait().ok();
    let code = status.and_then(|status| status.code());
    let said = DisplayText::from_bytes(said.trim_ascii());
    let says = said.as_str().strip_prefix("holdfast: ").unwrap_or(said.as_str());
    let unsaid = match status {
        Some(status) => format!("the engine ended ({status})"),
        None => "the engine ended".to_owned(),
    };
    let (says, advice) = if says.is_empty() || code.is_none() {
        (unsaid.as_str(), "start it again: what was being written can be finished or undone")
    } else {
        (says, "")
    };
    let code = match code {
        Some(2) => ExitCode::Usage,
        Some(4) => ExitCode::Refused,
        Some(6) => ExitCode::Newer,
        _ => ExitCode::Failed,
    };
    Failure::new(code, says, advice)
}
