//! The journal, as a torn or foreign disk may hold it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = executor_sdk::journal::parse(bytes);
});
