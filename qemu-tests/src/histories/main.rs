//! What a kernel does to ext4, and whether `disk` knows what it left alone: run inside a machine, as root.
//!
//! Each history makes a small file system and lives a few sessions with it: mounted through a loop device, written to at
//! random, unmounted in order or cut off. After every session what `disk::coverage::changes` calls the same is compared with the
//! bytes as they were, one by one. In between, a swap file and GRUB's environment block are written below the file system, as
//! the kernel's swap and a boot loader do.

mod kinds;
mod life;
mod session;

use kinds::KINDS;
use life::{Life, Tally};
use qemu_tests::Result;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
usage: histories --dir DIR [--seed N] [--count N] [--kind NAME]

Makes file systems in DIR, which should be in memory, and mounts them: run it as root, in a machine of its own.

  --seed N     the first history; the same number gives the same history. 1 where it is not given
  --count N    so many histories of each kind of file system; 3 where it is not given
  --kind NAME  one kind only
";

fn main() -> Result<ExitCode> {
    use lexopt::prelude::*;
    let (mut dir, mut seed, mut count, mut only) = (None, 1u64, 3u64, None);
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Long("dir") => dir = Some(PathBuf::from(args.value()?)),
            Long("seed") => seed = args.value()?.parse()?,
            Long("count") => count = args.value()?.parse()?,
            Long("kind") => only = Some(args.value()?.string()?),
            Long("help") | Short('h') => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    let dir = dir.ok_or("--dir is missing")?;
    let mut all = Tally::default();
    for kind in KINDS.iter().filter(|k| only.as_ref().is_none_or(|o| o == k.name)) {
        let mut tally = Tally::default();
        for seed in seed..seed + count {
            Life::new(kind, seed, &dir)
                .and_then(|life| life.live(&mut tally))
                .map_err(|e| format!("kind {}, seed {seed}: {e}", kind.name))?;
        }
        println!("{:<14} {tally}", kind.name);
        if kind.keeps_times && count >= 3 && (tally.by_metadata == 0 || tally.same == 0) {
            return Err(format!("kind {}: no session was told by its metadata: nothing was shown", kind.name).into());
        }
        all.add(&tally);
    }
    println!("{:<14} {all}", "all");
    Ok(ExitCode::SUCCESS)
}
