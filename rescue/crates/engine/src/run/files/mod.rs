//! Files of a snapshot: what stands at a place in it, and taking it out. Only what is asked for is read of the store.

mod browse;
mod get;
mod into;
mod room;

pub(crate) use browse::{Shelf, browse};
pub(in crate::run) use get::copy;
pub(crate) use get::{Order, To, get};
pub(in crate::run) use into::{Filled, MakeIn};

use super::Stop;
use super::saved::Saved;
use crate::parser::{AboutFiles, MOST_LISTED, OfFiles, Parser, ParserError, SavedFs};
use crate::plan::elsewhere::Mark;
use model::browse::FileHead;
use model::command::ExitCode;
use model::files::{FileId, FileListing, FilePath, FoundFiles, Layout, ListedVolume, Named};
use model::id::{SnapRef, SnapshotId, VolumePath};
use model::inspection::{Content, FileKind, Mounted};
use model::ports::ReadAt;
use model::snapshot::{Manifest, SavedVolume};
use model::text::RawName;
use model::units::{ByteOffset, ExtentSet};
use std::sync::Arc;
use store::Store;

/// Most entries of one directory that are listed.
const MOST: usize = 200_000;

/// Lists what a snapshot holds at a place.
///
/// # Errors
/// [`Stop`] where there is no such snapshot or place, or it cannot be read.
pub(crate) fn list(
    store: &Store,
    parser: &dyn Parser,
    snapshot: &SnapRef,
    at: Option<&FilePath>,
) -> Result<FileListing, Stop> {
    let (snapshot, manifest) = store.find(snapshot, None)?;
    let found = at.map(|at| found(&Place::of(store, parser, (snapshot, &manifest), at)?)).transpose()?;
    Ok(FileListing { snapshot, volumes: volumes(&manifest), found })
}

/// Which of these paths the first system in a snapshot has, and on which volumes. What cannot be read is not told: who goes there is.
pub(crate) fn which(
    store: &Store,
    parser: &dyn Parser,
    (snapshot, manifest): (SnapshotId, &Manifest),
    marks: &[Mark],
) -> Vec<(VolumePath, Mark)> {
    let has = |mark: &Mark| {
        let at = FilePath { volume: None, path: RawName(mark.path.as_bytes().to_vec()) };
        let place = Place::of(store, parser, (snapshot, manifest), &at).ok()?;
        place.top().is_ok().then_some((place.volume, *mark))
    };
    marks.iter().filter_map(has).collect()
}

/// Where a place of a snapshot lies: its volume there, the path on it, and what stands at it.
///
/// # Errors
/// [`Stop`] where nothing does, or it cannot be read.
pub(crate) fn lies(
    store: &Store,
    parser: &dyn Parser,
    from: (SnapshotId, &Manifest),
    at: &FilePath,
) -> Result<(VolumePath, RawName, Named), Stop> {
    let place = Place::of(store, parser, from, at)?;
    let top = place.top()?;
    Ok((place.volume, place.path, top))
}

fn found(place: &Place<'_>) -> Result<FoundFiles, Stop> {
    let top = place.top()?;
    let directory = top.attributes.as_ref().is_some_and(|a| a.kind == FileKind::Directory);
    let (mut entries, mut more) = (vec![top.clone()], false);
    if directory {
        (entries, more) = place.entries(top.file, MOST).map_err(|e| place.unread(&place.path.0, &e))?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
    }
    Ok(FoundFiles { volume: place.volume.clone(), path: place.path.clone(), entries, more })
}

/// The volumes of a snapshot, and where the first system in it has them.
fn volumes(manifest: &Manifest) -> Vec<ListedVolume> {
    let volume = |v: &SavedVolume| ListedVolume {
        volume: v.path.clone(),
        fs: v.volume().kind().to_owned(),
        mount: mounts(manifest).into_iter().find(|m| *m.volume == v.path).map(|m| whole_name(&m).to_owned()),
        readable: readable(v),
    };
    manifest.volumes.iter().map(volume).collect()
}

fn readable(volume: &SavedVolume) -> bool {
    match &volume.content {
        Content::Btrfs(info) => info.not_read.is_none(),
        Content::Xfs(x) => x.not_read.is_none(),
        other => other.is_file_system(),
    }
}

/// Where the first system in a snapshot has its volumes.
fn mounts(manifest: &Manifest) -> Vec<Mounted<'_>> {
    manifest.systems.first().map(|report| report.system.mounts().collect()).unwrap_or_default()
}

/// A mount point as people write it.
fn whole_name<'a>(mounted: &Mounted<'a>) -> &'a str {
    if mounted.mount.is_empty() { "/" } else { mounted.mount }
}

/// The rest of a path behind a mount point, or `None` where it does not lie below that.
pub(crate) fn below<'a>(path: &'a [u8], mount: &str) -> Option<&'a [u8]> {
    let rest = path.strip_prefix(mount.trim_end_matches('/').as_bytes())?;
    (rest.is_empty() || rest.starts_with(b"/")).then_some(rest)
}

/// A place in a snapshot.
pub(in crate::run) struct Place<'a> {
    parser: &'a dyn Parser,
    snapshot: SnapshotId,
    volume: VolumePath,
    /// From the root of the volume.
    path: RawName,
    fs: SavedFs,
    /// Bytes of the volume that could not be read when it was saved.
    unreadable: ExtentSet,
}

impl<'a> Place<'a> {
    pub(in crate::run) fn of(
        store: &Store,
        parser: &'a dyn Parser,
        (snapshot, manifest): (SnapshotId, &Manifest),
        at: &FilePath,
    ) -> Result<Self, Stop> {
        let failed = |says: String, advice: &str| Stop::failed(ExitCode::Failed, says, advice);
        let listed = "`holdfast ls SNAP` lists its volumes; `SNAP:VOLUME:/PATH` is a path on one of them";
        let saved = |path: &VolumePath| manifest.volumes.iter().find(|v| v.path == *path && readable(v));
        let (volume, path) = match &at.volume {
            Some(path) => (saved(path), at.path.0.clone()),
            None => {
                let known = mounts(manifest).into_iter();
                let under =
                    known.filter_map(|m| Some((m.mount.len(), saved(m.volume)?, m.top, below(&at.path.0, m.mount)?)));
                let (_, volume, top, rest) = under.max_by_key(|(len, ..)| *len).ok_or_else(|| {
                    let says = format!("snapshot {} has no system whose files can be read", snapshot.0.short(12));
                    failed(says, listed)
                })?;
                (Some(volume), [top.as_bytes(), rest].concat())
            }
        };
        let volume = volume.ok_or_else(|| {
            let path = at.volume.as_ref().map(ToString::to_string).unwrap_or_default();
            failed(
                format!("{path} is no volume of snapshot {} with files that can be read", snapshot.0.short(12)),
                listed,
            )
        })?;
        let bytes = Saved::new(store.clone(), volume.map, volume.extent.len());
        let path = RawName(if path.is_empty() { b"/".to_vec() } else { path });
        Ok(Self {
            parser,
            snapshot,
            volume: volume.path.clone(),
            path,
            fs: SavedFs { map: volume.map, content: volume.content.clone(), bytes: Arc::new(bytes) },
            unreadable: volume.unreadable.clone(),
        })
    }

    /// What stands there.
    pub(in crate::run) fn top(&self) -> Result<Named, Stop> {
        match self.parser.files(&self.fs, &AboutFiles::Find(self.path.clone())) {
            Ok(OfFiles::Found(Some(found))) => Ok(found),
            Ok(_) => {
                let says = format!(
                    "there is no {} on {} of snapshot {}",
                    self.path.display(),
                    self.volume,
                    self.snapshot.0.short(12)
                );
                Err(Stop::failed(ExitCode::Failed, says, "`holdfast ls SNAP:/` lists what there is"))
            }
            Err(e) => Err(self.unread(&self.path.0, &e)),
        }
    }

    /// The entries of a directory, and whether there are more than `most`.
    fn entries(&self, dir: FileId, most: usize) -> Result<(Vec<Named>, bool), ParserError> {
        let mut all = Vec::new();
        loop {
            let (some, last) = self.entries_behind(dir, all.len())?;
            all.extend(some);
            if last || all.len() >= most {
                let more = !last;
                return Ok((all, more));
            }
        }
    }

    /// Some entries of a directory behind the first so many, and whether these are the last.
    fn entries_behind(&self, dir: FileId, skip: usize) -> Result<(Vec<Named>, bool), ParserError> {
        match self.parser.files(&self.fs, &AboutFiles::List(dir, skip))? {
            OfFiles::Listed(some) => {
                let last = some.len() < MOST_LISTED;
                Ok((some, last))
            }
            _ => Err(ParserError::new("the parser answered something else")),
        }
    }

    /// How the regular file there begins.
    fn head(&self) -> Result<Option<FileHead>, ParserError> {
        match self.parser.files(&self.fs, &AboutFiles::Head(self.path.clone()))? {
            OfFiles::Begins(head) => Ok(head),
            _ => Err(ParserError::new("the parser answered something else")),
        }
    }

    fn layout(&self, file: FileId, from: ByteOffset) -> Result<Layout, ParserError> {
        match self.parser.files(&self.fs, &AboutFiles::Layout(file, from))? {
            OfFiles::Lies(layout) => Ok(layout),
            _ => Err(ParserError::new("the parser answered something else")),
        }
    }

    fn bytes(&self) -> &Arc<dyn ReadAt> {
        &self.fs.bytes
    }

    fn unread(&self, path: &[u8], e: &ParserError) -> Stop {
        let says = format!("{} on {} cannot be read: {e}", RawName(path.to_vec()).display(), self.volume);
        Stop::failed(ExitCode::Damage, says, "`holdfast check --read-data` tells whether the store is damaged")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_below_a_mount_point_by_whole_names() {
        assert_eq!(below(b"/boot/efi/EFI", "/boot/efi"), Some(&b"/EFI"[..]));
        assert_eq!(below(b"/boot/efi", "/boot/efi"), Some(&b""[..]));
        assert_eq!(below(b"/boot/efix", "/boot/efi"), None);
        assert_eq!(below(b"/etc", "/"), Some(&b"/etc"[..]));
    }
}
