//! The screens on a real (pseudo) terminal, with a real engine behind them.
//!
//! `script` makes the terminal. It has no size of its own, as a serial line has none: this end answers for the size, as a
//! terminal does, and shows what came as text.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod machine;

use machine::*;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

struct Terminal {
    child: Child,
    keys: Arc<Mutex<ChildStdin>>,
    screen: Arc<Mutex<vt100::Parser>>,
    raw: Arc<Mutex<Vec<u8>>>,
    /// What this end answers to whoever asks for its size.
    size: Arc<Mutex<Option<(u16, u16)>>>,
}

impl Terminal {
    /// `holdfast tui` with these arguments; answers for the size where `size` is given.
    fn open(args: &[String], size: Option<(u16, u16)>) -> Self {
        Self::named("vt220", args, size)
    }

    /// The same on a terminal of that name.
    fn named(term: &str, args: &[String], size: Option<(u16, u16)>) -> Self {
        let mut line = format!("{} tui", env!("CARGO_BIN_EXE_holdfast"));
        for a in args {
            line.push_str(&format!(" '{a}'"));
        }
        let mut child = match Command::new("script")
            .args(["-qefc", &line, "/dev/null"])
            .env("TERM", term)
            .env_remove("NO_MOUSE")
            .env("XDG_STATE_HOME", STATE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
        {
            Ok(child) => child,
            Err(e) => panic!("script cannot be run ({e}): install the package bsdutils"),
        };
        let keys = Arc::new(Mutex::new(child.stdin.take().unwrap()));
        let (columns, rows) = size.unwrap_or((80, 24));
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0)));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let mut out = child.stdout.take().unwrap();
        let size = Arc::new(Mutex::new(size));
        let (answer, show, keep, own) = (keys.clone(), screen.clone(), raw.clone(), size.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = out.read(&mut buffer) {
                let asked = buffer[..n].windows(4).any(|w| w == b"\x1b[6n");
                show.lock().unwrap().process(&buffer[..n]);
                keep.lock().unwrap().extend_from_slice(&buffer[..n]);
                if let (true, Some((columns, rows))) = (asked, *own.lock().unwrap()) {
                    let _ = answer.lock().unwrap().write_all(format!("\x1b[{rows};{columns}R").as_bytes());
                }
            }
        });
        Self { child, keys, screen, raw, size }
    }

    /// Has another size, and says so when it is asked: a key does that.
    fn resize(&self, columns: u16, rows: u16) {
        *self.size.lock().unwrap() = Some((columns, rows));
        self.screen.lock().unwrap().screen_mut().set_size(rows.try_into().unwrap(), columns.try_into().unwrap());
        self.press("\x0c");
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Clicks on a text of the screen.
    fn click(&self, wanted: &str) {
        let text = self.text();
        let at = |line: &str| line.find(wanted);
        let (row, column) = text.lines().enumerate().find_map(|(n, line)| Some((n, at(line)?))).unwrap();
        self.press(&format!("\x1b[<0;{0};{1}M\x1b[<0;{0};{1}m", column + 1, row + 1));
    }

    fn press(&self, keys: &str) {
        let mut out = self.keys.lock().unwrap();
        out.write_all(keys.as_bytes()).unwrap();
        out.flush().unwrap();
    }

    /// Waits for a screen with all of these on it.
    fn expect(&self, words: &[&str]) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.text();
            if words.iter().all(|w| text.contains(w)) {
                return text;
            }
            assert!(Instant::now() < until, "{words:?} did not come:\n{text}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until nothing goes on.
    fn calm(&self) {
        let until = Instant::now() + PATIENCE;
        while self.text().contains("(c shows it)") {
            assert!(Instant::now() < until, "it does not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // What was written last is read by now, or in a moment.
                std::thread::sleep(Duration::from_millis(100));
                return status;
            }
            assert!(Instant::now() < until, "it did not end:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn args(m: &Machine) -> Vec<String> {
    let (disk, store) = m.both();
    vec![disk, "--store".into(), store]
}

/// Processes of the program that work on this machine.
fn processes(m: &Machine) -> Vec<u32> {
    let disk = m.arg("disk.img");
    let ids = std::fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let line = std::fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains("holdfast\0engine") && line.contains(&disk)
    })
    .collect()
}

#[test]
fn from_the_first_screen_to_a_rollback_and_back() {
    let m = Machine::new();
    m.save();
    m.break_packages();
    let broken = m.bytes();
    let recording = m.arg("recording");
    let mut t = Terminal::open(&[args(&m), vec!["--record".into(), recording.clone()]].concat(), Some((100, 30)));
    let home = t.expect(&["What to do next", "Go back to the last good state", "openssl"]);
    assert!(home.is_ascii(), "TERM=vt220 without a locale is given ASCII:\n{home}");
    assert_eq!(home.lines().count(), 30, "the terminal was asked for its size");

    t.press("1");
    t.expect(&["please read, then decide", "type ROLLBACK"]);
    t.press("rollback");
    t.expect(&["> ROLLBACK", "now press Enter"]);
    assert_eq!(m.bytes(), broken, "nothing is written before Enter");
    t.press("\r");
    t.expect(&["how it ended", "DONE. The machine is back at the saved state"]);
    t.press("2");
    t.expect(&["type UNDO"]);
    t.press("UNDO\r");
    t.expect(&["DONE. The machine is as it was before"]);
    assert_eq!(m.bytes(), broken);

    t.press("\x1b");
    t.expect(&["What to do next", "1  Go back"]);
    t.press("t\x1b[B");
    let last = t.expect(&["saved states", "2 of 3"]);
    // Written as it goes: what was recorded so far ends here.
    let (code, replayed, err) = run(&["tui", "--replay", &recording]);
    assert_eq!((code, err.as_str()), (0, ""));
    let lines = |text: &str| text.trim_end().lines().map(|l| l.trim_end().to_owned()).collect::<Vec<_>>();
    assert_eq!(lines(&replayed), lines(&last));
    // One of them is forgotten; nothing of it goes before the word is typed.
    t.press("x");
    t.expect(&["1 saved state would be forgotten, for ever", "type FORGET"]);
    t.press("FORGET\r");
    t.expect(&["DONE. 1 saved state is forgotten"]);
    t.press("t");
    t.expect(&["saved states", "of 2"]);
    t.press("qqqq");
    assert!(t.end().success());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&recording).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    let raw = t.raw.lock().unwrap();
    let last = String::from_utf8_lossy(&raw[raw.len().saturating_sub(60)..]);
    assert!(last.contains("\x1b[?25h\x1b[?1049l"), "the terminal is put back: {last:?}");
}

/// Larger, smaller, too small and back: it is drawn for what there is, and nothing is done that cannot be seen.
#[test]
fn a_terminal_may_have_another_size_at_any_time() {
    let m = Machine::new();
    let mut t = Terminal::open(&[m.arg("disk.img")], Some((80, 25)));
    t.expect(&["What to do next", "no store: can only look"]);
    for (columns, rows) in [(200, 60), (60, 15), (120, 40)] {
        t.resize(columns, rows);
        let until = Instant::now() + PATIENCE;
        // The keys stand in the last row, and the bar at the top reaches to the end of its row.
        loop {
            let text = t.text();
            let lines: Vec<&str> = text.lines().collect();
            let top = lines.first().is_some_and(|l| l.trim_end().ends_with("can only look"));
            if lines.len() == usize::from(rows) && lines.last().is_some_and(|l| l.contains("? help")) && top {
                break;
            }
            assert!(Instant::now() < until, "not drawn for {columns} x {rows}:\n{text}");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
    t.resize(50, 12);
    t.expect(&["This window is 50 x 12.", "Nothing is lost"]);
    t.press("t");
    t.resize(80, 25);
    t.expect(&["what happened", "What to do next"]);
    t.press("q");
    assert!(t.end().success());
}

#[test]
fn a_terminal_that_does_not_answer_gets_the_usual_size() {
    let m = Machine::new();
    let mut t = Terminal::open(&[m.arg("disk.img")], None);
    let home = t.expect(&["What to do next", "no store: can only look"]);
    assert_eq!(home.lines().count(), 24);
    t.press("d");
    t.expect(&["disks and layers", "> d0 ", "GPT, 2 partitions", "d0/p2", "/ ext4", "in use saves"]);
    t.press("jj\r");
    t.expect(&["HOLDFAST  reading", "It was never mounted.", "A snapshot takes what is in use of it"]);
    t.press("qqq");
    assert!(t.end().success());
}

#[test]
fn when_the_engine_goes_the_screens_go() {
    let m = Machine::new();
    m.save();
    let mut t = Terminal::open(&args(&m), Some((80, 25)));
    t.expect(&["What to do next"]);
    let [engine] = processes(&m)[..] else { panic!("one engine, not {:?}", processes(&m)) };
    tool("kill", "procps", &["-KILL", &engine.to_string()]);
    assert_eq!(t.end().code(), Some(1));
    assert!(t.text().contains("the engine ended"), "{}", t.text());
}

#[test]
fn when_the_terminal_goes_the_engine_ends_its_work_and_goes() {
    let m = Machine::new();
    m.save();
    m.break_packages();
    let before = m.bytes();
    {
        let t = Terminal::open(&args(&m), Some((80, 25)));
        t.expect(&["What to do next", "Go back to the last good state"]);
        // Even in the middle of a question: nobody said yes.
        t.press("1");
        t.expect(&["type ROLLBACK"]);
        t.press("ROLLBACK");
    }
    let until = Instant::now() + PATIENCE;
    while !processes(&m).is_empty() {
        assert!(Instant::now() < until, "the engine is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(m.bytes(), before);
}

/// The same in the middle of a save: what was begun is finished, whoever is there to see it.
#[test]
fn when_the_terminal_goes_a_save_is_finished() {
    let m = Machine::new();
    assert_eq!(run(&["store", "init", &m.arg("store")]).0, 0);
    {
        let t = Terminal::open(&args(&m), Some((80, 25)));
        t.expect(&["What to do next", "Save the present state"]);
        t.calm();
        t.press("s");
        // At work, or done already.
        t.expect(&["resent state", "Esc back"]);
    }
    let until = Instant::now() + PATIENCE;
    while !processes(&m).is_empty() {
        assert!(Instant::now() < until, "the engine is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
    let (code, listed) = ask(&["snapshots", "--store", &m.arg("store")]);
    assert_eq!((code, listed["snapshots"].as_array().map(Vec::len)), (0, Some(1)));
}

#[test]
fn an_engine_that_cannot_start_says_why() {
    let mut t = Terminal::open(&["/nonexistent.img".into()], Some((80, 25)));
    assert_eq!(t.end().code(), Some(1));
    assert!(t.text().contains("No such file"), "{}", t.text());
}

/// From the saved states to a file of one, read and taken out; and what changed since, with its lines.
#[test]
fn files_of_a_saved_state_are_read_and_taken_out() {
    let m = Machine::new();
    m.save();
    std::fs::write(m.path("fstab"), "# nothing is mounted any more\n").unwrap();
    let at = format!("{}?offset={}", m.arg("disk.img"), 9 << 20);
    std::thread::sleep(Duration::from_millis(1100));
    tool("debugfs", "e2fsprogs", &["-w", "-R", "rm /etc/fstab", &at]);
    m.put(&m.arg("fstab"), "/etc/fstab");
    let mut t = Terminal::open(&args(&m), Some((80, 25)));
    t.expect(&["What to do next"]);
    t.press("t");
    t.expect(&["1 of 1", "kernel 6.1.0-30-amd64, 1 package, Debian"]);
    t.press("b");
    t.expect(&["files of a saved state", "> d0/p2", "d0/p1"]);
    t.press("\r");
    t.expect(&["d0/p2:/ ", "lost+found/"]);
    t.press("/home\r");
    t.expect(&["3 of 8"]);
    t.press("\r");
    t.expect(&["d0/p2:/home "]);
    t.press("\r");
    t.expect(&["d0/p2:/home/ann "]);
    t.press("\r");
    t.expect(&["HOLDFAST  reading", "Dear Ben,"]);
    t.press("\x1b");
    t.expect(&["d0/p2:/home/ann "]);
    t.press("g");
    t.expect(&["into the folder"]);
    t.press(&format!("{}\r", m.arg("")));
    t.expect(&["DONE. It is taken out.", "1 file, 0 folders"]);
    assert_eq!(std::fs::read_to_string(m.path("letter")).unwrap(), "Dear Ben,\n");
    t.press("1");
    t.expect(&["d0/p2:/home/ann "]);
    // Nothing is overwritten.
    t.press("g");
    t.expect(&["into the folder"]);
    t.press(&format!("{}\r", m.arg("")));
    t.expect(&["NOT DONE.", "letter exists already"]);
    t.press("1");
    t.expect(&["What to do next", "saved states (1)"]);
    t.press("td");
    t.expect(&["what changed", "Configuration, below /etc"]);
    t.press("/fstab\r");
    t.expect(&["+# nothing is mounted any more", "-UUID=11111111"]);
    t.press("\r");
    t.expect(&["HOLDFAST  reading", "+# nothing is mounted any more"]);
    t.press("qqqq");
    assert!(t.end().success());
}

/// A terminal with a mouse is asked to tell of it, and no longer afterwards.
#[test]
fn a_mouse_is_a_hand_on_the_keys() {
    let m = Machine::new();
    m.save();
    let mut t = Terminal::named("xterm-256color", &args(&m), Some((80, 25)));
    t.expect(&["What to do next"]);
    t.click("t saved");
    t.expect(&["saved states", "1 of 1"]);
    t.click("Esc back");
    // Nobody leaves while the disks are looked at.
    t.expect(&["What to do next", "2  Go back"]);
    t.calm();
    t.click("q quit");
    assert!(t.end().success());
    let raw = t.raw.lock().unwrap();
    let raw = String::from_utf8_lossy(&raw);
    assert!(raw.contains("\x1b[?1000h\x1b[?1006h"), "it was asked for");
    assert!(raw.ends_with("\x1b[?25h\x1b[?1049l") || raw.contains("\x1b[?1006l\x1b[?1000l"), "and given back");
}

/// A second store that was named is copied to, and what is damaged here is written again from it.
#[test]
fn a_second_store_is_copied_to_and_repaired_from() {
    let m = Machine::new();
    let id = m.save();
    let other = m.arg("other");
    assert_eq!(run(&["store", "init", &other]).0, 0);
    let mut t = Terminal::open(&[args(&m), vec!["--to".into(), other.clone()]].concat(), Some((100, 25)));
    t.expect(&["What to do next", "saved states (1)"]);
    t.calm();
    t.press("o");
    t.expect(&["HOLDFAST  the store", "7  Copy into"]);
    t.press("7");
    t.expect(&["DONE. 1 saved state copied.", "the other store grew by"]);
    let (code, listed) = ask(&["snapshots", "--store", &other]);
    assert_eq!((code, listed["snapshots"][0]["id"].as_str()), (0, Some(id.as_str())));
    // A pack is lost.
    let packs = std::path::Path::new(&m.arg("store")).join("packs");
    let pack = walk(&packs).into_iter().max_by_key(|f| f.metadata().unwrap().len()).unwrap();
    std::fs::remove_file(&pack).unwrap();
    t.press("1");
    t.expect(&["HOLDFAST  the store"]);
    t.press("2");
    t.expect(&["THE STORE IS DAMAGED.", "1  Put right what is damaged"]);
    t.press("1");
    t.expect(&["DONE. ", "whole"]);
    t.press("qqqq");
    assert!(t.end().success());
    assert_eq!(run(&["check", "--store", &m.arg("store"), "--read-data"]).0, 0);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.flat_map(|p| if p.is_dir() { walk(&p) } else { vec![p] }).collect()
}

/// A plan for a larger disk, as the engine makes it of a real one, and its key.
#[test]
fn a_plan_tells_what_a_larger_disk_has_room_for() {
    let m = Machine::new();
    m.save();
    let new = m.arg("new.img");
    std::fs::File::create(&new).unwrap().set_len(128 << 20).unwrap();
    let disks = [m.arg("disk.img"), new].to_vec();
    let mut t = Terminal::open(&[disks, vec!["--store".into(), m.arg("store")]].concat(), Some((100, 40)));
    t.expect(&["What to do next", "d1: 134 MB"]);
    t.calm();
    t.press("tn");
    let plan = t.expect(&["please read, then decide", "type RESTORE"]);
    if !plan.contains("could be made larger") {
        // Root may not make file systems larger here, as in a container: then it is not offered.
        t.press("g");
        t.press("\x1bqqq");
        return;
    }
    t.press("g");
    t.expect(&["Key g: leave d0/p2 as large as it was", "What is made larger is made so first", "type RESTORE"]);
    t.press("g");
    t.expect(&["could be made larger", "Key g does that"]);
    t.press("\x1b");
    t.expect(&["saved states", "Nothing was written."]);
    t.press("qqqq");
    assert!(t.end().success());
}
