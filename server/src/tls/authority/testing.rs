//! Authorities as the store holds them, for the tests of whoever follows them.

use domain::Timestamp;
use store::AuthorityRecord;

use super::pem;
use super::seal::SealingKeys;
use super::signer::{Pem, Signer, make};

pub(crate) fn keys() -> SealingKeys {
    keys_of("a")
}

pub(crate) fn keys_of(digit: &str) -> SealingKeys {
    SealingKeys::parse(&digit.repeat(64)).expect("a key")
}

/// A new authority that signs from `sign_time` on.
pub(crate) fn record(number: u32, keys: &SealingKeys, sign_time: Timestamp) -> AuthorityRecord {
    let text = make(sign_time).expect("made");
    let both = Pem { origin: "made", text: &text };
    let signer = Signer::read(both, both).expect("read");
    let public_key_sha256 = signer.public_key_sha256();
    AuthorityRecord {
        number,
        public_key_sha256,
        certificate_pem: pem("CERTIFICATE", signer.certificate()),
        sealed_key: keys.seal(public_key_sha256, &text).expect("sealed"),
        create_time: sign_time,
        sign_time,
        retire_time: None,
    }
}
