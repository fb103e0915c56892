//! Why a stream is closed: a word for metrics and the feed, and a sentence with a reason for the peer.

use std::time::Duration;

use domain::{ExecutorUid, Reason, Refusal};

use crate::app::sync::{Ended, Opened};

/// Why a stream is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Close {
    /// The peer ended it.
    Disconnected,
    /// A newer stream of the same executor took its place.
    Replaced,
    /// No hello in time.
    NoHello(Duration),
    /// Nothing was heard for too long.
    Silent(Duration),
    /// It does not take what is said.
    Slow(Duration),
    /// It sends too much.
    Flood,
    /// It broke the protocol.
    Nonsense {
        /// The field, when one is to blame.
        field: Option<String>,
        /// What was expected.
        message: String,
    },
    /// A rule forbids it: deactivated, deleted, another kind.
    Refused(Refusal),
    /// Another instance with this identity is there.
    Duplicated,
    /// The certificate's time is over.
    CertificateEnded,
    /// The authority that signed the certificate was retired.
    AuthorityRetired,
    /// This server is going down.
    Draining,
    /// The store is away, or there are too many: another time.
    Unavailable,
}

// === impl Opened ===

impl Opened {
    /// The same session, over for `close`.
    pub(crate) fn ended(&self, uid: ExecutorUid, close: &Close) -> Ended {
        Ended { uid, name: self.name.clone(), epoch: self.epoch, why: close.label() }
    }
}

// === impl Close ===

impl Close {
    /// The word, as in `novacula_streams_closed_total{reason}` and the feed.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Replaced => "replaced",
            Self::NoHello(_) => "no_hello",
            Self::Silent(_) => "silent",
            Self::Slow(_) => "slow",
            Self::Flood => "flood",
            Self::Nonsense { .. } => "nonsense",
            Self::Refused(_) => "refused",
            Self::Duplicated => "duplicated",
            Self::CertificateEnded => "certificate_ended",
            Self::AuthorityRetired => "authority_retired",
            Self::Draining => "draining",
            Self::Unavailable => "unavailable",
        }
    }

    /// What the peer is told.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        let (reason, message) = match self {
            Self::Refused(refusal) => return refusal.clone(),
            Self::Nonsense { field, message } => {
                let refusal = Refusal::new(Reason::ProtocolViolation, message.clone());
                return match field {
                    Some(field) => refusal.with("field", field),
                    None => refusal,
                };
            }
            Self::Disconnected => (Reason::Unavailable, "the stream was ended".to_owned()),
            Self::Replaced => (
                Reason::SessionReplaced,
                "a newer stream of this executor took this one's place".to_owned(),
            ),
            Self::NoHello(limit) => (
                Reason::ProtocolViolation,
                format!("no hello inside {} s; it has to be the first message", limit.as_secs()),
            ),
            Self::Silent(limit) => (
                Reason::ProtocolViolation,
                format!("nothing was heard for {} s; send heartbeats at the interval of welcome", limit.as_secs()),
            ),
            Self::Slow(limit) => (
                Reason::ProtocolViolation,
                format!("what was said was not read for {} s; keep reading the stream", limit.as_secs()),
            ),
            Self::Flood => (
                Reason::RateLimited,
                "too many messages; a heartbeat every 5 s and progress every second are enough".to_owned(),
            ),
            Self::Duplicated => (
                Reason::DuplicateIdentity,
                "another instance uses this identity; enroll this host under its own name, or let a person activate the executor".to_owned(),
            ),
            Self::CertificateEnded => (
                Reason::CertificateInvalid,
                "the certificate's time is over; renew it and dial again".to_owned(),
            ),
            Self::AuthorityRetired => (
                Reason::CertificateInvalid,
                "the authority that signed the certificate was retired; enroll again".to_owned(),
            ),
            Self::Draining => (Reason::Unavailable, "this server is going down; dial again".to_owned()),
            Self::Unavailable => (Reason::Unavailable, "no session can be opened now; dial again later".to_owned()),
        };
        Refusal::new(reason, message)
    }
}
