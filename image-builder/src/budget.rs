//! What the image weighs: kernel, initramfs and loaders together must stay small enough for slow sticks and networks.

use crate::error::{BuildError, Result};
use std::fmt;

/// Most bytes of kernel, initramfs and boot loaders together.
pub const MOST: u64 = 36_000_000;

/// What the parts of an image weigh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Budget {
    parts: Vec<(String, u64)>,
}

impl Budget {
    /// Adds a part.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        self.parts.push((name.to_owned(), bytes.len() as u64));
    }

    /// All parts together, in bytes.
    pub fn total(&self) -> u64 {
        self.parts.iter().map(|(_, n)| n).sum()
    }

    /// Refuses what is over [`MOST`].
    ///
    /// # Errors
    /// [`BuildError::OverBudget`].
    pub fn check(&self) -> Result<()> {
        match self.total() {
            used if used > MOST => Err(BuildError::OverBudget { used, budget: MOST }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, bytes) in &self.parts {
            writeln!(f, "{name:<36}{bytes:>12}")?;
        }
        writeln!(f, "{:<36}{:>12}", "total", self.total())?;
        write!(f, "{:<36}{MOST:>12}", "budget")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_decides() {
        let mut budget = Budget::default();
        budget.add("kernel", &vec![0; 12_000_000]);
        budget.add("initramfs", &vec![0; 24_000_000]);
        assert!(budget.check().is_ok());
        budget.add("one byte more", &[0]);
        assert!(matches!(budget.check(), Err(BuildError::OverBudget { used: 36_000_001, .. })));
        assert!(budget.to_string().lines().count() == 5, "{budget}");
    }
}
