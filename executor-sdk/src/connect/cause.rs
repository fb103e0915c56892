//! What a failed connection comes down to, found at the bottom of a chain of errors.

use std::error::Error;
use std::fmt;
use std::io;

use rustls::{AlertDescription, CertificateError};

/// Why there is no connection, in a form that says what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The endpoint's name does not resolve, or is no name.
    Name,
    /// Nobody listens there, or the way there is cut.
    Unreachable(String),
    /// No answer in time.
    Timeout,
    /// Its certificate is not from an authority that this executor trusts.
    NotTrusted,
    /// Its certificate is for another name.
    OtherName,
    /// Its certificate is not valid now, by the clock of this host.
    Time,
    /// Its certificate is wrong in another way.
    Certificate(String),
    /// It refused our certificate.
    Refused(AlertDescription),
    /// It broke off.
    Closed,
    /// Anything else, in the library's words.
    Other(String),
}

impl Cause {
    /// Looks for the one that counts. Alerts hide inside I/O errors, which name their content as `get_ref`, not as source.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        let mut found = None;
        let mut last = error.to_string();
        let mut next = Some(error);
        // A chain of sources is as long as the libraries below are deep; the bound is against one that bites its tail.
        for _ in 0..32 {
            let Some(error) = next else { break };
            last = error.to_string();
            if let Some(tls) = error.downcast_ref::<rustls::Error>() {
                return Self::of_tls(tls);
            }
            if error.is::<tokio::time::error::Elapsed>() {
                return Self::Timeout;
            }
            let io = error.downcast_ref::<io::Error>();
            if let Some(io) = io {
                found = Some(Self::of_io(io));
            }
            next = match io.and_then(io::Error::get_ref) {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        found.unwrap_or(Self::Other(last))
    }

    fn of_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::AlertReceived(alert) => Self::Refused(*alert),
            rustls::Error::InvalidCertificate(why) => match why {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::NotTrusted,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::OtherName,
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Time,
                why => Self::Certificate(why.to_string()),
            },
            error => Self::Other(error.to_string()),
        }
    }

    fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::TimedOut => Self::Timeout,
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => Self::Closed,
            Kind::ConnectionRefused | Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::NetworkDown => {
                Self::Unreachable(error.to_string())
            }
            _ => Self::Other(error.to_string()),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("the name does not resolve"),
            Self::Unreachable(why) => write!(f, "not reachable ({why})"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::NotTrusted => f.write_str(
                "its certificate is not from an authority that this executor trusts: another control plane, someone in between, or a new authority while this executor was away",
            ),
            Self::OtherName => f.write_str("its certificate is for another name; the endpoint has to be one of the names in it"),
            Self::Time => f.write_str("its certificate is not valid now by this host's clock; check the clock"),
            Self::Certificate(why) => write!(f, "its certificate is refused: {why}"),
            Self::Refused(AlertDescription::CertificateExpired) => {
                f.write_str("it refuses this executor's certificate as expired")
            }
            Self::Refused(alert) => write!(
                f,
                "it refuses this executor's certificate (TLS alert {alert:?}): deactivated, deleted, replaced, or of another control plane"
            ),
            Self::Closed => f.write_str("the connection was cut"),
            Self::Other(why) => f.write_str(why),
        }
    }
}
