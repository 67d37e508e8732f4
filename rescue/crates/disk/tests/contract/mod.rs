//! What every file system promises, asked of each with a directory of its own.

use disk::fs::FileSystem;
use model::inspection::FileKind;

/// Its listings agree with each other and with what each path leads to; `dir` has some entries, and `file` is a regular file.
pub(crate) fn listings(fs: &dyn FileSystem, dir: &str, file: &str) {
    let all = fs.read_dir(dir.as_bytes(), usize::MAX).unwrap();
    assert!(all.len() > 8, "{dir}: too few to tell");
    let wanted = |name: &[u8]| name.iter().map(|c| u32::from(*c)).sum::<u32>().is_multiple_of(2);
    for most in [0, 1, 7, all.len() - 1, all.len(), usize::MAX] {
        let first = &all[..most.min(all.len())];
        assert_eq!(fs.read_dir(dir.as_bytes(), most).unwrap(), first, "{dir}: the first {most}");
        let chosen: Vec<_> = first.iter().filter(|f| wanted(&f.name.0)).cloned().collect();
        assert_eq!(fs.select(dir.as_bytes(), most, &wanted).unwrap(), chosen, "{dir}: of the first {most}");
    }
    assert!(fs.select(dir.as_bytes(), usize::MAX, &|_| false).unwrap().is_empty());

    let id = fs.find(dir.as_bytes()).unwrap().unwrap().file;
    let named = fs.list(id, 0, usize::MAX).unwrap();
    assert!(named.iter().map(|n| &n.name).eq(all.iter().map(|f| &f.name)), "{dir}: the same names in the same order");
    assert_eq!(fs.list(id, 3, 4).unwrap(), named[3..7]);
    for (entry, named) in all.iter().zip(&named) {
        let path = [dir.as_bytes(), b"/", &entry.name.0].concat();
        assert_eq!(fs.stat(&path).unwrap().as_ref(), Some(entry));
        assert_eq!(fs.find(&path).unwrap().as_ref(), Some(named));
        assert_eq!(fs.open(&path).unwrap().is_some(), entry.kind == FileKind::File, "{entry:?}");
    }

    assert!(fs.open(file.as_bytes()).unwrap().is_some());
    let id = fs.find(file.as_bytes()).unwrap().unwrap().file;
    assert!(fs.list(id, 0, 9).is_err(), "{file}: no directory");
    for none in [file.to_owned(), format!("{file}/x"), format!("{dir}/not there"), "/not/there".to_owned()] {
        assert!(fs.read_dir(none.as_bytes(), 9).unwrap().is_empty(), "{none}");
        assert!(fs.select(none.as_bytes(), 9, &|_| true).unwrap().is_empty(), "{none}");
    }
}
