//! minisign signature files: nothing that the fuzzer makes is ever proven, since it holds no key.
#![no_main]

use executor_sdk::release_keys::ReleaseKeys;
use executor_sdk::verify;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let keys = ReleaseKeys::baked_in();
    assert!(verify::prove(&keys, text).is_err());
});
