//! The parser in a process of its own.

use super::role::CPU_SECONDS;
use super::wire::{
    Answer, Known, MOST_BULK, MOST_JSON, MOST_PIECE, Of, Place, Request, decode_ranges, encode_ranges, give_graft,
    give_patches,
};
use super::{AboutFiles, Asked, OfFiles, Parser, ParserError, ReadOption, SavedFs, Scene, State, checked};
use crate::frame;
use crate::machine::Opened;
use disk::table::TableReading;
use model::boot::{BootChain, BootRepairs};
use model::command::{ExitCode, Failure};
use model::coverage::{Changes, Coverage};
use model::cuts::Cuts;
use model::differences::FsDifferences;
use model::esp::{EspReading, Tenancy};
use model::evidence::Evidence;
use model::files::LostFiles;
use model::firmware::Value;
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding, Inspection, System, Volume};
use model::inventory::InventoryEntry;
use model::luks::LuksHeader;
use model::mapping::{Beneath, Layers};
use model::note::Note;
use model::policy::{Policy, PolicyError};
use model::ports::{Devices, DiskSource, ReadAt};
use model::restore::{FitTable, FittedTable};
use model::snapshot::{Intent, Receipt, Statement};
use model::units::{Extent, ExtentSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use store::{Decode, DecodeError};
use sys::process::{self, Launch};

/// A process that was busy this long is replaced: well before its processor time is used up by honest work.
const BUSY: Duration = Duration::from_secs(CPU_SECONDS / 2);
/// How long a process may take to shut itself in.
const START: Duration = Duration::from_secs(20);
/// How long decoding one object may take.
const DECODE: Duration = Duration::from_secs(60);
/// How long looking may take: a dying disk retries for long, and a look reads many places.
const LOOK: Duration = Duration::from_secs(300);
/// How long reading all the allocation maps of a volume may take: a 20 TB disk has 5 GB of them.
const COVERAGE: Duration = Duration::from_secs(1800);
/// How often a parser may read a saved volume for one answer, and how much of a small one at least.
const AGAIN: u64 = 2;
const ALWAYS: u64 = 64 << 20;

/// What is handed over while a question is answered: volumes and disks whose bytes may be asked for, and whether it is to go on.
#[derive(Clone, Copy)]
struct Handed<'a> {
    volumes: &'a [&'a dyn ReadAt],
    disks: &'a [DiskSource],
    sealed: &'a [(Place, Arc<dyn ReadAt>)],
    going: &'a dyn Fn() -> bool,
}

const NOTHING: Handed<'static> = Handed { volumes: &[], disks: &[], sealed: &[], going: &|| true };

impl<'a> Handed<'a> {
    /// The sizes of all of it, in bytes.
    fn sizes(&self) -> impl Iterator<Item = u64> {
        let sealed = self.sealed.iter().map(|(_, bytes)| bytes.size().0);
        self.volumes.iter().map(|v| v.size().0).chain(self.disks.iter().map(|d| d.bytes.size().0)).chain(sealed)
    }

    fn bytes(&self, of: &Of) -> Option<&'a dyn ReadAt> {
        match of {
            Of::Volume(nth) => self.volumes.get(usize::from(*nth)).copied(),
            Of::Disk(no) => self.disks.iter().find(|d| d.no == *no).map(|d| &*d.bytes as &dyn ReadAt),
            Of::Sealed(place) => self.sealed.iter().find(|(p, _)| p == place).map(|(_, bytes)| &**bytes as &dyn ReadAt),
        }
    }
}

/// One volume, to the end.
fn one<'a>(volume: &'a [&'a dyn ReadAt]) -> Handed<'a> {
    Handed { volumes: volume, ..NOTHING }
}

/// Most processes that decode: beyond, a store's disk is what is waited for.
const MOST_DECODERS: usize = 4;
/// How long a process that was told to end may take before it is killed.
const END: Duration = Duration::from_secs(1);

/// A parser in sandboxed processes of our own executable, started as `holdfast parser`: one that looks at the disks, one that
/// looks at saved file systems, and some that decode what comes from a store; only the first has a descriptor of a disk. So a
/// question about a disk or a saved file system may need the store while it is answered, and what a store holds gets no nearer
/// to the target. A process that dies or takes too long costs the answer it was asked for; the next question starts another.
pub struct Child {
    looking: Role,
    /// Started when it is first asked.
    browsing: Role,
    decoding: Vec<Role>,
    /// Which of those is waited for next where none is idle.
    turn: AtomicUsize,
    /// The disks of whoever asks, for what lies encrypted on them.
    given: Mutex<Option<Arc<dyn Devices>>>,
}

/// One of the processes, whether it runs or not.
#[derive(Default)]
struct Role {
    disks: Vec<Known>,
    descriptors: Vec<OwnedFd>,
    /// Disks without a descriptor, whose bytes it asks for.
    handed: Vec<DiskSource>,
    line: Mutex<Option<Line>>,
}

/// A running process and the way to it.
struct Line {
    process: process::Child,
    socket: UnixStream,
    busy: Duration,
}

impl Child {
    /// A parser for these disks; its process is started to see that it can be.
    ///
    /// # Errors
    /// [`Failure`] where no process can be started.
    pub fn start(opened: &Opened) -> Result<Self, Failure> {
        let failed = |what: &str, e: io::Error| {
            let advice = "nothing was read or written; report this with the kernel's version";
            Failure::new(ExitCode::Failed, format!("{what}: {e}"), advice)
        };
        let copies = opened.descriptors.iter().map(OwnedFd::try_clone).collect::<io::Result<Vec<_>>>();
        let descriptors = copies.map_err(|e| failed("no more descriptors can be had", e))?;
        let known = opened
            .devices
            .disks()
            .into_iter()
            .map(|d| Known { no: d.no, hardware: d.hardware, handed: false })
            .collect();
        let parser = Self::new(Role::new(known, descriptors, Vec::new()));
        // Without disks there is a store to be read, and nothing to look at.
        let first = parser.decoding.first().filter(|_| parser.looking.disks.is_empty()).unwrap_or(&parser.looking);
        let line = first.launch().map_err(|e| failed("the parser cannot be started", e))?;
        *first.lock() = Some(line);
        Ok(parser)
    }

    /// One whose processes are started when they are first asked.
    fn new(looking: Role) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let decoding = (0..cores.min(MOST_DECODERS)).map(|_| Role::default()).collect();
        let (browsing, turn, given) = (Role::default(), AtomicUsize::new(0), Mutex::default());
        Self { looking, browsing, decoding, turn, given }
    }

    /// A process to decode with: an idle one that runs, an idle one, or the one whose turn it is.
    fn decoder(&self) -> &Role {
        let idle = |runs: bool| {
            let is = |r: &&Role| r.line.try_lock().is_ok_and(|line| line.is_some() || !runs);
            self.decoding.iter().find(is)
        };
        let turn = || &self.decoding[self.turn.fetch_add(1, Ordering::Relaxed) % self.decoding.len()];
        idle(true).or_else(|| idle(false)).unwrap_or_else(turn)
    }

    /// Asks the process that looks. What lies encrypted beneath the volumes of the question may be asked for in clear.
    fn ask(&self, request: &Request, most: Duration, handed: Handed<'_>) -> Result<(Answer, Vec<u8>), ParserError> {
        let about = request.sealed();
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let disks = given.filter(|_| !about.is_empty()).map_or_else(Vec::new, |d| d.disks());
        let shown = |b: &&Beneath| Some((Place::of(b)?, disk::volume::bytes_beneath(&disks, b)?));
        let sealed: Vec<_> = about.iter().filter_map(shown).collect();
        self.looking.ask(request, &[], most, Handed { sealed: &sealed, ..handed })
    }

    /// Asks something that is answered without plain bytes.
    fn look(&self, request: &Request) -> Result<Answer, ParserError> {
        match self.ask(request, LOOK, NOTHING)? {
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            (answer, _) => Ok(answer),
        }
    }

    fn decode(&self, request: &Request, bytes: &[u8]) -> Result<(Answer, Vec<u8>), DecodeError> {
        if bytes.len() > MOST_BULK {
            return Err(DecodeError::bad(format!("{} bytes; the most is {MOST_BULK}", bytes.len())));
        }
        match self.decoder().ask(request, bytes, DECODE, NOTHING) {
            Ok((Answer::Undecodable { error }, _)) => Err(error),
            Ok((Answer::Failed { why }, _)) => Err(DecodeError::Bad { why }),
            Ok(answered) => Ok(answered),
            Err(e) => Err(DecodeError::Unavailable { why: e.why }),
        }
    }

    /// The id of the process that looks, where it runs now: for tests that end it.
    pub fn process_id(&self) -> Option<u32> {
        self.looking.lock().as_ref().map(|l| l.process.id())
    }
}

impl Role {
    fn new(disks: Vec<Known>, descriptors: Vec<OwnedFd>, handed: Vec<DiskSource>) -> Self {
        Self { disks, descriptors, handed, line: Mutex::new(None) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn launch(&self) -> io::Result<Line> {
        let (socket, theirs) = UnixStream::pair()?;
        // Ctrl-C is for whoever runs a job, who still needs answers to stop it in order. A parser ends with its socket.
        let mut launch = Launch::own().arg("parser")?.apart().inherit(theirs.into());
        for fd in &self.descriptors {
            launch = launch.inherit(fd.try_clone()?);
        }
        let mut line = Line { process: launch.spawn()?, socket, busy: Duration::ZERO };
        let hello = Request::Hello { disks: self.disks.clone() };
        match line.ask(&hello, &[], START, NOTHING) {
            Ok((Answer::Ready, _)) => Ok(line),
            Ok(_) => Err(io::Error::other("it said something else first")),
            Err(e) => Err(io::Error::other(line.end(&e))),
        }
    }

    /// Asks, starting a process where none runs. It may ask back for bytes of what is handed over.
    fn ask(
        &self,
        request: &Request,
        bulk: &[u8],
        most: Duration,
        handed: Handed<'_>,
    ) -> Result<(Answer, Vec<u8>), ParserError> {
        let mut slot = self.lock();
        let mut line = match slot.take().filter(|l| l.busy < BUSY) {
            Some(line) => line,
            None => self.launch().map_err(|e| ParserError::new(format!("the parser cannot be started: {e}")))?,
        };
        let began = Instant::now();
        match line.ask(request, bulk, most, Handed { disks: &self.handed, ..handed }) {
            Ok(answered) => {
                line.busy += began.elapsed();
                *slot = Some(line);
                Ok(answered)
            }
            Err(e) => Err(ParserError::new(line.end(&e))),
        }
    }

    /// Ends the process: the next one has nothing in memory.
    fn end(&self) {
        let Some(Line { mut process, socket, .. }) = self.lock().take() else { return };
        drop(socket);
        if !matches!(process.wait_for(END), Ok(Some(_))) {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.end();
    }
}

impl Line {
    fn ask(
        &mut self,
        request: &Request,
        bulk: &[u8],
        most: Duration,
        handed: Handed<'_>,
    ) -> io::Result<(Answer, Vec<u8>)> {
        self.socket.set_read_timeout(Some(most))?;
        self.socket.set_write_timeout(Some(most))?;
        self.send(request, bulk)?;
        // An honest parser reads part of a saved volume, some of it again.
        let sizes = handed.sizes();
        let mut left = sizes.map(|size| size.saturating_mul(AGAIN).saturating_add(ALWAYS)).fold(0, u64::saturating_add);
        loop {
            let answer = frame::receive_json(&mut self.socket, MOST_JSON)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let bytes = frame::receive(&mut self.socket, MOST_BULK)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let Answer::Wanted { of, at, len } = &answer else { return Ok((answer, bytes)) };
            let Some(from) = handed.bytes(of) else { return Ok((answer, bytes)) };
            if !(handed.going)() {
                return Err(io::Error::other("it was stopped"));
            }
            let wanted = usize::try_from(*len).ok().filter(|l| (1..=MOST_PIECE).contains(l));
            let affordable = left.checked_sub(u64::from(*len));
            let (Some(wanted), Some(after)) = (wanted, affordable) else {
                return Err(io::Error::other("it wants more of a saved volume than there is"));
            };
            left = after;
            self.send(&Request::Bytes, &from.read_vec(*at, wanted).unwrap_or_default())?;
        }
    }

    fn send(&mut self, request: &Request, bulk: &[u8]) -> io::Result<()> {
        frame::send_json(&mut self.socket, request, MOST_JSON)?;
        frame::send(&mut self.socket, bulk, MOST_BULK)
    }

    /// Ends the process after a failure and says what became of it.
    fn end(mut self, failure: &io::Error) -> String {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
        let late = matches!(failure.kind(), WouldBlock | TimedOut);
        // A process that closed its end died, or is about to: it is waited for, so that its own end is told and not ours. Any other
        // is still at work, and whoever stopped it need not wait.
        let gone = matches!(failure.kind(), BrokenPipe | ConnectionReset | UnexpectedEof);
        if gone && let Ok(Some(status)) = self.process.wait_for(END) {
            return format!("the parser {}", process::describe(status));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        match late {
            true => "the parser took too long and was ended".to_owned(),
            false => format!("the parser could not be understood and was ended: {failure}"),
        }
    }
}

fn other<T>() -> Result<T, ParserError> {
    Err(ParserError::new("the parser answered something else"))
}

fn undecoded<T>() -> Result<T, DecodeError> {
    Err(DecodeError::bad("the parser answered something else"))
}

impl Parser for Child {
    fn table(&self, disk: DiskNo) -> Result<TableReading, ParserError> {
        let size = self.looking.disks.iter().find(|d| d.no == disk).map_or(0, |d| d.hardware.size.0);
        match self.look(&Request::Table { disk })? {
            Answer::Table(reading) => checked::table(reading.into(), disk, size),
            _ => other(),
        }
    }

    fn content(&self, volume: &VolumePath, extent: Extent) -> Result<(Content, Vec<Finding>), ParserError> {
        match self.look(&Request::Content { volume: volume.clone(), extent })? {
            Answer::Content { content, findings } => checked::content(content, findings, volume),
            _ => other(),
        }
    }

    fn luks(&self, volume: &Volume) -> Result<LuksHeader, ParserError> {
        match self.look(&Request::Luks { volume: volume.clone() })? {
            Answer::Luks { header } => checked::luks(*header, volume.extent.len()),
            _ => other(),
        }
    }

    fn saved_luks(&self, saved: Arc<dyn ReadAt>) -> Result<LuksHeader, ParserError> {
        match self.browsing.ask(&Request::SavedLuks { size: saved.size() }, &[], LOOK, one(&[&*saved]))? {
            (Answer::Luks { header }, _) => checked::luks(*header, saved.size()),
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn given(&self, devices: Arc<dyn Devices>) {
        *self.given.lock().unwrap_or_else(PoisonError::into_inner) = Some(devices);
    }

    fn layers(&self, inspection: &Inspection) -> Result<Layers, ParserError> {
        match self.look(&Request::Layers { inspection: inspection.clone() })? {
            Answer::Layers { layers } => checked::layers(layers, inspection),
            _ => other(),
        }
    }

    fn mapped_content(&self, volume: &Volume) -> Result<(Content, Vec<Finding>), ParserError> {
        match self.look(&Request::MappedContent { volume: volume.clone() })? {
            Answer::Content { content, findings } => checked::content(content, findings, &volume.path),
            _ => other(),
        }
    }

    fn systems(&self, inspection: &Inspection) -> Result<(Vec<System>, Vec<Finding>), ParserError> {
        match self.look(&Request::Systems { inspection: inspection.clone() })? {
            Answer::Systems { systems, findings } => checked::systems(systems, findings, inspection),
            _ => other(),
        }
    }

    fn evidence(&self, scene: &Scene, want: usize) -> Result<Vec<Evidence>, ParserError> {
        match self.look(&Request::Evidence { scene: scene.clone(), want })? {
            Answer::Evidence { evidence } => checked::evidence(evidence, scene),
            _ => other(),
        }
    }

    fn boot(&self, inspection: &Inspection, system: &System) -> Result<BootChain, ParserError> {
        match self.look(&Request::Boot { inspection: inspection.clone(), system: system.clone() })? {
            Answer::Boot { chain } => checked::boot(chain, inspection, system),
            _ => other(),
        }
    }

    fn boot_repairs(&self, inspection: &Inspection) -> Result<BootRepairs, ParserError> {
        let request = Request::BootRepairs { inspection: inspection.clone() };
        match self.ask(&request, LOOK, NOTHING)? {
            (Answer::BootRepairs { repairs, lengths }, bytes) => match give_patches(repairs, &lengths, &bytes) {
                Some(repairs) => checked::boot_repairs(repairs, inspection),
                None => other(),
            },
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn coverage(&self, volume: &Volume) -> Result<Coverage, ParserError> {
        match self.ask(&Request::Coverage { volume: volume.clone() }, COVERAGE, NOTHING)? {
            (Answer::Coverage { method, why, state }, bytes) => match decode_ranges(&bytes) {
                Some(used) => checked::coverage(Coverage { method, why, used, state }, volume),
                None => other(),
            },
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn cuts(&self, volume: &Volume) -> Cuts {
        let len = volume.extent.len();
        let told = match self.ask(&Request::Cuts { volume: volume.clone() }, COVERAGE, NOTHING) {
            Ok((Answer::Cuts, bytes)) => Cuts::from_bytes(len, &bytes),
            _ => None,
        };
        told.unwrap_or_else(|| Cuts::grid(len))
    }

    fn changes(&self, volume: &Volume, before: Arc<dyn ReadAt>) -> Result<Changes, ParserError> {
        let request = Request::Changes { volume: volume.clone(), size: before.size() };
        match self.ask(&request, COVERAGE, one(&[&*before]))? {
            (Answer::Changes { comparison, why }, bytes) => match decode_ranges(&bytes) {
                Some(same) => checked::changes(Changes { comparison, why, same }, volume),
                None => other(),
            },
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn policy(&self, text: &[u8]) -> Result<Result<Policy, PolicyError>, ParserError> {
        // Not by a process that has a disk.
        match self.decoder().ask(&Request::Policy, text, DECODE, NOTHING)? {
            (Answer::Policy { read: Ok(policy) }, _) => checked::policy(*policy).map(Ok),
            (Answer::Policy { read: Err(e) }, _) => checked::policy_error(e).map(Err),
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn load_options(&self, entries: &[Value]) -> Result<Vec<ReadOption>, ParserError> {
        // Not by a process that has a disk.
        match self.decoder().ask(&Request::LoadOptions { entries: entries.to_vec() }, &[], DECODE, NOTHING)? {
            (Answer::LoadOptions { options }, _) => checked::load_options(options, entries.len()),
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn losses(&self, content: &Content, saved: Arc<dyn ReadAt>, lost: &ExtentSet) -> Result<LostFiles, ParserError> {
        let request = Request::Losses { content: content.clone(), size: saved.size() };
        match self.browsing.ask(&request, &encode_ranges(lost), COVERAGE, one(&[&*saved]))? {
            (Answer::Losses { files }, _) => checked::losses(files, lost),
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn fit_table(&self, saved: Arc<dyn ReadAt>, wanted: &FitTable) -> Result<FittedTable, ParserError> {
        let request = Request::FitTable { size: saved.size(), wanted: wanted.clone() };
        match self.browsing.ask(&request, &[], LOOK, one(&[&*saved]))? {
            (Answer::Fitted { table }, _) => checked::fitted(*table, wanted),
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn files(&self, saved: &SavedFs, ask: &AboutFiles) -> Result<OfFiles, ParserError> {
        let (content, size) = (saved.content.clone(), saved.bytes.size());
        let request = Request::Files { map: saved.map, content, size, about: ask.clone() };
        match self.browsing.ask(&request, &[], LOOK, one(&[&*saved.bytes]))? {
            (Answer::Files { told }, _) => checked::files(told, ask, size),
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn differences(
        &self,
        before: &State,
        after: &State,
        asked: &Asked,
        going: &dyn Fn() -> bool,
    ) -> Result<FsDifferences, ParserError> {
        let of = |state: &State| (state.content.clone(), state.bytes.size());
        let request = Request::Differences { before: of(before), after: of(after), asked: asked.clone() };
        let handed = Handed { volumes: &[&*before.bytes, &*after.bytes], going, ..NOTHING };
        let answered = self.browsing.ask(&request, &[], COVERAGE, handed);
        match answered {
            Err(_) if !going() => Err(ParserError::new("it was stopped")),
            Err(e) => Err(e),
            Ok((Answer::Differences { found }, _)) => checked::differences(*found, asked),
            Ok((Answer::Failed { why }, _)) => Err(ParserError { why }),
            Ok(_) => other(),
        }
    }

    fn esp(&self, then: &State, now: &State, tenancy: &Tenancy) -> Result<EspReading, ParserError> {
        let of = |state: &State| (state.content.clone(), state.bytes.size());
        let request = Request::Esp { then: of(then), now: of(now), tenancy: tenancy.clone() };
        let handed = Handed { volumes: &[&*then.bytes, &*now.bytes], ..NOTHING };
        match self.browsing.ask(&request, &[], COVERAGE, handed)? {
            (Answer::Esp { stays, copies, patches, cannot }, bytes) => {
                let graft = match (cannot, give_graft(copies, &patches, &bytes)) {
                    (Some(why), _) => Err(why),
                    (None, Some(graft)) => Ok(graft),
                    (None, None) => return other(),
                };
                checked::esp(EspReading { stays, graft }, then.bytes.size(), now.bytes.size())
            }
            (Answer::Failed { why }, _) => Err(ParserError { why }),
            _ => other(),
        }
    }

    fn forget(&self) {
        self.looking.end();
    }

    fn over(&self, disks: Vec<DiskSource>) -> Result<Box<dyn Parser>, ParserError> {
        let known = disks.iter().map(|d| Known { no: d.no, hardware: d.hardware.clone(), handed: true }).collect();
        Ok(Box::new(Self::new(Role::new(known, Vec::new(), disks))))
    }
}

impl Decode for Child {
    fn statement(&self, bytes: &[u8]) -> Result<Statement, DecodeError> {
        match self.decode(&Request::Statement, bytes)? {
            (Answer::Statement { statement }, _) => Ok(*statement),
            _ => undecoded(),
        }
    }

    fn note(&self, bytes: &[u8]) -> Result<Note, DecodeError> {
        match self.decode(&Request::Note, bytes)? {
            (Answer::Note { note }, _) => Ok(note),
            _ => undecoded(),
        }
    }

    fn inventory_entry(&self, bytes: &[u8]) -> Result<InventoryEntry, DecodeError> {
        match self.decode(&Request::InventoryEntry, bytes)? {
            (Answer::InventoryEntry { entry }, _) => Ok(*entry),
            _ => undecoded(),
        }
    }

    fn intent(&self, bytes: &[u8]) -> Result<Intent, DecodeError> {
        match self.decode(&Request::Intent, bytes)? {
            (Answer::Intent { intent }, _) => Ok(*intent),
            _ => undecoded(),
        }
    }

    fn receipt(&self, bytes: &[u8]) -> Result<Receipt, DecodeError> {
        match self.decode(&Request::Receipt, bytes)? {
            (Answer::Receipt { receipt }, _) => Ok(receipt),
            _ => undecoded(),
        }
    }

    fn frame(&self, stored: &[u8], plain_len: u32) -> Result<Vec<u8>, DecodeError> {
        match self.decode(&Request::Frame { plain: plain_len }, stored)? {
            (Answer::Frame, bytes) if bytes.len() as u64 == u64::from(plain_len) => Ok(bytes),
            _ => undecoded(),
        }
    }
}
