#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rumormill_fuzz::http::run(data));
