//! QEMU's control line (QMP): what the machine does, and its power button.
//!
//! Source: QEMU 7.2, docs/interop/qmp-spec.rst and qapi/run-state.json. Lines of JSON; of what QEMU says only these words are
//! taken, for it may be taken over by what runs in the machine.

use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, Read, Write};

/// Longest line that is taken.
const MOST_LINE: u64 = 64 << 10;

/// What happened to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Happened {
    /// It switched itself off.
    Off,
    /// It started again; QEMU ends instead.
    Reset,
    /// Its kernel gave up, and said so (pvpanic).
    Panicked,
}

/// What a line says, where that matters.
pub(super) fn read(line: &str) -> Option<Happened> {
    let value: Value = serde_json::from_str(line).ok()?;
    match (value["event"].as_str()?, value["data"]["reason"].as_str()) {
        ("SHUTDOWN", Some("guest-shutdown")) => Some(Happened::Off),
        ("SHUTDOWN", Some("guest-reset")) => Some(Happened::Reset),
        ("SHUTDOWN", Some("guest-panic")) | ("GUEST_PANICKED", _) => Some(Happened::Panicked),
        _ => None,
    }
}

/// Listens until the line ends, and tells what happened.
pub(super) fn listen(line: impl Read, mut tell: impl FnMut(Happened)) {
    let mut line = BufReader::new(line);
    loop {
        let mut bytes = Vec::new();
        match line.by_ref().take(MOST_LINE).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Some(happened) = std::str::from_utf8(&bytes).ok().and_then(read) {
            tell(happened);
        }
    }
}

/// Says that events are wanted: before that QEMU takes no command.
///
/// # Errors
/// What the socket says.
pub(super) fn begin(line: &mut impl Write) -> io::Result<()> {
    execute(line, "qmp_capabilities")
}

/// Presses the power button (ACPI): a system that is up shuts down in order.
///
/// # Errors
/// What the socket says.
pub(super) fn press_power(line: &mut impl Write) -> io::Result<()> {
    execute(line, "system_powerdown")
}

fn execute(line: &mut impl Write, command: &str) -> io::Result<()> {
    line.write_all(format!("{}\n", json!({ "execute": command })).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_is_heard_among_the_rest() {
        let said = [
            r#"{"QMP": {"version": {"qemu": {"micro": 18, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}"#,
            r#"{"return": {}}"#,
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESET", "data": {"guest": false}}"#,
            "no json",
            "{\"event\": 7}",
            &"x".repeat(200_000),
            r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "GUEST_PANICKED", "data": {"action": "pause"}}"#,
            r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
            r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#,
            r#"{"event": "SHUTDOWN", "data": {"guest": false, "reason": "host-signal"}}"#,
        ]
        .join("\n");
        let mut heard = Vec::new();
        listen(said.as_bytes(), |h| heard.push(h));
        assert_eq!(heard, [Happened::Panicked, Happened::Off, Happened::Reset]);
    }

    #[test]
    fn commands_are_lines() {
        let mut line = Vec::new();
        begin(&mut line).unwrap();
        press_power(&mut line).unwrap();
        assert_eq!(line, b"{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"system_powerdown\"}\n");
    }
}
