//! Whether data changed since a snapshot, by the counters file systems keep of themselves.
//!
//! They count what file systems write. Writes below a file system (raw, or by a debugger) move none of them.

use super::case::Case;
use super::decide::Vote;
use model::assessment::Change;
use model::assessment::Confidence::{Certain, Likely};
use model::evidence::{EvidenceId, Fact};
use model::id::VolumePath;
use model::inspection::{BtrfsInfo, Content, ExtInfo, XfsInfo};

type Said = Option<Vote<Change>>;

/// A file system of the system beside the same one in the snapshot.
enum Pair<'a> {
    /// An ext file system in both.
    Ext { path: &'a VolumePath, now: &'a ExtInfo, then: &'a ExtInfo },
    /// A btrfs in both.
    Btrfs { path: &'a VolumePath, now: &'a BtrfsInfo, then: &'a BtrfsInfo },
    /// An XFS in both.
    Xfs { path: &'a VolumePath, now: &'a XfsInfo, then: &'a XfsInfo },
    /// One that has no counters, the same in both.
    NoCounters,
    /// Not there in the snapshot, or something else.
    NoMatch,
}

/// The volumes of the system that hold data, each with its like in the snapshot.
fn pairs<'a>(case: &Case<'a>) -> Option<Vec<Pair<'a>>> {
    let saved = case.since?.volumes;
    let mut paths = vec![&case.system.root];
    paths.extend(case.system.boot.iter().chain(&case.system.other).map(|(_, p)| p));
    let mut seen: Vec<&VolumePath> = Vec::new();
    let mut found = Vec::new();
    for path in paths {
        if seen.contains(&path) {
            continue;
        }
        seen.push(path);
        let Some(volume) = case.inspection.volume(path) else { continue };
        if matches!(volume.content, Content::Swap(_)) {
            continue;
        }
        // Disks may be numbered differently today: a file system is known by its UUID.
        let same = volume.uuid().and_then(|uuid| saved.iter().find(|s| uuid_of(&s.content) == Some(uuid)));
        found.push(match (&volume.content, same.map(|s| &s.content)) {
            (Content::Ext(now), Some(Content::Ext(then))) => Pair::Ext { path, now, then },
            (Content::Btrfs(now), Some(Content::Btrfs(then))) => Pair::Btrfs { path, now, then },
            (Content::Fat(_), Some(Content::Fat(_)))
            | (Content::Exfat(_), Some(Content::Exfat(_)))
            | (Content::Ntfs(_), Some(Content::Ntfs(_))) => Pair::NoCounters,
            (Content::Xfs(now), Some(Content::Xfs(then))) => Pair::Xfs { path, now, then },
            _ => Pair::NoMatch,
        });
    }
    Some(found)
}

fn uuid_of(content: &Content) -> Option<&str> {
    match content {
        Content::Ext(e) => Some(&e.uuid),
        Content::Fat(f) => Some(&f.volume_id),
        Content::Exfat(e) => Some(&e.volume_id),
        Content::Ntfs(n) => Some(&n.volume_id),
        Content::Btrfs(b) => Some(&b.uuid),
        Content::Xfs(x) => Some(&x.uuid),
        _ => None,
    }
}

fn state_id(case: &Case<'_>, path: &VolumePath) -> Option<EvidenceId> {
    let state = |fact: &Fact| matches!(fact, Fact::ExtState { .. } | Fact::XfsState { .. } | Fact::BtrfsState { .. });
    let of = |e: &&model::evidence::Evidence| e.origin.volume == *path && state(&e.fact);
    case.evidence.iter().find(of).map(|e| e.id.clone())
}

fn counters(e: &ExtInfo) -> (i64, i64, u16, u64, Option<u32>, Option<i64>, u64, bool) {
    (
        e.mounted_at,
        e.written_at,
        e.mount_count,
        e.kbytes_written,
        e.journal_sequence,
        e.last_commit_at,
        e.free_blocks,
        e.needs_recovery,
    )
}

/// Where an XFS stands: the end of its log only goes forwards.
fn log(x: &XfsInfo) -> (Option<u64>, bool, u64) {
    (x.log_head, x.needs_recovery, x.free_blocks)
}

pub(super) fn counters_differ(case: &Case<'_>) -> Said {
    let differing: Vec<EvidenceId> = pairs(case)?
        .iter()
        .filter_map(|p| match p {
            Pair::Ext { path, now, then } if counters(now) != counters(then) => state_id(case, path),
            Pair::Btrfs { path, now, then } if now != then => state_id(case, path),
            Pair::Xfs { path, now, then } if log(now) != log(then) => state_id(case, path),
            _ => None,
        })
        .collect();
    (!differing.is_empty()).then(|| Vote::new(Change::Changed, Certain, differing))
}

pub(super) fn counters_equal(case: &Case<'_>) -> Said {
    let pairs = pairs(case)?;
    let mut evidence = Vec::new();
    let mut confidence = Certain;
    for pair in &pairs {
        match pair {
            // Open, or without a journal, a file system writes without counting.
            Pair::Ext { path, now, then } => {
                let closed = |e: &ExtInfo| e.has_journal && !e.needs_recovery;
                if counters(now) != counters(then) || !closed(now) || !closed(then) {
                    return None;
                }
                evidence.extend(state_id(case, path));
            }
            // What is written in place, and was cut off before the next transaction, leaves no trace there.
            Pair::Btrfs { path, now, then } => {
                if now != then || now.log || now.not_read.is_some() {
                    return None;
                }
                confidence = Likely;
                evidence.extend(state_id(case, path));
            }
            // A session that was cut off before it logged anything leaves the log as it was.
            Pair::Xfs { path, now, then } => {
                let closed = |x: &XfsInfo| !x.needs_recovery && x.log_head.is_some();
                if log(now) != log(then) || !closed(now) || !closed(then) {
                    return None;
                }
                confidence = Likely;
                evidence.extend(state_id(case, path));
            }
            Pair::NoCounters => confidence = Likely,
            Pair::NoMatch => return None,
        }
    }
    // A hibernated system that was resumed and put to sleep again moves no counter.
    let asleep = case.resume_image().is_some();
    (!evidence.is_empty() && !asleep).then(|| Vote::new(Change::Unchanged, confidence, evidence))
}

#[cfg(test)]
mod tests {
    use super::super::scene::Scene;
    use super::*;
    use model::assessment::Confidence;

    fn said(s: &Scene) -> (Change, Confidence) {
        let f = s.assess().change;
        (f.value, f.confidence)
    }

    #[test]
    fn the_log_of_an_xfs_only_goes_forwards() {
        let mut s = Scene::new();
        s.xfs(false, Some(7));
        s.save();
        assert_eq!(said(&s), (Change::Unchanged, Likely));
        s.xfs(false, Some(8));
        assert_eq!(said(&s), (Change::Changed, Certain));
        s.xfs(true, None);
        assert_eq!(said(&s), (Change::Changed, Certain));
        s.save();
        assert_ne!(said(&s).0, Change::Unchanged, "what is open writes without a trace");
    }

    #[test]
    fn equal_and_closed() {
        let mut s = Scene::new();
        s.save();
        assert_eq!(said(&s), (Change::Unchanged, Certain));
        assert!(s.assess().since.is_some());
    }

    #[test]
    fn any_counter_that_differs() {
        let changes: [fn(&mut ExtInfo); 5] = [
            |e| e.mount_count += 1,
            |e| e.mounted_at += 1,
            |e| e.written_at += 1,
            |e| e.kbytes_written += 1,
            |e| e.journal_sequence = Some(100),
        ];
        for change in changes {
            let mut s = Scene::new();
            s.save();
            s.ext(change);
            assert_eq!(said(&s), (Change::Changed, Certain));
        }
    }

    #[test]
    fn a_btrfs_counts_its_transactions() {
        let mut s = Scene::new();
        s.btrfs(false);
        s.save();
        assert_eq!(said(&s), (Change::Unchanged, Likely));
        s.change_btrfs(|b| b.generation += 1);
        assert_eq!(said(&s), (Change::Changed, Certain));
        let mut s = Scene::new();
        s.btrfs(true);
        s.save();
        assert_eq!(said(&s).0, Change::Unknown, "it was in use then, too");
    }

    #[test]
    fn fat_keeps_no_count() {
        let mut s = Scene::new();
        s.esp(false);
        s.save();
        assert_eq!(said(&s), (Change::Unchanged, Likely));
    }

    #[test]
    fn open_file_systems_and_other_ones_are_unknown() {
        let mut s = Scene::new();
        s.ext(|e| e.needs_recovery = true);
        s.save();
        assert_eq!(said(&s).0, Change::Unknown);
        let mut s = Scene::new();
        s.save();
        s.ext(|e| e.uuid = "another".into());
        assert_eq!(said(&s).0, Change::Unknown);
        assert_eq!(said(&Scene::new()).0, Change::Unknown, "nothing to compare with");
    }
}
