//! Looks at the disks.
