//! Whose the files on an EFI system partition are that several systems start from.
//!
//! What of it belongs to a system that goes back is what leads to that system, or is led to by it; all else stays as it is (decision 12). A
//! boot loader's directory is known by the volumes that the lines beside it (or inside it) name, and only where these name none by its own
//! name; a loader entry and a unified kernel image by their command lines.

use super::image;
use crate::fs::fat::{Compared, Fat, Pair};
use crate::fs::{FileSystem, FsError};
use model::esp::{EspPart, EspReading, Tenancy, Tenant};
use model::inspection::{FileKind, OS_WINDOWS};
use model::text::{DisplayText, RawName};
use model::units::ByteOffset;
use std::collections::{BTreeMap, BTreeSet};

/// Most things on a partition that are told apart.
const MOST_PARTS: usize = 4096;
/// The longest text, and the largest program, that is looked through.
const MOST_TEXT: u64 = 1 << 20;
const MOST_PROGRAM: u64 = 8 << 20;
/// Directories whose entries are told apart each by itself, from the root on.
const TOLD_APART: [&str; 5] = ["", "/efi", "/efi/linux", "/loader", "/loader/entries"];
/// Directories that boot loaders of a system with another `ID` have.
const ALSO_CALLED: [(&str, &str); 10] = [
    ("rhel", "redhat"),
    ("ol", "redhat"),
    ("linuxmint", "ubuntu"),
    ("elementary", "ubuntu"),
    ("zorin", "ubuntu"),
    ("raspbian", "debian"),
    ("opensuse-leap", "opensuse"),
    ("opensuse-tumbleweed", "opensuse"),
    ("sled", "sles"),
    ("sles_sap", "sles"),
];
/// What is Windows' wherever it stands at the root of a volume.
const OF_WINDOWS: [&str; 2] = ["/system volume information", "/$recycle.bin"];

/// Whose something is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Claim {
    /// A system's that goes back.
    Going,
    /// One's that stays: its name.
    Staying(DisplayText),
    /// Both have a claim.
    Both,
    /// Nobody's that was found.
    Nobody,
}

/// What speaks for whom.
#[derive(Debug, Clone, Default)]
struct Found {
    going: bool,
    staying: Option<DisplayText>,
}

impl Found {
    fn add(&mut self, claim: &Claim) {
        match claim {
            Claim::Going => self.going = true,
            Claim::Staying(name) => self.staying = Some(name.clone()),
            Claim::Both | Claim::Nobody => {}
        }
    }

    fn claim(self) -> Option<Claim> {
        match (self.going, self.staying) {
            (true, None) => Some(Claim::Going),
            (true, Some(_)) => Some(Claim::Both),
            (false, Some(name)) => Some(Claim::Staying(name)),
            (false, None) => None,
        }
    }
}

/// Tells what of a partition is not of the systems that go back, and how that is put, as it is `now`, into the partition as it was `then`.
///
/// # Errors
/// [`FsError`] where the present state cannot be read as far as that takes.
pub fn read(then: &Fat, now: &Fat, asked: &Tenancy) -> Result<EspReading, FsError> {
    let ids = ids(asked);
    let (was, is) = (State::read(then, asked, &ids)?, State::read(now, asked, &ids)?);
    let keys: BTreeSet<&String> = was.parts.keys().chain(is.parts.keys()).collect();
    let whose = |key: &String| stays(key, &was, &is).map(|whose| (key.clone(), whose));
    let staying: Vec<(String, DisplayText)> = keys.into_iter().filter_map(whose).collect();
    let path = |key: &String| {
        let listed = is.parts.get(key).or_else(|| was.parts.get(key));
        RawName(listed.map_or_else(Vec::new, |part| part.path.clone().into_bytes()))
    };
    let paths: Vec<RawName> = staying.iter().map(|(key, _)| path(key)).collect();
    let pair = Pair::new(then, now);
    let compared = pair.compare(&paths)?;
    let part = |((key, whose), (path, c)): ((String, DisplayText), (RawName, Compared))| {
        // A boot loader that is missing is brought back; an entry that is gone may have been cleared away.
        let owner = matches!(was.claims.get(&key), Some(Claim::Staying(_)));
        let returns = c.then && !c.now && owner && key.starts_with("/efi/") && !key.starts_with("/efi/linux/");
        EspPart { path, whose, differs: c.differs && !returns, returns, files: c.files, bytes: c.bytes }
    };
    let stays: Vec<EspPart> = staying.into_iter().zip(paths.into_iter().zip(compared)).map(part).collect();
    let moved: Vec<RawName> = stays.iter().filter(|part| part.differs).map(|part| part.path.clone()).collect();
    let graft = match moved.is_empty() {
        true => Ok(model::esp::Graft::default()),
        false => pair.graft(&moved).map_err(|e| DisplayText::new(&e.to_string())),
    };
    Ok(EspReading { stays, graft })
}

/// The UUIDs and machine ids that tell, in lower case.
fn ids(asked: &Tenancy) -> BTreeMap<String, Claim> {
    let mut ids = BTreeMap::new();
    let own = |t: &Tenant| t.uuids.iter().chain(&t.machine_id).map(|id| id.to_lowercase()).collect::<Vec<_>>();
    for tenant in &asked.staying {
        ids.extend(own(tenant).into_iter().map(|id| (id, Claim::Staying(tenant.name.clone()))));
    }
    for tenant in &asked.going {
        ids.extend(own(tenant).into_iter().map(|id| (id, Claim::Going)));
    }
    ids
}

/// Who it belongs to, where it stays; `None` where it goes back.
fn stays(key: &str, was: &State<'_>, is: &State<'_>) -> Option<DisplayText> {
    use Claim::{Both, Going, Nobody, Staying};
    match (was.claims.get(key), is.claims.get(key)) {
        // What the system needs goes back, whoever took its place since.
        (Some(Going | Both), _) | (None | Some(Nobody), Some(Going)) => None,
        (Some(Staying(name)), _) | (_, Some(Staying(name))) => Some(name.clone()),
        (_, Some(Both)) => Some("several systems".into()),
        (None | Some(Nobody), None | Some(Nobody)) => {
            let goes = was.takes(key, is) || is.parts.contains_key(key) && is.takes(key, was);
            (!goes).then(|| "of no system that was found".into())
        }
    }
}

/// One thing on the partition.
struct Listed {
    path: String,
    directory: bool,
}

/// One state of the partition.
struct State<'a> {
    fs: &'a Fat,
    asked: &'a Tenancy,
    ids: &'a BTreeMap<String, Claim>,
    /// By their paths in lower case.
    parts: BTreeMap<String, Listed>,
    claims: BTreeMap<String, Claim>,
    /// What stands at the root because loader entries name it.
    named: BTreeMap<String, Claim>,
}

impl<'a> State<'a> {
    fn read(fs: &'a Fat, asked: &'a Tenancy, ids: &'a BTreeMap<String, Claim>) -> Result<Self, FsError> {
        let (parts, claims, named) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut state = Self { fs, asked, ids, parts, claims, named };
        for directory in TOLD_APART {
            state.list(directory)?;
        }
        let (entries, rest): (Vec<String>, Vec<String>) = state.parts.keys().cloned().partition(|key| is_entry(key));
        for key in &entries {
            let claim = state.entry(key)?;
            state.claims.insert(key.clone(), claim);
        }
        let (fallback, rest): (Vec<String>, Vec<String>) = rest.into_iter().partition(|key| key == FALLBACK);
        // The fallback is known by those it is a copy of.
        for key in rest.into_iter().chain(fallback) {
            let claim = match key.strip_prefix("/efi/") {
                Some(name) => state.loader(&key, name)?,
                None => state.at_root(&key)?,
            };
            state.claims.insert(key, claim);
        }
        Ok(state)
    }

    fn list(&mut self, directory: &str) -> Result<(), FsError> {
        let listed = self.fs.read_dir(directory.as_bytes(), MOST_PARTS)?;
        for file in listed {
            let Ok(name) = String::from_utf8(file.name.0) else { continue };
            let path = format!("{}/{name}", spelled(directory));
            let key = path.to_lowercase();
            let is_directory = file.kind == FileKind::Directory;
            if !(is_directory && TOLD_APART.contains(&key.as_str())) {
                self.parts.insert(key, Listed { path, directory: is_directory });
            }
        }
        match self.parts.len() {
            0..MOST_PARTS => Ok(()),
            many => Err(FsError::Incompatible(format!("{many} files and directories are more than are told apart"))),
        }
    }

    fn content(&self, path: &str, most: u64) -> Result<Option<Vec<u8>>, FsError> {
        let Some(file) = self.fs.open(path.as_bytes())?.filter(|f| f.size().0 <= most) else { return Ok(None) };
        Ok(Some(file.read_vec(ByteOffset(0), file.size().to_usize().unwrap_or(0))?))
    }

    /// Names of the files in a directory, in lower case.
    fn files(&self, directory: &str) -> Result<Vec<String>, FsError> {
        let listed = self.fs.read_dir(directory.as_bytes(), MOST_PARTS)?.into_iter();
        let names = listed.filter(|f| f.kind == FileKind::File).filter_map(|f| String::from_utf8(f.name.0).ok());
        Ok(names.map(|name| name.to_lowercase()).collect())
    }

    /// Whose ids stand in some bytes.
    fn ids_in(&self, bytes: &[u8]) -> Found {
        let mut found = Found::default();
        for (id, claim) in self.ids {
            // A machine id has no dash in it.
            if !id.contains('-') && contains(bytes, id) {
                found.add(claim);
            }
        }
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'-') {
            for (before, len) in [(8, 36), (4, 9)] {
                let text = at.checked_sub(before).and_then(|from| bytes.get(from..from + len));
                let text = text.and_then(|text| std::str::from_utf8(text).ok());
                if let Some(claim) = text.and_then(|text| self.ids.get(&text.to_lowercase())) {
                    found.add(claim);
                }
            }
        }
        found
    }

    /// Whose a name is that is an `ID` of os-release, or another name of its boot loader's directory.
    fn called(&self, name: &str) -> Found {
        let is = |t: &Tenant| {
            let os = t.os.as_str();
            os.eq_ignore_ascii_case(name) || ALSO_CALLED.iter().any(|(id, called)| *id == os && *called == name)
        };
        let staying = self.asked.staying.iter().find(|t| is(t)).map(|t| t.name.clone());
        Found { going: self.asked.going.iter().any(is), staying }
    }

    fn windows(&self) -> Claim {
        let is = |t: &&Tenant| t.os.as_str() == OS_WINDOWS;
        match self.asked.staying.iter().find(is) {
            Some(windows) => Claim::Staying(windows.name.clone()),
            None if self.asked.going.iter().any(|t| is(&t)) => Claim::Going,
            None => Claim::Staying("Windows".into()),
        }
    }

    /// A loader entry or a unified kernel image.
    fn entry(&mut self, key: &str) -> Result<Claim, FsError> {
        let mut found = self.ids_in(key.as_bytes());
        let name = key.rsplit('/').next().unwrap_or_default();
        let mut os = name.split('-').next().unwrap_or_default().to_owned();
        if key.starts_with("/loader/") {
            let text = self.content(key, MOST_TEXT)?.unwrap_or_default();
            let own = self.ids_in(&text);
            found = Found { going: found.going || own.going, staying: own.staying.or(found.staying) };
            let claim = found.claim().or_else(|| self.called(&os).claim()).unwrap_or(Claim::Nobody);
            for at_root in leads_to(&String::from_utf8_lossy(&text)) {
                match (self.named.get(&at_root), &claim) {
                    (Some(Claim::Going), _) | (Some(Claim::Staying(_)), Claim::Nobody) => {}
                    _ => _ = self.named.insert(at_root, claim.clone()),
                }
            }
            return Ok(claim);
        }
        if let Some(file) = self.fs.open(key.as_bytes())? {
            let own = self.ids_in(&image::section(&*file, ".cmdline").unwrap_or_default());
            found = Found { going: found.going || own.going, staying: own.staying.or(found.staying) };
            let release = image::section(&*file, ".osrel").unwrap_or_default();
            let release = String::from_utf8_lossy(&release).into_owned();
            if let Some(id) = release.lines().find_map(|line| line.strip_prefix("ID=")) {
                os = id.trim_matches(['"', '\'', '\0']).to_lowercase();
            }
        }
        Ok(found.claim().or_else(|| self.called(&os).claim()).unwrap_or(Claim::Nobody))
    }

    /// What stands in `EFI`: a boot loader's directory, mostly.
    fn loader(&self, key: &str, name: &str) -> Result<Claim, FsError> {
        match name {
            "microsoft" => return Ok(self.windows()),
            "apple" => return Ok(Claim::Staying("macOS".into())),
            _ => {}
        }
        if !self.parts.get(key).is_some_and(|part| part.directory) {
            return Ok(Claim::Nobody);
        }
        let files = self.files(key)?;
        let mut found = Found::default();
        // What firmware starts by itself may be a GRUB under another name.
        let is_grub = |f: &String| key == FALLBACK || f.starts_with("grub");
        for file in files.iter().filter(|f| *f == "grub.cfg" || is_grub(f) && is_program(f)) {
            if let Some(bytes) = self.content(&format!("{key}/{file}"), MOST_PROGRAM)? {
                let own = self.ids_in(&bytes);
                found = Found { going: found.going || own.going, staying: own.staying.or(found.staying) };
            }
        }
        if key == FALLBACK && found.clone().claim().is_none() {
            for file in files.iter().filter(|f| is_program(f)) {
                self.copied_from(&format!("{key}/{file}"), &mut found)?;
            }
        }
        Ok(found.claim().or_else(|| self.called(name).claim()).unwrap_or(Claim::Nobody))
    }

    /// Whose program another one is a copy of.
    fn copied_from(&self, path: &str, found: &mut Found) -> Result<(), FsError> {
        let Some(program) = self.content(path, MOST_PROGRAM)?.filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        for (key, claim) in self.claims.iter().filter(|(key, _)| key.starts_with("/efi/") && !is_entry(key)) {
            // Windows has its own one directory further down.
            for directory in [key.clone(), format!("{key}/boot")] {
                for file in self.files(&directory)?.iter().filter(|f| is_program(f)) {
                    let other = self.content(&format!("{directory}/{file}"), MOST_PROGRAM)?;
                    if other.is_some_and(|other| other == program) {
                        found.add(claim);
                    }
                }
            }
        }
        Ok(())
    }

    /// What stands at the root, or beside the loader entries.
    fn at_root(&self, key: &str) -> Result<Claim, FsError> {
        if OF_WINDOWS.contains(&key) {
            return Ok(self.windows());
        }
        if let Some(claim) = self.named.get(key).filter(|claim| **claim != Claim::Nobody) {
            return Ok(claim.clone());
        }
        let mut found = Found::default();
        self.ids.get(&key[1..]).into_iter().for_each(|claim| found.add(claim));
        if matches!(key, "/grub" | "/grub2")
            && let Some(menu) = self.content(&format!("{key}/grub.cfg"), MOST_TEXT)?
        {
            found = self.ids_in(&menu);
        }
        Ok(found.claim().unwrap_or(Claim::Nobody))
    }

    /// True where something that nobody has a claim to goes back all the same: without it the system may not start.
    fn takes(&self, key: &str, other: &State<'_>) -> bool {
        let (going, staying) = (&self.asked.going, &self.asked.staying);
        let linux_stays = staying.iter().any(|t| t.os.as_str() != OS_WINDOWS);
        let anchored = [self, other].iter().any(|state| state.has_loader());
        match key {
            FALLBACK => staying.is_empty() || !anchored,
            // The menu of loader entries is of those who have entries in it.
            _ if is_entry(key) || key == SYSTEMD_BOOT || key.starts_with("/loader/") => !linux_stays,
            _ if key.starts_with("/efi/") => !anchored && self.starts_something(key),
            _ => staying.is_empty() || going.iter().any(|t| t.boot),
        }
    }

    /// True where a boot loader or an entry is known to be of a system that goes back.
    fn has_loader(&self) -> bool {
        let mut own = self.claims.iter().filter(|(_, claim)| matches!(claim, Claim::Going | Claim::Both));
        own.any(|(key, _)| key.starts_with("/efi/") || is_entry(key))
    }

    fn starts_something(&self, key: &str) -> bool {
        let loader =
            |f: &String| ["shim", "grub", "systemd-boot"].iter().any(|stem| f.starts_with(stem)) && is_program(f);
        self.files(key).is_ok_and(|files| files.iter().any(loader))
    }
}

const FALLBACK: &str = "/efi/boot";
const SYSTEMD_BOOT: &str = "/efi/systemd";

/// A directory that is told apart, as it is usually written.
fn spelled(directory: &str) -> &str {
    match directory {
        "/efi" => "/EFI",
        "/efi/linux" => "/EFI/Linux",
        as_it_is => as_it_is,
    }
}

/// A loader entry (Boot Loader Specification, type #1) or a unified kernel image (type #2).
fn is_entry(key: &str) -> bool {
    key.starts_with("/loader/entries/") || key.starts_with("/efi/linux/")
}

fn is_program(name: &str) -> bool {
    name.ends_with(".efi")
}

/// True where a text of ASCII in lower case stands in some bytes.
fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|w| w.eq_ignore_ascii_case(text.as_bytes()))
}

/// What stands at the root of the partition and is named by a loader entry: the first part of each path.
fn leads_to(entry: &str) -> Vec<String> {
    let path = |line: &str| {
        let (key, value) = line.trim().split_once(char::is_whitespace)?;
        let named = matches!(key, "linux" | "initrd" | "efi" | "uki" | "devicetree");
        let first = value.trim().trim_start_matches(['/', '\\']).split(['/', '\\']).next()?;
        (named && !first.is_empty()).then(|| format!("/{}", first.to_lowercase()))
    };
    let told = |key: &String| !TOLD_APART.contains(&key.as_str());
    entry.lines().filter_map(path).filter(told).collect()
}
