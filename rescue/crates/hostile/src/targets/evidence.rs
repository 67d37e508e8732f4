//! Evidence: every source that is a file by itself, what it tells put together, judged and told in order.

use crate::Target;
use crate::tar;
use infer::{Look, Want, assess, combine, parse, wants};
use model::evidence::{Evidence, Origin};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Inspection, System};
use model::text::RawName;

pub(super) const TARGET: Target = Target {
    name: "evidence",
    meets: "wtmp, dpkg, apt, zypper, pacman, apk, logs, grubenv, pstore, fstab, heads of boot files; what follows from them",
    run,
    seeds,
};

/// What an engine takes of one want.
const MOST_EVIDENCE: usize = 4096;

/// An origin of that path.
pub(super) fn at(path: &str) -> Origin {
    let path = Some(RawName::from(path.replace('*', "x").as_str()));
    Origin { volume: VolumePath::partition(DiskNo(0), 2), path, range: None }
}

fn system() -> System {
    System {
        name: "a system".into(),
        os: ("debian".into(), "12".into()),
        hostname: None,
        machine_id: None,
        root: VolumePath::partition(DiskNo(0), 2),
        boot: Vec::new(),
        other: Vec::new(),
        subvolumes: Vec::new(),
    }
}

/// What the rest of the program makes of evidence.
pub(super) fn settled(evidence: Vec<Evidence>) {
    assert!(evidence.len() <= MOST_EVIDENCE, "{} pieces of evidence", evidence.len());
    let said: usize = evidence.iter().map(|e| e.says.as_str().len()).sum();
    assert!(said < 1 << 20, "{said} bytes of words");
    let once = combine(evidence);
    assert_eq!(combine(once.clone()), once, "put together twice it is something else");
    let system = system();
    let assessment = assess(&system, &Inspection::default(), &once, None);
    assert!(assessment.headline.as_str().len() < 1000, "a headline without end");
    assert!(infer::timeline(&system, &Inspection::default(), &once).len() <= 64, "a timeline without end");
}

fn readable() -> impl Iterator<Item = &'static Want> {
    wants().iter().filter(|w| matches!(w.look, Look::Read { .. }))
}

/// The first byte says which source, what follows is the file.
fn run(input: &[u8]) {
    let [which, file @ ..] = input else { return };
    let count = readable().count();
    let Some(want) = readable().nth(usize::from(*which) % count) else { return };
    settled(parse(want.source, &at(want.pattern), &file.to_vec()));
}

fn input(pattern: &str, file: &[u8]) -> Vec<u8> {
    let which = readable().position(|w| w.pattern == pattern).unwrap_or(0);
    [&[u8::try_from(which).unwrap_or(0)][..], file].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let fixture = |kept: &[u8]| zstd::stream::decode_all(kept).unwrap_or_default();
    let status = "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nMulti-Arch: same\nArchitecture: amd64\n\n\
        Package: tar\nStatus: install reinstreq half-installed\nVersion: 1.34\nTriggers-Pending: x\nConffiles:\n /etc/x 0\nDescription: x\n y\n\n";
    let history = "Start-Date: 2026-11-22  21:00:00\nCommandline: apt upgrade\nRequested-By: bob (1000)\nUpgrade: libc6:amd64 (1, 2), tar:amd64 (1, 2)\n\
        Error: Sub-process\nEnd-Date: 2026-11-22  21:00:09\n\n";
    let log = "2026-11-22 21:03:10 status half-configured x:amd64 1\n2026-11-22 21:03:11 startup packages configure\n";
    let elf = [&b"\x7fELF\x02\x01\x01"[..], &[7; 200]].concat();
    let mut kernel = vec![0; 1024];
    kernel[510..520].copy_from_slice(b"\x55\xaa\0\0HdrS\x0f\x02");
    let mut out = vec![
        input("/var/log/wtmp", &fixture(include_bytes!("../../../infer/tests/fixtures/wtmp.zst"))),
        input("/etc/machine-id", b"0123456789abcdef0123456789abcdef\n"),
        input("/var/lib/dpkg/status", status.as_bytes()),
        input("/var/lib/dpkg/updates/*", status.as_bytes()),
        input("/var/log/dpkg.log", log.as_bytes()),
        input("/var/log/apt/history.log", history.as_bytes()),
        input("/var/log/syslog", &[log.as_bytes(), &[0; 600], log.as_bytes()].concat()),
        input("/boot/vmlinuz-*", &kernel),
        input("/boot/initrd.img-*", b"070701000000010000"),
        input("/boot/initrd.img-*", b"\x28\xb5\x2f\xfd\0"),
        input("/usr/lib/modules/*/modules.dep", b"kernel/fs/ext4.ko: kernel/lib/crc16.ko\n"),
        input("/sbin/init", &elf),
        input("/usr/lib64/libc.so.6", &elf),
        input("/lib64/ld-linux-x86-64.so.2", &elf),
        input("/etc/fstab", b"UUID=1 / ext4 defaults 0 1\n"),
        input("/boot/grub/grub.cfg", b"menuentry x {\n}\n"),
        input("/boot/grub/grubenv", include_bytes!("../../../infer/tests/fixtures/grubenv-recordfail")),
        input("/boot/grub/grubenv", include_bytes!("../../../infer/tests/fixtures/grubenv-fresh")),
        input(
            "/var/lib/systemd/pstore/*/dmesg.txt",
            &fixture(include_bytes!("../../../infer/tests/fixtures/pstore-dmesg.txt.zst")),
        ),
        input("/var/lib/rpm/Packages", &[0x61, 0x15, 0x06, 0]),
    ];
    for kept in [
        &include_bytes!("../../../infer/tests/fixtures/managers/zypper-failed.tar.zst")[..],
        include_bytes!("../../../infer/tests/fixtures/managers/zypper-killed-after.tar.zst"),
        include_bytes!("../../../infer/tests/fixtures/managers/pacman-killed-after.tar.zst"),
        include_bytes!("../../../infer/tests/fixtures/managers/pacman-upgraded.tar.zst"),
        include_bytes!("../../../infer/tests/fixtures/managers/apk-failed.tar.zst"),
        include_bytes!("../../../infer/tests/fixtures/managers/apk-upgraded.tar.zst"),
    ] {
        for (name, bytes) in tar::files(kept) {
            let pattern = format!("/{name}");
            if readable().any(|w| w.pattern == pattern) {
                out.push(input(&pattern, &bytes));
            }
        }
    }
    out
}
