//! The screen of last resort: what was tried, what went wrong, what to do. It needs nothing but this process.

use crate::console::{self, Console};
use crate::report::Report;
use model::command::PowerAction;
use model::text::DisplayText;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

/// What the person at the screen chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    Again,
    Leave(PowerAction),
}

/// The narrowest screen there is.
const COLUMNS: usize = 79;

/// The text of the screen, 79 columns wide. `ran` says that the program did run for a time, so that nobody can promise that
/// nothing was written.
pub(crate) fn text(report: &Report, ran: bool, last: &str, log: &[String]) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        let whole = DisplayText::new(&format!("{label:<9}{text}"));
        // Neither the font of a screen nor a serial line is known to carry more than ASCII.
        let plain = |c: char| match c {
            '\u{2026}' => '~',
            c if c.is_ascii() => c,
            _ => '?',
        };
        let line: String = whole.shortened(COLUMNS).trim_end().chars().map(plain).collect();
        let _ = writeln!(out, "{line}");
    };
    if ran {
        line("HOLDFAST'S PROGRAM KEEPS ENDING", "");
        line("", "A rollback that was running is not lost: it can be resumed or undone.");
    } else {
        line("HOLDFAST COULD NOT START ITS PROGRAM", "");
        line("", "Nothing was written to your disks. Your data is as it was.");
    }
    line("", "");
    line("Error", last);
    let newest = report.troubles.len().saturating_sub(4);
    for trouble in report.troubles[newest..].iter().filter(|t| *t != last) {
        line("Also", trouble);
    }
    for said in log.iter().rev().take(3).rev() {
        line("It said", said);
    }
    line("Kernel", &report.cmdline);
    line("Store", &report.store);
    let loaded = report.modules.join(" ");
    line("Drivers", if loaded.is_empty() { "none were loaded" } else { &loaded });
    for failed in report.module_failures.iter().take(2) {
        line("Refused", failed);
    }
    if report.disks.is_empty() {
        line("Disks", "none were found");
    }
    for disk in report.disks.iter().take(4) {
        line("Disk", disk);
    }
    if report.disks.len() > 4 {
        line("", &format!("and {} more", report.disks.len() - 4));
    }
    line("", "");
    line("What to do", "");
    line("", "Enter        try again (plug in what is missing first)");
    // A whole line, so that noise on a serial line decides nothing.
    line("", "r and Enter  start the computer again (without the stick: as usual)");
    line("", "p and Enter  switch off");
    line("", "If it stays like this, write the stick anew from a fresh image.");
    out
}

/// Shows the screen on all consoles until somebody chooses. `meanwhile` runs several times a second; where it gives a
/// choice, that is taken.
pub(crate) fn show(
    consoles: &[Console],
    report: &Report,
    ran: bool,
    last: &str,
    mut meanwhile: impl FnMut() -> Option<Choice>,
) -> Choice {
    let text = text(report, ran, last, &console::log_tail(3));
    let mut open: Vec<File> = consoles.iter().filter_map(|c| c.open().ok()).collect();
    for tty in &mut open {
        let _ = tty.write_all(text.as_bytes());
    }
    if open.is_empty() {
        // Whatever the kernel calls its console then.
        eprintln!("{text}");
    }
    loop {
        if let Some(choice) = meanwhile() {
            return choice;
        }
        let fds: Vec<_> = open.iter().map(AsFd::as_fd).collect();
        let ready = sys::poll(&fds, Some(Duration::from_millis(250))).unwrap_or_default();
        if fds.is_empty() {
            std::thread::sleep(Duration::from_millis(250));
        }
        let readable = ready.iter().position(|r| *r);
        let mut key = [0; 80];
        match readable.map(|i| (i, open[i].read(&mut key))) {
            Some((_, Ok(n))) if n > 0 => match key[0].to_ascii_lowercase() {
                b'r' => return Choice::Leave(PowerAction::Reboot),
                b'p' => return Choice::Leave(PowerAction::Poweroff),
                b'\n' | b'\r' => return Choice::Again,
                _ => {}
            },
            // Hung up: it would be readable for ever.
            Some((i, _)) => drop(open.remove(i)),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_screen_fits_and_tells_all() {
        let mut report = Report::new();
        report.aloud = false;
        report.cmdline = format!("quiet holdfast.store=x {}", "y".repeat(200));
        report.modules = (0..200).map(|i| format!("module{i}")).collect();
        report.module_failures = (0..9).map(|i| format!("bad{i}: no such device")).collect();
        report.disks = (0..9).map(|i| format!("sd{i} 8.0 GB Some \u{1b}[2J Disk (usb, 3 partitions)")).collect();
        (0..99).for_each(|i| report.trouble(format!("trouble {i}")));
        let log: Vec<String> = (0..9).map(|i| format!("said {i}")).collect();
        let text = text(&report, false, "starting /bin/holdfast failed: No such file or directory", &log);
        assert!(text.lines().all(|l| l.chars().count() <= COLUMNS), "{text}");
        assert!(text.lines().count() <= 30, "{}\n{text}", text.lines().count());
        for part in [
            "No such file",
            "trouble 98",
            "said 8",
            "holdfast.store=x",
            "module0",
            "bad0",
            "sd0",
            "5 more",
            "switch off",
        ] {
            assert!(text.contains(part), "{part} is missing:\n{text}");
        }
        assert!(text.is_ascii(), "{text}");
        let advice = text.split_once("What to do").unwrap().1;
        assert!(!advice.contains('~'), "advice is not cut: {advice}");
        assert!(text.contains("Nothing was written"));
        assert!(!super::text(&report, true, "", &[]).contains("Nothing was written"), "nobody knows that then");
        assert!(!text.contains('\u{1b}'), "a disk's name is no escape sequence");
    }
}
