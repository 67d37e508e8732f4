//! What starting needs: kernel, initial RAM file system, modules, init, C library, loader and their configuration.
//!
//! Each file is judged alone, by its head: there, not empty, not zeros (what a cut-off write leaves), and of the kind it should
//! be where kinds are known. Which belongs to which is a matter for [`crate::combine`]; paths carry the versions.

use super::bytes::head;
use super::{evidence, unreadable};
use crate::want::Source;
use model::evidence::{BootPart, Evidence, Fact, Origin};
use model::inspection::{FileKind, ListedFile};
use model::ports::ReadAt;
use model::text::{DisplayText, RawName};

/// Bytes of a file's beginning that are judged.
const HEAD: u64 = 4096;
/// Bytes of a configuration that are judged.
const CONFIG: u64 = 1 << 20;
/// Most kernels, modules or loaders told of one directory.
const MOST_TOLD: usize = 256;

/// A part that was looked for at one of its places and is not there; [`crate::combine`] says whether it is anywhere.
pub(super) fn missing(origin: &Origin, part: BootPart) -> Evidence {
    let path = origin.path.as_ref().map(RawName::display).unwrap_or_default();
    told(origin, part, Some(&format!("{path} is missing")))
}

/// The fact that a part is in order, or what is wrong with it.
pub(crate) fn told(origin: &Origin, part: BootPart, broken: Option<&str>) -> Evidence {
    let path = origin.path.as_ref().map(RawName::display).unwrap_or_default();
    let says = broken.map_or_else(|| format!("{path} is in order"), str::to_owned);
    evidence(origin, Fact::BootPart { part, broken: broken.map(DisplayText::new) }, &says, None)
}

fn part_of(source: Source) -> Option<BootPart> {
    Some(match source {
        Source::Kernel => BootPart::Kernel,
        Source::Initramfs => BootPart::Initramfs,
        Source::ModulesDep | Source::ModuleDirs => BootPart::Modules,
        Source::Init => BootPart::Init,
        Source::Libc | Source::Loader => BootPart::Libc,
        Source::Fstab => BootPart::Fstab,
        Source::GrubConfig => BootPart::LoaderConfig,
        Source::EspLoaders => BootPart::Loader,
        _ => return None,
    })
}

/// Judges the head of a file.
pub(super) fn parse(source: Source, origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let Some(part) = part_of(source) else { return Vec::new() };
    let most = if source == Source::GrubConfig { CONFIG } else { HEAD };
    let bytes = match head(file, most) {
        Ok(bytes) => bytes,
        Err(e) => return vec![unreadable(origin, "something that starting needs", &e.to_string())],
    };
    let path = origin.path.as_ref().map(RawName::display).unwrap_or_default();
    // An empty fstab is a good one (everything may be found by type), and one that is all comments looks like nothing else.
    let broken = if bytes.is_empty() {
        (source != Source::Fstab).then(|| format!("{path} is empty"))
    } else if bytes.iter().all(|b| *b == 0) {
        Some(format!("{path} holds nothing but zeros"))
    } else {
        match source {
            Source::Init if !(elf(&bytes) || bytes.starts_with(b"#!")) => Some(format!("{path} is not a program")),
            Source::Libc | Source::Loader if !elf(&bytes) => Some(format!("{path} is not a library")),
            Source::Fstab if bytes.contains(&0) => Some(format!("{path} holds zero bytes")),
            _ => None,
        }
    };
    let mut found = vec![told(origin, part, broken.as_deref())];
    if let Some(machine) = elf_machine(&bytes).filter(|_| source == Source::Init && broken.is_none()) {
        let fact = Fact::ProgramMachine { machine: machine.into() };
        found.push(evidence(origin, fact, &format!("{path} is a program for {machine}"), None));
    }
    found
}

/// The machine that a program is made for (`e_machine`), in the words that Debian's names of libraries have.
fn elf_machine(bytes: &[u8]) -> Option<&'static str> {
    let little = elf(bytes) && bytes.get(5) == Some(&1);
    match u16::from_le_bytes([*bytes.get(18)?, *bytes.get(19)?]) {
        _ if !little => None,
        3 => Some("i386"),
        40 => Some("arm"),
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        _ => None,
    }
}

fn elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF") && bytes.len() > 64
}

/// Reads `/boot`, the directory of modules, or a directory of the ESP.
pub(super) fn parse_listing(source: Source, origin: &Origin, entries: &[ListedFile]) -> Vec<Evidence> {
    let directory = origin.path.as_ref().map(|p| p.0.clone()).unwrap_or_default();
    let path_of =
        |name: &[u8]| Origin { path: Some(RawName([&directory, &b"/"[..], name].concat())), ..origin.clone() };
    let files = || entries.iter().filter(|e| e.name.0 != b"lost+found");
    let nothing = |what: &str| {
        let shown = DisplayText::from_bytes(&directory);
        vec![evidence(origin, Fact::NotThere, &format!("{shown} {what}"), None)]
    };
    let mut found: Vec<Evidence> = match source {
        // A mount point whose volume was not found is empty too: this says nothing about the kernel.
        Source::BootDir if files().next().is_none() => return nothing("is empty"),
        Source::BootDir => files()
            .filter_map(|e| {
                let (part, _) = versioned(&[&b"/boot/"[..], &e.name.0].concat())?;
                let broken =
                    (e.kind == FileKind::File && e.size.0 == 0).then(|| format!("{} is empty", e.name.display()));
                let wanted = matches!(e.kind, FileKind::File | FileKind::Symlink);
                wanted.then(|| told(&path_of(&e.name.0), part, broken.as_deref()))
            })
            .take(MOST_TOLD)
            .collect(),
        Source::ModuleDirs => files()
            .filter(|e| e.kind == FileKind::Directory)
            .map(|e| told(&path_of(&e.name.0), BootPart::Modules, None))
            .take(MOST_TOLD)
            .collect(),
        Source::EspLoaders => files()
            .filter(|e| e.kind == FileKind::File && e.name.0.to_ascii_lowercase().ends_with(b".efi"))
            .map(|e| {
                let broken = (e.size.0 == 0).then(|| format!("{} is empty", e.name.display()));
                told(&path_of(&e.name.0), BootPart::Loader, broken.as_deref())
            })
            .take(MOST_TOLD)
            .collect(),
        _ => return Vec::new(),
    };
    if source == Source::BootDir && !found.iter().any(|e| is_part(e, BootPart::Kernel)) {
        found.push(told(origin, BootPart::Kernel, Some("there is no kernel in /boot")));
    }
    if source == Source::ModuleDirs && found.is_empty() {
        return nothing("holds no modules");
    }
    found
}

/// True where the evidence is about that part.
pub(crate) fn is_part(e: &Evidence, wanted: BootPart) -> bool {
    matches!(&e.fact, Fact::BootPart { part, .. } if *part == wanted)
}

/// Which versioned part a path is, and of which kernel version: `/boot/vmlinuz-V`, `/boot/initrd.img-V` (Debian),
/// `/boot/initramfs-V.img` (Fedora, Arch), `/boot/initrd-V` (SUSE), `/lib/modules/V[/...]`. What no kernel can be called is no version
/// (`__NEW_UTS_LEN`: 64 bytes).
pub(crate) fn versioned(path: &[u8]) -> Option<(BootPart, String)> {
    const LONGEST: usize = 64;
    let is_version = |v: &str| (1..=LONGEST).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_graphic());
    let text = |bytes: &[u8]| Some(std::str::from_utf8(bytes).ok()?.to_owned()).filter(|v| is_version(v));
    for modules in [&b"/usr/lib/modules/"[..], b"/lib/modules/"] {
        if let Some(rest) = path.strip_prefix(modules) {
            return Some((BootPart::Modules, text(rest.split(|b| *b == b'/').next()?)?));
        }
    }
    let name = path.strip_prefix(b"/boot/")?;
    // Leftovers of an interrupted update-initramfs, and package managers' old files.
    if [&b".new"[..], b".dpkg-bak", b".dpkg-new", b".old-dkms", b".bak", b".old"].iter().any(|s| name.ends_with(s)) {
        return None;
    }
    if let Some(version) = name.strip_prefix(b"vmlinuz-") {
        return Some((BootPart::Kernel, text(version)?));
    }
    let version = name
        .strip_prefix(b"initrd.img-")
        .or_else(|| name.strip_prefix(b"initramfs-").and_then(|n| n.strip_suffix(b".img")))
        .or_else(|| name.strip_prefix(b"initrd-"))?;
    Some((BootPart::Initramfs, text(version)?))
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;
    use model::units::ByteLen;

    fn entry(name: &str, kind: FileKind, size: u64) -> ListedFile {
        ListedFile { name: RawName::from(name), kind, size: ByteLen(size), modified: None }
    }

    fn broken(source: Source, path: &str, bytes: &[u8]) -> Option<String> {
        match &parse(source, &at(path), &bytes.to_vec())[0].fact {
            Fact::BootPart { broken, .. } => broken.as_ref().map(|b| b.as_str().to_owned()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn files_by_their_heads() {
        let elf = [&b"\x7fELF\x02\x01\x01"[..], &[0; 100]].concat();
        assert_eq!(broken(Source::Init, "/sbin/init", &elf), None);
        assert_eq!(broken(Source::Init, "/sbin/init", b"#!/bin/sh\n"), None);
        assert_eq!(broken(Source::Init, "/sbin/init", b"garbage").unwrap(), "/sbin/init is not a program");
        assert_eq!(broken(Source::Libc, "/x/libc.so.6", &[0; 5000]).unwrap(), "/x/libc.so.6 holds nothing but zeros");
        assert_eq!(broken(Source::Libc, "/x/libc.so.6", b"").unwrap(), "/x/libc.so.6 is empty");
        assert_eq!(broken(Source::Fstab, "/etc/fstab", b""), None);
        assert_eq!(broken(Source::GrubConfig, "/boot/grub/grub.cfg", b"").unwrap(), "/boot/grub/grub.cfg is empty");
        assert_eq!(broken(Source::Initramfs, "/boot/initrd.img-1", b"\x28\xb5\x2f\xfd...."), None);
    }

    #[test]
    fn what_boot_holds() {
        let listing = [
            entry("vmlinuz-6.1.0-18-amd64", FileKind::File, 8_000_000),
            entry("initrd.img-6.1.0-18-amd64", FileKind::File, 0),
            entry("initrd.img-6.1.0-18-amd64.new", FileKind::File, 10),
            entry("config-6.1.0-18-amd64", FileKind::File, 10),
            entry("grub", FileKind::Directory, 4096),
        ];
        let found = parse_listing(Source::BootDir, &at("/boot"), &listing);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].origin.path, Some(RawName::from("/boot/vmlinuz-6.1.0-18-amd64")));
        assert!(matches!(&found[1].fact, Fact::BootPart { part: BootPart::Initramfs, broken: Some(_) }));
        let found = parse_listing(Source::BootDir, &at("/boot"), &listing[3..]);
        assert!(matches!(&found[0].fact, Fact::BootPart { part: BootPart::Kernel, broken: Some(_) }));
        let found = parse_listing(Source::BootDir, &at("/boot"), &[entry("lost+found", FileKind::Directory, 4096)]);
        assert_eq!(found[0].fact, Fact::NotThere);
    }

    #[test]
    fn versions_of_paths() {
        let version = |p: &str| versioned(p.as_bytes());
        let v = |part, v: &str| Some((part, v.to_owned()));
        assert_eq!(version("/boot/vmlinuz-6.1.0-18-amd64"), v(BootPart::Kernel, "6.1.0-18-amd64"));
        assert_eq!(version("/boot/initramfs-6.9.fc40.img"), v(BootPart::Initramfs, "6.9.fc40"));
        assert_eq!(version("/usr/lib/modules/6.1/modules.dep"), v(BootPart::Modules, "6.1"));
        assert_eq!(version("/boot/initrd.img-6.1.new"), None);
        assert_eq!(version("/boot/vmlinuz"), None);
        assert_eq!(version("/boot/vmlinuz-"), None);
        assert_eq!(version("/boot/vmlinuz-6.1\u{16}"), None);
        assert_eq!(version(&format!("/boot/vmlinuz-6.{}", "1".repeat(63))), None);
    }
}
