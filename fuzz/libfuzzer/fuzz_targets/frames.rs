//! The target `frames`: see `tidings_fuzz_bodies::frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidings_fuzz_bodies::frames::run(input));
