//! wtmpdb's login records, which take the place of wtmp (thkukuk/wtmpdb 0.13, `lib/wtmpdb.c`, `lib/sqlite.c`): a table of SQLite, a row
//! for each start and each login, the end of which is written into it.

use super::sqlite::{Database, Files, Order};
use super::{MOST_STARTS, evidence, stamp, unreadable};
use crate::want::DATABASE;
use model::evidence::{Evidence, Fact, Origin, RecordedStart};
use model::ports::UnixMicros;
use std::ops::ControlFlow;

/// `BOOT_TIME` in the column `Type`.
const BOOT_TIME: i64 = 1;

/// Reads the newest starts.
pub(super) fn parse(origin: &Origin, files: Files<'_>) -> Vec<Evidence> {
    let mut starts = match newest(files) {
        Ok(starts) => starts.into_iter(),
        Err(e) => return vec![unreadable(origin, "the login record (wtmpdb)", &e)],
    };
    let Some(RecordedStart { began, ended }) = starts.next() else {
        return vec![evidence(origin, Fact::NotThere, "no start is recorded in the login record (wtmpdb)", None)];
    };
    let says = match ended {
        Some(_) => "the login record (wtmpdb) has the end of the last start",
        None => "the login record (wtmpdb) has no end of the last start",
    };
    let before = starts.collect();
    let fact = Fact::WtmpLastBoot { shutdown_follows: ended.is_some(), run_level: None, ended, before, how: None };
    vec![evidence(origin, fact, says, Some(stamp(began)))]
}

/// The newest starts, newest first.
fn newest(files: Files<'_>) -> Result<Vec<RecordedStart>, String> {
    let mut database = Database::open(files, DATABASE)?;
    let Some(table) = database.table("wtmp")? else { return Err("it has no table of logins".to_owned()) };
    let mut starts = Vec::new();
    database.rows(&table, Order::Newest, &mut |row| {
        if table.value(row, "Type").int() != Some(BOOT_TIME) {
            return ControlFlow::Continue(());
        }
        // A row without a time tells nothing, and the ones before it are no longer the newest.
        let Some(began) = table.value(row, "Login").int().map(UnixMicros) else { return ControlFlow::Break(()) };
        starts.push(RecordedStart { began, ended: table.value(row, "Logout").int().map(UnixMicros) });
        if starts.len() > MOST_STARTS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(starts)
}
