use super::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs the real SQLite on a database; gives what it prints.
fn sqlite(database: &Path, script: &str) -> String {
    let out = Command::new("sqlite3").arg("-bail").arg(database).arg(".nullvalue NULL").arg(script).output();
    let out = out.expect("sqlite3 cannot be run: install the package sqlite3");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// A database and what lies beside it.
struct Copy {
    database: Vec<u8>,
    wal: Option<Vec<u8>>,
    journal: Option<Vec<u8>>,
}

impl Copy {
    fn of(path: &Path) -> Self {
        let beside = |suffix: &str| fs::read(PathBuf::from(format!("{}{suffix}", path.display()))).ok();
        Self { database: fs::read(path).unwrap(), wal: beside("-wal"), journal: beside("-journal") }
    }

    /// The rows as SQLite's own shell prints them.
    fn rows(&self, table: &str, order: Order) -> Result<Vec<String>, String> {
        let files = Files {
            database: &self.database,
            wal: self.wal.as_ref().map(|b| b as &dyn ReadAt),
            journal: self.journal.as_ref().map(|b| b as &dyn ReadAt),
        };
        let mut database = Database::open(files, 64 << 20)?;
        let table = database.table(table)?.ok_or("no such table")?;
        let mut lines = Vec::new();
        database.rows(&table, order, &mut |row| {
            assert_eq!(row.values[0], Value::Int(row.number), "the first column is the number");
            let told = |value: &Value| match value {
                Value::Null => "NULL".to_owned(),
                Value::Int(n) => n.to_string(),
                Value::Real(n) => n.to_string(),
                Value::Text(text) => String::from_utf8_lossy(text).into_owned(),
                Value::Blob(bytes) => bytes.iter().map(|b| format!("{b:02X}")).collect(),
            };
            lines.push(row.values.iter().map(told).collect::<Vec<_>>().join("|"));
            ControlFlow::Continue(())
        })?;
        for number in [1, 77, 3999, 4000, 4001] {
            let found = database.row(&table, number)?;
            assert_eq!(found.is_some(), lines.iter().any(|l| l.starts_with(&format!("{number}|"))), "row {number}");
        }
        Ok(lines)
    }
}

const MAKE: &str = "CREATE TABLE other(x);
    CREATE TABLE \"things\" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL DEFAULT (lower('A,B')), n, real REAL,
        big BLOB, UNIQUE(id, name), CHECK (n <> 'x,y'));
    WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM c WHERE i<4000)
    INSERT INTO things(name, n, real, big) SELECT 'name ' || i, CASE i%5 WHEN 0 THEN NULL WHEN 1 THEN 0 WHEN 2 THEN -i*i*i ELSE i<<(i%50) END,
        i+0.5, CASE WHEN i%100=0 THEN zeroblob(i*3) || 'x' ELSE NULL END FROM c;";
/// Blobs are printed as hexadecimal digits.
const PRINT: &str =
    "SELECT id, name, n, real, CASE WHEN big IS NULL THEN NULL ELSE hex(big) END FROM things ORDER BY id";

/// What SQLite itself makes of the files: it rolls back, and takes the log in.
fn oracle(path: &Path) -> Vec<String> {
    sqlite(path, PRINT).lines().map(str::to_owned).collect()
}

fn hex_texts(lines: Vec<String>) -> Vec<String> {
    // `zeroblob || 'x'` is text to SQLite, which prints it as such where nobody asks for hexadecimal digits.
    let told = |line: String| match line.rsplit_once('|') {
        Some((rest, big)) if big.ends_with('x') => {
            format!("{rest}|{}", big.bytes().map(|b| format!("{b:02X}")).collect::<String>())
        }
        _ => line,
    };
    lines.into_iter().map(told).collect()
}

#[test]
fn every_row_in_order() {
    for page in [512, 4096, 65_536] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        sqlite(&path, &format!("PRAGMA page_size={page}; {MAKE} DELETE FROM things WHERE id % 7 = 3;"));
        let copy = Copy::of(&path);
        let mut rows = hex_texts(copy.rows("things", Order::Oldest).unwrap());
        assert_eq!(rows, oracle(&path), "pages of {page} bytes");
        rows.reverse();
        assert_eq!(hex_texts(copy.rows("things", Order::Newest).unwrap()), rows);
    }
}

#[test]
fn what_was_committed_into_the_log_counts() {
    let dir = tempfile::tempdir().unwrap();
    let (path, cut) = (dir.path().join("db"), dir.path().join("cut"));
    let copy = format!(".shell cp {0} {1} && cp {0}-wal {1}-wal", path.display(), cut.display());
    let change = "UPDATE things SET n = 'changed' WHERE id % 3 = 0; DELETE FROM things WHERE id > 3000;";
    // The last transaction is in the log in part only: it was never committed.
    let open = "PRAGMA cache_size=5; BEGIN; UPDATE things SET name = 'lost';";
    let script = format!(
        "PRAGMA journal_mode=WAL;\nPRAGMA wal_autocheckpoint=0;\n{MAKE}\n{change}\n{open}\n{copy}\nROLLBACK;\n"
    );
    let file = dir.path().join("script");
    fs::write(&file, script).unwrap();
    sqlite(&path, &format!(".read {}", file.display()));
    let copy = Copy::of(&cut);
    assert!(copy.wal.as_ref().is_some_and(|wal| wal.len() > 100_000));
    let rows = hex_texts(copy.rows("things", Order::Oldest).unwrap());
    assert_eq!(rows, oracle(&cut));
    assert!(rows.len() == 3000 && rows[2].contains("changed") && !rows.iter().any(|r| r.contains("lost")));
    // A log that is not read to its end may have more: then nothing is told of the database.
    let files = Files { database: &copy.database, wal: copy.wal.as_ref().map(|b| b as &dyn ReadAt), journal: None };
    assert!(Database::open(files, 64 << 10).is_err_and(|e| e.contains("larger")));
    assert!(
        Copy { wal: None, ..copy }.rows("things", Order::Oldest).is_err(),
        "without the log there is nothing of it"
    );
}

#[test]
fn a_change_that_was_cut_off_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let (path, cut) = (dir.path().join("db"), dir.path().join("cut"));
    let copy = format!(".shell cp {0} {1} && cp {0}-journal {1}-journal", path.display(), cut.display());
    let open = "PRAGMA cache_size=5; BEGIN; UPDATE things SET name = 'half done';";
    let file = dir.path().join("script");
    fs::write(&file, format!("{MAKE}\n{open}\n{copy}\nROLLBACK;\n")).unwrap();
    sqlite(&path, &format!(".read {}", file.display()));
    let copy = Copy::of(&cut);
    assert!(copy.journal.as_ref().is_some_and(|journal| journal.len() > 100_000));
    let raw = Copy { journal: None, ..Copy::of(&cut) }.rows("things", Order::Oldest).unwrap();
    assert!(raw.iter().any(|r| r.contains("half done")), "some of it is in the file");
    let rows = hex_texts(copy.rows("things", Order::Oldest).unwrap());
    assert_eq!(rows, oracle(&cut));
    assert!(!rows.iter().any(|r| r.contains("half done")));
}

#[test]
fn columns_are_told() {
    let names =
        |sql: &str| columns(sql).map(|c| c.into_iter().map(|(name, n)| format!("{name}{n}")).collect::<Vec<_>>());
    assert_eq!(
        names(
            "CREATE TABLE 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, FOREIGN KEY (hnum) REFERENCES 'P'(hnum))"
        ),
        Some(vec!["keyfalse".to_owned(), "hnumfalse".to_owned()])
    );
    let packages = "CREATE TABLE IF NOT EXISTS 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT,blob BLOB NOT NULL)";
    assert_eq!(names(packages), Some(vec!["hnumtrue".to_owned(), "blobfalse".to_owned()]));
    let commented = "CREATE TABLE t (\n a INTEGER PRIMARY KEY, -- the, (first\n b TEXT, /* not, this */ \"c--d\" TEXT, d DEFAULT '/*'\n)";
    let told = ["atrue", "bfalse", "c--dfalse", "dfalse"].map(str::to_owned);
    assert_eq!(names(commented), Some(told.to_vec()));
    assert_eq!(names("CREATE TABLE t (a, b) WITHOUT ROWID"), None);
    assert_eq!(names("CREATE TABLE t"), None);
}

/// No damage makes it panic, go on for ever, or give more rows than there can be.
#[test]
fn damage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("db");
    sqlite(&path, &format!("PRAGMA page_size=512; {MAKE}"));
    let whole = fs::read(&path).unwrap();
    let mut seed = 1u64;
    for _ in 0..300 {
        let mut database = whole.clone();
        for _ in 0..20 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(seed >> 33).unwrap() % database.len();
            database[at] = seed.to_le_bytes()[2];
        }
        let files = Files { database: &database, wal: None, journal: None };
        let Ok(mut open) = Database::open(files, 64 << 20) else { continue };
        let Ok(Some(table)) = open.table("things") else { continue };
        let mut rows = 0;
        let _ = open.rows(&table, Order::Newest, &mut |_| {
            rows += 1;
            ControlFlow::Continue(())
        });
        assert!(rows <= MOST_STEPS);
        let _ = open.row(&table, 2000);
    }
    // A tree that leads back to its own root.
    let mut ring = whole;
    let root = 512
        * usize::try_from(
            Database::open(Files { database: &ring, wal: None, journal: None }, 1 << 20)
                .unwrap()
                .table("things")
                .unwrap()
                .unwrap()
                .root
                - 1,
        )
        .unwrap();
    let child = u32::try_from(root / 512 + 1).unwrap().to_be_bytes();
    ring[root + 8..root + 12].copy_from_slice(&child);
    let mut open = Database::open(Files { database: &ring, wal: None, journal: None }, 64 << 20).unwrap();
    let table = open.table("things").unwrap().unwrap();
    assert!(open.rows(&table, Order::Newest, &mut |_| ControlFlow::Continue(())).is_err());
}
