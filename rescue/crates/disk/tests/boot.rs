//! Boot chains of disks put together with sfdisk, mke2fs, mkfs.vfat and mtools: whole ones, and ones with a link broken. What is put
//! right is judged by e2fsck, fsck.vfat and sfdisk, and followed again.
#![allow(clippy::unwrap_used, reason = "tests")]

mod boot_disk;
mod host;

use boot_disk::{BOOT, Made, OLD, OLDER, ROOT, efi, initramfs};
use disk::boot::{Sources, check, repairs};
use disk::inspect;
use host::{Seeded, attempt, source};
use model::boot::{BootChain, BootLink, BootRepairs, LinkPart, LinkState, Way};
use model::id::DiskNo;
use model::inspection::{Inspection, Volume};
use model::ports::{ReadAt, Window};
use std::rc::Rc;
use std::sync::Arc;

const NO_ROOM: &str = "no room";

/// What is read off a disk: its systems' chains, and what can be put right.
fn read(bytes: &[u8]) -> (Inspection, Vec<BootChain>, BootRepairs) {
    let bytes: Arc<dyn ReadAt> = Arc::new(bytes.to_vec());
    let inspection = inspect(&[source(0, bytes.clone())]);
    let open = |volume: &Volume| {
        let window = Window::new(bytes.clone(), volume.extent).unwrap();
        Ok(Rc::from(disk::fs::open(&volume.content, Arc::new(window))?))
    };
    let disk = |no: DiskNo| (no == DiskNo(0)).then(|| bytes.clone());
    let sources = Sources { inspection: &inspection, open: &open, disk: &disk };
    let chains = inspection.systems.iter().map(|s| check(sources, s)).collect();
    let repairs = repairs(sources, &inspection.systems);
    (inspection.clone(), chains, repairs)
}

/// The same disk with what can be put right.
fn repaired(bytes: &[u8], inspection: &Inspection, repairs: &BootRepairs) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for patch in &repairs.patches {
        let start = inspection.volume(&patch.volume).map_or(0, |v| v.extent.start().0) + patch.at.0;
        let start = usize::try_from(start).unwrap();
        out[start..start + patch.bytes.len()].copy_from_slice(&patch.bytes);
    }
    out
}

fn broken(chains: &[BootChain]) -> Vec<&BootLink> {
    chains.iter().flat_map(|c| &c.links).filter(|l| l.state == LinkState::Broken).collect()
}

/// How a case ends.
enum Then {
    /// All of it is put right: by so many things.
    Resolves(usize),
    /// It is told, and left.
    Stays,
}

/// Breaks a disk and says what has to be found: the link, and words of what is said of it.
fn case(name: &str, made: &Made, wanted: &[(LinkPart, &str)], then: &Then) {
    let (inspection, chains, repairs) = read(&made.bytes);
    assert_eq!(chains.len(), 1, "{name}: {:?}", inspection.findings);
    let found = broken(&chains);
    assert_eq!(found.len(), wanted.len(), "{name}: {found:#?}");
    for (part, words) in wanted {
        let is = |l: &&&BootLink| l.part == *part && l.says.as_str().contains(words);
        assert!(found.iter().any(|l| is(&l)), "{name}: {part:?} {words}: {found:#?}");
    }
    match then {
        Then::Stays => {
            assert_eq!((repairs.items.len(), repairs.patches.len()), (0, 0), "{name}: {repairs:?}");
            assert_eq!(repairs.after, chains, "{name}");
        }
        Then::Resolves(items) => {
            assert_eq!(repairs.items.len(), *items, "{name}: {:?} {:?}", repairs.items, repairs.left);
            let bytes = repaired(&made.bytes, &inspection, &repairs);
            let (_, after, again) = read(&bytes);
            assert_eq!(broken(&after), Vec::<&BootLink>::new(), "{name}");
            assert_eq!(after[0].state(), LinkState::Ok, "{name}: {after:#?}");
            assert_eq!(after, repairs.after, "{name}: as it was foretold");
            assert!(again.items.is_empty() && again.patches.is_empty(), "{name}: {:?}", again.items);
            made.judge(name, &bytes);
        }
    }
}

#[test]
fn a_whole_chain_resolves() {
    let made = Made::new(|_| {});
    let (_, chains, repairs) = read(&made.bytes);
    assert_eq!(broken(&chains), Vec::<&BootLink>::new());
    assert_eq!(chains[0].state(), LinkState::Ok, "{chains:#?}");
    assert!(repairs.items.is_empty() && repairs.left.is_empty() && repairs.patches.is_empty(), "{repairs:?}");
    let has = |part: LinkPart| chains[0].links.iter().filter(|l| l.part == part && l.state == LinkState::Ok).count();
    for part in [
        LinkPart::Table,
        LinkPart::Esp,
        LinkPart::LoaderConfig,
        LinkPart::Fallback,
        LinkPart::Menu,
        LinkPart::MenuVolume,
        LinkPart::Kernel,
        LinkPart::Initramfs,
        LinkPart::Modules,
        LinkPart::Root,
        LinkPart::Fstab,
        LinkPart::Init,
    ] {
        assert_eq!(has(part), 1, "{part:?}: {chains:#?}");
    }
    assert_eq!(has(LinkPart::Loader), 2, "shim and GRUB");
    assert!(chains[0].links.iter().all(|l| l.way != Way::Bios), "no BIOS starts this disk: {chains:#?}");
}

#[test]
fn what_leads_to_the_menu() {
    use LinkPart::{Fallback, Loader, LoaderConfig};
    let one = Then::Resolves(1);
    case("stub missing", &Made::new(|m| m.drop_esp("EFI/debian/grub.cfg")), &[(LoaderConfig, "is missing")], &one);
    case("stub empty", &Made::new(|m| m.esp("EFI/debian/grub.cfg", b"")), &[(LoaderConfig, "is empty")], &one);
    case("stub zeros", &Made::new(|m| m.esp("EFI/debian/grub.cfg", &[0; 120])), &[(LoaderConfig, "is empty")], &one);
    let stale = Made::new(|m| m.stub(OLD, "/grub"));
    case("stub stale", &stale, &[(LoaderConfig, "is not on these disks")], &one);
    let elsewhere = Made::new(|m| m.stub(ROOT, "/boot/grub"));
    case("stub elsewhere", &elsewhere, &[(LoaderConfig, "which is not there")], &one);
    let alone = Made::new(|m| m.drop_esp("EFI/BOOT/grubx64.efi"));
    case("fallback alone", &alone, &[(Fallback, "goes on to")], &one);
    let torn = Made::new(|m| m.esp("EFI/BOOT/BOOTX64.EFI", &efi(true)[..700]));
    case("fallback torn", &torn, &[(Fallback, "is cut short")], &one);
    let gone = Made::new(|m| m.drop_esp("EFI/debian/grubx64.efi"));
    case("GRUB missing", &gone, &[(Loader, "is missing")], &Then::Stays);
    let torn = Made::new(|m| m.esp("EFI/debian/shimx64.efi", &efi(true)[..900]));
    case("shim torn", &torn, &[(Loader, "is cut short")], &Then::Stays);
}

/// Without a fallback a machine starts by its firmware's entries: that is not called broken, and can be mended all the same.
#[test]
fn a_missing_fallback() {
    let made = Made::new(|m| ["BOOTX64.EFI", "grubx64.efi"].iter().for_each(|f| m.drop_esp(&format!("EFI/BOOT/{f}"))));
    let (_, chains, _) = read(&made.bytes);
    let fallback = chains[0].links.iter().find(|l| l.part == LinkPart::Fallback).unwrap();
    assert_eq!((fallback.state, fallback.needed, fallback.repairable), (LinkState::NotChecked, false, true));
    assert_eq!(chains[0].state(), LinkState::Ok);
    case("fallback missing", &made, &[], &Then::Resolves(1));
    case("fallback's directory missing", &Made::new(|m| m.drop_fallback()), &[], &Then::Resolves(1));
}

#[test]
fn what_the_menu_names() {
    use LinkPart::{Initramfs, Kernel, Menu, MenuVolume, Modules, Root};
    let stale = Made::new(|m| m.menu(OLD, ROOT));
    case("menu's volume stale", &stale, &[(MenuVolume, "is not on these disks")], &Then::Resolves(1));
    let stale = Made::new(|m| m.menu(BOOT, OLD));
    case("root stale", &stale, &[(Root, "is not on these disks")], &Then::Resolves(1));
    let empty = Made::new(|m| m.boot("grub/grub.cfg", b""));
    case("menu empty", &empty, &[(Menu, "is empty")], &Then::Stays);
    let short = Made::new(|m| {
        let text = m.menu_text(BOOT, ROOT);
        m.boot("grub/grub.cfg", &text.as_bytes()[..text.len() - 60]);
    });
    case("menu cut short", &short, &[(Menu, "is cut short")], &Then::Stays);
    let torn = Made::new(|m| m.boot("vmlinuz-6.1.0-9-amd64", &boot_disk::kernel()[..9000]));
    case("kernel torn", &torn, &[(Kernel, "is cut short")], &Then::Stays);
    let gone = Made::new(|m| m.drop_boot("vmlinuz-6.1.0-9-amd64"));
    case("kernel missing", &gone, &[(Kernel, "is missing")], &Then::Stays);
    let torn = Made::new(|m| m.boot("initrd.img-6.1.0-9-amd64", &initramfs()[..3000]));
    case("initramfs torn", &torn, &[(Initramfs, "is cut short")], &Then::Stays);
    let empty = Made::new(|m| m.boot("initrd.img-6.1.0-9-amd64", b""));
    case("initramfs empty", &empty, &[(Initramfs, "is empty")], &Then::Stays);
    let gone = Made::new(|m| m.drop_root("usr/lib/modules/6.1.0-9-amd64/modules.dep"));
    case("modules missing", &gone, &[(Modules, "is missing")], &Then::Stays);
}

#[test]
fn what_the_system_waits_for() {
    use LinkPart::{Esp, Fstab, Init, Table};
    let stale = Made::new(|m| m.fstab(ROOT, OLD, "12AB-34CD"));
    case("fstab's /boot stale", &stale, &[(Fstab, "for /boot, which is not on these disks")], &Then::Resolves(1));
    let stale = Made::new(|m| m.fstab(OLD, BOOT, "0000-0000"));
    let both = [(Fstab, "for /, which is not"), (Fstab, "for /boot/efi, which is not")];
    case("fstab's root and ESP stale", &stale, &both, &Then::Resolves(2));
    let gone = Made::new(|m| m.drop_root("usr/sbin/init"));
    case("init missing", &gone, &[(Init, "no first process")], &Then::Stays);
    let mut torn = Made::new(|_| {});
    torn.bytes[512..1024].fill(0x5a);
    case("first copy of the GPT", &torn, &[(Table, "its first copy is damaged")], &Then::Resolves(1));
    let mut torn = Made::new(|_| {});
    torn.bytes[0..512].fill(0);
    case("protective MBR", &torn, &[(Table, "does not announce it")], &Then::Resolves(1));
    let mut wiped = Made::new(|_| {});
    wiped.wipe_esp();
    let (_, chains, repairs) = read(&wiped.bytes);
    assert!(broken(&chains).iter().any(|l| l.part == Esp && l.says.as_str().contains("no FAT")), "{chains:#?}");
    assert!(repairs.items.is_empty(), "{repairs:?}");
}

/// Much at once, as after a disk was copied to another whose file systems were made anew.
#[test]
fn everything_stale_at_once() {
    use LinkPart::{Fstab, LoaderConfig, MenuVolume, Root};
    let made = Made::new(|m| {
        m.stub(OLDER, "/grub");
        m.menu(OLDER, OLD);
        m.fstab(OLD, OLDER, "0000-0000");
        m.drop_fallback();
    });
    let lines = ["for /, which", "for /boot, which", "for /boot/efi, which"].map(|words| (Fstab, words));
    let others = [(LoaderConfig, "is not on"), (MenuVolume, "is not on"), (Root, "is not on")];
    case("all at once", &made, &[&lines[..], &others].concat(), &Then::Resolves(7));
    // Which of two volumes one old id means cannot be told.
    let both = Made::new(|m| m.menu(OLD, OLD));
    let (_, _, repairs) = read(&both.bytes);
    assert!(repairs.items.is_empty() && repairs.patches.is_empty(), "{repairs:?}");
    assert!(repairs.left.iter().all(|l| l.says.as_str().contains("two different ones")), "{:?}", repairs.left);
    assert_eq!(repairs.left.len(), 2);
}

/// Two systems whose boot loaders have the same place on one ESP: which of them is meant cannot be told, and nothing is written.
#[test]
fn two_systems_on_one_esp() {
    let mut made = Made::new(|m| m.stub(OLD, "/grub"));
    made.add_second_system();
    let (_, chains, repairs) = read(&made.bytes);
    assert_eq!(chains.len(), 2, "{chains:#?}");
    assert!(repairs.items.is_empty() && repairs.patches.is_empty(), "{repairs:?}");
    assert!(repairs.left.iter().all(|l| l.says.as_str().contains("more than one system")), "{:?}", repairs.left);
    assert_eq!(repairs.left.len(), 2, "{:?}", repairs.left);
}

/// A volume that was not unmounted is not written to, and an ESP without room is left as it is.
#[test]
fn what_is_left() {
    let mut dirty = Made::new(|m| m.menu(BOOT, OLD));
    dirty.set_needs_recovery();
    let (_, _, repairs) = read(&dirty.bytes);
    assert!(repairs.items.is_empty() && repairs.patches.is_empty(), "{repairs:?}");
    assert!(repairs.left[0].says.as_str().contains("was not unmounted"), "{:?}", repairs.left);
    let full = Made::new(|m| {
        m.drop_esp("EFI/BOOT/BOOTX64.EFI");
        m.drop_esp("EFI/BOOT/grubx64.efi");
        m.fill_esp();
    });
    let (_, _, repairs) = read(&full.bytes);
    assert!(repairs.items.is_empty() && repairs.patches.is_empty(), "{NO_ROOM}: {repairs:?}");
    assert_eq!(repairs.left.len(), 1, "{NO_ROOM}: {repairs:?}");
}

/// systemd-boot: entries of their own on the ESP, kernels beside them; and GRUB that reads such entries.
#[test]
fn entries_of_the_boot_loader_specification() {
    use LinkPart::{Initramfs, Kernel, Loader, Menu, Root};
    let entry = |root: &str| {
        format!(
            "title Debian\nversion 6.1.0-9-amd64\nlinux /deb/linux\ninitrd /deb/initrd\noptions root=UUID={root} ro\n"
        )
    };
    let plain = |change: &dyn Fn(&boot_disk::Making)| {
        Made::new(|m| {
            ["shimx64.efi", "grubx64.efi", "mmx64.efi", "grub.cfg"]
                .iter()
                .for_each(|f| m.drop_esp(&format!("EFI/debian/{f}")));
            m.drop_fallback();
            m.esp("EFI/systemd/systemd-bootx64.efi", &efi(false));
            m.esp("loader/loader.conf", b"timeout 3\ndefault deb-*\n");
            m.esp("loader/entries/deb-6.1.conf", entry(ROOT).as_bytes());
            m.esp("loader/entries/zzz.conf", b"title other\nlinux /not/there\n");
            m.esp("deb/linux", &boot_disk::kernel());
            m.esp("deb/initrd", &initramfs());
            change(m);
        })
    };
    let state = |made: &Made| read(&made.bytes).1[0].state();
    let whole = plain(&|m| m.drop_esp("loader/entries/zzz.conf"));
    assert_eq!(state(&whole), LinkState::Ok, "{:#?}", read(&whole.bytes).1);
    case("the fallback of systemd-boot", &whole, &[], &Then::Resolves(1));
    // An entry that does not start by itself is told, and is not needed.
    let other = plain(&|_| {});
    let (_, chains, _) = read(&other.bytes);
    let told: Vec<_> = broken(&chains).iter().map(|l| (l.part, l.needed)).collect();
    assert_eq!((told, chains[0].state()), (vec![(Kernel, false)], LinkState::Ok));
    let empty = plain(&|m| ["deb-6.1", "zzz"].iter().for_each(|e| m.drop_esp(&format!("loader/entries/{e}.conf"))));
    let found = |made: &Made, part: LinkPart, words: &str| {
        let (_, chains, _) = read(&made.bytes);
        let found = broken(&chains);
        assert!(found.iter().any(|l| l.needed && l.part == part && l.says.as_str().contains(words)), "{found:#?}");
    };
    found(&empty, Menu, "no entry");
    found(&plain(&|m| m.drop_esp("deb/initrd")), Initramfs, "is missing");
    found(&plain(&|m| m.esp("loader/entries/deb-6.1.conf", entry(OLD).as_bytes())), Root, "is not on these disks");
    found(&plain(&|m| m.esp("EFI/systemd/systemd-bootx64.efi", &efi(false)[..600])), Loader, "is cut short");

    let bls = Made::new(|m| {
        m.boot("grub/grub.cfg", b"set default=0\ninsmod blscfg\nblscfg\n");
        let entry =
            format!("linux /vmlinuz-6.1.0-9-amd64\ninitrd /initrd.img-6.1.0-9-amd64\noptions root=UUID={ROOT} ro\n");
        m.boot("loader/entries/a.conf", entry.as_bytes());
    });
    assert_eq!(state(&bls), LinkState::Ok, "{:#?}", read(&bls.bytes).1);
}

/// The other way from a firmware: sector 0, and what it goes on to.
#[test]
fn what_a_bios_starts() {
    use LinkPart::{BootCode, Core, LoaderConfig};
    let bios = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut made = Made::new(|_| {});
        made.add_bios();
        change(&mut made.bytes);
        made
    };
    let links = |made: &Made| -> Vec<(LinkPart, LinkState)> {
        let (_, chains, _) = read(&made.bytes);
        chains[0].links.iter().filter(|l| l.way == Way::Bios).map(|l| (l.part, l.state)).collect()
    };
    // Where the core looks for its menu is packed inside it.
    let inside = (LoaderConfig, LinkState::NotChecked);
    assert_eq!(links(&bios(&|_| {})), [(BootCode, LinkState::Ok), (Core, LinkState::Ok), inside]);
    let core = usize::try_from(boot_disk::CORE * 512).unwrap();
    case("core gone", &bios(&|b| b[core..core + 512].fill(0)), &[(Core, "is not at sector 40")], &Then::Stays);
    let hollow = bios(&|b| b[core + 512..core + 1024].fill(0));
    case("core hollow", &hollow, &[(Core, "nothing but zeros")], &Then::Stays);
    let elsewhere = bios(&|b| b[0x5c..0x64].copy_from_slice(&u64::MAX.to_le_bytes()));
    case("core nowhere", &elsewhere, &[(Core, "looks for GRUB's core")], &Then::Stays);
    // Boot code of somebody else is not understood, and a core within a file system may be one of its files.
    assert_eq!(links(&bios(&|b| b[380..400].fill(0x90))), [(BootCode, LinkState::NotChecked)]);
    let listed = bios(&|b| b[core + 500..core + 508].copy_from_slice(&0x3000u64.to_le_bytes()));
    assert_eq!(links(&listed), [(BootCode, LinkState::Ok), (Core, LinkState::NotChecked), inside]);
}

/// A place for a BIOS's boot loader that nothing was ever put into breaks nothing where UEFI starts the machine.
#[test]
fn a_disk_that_uefi_starts_needs_no_boot_code() {
    let mut made = Made::new(|_| {});
    made.reserve_bios_boot();
    let (_, chains, _) = read(&made.bytes);
    assert_eq!((broken(&chains), chains[0].state()), (Vec::<&BootLink>::new(), LinkState::Ok));
    let code = |chains: &[BootChain]| {
        let link = chains[0].links.iter().find(|l| l.part == LinkPart::BootCode).unwrap();
        (link.state, link.says.to_string())
    };
    let (state, says) = code(&chains);
    assert!(state == LinkState::NotChecked && says.contains("UEFI starts this disk"), "{says}");
    made.wipe_esp();
    assert_eq!(code(&read(&made.bytes).1).0, LinkState::Broken, "nothing else does");
}

/// Whatever stands on the disk: no panic, and what is to be changed lies where it may.
#[test]
fn mutants_are_followed_without_a_stumble() {
    let mut made = Made::new(|m| {
        m.stub(OLDER, "/grub");
        m.menu(OLDER, OLD);
        m.fstab(OLD, BOOT, "0000-0000");
    });
    made.add_bios();
    let mut seeded = Seeded(20);
    // Where something stands: tables, directories, allocation tables, inodes and the files themselves.
    let places: Vec<usize> = (0..made.bytes.len()).filter(|n| made.bytes[*n] != 0).collect();
    for round in 0..40 {
        let mut bytes = made.bytes.clone();
        for _ in 0..1 + seeded.below(24) {
            let at = places[usize::try_from(seeded.below(places.len() as u64)).unwrap()];
            bytes[at] = seeded.byte();
        }
        let (inspection, chains, repairs) = read(&bytes);
        assert_eq!(chains.len(), inspection.systems.len(), "{round}");
        for patch in &repairs.patches {
            let size = inspection.volume(&patch.volume).map_or(1 << 20, |v| v.extent.len().0);
            assert!(patch.at.0 + patch.bytes.len() as u64 <= size, "{round}: {patch:?}");
        }
    }
}

/// What is not read here is not called broken: a volume of that name may be in it.
#[test]
fn what_is_not_understood() {
    let mut made = Made::new(|m| m.menu(BOOT, OLD));
    made.add_btrfs();
    let (_, chains, repairs) = read(&made.bytes);
    assert_eq!(broken(&chains), Vec::<&BootLink>::new());
    let root = chains[0].links.iter().find(|l| l.part == LinkPart::Root).unwrap();
    assert_eq!(root.state, LinkState::NotChecked, "{root:?}");
    assert!(repairs.items.is_empty(), "{repairs:?}");
    let odd = Made::new(|m| m.boot("grub/grub.cfg", b"insmod chain\nchainloader /EFI/x\n"));
    let (_, chains, _) = read(&odd.bytes);
    assert_eq!(chains[0].state(), LinkState::NotChecked, "{chains:#?}");
}

/// sfdisk reads the first copy that was written again as it reads the second.
#[test]
fn a_table_that_was_written_again_is_whole() {
    let mut torn = Made::new(|_| {});
    let good = torn.bytes.clone();
    torn.bytes[512..34 * 512].fill(0);
    let (inspection, _, repairs) = read(&torn.bytes);
    let bytes = repaired(&torn.bytes, &inspection, &repairs);
    assert!(bytes == good, "byte for byte what sfdisk had written");
    let path = torn.dir.path().join("again");
    std::fs::write(&path, bytes).unwrap();
    let (ok, said) = attempt("fdisk", "sfdisk", &["--verify", path.to_str().unwrap()], "");
    assert!(ok && said.contains("No errors"), "{said}");
}
