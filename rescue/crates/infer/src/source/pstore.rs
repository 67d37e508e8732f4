//! What a kernel said as it died, which `systemd-pstore.service` puts together at the next start: `dmesg.txt` in a directory below
//! `/var/lib/systemd/pstore` that is named by the time of it (systemd `src/pstore/pstore.c`; kernel `fs/pstore/platform.c`, which
//! begins each part with a line such as `Panic#1 Part1`).
//!
//! Of a record that EFI variables kept, systemd 252 takes six digits off the kernel's number for it, of which five are no time (kernel 6.1
//! `drivers/firmware/efi/efi-pstore.c`, `generic_id`): what is left counts tens of seconds.

use super::bytes::tail;
use super::{evidence, stamp, unreadable};
use crate::want::LAST_WORDS;
use model::evidence::{Evidence, Fact, Origin};
use model::ports::{ReadAt, UnixMicros};
use model::text::DisplayText;

/// How the line begins that says why, after the kernel's time.
const WHY: &[&[u8]] =
    &[b"Kernel panic - not syncing", b"BUG: ", b"Oops: ", b"Unable to handle kernel", b"kernel BUG at"];

/// Reads one record.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let bytes = match tail(file, LAST_WORDS) {
        Ok((_, bytes)) => bytes,
        Err(e) => return vec![unreadable(origin, "a kernel's last words", &e.to_string())],
    };
    let lines = || bytes.split(|b| *b == b'\n').map(message);
    // The last panic is what ended it; an oops before it is what led there.
    let line = WHY.iter().find_map(|why| lines().rev().find(|line| line.starts_with(why)));
    let Some(line) = line else { return Vec::new() };
    let line = DisplayText::from_bytes(line);
    let says = format!("a kernel died, and its last words were kept: {line}");
    vec![evidence(origin, Fact::KernelDied { line }, &says, died(origin).map(stamp))]
}

/// A line without its level and time: `<0>[   27.551245] Kernel panic - ...`.
fn message(line: &[u8]) -> &[u8] {
    let line = match line.first() {
        Some(b'<') => line.iter().position(|b| *b == b'>').map_or(line, |end| &line[end + 1..]),
        _ => line,
    };
    let line = match line.first() {
        Some(b'[') => line.iter().position(|b| *b == b']').map_or(line, |end| &line[end + 1..]),
        _ => line,
    };
    line.trim_ascii()
}

/// The time that the directory is named by: seconds since 1970, which have ten digits from 2001 to 2286; where there are nine, tens of
/// them.
fn died(origin: &Origin) -> Option<UnixMicros> {
    let path = &origin.path.as_ref()?.0;
    let name = path.strip_prefix(b"/var/lib/systemd/pstore/")?.split(|b| *b == b'/').next()?;
    let number: i64 = std::str::from_utf8(name).ok().filter(|n| n.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    match name.len() {
        9 => Some(UnixMicros::from_seconds(number * 10)),
        10 => Some(UnixMicros::from_seconds(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;
    use model::evidence::{ClockTrust, Stamp};

    const REAL: &str = "/var/lib/systemd/pstore/179604296/dmesg.txt";

    fn real() -> Vec<u8> {
        zstd::bulk::decompress(include_bytes!("../../tests/fixtures/pstore-dmesg.txt.zst"), 1 << 20).unwrap()
    }

    fn line(bytes: &[u8]) -> Option<String> {
        let [e] = &parse(&at(REAL), &bytes.to_vec())[..] else { return None };
        let Fact::KernelDied { line } = &e.fact else { return None };
        Some(line.as_str().to_owned())
    }

    #[test]
    fn what_a_real_kernel_said() {
        let found = parse(&at(REAL), &real());
        assert_eq!(found.len(), 1);
        let time = Stamp { at: UnixMicros::from_seconds(1_796_042_960), trust: ClockTrust::Utc };
        assert_eq!(found[0].time, Some(time), "it was eight seconds later");
        assert_eq!(line(&real()).unwrap(), "Kernel panic - not syncing: sysrq triggered crash");
    }

    #[test]
    fn a_panic_goes_before_what_led_there() {
        let said = b"Panic#2 Part1\n<1>[    9.1] BUG: kernel NULL pointer dereference, address: 0\n<0>[    9.2] Kernel panic - not syncing: Fatal\x1b[2J\n";
        assert_eq!(line(said).unwrap(), "Kernel panic - not syncing: Fatal\\u{1b}[2J");
        assert_eq!(line(&said[..75]).unwrap(), "BUG: kernel NULL pointer dereference, address: 0");
        assert_eq!(line(b"Oops#1 Part1\n"), None);
        assert_eq!(line(b""), None);
    }

    #[test]
    fn times_of_directories() {
        let second =
            |name: &str| died(&at(&format!("/var/lib/systemd/pstore/{name}/dmesg.txt"))).map(|t| t.0 / 1_000_000);
        assert_eq!(second("1796042968"), Some(1_796_042_968));
        assert_eq!(second("1796042968/001"), Some(1_796_042_968));
        assert_eq!(second("179604296"), Some(1_796_042_960));
        for name in ["", "12", "-179604296", "17960429680", "erst"] {
            assert_eq!(second(name), None, "{name}");
        }
    }
}
