//! Kernel modules in the rescue image: the pack that holds them, its index, and loading by modalias.
//!
//! # Format
//! `modules.pack` is the module files (uncompressed, signatures and all) one after the other. `modules.index` is text:
//!
//! ```text
//! holdfast-modules 1
//! ext4 0 901234 mbcache,jbd2,crc16
//! soft ext4 crc32c
//! mbcache 901234 20480
//! alias fs-ext4 ext4
//! alias pci:v*d*sv*sd*bc01sc06i01* ahci
//! ```
//!
//! A line of a module gives its name, offset and length in the pack, and the modules it needs. `soft` names what should
//! be loaded first if it is there (a module or an alias; modprobe.d(5)). In names `-` and `_` are one, as for modprobe.
//! Modules built into the kernel do not appear: asking for one loads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Name of the file that holds the modules.
pub const PACK: &str = "modules.pack";
/// Name of the file that says where they are.
pub const INDEX: &str = "modules.index";
const HEADER: &str = "holdfast-modules 1";
/// No module comes near this; what an index says is bounded by it before memory is taken.
const MOST_MODULE: u64 = 256 << 20;

/// A pack or its index does not hold together.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A line of the index makes no sense.
    #[error("line {line} of the module index: {what}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// A module needs one that is neither in the pack nor built in.
    #[error("module {name} needs {missing}, which is neither in the pack nor built in")]
    Missing {
        /// The module.
        name: String,
        /// What it needs.
        missing: String,
    },
    /// Modules that need each other.
    #[error("module {name} needs itself, by way of others")]
    Cycle {
        /// One of them.
        name: String,
    },
    /// Two modules of one name.
    #[error("module {name} is there twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// A name or pattern with a space or comma, or none.
    #[error("{name:?} cannot stand in a module index")]
    Name {
        /// The name.
        name: String,
    },
}

/// `-` and `_` are one in module names.
pub fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Entry {
    offset: u64,
    length: u64,
    needs: Vec<String>,
    soft: Vec<String>,
}

/// Builds a pack and its index.
#[derive(Debug, Default)]
pub struct Pack {
    bytes: Vec<u8>,
    modules: BTreeMap<String, Entry>,
    aliases: BTreeSet<(String, String)>,
    builtin: BTreeSet<String>,
}

fn checked(name: &str) -> Result<&str, PackError> {
    let bad = name.is_empty() || name.contains([',', ' ', '\n', '\t', '\r']) || name == "-";
    if bad { Err(PackError::Name { name: name.to_owned() }) } else { Ok(name) }
}

impl Pack {
    /// An empty pack.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a module: its name (`ext4`), its uncompressed file, and the names of the modules it needs directly or in all.
    ///
    /// # Errors
    /// [`PackError::Twice`], [`PackError::Name`].
    pub fn add(&mut self, name: &str, file: &[u8], needs: &[&str]) -> Result<(), PackError> {
        let name = canonical(checked(name)?);
        if matches!(name.as_str(), "alias" | "soft") {
            return Err(PackError::Name { name });
        }
        let needs = needs.iter().map(|n| checked(n).map(canonical)).collect::<Result<_, _>>()?;
        let (offset, length) = (self.bytes.len() as u64, file.len() as u64);
        if self.modules.contains_key(&name) {
            return Err(PackError::Twice { name });
        }
        self.bytes.extend_from_slice(file);
        self.modules.insert(name, Entry { offset, length, needs, soft: Vec::new() });
        Ok(())
    }

    /// Adds an alias of a module: a pattern of modinfo's `alias` lines. Of a module not in the pack it is left out.
    ///
    /// # Errors
    /// [`PackError::Name`].
    pub fn alias(&mut self, pattern: &str, name: &str) -> Result<(), PackError> {
        // Some modaliases (of ACPI, OF) hold a comma or nothing odd; a space never.
        if pattern.is_empty() || pattern.contains([' ', '\n', '\t', '\r']) {
            return Err(PackError::Name { name: pattern.to_owned() });
        }
        self.aliases.insert((pattern.to_owned(), canonical(checked(name)?)));
        Ok(())
    }

    /// Says that `name` should have `first` loaded before it where that is there (`softdep name pre: first`).
    ///
    /// # Errors
    /// [`PackError::Name`].
    pub fn soft(&mut self, name: &str, first: &str) -> Result<(), PackError> {
        let first = checked(first)?.to_owned();
        if let Some(entry) = self.modules.get_mut(&canonical(checked(name)?)) {
            entry.soft.push(first);
        }
        Ok(())
    }

    /// Says that a module is built into the kernel: needing it is no error, and it is left out.
    ///
    /// # Errors
    /// [`PackError::Name`].
    pub fn builtin(&mut self, name: &str) -> Result<(), PackError> {
        self.builtin.insert(canonical(checked(name)?));
        Ok(())
    }

    /// The contents of `modules.pack` and `modules.index`.
    ///
    /// # Errors
    /// [`PackError::Missing`], [`PackError::Cycle`].
    pub fn build(mut self) -> Result<(Vec<u8>, String), PackError> {
        for (name, entry) in &mut self.modules {
            entry.needs.retain(|n| !self.builtin.contains(n) && n != name);
        }
        let mut text = format!("{HEADER}\n");
        for (name, entry) in &self.modules {
            let known = |n: &&String| !self.modules.contains_key(*n);
            if let Some(missing) = entry.needs.iter().find(known) {
                return Err(PackError::Missing { name: name.clone(), missing: missing.clone() });
            }
            let _ = write!(text, "{name} {} {}", entry.offset, entry.length);
            if !entry.needs.is_empty() {
                let _ = write!(text, " {}", entry.needs.join(","));
            }
            text.push('\n');
            if !entry.soft.is_empty() {
                let _ = writeln!(text, "soft {name} {}", entry.soft.join(","));
            }
        }
        for (pattern, name) in self.aliases.iter().filter(|(_, n)| self.modules.contains_key(n)) {
            let _ = writeln!(text, "alias {pattern} {name}");
        }
        let index = Index::parse(&text)?;
        for name in self.modules.keys() {
            index.order(name)?;
        }
        Ok((self.bytes, text))
    }
}

/// An index that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Index {
    modules: BTreeMap<String, Entry>,
    aliases: Vec<(String, String)>,
}

impl Index {
    /// Reads the text of a `modules.index`.
    ///
    /// # Errors
    /// [`PackError::Line`] where a line makes no sense, [`PackError::Twice`].
    pub fn parse(text: &str) -> Result<Self, PackError> {
        let mut index = Self::default();
        for (n, line) in (1..).zip(text.lines()) {
            let bad = |what: &str| PackError::Line { line: n, what: format!("{what} in {line:?}") };
            if n == 1 {
                if line != HEADER {
                    return Err(bad("another format than this version's"));
                }
                continue;
            }
            let words: Vec<&str> = line.split(' ').collect();
            let list = |s: &str| s.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect();
            match words[..] {
                ["alias", pattern, name] => index.aliases.push((pattern.to_owned(), canonical(name))),
                ["soft", name, first] => match index.modules.get_mut(&canonical(name)) {
                    Some(entry) => entry.soft = list(first),
                    None => return Err(bad("an unknown module")),
                },
                [name, offset, length, ref needs @ ..] if needs.len() <= 1 => {
                    let number = |s: &str| s.parse::<u64>().map_err(|_| bad("no number"));
                    let (offset, length) = (number(offset)?, number(length)?);
                    if length > MOST_MODULE || offset.checked_add(length).is_none() {
                        return Err(bad("an impossible length"));
                    }
                    let needs = needs.first().map(|s| list(s)).unwrap_or_default();
                    let needs = needs.iter().map(|n| canonical(n)).collect();
                    let entry = Entry { offset, length, needs, soft: Vec::new() };
                    if index.modules.insert(canonical(name), entry).is_some() {
                        return Err(PackError::Twice { name: name.to_owned() });
                    }
                }
                _ => return Err(bad("unknown words")),
            }
        }
        Ok(index)
    }

    /// Names of the modules that drive what `modalias` describes, or that are called so; each once.
    pub fn matching(&self, modalias: &str) -> Vec<&str> {
        let mut out: Vec<&str> = Vec::new();
        if let Some((name, _)) = self.modules.get_key_value(&canonical(modalias)) {
            out.push(name);
        }
        for (pattern, name) in &self.aliases {
            if !out.contains(&name.as_str()) && matches(pattern, modalias) {
                out.push(name);
            }
        }
        out
    }

    /// `name` and all it needs, in the order they must be loaded; nothing where it is not in the pack.
    ///
    /// # Errors
    /// [`PackError::Cycle`], [`PackError::Missing`].
    pub fn order(&self, name: &str) -> Result<Vec<String>, PackError> {
        let name = canonical(name);
        if !self.modules.contains_key(&name) {
            return Ok(Vec::new());
        }
        // Depth-first with a stack of its own: a module is pushed out once all it needs is out.
        let mut out: Vec<String> = Vec::new();
        let mut open: Vec<String> = Vec::new();
        let mut stack = vec![(name, false)];
        while let Some((name, needs_done)) = stack.pop() {
            if needs_done {
                open.retain(|o| *o != name);
                out.push(name);
                continue;
            }
            if out.contains(&name) {
                continue;
            }
            if open.contains(&name) {
                return Err(PackError::Cycle { name });
            }
            let Some(entry) = self.modules.get(&name) else {
                return Err(PackError::Missing { name: open.last().cloned().unwrap_or_default(), missing: name });
            };
            open.push(name.clone());
            stack.push((name, true));
            // modules.dep lists what comes first last.
            for need in entry.needs.iter().filter(|n| !out.contains(n)) {
                stack.push((need.clone(), false));
            }
        }
        Ok(out)
    }

    /// Number of modules.
    pub fn len(&self) -> usize {
        self.modules.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.modules.is_empty()
    }
}

/// Matches a modalias as modprobe does (fnmatch(3) without flags): `*`, `?`, `[a-z]`, `[!a-z]`.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (p, t) = (pattern.as_bytes(), text.as_bytes());
    let (mut i, mut j) = (0, 0);
    // Where to take up again after the last star: it then swallows one byte more.
    let mut star: Option<(usize, usize)> = None;
    loop {
        if p.get(i) == Some(&b'*') {
            star = Some((i + 1, j));
            i += 1;
            continue;
        }
        let step = match (p.get(i), t.get(j)) {
            (None, None) => return true,
            (Some(_), Some(c)) => one(&p[i..], *c),
            _ => None,
        };
        match (step, star) {
            (Some(len), _) => (i, j) = (i + len, j + 1),
            (None, Some((after, at))) if at < t.len() => {
                star = Some((after, at + 1));
                (i, j) = (after, at + 1);
            }
            _ => return false,
        }
    }
}

/// Matches one byte against the start of a pattern; gives the length of what matched it.
fn one(p: &[u8], c: u8) -> Option<usize> {
    match p[0] {
        b'?' => Some(1),
        b'[' => {
            let negated = matches!(p.get(1), Some(b'!' | b'^'));
            let first = 1 + usize::from(negated);
            // A bracket that stands first is one of the set; without an end the bracket means itself.
            let close = p.iter().skip(first + 1).position(|b| *b == b']').map(|n| first + 1 + n);
            let Some(close) = close else { return (c == b'[').then_some(1) };
            let (mut k, mut found) = (first, false);
            while k < close {
                if k + 2 < close && p[k + 1] == b'-' {
                    found |= (p[k]..=p[k + 2]).contains(&c);
                    k += 3;
                } else {
                    found |= p[k] == c;
                    k += 1;
                }
            }
            (found != negated).then_some(close + 1)
        }
        b => (b == c).then_some(1),
    }
}

/// Loads modules from a pack into the running kernel.
#[derive(Debug)]
pub struct Loader {
    index: Index,
    pack: File,
    loaded: Vec<String>,
    failed: BTreeMap<String, String>,
    asked: BTreeSet<String>,
}

impl Loader {
    /// Opens the pack in a directory.
    ///
    /// # Errors
    /// What the system says, or [`PackError`] where the index does not hold together.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let text = std::fs::read_to_string(dir.join(INDEX))?;
        let index = Index::parse(&text).map_err(io::Error::other)?;
        let pack = File::open(dir.join(PACK))?;
        Ok(Self { index, pack, loaded: Vec::new(), failed: BTreeMap::new(), asked: BTreeSet::new() })
    }

    /// Loads what drives `modalias` (or is called so), with all it needs. Asked again, it does nothing. Returns how
    /// many modules came in; failures are kept in [`Loader::failures`].
    pub fn load(&mut self, modalias: &str) -> usize {
        if !self.asked.insert(modalias.to_owned()) {
            return 0;
        }
        let before = self.loaded.len();
        let names: Vec<String> = self.index.matching(modalias).into_iter().map(str::to_owned).collect();
        for name in names {
            self.load_module(&name);
        }
        self.loaded.len() - before
    }

    fn load_module(&mut self, name: &str) {
        match self.index.order(name) {
            Err(e) => {
                self.failed.insert(name.to_owned(), e.to_string());
            }
            Ok(order) => {
                for part in order {
                    // What it needs softly is asked for by name or alias; `asked` ends a circle.
                    let soft = self.index.modules.get(&part).map(|e| e.soft.clone()).unwrap_or_default();
                    for first in soft {
                        self.load(&first);
                    }
                    if !self.insert(&part) {
                        break;
                    }
                }
            }
        }
    }

    /// Gives one module to the kernel. False where it is not in afterwards.
    fn insert(&mut self, name: &str) -> bool {
        if self.loaded.iter().any(|l| l == name) {
            return true;
        }
        if self.failed.contains_key(name) {
            return false;
        }
        let result = self.read(name).and_then(|bytes| match nix::kmod::init_module(&bytes, c"") {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => Ok(()),
            Err(e) => Err(e.into()),
        });
        match result {
            Ok(()) => self.loaded.push(name.to_owned()),
            Err(e) => {
                self.failed.insert(name.to_owned(), e.to_string());
                return false;
            }
        }
        true
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let entry = self.index.modules.get(name).ok_or_else(|| io::Error::other("not in the pack"))?;
        let size = self.pack.metadata()?.len();
        let inside = entry.offset.checked_add(entry.length).is_some_and(|end| end <= size);
        let len = usize::try_from(entry.length).map_err(io::Error::other)?;
        if !inside {
            return Err(io::Error::other(format!("the pack ends at {size}, before the module does")));
        }
        let mut bytes = vec![0; len];
        self.pack.read_exact_at(&mut bytes, entry.offset)?;
        Ok(bytes)
    }

    /// Names of the modules loaded, in order.
    pub fn loaded(&self) -> &[String] {
        &self.loaded
    }

    /// Modules the kernel did not take, and why. Not all are trouble: a driver may refuse a machine it does not fit.
    pub fn failures(&self) -> impl Iterator<Item = (&str, &str)> {
        self.failed.iter().map(|(name, why)| (name.as_str(), why.as_str()))
    }

    /// The index.
    pub fn index(&self) -> &Index {
        &self.index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_fnmatch_does() {
        let yes = [
            ("pci:v*d*sv*sd*bc01sc06i01*", "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01"),
            ("virtio:d00000002v*", "virtio:d00000002v00001AF4"),
            ("usb:v*p*d*dc*dsc*dp*ic08isc06ip50in*", "usb:v46F4p0001d0000dc00dsc00dp00ic08isc06ip50in00"),
            ("usb:v0421p0019d059[2-9]dc*", "usb:v0421p0019d0595dc00"),
            ("a[!0-9]c", "abc"),
            ("a[]]c", "a]c"),
            ("a[b", "a[b"),
            ("*", ""),
            ("a*b*c", "aXbbYc"),
            ("a?c", "abc"),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        let no =
            [("a[!0-9]c", "a1c"), ("a*b", "aXc"), ("a", "ab"), ("ab", "a"), ("", "a"), ("a?", "a"), ("[a-c]", "d")];
        for (pattern, text) in no {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
        // Many stars must not take for ever.
        assert!(!matches(&"*a".repeat(40), &"a".repeat(39)));
        assert!(!matches(&"a*".repeat(200), &"b".repeat(4000)));
    }

    fn sample() -> Pack {
        let mut pack = Pack::new();
        pack.add("ext4", b"EXT4", &["mbcache", "jbd2", "crc16"]).unwrap();
        pack.add("jbd2", b"JB", &["crc16", "printk"]).unwrap();
        pack.add("mbcache", b"MBC", &[]).unwrap();
        pack.add("crc16", b"C", &[]).unwrap();
        pack.add("crc32c-generic", b"G", &[]).unwrap();
        pack.alias("crc32c", "crc32c_generic").unwrap();
        pack.alias("fs-ext4", "ext4").unwrap();
        pack.alias("fs-xfs", "xfs").unwrap();
        pack.soft("ext4", "crc32c").unwrap();
        pack.builtin("printk").unwrap();
        pack
    }

    #[test]
    fn what_is_packed_can_be_found_in_order() {
        let (bytes, text) = sample().build().unwrap();
        let index = Index::parse(&text).unwrap();
        assert_eq!(index.matching("fs-ext4"), ["ext4"]);
        assert_eq!(index.matching("ext4"), ["ext4"]);
        assert_eq!(index.matching("fs-xfs"), [""; 0], "an alias of a module that is not there");
        assert_eq!(index.matching("crc32c"), ["crc32c_generic"]);
        let order = index.order("ext4").unwrap();
        let at = |n: &str| order.iter().position(|o| o == n).unwrap();
        assert!(at("crc16") < at("jbd2") && at("jbd2") < at("ext4") && at("mbcache") < at("ext4"), "{order:?}");
        assert_eq!(order.len(), 4);
        let e = &index.modules["mbcache"];
        let range = usize::try_from(e.offset).unwrap()..usize::try_from(e.offset + e.length).unwrap();
        assert_eq!(&bytes[range], b"MBC");
        assert_eq!(index.modules["ext4"].soft, ["crc32c"]);
        assert_eq!(index.order("printk").unwrap(), [""; 0], "built in: nothing to load");
    }

    #[test]
    fn what_does_not_hold_together_is_said() {
        let mut pack = sample();
        pack.add("a", b"", &["b"]).unwrap();
        assert!(matches!(pack.build(), Err(PackError::Missing { .. })));
        let mut pack = sample();
        pack.add("a", b"", &["b"]).unwrap();
        pack.add("b", b"", &["a"]).unwrap();
        assert!(matches!(pack.build(), Err(PackError::Cycle { .. })));
        assert!(matches!(sample().add("jbd2", b"", &[]), Err(PackError::Twice { .. })));
        assert!(matches!(sample().add("a b", b"", &[]), Err(PackError::Name { .. })));
        for bad in
            ["", "holdfast-modules 2\n", "holdfast-modules 1\na 0", "holdfast-modules 1\na 1 18446744073709551615"]
        {
            let parsed = Index::parse(bad);
            assert!(parsed.is_err() || parsed.unwrap().is_empty(), "{bad:?}");
        }
    }

    #[test]
    fn a_pack_shorter_than_its_index_is_no_crash() {
        let dir = tempfile::tempdir().unwrap();
        let (_, text) = sample().build().unwrap();
        std::fs::write(dir.path().join(INDEX), text).unwrap();
        std::fs::write(dir.path().join(PACK), b"EX").unwrap();
        let mut loader = Loader::open(dir.path()).unwrap();
        assert_eq!(loader.load("fs-ext4"), 0);
        let failures: Vec<_> = loader.failures().collect();
        assert!(failures.iter().any(|(_, why)| why.contains("the pack ends at 2")), "{failures:?}");
    }
}
