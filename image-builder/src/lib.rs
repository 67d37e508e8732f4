//! Builds the rescue image: a signed Debian kernel, an initramfs holding PID 1 and `holdfast`, and the loaders that
//! start them, as a USB image or a netboot bundle.
//!
//! The flow: [`kernel`] and [`package`] fetch what Debian signed, [`modules`] picks the drivers, [`programs`] builds our
//! static programs, [`initramfs`] packs them, [`usb`] and [`netboot`] lay the result out, [`budget`] weighs it.
//!
//! Invariant: nothing is installed on the host that the build does not run; kernels, loaders and modules are downloaded,
//! checked against apt's signed index and unpacked below `target/`. Invariant: same inputs, same bytes.

pub mod bios;
pub mod budget;
pub mod cpio;
pub mod digest;
pub mod elf;
pub mod error;
pub mod esp;
pub mod host;
pub mod initramfs;
pub mod kernel;
pub mod loader;
pub mod manifest;
pub mod modules;
pub mod netboot;
pub mod package;
pub mod place;
pub mod programs;
pub mod store_partition;
pub mod table;
pub mod tool;
pub mod usb;

pub use error::BuildError;
