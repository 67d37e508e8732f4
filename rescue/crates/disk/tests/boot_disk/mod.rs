//! A UEFI disk of a Debian, as far as its boot chain goes: ESP, /boot and root. The tools of the host make it; the programs on it are
//! headers with nothing behind them.

use crate::host::{attempt, blank, place, run};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const MIB: u64 = 1 << 20;
pub(crate) const ROOT: &str = "aaaaaaaa-0000-4000-8000-000000000001";
pub(crate) const BOOT: &str = "aaaaaaaa-0000-4000-8000-000000000002";
/// What no volume has.
pub(crate) const OLD: &str = "dddddddd-0000-4000-8000-00000000000d";
pub(crate) const OLDER: &str = "dddddddd-0000-4000-8000-00000000000e";
/// Of each volume: where it begins, and how long it is.
const ESP: (u64, u64) = (MIB, 4 * MIB);
const BOOT_AT: (u64, u64) = (5 * MIB, 4 * MIB);
const ROOT_AT: (u64, u64) = (9 * MIB, 6 * MIB);
const MORE: (u64, u64) = (15 * MIB, MIB);
const SIZE: u64 = 17 * MIB;
/// The sector at which GRUB's core begins, where there is one.
pub(crate) const CORE: u64 = 40;
const VERSION: &str = "6.1.0-9-amd64";

/// A disk, and the folder it was made in.
pub(crate) struct Made {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) bytes: Vec<u8>,
}

/// A disk that is being made: its trees can be changed.
pub(crate) struct Making {
    at: PathBuf,
    /// The trees that were: only their file systems are made, the others are those of a disk that is whole.
    changed: RefCell<BTreeSet<String>>,
}

impl Making {
    fn put(&self, tree: &str, name: &str, body: &[u8]) {
        let path = self.changing(tree).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, body).unwrap();
    }

    fn changing(&self, tree: &str) -> PathBuf {
        self.changed.borrow_mut().insert(tree.to_owned());
        self.at.join(tree)
    }

    pub(crate) fn esp(&self, name: &str, body: &[u8]) {
        self.put("esp", name, body);
    }

    pub(crate) fn boot(&self, name: &str, body: &[u8]) {
        self.put("boot", name, body);
    }

    pub(crate) fn drop_esp(&self, name: &str) {
        fs::remove_file(self.changing("esp").join(name)).unwrap();
    }

    /// Without a directory for what firmware finds by itself.
    pub(crate) fn drop_fallback(&self) {
        fs::remove_dir_all(self.changing("esp").join("EFI/BOOT")).unwrap();
    }

    pub(crate) fn drop_boot(&self, name: &str) {
        fs::remove_file(self.changing("boot").join(name)).unwrap();
    }

    pub(crate) fn drop_root(&self, name: &str) {
        fs::remove_file(self.changing("root").join(name)).unwrap();
    }

    /// The lines that `grub-install` writes.
    pub(crate) fn stub(&self, uuid: &str, prefix: &str) {
        let text = format!(
            "search.fs_uuid {uuid} root hd0,gpt2 \nset prefix=($root)'{prefix}'\nconfigfile $prefix/grub.cfg\n"
        );
        self.esp("EFI/debian/grub.cfg", text.as_bytes());
    }

    /// A menu as `grub-mkconfig` writes it.
    pub(crate) fn menu_text(&self, search: &str, root: &str) -> String {
        let entry = |name: &str, version: &str| {
            format!(
                "menuentry '{name}' --class debian $menuentry_id_option 'gnulinux-{version}' {{\n\tload_video\n\tset root='hd0,gpt2'\n\
                 \tif [ x$feature_platform_search_hint = xy ]; then\n\t  search --no-floppy --fs-uuid --set=root \
                 --hint-bios=hd0,gpt2 --hint-efi=hd0,gpt2 --hint-baremetal=ahci0,gpt2  {search}\n\telse\n\t  search --no-floppy \
                 --fs-uuid --set=root {search}\n\tfi\n\techo\t'Loading Linux {version} ...'\n\tlinux\t/vmlinuz-{version} \
                 root=UUID={root} ro  quiet\n\techo\t'Loading initial ramdisk ...'\n\tinitrd\t/initrd.img-{version}\n}}\n"
            )
        };
        let first = entry("Debian GNU/Linux", VERSION);
        format!(
            "### BEGIN /etc/grub.d/00_header ###\nset default=\"0\"\n### END /etc/grub.d/00_header ###\n\n\
             ### BEGIN /etc/grub.d/10_linux ###\n{first}### END /etc/grub.d/10_linux ###\n"
        )
    }

    pub(crate) fn menu(&self, search: &str, root: &str) {
        self.boot("grub/grub.cfg", self.menu_text(search, root).as_bytes());
    }

    pub(crate) fn fstab(&self, root: &str, boot: &str, esp: &str) {
        let text = format!(
            "# made by an installer\nUUID={root} / ext4 errors=remount-ro 0 1\nUUID={boot} /boot ext4 defaults 0 2\n\
             UUID={esp} /boot/efi vfat umask=0077 0 1\nUUID={OLD} /mnt/usb ext4 nofail 0 0\n"
        );
        self.put("root", "etc/fstab", text.as_bytes());
    }

    /// Leaves no room on the ESP for a boot loader.
    pub(crate) fn fill_esp(&self) {
        self.esp("filler", &vec![0xa5; 4_140_000]);
    }
}

impl Made {
    /// Makes a disk; what is to be broken is changed before its file systems are made.
    pub(crate) fn new(change: impl Fn(&Making)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let making = Making { at: dir.path().to_path_buf(), changed: RefCell::default() };
        for (name, body) in [
            ("etc/os-release", &b"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n"[..]),
            ("usr/sbin/init", b"#!/bin/sh\n"),
            ("usr/lib/modules/6.1.0-9-amd64/modules.dep", b"kernel/fs/ext4/ext4.ko:\n"),
        ] {
            making.put("root", name, body);
        }
        fs::create_dir_all(dir.path().join("root/boot")).unwrap();
        for link in ["sbin", "lib"] {
            std::os::unix::fs::symlink(format!("usr/{link}"), dir.path().join("root").join(link)).unwrap();
        }
        making.boot(&format!("vmlinuz-{VERSION}"), &kernel());
        making.boot(&format!("initrd.img-{VERSION}"), &initramfs());
        for (name, shim) in [
            ("EFI/debian/shimx64.efi", true),
            ("EFI/debian/grubx64.efi", false),
            ("EFI/debian/mmx64.efi", false),
            ("EFI/BOOT/BOOTX64.EFI", true),
            ("EFI/BOOT/grubx64.efi", false),
        ] {
            making.esp(name, &efi(shim));
        }
        making.stub(BOOT, "/grub");
        making.menu(BOOT, ROOT);
        making.fstab(ROOT, BOOT, "12AB-34CD");
        static WHOLE: OnceLock<Vec<u8>> = OnceLock::new();
        let bytes =
            WHOLE.get_or_init(|| disk(dir.path(), &["esp", "boot", "root"], vec![0; usize::try_from(SIZE).unwrap()]));
        making.changed.borrow_mut().clear();
        change(&making);
        let changed = making.changed.into_inner();
        let changed: Vec<&str> = changed.iter().map(String::as_str).collect();
        let bytes = disk(dir.path(), &changed, bytes.clone());
        Self { dir, bytes }
    }

    fn part(&self, bytes: &[u8], (start, len): (u64, u64), name: &str) -> String {
        let path = self.dir.path().join(name);
        let (start, len) = (usize::try_from(start).unwrap(), usize::try_from(len).unwrap());
        fs::write(&path, &bytes[start..start + len]).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Has the tools of the file systems and of the table look at a disk.
    pub(crate) fn judge(&self, name: &str, bytes: &[u8]) {
        let (ok, said) = attempt("dosfstools", "fsck.vfat", &["-n", &self.part(bytes, ESP, "esp.now")], "");
        assert!(ok, "{name}: {said}");
        for place in [BOOT_AT, ROOT_AT] {
            let (ok, said) = attempt("e2fsprogs", "e2fsck", &["-fn", &self.part(bytes, place, "ext.now")], "");
            assert!(ok, "{name}: {said}");
        }
    }

    /// Marks /boot as one that was not unmounted.
    pub(crate) fn set_needs_recovery(&mut self) {
        let path = self.part(&self.bytes, BOOT_AT, "boot.now");
        run("e2fsprogs", "debugfs", &["-w", "-R", "feature needs_recovery", &path], "");
        let at = usize::try_from(BOOT_AT.0).unwrap();
        let made = fs::read(path).unwrap();
        self.bytes[at..at + made.len()].copy_from_slice(&made);
    }

    /// Puts GRUB's boot code and core before the first partition, as `grub-install` does.
    pub(crate) fn add_bios(&mut self) {
        let core = self.dir.path().join("core.img");
        let args = ["-O", "i386-pc", "-p", "/grub", "-o", core.to_str().unwrap(), "biosdisk", "part_gpt", "ext2"];
        run("grub-common", "grub-mkimage", &args, "");
        let boot = "/usr/lib/grub/i386-pc/boot.img";
        let boot =
            fs::read(boot).unwrap_or_else(|e| panic!("{boot} cannot be read ({e}): install the package grub-pc-bin"));
        self.bytes[..440].copy_from_slice(&boot[..440]);
        self.bytes[0x5c..0x64].copy_from_slice(&CORE.to_le_bytes());
        let mut core = fs::read(core).unwrap();
        core[500..508].copy_from_slice(&(CORE + 1).to_le_bytes());
        let at = usize::try_from(CORE * 512).unwrap();
        self.bytes[at..at + core.len()].copy_from_slice(&core);
    }

    /// Makes the last partition the place of GRUB's core for a BIOS, as an installer does that prepares for both.
    pub(crate) fn reserve_bios_boot(&mut self) {
        let path = self.dir.path().join("reserved.img");
        fs::write(&path, &self.bytes).unwrap();
        run("gdisk", "sgdisk", &["-t", "4:ef02", path.to_str().unwrap()], "");
        self.bytes = fs::read(path).unwrap();
    }

    pub(crate) fn wipe_esp(&mut self) {
        let at = usize::try_from(ESP.0).unwrap();
        self.bytes[at..at + 0x20_0000].fill(0);
    }

    /// Puts another Debian, with a menu of its own, into the last partition.
    pub(crate) fn add_second_system(&mut self) {
        let tree = self.dir.path().join("second");
        fs::create_dir_all(tree.join("etc")).unwrap();
        fs::create_dir_all(tree.join("boot/grub")).unwrap();
        fs::write(tree.join("etc/os-release"), "PRETTY_NAME=\"Debian 13\"\nID=debian\n").unwrap();
        fs::write(tree.join("etc/fstab"), "UUID=12AB-34CD /boot/efi vfat umask=0077 0 1\n").unwrap();
        fs::write(tree.join("boot/grub/grub.cfg"), "menuentry 'x' {\n\tlinux /boot/vmlinuz\n}\n").unwrap();
        let file = blank(self.dir.path(), "second.ext4", MORE.1);
        let args = ["-q", "-F", "-t", "ext4", "-b", "1024", "-O", "^has_journal", "-d", tree.to_str().unwrap()];
        run("e2fsprogs", "mke2fs", &[&args[..], &[file.to_str().unwrap()]].concat(), "");
        let at = usize::try_from(MORE.0).unwrap();
        let second = fs::read(file).unwrap();
        self.bytes[at..at + second.len()].copy_from_slice(&second);
    }

    /// Puts the magic of a btrfs into the last partition.
    pub(crate) fn add_btrfs(&mut self) {
        let at = usize::try_from(MORE.0).unwrap() + 0x1_0040;
        self.bytes[at..at + 8].copy_from_slice(b"_BHRfS_M");
    }
}

/// Makes these file systems, and the table where there is none, on a disk.
fn disk(dir: &Path, trees: &[&str], before: Vec<u8>) -> Vec<u8> {
    let whole = dir.join("disk");
    let fresh = before[512] == 0;
    fs::write(&whole, before).unwrap();
    if fresh {
        let script =
            "label: gpt\nstart=2048, size=8192, type=U\nsize=8192, type=L\nsize=12288, type=L\nsize=2048, type=L\n";
        run("fdisk", "sfdisk", &["-q", whole.to_str().unwrap()], script);
    }
    if trees.contains(&"esp") {
        let esp = blank(dir, "esp.fat", ESP.1);
        run("dosfstools", "mkfs.vfat", &["-i", "12ab34cd", esp.to_str().unwrap()], "");
        let entries = fs::read_dir(dir.join("esp")).unwrap().map(|e| e.unwrap().path());
        let from: Vec<String> = entries.map(|p| p.to_str().unwrap().to_owned()).collect();
        let args = ["-s", "-i", esp.to_str().unwrap()].into_iter().chain(from.iter().map(String::as_str));
        run("mtools", "mcopy", &args.chain(["::/"]).collect::<Vec<_>>(), "");
        place(&esp, &whole, ESP.0);
    }
    for (tree, uuid, (at, len)) in [("boot", BOOT, BOOT_AT), ("root", ROOT, ROOT_AT)] {
        if trees.contains(&tree) {
            let file = blank(dir, &format!("{tree}.ext4"), len);
            let tree = dir.join(tree);
            let args = ["-q", "-F", "-t", "ext4", "-b", "1024", "-U", uuid, "-d", tree.to_str().unwrap()];
            run("e2fsprogs", "mke2fs", &[&args[..], &[file.to_str().unwrap()]].concat(), "");
            place(&file, &whole, at);
        }
    }
    fs::read(whole).unwrap()
}

/// The headers of an EFI program of one section, with a place for a signature; shim names what it goes on to.
pub(crate) fn efi(shim: bool) -> Vec<u8> {
    let mut out = vec![0; 4096];
    out[..2].copy_from_slice(b"MZ");
    out[0x3c] = 0x80;
    let at = 0x80;
    out[at..at + 4].copy_from_slice(b"PE\0\0");
    let mut put = |place: usize, bytes: &[u8]| out[at + place..at + place + bytes.len()].copy_from_slice(bytes);
    put(4, &0x8664u16.to_le_bytes());
    put(6, &1u16.to_le_bytes());
    put(20, &240u16.to_le_bytes());
    put(24, &0x20bu16.to_le_bytes());
    put(24 + 60, &0x200u32.to_le_bytes());
    put(24 + 108, &16u32.to_le_bytes());
    // The certificate table: 256 bytes at the end of the file.
    put(24 + 144, &3840u32.to_le_bytes());
    put(24 + 148, &256u32.to_le_bytes());
    put(24 + 240, b".text");
    put(24 + 240 + 16, &0x200u32.to_le_bytes());
    put(24 + 240 + 20, &0x200u32.to_le_bytes());
    out[0x300..0x380].fill(0xcc);
    if shim {
        let name: Vec<u8> = "\\grubx64.efi".encode_utf16().flat_map(u16::to_le_bytes).collect();
        out[0x400..0x400 + name.len()].copy_from_slice(&name);
    }
    out
}

/// The headers of a kernel (kernel `Documentation/arch/x86/boot.rst`), and as many bytes as they say.
pub(crate) fn kernel() -> Vec<u8> {
    let mut out = vec![0x90; 4 * 512 + 0x4000];
    out[0x1f1] = 3;
    out[0x1f4..0x1f8].copy_from_slice(&0x400u32.to_le_bytes());
    out[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    out[0x202..0x206].copy_from_slice(b"HdrS");
    out[0x20e..0x210].copy_from_slice(&0x300u16.to_le_bytes());
    let version = format!("{VERSION} (debian-kernel@lists.debian.org) #1 SMP\0");
    out[0x500..0x500 + version.len()].copy_from_slice(version.as_bytes());
    out
}

/// An archive of one file, and its trailer.
pub(crate) fn initramfs() -> Vec<u8> {
    let mut out = Vec::new();
    for (name, body) in [("init", &[7u8; 9000][..]), ("TRAILER!!!", &[])] {
        let zeros = "0".repeat(8);
        let sizes = format!("{:08x}", body.len());
        let header =
            format!("070701{}{sizes}{}{:08x}{zeros}{name}\0", zeros.repeat(6), zeros.repeat(4), name.len() + 1);
        out.extend_from_slice(header.as_bytes());
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out.resize(out.len().next_multiple_of(512), 0);
    out
}
