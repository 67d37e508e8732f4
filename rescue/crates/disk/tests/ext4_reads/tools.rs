//! Images made by e2fsprogs, and what e2fsprogs says of them.

use disk::fs::FileSystem;
use disk::fs::ext4::Ext4;
use model::inspection::FileKind;
use model::ports::{ReadAt, ReadError, check_range};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// A program of the host, or a failure that says what to install.
pub(crate) fn tool(name: &str, package: &str) -> Command {
    let found = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].iter().map(|d| Path::new(d).join(name)).find(|p| p.exists());
    let mut command =
        Command::new(found.unwrap_or_else(|| panic!("this test needs {name}: install the package {package}")));
    command.env("LC_ALL", "C").stdin(Stdio::null());
    command
}

pub(crate) fn e2(name: &str) -> Command {
    tool(name, "e2fsprogs")
}

/// What a program that must succeed says.
pub(crate) fn said(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Bytes that repeat nowhere, the same for the same seed.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend(self.next().to_le_bytes());
        }
        out.truncate(len);
        out
    }
}

struct OnDisk {
    file: fs::File,
    size: u64,
}

impl ReadAt for OnDisk {
    fn size(&self) -> ByteLen {
        ByteLen(self.size)
    }
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size())?;
        self.file.read_exact_at(buf, at.0).map_err(|source| ReadError::Io { at: at.0, len: buf.len() as u64, source })
    }
}

/// A file opened for reading by position.
pub(crate) fn readable(path: &Path) -> Arc<dyn ReadAt> {
    let file = fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    Arc::new(OnDisk { file, size })
}

/// An image file in a directory of its own.
pub(crate) struct Image {
    dir: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Image {
    /// An image of `mib` MiB made by `mke2fs`, with the files of `tree` where there is one.
    pub(crate) fn make(mib: u64, args: &[&str], tree: Option<&Path>) -> Self {
        let dir = tempfile::Builder::new().prefix("disk-ext4-").tempdir().unwrap();
        let path = dir.path().join("image");
        fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
        let mut mke2fs = e2("mke2fs");
        mke2fs.args(["-q", "-F"]).args(args);
        if let Some(tree) = tree {
            mke2fs.arg("-d").arg(tree);
        }
        said(mke2fs.arg(&path));
        Self { dir, path }
    }

    /// A copy of it, as it is now.
    pub(crate) fn copy(&self) -> Self {
        let dir = tempfile::Builder::new().prefix("disk-ext4-").tempdir().unwrap();
        let path = dir.path().join("image");
        said(tool("cp", "coreutils").arg("--sparse=always").arg(&self.path).arg(&path));
        Self { dir, path }
    }

    /// A file beside the image.
    pub(crate) fn beside(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    pub(crate) fn bytes(&self) -> Arc<dyn ReadAt> {
        readable(&self.path)
    }

    pub(crate) fn open(&self) -> Ext4 {
        Ext4::load(self.bytes()).unwrap()
    }

    /// Has `debugfs` carry out commands that may write.
    pub(crate) fn debugfs(&self, commands: &[String]) -> String {
        let script = self.beside("commands", commands.join("\n").as_bytes());
        said(e2("debugfs").arg("-w").arg("-f").arg(script).arg(&self.path))
    }

    /// Has `e2fsck` replay the journal and do nothing else.
    pub(crate) fn replay(&self) {
        let output = e2("e2fsck").args(["-y", "-E", "journal_only"]).arg(&self.path).output().unwrap();
        let code = output.status.code().unwrap();
        assert!(code <= 1, "e2fsck ended with {code}: {}", String::from_utf8_lossy(&output.stdout));
    }

    /// The bytes that are not free, as `dumpe2fs` lists free blocks.
    pub(crate) fn not_free(&self) -> ExtentSet {
        let text = said(e2("dumpe2fs").arg(&self.path));
        let number = |key: &str| -> u64 {
            let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_else(|| panic!("no {key} in {text}"));
            line[key.len()..].trim().parse().unwrap()
        };
        let (size, blocks) = (number("Block size:"), number("Block count:"));
        let cluster = if text.contains("Cluster size:") { number("Cluster size:") / size } else { 1 };
        let mut free = ExtentSet::new();
        for line in text.lines().filter_map(|l| l.strip_prefix("  Free blocks:")) {
            for range in line.split(',').map(str::trim).filter(|r| !r.is_empty()) {
                let (from, to) = range.split_once('-').unwrap_or((range, range));
                let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
                // The last number is the first block of the last cluster.
                free.insert(Extent::between(from * size, (to + cluster).min(blocks) * size).unwrap());
            }
        }
        free.gaps(Extent::whole(ByteLen(blocks * size)))
    }
}

/// A directory with the kinds of files that are laid out differently.
pub(crate) fn tree(many: usize) -> tempfile::TempDir {
    let dir = tempfile::Builder::new().prefix("disk-ext4-tree-").tempdir().unwrap();
    let root = dir.path();
    let mut noise = Noise::new(1);
    fs::write(root.join("empty"), b"").unwrap();
    for len in [1, 59, 60, 61, 100, 159, 160, 161, 1023, 1024, 4096, 4097, 65_536, 300_000, 3_000_001] {
        fs::write(root.join(format!("file-{len}")), noise.bytes(len)).unwrap();
    }
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    sparse.set_len(5_000_000).unwrap();
    for at in [0, 1_000_000, 4_999_000] {
        sparse.write_all_at(&noise.bytes(1000), at).unwrap();
    }
    symlink("file-100", root.join("link")).unwrap();
    symlink(format!("/./{}file-100", "deep/../".repeat(30)), root.join("long-link")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink("deep", root.join("way")).unwrap();
    fs::create_dir_all(root.join("deep/er/still")).unwrap();
    fs::write(root.join("deep/er/still/here"), b"found").unwrap();
    symlink("../er/still", root.join("deep/er/shortcut")).unwrap();
    fs::create_dir(root.join("many")).unwrap();
    for i in 0..many {
        let mut file = fs::File::create(root.join("many").join(format!("entry-{i}-{}", "x".repeat(i % 90)))).unwrap();
        file.write_all(i.to_string().as_bytes()).unwrap();
    }
    fs::write(root.join(OsStr::from_bytes(b"not\xffutf8 \x1b[2J")), b"name").unwrap();
    said(tool("mkfifo", "coreutils").arg(root.join("fifo")));
    dir
}

/// Asserts that the directory `path` of a file system is the directory `real`, down to the last byte.
pub(crate) fn assert_same(fs: &dyn FileSystem, path: &[u8], real: &Path) {
    let join = |name: &[u8]| [path, b"/", name].concat();
    let mut expected: BTreeMap<Vec<u8>, PathBuf> = fs::read_dir(real)
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().as_bytes().to_vec(), e.path()))
        .collect();
    for entry in fs.read_dir(path, usize::MAX).unwrap() {
        let name = entry.name.0.clone();
        if name == b"lost+found" && !expected.contains_key(&name) {
            continue;
        }
        let shown = entry.name.display();
        let real = expected.remove(&name).unwrap_or_else(|| panic!("{shown} is only in the image"));
        let meta = fs::symlink_metadata(&real).unwrap();
        assert_eq!(fs.stat(&join(&name)).unwrap().as_ref(), Some(&entry), "{shown}");
        assert_eq!(entry.modified.unwrap().div_euclid(1_000_000_000), meta.mtime(), "{shown}");
        match entry.kind {
            FileKind::File => {
                assert!(meta.is_file());
                let bytes = fs::read(&real).unwrap();
                assert_eq!(entry.size.0, bytes.len() as u64, "{shown}");
                let file = fs.open(&join(&name)).unwrap().unwrap();
                assert!(file.read_vec(ByteOffset(0), bytes.len()).unwrap() == bytes, "the content of {shown} differs");
                assert_eq!(file.size().0, bytes.len() as u64);
                // Anywhere within, too.
                let mut noise = Noise::new(bytes.len() as u64);
                for _ in 0..if bytes.is_empty() { 0 } else { 8 } {
                    let from = noise.below(bytes.len());
                    let len = noise.below(bytes.len() - from + 1).min(9000);
                    let part = file.read_vec(ByteOffset(from as u64), len).unwrap();
                    assert!(part == bytes[from..from + len], "{shown} differs from {from}");
                }
                assert!(file.read_vec(ByteOffset(bytes.len() as u64), 1).is_err());
            }
            FileKind::Directory => {
                assert!(meta.is_dir());
                assert_same(fs, &join(&name), &real);
            }
            FileKind::Symlink => {
                let target = fs::read_link(&real).unwrap();
                assert_eq!(fs.read_link(&join(&name)).unwrap().unwrap(), target.as_os_str().as_bytes(), "{shown}");
            }
            FileKind::Special => assert!(!meta.is_file() && !meta.is_dir() && !meta.is_symlink()),
        }
    }
    assert!(expected.is_empty(), "not in the image: {:?}", expected.keys());
}

/// The blocks of a file in its order, 0 for holes and for what was never written.
pub(crate) fn blocks(image: &Image, path: &str) -> Vec<u64> {
    let said = said(e2("debugfs").args(["-R", &format!("blocks {path}")]).arg(&image.path));
    said.split_whitespace().filter_map(|n| n.parse().ok()).collect()
}
