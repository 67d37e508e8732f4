//! Boot chains over files that hold anything: configurations, programs, kernels.

use crate::Target;
use crate::files::source;
use crate::image::Image;
use disk::boot::{Sources, check, repairs};
use disk::fs::{FileSystem, FsError};
use model::coverage::{Changes, Coverage};
use model::cuts::Cuts;
use model::files::{Attributes, FileId, Layout, LostFiles, Named};
use model::id::DiskNo;
use model::inspection::{FileKind, Inspection, ListedFile, Volume};
use model::ports::ReadAt;
use model::text::RawName;
use model::units::{ByteLen, ByteOffset, ExtentSet};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

pub(super) const TARGET: Target = Target {
    name: "boot",
    meets: "grub.cfg, loader entries, EFI programs, kernels, initramfs, fstab: a boot chain followed over files that hold anything, and repaired",
    run,
    seeds,
};

/// The files an input may say something of: the partition, and the path on it. What it says nothing of is as [`good`] has it.
const FILES: [(u32, &str); 20] = [
    (1, "/EFI/debian/grub.cfg"),
    (2, "/grub/grub.cfg"),
    (3, "/etc/fstab"),
    (1, "/EFI/debian/shimx64.efi"),
    (1, "/EFI/debian/grubx64.efi"),
    (1, "/EFI/BOOT/BOOTX64.EFI"),
    (1, "/loader/loader.conf"),
    (1, "/loader/entries/debian.conf"),
    (2, "/loader/entries/debian.conf"),
    (1, "/EFI/systemd/systemd-bootx64.efi"),
    (1, "/EFI/Linux/debian.efi"),
    (2, "/vmlinuz-6.1.0-9-amd64"),
    (2, "/initrd.img-6.1.0-9-amd64"),
    (3, "/usr/sbin/init"),
    (3, "/usr/lib/modules/6.1.0-9-amd64/modules.dep"),
    (2, "/grub/grubenv"),
    (2, "/grub/custom.cfg"),
    (1, "/EFI/debian/BOOTX64.CSV"),
    (3, "/etc/os-release"),
    (1, "/grub/grub.cfg"),
];

/// The machine these are of: its table, its volumes, its system.
static MACHINE: LazyLock<(Inspection, Image)> = LazyLock::new(|| {
    let image = super::machine::image();
    (disk::inspect(&[source(0, image.bytes())]), image)
});

/// What the files hold on a machine that starts.
static GOOD: LazyLock<BTreeMap<usize, Vec<u8>>> = LazyLock::new(|| {
    let (inspection, image) = &*MACHINE;
    let disks = [source(0, image.bytes())];
    let mut good = BTreeMap::new();
    for (nth, (partition, path)) in FILES.iter().enumerate() {
        let volume = inspection.volumes().map(|(_, v)| v).find(|v| v.path.number() == Some(*partition));
        let fs = volume.and_then(|v| disk::fs::open(&v.content, disk::volume::bytes(&disks, v)?).ok());
        if let Some(Ok(Some(file))) = fs.map(|fs| fs.open(path.as_bytes()))
            && let Ok(bytes) = file.read_vec(ByteOffset(0), file.size().to_usize().unwrap_or(0))
        {
            good.insert(nth, bytes);
        }
    }
    good
});

/// The files of one partition.
struct Files(BTreeMap<&'static str, Arc<Vec<u8>>>);

impl Files {
    /// As links on a root lead: `/sbin` and `/lib`.
    fn led(path: &[u8]) -> String {
        let path = String::from_utf8_lossy(path);
        let path = path.trim_end_matches('/');
        match path.split('/').nth(1) {
            Some("sbin" | "lib") => format!("/usr{path}"),
            _ => path.to_owned(),
        }
    }

    fn entry(name: &str, size: Option<usize>) -> ListedFile {
        let kind = if size.is_some() { FileKind::File } else { FileKind::Directory };
        ListedFile { name: RawName::from(name), kind, size: ByteLen(size.unwrap_or(0) as u64), modified: None }
    }
}

impl FileSystem for Files {
    fn stat(&self, path: &[u8]) -> Result<Option<ListedFile>, FsError> {
        let path = Self::led(path);
        let name = path.rsplit('/').next().unwrap_or_default();
        if let Some(file) = self.0.get(path.as_str()) {
            return Ok(Some(Self::entry(name, Some(file.len()))));
        }
        let within = format!("{path}/");
        Ok(self.0.keys().any(|k| k.starts_with(&within)).then(|| Self::entry(name, None)))
    }

    fn read_dir(&self, path: &[u8], most: usize) -> Result<Vec<ListedFile>, FsError> {
        let within = format!("{}/", Self::led(path));
        let mut found = BTreeMap::new();
        for (path, file) in &self.0 {
            let Some(rest) = path.strip_prefix(&within) else { continue };
            match rest.split_once('/') {
                Some((directory, _)) => found.insert(directory, None),
                None => found.insert(rest, Some(file.len())),
            };
        }
        Ok(found.into_iter().take(most).map(|(name, size)| Self::entry(name, size)).collect())
    }

    fn select(&self, path: &[u8], most: usize, wanted: &dyn Fn(&[u8]) -> bool) -> Result<Vec<ListedFile>, FsError> {
        let mut files = self.read_dir(path, most)?;
        files.retain(|file| wanted(&file.name.0));
        Ok(files)
    }

    fn open(&self, path: &[u8]) -> Result<Option<Box<dyn ReadAt>>, FsError> {
        Ok(self.0.get(Self::led(path).as_str()).map(|file| Box::new(file.clone()) as Box<dyn ReadAt>))
    }

    fn read_link(&self, _path: &[u8]) -> Result<Option<Vec<u8>>, FsError> {
        Ok(None)
    }

    fn find(&self, path: &[u8]) -> Result<Option<Named>, FsError> {
        let Some(file) = self.stat(path)? else { return Ok(None) };
        let attributes = Attributes {
            kind: file.kind,
            mode: 0o644,
            owner: 0,
            group: 0,
            links: 1,
            size: file.size,
            modified: None,
            accessed: None,
            device: None,
            target: None,
            xattrs: Vec::new(),
            flags: 0,
        };
        let number = self.0.keys().position(|k| *k == Self::led(path)).unwrap_or(usize::MAX);
        Ok(Some(Named { name: file.name, file: FileId(number as u64), attributes: Some(attributes) }))
    }

    fn list(&self, _dir: FileId, _skip: usize, _most: usize) -> Result<Vec<Named>, FsError> {
        Ok(Vec::new())
    }

    fn layout(&self, file: FileId, _from: ByteOffset, _most: usize) -> Result<Layout, FsError> {
        let file = usize::try_from(file.0).ok().and_then(|nth| self.0.values().nth(nth));
        file.map(|f| Layout::Within(RawName(f.to_vec()))).ok_or_else(|| FsError::Corrupt("no such file".into()))
    }

    fn coverage(&self) -> Coverage {
        disk::coverage::raw(ByteLen(0), "files that hold anything")
    }

    fn cuts(&self) -> Cuts {
        Cuts::grid(ByteLen(0))
    }

    fn changes(&self, _before: Arc<dyn ReadAt>) -> Changes {
        Changes::unknown("files that hold anything")
    }

    fn losses(&self, _lost: &ExtentSet) -> LostFiles {
        LostFiles::default()
    }
}

/// An input is pieces: which file (1), how many bytes (2; all bits: it is not there), the bytes.
fn run(input: &[u8]) {
    let mut files: BTreeMap<usize, Vec<u8>> = GOOD.clone();
    let mut rest = input;
    while let [which, low, high, after @ ..] = rest {
        let (nth, said) = (usize::from(*which) % FILES.len(), u16::from_le_bytes([*low, *high]));
        if said == u16::MAX {
            files.remove(&nth);
            rest = after;
            continue;
        }
        let (bytes, later) = after.split_at(usize::from(said).min(after.len()));
        files.insert(nth, bytes.to_vec());
        rest = later;
    }
    let (inspection, image) = &*MACHINE;
    let of = |partition: Option<u32>| {
        let own = files.iter().filter(|(nth, _)| Some(FILES[**nth].0) == partition);
        Rc::new(Files(own.map(|(nth, bytes)| (FILES[*nth].1, Arc::new(bytes.clone()))).collect()))
    };
    let open = |volume: &Volume| -> Result<Rc<dyn FileSystem>, FsError> { Ok(of(volume.path.number())) };
    let disk = |no: DiskNo| (no == DiskNo(0)).then(|| image.bytes());
    let sources = Sources { inspection, open: &open, disk: &disk };
    for system in &inspection.systems {
        let chain = check(sources, system);
        assert!(chain.links.len() <= 1024, "{} links", chain.links.len());
        infer::chain_facts(&chain);
    }
    repairs(sources, &inspection.systems);
}

/// An input that says something of one file.
fn piece(nth: usize, bytes: &[u8]) -> Vec<u8> {
    let len = u16::try_from(bytes.len()).unwrap_or(u16::MAX - 1);
    [&[u8::try_from(nth).unwrap_or(0)][..], &len.to_le_bytes(), bytes].concat()
}

fn seeds() -> Vec<Vec<u8>> {
    let mut out = vec![Vec::new()];
    for (nth, bytes) in &*GOOD {
        out.push(piece(*nth, &bytes[..bytes.len().min(4096)]));
        out.push([&[u8::try_from(*nth).unwrap_or(0)][..], &[0xff, 0xff]].concat());
    }
    let entry = b"title Debian\nversion 6.1\nlinux /vmlinuz-6.1.0-9-amd64\ninitrd /initrd.img-6.1.0-9-amd64\noptions root=UUID=aaaaaaaa-0000-4000-8000-000000000001 ro\n";
    let efi = GOOD.get(&5).cloned().unwrap_or_default();
    let other = b"UUID=dddddddd-0000-4000-8000-00000000000e / ext4 defaults 0 1\nLABEL=x /srv xfs nofail 0 0\n/dev/mapper/vg-root /x ext4 subvol=@,ro 0 0\n";
    let variables = b"set a=b\nif [ x$a = xb ]; then\nset root=(hd0,gpt2)\nelse\nconfigfile ${prefix}/custom.cfg\nfi\nsubmenu 'more' {\nmenuentry \"it\" --id=x {\nlinux ($root)/vmlinuz-6.1.0-9-amd64 root=/dev/sda3\ninitrd $a\n}\n}\nblscfg\nsource /grub/custom.cfg\n";
    out.push([piece(7, entry), piece(6, b"default debian\ntimeout 3\n"), piece(9, &efi)].concat());
    out.push([piece(8, entry), piece(1, variables)].concat());
    out.push(piece(2, other));
    out.push([piece(0, b"search.fs_uuid dddddddd-0000-4000-8000-00000000000d root hd0,gpt2\nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n"), piece(2, other)].concat());
    out.push(piece(10, &efi));
    out
}
