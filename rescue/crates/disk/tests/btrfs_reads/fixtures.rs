//! The images that are kept (`tests/fixtures/btrfs/make.sh`), in memory without their holes.

use disk::fs::{FileSystem, btrfs};
use model::inspection::{BtrfsInfo, Content};
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset};
use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Those that are kept of file systems on one device.
pub(crate) const NAMES: [&str; 4] = ["today", "before", "mixed", LATE];
/// The one of them with features that the btrfs-progs of Debian 12 neither make nor check.
pub(crate) const LATE: &str = "late";
/// Those of file systems on several (`several.sh`), each device behind the other.
pub(crate) const SEVERAL: [&str; 3] = ["mirror", "stripes", "ten"];
const BLOCK: usize = 4096;

/// An image: blocks that are not zero.
#[derive(Clone)]
pub(crate) struct Image {
    size: u64,
    blocks: BTreeMap<u64, Arc<[u8]>>,
}

impl ReadAt for Image {
    fn size(&self) -> ByteLen {
        ByteLen(self.size)
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        let mut done = 0;
        while done < buf.len() {
            let place = at.0 + done as u64;
            let within = usize::try_from(place % BLOCK as u64).unwrap();
            let n = (BLOCK - within).min(buf.len() - done);
            match self.blocks.get(&(place / BLOCK as u64)) {
                Some(block) => buf[done..done + n].copy_from_slice(&block[within..within + n]),
                None => buf[done..done + n].fill(0),
            }
            done += n;
        }
        Ok(())
    }
}

impl Image {
    fn from_bytes(mut from: impl Read) -> Self {
        let (mut size, mut blocks) = (0, BTreeMap::new());
        let mut piece = vec![0; 1 << 20];
        loop {
            let mut n = 0;
            while n < piece.len() {
                match from.read(&mut piece[n..]).unwrap() {
                    0 => break,
                    more => n += more,
                }
            }
            if n == 0 {
                return Self { size, blocks };
            }
            for (nth, block) in (0u64..).zip(piece[..n].chunks(BLOCK)) {
                if block.iter().any(|b| *b != 0) {
                    let mut block = block.to_vec();
                    block.resize(BLOCK, 0);
                    blocks.insert(size / BLOCK as u64 + nth, block.into());
                }
            }
            size += n as u64;
        }
    }

    /// One that a tool made.
    pub(crate) fn read(path: &Path) -> Self {
        Self::from_bytes(std::fs::File::open(path).unwrap())
    }

    /// Writes over bytes of it.
    pub(crate) fn put(&mut self, at: u64, bytes: &[u8]) {
        for (nth, byte) in (at..).zip(bytes) {
            let block = self.blocks.entry(nth / BLOCK as u64).or_insert_with(|| vec![0; BLOCK].into());
            Arc::make_mut(block)[usize::try_from(nth % BLOCK as u64).unwrap()] = *byte;
        }
    }

    /// Several, one behind the other.
    pub(crate) fn joined(parts: &[Self]) -> Self {
        let mut whole = Self { size: 0, blocks: BTreeMap::new() };
        for part in parts {
            let first = whole.size / BLOCK as u64;
            whole.blocks.extend(part.blocks.iter().map(|(n, block)| (first + n, block.clone())));
            whole.size += part.size;
        }
        whole
    }

    /// A part of it, by itself.
    pub(crate) fn part(&self, from: u64, len: u64) -> Self {
        let inside = self.blocks.range(from / BLOCK as u64..(from + len) / BLOCK as u64);
        let blocks = inside.map(|(n, block)| (n - from / BLOCK as u64, block.clone())).collect();
        Self { size: len, blocks }
    }

    /// The devices that it holds, one behind the other, as their superblocks say how long they are.
    pub(crate) fn devices(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut at = 0;
        while at < self.size {
            let len = u64::from_le_bytes(self.get(at + (64 << 10) + 0xd1, 8).try_into().unwrap());
            all.push(self.part(at, len));
            at += len;
        }
        all
    }

    /// Bytes of it.
    pub(crate) fn get(&self, at: u64, len: usize) -> Vec<u8> {
        self.read_vec(ByteOffset(at), len).unwrap()
    }

    /// Writes over bytes of its superblock, and sums it anew.
    pub(crate) fn patch_superblock(&mut self, at: u64, bytes: &[u8]) {
        self.put((64 << 10) + at, bytes);
        self.sum(64 << 10, BLOCK);
    }

    /// Sums a block anew (CRC-32C).
    pub(crate) fn sum(&mut self, at: u64, len: usize) {
        let sum = crc32c::crc32c(&self.get(at, len)[32..]);
        self.put(at, &sum.to_le_bytes());
    }

    /// Its blocks that are not zero.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = u64> + '_ {
        self.blocks.keys().map(|n| n * BLOCK as u64)
    }

    /// A sparse file of it.
    pub(crate) fn write(&self, path: &Path) {
        let file = std::fs::File::create(path).unwrap();
        file.set_len(self.size).unwrap();
        for (n, block) in &self.blocks {
            file.write_all_at(block, n * BLOCK as u64).unwrap();
        }
    }

    /// As something to read.
    pub(crate) fn bytes(&self) -> Arc<dyn ReadAt> {
        Arc::new(self.clone())
    }

    /// What it says of itself.
    pub(crate) fn info(&self) -> BtrfsInfo {
        btrfs::identify(&self.bytes()).unwrap().unwrap()
    }

    /// What a look finds on it.
    pub(crate) fn content(&self) -> Content {
        Content::Btrfs(self.info())
    }

    /// Opens it.
    pub(crate) fn open(&self) -> Box<dyn FileSystem> {
        disk::fs::open(&self.content(), self.bytes()).unwrap()
    }
}

fn kept(name: &str) -> impl Read {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/btrfs").join(name);
    let mut decoder = zstd::stream::read::Decoder::new(std::fs::File::open(path).unwrap()).unwrap();
    decoder.window_log_max(27).unwrap();
    decoder
}

/// An image that is kept.
pub(crate) fn image(name: &str) -> Image {
    Image::from_bytes(kept(&format!("{name}.img.zst")))
}

/// What the kernel showed of it, line by line: of each thing, of the content of each file, of attributes.
pub(crate) fn shown(name: &str) -> String {
    let mut text = String::new();
    kept(&format!("{name}.list.zst")).read_to_string(&mut text).unwrap();
    text
}
