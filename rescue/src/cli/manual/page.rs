//! The manual page, in the language of `man(7)`: every verb with its help, put into paragraphs again.

use crate::cli::help;
use crate::cli::verbs::VERBS;
use std::fmt::Write;

/// Columns that help texts are wrapped to: a line that ends where its next word had room was ended on purpose.
const COLUMNS: usize = 79;

pub(in crate::cli) fn page() -> String {
    let mut out = String::new();
    let version = env!("CARGO_PKG_VERSION");
    line(&mut out, &format!(".TH HOLDFAST 1 \"\" \"holdfast {version}\" \"User Commands\""));
    line(&mut out, ".SH NAME");
    line(&mut out, "holdfast \\- what happened to a machine, and the way back");
    line(&mut out, ".SH SYNOPSIS");
    for (n, verb) in VERBS.iter().enumerate() {
        if n > 0 {
            line(&mut out, ".br");
        }
        line(&mut out, &format!(".B holdfast {}", text(verb.name)));
        if !verb.usage.is_empty() {
            line(&mut out, &text(verb.usage));
        }
    }
    line(&mut out, ".SH DESCRIPTION");
    line(
        &mut out,
        "Works out what a machine did last, saves its disks into a store, and takes it back to any saved state.",
    );
    paragraphs(&mut out, help::below());
    line(&mut out, ".SH VERBS");
    for verb in VERBS {
        line(&mut out, &format!(".SS {}", text(verb.name)));
        let (usage, rest) = verb.help.split_once("\n\n").unwrap_or((verb.help, ""));
        line(&mut out, ".nf");
        usage.lines().for_each(|l| line(&mut out, &text(l)));
        line(&mut out, ".fi");
        paragraphs(&mut out, rest);
    }
    out
}

/// A text that is wrapped, in paragraphs that are not.
fn paragraphs(out: &mut String, wrapped: &str) {
    let mut before: Option<&str> = None;
    for l in wrapped.lines() {
        let words = l.trim_start();
        let indent = l.len() - words.len();
        let item = words.strip_prefix("- ").filter(|_| indent > 0);
        let next = words.split(' ').next().map_or(0, str::len);
        let ended = before.is_none_or(|b| b.trim().is_empty() || b.chars().count() + 1 + next <= COLUMNS);
        if words.is_empty() {
            before = Some(l);
            continue;
        }
        match item {
            Some(words) => {
                line(out, ".IP \\(bu 2");
                line(out, &text(words));
            }
            // What is indented and no item is to be typed as it stands, or goes on with one.
            None if indent > 0 && ended => {
                line(out, ".PP");
                line(out, &format!(".RS 4\n{}\n.RE", text(words)));
            }
            None => {
                if ended {
                    line(out, ".PP");
                }
                line(out, &text(words));
            }
        }
        before = Some(l);
    }
}

/// Text of which nothing is a request or an escape (`groff(7)`): a line that begins with a full stop or an apostrophe, a backslash; and
/// a hyphen that is to stay one.
fn text(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len() + 8);
    if plain.starts_with(['.', '\'']) {
        out.push_str("\\&");
    }
    for c in plain.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '~' => out.push_str("\\(ti"),
            '^' => out.push_str("\\(ha"),
            c => out.push(c),
        }
    }
    out
}

fn line(out: &mut String, text: &str) {
    // A String takes everything.
    let _ = writeln!(out, "{text}");
}
