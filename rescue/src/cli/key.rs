//! `holdfast key`.

use super::args::Key;
use super::{Ended, json, print};
use engine::{SigningKey, SystemEntropy};
use model::command::{ExitCode, Failure};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(super) fn run(args: &Key) -> Ended {
    match args {
        Key::NewSigner { out, json } => new_signer(out, *json),
    }
}

fn new_signer(out: &Path, as_json: bool) -> Ended {
    let key = SigningKey::generate(&SystemEntropy).map_err(|e| e.failure())?;
    write_new(out, key.to_text().bytes()).map_err(|e| {
        let shown = out.display();
        match e.kind() {
            io::ErrorKind::AlreadyExists => Failure::new(
                ExitCode::Refused,
                format!("{shown} exists already"),
                "it was not touched; name a new file",
            ),
            _ => Failure::new(ExitCode::Failed, format!("writing {shown} failed: {e}"), "no key was made"),
        }
    })?;
    let signer = key.id();
    if as_json {
        return print(&json::text(&json::new_signer(&signer)));
    }
    print(&format!("{signer}\n"))
}

/// Makes a durable file that only its owner can read; one that cannot be written whole is removed.
fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if written.is_err() {
        // What was written of it is no key; the failure that is told is the first.
        let _ = std::fs::remove_file(path);
    }
    written
}
