//! Headers of version 2 (LUKS2 On-Disk Format 1.1.1): two copies of a binary header with a JSON area behind it.

use super::Reading;
use super::luks1::{text, uuid};
use crate::fs::FsError;
use model::inspection::LuksInfo;
use model::luks::{Cipher, Hash, Kdf, KeyDigest, KeySlot, LuksHeader, MOST_SLOTS};
use model::ports::ReadAt;
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256, Sha512};

/// Bytes of the binary header.
const BINARY: usize = 4096;
/// How long a copy may be, its JSON included (section 2.2): that is also where the second one may begin.
const SIZES: [u64; 9] = [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];
/// How the second copy begins.
const SECOND: &[u8] = b"SKUL\xba\xbe";
/// Where the checksum stands, and how long its field is.
const SUM: std::ops::Range<usize> = 448..512;
/// Types of tokens whose key the machine's TPM may hold: of systemd-cryptenroll, and of Clevis (which may also ask a server).
const SEALED: [&str; 2] = ["systemd-tpm2", "clevis"];
/// The longest word of a header that is shown again.
const SHOWN: usize = 60;

/// One copy, whose checksum is right.
struct Copy {
    seqid: u64,
    binary: Vec<u8>,
    json: Map<String, Value>,
}

pub(super) fn read(bytes: &dyn ReadAt) -> Result<Reading, FsError> {
    let mut why = String::new();
    let mut copies = Vec::new();
    let mut first = true;
    let places = std::iter::once((0, super::MAGIC)).chain(SIZES.map(|at| (at, SECOND)));
    for (at, magic) in places {
        match copy(bytes, at, magic) {
            Ok(Some(copy)) => copies.push(copy),
            Ok(None) => {}
            Err(FsError::Corrupt(wrong)) => {
                first &= at != 0;
                why = wrong;
            }
            Err(e) => return Err(e),
        }
    }
    let wrong = (!first).then(|| "the first copy of its LUKS header is damaged; the second one is used".to_owned());
    // Of two that are as new, the first.
    let Some(copy) = copies.into_iter().rev().max_by_key(|c| c.seqid) else { return Err(FsError::Corrupt(why)) };
    let told = Told { json: &copy.json, size: bytes.size() };
    let segments = told.crypt();
    let info = LuksInfo {
        version: 2,
        uuid: uuid(&copy.binary[168..208]),
        label: DisplayText::new(&text(&copy.binary[24..72])),
        cipher: DisplayText::new(&told.cipher()),
        sealed: told.tokens().any(|kind| SEALED.contains(&kind)),
        not_opened: None,
        open: false,
        apart: ExtentSet::new(),
    };
    let header = segments.and_then(|(number, segment)| told.header(&info.uuid, (number, segment)));
    super::reading(info, header, wrong, bytes.size())
}

/// The copy at a place; `None` where none begins there.
fn copy(bytes: &dyn ReadAt, at: u64, magic: &[u8]) -> Result<Option<Copy>, FsError> {
    let bad = |what: &str| FsError::Corrupt(format!("the copy of its LUKS header at byte {at} {what}"));
    if at.saturating_add(BINARY as u64) > bytes.size().0 {
        return Ok(None);
    }
    let binary = bytes.read_vec(ByteOffset(at), BINARY)?;
    if !binary.starts_with(magic) {
        return Ok(None);
    }
    let u64_at = |at: usize| binary[at..at + 8].try_into().map_or(0, u64::from_be_bytes);
    let (size, seqid, offset) = (u64_at(8), u64_at(16), u64_at(256));
    let known = SIZES.contains(&size) && offset == at && (at == 0 || at == size);
    if !known || size > bytes.size().0.saturating_sub(at) {
        return Err(bad("says that it is longer, or elsewhere, than it can be"));
    }
    let mut whole = bytes.read_vec(ByteOffset(at), usize::try_from(size).unwrap_or(0))?;
    let sum = whole[SUM].to_vec();
    whole[SUM].fill(0);
    let right = match text(&binary[72..104]).as_str() {
        "sha256" => sum.starts_with(&Sha256::digest(&whole)),
        "sha512" => sum.starts_with(&Sha512::digest(&whole)),
        other => return Err(bad(&format!("has a checksum that is not known: {}", shown(other)))),
    };
    if !right {
        return Err(bad("has a wrong checksum"));
    }
    let json = &whole[BINARY..];
    let end = json.iter().position(|b| *b == 0).unwrap_or(json.len());
    match serde_json::from_slice(&json[..end]) {
        Ok(Value::Object(json)) => Ok(Some(Copy { seqid, binary, json })),
        _ => Err(bad("has no JSON in it")),
    }
}

/// A word of a header in a sentence.
fn shown(word: &str) -> String {
    DisplayText::new(word).shortened(SHOWN).to_string()
}

/// Why something of a header is not used: it is of a kind that is not known.
pub(super) fn unknown(what: &str, word: &str) -> String {
    format!("its {what} is {}, which is not read by this version", shown(word))
}

/// Numbers of 64 bits are texts (section 3: JSON has no such numbers).
fn long(value: &Value, key: &str) -> Option<u64> {
    match value.get(key)? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    }
}

fn short(value: &Value, key: &str) -> Option<u32> {
    long(value, key).and_then(|n| u32::try_from(n).ok())
}

fn word<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key)?.as_str()
}

/// True where a list of numbers, written as texts, has that one.
fn lists(value: &Value, key: &str, wanted: &str) -> bool {
    value.get(key).and_then(Value::as_array).is_some_and(|list| list.iter().any(|v| v.as_str() == Some(wanted)))
}

/// Bytes of Base64 (RFC 4648, section 4), at most so many.
fn base64(value: &Value, key: &str, most: usize) -> Option<Vec<u8>> {
    let text = word(value, key)?.trim_end_matches('=').as_bytes();
    let mut out = Vec::new();
    let (mut bits, mut held) = (0u32, 0u32);
    for c in text {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(six);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xff).unwrap_or(0));
        }
        if out.len() > most {
            return None;
        }
    }
    Some(out)
}

/// What the JSON says.
struct Told<'a> {
    json: &'a Map<String, Value>,
    size: ByteLen,
}

impl<'a> Told<'a> {
    fn entries(&self, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> + use<'a> {
        self.json.get(name).and_then(Value::as_object).into_iter().flatten()
    }

    fn tokens(&self) -> impl Iterator<Item = &'a str> {
        self.entries("tokens").filter_map(|(_, t)| word(t, "type"))
    }

    fn cipher(&self) -> String {
        self.entries("segments").find_map(|(_, s)| word(s, "encryption")).map_or_else(String::new, shown)
    }

    /// The one segment that holds the data; why it is not read where that is so.
    fn crypt(&self) -> Result<(&'a String, &'a Value), String> {
        let config = self.json.get("config").unwrap_or(&Value::Null);
        let asked = config.get("requirements").and_then(|r| r.get("mandatory")).and_then(Value::as_array);
        if let Some(first) = asked.and_then(|list| list.first()) {
            let name = shown(first.as_str().unwrap_or("something"));
            return Err(match name.contains("reencrypt") {
                true => "it is being encrypted anew, and that is not finished; `cryptsetup reencrypt` finishes it"
                    .to_owned(),
                false => format!("it asks for {name}, which is not known here"),
            });
        }
        if self.entries("keyslots").any(|(_, k)| word(k, "type") == Some("reencrypt")) {
            return Err(
                "it is being encrypted anew, and that is not finished; `cryptsetup reencrypt` finishes it".to_owned()
            );
        }
        // Segments of an encryption in progress carry flags.
        let mut segments = self.entries("segments");
        let (Some(one), None) = (segments.next(), segments.next()) else {
            return Err("its data lies in several segments".to_owned());
        };
        match word(one.1, "type") {
            Some("crypt") if one.1.get("integrity").is_some() => {
                Err("its data is authenticated (dm-integrity)".to_owned())
            }
            Some("crypt") => Ok(one),
            other => Err(unknown("segment", other.unwrap_or("without a type"))),
        }
    }

    fn header(&self, uuid: &str, (number, segment): (&str, &Value)) -> Result<LuksHeader, String> {
        let broken = |what: &str| format!("its header does not tell {what}");
        let named = word(segment, "encryption").ok_or_else(|| broken("how it is encrypted"))?;
        let cipher = Cipher::named(named).ok_or_else(|| unknown("cipher", named))?;
        let start = long(segment, "offset").ok_or_else(|| broken("where its data begins"))?;
        if start == 0 {
            return Err("its header lies apart from its data".to_owned());
        }
        let sector = short(segment, "sector_size").ok_or_else(|| broken("its sectors"))?;
        let end = match word(segment, "size") {
            Some("dynamic") => {
                let rest = self.size.0.checked_sub(start).ok_or("its data would begin behind its end")?;
                start + rest / u64::from(sector.max(1)) * u64::from(sector)
            }
            _ => {
                let len = long(segment, "size").ok_or_else(|| broken("how long its data is"))?;
                start.checked_add(len).ok_or("its data would end past any disk")?
            }
        };
        let payload = Extent::between(start, end).ok_or_else(|| broken("where its data ends"))?;
        let tweak = long(segment, "iv_tweak").ok_or_else(|| broken("how its sectors are numbered"))?;
        // Of all digests those of the data's key.
        let of_data: Vec<&Value> =
            self.entries("digests").map(|(_, d)| d).filter(|d| lists(d, "segments", number)).take(MOST_SLOTS).collect();
        let digests = of_data.iter().map(|d| digest(d)).collect::<Result<Vec<_>, _>>()?;
        let mut slots = Vec::new();
        let mut unusable: Vec<DisplayText> = Vec::new();
        for (name, slot) in self.entries("keyslots").take(MOST_SLOTS) {
            let Some(at) = of_data.iter().position(|d| lists(d, "keyslots", name)) else { continue };
            match keyslot(name, slot, at) {
                Ok(read) => slots.push((short(slot, "priority").unwrap_or(1), read)),
                Err(why) => unusable.push(DisplayText::new(&format!("key slot {}: {why}", shown(name)))),
            }
        }
        // Priority 2 goes first, 0 is not tried unless it is named (section 3.2): here it comes last.
        slots.sort_by_key(|(priority, slot)| (std::cmp::Reverse(*priority), slot.number));
        // Slots that only tokens open hold keys that nobody knows.
        let slots: Vec<KeySlot> = slots.into_iter().map(|(_, slot)| slot).collect();
        let by_token = |s: &KeySlot| self.entries("tokens").any(|(_, t)| lists(t, "keyslots", &s.number.to_string()));
        if !slots.is_empty() && slots.iter().all(by_token) {
            let kinds: Vec<String> = self.tokens().map(shown).collect();
            let why = format!("all its key slots are for tokens ({}), and none for a passphrase", kinds.join(", "));
            // A recovery key's token says so, and is typed.
            let typed = |kind: &str| kind.ends_with("-recovery") || kind == "luks2-keyring";
            if !self.tokens().any(typed) {
                return Err(why);
            }
        }
        Ok(LuksHeader { uuid: uuid.to_owned(), cipher, sector, payload, tweak, slots, digests, unusable })
    }
}

fn digest(value: &Value) -> Result<KeyDigest, String> {
    let broken = || "its header does not tell what its key is known by".to_owned();
    if word(value, "type") != Some("pbkdf2") {
        return Err(unknown("digest", word(value, "type").unwrap_or("without a type")));
    }
    let hash = word(value, "hash").ok_or_else(broken)?;
    Ok(KeyDigest {
        hash: Hash::named(hash).ok_or_else(|| unknown("digest", hash))?,
        rounds: short(value, "iterations").ok_or_else(broken)?,
        salt: base64(value, "salt", 64).ok_or_else(broken)?,
        value: base64(value, "digest", 64).ok_or_else(broken)?,
    })
}

fn keyslot(name: &str, slot: &Value, digest: usize) -> Result<KeySlot, String> {
    let broken = || "it does not hold together".to_owned();
    let part = |key: &str| slot.get(key).ok_or_else(broken);
    if word(slot, "type") != Some("luks2") {
        return Err(unknown("type", word(slot, "type").unwrap_or("none")));
    }
    let (area, kdf, af) = (part("area")?, part("kdf")?, part("af")?);
    if word(area, "type") != Some("raw") || word(af, "type") != Some("luks1") {
        return Err("its area is of a kind that is not read by this version".to_owned());
    }
    let salt = base64(kdf, "salt", 64).ok_or_else(broken)?;
    let kdf = match word(kdf, "type").ok_or_else(broken)? {
        "pbkdf2" => {
            let hash = word(kdf, "hash").ok_or_else(broken)?;
            let hash = Hash::named(hash).ok_or_else(|| unknown("hash", hash))?;
            Kdf::Pbkdf2 { hash, rounds: short(kdf, "iterations").ok_or_else(broken)?, salt }
        }
        kind @ ("argon2i" | "argon2id") => Kdf::Argon2 {
            id: kind == "argon2id",
            passes: short(kdf, "time").ok_or_else(broken)?,
            memory_kib: short(kdf, "memory").ok_or_else(broken)?,
            lanes: short(kdf, "cpus").ok_or_else(broken)?,
            salt,
        },
        other => return Err(unknown("function", other)),
    };
    let named = word(area, "encryption").ok_or_else(broken)?;
    let split_by = word(af, "hash").ok_or_else(broken)?;
    let (offset, size) = (long(area, "offset").ok_or_else(broken)?, long(area, "size").ok_or_else(broken)?);
    Ok(KeySlot {
        number: name.parse().map_err(|_| broken())?,
        kdf,
        area: Extent::new(ByteOffset(offset), ByteLen(size)).ok_or_else(broken)?,
        cipher: Cipher::named(named).ok_or_else(|| unknown("cipher", named))?,
        area_key: short(area, "key_size").ok_or_else(broken)?,
        key: short(slot, "key_size").ok_or_else(broken)?,
        stripes: short(af, "stripes").ok_or_else(broken)?,
        split_by: Hash::named(split_by).ok_or_else(|| unknown("hash", split_by))?,
        digest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        // RFC 4648, section 10.
        for (text, plain) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba")] {
            let value = serde_json::json!({ "x": text });
            assert_eq!(base64(&value, "x", 8), Some(plain.as_bytes().to_vec()), "{text}");
        }
        let value = serde_json::json!({ "x": "Zm9vYmFy", "y": "Zm9v!" });
        assert_eq!((base64(&value, "x", 5), base64(&value, "y", 8), base64(&value, "z", 8)), (None, None, None));
    }
}
