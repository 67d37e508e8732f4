//! A whole disk as a snapshot has it, read by position: its table and its volumes at their places, zeros between them.

use crate::run::export::layout::{Layout, Part};
use crate::run::saved::Saved;
use disk::io::ReadAhead;
use model::ports::{ReadAt, ReadError, check_range};
use model::text::DisplayText;
use model::units::{ByteLen, ByteOffset};
use std::sync::{Arc, Mutex, PoisonError};
use store::Store;

/// What is read of a store at once where little is wanted, and how many such windows are kept of a disk: a machine that starts
/// reads a file in pieces of 4 to 128 KiB, and most files more than once. 64 MiB.
const WINDOW: usize = 128 << 10;
const WINDOWS: usize = 512;

/// A disk of a snapshot.
pub(super) struct SavedDisk {
    size: ByteLen,
    /// In rising order of place, none over another.
    parts: Vec<(Part, Saved)>,
    trouble: Arc<Trouble>,
}

/// What could not be read of a store, the first time.
#[derive(Default)]
pub(super) struct Trouble(Mutex<Option<DisplayText>>);

impl Trouble {
    /// What it was.
    pub(super) fn first(&self) -> Option<DisplayText> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, e: &ReadError) {
        let mut first = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| DisplayText::new(&e.to_string()));
    }
}

/// The disk of a layout. What cannot be read of the store is an error to whoever reads, and noted.
pub(super) fn saved(store: &Store, layout: &Layout, trouble: &Arc<Trouble>) -> Arc<dyn ReadAt> {
    let part = |part: &Part| (*part, Saved::new(store.clone(), part.map, ByteLen(part.within.end().0)));
    let parts = layout.parts.iter().map(part).collect();
    let disk = SavedDisk { size: layout.size, parts, trouble: trouble.clone() };
    Arc::new(ReadAhead::new(Arc::new(disk), WINDOW, WINDOWS))
}

impl ReadAt for SavedDisk {
    fn size(&self) -> ByteLen {
        self.size
    }

    fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
        check_range(at, buf.len(), self.size)?;
        buf.fill(0);
        let (start, end) = (at.0, at.0 + buf.len() as u64);
        let first = self.parts.partition_point(|(p, _)| p.at + p.within.len().0 <= start);
        for (part, saved) in self.parts[first..].iter().take_while(|(p, _)| p.at < end) {
            let from = part.at.max(start);
            let to = (part.at + part.within.len().0).min(end);
            let place = |at: u64| usize::try_from(at - start).expect("within a buffer");
            let there = ByteOffset(part.within.start().0 + (from - part.at));
            saved.read_exact_at(there, &mut buf[place(from)..place(to)]).inspect_err(|e| self.trouble.note(e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::id::{Digest, DiskNo, NodeId, VolumePath};
    use model::snapshot::MapRoot;
    use model::units::{Extent, ExtentSet};
    use proptest::prelude::*;
    use store::backend::Memory;

    const SIZE: usize = 3 << 20;
    /// What is saved of the two maps, and where parts of them stand on the disk: map, where in it, how long, at.
    const RUNS: [&[(usize, usize)]; 2] = [&[(0, 70_000), (200_000, 200_100), (262_144, 700_000)], &[(4096, 300_000)]];
    const PARTS: [(usize, usize, usize, usize); 4] = [
        (0, 0, 512, 0),
        (1, 0, 310_000, 1024),
        (0, 1024, 199_500, 1 << 20),
        (0, 200_524, 600_000, (1 << 20) + 199_500),
    ];

    fn byte(map: usize, at: usize) -> u8 {
        u8::try_from((at / 7 + at % 13 + 100 * map) % 251).unwrap()
    }

    /// The disk and what it must hold.
    fn made() -> (Arc<dyn ReadAt>, Vec<u8>) {
        let store = Store::init(Arc::new(Memory::new())).unwrap();
        let mut maps = Vec::new();
        for (map, runs) in RUNS.iter().enumerate() {
            let mut writer = store.writer().unwrap();
            writer.begin(ByteLen(1 << 20));
            for (start, end) in *runs {
                let bytes: Vec<u8> = (*start..*end).map(|at| byte(map, at)).collect();
                writer.write(ByteOffset(*start as u64), bytes).unwrap();
            }
            maps.push(writer.end().unwrap());
            writer.prove(&mut |_, _| true).unwrap();
        }
        let mut expected = vec![0; SIZE];
        let mut parts = Vec::new();
        for (map, from, len, at) in PARTS {
            let within = Extent::between(from as u64, (from + len) as u64).unwrap();
            parts.push(Part { map: maps[map], within, at: at as u64 });
            for i in 0..len {
                let saved = RUNS[map].iter().any(|(start, end)| (*start..*end).contains(&(from + i)));
                expected[at + i] = if saved { byte(map, from + i) } else { 0 };
            }
        }
        (saved(&store, &layout(parts), &Arc::default()), expected)
    }

    fn layout(parts: Vec<Part>) -> Layout {
        Layout {
            of: VolumePath::whole(DiskNo(0)),
            size: ByteLen(SIZE as u64),
            parts,
            unreadable: ExtentSet::new(),
            left_out: Vec::new(),
            warnings: Vec::new(),
            encrypted: Vec::new(),
        }
    }

    #[test]
    fn it_is_the_disk_as_it_was_saved() {
        let (disk, expected) = made();
        assert!(disk.read_vec(ByteOffset(0), SIZE).unwrap() == expected);
        proptest!(ProptestConfig::with_cases(200), |(at in 0..SIZE, len in 0usize..300_000)| {
            let len = len.min(SIZE - at);
            prop_assert!(disk.read_vec(ByteOffset(at as u64), len).unwrap() == expected[at..at + len]);
        });
        assert!(disk.read_vec(ByteOffset(SIZE as u64), 1).is_err());
    }

    /// The whole way: from the store, over the socket, to QEMU.
    #[cfg(feature = "prove")]
    #[test]
    fn qemu_sees_what_was_saved() {
        use crate::run::overlay::{Overlay, Room};
        use crate::run::proof::nbd;
        use std::os::unix::net::UnixListener;
        use std::process::Command;
        let (disk, expected) = made();
        let dir = tempfile::tempdir().unwrap();
        let (file, socket) = (dir.path().join("expected.img"), dir.path().join("socket"));
        std::fs::write(&file, expected).unwrap();
        let overlay = Overlay::new(disk, Room::new(ByteLen::ZERO, ByteLen::ZERO, dir.path().into()));
        let listener = UnixListener::bind(&socket).unwrap();
        let serving = std::thread::spawn(move || nbd::serve(&mut listener.accept().unwrap().0, "d0", &overlay));
        let uri = format!("nbd+unix:///d0?socket={}", socket.display());
        let compared =
            Command::new("qemu-img").args(["compare", "-f", "raw", "-F", "raw"]).arg(&file).arg(uri).output();
        let compared = compared.unwrap_or_else(|e| panic!("qemu-img does not start ({e}); package qemu-utils"));
        assert!(compared.status.success(), "{compared:?}");
        serving.join().unwrap().unwrap();
    }

    #[test]
    fn what_the_store_does_not_give_is_an_error_and_noted() {
        let store = Store::init(Arc::new(Memory::new())).unwrap();
        let map = MapRoot { node: NodeId(Digest([7; 32])), height: 0, content: Digest([7; 32]) };
        let within = Extent::between(0, 1 << 20).unwrap();
        let trouble = Arc::new(Trouble::default());
        let disk = saved(&store, &layout(vec![Part { map, within, at: 1 << 20 }]), &trouble);
        assert_eq!(disk.read_vec(ByteOffset(0), 1000).unwrap(), vec![0; 1000]);
        assert_eq!(trouble.first(), None);
        assert!(disk.read_vec(ByteOffset(1 << 20), 1000).is_err());
        assert!(trouble.first().is_some());
    }
}
