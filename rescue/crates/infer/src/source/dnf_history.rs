//! dnf's history of transactions: tables of SQLite, of dnf 4 (libdnf 0.73, `libdnf/transaction/Swdb.cpp`, `Transformer.cpp`) and of
//! dnf 5 (5.2, `libdnf5/transaction/db`), which number their states differently.
//!
//! dnf writes a transaction's row before it begins and its end after: a row without an end is one that was killed, or that did not
//! come to its end for other reasons. rpm's database has what is installed.

use super::sqlite::{Database, Files, Order, Table};
use super::{evidence, stamp, unreadable};
use crate::want::DATABASE;
use model::evidence::{Evidence, Fact, Origin, PackageManager};
use model::ports::UnixMicros;
use model::text::DisplayText;
use std::collections::BTreeSet;
use std::ops::ControlFlow;

/// Transactions told.
const MOST_TOLD: u32 = 3;
/// Packages told of the newest.
const MOST_PACKAGES: usize = 64;
/// Rows of packages that are looked at for these.
const MOST_ROWS: usize = 20_000;
/// Longest text told.
const MOST_TEXT: usize = 200;

/// What the state of a transaction is called, and what it says.
struct Layout {
    state: &'static str,
    ended: i64,
    failed: i64,
    command: &'static str,
}

/// `TransactionState` of dnf 4: 0 unknown, 1 done, 2 error.
const DNF4: Layout = Layout { state: "state", ended: 1, failed: 2, command: "cmdline" };
/// `TransactionState` of dnf 5: 1 started, 2 ok, 3 error.
const DNF5: Layout = Layout { state: "state_id", ended: 2, failed: 3, command: "description" };

/// Reads the newest transactions.
pub(super) fn parse(origin: &Origin, files: Files<'_>) -> Vec<Evidence> {
    read(origin, files).unwrap_or_else(|e| vec![unreadable(origin, "dnf's history", &e)])
}

fn read(origin: &Origin, files: Files<'_>) -> Result<Vec<Evidence>, String> {
    let mut database = Database::open(files, DATABASE)?;
    let Some(table) = database.table("trans")? else { return Err("it has no table of transactions".to_owned()) };
    let layout = if table.column(DNF5.state).is_some() { DNF5 } else { DNF4 };
    let (mut found, mut newest, mut age) = (Vec::new(), None, 0u32);
    database.rows(&table, Order::Newest, &mut |row| {
        let state = table.value(row, layout.state).int();
        let began = table.value(row, "dt_begin").int();
        let ended = state == Some(layout.ended);
        let failed = state == Some(layout.failed);
        let command = DisplayText::new(&table.value(row, layout.command).text().unwrap_or_default());
        let command = DisplayText::new(&command.shortened(MOST_TEXT));
        newest = newest.or(Some(row.number));
        found.push((
            began,
            Fact::Transaction { manager: PackageManager::Dnf, age, command, ended, failed, packages: Vec::new() },
        ));
        age += 1;
        if age < MOST_TOLD { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    // Names are a help for people: where they cannot be had, the transaction still is what it is.
    if let (Some(number), Some((_, Fact::Transaction { packages, .. }))) = (newest, found.first_mut()) {
        *packages = names(&mut database, number).unwrap_or_default();
    }
    Ok(found.into_iter().map(|(began, fact)| told(origin, began, fact)).collect())
}

fn told(origin: &Origin, began: Option<i64>, fact: Fact) -> Evidence {
    let says = match &fact {
        Fact::Transaction { command, ended, failed, .. } => {
            let what = if command.as_str().is_empty() { "a transaction".to_owned() } else { command.shortened(60) };
            let how = match (ended, failed) {
                (_, true) => "failed",
                (true, false) => "ended",
                (false, false) => "has no end in dnf's history",
            };
            format!("dnf {what}: {how}")
        }
        _ => String::new(),
    };
    evidence(origin, fact, &says, began.map(|at| stamp(UnixMicros::from_seconds(at))))
}

/// The names of the packages of a transaction of dnf 4.
fn names(database: &mut Database<'_>, transaction: i64) -> Result<Vec<DisplayText>, String> {
    let tables = (database.table("trans_item")?, database.table("rpm")?);
    let (Some(items), Some(packages)) = tables else { return Ok(Vec::new()) };
    let mut wanted = BTreeSet::new();
    collect(database, &items, |row| {
        if items.value(row, "trans_id").int() == Some(transaction) {
            wanted.extend(items.value(row, "item_id").int());
        }
        wanted.len() < MOST_PACKAGES
    })?;
    let mut names = BTreeSet::new();
    collect(database, &packages, |row| {
        if packages.value(row, "item_id").int().is_some_and(|item| wanted.contains(&item)) {
            names.extend(packages.value(row, "name").text().map(|name| DisplayText::new(&name).shortened(MOST_TEXT)));
        }
        names.len() < wanted.len()
    })?;
    Ok(names.iter().map(|name| DisplayText::new(name)).collect())
}

/// Gives the newest rows, while `each` wants more.
fn collect(
    database: &mut Database<'_>,
    table: &Table,
    mut each: impl FnMut(&super::sqlite::Row) -> bool,
) -> Result<(), String> {
    let mut left = MOST_ROWS;
    database.rows(table, Order::Newest, &mut |row| {
        left -= 1;
        if each(row) && left > 0 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
}
