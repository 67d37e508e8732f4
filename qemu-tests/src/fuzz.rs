//! The step `fuzz`: builds the programs of `rescue/fuzz` so that libFuzzer sees where they go, and runs each for a bounded time.
//!
//! The stable compiler does that: what instruments the code is a pass of LLVM's that it can be told to run (SanitizerCoverage, in
//! Clang's documentation), and libFuzzer itself comes with `libfuzzer-sys`, as C++ that `build-essential` compiles. No sanitizer of
//! addresses is needed: all that reads hostile bytes is safe Rust.

use qemu_tests::{Result, workspace};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// How long each target is run, in seconds; [`SECONDS_SAID`] says otherwise.
const SECONDS: u64 = 120;
const SECONDS_SAID: &str = "HOLDFAST_FUZZ_SECONDS";
/// The targets to run, where not all of them.
const TARGETS_SAID: &str = "HOLDFAST_FUZZ";
/// The only architecture that any of it is built for; named, so that build scripts and macros are not instrumented.
const ARCHITECTURE: &str = "x86_64-unknown-linux-gnu";
/// Counters for each edge, a table of where they are, and what comparisons compare, for libFuzzer to see.
const FLAGS: [&str; 6] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
];
/// libFuzzer's own bounds, for what a target does not see itself: seconds by the clock in which one input must have ended (a target
/// counts processor time, and has less), and megabytes in use (the address space is bounded by the target). Inputs may be long from the
/// beginning: lists of changes are short, and files are what they are.
const BOUNDS: [&str; 3] = ["-timeout=60", "-rss_limit_mb=900", "-len_control=0"];

/// What a run told of itself.
#[derive(Default)]
struct Told {
    executions: String,
    edges: String,
    features: String,
}

/// Builds and runs the targets.
pub(crate) fn run() -> Result<ExitCode> {
    let place = workspace::root().join("target/fuzz");
    let seconds = std::env::var(SECONDS_SAID).ok().map_or(Ok(SECONDS), |s| s.parse())?;
    let seeds = fresh(&place.join("seeds"))?;
    succeed(cargo().args(["run", "--quiet", "--release", "-p", "hostile", "--example", "seeds", "--"]).arg(&seeds))?;
    build(&place)?;
    let mut failed = Vec::new();
    println!("{:<10} {:>12} {:>8} {:>10}", "target", "executions", "edges", "features");
    for name in targets(&seeds)? {
        let (ok, told) = one(&place, &name, seconds)?;
        println!(
            "{name:<10} {:>12} {:>8} {:>10}{}",
            told.executions,
            told.edges,
            told.features,
            if ok { "" } else { "  FAILED" }
        );
        if !ok {
            failed.push(name);
        }
    }
    for name in &failed {
        println!("what {name} said last (target/fuzz/logs/{name}.log; the input is in target/fuzz/findings/{name}):");
        let said = fs::read_to_string(place.join("logs").join(format!("{name}.log")))?;
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(40)..].iter().for_each(|line| println!("    {line}"));
    }
    Ok(if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(workspace::root());
    cargo
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}").into()) }
}

/// An empty folder.
fn fresh(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}

fn build(place: &Path) -> Result<()> {
    let mut build = cargo();
    build.args([
        "build",
        "--release",
        "--locked",
        "--manifest-path",
        "rescue/fuzz/Cargo.toml",
        "--target",
        ARCHITECTURE,
    ]);
    build.arg("--target-dir").arg(place.join("build")).env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    succeed(build.env_remove("RUSTFLAGS"))
}

/// The targets that are asked for: all that have something to begin with.
fn targets(seeds: &Path) -> Result<Vec<String>> {
    let names = fs::read_dir(seeds)?.map(|e| Ok(e?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<String>>>()?;
    names.sort();
    let Ok(said) = std::env::var(TARGETS_SAID) else { return Ok(names) };
    let wanted: Vec<String> = said.split_whitespace().map(str::to_owned).collect();
    match wanted.iter().find(|w| !names.contains(w)) {
        Some(unknown) => Err(format!("there is no fuzz target {unknown:?}, but {}", names.join(", ")).into()),
        None => Ok(wanted),
    }
}

/// Runs a target from what it found in earlier runs, what it begins with, and what is kept of what was found in it.
fn one(place: &Path, name: &str, seconds: u64) -> Result<(bool, Told)> {
    let grown = place.join("corpus").join(name);
    let findings = place.join("findings").join(name);
    let kept = workspace::root().join("rescue/fuzz/corpus").join(name);
    for folder in [&grown, &findings, &place.join("logs")] {
        fs::create_dir_all(folder)?;
    }
    let log = place.join("logs").join(format!("{name}.log"));
    let said = File::create(&log)?;
    let mut fuzzer = Command::new(place.join("build").join(ARCHITECTURE).join("release").join(name));
    fuzzer.args(BOUNDS).args(["-print_final_stats=1", &format!("-max_total_time={seconds}")]);
    fuzzer.arg(format!("-artifact_prefix={}/", findings.display()));
    fuzzer.arg(&grown).arg(place.join("seeds").join(name)).args(kept.is_dir().then_some(kept));
    let status = fuzzer.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said).status()?;
    Ok((status.success(), told(&fs::read_to_string(log)?)))
}

/// What libFuzzer says of a run: lines like `#1234 DONE cov: 99 ft: 300 corp: 40/1234b`, and counts at the end.
fn told(said: &str) -> Told {
    let mut told = Told::default();
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |name: &str| {
            words.iter().position(|w| *w == name).and_then(|at| words.get(at + 1)).map(|w| (*w).to_owned())
        };
        if line.starts_with('#')
            && let (Some(edges), Some(features)) = (after("cov:"), after("ft:"))
        {
            told = Told { edges, features, ..told };
        }
        if let Some(count) = after("stat::number_of_executed_units:") {
            told.executions = count;
        }
    }
    told
}

#[cfg(test)]
mod tests {
    #[test]
    fn runs_tell_how_far_they_came() {
        let said = "INFO: Seed: 1\n#2\tINITED cov: 3 ft: 4 corp: 1/1b\n#900\tDONE   cov: 99 ft: 300 corp: 40/12b lim: 4096\n\
                    stat::number_of_executed_units: 900\n";
        let told = super::told(said);
        assert_eq!((told.executions.as_str(), told.edges.as_str(), told.features.as_str()), ("900", "99", "300"));
    }
}
