//! What the rescue does by itself when it starts: what a policy calls for. Also what comes of it, kept on the stick.
//!
//! It is a front end like any other: it gives commands and listens.

use crate::handle::Handle;
use model::command::{Command, PolicyText};
use model::event::{Happening, JobKind, Outcome};
use model::policy::{KEYS, MOST_TEXT, Manner};
use model::ports::Clock;
use model::text::RawName;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A record that is longer than this is begun anew; the one before is kept.
const MOST_RECORD: u64 = 64 << 10;

/// What is done without anybody, and where it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unattended {
    /// The file of the policy; the built-in one where `None`.
    pub policy: Option<PathBuf>,
    /// The file that is added to, a line for each time; `None` without a save disk.
    pub record: Option<PathBuf>,
}

impl Unattended {
    /// Looks at the disks and does it, on a thread of its own. Where the policy cannot be read, it only looks.
    pub(crate) fn begin(self, handle: &Handle, clock: Arc<dyn Clock>) {
        let policy = self.policy.as_deref().map(|file| {
            let why = |e: io::Error| format!("{}: {e}", file.display()).as_str().into();
            PolicyText(read(file).map_err(why))
        });
        let (events, handle) = (handle.subscribe(), handle.clone());
        let keys = self.policy.as_deref().map(key_files);
        handle.submit(Command::Auto { policy, keys, manner: Manner::Unattended });
        std::thread::spawn(move || {
            for event in events {
                let Happening::Ended { job: JobKind::Auto, outcome } = event.what else { continue };
                let line = format!("{} {}\n", clock.now(), told(&outcome));
                if let Some(record) = &self.record
                    && let Err(e) = add(record, &line)
                {
                    handle.note(format!("the record in {} cannot be kept: {e}", record.display()).as_str().into());
                }
                if let Outcome::Acted(acted) = outcome
                    && let Some(action) = acted.then
                {
                    handle.submit(Command::Power(action));
                }
                return;
            }
        });
    }
}

/// The folder of the key files that the policy in a file may name.
pub fn key_files(policy: &Path) -> RawName {
    let folder = policy.parent().unwrap_or(Path::new("")).join(KEYS);
    RawName(folder.into_os_string().into_vec())
}

/// Its text; one byte more than can be right, where it is too long: that is told by whoever reads it.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    sys::plain_file::read(file, MOST_TEXT as u64)
}

/// Refuses what is no plain file. Nobody else changes it meanwhile.
fn regular(file: &Path) -> io::Result<u64> {
    let found = fs::symlink_metadata(file)?;
    if found.is_file() { Ok(found.len()) } else { Err(io::Error::other("it is no plain file")) }
}

fn add(record: &Path, line: &str) -> io::Result<()> {
    match regular(record) {
        Ok(len) if len > MOST_RECORD => fs::rename(record, record.with_extension("old"))?,
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    let mut file = OpenOptions::new().append(true).create(true).open(record)?;
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    // Its name too, where it was just given.
    record.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// How it ended, in a line.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Acted(acted) => {
            let why = &acted.decision.why;
            let done = match &acted.saved {
                Some(saved) => format!("saved {}: {why}", saved.id),
                None => format!("not saved: {why}"),
            };
            let locked: String = acted.locked.iter().map(|why| format!("; {why}")).collect();
            let trouble = acted.trouble.as_ref().map(|t| format!("; then: {t}")).unwrap_or_default();
            format!("{done}{locked}{trouble}")
        }
        Outcome::Cancelled(says) => format!("stopped: {says}"),
        Outcome::Failed(failure) => format!("failed: {failure}"),
        other => format!("ended otherwise: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_grows_to_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let record = dir.path().join("unattended.log");
        let line = format!("{}\n", "x".repeat(999));
        for _ in 0..200 {
            add(&record, &line).unwrap();
        }
        let all: u64 = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
        assert!(all > MOST_RECORD && all < 2 * (MOST_RECORD + 2000), "{all}");
    }

    #[test]
    fn only_plain_files_are_read_and_written() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        for odd in [&link, dir.path()] {
            assert!(read(odd).is_err());
            assert!(add(odd, "x").is_err());
        }
        let long = dir.path().join("long");
        fs::write(&long, vec![b'#'; MOST_TEXT * 3]).unwrap();
        assert_eq!(read(&long).unwrap().len(), MOST_TEXT + 1);
    }
}
