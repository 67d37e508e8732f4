//! Which packages dpkg's database has, and what differs between two of it.
//!
//! A package counts as there in every state but `not-installed` and `config-files`. Which of two versions is the newer is decided as
//! deb-version(7) says.

use super::at_rest;
use super::dpkg_status::packages_of;
use crate::want::{DPKG_RECORD, DPKG_STATUS};
use model::differences::{MOST_PACKAGES, PackageChange, PackageDifference, PackageDifferences};
use model::evidence::PackageState;
use model::ports::{ReadAt, ReadError};
use model::text::DisplayText;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Most packages of a database: Debian has some 70 000.
const MOST: usize = 1 << 18;

/// The packages of a system, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Packages(BTreeMap<DisplayText, PackageState>);

impl Packages {
    /// Adds what a `status` file says.
    ///
    /// # Errors
    /// A sentence where it cannot be read, or names no package.
    pub fn add_status(&mut self, file: &dyn ReadAt) -> Result<(), String> {
        self.add(file, DPKG_STATUS).map_err(|e| e.to_string())?;
        match self.0.is_empty() {
            true => Err(format!("{} bytes without one package", file.size().0)),
            false if file.size().0 > DPKG_STATUS || self.0.len() >= MOST => Err("it is too large".to_owned()),
            false => Ok(()),
        }
    }

    /// Adds a record that is newer than what was added before: one of dpkg's `updates/`, in the order of their names.
    ///
    /// # Errors
    /// A sentence where it cannot be read.
    pub fn add_record(&mut self, file: &dyn ReadAt) -> Result<(), String> {
        self.add(file, DPKG_RECORD).map_err(|e| e.to_string())
    }

    fn add(&mut self, file: &dyn ReadAt, most: u64) -> Result<(), ReadError> {
        packages_of(file, most, &mut |package| {
            if self.0.len() < MOST {
                self.0.insert(package.name.clone(), package);
            }
        })
    }

    /// What became of them in a later state.
    pub fn differences(&self, later: &Self) -> PackageDifferences {
        let names: BTreeSet<&DisplayText> = self.0.keys().chain(later.0.keys()).collect();
        let mut found = PackageDifferences::default();
        for name in names {
            let there = |of: &Self| of.0.get(name).filter(|p| is_there(p)).cloned();
            let Some(difference) = difference(name, there(self), there(later)) else { continue };
            found.count += 1;
            if found.changes.len() < MOST_PACKAGES {
                found.changes.push(difference);
            }
        }
        found
    }
}

fn is_there(package: &PackageState) -> bool {
    !at_rest(package) || package.state.as_str() == "installed"
}

fn difference(
    name: &DisplayText,
    before: Option<PackageState>,
    after: Option<PackageState>,
) -> Option<PackageDifference> {
    let change = match (&before, &after) {
        (None, None) => return None,
        (None, Some(_)) => PackageChange::Installed,
        (Some(_), None) => PackageChange::Removed,
        (Some(b), Some(a)) => match compare(a.version.as_str(), b.version.as_str()) {
            Ordering::Greater => PackageChange::Upgraded,
            Ordering::Less => PackageChange::Downgraded,
            Ordering::Equal if a.state != b.state => PackageChange::State,
            Ordering::Equal => return None,
        },
    };
    let said = |p: PackageState| match p.state.as_str() {
        "installed" => p.version,
        state => DisplayText::new(&format!("{} ({state})", p.version)),
    };
    Some(PackageDifference { name: name.clone(), change, before: before.map(said), after: after.map(said) })
}

/// Which of two versions is the newer: epoch, then upstream version, then revision.
fn compare(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| {
        let (epoch, rest) = text.split_once(':').unwrap_or(("0", text));
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, "0"));
        (epoch.parse::<u64>().unwrap_or(0), upstream.to_owned(), revision.to_owned())
    };
    let ((epoch_a, up_a, rev_a), (epoch_b, up_b, rev_b)) = (parts(a), parts(b));
    epoch_a.cmp(&epoch_b).then_with(|| part(&up_a, &up_b)).then_with(|| part(&rev_a, &rev_b))
}

/// Runs without digits by letters first, then all else, `~` before even the end; runs of digits by their number.
fn part(a: &str, b: &str) -> Ordering {
    let weight = |c: Option<&u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_digit() => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    };
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !a.is_empty() || !b.is_empty() {
        let word = |s: &[u8]| s.first().is_some_and(|c| !c.is_ascii_digit());
        while word(a) || word(b) {
            match weight(a.first()).cmp(&weight(b.first())) {
                Ordering::Equal => (a, b) = (a.get(1..).unwrap_or_default(), b.get(1..).unwrap_or_default()),
                other => return other,
            }
        }
        let digits = |s: &[u8]| s.iter().take_while(|c| c.is_ascii_digit()).count();
        let ((number_a, rest_a), (number_b, rest_b)) = (a.split_at(digits(a)), b.split_at(digits(b)));
        // Of two without leading zeros the longer is the larger.
        let plain = |s: &[u8]| s.iter().skip_while(|c| **c == b'0').copied().collect::<Vec<u8>>();
        let (plain_a, plain_b) = (plain(number_a), plain(number_b));
        match plain_a.len().cmp(&plain_b.len()).then_with(|| plain_a.cmp(&plain_b)) {
            Ordering::Equal => (a, b) = (rest_a, rest_b),
            other => return other,
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packages(text: &str) -> Packages {
        let mut packages = Packages::default();
        packages.add_status(&text.as_bytes().to_vec()).unwrap();
        packages
    }

    #[test]
    fn what_became_of_each() {
        let one = |name: &str, version: &str, status: &str| {
            format!("Package: {name}\nStatus: {status}\nVersion: {version}\nArchitecture: amd64\n\n")
        };
        let ok = "install ok installed";
        let before = one("gone", "1", ok)
            + &one("same", "1", ok)
            + &one("up", "1:2.9-1", ok)
            + &one("down", "1.0", ok)
            + &one("rest", "1", ok)
            + &one("half", "1", ok);
        let after = one("new", "3", ok)
            + &one("same", "1", ok)
            + &one("up", "1:2.10-1", ok)
            + &one("down", "1.0~rc1", ok)
            + &one("rest", "1", "deinstall ok config-files")
            + &one("half", "1", "install ok half-configured");
        let mut later = packages(&after);
        later.add_record(&one("same", "2", "install ok unpacked").into_bytes()).unwrap();
        let found = packages(&before).differences(&later);
        let line = |p: &PackageDifference| {
            let text = |t: &Option<DisplayText>| t.as_ref().map_or("-".to_owned(), ToString::to_string);
            format!("{} {:?} {} {}", p.name, p.change, text(&p.before), text(&p.after))
        };
        assert_eq!(
            found.changes.iter().map(line).collect::<Vec<_>>(),
            [
                "down Downgraded 1.0 1.0~rc1",
                "gone Removed 1 -",
                "half State 1 1 (half-configured)",
                "new Installed - 3",
                "rest Removed 1 -",
                "same Upgraded 1 2 (unpacked)",
                "up Upgraded 1:2.9-1 1:2.10-1",
            ]
        );
        assert_eq!(found.count, 7);
        assert!(Packages::default().add_status(&b"no database".to_vec()).is_err());
    }

    /// Against `dpkg --compare-versions`.
    #[test]
    fn versions_compare_as_dpkg_has_them() {
        let versions = [
            "1.0",
            "1.0-1",
            "1.0~rc1",
            "1.0~~",
            "1.0+b1",
            "1.0a",
            "1.0.1",
            "1:0.1",
            "0:1.0",
            "2.36-9+deb12u10",
            "2.36-9+deb12u9",
            "10",
            "9",
            "09",
            "1.0-0",
            "1.0-0ubuntu1",
            "1-2-3",
            "1-2~3",
            "a",
            "1.0z",
            "1.0.",
        ];
        for a in versions {
            for b in versions {
                let dpkg = |relation: &str| {
                    let ended =
                        std::process::Command::new("dpkg").args(["--compare-versions", a, relation, b]).output();
                    ended.expect("this test needs dpkg").status.success()
                };
                let is = compare(a, b);
                assert_eq!(is == Ordering::Less, dpkg("lt"), "{a} {b}");
                assert_eq!(is == Ordering::Equal, dpkg("eq"), "{a} {b}");
            }
        }
    }
}
