//! The ext reader against e2fsprogs and the kernel: layouts, journals, hostile bytes.

mod hostile;
mod journals;
mod layouts;
mod tools;
