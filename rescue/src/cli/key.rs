//! `holdfast key`.

use super::args::{Key, KeyVerb, StoreAt};
use super::saving::unexpected;
use super::session::Session;
use super::{Ended, human, json, print, secret};
use engine::{Access, SigningKey, StorePlace, SystemEntropy};
use model::command::{Command, ExitCode, Failure};
use model::event::Outcome;
use model::text::DisplayText;
use model::upkeep::{Kept, Upkeep};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(super) fn run(args: &Key) -> Ended {
    match args {
        Key::NewSigner { out, json } => new_signer(out, *json),
        Key::OfStore { store, verb, json } => of_store(store, verb, *json),
    }
}

fn of_store(store: &StoreAt, verb: &KeyVerb, as_json: bool) -> Ended {
    let unlock = secret::unlock(store)?;
    let new_key = match verb {
        KeyVerb::Add { new, .. } if unlock.is_some() => Some(secret::another_key(new)?),
        _ => None,
    };
    let access = Access { unlock, new_key, ..Access::default() };
    let place = StorePlace::Dir { path: store.dir.clone(), create: false, access: Box::new(access) };
    let mut session = Session::with(&[], Some(place), None)?;
    let what = match verb {
        KeyVerb::List => Upkeep::Keys,
        KeyVerb::Add { label, .. } => Upkeep::AddKey { label: DisplayText::new(label.as_deref().unwrap_or("")) },
        KeyVerb::Remove { id } => Upkeep::RemoveKey { id: id.clone() },
    };
    match session.ask(Command::Upkeep { what })? {
        Outcome::Kept(Kept::Keys { keys, added }) => {
            let added = added.as_deref();
            session.answer(as_json, || json::keys(&keys, added), || human::keys(&keys, added))
        }
        other => Err(unexpected(&other)),
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
