//! Files that package managers leave where they are cut off.
//!
//! dpkg: `*.dpkg-new` (unpacked, not yet in place), `*.dpkg-tmp` (the old one, kept for the way back), and the control files of the
//! package being unpacked in `/var/lib/dpkg/tmp.ci` (dpkg `src/main/archives.c`, `unpack.c`). rpm: `NAME;` and the second at which its
//! transaction began, in eight hexadecimal digits (`lib/fsm.c`); no later transaction takes them away. apk: `.apk.` and 48 hexadecimal
//! digits (`src/fs_fsys.c`).

use super::{evidence, stamp};
use model::evidence::{Evidence, Fact, Origin, PackageManager, Stamp};
use model::inspection::ListedFile;
use model::ports::UnixMicros;
use model::text::RawName;

/// Counts them in one directory, of each package manager.
pub(super) fn parse(origin: &Origin, entries: &[ListedFile]) -> Vec<Evidence> {
    let names = || entries.iter().map(|e| &e.name);
    let dpkg = names().filter(|n| is_dpkg(origin, &n.0));
    let rpm = names().filter(|n| rpm_began(&n.0).is_some());
    let apk = names().filter(|n| is_apk(&n.0));
    let mut found = Vec::new();
    found.extend(told(origin, PackageManager::Apt, dpkg.collect(), None));
    let newest = names().filter_map(|n| rpm_began(&n.0)).max();
    let newest = newest.map(|seconds| stamp(UnixMicros::from_seconds(seconds)));
    found.extend(told(origin, PackageManager::Rpm, rpm.collect(), newest));
    found.extend(told(origin, PackageManager::Apk, apk.collect(), None));
    found
}

fn told(origin: &Origin, manager: PackageManager, names: Vec<&RawName>, time: Option<Stamp>) -> Option<Evidence> {
    let directory = origin.path.as_ref().map(|p| p.0.clone()).unwrap_or_default();
    let first = names.iter().min()?;
    let example = RawName([&directory[..], b"/", &first.0].concat());
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let shown = example.display();
    let says = match manager {
        PackageManager::Apt if directory.ends_with(b"/tmp.ci") => {
            format!("dpkg was cut off while it unpacked a package ({shown} is left)")
        }
        PackageManager::Apt => format!("{count} files are half replaced by dpkg, such as {shown}"),
        PackageManager::Apk => format!("{count} files are left of a run of apk that was cut off, such as {shown}"),
        _ => {
            format!("{count} files are left of a transaction of rpm that was cut off, now or long ago, such as {shown}")
        }
    };
    Some(evidence(origin, Fact::HalfReplaced { manager, count, example }, &says, time))
}

/// When the transaction began that a file is left of, in seconds since 1970.
fn rpm_began(name: &[u8]) -> Option<i64> {
    let (name, digits) = name.split_last_chunk::<8>()?;
    if name.len() < 2
        || name.last() != Some(&b';')
        || !digits.iter().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b))
    {
        return None;
    }
    i64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// True where an entry of that name of the directory is left of something.
pub(super) fn is_one(directory: &Origin, name: &[u8]) -> bool {
    is_dpkg(directory, name) || rpm_began(name).is_some() || is_apk(name)
}

fn is_dpkg(directory: &Origin, name: &[u8]) -> bool {
    let control = directory.path.as_ref().is_some_and(|p| p.0.ends_with(b"/tmp.ci"));
    control || name.ends_with(b".dpkg-new") || name.ends_with(b".dpkg-tmp")
}

fn is_apk(name: &[u8]) -> bool {
    let digits = name.strip_prefix(b".apk.").unwrap_or_default();
    digits.len() == 48 && digits.iter().all(u8::is_ascii_hexdigit)
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
        let example = RawName::from("/usr/bin/a.dpkg-tmp");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].fact, Fact::HalfReplaced { manager: PackageManager::Apt, count: 2, example });
        assert!(parse(&at("/usr/bin"), &[file("x")]).is_empty());
        let found = parse(&at("/var/lib/dpkg/tmp.ci"), &[file("control")]);
        assert!(matches!(found[0].fact, Fact::HalfReplaced { count: 1, .. }));
    }

    #[test]
    fn those_of_rpm_tell_when() {
        let listing = ["bash;6924c5f0", "bash;6924c5f", ";6924c5f0", "a;6924C5F0", "[;00000010"].map(file);
        let found = parse(&at("/usr/bin"), &listing);
        let example = RawName::from("/usr/bin/[;00000010");
        assert_eq!(found[0].fact, Fact::HalfReplaced { manager: PackageManager::Rpm, count: 2, example });
        assert_eq!(found[0].time.unwrap().at, UnixMicros::from_seconds(0x6924_c5f0));
    }

    #[test]
    fn those_of_apk() {
        let listing = [file(&format!(".apk.{}", "0a".repeat(24))), file(".apk.0a"), file("x.apk")];
        let found = parse(&at("/usr/bin"), &listing);
        assert!(matches!(found[0].fact, Fact::HalfReplaced { manager: PackageManager::Apk, count: 1, .. }));
    }
}
