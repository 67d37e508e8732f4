//! The target `machine`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: hostile::begin(), |bytes: &[u8]| { hostile::fuzz("machine", bytes) });
