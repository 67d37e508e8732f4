//! What is called free is not needed: the kernel makes the same of a disk without it.

use crate::chance::Chance;
use crate::mutants::Mutants;
use crate::session::{Mounted, Place};
use crate::verdict::{Bytes, open, without_the_free};
use disk::fs::ext4::Rule;
use nix::mount::MsFlags;
use nix::unistd::{Whence, lseek};
use qemu_tests::Result;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// All files, by name: what each is, how long, and a digest of what it holds.
type Tree = BTreeMap<PathBuf, (u32, u64, u64)>;

/// Mounts a state as it is, and again with noise in the place of what is free; the kernel replays its journal both times.
pub(crate) fn look(
    place: &Place<'_>,
    state: &Bytes,
    chance: &mut Chance,
    mutants: &mut Mutants,
    name: &str,
) -> Result<()> {
    let Some(fs) = open(state) else { return Ok(()) };
    let whole = tree(place, state)?;
    let kept = without_the_free(state, &fs, None);
    let without = tree(place, &kept).map_err(|e| format!("without what is called free: {e}"))?;
    if let Some(path) = whole.keys().chain(without.keys()).find(|path| whole.get(*path) != without.get(*path)) {
        let (was, is) = (whole.get(path), without.get(path));
        let dir = place.at.with_file_name("found");
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("whole.img"), &state[..])?;
        fs::write(dir.join("without.img"), &kept)?;
        let says = format!(
            "without what is called free the kernel sees other files: of {} it sees {was:?} with it, {is:?} without; both \
             states are in {}",
            path.display(),
            dir.display()
        );
        return Err(says.into());
    }
    // A mutant has its whole disk taken apart: now and then is enough.
    if mutants.alive().contains(&Rule::Replay) && chance.one_in(2) {
        let wrong = without_the_free(state, &fs, Some(Rule::Replay));
        if wrong != kept && tree(place, &wrong).ok() != Some(whole) {
            mutants.caught(Rule::Replay, &format!("{name}: the kernel sees other files"));
        }
    }
    Ok(())
}

/// Whether the kernel mounts a state as it is.
pub(crate) fn mounts(place: &Place<'_>, state: &[u8]) -> bool {
    place.disk.load(state);
    Mounted::new(place, MsFlags::empty()).and_then(Mounted::unmount).is_ok()
}

fn tree(place: &Place<'_>, state: &[u8]) -> Result<Tree> {
    place.disk.load(state);
    let mounted = Mounted::new(place, MsFlags::empty())?;
    let found = walk(place.at);
    mounted.unmount()?;
    found
}

fn walk(at: &Path) -> Result<Tree> {
    use std::os::unix::fs::MetadataExt;
    let mut tree = Tree::new();
    let mut todo = vec![at.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let meta = fs::symlink_metadata(&path)?;
            let digest = if meta.is_file() { digest(&path)? } else { 0 };
            // How long a directory is depends on nothing that is read here.
            tree.insert(path.clone(), (meta.mode(), if meta.is_dir() { 0 } else { meta.len() }, digest));
            if meta.is_dir() {
                todo.push(path);
            }
        }
    }
    Ok(tree)
}

/// A digest of what a file holds, its holes left out. Whether what was allocated and never written counts as data depends on what the
/// kernel has in memory of it: only bytes that are not zeros are told, wherever a piece of data begins.
fn digest(path: &Path) -> Result<u64> {
    /// No kind has smaller blocks.
    const PART: usize = 1024;
    let file = File::open(path)?;
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 64 << 10];
    let mut at = 0;
    // ENXIO: no data behind there.
    while let Ok(start) = lseek(&file, at, Whence::SeekData) {
        let end = lseek(&file, start, Whence::SeekHole)?;
        let mut from = start;
        while from < end {
            let len = buffer.len().min(usize::try_from(end - from)?);
            file.read_exact_at(&mut buffer[..len], u64::try_from(from)?)?;
            for (n, part) in buffer[..len].chunks(PART).enumerate() {
                if part.iter().any(|b| *b != 0) {
                    (from + i64::try_from(n * PART)?, part).hash(&mut hasher);
                }
            }
            from += i64::try_from(len)?;
        }
        at = end;
    }
    Ok(hasher.finish())
}
