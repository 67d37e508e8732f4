//! Making a store, on a place that was probed first where that was asked for.

use crate::jobs::{Done, Jobs};
use crate::run::{Meter, Stop};
use crate::worker::Desk;
use model::command::ExitCode;
use model::ports::{Entropy, ObjectError, ObjectName, ObjectStore};
use model::text::DisplayText;
use model::units::ByteLen;
use model::upkeep::{Kept, Made, ProbeSize};
use store::{InitOptions, Probed, Store, StoreError, SystemEntropy};

pub(super) fn make(jobs: &Jobs, probe: Option<ProbeSize>, desk: &Desk) -> Done<Kept> {
    let place = jobs.config.place()?;
    let objects = place.objects(true)?;
    // A place that holds a store is not filled.
    let format = ObjectName::new("format").expect("one lower-case word");
    match objects.len(&format) {
        Err(ObjectError::Missing(_)) => {}
        Err(e) => return Err(StoreError::from(e).into()),
        Ok(_) => return Err(StoreError::Exists { what: DisplayText::new("a store") }.into()),
    }
    let probed = probe.map(|size| probed(jobs, &*objects, size, desk)).transpose()?;
    let key = place.access().new_key.map(|key| (key, "first".to_owned()));
    let encrypted = key.is_some();
    let store = Store::init_with(objects, InitOptions { key, ..InitOptions::default() })?;
    Ok(Kept::Made(Made { id: store.id().to_owned(), encrypted, probed }))
}

fn probed(jobs: &Jobs, objects: &dyn ObjectStore, size: ProbeSize, desk: &Desk) -> Done<ByteLen> {
    let most = match size {
        ProbeSize::All => None,
        ProbeSize::AtMost(most) => Some(most),
    };
    let mut nonce = [0; 8];
    SystemEntropy.fill(&mut nonce).map_err(|e| {
        let says = format!("there are no random bytes to probe with: {e}");
        Stop::failed(ExitCode::Failed, says, "nothing was written; run this again")
    })?;
    let mut meter = Meter::start(desk, &*jobs.config.clock, "probing the place", (1, 1), ByteLen::ZERO, false);
    let found = store::probe(objects, most, u64::from_le_bytes(nonce), &mut |done, total| meter.reach(done, total))?;
    match found {
        Probed::Keeps { written } if written == ByteLen::ZERO => {
            let says = "there is no room to probe: not even 16 MiB could be written";
            Err(Stop::failed(ExitCode::Failed, says, "make room, or use another place; no store was made"))
        }
        Probed::Keeps { written } => Ok(written),
        Probed::Loses { kept, written, first } => {
            let says = format!("this place loses data: of {written} written, {kept} came back; {first}");
            let advice =
                "do not keep anything on this medium: it may be worn out, or smaller than it says; no store was made";
            Err(Stop::failed(ExitCode::Damage, says, advice))
        }
        Probed::Stopped => {
            Err(Stop::Cancelled("the probe was stopped and its files were deleted; no store was made".into()))
        }
    }
}
