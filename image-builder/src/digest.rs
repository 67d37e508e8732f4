//! SHA-256 of files, and the ids that are derived from it.

use crate::error::{BuildError, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// SHA-256 of bytes, as 64 hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    lower_hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, as 64 hexadecimal digits.
///
/// # Errors
/// When the file cannot be read.
pub fn file(path: &Path) -> Result<String> {
    let mut from = File::open(path).map_err(BuildError::io("read", path))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    loop {
        let n = from.read(&mut block).map_err(BuildError::io("read", path))?;
        if n == 0 {
            return Ok(lower_hex(&hash.finalize()));
        }
        hash.update(&block[..n]);
    }
}

fn lower_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What the ids on a disk are made from: the digests of everything on it, or chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// From inputs: each is named, so that two that swap places give another seed.
    pub fn of(inputs: &[(&str, &[u8])]) -> Self {
        let mut hash = Sha256::new();
        for (name, bytes) in inputs {
            hash.update(Sha256::digest(name.as_bytes()));
            hash.update(Sha256::digest(bytes));
        }
        Self(hash.finalize().into())
    }

    /// From the kernel's random numbers.
    ///
    /// # Errors
    /// When /dev/urandom cannot be read.
    pub fn fresh() -> Result<Self> {
        let path = Path::new("/dev/urandom");
        let mut bytes = [0; 32];
        let mut from = File::open(path).map_err(BuildError::io("read", path))?;
        from.read_exact(&mut bytes).map_err(BuildError::io("read", path))?;
        Ok(Self(bytes))
    }

    /// A GUID for a role, lower-case. Version 8 (RFC 9562, section 5.8: custom), since its bits come from a digest.
    pub fn guid(&self, role: &str) -> String {
        let mut b = self.bytes(role);
        b[6] = (b[6] & 0x0f) | 0x80;
        b[8] = (b[8] & 0x3f) | 0x80;
        let h = lower_hex(&b[..16]);
        format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..32])
    }

    /// A FAT volume id for a role.
    pub fn fat_id(&self, role: &str) -> u32 {
        let b = self.bytes(role);
        u32::from_le_bytes([b[0], b[1], b[2], b[3]])
    }

    fn bytes(&self, role: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update(role.as_bytes());
        hash.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest() {
        assert_eq!(hex(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), b"abc").unwrap();
        assert_eq!(file(&folder.path().join("f")).unwrap(), hex(b"abc"));
    }

    #[test]
    fn ids_follow_the_content_and_the_role() {
        let seed = Seed::of(&[("kernel", b"a"), ("initramfs", b"b")]);
        assert_eq!(seed, Seed::of(&[("kernel", b"a"), ("initramfs", b"b")]));
        assert_ne!(seed, Seed::of(&[("kernel", b"b"), ("initramfs", b"a")]));
        assert_ne!(seed.guid("disk"), seed.guid("store"));
        let guid = seed.guid("disk");
        assert_eq!(guid.len(), 36);
        assert_eq!(&guid[14..15], "8");
        assert!(matches!(&guid[19..20], "8" | "9" | "a" | "b"));
        assert_ne!(Seed::fresh().unwrap(), Seed::fresh().unwrap());
    }
}
