//! dnf's history of transactions: tables of SQLite, of dnf 4 (libdnf 0.73, `libdnf/transaction/Swdb.cpp`, `Transformer.cpp`) and of
//! dnf 5 (5.4, `libdnf5/transaction/db`), which number their states differently.
//!
//! dnf writes a transaction's row before it begins and its end after: a row without an end is one that was killed, or that did not
//! come to its end for other reasons. rpm's database has what is installed.

use super::sqlite::{Database, Files, Order, Table};
use super::transaction::{History, MOST_PACKAGES, MOST_TOLD, Transaction, short};
use super::{stamp, unreadable};
use crate::want::DATABASE;
use model::evidence::{Evidence, Origin, PackageManager};
use model::ports::UnixMicros;
use model::text::DisplayText;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

/// Rows of packages that are looked at for these.
const MOST_ROWS: usize = 20_000;

/// What the state of a transaction is called, and what it says.
struct Layout {
    state: &'static str,
    ended: i64,
    failed: i64,
    command: &'static str,
    /// What stands before a command: dnf 4 keeps it without the program's own name.
    program: &'static str,
}

/// `TransactionState` of dnf 4: 0 unknown, 1 done, 2 error.
const DNF4: Layout = Layout { state: "state", ended: 1, failed: 2, command: "cmdline", program: "dnf " };
/// `TransactionState` of dnf 5: 1 started, 2 ok, 3 error.
const DNF5: Layout = Layout { state: "state_id", ended: 2, failed: 3, command: "description", program: "" };

/// Reads the newest transactions.
pub(super) fn parse(origin: &Origin, files: Files<'_>) -> Vec<Evidence> {
    read(origin, files).unwrap_or_else(|e| vec![unreadable(origin, "dnf's history", &e)])
}

fn read(origin: &Origin, files: Files<'_>) -> Result<Vec<Evidence>, String> {
    let mut database = Database::open(files, DATABASE)?;
    let Some(table) = database.table("trans")? else { return Err("it has no table of transactions".to_owned()) };
    let layout = if table.column(DNF5.state).is_some() { DNF5 } else { DNF4 };
    let (mut told, mut numbers) = (Vec::new(), Vec::new());
    database.rows(&table, Order::Newest, &mut |row| {
        let state = table.value(row, layout.state).int();
        let began = table.value(row, "dt_begin").int();
        numbers.push(row.number);
        told.push(Transaction {
            began: began.map(|at| stamp(UnixMicros::from_seconds(at))),
            command: table.value(row, layout.command).text().unwrap_or_default(),
            ended: state == Some(layout.ended),
            failed: state == Some(layout.failed),
            packages: Vec::new(),
        });
        if told.len() < MOST_TOLD { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    // Names are a help for people: where they cannot be had, the transactions still are what they are.
    let mut named = names(&mut database, &numbers).unwrap_or_default();
    for (transaction, number) in told.iter_mut().zip(&numbers) {
        transaction.packages = named.remove(number).unwrap_or_default();
    }
    told.reverse();
    let history = History {
        manager: PackageManager::Dnf,
        program: layout.program,
        ended: "ended",
        open: "has no end in dnf's history",
    };
    Ok(history.newest(origin, told))
}

/// The names of the packages of transactions, by the transactions' numbers. dnf 4 keeps them with the packages, dnf 5 in a table of their
/// own.
fn names(database: &mut Database<'_>, transactions: &[i64]) -> Result<BTreeMap<i64, Vec<DisplayText>>, String> {
    let tables = (database.table("trans_item")?, database.table("rpm")?);
    let (Some(items), Some(packages)) = tables else { return Ok(BTreeMap::new()) };
    // Several transactions may have the same item in them.
    let mut wanted: BTreeMap<i64, BTreeSet<i64>> =
        transactions.iter().map(|number| (*number, BTreeSet::new())).collect();
    collect(database, &items, |row| {
        let number = items.value(row, "trans_id").int();
        if let Some(of) = number.and_then(|number| wanted.get_mut(&number))
            && of.len() < MOST_PACKAGES
        {
            of.extend(items.value(row, "item_id").int());
        }
        true
    })?;
    let all: BTreeSet<i64> = wanted.values().flatten().copied().collect();
    let mut names: BTreeMap<i64, String> = BTreeMap::new();
    let mut numbers: BTreeMap<i64, i64> = BTreeMap::new();
    collect(database, &packages, |row| {
        if let Some(item) = packages.value(row, "item_id").int().filter(|item| all.contains(item)) {
            names.extend(packages.value(row, "name").text().map(|name| (item, name)));
            numbers.extend(packages.value(row, "name_id").int().map(|number| (item, number)));
        }
        names.len().max(numbers.len()) < all.len()
    })?;
    if let Some(table) = database.table("pkg_name")? {
        for (item, number) in numbers {
            let name = database.row(&table, number)?.and_then(|row| table.value(&row, "name").text());
            names.extend(name.map(|name| (item, name)));
        }
    }
    let of = |items: BTreeSet<i64>| {
        let names: BTreeSet<&String> = items.iter().filter_map(|item| names.get(item)).collect();
        names.into_iter().map(|name| short(name)).collect()
    };
    Ok(wanted.into_iter().map(|(number, items)| (number, of(items))).collect())
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
