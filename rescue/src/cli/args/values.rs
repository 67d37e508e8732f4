//! Values that people write.

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

#[cfg(test)]
mod tests {
    use super::*;

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
