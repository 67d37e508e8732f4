//! docs/tour.md and the capture in README.md: made of the goldens, so that they show what the program shows. `HOLDFAST_BLESS=1 cargo test
//! -p holdfast --test real --test screens --test tour` writes them anew.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::golden::{compare_file, file};
use std::path::{Path, PathBuf};

/// The screens of the tour: a golden, a heading, and what is to be seen there.
const TOUR: &[(&str, &str, &str)] = &[
    (
        "real-home",
        "What happened",
        "The first screen, when the disks were looked at: what happened, how sure that is, what is on the disks, and what to do next. \
         `[ok]`, `[!!]`, `[??]` and `[--]` say in words what colours say again.",
    ),
    (
        "real-evidence",
        "Why (e)",
        "What the machine did last, with the clock that each time is by and whose record tells of it; then, for each of the four lines, the \
         rule that decided and the evidence for and against it; further down everything that was read.",
    ),
    (
        "real-saved-states-all",
        "The saved states (t)",
        "Newest first. Enter shows the plan for going back to one; nothing is written yet.",
    ),
    (
        "real-about",
        "All about one (v)",
        "What was known of the machine when it was saved, and why; below that what is saved of its disks, and what is not.",
    ),
    (
        "real-plan",
        "The plan",
        "What going back would write, what it keeps, and what would be lost. Only the whole word approves it.",
    ),
    ("real-plan-losses", "What would be lost (Tab)", "Packages, configuration line by line, and files by directory."),
    (
        "real-progress-writing",
        "At work",
        "While disks are written: how far it is, and that being cut off here does no harm.",
    ),
    ("real-rolled-back", "How it ended", "What was done, and that it can be undone."),
    (
        "real-home-unfinished",
        "After a power cut in the middle",
        "A rollback that was cut off is recognised at the next start. Until it is finished or undone, nothing starts half a system.",
    ),
    (
        "real-files",
        "Files of a saved state (b)",
        "Looked through, read (v) and taken out (g) without restoring anything.",
    ),
    (
        "real-changes",
        "What changed since (d)",
        "Packages, what starts the machine, `/etc` line by line, and everything else by directory.",
    ),
    ("real-store", "The store (o)", "How full it is, whether it is whole, and what may go."),
    (
        "real-store-forget",
        "Forgetting",
        "What would go and why the rest stays, before anything does; the whole word does it. x among the saved states asks for one alone.",
    ),
    (
        "real-disks-volume",
        "The disks (d)",
        "Every disk, what lies on it, and what layers make of that: what it is, how much of it is in use, and what a save takes of it. Below the \
         list more about the row that is chosen, with Enter all of it; / finds.",
    ),
    (
        "real-target",
        "Onto another disk (n among the saved states)",
        "Where no disk alone is empty it is asked which one is meant. It is named by what is typed; then the plan is shown.",
    ),
    ("real-home-after", "When nothing is wrong", "Then that is said, and nothing more is made of it."),
    ("real-power", "The way out (p)", "Staying is chosen first."),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_tour_shows_the_goldens() {
    let mut out = "# A tour of the screens\n\nAs a serial line of 80x25 shows them, in plain ASCII without colours. They are made by \
                   `rescue/tests/tour.rs` of the checked-in screens that the tests compare with: of a real run over an image of a small \
                   disk, but for those that say that they were made by hand.\n"
        .to_owned();
    for (name, heading, says) in TOUR {
        let screen = std::fs::read_to_string(file(&format!("{name}-80x25.txt"))).unwrap();
        let by_hand = if name.starts_with("real-") { "" } else { " (Made by hand.)" };
        out.push_str(&format!("\n## {heading}\n\n{says}{by_hand}\n\n```\n{screen}```\n"));
    }
    compare_file(&root().join("docs/tour.md"), &out);
}

#[test]
fn the_capture_in_the_readme_is_what_is_shown() {
    let screen = std::fs::read_to_string(file("real-home-80x25.txt")).unwrap();
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once("```\n HOLDFAST").unwrap();
    let (_, after) = rest.split_once("\n```\n").unwrap();
    compare_file(&path, &format!("{before}```\n{screen}```\n{after}"));
}
