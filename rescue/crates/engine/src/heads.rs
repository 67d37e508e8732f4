//! What this computer remembers of stores: the newest entry of the inventory of each, as it was last seen. With it a store
//! shows that was put back as a whole to an older state, which nothing within it can tell.
//!
//! It is a file for each store. One that is not there or cannot be read is no memory and no error: then this computer sees
//! the store for the first time.

use model::inventory::Head;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// No memory is longer.
const MOST: u64 = 4096;

/// Where heads are remembered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heads {
    dir: PathBuf,
}

impl Heads {
    /// In this directory, which is made when there is something to remember.
    pub fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// In the place that the XDG Base Directory Specification gives to the state of a user's programs:
    /// `$XDG_STATE_HOME/holdfast/heads`, or `~/.local/state/holdfast/heads`. `None` where there is no such place.
    pub fn of_user(environment: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        // By the specification a path that is not absolute is ignored.
        let named = |name| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state = named("XDG_STATE_HOME").or_else(|| Some(named("HOME")?.join(".local/state")))?;
        Some(Self::in_dir(state.join("holdfast/heads")))
    }

    /// The head of a store as it was last seen.
    pub fn recall(&self, store: &str) -> Option<Head> {
        let mut bytes = Vec::new();
        File::open(self.file(store)?).ok()?.take(MOST).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Remembers the head of a store: whole, or as it was before.
    ///
    /// # Errors
    /// What the system says.
    pub fn remember(&self, store: &str, head: Head) -> io::Result<()> {
        let Some(file) = self.file(store) else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let new = self.dir.join(format!(".{store}-{}", std::process::id()));
        let written = write(&new, &serde_json::to_vec(&head)?)
            .and_then(|()| fs::rename(&new, &file))
            .and_then(|()| File::open(&self.dir)?.sync_all());
        if written.is_err() {
            // What was begun of it is of no use; the failure that is told is the first.
            let _ = fs::remove_file(&new);
        }
        written
    }

    /// Forgets a store.
    ///
    /// # Errors
    /// What the system says; a store that is not remembered is none.
    pub fn forget(&self, store: &str) -> io::Result<()> {
        match self.file(store).map(fs::remove_file) {
            Some(Err(e)) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(()),
        }
    }

    /// The file of a store, where its id is one: it comes from the store.
    fn file(&self, store: &str) -> Option<PathBuf> {
        let good = store.len() == 32 && store.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        good.then(|| self.dir.join(store))
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::Digest;

    const STORE: &str = "0123456789abcdef0123456789abcdef";

    fn head(number: u64) -> Head {
        Head { number, digest: Digest::of(&number.to_le_bytes()) }
    }

    #[test]
    fn the_last_head_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let heads = Heads::in_dir(dir.path().join("a/b"));
        assert_eq!(heads.recall(STORE), None);
        for number in [1, 7, 3] {
            heads.remember(STORE, head(number)).unwrap();
            assert_eq!(heads.recall(STORE), Some(head(number)));
        }
        assert_eq!(heads.recall(&STORE.replace('0', "1")), None, "another store");
        let left: Vec<_> = fs::read_dir(dir.path().join("a/b")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [STORE], "nothing is left behind");
        heads.forget(STORE).unwrap();
        heads.forget(STORE).unwrap();
        assert_eq!(heads.recall(STORE), None);
    }

    #[test]
    fn what_cannot_be_read_is_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        let heads = Heads::in_dir(dir.path());
        let file = dir.path().join(STORE);
        for bytes in [&b""[..], b"{", b"[1, 2]", &[b' '; 1 << 20]] {
            fs::write(&file, bytes).unwrap();
            assert_eq!(heads.recall(STORE), None);
        }
        heads.remember(STORE, head(5)).unwrap();
        assert_eq!(heads.recall(STORE), Some(head(5)), "and is written over");
    }

    #[test]
    fn no_store_names_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let heads = Heads::in_dir(dir.path().join("heads"));
        for id in ["", "..", "../x", "0123", &STORE.to_uppercase(), &STORE.replace("ab", "/.")] {
            heads.remember(id, head(1)).unwrap();
            assert_eq!(heads.recall(id), None, "{id}");
        }
        assert!(!dir.path().join("heads").exists());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let heads = Heads::in_dir(dir.path().join("file/heads"));
        assert!(heads.remember(STORE, head(1)).is_err());
        assert_eq!(heads.recall(STORE), None);
    }

    #[test]
    fn the_place_is_that_of_the_specification() {
        let of = |pairs: &'static [(&str, &str)]| {
            Heads::of_user(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
        };
        assert_eq!(of(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), Some(Heads::in_dir("/s/holdfast/heads")));
        let home = Some(Heads::in_dir("/h/.local/state/holdfast/heads"));
        assert_eq!(of(&[("HOME", "/h")]), home);
        assert_eq!(of(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]), home);
        assert_eq!(of(&[("XDG_STATE_HOME", "")]), None);
    }
}
