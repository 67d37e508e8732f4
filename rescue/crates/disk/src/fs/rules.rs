//! Which rules of a proof are kept: all of them, as the program does, or in a test all but one, which shows that it is needed.

/// The rules that are kept; `R` names them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<R>(Option<R>);

impl<R: Copy + PartialEq> Rules<R> {
    pub(super) const ALL: Self = Self(None);

    pub(super) fn without(rule: R) -> Self {
        Self(Some(rule))
    }

    pub(super) fn keep(self, rule: R) -> bool {
        self.0 != Some(rule)
    }

    /// The one that is not kept.
    pub(super) fn left_out(self) -> Option<R> {
        self.0
    }
}
