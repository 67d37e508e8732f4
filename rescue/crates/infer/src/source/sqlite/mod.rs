//! SQLite's database files, to be read only: tables by name, rows in order or from the newest (sqlite.org/fileformat2.html,
//! version of SQLite 3.46).
//!
//! What a program that was killed left beside the file counts: of the write-ahead log (`-wal`) all that was committed, and of a
//! rollback journal (`-journal`) the pages as they were before the change that was not finished. Both lie over the file in memory.
//! There is no SQL here, and no index is used: the tables that tell of package managers are small, or read from their end.

mod overlay;
mod pager;
mod record;

use model::ports::ReadAt;
use pager::Pager;
use record::{Cell, Page, Place, decode, varint};
pub(super) use record::{Row, Value};
use std::ops::ControlFlow;

/// Levels of a tree: one of 2^31 pages with two children each has 31.
const MOST_DEPTH: usize = 32;
/// Bytes of one row that are read: the header of the largest package there is takes some megabytes.
const MOST_ROW: usize = 16 << 20;
/// Longest schema that is read, in rows.
const MOST_TABLES: usize = 1024;
/// Most pages and rows that are visited: a damaged tree may lead to the same page again and again.
const MOST_STEPS: u32 = 2_000_000;

/// The files of one database.
#[derive(Clone, Copy)]
pub struct Files<'a> {
    /// The database itself.
    pub database: &'a dyn ReadAt,
    /// Its write-ahead log, where there is one.
    pub wal: Option<&'a dyn ReadAt>,
    /// Its rollback journal, where there is one.
    pub journal: Option<&'a dyn ReadAt>,
}

/// From which end rows are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Oldest,
    Newest,
}

/// A table: where its tree begins, and what its columns are called.
#[derive(Debug, Clone)]
pub(super) struct Table {
    root: u32,
    columns: Vec<String>,
    /// The column whose value is the row's number.
    number: Option<usize>,
}

impl Table {
    /// The place of a column in the rows.
    pub(super) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.eq_ignore_ascii_case(name))
    }

    /// The value of a column.
    pub(super) fn value<'r>(&self, row: &'r Row, name: &str) -> &'r Value {
        self.column(name).and_then(|at| row.values.get(at)).unwrap_or(&Value::Null)
    }
}

pub(super) struct Database<'a> {
    pages: Pager<'a>,
    /// Pages and rows that may still be visited.
    steps: u32,
}

impl<'a> Database<'a> {
    /// At most `budget` bytes are read of each file.
    ///
    /// # Errors
    /// A sentence that says why it is no database that can be read.
    pub(super) fn open(files: Files<'a>, budget: u64) -> Result<Self, String> {
        Ok(Self { pages: Pager::open(files, budget)?, steps: MOST_STEPS })
    }

    /// The table of that name, where there is one.
    ///
    /// # Errors
    /// Where the schema cannot be read.
    pub(super) fn table(&mut self, name: &str) -> Result<Option<Table>, String> {
        let mut found = None;
        let mut seen = 0;
        // type, name, tbl_name, rootpage, sql
        let schema = Table { root: 1, columns: Vec::new(), number: None };
        self.rows(&schema, Order::Oldest, &mut |row| {
            seen += 1;
            let [kind, this, _, root, sql, ..] = row.values.as_slice() else { return ControlFlow::Continue(()) };
            if kind.is_text("table") && this.is_text(name) {
                found = root.int().and_then(|n| u32::try_from(n).ok()).zip(sql.text());
            }
            if found.is_some() || seen > MOST_TABLES { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        let Some((root, sql)) = found else { return Ok(None) };
        let columns = columns(&sql).ok_or_else(|| format!("the columns of {name} cannot be told"))?;
        let number = columns.iter().position(|(_, is_number)| *is_number);
        Ok(Some(Table { root, columns: columns.into_iter().map(|(name, _)| name).collect(), number }))
    }

    /// Gives the rows of a table, in the order of their numbers, until `each` breaks off.
    ///
    /// # Errors
    /// Where the tree is damaged, or reading it takes more than may be read. What was given before holds.
    pub(super) fn rows(
        &mut self,
        table: &Table,
        order: Order,
        each: &mut dyn FnMut(&Row) -> ControlFlow<()>,
    ) -> Result<(), String> {
        let mut stack = vec![self.cells(table.root, order)?];
        while let Some(cells) = stack.last_mut() {
            let Some(cell) = cells.next() else {
                stack.pop();
                continue;
            };
            match cell {
                Cell::Child(page) => {
                    if stack.len() >= MOST_DEPTH {
                        return Err("a tree of the database is deeper than any can be".to_owned());
                    }
                    let cells = self.cells(page, order)?;
                    stack.push(cells);
                }
                Cell::Leaf(at) => {
                    let row = self.at(table, at)?;
                    if each(&row).is_break() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    /// The row of that number.
    ///
    /// # Errors
    /// As [`Database::rows`].
    pub(super) fn row(&mut self, table: &Table, number: i64) -> Result<Option<Row>, String> {
        let mut page = table.root;
        for _ in 0..MOST_DEPTH {
            let bytes = self.step(page)?;
            match Page::of(&bytes, page)?.seek(number)? {
                Some(Cell::Child(child)) => page = child,
                Some(Cell::Leaf(at)) => return self.at(table, at).map(|row| Some(row).filter(|r| r.number == number)),
                None => return Ok(None),
            }
        }
        Err("a tree of the database is deeper than any can be".to_owned())
    }

    /// A page that is visited.
    fn step(&mut self, page: u32) -> Result<Vec<u8>, String> {
        self.steps = self.steps.checked_sub(1).ok_or("the database leads round and round")?;
        self.pages.page(page)
    }

    /// What a page of a table's tree leads to.
    fn cells(&mut self, page: u32, order: Order) -> Result<std::vec::IntoIter<Cell>, String> {
        let bytes = self.step(page)?;
        let mut cells = Page::of(&bytes, page)?.cells()?;
        if order == Order::Newest {
            cells.reverse();
        }
        Ok(cells.into_iter())
    }

    /// The row at a place: what does not fit into its page is followed to pages of its own.
    fn at(&mut self, table: &Table, Place { page: number, at }: Place) -> Result<Row, String> {
        let bytes = self.step(number)?;
        let short = || format!("page {number} of the database ends within a row");
        let cell = bytes.get(at..).ok_or_else(short)?;
        let (len, used) = varint(cell).ok_or_else(short)?;
        let (row, more) = varint(cell.get(used..).unwrap_or_default()).ok_or_else(short)?;
        let len = usize::try_from(len).ok().filter(|len| *len <= MOST_ROW);
        let len = len.ok_or_else(|| format!("page {number} of the database has a row that is too long"))?;
        let (own, follows) = self.pages.local(len);
        let start = used + more;
        let mut payload = cell.get(start..start + own).ok_or_else(short)?.to_vec();
        if follows {
            let next = cell.get(start + own..start + own + 4).and_then(|b| b.first_chunk().copied());
            self.pages.follow(u32::from_be_bytes(next.ok_or_else(short)?), len, &mut payload)?;
        }
        let mut values = decode(&payload).ok_or_else(|| format!("page {number} of the database has a bad row"))?;
        let row = row.cast_signed();
        if let Some(value) = table.number.and_then(|at| values.get_mut(at)) {
            *value = Value::Int(row);
        }
        Ok(Row { number: row, values })
    }
}

/// The columns that a `CREATE TABLE` names, and whether each is the number of its row (`INTEGER PRIMARY KEY`). `None` for what has
/// none to read here: tables without row numbers, and such as are made of a `SELECT`.
fn columns(sql: &str) -> Option<Vec<(String, bool)>> {
    let sql = without_comments(sql);
    let (from, to) = (sql.find('(')?, sql.rfind(')')?);
    let (list, rest) = (sql.get(from + 1..to)?, sql.get(to + 1..)?);
    if rest.to_ascii_uppercase().contains("WITHOUT") {
        return None;
    }
    let mut parts = vec![String::new()];
    let (mut depth, mut quote) = (0u32, None);
    for c in list.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"' | '`') => quote = Some(c),
            (None, '[') => quote = Some(']'),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.checked_sub(1)?,
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut()?.push(c);
    }
    let constraint = ["CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN"];
    let column = |part: &String| {
        let part = part.trim();
        let name = part.split(|c: char| c.is_whitespace() || c == '(').next()?;
        let is_number = part.to_ascii_uppercase().split_whitespace().collect::<Vec<_>>().join(" ");
        let is_number = is_number.contains("INTEGER PRIMARY KEY") && !is_number.contains("PRIMARY KEY DESC");
        let name = name.trim_matches(['"', '\'', '`', '[', ']']);
        (!name.is_empty() && !constraint.contains(&name.to_ascii_uppercase().as_str()))
            .then(|| (name.to_owned(), is_number))
    };
    Some(parts.iter().filter_map(column).collect())
}

/// SQLite keeps the text of a schema as it was written, comments too.
fn without_comments(sql: &str) -> String {
    let (mut plain, mut rest) = (String::with_capacity(sql.len()), sql);
    while let Some(at) = rest.find(['-', '/', '\'', '"']) {
        let (before, from) = rest.split_at(at);
        plain.push_str(before);
        let quote = from.chars().next().unwrap_or_default();
        let (len, kept) = match quote {
            '\'' | '"' => (from[1..].find(quote).map_or(from.len(), |end| end + 2), true),
            _ if from.starts_with("--") => (from.find('\n').unwrap_or(from.len()), false),
            _ if from.starts_with("/*") => (from.find("*/").map_or(from.len(), |end| end + 2), false),
            _ => (1, true),
        };
        let (part, after) = from.split_at(len);
        plain.push_str(if kept { part } else { " " });
        rest = after;
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests;
