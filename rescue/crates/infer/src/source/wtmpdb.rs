//! wtmpdb's login records, which take the place of wtmp (thkukuk/wtmpdb 0.13, `lib/wtmpdb.c`, `lib/sqlite.c`): a table of SQLite, a row
//! for each start and each login, the end of which is written into it.

use super::sqlite::{Database, Files, Order};
use super::{evidence, stamp, unreadable};
use crate::want::DATABASE;
use model::evidence::{Evidence, Fact, Origin};
use model::ports::UnixMicros;
use std::ops::ControlFlow;

/// `BOOT_TIME` in the column `Type`.
const BOOT_TIME: i64 = 1;

/// Reads the newest start.
pub(super) fn parse(origin: &Origin, files: Files<'_>) -> Vec<Evidence> {
    let newest = match newest(files) {
        Ok(newest) => newest,
        Err(e) => return vec![unreadable(origin, "the login record (wtmpdb)", &e)],
    };
    let Some((began, ended)) = newest else {
        return vec![evidence(origin, Fact::NotThere, "no start is recorded in the login record (wtmpdb)", None)];
    };
    let says = match ended {
        true => "the login record (wtmpdb) has the end of the last start",
        false => "the login record (wtmpdb) has no end of the last start",
    };
    let fact = Fact::WtmpLastBoot { shutdown_follows: ended, run_level: None };
    vec![evidence(origin, fact, says, Some(stamp(UnixMicros(began))))]
}

/// When the newest start began, and whether its end is on record.
fn newest(files: Files<'_>) -> Result<Option<(i64, bool)>, String> {
    let mut database = Database::open(files, DATABASE)?;
    let Some(table) = database.table("wtmp")? else { return Err("it has no table of logins".to_owned()) };
    let mut newest = None;
    database.rows(&table, Order::Newest, &mut |row| {
        if table.value(row, "Type").int() != Some(BOOT_TIME) {
            return ControlFlow::Continue(());
        }
        newest = table.value(row, "Login").int().map(|began| (began, table.value(row, "Logout").int().is_some()));
        ControlFlow::Break(())
    })?;
    Ok(newest)
}
