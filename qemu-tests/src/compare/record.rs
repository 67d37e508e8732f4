//! What a stage measured so far, kept in a file: a run that is cut off goes on after it.

use qemu_tests::Result;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// The program that was measured, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct By {
    pub(super) program: String,
    pub(super) date: String,
}

/// Rows of a stage.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record<T> {
    /// What they are of: the stage's recipe and the program.
    of: String,
    pub(super) by: By,
    pub(super) rows: Vec<T>,
}

impl<T: Serialize + DeserializeOwned> Record<T> {
    /// That of a run of the same that was cut off, or an empty one.
    pub(super) fn taken_up(file: &Path, of: &str, by: &By) -> Self {
        let known = Self::open(file).filter(|r| r.of == of);
        known.unwrap_or_else(|| Self { of: of.to_owned(), by: by.clone(), rows: Vec::new() })
    }

    /// The one of the last run that came to its end.
    pub(super) fn last(file: &Path) -> Option<Self> {
        Self::open(&done(file))
    }

    fn open(file: &Path) -> Option<Self> {
        fs::read(file).ok().and_then(|b| serde_json::from_slice(&b).ok())
    }

    /// One more row: from here on a run that is cut off goes on after it.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub(super) fn add(&mut self, row: T, file: &Path) -> Result<()> {
        self.rows.push(row);
        let partial = file.with_extension("partial");
        fs::write(&partial, serde_json::to_vec(self)?)?;
        Ok(fs::rename(partial, file)?)
    }

    /// The stage is over; the next run measures anew.
    ///
    /// # Errors
    /// Where there is no row.
    pub(super) fn end(&self, file: &Path) -> Result<()> {
        Ok(fs::rename(file, done(file))?)
    }
}

/// Where what a whole run measured is kept.
pub(super) fn done(file: &Path) -> PathBuf {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    file.with_file_name(format!("{stem}-done.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_kept_until_the_stage_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("roots.json");
        let by = By { program: "a".to_owned(), date: "today".to_owned() };
        let mut record = Record::taken_up(&file, "this", &by);
        record.add(7_u64, &file).unwrap();
        assert_eq!(Record::<u64>::taken_up(&file, "this", &By::default()).by, by, "who measured its first rows");
        assert!(Record::<u64>::taken_up(&file, "that", &by).rows.is_empty());
        assert!(Record::<u64>::last(&file).is_none());
        record.end(&file).unwrap();
        assert!(Record::<u64>::taken_up(&file, "this", &by).rows.is_empty());
        assert_eq!(Record::<u64>::last(&file).unwrap().rows, [7]);
    }
}
