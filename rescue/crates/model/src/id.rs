//! Names of things: digests, snapshots, plans, volumes.

use crate::hex;
use crate::text::DisplayText;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// A SHA-256, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The digest of bytes that lie in several pieces.
    pub fn of_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut hash = Sha256::new();
        pieces.for_each(|piece| hash.update(piece));
        Self(hash.finalize().into())
    }

    /// The first `n` hexadecimal digits, for people.
    pub fn short(&self, n: usize) -> String {
        let mut s = self.to_string();
        s.truncate(n);
        s
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.short(12))
    }
}

/// Text that is not the name it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} expected, got {got:?}")]
pub struct BadName {
    /// What was wanted, in words.
    pub what: &'static str,
    /// What came.
    pub got: DisplayText,
}

impl FromStr for Digest {
    type Err = BadName;

    fn from_str(s: &str) -> Result<Self, BadName> {
        hex::decode(s).map(Self).ok_or_else(|| BadName { what: "64 hexadecimal digits", got: DisplayText::new(s) })
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() { s.collect_str(self) } else { self.0.serialize(s) }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
        } else {
            <[u8; 32]>::deserialize(d).map(Self)
        }
    }
}

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.short(12))
            }
        }

        impl FromStr for $name {
            type Err = BadName;
            fn from_str(s: &str) -> Result<Self, BadName> {
                s.parse().map(Self)
            }
        }
    };
}

digest_id!(
    /// Names a snapshot: the SHA-256 of its statement, the same in every store. People type a unique prefix of at least four digits.
    SnapshotId
);
digest_id!(
    /// Names a chunk: the SHA-256 of its plain bytes.
    ChunkId
);
digest_id!(
    /// Names a map node: the SHA-256 of its encoded bytes.
    NodeId
);
digest_id!(
    /// Names a plan: the SHA-256 of its canonical JSON. What a person approves.
    PlanId
);
digest_id!(
    /// Names a write-back that was begun: the SHA-256 of its intent record.
    IntentId
);

/// What a person means by SNAP on a command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SnapRef {
    /// The newest snapshot of this machine that is not an undo snapshot.
    Latest,
    /// The newest good one.
    LatestGood,
    /// A prefix of an id, 4 to 64 hexadecimal digits.
    Prefix(String),
}

impl FromStr for SnapRef {
    type Err = BadName;

    fn from_str(s: &str) -> Result<Self, BadName> {
        match s {
            "latest" => Ok(Self::Latest),
            "latest:good" => Ok(Self::LatestGood),
            _ if (4..=64).contains(&s.len()) && s.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')) => {
                Ok(Self::Prefix(s.to_owned()))
            }
            _ => Err(BadName {
                what: "latest, latest:good, or 4 to 64 digits of a snapshot id",
                got: DisplayText::new(s),
            }),
        }
    }
}

impl fmt::Display for SnapRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str("latest"),
            Self::LatestGood => f.write_str("latest:good"),
            Self::Prefix(p) => f.write_str(p),
        }
    }
}

/// The number of a disk within one inspection: the `0` of `d0`. Never stored as an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DiskNo(pub u16);

impl fmt::Display for DiskNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0)
    }
}

/// Most components above a partition, and the longest of them: LVM names have at most 127 bytes.
const MOST_LAYERS: usize = 8;
const LONGEST_LAYER: usize = 128;

/// The name of what lies encrypted in a LUKS volume.
pub const LUKS: &str = "luks";

/// A volume by path: `d0` (a file system straight on the disk), `d0/p3`, and what layers make of these: `d0/p3/vg0/root`, `d0/p3/luks`. Where
/// several volumes hold it, the first of them names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumePath {
    disk: DiskNo,
    /// Partition number as the table has it (GPT: entry index from 1; MBR: 1 to 4, logical from 5).
    partition: Option<u32>,
    /// What stands above: names of `[0-9A-Za-z+_.-]`, the first of which could not be taken for a partition.
    layers: Vec<String>,
}

impl VolumePath {
    /// The whole disk as one volume.
    pub fn whole(disk: DiskNo) -> Self {
        Self { disk, partition: None, layers: Vec::new() }
    }

    /// Partition `number` of a disk.
    pub fn partition(disk: DiskNo, number: u32) -> Self {
        Self { disk, partition: Some(number), layers: Vec::new() }
    }

    /// A volume that layers make of this one, by the names they give it; `None` where that is no path.
    pub fn above(&self, names: &[&str]) -> Option<Self> {
        let layers: Vec<String> = self.layers.iter().cloned().chain(names.iter().map(|n| (*n).to_owned())).collect();
        let first = self.partition.is_some() || layers.first().is_none_or(|l| number(l).is_none());
        let sound = first && layers.len() <= MOST_LAYERS && layers.iter().all(|l| is_layer(l));
        sound.then(|| Self { layers, ..self.clone() })
    }

    /// The same on another disk.
    pub fn on(&self, disk: DiskNo) -> Self {
        Self { disk, ..self.clone() }
    }

    /// The disk it lies on, or the first of them.
    pub fn disk(&self) -> DiskNo {
        self.disk
    }

    /// The partition number; `None` where the volume is no partition.
    pub fn number(&self) -> Option<u32> {
        self.partition.filter(|_| self.layers.is_empty())
    }

    /// True where it is the whole disk.
    pub fn is_whole(&self) -> bool {
        self.partition.is_none() && self.layers.is_empty()
    }

    /// True where layers make it of others.
    pub fn is_layered(&self) -> bool {
        !self.layers.is_empty()
    }

    /// True where layers make it of that one, or of that one first.
    pub fn lies_on(&self, beneath: &Self) -> bool {
        let same = self.disk == beneath.disk && self.partition == beneath.partition;
        same && self.layers.len() > beneath.layers.len() && self.layers.starts_with(&beneath.layers)
    }

    /// The names that layers gave it.
    pub fn layers(&self) -> &[String] {
        &self.layers
    }
}

/// A partition number as a path has it.
fn number(part: &str) -> Option<u32> {
    part.strip_prefix('p')?.parse().ok()
}

fn is_layer(name: &str) -> bool {
    let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'+' | b'_' | b'.' | b'-');
    (1..=LONGEST_LAYER).contains(&name.len()) && !matches!(name, "." | "..") && name.bytes().all(known)
}

impl fmt::Display for VolumePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.disk)?;
        if let Some(n) = self.partition {
            write!(f, "/p{n}")?;
        }
        self.layers.iter().try_for_each(|name| write!(f, "/{name}"))
    }
}

impl FromStr for VolumePath {
    type Err = BadName;

    fn from_str(s: &str) -> Result<Self, BadName> {
        let parse = || {
            let mut parts = s.split('/').peekable();
            let disk = DiskNo(parts.next()?.strip_prefix('d')?.parse().ok()?);
            let beneath = match parts.peek().and_then(|p| number(p)) {
                None => Self::whole(disk),
                Some(n) => {
                    parts.next();
                    Self::partition(disk, n)
                }
            };
            // A single name would be a partition that is written wrong; layers give two, or what they are and a name, or are known by it.
            let names: Vec<&str> = parts.collect();
            if names.len() == 1 && names != [LUKS] { None } else { beneath.above(&names) }
        };
        parse().ok_or_else(|| BadName { what: "a volume like d0, d0/p3 or d0/p3/vg0/root", got: DisplayText::new(s) })
    }
}

impl TryFrom<String> for VolumePath {
    type Error = BadName;
    fn try_from(s: String) -> Result<Self, BadName> {
        s.parse()
    }
}

impl From<VolumePath> for String {
    fn from(v: VolumePath) -> Self {
        v.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for s in [
            "d0",
            "d12/p3",
            "d0/luks",
            "d0/p3/luks",
            "d0/p3/luks/vg0/root",
            "d0/p3/vg0/root",
            "d0/vg.0/home-1",
            "d1/p2/md/p3",
        ] {
            assert_eq!(s.parse::<VolumePath>().expect("a volume").to_string(), s);
        }
        for s in
            ["", "d", "p3", "d0/3", "d0/p3/x", "d0/p-1", "d0/p3/vg0/", "d0/p3/../root", "d0/p3/vg0/a b", "d0//root"]
        {
            assert!(s.parse::<VolumePath>().is_err(), "{s}");
        }
        let layered: VolumePath = "d0/p3/vg0/root".parse().expect("a volume");
        assert_eq!((layered.number(), layered.is_whole(), layered.is_layered()), (None, false, true));
        assert_eq!(layered.on(DiskNo(2)).to_string(), "d2/p3/vg0/root");
        let beneath: VolumePath = "d0/p3".parse().expect("a volume");
        assert!(layered.lies_on(&beneath) && !beneath.lies_on(&beneath) && !beneath.lies_on(&layered));
        assert!(!layered.lies_on(&VolumePath::whole(DiskNo(0))), "it lies on a partition of that");
        assert_eq!(VolumePath::whole(DiskNo(0)).above(&["p1", "x"]), None, "that would be a partition");
        let d = Digest::of(b"");
        assert_eq!(d.to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(d.to_string().parse::<Digest>(), Ok(d));
        assert!("E3b0".repeat(16).parse::<Digest>().is_err());
    }
}
