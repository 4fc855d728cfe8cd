//! The target `broker`: see `tidings_fuzz_bodies::broker`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| tidings_fuzz_bodies::broker::run(input));
