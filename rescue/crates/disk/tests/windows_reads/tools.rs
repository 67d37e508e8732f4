//! Images: fixtures that other drivers wrote, and what tools make and say.

use crate::host::run;
use disk::content;
use disk::fs::{self, FileSystem};
use model::id::{DiskNo, VolumePath};
use model::inspection::{Content, Finding};
use model::ports::ReadAt;
use model::units::{Extent, ExtentSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The fixtures, and what each is called by the kernel.
pub(crate) const FIXTURES: [(&str, &str); 5] =
    [("exfat", "exfat"), ("exfat-large", "exfat"), ("ntfs", "ntfs"), ("ntfs-small", "ntfs"), ("ntfs-large", "ntfs")];

/// A fixture's file, unpacked.
pub(crate) fn unpacked(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/windows_reads/fixtures").join(name);
    zstd::stream::decode_all(std::fs::File::open(path).unwrap()).unwrap()
}

/// The images that lie in one file, one behind the other.
const TOGETHER: [&str; 5] = ["ntfs", "ntfs-small", "ntfs-large", "reparse", "windows"];
const SIZE: usize = 24 << 20;

static IMAGES: OnceLock<Vec<u8>> = OnceLock::new();

fn bytes(name: &str) -> Vec<u8> {
    match TOGETHER.iter().position(|n| *n == name) {
        Some(nth) => IMAGES.get_or_init(|| unpacked("ntfs.imgs.zst"))[nth * SIZE..(nth + 1) * SIZE].to_vec(),
        None => unpacked(&format!("{name}.img.zst")),
    }
}

/// A fixture's image.
pub(crate) fn fixture(name: &str) -> Arc<dyn ReadAt> {
    Arc::new(bytes(name))
}

/// The same in a file, for tools.
pub(crate) fn in_file(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes(name)).unwrap();
    path
}

/// What lies on a volume.
pub(crate) fn identify(bytes: &Arc<dyn ReadAt>) -> (Content, Vec<Finding>) {
    content::identify(&VolumePath::whole(DiskNo(0)), bytes)
}

pub(crate) fn open(bytes: &Arc<dyn ReadAt>) -> Box<dyn FileSystem> {
    fs::open(&identify(bytes).0, bytes.clone()).unwrap()
}

/// What partclone leaves out of an image: what it calls free.
pub(crate) fn free_by_partclone(kind: &str, image: &Path) -> ExtentSet {
    let map = image.with_extension("map");
    let (image, out) = (image.to_str().unwrap(), map.to_str().unwrap());
    let tool = format!("partclone.{kind}");
    run("partclone", &tool, &["-D", "-O", out, "-F", "-s", image, "-L", "/dev/null", "-q"], "");
    let text = std::fs::read_to_string(map).unwrap();
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let mut free = Vec::new();
    for line in text.lines() {
        if let [at, len, "?"] = line.split_whitespace().collect::<Vec<_>>()[..] {
            let at = number(at);
            free.extend(Extent::between(at, at + number(len)));
        }
    }
    assert!(!free.is_empty(), "{text}");
    free.into()
}
