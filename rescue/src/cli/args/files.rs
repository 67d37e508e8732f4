//! The arguments of the verbs about saved files.

use super::given::{Given, named};
use super::{Opening, StoreAt, Usage};
use model::files::FilePath;
use model::id::{SnapRef, VolumePath};
use model::text::{DisplayText, RawName};
use std::ffi::{OsStr, OsString};
use std::iter::Peekable;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// `ls SNAP[:PATH] --store S [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ls {
    /// Which snapshot.
    pub snapshot: SnapRef,
    /// Where in it; its volumes where `None`.
    pub at: Option<FilePath>,
    /// The store's directory.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

/// `get SNAP:PATH -o OUT [--privileged] --store S [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get {
    /// Which snapshot.
    pub snapshot: SnapRef,
    /// Where in it.
    pub at: FilePath,
    /// What is to be made.
    pub to: PathBuf,
    /// With what gives power.
    pub privileged: bool,
    /// The store's directory.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

/// `diff A B|now [DISK..] --store S [--text] [--json]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    /// The earlier state.
    pub before: SnapRef,
    /// The later; the disks as they are now where `None`.
    pub after: Option<SnapRef>,
    /// Devices or image files, where the later state is theirs.
    pub disks: Vec<PathBuf>,
    /// Encrypted volumes that are unlocked first.
    pub open: Vec<Opening>,
    /// Also which lines of text files differ.
    pub text: bool,
    /// The store's directory.
    pub store: StoreAt,
    /// For programs.
    pub json: bool,
}

pub(super) fn diff(given: &Given, store: StoreAt) -> Result<Diff, Usage> {
    let [before, after, disks @ ..] = &given.words[..] else {
        return Err(Usage("`diff` takes two states: A B, or A now DISK..".into()));
    };
    if before == "now" {
        return Err(Usage("`now` is the later state: name it second".into()));
    }
    let after = if after == "now" { None } else { Some(named(after.clone())?) };
    match (&after, disks) {
        (None, []) => return Err(Usage("`diff A now` needs DISK".into())),
        (Some(_), [disk, ..]) => {
            let disk = DisplayText::new(&disk.to_string_lossy());
            return Err(Usage(format!("`diff A B` takes no `{disk}`: disks follow `now`")));
        }
        _ => {}
    }
    let disks = disks.iter().map(PathBuf::from).collect();
    let (open, text, json) = (given.open.clone(), given.text, given.json);
    Ok(Diff { before: named(before.clone())?, after, disks, open, text, store, json })
}

pub(super) fn ls(given: &Given, store: StoreAt) -> Result<Ls, Usage> {
    let (snapshot, at) = place(&given.words, "ls")?;
    Ok(Ls { snapshot, at, store, json: given.json })
}

pub(super) fn get(given: &Given, store: StoreAt) -> Result<Get, Usage> {
    let (snapshot, at) = place(&given.words, "get")?;
    let at = at.ok_or_else(|| Usage("`get` needs SNAP:/PATH".into()))?;
    let to = given.out.clone().ok_or_else(|| Usage("`get` needs -o OUT, what is to be made".into()))?;
    Ok(Get { snapshot, at, to, privileged: given.privileged, store, json: given.json })
}

/// The places that `put` begins with: each `SNAP:/PATH` or `SNAP:VOLUME:/PATH`, of one snapshot. What follows is not taken: a disk
/// that is called so is named `./SNAP:/PATH`.
pub(super) fn places<'a>(
    words: &mut Peekable<impl Iterator<Item = &'a OsString>>,
) -> Result<(SnapRef, Vec<FilePath>), Usage> {
    let mut found: Option<(SnapRef, Vec<FilePath>)> = None;
    let is_place = |word: &&OsString| !matches!(word.as_bytes().first(), Some(b'/' | b'.'));
    while let Some(word) = words.peek().copied().filter(is_place) {
        let Ok((snapshot, Some(at))) = place(std::slice::from_ref(word), "put") else { break };
        match &mut found {
            None => found = Some((snapshot, vec![at])),
            Some((first, all)) if *first == snapshot => all.push(at),
            Some(_) => return Err(Usage("`put` takes files of one snapshot".into())),
        }
        words.next();
    }
    found.ok_or_else(|| Usage("`put` needs SNAP:/PATH, then the disks".into()))
}

/// `SNAP`, `SNAP:/PATH`, `SNAP:VOLUME` or `SNAP:VOLUME:/PATH`. A path is bytes.
fn place(words: &[OsString], verb: &str) -> Result<(SnapRef, Option<FilePath>), Usage> {
    let [word] = words else { return Err(Usage(format!("`{verb}` takes one SNAP:/PATH"))) };
    let bytes = word.as_bytes();
    let text = |bytes: &[u8]| OsStr::from_bytes(bytes).to_os_string();
    // `latest:good` is a snapshot: what begins a place is a colon before a slash or the name of a volume.
    let volume_of = |rest: &[u8]| -> Option<(VolumePath, Vec<u8>)> {
        let end = rest.iter().position(|b| *b == b':');
        let (name, path) = rest.split_at(end.unwrap_or(rest.len()));
        let volume = std::str::from_utf8(name).ok()?.parse().ok()?;
        Some((volume, path.get(1..).unwrap_or_default().to_vec()))
    };
    for (at, _) in bytes.iter().enumerate().filter(|(_, b)| **b == b':') {
        let (snapshot, rest) = (&bytes[..at], &bytes[at + 1..]);
        let found = if rest.starts_with(b"/") {
            FilePath { volume: None, path: RawName(rest.to_vec()) }
        } else if let Some((volume, path)) = volume_of(rest) {
            let path = if path.is_empty() { b"/".to_vec() } else { path };
            if !path.starts_with(b"/") {
                return Err(Usage("a path begins with /, as in SNAP:d0/p2:/etc".into()));
            }
            FilePath { volume: Some(volume), path: RawName(path) }
        } else {
            continue;
        };
        return Ok((named(text(snapshot))?, Some(found)));
    }
    Ok((named(OsString::from_vec(bytes.to_vec()))?, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    type At = Option<(Option<String>, String)>;

    fn of(text: &str) -> Option<(SnapRef, At)> {
        let (snapshot, at) = place(&[text.into()], "ls").ok()?;
        Some((snapshot, at.map(|at| (at.volume.map(|v| v.to_string()), at.path.display().to_string()))))
    }

    #[test]
    fn two_states_are_compared_the_later_may_be_now() {
        let diff = |words: &str| {
            let words = std::iter::once("diff").chain(words.split(' ')).chain(["--store", "s"]);
            match super::super::parse(words.map(OsString::from)) {
                Ok(super::super::Invocation::Diff(d)) => Some((d.before, d.after, d.disks.len(), d.text)),
                _ => None,
            }
        };
        assert_eq!(diff("latest now a b --text"), Some((SnapRef::Latest, None, 2, true)));
        let abcd = SnapRef::Prefix("abcd".into());
        assert_eq!(diff("abcd latest:good"), Some((abcd, Some(SnapRef::LatestGood), 0, false)));
        for bad in ["latest", "latest now", "now latest", "latest abcd disk", "latest nowhere"] {
            assert_eq!(diff(bad), None, "{bad}");
        }
    }

    #[test]
    fn files_are_put_into_the_disks_that_follow() {
        let put = |line: &str| {
            let words = line.split(' ').chain(["--store", "s"]).map(OsString::from);
            match super::super::parse(words) {
                Ok(super::super::Invocation::WriteBack(w)) => match w.to {
                    super::super::WriteBackTo::Files { from, at } => Ok((from, at.len(), w.disks.len())),
                    other => panic!("{other:?}"),
                },
                Ok(other) => panic!("{other:?}"),
                Err(Usage(why)) => Err(why),
            }
        };
        assert_eq!(put("put latest:/etc/fstab disk.img"), Ok((SnapRef::Latest, 1, 1)));
        assert_eq!(
            put("put latest:/a latest:d0/p2:/b /dev/disk/by-path/x:/y ./latest:/a"),
            Ok((SnapRef::Latest, 2, 2))
        );
        for (line, why) in [
            ("put latest disk.img", "needs SNAP:/PATH"),
            ("put latest:/a abcd:/b disk.img", "one snapshot"),
            ("put latest:/a", "needs a disk"),
        ] {
            assert!(put(line).unwrap_err().contains(why), "{line}");
        }
    }

    #[test]
    fn a_place_is_a_snapshot_and_a_path() {
        let at = |volume: Option<&str>, path: &str| Some((volume.map(str::to_owned), path.to_owned()));
        assert_eq!(of("latest:good"), Some((SnapRef::LatestGood, None)));
        assert_eq!(of("latest:good:/etc"), Some((SnapRef::LatestGood, at(None, "/etc"))));
        assert_eq!(of("latest:/a:b"), Some((SnapRef::Latest, at(None, "/a:b"))));
        assert_eq!(of("abcd:d0/p2:/a"), Some((SnapRef::Prefix("abcd".into()), at(Some("d0/p2"), "/a"))));
        assert_eq!(of("abcd:d0/p2"), Some((SnapRef::Prefix("abcd".into()), at(Some("d0/p2"), "/"))));
        assert_eq!((of("abcd:etc"), of("abcd:d0/p2:etc"), of("xyz:/")), (None, None, None));
    }
}
