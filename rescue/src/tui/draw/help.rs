//! The keys, and what the words mean.

use crate::tui::state::Ui;
use crate::tui::text::{hanging, paragraph};
use ratatui::style::Style;
use ratatui::text::Line;

const KEYS: [(&str, &str); 25] = [
    ("1 2 3", "do what stands behind the number"),
    ("arrows", "choose, or read on (also k and j, PgUp and PgDn)"),
    ("Enter", "do what is chosen"),
    ("Esc, q", "back"),
    ("s", "save the present state; only reads this machine's disks"),
    ("r, t", "the saved states; Enter there shows the plan for going back"),
    ("v", "there: all about one: what was known then, and what is saved of its disks"),
    ("n", "there: put one onto another disk; asks which, and shows the plan"),
    ("b", "among the saved states: the files of the chosen one"),
    ("d", "there: what changed since it, with the lines of configuration files"),
    ("m", "there: mark one; d on another then shows what changed between the two"),
    ("x", "there: forget the chosen one; shows first, and asks for a word"),
    ("v, g", "among files: read one; take a file or folder out"),
    ("/, n", "in every list and text: find, and find the next (of saved states: / again)"),
    ("u", "the plan for undoing the last rollback"),
    ("o", "the store: its room, damage, what may be forgotten, a second stick"),
    ("d", "the disks: partitions, layers, what a save takes; u there unlocks one"),
    ("i", "look at the disks again"),
    ("e", "why: what was found, and where"),
    ("l", "what was done"),
    ("c", "a running job, and how to stop it"),
    ("p", "restart or power off"),
    ("Tab", "the next installed system"),
    ("mouse", "where the terminal has one: click a key or a row, turn the wheel"),
    ("Ctrl-L", "draw the screen anew, and ask the terminal for its size"),
];

const WORDS: [(&str, &str); 5] = [
    ("good", "shut down in order, nothing half installed, and it came up the last time"),
    ("not good", "one of these is not so, or is not known"),
    ("undo", "the state that was saved before a rollback: undo goes back to it"),
    ("[ok] [!!]", "in order, and not in order"),
    ("[??] [--]", "not known, and neither good nor bad"),
];

/// All of it, wrapped.
pub(super) fn lines(ui: &Ui) -> Vec<Line<'static>> {
    let columns = ui.body_width();
    let mut out = paragraph(
        "Looking and saving change nothing on this machine's disks. Going back always shows its plan first, asks for a \
         whole word, keeps the present state, and can be undone.",
        ui.look.strong(),
        0,
        columns,
    );
    out.push(Line::default());
    for (keys, does) in KEYS {
        out.extend(hanging(&format!("{keys:<9} "), does, Style::new(), columns));
    }
    out.push(Line::default());
    for (word, means) in WORDS {
        out.extend(hanging(&format!("{word:<9} "), means, Style::new(), columns));
    }
    out
}
