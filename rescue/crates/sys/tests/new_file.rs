//! A file that is made whole or not at all, and never over another.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use model::units::{ByteLen, ByteOffset};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use sys::new_file::{NewFile, NewFileError};

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn it_has_its_name_when_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let mut file = NewFile::create(&path).unwrap();
    file.set_len(ByteLen(64 << 20)).unwrap();
    file.write_all_at(ByteOffset(1 << 20), b"here").unwrap();
    assert_eq!(names(dir.path()), [format!("disk.img.part-{}", std::process::id())]);
    file.publish().unwrap();
    assert_eq!(names(dir.path()), ["disk.img"]);
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.len(), meta.permissions().mode() & 0o777, meta.nlink()), (64 << 20, 0o600, 1));
    assert!(meta.blocks() * 512 < 1 << 20, "holes take no room");
    assert_eq!(fs::read(&path).unwrap()[1 << 20..][..5], *b"here\0");
}

#[test]
fn what_is_given_up_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let mut file = NewFile::create(&dir.path().join("disk.img")).unwrap();
    file.write_all_at(ByteOffset(0), &[1; 4096]).unwrap();
    drop(file);
    assert!(names(dir.path()).is_empty());
}

#[test]
fn nothing_is_ever_taken_the_place_of() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::write(at("file"), "kept").unwrap();
    symlink(at("nowhere"), at("link")).unwrap();
    for name in ["file", "link"] {
        let e = NewFile::create(&at(name)).unwrap_err();
        assert!(matches!(e, NewFileError::Exists { disk: false, .. }), "{e:?}");
    }
    // It came while the file was written.
    let late = NewFile::create(&at("late")).unwrap();
    fs::write(at("late"), "kept").unwrap();
    let e = late.publish().unwrap_err();
    assert!(matches!(e, NewFileError::Exists { disk: false, .. }), "{e:?}");
    assert_eq!(names(dir.path()), ["file", "late", "link"]);
    for name in ["file", "late"] {
        assert_eq!(fs::read(at(name)).unwrap(), b"kept");
    }
    assert!(matches!(NewFile::create(Path::new("/")), Err(NewFileError::Nameless { .. })));
    assert!(matches!(NewFile::create(&at("no/such/dir")), Err(NewFileError::Io { .. })));
}
