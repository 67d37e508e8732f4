//! Where the store is, and opening it.

use crate::save_disk;
use model::command::{ExitCode, Failure};
use model::ports::ObjectStore;
use model::signer::SignerId;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::backend::LocalDir;
use store::{Decode, OpenOptions, SigningKey, Store, StoreError, Unlock};

/// What opens a store, and who is believed in it. Keys are no part of commands, which travel; but somebody at the machine
/// itself can type a passphrase later ([`model::command::Command::Unlock`]).
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Opens an encrypted store.
    pub unlock: Option<Unlock>,
    /// Is to open the store that is made, or is to open it too.
    pub new_key: Option<Unlock>,
    /// Signs every snapshot that is recorded.
    pub signer: Option<SigningKey>,
    /// Only snapshots that one of these signed are used.
    pub required: Option<BTreeSet<SignerId>>,
}

/// Where the store is.
#[derive(Clone)]
pub enum StorePlace {
    /// A directory.
    Dir {
        /// Its path.
        path: PathBuf,
        /// Make a store there on first use: in the rescue, whose save disk is made for it.
        create: bool,
        /// What opens it.
        access: Box<Access>,
    },
    /// Anything that keeps objects.
    Objects {
        /// It.
        objects: Arc<dyn ObjectStore>,
        /// Make a store there on first use.
        create: bool,
    },
}

impl StorePlace {
    /// Opens the store; `decode` interprets its bytes.
    ///
    /// # Errors
    /// [`Failure`] where there is none, or it cannot be read.
    pub fn open(&self, decode: Arc<dyn Decode>) -> Result<Store, Failure> {
        let create = match self {
            Self::Dir { create, .. } | Self::Objects { create, .. } => *create,
        };
        let objects = self.objects(create)?;
        let options = || OpenOptions { unlock: self.access().unlock, ..OpenOptions::default() };
        let store = match Store::open_with(objects.clone(), decode.clone(), options()) {
            Err(StoreError::NotAStore { .. }) if create && is_empty(&*objects)? => {
                Store::init(objects.clone()).map_err(|e| e.failure())?;
                Store::open(objects, decode).map_err(|e| StoreError::failure(&e))?
            }
            Err(StoreError::NotAStore { .. }) if !create => return Err(no_store(self)),
            Err(e) => return Err(e.failure()),
            Ok(store) => store,
        };
        let Access { signer, required, .. } = self.access();
        if let Some(key) = signer {
            store.set_signer(key);
        }
        if let Some(signers) = required {
            store.require_signers(signers);
        }
        Ok(store)
    }

    /// The same place, opened by something else.
    pub(crate) fn unlocked_by(&self, unlock: Unlock) -> Self {
        let mut place = self.clone();
        if let Self::Dir { access, .. } = &mut place {
            access.unlock = Some(unlock);
        }
        place
    }

    /// True where opening it takes a key that was not given.
    pub(crate) fn is_locked(&self) -> bool {
        match self {
            Self::Dir { path, access, .. } => access.unlock.is_none() && is_locked(path),
            Self::Objects { .. } => false,
        }
    }

    /// What opens it.
    pub(crate) fn access(&self) -> Access {
        match self {
            Self::Dir { access, .. } => Access::clone(access),
            Self::Objects { .. } => Access::default(),
        }
    }

    /// Where the objects lie; a directory is made where `create` and there is none.
    pub(crate) fn objects(&self, create: bool) -> Result<Arc<dyn ObjectStore>, Failure> {
        match self {
            Self::Dir { path, .. } => directory(path, create),
            Self::Objects { objects, .. } => Ok(objects.clone()),
        }
    }
}

fn no_store(place: &StorePlace) -> Failure {
    let where_ = match place {
        StorePlace::Dir { path, .. } => format!("in {}", path.display()),
        StorePlace::Objects { .. } => "here".to_owned(),
    };
    Failure::new(ExitCode::Failed, format!("there is no store {where_}"), "make one with `holdfast store init`")
}

fn directory(path: &Path, create: bool) -> Result<Arc<dyn ObjectStore>, Failure> {
    let opened = if create {
        LocalDir::create_over(save_disk::files(), path)
    } else {
        LocalDir::open_over(save_disk::files(), path)
    };
    opened.map(|dir| Arc::new(dir) as Arc<dyn ObjectStore>).map_err(|e| {
        let advice = "name the directory of a store, or attach the save disk";
        Failure::new(ExitCode::Failed, format!("the store in {} cannot be opened: {e}", path.display()), advice)
    })
}

/// A store whose `format` was lost is not made anew over its own objects.
fn is_empty(objects: &dyn ObjectStore) -> Result<bool, Failure> {
    objects.list("").map(|names| names.is_empty()).map_err(|e| StoreError::from(e).failure())
}

/// True where the store in a directory has key slots: opening it takes a key. Whatever cannot be read is told when it is opened.
pub fn is_locked(path: &Path) -> bool {
    LocalDir::open(path).is_ok_and(|dir| dir.list("keys").is_ok_and(|names| !names.is_empty()))
}
