//! The screen and the serial line at once: one state, one decision. A snapshot is asked for on the keyboard and shown on
//! the serial line; a plan is asked for on the serial line, stands on both, and is declined on the keyboard; another is
//! asked for and approved on the keyboard. A front end that is killed comes back. Noise on the serial line does nothing. What the
//! rescue would do by itself, because it was started so, a key on either stops on both. Whoever is at the serial line goes away in the middle
//! of a snapshot and of a rollback: the work goes on, and whoever comes back sees all of it by one key.

use qemu_tests::machine::{Bus, Parts, content_hash};
use qemu_tests::qmp::Qmp;
use qemu_tests::rescue::Session;
use qemu_tests::{Result, rescue, small, workspace};
use std::thread::sleep;
use std::time::Duration;

/// How long one console may take to show what was done on the other.
const SOON: Duration = Duration::from_secs(20);
/// For so long nobody is at the serial line: longer than the rescue takes for somebody who reads.
const AWAY: Duration = Duration::from_secs(25);
/// How long small work may take.
const WORK: Duration = Duration::from_secs(120);
/// What stands on a screen that asks for a decision.
const ASKS: &str = "please read, then decide";

fn main() -> Result<()> {
    let folder = workspace::scratch("consoles")?;
    let image = rescue::image()?;
    let stick = rescue::stick(&image, &folder.join("stick.qcow2"))?;
    let disk = small::system(&folder, "disk")?;
    let before = content_hash(&disk)?;
    let parts = Parts::new("consoles", &folder).memory(rescue::MEMORY).screen().line();
    let parts = parts.disk(&stick, Bus::Usb, "STICK").disk(&disk, Bus::Virtio, "TARGET");
    println!("started to do something by itself, it says what, and a key on the keyboard stops it");
    let mut session = Session::start_unattended(&parts)?;
    println!("{}", session.machine.console.screen());
    session.machine.screen()?.press(&["x"])?;
    session.machine.console.expect_screen("the overview", SOON, |s| s.contains("What to do next"))?;
    session.machine.screen()?.expect_text("the overview", SOON, |s| s.contains("nothing more is done by itself"))?;

    println!("both show the same");
    let serial = session.screen();
    println!("{serial}");
    let shown = session.machine.screen()?.expect_text("the overview", SOON, |s| s.contains("What to do next"))?;
    same(&serial, &shown)?;
    let home = session.machine.screen()?.picture("home")?;
    if home.lit() < 30 || home.colours() < 4 {
        return Err(
            format!("the picture is nearly blank: {} of 1000 lit, {} colours", home.lit(), home.colours()).into()
        );
    }

    println!("a snapshot asked for on the keyboard is seen on the serial line");
    session.machine.screen()?.press(&["s"])?;
    let serial = session.machine.console.expect_screen("the end of the snapshot", WORK, |s| {
        s.contains("DONE. The present state is saved.") && s.contains("What to do next")
    })?;
    session
        .machine
        .screen()?
        .expect_text("the end of the snapshot", SOON, |s| s.contains("DONE. The present state"))?;
    println!("{serial}");

    println!("a question asked for on the serial line stands on both; no on the keyboard is no for both");
    session.press("r", &["saved states"])?;
    let saved = session.machine.screen()?.picture("saved")?;
    let serial = session.press("\r", &[ASKS, "To go back, type ROLLBACK"])?;
    let shown =
        session.machine.screen()?.expect_text("the question", SOON, |s| s.contains("To go back, type ROLLBACK"))?;
    println!("{shown}");
    if plan(&serial).is_none() || plan(&serial) != plan(&shown) {
        return Err(format!("two plans: {:?} and {:?}", plan(&serial), plan(&shown)).into());
    }
    if session.machine.screen()?.picture("question")? == saved {
        return Err("the picture of the screen did not change".into());
    }
    // Half a word on either console is no decision.
    session.press("ROLL", &["> ROLL_"])?;
    session.machine.screen()?.type_word("ba")?;
    session.machine.screen()?.expect_text("what was typed", SOON, |s| s.contains("> BA_"))?;
    session.machine.screen()?.press(&["esc"])?;
    session.machine.screen()?.expect_text("another screen", SOON, |s| !s.contains(ASKS))?;
    session.machine.console.expect_screen("another screen", SOON, |s| !s.contains(ASKS))?;
    sleep(Duration::from_secs(2));
    println!("{}", session.screen());
    if session.screen().contains("ROLLBACK") || session.screen().contains("DONE. The machine is back") {
        return Err("a declined plan was carried out".into());
    }

    println!("yes on the keyboard is done, and the serial line shows it");
    session.machine.screen()?.press(&["r"])?;
    session.machine.screen()?.expect_text("the saved states", SOON, |s| s.contains("saved states"))?;
    session.machine.screen()?.press(&["ret"])?;
    session.machine.console.expect_screen("the question", SOON, |s| s.contains("To go back, type ROLLBACK"))?;
    session.machine.screen()?.expect_text("the question", SOON, |s| s.contains("To go back, type ROLLBACK"))?;
    session.machine.screen()?.type_word("rollback")?;
    session.machine.screen()?.expect_text("the word", SOON, |s| s.contains("now press Enter"))?;
    session.machine.screen()?.press(&["ret"])?;
    let serial = session.machine.console.expect_screen("the end of the rollback", WORK, |s| {
        s.contains("DONE. The machine is back at the saved state.") && s.contains("What to do next")
    })?;
    println!("{serial}");
    let serial = session.screen();
    if serial.contains("Nothing was written.") {
        return Err(format!("what was said of the first plan still stands:\n{serial}").into());
    }

    lost_line(&mut session)?;

    println!("the program on the screen is killed (secure attention key), and comes back");
    let screen = session.machine.screen()?;
    screen.press(&["alt", "sysrq", "k"])?;
    comes_back(screen)?;
    session.press("?", &["HOLDFAST  help"])?;
    escape(&mut session, "HOLDFAST  what happened")?;

    println!("noise on the serial line does nothing");
    let noise = "\u{0}\u{7f}\u{1b}[999999999999;1R\u{7}\u{1b}[200~\u{1b}[?1;2c\u{fffd}\u{80}\u{1b}[<0;1;1M";
    for _ in 0..50 {
        session.machine.console.send(noise)?;
    }
    escape(&mut session, "HOLDFAST  what happened")?;
    session.press("?", &["HOLDFAST  help"])?;
    escape(&mut session, "HOLDFAST  what happened")?;
    session.poweroff()?;

    // The rollback went back to what was there: byte for byte.
    let after = content_hash(&disk)?;
    if before != after {
        return Err(format!("the target's disk was changed: {before} became {after}").into());
    }
    println!("done");
    Ok(())
}

/// The other end of the serial line goes away while something is done, and comes back with another, empty screen: any key shows all of it
/// where it was away for long, and Ctrl-L does at once.
fn lost_line(session: &mut Session) -> Result<()> {
    println!(
        "whoever is at the serial line goes away in the middle of a snapshot; it is finished, and any key shows all of it"
    );
    // From how it ended to where it was asked for, and from there to the overview.
    escape(session, "HOLDFAST  saved states")?;
    escape(session, "HOLDFAST  what happened")?;
    session.machine.console.send("s")?;
    session.machine.console.expect_screen("the work", SOON, |s| s.contains("Saving the present state"))?;
    session.machine.hang_up()?;
    session.machine.screen()?.expect_text("the end of the snapshot", WORK, |s| {
        s.contains("DONE. The present state is saved.") && s.contains("What to do next")
    })?;
    sleep(AWAY);
    session.machine.call()?;
    let empty = session.screen();
    if !empty.trim().is_empty() {
        return Err(format!("something came over the line without a key:\n{empty}").into());
    }
    // It is no key of this screen.
    let serial = session.press("z", &["DONE. The present state is saved.", "What to do next", "? help"])?;
    println!("{serial}");

    println!("the same in a rollback, with Ctrl-L right after");
    session.press("r", &["saved states"])?;
    session.press("\r", &[ASKS, "To go back, type ROLLBACK"])?;
    session.press("rollback", &["now press Enter"])?;
    session.machine.console.send("\r")?;
    session.machine.console.expect_screen("the work", SOON, |s| !s.contains(ASKS))?;
    session.machine.hang_up()?;
    session.machine.screen()?.expect_text("the end of the rollback", WORK, |s| {
        s.contains("DONE. The machine is back at the saved state.") && s.contains("What to do next")
    })?;
    session.machine.call()?;
    let serial =
        session.press("\u{c}", &["DONE. The machine is back at the saved state.", "What to do next", "? help"])?;
    println!("{serial}");
    escape(session, "HOLDFAST  ").map(drop)
}

/// The screen is cleared, drawn again, and answers keys.
fn comes_back(screen: &mut Qmp) -> Result<()> {
    sleep(Duration::from_secs(2));
    screen.expect_text("the overview", Duration::from_secs(60), |s| {
        s.contains("what happened") && s.contains("What to do next") && s.contains("Last shutdown")
    })?;
    screen.press(&["l"])?;
    screen.expect_text("the log", SOON, |s| s.contains("what was done"))?;
    screen.press(&["esc"])
}

/// The Esc key. A key that follows at once would be taken for a part of a sequence.
fn escape(session: &mut Session, title: &str) -> Result<()> {
    session.machine.console.send("\x1b")?;
    sleep(Duration::from_secs(1));
    session.machine.console.expect_screen(title, SOON, |s| s.contains(title)).map(drop)
}

/// The number of the plan shown.
fn plan(screen: &str) -> Option<&str> {
    screen.lines().find_map(|l| Some(l.trim().split_once(" - plan ")?.1))
}

/// The two consoles differ by a row in height; all that is said is the same.
fn same(serial: &str, shown: &str) -> Result<()> {
    let said = |s: &str| s.lines().map(|l| l.trim_end().to_owned()).filter(|l| !l.is_empty()).collect::<Vec<_>>();
    if said(serial) == said(shown) {
        return Ok(());
    }
    Err(format!("the serial line shows:\n{serial}\nand the screen:\n{shown}").into())
}
