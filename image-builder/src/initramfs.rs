//! The initramfs: PID 1, the program, the drivers and a manifest. No shell, no interpreter, no library.

use crate::cpio::{Archive, Node};
use crate::error::{BuildError, Result};
use crate::kernel::Kernel;
use crate::manifest::{self, FileRecord, Manifest, ModuleRecord, OutputManifest};
use crate::modules::{self, Module, Picked};
use crate::package::Origin;
use crate::programs::{self, Programs};
use crate::{digest, place};
use std::path::{Path, PathBuf};
use sys::module::{INDEX, PACK, Pack, PackError};

/// Which kernel an image is built with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KernelChoice {
    /// The newest signed one that Debian offers this host.
    #[default]
    Newest,
    /// A bzImage and its `lib/modules/<release>`.
    Given {
        /// The bzImage.
        image: PathBuf,
        /// Its modules.
        modules: PathBuf,
    },
}

/// What an image is made from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// The kernel and its modules.
    pub kernel: KernelChoice,
    /// A folder that holds `init` and `holdfast`, static programs built before. Otherwise they are built now.
    pub programs: Option<PathBuf>,
}

/// What an initramfs is packed from.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The kernel's release.
    pub release: String,
    /// Where the kernel and its modules came from.
    pub kernel_origin: Origin,
    /// The programs.
    pub programs: Programs,
    /// The drivers.
    pub modules: Picked,
}

/// A packed initramfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Initramfs {
    /// cpio, compressed with zstd.
    pub bytes: Vec<u8>,
    /// Size before compression: what it takes of the machine's memory.
    pub unpacked_len: u64,
    /// What it holds.
    pub manifest: Manifest,
}

/// A kernel and its initramfs: what a loader starts.
#[derive(Debug, Clone)]
pub struct Boot {
    /// The kernel's release.
    pub release: String,
    /// The bzImage.
    pub kernel: Vec<u8>,
    /// Where the kernel came from.
    pub kernel_origin: Origin,
    /// The initramfs.
    pub initramfs: Initramfs,
}

/// zstd's strongest level that needs no more than 8 MiB of window in the kernel.
const LEVEL: i32 = 19;

/// Folders the kernel or PID 1 mounts on.
const MOUNT_POINTS: [&str; 6] = ["dev", "proc", "run", "store", "sys", "tmp"];

/// Fetches the kernel, builds the programs and packs the initramfs.
///
/// # Errors
/// Whatever stands in the way, in one sentence.
pub fn prepare(sources: &Sources) -> Result<Boot> {
    let kernel = match &sources.kernel {
        KernelChoice::Newest => Kernel::newest()?,
        KernelChoice::Given { image, modules } => Kernel::given(image, modules)?,
    };
    eprintln!("image: kernel {}", kernel.release);
    crate::host::require(&["xz-utils"])?;
    let picked = modules::pick(&kernel.modules, &modules::parse_list(modules::DRIVERS)?)?;
    let programs = match &sources.programs {
        None => programs::build()?,
        Some(folder) => programs::read(folder)?,
    };
    let kernel_origin = kernel
        .origin
        .unwrap_or_else(|| Origin { package: "given by hand".to_owned(), version: kernel.release.clone() });
    let bytes = std::fs::read(&kernel.image).map_err(BuildError::io("read", &kernel.image))?;
    let parts =
        Parts { release: kernel.release.clone(), kernel_origin: kernel_origin.clone(), programs, modules: picked };
    eprintln!("image: packing the initramfs");
    Ok(Boot { release: kernel.release, kernel: bytes, kernel_origin, initramfs: pack(&parts)? })
}

/// Packs an initramfs. The same parts give the same bytes.
///
/// # Errors
/// When the modules do not fit their index.
pub fn pack(parts: &Parts) -> Result<Initramfs> {
    let (pack, index) = module_pack(&parts.modules.modules)?;
    let own = manifest::own_origin();
    let mut archive = Archive::default();
    let mut files = Vec::new();
    let mut add = |path: &str, bytes: Vec<u8>, program: bool, origin: &Origin| {
        files.push(FileRecord::of(path, &bytes, origin));
        archive.add(path, Node::File { bytes, program });
    };
    add("bin/holdfast", parts.programs.holdfast.clone(), true, &own);
    add("init", parts.programs.init.clone(), true, &own);
    add(&format!("lib/modules/{INDEX}"), index, false, &parts.kernel_origin);
    add(&format!("lib/modules/{PACK}"), pack, false, &parts.kernel_origin);
    for folder in MOUNT_POINTS {
        archive.add(folder, Node::Folder);
    }
    // The kernel opens it for PID 1 before anything is mounted.
    archive.add("dev/console", Node::Device { major: 5, minor: 1 });
    let record =
        |m: &Module| ModuleRecord { name: m.name.clone(), size: m.image.len() as u64, sha256: digest::hex(&m.image) };
    let manifest = Manifest {
        schema: manifest::SCHEMA,
        version: own.version,
        kernel: parts.release.clone(),
        kernel_origin: parts.kernel_origin.clone(),
        files,
        modules: parts.modules.modules.iter().map(record).collect(),
        absent_modules: parts.modules.absent.clone(),
    };
    archive.add("etc/holdfast/image.json", Node::File { bytes: manifest::to_json(&manifest), program: false });
    let plain = archive.to_bytes(time());
    let bytes = zstd::bulk::compress(&plain, LEVEL)
        .map_err(|e| BuildError::Input(format!("the initramfs cannot be compressed: {e}")))?;
    Ok(Initramfs { bytes, unpacked_len: plain.len() as u64, manifest })
}

/// The time of every file: `SOURCE_DATE_EPOCH` (reproducible-builds.org), or 1970.
pub fn time() -> u32 {
    std::env::var("SOURCE_DATE_EPOCH").ok().and_then(|t| t.parse().ok()).unwrap_or(0)
}

/// The pack and its index, in the format PID 1 reads.
fn module_pack(modules: &[Module]) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut pack = Pack::new();
    for module in modules {
        add_module(&mut pack, module)
            .map_err(|e| BuildError::Input(format!("module {} cannot be packed: {e}", module.name)))?;
    }
    let (bytes, index) = pack.build().map_err(|e| BuildError::Input(format!("the modules cannot be packed: {e}")))?;
    Ok((bytes, index.into_bytes()))
}

fn add_module(pack: &mut Pack, module: &Module) -> std::result::Result<(), PackError> {
    let needs: Vec<&str> = module.depends.iter().map(String::as_str).collect();
    pack.add(&module.name, &module.image, &needs)?;
    for first in &module.wishes {
        pack.soft(&module.name, first)?;
    }
    // The kernel takes spaces out of modaliases: a pattern with one matches nothing.
    for alias in module.aliases.iter().filter(|a| !a.contains(char::is_whitespace)) {
        pack.alias(alias, &module.name)?;
    }
    Ok(())
}

/// Builds an initramfs into a file, with its manifest beside it.
///
/// # Errors
/// Whatever stands in the way, in one sentence.
pub fn build(sources: &Sources, output: &Path) -> Result<Initramfs> {
    place::check_output(output)?;
    let boot = prepare(sources)?;
    place::write_whole(output, &boot.initramfs.bytes)?;
    let own = manifest::own_origin();
    write_manifest(
        output,
        &OutputManifest {
            schema: manifest::SCHEMA,
            kind: "initramfs".to_owned(),
            output: Some(FileRecord::of(&file_name(output), &boot.initramfs.bytes, &own)),
            disk_guid: None,
            partitions: Vec::new(),
            files: Vec::new(),
            initramfs: boot.initramfs.manifest.clone(),
        },
    )?;
    Ok(boot.initramfs)
}

/// Writes `FILE.manifest.json` and says where.
pub(crate) fn write_manifest(output: &Path, manifest: &OutputManifest) -> Result<PathBuf> {
    let mut file = output.as_os_str().to_owned();
    file.push(".manifest.json");
    let file = PathBuf::from(file);
    place::write_whole(&file, &manifest::to_json(manifest))?;
    Ok(file)
}

pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::io::Write;
    use std::process::{Command, Stdio};

    fn parts() -> Parts {
        let module = |name: &str, depends: &[&str], wishes: &[&str], aliases: &[&str]| Module {
            name: name.to_owned(),
            depends: depends.iter().map(|d| (*d).to_owned()).collect(),
            wishes: wishes.iter().map(|d| (*d).to_owned()).collect::<BTreeSet<_>>(),
            aliases: aliases.iter().map(|d| (*d).to_owned()).collect(),
            image: name.repeat(1000).into_bytes(),
        };
        Parts {
            release: "6.12-test".to_owned(),
            kernel_origin: Origin { package: "linux-image-6.12-test".to_owned(), version: "6.12-1".to_owned() },
            programs: Programs { init: b"init".to_vec(), holdfast: b"holdfast".to_vec() },
            modules: Picked {
                modules: vec![
                    module("crc32c_intel", &[], &[], &["crc32c"]),
                    module("ext4", &["jbd2"], &["crc32c_intel"], &["fs-ext4", "no match"]),
                    module("jbd2", &[], &[], &[]),
                ],
                absent: vec!["fan".to_owned()],
            },
        }
    }

    /// Names in the archive, as GNU cpio lists them, with the first letter of their mode.
    fn listing(initramfs: &Initramfs) -> Vec<String> {
        let plain = zstd::decode_all(&initramfs.bytes[..]).unwrap();
        assert_eq!(plain.len() as u64, initramfs.unpacked_len);
        let cpio = crate::tool::find("cpio").expect("this test needs the Debian package cpio");
        let mut child =
            Command::new(cpio).args(["-itv", "--quiet"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut to = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || to.write_all(&plain).unwrap());
        let out = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        writer.join().unwrap();
        out.lines().map(|l| format!("{} {}", &l[..10], l.rsplit(' ').next().unwrap())).collect()
    }

    #[test]
    fn these_files_and_no_others() {
        assert_eq!(
            listing(&pack(&parts()).unwrap()),
            [
                "drwxr-xr-x bin",
                "-rwxr-xr-x bin/holdfast",
                "drwxr-xr-x dev",
                "crw------- dev/console",
                "drwxr-xr-x etc",
                "drwxr-xr-x etc/holdfast",
                "-rw-r--r-- etc/holdfast/image.json",
                "-rwxr-xr-x init",
                "drwxr-xr-x lib",
                "drwxr-xr-x lib/modules",
                "-rw-r--r-- lib/modules/modules.index",
                "-rw-r--r-- lib/modules/modules.pack",
                "drwxr-xr-x proc",
                "drwxr-xr-x run",
                "drwxr-xr-x store",
                "drwxr-xr-x sys",
                "drwxr-xr-x tmp",
            ]
        );
    }

    #[test]
    fn same_parts_same_bytes_and_others_differ() {
        let one = pack(&parts()).unwrap();
        assert_eq!(one, pack(&parts()).unwrap());
        let mut other = parts();
        other.programs.init.push(b'!');
        assert_ne!(one.bytes, pack(&other).unwrap().bytes);
    }

    #[test]
    fn the_manifest_says_what_is_in_it_and_where_it_came_from() {
        let manifest = pack(&parts()).unwrap().manifest;
        let find = |path: &str| manifest.files.iter().find(|f| f.path == path).unwrap();
        assert_eq!(find("init").sha256, digest::hex(b"init"));
        assert_eq!(find("lib/modules/modules.pack").origin.package, "linux-image-6.12-test");
        assert_eq!(manifest.modules[2].size, 4000);
        assert_eq!(manifest.absent_modules, ["fan"]);
    }

    #[test]
    fn pid_1_finds_what_was_packed() {
        let (pack, index) = module_pack(&parts().modules.modules).unwrap();
        let index = sys::module::Index::parse(std::str::from_utf8(&index).unwrap()).unwrap();
        assert_eq!(index.len(), 3);
        assert_eq!(index.matching("fs-ext4"), ["ext4"]);
        assert_eq!(index.order("ext4").unwrap(), ["jbd2", "ext4"]);
        assert_eq!(pack.len(), 1000 * ("crc32c_intel".len() + "ext4".len() + "jbd2".len()));
    }
}
