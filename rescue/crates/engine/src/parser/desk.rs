//! The answers themselves: what runs in the parser role, and in tests in this process.

use super::{
    AboutFiles, Asked, MOST_LISTED, MOST_PIECES, OfFiles, Parser, ParserError, SavedFs, Scene, State, checked,
};
use crate::gather::look_for;
use disk::boot::Sources;
use disk::fs::fat::Fat;
use disk::fs::{FileSystem, FsError, Two};
use disk::table::TableReading;
use infer::Packages;
use model::boot::{BootChain, BootRepairs};
use model::browse::{FileHead, MOST_TEXT};
use model::coverage::{Changes, Coverage};
use model::cuts::Cuts;
use model::differences::{ComparedBy, FsDifferences, PackageDifferences};
use model::esp::{EspReading, Tenancy};
use model::evidence::Evidence;
use model::files::LostFiles;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding, Inspection, System, Volume};
use model::luks::LuksHeader;
use model::mapping::Layers;
use model::ports::{Devices, DiskSource, ReadAt, Window};
use model::restore::{FitTable, FittedTable};
use model::snapshot::MapRoot;
use model::text::DisplayText;
use model::units::{ByteOffset, Extent, ExtentSet};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use store::DecodeHere;

/// File systems kept open between questions.
type OpenFs = Rc<dyn FileSystem>;

/// Most file systems kept open: each may hold a journal's blocks in memory.
const MOST_OPEN: usize = 8;
/// Most of dpkg's records that are read: it merges them after 250 (dpkg `lib/dpkg/dpkg.h`, `MAXUPDATES`).
const MOST_RECORDS: usize = 1024;

/// The disks, and the file systems opened on them so far.
pub(super) struct Desk {
    disks: Vec<DiskSource>,
    open: RefCell<HashMap<VolumePath, OpenFs>>,
    /// The saved file system that was asked about last.
    saved: RefCell<Option<(MapRoot, OpenFs)>>,
}

impl Desk {
    pub(super) fn new(disks: Vec<DiskSource>) -> Self {
        Self { disks, open: RefCell::new(HashMap::new()), saved: RefCell::new(None) }
    }

    fn disk(&self, no: DiskNo) -> Result<&DiskSource, ParserError> {
        self.disks.iter().find(|d| d.no == no).ok_or_else(|| ParserError::new(format!("there is no disk {no}")))
    }

    fn window(&self, disk: DiskNo, extent: Extent) -> Result<Arc<dyn ReadAt>, ParserError> {
        let bytes = self.disk(disk)?.bytes.clone();
        Ok(Arc::new(Window::new(bytes, extent).map_err(|e| ParserError::new(e.to_string()))?))
    }

    fn bytes(&self, volume: &Volume) -> Result<Arc<dyn ReadAt>, ParserError> {
        disk::volume::bytes(&self.disks, volume)
            .ok_or_else(|| ParserError::new(format!("{} does not lie within its disks", volume.path)))
    }

    pub(super) fn table(&self, disk: DiskNo) -> Result<TableReading, ParserError> {
        let source = self.disk(disk)?;
        Ok(disk::table::read(disk, source.hardware.sector, &source.bytes))
    }

    pub(super) fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        Ok(disk::content::identify(volume, &self.window(volume.disk(), extent)?))
    }

    pub(super) fn layers(&self, inspection: &Inspection) -> Layers {
        disk::volume::layers(inspection, &|path| self.bytes(inspection.volume(path)?).ok())
    }

    pub(super) fn luks(&self, volume: &Volume) -> Result<LuksHeader, ParserError> {
        saved_luks(&*self.bytes(volume)?)
    }

    pub(super) fn mapped_content(&self, volume: &Volume) -> Result<(Content, Vec<Finding>), ParserError> {
        Ok(disk::content::identify(&volume.path, &self.bytes(volume)?))
    }

    pub(super) fn systems(&self, inspection: &Inspection) -> (Vec<System>, Vec<Finding>) {
        disk::system::find(inspection, &|path| self.bytes(inspection.volume(path)?).ok())
    }

    pub(super) fn evidence(&self, scene: &Scene, want: usize) -> Result<Vec<Evidence>, ParserError> {
        let want = infer::wants().get(want).ok_or_else(|| ParserError::new(format!("there is no want {want}")))?;
        Ok(look_for(scene, want, &|volume| self.file_system(volume)))
    }

    pub(super) fn boot(&self, inspection: &Inspection, system: &System) -> BootChain {
        self.with_sources(inspection, |sources| disk::boot::check(sources, system))
    }

    pub(super) fn boot_repairs(&self, inspection: &Inspection) -> BootRepairs {
        self.with_sources(inspection, |sources| disk::boot::repairs(sources, &inspection.systems))
    }

    fn with_sources<T>(&self, inspection: &Inspection, ask: impl FnOnce(Sources<'_>) -> T) -> T {
        let open = |volume: &Volume| self.file_system(volume).map_err(|e| FsError::Incompatible(e.why.to_string()));
        let disk = |no: DiskNo| self.disk(no).ok().map(|d| d.bytes.clone());
        ask(Sources { inspection, open: &open, disk: &disk })
    }

    pub(super) fn coverage(&self, volume: &Volume) -> Result<Coverage, ParserError> {
        Ok(disk::coverage::of(&volume.content, self.bytes(volume)?))
    }

    pub(super) fn cuts(&self, volume: &Volume) -> Result<Cuts, ParserError> {
        Ok(disk::coverage::cuts(&volume.content, self.bytes(volume)?))
    }

    pub(super) fn changes(&self, volume: &Volume, before: Arc<dyn ReadAt>) -> Result<Changes, ParserError> {
        Ok(disk::coverage::changes(&volume.content, self.bytes(volume)?, before))
    }

    /// Answers about a saved file system, whose bytes are taken from `bytes` where it is another than before.
    pub(super) fn files(
        &self,
        map: MapRoot,
        content: &Content,
        bytes: impl FnOnce() -> Arc<dyn ReadAt>,
        ask: &AboutFiles,
    ) -> Result<OfFiles, ParserError> {
        let failed = |e: FsError| ParserError::new(e.to_string());
        // Taken out while it works: one that stumbles is opened anew.
        let before = self.saved.borrow_mut().take().filter(|(known, _)| *known == map);
        let fs: OpenFs = match before {
            Some((_, fs)) => fs,
            None => Rc::from(disk::fs::open(content, bytes()).map_err(failed)?),
        };
        let told = match ask {
            AboutFiles::Find(path) => fs.find(&path.0).map(OfFiles::Found),
            AboutFiles::List(dir, skip) => fs.list(*dir, *skip, MOST_LISTED).map(OfFiles::Listed),
            AboutFiles::Layout(file, from) => fs.layout(*file, *from, MOST_PIECES).map(OfFiles::Lies),
            AboutFiles::Head(path) => head(&*fs, &path.0).map(OfFiles::Begins),
        };
        *self.saved.borrow_mut() = Some((map, fs));
        told.map_err(failed)
    }

    fn file_system(&self, volume: &Volume) -> Result<OpenFs, ParserError> {
        if let Some(fs) = self.open.borrow().get(&volume.path) {
            return Ok(fs.clone());
        }
        let bytes = self.bytes(volume)?;
        let fs = disk::fs::open(&volume.content, bytes).map_err(|e| ParserError::new(e.to_string()))?;
        let fs: OpenFs = Rc::from(fs);
        let mut open = self.open.borrow_mut();
        if open.len() >= MOST_OPEN {
            open.clear();
        }
        open.insert(volume.path.clone(), fs.clone());
        Ok(fs)
    }
}

/// How a regular file begins; `None` where there is none.
fn head(fs: &dyn FileSystem, path: &[u8]) -> Result<Option<FileHead>, FsError> {
    let Some(file) = fs.open(path)? else { return Ok(None) };
    let size = file.size();
    let len = MOST_TEXT.min(size).to_usize().unwrap_or(0);
    Ok(Some(FileHead::of(&file.read_vec(ByteOffset(0), len)?, size)))
}

/// What lies in lost bytes of a saved volume.
pub(super) fn losses(content: &Content, saved: Arc<dyn ReadAt>, lost: &ExtentSet) -> Result<LostFiles, ParserError> {
    disk::fs::losses(content, saved, lost).map_err(|e| ParserError::new(e.to_string()))
}

/// The header of an encrypted volume.
pub(super) fn saved_luks(bytes: &dyn ReadAt) -> Result<LuksHeader, ParserError> {
    let failed = |e: FsError| ParserError::new(e.to_string());
    let read = disk::volume::luks::read(bytes).map_err(failed)?;
    read.ok_or_else(|| ParserError::new("it is no LUKS volume"))?.header.map_err(ParserError::new)
}

/// A saved table, fitted to another disk.
pub(super) fn fit_table(saved: &dyn ReadAt, wanted: &FitTable) -> Result<FittedTable, ParserError> {
    disk::table::fit(saved, wanted).map_err(ParserError::new)
}

/// Whose the files on an EFI system partition are, in two states of it.
pub(super) fn esp(
    then: (&Content, Arc<dyn ReadAt>),
    now: (&Content, Arc<dyn ReadAt>),
    tenancy: &Tenancy,
) -> Result<EspReading, ParserError> {
    let failed = |e: FsError| ParserError::new(e.to_string());
    let open = |(content, bytes): (&Content, Arc<dyn ReadAt>)| match content {
        Content::Fat(_) => Fat::load(bytes).map_err(failed),
        _ => Err(ParserError::new("it holds no FAT file system")),
    };
    disk::boot::tenants::read(&open(then)?, &open(now)?, tenancy).map_err(failed)
}

/// What differs between two states of a file system.
pub(super) fn differences(
    before: (&Content, Arc<dyn ReadAt>),
    after: (&Content, Arc<dyn ReadAt>),
    asked: &Asked,
) -> Result<FsDifferences, ParserError> {
    let failed = |e: FsError| ParserError::new(e.to_string());
    let two = Two::open(before, after).map_err(failed)?;
    let mut found = two.differences_but(&asked.notable, asked.text, &asked.but).map_err(failed)?;
    found.packages = match &asked.packages {
        Some(_) if found.by == ComparedBy::Untouched => Some(Ok(PackageDifferences::default())),
        Some(directory) => packages(&two, &directory.0).transpose(),
        None => None,
    };
    Ok(found)
}

/// What became of packages; `None` where neither state has any.
fn packages(two: &Two, directory: &[u8]) -> Result<Option<PackageDifferences>, DisplayText> {
    let of = |fs: &dyn FileSystem, which: &str| {
        installed(fs, directory)
            .map_err(|why| DisplayText::new(&format!("dpkg's database in the {which} state cannot be read: {why}")))
    };
    let (before, after) = (of(two.before(), "earlier")?, of(two.after(), "later")?);
    match (before, after) {
        (None, None) => Ok(None),
        (Some(before), Some(after)) => Ok(Some(before.differences(&after))),
        (Some(_), None) => Err("dpkg's database is not there in the later state".into()),
        (None, Some(_)) => Err("dpkg's database is not there in the earlier state".into()),
    }
}

/// The packages of a system, those in records that dpkg had no time to merge as they say.
fn installed(fs: &dyn FileSystem, directory: &[u8]) -> Result<Option<Packages>, String> {
    let at = |rest: &str| [directory, rest.as_bytes()].concat();
    let unread = |e: FsError| e.to_string();
    let Some(status) = fs.open(&at("/status")).map_err(unread)? else { return Ok(None) };
    let mut packages = Packages::default();
    packages.add_status(&*status)?;
    let updates = fs.read_dir(&at("/updates"), MOST_RECORDS).map_err(unread)?;
    let mut records: Vec<&[u8]> = updates.iter().map(|f| &f.name.0[..]).collect();
    // dpkg's scratch has other names.
    records.retain(|name| !name.is_empty() && name.iter().all(u8::is_ascii_digit));
    records.sort_unstable();
    for record in records {
        if let Some(file) = fs.open(&[&at("/updates/")[..], record].concat()).map_err(unread)? {
            packages.add_record(&*file)?;
        }
    }
    Ok(Some(packages))
}

/// A parser in this process: for tests, and nothing a real target's bytes may reach.
pub struct Local {
    disks: Vec<DiskSource>,
    /// The same, as whoever asks sees them.
    given: Mutex<Option<Arc<dyn Devices>>>,
}

impl Local {
    /// Answers about these disks.
    pub fn new(disks: Vec<DiskSource>) -> Self {
        Self { disks, given: Mutex::default() }
    }

    fn desk(&self) -> Desk {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let sees = |no: DiskNo| given.as_ref()?.disks().into_iter().find(|d| d.no == no)?.clear;
        let shown = |d: &DiskSource| DiskSource { clear: sees(d.no).or_else(|| d.clear.clone()), ..d.clone() };
        Desk::new(self.disks.iter().map(shown).collect())
    }

    fn size(&self, disk: DiskNo) -> Result<u64, ParserError> {
        Ok(self.desk().disk(disk)?.hardware.size.0)
    }
}

impl Parser for Local {
    fn table(&self, disk: DiskNo) -> Result<TableReading, ParserError> {
        checked::table(self.desk().table(disk)?, disk, self.size(disk)?)
    }

    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        let (content, findings) = self.desk().content(volume, extent)?;
        checked::content(content, findings, volume)
    }

    fn luks(&self, volume: &Volume) -> Result<LuksHeader, ParserError> {
        checked::luks(self.desk().luks(volume)?, volume.extent.len())
    }

    fn saved_luks(&self, saved: Arc<dyn ReadAt>) -> Result<LuksHeader, ParserError> {
        checked::luks(saved_luks(&*saved)?, saved.size())
    }

    fn given(&self, devices: Arc<dyn Devices>) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(devices);
    }

    fn layers(&self, inspection: &Inspection) -> Result<Layers, ParserError> {
        checked::layers(self.desk().layers(inspection), inspection)
    }

    fn mapped_content(&self, volume: &Volume) -> Result<(Content, Vec<Finding>), ParserError> {
        let (content, findings) = self.desk().mapped_content(volume)?;
        checked::content(content, findings, &volume.path)
    }

    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
        let (systems, findings) = self.desk().systems(inspection);
        checked::systems(systems, findings, inspection)
    }

    fn evidence(&self, scene: &Scene, want: usize) -> Result<Vec<Evidence>, ParserError> {
        checked::evidence(self.desk().evidence(scene, want)?, scene)
    }

    fn boot(&self, inspection: &Inspection, system: &System) -> Result<BootChain, ParserError> {
        checked::boot(self.desk().boot(inspection, system), inspection, system)
    }

    fn boot_repairs(&self, inspection: &Inspection) -> Result<BootRepairs, ParserError> {
        checked::boot_repairs(self.desk().boot_repairs(inspection), inspection)
    }

    fn coverage(&self, volume: &Volume) -> Result<Coverage, ParserError> {
        checked::coverage(self.desk().coverage(volume)?, volume)
    }

    fn cuts(&self, volume: &Volume) -> Cuts {
        self.desk().cuts(volume).unwrap_or_else(|_| Cuts::grid(volume.extent.len()))
    }

    fn changes(&self, volume: &Volume, before: Arc<dyn ReadAt>) -> Result<Changes, ParserError> {
        checked::changes(self.desk().changes(volume, before)?, volume)
    }

    fn files(&self, saved: &SavedFs, ask: &AboutFiles) -> Result<OfFiles, ParserError> {
        let told = self.desk().files(saved.map, &saved.content, || saved.bytes.clone(), ask)?;
        checked::files(told, ask, saved.bytes.size())
    }

    fn fit_table(&self, saved: Arc<dyn ReadAt>, wanted: &FitTable) -> Result<FittedTable, ParserError> {
        checked::fitted(fit_table(&*saved, wanted)?, wanted)
    }

    fn losses(&self, content: &Content, saved: Arc<dyn ReadAt>, lost: &ExtentSet) -> Result<LostFiles, ParserError> {
        checked::losses(losses(content, saved, lost)?, lost)
    }

    fn over(&self, disks: Vec<DiskSource>) -> Result<Box<dyn Parser>, ParserError> {
        Ok(Box::new(Self::new(disks)))
    }

    fn esp(&self, then: &State, now: &State, tenancy: &Tenancy) -> Result<EspReading, ParserError> {
        let of = |state: &State| state.bytes.clone();
        let reading = esp((&then.content, of(then)), (&now.content, of(now)), tenancy)?;
        checked::esp(reading, then.bytes.size(), now.bytes.size())
    }

    fn differences(
        &self,
        before: &State,
        after: &State,
        asked: &Asked,
        _going: &dyn Fn() -> bool,
    ) -> Result<FsDifferences, ParserError> {
        let of = |state: &State| state.bytes.clone();
        checked::differences(differences((&before.content, of(before)), (&after.content, of(after)), asked)?, asked)
    }
}

impl DecodeHere for Local {}
