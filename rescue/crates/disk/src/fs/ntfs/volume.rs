//! What the volume says of itself: `$Volume`, the log, and the image of a hibernated Windows.

use super::attribute::kind;
use super::log;
use super::names;
use super::reader::{Reader, system};
use crate::fs::FsError;
use crate::fs::way::{self, Directories};
use crate::numbers::{byte, le16};
use model::inspection::{FileKind, NtfsLog};
use model::text::DisplayText;

/// `VOLUME_FLAG_DIRTY`.
const DIRTY: u16 = 0x1;
/// The longest label.
const MOST_LABEL: u64 = 256;
/// What Windows keeps its memory in.
const IMAGE: &[u8] = b"/hiberfil.sys";
/// How much of that tells whether it does.
const IMAGE_HEAD: usize = 4096;

/// What a volume says of itself.
pub(super) struct Volume {
    pub(super) label: DisplayText,
    /// Major and minor version.
    pub(super) version: (u8, u8),
    /// It was mounted to be written to and not closed, or wants to be checked.
    pub(super) dirty: bool,
    /// Whether the log was closed.
    pub(super) log: Result<NtfsLog, String>,
    /// Whether the memory of a Windows stands on it.
    pub(super) hibernated: Result<bool, String>,
}

impl Volume {
    /// What of its state cannot be told, where that is so.
    pub(super) fn untold(&self) -> Option<String> {
        let log = self.log.as_ref().err().map(|why| format!("whether its log was closed cannot be told ({why})"));
        let image = self.hibernated.as_ref().err();
        let image = image.map(|why| format!("whether a hibernated system stands on it cannot be told ({why})"));
        log.or(image)
    }

    /// Why what its bitmap calls free may be in use all the same, where that is so.
    pub(super) fn unsettled(&self) -> Option<String> {
        match (&self.log, &self.hibernated) {
            (_, Ok(true)) => Some("the memory of a hibernated system stands on it".to_owned()),
            (Ok(NtfsLog::Open), _) => Some("its log was not closed".to_owned()),
            _ => self.untold(),
        }
    }
}

/// Reads it.
///
/// # Errors
/// [`FsError::Corrupt`] where `$Volume` does not hold together.
pub(super) fn read(reader: &Reader) -> Result<Volume, FsError> {
    let inode = reader.inode(system::VOLUME)?;
    let value = |kind: u32, most: u64| -> Result<Vec<u8>, FsError> {
        let stream = inode.stream(kind, "")?;
        Ok(stream.map(|stream| reader.read_all(&stream, most)).transpose()?.flatten().unwrap_or_default())
    };
    let label = DisplayText::new(&names::text(&value(kind::VOLUME_NAME, MOST_LABEL)?));
    let about = value(kind::VOLUME_INFORMATION, MOST_LABEL)?;
    if about.len() < 12 {
        return Err(FsError::Corrupt(format!("$Volume tells of the volume in {} bytes", about.len())));
    }
    Ok(Volume {
        label,
        version: (byte(&about, 8), byte(&about, 9)),
        dirty: le16(&about, 10) & DIRTY != 0,
        log: log::state(reader).map_err(|e| e.to_string()),
        hibernated: hibernated(reader).map_err(|e| e.to_string()),
    })
}

/// Whether the memory of a Windows stands on the volume: of one that was hibernated, or, with fast start-up, shut down.
fn hibernated(reader: &Reader) -> Result<bool, FsError> {
    let Some(found) = way::find(reader, IMAGE, false)? else { return Ok(false) };
    if Reader::kind(&found.file) != FileKind::File {
        return Ok(false);
    }
    let stream = found.file.content()?;
    // Windows makes it as large as it may get: a smaller one is none.
    if stream.size < IMAGE_HEAD as u64 {
        return Ok(false);
    }
    let mut head = vec![0; IMAGE_HEAD];
    stream.read(reader.bytes(), &reader.boot, 0, &mut head)?;
    Ok(is_image(&head))
}

/// By the signature of the image's first page (ReactOS `sdk/include/ndk/potypes.h`, `PO_MEMORY_IMAGE`; ntfs-3g
/// `libntfs-3g/volume.c`, `ntfs_volume_check_hiberfile`): `HIBR` while it is to be started from, `RSTR` while that is being done, `WAKE`
/// afterwards. Zeros are what no memory was ever kept in. Of anything else nobody knows, and it counts as one.
fn is_image(head: &[u8]) -> bool {
    let signature: Vec<u8> = head.iter().take(4).map(u8::to_ascii_uppercase).collect();
    signature != b"WAKE" && head.iter().any(|b| *b != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_told_by_its_first_page() {
        let page = |signature: &[u8]| [signature, &[0; 100]].concat();
        assert!(is_image(&page(b"HIBR")) && is_image(&page(b"hibr")) && is_image(&page(b"RSTR")));
        assert!(!is_image(&page(b"WAKE")) && !is_image(&page(b"wake")) && !is_image(&[0; 4096]));
        assert!(is_image(&page(b"\x01\0\0\0")), "unknown is not nothing");
    }
}
