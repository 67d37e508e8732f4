//! An EFI system partition as it was saved, with what others have on it as that is now. No kernel mounts it: what is copied and what is
//! written is worked out in the parser role (`disk::fs::fat`), and put down beside the saved state.

use super::{Order, refused, told};
use crate::parser::{ParserError, State};
use crate::run::overlay::{Overlay, Room};
use crate::run::saved::Saved;
use crate::run::saved_disk::Trouble;
use crate::run::target::go_on;
use crate::run::{Context, Meter, Stop};
use model::command::ExitCode;
use model::esp::{CopiedBytes, EspReading, Tenancy};
use model::id::VolumePath;
use model::ports::{ReadAt, ReadError};
use model::snapshot::SavedVolume;
use model::units::{ByteLen, ByteOffset};
use std::sync::Arc;

/// How much is copied at a time.
const PIECE: u64 = 1 << 20;

/// A partition that is composed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Esp {
    /// As the base calls it.
    pub(crate) to: VolumePath,
    /// As the source, which has the present state, calls it.
    pub(crate) from: VolumePath,
    /// Who has files on it.
    pub(crate) tenancy: Tenancy,
}

/// Puts what stays into the saved partition.
pub(super) fn fill(
    cx: &Context<'_>,
    (order, esp): (&Order<'_>, &Esp),
    saved: &SavedVolume,
    overlay: &Arc<Overlay>,
    (trouble, room): (&Trouble, &Room),
) -> Result<(), Stop> {
    let absent = || refused(format!("{} is not in the snapshot that was just taken", esp.from));
    let present = order.source.1.volumes.iter().find(|v| v.path == esp.from).ok_or_else(absent)?;
    let bytes: Arc<dyn ReadAt> = Arc::new(Saved::new(cx.store.clone(), present.map, present.extent.len()));
    let now = State { content: present.content.clone(), bytes };
    let then = State { content: saved.content.clone(), bytes: overlay.view() };
    let phase = format!("composing {}", esp.from);
    let mut meter = Meter::start(cx.observer, cx.clock, phase, order.steps, ByteLen::ZERO, false);
    let failed = |why: &str| {
        let says = format!("what others have on {} cannot be kept as it is now: {why}", esp.from);
        Stop::failed(ExitCode::Failed, says, ADVICE)
    };
    let read = |then: &State| -> Result<EspReading, Stop> {
        let asked = cx.parser.esp(then, &now, &esp.tenancy);
        told(order.base.0, trouble, room)?;
        asked.map_err(|e: ParserError| failed(e.why.as_str()))
    };
    let graft = read(&then)?.graft.map_err(|why| failed(why.as_str()))?;
    for copied in &graft.copies {
        copy(cx, (&*now.bytes, &**overlay), *copied, &mut meter).map_err(|stop| match stop {
            Copying::Stopped(stop) => stop,
            Copying::Failed(why) => failed(&why),
        })?;
    }
    for (at, bytes) in &graft.patches {
        overlay.write(*at, bytes).map_err(|e| failed(&e.to_string()))?;
    }
    told(order.base.0, trouble, room)?;
    // What is there now is what was meant, by the same reading.
    let composed = State { content: saved.content.clone(), bytes: overlay.view() };
    match read(&composed)?.stays.iter().find(|part| part.differs) {
        Some(part) => Err(failed(&format!("{} is not the same in what was composed", part.shown()))),
        None => Ok(()),
    }
}

const ADVICE: &str = "name the volumes that go back without that one (`--only`) to leave it as it is - its boot loader or kernels may \
                      not fit then; named alone, it goes back as one";

enum Copying {
    Stopped(Stop),
    Failed(String),
}

fn copy(
    cx: &Context<'_>,
    (from, to): (&dyn ReadAt, &Overlay),
    CopiedBytes { from: source, to: target, len }: CopiedBytes,
    meter: &mut Meter<'_>,
) -> Result<(), Copying> {
    let unread = |e: ReadError| Copying::Failed(e.to_string());
    let mut at = 0;
    while at < len.0 {
        go_on(cx).map_err(Copying::Stopped)?;
        let piece = ByteLen((len.0 - at).min(PIECE));
        let size = piece.to_usize().unwrap_or(0);
        let bytes = from.read_vec(ByteOffset(source.0 + at), size).map_err(unread)?;
        // What is there already is not written: it is taken over from the map below.
        if to.read_vec(ByteOffset(target.0 + at), size).map_err(unread)? != bytes {
            to.write(ByteOffset(target.0 + at), &bytes).map_err(|e| Copying::Failed(e.to_string()))?;
        }
        meter.add(piece.0);
        at += piece.0;
    }
    Ok(())
}
