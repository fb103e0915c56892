//! The agent's configuration file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(mistakes) = agent::config::Config::parse(text) {
        assert!(!mistakes.is_empty(), "a refusal says why");
    }
});
