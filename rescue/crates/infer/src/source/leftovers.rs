//! Files dpkg leaves where it is cut off: `*.dpkg-new` (unpacked, not yet in place), `*.dpkg-tmp` (the old one, kept for the way
//! back), and the control files of the package being unpacked in `/var/lib/dpkg/tmp.ci` (dpkg `src/main/archives.c`, `unpack.c`).

use super::evidence;
use model::evidence::{Evidence, Fact, Origin};
use model::inspection::ListedFile;
use model::text::RawName;

/// Counts them in one directory.
pub(super) fn parse(origin: &Origin, entries: &[ListedFile]) -> Vec<Evidence> {
    let directory = origin.path.as_ref().map(|p| p.0.clone()).unwrap_or_default();
    let control = directory.ends_with(b"/tmp.ci");
    let left: Vec<&ListedFile> = entries
        .iter()
        .filter(|e| control || e.name.0.ends_with(b".dpkg-new") || e.name.0.ends_with(b".dpkg-tmp"))
        .collect();
    let Some(first) = left.iter().map(|e| &e.name).min() else { return Vec::new() };
    let example = RawName([&directory[..], b"/", &first.0].concat());
    let count = u32::try_from(left.len()).unwrap_or(u32::MAX);
    let says = if control {
        format!("dpkg was cut off while it unpacked a package ({} is left)", example.display())
    } else {
        format!("{count} files are half replaced by dpkg, such as {}", example.display())
    };
    vec![evidence(origin, Fact::HalfReplaced { count, example }, &says, None)]
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;
    use model::inspection::FileKind;
    use model::units::ByteLen;

    fn file(name: &str) -> ListedFile {
        ListedFile { name: RawName::from(name), kind: FileKind::File, size: ByteLen(1), modified: None }
    }

    #[test]
    fn only_dpkgs_own() {
        let listing = ["x", "b.dpkg-new", "a.dpkg-tmp", "conf.dpkg-dist", ".dpkg-newer"].map(file);
        let found = parse(&at("/usr/bin"), &listing);
        assert_eq!(found[0].fact, Fact::HalfReplaced { count: 2, example: RawName::from("/usr/bin/a.dpkg-tmp") });
        assert!(parse(&at("/usr/bin"), &[file("x")]).is_empty());
        let found = parse(&at("/var/lib/dpkg/tmp.ci"), &[file("control")]);
        assert!(matches!(found[0].fact, Fact::HalfReplaced { count: 1, .. }));
    }
}
