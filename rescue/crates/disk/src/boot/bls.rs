//! Loader entries of the Boot Loader Specification (type #1), as systemd-boot and GRUB's `blscfg` read them.

use super::entry::{Entry, MOST_INITRDS};

/// Reads an entry: keys and values, a line each; `None` where it loads no kernel (an EFI program, say).
pub(super) fn parse(text: &str) -> Option<Entry> {
    let lines = text.lines().map(str::trim).filter(|l| !l.starts_with('#'));
    let pairs: Vec<(&str, &str)> =
        lines.filter_map(|l| l.split_once(char::is_whitespace)).map(|(key, value)| (key, value.trim())).collect();
    let all = |key: &str| -> Vec<&str> { pairs.iter().filter(|(k, _)| *k == key).map(|(_, v)| *v).collect() };
    let kernel = (*all("linux").first()?).to_owned();
    let options = all("options").iter().flat_map(|v| v.split_whitespace()).map(str::to_owned).collect();
    // GRUB's own entries name several in one line.
    let initrds: Vec<String> =
        all("initrd").iter().flat_map(|v| v.split_whitespace()).map(str::to_owned).take(MOST_INITRDS).collect();
    let variable = |path: &String| path.contains('$');
    let elsewhere = variable(&kernel) || initrds.iter().any(variable);
    Some(Entry { search: None, kernel, options, initrds, elsewhere })
}

/// The default that `loader.conf` names: a pattern of entries' file names.
pub(super) fn default(text: &str) -> Option<String> {
    let value = text.lines().filter_map(|l| l.trim().strip_prefix("default")).next()?;
    let value = value.strip_prefix(char::is_whitespace)?.trim();
    (!value.is_empty() && !value.starts_with('@')).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_as_kernel_install_writes_it() {
        let text = "# made\ntitle Debian GNU/Linux 12\nversion 6.1.0-9\nlinux /0123/6.1.0-9/linux\ninitrd /0123/6.1.0-9/initrd\n\
                    options root=UUID=1234-5678 ro\noptions quiet\n";
        let entry = parse(text).unwrap();
        assert_eq!(entry.kernel, "/0123/6.1.0-9/linux");
        assert_eq!(entry.options, ["root=UUID=1234-5678", "ro", "quiet"]);
        assert_eq!((entry.initrds.len(), entry.elsewhere), (1, false));
        assert_eq!(parse("title x\nefi /EFI/x.efi\n"), None);
        assert!(parse("linux $kernel\n").unwrap().elsewhere);
    }

    #[test]
    fn a_default_is_a_pattern() {
        assert_eq!(default("timeout 3\ndefault 0123-*\n").as_deref(), Some("0123-*"));
        assert_eq!(default("default @saved\n"), None);
        assert_eq!(default("timeout 3\n"), None);
    }
}
