//! Looking at an image before anything in the cluster is touched: would a node find, under the signed digest, an image for
//! itself? Decided here, once; whether the kubelet can really pull it the rollout shows.
//!
//! ```text
//! mirrors of the registry, then the registry: each login of the pull secrets ─→ the signed document ─ judge ─→ what it points at ─ judge ─→ Found
//! ```
//!
//! The library for registries that most of Rust uses (`oci-client`) reads answers of any length into memory, and a registry
//! must not be able to end the operator: so the few requests are ours ([`door`], decision 0011), and the tests hold them
//! against that library.
//!
//! Nothing is retried here. An error says whether it may pass ([`Error::is_temporary`]); who asked decides until when.

mod challenge;

pub mod credentials;

mod door;

pub mod image;

mod judge;

pub mod secrets;

pub mod settings;

use domain::attempt::{ErrorCode, Stage};
use domain::{Platform, Sha256};
use executor_sdk::executor::Failure;

use credentials::{Keyring, Login};
use door::{Door, Kind, Refused};
use image::Image;
use judge::{Fault, Next};
use settings::Settings;

/// Most logins tried at one host: the kubelet tries all, and whoever has more than this of one image has lost count.
const LOGINS_MAX: usize = 8;

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The image is there, for this platform.
    Found(Found),
    /// The registry shows it to nobody without credentials, and we have none: nodes may have their own. For people.
    Hidden(String),
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The index or manifest that was signed, byte for byte.
    pub signed: Vec<u8>,
    /// The manifest of this platform's image; of an image without an index the signed digest again.
    pub manifest: Sha256,
    /// Which host showed it.
    pub host: String,
}

/// Why the image must not be deployed, or cannot be looked at now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{image}: {message}")]
pub struct Error {
    /// Which image.
    pub image: Box<Image>,
    /// Which error.
    pub kind: ErrorKind,
    /// For people: which host, what it did, what to do.
    pub message: String,
}

/// The errors by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ErrorKind {
    /// No registry has it.
    NotFound,
    /// Credentials of ours are refused.
    Unauthorized,
    /// Another image than the signed one.
    DigestMismatch,
    /// No image for this platform.
    NoSuchPlatform,
    /// The signed bytes are no image.
    NotAnImage,
    /// An answer that no registry gives.
    Garbage,
    /// Not reached, too slow, or not able to answer.
    Unreachable,
}

// === impl Error ===

impl Error {
    /// Whether asking again may help.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self.kind, ErrorKind::Unreachable)
    }

    /// The typed error of an attempt.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self.kind {
            ErrorKind::NotFound => ErrorCode::ImageNotFound,
            ErrorKind::Unauthorized => ErrorCode::RegistryUnauthorized,
            ErrorKind::DigestMismatch => ErrorCode::DigestMismatch,
            ErrorKind::NoSuchPlatform => ErrorCode::PlatformMismatch,
            ErrorKind::NotAnImage => ErrorCode::BadManifest,
            ErrorKind::Garbage => ErrorCode::HttpStatus,
            ErrorKind::Unreachable => ErrorCode::RegistryUnreachable,
        }
    }

    /// The end of an attempt: refused, nothing was touched.
    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure::refused(Stage::Preflight, self.code(), self.to_string())
    }
}

/// Looks once.
///
/// # Errors
/// [`Error`], by name.
pub async fn probe(image: &Image, platform: &Platform, keyring: &Keyring, settings: &Settings) -> Result<Seen, Error> {
    let error = |kind, message: String| Error { image: Box::new(image.clone()), kind, message };
    let client =
        door::client(settings).map_err(|why| error(ErrorKind::Unreachable, format!("TLS cannot be set up: {why}")))?;
    let look = Look { client, image, platform, keyring, settings };
    match tokio::time::timeout(settings.deadline, look.everywhere()).await {
        Ok(seen) => seen.map_err(|(kind, message)| error(kind, message)),
        Err(_) => {
            let limit = settings.deadline.as_secs_f64();
            Err(error(ErrorKind::Unreachable, format!("registry {} was not done within {limit} s", image.host())))
        }
    }
}

type Why = (ErrorKind, String);

/// One look.
struct Look<'a> {
    client: reqwest::Client,
    image: &'a Image,
    platform: &'a Platform,
    keyring: &'a Keyring,
    settings: &'a Settings,
}

impl Look<'_> {
    /// Mirrors first, as nodes do. Where one has no good answer the next is asked; of several bad ones the last counts, which is
    /// the registry's own, and the others are told beside it.
    async fn everywhere(&self) -> Result<Seen, Why> {
        let registry = self.image.registry();
        let mirrors = self.settings.mirrors.get(registry).map_or(&[][..], Vec::as_slice);
        let mut before = Vec::new();
        for mirror in mirrors {
            match self.at(mirror, Some(registry)).await {
                Ok(Seen::Found(found)) => return Ok(Seen::Found(found)),
                Ok(Seen::Hidden(told)) | Err((_, told)) => before.push(told),
            }
        }
        let beside =
            |told: String| if before.is_empty() { told } else { format!("{told}; before: {}", before.join("; ")) };
        match self.at(self.image.host(), None).await {
            Ok(Seen::Hidden(told)) => Ok(Seen::Hidden(beside(told))),
            Err((kind, told)) => Err((kind, beside(told))),
            found => found,
        }
    }

    async fn at(&self, host: &str, mirrored: Option<&str>) -> Result<Seen, Why> {
        let repository = self.image.repository();
        let logins = self.keyring.lookup(&self.image.named_at(host));
        let mut door = Door::new(&self.client, self.settings, host, &repository, mirrored);
        let tried: Vec<Option<&Login>> =
            if logins.is_empty() { vec![None] } else { logins.iter().take(LOGINS_MAX).map(Some).collect() };
        let mut told = String::new();
        for login in tried {
            door.with_login(login);
            match self.through(&mut door, host).await {
                Err(Bad::Refused(Refused::Unauthorized(why))) => told = format!("registry {host} {why}"),
                other => return other.map(Seen::Found).map_err(|bad| bad.why(host)),
            }
        }
        if logins.is_empty() {
            return Ok(Seen::Hidden(format!(
                "{told}; no pull secret has credentials for it, nodes may have their own"
            )));
        }
        let n = logins.len();
        Err((
            ErrorKind::Unauthorized,
            format!("{told} with the credentials of the pull secrets ({n} tried); mend the Secret"),
        ))
    }

    async fn through(&self, door: &mut Door<'_>, host: &str) -> Result<Found, Bad> {
        let signed = door.get(Kind::Manifest, self.image.digest()).await?;
        let found = |manifest| Found { signed: signed.clone(), manifest, host: host.to_owned() };
        match judge::signed(&signed, self.image.digest(), self.platform)? {
            Next::Manifest(pointer) => {
                judge::manifest(&door.get(Kind::Manifest, pointer.digest).await?, pointer)?;
                Ok(found(pointer.digest))
            }
            Next::Config(pointer) => {
                judge::config(&door.get(Kind::Blob, pointer.digest).await?, pointer, self.platform)?;
                Ok(found(self.image.digest()))
            }
        }
    }
}

/// What stands between us and the image at one host.
#[derive(Debug, thiserror::Error)]
enum Bad {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Bad {
    fn why(self, host: &str) -> Why {
        let kind = match &self {
            Self::Refused(Refused::NotFound(_)) => ErrorKind::NotFound,
            Self::Refused(Refused::Unauthorized(_)) => ErrorKind::Unauthorized,
            Self::Refused(Refused::Unreachable(_)) => ErrorKind::Unreachable,
            Self::Refused(Refused::Garbage(_)) | Self::Fault(Fault::Garbage(_)) => ErrorKind::Garbage,
            Self::Fault(Fault::Digest { .. }) => ErrorKind::DigestMismatch,
            Self::Fault(Fault::NoImage(_)) => ErrorKind::NotAnImage,
            Self::Fault(Fault::Platform { .. }) => ErrorKind::NoSuchPlatform,
        };
        let message = match (&self, kind) {
            (Self::Refused(Refused::NotFound(_)), _) => {
                format!("registry {host} {self}: push the image there, or correct the release")
            }
            (_, ErrorKind::Unreachable) => format!("registry {host} cannot be reached: {self}"),
            (Self::Fault(Fault::Digest { .. }), _) => format!("registry {host} gives another image: {self}"),
            (Self::Fault(_), ErrorKind::NoSuchPlatform | ErrorKind::NotAnImage) => {
                format!("the image at registry {host} cannot run here: {self}")
            }
            (_, _) => format!("registry {host} answers as no registry does: {self}"),
        };
        (kind, message)
    }
}
