//! What comes with a program on a management computer: completions for shells, and a manual page. Made of the table of verbs, so that
//! they say what `--help` says.

mod bash;
mod fish;
mod page;
mod zsh;

use super::args::Shell;

pub(super) use page::page;

/// What makes a shell complete the program's arguments.
pub(super) fn completions(shell: Shell) -> String {
    match shell {
        Shell::Bash => bash::script(),
        Shell::Zsh => zsh::script(),
        Shell::Fish => fish::script(),
    }
}
