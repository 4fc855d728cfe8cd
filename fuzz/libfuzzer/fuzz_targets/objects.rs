//! The target `objects`: see `tidings_fuzz_bodies::objects`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidings_fuzz_bodies::objects::run(input));
