//! The USB image: one disk that starts on BIOS and UEFI machines, with a store on it.

use crate::budget::Budget;
use crate::digest::Seed;
use crate::error::{BuildError, Result};
use crate::initramfs::{self, Boot, Sources};
use crate::manifest::{self, FileRecord, OutputManifest};
use crate::package::{self, Origin};
use crate::table::{self, Layout};
use crate::{bios, digest, esp, loader, place, store_partition};
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;

/// What to build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The image file.
    pub output: PathBuf,
    /// What it is made from.
    pub sources: Sources,
    /// Length of the store partition; the rescue grows it to the stick's end.
    pub store: ByteLen,
    /// Random ids instead of ids made from the content.
    pub fresh_ids: bool,
}

impl Options {
    /// The newest kernel and a small store partition.
    pub fn new(output: impl Into<PathBuf>) -> Self {
        Self { output: output.into(), sources: Sources::default(), store: ByteLen(64 << 20), fresh_ids: false }
    }
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The image file.
    pub output: PathBuf,
    /// Its manifest: `FILE.manifest.json`.
    pub manifest: PathBuf,
    /// Length of the image.
    pub len: ByteLen,
    /// The kernel's release.
    pub kernel: String,
    /// What the parts weigh.
    pub budget: Budget,
    /// Bytes the unpacked initramfs takes in memory.
    pub unpacked: ByteLen,
    /// GUID of the store partition.
    pub store_guid: String,
}

/// The loaders of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaders {
    /// GRUB for BIOSes.
    pub bios: bios::Loader,
    /// Files of the ESP that UEFI starts: path, bytes, origin.
    pub efi: Vec<(String, Vec<u8>, Origin)>,
}

/// Where Debian's signed GRUB looks for its menu (its built-in prefix), and the BIOS core image with it.
const GRUB_FOLDER: &str = "EFI/debian";

/// Fetches the loaders: Debian's signed shim and GRUB, and a BIOS core image made with its tools.
///
/// # Errors
/// When a package cannot be fetched.
pub fn loaders() -> Result<Loaders> {
    let mut efi = Vec::new();
    // The shim asks for grubx64.efi beside itself, and for mmx64.efi when a key is to be enrolled.
    for (package, file, path) in [
        ("shim-signed", "usr/lib/shim/shimx64.efi.signed", "EFI/BOOT/BOOTX64.EFI"),
        ("shim-helpers-amd64-signed", "usr/lib/shim/mmx64.efi.signed", "EFI/BOOT/mmx64.efi"),
        ("grub-efi-amd64-signed", "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed", "EFI/BOOT/grubx64.efi"),
    ] {
        let unpacked = package::fetch(package)?;
        efi.push((path.to_owned(), unpacked.read(file)?, unpacked.origin));
    }
    // `(,gpt2)`: partition 2 of the disk that the BIOS started from, whatever its number.
    Ok(Loaders { bios: bios::loader(&format!("(,gpt2)/{GRUB_FOLDER}"))?, efi })
}

/// Builds the image from what Debian offers and the workspace's programs.
///
/// # Errors
/// Whatever stands in the way, in one sentence.
pub fn build(options: &Options) -> Result<Report> {
    place::check_output(&options.output)?;
    let boot = initramfs::prepare(&options.sources)?;
    let loaders = loaders()?;
    eprintln!("image: writing {}", options.output.display());
    assemble(options, &boot, &loaders)
}

/// Lays kernel, initramfs and loaders out on a disk. The same inputs give the same bytes, unless ids are to be fresh.
///
/// # Errors
/// When the parts are over the budget, or the image cannot be written.
pub fn assemble(options: &Options, boot: &Boot, loaders: &Loaders) -> Result<Report> {
    let budget = budget(boot, loaders);
    budget.check()?;
    let seed = if options.fresh_ids { Seed::fresh()? } else { seed(boot, loaders, options.store) };
    let layout = Layout::new(options.store, &seed);
    let store = layout.store().clone();
    let files = boot_files(boot, loaders, &store.guid);

    let folder = place::folder_of(&options.output);
    place::check_output(&options.output)?;
    let beside = tempfile::NamedTempFile::new_in(folder).map_err(BuildError::io("create a file in", folder))?;
    let mut disk = beside.reopen().map_err(BuildError::io("write", &options.output))?;
    disk.set_len(layout.len.0).map_err(BuildError::io("write", &options.output))?;
    store_partition::make(beside.path(), ByteOffset(store.start), ByteLen(store.len), &seed)?;
    let contents = files.iter().map(|(path, (bytes, _))| (path.clone(), bytes.clone())).collect();
    let image = esp::build(&contents, table::ESP_LEN, seed.fat_id("ESP"), table::ESP)?;
    write_sparse(&mut disk, table::ESP.0 * 512, &image).map_err(BuildError::io("write", &options.output))?;
    table::write(&mut disk, &layout)?;
    if loaders.bios.core.len() as u64 > layout.partitions[0].len {
        return Err(BuildError::Input(format!("GRUB's core image has {} bytes: too large", loaders.bios.core.len())));
    }
    bios::embed(&mut disk, &loaders.bios.boot, &loaders.bios.core, table::BIOS_BOOT)?;
    drop(disk);

    let mut records: Vec<FileRecord> = files.iter().map(|(p, (b, o))| FileRecord::of(p, b, o)).collect();
    records.push(FileRecord::of("(BIOS) boot.img", &loaders.bios.boot, &loaders.bios.origin));
    records.push(FileRecord::of("(BIOS) core.img", &loaders.bios.core, &loaders.bios.origin));
    let whole = FileRecord {
        path: initramfs::file_name(&options.output),
        size: layout.len.0,
        sha256: digest::file(beside.path())?,
        origin: manifest::own_origin(),
    };
    place::keep(beside, &options.output)?;
    let manifest = OutputManifest {
        schema: manifest::SCHEMA,
        kind: "usb".to_owned(),
        output: Some(whole),
        disk_guid: Some(layout.disk_guid),
        partitions: layout.partitions,
        files: records,
        initramfs: boot.initramfs.manifest.clone(),
    };
    Ok(Report {
        output: options.output.clone(),
        manifest: initramfs::write_manifest(&options.output, &manifest)?,
        len: layout.len,
        kernel: boot.release.clone(),
        budget,
        unpacked: ByteLen(boot.initramfs.unpacked_len),
        store_guid: store.guid,
    })
}

fn budget(boot: &Boot, loaders: &Loaders) -> Budget {
    let mut budget = Budget::default();
    budget.add(&format!("kernel {}", boot.release), &boot.kernel);
    budget.add("initramfs (zstd)", &boot.initramfs.bytes);
    for (path, bytes, _) in &loaders.efi {
        budget.add(path, bytes);
    }
    budget.add("GRUB for BIOS (boot.img)", &loaders.bios.boot);
    budget.add("GRUB for BIOS (core.img)", &loaders.bios.core);
    budget
}

/// Files of the ESP, with where they came from.
fn boot_files(boot: &Boot, loaders: &Loaders, store: &str) -> BTreeMap<String, (Vec<u8>, Origin)> {
    let own = manifest::own_origin();
    let menu = loader::menu(store, &boot.release).into_bytes();
    let mut files = BTreeMap::from([
        (loader::KERNEL.to_owned(), (boot.kernel.clone(), boot.kernel_origin.clone())),
        (loader::INITRAMFS.to_owned(), (boot.initramfs.bytes.clone(), own.clone())),
        (format!("{GRUB_FOLDER}/grub.cfg"), (menu.clone(), own.clone())),
        ("EFI/BOOT/grub.cfg".to_owned(), (menu, own)),
    ]);
    for (path, bytes, origin) in &loaders.efi {
        files.insert(path.clone(), (bytes.clone(), origin.clone()));
    }
    files
}

/// Ids follow from everything that is on the image.
fn seed(boot: &Boot, loaders: &Loaders, store: ByteLen) -> Seed {
    let len = store.0.to_le_bytes();
    let menu = loader::menu("", &boot.release);
    let mut inputs: Vec<(&str, &[u8])> = vec![
        ("kernel", &boot.kernel),
        ("initramfs", &boot.initramfs.bytes),
        ("menu", menu.as_bytes()),
        ("bios boot", &loaders.bios.boot),
        ("bios core", &loaders.bios.core),
        ("store length", &len),
    ];
    inputs.extend(loaders.efi.iter().map(|(path, bytes, _)| (path.as_str(), bytes.as_slice())));
    Seed::of(&inputs)
}

/// Writes what is not zero: the file was just made and reads as zeros.
fn write_sparse(disk: &mut File, start: u64, bytes: &[u8]) -> std::io::Result<()> {
    const BLOCK: usize = 1 << 16;
    for (number, block) in (0_u64..).zip(bytes.chunks(BLOCK)) {
        if block.iter().any(|b| *b != 0) {
            disk.seek(SeekFrom::Start(start + number * BLOCK as u64))?;
            disk.write_all(block)?;
        }
    }
    Ok(())
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\n", self.budget)?;
        writeln!(f, "unpacked in memory: {} bytes", self.unpacked.0)?;
        writeln!(f, "image: {} ({} bytes)", self.output.display(), self.len.0)?;
        writeln!(f, "manifest: {}", self.manifest.display())?;
        write!(f, "store partition: {}", self.store_guid)
    }
}
