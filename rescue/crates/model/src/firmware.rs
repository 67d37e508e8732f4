//! What a machine's firmware keeps about starting it: UEFI's boot variables (UEFI specification 2.10, sections 3.1 and 3.3). They
//! lie in the machine, not on its disks, and name the boot loaders on its EFI system partitions.

use crate::text::DisplayText;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;

/// The attributes that the specification gives boot entries and their order (table 3.1): kept without power, seen while booting and at
/// run time. Nothing with others is ever written.
pub const BOOT_ATTRIBUTES: u32 = 7;
/// Most bytes of one variable that is looked at.
pub const MOST_VALUE: usize = 16 << 10;
/// Most variables with the last words of kernels that are looked at: of one kernel some tens.
pub const MOST_CRASHES: usize = 1024;
/// Most boot entries that are looked at.
pub const MOST_ENTRIES: usize = 256;

/// The bytes of a variable; as text, hexadecimal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Value(pub Vec<u8>);

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::hex::encode(&self.0))
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&crate::hex::encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let text = String::deserialize(deserializer)?;
        let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(crate::hex::decode::<1>).map(|[b]| b);
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let bytes: Option<Vec<u8>> = pairs.iter().map(|pair| byte(pair)).collect();
        match bytes {
            Some(bytes) if rest.is_empty() && bytes.len() <= MOST_VALUE => Ok(Self(bytes)),
            _ => Err(D::Error::custom("not the bytes of a variable")),
        }
    }
}

/// A variable of the firmware, of the vendor `EFI_GLOBAL_VARIABLE`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name, for example `Boot0001`.
    pub name: String,
    /// `EFI_VARIABLE_*` (section 8.2.1).
    pub attributes: u32,
    /// Its bytes.
    pub value: Value,
}

/// What the firmware starts, and in which order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BootSettings {
    /// `BootOrder`: numbers of entries. Some may be of entries that there are not.
    pub order: Vec<u16>,
    /// `BootNext`: what is started the next time only.
    pub next: Option<u16>,
    /// `BootCurrent`: what was started this time.
    pub current: Option<u16>,
    /// `OsIndications`: what the system asked the firmware for.
    pub os_indications: Option<u64>,
    /// `Boot####`, by rising number.
    pub entries: Vec<BootEntry>,
}

/// A boot entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootEntry {
    /// Its number.
    pub number: u16,
    /// The attributes of its variable.
    pub attributes: u32,
    /// Its bytes, as the firmware has them: an `EFI_LOAD_OPTION` (section 3.1.3).
    pub value: Value,
    /// What they mean, or why that cannot be told.
    pub option: Result<LoadOption, DisplayText>,
}

/// What a boot entry means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadOption {
    /// The firmware tries it (`LOAD_OPTION_ACTIVE`).
    pub active: bool,
    /// Its name in the firmware's menu.
    pub label: DisplayText,
    /// The unique GUID of the GPT partition that it starts from, lower-case; `None` where it starts from anything else.
    pub partition: Option<String>,
    /// The file that it starts, as the firmware writes paths (`\EFI\debian\shimx64.efi`).
    pub file: Option<DisplayText>,
    /// Where in the entry's bytes the partition's GUID stands, 16 of them; absent in snapshots made before this was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid_at: Option<u32>,
}

impl BootSettings {
    /// The entry of that number.
    pub fn entry(&self, number: u16) -> Option<&BootEntry> {
        self.entries.iter().find(|e| e.number == number)
    }

    /// The entries that start from one of these partitions.
    pub fn of<'a>(&'a self, partitions: &'a BTreeSet<String>) -> impl Iterator<Item = &'a BootEntry> {
        self.entries.iter().filter(|e| e.partition().is_some_and(|id| partitions.contains(id)))
    }

    /// The value of a variable as far as entries and their order go: `Boot####` or `BootOrder`.
    pub fn value(&self, name: &str) -> Option<Value> {
        match number_of(name) {
            Some(number) => self.entry(number).map(|e| e.value.clone()),
            None if name == ORDER && !self.order.is_empty() => Some(order_value(&self.order)),
            None => None,
        }
    }
}

impl BootEntry {
    /// The GUID of the partition it starts from.
    pub fn partition(&self) -> Option<&str> {
        self.option.as_ref().ok()?.partition.as_deref()
    }

    /// What it is, for people.
    pub fn says(&self) -> DisplayText {
        match &self.option {
            Ok(LoadOption { label, file: Some(file), .. }) => DisplayText::new(&format!("\"{label}\" ({file})")),
            Ok(LoadOption { label, .. }) => DisplayText::new(&format!("\"{label}\"")),
            Err(why) => DisplayText::new(&format!("not understood: {why}")),
        }
    }
}

/// The variable that holds the order.
pub const ORDER: &str = "BootOrder";

/// The name of an entry's variable.
pub fn name_of(number: u16) -> String {
    format!("Boot{number:04X}")
}

/// The number of an entry, by the name of its variable: `Boot` and four digits, capitals.
pub fn number_of(name: &str) -> Option<u16> {
    let digits = name.strip_prefix("Boot").filter(|d| d.len() == 4)?;
    let number = u16::from_str_radix(digits, 16).ok()?;
    (name_of(number) == name).then_some(number)
}

/// The bytes of `BootOrder`.
pub fn order_value(order: &[u16]) -> Value {
    Value(order.iter().flat_map(|n| n.to_le_bytes()).collect())
}

/// A variable that is written (or removed), once the volumes hold what they are to hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableWrite {
    /// Its name: `Boot####` or `BootOrder`.
    pub name: String,
    /// What it holds now. Where it holds anything else by then, it is left alone.
    pub before: Option<Value>,
    /// What it is to hold.
    pub after: Option<Value>,
    /// For people.
    pub says: DisplayText,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers() {
        assert_eq!((name_of(0x1f), number_of("Boot001F")), ("Boot001F".to_owned(), Some(0x1f)));
        for other in ["Boot001f", "Boot01F", "Boot0001F", "Boot+001", "BootOrder", "BootNext", "Boot"] {
            assert_eq!(number_of(other), None, "{other}");
        }
        assert_eq!(order_value(&[0, 0x2001]).0, [0, 0, 1, 0x20]);
    }

    #[test]
    fn values_are_text() {
        let value = Value(vec![0, 0xab, 7]);
        assert_eq!(serde_json::to_string(&value).unwrap(), "\"00ab07\"");
        assert_eq!(serde_json::from_str::<Value>("\"00ab07\"").unwrap(), value);
        for bad in ["\"0\"", "\"0A\"", "\"zz\"", "\"é\"", "7"] {
            assert!(serde_json::from_str::<Value>(bad).is_err(), "{bad}");
        }
        let long = format!("\"{}\"", "00".repeat(MOST_VALUE + 1));
        assert!(serde_json::from_str::<Value>(&long).is_err());
    }
}
