//! Making a store, opening it, and the keys that open it.

use crate::SystemEntropy;
use crate::decode::{Decode, LocalDecoder};
use crate::error::StoreError;
use crate::format::{self, About};
use crate::layout::{digest_in, format_name, key_name};
use crate::seal::keys::{Keys, Master};
use crate::seal::slot::{self, MAX_SLOT, Slot};
use crate::seal::{Seal, StoreId, Unlock};
use crate::store::{Store, read_object};
use model::hex;
use model::id::Digest;
use model::ports::{Entropy, ObjectError, ObjectName, ObjectStore};
use model::text::DisplayText;
use std::sync::Arc;

/// Most key slots that are looked at: each passphrase costs memory and time.
const MOST_SLOTS: usize = 64;

/// How a store is made.
#[derive(Clone)]
pub struct InitOptions {
    /// Randomness: the id, keys, nonces.
    pub entropy: Arc<dyn Entropy>,
    /// Where the store is to be encrypted: what opens it, and what people call that.
    pub key: Option<(Unlock, String)>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { entropy: Arc::new(SystemEntropy), key: None }
    }
}

/// How a store is opened.
#[derive(Clone)]
pub struct OpenOptions {
    /// Randomness: nonces.
    pub entropy: Arc<dyn Entropy>,
    /// What opens an encrypted one. Given this, a store that is not encrypted is refused.
    pub unlock: Option<Unlock>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { entropy: Arc::new(SystemEntropy), unlock: None }
    }
}

/// A key slot, as people are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySlot {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What whoever made it says that it is. Proven only for the slot that was opened.
    pub label: DisplayText,
}

impl Store {
    /// Makes a store that is not encrypted where there is none.
    ///
    /// # Errors
    /// [`StoreError::Exists`] where there is one; [`StoreError::Full`], [`StoreError::Io`].
    pub fn init(objects: Arc<dyn ObjectStore>) -> Result<Self, StoreError> {
        Self::init_with(objects, InitOptions::default())
    }

    /// Makes a store where there is none.
    ///
    /// # Errors
    /// As [`Store::init`], and [`StoreError::WrongKey`] where a key is too short or too long to be one.
    pub fn init_with(objects: Arc<dyn ObjectStore>, options: InitOptions) -> Result<Self, StoreError> {
        let held = objects.lock()?;
        match objects.len(&format_name()) {
            Err(ObjectError::Missing(_)) => {}
            Err(e) => return Err(e.into()),
            Ok(_) => return Err(StoreError::Exists { what: DisplayText::new("a store") }),
        }
        let mut id = StoreId::default();
        options.entropy.fill(&mut id).map_err(|e| StoreError::io(format!("there are no random bytes: {e}")))?;
        let about = About { id: hex::encode(&id), encrypted: options.key.is_some() };
        let mut seal = Seal::Open;
        if let Some((with, label)) = &options.key {
            let master = Master::generate(&*options.entropy)?;
            put_slot(&*objects, &Slot::create(&master, &id, with, label, &*options.entropy)?)?;
            seal = Seal::Sealed(Arc::new(Keys::derive(&master, &id)));
        }
        // Last: without it there is no store, and one that says it is encrypted has a slot.
        put_and_read_back(&*objects, &format_name(), &format::encode(&about))?;
        drop(held);
        Self::new(objects, Arc::new(LocalDecoder), options.entropy, about.id, seal)
    }

    /// Opens a store that is not encrypted. Its `format` object is looked at before anything else.
    ///
    /// # Errors
    /// [`StoreError::NotAStore`], [`StoreError::Newer`], [`StoreError::Locked`] where it is encrypted,
    /// [`StoreError::Damaged`] where `format` is, [`StoreError::Io`].
    pub fn open(objects: Arc<dyn ObjectStore>, decode: Arc<dyn Decode>) -> Result<Self, StoreError> {
        Self::open_with(objects, decode, OpenOptions::default())
    }

    /// Opens a store.
    ///
    /// # Errors
    /// As [`Store::open`], and [`StoreError::WrongKey`] where the key opens no slot, or the store is not encrypted: one that
    /// was put in the place of an encrypted store must not be written to as if it were that.
    pub fn open_with(
        objects: Arc<dyn ObjectStore>,
        decode: Arc<dyn Decode>,
        options: OpenOptions,
    ) -> Result<Self, StoreError> {
        let about = format::decode(&match read_object(&*objects, &format_name(), format::MAX_FORMAT) {
            Ok(bytes) => bytes,
            Err(StoreError::NoSuch { .. }) => {
                return Err(StoreError::NotAStore { why: DisplayText::new("it has no format object") });
            }
            Err(e) => return Err(e),
        })?;
        let seal = match (about.encrypted, &options.unlock) {
            (false, None) if objects.list("keys")?.is_empty() => Seal::Open,
            (false, None) => {
                let what = "its format object says that it is not encrypted, and it has key slots";
                return Err(StoreError::damaged(what));
            }
            (false, Some(_)) => {
                return Err(StoreError::wrong_key("the store is not encrypted: it is not the one this key is for"));
            }
            (true, None) => {
                let why = "the store is encrypted: its passphrase or key file is needed";
                return Err(StoreError::Locked { why: DisplayText::new(why) });
            }
            (true, Some(with)) => {
                let id = about.raw_id()?;
                Seal::Sealed(Arc::new(Keys::derive(&unlock(&*objects, &id, with)?, &id)))
            }
        };
        Self::new(objects, decode, options.entropy, about.id, seal)
    }

    /// The key slots of an encrypted store. One that cannot be read is left out; a check names it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn keys(&self) -> Result<Vec<KeySlot>, StoreError> {
        let (slots, _) = slots(self.objects())?;
        Ok(slots.iter().map(|(_, s)| KeySlot { id: s.id(), label: s.label().clone() }).collect())
    }

    /// Adds a way to open the store; `have` is one that does. Returns the new slot's id.
    ///
    /// # Errors
    /// [`StoreError::WrongKey`] where `have` opens no slot or `new` can be no key; [`StoreError::Misuse`] where the store is
    /// not encrypted; [`StoreError::InUse`], [`StoreError::Full`], [`StoreError::Io`].
    pub fn add_key(&self, have: &Unlock, new: &Unlock, label: &str) -> Result<String, StoreError> {
        let id = self.sealed_id()?;
        let _held = self.objects().lock()?;
        let master = unlock(self.objects(), &id, have)?;
        let bytes = Slot::create(&master, &id, new, label, self.entropy())?;
        put_slot(self.objects(), &bytes)?;
        Ok(Slot::decode(&Digest::of(&bytes), &bytes)?.id())
    }

    /// Removes a key slot by its id, never the last that can be read. Whoever knew the master key keeps it: this hides
    /// nothing from somebody who opened the store before.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`]; [`StoreError::Misuse`] where it is the last; [`StoreError::InUse`], [`StoreError::Io`].
    pub fn remove_key(&self, id: &str) -> Result<(), StoreError> {
        self.sealed_id()?;
        let _held = self.objects().lock()?;
        let (slots, _) = slots(self.objects())?;
        let Some((digest, _)) = slots.iter().find(|(_, s)| s.id() == id) else {
            return Err(StoreError::NoSuch { what: DisplayText::new(&format!("key slot {id}")) });
        };
        if slots.len() < 2 {
            return Err(StoreError::misuse("it is the last key slot: nothing could open the store any more"));
        }
        Ok(self.objects().delete(&key_name(digest))?)
    }

    fn sealed_id(&self) -> Result<StoreId, StoreError> {
        if !self.is_encrypted() {
            return Err(StoreError::misuse("the store is not encrypted: it has no keys"));
        }
        About { id: self.id().to_owned(), encrypted: true }.raw_id()
    }
}

fn put_slot(objects: &dyn ObjectStore, bytes: &[u8]) -> Result<(), StoreError> {
    // A slot that the disk did not keep locks its owner out.
    put_and_read_back(objects, &key_name(&Digest::of(bytes)), bytes)
}

fn put_and_read_back(objects: &dyn ObjectStore, name: &ObjectName, bytes: &[u8]) -> Result<(), StoreError> {
    objects.put(name, bytes)?;
    if read_object(objects, name, MAX_SLOT.max(format::MAX_FORMAT))? != bytes {
        // Nobody was told of it, and the next attempt must not find it in its way.
        let _ = objects.delete(name);
        return Err(StoreError::damaged(format!("{} does not read back as it was written", name.as_str())));
    }
    Ok(())
}

/// Slots with their digests, and what is wrong with the others.
pub(crate) type Slots = (Vec<(Digest, Slot)>, Vec<StoreError>);

/// The key slots that can be read, and what is wrong with the others.
pub(crate) fn slots(objects: &dyn ObjectStore) -> Result<Slots, StoreError> {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for name in objects.list("keys")?.iter().take(MOST_SLOTS) {
        let Some(digest) = digest_in(name, key_name) else {
            bad.push(StoreError::damaged(format!("{} is not the name of a key slot", name.as_str())));
            continue;
        };
        match read_object(objects, name, MAX_SLOT).and_then(|bytes| Slot::decode(&digest, &bytes)) {
            Ok(slot) => good.push((digest, slot)),
            Err(StoreError::Io { says }) => return Err(StoreError::Io { says }),
            Err(e) => bad.push(e),
        }
    }
    Ok((good, bad))
}

fn unlock(objects: &dyn ObjectStore, id: &StoreId, with: &Unlock) -> Result<Master, StoreError> {
    let (good, bad) = slots(objects)?;
    let good: Vec<Slot> = good.into_iter().map(|(_, slot)| slot).collect();
    match (slot::unlock(&good, id, with), bad.into_iter().next()) {
        // The slot that it would have opened may be the one that cannot be read.
        (Err(StoreError::WrongKey { .. }), Some(e)) => Err(e),
        (result, _) => result,
    }
}
