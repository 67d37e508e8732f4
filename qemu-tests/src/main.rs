//! `cargo demo`, `cargo verify` and `cargo compare`.

use std::process::ExitCode;

mod compare;
mod demo;
mod fuzz;
mod verify;

const HELP: &str = "\
usage: cargo demo [--fresh]      break a real Debian, boot the rescue on it in this terminal, bring it back
       cargo verify [--full]     every check and test; --full runs everything, resumable, results in docs/results
       cargo verify --only NAME  one step of it; --list names them
       cargo compare [--help]    Holdfast beside its peers, measured for hours; writes docs/benchmarks.md
";

fn main() -> ExitCode {
    match command() {
        Ok(code) => code,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> qemu_tests::Result<ExitCode> {
    use lexopt::prelude::*;
    let mut args = lexopt::Parser::from_env();
    let mut verb = None;
    let (mut full, mut fresh, mut list, mut only) = (false, false, false, None);
    while let Some(arg) = args.next()? {
        match arg {
            Value(v) if verb.is_none() && v == "compare" => return compare::command(args),
            Value(v) if verb.is_none() => verb = Some(v.string()?),
            Long("full") => full = true,
            Long("fresh") => fresh = true,
            Long("list") => list = true,
            Long("only") => only = Some(args.value()?.string()?),
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    match verb.as_deref() {
        Some("demo") => demo::run(fresh).map(|()| ExitCode::SUCCESS),
        Some("verify") if list => {
            verify::list();
            Ok(ExitCode::SUCCESS)
        }
        Some("verify") => verify::run(full, only.as_deref()),
        // What the step of `cargo verify` starts.
        Some("fuzz") => fuzz::run(),
        _ => {
            eprint!("{HELP}");
            Ok(ExitCode::from(2))
        }
    }
}
