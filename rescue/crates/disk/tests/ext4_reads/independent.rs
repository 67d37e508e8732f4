//! What is in use, held against two programs that find it in ways of their own: partclone reads the bitmaps with e2fsprogs'
//! library, e2image goes through every inode.

use super::layouts::LAYOUTS;
use super::tools::{Image, e2, said, tool, tree};
use disk::fs::FileSystem;
use model::units::{Extent, ExtentSet};
use std::fs;

/// Run at the same time: partclone takes two seconds for anything.
const AT_ONCE: usize = 16;

/// What partclone (0.3.23) gives up on: `bitmap error at 0 group`.
const BEYOND_PARTCLONE: &[&str] = &["bigalloc", "bigalloc, 1 KiB blocks"];

#[test]
fn partclone_and_e2image_see_the_same_blocks_in_use() {
    let tree = tree(300);
    let check = |(name, mib, args): &(&str, u64, &[&str])| {
        let image = Image::make(*mib, args, Some(tree.path()));
        let used = image.open().coverage().used;
        let mut wrong = Vec::new();
        match by_partclone(&image) {
            Err(_) if BEYOND_PARTCLONE.contains(name) => {}
            theirs if theirs.as_ref() == Ok(&used) => {}
            theirs => wrong.push(format!("{name}: partclone says {theirs:?}, and we {used:?}")),
        }
        wrong.extend(what_e2image_copies(&image, &used).err().map(|e| format!("{name}: {e}")));
        wrong
    };
    let mut wrong = Vec::new();
    for layouts in LAYOUTS.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let running: Vec<_> = layouts.iter().map(|layout| scope.spawn(move || check(layout))).collect();
            running.into_iter().for_each(|thread| wrong.extend(thread.join().unwrap()));
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What partclone would save, from the map it writes for ddrescue (`position size +` for what is in use); what it says where
/// it does not.
fn by_partclone(image: &Image) -> Result<ExtentSet, String> {
    let map = image.path.with_extension("map");
    let mut partclone = tool("partclone.ext4", "partclone");
    partclone.args(["-D", "-q", "-s"]).arg(&image.path).arg("-o").arg(&map);
    let output = partclone.arg("-L").arg(image.path.with_extension("log")).output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let text = fs::read_to_string(map).unwrap();
    let used = text.lines().filter_map(|line| line.strip_suffix('+')).map(|line| {
        let mut fields = line.split_whitespace().map(number);
        let (at, len) = (fields.next().unwrap(), fields.next().unwrap());
        Extent::between(at, at + len).unwrap()
    });
    Ok(used.collect())
}

/// e2image copies the metadata and the blocks of all files to an image that is empty elsewhere: whatever is in it was copied, and
/// must be in use. It leaves out backups of the superblock, so it does not say what else may be.
fn what_e2image_copies(image: &Image, used: &ExtentSet) -> Result<(), String> {
    let copy = image.path.with_extension("copy");
    said(e2("e2image").args(["-r", "-a"]).arg(&image.path).arg(&copy));
    let copied = fs::read(&copy).unwrap();
    let mut kib = 0;
    for (at, block) in (0u64..).step_by(1024).zip(copied.chunks_exact(1024)) {
        if block.iter().all(|b| *b == 0) {
            continue;
        }
        kib += 1;
        if !used.covers(Extent::between(at, at + 1024).unwrap()) {
            return Err(format!("e2image copies byte {at}, which is called free"));
        }
    }
    match kib {
        // The files alone hold more.
        0..3300 => Err(format!("e2image copied {kib} KiB only")),
        _ => Ok(()),
    }
}
