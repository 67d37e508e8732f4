//! Windows is found by its directories, beside another system and with what starts it.

use crate::host::{blank, image, place, run, source};
use crate::tools::in_file;
use disk::inspect;
use model::inspection::{Content, NtfsLog};

fn mib(n: u64) -> u64 {
    n << 20
}

#[test]
fn a_windows_is_found_with_the_partition_that_starts_it() {
    let dir = tempfile::tempdir().unwrap();
    let disk = blank(dir.path(), "disk", mib(72));
    let table = "label: gpt\nstart=2048, size=81920, type=U\nstart=83968, size=49152, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7\n";
    run("fdisk", "sfdisk", &["-q", disk.to_str().unwrap()], table);
    let esp = blank(dir.path(), "esp", mib(40));
    let text = esp.to_str().unwrap();
    run("dosfstools", "mkfs.vfat", &["-F", "32", "-s", "1", text], "");
    let loader = dir.path().join("loader");
    std::fs::write(&loader, b"no program").unwrap();
    run("mtools", "mmd", &["-i", text, "::EFI", "::EFI/Microsoft", "::EFI/Microsoft/Boot"], "");
    let to = "::EFI/Microsoft/Boot/bootmgfw.efi";
    run("mtools", "mcopy", &["-i", text, loader.to_str().unwrap(), to], "");
    place(&esp, &disk, mib(1));
    place(&in_file(dir.path(), "windows"), &disk, 83_968 * 512);
    let found = inspect(&[source(0, image(&disk))]);
    let [system] = found.systems.as_slice() else { panic!("{found:?}") };
    assert!(system.is_windows() && system.name.as_str() == "Windows");
    assert_eq!(system.root.to_string(), "d0/p2");
    let boot: Vec<(String, String)> = system.boot.iter().map(|(at, v)| (at.clone(), v.to_string())).collect();
    assert_eq!(boot, [("esp".to_owned(), "d0/p1".to_owned())]);
    let volume = found.volume(&system.root).unwrap();
    let Content::Ntfs(info) = &volume.content else { panic!("{volume:?}") };
    assert_eq!((info.log, info.hibernated), (NtfsLog::Empty, Some(false)));
}

#[test]
fn a_disk_of_data_is_no_system() {
    let dir = tempfile::tempdir().unwrap();
    let found = inspect(&[source(0, image(&in_file(dir.path(), "ntfs")))]);
    assert!(found.systems.is_empty(), "{:?}", found.systems);
}
