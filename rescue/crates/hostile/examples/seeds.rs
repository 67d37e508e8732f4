//! Writes what the fuzzer begins with: a folder for each target, in the folder that is named.

use std::fs;
use std::io;
use std::path::PathBuf;

fn main() -> io::Result<()> {
    let into: PathBuf = std::env::args_os().nth(1).ok_or(io::ErrorKind::InvalidInput)?.into();
    for target in hostile::TARGETS {
        let folder = into.join(target.name);
        fs::create_dir_all(&folder)?;
        for (nth, bytes) in target.seeds().iter().enumerate() {
            fs::write(folder.join(format!("{nth:04}")), bytes)?;
        }
    }
    Ok(())
}
