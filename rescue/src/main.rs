//! The `holdfast` program: see `holdfast --help`.

fn main() -> std::process::ExitCode {
    holdfast::cli::run(std::env::args_os().skip(1)).into()
}
