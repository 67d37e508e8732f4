//! What can go wrong with a store, by what a person has to do about it.

use crate::decode::DecodeError;
use crate::format::FORMAT;
use model::command::{ExitCode, Failure};
use model::ports::ObjectError;
use model::text::DisplayText;

/// A store failed. Cloneable, so that a failure of a worker thread can be told at every later call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room. What was saved before is untouched, and nothing torn was left under a name.
    #[error("the store is full: {says}")]
    Full {
        /// What the system said.
        says: DisplayText,
    },
    /// The store, or a record in it, was written by a newer program.
    #[error(
        "this was written by a newer version of Holdfast: its format is {found}, this program reads format {FORMAT}"
    )]
    Newer {
        /// The format it has.
        found: u32,
    },
    /// There is no store here.
    #[error("there is no store here: {why}")]
    NotAStore {
        /// What was found instead.
        why: DisplayText,
    },
    /// There is a store (or another record) here already.
    #[error("{what} exists already")]
    Exists {
        /// What does.
        what: DisplayText,
    },
    /// Bytes of the store are not what they were when they were written.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// Which bytes, and how it shows.
        what: DisplayText,
    },
    /// Nothing of that name.
    #[error("{what} is not in the store")]
    NoSuch {
        /// What was asked for.
        what: DisplayText,
    },
    /// More than one thing could be meant.
    #[error("{what}")]
    Ambiguous {
        /// What was asked for and what it could be.
        what: DisplayText,
    },
    /// Another writer holds the store.
    #[error("the store is in use: {who}")]
    InUse {
        /// Who, as far as it is known.
        who: DisplayText,
    },
    /// The caller broke the rules of a function; nothing was stored by that call.
    #[error("{what}")]
    Misuse {
        /// Which rule, with the numbers.
        what: DisplayText,
    },
    /// The store is encrypted, and nothing was given to open it with.
    #[error("{why}")]
    Locked {
        /// What it needs.
        why: DisplayText,
    },
    /// What was given does not open the store, or is not a key at all.
    #[error("{why}")]
    WrongKey {
        /// What was tried and how it did not fit; never the key itself.
        why: DisplayText,
    },
    /// A signature is missing, does not verify, is of nobody who is trusted, or is of something else than what is here.
    #[error("{what}")]
    Untrusted {
        /// Whose signature of what.
        what: DisplayText,
    },
    /// The system refused.
    #[error("{says}")]
    Io {
        /// What was being done and what the system said.
        says: DisplayText,
    },
}

impl StoreError {
    pub(crate) fn damaged(what: impl AsRef<str>) -> Self {
        Self::Damaged { what: DisplayText::new(what.as_ref()) }
    }

    pub(crate) fn misuse(what: impl AsRef<str>) -> Self {
        Self::Misuse { what: DisplayText::new(what.as_ref()) }
    }

    pub(crate) fn io(says: impl AsRef<str>) -> Self {
        Self::Io { says: DisplayText::new(says.as_ref()) }
    }

    pub(crate) fn wrong_key(why: impl AsRef<str>) -> Self {
        Self::WrongKey { why: DisplayText::new(why.as_ref()) }
    }

    pub(crate) fn untrusted(what: impl AsRef<str>) -> Self {
        Self::Untrusted { what: DisplayText::new(what.as_ref()) }
    }

    /// A decoder's refusal of `what`.
    pub(crate) fn decoding(what: impl AsRef<str>, error: DecodeError) -> Self {
        match error {
            DecodeError::Newer { found } => Self::Newer { found },
            DecodeError::Bad { why } => Self::damaged(format!("{}: {why}", what.as_ref())),
            DecodeError::Unavailable { why } => Self::io(format!("decoding {} was not possible: {why}", what.as_ref())),
        }
    }

    /// The failure as front ends show it, with what to do.
    pub fn failure(&self) -> Failure {
        let (code, advice) = match self {
            Self::Full { .. } => (
                ExitCode::Failed,
                "nothing saved before was touched; make room on the save disk or use another one, then run this again",
            ),
            Self::Newer { .. } => (ExitCode::Newer, "use a Holdfast at least as new as the one that wrote it"),
            Self::NotAStore { .. } => {
                (ExitCode::Failed, "name the directory of a store, or make one with `holdfast store init`")
            }
            Self::Exists { .. } => (ExitCode::Refused, "nothing was changed; use what is there, or another place"),
            Self::Damaged { .. } => (
                ExitCode::Damage,
                "run `holdfast check --read-data` to learn which snapshots are affected; the others can be used",
            ),
            Self::NoSuch { .. } => (ExitCode::Failed, "`holdfast snapshots` lists what there is"),
            Self::Ambiguous { .. } => (ExitCode::Refused, "give more digits of the id"),
            Self::InUse { .. } => (ExitCode::Refused, "wait for the other run to end, then run this again"),
            Self::Misuse { .. } => (ExitCode::Failed, "this is a mistake in the program: please report it"),
            Self::Locked { .. } => (ExitCode::Refused, "give the store's passphrase or key file, then run this again"),
            Self::WrongKey { .. } => (
                ExitCode::Refused,
                "check the passphrase and the keyboard's layout, or which key file it is, then run this again",
            ),
            Self::Untrusted { .. } => (
                ExitCode::Refused,
                "use a snapshot of a signer you trust; to trust another one, compare its whole public key first",
            ),
            Self::Io { .. } => (ExitCode::Failed, "check the save disk and its cable, then run this again"),
        };
        Failure::new(code, self.to_string(), advice)
    }
}

impl From<ObjectError> for StoreError {
    fn from(e: ObjectError) -> Self {
        let text = |t: &dyn std::fmt::Display| DisplayText::new(&t.to_string());
        match e {
            ObjectError::Full(source) => Self::Full { says: text(&source) },
            ObjectError::InUse(who) => Self::InUse { who: DisplayText::new(&who) },
            ObjectError::Missing(name) => Self::damaged(format!("{} is missing", name.as_str())),
            ObjectError::Exists(name) => Self::Exists { what: DisplayText::new(name.as_str()) },
            e @ ObjectError::OutOfRange { .. } => Self::damaged(e.to_string()),
            e @ ObjectError::Io { .. } => Self::Io { says: text(&e) },
        }
    }
}
