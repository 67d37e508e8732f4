//! Evidence that is the listing of a directory.

use super::evidence::{at, settled};
use crate::Target;
use infer::{Look, absent, parse_listing, reads_entry, wants};
use model::inspection::{FileKind, ListedFile};
use model::text::RawName;
use model::units::ByteLen;

pub(super) const TARGET: Target = Target {
    name: "listing",
    meets: "listings of /boot, of modules, of EFI programs, of packages, and of what package managers leave behind",
    run,
    seeds,
};

/// The first byte says which directory; then names, each ended by a zero byte. Its kind and size are made of its first byte.
fn run(input: &[u8]) {
    let [which, names @ ..] = input else { return };
    let listed = || wants().iter().filter(|w| matches!(w.look, Look::List { .. }));
    let Some(want) = listed().nth(usize::from(*which) % listed().count()) else { return };
    let kinds = [FileKind::File, FileKind::Directory, FileKind::Symlink, FileKind::Special];
    let entry = |name: &[u8]| {
        let first = name.first().copied().unwrap_or(0);
        let kind = kinds[if first < 0x80 { 0 } else { usize::from(first % 4) }];
        ListedFile { name: RawName(name.to_vec()), kind, size: ByteLen(u64::from(first)), modified: None }
    };
    let origin = at(want.pattern);
    let entries: Vec<ListedFile> =
        names.split(|b| *b == 0).map(entry).filter(|e| reads_entry(want.source, &origin, &e.name.0)).collect();
    settled(parse_listing(want.source, &origin, &entries));
    settled(absent(want.source, &origin).into_iter().collect());
}

fn seeds() -> Vec<Vec<u8>> {
    let names = [
        "vmlinuz-6.1.0-9-amd64\0initrd.img-6.1.0-9-amd64\0initramfs-6.1.img\0config-6.1\0grub",
        "6.1.0-9-amd64\x006.12.1-arch1-1",
        "libc.so.6.dpkg-new\0bash.dpkg-tmp\0control\0md5sums\0x;5f3e2a1b",
        "shimx64.efi\0grubx64.efi\0BOOTX64.EFI\0fbx64.efi",
        "desc\0files\0mtree\0.apk.0123456789abcdef",
    ];
    let count = wants().iter().filter(|w| matches!(w.look, Look::List { .. })).count();
    let of = |which: usize| names.iter().map(move |n| [&[u8::try_from(which).unwrap_or(0)][..], n.as_bytes()].concat());
    (0..count).flat_map(of).collect()
}
