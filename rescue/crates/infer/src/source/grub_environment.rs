//! GRUB's environment: 1024 bytes, a line that names it, `key=value` lines, padded with `#` (GRUB `include/grub/lib/envblk.h`,
//! `grub-core/lib/envblk.c`). GRUB writes it below the file system, so that the file's own times tell nothing.
//!
//! `recordfail=1` is put there before a kernel is started (`util/grub.d/00_header.in`, where the distribution asks for it), and taken
//! away by `grub-common.service` once the system is up, or has woken. `boot_success`, as Fedora has it, is set to 0 at each start and to 1
//! after a user's session of two minutes (`grub-boot-success.timer`): 1 says something of the last start, 0, as on every machine that
//! nobody logged in to, nothing. `next_entry` is what `grub-reboot` asked for: GRUB takes it away as it starts that entry, once.

use super::bytes::head;
use super::{evidence, unreadable};
use model::evidence::{Evidence, Fact, Origin};
use model::ports::ReadAt;
use model::text::DisplayText;

/// Its length, always.
const LEN: u64 = 1024;
const BEGINS: &[u8] = b"# GRUB Environment Block\n";
/// Longest name of an entry that is told.
const MOST_NAME: usize = 200;

/// Looks for the marks of starts, and for one that was asked for.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let bytes = match head(file, LEN) {
        Ok(bytes) => bytes,
        Err(e) => return vec![unreadable(origin, "GRUB's environment", &e.to_string())],
    };
    let size = file.size().0;
    if size != LEN || !bytes.starts_with(BEGINS) {
        let why = format!("{size} bytes that do not begin as one does");
        return vec![unreadable(origin, "GRUB's environment", &why)];
    }
    let value = |name: &[u8]| {
        let of = |line: &'_ [u8]| line.strip_prefix(name)?.strip_prefix(b"=").map(<[u8]>::to_vec);
        bytes.split(|b| *b == b'\n').find_map(of)
    };
    let is_set = |name: &[u8]| value(name).is_some_and(|v| v == b"1");
    let mut found = Vec::new();
    if is_set(b"recordfail") {
        let says = "the boot loader noted a start, and the system did not confirm since that it came up";
        found.push(evidence(origin, Fact::StartNotConfirmed, says, None));
    }
    if is_set(b"boot_success") {
        let says = "the last start that the boot loader made was confirmed by a user's session";
        found.push(evidence(origin, Fact::StartConfirmed, says, None));
    }
    if let Some(next) = value(b"next_entry").filter(|next| !next.is_empty()) {
        let entry = DisplayText::new(&DisplayText::from_bytes(&next).shortened(MOST_NAME));
        let says = format!("the next start was to be of another entry, once ({entry}), and there was none since");
        found.push(evidence(origin, Fact::NextEntry { entry }, &says, None));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    /// As `grub-editenv` 2.06 wrote them: `create`; then `set saved_entry=0 recordfail=1`; then `unset recordfail`.
    const FRESH: &[u8] = include_bytes!("../../tests/fixtures/grubenv-fresh");
    const MARKED: &[u8] = include_bytes!("../../tests/fixtures/grubenv-recordfail");
    const CONFIRMED: &[u8] = include_bytes!("../../tests/fixtures/grubenv-confirmed");
    /// `set boot_success=1 boot_indeterminate=0 saved_entry=0`; then `set boot_success=0 "next_entry=Debian>1"`.
    const SUCCESS: &[u8] = include_bytes!("../../tests/fixtures/grubenv-success");
    const NEXT: &[u8] = include_bytes!("../../tests/fixtures/grubenv-next");

    fn facts(bytes: &[u8]) -> Vec<Fact> {
        parse(&at("/boot/grub/grubenv"), &bytes.to_vec()).into_iter().map(|e| e.fact).collect()
    }

    #[test]
    fn a_mark_and_none() {
        assert_eq!(facts(FRESH), []);
        assert_eq!(facts(MARKED), [Fact::StartNotConfirmed]);
        assert_eq!(facts(CONFIRMED), []);
        assert_eq!(facts(SUCCESS), [Fact::StartConfirmed]);
        assert_eq!(facts(NEXT), [Fact::NextEntry { entry: "Debian>1".into() }]);
    }

    #[test]
    fn what_is_none_says_so() {
        for bytes in [&b""[..], &MARKED[..1000], &[b'#'; 1024]] {
            assert!(matches!(facts(bytes)[..], [Fact::Unreadable { .. }]), "{}", bytes.len());
        }
        // A comment, and a value that only begins so.
        let mut other = MARKED.to_vec();
        let line = other.windows(12).position(|w| w == b"recordfail=1").unwrap();
        other[line + 11] = b'0';
        assert_eq!(facts(&other), []);
    }
}
