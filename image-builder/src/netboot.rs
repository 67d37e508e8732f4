//! The netboot bundle: a folder to be served over TFTP or HTTP.

use crate::budget::Budget;
use crate::error::{BuildError, Result};
use crate::initramfs::{self, Boot, Sources};
use crate::loader::{self, Screen};
use crate::manifest::{self, FileRecord, OutputManifest};
use crate::package::{self, Origin};
use crate::place;
use std::path::{Path, PathBuf};

/// Kernel file in the bundle.
pub const KERNEL: &str = "vmlinuz";
/// Initramfs file in the bundle.
pub const INITRAMFS: &str = "initramfs.zst";
/// The script that iPXE runs.
pub const SCRIPT: &str = "holdfast.ipxe";

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The folder.
    pub folder: PathBuf,
    /// What the parts weigh.
    pub budget: Budget,
}

/// Builds the bundle.
///
/// # Errors
/// Whatever stands in the way, in one sentence.
pub fn build(sources: &Sources, folder: &Path) -> Result<Report> {
    let boot = initramfs::prepare(sources)?;
    let ipxe = package::fetch("ipxe")?;
    let loaders = [
        ("undionly.kpxe", ipxe.read("usr/lib/ipxe/undionly.kpxe")?, ipxe.origin.clone()),
        ("ipxe.efi", ipxe.read("boot/ipxe.efi")?, ipxe.origin.clone()),
    ];
    assemble(folder, &boot, &loaders)
}

/// Lays the bundle out in a folder, which is made where it does not exist.
///
/// # Errors
/// When the parts are over the budget, or the folder cannot be written.
pub fn assemble(folder: &Path, boot: &Boot, loaders: &[(&str, Vec<u8>, Origin)]) -> Result<Report> {
    let own = manifest::own_origin();
    let mut budget = Budget::default();
    budget.add(&format!("kernel {}", boot.release), &boot.kernel);
    budget.add("initramfs (zstd)", &boot.initramfs.bytes);
    let mut files = vec![
        (KERNEL, boot.kernel.clone(), boot.kernel_origin.clone()),
        (INITRAMFS, boot.initramfs.bytes.clone(), own.clone()),
        (SCRIPT, script().into_bytes(), own.clone()),
        ("README.txt", README.as_bytes().to_vec(), own),
    ];
    for (name, bytes, origin) in loaders {
        budget.add(name, bytes);
        files.push((name, bytes.clone(), origin.clone()));
    }
    budget.check()?;
    std::fs::create_dir_all(folder).map_err(BuildError::io("create", folder))?;
    files.sort_by_key(|(name, ..)| *name);
    for (name, bytes, _) in &files {
        place::write_whole(&folder.join(name), bytes)?;
    }
    let manifest = OutputManifest {
        schema: manifest::SCHEMA,
        kind: "netboot".to_owned(),
        output: None,
        disk_guid: None,
        partitions: Vec::new(),
        files: files.iter().map(|(name, bytes, origin)| FileRecord::of(name, bytes, origin)).collect(),
        initramfs: boot.initramfs.manifest.clone(),
    };
    place::write_whole(&folder.join("manifest.json"), &manifest::to_json(&manifest))?;
    Ok(Report { folder: folder.to_path_buf(), budget })
}

/// Where it fails, iPXE ends and the firmware goes on with its next boot device. Names without a folder are taken from where the script came from. `initrd=` tells a UEFI kernel which file it is.
fn script() -> String {
    let line = loader::command_line(None, Screen::Both, true);
    format!(
        "#!ipxe\n\
         echo Starting Holdfast ...\n\
         kernel {KERNEL} initrd={INITRAMFS} {line} || goto failed\n\
         initrd {INITRAMFS} || goto failed\n\
         boot || goto failed\n\
         :failed\n\
         echo Holdfast could not be started. Are {KERNEL} and {INITRAMFS} beside this script on the server?\n\
         sleep 20\n\
         exit 1\n"
    )
}

const README: &str = "\
Holdfast from the network
=========================

Serve this folder over TFTP or HTTP. iPXE runs holdfast.ipxe, which loads the kernel (vmlinuz) and the rescue
(initramfs.zst) from the same place. manifest.json lists every file with its SHA-256 and the package it came from.

A machine started this way has no store: Holdfast shows what happened to the machine and can only look. To use the store
on a Holdfast stick, add holdfast.store=GUID to the line `kernel` of holdfast.ipxe; GUID is that of the stick's third
partition (`lsblk -o NAME,PARTUUID`). With UEFI Secure Boot on, use the USB image: iPXE is not signed.

Machines whose firmware is iPXE already (most virtual machines)
    DHCP option 67 (boot file name):  holdfast.ipxe     or a URL: http://SERVER/holdfast/holdfast.ipxe
    DHCP option 66 (next server):     the TFTP server's address

Other machines first load iPXE from the TFTP server, then the script. For ISC DHCP:

    option arch code 93 = unsigned integer 16;
    next-server 192.0.2.1;
    if exists user-class and option user-class = \"iPXE\" {
        filename \"holdfast.ipxe\";
    } elsif option arch = 00:07 or option arch = 00:09 {
        filename \"ipxe.efi\";
    } else {
        filename \"undionly.kpxe\";
    }

For dnsmasq, which can be DHCP proxy and TFTP server at once:

    enable-tftp
    tftp-root=/srv/holdfast
    dhcp-userclass=set:ipxe,iPXE
    dhcp-match=set:efi,option:client-arch,7
    dhcp-match=set:efi,option:client-arch,9
    dhcp-boot=tag:ipxe,holdfast.ipxe
    dhcp-boot=tag:!ipxe,tag:efi,ipxe.efi
    dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe

Try it without any server, in a virtual machine:

    qemu-system-x86_64 -m 512 -boot n -nic user,tftp=DIR,bootfile=holdfast.ipxe
";
