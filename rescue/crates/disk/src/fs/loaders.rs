//! Files that boot loaders write in place, below the file system and with no trace in its records.

/// Where they are looked for: `/boot` of a root, or a file system that is mounted there.
const DIRECTORIES: [&str; 2] = ["boot/", ""];
/// GRUB's environment block, which `save_env` writes at each start on many machines (`grub-core/commands/loadenv.c`); `ldlinux.sys`,
/// in which EXTLINUX keeps what is to be started once (its ADV); LILO's map, with the command line for the next start.
const NAMES: [&str; 7] =
    ["grub/grubenv", "grub2/grubenv", "extlinux/ldlinux.sys", "syslinux/ldlinux.sys", "ldlinux.sys", "map", ".map"];

/// Their paths, where distributions keep them.
pub(super) fn paths() -> impl Iterator<Item = String> {
    DIRECTORIES.iter().flat_map(|dir| NAMES.iter().map(move |name| format!("{dir}{name}")))
}
