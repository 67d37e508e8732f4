//! Which files of a snapshot lie in bytes that a damaged store cannot give back: read from the store alone.

use crate::parser::Parser;
use crate::run::saved::Saved;
use crate::upkeep::Steps;
use crate::worker::Desk;
use model::event::Lost;
use model::files::LostFiles;
use model::id::{Digest, SnapshotId};
use model::inspection::Content;
use model::ports::{ReadAt, ReadError};
use model::snapshot::{Manifest, MapRoot, SavedVolume};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use store::{Loss, Store};

/// Most volumes whose files are gone through: what several snapshots have in common is gone through once.
const MOST_VOLUMES: usize = 32;

/// What lies in the lost bytes of a volume, or why that cannot be told.
type Told = Result<LostFiles, DisplayText>;

/// Says of what is lost which files lie there, as far as that can be told. The newest snapshots come first where there are
/// too many.
pub(super) fn tell(store: &Store, parser: &dyn Parser, losses: Vec<Loss>, desk: &Desk) -> Vec<Lost> {
    let mut teller = Teller { store, parser, steps: Steps::new(desk), manifest: None, known: HashMap::new(), asked: 0 };
    let total = losses.len();
    let mut lost: Vec<Lost> =
        losses.into_iter().enumerate().rev().map(|(at, loss)| teller.one(loss, total - at, total)).collect();
    lost.reverse();
    lost
}

struct Teller<'a> {
    store: &'a Store,
    parser: &'a dyn Parser,
    steps: Steps<'a>,
    /// The manifest read last: losses of one snapshot follow each other.
    manifest: Option<(SnapshotId, Arc<Manifest>)>,
    /// What was told of a map and the lost ranges of it.
    known: HashMap<(MapRoot, Digest), Told>,
    asked: usize,
}

impl Teller<'_> {
    fn one(&mut self, loss: Loss, at: usize, total: usize) -> Lost {
        let cut = (loss.ranges.ranges() as u64) < loss.places;
        let stopped = !self.steps.at("looking which files are lost", at, total);
        let told = match self.volume(&loss) {
            None => Err("it is no volume".into()),
            Some(_) if stopped => Err("it was stopped before that".into()),
            Some(volume) => self.files(&volume, &loss.ranges),
        };
        let (mut files, why_not) = match told {
            Ok(files) => (Some(files), None),
            Err(why) => (None, Some(why)),
        };
        if let Some(files) = files.as_mut().filter(|_| cut) {
            files.unseen.get_or_insert("the lost ranges are too many to go through all".into());
        }
        let Loss { snapshot, of, bytes, places, ranges } = loss;
        let first = ranges.iter().next().map(Extent::start).unwrap_or_default();
        Lost { snapshot, of, bytes, places, first, files, why_not }
    }

    fn volume(&mut self, loss: &Loss) -> Option<SavedVolume> {
        if self.manifest.as_ref().is_none_or(|(id, _)| *id != loss.snapshot) {
            self.manifest = Some((loss.snapshot, Arc::new(self.store.manifest(loss.snapshot).ok()?)));
        }
        let (_, manifest) = self.manifest.as_ref()?;
        manifest.volumes.iter().find(|v| v.path.to_string() == loss.of.as_str()).cloned()
    }

    fn files(&mut self, volume: &SavedVolume, lost: &ExtentSet) -> Told {
        match &volume.content {
            read if read.is_file_system() => {}
            Content::Swap(_) => return Err("it is swap: there are no files on it".into()),
            _ => return Err("no files are read on it by this version".into()),
        }
        let key = (volume.map, digest(lost));
        if let Some(told) = self.known.get(&key) {
            return told.clone();
        }
        if self.asked == MOST_VOLUMES {
            let says = format!("it was looked for in the {MOST_VOLUMES} newest volumes that lost something");
            return Err(DisplayText::new(&says));
        }
        self.asked += 1;
        let told = self.ask(volume.map, volume.extent.len(), &volume.content, lost);
        self.known.insert(key, told.clone());
        told
    }

    fn ask(&self, map: MapRoot, size: ByteLen, content: &Content, lost: &ExtentSet) -> Told {
        let saved = Holed { saved: Saved::new(self.store.clone(), map, size), lost: lost.clone() };
        self.parser.losses(content, Arc::new(saved), lost).map_err(|e| e.why)
    }
}

/// Stands for a set of ranges.
fn digest(ranges: &ExtentSet) -> Digest {
    let bytes = |e: Extent| [e.start().0.to_le_bytes(), e.len().0.to_le_bytes()].concat();
    Digest::of(&ranges.iter().flat_map(bytes).collect::<Vec<u8>>())
}

/// A saved volume in which what is lost cannot be read, whatever the store would give for it.
struct Holed {
    saved: Saved,
    lost: ExtentSet,
}

impl ReadAt for Holed {
    fn size(&self) -> ByteLen {
        self.saved.size()
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len() as u64;
        if Extent::new(at, ByteLen(len)).is_some_and(|wanted| self.lost.meets(wanted)) {
            return Err(ReadError::Io { at: at.0, len, source: io::Error::other("it is lost") });
        }
        self.saved.read_exact_at(at, buf)
    }
}
