//! Randomness from the kernel.

use model::ports::Entropy;
use std::fs::File;
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

/// The kernel's random bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

/// Whether the kernel was once seen to have enough randomness; that never ends.
static SEEDED: AtomicBool = AtomicBool::new(false);

impl Entropy for SystemEntropy {
    fn fill(&self, out: &mut [u8]) -> io::Result<()> {
        // A rescue is used right after boot, when /dev/urandom may still be predictable. /dev/random waits until it is not
        // (random(4)); one byte of it is enough to know.
        if !SEEDED.load(Ordering::Relaxed) {
            read("/dev/random", &mut [0])?;
            SEEDED.store(true, Ordering::Relaxed);
        }
        read("/dev/urandom", out)
    }
}

fn read(path: &str, out: &mut [u8]) -> io::Result<()> {
    File::open(path)
        .and_then(|mut file| file.read_exact(out))
        .map_err(|e| io::Error::new(e.kind(), format!("reading {path} failed: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_and_does_not_repeat() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        SystemEntropy.fill(&mut a).unwrap();
        SystemEntropy.fill(&mut b).unwrap();
        assert!(a != b && a != [0; 32] && b != [0; 32]);
    }
}
