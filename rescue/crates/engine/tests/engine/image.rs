//! A small machine: a GPT disk with an ESP, /boot, root, /home and swap, in two states, made by the tools of the host.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

pub(crate) const MIB: usize = 1 << 20;
/// Number, first MiB, end MiB, GPT type.
const PARTITIONS: [(u32, usize, usize, &str); 5] =
    [(1, 1, 3, "EF00"), (2, 3, 5, "8300"), (3, 5, 13, "8300"), (4, 13, 15, "8300"), (5, 15, 16, "8200")];
const SIZE: usize = 17 * MIB;

const BOOT: &str = "11111111-aaaa-4aaa-8aaa-000000000002";
const ROOT: &str = "11111111-aaaa-4aaa-8aaa-000000000003";
const HOME: &str = "11111111-aaaa-4aaa-8aaa-000000000004";
const SWAP: &str = "11111111-aaaa-4aaa-8aaa-000000000005";

/// The bytes of a partition of the machine.
pub(crate) fn range(number: u32) -> std::ops::Range<usize> {
    let (_, from, to, _) = PARTITIONS.iter().find(|p| p.0 == number).copied().unwrap();
    from * MIB..to * MIB
}

/// A program of the host that must be there.
pub(crate) fn tool(name: &str, package: &str) -> Command {
    let path =
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(|d| Path::new(d).join(name)).into_iter().find(|p| p.exists());
    let path = path.unwrap_or_else(|| panic!("this test needs {name}: install the package {package}"));
    let mut command = Command::new(path);
    command
        .env("E2FSPROGS_FAKE_TIME", "1790000000")
        .env("SOURCE_DATE_EPOCH", "1790000000")
        .env("MTOOLS_SKIP_CHECK", "1");
    command
}

pub(crate) fn run(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// The machine in its two states: as it was saved, and as it is when somebody wants it back.
pub(crate) struct Machine {
    pub(crate) then: Vec<u8>,
    pub(crate) now: Vec<u8>,
}

/// Made once for all tests.
pub(crate) fn machine() -> &'static Machine {
    static MACHINE: OnceLock<Machine> = OnceLock::new();
    MACHINE.get_or_init(|| Machine { then: disk(0), now: disk(1) })
}

/// Bytes that do not compress, of a seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        u8::try_from(x >> 32 & 0xff).unwrap()
    };
    (0..len).map(|_| next()).collect()
}

pub(crate) fn write(at: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = at.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

pub(crate) fn ext(dir: &Path, name: &str, tree: &Path, uuid: &str, len: usize, journal: bool) -> Vec<u8> {
    let file = dir.join(name);
    std::fs::write(&file, vec![0; len]).unwrap();
    let features = if journal { "has_journal,^resize_inode" } else { "^has_journal,^resize_inode" };
    let mut make = tool("mke2fs", "e2fsprogs");
    make.args(["-q", "-t", "ext4", "-F", "-b", "1024", "-O", features, "-U", uuid, "-E"]);
    make.arg(format!("hash_seed={uuid},lazy_itable_init=0,nodiscard")).arg("-d").arg(tree).arg(&file);
    run(&mut make);
    std::fs::read(file).unwrap()
}

pub(crate) fn fat(dir: &Path, tree: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let file = dir.join("esp");
    std::fs::write(&file, vec![0; 2 * MIB]).unwrap();
    run(tool("mkfs.vfat", "dosfstools").args(["-i", "12345678", "--invariant"]).arg(&file));
    for made in ["::/EFI", "::/EFI/debian"] {
        run(tool("mmd", "mtools").arg("-i").arg(&file).arg(made));
    }
    for (name, bytes) in tree {
        let source = dir.join("source");
        std::fs::write(&source, bytes).unwrap();
        run(tool("mcopy", "mtools").arg("-i").arg(&file).arg(&source).arg(format!("::/EFI/debian/{name}")));
    }
    std::fs::read(file).unwrap()
}

fn disk(state: u64) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let root = at("root");
    write(&root, "etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n");
    write(&root, "etc/hostname", "granite\n");
    write(&root, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    let fstab = format!(
        "UUID={ROOT} / ext4 defaults 0 1\nUUID={BOOT} /boot ext4 defaults 0 2\nUUID=1234-5678 /boot/efi vfat umask=0077 0 1\n\
         UUID={HOME} /home ext4 defaults 0 2\nUUID={SWAP} none swap sw 0 0\n"
    );
    write(&root, "etc/fstab", fstab);
    write(&root, "usr/sbin/init", noise(7, 3000));
    write(&root, "usr/share/same", noise(8, 400_000));
    write(&root, "var/lib/data", noise(100 + state, 300_000));
    std::fs::create_dir_all(root.join("boot/efi")).unwrap();
    std::fs::create_dir_all(root.join("home")).unwrap();
    if state == 1 {
        write(&root, "var/lib/more", noise(9, 700_000));
        for i in 0..40 {
            write(&root, &format!("etc/new.d/{i}"), format!("option {i}\n"));
        }
    }
    let boot = at("boot");
    write(&boot, "vmlinuz-6.1.0", noise(200 + state, 200_000));
    write(&boot, "initrd.img-6.1.0", noise(300, 100_000));
    let home = at("home");
    write(&home, "user/letter", noise(400 + state, 50_000));
    let swap = dir.path().join("swap");
    std::fs::write(&swap, vec![0; MIB]).unwrap();
    run(tool("mkswap", "util-linux").args(["-q", "-U", SWAP]).arg(&swap));
    let grub = vec![("grubx64.efi", noise(500 + state, 90_000)), ("grub.cfg", b"configfile".to_vec())];
    let volumes = [
        fat(dir.path(), &grub),
        ext(dir.path(), "p2", &boot, BOOT, 2 * MIB, false),
        ext(dir.path(), "p3", &root, ROOT, 8 * MIB, true),
        ext(dir.path(), "p4", &home, HOME, 2 * MIB, false),
        std::fs::read(swap).unwrap(),
    ];
    let whole = dir.path().join("disk");
    std::fs::write(&whole, vec![0; SIZE]).unwrap();
    let mut table = tool("sgdisk", "gdisk");
    table.args(["--disk-guid", "22222222-bbbb-4bbb-8bbb-000000000000"]);
    for (number, from, to, kind) in PARTITIONS {
        table.arg("--new").arg(format!("{number}:{}:{}", from * 2048, to * 2048 - 1));
        table.arg("--typecode").arg(format!("{number}:{kind}"));
        table.arg("--partition-guid").arg(format!("{number}:33333333-cccc-4ccc-8ccc-00000000000{number}"));
    }
    run(table.arg(&whole));
    let mut bytes = std::fs::read(whole).unwrap();
    for ((number, ..), volume) in PARTITIONS.iter().zip(volumes) {
        bytes[range(*number)].copy_from_slice(&volume);
    }
    // The boot code before the first partition is part of what a machine starts with.
    bytes[40 * 512..41 * 512].copy_from_slice(&noise(600 + state, 512));
    bytes
}
