//! An engine of our own for one verb: started, given one command, watched until it ended.

use super::args::{Opening, StoreAt};
use super::{Ended, complain, json, print, secret};
use crate::tui::words;
use engine::parser::Child;
use engine::{Config, Engine, Handle, Heads, StorePlace};
use model::command::{Command, ExitCode, Failure};
use model::event::{Event, Happening, Outcome, Progress, Question};
use model::id::SnapRef;
use model::ports::Devices;
use model::run_state::RunState;
use serde_json::Value;
use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

/// How long the end of an engine that has nothing left to do is waited for.
const END: Duration = Duration::from_secs(5);

/// Waits, when it is dropped, until the engine has let go of the disks: those that were made read-only while they were looked at are
/// writable again then. A process that ends earlier would leave them as they are.
struct LetGo(Weak<dyn Devices>);

impl Drop for LetGo {
    fn drop(&mut self) {
        let began = Instant::now();
        while self.0.strong_count() > 0 && began.elapsed() < END {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// An engine and what it told.
pub(super) struct Session {
    handle: Handle,
    /// Behind the handle, whose end is the engine's.
    _let_go: LetGo,
    /// Set by Ctrl-C and its like.
    interrupted: Arc<AtomicBool>,
    /// Everything it told, folded.
    pub(super) run: RunState,
}

impl Session {
    /// Starts an engine over these disks (none is right for verbs about the store alone).
    pub(super) fn start(disks: &[PathBuf], store: Option<&StoreAt>) -> Result<Self, Failure> {
        let place = store.map(secret::place).transpose()?;
        Self::with(disks, place, None)
    }

    /// Starts one over two stores and no disk.
    pub(super) fn between(store: &StoreAt, other: Option<(&StoreAt, secret::Names)>) -> Result<Self, Failure> {
        let store = secret::place(store)?;
        let other = other.map(|(other, names)| secret::named(other, names)).transpose()?;
        Self::with(&[], Some(store), other)
    }

    /// Starts one whose stores' keys are known.
    pub(super) fn with(
        disks: &[PathBuf],
        store: Option<StorePlace>,
        other: Option<StorePlace>,
    ) -> Result<Self, Failure> {
        let interrupted = Arc::new(AtomicBool::new(false));
        catch_signals(&interrupted)?;
        let opened = engine::machine::open(disks)?;
        let parser = Arc::new(Child::start(&opened)?);
        let (clock, heads) = (engine::machine::clock(), heads());
        let let_go = LetGo(Arc::downgrade(&opened.devices));
        let handle =
            Engine::start(Config { devices: opened.devices, parser, store, other, sticks: None, heads, clock });
        Ok(Self { handle, _let_go: let_go, interrupted, run: RunState::default() })
    }

    /// Unlocks encrypted volumes. `plain`: what lies in them may be saved in clear.
    pub(super) fn open(&mut self, volumes: &[Opening], plain: bool) -> Result<(), Failure> {
        for opening in volumes {
            let by = secret::of_volume(opening)?;
            self.ask(Command::OpenVolume { volume: opening.volume.clone(), by, plain })?;
        }
        Ok(())
    }

    /// Unlocks encrypted volumes of a snapshot.
    pub(super) fn open_saved(&mut self, snapshot: &SnapRef, volumes: &[Opening]) -> Result<(), Failure> {
        for opening in volumes {
            let (by, volume) = (secret::of_volume(opening)?, opening.volume.clone());
            self.ask(Command::OpenSaved { snapshot: snapshot.clone(), volume, by })?;
        }
        Ok(())
    }

    /// Gives a command that asks nothing.
    pub(super) fn ask(&mut self, command: Command) -> Result<Outcome, Failure> {
        self.decided(command, &mut |_| None)
    }

    /// Gives a command, answers its question, shows how far it is, and waits for its end. A failure is an error; what was cancelled is one
    /// too, with the exit code that says that it can be resumed.
    pub(super) fn decided(
        &mut self,
        command: Command,
        decide: &mut dyn FnMut(&Question) -> Option<bool>,
    ) -> Result<Outcome, Failure> {
        self.decided_told(command, &mut |question, _| decide(question))
    }

    /// The same; whoever decides is shown what was told so far, too.
    pub(super) fn decided_told(
        &mut self,
        command: Command,
        decide: &mut dyn FnMut(&Question, &RunState) -> Option<bool>,
    ) -> Result<Outcome, Failure> {
        let ended = Arc::new(AtomicBool::new(false));
        let watch = self.cancel_when_interrupted(ended.clone())?;
        let mut line = ProgressLine::new();
        let run = RefCell::new(&mut self.run);
        let mut each = |event: &Event| {
            let mut run = run.borrow_mut();
            let told = run.warnings.len();
            run.apply(event);
            for warning in &run.warnings[told.min(run.warnings.len())..] {
                line.clear();
                complain(&format!("warning: {warning}"));
            }
            match &event.what {
                Happening::Progress(p) => line.show(p),
                Happening::Estimate(e) if e.is_tight() => {
                    line.clear();
                    complain(&format!("warning: {}: {}", words::room(e), words::TIGHT));
                }
                Happening::DecisionNeeded(_) | Happening::Losses(_) | Happening::Ended { .. } => line.clear(),
                _ => {}
            }
        };
        let outcome = self.handle.run_told(command, &mut each, &mut |question| decide(question, &run.borrow()));
        line.clear();
        ended.store(true, Ordering::Relaxed);
        // It does nothing but wait and send: it cannot have panicked.
        let _ = watch.join();
        match outcome {
            Outcome::Failed(f) => Err(f),
            Outcome::Cancelled(left) => Err(Failure::new(ExitCode::Interrupted, left.as_str(), "")),
            other => Ok(other),
        }
    }

    /// Prints the answer: for programs with what they must know of the store, which people were told already.
    pub(super) fn answer(&self, as_json: bool, json: impl FnOnce() -> Value, human: impl FnOnce() -> String) -> Ended {
        if !as_json {
            return print(&human());
        }
        let mut value = json();
        if let Value::Object(fields) = &mut value {
            fields.insert("warnings".into(), serde_json::json!(self.run.warnings));
        }
        print(&json::text(&value))
    }

    fn cancel_when_interrupted(&self, ended: Arc<AtomicBool>) -> Result<std::thread::JoinHandle<()>, Failure> {
        let (interrupted, handle) = (self.interrupted.clone(), self.handle.clone());
        let watch = move || {
            let mut told = false;
            while !ended.load(Ordering::Relaxed) {
                if !told && interrupted.load(Ordering::Relaxed) {
                    told = true;
                    eprintln!("\nstopping as soon as nothing is lost by it; once more stops at once");
                    handle.submit(Command::Cancel);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(watch).map_err(|e| no_signals(&e))
    }
}

/// Where this computer remembers stores.
pub(super) fn heads() -> Option<Heads> {
    Heads::of_user(|name| std::env::var_os(name))
}

/// The first Ctrl-C (or SIGTERM, SIGHUP) asks the job to stop; the second ends the process at once, which loses nothing that a
/// power cut would not.
fn catch_signals(interrupted: &Arc<AtomicBool>) -> Result<(), Failure> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let at_once = i32::from(ExitCode::Interrupted.number());
        signal_hook::flag::register_conditional_shutdown(signal, at_once, interrupted.clone())
            .and_then(|_| signal_hook::flag::register(signal, interrupted.clone()))
            .map_err(|e| no_signals(&e))?;
    }
    Ok(())
}

fn no_signals(e: &std::io::Error) -> Failure {
    Failure::new(ExitCode::Failed, format!("signals cannot be taken: {e}"), "nothing was begun")
}

/// Columns of the terminal; a serial line often does not know them.
pub(super) fn columns() -> usize {
    let known = crossterm::terminal::size().ok().map(|(columns, _)| usize::from(columns));
    known.filter(|columns| *columns > 0).unwrap_or(80).max(20)
}

/// One line on stderr that says how far it is, where stderr is a terminal.
struct ProgressLine {
    terminal: bool,
    shown: bool,
}

impl ProgressLine {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, p: &Progress) {
        if !self.terminal {
            return;
        }
        self.write(&format!("\r\x1b[K{}", crate::tui::text::cut(&said(p), columns() - 1)));
        self.shown = true;
    }

    fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            self.write("\r\x1b[K");
        }
    }

    fn write(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        // A progress line that cannot be shown is not worth stopping for.
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }
}

fn said(p: &Progress) -> String {
    let mut out = p.phase.to_string();
    if let Some(percent) = words::percent(p.done, p.total) {
        out.push_str(&format!("  {percent} %"));
    }
    if p.rate.0 > 0 {
        out.push_str(&format!("  {}/s", p.rate));
    }
    if let Some(seconds) = p.remaining {
        out.push_str(&format!("  {} left", words::duration(seconds)));
    }
    if let Some(cost) = &p.cost {
        out.push_str(&format!("  {} new, {} there already, store +{}", cost.new, cost.shared, cost.stored));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::snapshot::Cost;
    use model::units::ByteLen;

    #[test]
    fn a_line_says_phase_percent_rate_and_remaining() {
        let p = Progress {
            phase: "saving d0/p2".into(),
            step: (1, 2),
            done: ByteLen(50),
            total: ByteLen(200),
            rate: ByteLen(182_000_000),
            remaining: Some(61),
            cost: None,
            fenced: false,
        };
        assert_eq!(said(&p), "saving d0/p2  25 %  182 MB/s  1 min 01 s left");
        let cost = Cost { read: ByteLen(50), shared: ByteLen(30), new: ByteLen(20), stored: ByteLen(8) };
        let saving = Progress { cost: Some(cost), ..p.clone() };
        assert_eq!(said(&saving), format!("{}  20 B new, 30 B there already, store +8 B", said(&p)));
        let unknown = Progress { total: ByteLen(0), rate: ByteLen(0), remaining: None, ..p };
        assert_eq!(said(&unknown), "saving d0/p2");
    }
}
