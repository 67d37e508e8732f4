//! Values that people write: sizes, and spans of time.

use super::Usage;
use model::text::DisplayText;
use model::units::ByteLen;

/// A size: `500M`, `4G` (thousands, as sizes are shown), `4GiB`, or a number of bytes.
pub(super) fn size(text: &str) -> Result<ByteLen, Usage> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => Some(1),
        "K" | "KB" => Some(1_000),
        "M" | "MB" => Some(1_000_000),
        "G" | "GB" => Some(1_000_000_000),
        "T" | "TB" => Some(1_000_000_000_000),
        "KIB" => Some(1 << 10),
        "MIB" => Some(1 << 20),
        "GIB" => Some(1 << 30),
        "TIB" => Some(1_u64 << 40),
        _ => None,
    };
    let bytes = number.parse::<u64>().ok().zip(factor).and_then(|(n, f)| n.checked_mul(f)).filter(|n| *n > 0);
    let bad = || Usage(format!("{} is no size: 500M, 4G (thousands) or 4GiB is", DisplayText::new(text)));
    bytes.map(ByteLen).ok_or_else(bad)
}

/// A part of a hundred: `30%`, or `30`.
pub(super) fn percent(text: &str) -> Result<u8, Usage> {
    let number = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|n| *n <= 100);
    number.ok_or_else(|| Usage(format!("{} is no part of a hundred: 30% is", DisplayText::new(text))))
}

/// A span of time in seconds: `36h`, `10d`, `2w`, `6m` (of 30 days), `1y` (of 365), or several: `1y6m`.
pub(super) fn span(text: &str) -> Result<u64, Usage> {
    let bad = || Usage(format!("{} is no time: 36h, 10d, 2w, 6m or 1y is", DisplayText::new(text)));
    let (mut rest, mut seconds) = (text, 0_u64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, behind) = rest.split_at(digits);
        let unit = behind.chars().next().ok_or_else(bad)?;
        let hours = match unit {
            'h' => 1,
            'd' => 24,
            'w' => 24 * 7,
            'm' => 24 * 30,
            'y' => 24 * 365,
            _ => return Err(bad()),
        };
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(hours * 3600));
        seconds = part.and_then(|part| seconds.checked_add(part)).ok_or_else(bad)?;
        rest = &behind[unit.len_utf8()..];
    }
    if seconds == 0 { Err(bad()) } else { Ok(seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        for (text, seconds) in [("36h", 36 * 3600), ("1y6m", (365 + 180) * 86_400), ("2w1d", 15 * 86_400)] {
            assert_eq!(span(text), Ok(seconds), "{text}");
        }
        for bad in ["", "3", "d", "0d", "1d2", "-1d", "1\u{e4}", "99999999999999999y"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_of_a_hundred() {
        for (text, part) in [("30%", 30), ("0", 0), ("100%", 100)] {
            assert_eq!(percent(text), Ok(part), "{text}");
        }
        for bad in ["", "%", "101", "-1", "30%%", "0.5"] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [("1", 1), ("500M", 500_000_000), ("4GiB", 4 << 30), ("2tb", 2_000_000_000_000)] {
            assert_eq!(size(text), Ok(ByteLen(bytes)), "{text}");
        }
        for bad in ["", "0", "G", "-1G", "1.5G", "4 G", "99999999999T", "4X"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
