//! GRUB's environment: 1024 bytes, a line that names it, `key=value` lines, padded with `#` (GRUB `include/grub/lib/envblk.h`,
//! `grub-core/lib/envblk.c`). GRUB writes it below the file system, so that the file's own times tell nothing.
//!
//! `recordfail=1` is put there before a kernel is started (`util/grub.d/00_header.in`, where the distribution asks for it), and taken
//! away by `grub-common.service` once the system is up, or has woken. `boot_success`, as Fedora has it, is 0 on every machine that nobody
//! logged in to: it tells nothing.

use super::bytes::head;
use super::{evidence, unreadable};
use model::evidence::{Evidence, Fact, Origin};
use model::ports::ReadAt;

/// Its length, always.
const LEN: u64 = 1024;
const BEGINS: &[u8] = b"# GRUB Environment Block\n";

/// Looks for the mark of a start that nobody confirmed.
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
    let marked = bytes.split(|b| *b == b'\n').any(|line| line == b"recordfail=1");
    let says = "the boot loader noted a start, and the system did not confirm since that it came up";
    marked.then(|| evidence(origin, Fact::StartNotConfirmed, says, None)).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    /// As `grub-editenv` 2.06 wrote them: `create`; then `set saved_entry=0 recordfail=1`; then `unset recordfail`.
    const FRESH: &[u8] = include_bytes!("../../tests/fixtures/grubenv-fresh");
    const MARKED: &[u8] = include_bytes!("../../tests/fixtures/grubenv-recordfail");
    const CONFIRMED: &[u8] = include_bytes!("../../tests/fixtures/grubenv-confirmed");

    fn facts(bytes: &[u8]) -> Vec<Fact> {
        parse(&at("/boot/grub/grubenv"), &bytes.to_vec()).into_iter().map(|e| e.fact).collect()
    }

    #[test]
    fn a_mark_and_none() {
        assert_eq!(facts(FRESH), []);
        assert_eq!(facts(MARKED), [Fact::StartNotConfirmed]);
        assert_eq!(facts(CONFIRMED), []);
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
