//! The target `rewinds`: see `tidings_fuzz_bodies::reader`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidings_fuzz_bodies::reader::rewinds(input));
