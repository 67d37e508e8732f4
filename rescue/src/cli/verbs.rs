//! The verbs and their options, in one table: what the arguments are read by, and what `--help`, the manual page and the completions
//! for shells are made of.
#![cfg_attr(not(feature = "manual"), allow(dead_code, reason = "a part is for completions and the manual page alone"))]

use super::help;

/// A verb.
pub(super) struct Verb {
    /// Its name.
    pub(super) name: &'static str,
    /// What stands behind it, where all verbs are listed.
    pub(super) usage: &'static str,
    /// What it does, there.
    pub(super) does: &'static str,
    /// The words it takes.
    pub(super) words: Words,
    /// Its options, by their long names.
    pub(super) options: &'static [&'static str],
    /// Its help.
    pub(super) help: &'static str,
}

/// The words that a verb takes, as far as completions can help with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// None.
    Nothing,
    /// Disks and image files.
    Disks,
    /// One or more snapshots.
    Snapshots,
    /// A snapshot, or what is in it, then disks.
    SnapshotThenDisks,
    /// One of these, then perhaps a directory.
    OneOf(&'static [&'static str]),
}

/// An option.
pub(super) struct OptionOf {
    /// Its long name.
    pub(super) name: &'static str,
    /// Its short name.
    pub(super) short: Option<char>,
    /// What stands behind it.
    pub(super) value: Value,
    /// What it does, in a few words.
    pub(super) does: &'static str,
}

/// What stands behind an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// Nothing.
    Nothing,
    /// A file.
    File,
    /// A directory.
    Directory,
    /// One of these.
    OneOf(&'static [&'static str]),
    /// Something that nobody can guess.
    Other,
    /// The same, or nothing.
    Perhaps,
}

/// The verb of that name.
pub(super) fn of(name: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|v| v.name == name)
}

/// The options that may stand behind a verb or a role, by their long names.
pub(super) fn allowed(name: &str) -> Option<&'static [&'static str]> {
    let role = || ROLES.iter().find(|(role, _)| *role == name).map(|(_, options)| *options);
    of(name).map(|v| v.options).or_else(role)
}

/// The option of that name.
pub(super) fn option(name: &str) -> Option<&'static OptionOf> {
    OPTIONS.iter().find(|o| o.name == name)
}

/// What every verb with `--store` takes besides.
pub(super) const OPENS: [&str; 2] = ["passphrase-file", "key-file"];

impl Verb {
    /// Everything that may stand behind it.
    pub(super) fn all_options(&self) -> impl Iterator<Item = &'static OptionOf> {
        let opens = OPENS.into_iter().filter(|_| self.options.contains(&"store"));
        self.options.iter().copied().chain(opens).filter_map(option)
    }
}

/// What the parts of the rescue are started as: for nobody to type.
const ROLES: [(&str, &[&str]); 5] = [
    ("engine", &["store", "control", "policy", "leave-out", "to", "to-passphrase-file", "to-key-file"]),
    ("console", &["engine"]),
    ("parser", &[]),
    ("composer", &[]),
    ("help", &[]),
];

/// The verbs, in the order in which they are listed.
pub(super) static VERBS: &[Verb] = &[
    Verb {
        name: "inspect",
        usage: "DISK..",
        does: "what happened; writes nothing",
        words: Words::Disks,
        options: &["store", "json", "explain", "timeline", "unlock", "unlock-key"],
        help: help::INSPECT,
    },
    Verb {
        name: "store",
        usage: "init S",
        does: "make a store in the directory S",
        words: Words::OneOf(&["init"]),
        options: &["store", "json", "probe", "encrypt"],
        help: help::STORE,
    },
    Verb {
        name: "snapshot",
        usage: "DISK.. --store S",
        does: "save the present state (only reads)",
        words: Words::Disks,
        options: &["store", "json", "full", "dry-run", "sign-with", "unlock", "unlock-key", "allow-plain"],
        help: help::SNAPSHOT,
    },
    Verb {
        name: "auto",
        usage: "DISK.. --store S",
        does: "save it where its state calls for that",
        words: Words::Disks,
        options: &["store", "json", "policy", "dry-run", "sign-with", "unlock", "unlock-key", "allow-plain"],
        help: help::AUTO,
    },
    Verb {
        name: "snapshots",
        usage: "--store S",
        does: "list what is saved",
        words: Words::Nothing,
        options: &["store", "json", "require-signer"],
        help: help::SNAPSHOTS,
    },
    Verb {
        name: "show",
        usage: "SNAP --store S",
        does: "all about a saved state",
        words: Words::Snapshots,
        options: &["store", "json", "require-signer"],
        help: help::SHOW,
    },
    Verb {
        name: "rollback",
        usage: "SNAP DISK.. --store S",
        does: "go back to a saved state",
        words: Words::SnapshotThenDisks,
        options: &[
            "store",
            "json",
            "plan",
            "approve",
            "yes",
            "only",
            "keep",
            "full",
            "foreign-machine",
            "sign-with",
            "require-signer",
            "unlock",
            "unlock-key",
            "allow-plain",
        ],
        help: help::ROLLBACK,
    },
    Verb {
        name: "put",
        usage: "SNAP:PATH.. DISK.. --store S",
        does: "put files of it back, nothing else",
        words: Words::SnapshotThenDisks,
        options: &[
            "store",
            "json",
            "plan",
            "approve",
            "yes",
            "sign-with",
            "require-signer",
            "unlock",
            "unlock-key",
            "allow-plain",
        ],
        help: help::PUT,
    },
    Verb {
        name: "restore",
        usage: "SNAP DISK.. --store S",
        does: "put it onto new, empty disks",
        words: Words::SnapshotThenDisks,
        options: &[
            "store",
            "json",
            "plan",
            "approve",
            "yes",
            "disk",
            "overwrite",
            "new-ids",
            "grow",
            "sign-with",
            "require-signer",
            "unlock",
            "unlock-key",
        ],
        help: help::RESTORE,
    },
    Verb {
        name: "undo",
        usage: "DISK.. --store S",
        does: "go back to before the last rollback",
        words: Words::Disks,
        options: &[
            "store",
            "json",
            "plan",
            "approve",
            "yes",
            "full",
            "sign-with",
            "require-signer",
            "unlock",
            "unlock-key",
            "allow-plain",
        ],
        help: help::UNDO,
    },
    Verb {
        name: "resume",
        usage: "DISK.. --store S",
        does: "finish a rollback that was cut off",
        words: Words::Disks,
        options: &["store", "json", "plan", "approve", "yes", "require-signer", "unlock", "unlock-key", "allow-plain"],
        help: help::RESUME,
    },
    Verb {
        name: "repair-boot",
        usage: "DISK.. --store S",
        does: "put right what starts the machine, without a saved state",
        words: Words::Disks,
        options: &["store", "json", "plan", "approve", "yes", "sign-with", "require-signer"],
        help: help::REPAIR_BOOT,
    },
    Verb {
        name: "export",
        usage: "SNAP -o FILE.img|FILE.qcow2 --store S",
        does: "a saved state as a disk image",
        words: Words::Snapshots,
        options: &["store", "json", "only", "out", "require-signer", "unlock", "unlock-key"],
        help: help::EXPORT,
    },
    Verb {
        name: "ls",
        usage: "SNAP[:PATH] --store S",
        does: "files of a saved state",
        words: Words::Snapshots,
        options: &["store", "json", "require-signer"],
        help: help::LS,
    },
    Verb {
        name: "get",
        usage: "SNAP:PATH -o OUT --store S",
        does: "take them out",
        words: Words::Snapshots,
        options: &["store", "json", "out", "privileged", "require-signer"],
        help: help::GET,
    },
    Verb {
        name: "prove",
        usage: "SNAP --store S",
        does: "start it in a virtual machine, and see whether it comes up",
        words: Words::Snapshots,
        options: &["store", "json", "timeout", "accel", "bus", "require-signer"],
        help: help::PROVE,
    },
    Verb {
        name: "diff",
        usage: "A B|now [DISK..] --store S",
        does: "what differs between two states",
        words: Words::SnapshotThenDisks,
        options: &["store", "json", "text", "require-signer", "unlock", "unlock-key"],
        help: help::DIFF,
    },
    Verb {
        name: "note",
        usage: "SNAP --store S",
        does: "name a saved state, or keep it for good",
        words: Words::Snapshots,
        options: &["store", "json", "label", "pin", "unpin"],
        help: help::NOTE,
    },
    Verb {
        name: "forget",
        usage: "--store S",
        does: "forget saved states: named ones, or all that no rule keeps",
        words: Words::Snapshots,
        options: &[
            "store",
            "json",
            "yes",
            "dry-run",
            "prune",
            "keep-last",
            "keep-hourly",
            "keep-daily",
            "keep-weekly",
            "keep-monthly",
            "keep-yearly",
            "keep-within",
            "keep-before-upgrade",
            "keep-before-trouble",
        ],
        help: help::FORGET,
    },
    Verb {
        name: "prune",
        usage: "--store S",
        does: "free the room of what was forgotten",
        words: Words::Nothing,
        options: &["store", "json", "dry-run", "now", "rewrite"],
        help: help::PRUNE,
    },
    Verb {
        name: "stats",
        usage: "--store S",
        does: "where the room goes",
        words: Words::Nothing,
        options: &["store", "json"],
        help: help::STATS,
    },
    Verb {
        name: "check",
        usage: "--store S",
        does: "look for damage in a store",
        words: Words::Nothing,
        options: &["store", "json", "read-data", "accept-head", "require-signer"],
        help: help::CHECK,
    },
    Verb {
        name: "copy",
        usage: "[SNAP..] --store S --to S2",
        does: "saved states into another store",
        words: Words::Snapshots,
        options: &["store", "json", "to", "to-passphrase-file", "to-key-file"],
        help: help::COPY,
    },
    Verb {
        name: "repair",
        usage: "--store S [--from S2]",
        does: "write again what is damaged",
        words: Words::Nothing,
        options: &["store", "json", "from", "from-passphrase-file", "from-key-file"],
        help: help::REPAIR,
    },
    Verb {
        name: "key",
        usage: "list|add|remove --store S, new-signer -o FILE",
        does: "what opens a store; what signs",
        words: Words::OneOf(&["list", "add", "remove", "new-signer"]),
        options: &["store", "json", "out", "new-passphrase-file", "new-key-file", "label"],
        help: help::KEY,
    },
    Verb {
        name: "tui",
        usage: "[DISK..] [--store S] [--to S2]",
        does: "all of it on the screen",
        words: Words::Disks,
        options: &["store", "to", "to-passphrase-file", "to-key-file", "ascii", "record", "replay"],
        help: help::TUI,
    },
    #[cfg(feature = "manual")]
    Verb {
        name: "completions",
        usage: "bash|zsh|fish",
        does: "what makes a shell complete all this",
        words: Words::OneOf(&["bash", "zsh", "fish"]),
        options: &[],
        help: help::COMPLETIONS,
    },
    #[cfg(feature = "manual")]
    Verb {
        name: "man",
        usage: "",
        does: "all of this as a manual page",
        words: Words::Nothing,
        options: &[],
        help: help::MAN,
    },
];

const fn flag(name: &'static str, does: &'static str) -> OptionOf {
    OptionOf { name, short: None, value: Value::Nothing, does }
}

const fn with(name: &'static str, value: Value, does: &'static str) -> OptionOf {
    OptionOf { name, short: None, value, does }
}

/// The options, each of which means the same behind every verb.
static OPTIONS: &[OptionOf] = &[
    with("store", Value::Directory, "the directory of the store"),
    with("passphrase-file", Value::File, "a file with the passphrase of the store"),
    with("key-file", Value::File, "the key file of the store"),
    flag("json", "answer for programs"),
    flag("explain", "show the rules and the evidence"),
    flag("timeline", "show all that is known of what it did"),
    with("probe", Value::Perhaps, "first see that what is written there comes back"),
    flag("encrypt", "ask for a passphrase, and encrypt the store"),
    flag("full", "read everything in use"),
    flag("dry-run", "only say what would be done"),
    with("sign-with", Value::File, "sign with this key"),
    with("require-signer", Value::Other, "use only what one of these signed"),
    with("policy", Value::File, "the file of a policy"),
    flag("plan", "show the plan, and nothing else"),
    with("approve", Value::Other, "carry out the plan with this id, and no other"),
    flag("yes", "carry out whatever the plan is"),
    with("only", Value::Other, "only these volumes, as `inspect` names them"),
    with("keep", Value::Other, "these paths stay as they are now"),
    with("unlock", Value::Other, "unlock this encrypted volume first; VOLUME=FILE: with the passphrase in it"),
    with("unlock-key", Value::Other, "unlock it with a key file: VOLUME=FILE"),
    flag("allow-plain", "what lies in it may be saved in a store that is not encrypted"),
    with("foreign-machine", Value::Other, "a snapshot of this other machine is meant"),
    with("disk", Value::Other, "which disk goes onto which: d0=DISK"),
    with("overwrite", Value::Other, "the disk of this serial number may lose what it holds"),
    flag("new-ids", "give tables and partitions other ids"),
    with("grow", Value::Other, "this volume fills the room of a larger disk"),
    OptionOf { name: "out", short: Some('o'), value: Value::File, does: "what is to be made" },
    flag("privileged", "with what may give rights here"),
    with("timeout", Value::Other, "the most seconds it may take"),
    with("accel", Value::OneOf(&["tcg", "kvm"]), "what the virtual machine runs on"),
    with("bus", Value::OneOf(&["sata", "virtio", "nvme"]), "how its disks are attached"),
    flag("text", "show which lines differ, too"),
    with("label", Value::Other, "a name for it"),
    flag("pin", "keep it whatever else is forgotten"),
    flag("unpin", "no longer keep it so"),
    flag("prune", "free the room afterwards"),
    with("keep-last", Value::Other, "so many of the newest stay"),
    with("keep-hourly", Value::Other, "one of each of so many hours stays"),
    with("keep-daily", Value::Other, "one of each of so many days stays"),
    with("keep-weekly", Value::Other, "one of each of so many weeks stays"),
    with("keep-monthly", Value::Other, "one of each of so many months stays"),
    with("keep-yearly", Value::Other, "one of each of so many years stays"),
    with("keep-within", Value::Other, "all of this span stay: 36h, 10d, 2w, 6m, 1y"),
    with("keep-before-upgrade", Value::Other, "so many from before packages were changed stay"),
    with("keep-before-trouble", Value::Other, "so many from before a bad state stay"),
    flag("now", "free at once, where a lock keeps others from writing"),
    with("rewrite", Value::Other, "write packs again of which more than this part is not needed"),
    flag("read-data", "read and hash every byte"),
    flag("accept-head", "take the store as it is, though it is older than the last time"),
    with("to", Value::Directory, "the directory of the other store"),
    with("to-passphrase-file", Value::File, "a file with the passphrase of the other store"),
    with("to-key-file", Value::File, "the key file of the other store"),
    with("from", Value::Directory, "the directory of the other store"),
    with("from-passphrase-file", Value::File, "a file with the passphrase of the other store"),
    with("from-key-file", Value::File, "the key file of the other store"),
    with("new-passphrase-file", Value::File, "a file with the passphrase that is to open it too"),
    with("new-key-file", Value::File, "the key file that is to open it too"),
    flag("ascii", "draw with plain characters"),
    with("record", Value::File, "record the session to this new file"),
    with("replay", Value::File, "play a recorded session back"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Usage, parse};
    use std::ffi::OsString;

    fn refusal(words: &[&str]) -> Option<String> {
        parse(words.iter().map(OsString::from)).err().map(|Usage(why)| why)
    }

    #[test]
    fn the_table_is_whole() {
        for (i, verb) in VERBS.iter().enumerate() {
            assert!(VERBS[..i].iter().all(|v| v.name != verb.name), "{}", verb.name);
            let opens = usize::from(verb.options.contains(&"store")) * OPENS.len();
            assert_eq!(
                verb.all_options().count(),
                verb.options.len() + opens,
                "{}: an option is not described",
                verb.name
            );
        }
        let used = |o: &OptionOf| VERBS.iter().any(|v| v.all_options().any(|of| of.name == o.name));
        for (i, o) in OPTIONS.iter().enumerate() {
            assert!(used(o) && OPTIONS[..i].iter().all(|p| p.name != o.name), "{}", o.name);
        }
    }

    /// What the table says of each option behind each verb is how the arguments are read.
    #[test]
    fn the_table_is_what_is_read() {
        for verb in VERBS {
            for o in verb.all_options() {
                let option = format!("--{}", o.name);
                let alone = refusal(&[verb.name, &option]).unwrap_or_default();
                assert!(!alone.contains("has no option"), "{} {option}: {alone}", verb.name);
                let wants = alone.contains("missing argument");
                let takes = !matches!(o.value, Value::Nothing | Value::Perhaps);
                assert_eq!(wants, takes, "{} {option}: {alone:?}", verb.name);
                if let Value::OneOf(all) = o.value {
                    let whole = |value: &str| refusal(&[verb.name, "latest", "--store", "s", &option, value]);
                    all.iter().for_each(|value| assert_eq!(whole(value), None, "{option} {value}"));
                    assert!(whole("none-of-them").is_some());
                }
            }
            for o in OPTIONS.iter().filter(|o| verb.all_options().all(|of| of.name != o.name)) {
                let alone = refusal(&[verb.name, &format!("--{}", o.name)]).unwrap_or_default();
                assert!(alone.contains("has no option"), "{} --{}: {alone}", verb.name, o.name);
            }
            if let Words::OneOf(all) = verb.words {
                let nothing = refusal(&[verb.name]).unwrap_or_default();
                let said = all.iter().all(|word| nothing.contains(word));
                assert!(said, "{}: {nothing}", verb.name);
            }
        }
    }
}
