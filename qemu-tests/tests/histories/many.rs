//! Two thousand of them: by the kernel of this computer, which no processor is emulated for, and by the target's where it mounts what
//! this one does not. `HOLDFAST_HISTORIES="quota project"` lives those of these kinds only.

use crate::here::Here;
use crate::place::{self, Place};
use model::id::Digest;
use qemu_tests::machine::{Bus, Parts, overlay};
use qemu_tests::{Result, target, workspace};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Of each kind; other ones than that of a bounded run.
const SEEDS: Range<u32> = 101..168;

/// What passed, so that a run which was stopped is taken up again.
#[derive(Default, Serialize, Deserialize)]
struct Record {
    /// The program and the target: others begin anew.
    of: String,
    /// By kind, what was said of it.
    passed: BTreeMap<String, String>,
}

impl Record {
    fn file() -> Result<PathBuf> {
        Ok(workspace::cache()?.join("histories.json"))
    }

    fn of(program: &Path) -> Result<Self> {
        let of = format!("{} {} {SEEDS:?}", Digest::of(&fs::read(program)?), target::recipe()?);
        let kept = fs::read(Self::file()?).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(kept.filter(|kept: &Self| kept.of == of).unwrap_or(Self { of, passed: BTreeMap::new() }))
    }

    fn add(&mut self, kind: &str, said: String) -> Result<()> {
        println!("{}", said.lines().next().unwrap_or_default());
        self.passed.insert(kind.to_owned(), said);
        Ok(fs::write(Self::file()?, serde_json::to_vec(self)?)?)
    }
}

/// Lives them.
///
/// # Errors
/// Where something that was called the same is not, or the target fails.
pub(crate) fn live(base: &Path, kinds: &[String], folder: &Path, say: &mut dyn FnMut(&str)) -> Result<()> {
    let program = place::program(folder)?;
    let mut record = Record::of(&program)?;
    let named = std::env::var("HOLDFAST_HISTORIES").ok();
    let wanted = |kind: &&String| named.as_ref().is_none_or(|named| named.split_whitespace().any(|n| n == *kind));
    let kinds: Vec<&String> = kinds.iter().filter(wanted).collect();
    let left: Vec<&String> = kinds.iter().copied().filter(|k| !record.passed.contains_key(*k)).collect();
    say(&format!("{} of each kind; {} kinds passed already", SEEDS.len(), kinds.len() - left.len()));
    let here = Here::new()?;
    let mut refused = Vec::new();
    for kind in left {
        match here.live(kind, SEEDS).map_err(|e| format!("{kind}: {e}"))? {
            Some(said) => record.add(kind, said)?,
            None => refused.push(kind),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    say(&format!("the target lives those of {} kinds that this computer's kernel does not mount", refused.len()));
    let disk = overlay(base, &folder.join("many.qcow2"))?;
    let mut place = Place::start(Parts::new("many", folder).disk(&disk, Bus::Virtio, "TARGET"), &program)?;
    for kind in refused {
        let said = place.live(std::slice::from_ref(kind), SEEDS, false).map_err(|e| format!("{kind}: {e}"))?;
        record.add(kind, said)?;
    }
    Ok(())
}
