//! What lies in lost blocks, as `debugfs` tells it of the undamaged image: `icheck` (whose block is it) and `ncheck` (what is
//! it called).

use super::tools::{Image, Noise, blocks, e2, said, tree};
use disk::fs::FileSystem;
use disk::fs::ext4::Ext4;
use model::files::{LostFiles, MOST_PATHS};
use model::inspection::FileKind;
use model::ports::{ReadAt, ReadError};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

/// An image of which some bytes cannot be read.
struct Holed {
    bytes: Arc<dyn ReadAt>,
    lost: ExtentSet,
}

impl ReadAt for Holed {
    fn size(&self) -> ByteLen {
        self.bytes.size()
    }
    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        let len = buf.len() as u64;
        if Extent::new(at, ByteLen(len)).is_some_and(|wanted| self.lost.meets(wanted)) {
            return Err(ReadError::Io { at: at.0, len, source: io::Error::other("lost") });
        }
        self.bytes.read_exact_at(at, buf)
    }
}

/// An image, and what debugfs knows of it.
struct Known {
    image: Image,
    block: u64,
    /// The names of every inode that has one.
    names: BTreeMap<u32, BTreeSet<String>>,
}

impl Known {
    fn new(mib: u64, block: u64, args: &[&str]) -> Self {
        let tree = tree(150);
        // Another name of one of them.
        std::fs::hard_link(tree.path().join("file-4097"), tree.path().join("deep/other-name")).unwrap();
        let image = Image::make(mib, args, Some(tree.path()));
        let mut known = Self { image, block, names: BTreeMap::new() };
        let every: Vec<String> = (11..600).map(|n| n.to_string()).collect();
        for line in known.ask(&format!("ncheck {}", every.join(" "))).lines().skip(1) {
            let (inode, path) = line.split_once('\t').unwrap();
            // ncheck begins a path in the root with one slash, or with two.
            let path = format!("/{}", path.trim_start_matches('/'));
            known.names.entry(inode.trim().parse().unwrap()).or_default().insert(path);
        }
        assert!(known.names.len() > 170, "{:?}", known.names);
        known
    }

    fn ask(&self, question: &str) -> String {
        said(e2("debugfs").args(["-R", question]).arg(&self.image.path))
    }

    /// The inode that each block belongs to, as far as one does.
    fn owners(&self, blocks: &[u64]) -> BTreeMap<u64, u32> {
        let list: Vec<String> = blocks.iter().map(u64::to_string).collect();
        let said = self.ask(&format!("icheck {}", list.join(" ")));
        said.lines()
            .skip(1)
            .filter_map(|l| l.split_once('\t'))
            .filter_map(|(b, i)| Some((b.parse().ok()?, i.parse().ok()?)))
            .collect()
    }

    fn lost(&self, blocks: &[u64]) -> ExtentSet {
        blocks.iter().map(|b| Extent::between(b * self.block, (b + 1) * self.block).unwrap()).collect()
    }

    fn losses(&self, blocks: &[u64]) -> LostFiles {
        let lost = self.lost(blocks);
        let bytes = Arc::new(Holed { bytes: self.image.bytes(), lost: lost.clone() });
        Ext4::load(bytes).unwrap().losses(&lost)
    }
}

fn told(files: &LostFiles) -> BTreeSet<String> {
    files.paths.iter().map(|p| p.path.display().to_string()).collect()
}

const LAYOUTS: [(u64, u64, &[&str]); 4] = [
    (64, 4096, &["-t", "ext4", "-b", "4096"]),
    (40, 1024, &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum,^64bit"]),
    (40, 1024, &["-t", "ext3", "-b", "1024"]),
    (32, 1024, &["-t", "ext2", "-b", "1024"]),
];

/// Files by their data and maps; names that are not UTF-8 are spelled as `debugfs` cannot spell them, and so left alone.
#[test]
fn files_are_those_that_debugfs_names() {
    for (mib, block, args) in LAYOUTS {
        let known = Known::new(mib, block, args);
        let directories = ["/lost+found", "/deep", "/deep/er", "/deep/er/still", "/many"].map(str::to_owned);
        let mut noise = Noise::new(mib);
        // Blocks of files, maps of block maps included, that are no directory's.
        let all: Vec<u64> = (1..(mib << 20) / block).collect();
        let mut owners = BTreeMap::new();
        for part in all.chunks(4000) {
            owners.extend(known.owners(part));
        }
        let named = |inode: &u32| known.names.get(inode);
        owners.retain(|_, inode| {
            named(inode).is_some_and(|n| n.iter().all(|p| !directories.contains(p) && !p.contains("utf8")))
        });
        let candidates: Vec<u64> = owners.keys().copied().collect();
        assert!(candidates.len() > 300, "{args:?}");
        for round in 0..40 {
            let mut blocks: Vec<u64> = (0..=round % 7).map(|_| candidates[noise.below(candidates.len())]).collect();
            blocks.sort_unstable();
            blocks.dedup();
            let expected: BTreeSet<String> =
                blocks.iter().flat_map(|b| named(&owners[b]).unwrap().iter().cloned()).collect();
            let files = known.losses(&blocks);
            assert_eq!(told(&files), expected, "{args:?} {blocks:?}");
            assert_eq!((files.count, files.nameless), (expected.len() as u64, 0));
            assert!(!files.metadata && !files.journal && files.unseen.is_none(), "{files:?}");
            // What lies behind a lost block of a block map is nobody's that could be found.
            if args.contains(&"ext4") {
                assert_eq!(files.unclaimed, ByteLen(0), "{args:?} {blocks:?}");
            }
        }
    }
}

/// What a lost directory named is nameless; what its subdirectories name is found all the same.
#[test]
fn a_lost_directory_hides_its_names_and_nothing_else() {
    for (mib, block, args) in LAYOUTS {
        let known = Known::new(mib, block, args);
        let deep = blocks(&known.image, "deep");
        let still = blocks(&known.image, "deep/er/still/here");
        let files = known.losses(&deep);
        let er = known.names.iter().find(|(_, paths)| paths.contains("/deep/er")).unwrap().0;
        assert_eq!(told(&files), ["/deep".to_owned(), format!("#{er}")].into(), "{args:?}");
        assert_eq!(files.paths.iter().map(|p| p.kind).collect::<Vec<_>>(), [FileKind::Directory; 2]);
        assert!(files.unseen.is_some(), "{files:?}");
        // The other file in it has a second name.
        assert_eq!(files.nameless, 0, "{args:?}");
        if !still.is_empty() {
            let files = known.losses(&[deep, still].concat());
            let expected = ["/deep".to_owned(), format!("#{er}"), format!("#{er}/still/here")];
            assert_eq!(told(&files), expected.into(), "{args:?}");
        }
        let many = blocks(&known.image, "many");
        let files = known.losses(&many);
        assert_eq!((files.nameless, told(&files)), (150, ["/many".to_owned()].into()), "{args:?}");
        // A part of it: the names in the other part are still told.
        if many.len() > 2 {
            let files = known.losses(&many[many.len() - 1..]);
            assert!(files.nameless > 0 && files.nameless < 150, "{args:?} {files:?}");
        }
    }
}

/// Lost inodes cost what they are called; lost maps, superblocks and journals are told for what they are.
#[test]
fn inodes_and_structure() {
    for (mib, block, args) in LAYOUTS {
        let known = Known::new(mib, block, args);
        let place = |inode: u32| {
            let said = known.ask(&format!("imap <{inode}>"));
            let at = said.split("located at block ").nth(1).unwrap();
            at.split(',').next().unwrap().parse::<u64>().unwrap()
        };
        let table = place(40);
        let expected: BTreeSet<String> = known
            .names
            .iter()
            .filter(|(inode, _)| place(**inode) == table)
            .flat_map(|(_, paths)| paths.clone())
            .collect();
        let files = known.losses(&[table]);
        assert!(files.metadata && !expected.is_empty());
        let named: BTreeSet<String> = told(&files).into_iter().filter(|p| !p.contains("utf8")).collect();
        // Of a directory whose inode is lost, nobody knows the names.
        let hidden = |path: &String| expected.iter().any(|dir| path.starts_with(&format!("{dir}/")));
        let visible = expected.iter().filter(|p| !hidden(p) && !p.contains("utf8")).cloned().collect();
        assert_eq!(named, visible, "{args:?}");

        let bitmap =
            known.ask("stats").split("block bitmap at ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
        let files = known.losses(&[bitmap]);
        assert!(files.metadata && !files.journal && files.count == 0 && files.unseen.is_none(), "{args:?} {files:?}");
        if !args.contains(&"ext2") {
            let journal = blocks(&known.image, "<8>");
            let files = known.losses(&journal[40..50]);
            assert!(files.journal && !files.metadata && files.count == 0, "{args:?} {files:?}");
        }
        // All there is, but for the superblock and descriptors: bounded, and counted.
        let all: Vec<u64> = (20..(mib << 20) / block).collect();
        let files = known.losses(&all);
        assert!(files.paths.len() <= MOST_PATHS && files.metadata && files.unseen.is_some(), "{files:?}");
    }
}

/// Whatever is damaged besides: bounded work, no panic, no more paths than may be told.
#[test]
fn mutated_images_never_panic() {
    let known = Known::new(24, 1024, &["-t", "ext4", "-b", "1024", "-O", "^metadata_csum"]);
    let whole = known.image.bytes().read_vec(ByteOffset(0), 24 << 20).unwrap();
    let mut noise = Noise::new(5);
    for _ in 0..60 {
        let mut bytes = whole.clone();
        // The tables of inodes and the first directories lie in the first few hundred blocks.
        for _ in 0..200 {
            let at = 2048 + noise.below(600 << 10);
            bytes[at] = u8::try_from(noise.below(256)).unwrap();
        }
        let lost = known.lost(
            &(0..40).map(|_| 10 + noise.below(20_000) as u64).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(),
        );
        let holed = Arc::new(Holed { bytes: Arc::new(bytes), lost: lost.clone() });
        if let Ok(fs) = Ext4::load(holed) {
            let files = fs.losses(&lost);
            assert!(files.paths.len() <= MOST_PATHS && files.unclaimed <= lost.total());
        }
    }
}
