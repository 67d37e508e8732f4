//! The target `ext4`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: hostile::begin(), |bytes: &[u8]| { hostile::fuzz("ext4", bytes) });
