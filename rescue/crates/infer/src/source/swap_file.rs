//! A file that is a swap area: its first page ends with the same signature as a swap partition's, and hibernation replaces it the same way
//! (kernel `include/linux/swap.h`, `union swap_header`; `kernel/power/swap.c`, `mark_swapfiles`).

use super::bytes::head;
use super::{evidence, unreadable};
use crate::want::SWAP_PAGE;
use model::evidence::{Evidence, Fact, Origin};
use model::ports::ReadAt;

/// Where the signature stands, in pages of 4 KiB.
const SIGNATURE: std::ops::Range<usize> = 4086..4096;

/// Reads the first page.
pub(super) fn parse(origin: &Origin, file: &dyn ReadAt) -> Vec<Evidence> {
    let bytes = match head(file, SWAP_PAGE) {
        Ok(bytes) => bytes,
        Err(e) => return vec![unreadable(origin, "a swap file", &e.to_string())],
    };
    let (hibernated, says) = match bytes.get(SIGNATURE) {
        Some(b"SWAPSPACE2") => (false, "no hibernated system stands in the swap file"),
        Some(s) if s.starts_with(b"S1SUSPEND") || s.starts_with(b"ULSUSPEND") => {
            (true, "the memory of a hibernated system stands in the swap file")
        }
        // Pages of another size, or no swap area.
        _ => return Vec::new(),
    };
    vec![evidence(origin, Fact::SwapState { hibernated }, says, None)]
}

#[cfg(test)]
mod tests {
    use super::super::test::at;
    use super::*;

    #[test]
    fn the_signature_at_the_end_of_its_first_page() {
        let told = |signature: &[u8]| {
            let mut page = vec![0; 8192];
            page[SIGNATURE][..signature.len()].copy_from_slice(signature);
            parse(&at("/swapfile"), &page).into_iter().map(|e| e.fact).collect::<Vec<_>>()
        };
        assert_eq!(told(b"SWAPSPACE2"), [Fact::SwapState { hibernated: false }]);
        assert_eq!(told(b"S1SUSPEND\0"), [Fact::SwapState { hibernated: true }]);
        assert_eq!(told(b""), []);
        assert_eq!(parse(&at("/swapfile"), &b"S1SUSPEND".to_vec()), []);
    }
}
