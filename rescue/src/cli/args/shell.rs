//! The arguments of `completions`.

use super::Usage;
use super::given::Given;

/// A shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

pub(super) fn shell(given: &Given) -> Result<Shell, Usage> {
    match given.words.as_slice() {
        [one] if one == "bash" => Ok(Shell::Bash),
        [one] if one == "zsh" => Ok(Shell::Zsh),
        [one] if one == "fish" => Ok(Shell::Fish),
        _ => Err(Usage("`completions` needs one of: bash, zsh, fish".into())),
    }
}
