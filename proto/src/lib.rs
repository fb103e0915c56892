//! The wire of Novacula: package `novacula.v1`, its generated code, and conversions to and from [`domain`].
//!
//! Generated types stay at the border: `app`, `session` and the SDK's callers see [`domain`] only. Conversions from the
//! wire are `TryFrom` and name the field that is wrong; conversions to the wire are `From`.

pub mod codec;

pub mod convert;

/// Package `novacula.v1`, as `novacula/v1/*.proto` define it.
#[allow(
    clippy::all,
    clippy::too_many_lines,
    clippy::wildcard_imports,
    unreachable_pub,
    reason = "generated code: which lints fire changes with the generator"
)]
pub mod v1 {
    tonic::include_proto!("novacula.v1");
}

/// The compiled descriptors of `novacula.v1`, comments included, for the reflection service.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/novacula.v1.bin"));

/// The domain of `google.rpc.ErrorInfo` in every refusal (API.md).
pub const ERROR_DOMAIN: &str = "novacula.dev";
