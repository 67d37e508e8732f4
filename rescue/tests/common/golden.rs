//! Screens as text, and the checked-in files that they are compared with (`golden/`). Look at a difference before accepting it with
//! `HOLDFAST_BLESS=1 cargo test -p holdfast --test real --test screens --test tour`.

use super::joined;
use holdfast::tui::draw;
use holdfast::tui::look::Look;
use holdfast::tui::state::{Input, Key, Ui};
use holdfast::tui::update::update;
use model::run_state::RunState;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::path::{Path, PathBuf};

pub(crate) const SIZES: [(u16, u16); 3] = [(80, 25), (120, 40), (60, 15)];

/// What is drawn.
pub(crate) fn screen(ui: &Ui, run: &RunState) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(ui.size.0, ui.size.1)).unwrap();
    terminal.draw(|f| draw::draw(ui, run, f)).unwrap();
    terminal.backend().buffer().clone()
}

fn rows(b: &Buffer, shown: impl Fn(&Cell) -> String) -> String {
    let columns = usize::from(b.area.width);
    let mut out = String::new();
    for row in b.content.chunks(columns) {
        let line: String = row.iter().map(&shown).collect();
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

pub(crate) fn text(b: &Buffer) -> String {
    rows(b, |c| c.symbol().to_owned())
}

/// How each cell is drawn, a letter each: (r)ed, (g)reen, (y)ellow, (c)yan, (b)old alone, # reversed, and . plain where there is text.
fn styles(b: &Buffer) -> String {
    rows(b, |c| {
        let letter = match c.fg {
            Color::LightRed => 'r',
            Color::Green => 'g',
            Color::Yellow => 'y',
            Color::Cyan => 'c',
            Color::Reset if c.modifier.contains(Modifier::REVERSED) => '#',
            Color::Reset if c.modifier.contains(Modifier::BOLD) => 'b',
            Color::Reset if c.symbol() == " " => ' ',
            Color::Reset => '.',
            other => panic!("{other:?} is none of the colours of a screen"),
        };
        letter.to_string()
    })
}

/// Plain ASCII, but for the widest.
pub(crate) fn look(size: (u16, u16)) -> Look {
    Look { ascii: size.0 < 120, colour: false }
}

/// Where a golden lies.
pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Compares a text with its file, or writes it.
pub(crate) fn compare_file(file: &Path, got: &str) {
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(file, got).unwrap();
    }
    let want = std::fs::read_to_string(file);
    let want = want.unwrap_or_else(|e| panic!("{}: {e}; see the top of common/golden.rs", file.display()));
    assert_eq!(
        got,
        want,
        "{} differs; see the top of common/golden.rs.\nGot:\n{got}\nExpected:\n{want}",
        file.display()
    );
}

/// Compares a screen with its file; and sees that the other ways to draw it say the same.
pub(crate) fn compare(name: &str, ui: &Ui, run: &RunState) {
    let drawn = screen(ui, run);
    let got = text(&drawn);
    let (columns, rows) = ui.size;
    compare_file(&file(&format!("{name}-{columns}x{rows}.txt")), &got);
    assert!(!ui.look.ascii || got.is_ascii(), "not ASCII:\n{got}");
    // Without colours there are none; with them the text is the same.
    assert!(drawn.content.iter().all(|c| c.fg == Color::Reset && c.bg == Color::Reset), "{name}");
    let with = |look: Look| {
        let mut ui = ui.clone();
        ui.look = look;
        screen(&ui, run)
    };
    assert_eq!(text(&with(Look { colour: true, ..ui.look })), got, "{name} in colours");
    // In ASCII and in Unicode the same cells are taken: nothing moves.
    let other = with(Look { ascii: !ui.look.ascii, ..ui.look });
    let taken = |b: &Buffer| b.content.iter().map(|c| c.symbol() != " ").collect::<Vec<_>>();
    assert!(taken(&other) == taken(&drawn), "{name} in other characters:\n{}", text(&other));
}

/// Compares how a screen of 80x25 is coloured with its file.
pub(crate) fn compare_styles(name: &str, run: &RunState, keys: &[Key]) {
    let mut ui = joined(run, (80, 25), Look { ascii: true, colour: true });
    keys.iter().for_each(|k| drop(update(&mut ui, run, Input::Key(*k))));
    compare_styles_of(name, &ui, run);
}

/// The same of a front end that is there.
pub(crate) fn compare_styles_of(name: &str, ui: &Ui, run: &RunState) {
    let mut ui = ui.clone();
    ui.look = Look { ascii: true, colour: true };
    update(&mut ui, run, Input::Resize(80, 25));
    compare_file(&file(&format!("{name}-80x25.colours.txt")), &styles(&screen(&ui, run)));
}
