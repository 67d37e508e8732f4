//! What the header of an encrypted volume says of who may open it (LUKS2 On-Disk Format Specification 1.1.1, sections 2.1 and 3.3).

use crate::fs::FsError;
use model::ports::ReadAt;
use model::units::ByteOffset;

/// Bytes of the binary header, behind which the JSON area lies.
const BINARY: u64 = 4096;
/// The largest header that the specification allows, with its JSON area.
const MOST: u64 = 4 << 20;
/// Types of tokens whose key the machine's TPM may hold: of systemd-cryptenroll, and of Clevis (which may also ask a server).
const TOKENS: [&[u8]; 2] = [b"\"systemd-tpm2\"", b"\"clevis\""];

/// True where a token in a LUKS2 header is of a type that the machine's TPM may open. Of the JSON only these names are looked for: they
/// stand nowhere else in it.
pub(super) fn is_sealed(bytes: &dyn ReadAt) -> Result<bool, FsError> {
    let head = bytes.read_vec(ByteOffset(0), 16)?;
    let version = u16::from_be_bytes([head[6], head[7]]);
    let size = head[8..16].try_into().map_or(0, u64::from_be_bytes).min(MOST).min(bytes.size().0);
    if version != 2 || size <= BINARY {
        return Ok(false);
    }
    let json = bytes.read_vec(ByteOffset(BINARY), usize::try_from(size - BINARY).unwrap_or(0))?;
    Ok(TOKENS.iter().any(|token| json.windows(token.len()).any(|part| part == *token)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version: u16, size: u64, json: &str) -> Vec<u8> {
        let mut out = vec![0; 16384];
        out[..6].copy_from_slice(b"LUKS\xba\xbe");
        out[6..8].copy_from_slice(&version.to_be_bytes());
        out[8..16].copy_from_slice(&size.to_be_bytes());
        out[4096..4096 + json.len()].copy_from_slice(json.as_bytes());
        out
    }

    #[test]
    fn tokens_tell() {
        let json = |kind: &str| format!(r#"{{"keyslots":{{}},"tokens":{{"0":{{"type":"{kind}","keyslots":["1"]}}}}}}"#);
        let sealed = |version, size, kind: &str| is_sealed(&header(version, size, &json(kind))).unwrap();
        assert!(sealed(2, 16384, "systemd-tpm2") && sealed(2, 16384, "clevis"));
        assert!(!sealed(2, 16384, "luks2-keyring") && !sealed(2, 16384, "systemd-fido2"));
        // The first version has no tokens; a size that is none is read no further than there is.
        assert!(!sealed(1, 16384, "clevis") && !sealed(2, 4096, "clevis") && !sealed(2, 0, "clevis"));
        assert!(sealed(2, u64::MAX, "clevis"));
    }
}
