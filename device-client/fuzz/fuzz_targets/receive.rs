#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| martlet_device_fuzz::receive(input));
