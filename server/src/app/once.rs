//! Requests whose answer holds a secret, sent twice: a form that is loaded again, a client that heard no answer. The second one
//! makes nothing, and cannot be told the secret either, since only its digest was kept.
//!
//! Nothing is written down for that. The public id of what is made is a function of caller and request id, so that the store
//! itself refuses to make it twice. The time in the request id (UUID version 7, RFC 9562) gives the id its place in lists.

use std::time::Duration;

use domain::{Reason, Refusal, Timestamp};
use uuid::Uuid;

use crate::app::caller::Caller;
use crate::app::error::Error;
use crate::app::{App, public_id};
use crate::tls::authority::sha256;

/// How far the time in a request id may lie from now: a form that is left open for a night, and clocks of laptops.
const APART: Duration = Duration::from_secs(24 * 60 * 60);

/// What a request id is hashed with, so that a digest that is made elsewhere of the same words is another.
const DOMAIN: &[u8] = b"novacula request once\0";

impl App {
    /// The public id of what `caller` asks to be made in `scope`: the same again for the same request id, and a new one without.
    pub(crate) fn id_once(
        &self,
        caller: &Caller,
        scope: &str,
        request_id: Option<Uuid>,
        now: Timestamp,
    ) -> Result<String, Error> {
        let Some(request_id) = request_id else {
            return Ok(self.new_public_id(now));
        };
        let made = millis(request_id).ok_or_else(|| refused("is no UUID of version 7"))?;
        let today = u64::try_from(now.as_micros() / 1_000).unwrap_or(0);
        if u128::from(made.abs_diff(today)) > APART.as_millis() {
            return Err(refused("was not made within a day of now"));
        }
        let said = [DOMAIN, caller.token.as_str().as_bytes(), b"\0", scope.as_bytes(), b"\0", request_id.as_bytes()];
        let digest = sha256(&said.concat());
        let mut digits = [0; 8];
        digits.copy_from_slice(&digest.as_bytes()[..8]);
        Ok(public_id(made, digits))
    }
}

/// The store has it already: what is said of that to whoever asked twice.
pub(crate) fn asked_before(error: store::Error, request_id: Option<Uuid>, name: &str) -> Error {
    match error {
        store::Error::Exists { .. } if request_id.is_some() => {
            let message = format!(
                "this was asked before, and {name} was made then; its secret was in that answer only. If nobody copied it, \
                 revoke it and make another"
            );
            Error::Refused(Refusal::new(Reason::RequestIdReused, message).with("name", name))
        }
        other => Error::Store(other),
    }
}

fn refused(rule: &str) -> Error {
    Error::field("request_id", rule)
}

/// Milliseconds since 1970 in a UUID of version 7.
fn millis(id: Uuid) -> Option<u64> {
    if id.get_version_num() != 7 {
        return None;
    }
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    seconds.checked_mul(1_000)?.checked_add(u64::from(nanos) / 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uuid_of_version_7_has_a_time() {
        let time = uuid::Timestamp::from_unix(uuid::NoContext, 1_795_345_417, 5_000_000);
        assert_eq!(millis(Uuid::new_v7(time)), Some(1_795_345_417_005));
        assert_eq!((millis(Uuid::new_v4()), millis(Uuid::nil()), millis(Uuid::max())), (None, None, None));
    }

    #[test]
    fn only_who_said_a_request_id_asked_before() {
        let exists = || store::Error::Exists { noun: "token", key: "t1".to_owned() };
        let id = Some(Uuid::new_v4());
        assert!(matches!(asked_before(exists(), id, "tokens/t1"), Error::Refused(_)));
        assert!(matches!(asked_before(exists(), None, "tokens/t1"), Error::Store(_)));
    }
}
