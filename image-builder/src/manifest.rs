//! What an image says about itself: every file, its size, its digest and the package it came from.

use crate::digest;
use crate::package::Origin;
use serde::{Deserialize, Serialize};

/// Version of these schemas.
pub const SCHEMA: u32 = 1;

/// A file of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Path in the image, without a leading `/`.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Package and version; ours are built from the workspace.
    pub origin: Origin,
}

impl FileRecord {
    /// Describes a file.
    pub fn of(path: &str, bytes: &[u8], origin: &Origin) -> Self {
        Self { path: path.to_owned(), size: bytes.len() as u64, sha256: digest::hex(bytes), origin: origin.clone() }
    }
}

/// A kernel module in the pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRecord {
    /// Name.
    pub name: String,
    /// Size in bytes, uncompressed.
    pub size: u64,
    /// SHA-256 of the uncompressed module.
    pub sha256: String,
}

/// The manifest in the initramfs: `/etc/holdfast/image.json`. It lists every other file beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Version of Holdfast.
    pub version: String,
    /// The kernel's release.
    pub kernel: String,
    /// The kernel's package.
    pub kernel_origin: Origin,
    /// Files, by path.
    pub files: Vec<FileRecord>,
    /// Modules in the pack, by name.
    pub modules: Vec<ModuleRecord>,
    /// Optional modules that this kernel does not have.
    pub absent_modules: Vec<String>,
}

/// A partition of a USB image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecord {
    /// Number in the table.
    pub number: u32,
    /// Unique GUID.
    pub guid: String,
    /// Type GUID.
    pub type_id: String,
    /// First byte.
    pub start: u64,
    /// Length in bytes.
    pub len: u64,
}

/// The manifest beside an output: `FILE.manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputManifest {
    /// [`SCHEMA`].
    pub schema: u32,
    /// `usb`, `netboot` or `initramfs`.
    pub kind: String,
    /// Size and SHA-256 of the output, where it is one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<FileRecord>,
    /// The disk's GUID, on a USB image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk_guid: Option<String>,
    /// Partitions, on a USB image.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub partitions: Vec<PartitionRecord>,
    /// Files beside the initramfs: kernel, loaders, their settings.
    pub files: Vec<FileRecord>,
    /// What the initramfs holds.
    pub initramfs: Manifest,
}

/// As JSON for people and programs: indented, ending in a newline.
pub fn to_json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("manifests hold strings and numbers only");
    text.push(b'\n');
    text
}

/// Where files of our own come from.
pub fn own_origin() -> Origin {
    Origin { package: "holdfast".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}
