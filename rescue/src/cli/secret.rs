//! Passphrases and key files: from files named on the command line or in the environment, else from the terminal.

use super::args::{Opening, StoreAt, UnlockBy};
use engine::{Access, Secret, SigningKey, StorePlace, Unlock};
use model::command::{ExitCode, Failure, VolumeKey};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

/// No secret is longer (the store says which are too short), but for the end of a line.
const MOST: u64 = (1 << 20) + 2;
/// The longest passphrase that can be typed, in bytes. The memory is taken at once, so that no copy is left behind by growing.
const TYPED: usize = 4096;

/// How what opens a store is named where it is not typed.
#[derive(Clone, Copy)]
pub(super) struct Names {
    /// The variable that names a file that holds the passphrase.
    passphrase_file: &'static str,
    /// The variable that names a key file.
    key_file: &'static str,
    /// What its options begin with.
    options: &'static str,
}

/// Of the store.
const STORE: Names =
    Names { passphrase_file: "HOLDFAST_PASSPHRASE_FILE", key_file: "HOLDFAST_KEY_FILE", options: "--" };
/// Of the store that is copied to.
pub(super) const TO: Names =
    Names { passphrase_file: "HOLDFAST_TO_PASSPHRASE_FILE", key_file: "HOLDFAST_TO_KEY_FILE", options: "--to-" };
/// Of the store that is repaired from.
pub(super) const FROM: Names =
    Names { passphrase_file: "HOLDFAST_FROM_PASSPHRASE_FILE", key_file: "HOLDFAST_FROM_KEY_FILE", options: "--from-" };

/// Where a store is, with what opens it.
pub(super) fn place(store: &StoreAt) -> Result<StorePlace, Failure> {
    named(store, STORE)
}

/// Where a store is, with what was named to open it. Nobody is asked: the screens do that.
pub(super) fn place_unasked(store: &StoreAt) -> Result<StorePlace, Failure> {
    opened_by(store, given(&store.unlock, STORE)?)
}

/// Where the second store of the screens is, likewise.
pub(super) fn other_unasked(store: &StoreAt) -> Result<StorePlace, Failure> {
    opened_by(store, given(&store.unlock, TO)?)
}

/// Where a second store is, with what opens it.
pub(super) fn named(store: &StoreAt, names: Names) -> Result<StorePlace, Failure> {
    opened_by(store, unlock_by(store, names)?)
}

fn opened_by(store: &StoreAt, unlock: Option<Unlock>) -> Result<StorePlace, Failure> {
    let signer = store.sign_with.as_deref().map(signing_key).transpose()?;
    let required = (!store.signers.is_empty()).then(|| store.signers.iter().copied().collect());
    let access = Access { unlock, signer, required, ..Access::default() };
    Ok(StorePlace::Dir { path: store.dir.clone(), create: false, access: Box::new(access) })
}

/// What opens a store: what was named, else, where it has keys, what is typed. `None` where nothing is needed.
pub(super) fn unlock(store: &StoreAt) -> Result<Option<Unlock>, Failure> {
    unlock_by(store, STORE)
}

fn unlock_by(store: &StoreAt, names: Names) -> Result<Option<Unlock>, Failure> {
    if let Some(given) = given(&store.unlock, names)? {
        return Ok(Some(given));
    }
    if !engine::store_place::is_locked(&store.dir) {
        return Ok(None);
    }
    if !has_person() {
        return Err(nobody(&format!("the store in {} is encrypted", store.dir.display()), names));
    }
    typed(&format!("passphrase of {}: ", store.dir.display())).map(|secret| Some(Unlock::Passphrase(secret)))
}

/// What unlocks an encrypted volume: what was named, else what is typed.
pub(super) fn of_volume(opening: &Opening) -> Result<VolumeKey, Failure> {
    let Opening { volume, by } = opening;
    let secret = match from_file(by)? {
        Some(Unlock::Passphrase(secret) | Unlock::KeyFile(secret)) => secret,
        None if has_person() => typed(&format!("passphrase of {volume}: "))?,
        None => {
            let advice =
                format!("give --unlock {volume}=FILE or --unlock-key {volume}=FILE, or run this on a terminal");
            return Err(Failure::new(ExitCode::Refused, format!("{volume} is locked"), advice));
        }
    };
    Ok(VolumeKey::new(secret.bytes().to_vec()))
}

/// A key that is to open a store from now on. One that is typed is typed twice.
pub(super) fn new_key(by: &UnlockBy) -> Result<Unlock, Failure> {
    // The environment speaks of the key there is, but where a store is made: then there is no other.
    if let Some(given) = given(by, STORE)? {
        return Ok(given);
    }
    new_typed_key()
}

/// A key that is to open a store besides the one it is opened with.
pub(super) fn another_key(by: &UnlockBy) -> Result<Unlock, Failure> {
    match from_file(by)? {
        Some(given) => Ok(given),
        None => new_typed_key(),
    }
}

fn new_typed_key() -> Result<Unlock, Failure> {
    if !has_person() {
        return Err(nobody("a new passphrase is needed", STORE));
    }
    let first = typed("new passphrase: ")?;
    if first.bytes().is_empty() {
        return Err(Failure::new(ExitCode::Refused, "an empty passphrase protects nothing", "nothing was changed"));
    }
    if first.bytes() != typed("once more: ")?.bytes() {
        return Err(Failure::new(ExitCode::Refused, "the two passphrases differ", "nothing was changed; try again"));
    }
    Ok(Unlock::Passphrase(first))
}

fn nobody(says: &str, names: Names) -> Failure {
    let Names { passphrase_file, key_file, options } = names;
    let advice = format!(
        "give {options}passphrase-file or {options}key-file (or name the file in {passphrase_file} or {key_file}), or run \
         this on a terminal"
    );
    Failure::new(ExitCode::Refused, says, advice)
}

/// What the command line names, else what the environment does.
fn given(by: &UnlockBy, names: Names) -> Result<Option<Unlock>, Failure> {
    if *by != UnlockBy::Asked {
        return from_file(by);
    }
    let named = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match (named(names.passphrase_file), named(names.key_file)) {
        (None, None) => Ok(None),
        (Some(file), None) => from_file(&UnlockBy::Passphrase(file)),
        (None, Some(file)) => from_file(&UnlockBy::KeyFile(file)),
        (Some(_), Some(_)) => {
            let says = format!("{} and {} are both set", names.passphrase_file, names.key_file);
            Err(Failure::new(ExitCode::Refused, says, "unset one of them"))
        }
    }
}

fn from_file(by: &UnlockBy) -> Result<Option<Unlock>, Failure> {
    match by {
        UnlockBy::Asked => Ok(None),
        UnlockBy::Passphrase(file) => {
            let mut bytes = read(file, "passphrase file")?;
            // The end of the line is the editor's, and not the passphrase's.
            let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            let len = line.strip_suffix(b"\r").unwrap_or(line).len();
            bytes.truncate(len);
            Ok(Some(Unlock::Passphrase(Secret::new(bytes))))
        }
        UnlockBy::KeyFile(file) => Ok(Some(Unlock::KeyFile(Secret::new(read(file, "key file")?)))),
    }
}

fn signing_key(path: &Path) -> Result<SigningKey, Failure> {
    let text = Secret::new(read(path, "signing key")?);
    SigningKey::from_text(text.bytes()).map_err(|e| {
        let says = format!("{}: {e}", path.display());
        Failure::new(ExitCode::Refused, says, "`holdfast key new-signer` makes one; nothing was saved")
    })
}

/// A small file, whole.
pub(super) fn read(path: &Path, what: &str) -> Result<Vec<u8>, Failure> {
    let failed = |says: String| Failure::new(ExitCode::Failed, says, "check its name and who may read it");
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| {
            // Taken at once where the length is known, so that no copy of it is left behind by growing.
            let len = file.metadata()?.len().min(MOST);
            bytes.reserve_exact(usize::try_from(len).unwrap_or(0) + 1);
            file.take(MOST + 1).read_to_end(&mut bytes)
        })
        .map_err(|e| failed(format!("the {what} {} cannot be read: {e}", path.display())))?;
    if bytes.len() as u64 > MOST {
        return Err(failed(format!("the {what} {} is longer than 1 MiB", path.display())));
    }
    Ok(bytes)
}

/// True where somebody sits at a terminal and can be asked.
pub(super) fn has_person() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Raw mode, until dropped.
struct Quiet;

impl Quiet {
    fn begin() -> io::Result<Self> {
        crossterm::terminal::enable_raw_mode().map(|()| Self)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that is gone needs no mode.
        let _ = crossterm::terminal::disable_raw_mode();
        let _ = io::stderr().write_all(b"\n");
    }
}

/// Asks at the terminal, without showing what is typed.
fn typed(prompt: &str) -> Result<Secret, Failure> {
    let failed = |e: io::Error| Failure::new(ExitCode::Failed, format!("the terminal cannot be used: {e}"), "");
    let tty = File::open("/dev/tty").map_err(failed)?;
    let quiet = Quiet::begin().map_err(failed)?;
    #[expect(clippy::unbuffered_bytes, reason = "what is typed ahead belongs to whoever reads next")]
    let line = io::stderr().write_all(prompt.as_bytes()).and_then(|()| line(tty.bytes())).map_err(failed);
    drop(quiet);
    line?.ok_or_else(|| Failure::new(ExitCode::Interrupted, "no passphrase was given", "nothing was begun"))
}

/// What is typed until Enter: `None` after Ctrl-C, or at the end of the input before anything. Backspace takes back a
/// character, Ctrl-U everything.
fn line(keys: impl Iterator<Item = io::Result<u8>>) -> io::Result<Option<Secret>> {
    let mut typed = Vec::with_capacity(TYPED);
    for key in keys {
        match key? {
            b'\r' | b'\n' => return Ok(Some(Secret::new(typed))),
            3 => break,
            4 if typed.is_empty() => break,
            8 | 127 => {
                // The bytes of a UTF-8 character after its first are 10xxxxxx.
                while typed.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            21 => typed.clear(),
            byte if typed.len() < TYPED => typed.push(byte),
            _ => return Err(io::Error::other(format!("a passphrase of more than {TYPED} bytes cannot be typed"))),
        }
    }
    // Wiped as it goes.
    drop(Secret::new(typed));
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<Vec<u8>> {
        line(keys.iter().map(|k| Ok(*k))).expect("bytes").map(|secret| secret.bytes().to_vec())
    }

    #[test]
    fn a_line_can_be_corrected() {
        assert_eq!(typed(b"secret\rmore"), Some(b"secret".to_vec()));
        assert_eq!(typed("a\u{e9}\u{7f}b\u{7f}\u{7f}\u{7f}x\n".as_bytes()), Some(b"x".to_vec()), "whole characters");
        assert_eq!(typed(b"wrong\x15right\n"), Some(b"right".to_vec()));
        assert_eq!(typed(b"\n"), Some(Vec::new()));
        assert_eq!((typed(b"half\x03\n"), typed(b"\x04"), typed(b"half")), (None, None, None));
        assert!(line(std::iter::repeat_with(|| Ok(b'x'))).is_err(), "nobody types for ever");
    }

    #[test]
    fn a_passphrase_ends_before_the_line_does() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("f");
        for (written, meant) in [("a b", "a b"), ("a b\n", "a b"), ("a b\r\n", "a b"), (" a\n\n", " a\n")] {
            std::fs::write(&file, written).expect("writable");
            let Some(Unlock::Passphrase(secret)) = from_file(&UnlockBy::Passphrase(file.clone())).expect("readable")
            else {
                panic!("a passphrase");
            };
            assert_eq!(secret.bytes(), meant.as_bytes(), "{written:?}");
        }
    }
}
