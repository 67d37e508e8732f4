//! How often boot entries were tried: counters in the names of files, `NAME+LEFT-DONE.conf` (and `.efi`, of kernels in one piece), or
//! `NAME+LEFT.conf` before the first try (UAPI group's Boot Loader Specification, "Boot counting"; systemd 252
//! `src/boot/efi/boot.c`, `src/boot/bless-boot.c`).
//!
//! systemd-boot renames the file before each try; once `boot-complete.target` is reached, `systemd-bless-boot` takes the counters
//! away, and where a start is known to be bad it sets LEFT to 0.

use super::evidence;
use model::evidence::{Evidence, Fact, Origin};
use model::inspection::ListedFile;
use model::text::DisplayText;

/// Most entries that are told of.
const MOST: usize = 32;

/// A boot entry: its name, and how often it may be tried and was, where that is counted.
struct Entry<'a> {
    name: &'a [u8],
    tries: Option<(u32, u32)>,
}

/// True for the names of boot entries.
pub(super) fn is_entry(name: &[u8]) -> bool {
    stem(name).is_some()
}

/// Tells the counters of the entries in a directory.
pub(super) fn parse(origin: &Origin, entries: &[ListedFile]) -> Vec<Evidence> {
    let all: Vec<Entry<'_>> = entries.iter().filter_map(|e| stem(&e.name.0).map(counted)).collect();
    let good = all.iter().filter(|e| e.tries.is_none_or(|(left, _)| left > 0)).count();
    let mut counters: Vec<(&[u8], u32, u32)> =
        all.iter().filter_map(|e| e.tries.map(|(left, done)| (e.name, left, done))).collect();
    counters.sort_unstable();
    let told = |(name, left, done): (&[u8], u32, u32)| {
        let entry = DisplayText::from_bytes(name);
        let others = u32::try_from(good.saturating_sub(usize::from(left > 0))).unwrap_or(u32::MAX);
        let says = match (left, done) {
            (0, _) => format!("the boot entry {entry} was tried {done} times, never confirmed, and is given up"),
            (_, 0) => format!("the boot entry {entry} was not tried yet"),
            _ => format!("the boot entry {entry} was tried {done} times and is not confirmed; {left} tries are left"),
        };
        evidence(origin, Fact::BootTries { entry, left, done, others }, &says, None)
    };
    counters.into_iter().take(MOST).map(told).collect()
}

/// A boot entry's name without its ending.
fn stem(name: &[u8]) -> Option<&[u8]> {
    let at = name.iter().rposition(|b| *b == b'.')?;
    let ending = name.get(at + 1..)?;
    // FAT keeps the case that a name was made with, and finds it by any.
    let is_one = ending.eq_ignore_ascii_case(b"conf") || ending.eq_ignore_ascii_case(b"efi");
    name.get(..at).filter(|stem| is_one && !stem.is_empty())
}

/// An entry by its name without the ending.
fn counted(stem: &[u8]) -> Entry<'_> {
    // A plus may belong to the name.
    let with_counters = || {
        let at = stem.iter().rposition(|b| *b == b'+')?;
        let mut numbers = stem.get(at + 1..)?.splitn(2, |b| *b == b'-');
        let left = number(numbers.next()?)?;
        let done = numbers.next().map_or(Some(0), number)?;
        Some(Entry { name: stem.get(..at)?, tries: Some((left, done)) })
    };
    with_counters().unwrap_or(Entry { name: stem, tries: None })
}

fn number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;
    use model::inspection::FileKind;
    use model::text::RawName;
    use model::units::ByteLen;

    fn told(names: &[&str]) -> Vec<(String, u32, u32, u32)> {
        let file = |name: &&str| ListedFile {
            name: RawName::from(*name),
            kind: FileKind::File,
            size: ByteLen(1),
            modified: None,
        };
        let listing: Vec<ListedFile> = names.iter().map(file).collect();
        let fact = |e: Evidence| match e.fact {
            Fact::BootTries { entry, left, done, others } => (entry.as_str().to_owned(), left, done, others),
            other => panic!("{other:?}"),
        };
        parse(&at("/boot/efi/loader/entries"), &listing).into_iter().map(fact).collect()
    }

    #[test]
    fn counters_of_names() {
        let of = |name: &str| told(&[name]).first().map(|(name, left, done, _)| (name.clone(), *left, *done));
        assert_eq!(of("a-6.1+3.conf"), Some(("a-6.1".into(), 3, 0)));
        assert_eq!(of("a-6.1+2-1.conf"), Some(("a-6.1".into(), 2, 1)));
        assert_eq!(of("a+b+0-3.EFI"), Some(("a+b".into(), 0, 3)));
        for plain in ["a.conf", "a+b.conf", "a+.conf", "a+3-.conf", "a+3-x.conf", "a+3-1-1.conf", "a+99999999999.conf"]
        {
            assert_eq!(of(plain), None, "{plain}");
        }
        for none in ["+3", "a+3.txt", ".conf", "conf", ""] {
            assert!(!is_entry(none.as_bytes()) || none == "+3", "{none}");
        }
    }

    #[test]
    fn others_that_may_start() {
        assert_eq!(told(&["a+0-3.conf", "b.conf", "c+2-1.conf"]), [("a".into(), 0, 3, 2), ("c".into(), 2, 1, 1)]);
        assert_eq!(told(&["a+0-3.conf", "x.txt"]), [("a".into(), 0, 3, 0)]);
    }
}
