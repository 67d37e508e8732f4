//! What starting needs, put together: of the places where a part may stand one is enough; a kernel needs its own initial RAM
//! file system and modules.

use crate::source::boot_files::{is_part, told, versioned};
use model::evidence::{BootPart, Evidence, Fact, Origin};
use model::text::RawName;
use std::collections::BTreeMap;

/// Pairs and folds the boot parts; all other evidence is left as it is.
pub(super) fn pair(all: Vec<Evidence>) -> Vec<Evidence> {
    let (parts, mut rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|e| matches!(e.fact, Fact::BootPart { .. }));
    let modules_looked_for =
        rest.iter().chain(&parts).any(|e| path(e).ends_with(b"lib/modules") || is_part(e, BootPart::Modules));
    let (versions, singles): (Vec<_>, Vec<_>) =
        parts.into_iter().partition(|e| e.origin.path.as_ref().is_some_and(|p| versioned(&p.0).is_some()));
    let versions = per_kernel(versions, modules_looked_for);
    if versions.iter().any(|e| is_part(e, BootPart::Modules)) {
        rest.retain(|e| !(e.fact == Fact::NotThere && path(e).ends_with(b"lib/modules")));
    }
    // A kernel for 64 bits may start a userland for 32.
    let of_init = rest.iter().find_map(|e| match &e.fact {
        Fact::ProgramMachine { machine } => Some(machine.as_str().to_owned()),
        _ => None,
    });
    let machine = of_init.or_else(|| versions.iter().find_map(machine_of_kernel).map(str::to_owned));
    let mut groups = BTreeMap::<u8, Vec<Evidence>>::new();
    for e in singles {
        let group = match &e.fact {
            Fact::BootPart { part: BootPart::Init, .. } => 0,
            Fact::BootPart { part: BootPart::Libc, .. } => 1,
            _ => 2,
        };
        groups.entry(group).or_default().push(e);
    }
    rest.extend(versions);
    rest.extend(init(groups.remove(&0).unwrap_or_default()));
    rest.extend(libc(groups.remove(&1).unwrap_or_default(), machine.as_deref()));
    rest.extend(groups.remove(&2).unwrap_or_default());
    rest
}

fn path(e: &Evidence) -> &[u8] {
    e.origin.path.as_ref().map_or(&[], |p| &p.0)
}

fn broken(e: &Evidence) -> Option<&str> {
    match &e.fact {
        Fact::BootPart { broken, .. } => broken.as_ref().map(|b| b.as_str()),
        _ => None,
    }
}

fn is_missing(e: &Evidence) -> bool {
    broken(e).is_some_and(|b| b.ends_with("is missing"))
}

/// One piece for each part of each version, the worst of what was seen; and what a kernel lacks.
fn per_kernel(parts: Vec<Evidence>, modules_looked_for: bool) -> Vec<Evidence> {
    let mut by_version = BTreeMap::<String, Vec<(BootPart, Evidence)>>::new();
    for e in parts {
        let Some((part, version)) = versioned(path(&e)) else { continue };
        let seen = by_version.entry(version).or_default();
        match seen.iter_mut().find(|(p, _)| *p == part) {
            None => seen.push((part, e)),
            Some((_, before)) if broken(before).is_none() && broken(&e).is_some() => *before = e,
            Some(_) => {}
        }
    }
    for (version, seen) in &mut by_version {
        let has = |part: BootPart| seen.iter().any(|(p, _)| *p == part);
        let Some((_, kernel)) = seen.iter().find(|(p, _)| *p == BootPart::Kernel) else { continue };
        let at = |path: String| Origin { path: Some(RawName(path.into_bytes())), ..kernel.origin.clone() };
        let mut lacking = Vec::new();
        if !has(BootPart::Initramfs) {
            let says = format!("kernel {version} has no initial RAM file system in /boot");
            lacking.push((
                BootPart::Initramfs,
                told(&at(format!("/boot/initrd.img-{version}")), BootPart::Initramfs, Some(&says)),
            ));
        }
        if !has(BootPart::Modules) && modules_looked_for {
            let says = format!("kernel {version} has no modules");
            lacking.push((
                BootPart::Modules,
                told(&at(format!("/lib/modules/{version}")), BootPart::Modules, Some(&says)),
            ));
        }
        seen.append(&mut lacking);
    }
    by_version.into_values().flatten().map(|(_, e)| e).collect()
}

/// The kernel's flavour tells the machine, in Debian's names.
fn machine_of_kernel(e: &Evidence) -> Option<&'static str> {
    let (part, version) = versioned(path(e))?;
    match version.rsplit('-').next()? {
        _ if part != BootPart::Kernel => None,
        "amd64" => Some("x86_64"),
        "arm64" => Some("aarch64"),
        _ => None,
    }
}

/// The kernel starts `/sbin/init` (kernel `init/main.c`), and so does Debian's initramfs; one that stands only elsewhere may do or not.
fn init(all: Vec<Evidence>) -> Vec<Evidence> {
    if all.is_empty() {
        return all;
    }
    let first: Vec<&Evidence> = all.iter().filter(|e| path(e).ends_with(b"/sbin/init")).collect();
    if let Some(sound) = first.iter().find(|e| broken(e).is_none()) {
        return vec![(*sound).clone()];
    }
    let other = all.iter().find(|e| !path(e).ends_with(b"/sbin/init") && broken(e).is_none());
    let mut kept: Vec<Evidence> = match first.iter().find(|e| !is_missing(e)).or(first.first()) {
        None => return all,
        Some(e) if !is_missing(e) => vec![(*e).clone()],
        Some(e) if other.is_some() => vec![told(&e.origin, BootPart::Init, Some("/sbin/init is missing"))],
        Some(e) => vec![told(&e.origin, BootPart::Init, Some("the init program (/sbin/init) is missing"))],
    };
    kept.extend(other.cloned());
    kept
}

/// The machine a library or loader is for, where its path tells.
fn machine_of_library(path: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(path);
    if text.contains('*') {
        return None;
    }
    let named = text.split('/').find_map(|c| c.split_once("-linux-").map(|(machine, _)| machine.to_owned()));
    match named.as_deref() {
        Some("ld") if text.contains("x86-64") => Some("x86_64".into()),
        Some("ld") if text.contains("aarch64") => Some("aarch64".into()),
        _ => named,
    }
}

/// The C library and its loader: one of each is enough, of the machine the kernel is for.
fn libc(all: Vec<Evidence>, machine: Option<&str>) -> Vec<Evidence> {
    let fits = |e: &&Evidence| match (machine_of_library(path(e)), machine) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    let is_loader = |e: &&Evidence| String::from_utf8_lossy(path(e)).contains("/ld-linux-");
    let libraries: Vec<&Evidence> = all.iter().filter(|e| !is_loader(e)).filter(fits).collect();
    let sound = libraries.iter().find(|e| broken(e).is_none());
    let mut kept = Vec::new();
    kept.extend(one_of(&libraries, "the C library (libc.so.6) is missing"));
    // Which loader is needed only a library (or the kernel) tells; musl's library is its own loader.
    let musl = sound.is_some_and(|e| String::from_utf8_lossy(path(e)).contains("ld-musl"));
    let machine = machine.map(str::to_owned).or_else(|| sound.and_then(|e| machine_of_library(path(e))));
    let loaders: Vec<&Evidence> =
        all.iter().filter(is_loader).filter(|e| machine.is_some() && machine_of_library(path(e)) == machine).collect();
    if !musl && let Some(machine) = &machine {
        let name = if machine == "x86_64" { "ld-linux-x86-64.so.2" } else { "ld-linux-aarch64.so.1" };
        kept.extend(one_of(&loaders, &format!("the dynamic loader ({name}) is missing")));
    }
    kept
}

/// A sound one, or else what is wrong with one that stands there, or else that there is none.
fn one_of(candidates: &[&Evidence], none: &str) -> Option<Evidence> {
    let sound = candidates.iter().find(|e| broken(e).is_none());
    if let Some(e) = sound.or_else(|| candidates.iter().find(|e| !is_missing(e))) {
        return Some((*e).clone());
    }
    candidates.first().map(|e| told(&e.origin, BootPart::Libc, Some(none)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::at;

    fn part(path: &str, part: BootPart, broken: Option<&str>) -> Evidence {
        told(&at(path), part, broken)
    }

    fn missing(path: &str, of: BootPart) -> Evidence {
        part(path, of, Some(&format!("{path} is missing")))
    }

    fn told_broken(all: Vec<Evidence>) -> Vec<String> {
        pair(all).iter().filter_map(|e| broken(e).map(str::to_owned)).collect()
    }

    #[test]
    fn a_kernel_lacks_what_its_version_has_not() {
        let all = vec![
            part("/boot/vmlinuz-6.1.0-18-amd64", BootPart::Kernel, None),
            part("/boot/vmlinuz-6.1.0-17-amd64", BootPart::Kernel, None),
            part("/boot/initrd.img-6.1.0-17-amd64", BootPart::Initramfs, None),
            part("/usr/lib/modules/6.1.0-17-amd64", BootPart::Modules, None),
            part("/usr/lib/modules/6.1.0-17-amd64/modules.dep", BootPart::Modules, None),
        ];
        assert_eq!(
            told_broken(all),
            ["kernel 6.1.0-18-amd64 has no initial RAM file system in /boot", "kernel 6.1.0-18-amd64 has no modules"]
        );
    }

    #[test]
    fn modules_nobody_looked_for_are_not_missed() {
        let all = vec![
            part("/boot/vmlinuz-6.1", BootPart::Kernel, None),
            part("/boot/initrd.img-6.1", BootPart::Initramfs, None),
        ];
        assert!(told_broken(all).is_empty());
    }

    #[test]
    fn one_place_is_enough() {
        let all = vec![
            missing("/lib/*-linux-*/libc.so.6", BootPart::Libc),
            part("/usr/lib/x86_64-linux-gnu/libc.so.6", BootPart::Libc, None),
            part("/lib64/ld-linux-x86-64.so.2", BootPart::Libc, None),
            missing("/lib/ld-linux-aarch64.so.1", BootPart::Libc),
            missing("/sbin/init", BootPart::Init),
            part("/usr/sbin/init", BootPart::Init, None),
        ];
        let paired = pair(all);
        assert!(paired.iter().all(|e| broken(e).is_none()), "{paired:?}");
        assert_eq!(paired.len(), 3);
    }

    #[test]
    fn a_library_of_another_machine_does_not_count() {
        let all = vec![
            part("/boot/vmlinuz-6.1-amd64", BootPart::Kernel, None),
            part("/boot/initrd.img-6.1-amd64", BootPart::Initramfs, None),
            part("/usr/lib/i386-linux-gnu/libc.so.6", BootPart::Libc, None),
            missing("/usr/lib64/libc.so.6", BootPart::Libc),
            missing("/lib64/ld-linux-x86-64.so.2", BootPart::Libc),
        ];
        assert_eq!(
            told_broken(all),
            ["the C library (libc.so.6) is missing", "the dynamic loader (ld-linux-x86-64.so.2) is missing"]
        );
    }

    #[test]
    fn the_init_program_tells_which_library_it_needs() {
        let machine = Fact::ProgramMachine { machine: "i386".into() };
        let all = vec![
            part("/boot/vmlinuz-6.1-amd64", BootPart::Kernel, None),
            part("/boot/initrd.img-6.1-amd64", BootPart::Initramfs, None),
            part("/usr/lib/i386-linux-gnu/libc.so.6", BootPart::Libc, None),
            missing("/usr/lib64/libc.so.6", BootPart::Libc),
            missing("/lib64/ld-linux-x86-64.so.2", BootPart::Libc),
            part("/sbin/init", BootPart::Init, None),
            crate::source::evidence(&at("/sbin/init"), machine, "", None),
        ];
        assert!(told_broken(all).is_empty(), "a userland for 32 bits, started by a kernel for 64");
    }

    #[test]
    fn a_loader_of_a_machine_nobody_has_is_not_missed() {
        let all = vec![
            part("/usr/lib/arm-linux-gnueabihf/libc.so.6", BootPart::Libc, None),
            missing("/lib64/ld-linux-x86-64.so.2", BootPart::Libc),
            missing("/lib/ld-linux-aarch64.so.1", BootPart::Libc),
        ];
        assert!(told_broken(all).is_empty());
    }

    #[test]
    fn init_elsewhere_is_said() {
        let gone = vec![missing("/sbin/init", BootPart::Init), missing("/usr/lib/systemd/systemd", BootPart::Init)];
        assert_eq!(told_broken(gone), ["the init program (/sbin/init) is missing"]);
        let link = vec![missing("/sbin/init", BootPart::Init), part("/usr/lib/systemd/systemd", BootPart::Init, None)];
        let paired = pair(link);
        assert_eq!(paired.len(), 2);
        assert_eq!(broken(&paired[0]), Some("/sbin/init is missing"));
        let zeros = vec![part("/sbin/init", BootPart::Init, Some("/sbin/init holds nothing but zeros"))];
        assert_eq!(told_broken(zeros), ["/sbin/init holds nothing but zeros"]);
    }
}
