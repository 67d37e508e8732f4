//! A disk of a machine whose root, /home and swap lie on LVM. Where its volumes lie is what LVM says of `machine`
//! (`disk/tests/fixtures/lvm.sh`), and written here by hand.

use crate::image::{MIB, ext, fat, noise, run, tool, write};
use model::coverage::CaptureMethod;
use model::snapshot::Manifest;
use std::ops::Range;
use std::path::Path;

/// The extents of each volume, as `machine.txt` has them. They have 1 MiB.
pub(crate) const ROOT: [usize; 6] = [0, 1, 2, 6, 7, 8];
pub(crate) const HOME: [usize; 2] = [3, 4];
pub(crate) const SWAP: [usize; 1] = [5];

/// What was captured of each volume of a snapshot.
pub(crate) fn methods(manifest: &Manifest) -> Vec<(String, CaptureMethod)> {
    manifest.volumes.iter().map(|v| (v.path.to_string(), v.method)).collect()
}

/// How a physical volume of the fixtures begins.
pub(crate) fn physical(case: &str) -> Vec<u8> {
    let name = format!("../disk/tests/fixtures/lvm/{case}.0.zst");
    zstd::decode_all(&*std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()).unwrap()
}

/// Such a disk. Places and lengths are in MiB.
pub(crate) struct OnLvm {
    pub(crate) size: usize,
    /// The partition that it lies in, and its type, as sgdisk names it.
    pub(crate) partition: Range<usize>,
    pub(crate) kind: &'static str,
    /// Where the physical volume begins; its extents begin behind its first MiB.
    pub(crate) physical: usize,
    /// What all UUIDs have in the middle.
    pub(crate) mark: &'static str,
    /// What `/etc/os-release` says.
    pub(crate) system: &'static str,
}

impl OnLvm {
    /// The bytes of an extent on the disk.
    pub(crate) fn range(&self, extent: usize) -> Range<usize> {
        let start = (self.physical + 1 + extent) * MIB;
        start..start + MIB
    }

    /// The bytes of a volume.
    pub(crate) fn volume(&self, disk: &[u8], extents: &[usize]) -> Vec<u8> {
        extents.iter().flat_map(|e| disk[self.range(*e)].to_vec()).collect()
    }

    /// Puts the bytes of a volume onto the disk.
    pub(crate) fn put(&self, disk: &mut [u8], extents: &[usize], bytes: &[u8]) {
        assert_eq!(bytes.len(), extents.len() * MIB);
        extents.iter().zip(bytes.chunks(MIB)).for_each(|(e, part)| disk[self.range(*e)].copy_from_slice(part));
    }

    /// A UUID of this disk.
    pub(crate) fn uuid(&self, of: u32, number: u32) -> String {
        format!("{}-{}-{number:012}", of.to_string().repeat(8), self.mark)
    }

    /// The disk in a state, 0 or 1: some files differ.
    pub(crate) fn made(&self, state: u64) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let (root, home) = (at("root"), at("home"));
        write(&root, "etc/os-release", self.system);
        write(&root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        write(
            &root,
            "etc/fstab",
            "/dev/mapper/target-root / ext4 defaults 0 1\nUUID=1234-ABCD /boot/efi vfat umask=0077 0 1\n\
             /dev/target/home /home ext4 defaults 0 2\n/dev/mapper/target-swap--1 none swap sw 0 0\n",
        );
        write(&root, "usr/sbin/init", noise(7, 3000));
        write(&root, "usr/share/same", noise(8, 2_500_000));
        write(&root, "var/lib/data", noise(100 + state, 300_000));
        std::fs::create_dir_all(root.join("boot/efi")).unwrap();
        std::fs::create_dir_all(root.join("home")).unwrap();
        if state == 1 {
            write(&root, "var/lib/more", noise(9, 900_000));
        }
        write(&home, "user/letter", noise(400 + state, 50_000));
        let swap = dir.path().join("swap");
        std::fs::write(&swap, vec![0; MIB]).unwrap();
        run(tool("mkswap", "util-linux").arg("-q").arg(&swap));
        let whole = dir.path().join("disk");
        std::fs::write(&whole, vec![0; self.size * MIB]).unwrap();
        let mut table = tool("sgdisk", "gdisk");
        table.arg("--disk-guid").arg(self.uuid(2, 0));
        let Range { start, end } = self.partition;
        for (number, from, to, kind) in [(1, 1, 3, "EF00"), (3, start, end, self.kind)] {
            table.arg("--new").arg(format!("{number}:{}:{}", from * 2048, to * 2048 - 1));
            table.arg("--typecode").arg(format!("{number}:{kind}"));
            table.arg("--partition-guid").arg(format!("{number}:{}", self.uuid(3, number)));
        }
        run(table.arg(&whole));
        let mut bytes = std::fs::read(whole).unwrap();
        bytes[MIB..3 * MIB].copy_from_slice(&fat(dir.path(), &[("grubx64.efi", noise(500 + state, 90_000))]));
        bytes[self.physical * MIB..(self.physical + 1) * MIB].copy_from_slice(&physical("machine"));
        self.put(&mut bytes, &ROOT, &ext(dir.path(), "r", &root, &self.uuid(1, 1), 6 * MIB, true));
        self.put(&mut bytes, &HOME, &ext(dir.path(), "h", &home, &self.uuid(1, 2), 2 * MIB, false));
        self.put(&mut bytes, &SWAP, &std::fs::read(swap).unwrap());
        // What nobody has: it is not saved.
        bytes[self.range(12)].copy_from_slice(&noise(900 + state, MIB));
        bytes
    }
}
