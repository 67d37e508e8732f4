//! What dissect.target reads of an image.

use crate::ours::{Login, Start};
use model::ports::UnixMicros;
use qemu_tests::Result;
use qemu_tests::dissect::Dissect;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// Its functions that read what is read here too.
const FUNCTIONS: &[&str] = &["journal", "wtmp", "dpkg.status", "dpkg.log", "apt.logs"];
/// Most packages of a transaction that are compared, as ours tells no more.
const MOST_PACKAGES: usize = 64;

/// The same as ours, and its records as it gives them.
pub(crate) struct Theirs {
    records: BTreeMap<&'static str, Vec<Value>>,
    pub(crate) starts: Vec<Start>,
    pub(crate) logins: Vec<Login>,
    pub(crate) packages: Vec<(String, String)>,
    pub(crate) last_line: Vec<(i64, String)>,
    pub(crate) transactions: Vec<(i64, Vec<String>)>,
}

impl Theirs {
    pub(crate) fn of(image: &Path, dissect: &Dissect) -> Result<Self> {
        let mut records = BTreeMap::new();
        for function in FUNCTIONS {
            records.insert(*function, dissect.records(image, function)?);
        }
        Ok(Self {
            starts: starts(&records["journal"])?,
            logins: logins(&records["wtmp"])?,
            packages: packages(&records["dpkg.status"]),
            last_line: last_line(&records["dpkg.log"])?,
            transactions: transactions(&records["apt.logs"])?,
            records,
        })
    }

    /// How many records a function gave.
    pub(crate) fn count(&self, function: &str) -> usize {
        self.records.get(function).map_or(0, Vec::len)
    }
}

fn word<'a>(record: &'a Value, key: &str) -> &'a str {
    record[key].as_str().unwrap_or_default()
}

/// `2026-11-30T18:04:39.646478+00:00`, in microseconds since 1970.
fn micros(record: &Value) -> Result<i64> {
    let text = word(record, "ts");
    let unread = || format!("no time: {record}");
    let (date, time) = text.strip_suffix("+00:00").and_then(|t| t.split_once('T')).ok_or_else(unread)?;
    let (time, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let numbers =
        |text: &str, by: char| text.split(by).map(str::parse::<u16>).collect::<std::result::Result<Vec<_>, _>>();
    let ([year, month, day], [hour, minute, second]) = (&numbers(date, '-')?[..], &numbers(time, ':')?[..]) else {
        return Err(unread().into());
    };
    let small = |n: u16| u8::try_from(n);
    let whole = UnixMicros::from_civil(
        i64::from(*year),
        small(*month)?,
        small(*day)?,
        small(*hour)?,
        small(*minute)?,
        small(*second)?,
    );
    Ok(whole.ok_or_else(unread)?.0 + format!("{fraction:0<6}").parse::<i64>()?)
}

/// Records of each start, in the order in which they were first seen.
fn starts(records: &[Value]) -> Result<Vec<Start>> {
    let mut all: Vec<Start> = Vec::new();
    for record in records {
        let (id, at) = (word(record, "kernel_boot_id"), micros(record)?);
        match all.iter_mut().find(|start| start.0 == id) {
            Some((_, first, last, count)) => (*first, *last, *count) = ((*first).min(at), (*last).max(at), *count + 1),
            None => all.push((id.to_owned(), at, at, 1)),
        }
    }
    all.sort_by_key(|start| start.1);
    Ok(all)
}

fn logins(records: &[Value]) -> Result<Vec<Login>> {
    let mut all: Vec<Login> = Vec::new();
    for record in records {
        let at = micros(record)?.div_euclid(1_000_000);
        match (word(record, "ut_type"), word(record, "ut_user")) {
            ("BOOT_TIME", "reboot") => all.push((at, None)),
            ("RUN_LVL", "shutdown") => all.last_mut().ok_or("a shutdown before any start")?.1 = Some(at),
            _ => {}
        }
    }
    Ok(all)
}

fn packages(records: &[Value]) -> Vec<(String, String)> {
    let there = records
        .iter()
        .filter(|r| !matches!(word(r, "status").rsplit(' ').next(), Some("config-files" | "not-installed")));
    let mut all: Vec<_> = there.map(|r| (word(r, "name").to_owned(), word(r, "version").to_owned())).collect();
    all.sort();
    all
}

/// The line that the last record is of. Of lines that are about no package, it makes no record.
fn last_line(records: &[Value]) -> Result<Vec<(i64, String)>> {
    let Some(record) = records.last() else { return Ok(Vec::new()) };
    let of = |key| word(record, key);
    let old = if of("version_old").is_empty() { "<none>" } else { of("version_old") };
    let line = match of("operation") {
        "status" => format!("status {} {}:{} {}", of("status"), of("name"), of("arch"), of("version")),
        operation => format!("{operation} {}:{} {old} {}", of("name"), of("arch"), of("version")),
    };
    Ok(vec![(micros(record)?.div_euclid(1_000_000), line)])
}

/// What one command did has one time.
fn transactions(records: &[Value]) -> Result<Vec<(i64, Vec<String>)>> {
    let mut all: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for record in records {
        let name = word(record, "package_name").split([' ', ':']).next().unwrap_or_default();
        all.entry(micros(record)?.div_euclid(1_000_000)).or_default().push(name.to_owned());
    }
    for names in all.values_mut() {
        names.truncate(MOST_PACKAGES);
        names.sort();
    }
    Ok(all.into_iter().collect())
}
