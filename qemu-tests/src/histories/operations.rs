//! What happens to the files of a mounted file system.

use crate::chance::Chance;
use nix::fcntl::{FallocateFlags, fallocate};
use qemu_tests::Result;
use qemu_tests::machine::run;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use sys::trials::{Mapping, move_extents, set_attribute};

const PAGE: u64 = 4096;

/// The files there are, but the two that are written below.
pub(crate) fn files(at: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut todo = vec![at.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() && !path.ends_with("lost+found") && !path.ends_with("many") {
                todo.push(path);
            } else if kind.is_file() && !path.ends_with("swap") && !path.ends_with("grubenv") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A name in one of the directories, which may be taken.
fn name(at: &Path, letter: char, chance: &mut Chance) -> PathBuf {
    at.join(format!("d{}/{letter}{}", chance.below(4), chance.below(1000)))
}

/// A new file, or another in the place of one.
pub(crate) fn create(at: &Path, chance: &mut Chance) -> std::io::Result<()> {
    let len = match chance.below(10) {
        0 => 0,
        1..=4 => chance.below(3000),
        5..=7 => chance.below(60_000),
        // Pages, as databases have them.
        8 => PAGE * chance.below(40),
        _ => chance.below(600_000),
    };
    fs::write(name(at, 'f', chance), chance.bytes(len))
}

/// One operation on one of the files. One that the file system has no room for, or cannot do, is none.
pub(crate) fn operate(at: &Path, chance: &mut Chance) -> Result<()> {
    let files = files(at)?;
    if files.is_empty() {
        let _ = create(at, chance);
        return Ok(());
    }
    let file = Target::new(at, &files[chance.index(files.len())], chance)?;
    let other = &files[chance.index(files.len())];
    let _ = match chance.below(40) {
        0..=3 => create(at, chance),
        4..=6 => file.overwrite(chance),
        7 => file.write_on(chance),
        8 => file.append(chance),
        9 => file.open().and_then(|f| f.set_len(file.place)),
        10 => file.open().and_then(|f| f.set_len(file.len + chance.below(100_000))),
        11 => fs::rename(&file.path, name(at, 'g', chance)),
        12 => fs::rename(&file.path, other),
        13 => fs::remove_file(&file.path),
        14 => fs::hard_link(&file.path, name(at, 'h', chance)),
        15 => file.permit(chance),
        16..=17 => file.overwrite_past_the_cache(chance),
        18..=19 => file.overwrite_durably(chance),
        20 => file.allocate(FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE, false, chance),
        21 => file.allocate(FallocateFlags::FALLOC_FL_ZERO_RANGE, false, chance),
        22 => file.allocate(FallocateFlags::FALLOC_FL_KEEP_SIZE, false, chance),
        23 => file.allocate(FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, true, chance),
        24 => file.allocate(FallocateFlags::FALLOC_FL_INSERT_RANGE, true, chance),
        25 => far(&name(at, 's', chance), chance),
        26 => islands(at, chance),
        27..=29 => file.write_mapped(chance),
        30..=32 => {
            // Those with nodes of the map beside the inode, as often as all others.
            let deep: Vec<_> = files.iter().filter(|f| is_deep(f)).collect();
            match deep.is_empty() || chance.one_in(2) {
                true => file.defragment(at, chance),
                false => Target::new(at, deep[chance.index(deep.len())], chance)?.defragment(at, chance),
            }
        }
        33 => file.attribute(chance),
        34 => many(&at.join("many"), chance),
        35 => return file.flag(chance),
        36..=37 => file.overwrite_and_set_back(chance),
        38 => symlink(&file.path, name(at, 'l', chance)).and_then(|()| File::open(&file.path)?.sync_all()),
        _ => file.open().and_then(|f| nix::unistd::syncfs(f).map_err(Into::into)),
    };
    Ok(())
}

/// A file, and a place in it.
struct Target {
    path: PathBuf,
    len: u64,
    place: u64,
    /// Of the file system.
    block: u64,
    free: u64,
}

impl Target {
    fn new(at: &Path, path: &Path, chance: &mut Chance) -> Result<Self> {
        let len = fs::metadata(path)?.len();
        let fs = nix::sys::statvfs::statvfs(at)?;
        let (block, free) = (fs.block_size(), fs.blocks_available() * fs.fragment_size());
        Ok(Self { path: path.to_path_buf(), len, place: chance.below(len), block, free })
    }

    fn open(&self) -> std::io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.path)
    }

    fn bytes(&self, chance: &mut Chance) -> Vec<u8> {
        let most = 1 + chance.below(20_000);
        chance.bytes(most)
    }

    /// Within what is there: no block and no size changes.
    fn overwrite(&self, chance: &mut Chance) -> std::io::Result<()> {
        let mut bytes = self.bytes(chance);
        bytes.truncate(usize::try_from(self.len - self.place).unwrap_or(usize::MAX));
        self.open()?.write_all_at(&bytes, self.place)
    }

    fn write_on(&self, chance: &mut Chance) -> std::io::Result<()> {
        self.open()?.write_all_at(&self.bytes(chance), self.place)
    }

    fn append(&self, chance: &mut Chance) -> std::io::Result<()> {
        OpenOptions::new().append(true).open(&self.path)?.write_all(&self.bytes(chance))
    }

    fn permit(&self, chance: &mut Chance) -> std::io::Result<()> {
        let mode = 0o600 + u32::try_from(chance.below(8)).unwrap_or(0);
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }

    /// On the disk at once, its times later.
    fn overwrite_past_the_cache(&self, chance: &mut Chance) -> std::io::Result<()> {
        let page = usize::try_from(PAGE).unwrap_or(usize::MAX);
        let memory = chance.bytes(2 * PAGE);
        let skew = memory.as_ptr().align_offset(page);
        let file = OpenOptions::new().write(true).custom_flags(nix::libc::O_DIRECT).open(&self.path)?;
        file.write_all_at(&memory[skew..skew + page], self.place / PAGE * PAGE)
    }

    /// Each write waits for the disk.
    fn overwrite_durably(&self, chance: &mut Chance) -> std::io::Result<()> {
        let file = OpenOptions::new().write(true).custom_flags(nix::libc::O_DSYNC).open(&self.path)?;
        file.write_all_at(&self.bytes(chance), self.place)
    }

    /// What copies and archives do: the file is as old as it was, but for `i_ctime`, which nobody sets.
    fn overwrite_and_set_back(&self, chance: &mut Chance) -> std::io::Result<()> {
        let modified = fs::metadata(&self.path)?.modified()?;
        self.overwrite(chance)?;
        self.open()?.set_modified(modified)
    }

    /// Some of the file's room given or taken; in whole blocks where it must be.
    fn allocate(&self, how: FallocateFlags, blocks: bool, chance: &mut Chance) -> std::io::Result<()> {
        let unit = if blocks { self.block } else { 1 };
        let most = if how.contains(FallocateFlags::FALLOC_FL_PUNCH_HOLE) { self.len } else { 100_000 };
        let len = (1 + chance.below(most) / unit) * unit;
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Ok(fallocate(self.open()?, how, signed(self.place / unit * unit), signed(len))?)
    }

    /// Through a mapping, brought to the disk in between or not, and again: the kernel has to notice both times.
    fn write_mapped(&self, chance: &mut Chance) -> std::io::Result<()> {
        // A hole that cannot be filled would kill this program.
        if self.len == 0 || self.free < 2 << 20 || self.len > self.free / 2 {
            return Ok(());
        }
        let file = self.open()?;
        let len = usize::try_from(self.len).map_err(std::io::Error::other)?;
        let at = usize::try_from(self.place).map_err(std::io::Error::other)?;
        let mut mapping = Mapping::of(&file, len)?;
        for _ in 0..1 + chance.below(2) {
            mapping.write(at, &self.bytes(chance));
            match chance.below(3) {
                0 => mapping.sync()?,
                1 => file.sync_data()?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Its blocks elsewhere, all or some, its times as they were.
    fn defragment(&self, at: &Path, chance: &mut Chance) -> std::io::Result<()> {
        let blocks = self.len / self.block;
        if blocks == 0 || self.len > self.free / 2 {
            return Ok(());
        }
        let path = at.join("donor");
        let donor = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        let file = self.open()?;
        // What is not yet on the disk cannot be moved.
        file.sync_all()?;
        let (start, len) = match chance.below(3) {
            0 => (chance.below(blocks), 1 + chance.below(blocks)),
            _ => (0, blocks),
        };
        let moved = fallocate(&donor, FallocateFlags::empty(), 0, i64::try_from(self.len).unwrap_or(0))
            .map_err(std::io::Error::from)
            .and_then(|()| move_extents(&file, &donor, start, len.min(blocks - start)));
        fs::remove_file(path)?;
        moved.map(|_| ())
    }

    fn attribute(&self, chance: &mut Chance) -> std::io::Result<()> {
        let len = [10, 80, 900, 20_000][chance.index(4)];
        set_attribute(&self.path, &format!("user.n{}", chance.below(3)), &chance.bytes(len))
    }

    /// `chattr`: no times for reading, written at once, with its data in the journal and out of it again.
    fn flag(&self, chance: &mut Chance) -> Result<()> {
        let flag = ["+A", "+S", "+j", "-j", "+d"][chance.index(5)];
        // Not every kind can.
        let _ = run(Command::new("chattr").arg(flag).arg(&self.path));
        Ok(())
    }
}

/// A little, far out.
fn far(path: &Path, chance: &mut Chance) -> std::io::Result<()> {
    let most = [8 << 20, 1 << 33, 1 << 40][chance.index(3)];
    let mut file = File::create(path)?;
    file.seek(SeekFrom::Start(chance.below(most)))?;
    let len = chance.below(20_000);
    file.write_all(&chance.bytes(len))
}

/// A file of islands enough for nodes of the map beside the inode.
pub(crate) fn islands(at: &Path, chance: &mut Chance) -> std::io::Result<()> {
    let file = File::create(name(at, 'i', chance))?;
    let islands = 6 + chance.below(20);
    (0..islands).try_for_each(|n| file.write_all_at(&chance.bytes(PAGE), n * 3 * PAGE))?;
    // Its end lies within a page.
    file.set_len(islands * 3 * PAGE + 1)
}

fn is_deep(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"i"))
}

/// A directory with an index over its names, grown or emptied.
fn many(dir: &Path, chance: &mut Chance) -> std::io::Result<()> {
    if dir.exists() && chance.one_in(3) {
        return fs::remove_dir_all(dir);
    }
    fs::create_dir_all(dir)?;
    let from = chance.below(1000);
    (from..from + 50 + chance.below(150)).try_for_each(|n| File::create(dir.join(format!("{n:060}"))).map(|_| ()))
}
