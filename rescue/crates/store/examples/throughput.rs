//! How fast a snapshot is saved, what it takes, and how many chunks it makes: the numbers of docs/store-format.md.
//!
//! `cargo run --release -p store --example throughput -- DIRECTORY [IMAGE [USED-RANGES]]`
//!
//! Without an image: 256 MiB of noise, 256 MiB of text, and 64 MiB of text in pieces of 4 KiB. With one: its bytes, or the ranges that a file lists as lines of
//! `START END` in bytes.

use model::id::DiskNo;
use model::inspection::Hardware;
use model::ports::{ObjectStore, UnixMicros};
use model::snapshot::{Cost, Machine, Manifest, MapRoot, Purpose, SavedDisk};
use model::units::{ByteLen, ByteOffset, Extent};
use std::collections::HashSet;
use std::error::Error;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;
use store::backend::LocalDir;
use store::{LocalDecoder, SliceContent, Store};

const PIECE: usize = 1 << 20;
/// Source of the bytes of a range.
type Read = Box<dyn FnMut(u64, usize) -> std::io::Result<Vec<u8>>>;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().ok_or("usage: throughput DIRECTORY [IMAGE [USED-RANGES]]")?;
    let objects: Arc<dyn ObjectStore> = Arc::new(LocalDir::create(directory)?);
    let store = Store::init(objects.clone()).or_else(|_| Store::open(objects, Arc::new(LocalDecoder)))?;
    match arguments.get(1) {
        Some(image) => {
            let file = std::fs::File::open(image)?;
            let len = file.metadata()?.len();
            let ranges = match arguments.get(2) {
                Some(list) => std::fs::read_to_string(list)?.lines().map(range).collect::<Option<Vec<_>>>(),
                None => Some(vec![(0, len)]),
            };
            let read: Read = Box::new(move |at, len| {
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, at)?;
                Ok(bytes)
            });
            let ranges = ranges.ok_or("a line of the list is not `START END`")?;
            measure(&store, image, len, &ranges, read)?;
            measure_again(&store)?;
        }
        None => {
            let len = 256 << 20;
            let mut state = 88_172_645_463_325_252u64;
            let noise: Read = Box::new(move |_, len| {
                let words = std::iter::repeat_with(|| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state.to_le_bytes()
                });
                Ok(words.flatten().take(len).collect())
            });
            measure(&store, "noise", len, &[(0, len)], noise)?;
            let text: Read = Box::new(|at, len| {
                let lines = (at..).map(|n| format!("{n}: systemd[1]: Started session {} of user root.\n", n % 977));
                Ok(lines.flat_map(String::into_bytes).take(len).collect())
            });
            measure(&store, "text", len, &[(0, len)], text)?;
            // What is left of a volume in use: 4 KiB here and there, a chunk for the crumbs of each cell.
            let mut state = 7u64;
            let crumbs: Read = Box::new(move |at, len| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(at);
                let lines = (state..).map(|n| format!("{n}: systemd[1]: Started session {} of user root.\n", n % 977));
                Ok(lines.flat_map(String::into_bytes).take(len).collect())
            });
            let ranges: Vec<(u64, u64)> = (0..16_384).map(|n| (n * 65_536, n * 65_536 + 4096)).collect();
            measure(&store, "crumbs", 1 << 30, &ranges, crumbs)?;
        }
    }
    Ok(())
}

fn range(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace().map(str::parse);
    Some((words.next()?.ok()?, words.next()?.ok()?))
}

fn measure(store: &Store, name: &str, len: u64, ranges: &[(u64, u64)], mut read: Read) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let mut source = 0.0;
    let mut writer = store.writer()?;
    writer.begin(ByteLen(len));
    for (start, end) in ranges {
        let mut at = *start;
        while at < *end {
            let part = usize::try_from(end - at)?.min(PIECE);
            let reading = Instant::now();
            let bytes = read(at, part)?;
            source += reading.elapsed().as_secs_f64();
            writer.write(ByteOffset(at), bytes)?;
            at += u64::try_from(part)?;
        }
    }
    let map = writer.end()?;
    let (id, manifest) = writer.finish(manifest(map, len))?;
    let took = begun.elapsed().as_secs_f64();
    let cost = manifest.cost;
    println!(
        "{name}: {} in {took:.2} s ({:.0} MB/s; {source:.2} s of it making or reading the bytes), new {}, stored {}, peak memory {} MB",
        cost.read,
        megabytes(cost.read.0) / took,
        cost.new,
        cost.stored,
        peak()?
    );
    let reading = Instant::now();
    let (mut slices, mut zero, mut chunks) = (0u64, 0u64, HashSet::new());
    for slice in store.map(map).slices(Extent::whole(ByteLen(len))) {
        let slice = slice?;
        slices += 1;
        match slice.content {
            SliceContent::Zero => zero += slice.extent.len().0,
            SliceContent::Chunk { id, .. } => {
                chunks.insert(id);
            }
        }
    }
    let data = Instant::now();
    let mut bytes = 0;
    for got in store.read_ahead(store.map(map).slices(Extent::whole(ByteLen(len)))) {
        bytes += u64::try_from(got?.1.len())?;
    }
    let took = data.elapsed().as_secs_f64();
    println!("  read back in order: {} in {took:.2} s ({:.0} MB/s)", ByteLen(bytes), megabytes(bytes) / took);
    println!(
        "  snapshot {}: {slices} runs in {} chunks, {} zero, map read in {:.2} s",
        id.0.short(8),
        chunks.len(),
        ByteLen(zero),
        reading.elapsed().as_secs_f64()
    );
    Ok(())
}

fn measure_again(store: &Store) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let report = store.check(true, &mut |_, _| true)?;
    let took = begun.elapsed().as_secs_f64();
    println!("  check of every byte: {} in {took:.2} s, {} findings", report.read, report.findings.len());
    Ok(())
}

fn megabytes(bytes: u64) -> f64 {
    f64::from(u32::try_from(bytes / 1000).unwrap_or(u32::MAX)) / 1000.0
}

/// Most memory this process used, in MB (`VmHWM`, proc(5)).
fn peak() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.split_whitespace().nth(1).ok_or("no number")?.parse::<u64>()? / 1000)
}

fn manifest(map: MapRoot, len: u64) -> Manifest {
    let hardware = Hardware::image("measured", ByteLen(len));
    Manifest {
        format: 1,
        counter: 0,
        origin: String::new(),
        parent: None,
        purpose: Purpose::Keep,
        machine: Machine { machine_id: Some("measured".to_owned()), disks: Vec::new(), hostname: None },
        taken: UnixMicros(0),
        systems: Vec::new(),
        disks: vec![SavedDisk { no: DiskNo(0), hardware, table: None, table_map: Some(map) }],
        volumes: Vec::new(),
        firmware: None,
        cost: Cost::default(),
    }
}
