//! What lies in lost bytes of a FAT, as `mshowfat` (mtools) tells it of the undamaged image.
#![allow(clippy::unwrap_used, reason = "tests")]

mod host;

use disk::content;
use disk::fs;
use host::{Seeded, blank, image, run};
use model::files::{LostFiles, MOST_PATHS};
use model::id::{DiskNo, VolumePath};
use model::inspection::FileKind;
use model::ports::{ReadAt, ReadError};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

const MIB: u64 = 1 << 20;
const SHAPES: [(u64, &[&str]); 3] =
    [(4 * MIB, &["-F", "12"]), (40 * MIB, &["-F", "16"]), (40 * MIB, &["-F", "32", "-s", "1"])];
const FILES: [&str; 4] =
    ["/EFI/debian/grubx64.efi", "/EFI/debian/grub.cfg", "/loader/a rather long name.conf", "/TOP.TXT"];

struct Holed(Arc<dyn ReadAt>, ExtentSet);

impl ReadAt for Holed {
    fn size(&self) -> ByteLen {
        self.0.size()
    }
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len() as u64;
        if Extent::new(at, ByteLen(len)).is_some_and(|wanted| self.1.meets(wanted)) {
            return Err(ReadError::Io { at: at.0, len, source: io::Error::other("lost") });
        }
        self.0.read_exact_at(at, buf)
    }
}

struct Volume {
    _dir: tempfile::TempDir,
    path: PathBuf,
    /// Where cluster 2 begins, and how long a cluster is.
    data: (u64, u64),
}

impl Volume {
    fn make(size: u64, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = blank(dir.path(), "fat.img", size);
        let text = path.to_str().unwrap();
        run("dosfstools", "mkfs.vfat", &[args, &[text]].concat(), "");
        for d in ["EFI", "EFI/debian", "loader"] {
            run("mtools", "mmd", &["-i", text, &format!("::{d}")], "");
        }
        let mut rng = Seeded(3);
        for (n, name) in FILES.iter().enumerate() {
            let local = dir.path().join("body");
            std::fs::write(&local, (0..[300_000, 60, 9_000, 30_000][n]).map(|_| rng.byte()).collect::<Vec<u8>>())
                .unwrap();
            run("mtools", "mcopy", &["-i", text, local.to_str().unwrap(), &format!("::{name}")], "");
        }
        let b = image(&path).read_vec(ByteOffset(0), 64).unwrap();
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([b[at], b[at + 1]]));
        let fat = if u16_at(22) != 0 { u16_at(22) } else { u16_at(36) };
        let data = (u16_at(14) + u64::from(b[16]) * fat) * u16_at(11) + u16_at(17) * 32;
        Self { _dir: dir, path, data: (data, u16_at(11) * u64::from(b[13])) }
    }

    /// The clusters of a file or directory.
    fn clusters(&self, name: &str) -> Vec<Extent> {
        let said = run("mtools", "mshowfat", &["-i", self.path.to_str().unwrap(), &format!("::{name}")], "");
        let number = |n: &str| n.parse::<u64>().unwrap();
        let ranges = said.split('<').skip(1).map(|r| r.split('>').next().unwrap());
        let clusters = ranges.flat_map(|r| {
            let (from, to) = r.split_once('-').unwrap_or((r, r));
            number(from)..=number(to)
        });
        let at = |no: u64| self.data.0 + (no - 2) * self.data.1;
        clusters.map(|no| Extent::between(at(no), at(no) + self.data.1).unwrap()).collect()
    }

    fn losses(&self, lost: &ExtentSet) -> LostFiles {
        let whole = image(&self.path);
        let (content, _) = content::identify(&VolumePath::partition(DiskNo(0), 1), &whole);
        fs::losses(&content, Arc::new(Holed(whole, lost.clone())), lost).unwrap()
    }
}

fn told(files: &LostFiles) -> Vec<(String, FileKind)> {
    files.paths.iter().map(|p| (p.path.display().to_string(), p.kind)).collect()
}

#[test]
fn files_are_those_that_mtools_names() {
    for (size, args) in SHAPES {
        let volume = Volume::make(size, args);
        for (n, name) in FILES.iter().enumerate() {
            let clusters = volume.clusters(name);
            for at in [0, clusters.len() / 2, clusters.len() - 1] {
                let files = volume.losses(&[clusters[at]].into_iter().collect());
                assert_eq!(told(&files), [((*name).to_owned(), FileKind::File)], "{args:?}");
                assert_eq!((files.count, files.unclaimed, files.unseen, files.metadata), (1, ByteLen(0), None, false));
            }
            // Together with the next one.
            let next = FILES[(n + 1) % FILES.len()];
            let both = [clusters[0], volume.clusters(next)[0]].into_iter().collect::<Vec<_>>();
            assert_eq!(volume.losses(&both.into()).count, 2, "{args:?} {name} {next}");
        }
    }
}

#[test]
fn a_lost_directory_and_a_lost_table() {
    for (size, args) in SHAPES {
        let volume = Volume::make(size, args);
        let dir = volume.clusters("/EFI/debian");
        let file = volume.clusters(FILES[0])[0];
        let files = volume.losses(&dir.iter().copied().chain([file]).collect());
        assert_eq!(told(&files), [("/EFI/debian".to_owned(), FileKind::Directory)], "{args:?}");
        // The file's name is lost with the directory, and so are its clusters.
        assert_eq!(files.unclaimed, file.len());
        assert!(files.unseen.is_some());

        // The first sector of the table: no chain can be followed, so every file is lost, and every directory but one.
        let first = image(&volume.path).read_vec(ByteOffset(14), 2).unwrap();
        let table = u64::from(u16::from_le_bytes([first[0], first[1]])) * 512;
        let files = volume.losses(&Extent::between(table, table + 512).into_iter().collect());
        assert!(files.metadata && files.count > 0, "{args:?} {files:?}");
    }
}

/// Whatever is damaged besides: bounded work, no panic.
#[test]
fn mutated_volumes_never_panic() {
    for (size, args) in SHAPES {
        let volume = Volume::make(size, args);
        let whole = image(&volume.path).read_vec(ByteOffset(0), usize::try_from(size).unwrap()).unwrap();
        let mut rng = Seeded(11);
        for _ in 0..40 {
            let mut bytes = whole.clone();
            for _ in 0..40 {
                let at = 600 + rng.below(volume.data.0 + 40_000);
                bytes[usize::try_from(at).unwrap()] = rng.byte();
            }
            let start = rng.below(size / 2);
            let lost: ExtentSet = Extent::between(start, start + rng.below(100_000)).into_iter().collect();
            let bytes: Arc<dyn ReadAt> = Arc::new(bytes);
            let (content, _) = content::identify(&VolumePath::partition(DiskNo(0), 1), &bytes);
            if let Ok(files) = fs::losses(&content, Arc::new(Holed(bytes, lost.clone())), &lost) {
                assert!(files.paths.len() <= MOST_PATHS && files.unclaimed <= lost.total());
            }
        }
    }
}
