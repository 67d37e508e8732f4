//! The firmware's boot variables, as efivarfs shows them (kernel `Documentation/filesystems/efivarfs.rst`): a file each, named
//! by the variable and its vendor; its attributes in the first four bytes, then its bytes.
#![expect(unsafe_code, reason = "the flag that keeps a file of efivarfs from being written is an ioctl of its own")]

use model::firmware::{MOST_CRASHES, MOST_ENTRIES, MOST_VALUE, Value, Variable, number_of};
use model::ports::BootVariables;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// Where the rescue, and any distribution, mounts it.
const MOUNTED: &str = "/sys/firmware/efi/efivars";
/// `EFI_GLOBAL_VARIABLE` (UEFI specification 2.10, section 3.3).
const GLOBAL: &str = "8be4df61-93ca-11d2-aa0d-00e098032b8c";
/// `LINUX_EFI_CRASH_GUID` (kernel `include/linux/efi.h`), and how the names of its variables with kernel messages begin
/// (`drivers/firmware/efi/efi-pstore.c`; type 0 is `PSTORE_TYPE_DMESG`).
const CRASH: &str = "cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0";
const CRASH_BEGINS: &str = "dump-type0-";
/// The others that are read besides `Boot####`.
const OTHERS: [&str; 4] = ["BootOrder", "BootNext", "BootCurrent", "OsIndications"];
/// `FS_IMMUTABLE_FL` (`include/uapi/linux/fs.h`).
const IMMUTABLE: libc::c_int = 0x10;

mod raw {
    use nix::libc::{c_int, c_long};

    // Their numbers have the size of a long in them; what they read and write is an int.
    nix::ioctl_read_bad!(get_flags, nix::request_code_read!(b'f', 1, size_of::<c_long>()), c_int);
    nix::ioctl_write_ptr_bad!(set_flags, nix::request_code_write!(b'f', 2, size_of::<c_long>()), c_int);
}

/// The variables of this computer's firmware.
#[derive(Debug, Clone)]
pub struct EfiVars {
    dir: PathBuf,
}

impl EfiVars {
    /// Those of this computer, where it started by UEFI and they can be seen.
    pub fn of_this_computer() -> Option<Self> {
        let vars = Self { dir: MOUNTED.into() };
        // Without efivarfs on it, the directory is there and empty.
        vars.read_all().is_ok_and(|all| !all.is_empty()).then_some(vars)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}-{GLOBAL}"))
    }
}

/// True for the variables that are about booting.
fn is_wanted(name: &str) -> bool {
    OTHERS.contains(&name) || number_of(name).is_some()
}

/// True for those that may be written.
fn is_writable(name: &str) -> bool {
    name == model::firmware::ORDER || number_of(name).is_some()
}

/// A variable; `None` for a file without a byte, which is what a variable leaves that was never taken by the firmware.
fn read(path: &Path, name: &str) -> io::Result<Option<Variable>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MOST_VALUE as u64 + 5).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    match bytes.split_first_chunk::<4>() {
        Some((attributes, value)) if value.len() <= MOST_VALUE => {
            let (attributes, value) = (u32::from_le_bytes(*attributes), Value(value.to_vec()));
            Ok(Some(Variable { name: name.to_owned(), attributes, value }))
        }
        _ => Err(io::Error::other(format!("{name} has {} bytes", bytes.len()))),
    }
}

/// Takes the flag off that keeps a file from being written and removed: the kernel puts it on all variables but those that it knows
/// the meaning of.
fn make_mutable(file: &File) -> io::Result<()> {
    let mut flags = 0;
    // SAFETY: `FS_IOC_GETFLAGS` writes one int to a live local.
    match unsafe { raw::get_flags(file.as_raw_fd(), &raw mut flags) } {
        Ok(_) if flags & IMMUTABLE == 0 => return Ok(()),
        Ok(_) => {}
        // It has no flags at all.
        Err(nix::errno::Errno::ENOTTY) => return Ok(()),
        Err(e) => return Err(e.into()),
    }
    flags &= !IMMUTABLE;
    // SAFETY: `FS_IOC_SETFLAGS` reads one int from a live local.
    unsafe { raw::set_flags(file.as_raw_fd(), &raw const flags) }?;
    Ok(())
}

impl BootVariables for EfiVars {
    fn read_all(&self) -> io::Result<Vec<Variable>> {
        let mut all = Vec::new();
        for file in std::fs::read_dir(&self.dir)? {
            let file = file?;
            let name = file.file_name();
            let Some(name) = name.to_str().and_then(|n| n.strip_suffix(GLOBAL)).and_then(|n| n.strip_suffix('-'))
            else {
                continue;
            };
            if !is_wanted(name) {
                continue;
            }
            if all.len() >= MOST_ENTRIES + OTHERS.len() {
                return Err(io::Error::other(format!("there are more than {MOST_ENTRIES} boot entries")));
            }
            all.extend(read(&file.path(), name)?);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn crash_records(&self) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        for file in std::fs::read_dir(&self.dir)? {
            let name = file?.file_name();
            let name = name.to_str().and_then(|n| n.strip_suffix(CRASH)).and_then(|n| n.strip_suffix('-'));
            all.extend(name.filter(|n| n.starts_with(CRASH_BEGINS)).map(str::to_owned));
            if all.len() >= MOST_CRASHES {
                break;
            }
        }
        all.sort();
        Ok(all)
    }

    fn set(&self, variable: &Variable) -> io::Result<()> {
        if !is_writable(&variable.name) {
            return Err(io::Error::from(ErrorKind::InvalidInput));
        }
        let path = self.path(&variable.name);
        let is_new = match File::open(&path) {
            Ok(file) => make_mutable(&file).map(|()| false)?,
            Err(e) if e.kind() == ErrorKind::NotFound => true,
            Err(e) => return Err(e),
        };
        let whole = [&variable.attributes.to_le_bytes()[..], &variable.value.0].concat();
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&path)?;
        // One call is one change of the variable: a second would be another.
        let taken = match file.write(&whole) {
            Ok(all) if all == whole.len() => Ok(()),
            Ok(some) => Err(io::Error::other(format!("{some} of {} bytes were taken", whole.len()))),
            Err(e) => Err(e),
        };
        if taken.is_err() && is_new {
            // What is left of it says nothing; where it cannot be removed, it is passed over.
            let _ = std::fs::remove_file(&path);
        }
        taken
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        if !is_writable(name) {
            return Err(io::Error::from(ErrorKind::InvalidInput));
        }
        let path = self.path(name);
        match File::open(&path) {
            Ok(file) => make_mutable(&file)?,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(e),
        }
        std::fs::remove_file(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like it. What the firmware does with the bytes only a firmware shows.
    #[test]
    fn files_are_variables() {
        let dir = tempfile::tempdir().unwrap();
        let vars = EfiVars { dir: dir.path().to_owned() };
        let file = |name: &str| dir.path().join(format!("{name}-{GLOBAL}"));
        std::fs::write(file("BootOrder"), [7, 0, 0, 0, 1, 0]).unwrap();
        std::fs::write(file("Boot0001"), [7, 0, 0, 0, 0xaa]).unwrap();
        std::fs::write(file("SecureBoot"), [6, 0, 0, 0, 1]).unwrap();
        std::fs::write(dir.path().join("Boot0002-00000000-0000-0000-0000-000000000000"), [7, 0, 0, 0, 1]).unwrap();
        let of = |name: &str, value: &[u8]| Variable { name: name.into(), attributes: 7, value: Value(value.to_vec()) };
        assert_eq!(vars.read_all().unwrap(), [of("Boot0001", &[0xaa]), of("BootOrder", &[1, 0])]);
        std::fs::write(dir.path().join(format!("dump-type0-1-1-1796042968-C-{CRASH}")), [7, 0, 0, 0, 1]).unwrap();
        std::fs::write(file("dump-type0-2-1-1796042968-C"), [7, 0, 0, 0, 1]).unwrap();
        assert_eq!(vars.crash_records().unwrap(), ["dump-type0-1-1-1796042968-C"], "of that vendor only");
        vars.set(&of("Boot000F", &[1, 2])).unwrap();
        assert_eq!(std::fs::read(file("Boot000F")).unwrap(), [7, 0, 0, 0, 1, 2]);
        vars.remove("Boot0001").unwrap();
        vars.remove("Boot0001").unwrap();
        assert!(!file("Boot0001").exists());
        for other in ["SecureBoot", "PK", "../Boot0001", "Boot1"] {
            assert!(vars.set(&of(other, &[1])).is_err() && vars.remove(other).is_err(), "{other}");
        }
        std::fs::write(file("Boot0002"), []).unwrap();
        assert!(vars.read_all().unwrap().iter().all(|v| v.name != "Boot0002"), "it was never taken");
        std::fs::write(file("Boot0003"), [7, 0]).unwrap();
        assert!(vars.read_all().is_err(), "less than its attributes");
    }
}
