//! The kernel's command line: what is meant for us (docs/boot-contract.md).

use std::time::Duration;

/// What the command line says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Options {
    /// `holdfast.store=GUID`: the partition GUID of the store, lower-case.
    pub(crate) store: Option<String>,
    /// `holdfast.policy=auto` or `=NAME`: what is done by itself at the start; a file in the root of the store's file system.
    pub(crate) policy: Option<String>,
    /// `holdfast.log=ttyS1`: where the programs' stderr goes instead of a file.
    pub(crate) log: Option<String>,
    /// `holdfast.settle=SECONDS`: the longest wait for disks.
    pub(crate) settle: Option<Duration>,
    /// `holdfast.verbose`: kernel messages stay on the console.
    pub(crate) verbose: bool,
    /// `console=` devices in order, each once; `tty0` (whichever is in front) read as `tty1`.
    pub(crate) consoles: Vec<String>,
    /// Words that begin with `holdfast.` and mean nothing to this version.
    pub(crate) unknown: Vec<String>,
}

impl Options {
    /// Reads the text of /proc/cmdline.
    pub(crate) fn parse(text: &str) -> Self {
        let mut out = Self::default();
        for word in text.split_ascii_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            match name {
                "console" => {
                    let device = value.split(',').next().unwrap_or_default();
                    let device = if device == "tty0" { "tty1" } else { device };
                    let plain = device.starts_with("tty") || device.starts_with("hvc");
                    if plain && is_device(device) {
                        // The last one named is the preferred one, so a repeated one moves back.
                        out.consoles.retain(|c| c != device);
                        out.consoles.push(device.to_owned());
                    }
                }
                "holdfast.store" if !value.is_empty() => out.store = Some(value.to_ascii_lowercase()),
                "holdfast.policy" if is_file_name(value) => out.policy = Some(value.to_owned()),
                "holdfast.log" if is_device(value) => out.log = Some(value.to_owned()),
                "holdfast.settle" if value.parse::<u8>().is_ok() => {
                    out.settle = value.parse::<u8>().ok().map(|s| Duration::from_secs(s.into()));
                }
                "holdfast.verbose" => out.verbose = true,
                _ if name.starts_with("holdfast.") => out.unknown.push(word.to_owned()),
                _ => {}
            }
        }
        out
    }
}

/// A name directly under /dev.
fn is_device(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The name of a file, and no way to another directory.
fn is_file_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 64 && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        let o = Options::parse(
            "BOOT_IMAGE=/k quiet console=ttyS0,115200n8 console=tty0 holdfast.store=ABCD-1 holdfast.settle=3 \
             holdfast.verbose holdfast.log=ttyS1 holdfast.policy=nightly.conf holdfast.new=1 console=../x console=netcon0\n",
        );
        assert_eq!(o.consoles, ["ttyS0", "tty1"]);
        assert_eq!(o.store.as_deref(), Some("abcd-1"));
        assert_eq!(o.settle, Some(Duration::from_secs(3)));
        assert_eq!(o.log.as_deref(), Some("ttyS1"));
        assert_eq!(o.policy.as_deref(), Some("nightly.conf"));
        assert!(o.verbose);
        assert_eq!(o.unknown, ["holdfast.new=1"]);
    }

    #[test]
    fn nonsense_is_kept_apart() {
        let o = Options::parse(
            "holdfast.settle=soon holdfast.log=/etc/x holdfast.store= console= holdfast.policy=../x holdfast.policy=a/b \
             holdfast.policy= holdfast.policy=-x",
        );
        assert_eq!(o.unknown.len(), 7);
        assert_eq!(Options { unknown: Vec::new(), ..o }, Options::default());
    }
}
