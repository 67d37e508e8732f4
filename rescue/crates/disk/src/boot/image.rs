//! Files that firmware, a boot loader or the kernel loads, judged by their own headers: of the kind they should be, and whole.

use model::ports::ReadAt;
use model::units::{ByteLen, ByteOffset};

/// What was seen of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// Of its kind, and whole as far as its headers tell; a few words about it.
    Good(String),
    /// Of its kind as far as it was looked at; why that is not all.
    Unsure(String),
    /// Not of its kind, or not whole.
    Bad(String),
}

/// Most archives one behind the other, blocks of a compressed stream and files of an archive that are gone through.
const MOST_STEPS: usize = 65_536;

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// The first bytes of a file, at most `most` of them.
fn head(file: &dyn ReadAt, most: u64) -> Result<Vec<u8>, String> {
    let len = ByteLen(most.min(file.size().0)).to_usize().unwrap_or(0);
    file.read_vec(ByteOffset(0), len).map_err(|e| format!("cannot be read: {e}"))
}

/// True where a file is shorter than its headers say.
fn short(file: &dyn ReadAt, needed: u64) -> Option<Seen> {
    let has = file.size().0;
    (has < needed).then(|| Seen::Bad(format!("is cut short: it has {has} bytes of {needed}")))
}

fn empty(bytes: &[u8]) -> Option<Seen> {
    match bytes {
        [] => Some(Seen::Bad("is empty".into())),
        _ if bytes.iter().all(|b| *b == 0) => Some(Seen::Bad("begins with nothing but zeros".into())),
        _ => None,
    }
}

/// A kernel image, and the version it tells of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KernelImage {
    pub seen: Seen,
    pub version: Option<String>,
}

/// Judges a kernel: x86 (kernel `Documentation/arch/x86/boot.rst`) or arm64 (`Documentation/arch/arm64/booting.rst`).
pub(super) fn kernel(file: &dyn ReadAt) -> KernelImage {
    let plain = |seen| KernelImage { seen, version: None };
    let bytes = match head(file, 64 << 10) {
        Ok(bytes) => bytes,
        Err(why) => return plain(Seen::Bad(why)),
    };
    if let Some(bad) = empty(&bytes) {
        return plain(bad);
    }
    if bytes.get(0x202..0x206) == Some(b"HdrS") && u16_at(&bytes, 0x1fe) == Some(0xaa55) {
        return x86(file, &bytes);
    }
    if bytes.get(56..60) == Some(b"ARM\x64") {
        // `image_size` counts memory that the file does not hold; only that it is there can be told.
        return plain(Seen::Unsure("is an arm64 kernel; whether it is whole is not told by its header".into()));
    }
    if file.size().0 < 1024 {
        return plain(Seen::Bad(format!("has only {} bytes", file.size().0)));
    }
    plain(Seen::Unsure("is no kind of kernel that is known here".into()))
}

fn x86(file: &dyn ReadAt, bytes: &[u8]) -> KernelImage {
    // Zero means four, for backwards compatibility.
    let setup = match bytes.get(0x1f1).copied().unwrap_or(0) {
        0 => 4,
        n => u64::from(n),
    };
    // In units of 16 bytes: what is loaded behind the setup code.
    let system = u64::from(u32_at(bytes, 0x1f4).unwrap_or(0)) * 16;
    let needed = (setup + 1) * 512 + system;
    let at = u16_at(bytes, 0x20e).filter(|at| *at != 0).map(|at| usize::from(at) + 0x200);
    let text = at.and_then(|at| bytes.get(at..)).unwrap_or_default();
    let text = text.split(|b| *b == 0 || *b == b' ').next().unwrap_or_default();
    let named = text.len() < 128 && text.iter().all(|b| b.is_ascii_graphic() && *b != b'/');
    let version = std::str::from_utf8(text).ok().filter(|v| named && !v.is_empty() && !v.starts_with('.'));
    let seen = short(file, needed).unwrap_or_else(|| Seen::Good("is a whole kernel image".into()));
    KernelImage { seen, version: version.map(str::to_owned) }
}

/// A program for UEFI firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EfiProgram {
    pub seen: Seen,
    /// It carries a signature.
    pub signed: bool,
}

/// Most bytes of a program that are looked through for what names it.
const MOST_PROGRAM: u64 = 8 << 20;
/// Most bytes of a section with a text.
const MOST_SECTION: u64 = 64 << 10;

/// Judges an EFI program by its headers (Microsoft "PE Format": headers, sections, the certificate table).
pub(super) fn efi(file: &dyn ReadAt) -> EfiProgram {
    let plain = |seen| EfiProgram { seen, signed: false };
    let bytes = match head(file, 64 << 10) {
        Ok(bytes) => bytes,
        Err(why) => return plain(Seen::Bad(why)),
    };
    if let Some(bad) = empty(&bytes) {
        return plain(bad);
    }
    match pe(file, &bytes) {
        Some((seen, signed)) => EfiProgram { seen, signed },
        None => plain(Seen::Bad("is no EFI program".into())),
    }
}

/// True where a program is shim: it names what it goes on to, a `grubx64.efi` beside itself. All of it is read.
pub(super) fn is_shim(file: &dyn ReadAt, arch: &str) -> bool {
    let name: Vec<u8> = format!("grub{arch}.efi").encode_utf16().flat_map(u16::to_le_bytes).collect();
    head(file, MOST_PROGRAM).is_ok_and(|bytes| bytes.windows(name.len()).any(|w| w == name))
}

fn pe(file: &dyn ReadAt, bytes: &[u8]) -> Option<(Seen, bool)> {
    if !bytes.starts_with(b"MZ") {
        return None;
    }
    let at = usize::try_from(u32_at(bytes, 0x3c)?).ok()?;
    let header = bytes.get(at..)?;
    if !header.starts_with(b"PE\0\0") {
        return None;
    }
    let (sections, optional_len) = (u16_at(header, 6)?, usize::from(u16_at(header, 20)?));
    let optional = header.get(24..)?.get(..optional_len)?;
    // PE32+ has its directories 16 bytes later than PE32.
    let directories = match u16_at(optional, 0)? {
        0x20b => 112,
        0x10b => 96,
        _ => return None,
    };
    let mut needed = u64::from(u32_at(optional, 60)?);
    let table = header.get(24 + optional_len..)?;
    for n in 0..usize::from(sections) {
        let section = table.get(n * 40..)?.get(..40)?;
        let (len, start) = (u32_at(section, 16)?, u32_at(section, 20)?);
        needed = needed.max(u64::from(len) + u64::from(start));
    }
    // The certificate table is named by its place in the file.
    let count = u32_at(optional, directories - 4)?;
    let certificates = match count {
        5.. => Some((u32_at(optional, directories + 32)?, u32_at(optional, directories + 36)?)),
        _ => None,
    };
    let (start, len) = certificates.unwrap_or((0, 0));
    needed = needed.max(u64::from(start) + u64::from(len));
    let seen = short(file, needed).unwrap_or_else(|| Seen::Good("is a whole EFI program".into()));
    Some((seen, len > 0))
}

/// The content of a section of an EFI program, where it has one of that name (8 bytes at most): the texts of a unified kernel image
/// (UAPI specification "Unified Kernel Image").
pub(super) fn section(file: &dyn ReadAt, name: &str) -> Option<Vec<u8>> {
    let bytes = head(file, 64 << 10).ok()?;
    let header = bytes.get(usize::try_from(u32_at(&bytes, 0x3c)?).ok()?..)?;
    if !bytes.starts_with(b"MZ") || !header.starts_with(b"PE\0\0") {
        return None;
    }
    let table = header.get(24 + usize::from(u16_at(header, 20)?)..)?;
    let called = |section: &&[u8]| section[..8].split(|b| *b == 0).next() == Some(name.as_bytes());
    let section = table.chunks_exact(40).take(usize::from(u16_at(header, 6)?)).find(called)?;
    // As long as it is in memory: in the file it is padded.
    let len = u64::from(u32_at(section, 8)?.min(u32_at(section, 16)?)).min(MOST_SECTION);
    file.read_vec(ByteOffset(u64::from(u32_at(section, 20)?)), ByteLen(len).to_usize()?).ok()
}

/// Judges an initial RAM file system: archives and compressed archives one behind the other, zeros between them (kernel
/// `init/initramfs.c`). One that was cut off exactly between two of its archives looks whole.
pub(super) fn initramfs(file: &dyn ReadAt) -> Seen {
    let size = file.size().0;
    let mut walk = Walk { file, steps: MOST_STEPS };
    let (mut at, mut parts) = (0, 0);
    while at < size {
        match walk.part(at, size, parts == 0) {
            Ok(Part::Zeros(next)) => at = next,
            Ok(Part::Whole(next)) => (at, parts) = (next, parts + 1),
            Ok(Part::Rest(what)) => {
                return Seen::Unsure(format!("begins as {what}; whether it is whole is not told without unpacking it"));
            }
            Err(seen) => return seen,
        }
    }
    match (size, parts) {
        (0, _) => Seen::Bad("is empty".into()),
        (_, 0) => Seen::Bad("holds nothing but zeros".into()),
        _ => Seen::Good("is whole".into()),
    }
}

/// What was found at a place of an initial RAM file system.
enum Part {
    /// Zeros up to here.
    Zeros(u64),
    /// Something that ends here.
    Whole(u64),
    /// Something whose end its headers do not tell.
    Rest(&'static str),
}

struct Walk<'a> {
    file: &'a dyn ReadAt,
    /// Headers that may still be read.
    steps: usize,
}

impl Walk<'_> {
    fn read(&mut self, at: u64, len: usize) -> Result<Vec<u8>, Seen> {
        self.steps =
            self.steps.checked_sub(1).ok_or_else(|| Seen::Unsure("has more parts than are gone through".into()))?;
        let size = self.file.size().0;
        if at.checked_add(len as u64).is_none_or(|end| end > size) {
            return Err(Seen::Bad(format!("is cut short: it ends at byte {size} in the middle of something")));
        }
        self.file.read_vec(ByteOffset(at), len).map_err(|e| Seen::Bad(format!("cannot be read: {e}")))
    }

    fn part(&mut self, at: u64, size: u64, first: bool) -> Result<Part, Seen> {
        let len = usize::try_from((size - at).min(4096)).unwrap_or(4096);
        let head = self.read(at, len)?;
        if let Some(zeros) = head.iter().position(|b| *b != 0).or(Some(head.len())).filter(|n| *n > 0) {
            return Ok(Part::Zeros(at + zeros as u64));
        }
        match head.as_slice() {
            [b'0', b'7', b'0', b'7', b'0', b'1' | b'2', ..] => self.cpio(at).map(Part::Whole),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => self.zstd(at).map(Part::Whole),
            [0x02, 0x21, 0x4c, 0x18, ..] => self.lz4(at, size).map(Part::Whole),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => self.xz(size).map(|()| Part::Whole(size)),
            [0x1f, 0x8b, ..] => Ok(Part::Rest("a gzip archive")),
            [b'B', b'Z', b'h', ..] => Ok(Part::Rest("a bzip2 archive")),
            [0x5d, 0, 0, ..] => Ok(Part::Rest("an lzma archive")),
            [0x89, b'L', b'Z', b'O', ..] => Ok(Part::Rest("an lzo archive")),
            _ if first => Err(Seen::Bad("is no archive that a kernel unpacks".into())),
            // A kernel says so, and goes on with what it had unpacked before.
            _ => Err(Seen::Unsure(format!("holds something that is no archive from byte {at} on"))),
        }
    }

    /// The end of an archive in "newc" format (kernel `Documentation/driver-api/early-userspace/buffer-format.rst`).
    fn cpio(&mut self, mut at: u64) -> Result<u64, Seen> {
        let bad = |at: u64| Seen::Bad(format!("is damaged: there is no header of a file at byte {at}"));
        loop {
            let header = self.read(at, 110)?;
            if !header.starts_with(b"070701") && !header.starts_with(b"070702") {
                return Err(bad(at));
            }
            let number = |field: usize| {
                let text = std::str::from_utf8(&header[6 + field * 8..14 + field * 8]).ok()?;
                u64::from_str_radix(text, 16).ok()
            };
            let (size, name_len) = number(6).zip(number(11)).ok_or_else(|| bad(at))?;
            let name = self.read(at + 110, usize::try_from(name_len.min(4096)).unwrap_or(0))?;
            let data = (at + 110 + name_len).next_multiple_of(4);
            at = (data + size).next_multiple_of(4);
            if name == b"TRAILER!!!\0" {
                return Ok(data);
            }
        }
    }

    /// The end of a frame (RFC 8878, sections 3.1.1 and 3.1.1.2).
    fn zstd(&mut self, at: u64) -> Result<u64, Seen> {
        let flags = self.read(at + 4, 1)?[0];
        let single = flags & 0x20 != 0;
        let content = match (flags >> 6, single) {
            (0, false) => 0,
            (0, true) => 1,
            (n, _) => 1 << n,
        };
        let dictionary = [0, 1, 2, 4][usize::from(flags & 3)];
        let mut at = at + 5 + u64::from(!single) + dictionary + content;
        loop {
            let header = self.read(at, 3)?;
            let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
            let (last, kind, len) = (header & 1 == 1, header >> 1 & 3, u64::from(header >> 3));
            at += 3 + match kind {
                1 => 1,
                3 => return Err(Seen::Bad(format!("is damaged: a block of no kind at byte {at}"))),
                _ => len,
            };
            if last {
                let end = at + if flags & 4 == 0 { 0 } else { 4 };
                self.read(end.saturating_sub(1), 1)?;
                return Ok(end);
            }
        }
    }

    /// The end of a legacy frame (lz4 `doc/lz4_Frame_format.md`): blocks with their lengths, up to the end or another magic number.
    fn lz4(&mut self, at: u64, size: u64) -> Result<u64, Seen> {
        let mut at = at + 4;
        // A block of 8 MiB does not get longer than this (`LZ4_COMPRESSBOUND`).
        let most = (8 << 20) + (8 << 20) / 255 + 16;
        while at < size {
            let len = u64::from(u32_at(&self.read(at, 4)?, 0).unwrap_or(0));
            if len == 0 || len > most {
                break;
            }
            at += 4 + len;
            self.read(at - 1, 1)?;
        }
        Ok(at)
    }

    /// A stream that goes up to the end of the file ends with a footer (xz `doc/xz-file-format.txt`, section 2.1.2) and padding.
    fn xz(&mut self, size: u64) -> Result<(), Seen> {
        let len = usize::try_from(size.min(4096)).unwrap_or(4096);
        let tail = self.read(size - len as u64, len)?;
        let end = tail.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
        match tail[..end].ends_with(b"YZ") {
            true => Ok(()),
            false => Err(Seen::Bad("is cut short: its xz archive has no end".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of an archive in "newc" format.
    fn cpio(name: &str, body: &[u8]) -> Vec<u8> {
        let mut out =
            format!("070701{}{:08x}{}{:08x}{:08x}", "0".repeat(48), body.len(), "0".repeat(32), name.len() + 1, 0);
        out.push_str(name);
        let mut out = out.into_bytes();
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend_from_slice(body);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn archive() -> Vec<u8> {
        [cpio("init", &[7; 99]), cpio("TRAILER!!!", b"")].concat()
    }

    #[test]
    fn archives_are_gone_through_to_their_end() {
        let mut two = archive();
        two.resize(two.len() + 512, 0);
        // A zstd frame: no content size, a raw block of three bytes, the last.
        two.extend([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 0x19, 0, 0, 1, 2, 3]);
        assert_eq!(initramfs(&two), Seen::Good("is whole".into()));
        for cut in [1, 5, two.len() - 150] {
            let short = two[..two.len() - cut].to_vec();
            assert!(matches!(initramfs(&short), Seen::Bad(why) if why.contains("cut short")), "{cut}");
        }
        assert!(matches!(initramfs(&vec![0x1f, 0x8b, 8, 0]), Seen::Unsure(_)));
        assert!(matches!(initramfs(&Vec::new()), Seen::Bad(_)));
        assert!(matches!(initramfs(&vec![0; 9000]), Seen::Bad(_)));
        assert!(matches!(initramfs(&b"#!/bin/sh and so on".to_vec()), Seen::Bad(_)));
    }

    #[test]
    fn a_kernel_is_as_long_as_its_header_says() {
        let mut image = vec![0x90; 0x4000];
        image[0x1f1] = 3;
        image[0x1f4..0x1f8].copy_from_slice(&0x100u32.to_le_bytes());
        image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x20e..0x210].copy_from_slice(&0x400u16.to_le_bytes());
        image[0x600..0x60c].copy_from_slice(b"6.1.0-9-x (b");
        image.truncate(4 * 512 + 0x1000);
        let good = kernel(&image);
        assert_eq!(
            (good.seen, good.version.as_deref()),
            (Seen::Good("is a whole kernel image".into()), Some("6.1.0-9-x"))
        );
        image.pop();
        assert!(matches!(kernel(&image).seen, Seen::Bad(why) if why.contains("cut short")));
        assert!(matches!(kernel(&Vec::new()).seen, Seen::Bad(_)));
        assert!(matches!(kernel(&vec![1; 5000]).seen, Seen::Unsure(_)));
    }

    proptest::proptest! {
        #[test]
        fn anything_can_be_judged(mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..3000), which in 0..6usize) {
            let heads: [&[u8]; 6] = [b"", b"070701", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18", b"MZ", b"\xfd7zXZ\0"];
            let n = heads[which].len().min(bytes.len());
            bytes[..n].copy_from_slice(&heads[which][..n]);
            initramfs(&bytes);
            kernel(&bytes);
            efi(&bytes);
        }
    }
}
