//! Writes the archive a Linux kernel unpacks as its initramfs: cpio "newc".
//!
//! Format: kernel documentation, driver-api/early-userspace/buffer-format.rst. Entries are sorted by path, owned by root
//! and all have one time, so that the same files give the same bytes.

use std::collections::BTreeMap;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder, mode 0755.
    Folder,
    /// A file.
    File {
        /// Its contents.
        bytes: Vec<u8>,
        /// Whether it is a program (0755) or data (0644).
        program: bool,
    },
    /// A character device, mode 0600.
    Device {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}

/// An archive in the making. Paths have no leading `/`; parent folders are added by themselves.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    entries: BTreeMap<String, Node>,
}

const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;
const S_IFCHR: u32 = 0o020_000;

impl Archive {
    /// Adds an entry, and its parent folders.
    pub fn add(&mut self, path: &str, node: Node) {
        for (at, _) in path.match_indices('/') {
            self.entries.entry(path[..at].to_owned()).or_insert(Node::Folder);
        }
        self.entries.insert(path.to_owned(), node);
    }

    /// The entries, by path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.entries.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The archive's bytes; every entry has this modification time (seconds since 1970).
    pub fn to_bytes(&self, time: u32) -> Vec<u8> {
        let mut out = Vec::new();
        // A parent sorts before its children: it is a prefix of them.
        for (number, (path, node)) in (1_u32..).zip(&self.entries) {
            let (mode, links, device, body) = match node {
                Node::Folder => (S_IFDIR | 0o755, 2, (0, 0), &[][..]),
                Node::File { bytes, program } => {
                    (S_IFREG | if *program { 0o755 } else { 0o644 }, 1, (0, 0), &bytes[..])
                }
                Node::Device { major, minor } => (S_IFCHR | 0o600, 1, (*major, *minor), &[][..]),
            };
            entry(&mut out, path, Header { number, mode, links, time, device }, body);
        }
        entry(&mut out, "TRAILER!!!", Header { number: 0, mode: 0, links: 1, time: 0, device: (0, 0) }, &[]);
        out
    }
}

struct Header {
    number: u32,
    mode: u32,
    links: u32,
    time: u32,
    device: (u32, u32),
}

fn entry(out: &mut Vec<u8>, path: &str, h: Header, body: &[u8]) {
    let (major, minor) = h.device;
    let fields = [
        u64::from(h.number),
        u64::from(h.mode),
        0, // uid
        0, // gid
        u64::from(h.links),
        u64::from(h.time),
        body.len() as u64,
        0, // device the file lies on
        0,
        u64::from(major),
        u64::from(minor),
        path.len() as u64 + 1,
        0, // checksum, of the "crc" variant only
    ];
    out.extend(b"070701");
    for field in fields {
        out.extend(format!("{field:08X}").bytes());
    }
    out.extend(path.bytes());
    out.push(0);
    pad(out);
    out.extend(body);
    pad(out);
}

/// Header plus name, and body, each end on a multiple of four.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn sample() -> Archive {
        let mut archive = Archive::default();
        archive.add("bin/holdfast", Node::File { bytes: b"program".to_vec(), program: true });
        archive.add("etc/holdfast/image.json", Node::File { bytes: b"{}\n".to_vec(), program: false });
        archive.add("dev/console", Node::Device { major: 5, minor: 1 });
        archive.add("proc", Node::Folder);
        archive
    }

    #[test]
    fn parents_come_first_and_once() {
        let archive = sample();
        let paths: Vec<&str> = archive.entries().map(|(p, _)| p).collect();
        assert_eq!(
            paths,
            ["bin", "bin/holdfast", "dev", "dev/console", "etc", "etc/holdfast", "etc/holdfast/image.json", "proc"]
        );
    }

    #[test]
    fn the_first_header_is_as_documented() {
        let bytes = sample().to_bytes(0x1234_5678);
        assert_eq!(&bytes[..14], b"07070100000001");
        assert_eq!(&bytes[14..22], b"000041ED");
        assert_eq!(&bytes[46..54], b"12345678");
        assert_eq!(&bytes[110..114], b"bin\0");
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn the_order_of_adding_does_not_show() {
        let mut other = Archive::default();
        let ours = sample();
        let mut entries: Vec<_> = ours.entries().collect();
        entries.reverse();
        for (path, node) in entries {
            other.add(path, node.clone());
        }
        // Folders that were there keep being folders.
        assert_eq!(other.to_bytes(7), ours.to_bytes(7));
    }

    #[test]
    fn gnu_cpio_reads_it_as_meant() {
        let cpio = crate::tool::find("cpio").expect("this test needs the Debian package cpio");
        let mut child =
            Command::new(cpio).args(["-itv", "--quiet"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &sample().to_bytes(0)).unwrap();
        let listing = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert!(listing.contains("crw-------   1 root     root       5,   1"), "{listing}");
        assert!(listing.contains("-rwxr-xr-x   1 root     root            7"), "{listing}");
    }
}
