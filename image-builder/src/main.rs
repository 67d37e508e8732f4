//! `cargo image usb|netboot|initramfs`: builds the rescue image.

use image_builder::error::Result;
use image_builder::initramfs::{self, KernelChoice, Sources};
use image_builder::{netboot, usb};
use lexopt::prelude::*;
use model::units::ByteLen;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
usage: cargo image usb -o FILE [--store-size MIB] [--fresh-ids]
       cargo image netboot -o DIR
       cargo image initramfs -o FILE

  -o, --output FILE   where to put it; a manifest goes beside it (FILE.manifest.json)
  --kernel FILE       a bzImage of your own, with --modules DIR (its lib/modules/RELEASE);
                      otherwise the newest signed kernel that Debian offers this host
  --programs DIR      static `init` and `holdfast` built before; otherwise they are built from this workspace
  --store-size MIB    size of the stick's store partition (64); the rescue grows it to the stick's end
  --fresh-ids         random ids. Otherwise they follow from the content: the same sources give the same image,
                      and two sticks written from one image have the same ids. Do not use those in one machine at once.

Needs Debian 12 or newer, and root or sudo where packages are missing. Write a stick with
  dd if=FILE of=/dev/sdX bs=4M conv=fsync
";

struct Arguments {
    verb: String,
    output: PathBuf,
    sources: Sources,
    store: ByteLen,
    fresh_ids: bool,
}

fn main() -> ExitCode {
    let arguments = match parse() {
        Ok(Some(arguments)) => arguments,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(e) => {
            eprintln!("cargo image: {e}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("cargo image: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let start = Instant::now();
    match arguments.verb.as_str() {
        "usb" => {
            let report = usb::build(&usb::Options {
                output: arguments.output.clone(),
                sources: arguments.sources.clone(),
                store: arguments.store,
                fresh_ids: arguments.fresh_ids,
            })?;
            println!("{report}");
        }
        "netboot" => {
            let report = netboot::build(&arguments.sources, &arguments.output)?;
            println!("{}\n\nbundle: {}", report.budget, report.folder.display());
        }
        _ => {
            let built = initramfs::build(&arguments.sources, &arguments.output)?;
            println!(
                "initramfs: {} ({} bytes, {} unpacked)",
                arguments.output.display(),
                built.bytes.len(),
                built.unpacked_len
            );
        }
    }
    println!("took {} s", start.elapsed().as_secs());
    Ok(())
}

/// `None`: help was asked for.
fn parse() -> std::result::Result<Option<Arguments>, lexopt::Error> {
    let (mut verb, mut output, mut kernel, mut modules, mut programs) = (None, None, None, None, None);
    let (mut store, mut fresh_ids) = (64_u64, false);
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Short('o') | Long("output") => output = Some(PathBuf::from(parser.value()?)),
            Long("kernel") => kernel = Some(PathBuf::from(parser.value()?)),
            Long("modules") => modules = Some(PathBuf::from(parser.value()?)),
            Long("programs") => programs = Some(PathBuf::from(parser.value()?)),
            Long("store-size") => store = parser.value()?.parse()?,
            Long("fresh-ids") => fresh_ids = true,
            Value(word) if verb.is_none() => verb = Some(word.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let Some(verb) = verb.filter(|v| ["usb", "netboot", "initramfs"].contains(&v.as_str())) else {
        return Err("say what to build: usb, netboot or initramfs".into());
    };
    let kernel = match (kernel, modules) {
        (None, None) => KernelChoice::Newest,
        (Some(image), Some(modules)) => KernelChoice::Given { image, modules },
        _ => return Err("--kernel and --modules belong together".into()),
    };
    // Less has no room for a journal; more is a mistake: the rescue grows it.
    if !(40..=1 << 20).contains(&store) {
        return Err(format!("--store-size {store}: give 40 to {} MiB", 1 << 20).into());
    }
    let output = output.ok_or("say where to put it: -o FILE")?;
    Ok(Some(Arguments { verb, output, sources: Sources { kernel, programs }, store: ByteLen(store << 20), fresh_ids }))
}
