//! Readers with one rule less than they need. Histories that do not notice them prove nothing about the one that keeps all.

use disk::fs::ext4::Rule;
use std::fmt::Write;

/// What a kernel can be seen to do, and why the rule is needed. Other rules meet what no history here does (a clock set back, a file
/// system made anew), or what a second rule catches as well with the kernels of today. For every rule there is a case made of bytes as well
/// (`rescue/crates/disk/tests/ext4_reads/mutants.rs`).
const MUTANTS: &[(Rule, &str)] = &[
    (Rule::ParentUnmounted, "times can be on the disk before the data is"),
    (Rule::OneSession, "a session before the last was cut off"),
    (Rule::NothingReplayed, "the last was, and was put in order where it was only looked at"),
    (Rule::BootBlock, "a boot loader wrote its own block"),
    (Rule::Loaders, "GRUB wrote its environment"),
    (Rule::Swap, "the kernel swapped"),
    (Rule::EncryptedSwap, "the kernel swapped to an encrypted file"),
    (Rule::OwnInodes, "the journal's inode stays as it is"),
    (Rule::UnusedInodes, "an inode was used that never was"),
    (Rule::Nodes, "a file's blocks were moved, its times were not"),
    (Rule::Root, "the same with few blocks"),
    (Rule::Times, "a file was overwritten in place"),
    (Rule::Unsettable, "and its modification time set back"),
    (Rule::Replay, "blocks are taken in the log first"),
];

/// The mutants, and how each was caught.
pub(crate) struct Mutants {
    alive: Vec<Rule>,
    caught: Vec<(Rule, String)>,
}

impl Mutants {
    /// All of them alive, or none where they are not wanted.
    pub(crate) fn new(wanted: bool) -> Self {
        let alive = MUTANTS.iter().filter(|_| wanted).map(|(rule, _)| *rule).collect();
        Self { alive, caught: Vec::new() }
    }

    /// Those that were not caught yet.
    pub(crate) fn alive(&self) -> Vec<Rule> {
        self.alive.clone()
    }

    pub(crate) fn caught(&mut self, rule: Rule, how: &str) {
        self.alive.retain(|r| *r != rule);
        self.caught.push((rule, how.to_owned()));
    }

    /// A line for each.
    pub(crate) fn report(&self) -> String {
        let mut out = String::new();
        for (rule, why) in MUTANTS {
            let how = self.caught.iter().find(|(r, _)| r == rule).map_or("NOT CAUGHT", |(_, how)| how);
            let _ = writeln!(out, "without {:<16} ({why}): {how}", format!("{rule:?}"));
        }
        out
    }
}
