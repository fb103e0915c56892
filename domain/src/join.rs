//! What `novacula-agent enroll` takes: one word that carries everything a host needs to join, and to know that it joins
//! the right control plane.
//!
//! ```text
//! nvj1_<join token id>_<SHA-256 of the authority's SubjectPublicKeyInfo>_<secret>@<host>:<port>
//! ```
//!
//! The digest pins the authority, so that enrolment has no insecure mode. The word as a whole is what `Enroll` is sent.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use zeroize::Zeroizing;

use crate::digest::Sha256;
use crate::id::JoinTokenId;
use crate::secret::Secret;

/// What the word begins with; the digit is its format.
const PREFIX: &str = "nvj1_";

/// Longest host name (RFC 1035).
const HOST_MAX: usize = 253;

/// A join token with its secret.
#[derive(Clone, Debug)]
pub struct JoinSecret {
    /// Its public id.
    pub token: JoinTokenId,
    /// SHA-256 of the DER of the authority's SubjectPublicKeyInfo.
    pub authority: Sha256,
    /// What proves it.
    pub secret: Secret,
    /// The executor listener.
    pub endpoint: Endpoint,
}

/// Where a listener is reached: a DNS name, an IPv4 address or an IPv6 address in brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    port: u16,
}

/// The text is no join token. It does not repeat the text, which may be nearly a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Its form.
    #[error(
        "a join token is one word, nvj1_<id>_<64 hexadecimal digits>_<64 hexadecimal digits>@<host>:<port>, as `join-token create` printed it"
    )]
    Form,
    /// Where it points.
    #[error(
        "endpoint is not <host>:<port> with a DNS name, an IPv4 address or an IPv6 address in brackets, and a port from 1 to 65535"
    )]
    Endpoint,
}

impl JoinSecret {
    /// The whole word, for the one time that it is shown.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let tail = format!("@{}", self.endpoint);
        let head = format!("{PREFIX}{}_{}_", self.token, self.authority);
        // Its final size at once: a String that grows leaves copies behind.
        let mut text = Zeroizing::new(String::with_capacity(head.len() + 64 + tail.len()));
        text.push_str(&head);
        self.secret.write(&mut text);
        text.push_str(&tail);
        text
    }
}

impl FromStr for JoinSecret {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let (word, endpoint) = value.split_once('@').ok_or(Error::Form)?;
        let parts: Vec<&str> = word.strip_prefix(PREFIX).ok_or(Error::Form)?.split('_').collect();
        let [token, authority, secret] = parts[..] else {
            return Err(Error::Form);
        };
        Ok(Self {
            token: JoinTokenId::new(token).map_err(|_| Error::Form)?,
            authority: authority.parse().map_err(|_| Error::Form)?,
            secret: Secret::parse(secret).ok_or(Error::Form)?,
            endpoint: endpoint.parse()?,
        })
    }
}

impl Endpoint {
    /// The host; an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&self.host)
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(value: &str) -> Result<Self, Error> {
        let (host, port) = value.rsplit_once(':').ok_or(Error::Endpoint)?;
        let plain = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|port| plain && *port != 0).ok_or(Error::Endpoint)?;
        let fits = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => is_host(host),
        };
        if fits { Ok(Self { host: host.to_owned(), port }) } else { Err(Error::Endpoint) }
    }
}

fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    host.len() <= HOST_MAX && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(endpoint: &str) -> JoinSecret {
        JoinSecret {
            token: JoinTokenId::new("rack-4").expect("a label"),
            authority: Sha256::new([1; 32]),
            secret: Secret::new([0xcd; 32]),
            endpoint: endpoint.parse().expect("an endpoint"),
        }
    }

    #[test]
    fn a_join_token_round_trips() {
        for endpoint in ["localhost:7444", "control.example.com:443", "127.0.0.1:7444", "[::1]:7444"] {
            let secret = secret(endpoint);
            let again: JoinSecret = secret.reveal().parse().expect("a join token");
            assert_eq!(
                (again.token, again.authority, again.endpoint),
                (secret.token, secret.authority, secret.endpoint)
            );
            assert_eq!(again.secret.as_bytes(), &[0xcd; 32]);
        }
    }

    #[test]
    fn what_is_not_quite_one_is_refused() {
        let text = secret("localhost:7444").reveal();
        for bad in [
            text.replace("nvj1_", "nvj2_"),
            text.replace("cd", "CD"),
            text.replace("cdcd@", "cd@"),
            text.replace("@", ""),
            text.replace("_0101", "__0101"),
            text.replace("localhost", ""),
            text.replace("localhost", "a/b"),
            text.replace("localhost", "user@host"),
            text.replace(":7444", ":0"),
            text.replace(":7444", ":+1"),
            text.replace(":7444", ":65536"),
            text.replace("localhost", "::1"),
            format!("{}\n", *text),
            String::new(),
        ] {
            assert!(bad.parse::<JoinSecret>().is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_prints_no_secret() {
        let text = format!("{:?}", secret("localhost:7444"));
        assert!(!text.contains("cdcd") && !text.contains("205"), "{text}");
    }
}
