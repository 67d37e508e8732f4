//! Histories lived by the kernel of this computer, in memory, as far as it mounts what they need.

use qemu_tests::Result;
use qemu_tests::machine::run;
use std::ops::Range;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// What the program says of a kind that the kernel was built without.
const REFUSED: &str = "the kernel does not mount it";

/// A file system in memory, and the program.
pub(crate) struct Here {
    memory: TempDir,
    program: PathBuf,
}

impl Here {
    /// Makes room in memory. Needs root.
    pub(crate) fn new() -> Result<Self> {
        let program = image_builder::programs::build_one("qemu-tests", "histories")?;
        let here = Self { memory: tempfile::tempdir()?, program };
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=200m", "none"]).arg(here.memory.path()))?;
        Ok(here)
    }

    /// Lives histories of a kind; gives what the program says of them, or `None` where the kernel mounts no such file system.
    pub(crate) fn live(&self, kind: &str, seeds: Range<u32>) -> Result<Option<String>> {
        let mut command = Command::new(&self.program);
        command.arg("--dir").arg(self.memory.path().join("lived")).args(["--kind", kind]);
        command.args(["--seed", &seeds.start.to_string(), "--count", &seeds.len().to_string()]);
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let failed = String::from_utf8_lossy(&output.stderr);
        match (output.status.success(), failed.contains(REFUSED)) {
            (true, _) => Ok(Some(said.trim().to_owned())),
            (false, true) => Ok(None),
            (false, false) => Err(format!("{said}{failed}").into()),
        }
    }
}

impl Drop for Here {
    /// Also of what a program that failed left mounted.
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--recursive", "--lazy"]).arg(self.memory.path()).status();
    }
}
