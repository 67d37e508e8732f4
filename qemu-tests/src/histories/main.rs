//! What a kernel does to ext4, and whether `disk` knows what it left alone: run inside a machine, as root.
//!
//! Each history makes a small file system on a disk that remembers every write, and lives a few sessions with it: mounted,
//! written to at random, unmounted in order or cut off, with writes lost, reordered and torn since the last flush. Each state is
//! compared with those before: what `disk` calls the same must be, byte for byte, and what was cut off must not be believed. In
//! between, a swap file, GRUB's environment block and the boot block are written below the file system. Of states that were cut
//! off the kernel must make the same files without what `disk` calls free.
//!
//! All of it is also asked of mutants: readers that leave out one rule each. Every one must be caught.

mod chance;
mod cuts;
mod fuse;
mod holes;
mod kinds;
mod life;
mod mutants;
mod operations;
mod recorder;
mod session;
mod tally;
mod verdict;

use kinds::{KINDS, Kind};
use life::Life;
use mutants::Mutants;
use qemu_tests::Result;
use recorder::Recorder;
use session::Place;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use tally::Tally;

/// Beyond so many rounds through all kinds a mutant that is alive counts as not caught.
const MOST_ROUNDS: u64 = 12;

const HELP: &str = "\
usage: histories --dir DIR [--seed N] [--count N] [--kind NAME,..] [--without NAME,..] [--mutants] [--kinds]

Makes file systems below DIR, which should be in memory, and mounts them: run it as root, in a machine of its own.

  --seed N        the first history; the same number gives the same history. 1 where it is not given
  --count N       so many histories of each kind of file system; 3 where it is not given
  --kind NAMES    these kinds only
  --without NAMES all kinds but these: what the kernel does not mount
  --mutants       try readers with one rule less, too, in more histories until each is caught
  --kinds         name the kinds
";

/// So many histories of a kind have sessions that can be told by their metadata.
const MANY: u64 = 16;

/// What was asked for.
struct Order {
    dir: PathBuf,
    seed: u64,
    count: u64,
    only: Vec<String>,
    without: Vec<String>,
    mutants: bool,
}

fn main() -> Result<ExitCode> {
    let Some(order) = arguments()? else { return Ok(ExitCode::SUCCESS) };
    fs::create_dir_all(&order.dir)?;
    let wanted = |k: &&Kind| {
        let named = |names: &[String]| names.iter().any(|n| n == k.name);
        (order.only.is_empty() || named(&order.only)) && !named(&order.without)
    };
    let kinds: Vec<&Kind> = KINDS.iter().filter(wanted).collect();
    let mut world = World::new(&order)?;
    for kind in &kinds {
        world.live(kind, order.seed..order.seed + order.count)?;
    }
    let mut seed = order.seed + order.count;
    while !world.mutants.alive().is_empty() && seed < order.seed + order.count + MOST_ROUNDS {
        println!("seed {seed}, since these are not caught yet: {:?}", world.mutants.alive());
        for kind in &kinds {
            world.live(kind, seed..seed + 1)?;
        }
        seed += 1;
    }
    println!("{:<16} {}", "all", world.all);
    if order.mutants {
        print!("{}", world.mutants.report());
    }
    if !world.mutants.alive().is_empty() {
        return Err(format!("mutants that no history caught: {:?}", world.mutants.alive()).into());
    }
    Ok(ExitCode::SUCCESS)
}

fn arguments() -> Result<Option<Order>> {
    use lexopt::prelude::*;
    let (mut dir, mut only, mut without) = (None, Vec::new(), Vec::new());
    let (mut seed, mut count, mut mutants) = (1, 3, false);
    let names = |value: std::ffi::OsString| -> Result<Vec<String>> {
        let names: Vec<String> = value.string()?.split(',').map(str::to_owned).collect();
        match names.iter().find(|n| !KINDS.iter().any(|k| k.name == *n)) {
            Some(unknown) => Err(format!("there is no kind {unknown:?}; --kinds names them").into()),
            None => Ok(names),
        }
    };
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("dir") => dir = Some(PathBuf::from(args.value()?)),
            Long("seed") => seed = args.value()?.parse()?,
            Long("count") => count = args.value()?.parse()?,
            Long("kind") => only = names(args.value()?)?,
            Long("without") => without = names(args.value()?)?,
            Long("mutants") => mutants = true,
            Long("kinds") => {
                KINDS.iter().for_each(|k| println!("{}", k.name));
                return Ok(None);
            }
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let dir = dir.ok_or("--dir is missing")?;
    Ok(Some(Order { dir, seed, count, only, without, mutants }))
}

/// The disks that histories are lived on, one after the other, and what was seen.
struct World {
    dir: PathBuf,
    disk: Recorder,
    journal: Recorder,
    all: Tally,
    mutants: Mutants,
}

impl World {
    fn new(order: &Order) -> Result<Self> {
        let dir = order.dir.clone();
        fs::create_dir_all(dir.join("at"))?;
        Ok(Self {
            disk: Recorder::new(dir.join("disk"), life::SIZE)?,
            journal: Recorder::new(dir.join("journal"), life::JOURNAL)?,
            dir,
            all: Tally::default(),
            mutants: Mutants::new(order.mutants),
        })
    }

    /// Lives histories of one kind.
    fn live(&mut self, kind: &Kind, seeds: std::ops::Range<u64>) -> Result<()> {
        let mut tally = Tally::default();
        let at = self.dir.join("at");
        for seed in seeds {
            let place = Place { kind, disk: &self.disk, journal: &self.journal, at: &at };
            Life::live(place, seed, &self.dir, &mut tally, &mut self.mutants)
                .map_err(|e| format!("kind {}, seed {seed}: {e}", kind.name))?;
        }
        if tally.histories > 1 {
            println!("{:<16} {tally}", kind.name);
        }
        if kind.tells && tally.histories >= MANY && (tally.by_metadata == 0 || tally.same == 0) {
            return Err(format!("kind {}: no session was told by its metadata: nothing was shown", kind.name).into());
        }
        if tally.refused * 8 > tally.sessions {
            return Err(format!("kind {}: the kernel mounts too little of what was cut off", kind.name).into());
        }
        self.all.add(&tally);
        Ok(())
    }
}
