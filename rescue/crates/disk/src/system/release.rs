//! os-release(5), hostname(5), machine-id(5).

use model::text::DisplayText;

/// How a system calls itself.
pub(super) struct Names {
    pub pretty: DisplayText,
    pub id: DisplayText,
    pub version: DisplayText,
}

impl Names {
    /// A Linux that does not say which. `ID` defaults to `linux` (os-release(5)).
    pub(super) fn unknown() -> Self {
        Self { pretty: "Linux".into(), id: "linux".into(), version: DisplayText::default() }
    }
}

/// Reads an os-release; `None` where it names nothing.
pub(super) fn parse(text: &str) -> Option<Names> {
    let value = |key: &str| {
        let of = |line: &str| line.trim().strip_prefix(key)?.strip_prefix('=').map(unquoted);
        // As in a shell, the last assignment counts.
        text.lines().filter_map(of).rfind(|v| !v.is_empty())
    };
    let (pretty, name, id, version) = (value("PRETTY_NAME"), value("NAME"), value("ID"), value("VERSION_ID"));
    let shown = pretty.or(name).or(id.clone())?;
    let text = |v: Option<String>| v.map_or_else(DisplayText::default, |v| DisplayText::new(&v));
    Some(Names { pretty: DisplayText::new(&shown), id: text(id.or(Some("linux".into()))), version: text(version) })
}

/// Takes off one pair of quotes, and the backslashes that a shell takes off inside double ones.
fn unquoted(value: &str) -> String {
    let value = value.trim();
    let inside = |quote: char| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
    if let Some(plain) = inside('\'') {
        return plain.to_owned();
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = inside('"').unwrap_or(value).chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

/// The first word of the first line that is no comment.
pub(super) fn first_word(text: &str) -> Option<&str> {
    text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#'))?.split_whitespace().next()
}

/// 32 hexadecimal digits, lower-case; `None` for `uninitialized`, nothing, or all zeros.
pub(super) fn machine_id(text: &str) -> Option<String> {
    let id = text.trim();
    let good = id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && id.bytes().any(|b| b != b'0');
    good.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn os_release_reads_as_a_shell_would() {
        let n = parse("# x\nNAME='A B'\nPRETTY_NAME=\"Debian \\\"12\\\"\"\nID=debian\nVERSION_ID=\"12\"\nID=late\n")
            .unwrap();
        assert_eq!((n.pretty.as_str(), n.id.as_str(), n.version.as_str()), ("Debian \"12\"", "late", "12"));
        let n = parse("NAME=Arch\n").unwrap();
        assert_eq!((n.pretty.as_str(), n.id.as_str(), n.version.as_str()), ("Arch", "linux", ""));
        assert!(parse("").is_none());
        assert!(parse("\0\0\0\0").is_none());
        assert!(parse("PRETTY_NAME=\nXID=3\n").is_none());
    }

    #[test]
    fn ids_and_names() {
        assert_eq!(machine_id("0123456789ABCDEF0123456789abcdef\n").unwrap(), "0123456789abcdef0123456789abcdef");
        for bad in ["", "uninitialized", "00000000000000000000000000000000", "0123"] {
            assert_eq!(machine_id(bad), None, "{bad}");
        }
        assert_eq!(first_word("# c\n\n host.example  x\n"), Some("host.example"));
        assert_eq!(first_word("\n#\n"), None);
    }
}
