//! A transaction, as the histories and logs of package managers tell it, and as evidence.

use super::evidence;
use model::evidence::{Evidence, Fact, Origin, PackageManager, Stamp};
use model::text::DisplayText;

/// Transactions told of a history.
pub(super) const MOST_TOLD: usize = 8;
/// Packages told of each.
pub(super) const MOST_PACKAGES: usize = 64;
/// Longest text told.
const MOST_TEXT: usize = 200;
/// Longest command in a sentence.
const IN_A_SENTENCE: usize = 60;

#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) began: Option<Stamp>,
    pub(super) command: String,
    pub(super) ended: bool,
    pub(super) failed: bool,
    pub(super) packages: Vec<DisplayText>,
}

/// Whose history it is, and the words for it.
pub(super) struct History {
    pub(super) manager: PackageManager,
    /// What stands before a command, where the history leaves it out.
    pub(super) program: &'static str,
    /// What is said of one that ended, and of one whose end is not there.
    pub(super) ended: &'static str,
    pub(super) open: &'static str,
}

/// Text, not longer than is told.
pub(super) fn short(text: &str) -> DisplayText {
    DisplayText::new(&DisplayText::new(text).shortened(MOST_TEXT))
}

impl Transaction {
    /// Adds a package, where there is room.
    pub(super) fn package(&mut self, name: &str) {
        if self.packages.len() < MOST_PACKAGES {
            self.packages.push(short(name));
        }
    }
}

impl History {
    /// The newest of its transactions, the newest first.
    pub(super) fn newest(&self, origin: &Origin, oldest_first: Vec<Transaction>) -> Vec<Evidence> {
        let newest = oldest_first.into_iter().rev().take(MOST_TOLD);
        (0..).zip(newest).map(|(age, t)| self.told(origin, age, t)).collect()
    }

    /// One that has `age` newer ones.
    fn told(&self, origin: &Origin, age: u32, t: Transaction) -> Evidence {
        let command = short(&t.command);
        let what = match command.as_str() {
            "" => "a transaction".to_owned(),
            _ => command.shortened(IN_A_SENTENCE),
        };
        let how = match (t.ended, t.failed) {
            (_, true) => "failed",
            (true, false) => self.ended,
            (false, false) => self.open,
        };
        let says = format!("{}{what}: {how}", self.program);
        let Transaction { began, ended, failed, packages, .. } = t;
        let fact = Fact::Transaction { manager: self.manager, age, command, ended, failed, packages };
        evidence(origin, fact, &says, began)
    }
}
