//! dpkg's records applied to its database, in order of their numbers, as its next run would. Only what is not in order follows
//! from that: how many are installed with them, the records do not tell (a run killed while it cleared them away leaves
//! records that the database already has).

use crate::source::at_rest;
use model::evidence::{Evidence, Fact, PackageState};

/// Applies the records to every database on the same volume.
pub(super) fn apply(mut all: Vec<Evidence>) -> Vec<Evidence> {
    let mut records: Vec<(Vec<u8>, Vec<PackageState>, model::id::VolumePath)> = Vec::new();
    for e in &all {
        if let (Fact::DpkgRecord { packages }, Some(path)) = (&e.fact, &e.origin.path) {
            records.push((number(&path.0), packages.clone(), e.origin.volume.clone()));
        }
    }
    // Numbers are written with leading zeros but may grow a digit.
    records.sort_by(|a, b| (a.0.len(), &a.0).cmp(&(b.0.len(), &b.0)));
    for e in &mut all {
        let volume = e.origin.volume.clone();
        let Fact::DpkgState { broken, updates, .. } = &mut e.fact else { continue };
        if *updates != 0 {
            continue;
        }
        for (_, packages, _) in records.iter().filter(|r| r.2 == volume) {
            *updates += 1;
            for p in packages {
                change(broken, p);
            }
        }
        if *updates > 0 {
            let says = format!(
                "dpkg was cut off: {updates} records are not merged into its database; with them {} packages are not in order",
                broken.len()
            );
            e.says = says.as_str().into();
        }
    }
    all
}

/// The digits of a record's name, without leading zeros.
fn number(path: &[u8]) -> Vec<u8> {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    name.iter().copied().skip_while(|b| *b == b'0').collect()
}

fn change(broken: &mut Vec<PackageState>, p: &PackageState) {
    let before = broken.iter().position(|b| b.name == p.name);
    match (at_rest(p), before) {
        (true, Some(i)) => {
            broken.remove(i);
        }
        (true, None) => {}
        (false, Some(i)) => broken[i] = p.clone(),
        (false, None) => broken.push(p.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::evidence;
    use crate::source::test::at;

    fn package(name: &str, version: &str, state: &str) -> PackageState {
        PackageState { name: name.into(), version: version.into(), state: state.into() }
    }

    fn record(no: &str, p: PackageState) -> Evidence {
        evidence(&at(&format!("/var/lib/dpkg/updates/{no}")), Fact::DpkgRecord { packages: vec![p] }, "", None)
    }

    #[test]
    fn the_highest_number_has_the_last_word() {
        let state = Fact::DpkgState { installed: 10, broken: vec![package("c", "1", "unpacked")], updates: 0 };
        let all = vec![
            record("0010", package("a", "2", "installed")),
            record("0002", package("b", "1", "half-installed")),
            record("0009", package("a", "2", "half-configured")),
            record("0011", package("c", "1", "installed")),
            evidence(&at("/var/lib/dpkg/status"), state, "", None),
        ];
        let applied = apply(all);
        assert_eq!(
            applied[4].fact,
            Fact::DpkgState { installed: 10, broken: vec![package("b", "1", "half-installed")], updates: 4 }
        );
        assert_eq!(apply(applied.clone()), applied, "applying again changes nothing");
    }
}
