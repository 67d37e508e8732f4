//! dpkg's database: `status`, and the records of `updates/` that are not yet merged into it.
//!
//! Stanzas of `Field: value` lines, separated by empty lines, continued by lines that begin with a blank (deb822(5)). The `Status`
//! field is three words: what is wanted, `ok` or `reinstreq`, and the state (dpkg(1), "Information about packages"). Records
//! are stanzas too, one a file, named by rising numbers (dpkg `lib/dpkg/dbmodify.c`).

use super::{evidence, unreadable};
use crate::want::{DPKG_RECORD, DPKG_STATUS};
use model::evidence::{Evidence, Fact, Origin, PackageState};
use model::ports::{ReadAt, ReadError};
use model::text::DisplayText;
use model::units::ByteOffset;

/// Bytes read at a time.
const CHUNK: u64 = 256 << 10;
/// Longest part of a line that is kept: the fields that matter are short.
const MOST_LINE: usize = 1024;
/// Longest name, version or state told.
const MOST_WORD: usize = 100;
/// Most packages that are not in order told.
const MOST_BROKEN: usize = 2048;

/// One stanza.
#[derive(Debug, Default)]
struct Stanza {
    package: String,
    version: String,
    architecture: String,
    same: bool,
    status: String,
}

impl Stanza {
    fn line(&mut self, line: &[u8]) {
        let text = String::from_utf8_lossy(line);
        let Some((key, value)) = text.split_once(':') else { return };
        let value = value.trim();
        match key {
            "Package" => self.package = value.to_owned(),
            "Version" => self.version = value.to_owned(),
            "Architecture" => self.architecture = value.to_owned(),
            "Multi-Arch" => self.same = value == "same",
            "Status" => self.status = value.to_owned(),
            _ => {}
        }
    }

    /// The database's word on its state, or `None` where the stanza says none.
    fn state(&self) -> Option<PackageState> {
        let mut words = self.status.split_ascii_whitespace();
        let (_, flag, state) = (words.next()?, words.next()?, words.next()?);
        let state = if flag == "ok" { state.to_owned() } else { format!("{state}, to be reinstalled") };
        // Packages that may be installed for several architectures are told apart, as dpkg does.
        let name = if self.same && !self.architecture.is_empty() {
            format!("{}:{}", self.package, self.architecture)
        } else {
            self.package.clone()
        };
        let word = |text: &str| DisplayText::new(&DisplayText::new(text).shortened(MOST_WORD));
        Some(PackageState { name: word(&name), version: word(&self.version), state: word(&state) })
    }
}

/// True for the states a package rests in.
pub(crate) fn at_rest(package: &PackageState) -> bool {
    matches!(package.state.as_str(), "installed" | "config-files" | "not-installed")
}

/// Reads `status`.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let (mut installed, mut broken, mut more) = (0u32, Vec::new(), 0u32);
    let mut stanzas = 0u32;
    let mut nameless = 0u32;
    let read = each_stanza(file, DPKG_STATUS, &mut |stanza| {
        stanzas += 1;
        match stanza.state() {
            Some(p) if p.state.as_str() == "installed" => installed += 1,
            Some(p) if at_rest(&p) => {}
            Some(p) if broken.len() < MOST_BROKEN => broken.push(p),
            Some(_) => more += 1,
            None => nameless += 1,
        }
    });
    if let Err(e) = read {
        return vec![unreadable(origin, "dpkg's database", &e.to_string())];
    }
    if stanzas == nameless {
        let why = format!("{} bytes without one package", file.size().0);
        return vec![unreadable(origin, "dpkg's database", &why)];
    }
    let mut found = Vec::new();
    if nameless > 0 || file.size().0 > DPKG_STATUS {
        let why = format!("{nameless} of {stanzas} stanzas without a status, {} bytes", file.size().0);
        found.push(unreadable(origin, "part of dpkg's database", &why));
    }
    let says = match broken.len() {
        0 => format!("dpkg's database has {installed} packages installed, all of them in order"),
        n => format!(
            "dpkg's database has {installed} packages installed and {} not in order",
            n as u64 + u64::from(more)
        ),
    };
    found.push(evidence(origin, Fact::DpkgState { installed, broken, updates: 0 }, &says, None));
    found
}

/// Gives every package of a `status` file or a record to `take`, reading at most `most` bytes.
///
/// # Errors
/// [`ReadError`] where it cannot be read whole.
pub(super) fn packages_of(file: &dyn ReadAt, most: u64, take: &mut dyn FnMut(PackageState)) -> Result<(), ReadError> {
    each_stanza(file, most, &mut |stanza| {
        if let Some(package) = stanza.state() {
            take(package);
        }
    })
}

/// Reads one record. Files that are not named by a number are dpkg's scratch and say nothing.
pub(super) fn parse_record(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let name = origin.path.as_ref().and_then(|p| p.0.rsplit(|b| *b == b'/').next().map(<[u8]>::to_vec));
    if !name.is_some_and(|n| !n.is_empty() && n.iter().all(u8::is_ascii_digit)) {
        return Vec::new();
    }
    let mut packages = Vec::new();
    let read = each_stanza(file, DPKG_RECORD, &mut |stanza| {
        if packages.len() < 64 {
            packages.extend(stanza.state());
        }
    });
    if let Err(e) = read {
        return vec![unreadable(origin, "a record of dpkg's", &e.to_string())];
    }
    let says = match packages.first() {
        Some(p) => format!("{} is {}, which dpkg had no time to merge into its database", p.name, p.state),
        None => "an empty record that dpkg had no time to merge into its database".to_owned(),
    };
    vec![evidence(origin, Fact::DpkgRecord { packages }, &says, None)]
}

/// Gives every stanza that names a package (or claims a status) to `take`, reading at most `most` bytes.
fn each_stanza(file: &dyn ReadAt, most: u64, take: &mut dyn FnMut(&Stanza)) -> Result<(), ReadError> {
    let size = file.size().0.min(most);
    let (mut at, mut line, mut stanza) = (0, Vec::new(), Stanza::default());
    let mut end_line = |line: &mut Vec<u8>| {
        if line.trim_ascii().is_empty() {
            if !stanza.package.is_empty() {
                take(&stanza);
            }
            stanza = Stanza::default();
        } else if !line[0].is_ascii_whitespace() {
            stanza.line(line);
        }
        line.clear();
    };
    while at < size {
        let len = CHUNK.min(size - at);
        let bytes = file.read_vec(ByteOffset(at), usize::try_from(len).unwrap_or(0))?;
        at += len;
        for (i, piece) in bytes.split(|b| *b == b'\n').enumerate() {
            if i > 0 {
                end_line(&mut line);
            }
            let room = MOST_LINE.saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
        }
    }
    end_line(&mut line);
    end_line(&mut line);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    fn state(text: &str) -> Fact {
        parse(&at("/var/lib/dpkg/status"), &text.as_bytes().to_vec()).pop().unwrap().fact
    }

    fn package(name: &str, version: &str, state: &str) -> PackageState {
        PackageState { name: name.into(), version: version.into(), state: state.into() }
    }

    #[test]
    fn states_by_their_words() {
        let text = "Package: a\nStatus: install ok installed\nVersion: 1\nDescription: x\n Status: purge ok half-installed\n\n\
            Package: b\nStatus: deinstall ok config-files\nVersion: 1\n\n\
            Package: c\nStatus: install ok half-configured\nVersion: 2\n\n\
            Package: d\nStatus: install reinstreq half-installed\nMulti-Arch: same\nArchitecture: amd64\nVersion: 3";
        assert_eq!(
            state(text),
            Fact::DpkgState {
                installed: 1,
                updates: 0,
                broken: vec![
                    package("c", "2", "half-configured"),
                    package("d:amd64", "3", "half-installed, to be reinstalled")
                ]
            }
        );
    }

    #[test]
    fn what_is_no_database_is_not_idle() {
        for text in ["", "\0\0\0\0\0\0\0\0", "hello\nworld\n\n"] {
            assert!(matches!(state(text), Fact::Unreadable { .. }), "{text:?}");
        }
    }

    #[test]
    fn a_database_larger_than_a_chunk() {
        let one =
            "Package: package-name\nStatus: install ok installed\nVersion: 1.0\nDescription: some words about it\n\n";
        let count = 10_000;
        assert!(one.len() * count > 3 * usize::try_from(CHUNK).unwrap());
        assert_eq!(state(&one.repeat(count)), Fact::DpkgState { installed: 10_000, broken: vec![], updates: 0 });
    }

    #[test]
    fn records_have_numbers() {
        let text = b"Package: a\nStatus: install ok unpacked\nVersion: 1\n".to_vec();
        let found = parse_record(&at("/var/lib/dpkg/updates/0004"), &text);
        assert_eq!(found[0].fact, Fact::DpkgRecord { packages: vec![package("a", "1", "unpacked")] });
        assert!(parse_record(&at("/var/lib/dpkg/updates/tmp.i"), &text).is_empty());
    }
}
