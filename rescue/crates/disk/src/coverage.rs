//! Which bytes of a volume are worth saving.

use crate::fs;
use model::coverage::{CaptureMethod, Coverage};
use model::inspection::Content;
use model::ports::ReadAt;
use model::units::{ByteLen, Extent};
use std::sync::Arc;

/// Every byte of a volume of `size` bytes, and why.
pub fn raw(size: ByteLen, why: &str) -> Coverage {
    Coverage { method: CaptureMethod::Raw, why: why.into(), used: [Extent::whole(size)].into_iter().collect() }
}

/// The bytes of a volume that a snapshot is to hold; `bytes` is the volume's window. Whatever is not proven unused is used.
pub fn of(content: &Content, bytes: Arc<dyn ReadAt>) -> Coverage {
    let size = bytes.size();
    match content {
        Content::Ext(_) | Content::Fat(_) => match fs::open(content, bytes) {
            Ok(fs) => fs.coverage(),
            Err(e) => raw(size, &format!("its allocation maps cannot be read ({e}): captured raw")),
        },
        _ => raw(size, "not known: captured raw"),
    }
}
