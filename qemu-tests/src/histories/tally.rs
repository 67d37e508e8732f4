//! What was seen.

use std::fmt;

/// Counts over histories.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) histories: u64,
    pub(crate) sessions: u64,
    pub(crate) cut: u64,
    /// Pairs of states, and by what they were told.
    pub(crate) compared: u64,
    pub(crate) untouched: u64,
    pub(crate) by_metadata: u64,
    pub(crate) by_content: u64,
    /// Pairs with a difference that was to be found.
    pub(crate) differed: u64,
    /// Bytes called the same, and bytes in use, in pairs told by metadata.
    pub(crate) same: u64,
    pub(crate) used: u64,
    /// States that the kernel was shown without what is free.
    pub(crate) holes: u64,
    /// States that were cut off and that the kernel does not mount as they are: they show nothing.
    pub(crate) refused: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        let Self {
            histories,
            sessions,
            cut,
            compared,
            untouched,
            by_metadata,
            by_content,
            differed,
            same,
            used,
            holes,
            refused,
        } = other;
        self.histories += histories;
        self.sessions += sessions;
        self.cut += cut;
        self.compared += compared;
        self.untouched += untouched;
        self.by_metadata += by_metadata;
        self.by_content += by_content;
        self.differed += differed;
        self.same += same;
        self.used += used;
        self.holes += holes;
        self.refused += refused;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = (100 * self.same).checked_div(self.used).unwrap_or(0);
        write!(
            f,
            "{} histories, {} sessions ({} cut off), {} pairs: {} untouched, {} by metadata ({percent} % the same), {} by \
             content, {} differed; {} without the free, {} refused by the kernel",
            self.histories,
            self.sessions,
            self.cut,
            self.compared,
            self.untouched,
            self.by_metadata,
            self.by_content,
            self.differed,
            self.holes,
            self.refused
        )
    }
}
