//! Encrypted volumes that are to be unlocked first.

use super::{UnlockBy, Usage};
use model::id::VolumePath;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// An encrypted volume, and what unlocks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The volume, as `inspect` names it.
    pub volume: VolumePath,
    /// Its passphrase or key file; asked for at the terminal where nothing was said.
    pub by: UnlockBy,
}

/// `--unlock VOLUME`, `--unlock VOLUME=FILE` (its passphrase), `--unlock-key VOLUME=FILE` (its key file).
pub(super) fn opening(value: &OsStr, key_file: bool) -> Result<Opening, Usage> {
    let option = if key_file { "unlock-key" } else { "unlock" };
    let wrong = || Usage(format!("`--{option}` wants an encrypted volume and a file: --{option} d0/p3=FILE"));
    let bytes = value.as_bytes();
    let (name, file) = match bytes.iter().position(|b| *b == b'=') {
        Some(at) if at + 1 < bytes.len() => (&bytes[..at], Some(OsStr::from_bytes(&bytes[at + 1..]).into())),
        Some(_) => return Err(wrong()),
        None => (bytes, None),
    };
    let volume = std::str::from_utf8(name).map_err(|_| wrong())?.parse().map_err(|_| wrong())?;
    let by = match (file, key_file) {
        (Some(file), true) => UnlockBy::KeyFile(file),
        (Some(file), false) => UnlockBy::Passphrase(file),
        (None, false) => UnlockBy::Asked,
        (None, true) => return Err(wrong()),
    };
    Ok(Opening { volume, by })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_and_what_unlocks_them() {
        let of = |text: &str, key| opening(OsStr::new(text), key).map(|o| (o.volume.to_string(), o.by));
        assert_eq!(of("d0/p3", false), Ok(("d0/p3".into(), UnlockBy::Asked)));
        assert_eq!(
            of("d0/p3/vg0/crypt=a=b", false),
            Ok(("d0/p3/vg0/crypt".into(), UnlockBy::Passphrase("a=b".into())))
        );
        assert_eq!(of("d0=k", true), Ok(("d0".into(), UnlockBy::KeyFile("k".into()))));
        for (bad, key) in [("d0/p3=", false), ("p3=k", false), ("d0/p3", true), ("=k", true)] {
            assert!(of(bad, key).is_err(), "{bad}");
        }
    }
}
