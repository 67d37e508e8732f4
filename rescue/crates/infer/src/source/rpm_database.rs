//! rpm's database of installed packages, as SQLite (rpm 4.20, `lib/backend/sqlite.c`, `lib/rpmtag.h`, `lib/header.c`).
//!
//! A transaction puts the new package's header before the old one's goes: one that was killed in between leaves both. Its other
//! backends (`ndb`, Berkeley DB) are named and not read.

use super::bytes::head;
use super::sqlite::{Database, Files, Order, Table};
use super::{evidence, stamp, unreadable};
use crate::want::DATABASE;
use model::evidence::{Evidence, Fact, Origin, PackageManager, PackageState};
use model::ports::{ReadAt, UnixMicros};
use model::text::DisplayText;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Packages that are there more than once and are told.
const MOST_TOLD: usize = 64;
/// Headers that are read to tell these apart.
const MOST_HEADERS: usize = 512;
/// Index entries of a header (`HEADER_TAGS_MAX`).
const MOST_TAGS: usize = 65_535;

const NAME: u32 = 1000;
const VERSION: u32 = 1001;
const RELEASE: u32 = 1002;
const INSTALL_TIME: u32 = 1008;
const ARCH: u32 = 1022;

/// What of a package's header is wanted.
struct Package {
    name: String,
    version: String,
    arch: String,
    installed_at: Option<i64>,
}

/// Reads what is installed.
pub(super) fn parse(origin: &Origin, files: Files<'_>) -> Vec<Evidence> {
    match read(files) {
        Ok((installed, doubled, newest)) => {
            let says = match doubled.len() {
                0 => format!("rpm's database has {installed} packages"),
                n => format!("rpm's database has {installed} packages, {n} of them in two versions at once"),
            };
            let fact = Fact::Packages { manager: PackageManager::Rpm, installed: Some(installed), broken: doubled };
            vec![evidence(origin, fact, &says, newest.map(|at| stamp(UnixMicros::from_seconds(at))))]
        }
        Err(e) => vec![unreadable(origin, "rpm's database", &e)],
    }
}

/// How many packages there are, which of them in two versions, and when the newest was installed.
fn read(files: Files<'_>) -> Result<(u32, Vec<PackageState>, Option<i64>), String> {
    let mut database = Database::open(files, DATABASE)?;
    let tables = (database.table("Packages")?, database.table("Name")?);
    let (Some(packages), Some(names)) = tables else { return Err("it has no tables of packages".to_owned()) };
    let mut by_name: BTreeMap<Vec<u8>, Vec<i64>> = BTreeMap::new();
    let mut installed = 0u32;
    database.rows(&names, Order::Oldest, &mut |row| {
        let (key, number) = (names.value(row, "key").bytes(), names.value(row, "hnum").int());
        if let (Some(key), Some(number)) = (key, number) {
            // Keys that signatures are checked with are kept as packages, too.
            installed = installed.saturating_add(u32::from(key != b"gpg-pubkey"));
            by_name.entry(key.to_vec()).or_default().push(number);
        }
        ControlFlow::Continue(())
    })?;
    let mut newest = None;
    database.rows(&packages, Order::Newest, &mut |row| {
        newest = packages.value(row, "blob").bytes().and_then(package).and_then(|p| p.installed_at);
        ControlFlow::Break(())
    })?;
    let several = by_name.into_iter().filter(|(name, numbers)| numbers.len() > 1 && !may_be_several(name));
    let numbers: Vec<i64> = several.flat_map(|(_, numbers)| numbers).take(MOST_HEADERS).collect();
    Ok((installed, doubled(&mut database, &packages, &numbers)?, newest))
}

/// A database of another kind: it is named, and not read.
pub(super) fn recognised(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    // ndb's header (rpm 4.20, `lib/backend/ndb/rpmpkg.c`); of Berkeley DB's the magic of its btrees and hashes lies at 12 (`db_page.h`).
    let kind = match head(file, 16) {
        Ok(bytes) if bytes.starts_with(b"RpmP") => "ndb",
        Ok(bytes) if matches!(bytes.get(12..16), Some([0x61, 0x15, 6, 0] | [0x62, 0x31, 5, 0])) => "Berkeley DB",
        Ok(_) => "a kind that is not known",
        Err(e) => return vec![unreadable(origin, "rpm's database", &e.to_string())],
    };
    let why = DisplayText::new(&format!("{kind}: recognised, not read"));
    let says = format!("rpm's database is there, as {kind}, which is recognised and not read");
    vec![evidence(origin, Fact::Unreadable { why }, &says, None)]
}

/// Kernels, and what goes with them, are kept beside each other on purpose; so are keys.
fn may_be_several(name: &[u8]) -> bool {
    name == b"gpg-pubkey" || name.starts_with(b"kernel") || name.starts_with(b"kmod-")
}

/// Those that are there in two versions for one architecture.
fn doubled(database: &mut Database<'_>, table: &Table, numbers: &[i64]) -> Result<Vec<PackageState>, String> {
    let mut versions: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for number in numbers {
        let Some(row) = database.row(table, *number)? else { continue };
        if let Some(package) = table.value(&row, "blob").bytes().and_then(package) {
            versions.entry((package.name, package.arch)).or_default().push(package.version);
        }
    }
    let told = versions.into_iter().filter(|(_, versions)| versions.len() > 1).take(MOST_TOLD);
    let told = told.map(|((name, arch), versions)| PackageState {
        name: DisplayText::new(&format!("{name}.{arch}")),
        version: DisplayText::new(&versions.join(", ")),
        state: DisplayText::new("installed twice"),
    });
    Ok(told.collect())
}

/// What a header says: two counts, an index of tags, and their data, all big-endian (`hdrblobInit`).
fn package(blob: &[u8]) -> Option<Package> {
    let u32_at = |at: usize| Some(u32::from_be_bytes(blob.get(at..at.checked_add(4)?)?.try_into().ok()?));
    let count = usize::try_from(u32_at(0)?).ok().filter(|n| *n <= MOST_TAGS)?;
    let data = blob.get(8 + 16 * count..)?;
    let tag = |wanted: u32| {
        let entry = (0..count).map(|n| 8 + 16 * n).find(|at| u32_at(*at) == Some(wanted))?;
        data.get(usize::try_from(u32_at(entry + 8)?).ok()?..)
    };
    let text = |wanted| {
        let bytes = tag(wanted)?;
        let end = bytes.iter().take(256).position(|b| *b == 0)?;
        Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
    };
    Some(Package {
        name: text(NAME)?,
        version: format!("{}-{}", text(VERSION)?, text(RELEASE)?),
        arch: text(ARCH).unwrap_or_else(|| "none".to_owned()),
        installed_at: tag(INSTALL_TIME).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b).into()),
    })
}
