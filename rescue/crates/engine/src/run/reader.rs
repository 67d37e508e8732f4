//! Reading the bytes to be saved: large reads ahead of the one who takes them, what to do where a sector is bad, and what needs not be
//! taken because it is known.

use super::known::Known;
use super::memory::{Memory, Pool};
use model::ports::{ReadAt, ReadError};
use model::units::{ByteLen, ByteOffset, Extent, ExtentSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use store::{Bytes, LEAF};

/// One read: a window of the volume, aligned to its own length so that whole cells of the store come in one piece.
const WINDOW: u64 = MEMORY as u64;
/// The memory that takes.
const MEMORY: usize = 1 << 20;
/// Holes up to this length are read along: cheaper than another read, on any disk.
const BRIDGE: u64 = 64 << 10;
/// Windows that are read at a time: a disk with one request at a time is idle in between, and waits behind every write.
const READERS: usize = 4;
/// Windows, or leaves to be compared, that each reader has ready.
const AHEAD: usize = 1;
/// Windows in memory, until their bytes lie in frames. More than the four readers hold (each two leaves of four windows) with
/// what the cutters hold (a chunk and a cell here, a cell in the store: two windows each): whoever's turn it is gets one.
const WINDOWS: usize = 48;
/// Sectors that may fail one by one within a window; after that the rest of it is given up, for each may take a dying disk
/// many seconds.
const MOST_BAD: u32 = 256;

/// Something read, in rising order.
pub(crate) enum Piece {
    /// Used bytes.
    Bytes(ByteOffset, Bytes),
    /// Used bytes that cannot be read.
    Bad(Extent),
    /// Used bytes that an earlier map has, in a cell of which not all are as they were.
    Known(ByteOffset, Bytes),
    /// Whole cells of which so many bytes were read, and found to be what is known of them.
    Same(Extent, ByteLen),
}

impl Piece {
    /// Its first byte.
    pub(crate) fn start(&self) -> ByteOffset {
        match self {
            Self::Bytes(at, _) | Self::Known(at, _) => *at,
            Self::Bad(extent) | Self::Same(extent, _) => extent.start(),
        }
    }

    /// How many bytes were read.
    pub(crate) fn len(&self) -> ByteLen {
        match self {
            Self::Bytes(_, bytes) | Self::Known(_, bytes) => ByteLen(bytes.len() as u64),
            Self::Bad(extent) => extent.len(),
            Self::Same(_, len) => *len,
        }
    }
}

/// What is read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// The volume.
    pub(crate) volume: &'a Arc<dyn ReadAt>,
    /// Its used bytes that are wanted: of a cell that is known all or none.
    pub(crate) used: &'a ExtentSet,
    /// The size of its disk's sectors.
    pub(crate) sector: u32,
    /// What needs not be taken if it is still there.
    pub(crate) known: &'a Known<'a>,
}

/// Reads the used bytes of a volume on threads of their own and hands them to `take` in rising order. `take` ends it early by
/// an error.
///
/// # Errors
/// The first of `take`.
pub(crate) fn read_used<E>(reading: Reading<'_>, mut take: impl FnMut(Piece) -> Result<(), E>) -> Result<(), E> {
    let enough = &AtomicBool::new(false);
    let pool = &Pool::new(MEMORY, WINDOWS);
    std::thread::scope(|scope| {
        // Each reads every fourth window; in turn they give all of them. A reader owns its sender: its end is the end of them.
        let readers: Vec<Receiver<Vec<Piece>>> = (0..READERS)
            .map(|number| {
                let (sender, receiver) = sync_channel(AHEAD);
                scope.spawn(move || {
                    let mut reader =
                        Reader { volume: reading.volume, sector: u64::from(reading.sector.max(1)), pool, bad: 0 };
                    for shift in shifts(reading.used, reading.known).skip(number).step_by(READERS) {
                        if enough.load(Ordering::Relaxed) || sender.send(reader.shift(&shift, reading.known)).is_err() {
                            break;
                        }
                    }
                });
                receiver
            })
            .collect();
        let mut in_turn = readers.iter().cycle();
        let windows = std::iter::from_fn(|| in_turn.next()?.recv().ok());
        let result = windows.flatten().try_for_each(&mut take);
        enough.store(true, Ordering::Relaxed);
        drop(readers);
        result
    })
}

/// The reads of one window: each a range of bytes to read and the used ranges within it.
type Reads = Vec<(Extent, Vec<Extent>)>;

/// Cuts used ranges at windows, and joins those of a window that lie close together.
fn windows(used: &ExtentSet) -> impl Iterator<Item = Reads> + '_ {
    let mut parts = used.iter().flat_map(cut).peekable();
    std::iter::from_fn(move || {
        let first = parts.next()?;
        let window = first.start().0 / WINDOW;
        let mut reads: Reads = vec![(first, vec![first])];
        while let Some(next) = parts.next_if(|p| p.start().0 / WINDOW == window) {
            match reads.last_mut() {
                Some((range, runs)) if next.start().0 - range.end().0 <= BRIDGE => {
                    *range = Extent::between(range.start().0, next.end().0).unwrap_or(*range);
                    runs.push(next);
                }
                _ => reads.push((next, vec![next])),
            }
        }
        Some(reads)
    })
}

/// The parts of a range, cut at window boundaries.
fn cut(extent: Extent) -> impl Iterator<Item = Extent> {
    let mut at = extent.start().0;
    std::iter::from_fn(move || {
        if at >= extent.end().0 {
            return None;
        }
        let end = (at - at % WINDOW).saturating_add(WINDOW).min(extent.end().0);
        let part = Extent::between(at, end);
        at = end;
        part
    })
}

/// What one reader reads in one go: a window, or all windows of a leaf that is known.
enum Shift {
    Window(Reads),
    Leaf(u64, Vec<Reads>),
}

/// Puts the windows of a leaf that is known together.
fn shifts<'a>(used: &'a ExtentSet, known: &'a Known<'a>) -> impl Iterator<Item = Shift> + 'a {
    let leaf = |reads: &Reads| reads.first().map_or(0, |(range, _)| range.start().0 / LEAF);
    let mut windows = windows(used).peekable();
    std::iter::from_fn(move || {
        let first = windows.next()?;
        let number = leaf(&first);
        if !known.has(number) {
            return Some(Shift::Window(first));
        }
        let mut all = vec![first];
        all.extend(std::iter::from_fn(|| windows.next_if(|w| leaf(w) == number)));
        Some(Shift::Leaf(number, all))
    })
}

struct Reader<'a> {
    volume: &'a Arc<dyn ReadAt>,
    sector: u64,
    pool: &'a Arc<Pool>,
    /// Bad sectors of this window.
    bad: u32,
}

impl Reader<'_> {
    fn shift(&mut self, shift: &Shift, known: &Known<'_>) -> Vec<Piece> {
        match shift {
            Shift::Window(reads) => self.window(reads),
            Shift::Leaf(number, windows) => {
                known.compare(*number, windows.iter().flat_map(|reads| self.window(reads)).collect())
            }
        }
    }

    /// Reads a window: each byte to its place in memory of a window's size.
    fn window(&mut self, reads: &Reads) -> Vec<Piece> {
        self.bad = 0;
        let first = reads.first().map_or(0, |(range, _)| range.start().0 / WINDOW * WINDOW);
        let mut place = Place { memory: self.pool.take(), first };
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (range, runs) in reads {
            match self.read(&mut place, *range) {
                Ok(()) => good.extend(runs),
                Err(_) => runs.iter().for_each(|run| self.carefully(&mut place, *run, &mut good, &mut bad)),
            }
        }
        let shared = place.memory.share(first, good.into_iter());
        let mut pieces: Vec<Piece> = shared.into_iter().map(|(e, bytes)| Piece::Bytes(e.start(), bytes)).collect();
        pieces.extend(bad.into_iter().map(Piece::Bad));
        pieces.sort_by_key(Piece::start);
        pieces
    }

    fn read(&self, place: &mut Place, range: Extent) -> Result<(), ReadError> {
        let (at, len) = (range.start(), range.len().0);
        let from = usize::try_from(at.0 - place.first).ok();
        let to =
            from.zip(range.len().to_usize()).and_then(|(from, len)| place.memory.part(from..from.checked_add(len)?));
        let none = || ReadError::OutOfRange { at: at.0, len, size: self.volume.size().0 };
        self.volume.read_exact_at(at, to.ok_or_else(none)?)
    }

    /// Reads what could not be read in one go: again, then in halves down to single sectors.
    fn carefully(&mut self, place: &mut Place, range: Extent, good: &mut Vec<Extent>, bad: &mut Vec<Extent>) {
        // At most 11 halvings of a window, each leaving one more range: a stack, not a recursion.
        let mut todo = vec![range];
        while let Some(part) = todo.pop() {
            if self.bad < MOST_BAD && self.read(place, part).is_ok() {
                good.push(part);
                continue;
            }
            let sectors = part.len().0.div_ceil(self.sector);
            if sectors <= 1 || self.bad >= MOST_BAD {
                self.bad += 1;
                bad.push(part);
                continue;
            }
            // Halves end at sector boundaries of the volume.
            let middle = part.start().0 + sectors / 2 * self.sector;
            let middle = middle - middle % self.sector;
            let middle = if middle > part.start().0 { middle } else { part.start().0 + self.sector };
            todo.extend(Extent::between(middle, part.end().0));
            todo.extend(Extent::between(part.start().0, middle));
        }
    }
}

/// Memory for a window, and the address of its first byte.
struct Place {
    memory: Memory,
    first: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io;

    /// A volume whose bytes tell their place, with bad sectors.
    struct Pocked(u64, Vec<u64>);
    impl ReadAt for Pocked {
        fn size(&self) -> ByteLen {
            ByteLen(self.0)
        }
        fn read_exact_at(&self, at: ByteOffset, buf: &mut [u8]) -> Result<(), ReadError> {
            model::ports::check_range(at, buf.len(), self.size())?;
            let end = at.0 + buf.len() as u64;
            if self.1.iter().any(|s| s * 512 < end && (s + 1) * 512 > at.0) {
                let source = io::Error::from_raw_os_error(5);
                return Err(ReadError::Io { at: at.0, len: buf.len() as u64, source });
            }
            for (i, b) in (at.0..).zip(buf) {
                *b = u8::try_from(i % 251).unwrap();
            }
            Ok(())
        }
    }

    fn read(volume: Pocked, used: &ExtentSet) -> (ExtentSet, ExtentSet) {
        let volume: Arc<dyn ReadAt> = Arc::new(volume);
        let (mut good, mut bad) = (ExtentSet::new(), ExtentSet::new());
        let mut at = 0;
        let reading = Reading { volume: &volume, used, sector: 512, known: &Known::default() };
        let done: Result<(), ()> = read_used(reading, |piece| {
            let extent = match &piece {
                Piece::Bytes(start, bytes) => {
                    for (i, b) in (start.0..).zip(bytes.iter()) {
                        assert_eq!(*b, u8::try_from(i % 251).unwrap());
                    }
                    Extent::new(*start, ByteLen(bytes.len() as u64)).unwrap()
                }
                Piece::Bad(extent) => *extent,
                Piece::Known(..) | Piece::Same(..) => panic!("nothing is known"),
            };
            assert!(extent.start().0 >= at, "rising");
            at = extent.end().0;
            if matches!(piece, Piece::Bad(_)) {
                bad.insert(extent)
            } else {
                good.insert(extent)
            }
            Ok(())
        });
        done.unwrap();
        (good, bad)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// Everything used comes once, in order; exactly the bad sectors are bad.
        #[test]
        fn all_of_it_and_nothing_else(
            ranges in prop::collection::vec((0u64..6000, 1u64..900), 0..20),
            sectors in prop::collection::btree_set(0u64..6900, 0..6),
        ) {
            let used: ExtentSet = ranges.iter().filter_map(|(s, l)| Extent::between(s * 512, (s + l) * 512)).collect();
            let bad: ExtentSet = sectors.iter().filter_map(|s| Extent::between(s * 512, (s + 1) * 512)).collect();
            let (good, failed) = read(Pocked(7000 * 512, sectors.into_iter().collect()), &used);
            prop_assert_eq!(good.union(&failed), used.clone());
            let expected: ExtentSet = bad.iter().flat_map(|b| used.clip(b).iter().collect::<Vec<_>>()).collect();
            prop_assert_eq!(failed, expected);
        }
    }

    #[test]
    fn a_dead_stretch_is_given_up() {
        let used: ExtentSet = Extent::between(0, 3 << 20).into_iter().collect();
        let (good, bad) = read(Pocked(3 << 20, (2048..4096).collect()), &used);
        assert_eq!(bad, Extent::between(1 << 20, 2 << 20).into_iter().collect());
        assert_eq!(good.total().0, 2 << 20);
    }

    #[test]
    fn whoever_takes_can_stop() {
        let volume: Arc<dyn ReadAt> = Arc::new(Pocked(64 << 20, Vec::new()));
        let used: ExtentSet = Extent::between(0, 64 << 20).into_iter().collect();
        let reading = Reading { volume: &volume, used: &used, sector: 512, known: &Known::default() };
        assert_eq!(read_used(reading, |_| Err("enough")), Err("enough"));
    }
}
