//! What keeps software beside or instead of a package manager that is read: it is named, and what it keeps is counted by the names in a
//! directory. Nothing is argued from that.

use super::evidence;
use model::evidence::{Evidence, Fact, Origin};
use model::inspection::{FileKind, ListedFile};
use model::text::DisplayText;

/// One of them: where it keeps things, which names count, and the words for it.
struct Kind {
    below: &'static str,
    ends: &'static str,
    counts: fn(&ListedFile) -> bool,
    name: &'static str,
    what: &'static str,
}

const KINDS: &[Kind] = &[
    Kind { below: "/var/lib/snapd/snaps", ends: "", counts: is_snap, name: "snap", what: "revisions of snaps" },
    Kind { below: "/var/lib/flatpak/app", ends: "", counts: is_directory, name: "flatpak", what: "applications" },
    Kind {
        below: "/nix/var/nix/profiles",
        ends: "",
        counts: is_generation,
        name: "nix",
        what: "generations of the system",
    },
    Kind { below: "/ostree/deploy/", ends: "/deploy", counts: is_directory, name: "ostree", what: "deployments" },
    Kind { below: "/var/db/pkg", ends: "", counts: is_directory, name: "portage", what: "categories of packages" },
    Kind { below: "/var/db/xbps", ends: "", counts: is_xbps, name: "xbps", what: "databases of packages" },
    Kind { below: "/var/lib/fwupd", ends: "", counts: is_fwupd, name: "fwupd", what: "histories of firmware updates" },
];

/// The one that a directory belongs to.
fn of(directory: &Origin) -> Option<&'static Kind> {
    let path = &directory.path.as_ref()?.0;
    let is_it = |k: &&Kind| match k.ends {
        "" => path == k.below.as_bytes(),
        ends => path.starts_with(k.below.as_bytes()) && path.ends_with(ends.as_bytes()),
    };
    KINDS.iter().find(is_it)
}

/// Names what a directory belongs to, where something of it is in there.
pub(super) fn parse(origin: &Origin, entries: &[ListedFile]) -> Vec<Evidence> {
    let Some(kind) = of(origin) else { return Vec::new() };
    let count = entries.iter().filter(|e| (kind.counts)(e)).count();
    if count == 0 {
        return Vec::new();
    }
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    let says = format!("{} is here ({count} {}): recognised, not read", kind.name, kind.what);
    vec![evidence(origin, Fact::Recognised { name: DisplayText::new(kind.name), count }, &says, None)]
}

fn is_directory(entry: &ListedFile) -> bool {
    entry.kind == FileKind::Directory
}

fn is_snap(entry: &ListedFile) -> bool {
    entry.name.0.ends_with(b".snap")
}

/// `system-N-link`.
fn is_generation(entry: &ListedFile) -> bool {
    let number = entry.name.0.strip_prefix(b"system-").and_then(|n| n.strip_suffix(b"-link")).unwrap_or_default();
    !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

fn is_xbps(entry: &ListedFile) -> bool {
    entry.name.0.starts_with(b"pkgdb-") && entry.name.0.ends_with(b".plist")
}

fn is_fwupd(entry: &ListedFile) -> bool {
    entry.name.0 == b"pending.db"
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;
    use model::text::RawName;
    use model::units::ByteLen;

    #[test]
    fn each_is_named_and_counted() {
        let entry = |name: &str, kind| ListedFile { name: RawName::from(name), kind, size: ByteLen(1), modified: None };
        let listing = [
            entry("core_1.snap", FileKind::File),
            entry("core_2.snap", FileKind::File),
            entry("partial", FileKind::Directory),
            entry("system-41-link", FileKind::Symlink),
            entry("system-x-link", FileKind::Symlink),
            entry("system", FileKind::Symlink),
            entry("pkgdb-0.38.plist", FileKind::File),
            entry("pending.db", FileKind::File),
        ];
        let told = |path: &str| {
            let fact = |e: Evidence| match e.fact {
                Fact::Recognised { name, count } => (name.as_str().to_owned(), count),
                other => panic!("{other:?}"),
            };
            parse(&at(path), &listing).into_iter().map(fact).next()
        };
        let is = |name: &str, count| Some((name.to_owned(), count));
        assert_eq!(told("/var/lib/snapd/snaps"), is("snap", 2));
        assert_eq!(told("/nix/var/nix/profiles"), is("nix", 1));
        assert_eq!(told("/ostree/deploy/fedora/deploy"), is("ostree", 1));
        assert_eq!(told("/var/db/xbps"), is("xbps", 1));
        assert_eq!(told("/var/lib/fwupd"), is("fwupd", 1));
        assert_eq!(told("/usr/bin"), None);
        assert!(parse(&at("/var/lib/flatpak/app"), &listing[..1]).is_empty());
    }
}
