use super::*;
use model::assessment::SystemReport;
use model::evidence::{Evidence, EvidenceId, Origin};
use model::id::{Digest, DiskNo, VolumePath};
use model::inspection::{Disk, Inspection, Partition, System, Table, Volume};
use model::text::RawName;
use model::units::{ByteLen, Extent, SectorSize};

fn hardware(transport: &str, serial: Option<&str>, sector: SectorSize) -> Hardware {
    Hardware {
        serial: serial.map(Into::into),
        sector,
        transport: transport.into(),
        ..Hardware::image("test", ByteLen(1 << 30))
    }
}

/// A disk with partitions of these types, on which paths that matter were seen.
fn report(kind: TableKind, types: &[&str], parts: &[(BootPart, &str)]) -> Report {
    let extent = |n: u64| Extent::between(n << 20, (n + 1) << 20).unwrap();
    let numbered = || (1u32..).zip(types);
    let partition = |(number, t): (u32, &&str)| Partition {
        number,
        extent: extent(number.into()),
        type_id: (*t).to_owned(),
        guid: None,
        name: None,
        bootable: false,
    };
    let volume = |(number, t): (u32, &&str)| Volume {
        path: VolumePath::partition(DiskNo(0), number),
        extent: extent(number.into()),
        mapping: None,
        content: if **t == *BIOS_BOOT { Content::BiosBoot } else { Content::Unknown },
    };
    let table = Table {
        kind,
        id: "t".into(),
        partitions: numbered().map(partition).collect(),
        raw: vec![],
        from_backup: false,
    };
    let disk = Disk {
        no: DiskNo(0),
        hardware: hardware("image", None, SectorSize::B512),
        head: Digest::of(b""),
        table: Some(table),
        volumes: numbered().map(volume).collect(),
    };
    let root = VolumePath::partition(DiskNo(0), 9);
    let evidence = parts.iter().map(|(part, path)| Evidence {
        id: EvidenceId("e".into()),
        origin: Origin { volume: root.clone(), path: Some(RawName(path.as_bytes().to_vec())), range: None },
        fact: Fact::BootPart { part: *part, broken: None },
        says: "".into(),
        time: None,
    });
    let evidence: Vec<Evidence> = evidence.collect();
    let system = System {
        name: "Debian".into(),
        os: ("debian".into(), "12".into()),
        hostname: None,
        machine_id: None,
        root,
        boot: vec![],
        other: vec![],
        subvolumes: Vec::new(),
    };
    let inspection = Inspection { disks: vec![disk], systems: vec![system.clone()], ..Inspection::default() };
    let assessment = infer::assess(&system, &inspection, &evidence, None);
    Report { inspection, systems: vec![SystemReport { system, assessment, evidence }], boot: Vec::new() }
}

const BIOS_BOOT: &str = model::inspection::GPT_BIOS_BOOT;
const LINUX: &str = "0fc63daf-8483-4772-8e79-3d69d8477de4";
const LOADER: (BootPart, &str) = (BootPart::Loader, "/boot/efi/EFI/debian/grubx64.efi");

#[test]
fn what_starts_a_disk() {
    for (kind, types, parts, expected) in [
        (TableKind::Mbr, &["83"][..], &[][..], (false, true)),
        (TableKind::Gpt, &[BIOS_BOOT, LINUX], &[], (false, true)),
        (TableKind::Gpt, &[GPT_ESP, LINUX], &[LOADER], (true, false)),
        // An ESP that nobody could look into is what is left.
        (TableKind::Gpt, &[GPT_ESP, LINUX], &[], (true, false)),
        (TableKind::Gpt, &[BIOS_BOOT, GPT_ESP, LINUX], &[LOADER], (true, true)),
        (TableKind::Gpt, &[BIOS_BOOT, GPT_ESP, LINUX], &[], (false, true)),
        (TableKind::Gpt, &[LINUX], &[], (false, true)),
    ] {
        assert_eq!(starts(&report(kind, types, parts)), expected, "{types:?} {parts:?}");
    }
    assert_eq!(starts(&Report::default()), (false, true));
}

#[test]
fn disks_are_attached_as_they_were() {
    let trial = Trial { timeout: 1, accelerator: Accelerator::Tcg, bus: None };
    let with = |kernel: &str| report(TableKind::Mbr, &["83"], &[(BootPart::Kernel, kernel)]);
    let (plain, cloud) = (with("/boot/vmlinuz-6.1.0-9-amd64"), with("/boot/vmlinuz-6.1.0-9-cloud-amd64"));
    let of = |transport: &str, report: &Report| bus(&trial, &hardware(transport, None, SectorSize::B512), report);
    assert_eq!(
        ["nvme", "virtio", "sata", "usb", "image"].map(|t| of(t, &plain)),
        [Bus::Nvme, Bus::Virtio, Bus::Sata, Bus::Sata, Bus::Sata]
    );
    assert_eq!(of("image", &cloud), Bus::Virtio);
    let asked = Trial { bus: Some(Bus::Sata), ..trial };
    assert_eq!(bus(&asked, &hardware("nvme", None, SectorSize::B512), &cloud), Bus::Sata);
    assert_eq!(bus(&trial, &hardware("sata", None, SectorSize::B4096), &plain), Bus::Virtio);
}

#[test]
fn another_processor_is_refused() {
    let of = |paths: &[&str]| {
        let parts: Vec<_> = paths.iter().map(|path| (BootPart::Kernel, *path)).collect();
        processor(&report(TableKind::Mbr, &["83"], &parts)).is_ok()
    };
    assert!(of(&[]) && of(&["/boot/vmlinuz-6.1.0-9-amd64"]) && of(&["/boot/vmlinuz-linux"]));
    assert!(of(&["/boot/vmlinuz-6.1.0-9-arm64", "/boot/vmlinuz-6.1.0-9-amd64"]), "one of them may start");
    assert!(!of(&["/boot/vmlinuz-6.1.0-9-arm64"]) && !of(&["/boot/vmlinuz-6.1.0-9-riscv64"]));
}

#[test]
fn a_serial_number_is_no_argument_of_its_own() {
    let of = |s: &str| serial(&hardware("sata", Some(s), SectorSize::B512));
    assert_eq!(of("WD-1234_x.5").as_deref(), Some("WD-1234_x.5"));
    for bad in ["", "a,b=c", "two words", "ümlaut", "123456789012345678901", "x\ny"] {
        assert_eq!(of(bad), None, "{bad:?}");
    }
}

fn machine(firmware: Firmware, accelerator: Accelerator) -> Machine {
    let disk = |name: &str, bus, serial: Option<&str>, sector| Attached {
        name: name.into(),
        bus,
        serial: serial.map(str::to_owned),
        sector,
    };
    let disks = vec![
        disk("d0", Bus::Sata, Some("S-1"), 512),
        disk("d1", Bus::Nvme, None, 512),
        disk("d2", Bus::Virtio, None, 4096),
    ];
    Machine { firmware, accelerator, disks }
}

#[test]
fn the_command_line_names_nothing_of_this_computer() {
    let line = arguments(&machine(Firmware::Bios, Accelerator::Tcg));
    let after = |option: &str| -> Vec<&str> {
        let mut pairs = line.windows(2).filter(|w| w[0] == option).map(|w| w[1].as_str()).collect::<Vec<_>>();
        pairs.sort_unstable();
        pairs
    };
    for alone in ["-nodefaults", "-no-user-config", "-no-reboot"] {
        assert!(line.iter().any(|a| a == alone), "{alone}");
    }
    assert_eq!(after("-nic"), ["none"]);
    assert_eq!(after("-accel"), ["tcg,thread=multi"]);
    assert_eq!(after("-smp"), ["1"]);
    assert!(after("-sandbox")[0].starts_with("on,") && after("-sandbox")[0].contains("spawn=deny"));
    for never in
        ["-netdev", "-net", "-drive", "-fsdev", "-virtfs", "-usbdevice", "-incoming", "-snapshot", "-daemonize"]
    {
        assert!(after(never).is_empty(), "{never}");
    }
    assert_eq!(
        after("-device"),
        [
            "VGA",
            "ide-hd,bus=ide.0,drive=d0,serial=S-1,werror=report,rerror=report,bootindex=0",
            "nvme,drive=d1,serial=d1,bootindex=1",
            "pvpanic",
            "virtio-blk-pci,drive=d2,werror=report,rerror=report,logical_block_size=4096,physical_block_size=4096,bootindex=2",
        ]
    );
    for (i, blockdev) in after("-blockdev").iter().enumerate() {
        let value: serde_json::Value = serde_json::from_str(blockdev).unwrap();
        let server = json!({ "type": "fd", "str": (5 + i).to_string() });
        let (name, driver) = (format!("d{i}"), "raw");
        let file = json!({ "driver": "nbd", "server": server, "export": name });
        assert_eq!(value, json!({ "driver": driver, "node-name": name, "file": file }));
    }
    assert!(!line.iter().any(|a| a.contains('/')), "no path: {line:?}");
}

#[test]
fn uefi_has_its_code_from_a_file_and_its_variables_from_a_socket() {
    let line = arguments(&machine(Firmware::Uefi, Accelerator::Kvm)).join(" ");
    assert!(line.contains("pflash0=code,pflash1=variables"), "{line}");
    assert!(line.contains(r#""export":"variables""#) && line.contains(r#""str":"8""#), "{line}");
    let files: Vec<&str> = line.split(|c: char| " \",=".contains(c)).filter(|word| word.contains('/')).collect();
    assert_eq!(files, [OVMF.0]);
    assert!(line.contains("-accel kvm -cpu max -smp 2"), "{line}");
    assert!(!line.contains("bootindex"), "its variables say what is started");
}

#[test]
fn what_is_missing_is_named_with_its_package() {
    let dir = tempfile::tempdir().unwrap();
    for path in [None, Some(dir.path().as_os_str())] {
        let Err(Stop::Failed(f)) = program(path) else { panic!("found") };
        assert_eq!(f.code, ExitCode::Refused);
        assert!(f.advice.as_str().contains("package qemu-system-x86)"), "{}", f.advice);
    }
    std::fs::write(dir.path().join(QEMU), "").unwrap();
    assert_eq!(program(Some(dir.path().as_os_str())).unwrap(), dir.path().join(QEMU));
}
