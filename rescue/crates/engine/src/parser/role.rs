//! The parser role: a process that answers on the socket it was started with, and can do nothing else.

use super::desk::Desk;
use super::handed::Handed;
use super::wire::{
    Answer, Known, MOST_BULK, MOST_JSON, Place, Request, decode_ranges, encode_ranges, take_graft, take_patches,
};
use super::{ParserError, checked, desk};
use crate::frame;
use model::coverage::{Changes, Coverage};
use model::esp::EspReading;
use model::mapping::Beneath;
use model::policy::Policy;
use model::ports::{Clear, DiskSource, ReadAt};
use model::units::ByteLen;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use store::{Decode, DecodeError, LocalDecoder};
use sys::device::DiskBytes;
use sys::process::{FIRST_INHERITED, take_inherited};
use sys::sandbox::{Limits, enter};

/// Address space of the role: far above what any honest disk needs, far below what would hurt the engine.
const MEMORY: ByteLen = ByteLen(1 << 30);
/// Processor time of one process of the role. The engine starts a new one long before (`child::BUSY`).
pub(super) const CPU_SECONDS: u64 = 3600;

/// The main loop of the parser role: answers on the socket it was started with (descriptor 3, the disks from 4 on) until that
/// closes. Returns the exit code of the process.
pub fn serve() -> u8 {
    match answer_all() {
        Ok(()) => 0,
        Err(e) => {
            eprintln!("holdfast parser: {e}");
            1
        }
    }
}

fn answer_all() -> io::Result<()> {
    let mut socket = UnixStream::from(take_inherited(FIRST_INHERITED)?);
    let Some((Request::Hello { disks }, _)) = next(&mut socket)? else {
        return Err(io::Error::other("the first message must tell the disks"));
    };
    // For what is asked back while a question is answered.
    let asking = Arc::new(Mutex::new(socket.try_clone()?));
    let desk = Desk::new(sources(&disks, &asking)?);
    let sizes: Vec<_> = disks.iter().map(|d| (d.no, d.hardware.size.0)).collect();
    // From here on nothing can be opened, and the first hostile byte is still unread.
    enter(Limits { memory: MEMORY, cpu_seconds: CPU_SECONDS })?;
    send(&mut socket, &Answer::Ready, &[])?;
    while let Some((request, bulk)) = next(&mut socket)? {
        let (answer, bytes) = match catch_unwind(AssertUnwindSafe(|| answer(&desk, &sizes, &request, &bulk, &asking))) {
            Ok(answered) => answered,
            Err(panic) => (Answer::Failed { why: said(&*panic).as_str().into() }, Vec::new()),
        };
        send(&mut socket, &answer, &bytes)?;
    }
    Ok(())
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("the parser stumbled over it: {}", text.unwrap_or("no word of why"))
}

/// What lies encrypted is asked for in clear.
struct Asking(Arc<Mutex<UnixStream>>);

impl Clear for Asking {
    fn view(&self, beneath: &Beneath, raw: Arc<dyn ReadAt>) -> Option<Arc<dyn ReadAt>> {
        Some(Handed::of_sealed(self.0.clone(), raw.size(), Place::of(beneath)?).ahead())
    }
}

/// The disks: those that were inherited, and those whose bytes are handed over.
fn sources(disks: &[Known], asking: &Arc<Mutex<UnixStream>>) -> io::Result<Vec<DiskSource>> {
    let mut next = FIRST_INHERITED + 1;
    let source = |known: &Known| {
        let bytes: Arc<dyn ReadAt> = if known.handed {
            Handed::of_disk(asking.clone(), known.hardware.size, known.no).ahead()
        } else {
            let fd: OwnedFd = take_inherited(next)?;
            next += 1;
            Arc::new(DiskBytes::from_descriptor(fd)?)
        };
        let clear: Arc<dyn Clear> = Arc::new(Asking(asking.clone()));
        Ok(DiskSource { no: known.no, hardware: known.hardware.clone(), bytes, clear: Some(clear) })
    };
    disks.iter().map(source).collect()
}

pub(super) fn next(socket: &mut UnixStream) -> io::Result<Option<(Request, Vec<u8>)>> {
    let Some(request) = frame::receive_json(socket, MOST_JSON)? else { return Ok(None) };
    match frame::receive(socket, MOST_BULK)? {
        Some(bulk) => Ok(Some((request, bulk))),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

pub(super) fn send(socket: &mut UnixStream, answer: &Answer, bytes: &[u8]) -> io::Result<()> {
    frame::send_json(socket, answer, MOST_JSON)?;
    frame::send(socket, bytes, MOST_BULK)
}

pub(super) fn answer(
    desk: &Desk,
    sizes: &[(model::id::DiskNo, u64)],
    request: &Request,
    bulk: &[u8],
    asking: &Arc<Mutex<UnixStream>>,
) -> (Answer, Vec<u8>) {
    let plain = |answer| (answer, Vec::new());
    let or_failed = |r: Result<Answer, ParserError>| plain(r.unwrap_or_else(|e| Answer::Failed { why: e.why }));
    let decoded = |r: Result<Answer, DecodeError>| plain(r.unwrap_or_else(|error| Answer::Undecodable { error }));
    match request {
        Request::Hello { .. } => plain(Answer::Failed { why: "the disks were told already".into() }),
        Request::Table { disk } => {
            let size = sizes.iter().find(|(no, _)| no == disk).map_or(0, |(_, size)| *size);
            or_failed(desk.table(*disk).and_then(|r| checked::table(r, *disk, size)).map(|r| Answer::Table(r.into())))
        }
        Request::Content { volume, extent } => {
            let content = desk.content(volume, *extent);
            or_failed(content.map(|(content, findings)| Answer::Content { content, findings }))
        }
        Request::Luks { volume } => or_failed(desk.luks(volume).map(|h| Answer::Luks { header: Box::new(h) })),
        Request::SavedLuks { size } => {
            let saved = Handed::new(asking.clone(), *size).ahead();
            or_failed(desk::saved_luks(&*saved).map(|h| Answer::Luks { header: Box::new(h) }))
        }
        Request::Layers { inspection } => plain(Answer::Layers { layers: desk.layers(inspection) }),
        Request::MappedContent { volume } => {
            let content = desk.mapped_content(volume);
            or_failed(content.map(|(content, findings)| Answer::Content { content, findings }))
        }
        Request::Systems { inspection } => {
            let (systems, findings) = desk.systems(inspection);
            plain(Answer::Systems { systems, findings })
        }
        Request::Evidence { scene, want } => {
            or_failed(desk.evidence(scene, *want).map(|evidence| Answer::Evidence { evidence }))
        }
        Request::Boot { inspection, system } => plain(Answer::Boot { chain: desk.boot(inspection, system) }),
        Request::BootRepairs { inspection } => {
            let mut repairs = desk.boot_repairs(inspection);
            let (lengths, bytes) = take_patches(&mut repairs);
            match bytes.len() <= MOST_BULK {
                true => (Answer::BootRepairs { repairs, lengths }, bytes),
                false => plain(Answer::Failed { why: format!("{} bytes would change", bytes.len()).as_str().into() }),
            }
        }
        Request::Coverage { volume } => match desk.coverage(volume) {
            Ok(coverage) => {
                let ranges = encode_ranges(&coverage.used);
                if ranges.len() > MOST_BULK {
                    let why = format!("its used bytes lie in {} pieces, more than can be told", coverage.used.ranges());
                    return plain(Answer::Failed { why: why.as_str().into() });
                }
                let Coverage { method, why, state, .. } = coverage;
                (Answer::Coverage { method, why, state }, ranges)
            }
            Err(e) => plain(Answer::Failed { why: e.why }),
        },
        Request::Cuts { volume } => match desk.cuts(volume).map(|cuts| cuts.to_bytes()) {
            Ok(bytes) if bytes.len() <= MOST_BULK => (Answer::Cuts, bytes),
            Ok(bytes) => plain(Answer::Failed { why: format!("{} bytes of cuts", bytes.len()).as_str().into() }),
            Err(e) => plain(Answer::Failed { why: e.why }),
        },
        Request::Changes { volume, size } => match desk.changes(volume, Arc::new(Handed::new(asking.clone(), *size))) {
            Ok(changes) => {
                let Changes { comparison, why, same } = changes;
                let ranges = encode_ranges(&same);
                if ranges.len() > MOST_BULK {
                    let why = format!("what is unchanged lies in {} pieces, more than can be told", same.ranges());
                    return plain(Answer::Failed { why: why.as_str().into() });
                }
                (Answer::Changes { comparison, why }, ranges)
            }
            Err(e) => plain(Answer::Failed { why: e.why }),
        },
        Request::Losses { content, size } => {
            let Some(lost) = decode_ranges(bulk) else {
                return plain(Answer::Failed { why: "the ranges make no sense".into() });
            };
            or_failed(
                desk::losses(content, Handed::new(asking.clone(), *size).ahead(), &lost)
                    .map(|files| Answer::Losses { files }),
            )
        }
        Request::Files { map, content, size, about } => {
            let bytes = || Handed::new(asking.clone(), *size).ahead();
            or_failed(desk.files(*map, content, bytes, about).map(|told| Answer::Files { told }))
        }
        Request::LoadOptions { entries } => plain(Answer::LoadOptions { options: super::load_options(entries) }),
        Request::FitTable { size, wanted } => {
            let saved = Handed::new(asking.clone(), *size).ahead();
            or_failed(desk::fit_table(&*saved, wanted).map(|t| Answer::Fitted { table: Box::new(t) }))
        }
        Request::Differences { before, after, asked } => {
            let bytes = |size: ByteLen| Handed::new(asking.clone(), size);
            let found = desk::differences(
                (&before.0, bytes(before.1).ahead()),
                (&after.0, bytes(after.1).second().ahead()),
                asked,
            );
            or_failed(found.map(|found| Answer::Differences { found: Box::new(found) }))
        }
        Request::Esp { then, now, tenancy } => {
            let bytes = |size: ByteLen| Handed::new(asking.clone(), size);
            let read = desk::esp((&then.0, bytes(then.1).ahead()), (&now.0, bytes(now.1).second().ahead()), tenancy);
            let EspReading { stays, graft } = match read {
                Ok(reading) => reading,
                Err(e) => return plain(Answer::Failed { why: e.why }),
            };
            let cannot = graft.as_ref().err().cloned();
            let graft = graft.unwrap_or_default();
            let (patches, bytes) = take_graft(&graft);
            (Answer::Esp { stays, copies: graft.copies, patches, cannot }, bytes)
        }
        Request::Bytes => plain(Answer::Failed { why: "nothing was asked for".into() }),
        Request::Statement => {
            decoded(LocalDecoder.statement(bulk).map(|s| Answer::Statement { statement: Box::new(s) }))
        }
        Request::Note => decoded(LocalDecoder.note(bulk).map(|note| Answer::Note { note })),
        Request::InventoryEntry => {
            decoded(LocalDecoder.inventory_entry(bulk).map(|e| Answer::InventoryEntry { entry: Box::new(e) }))
        }
        Request::Intent => decoded(LocalDecoder.intent(bulk).map(|i| Answer::Intent { intent: Box::new(i) })),
        Request::Receipt => decoded(LocalDecoder.receipt(bulk).map(|receipt| Answer::Receipt { receipt })),
        Request::Policy => plain(Answer::Policy { read: Policy::parse(bulk).map(Box::new) }),
        Request::Frame { plain: len } => match LocalDecoder.frame(bulk, *len) {
            Ok(bytes) => (Answer::Frame, bytes),
            Err(error) => plain(Answer::Undecodable { error }),
        },
    }
}
