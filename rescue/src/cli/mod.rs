//! The command line: verbs, their output for people and for programs, and exit codes (docs/scripting.md).

pub mod args;
mod auto;
mod export;
mod files;
mod forget;
mod help;
mod human;
mod inspect;
mod json;
mod key;
#[cfg(feature = "manual")]
mod manual;
mod prove;
mod roles;
mod room;
mod saving;
mod secret;
mod session;
mod store;
mod tui;
mod verbs;
mod write_back;

use args::{Invocation, Usage};
use model::command::{ExitCode, Failure};
use std::ffi::OsString;
use std::io::{IsTerminal, Write};

/// How a verb ends: a code, or a failure to be said.
type Ended = Result<ExitCode, Failure>;

/// Runs the program with these arguments (its own name not among them); gives the exit code of the process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let invocation = match args::parse(arguments) {
        Ok(invocation) => invocation,
        Err(Usage(says)) => {
            eprintln!("holdfast: {says}");
            eprintln!("`holdfast --help` lists what there is");
            return ExitCode::Usage.number();
        }
    };
    let json = invocation.wants_json();
    let ended = match invocation {
        Invocation::Help(verb) => print(&help::of(verb)),
        Invocation::Version => print(concat!("holdfast ", env!("CARGO_PKG_VERSION"), "\n")),
        Invocation::Inspect(i) => inspect::run(&i),
        Invocation::StoreInit(s) => store::init(&s),
        Invocation::Key(k) => key::run(&k),
        Invocation::Snapshot(s) => saving::run(&s),
        Invocation::Auto(a) => auto::run(&a),
        Invocation::Snapshots(s) => store::snapshots(&s),
        Invocation::Show(s) => store::show(&s),
        Invocation::WriteBack(w) => write_back::run(&w),
        Invocation::Check(c) => store::check(&c),
        Invocation::Export(e) => export::run(&e),
        Invocation::Ls(l) => files::ls(&l),
        Invocation::Get(g) => files::get(&g),
        Invocation::Prove(p) => prove::run(&p),
        Invocation::Diff(d) => files::diff(&d),
        Invocation::Forget(f) => forget::run(&f),
        Invocation::Note(n) => store::note(&n),
        Invocation::Prune(p) => room::prune(&p),
        Invocation::Stats(s) => room::stats(&s),
        Invocation::Copy(c) => room::copy(&c),
        Invocation::Repair(r) => room::repair(&r),
        Invocation::Tui(t) => tui::run(&t),
        #[cfg(feature = "manual")]
        Invocation::Completions(shell) => print(&manual::completions(shell)),
        #[cfg(feature = "manual")]
        Invocation::Man => print(&manual::page()),
        Invocation::Engine(e) => roles::engine(&e),
        Invocation::Console { engine } => roles::console(engine),
        Invocation::Parser => return engine::parser::serve(),
        Invocation::Composer => return engine::serve_composer(),
    };
    match ended {
        Ok(code) => code.number(),
        Err(failure) => {
            if json {
                // Where even that cannot be written, the exit code still tells.
                let _ = print(&json::text(&json::failure(&failure)));
            }
            complain(&failure.to_string());
            failure.code.number()
        }
    }
}

/// A sentence on stderr: one line, but on a terminal, where it is wrapped between words.
fn complain(says: &str) {
    let whole = format!("holdfast: {says}");
    if !std::io::stderr().is_terminal() {
        eprintln!("{whole}");
        return;
    }
    for line in crate::tui::text::wrap(&whole, session::columns()) {
        eprintln!("{line}");
    }
}

/// Writes to stdout. A reader that went away (`| head`) is no failure worth a panic.
fn print(text: &str) -> Ended {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(ExitCode::Ok),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::Ok),
        Err(e) => Err(Failure::new(
            ExitCode::Failed,
            format!("writing the output failed: {e}"),
            "what was asked for was done",
        )),
    }
}
