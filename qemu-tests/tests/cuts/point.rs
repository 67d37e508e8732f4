//! Where the power is cut.

use crate::record::Uncut;
use model::id::Digest;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A place in the run of a rollback, counted from its first write.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Point {
    /// When so many bytes were written to the disk.
    Bytes(u64),
    /// When so many requests to write were.
    Requests(u64),
    /// When so much time has passed.
    Time(Duration),
}

impl Point {
    /// The place of a cut, the same each time. Half of them are drawn by bytes; as fences and tables are few bytes, a quarter is by time,
    /// and a quarter by the first and the last requests.
    pub(crate) fn of(number: u64, uncut: &Uncut) -> Self {
        let draw = |below: u64| {
            let bytes = Digest::of(format!("cut {number}").as_bytes()).0;
            u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) % below.max(1)
        };
        match number % 4 {
            0 | 1 => Self::Bytes(draw(uncut.bytes + 1)),
            2 => Self::Time(Duration::from_millis(draw(uncut.millis + 1))),
            _ => {
                let place = draw(EDGES.0 + EDGES.1);
                let from_the_end = place.saturating_sub(EDGES.0);
                Self::Requests(if place < EDGES.0 { place } else { uncut.requests.saturating_sub(from_the_end) })
            }
        }
    }
}

/// Requests at the beginning and at the end in which fences are put and taken away, and tables written.
const EDGES: (u64, u64) = (12, 30);
