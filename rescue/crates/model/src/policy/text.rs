//! The text of a policy: sections of `key = value`, a line each. What is not known is an error that says what is.
//!
//! It may come from a stick that anybody had in hands: its length is bounded, and reading it takes no more than a walk over it.

use super::{
    EVERY, KEYS, MOST_LABEL, MOST_LEFT_OUT, MOST_UNLOCKED, Policy, UnlockBy, WAIT, Wish, is_key_file, is_uuid,
    may_be_left_out,
};
use crate::command::PowerAction;
use crate::retention::{KeepPolicy, span};
use crate::text::DisplayText;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// Longest text of a policy, in bytes.
pub const MOST_TEXT: usize = 16 << 10;
/// Most of a wrong word that is shown again.
const MOST_SHOWN: usize = 40;

/// The section that names encrypted volumes.
const UNLOCK: &str = "unlock";

/// Every section with its keys.
const SECTIONS: [(&str, &[&str]); 5] = [
    ("save", &["unchanged", "hibernated", "label-broken", "label-crashed", "not-understood", "leave-out"]),
    // And a key for each volume, which is called by its UUID.
    (UNLOCK, &["allow-plain"]),
    ("full", &["every", "days"]),
    (
        "keep",
        &[
            "last",
            "hourly",
            "daily",
            "weekly",
            "monthly",
            "yearly",
            "within",
            "before-upgrade",
            "before-trouble",
            "prune",
        ],
    ),
    ("rescue", &["wait", "then"]),
];

/// A policy that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("line {line}: {says}")]
pub struct PolicyError {
    /// Where, from 1; the last line where something is missing.
    pub line: u32,
    /// What is wrong, and what would be right.
    pub says: DisplayText,
}

type Section = (&'static str, &'static [&'static str]);

pub(super) fn parse(bytes: &[u8]) -> Result<Policy, PolicyError> {
    let whole = |says: &str| PolicyError { line: 1, says: says.into() };
    if bytes.len() > MOST_TEXT {
        return Err(whole(&format!("a policy has at most {MOST_TEXT} bytes")));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| whole("a policy is UTF-8 text"))?;
    // What some editors put before a text.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reading = Reading { policy: Policy::default(), section: None, seen: BTreeSet::new() };
    let mut last = 0;
    for (number, line) in (1..).zip(text.lines()) {
        last = number;
        reading.line(line.trim()).map_err(|says| PolicyError { line: number, says: DisplayText::new(&says) })?;
    }
    reading.end().map_err(|says| PolicyError { line: last, says: says.into() })
}

/// What was read so far.
struct Reading {
    policy: Policy,
    section: Option<Section>,
    /// Sections, and keys behind theirs: each stands once.
    seen: BTreeSet<(&'static str, &'static str)>,
}

impl Reading {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(name) = line.strip_prefix('[') {
            return self.open(name.strip_suffix(']').ok_or("a section ends in `]`")?.trim());
        }
        let (key, value) = line.split_once('=').ok_or_else(|| format!("{} is no `key = value`", shown(line)))?;
        let (key, value) = (key.trim(), value.trim());
        let Some((section, keys)) = self.section else {
            return Err(format!("a key stands in a section: {}", list(SECTIONS.map(|(name, _)| name))));
        };
        if section == UNLOCK && is_uuid(&key.to_ascii_lowercase()) {
            return self.unlock(&key.to_ascii_lowercase(), value);
        }
        let Some(key) = keys.iter().find(|known| **known == key) else {
            if section == UNLOCK {
                let says = "[unlock] names volumes by the UUID that `cryptsetup luksUUID` tells, and has allow-plain";
                return Err(format!("{says}, not {}", shown(key)));
            }
            let known = list(keys.iter().copied());
            return Err(format!("[{section}] has no key {}; it has {known}", shown(key)));
        };
        if !self.seen.insert((section, key)) {
            return Err(format!("`{key}` stands there twice"));
        }
        self.set(section, key, value).map_err(|right| format!("`{key}` takes {right}, not {}", shown(value)))
    }

    fn open(&mut self, name: &str) -> Result<(), String> {
        let known = SECTIONS.into_iter().find(|(known, _)| *known == name);
        let known = known.ok_or_else(|| {
            format!("there is no section {}; there are {}", shown(name), list(SECTIONS.map(|(name, _)| name)))
        })?;
        if !self.seen.insert((known.0, "")) {
            return Err(format!("[{name}] stands there twice"));
        }
        if known.0 == "keep" {
            // Whoever says what is kept says all of it.
            self.policy.keep = Some(KeepPolicy::nothing_named());
        }
        self.section = Some(known);
        Ok(())
    }

    /// An encrypted volume, and what unlocks it.
    fn unlock(&mut self, uuid: &str, file: &str) -> Result<(), String> {
        let unlock = &mut self.policy.unlock;
        if unlock.iter().any(|u| u.uuid == uuid) {
            return Err(format!("`{uuid}` stands there twice"));
        }
        if unlock.len() >= MOST_UNLOCKED {
            return Err(format!("at most {MOST_UNLOCKED} volumes are unlocked"));
        }
        if !is_key_file(file) {
            return Err(format!("`{uuid}` takes the name of a file in the folder {KEYS}, not {}", shown(file)));
        }
        unlock.push(UnlockBy { uuid: uuid.to_owned(), file: file.to_owned() });
        Ok(())
    }

    /// Takes a value; what would be right is the error.
    fn set(&mut self, section: &str, key: &str, value: &str) -> Result<(), String> {
        let policy = &mut self.policy;
        match (section, key) {
            ("save", "unchanged") => policy.unchanged = wish(value)?,
            ("save", "hibernated") => policy.hibernated = wish(value)?,
            ("save", "label-broken") => policy.label_broken = label(value)?,
            ("save", "label-crashed") => policy.label_crashed = label(value)?,
            ("save", "not-understood") => {
                policy.not_understood = one_of(value, [("save", true), ("leave", false)])?;
            }
            ("save", _) => policy.leave_out = mount_points(value)?,
            (UNLOCK, _) => policy.allow_plain = one_of(value, [("yes", true), ("no", false)])?,
            ("full", "every") => policy.full.every = or_never(value, EVERY)?,
            ("full", _) => policy.full.days = or_never(value, EVERY)?,
            ("keep", "prune") => policy.prune = one_of(value, [("yes", true), ("no", false)])?,
            ("keep", key) => {
                let keep = policy.keep.get_or_insert_with(KeepPolicy::nothing_named);
                keep.set(key, value).map_err(|right| right.to_owned())?;
            }
            (_, "wait") => policy.wait = number(value, WAIT)?,
            _ => {
                let ways =
                    [("stay", None), ("reboot", Some(PowerAction::Reboot)), ("poweroff", Some(PowerAction::Poweroff))];
                policy.then = one_of(value, ways)?;
            }
        }
        Ok(())
    }

    fn end(self) -> Result<Policy, &'static str> {
        match &self.policy.keep {
            Some(keep) if !keep.names_something() => Err("[keep] must name something that is kept, such as `last = 3`"),
            _ => Ok(self.policy),
        }
    }
}

/// Words with commas between them.
fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

/// Something of the text in a message about it.
fn shown(word: &str) -> String {
    format!("`{}`", DisplayText::new(word).shortened(MOST_SHOWN))
}

fn one_of<T, const N: usize>(value: &str, words: [(&str, T); N]) -> Result<T, String> {
    let right = words.each_ref().map(|(word, _)| *word).join(" or ");
    words.into_iter().find(|(word, _)| *word == value).map(|(_, means)| means).ok_or(right)
}

fn wish(value: &str) -> Result<Wish, String> {
    one_of(value, [("save", Wish::Save), ("skip", Wish::Skip)])
}

fn number(value: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let right = || format!("a number from {} to {}", range.start(), range.end());
    value.parse().ok().filter(|n| range.contains(n)).ok_or_else(right)
}

fn or_never(value: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, String> {
    match value {
        "never" => Ok(None),
        value => number(value, range).map(Some).map_err(|right| format!("{right}, or never")),
    }
}

/// Nothing behind the `=` is no label.
fn label(value: &str) -> Result<Option<DisplayText>, String> {
    match DisplayText::new(value) {
        text if text.as_str().chars().count() > MOST_LABEL => Err(format!("at most {MOST_LABEL} characters")),
        text => Ok(Some(text).filter(|t| !t.as_str().is_empty())),
    }
}

fn mount_points(value: &str) -> Result<Vec<String>, String> {
    let points: Vec<String> = value.split_ascii_whitespace().map(str::to_owned).collect();
    match points.len() <= MOST_LEFT_OUT && points.iter().all(|at| may_be_left_out(at)) {
        true => Ok(points),
        false => Err(format!(
            "at most {MOST_LEFT_OUT} mount points such as /home, with spaces between them (what a system starts from is never \
             left out)"
        )),
    }
}

impl KeepPolicy {
    /// Sets one rule by its name on a command line and in a policy: `last`, `hourly`, ..., `within`, `before-upgrade`.
    ///
    /// # Errors
    /// What the rule takes, in words.
    pub fn set(&mut self, rule: &str, value: &str) -> Result<(), &'static str> {
        let count = match rule {
            "within" => {
                self.within = Some(span(value).ok_or("a time such as 36h, 10d, 2w, 6m or 1y")?);
                return Ok(());
            }
            "last" => &mut self.last,
            "hourly" => &mut self.hourly,
            "daily" => &mut self.daily,
            "weekly" => &mut self.weekly,
            "monthly" => &mut self.monthly,
            "yearly" => &mut self.yearly,
            "before-upgrade" => &mut self.before_upgrade,
            _ => &mut self.before_trouble,
        };
        *count = value.parse().map_err(|_| "a number")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::FullReads;
    use proptest::prelude::*;

    fn says(text: &str) -> String {
        Policy::parse(text.as_bytes()).expect_err(text).to_string()
    }

    #[test]
    fn every_key_is_read() {
        let text = "\u{feff}# what this machine wants\r\n[save]\r\nunchanged = save\nhibernated=skip\n  label-broken = do not use # me\n\
                    label-crashed =\nnot-understood = save\nleave-out = /home  /srv/data\n\n[unlock]\n\
                    1A9BFC6D-6aa8-4e54-b245-63398a60e1c9 = laptop.key\nallow-plain = yes\n[full]\nevery = never\ndays = 30\n\
                    [keep]\nlast = 2\nhourly = 1\ndaily = 7\nweekly = 5\nmonthly = 12\nyearly = 3\nwithin = 1w1d\n\
                    before-upgrade = 4\nbefore-trouble = 6\nprune = yes\n[rescue]\nwait = 30\nthen = poweroff\n";
        let keep = KeepPolicy {
            last: 2,
            hourly: 1,
            daily: 7,
            weekly: 5,
            monthly: 12,
            yearly: 3,
            within: Some(8 * 86_400),
            before_upgrade: 4,
            before_trouble: 6,
            ..KeepPolicy::nothing_named()
        };
        let expected = Policy {
            unchanged: Wish::Save,
            hibernated: Wish::Skip,
            label_broken: Some("do not use # me".into()),
            label_crashed: None,
            not_understood: true,
            leave_out: vec!["/home".into(), "/srv/data".into()],
            unlock: vec![UnlockBy { uuid: "1a9bfc6d-6aa8-4e54-b245-63398a60e1c9".into(), file: "laptop.key".into() }],
            allow_plain: true,
            full: FullReads { every: None, days: Some(30) },
            keep: Some(keep),
            prune: true,
            wait: 30,
            then: Some(PowerAction::Poweroff),
        };
        assert_eq!(Policy::parse(text.as_bytes()), Ok(expected));
        let keys: usize = SECTIONS.iter().map(|(_, keys)| keys.len()).sum();
        assert_eq!(text.matches('=').count(), keys + 1, "every key stands in this test, and a volume");
    }

    /// What docs/policy.md shows can be used as it stands there, and says what it says.
    #[test]
    fn the_documented_files_are_policies() {
        let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/policy.md");
        let docs = std::fs::read_to_string(docs).expect("the page is there");
        let files: Vec<&str> =
            docs.split("```ini\n").skip(1).map(|rest| rest.split("```").next().unwrap_or("")).collect();
        let [built_in, unlocking, keeping] = files.as_slice() else { panic!("three files are shown") };
        let unlocking = Policy::parse(unlocking.as_bytes()).expect("a policy");
        assert!(!unlocking.allow_plain && unlocking.unlock.len() == 1, "{unlocking:?}");
        assert_eq!(Policy::parse(built_in.as_bytes()), Ok(Policy::default()));
        let keeping = Policy::parse(keeping.as_bytes()).expect("a policy");
        let keep = keeping.keep.expect("it keeps something");
        assert_eq!((keep.last, keep.daily, keep.within), (3, 7, Some(10 * 86_400)));
        for (section, keys) in SECTIONS {
            for key in keys {
                let shown = files.iter().any(|file| file.lines().any(|line| line.starts_with(&format!("{key} ="))));
                assert!(shown, "[{section}] {key} is documented");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_told_with_what_is() {
        for (text, error) in [
            ("[save]\n\nunchanegd = skip", "line 3: [save] has no key `unchanegd`; it has unchanged, hibernated, "),
            ("[keeping]", "line 1: there is no section `keeping`; there are save, unlock, full, keep, rescue"),
            ("last = 3", "line 1: a key stands in a section: save, unlock, full, keep, rescue"),
            ("[full]\nevery 3", "line 2: `every 3` is no `key = value`"),
            ("[full]\nevery = 0", "line 2: `every` takes a number from 1 to 10000, or never, not `0`"),
            ("[full]\nevery = 3\nevery = 4", "line 3: `every` stands there twice"),
            ("[full]\n[save]\n[full]", "line 3: [full] stands there twice"),
            ("[full", "line 1: a section ends in `]`"),
            ("[save]\nunchanged = no", "line 2: `unchanged` takes save or skip, not `no`"),
            ("[save]\nleave-out = /home /boot", "line 2: `leave-out` takes at most 32 mount points such as /home"),
            ("[save]\nleave-out = d0/p3", "line 2: `leave-out` takes at most 32 mount points"),
            (
                "[unlock]\nd0/p3 = laptop.key",
                "line 2: [unlock] names volumes by the UUID that `cryptsetup luksUUID` tells",
            ),
            (
                "[unlock]\n1a9bfc6d-6aa8-4e54-b245-63398a60e1c9 = /etc/key",
                "line 2: `1a9bfc6d-6aa8-4e54-b245-63398a60e1c9` takes the name of a file in the folder keys, not `/etc/key`",
            ),
            ("[rescue]\nwait = 0", "line 2: `wait` takes a number from 3 to 3600, not `0`"),
            ("[rescue]\nthen = rollback", "line 2: `then` takes stay or reboot or poweroff, not `rollback`"),
            ("[keep]\nwithin = soon", "line 2: `within` takes a time such as 36h, 10d, 2w, 6m or 1y, not `soon`"),
            ("[keep]\nprune = yes\n# nothing\n", "line 3: [keep] must name something that is kept"),
            ("[keep]\nlast = 0", "line 2: [keep] must name something that is kept"),
            ("[\u{1b}[2J]", "line 1: there is no section `\\u{1b}[2J`"),
        ] {
            let said = says(text);
            assert!(said.starts_with(error), "{text:?} gives {said:?}");
        }
        assert!(says(&"#".repeat(MOST_TEXT + 1)).contains("at most 16384 bytes"));
        assert!(Policy::parse(b"[save]\nlabel-broken = \xff").is_err_and(|e| e.to_string().contains("UTF-8")));
        let long = format!("[save]\nlabel-broken = {}", "x".repeat(41));
        assert!(says(&long).ends_with('`') && says(&long).len() < 120, "{}", says(&long));
    }

    proptest! {
        /// Whatever the text: no panic, and what is read is sound.
        #[test]
        fn nothing_unsound_is_read(words in prop::collection::vec(prop::sample::select(vec![
            "[save]", "[keep]", "[full]", "[rescue]", "[unlock]", "1a9bfc6d-6aa8-4e54-b245-63398a60e1c9", "unchanged", "leave-out", "label-broken", "every", "last", "within",
            "prune", "wait", "then", " = ", "=", "skip", "yes", "/home", "/", "..", "never", "7", "10d", "reboot", "\n", "\n",
            "\u{202e}", "#",
        ]), 0..60), noise in prop::collection::vec(any::<u8>(), 0..8)) {
            let mut text = words.concat().into_bytes();
            text.extend(noise);
            match Policy::parse(&text) {
                Ok(policy) => prop_assert!(policy.is_sound(), "{policy:?}"),
                Err(e) => prop_assert!(e.line >= 1 || text.is_empty(), "{e}"),
            }
        }
    }
}
