//! What differs, as it is found: counted, and the parts that are told one by one.

use model::differences::{
    ComparedBy, Counts, Difference, FileChange, FsDifferences, Group, MOST_GROUPS, MOST_LARGEST, MOST_NOTABLE, grouped,
};
use model::files::Remarks;
use model::text::RawName;
use model::units::ByteLen;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

/// Directories that are counted apart before they are put together.
const MOST_DIRECTORIES: usize = 1 << 16;

/// Gathers what differs. Whatever there is, what it takes is bounded.
pub(super) struct Gather<'a> {
    places: &'a [RawName],
    but: &'a [RawName],
    counts: Counts,
    notable_counts: Counts,
    /// By path, and by what became of it.
    notable: BTreeMap<(RawName, FileChange), Difference>,
    groups: HashMap<Box<[u8]>, Counts>,
    largest: BTreeMap<(Reverse<ByteLen>, RawName, FileChange), Difference>,
    unseen: Remarks,
}

impl<'a> Gather<'a> {
    /// `places`: what lies in or below one of these paths is told one by one. `but`: what lies there in the later state, or was deleted
    /// there, is not told at all.
    pub(super) fn new(places: &'a [RawName], but: &'a [RawName]) -> Self {
        Self {
            places,
            but,
            counts: Counts::default(),
            notable_counts: Counts::default(),
            notable: BTreeMap::new(),
            groups: HashMap::new(),
            largest: BTreeMap::new(),
            unseen: Remarks::default(),
        }
    }

    fn is_notable(&self, path: &[u8]) -> bool {
        lies_in(self.places, path)
    }

    /// Takes one.
    pub(super) fn add(&mut self, difference: Difference) {
        if lies_in(self.but, &difference.path.0) {
            return;
        }
        self.counts.add(&difference);
        let from = match &difference.change {
            FileChange::Renamed { from } => self.is_notable(&from.0),
            _ => false,
        };
        if from || self.is_notable(&difference.path.0) {
            self.notable_counts.add(&difference);
            self.notable.insert((difference.path.clone(), difference.change.clone()), difference);
            if self.notable.len() > MOST_NOTABLE {
                self.notable.pop_last();
            }
            return;
        }
        let path = &difference.path.0;
        let end = path.iter().rposition(|b| *b == b'/').unwrap_or(0).max(1);
        let directory = path.get(..end).unwrap_or(b"/");
        self.groups.entry(directory.into()).or_default().add(&difference);
        if self.groups.len() > MOST_DIRECTORIES {
            let groups = grouped(groups(&mut self.groups), MOST_DIRECTORIES / 2);
            self.groups = groups.into_iter().map(|g| (g.path.0.into(), g.counts)).collect();
        }
        let key = (Reverse(difference.weight()), difference.path.clone(), difference.change.clone());
        self.largest.insert(key, difference);
        if self.largest.len() > MOST_LARGEST {
            self.largest.pop_last();
        }
    }

    /// Something could not be compared.
    pub(super) fn unseen(&mut self, path: &[u8], why: &str) {
        self.unseen.add(path, why);
    }

    pub(super) fn finish(mut self, by: ComparedBy) -> FsDifferences {
        FsDifferences {
            by,
            counts: self.counts,
            notable: self.notable.into_values().collect(),
            notable_counts: self.notable_counts,
            groups: grouped(groups(&mut self.groups), MOST_GROUPS),
            largest: self.largest.into_values().collect(),
            packages: None,
            unseen: self.unseen,
        }
    }
}

fn lies_in(places: &[RawName], path: &[u8]) -> bool {
    places
        .iter()
        .any(|place| path.strip_prefix(&place.0[..]).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
}

fn groups(map: &mut HashMap<Box<[u8]>, Counts>) -> impl Iterator<Item = Group> {
    std::mem::take(map).into_iter().map(|(path, counts)| Group { path: RawName(path.into()), counts })
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::inspection::FileKind;

    fn created(path: String, size: u64) -> Difference {
        let (kind, after) = (FileKind::File, Some(ByteLen(size)));
        Difference {
            path: RawName(path.into_bytes()),
            kind,
            change: FileChange::Created,
            before: None,
            after,
            text: None,
        }
    }

    #[test]
    fn whatever_there_is_the_answer_is_bounded_and_the_counts_are_right() {
        let places = [RawName::from("/etc")];
        let but = [RawName::from("/srv")];
        let mut gather = Gather::new(&places, &but);
        gather.add(created("/srv/data".into(), 1000));
        let count = MOST_DIRECTORIES as u64 + 2000;
        for n in 0..count {
            gather.add(created(format!("/home/{}/{}/{n}/file", n % 7, n % 1000), n));
        }
        for n in 0..MOST_NOTABLE + 10 {
            gather.add(created(format!("/etc/{n:05}"), 1));
        }
        gather.add(created("/etcetera".into(), 5));
        let found = gather.finish(ComparedBy::Names);
        assert_eq!(found.counts.created.count, count + MOST_NOTABLE as u64 + 11);
        assert_eq!((found.notable.len(), found.notable[0].path.clone()), (MOST_NOTABLE, "/etc/00000".into()));
        assert_eq!(found.notable_counts.created.count, MOST_NOTABLE as u64 + 10);
        assert!(found.groups.len() <= MOST_GROUPS && found.groups.len() > 1);
        let grouped: u64 = found.groups.iter().map(|g| g.counts.created.bytes.0).sum();
        assert_eq!(grouped, count * (count - 1) / 2 + 5);
        assert_eq!((found.largest.len(), found.largest[0].after), (MOST_LARGEST, Some(ByteLen(count - 1))));
    }
}
