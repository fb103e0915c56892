//! Manifest lines, names and join secrets: whatever reads, prints back to the letter.
#![no_main]

use domain::join::JoinSecret;
use domain::{AttemptName, ExecutorName, Manifest, Platform, ReleaseId, Version};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    macro_rules! round_trip {
        ($($type:ty),*) => {
            $(if let Ok(value) = text.parse::<$type>() {
                assert_eq!(value.to_string(), text, "{} has two spellings", stringify!($type));
            })*
        };
    }
    round_trip!(Manifest, Version, Platform, ReleaseId, ExecutorName, AttemptName);
    let _ = text.parse::<JoinSecret>();
});
