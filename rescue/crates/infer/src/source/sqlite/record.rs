//! Pages of a table's tree, and rows.

use super::pager::HEADER;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) enum Value {
    Null,
    Int(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Value {
    pub(in super::super) fn int(&self) -> Option<i64> {
        if let Self::Int(n) = self { Some(*n) } else { None }
    }

    /// Text for people; what is no UTF-8 in it is replaced.
    pub(in super::super) fn text(&self) -> Option<String> {
        if let Self::Text(text) = self { Some(String::from_utf8_lossy(text).into_owned()) } else { None }
    }

    pub(in super::super) fn bytes(&self) -> Option<&[u8]> {
        if let Self::Text(bytes) | Self::Blob(bytes) = self { Some(bytes) } else { None }
    }

    pub(super) fn is_text(&self, other: &str) -> bool {
        matches!(self, Self::Text(text) if text.eq_ignore_ascii_case(other.as_bytes()))
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Row {
    /// Its number (`rowid`).
    pub(in super::super) number: i64,
    /// Its values, in the order of the columns; columns that were added to the table later may be missing.
    pub(in super::super) values: Vec<Value>,
}

/// A number of one to nine bytes ("Record Format"), and how many it takes.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut n = 0u64;
    for (i, byte) in bytes.iter().take(8).enumerate() {
        n = n << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((n, i + 1));
        }
    }
    Some((n << 8 | u64::from(*bytes.get(8)?), 9))
}

/// The values of a row.
pub(super) fn decode(payload: &[u8]) -> Option<Vec<Value>> {
    let (len, mut at) = varint(payload)?;
    let head = payload.get(..usize::try_from(len).ok()?)?;
    let mut body = payload.get(head.len()..)?;
    let mut values = Vec::new();
    while at < head.len() {
        let (kind, used) = varint(head.get(at..)?)?;
        at += used;
        let len = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            10 | 11 => return None,
            n => usize::try_from((n - 12) / 2).ok()?,
        };
        let (own, rest) = body.split_at_checked(len)?;
        body = rest;
        values.push(match kind {
            0 => Value::Null,
            8 => Value::Int(0),
            9 => Value::Int(1),
            1..=6 => Value::Int(integer(own)),
            7 => Value::Real(f64::from_be_bytes(*own.first_chunk()?)),
            n if n % 2 == 0 => Value::Blob(own.to_vec()),
            _ => Value::Text(own.to_vec()),
        });
    }
    Some(values)
}

/// A big-endian number in two's complement of one to eight bytes.
fn integer(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|b| b & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |n, b| n << 8 | i64::from(*b))
}

/// Where a row lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The number of the page.
    pub(super) page: u32,
    /// The first byte within it.
    pub(super) at: usize,
}

/// Where a cell of a table's tree leads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell {
    /// To another page.
    Child(u32),
    /// To a row.
    Leaf(Place),
}

/// A page of a table's tree ("B-tree Pages").
pub(super) struct Page<'a> {
    bytes: &'a [u8],
    number: u32,
    leaf: bool,
}

impl<'a> Page<'a> {
    pub(super) fn of(bytes: &'a [u8], number: u32) -> Result<Self, String> {
        match bytes.get(from(number)) {
            Some(0x0d) => Ok(Self { bytes, number, leaf: true }),
            Some(0x05) => Ok(Self { bytes, number, leaf: false }),
            kind => Err(format!("page {number} of the database is of kind {kind:?}, where a table's is wanted")),
        }
    }

    fn u16_at(&self, at: usize) -> Option<usize> {
        Some(usize::from(u16::from_be_bytes(self.bytes.get(at..at + 2)?.try_into().ok()?)))
    }

    fn u32_at(&self, at: usize) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes.get(at..at + 4)?.try_into().ok()?))
    }

    /// Where its cells lie: one after the other by their rows.
    fn places(&self) -> Option<Vec<usize>> {
        let from = from(self.number);
        let first = from + if self.leaf { 8 } else { 12 };
        let place = |n| self.u16_at(first + 2 * n).filter(|at| *at < self.bytes.len());
        (0..self.u16_at(from + 3)?).map(place).collect()
    }

    /// What its cells lead to, in the order of their rows.
    pub(super) fn cells(&self) -> Result<Vec<Cell>, String> {
        let cells = || {
            let places = self.places()?;
            if self.leaf {
                return Some(places.iter().map(|at| Cell::Leaf(Place { page: self.number, at: *at })).collect());
            }
            let mut children: Vec<Cell> = Vec::with_capacity(places.len() + 1);
            for at in places {
                children.push(Cell::Child(self.u32_at(at)?));
            }
            children.push(Cell::Child(self.u32_at(from(self.number) + 8)?));
            Some(children)
        };
        cells().ok_or_else(|| format!("page {} of the database is damaged", self.number))
    }

    /// The first of its cells that has, or leads to, a row of that number or a later one. The last child has no number: it leads to all
    /// that come.
    pub(super) fn seek(&self, number: i64) -> Result<Option<Cell>, String> {
        let cells = self.cells()?;
        let places = self.places().unwrap_or_default();
        let key = |at: &usize| {
            let cell = self.bytes.get(*at..)?;
            // A row has its length before its number, a child the page.
            let skip = if self.leaf { varint(cell)?.1 } else { 4 };
            Some(varint(cell.get(skip..)?)?.0.cast_signed())
        };
        let nth = places.iter().position(|at| key(at).is_some_and(|key| key >= number)).unwrap_or(places.len());
        Ok(cells.get(nth).copied())
    }
}

/// Where a page's header begins: the first page has the database's before it.
fn from(number: u32) -> usize {
    if number == 1 { HEADER } else { 0 }
}
