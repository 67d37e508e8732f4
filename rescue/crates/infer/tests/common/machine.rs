//! Files of a real machine (see `fixtures/README.md`).

use super::at;
use infer::{Files, Source, parse, parse_database};
use model::evidence::Evidence;

const DIR: &str = "/var/log/journal/51cf6ccc767e4b04a52ea314ea229dd7";

/// A fixture, unpacked.
pub(crate) fn unpacked(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::decompress(bytes, 9 << 20).unwrap()
}

/// Its journals.
pub(crate) fn journals() -> Vec<Evidence> {
    let new = unpacked(include_bytes!("../fixtures/cut.journal.zst"));
    let old = unpacked(include_bytes!("../fixtures/ended-then-cut.journal.zst"));
    let mut all = parse(Source::Journal, &at(&format!("{DIR}/system.journal")), &new);
    let renamed = format!("{DIR}/system@000660ebd7df145e-06116874038ece40.journal~");
    all.extend(parse(Source::Journal, &at(&renamed), &old));
    all
}

/// Its login record.
pub(crate) fn wtmp() -> Vec<Evidence> {
    parse(Source::Wtmp, &at("/var/log/wtmp"), &unpacked(include_bytes!("../fixtures/wtmp.zst")))
}

/// The login record of a newer one that was shut down and started again; `cut`: and started once more after it was cut off.
pub(crate) fn wtmpdb(cut: bool) -> Vec<Evidence> {
    let database = match cut {
        true => unpacked(include_bytes!("../fixtures/wtmpdb-cut.db.zst")),
        false => unpacked(include_bytes!("../fixtures/wtmpdb-ended.db.zst")),
    };
    let files = Files { database: &database, wal: None, journal: None };
    parse_database(Source::Wtmpdb, &at("/var/log/wtmp.db"), files)
}
