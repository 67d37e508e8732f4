//! Picks the kernel modules of the image and puts them into one pack.
//!
//! Debian ships no `modules.dep`: dependencies are read from the modules themselves (`.modinfo`, written by the kernel's
//! scripts/mod/modpost.c): `depends=` names direct dependencies, `softdep=pre: ...` what is wished to be there before,
//! by name or by alias, `alias=` the device patterns.

use crate::error::{BuildError, Result};
use crate::{elf, tool};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The list of drivers, compiled in.
pub const DRIVERS: &str = include_str!("../drivers.list");

/// A line of the list of drivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Module name, `-` as `_`.
    pub name: String,
    /// Whether a kernel without it is refused.
    pub required: bool,
}

/// A module of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Name as the kernel has it: `-` as `_`.
    pub name: String,
    /// What must be loaded before, by name.
    pub depends: BTreeSet<String>,
    /// What should be loaded before where it can be, by name.
    pub wishes: BTreeSet<String>,
    /// Device patterns it answers to.
    pub aliases: Vec<String>,
    /// The module, uncompressed, with its signature.
    pub image: Vec<u8>,
}

/// The modules picked for an image, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picked {
    /// The modules, dependencies included.
    pub modules: Vec<Module>,
    /// Optional ones that this kernel does not have.
    pub absent: Vec<String>,
}

/// A module's name: file names and `.modinfo` mix `-` and `_`, the kernel takes both for the same.
pub fn normal(name: &str) -> String {
    name.replace('-', "_")
}

/// Reads a list of drivers.
///
/// # Errors
/// When a line is neither a comment, a group with its reason, nor a module; or a module is named twice.
pub fn parse_list(text: &str) -> Result<Vec<Wanted>> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut group = None;
    for (number, line) in (1..).zip(text.lines()).map(|(n, l)| (n, l.trim())) {
        let bad = |why: &str| BuildError::Input(format!("drivers.list line {number}: {why}: {line}"));
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((name, why)) = line.strip_prefix('[').and_then(|l| l.split_once(']')) {
            if why.trim().is_empty() {
                return Err(bad("a group needs its reason"));
            }
            group = Some(name.to_owned());
            continue;
        }
        if group.is_none() {
            return Err(bad("a module outside any group"));
        }
        let name = normal(line.trim_end_matches('?'));
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return Err(bad("not a module name"));
        }
        if wanted.iter().any(|w| w.name == name) {
            return Err(bad("named twice"));
        }
        wanted.push(Wanted { name, required: !line.ends_with('?') });
    }
    Ok(wanted)
}

/// Picks the wanted modules of a kernel and everything they depend on. `folder` is `lib/modules/<release>`.
///
/// # Errors
/// When a required module is missing, or one cannot be read.
pub fn pick(folder: &Path, wanted: &[Wanted]) -> Result<Picked> {
    let files = files(&folder.join("kernel"))?;
    let built_in = built_in(folder)?;
    let mut absent = Vec::new();
    let mut todo: Vec<(String, bool)> = wanted.iter().map(|w| (w.name.clone(), w.required)).collect();
    let mut found: BTreeMap<String, Module> = BTreeMap::new();
    let mut soft: BTreeMap<String, Vec<String>> = BTreeMap::new();
    // Ends: each module is read at most once, and their number is finite.
    while let Some((name, required)) = todo.pop() {
        if found.contains_key(&name) || built_in.contains(&name) {
            continue;
        }
        let Some(file) = files.get(&name) else {
            if required {
                return Err(BuildError::Input(format!(
                    "the kernel below {} has no module {name}; take it out of image-builder/drivers.list or mark it `?`",
                    folder.display()
                )));
            }
            absent.push(name);
            continue;
        };
        let (mut module, wishes) = read(&name, unpack(file)?)?;
        module.depends.retain(|d| !built_in.contains(d));
        todo.extend(module.depends.iter().map(|d| (d.clone(), true)));
        soft.insert(name.clone(), wishes);
        found.insert(name, module);
    }
    grant(&mut found, &soft);
    absent.sort_unstable();
    Ok(Picked { modules: found.into_values().collect(), absent })
}

/// Turns wishes (names or aliases) into names of picked modules; what was not picked is not granted.
fn grant(found: &mut BTreeMap<String, Module>, soft: &BTreeMap<String, Vec<String>>) {
    let granted: Vec<(String, BTreeSet<String>)> = soft
        .iter()
        .map(|(name, wishes)| {
            let answers = |m: &&Module| wishes.iter().any(|w| normal(w) == m.name || m.aliases.contains(w));
            let names = found.values().filter(answers).map(|m| m.name.clone()).filter(|n| n != name);
            (name.clone(), names.collect())
        })
        .collect();
    for (name, wishes) in granted {
        if let Some(module) = found.get_mut(&name) {
            module.wishes = wishes;
        }
    }
}

/// Every module file below a folder, by name.
fn files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(BuildError::io("read", &folder))? {
            let entry = entry.map_err(BuildError::io("read", &folder))?;
            let kind = entry.file_type().map_err(BuildError::io("read", &entry.path()))?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
                found.insert(normal(name), entry.path());
            }
        }
    }
    Ok(found)
}

/// Names in `modules.builtin`: paths such as `kernel/drivers/virtio/virtio_pci.ko`.
fn built_in(folder: &Path) -> Result<BTreeSet<String>> {
    let file = folder.join("modules.builtin");
    let text = std::fs::read_to_string(&file).map_err(BuildError::io("read", &file))?;
    Ok(text.lines().filter_map(|l| l.rsplit('/').next()?.strip_suffix(".ko")).map(normal).collect())
}

/// The uncompressed module: Debian compresses with xz, and each kind of kernel its own way.
fn unpack(file: &Path) -> Result<Vec<u8>> {
    match file.extension().and_then(|e| e.to_str()) {
        Some("ko") => std::fs::read(file).map_err(BuildError::io("read", file)),
        Some("xz") => tool::run(Command::new("xz").arg("--decompress").arg("--stdout").arg(file)),
        Some("zst") => {
            let packed = std::fs::File::open(file).map_err(BuildError::io("read", file))?;
            zstd::decode_all(packed).map_err(BuildError::io("read", file))
        }
        _ => Err(BuildError::Input(format!("{} is compressed in a way unknown here", file.display()))),
    }
}

/// The module and its wishes.
fn read(name: &str, image: Vec<u8>) -> Result<(Module, Vec<String>)> {
    let info = elf::section(&image, ".modinfo")
        .ok_or_else(|| BuildError::Input(format!("module {name} has no .modinfo section")))?;
    let text = String::from_utf8_lossy(info);
    let fields: Vec<(&str, &str)> = text.split('\0').filter_map(|f| f.split_once('=')).collect();
    let values = |key: &'static str| fields.iter().filter(move |(k, _)| *k == key).map(|(_, v)| *v);
    let depends = values("depends").flat_map(|v| v.split(',')).filter(|d| !d.is_empty()).map(normal).collect();
    let aliases = values("alias").map(str::to_owned).collect();
    let wishes = values("softdep").flat_map(wishes_before).map(str::to_owned).collect();
    let own = values("name").next().map(normal);
    if own.as_ref().is_some_and(|own| own != name) {
        return Err(BuildError::Input(format!("module file {name} calls itself {}", own.unwrap_or_default())));
    }
    Ok((Module { name: name.to_owned(), depends, wishes: BTreeSet::new(), aliases, image }, wishes))
}

/// The words between `pre:` and `post:` of a softdep.
fn wishes_before(softdep: &str) -> impl Iterator<Item = &str> {
    let mut before = false;
    softdep.split_whitespace().filter(move |word| match *word {
        "pre:" => {
            before = true;
            false
        }
        "post:" => {
            before = false;
            false
        }
        _ => before,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF64 file with one section, `.modinfo`.
    fn module(info: &str) -> Vec<u8> {
        let names = b"\0.modinfo\0.shstrtab\0";
        let mut out = vec![0; 64];
        out[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let (info_at, names_at) = (64, 64 + info.len());
        out.extend(info.bytes());
        out.extend(names);
        let table = out.len() as u64;
        out[0x28..0x30].copy_from_slice(&table.to_le_bytes());
        out[0x3a..0x3c].copy_from_slice(&64_u16.to_le_bytes());
        out[0x3c..0x3e].copy_from_slice(&3_u16.to_le_bytes());
        out[0x3e..0x40].copy_from_slice(&2_u16.to_le_bytes());
        for (name, at, len) in [(0_u32, 0, 0), (1, info_at, info.len()), (10, names_at, names.len())] {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&name.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(at as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(len as u64).to_le_bytes());
            out.extend(header);
        }
        out
    }

    fn tree(modules: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("kernel/drivers")).unwrap();
        std::fs::write(folder.path().join("modules.builtin"), "kernel/drivers/virtio/virtio-pci.ko\n").unwrap();
        for (name, info) in modules {
            std::fs::write(folder.path().join("kernel/drivers").join(name), module(info)).unwrap();
        }
        folder
    }

    fn want(list: &str) -> Vec<Wanted> {
        parse_list(&format!("[x] why\n{list}")).unwrap()
    }

    #[test]
    fn dependencies_come_along_and_wishes_are_named() {
        let folder = tree(&[
            ("ext4.ko", "alias=fs-ext4\0softdep=pre: crypto-crc32c post: other\0depends=jbd2,virtio_pci\0name=ext4\0"),
            ("jbd2.ko", "depends=\0name=jbd2\0"),
            ("crc32c-intel.ko", "alias=crypto-crc32c\0alias=cpu:type:x86*\0depends=\0name=crc32c_intel\0"),
            ("other.ko", "depends=\0name=other\0"),
        ]);
        let picked = pick(folder.path(), &want("ext4\ncrc32c-intel\nvirtio_pci\nmissing?")).unwrap();
        let names: Vec<&str> = picked.modules.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["crc32c_intel", "ext4", "jbd2"]);
        assert_eq!(picked.absent, ["missing"]);
        let ext4 = &picked.modules[1];
        assert_eq!(ext4.depends, BTreeSet::from(["jbd2".to_owned()]));
        assert_eq!(ext4.wishes, BTreeSet::from(["crc32c_intel".to_owned()]));
        assert_eq!(ext4.aliases, ["fs-ext4"]);
    }

    #[test]
    fn a_required_module_that_is_not_there_stops_the_build() {
        let folder = tree(&[("a.ko", "depends=gone\0name=a\0")]);
        assert!(pick(folder.path(), &want("b")).unwrap_err().to_string().contains("no module b"));
        assert!(pick(folder.path(), &want("a")).unwrap_err().to_string().contains("no module gone"));
    }

    #[test]
    fn damage_is_an_error_not_a_panic() {
        let folder = tree(&[("a.ko", "name=b\0")]);
        assert!(pick(folder.path(), &want("a")).is_err());
        std::fs::write(folder.path().join("kernel/drivers/a.ko"), b"\x7fELF\x02\x01").unwrap();
        assert!(pick(folder.path(), &want("a")).unwrap_err().to_string().contains("modinfo"));
    }

    #[test]
    fn the_list_is_well_formed_and_says_why() {
        let list = parse_list(DRIVERS).unwrap();
        assert!(list.len() > 80);
        assert!(list.iter().any(|w| w.name == "3w_9xxx" && w.required));
        for bad in ["nvme", "[x]\nnvme", "[x] why\na\na", "[x] why\na b"] {
            assert!(parse_list(bad).is_err(), "{bad}");
        }
    }
}
