//! The target `esp`.
#![no_main]

libfuzzer_sys::fuzz_target!(init: hostile::begin(), |bytes: &[u8]| { hostile::fuzz("esp", bytes) });
