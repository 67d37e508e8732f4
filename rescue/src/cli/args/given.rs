//! What stands behind a verb, option by option.

use super::keeping::{self, StoreAt, UnlockBy};
use super::{Opening, Usage, opening, prove, values};
use crate::cli::verbs;
use lexopt::{Arg, Parser, ValueExt};
use model::id::{DiskNo, PlanId, VolumePath};
use model::proof::{Accelerator, Bus};
use model::retention::KeepPolicy;
use model::signer::SignerId;
use model::text::{DisplayText, RawName};
use model::upkeep::ProbeSize;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Everything that can stand behind a verb. Which of it may, the verb says.
#[derive(Default)]
pub(super) struct Given {
    pub(super) words: Vec<OsString>,
    pub(super) store: Option<PathBuf>,
    pub(super) unlock: UnlockBy,
    pub(super) other: Option<PathBuf>,
    pub(super) other_unlock: UnlockBy,
    pub(super) new_key: UnlockBy,
    pub(super) label: Option<String>,
    pub(super) encrypt: bool,
    pub(super) sign_with: Option<PathBuf>,
    pub(super) signers: Vec<SignerId>,
    pub(super) keep: Option<KeepPolicy>,
    pub(super) policy: Option<PathBuf>,
    pub(super) leave_out: Vec<String>,
    pub(super) dry_run: bool,
    pub(super) prune: bool,
    pub(super) now: bool,
    pub(super) rewrite: Option<u8>,
    pub(super) accept_head: bool,
    pub(super) pin: bool,
    pub(super) unpin: bool,
    pub(super) privileged: bool,
    pub(super) text: bool,
    pub(super) json: bool,
    pub(super) explain: bool,
    pub(super) timeline: bool,
    pub(super) full: bool,
    pub(super) read_data: bool,
    pub(super) ascii: bool,
    pub(super) plan: bool,
    pub(super) yes: bool,
    pub(super) approve: Option<PlanId>,
    pub(super) only: Vec<VolumePath>,
    pub(super) kept: Vec<RawName>,
    pub(super) disk: Vec<(DiskNo, PathBuf)>,
    pub(super) overwrite: Vec<DisplayText>,
    pub(super) new_ids: bool,
    pub(super) grow: Vec<VolumePath>,
    pub(super) open: Vec<Opening>,
    pub(super) allow_plain: bool,
    pub(super) foreign: Option<String>,
    pub(super) out: Option<PathBuf>,
    pub(super) probe: Option<ProbeSize>,
    pub(super) timeout: Option<u32>,
    pub(super) accelerator: Option<Accelerator>,
    pub(super) bus: Option<Bus>,
    pub(super) record: Option<PathBuf>,
    pub(super) replay: Option<PathBuf>,
    pub(super) control: Option<i32>,
    pub(super) engine: Option<i32>,
    pub(super) help: bool,
}

impl Given {
    /// The store, with what opens it.
    pub(super) fn at(&self) -> Option<StoreAt> {
        self.store.clone().map(|dir| StoreAt {
            dir,
            unlock: self.unlock.clone(),
            sign_with: self.sign_with.clone(),
            signers: self.signers.clone(),
        })
    }

    /// The second store, with what opens it.
    pub(super) fn other_at(&self) -> Result<Option<StoreAt>, Usage> {
        let unlock = self.other_unlock.clone();
        match &self.other {
            Some(dir) => Ok(Some(StoreAt { dir: dir.clone(), unlock, sign_with: None, signers: Vec::new() })),
            None if unlock == UnlockBy::Asked => Ok(None),
            None => Err(Usage("a key of a second store is given, and no second store".into())),
        }
    }
}

/// Reads the options that a verb may have, and its words.
pub(super) fn collect(parser: &mut Parser, allowed: &[&str], verb: &str) -> Result<Given, Usage> {
    let mut given = Given::default();
    while let Some(arg) = parser.next()? {
        let name = match arg {
            Arg::Value(word) => {
                given.words.push(word);
                continue;
            }
            Arg::Short('h') | Arg::Long("help") => {
                given.help = true;
                continue;
            }
            Arg::Short('o') if allowed.contains(&"out") => "out".to_owned(),
            Arg::Short(c) => return Err(Usage(format!("`{verb}` has no option `-{c}`"))),
            Arg::Long(name) => name.to_owned(),
        };
        // What needs a store may need what opens it.
        let opens = allowed.contains(&"store") && verbs::OPENS.contains(&name.as_str());
        if !opens && !allowed.contains(&name.as_str()) {
            return Err(Usage(format!("`{verb}` has no option `--{}`", DisplayText::new(&name))));
        }
        match name.as_str() {
            "store" => given.store = Some(parser.value()?.into()),
            "passphrase-file" => given.unlock.set(UnlockBy::Passphrase(parser.value()?.into()))?,
            "key-file" => given.unlock.set(UnlockBy::KeyFile(parser.value()?.into()))?,
            "to" | "from" => given.other = Some(parser.value()?.into()),
            "to-passphrase-file" | "from-passphrase-file" => {
                given.other_unlock.set(UnlockBy::Passphrase(parser.value()?.into()))?;
            }
            "to-key-file" | "from-key-file" => given.other_unlock.set(UnlockBy::KeyFile(parser.value()?.into()))?,
            "new-passphrase-file" => given.new_key.set(UnlockBy::Passphrase(parser.value()?.into()))?,
            "new-key-file" => given.new_key.set(UnlockBy::KeyFile(parser.value()?.into()))?,
            "label" => given.label = Some(parser.value()?.string()?),
            "sign-with" => given.sign_with = Some(parser.value()?.into()),
            "require-signer" => {
                for signer in parser.value()?.string()?.split(',') {
                    given.signers.push(named(signer.into())?);
                }
            }
            "keep" => {
                // A path is bytes.
                let paths = parser.value()?;
                for path in paths.as_bytes().split(|b| *b == b',') {
                    given.kept.push(RawName(path.to_vec()));
                }
            }
            keep if keep.starts_with("keep-") => {
                let policy = given.keep.get_or_insert_with(KeepPolicy::nothing_named);
                keeping::keep(policy, keep, &parser.value()?.string()?)?;
            }
            "leave-out" => given.leave_out.push(parser.value()?.string()?),
            "policy" => given.policy = Some(parser.value()?.into()),
            "dry-run" => given.dry_run = true,
            "prune" => given.prune = true,
            "now" => given.now = true,
            "rewrite" => given.rewrite = Some(values::percent(&parser.value()?.string()?)?),
            "accept-head" => given.accept_head = true,
            "pin" => given.pin = true,
            "unpin" => given.unpin = true,
            "privileged" => given.privileged = true,
            "text" => given.text = true,
            "encrypt" => given.encrypt = true,
            "json" => given.json = true,
            "explain" => given.explain = true,
            "timeline" => given.timeline = true,
            "full" => given.full = true,
            "read-data" => given.read_data = true,
            "ascii" => given.ascii = true,
            "plan" => given.plan = true,
            "yes" => given.yes = true,
            "approve" => given.approve = Some(named(parser.value()?)?),
            "only" => {
                for volume in parser.value()?.string()?.split(',') {
                    given.only.push(named(volume.into())?);
                }
            }
            "disk" => given.disk.push(onto(&parser.value()?)?),
            "overwrite" => given.overwrite.push(DisplayText::new(&parser.value()?.string()?)),
            "new-ids" => given.new_ids = true,
            "grow" => {
                for volume in parser.value()?.string()?.split(',') {
                    given.grow.push(named(volume.into())?);
                }
            }
            "unlock" => given.open.push(opening::opening(&parser.value()?, false)?),
            "unlock-key" => given.open.push(opening::opening(&parser.value()?, true)?),
            "allow-plain" => given.allow_plain = true,
            "foreign-machine" => given.foreign = Some(parser.value()?.string()?),
            "out" => given.out = Some(parser.value()?.into()),
            "probe" => given.probe = Some(probe_size(parser)?),
            "timeout" => given.timeout = Some(prove::timeout(&parser.value()?.string()?)?),
            "accel" => given.accelerator = Some(prove::accelerator(&parser.value()?.string()?)?),
            "bus" => given.bus = Some(prove::bus(&parser.value()?.string()?)?),
            "record" => given.record = Some(parser.value()?.into()),
            "replay" => given.replay = Some(parser.value()?.into()),
            "control" => given.control = Some(parser.value()?.parse()?),
            "engine" => given.engine = Some(parser.value()?.parse()?),
            _ => return Err(Usage(format!("`{verb}` has no option `--{name}`"))),
        }
    }
    Ok(given)
}

/// `--probe`, `--probe=SIZE` or `--probe SIZE`: a word that is no size belongs to somebody else.
fn probe_size(parser: &mut Parser) -> Result<ProbeSize, Usage> {
    if let Some(size) = parser.optional_value() {
        return Ok(ProbeSize::AtMost(values::size(&size.string()?)?));
    }
    let next = parser.try_raw_args().and_then(|args| args.as_slice().first().cloned());
    match next.as_deref().and_then(OsStr::to_str).and_then(|word| values::size(word).ok()) {
        Some(size) => {
            parser.value()?;
            Ok(ProbeSize::AtMost(size))
        }
        None => Ok(ProbeSize::All),
    }
}

/// `--disk d0=FILE`: a disk of a snapshot, and the one it goes onto.
fn onto(value: &OsStr) -> Result<(DiskNo, PathBuf), Usage> {
    let bytes = value.as_bytes();
    let wrong = || Usage("`--disk` wants a disk of the snapshot and where it goes: --disk d0=DISK".into());
    let at = bytes.iter().position(|b| *b == b'=').filter(|at| at + 1 < bytes.len()).ok_or_else(wrong)?;
    let saved = std::str::from_utf8(&bytes[..at]).ok().and_then(|s| s.parse::<VolumePath>().ok());
    let saved = saved.filter(|path| path.is_whole()).ok_or_else(wrong)?;
    Ok((saved.disk(), OsStr::from_bytes(&bytes[at + 1..]).into()))
}

/// Parses a value whose error says what was expected.
pub(super) fn named<T: std::str::FromStr<Err = model::id::BadName>>(value: OsString) -> Result<T, Usage> {
    value.string()?.parse::<T>().map_err(|e| Usage(e.to_string()))
}
