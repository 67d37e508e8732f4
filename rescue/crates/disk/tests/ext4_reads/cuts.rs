//! Chunks begin where files begin, as `debugfs` knows their blocks.

use super::tools::{Image, blocks, said, tree};
use disk::fs::FileSystem;
use model::cuts::{Cuts, PIECE};
use std::collections::BTreeSet;

fn places(cuts: &Cuts, size: u64) -> BTreeSet<u64> {
    let next = |at: &u64| Some(cuts.after(*at)).filter(|n| *n < size);
    std::iter::successors(next(&0), next).chain([0]).collect()
}

#[test]
fn every_file_is_cut_at_its_start_and_nowhere_by_the_grid() {
    let tree = tree(30);
    let layouts: [(u64, u64, &[&str]); 5] = [
        (64, 4096, &["-t", "ext4", "-b", "4096"]),
        (40, 1024, &["-t", "ext4", "-b", "1024"]),
        (32, 1024, &["-t", "ext2", "-b", "1024"]),
        (64, 4096, &["-t", "ext4", "-b", "4096", "-O", "bigalloc", "-C", "16384"]),
        (24, 4096, &["-t", "ext4", "-b", "4096", "-I", "128", "-O", "^metadata_csum"]),
    ];
    for (mib, size, args) in layouts {
        let image = Image::make(mib, args, Some(tree.path()));
        let places = places(&image.open().cuts(), mib << 20);
        for name in ["file-1", "file-4097", "file-65536", "file-300000", "file-3000001", "deep/er/still/here"] {
            let mut blocks = blocks(&image, name);
            let extents = !args.contains(&"ext2");
            if !extents {
                // Of a block map debugfs also lists the blocks of the map itself: only the first run is looked at.
                blocks.truncate(12);
            }
            assert!(!blocks.is_empty(), "{name} {args:?}");
            for (i, block) in blocks.iter().enumerate() {
                let begins = i == 0 || blocks[i - 1] + 1 != *block;
                let piece = (i as u64 * size).is_multiple_of(PIECE);
                assert_eq!(places.contains(&(block * size)), begins || piece, "{name}, block {i} at {block}, {args:?}");
            }
            if extents {
                let end = (blocks.last().unwrap() + 1) * size;
                assert!(places.contains(&end), "what follows {name} is not its chunk");
            }
        }
    }
}

/// The point of it: the same files in another order give the same pieces.
#[test]
fn equal_files_give_equal_pieces_wherever_they_lie() {
    let tree = tree(0);
    let pieces = |args: &[&str], filler: usize| -> BTreeSet<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("filler"), vec![7; filler]).unwrap();
        said(super::tools::tool("cp", "coreutils").arg("-a").arg(tree.path().join(".")).arg(dir.path()));
        let image = Image::make(48, args, Some(dir.path()));
        let (cuts, bytes) = (image.open().cuts(), image.bytes());
        let places: Vec<u64> = places(&cuts, 48 << 20).into_iter().chain([48 << 20]).collect();
        let piece = |w: &[u64]| bytes.read_vec(model::units::ByteOffset(w[0]), usize::try_from(w[1] - w[0]).unwrap());
        places.windows(2).map(|w| piece(w).unwrap()).collect()
    };
    let one = pieces(&["-t", "ext4", "-b", "4096"], 12_345);
    let two = pieces(&["-t", "ext4", "-b", "4096", "-g", "8192", "-N", "4000"], 777_777);
    let content = std::fs::read(tree.path().join("file-3000001")).unwrap();
    let shared = content.chunks(usize::try_from(PIECE).unwrap()).filter(|part| {
        let mut padded = part.to_vec();
        padded.resize(part.len().next_multiple_of(4096), 0);
        one.contains(&padded) && two.contains(&padded)
    });
    // A run may be broken once by a group's own blocks.
    assert!(shared.count() >= 20, "of {} pieces", content.len().div_ceil(usize::try_from(PIECE).unwrap()));
}
