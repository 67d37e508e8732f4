//! Every byte is hostile: good files of every source, mutated by a seeded generator. Nothing may panic, take long, allocate much
//! or say much, whatever comes.

// Helpers of tests may unwrap as tests do.
#![allow(clippy::unwrap_used)]

mod common;

use common::journals::{Export, FORMATS, write};
use common::{Dice, at};
use infer::{Look, Source, absent, assess, combine, parse, parse_listing, wants};
use model::evidence::{Evidence, Fact};
use model::id::{DiskNo, VolumePath};
use model::inspection::{FileKind, Inspection, ListedFile, System};
use model::text::RawName;
use model::units::ByteLen;
use std::time::{Duration, Instant};

/// The engine refuses answers with more evidence than this.
const MOST_EVIDENCE: usize = 4096;
/// Longest a parser may take over one file: about ten times what an unoptimised build needs on an idle machine.
const LONGEST: Duration = Duration::from_secs(20);

/// Overwrites, copies, cuts and zeroes pieces of `good`.
fn mutate(good: &[u8], dice: &mut Dice, within: usize) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..=dice.below(6) {
        if bytes.is_empty() {
            break;
        }
        let i = dice.below(bytes.len().min(within));
        match dice.below(7) {
            0 => bytes[i] ^= 1 << dice.below(8),
            1 => bytes[i] = u8::try_from(dice.below(256)).unwrap(),
            2 => {
                let interesting = [0, 1, 7, 8, 64, u64::from(u32::MAX), u64::MAX, 1 << 63, good.len() as u64, i as u64];
                let value = interesting[dice.below(interesting.len())].to_le_bytes();
                let (at, len) = (i & !7, bytes.len());
                bytes[at..len.min(at + 8)].copy_from_slice(&value[..8.min(len - at)]);
            }
            3 => bytes.truncate(i),
            4 => {
                let end = bytes.len().min(i + dice.below(4096));
                bytes[i..end].fill(0);
            }
            5 => {
                let (from, len) = (dice.below(bytes.len()), dice.below(256));
                let piece = bytes[from..bytes.len().min(from + len)].to_vec();
                let end = bytes.len().min(i + piece.len());
                bytes[i..end].copy_from_slice(&piece[..end - i]);
            }
            _ => {
                let insert: Vec<u8> = (0..dice.below(40)).map(|_| b"\n: \0,()-=~"[dice.below(10)]).collect();
                bytes.splice(i..i, insert);
            }
        }
    }
    bytes
}

fn bounded(source: Source, evidence: &[Evidence], begun: Instant) {
    assert!(evidence.len() <= MOST_EVIDENCE, "{source:?} gave {}", evidence.len());
    assert!(begun.elapsed() < LONGEST, "{source:?} took {:?}", begun.elapsed());
    let size: usize = evidence.iter().map(|e| e.says.as_str().len()).sum();
    assert!(size < 1 << 20, "{source:?} said {size} bytes");
}

fn torture(source: Source, path: &str, good: &[u8], rounds: u32, within: usize) {
    for seed in 1..=u64::from(rounds) {
        let bytes = mutate(good, &mut Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)), within);
        let begun = Instant::now();
        let evidence = parse(source, &at(path), &bytes);
        bounded(source, &evidence, begun);
        settled(evidence);
    }
}

/// What comes out goes through the rest without harm; putting together twice changes nothing.
fn settled(evidence: Vec<Evidence>) {
    let once = combine(evidence);
    assert_eq!(combine(once.clone()), once);
    let system = System {
        name: "x".into(),
        os: ("debian".into(), "12".into()),
        hostname: None,
        machine_id: None,
        root: VolumePath::partition(DiskNo(0), 2),
        boot: vec![],
        other: vec![],
        subvolumes: Vec::new(),
    };
    let a = assess(&system, &Inspection::default(), &once, None);
    assert!(a.headline.as_str().len() < 1000 && a.headline.as_str().ends_with('.'), "{}", a.headline);
}

/// Peak memory of this process, from the kernel.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn journals() {
    let dir = tempfile::tempdir().unwrap();
    for (i, format) in FORMATS.into_iter().take(2).enumerate() {
        let mut export = Export::new();
        export.boot('a').start().kernel(&"long ".repeat(300)).shutdown("reboot.target");
        export.boot('b').start().chatter(200);
        let file = dir.path().join(format!("{i}.journal"));
        write(&file, &export, format);
        let mut bytes = std::fs::read(&file).unwrap();
        // The hash tables at the front and the unused rest are not read; what is read should be hit often.
        let used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
        bytes.truncate(used);
        let path = "/var/log/journal/m/system.journal";
        torture(Source::Journal, path, &bytes, 60, 272);
        let objects = u64::from_le_bytes(bytes[176..184].try_into().unwrap());
        let start = usize::try_from(objects).unwrap();
        for seed in 1..=120 {
            let mut dice = Dice(seed * 7919);
            let tail = mutate(&bytes[start..], &mut dice, usize::MAX);
            let whole = [&bytes[..start], &tail].concat();
            let begun = Instant::now();
            let evidence = parse(Source::Journal, &at(path), &whole);
            bounded(Source::Journal, &evidence, begun);
            settled(evidence);
        }
    }
    assert!(peak_memory() < 512 << 20, "{} bytes at the peak", peak_memory());
}

/// A file made to cost as much as can be: one entry array whose items all lead to one entry full of fields.
#[test]
fn a_journal_made_to_cost_much() {
    let entry_at: u64 = 4096;
    let fields: u64 = 1024;
    let array_at: u64 = 65_536;
    let size: u64 = 64 << 20;
    let items = (size - array_at - 24) / 8;
    let mut bytes = vec![0u8; usize::try_from(size).unwrap()];
    let mut put = |at: u64, value: &[u8]| {
        let i = usize::try_from(at).unwrap();
        bytes[i..i + value.len()].copy_from_slice(value);
    };
    put(0, b"LPKSHHRH");
    put(88, &256u64.to_le_bytes());
    put(152, &items.to_le_bytes());
    put(176, &array_at.to_le_bytes());
    put(entry_at, &[3]);
    put(entry_at + 8, &(64 + 16 * fields).to_le_bytes());
    put(entry_at + 16, &1u64.to_le_bytes());
    for i in 0..fields {
        put(entry_at + 64 + 16 * i, &(i * 8 * 1000 + array_at).to_le_bytes());
    }
    put(array_at, &[6]);
    put(array_at + 8, &(24 + items * 8).to_le_bytes());
    for i in 0..items {
        put(array_at + 24 + 8 * i, &entry_at.to_le_bytes());
    }
    let begun = Instant::now();
    let evidence = parse(Source::Journal, &at("/var/log/journal/m/system.journal"), &bytes);
    bounded(Source::Journal, &evidence, begun);
    assert!(evidence.iter().any(|e| matches!(e.fact, Fact::Unreadable { .. })), "what was not read is said");
    assert!(!evidence.iter().any(|e| matches!(e.fact, Fact::Boot { .. })), "half a start is none");
}

fn wtmp() -> Vec<u8> {
    let mut all = Vec::new();
    for (kind, user) in [(2u16, "reboot"), (1, "runlevel"), (7, "bob"), (1, "shutdown"), (2, "reboot")] {
        let mut r = vec![0; 384];
        r[..2].copy_from_slice(&kind.to_le_bytes());
        r[4] = b'5';
        r[0x2c..0x2c + user.len()].copy_from_slice(user.as_bytes());
        r[0x154..0x158].copy_from_slice(&1_795_000_000u32.to_le_bytes());
        all.extend(r);
    }
    all
}

#[test]
fn everything_else() {
    let status = "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9\nMulti-Arch: same\nArchitecture: amd64\n\n\
        Package: tar\nStatus: install reinstreq half-installed\nVersion: 1.34\nDescription: x\n y\n\n";
    let history = "Start-Date: 2026-11-22  21:00:00\nCommandline: apt upgrade\nUpgrade: libc6:amd64 (1, 2), tar:amd64 (1, 2)\n\
        Error: Sub-process\nEnd-Date: 2026-11-22  21:00:09\n\n";
    let log = "2026-11-22 21:03:10 status installed x:amd64 1\n2026-11-22 21:03:11 startup packages configure\n";
    let elf = [&b"\x7fELF\x02\x01\x01"[..], &[7; 200]].concat();
    let words = zstd::bulk::decompress(include_bytes!("fixtures/pstore-dmesg.txt.zst"), 1 << 20).unwrap();
    let init = "rc sysinit logging started at Mon Nov 30 10:00:01 2026\n\nrc default logging stopped at Mon Nov 30 10:00:09 2026\n";
    let unattended = "2026-11-30 06:00:02,100 INFO Packages that will be upgraded: libc6 tar\n2026-11-30 06:00:09,100 INFO All upgrades installed\n";
    let samples: [(Source, &str, Vec<u8>); 19] = [
        (Source::Wtmp, "/var/log/wtmp", wtmp()),
        (Source::MachineId, "/etc/machine-id", b"0123456789abcdef0123456789abcdef\n".to_vec()),
        (Source::DpkgStatus, "/var/lib/dpkg/status", status.repeat(20).into_bytes()),
        (Source::DpkgRecord, "/var/lib/dpkg/updates/0001", status.as_bytes().to_vec()),
        (Source::DpkgLog, "/var/log/dpkg.log", log.repeat(20).into_bytes()),
        (Source::AptHistory, "/var/log/apt/history.log", history.repeat(5).into_bytes()),
        (Source::TextLog, "/var/log/syslog", log.repeat(20).into_bytes()),
        (Source::Kernel, "/boot/vmlinuz-6.1-amd64", elf.clone()),
        (Source::Initramfs, "/boot/initrd.img-6.1-amd64", elf.clone()),
        (Source::Init, "/sbin/init", elf.clone()),
        (Source::Libc, "/usr/lib/x86_64-linux-gnu/libc.so.6", elf),
        (Source::Fstab, "/etc/fstab", b"UUID=1 / ext4 defaults 0 1\n".to_vec()),
        (Source::GrubEnvironment, "/boot/grub/grubenv", include_bytes!("fixtures/grubenv-recordfail").to_vec()),
        (Source::Adjtime, "/etc/adjtime", b"0.0 1795000000 0.0\n1795000000\nLOCAL\n".to_vec()),
        (Source::SavedTime, "/etc/fake-hwclock.data", b"2026-11-30 15:17:01\n".to_vec()),
        (Source::InitLog, "/var/log/rc.log", init.repeat(20).into_bytes()),
        (Source::UnattendedUpgrades, "/var/log/unattended-upgrades/x.log", unattended.repeat(20).into_bytes()),
        (Source::Pstore, "/var/lib/systemd/pstore/179604296/dmesg.txt", words),
        (Source::GrubConfig, "/boot/grub/grub.cfg", b"menuentry x {\n}\n".to_vec()),
    ];
    for (source, path, good) in &samples {
        torture(*source, path, good, 400, usize::MAX);
    }
    // Each source also gets what was meant for every other.
    for w in wants().iter().filter(|w| matches!(w.look, Look::Read { .. })) {
        for (_, path, bytes) in &samples {
            settled(parse(w.source, &at(path), bytes));
        }
    }
}

#[test]
fn a_database_of_broken_packages_without_end() {
    let one = |i: usize| format!("Package: p{i}\nStatus: install ok half-configured\nVersion: {}\n\n", "9".repeat(500));
    let text: String = (0..20_000).map(one).collect();
    let begun = Instant::now();
    let evidence = parse(Source::DpkgStatus, &at("/var/lib/dpkg/status"), &text.into_bytes());
    bounded(Source::DpkgStatus, &evidence, begun);
    assert!(serde_json::to_string(&evidence).unwrap().len() < 1 << 20);
    settled(evidence);
}

#[test]
fn listings_of_any_names() {
    let mut dice = Dice(42);
    for w in wants() {
        settled(absent(w.source, &at(w.pattern)).into_iter().collect());
        for _ in 0..20 {
            let entries: Vec<ListedFile> = (0..dice.below(600))
                .map(|_| {
                    let mut name: Vec<u8> =
                        (0..dice.below(12)).map(|_| u8::try_from(dice.below(256)).unwrap()).collect();
                    let known: [&[u8]; 10] = [
                        b"vmlinuz-",
                        b"initrd.img-",
                        b".dpkg-new",
                        b".efi",
                        b"6.1-amd64",
                        b"initramfs-",
                        b".img",
                        b"lost+found",
                        b"+3-1.conf",
                        b"system-7-link",
                    ];
                    name.extend_from_slice(known[dice.below(10)]);
                    name.extend_from_slice(known[dice.below(10)]);
                    let kinds = [FileKind::File, FileKind::Directory, FileKind::Symlink, FileKind::Special];
                    let kind = kinds[dice.below(4)];
                    ListedFile { name: RawName(name), kind, size: ByteLen(dice.roll() % 3), modified: None }
                })
                .collect();
            let begun = Instant::now();
            let evidence = parse_listing(w.source, &at(w.pattern), &entries);
            bounded(w.source, &evidence, begun);
            settled(evidence);
        }
    }
}
