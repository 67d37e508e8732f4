//! Reads the evidence a target left, and says what it supports.
//!
//! Pure: nothing here opens a file or a device. [`wants`] says what to look at; what was found goes to [`parse`] and
//! [`parse_listing`], what was not there to [`absent`], what the volumes themselves say comes from [`volume_facts`]. All of it
//! together goes through [`combine`] (which puts boots in order over several journal files, applies dpkg's records to its
//! database, pairs kernels with what they need, and names each piece), and then to [`assess`].
//!
//! Every byte is hostile: each parser reads a bounded part, allocates within bounds, and says what it could not
//! understand. The rules are a table ([`rules`]), each with its name, its argument and its test.

mod combine;
mod headline;
mod rules;
mod source;
mod timeline;
mod want;

pub use combine::{combine, number};
pub use rules::{Baseline, FacetName, Rule, assess, rules};
pub use source::{
    Files, Packages, absent, chain_facts, crash_facts, parse, parse_database, parse_listing, reads_entry, volume_facts,
};
pub use timeline::timeline;
pub use want::{Look, Source, Want, wants};
