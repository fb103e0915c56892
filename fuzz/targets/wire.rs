//! What either side of the stream may send: decoded, converted, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use proto::{convert, v1};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = v1::SyncExecutorRequest::decode(bytes) {
        let _ = convert::sync::request(request);
    }
    if let Ok(response) = v1::SyncExecutorResponse::decode(bytes) {
        let _ = convert::sync::response(response);
    }
    if let Ok(release) = v1::Release::decode(bytes) {
        let _ = domain::Release::try_from(release);
    }
});
