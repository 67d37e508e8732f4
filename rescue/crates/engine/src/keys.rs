//! The keys of encrypted volumes that somebody opened: kept by the engine alone, for as long as it runs.
//!
//! Who reads a volume gets a view of it in clear ([`model::ports::Clear`]), never a key; so does the parser, which asks for the bytes
//! (docs/decisions/0010-the-engine-has-the-key.md).

use disk::volume::luks::{self, Attempt, Key, Opened, Refused, Unsealed};
use model::id::{Digest, DiskNo, VolumePath};
use model::luks::{LuksHeader, Sealed};
use model::mapping::Beneath;
use model::ports::{
    BootVariables, Clear, Devices, DiskSource, LeaseError, LeaseRequest, ReadAt, SectorCipher, WriteLease,
};
use model::text::DisplayText;
use model::units::{ByteLen, Extent};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Secret;

/// How often it is looked whether somebody wants the stretching of a key to stop.
const GLANCE: Duration = Duration::from_millis(50);
/// What is left of the machine's memory for everything else while a key is stretched.
const SPARE: ByteLen = ByteLen(96 << 20);
/// The most memory for that, whatever the machine has: cryptsetup never asks for more.
const MOST_MEMORY: ByteLen = ByteLen(4 << 30);

/// A volume key.
struct Held {
    key: Key,
    /// What lies in the volume may be saved in clear.
    plain: bool,
}

/// All of them, by what their headers are known by.
#[derive(Default)]
pub(crate) struct Keyring {
    held: Mutex<BTreeMap<Digest, Held>>,
    /// How often something was tried that did not open a volume.
    tries: Mutex<BTreeMap<VolumePath, u32>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keyring {
    /// Keeps a key.
    pub(crate) fn keep(&self, volume: &VolumePath, header: &LuksHeader, key: Key, plain: bool) {
        lock(&self.tries).remove(volume);
        lock(&self.held).insert(header.identity(), Held { key, plain });
    }

    /// Counts a try that failed; gives how many there were of that volume.
    pub(crate) fn failed(&self, volume: &VolumePath) -> u32 {
        let mut tries = lock(&self.tries);
        let count = tries.entry(volume.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// True where whoever opened it said that it may be saved in clear.
    pub(crate) fn may_be_plain(&self, sealed: &Sealed) -> bool {
        lock(&self.held).get(&sealed.header).is_some_and(|h| h.plain)
    }
}

impl Clear for Keyring {
    fn view(&self, beneath: &Beneath, raw: Arc<dyn ReadAt>) -> Option<Arc<dyn ReadAt>> {
        let sealed = beneath.sealed.as_ref()?;
        Some(Arc::new(Unsealed::new(raw, sealed, self.cipher(sealed)?)?))
    }

    fn is_open(&self, header: &LuksHeader) -> bool {
        lock(&self.held).contains_key(&header.identity())
    }

    fn cipher(&self, sealed: &Sealed) -> Option<Arc<dyn SectorCipher>> {
        let held = lock(&self.held);
        luks::cipher(sealed, &held.get(&sealed.header)?.key)
    }
}

/// The disks, with what shows of them what was opened.
pub(crate) struct Keyed {
    devices: Arc<dyn Devices>,
    keys: Arc<Keyring>,
}

impl Keyed {
    pub(crate) fn over(devices: Arc<dyn Devices>, keys: Arc<Keyring>) -> Self {
        Self { devices, keys }
    }
}

impl Devices for Keyed {
    fn disks(&self) -> Vec<DiskSource> {
        let clear: Arc<dyn Clear> = self.keys.clone();
        self.devices.disks().into_iter().map(|d| DiskSource { clear: Some(clear.clone()), ..d }).collect()
    }

    fn lease(&self, request: &LeaseRequest) -> Result<Box<dyn WriteLease>, LeaseError> {
        self.devices.lease(request)
    }

    fn holders(&self, disk: DiskNo, extent: Extent) -> Vec<DisplayText> {
        self.devices.holders(disk, extent)
    }

    fn boot_variables(&self) -> Option<Arc<dyn BootVariables>> {
        self.devices.boot_variables()
    }

    fn are_named(&self) -> bool {
        self.devices.are_named()
    }
}

/// Looks for the volume key that a passphrase or a key file leads to. It takes seconds, on a thread of its own: where somebody wants it to
/// stop it is no longer waited for, and ends by itself.
///
/// # Errors
/// [`Refused`].
pub(crate) fn stretch(
    header: &LuksHeader,
    bytes: Arc<dyn ReadAt>,
    secret: Secret,
    going: &dyn Fn() -> bool,
    trying: &dyn Fn(u32, usize),
) -> Result<Opened, Refused> {
    let (tell, told) = std::sync::mpsc::channel();
    let (stop, header) = (Arc::new(AtomicBool::new(false)), header.clone());
    let stopped = stop.clone();
    let memory = can_be_spared();
    let work = move || {
        let next = tell.clone();
        let attempt = Attempt {
            memory,
            going: &|| !stopped.load(Ordering::Relaxed),
            trying: &|slot, of| drop(next.send(Told::Trying(slot, of))),
        };
        let opened = luks::open(&header, &*bytes, secret.bytes(), &attempt);
        // Nobody may be there any more.
        let _ = tell.send(Told::Ended(opened));
    };
    let thread = std::thread::Builder::new().name("stretching".into()).spawn(work);
    if thread.is_err() {
        return Err(Refused::Wrong(vec!["no thread can be started for it".to_owned()]));
    }
    loop {
        match told.recv_timeout(GLANCE) {
            Ok(Told::Trying(slot, of)) => trying(slot, of),
            Ok(Told::Ended(opened)) => return opened,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) if going() => {}
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                stop.store(true, Ordering::Relaxed);
                return Err(Refused::Stopped);
            }
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                return Err(Refused::Wrong(vec!["the attempt stumbled".to_owned()]));
            }
        }
    }
}

enum Told {
    Trying(u32, usize),
    Ended(Result<Opened, Refused>),
}

/// The memory that a key slot may take: what the system can give without swapping (`/proc/meminfo`), less what everything else needs.
fn can_be_spared() -> ByteLen {
    let available = sys::memory::available().unwrap_or(ByteLen::ZERO);
    ByteLen(available.0.saturating_sub(SPARE.0).min(MOST_MEMORY.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_for_each_volume() {
        let keys = Keyring::default();
        let (a, b) = (VolumePath::partition(DiskNo(0), 1), VolumePath::partition(DiskNo(0), 2));
        assert_eq!((keys.failed(&a), keys.failed(&a), keys.failed(&b)), (1, 2, 1));
    }
}
