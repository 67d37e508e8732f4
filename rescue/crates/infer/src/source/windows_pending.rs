//! What Windows has left to do to its own parts: `WinSxS\pending.xml`, which the servicing stack keeps from when it staged files that
//! are in use until it has put them in place at a start.

use super::evidence;
use model::evidence::{Evidence, Fact, Origin};

/// That it is there says it all.
pub(super) fn parse(origin: &Origin) -> Vec<Evidence> {
    let says = "Windows has changes to its own parts left to do when it starts";
    vec![evidence(origin, Fact::WindowsPending, says, None)]
}
