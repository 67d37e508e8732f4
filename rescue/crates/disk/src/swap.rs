//! Linux swap areas (kernel `include/linux/swap.h`, `union swap_header`; `kernel/power/swap.c` for hibernation).

use crate::fs::FsError;
use crate::numbers::uuid_text;
use model::inspection::SwapInfo;
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::ByteOffset;

/// Page sizes Linux runs with; the signature stands in the last ten bytes of the first page.
pub(crate) const PAGES: [u32; 5] = [4096, 8192, 16_384, 32_768, 65_536];
/// The header's fields begin here, whatever the page size (`bootbits` before them).
const FIELDS_AT: usize = 1024;

/// What the ten bytes say.
enum Kind {
    /// `SWAPSPACE2`: with a header of version 1.
    New,
    /// `SWAP-SPACE`: a bitmap, no UUID. Linux 2.6.37 was the last to use it.
    Old,
    /// A hibernation image: suspend to disk, user space suspend, TuxOnIce.
    Image,
}

fn kind(signature: &[u8]) -> Option<Kind> {
    match signature {
        b"SWAPSPACE2" => Some(Kind::New),
        b"SWAP-SPACE" => Some(Kind::Old),
        s if s.starts_with(b"S1SUSPEND") || s.starts_with(b"S2SUSPEND") || s.starts_with(b"ULSUSPEND") => {
            Some(Kind::Image)
        }
        s if s.starts_with(b"LINHIB0001") || s.starts_with(b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c") => Some(Kind::Image),
        _ => None,
    }
}

/// True for the last ten bytes of the first page of swap space.
pub(crate) fn is_signature(bytes: &[u8]) -> bool {
    kind(bytes).is_some()
}

/// The swap area on a volume, or `None`. The second value says what is wrong with it, where something is.
///
/// # Errors
/// [`FsError::Io`] where the first page cannot be read.
pub fn identify(bytes: &dyn ReadAt) -> Result<Option<(SwapInfo, Option<String>)>, FsError> {
    for page in PAGES {
        if bytes.size().0 < u64::from(page) {
            break;
        }
        let signature = bytes.read_vec(ByteOffset(u64::from(page) - 10), 10)?;
        let Some(kind) = kind(&signature) else { continue };
        let head = bytes.read_vec(ByteOffset(0), FIELDS_AT + 44)?;
        let u32_at = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let (version, last_page) = (u32_at(FIELDS_AT), u32_at(FIELDS_AT + 4));
        let has_fields = version == 1 && !matches!(kind, Kind::Old);
        let wrong = match kind {
            Kind::New if version != 1 => Some(format!("its swap header has version {version}, not 1")),
            _ if has_fields && (u64::from(last_page) + 1) * u64::from(page) > bytes.size().0 => Some(format!(
                "its swap header counts {} pages of {page} bytes on a volume of {} bytes",
                u64::from(last_page) + 1,
                bytes.size().0
            )),
            _ => None,
        };
        let uuid = &head[FIELDS_AT + 12..FIELDS_AT + 28];
        let label = &head[FIELDS_AT + 28..FIELDS_AT + 44];
        let label = &label[..label.iter().position(|b| *b == 0).unwrap_or(label.len())];
        let info = SwapInfo {
            uuid: (has_fields && uuid.iter().any(|b| *b != 0)).then(|| uuid_text(uuid)),
            label: if has_fields { DisplayText::from_bytes(label) } else { DisplayText::default() },
            page_size: page,
            hibernated: matches!(kind, Kind::Image),
        };
        return Ok(Some((info, wrong)));
    }
    Ok(None)
}
