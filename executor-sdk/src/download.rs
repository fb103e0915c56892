//! Fetching an artifact's bytes into a new file beside the live binary. Who serves them is never trusted.
//!
//! - The size is the signed one: it is the cap, the disk is asked for it first, and an endless body ends one byte past it.
//! - A cut connection is resumed with Range and If-Range, as often as it takes, while new bytes come; without a strong ETag,
//!   or with another one, it starts from the first byte.
//! - No compression: what is on the wire is what was signed. A body that says it is encoded is refused.
//! - A path is fetched from the executor listener with the client certificate; an external https URL without it, never from
//!   this host or its network unless the host allows that, and never across a redirect to another origin.
//! - No name from the wire reaches the file system.
//!
//! The HTTP client lives as long as one download: an idle executor holds none.

mod body;
mod file;
mod source;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use domain::attempt::{ErrorCode, Stage, Waiting};
use domain::join::Endpoint;
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use tokio::time::Instant;

use crate::connect::Backoff;
use crate::executor::{ArtifactFile, Failure};
use crate::fault;
use crate::verify::{Proven, check_file};

use body::{Body, Broken};
use source::Source;

pub use file::{TemporaryFile, check_space, sweep};

/// No new byte for this long, through all retries, ends a download (rule 5).
pub const STALL_DEADLINE: Duration = Duration::from_secs(10 * 60);

/// What a host says about downloads.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Most bytes per second; none: as fast as it goes.
    pub bytes_per_second: Option<u64>,
    /// Whether external URLs may lead to this host or its own networks.
    pub local_addresses: LocalAddresses,
    /// Authorities trusted for external URLs, beside the host's.
    pub authorities: Vec<CertificateDer<'static>>,
    /// No new byte for this long ends it.
    pub stall_deadline: Duration,
}

/// Whether external URLs may lead to loopback, link-local and private addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalAddresses {
    /// They may not: an executor is no door into its network.
    Refused,
    /// They may: the host has a mirror of its own.
    Allowed,
}

/// Where the executor listener is, and who we are there.
#[derive(Clone, Debug)]
pub struct ControlPlane {
    /// Where.
    pub endpoint: Endpoint,
    /// With the client certificate, as [`crate::connect::tls`] makes it.
    pub tls: Arc<ClientConfig>,
}

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where it is: a path on the executor listener, or an https URL.
    pub uri: &'a str,
    /// Its size in bytes, as signed.
    pub size: u64,
    /// The directory of the new file.
    pub directory: &'a Path,
}

/// How a download gets on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// So many bytes are there.
    Bytes(u64),
    /// It broke off, and is tried again after a pause: this is waited out.
    BrokeOff(Waiting),
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            bytes_per_second: None,
            local_addresses: LocalAddresses::Refused,
            authorities: Vec::new(),
            stall_deadline: STALL_DEADLINE,
        }
    }
}

/// Fetches the bytes; `heard` hears how it gets on. They are not proven yet: that is [`prove`]'s.
///
/// May be dropped at any moment; the file goes with it.
///
/// # Errors
/// A [`Failure`] in [`Stage::Download`] (or [`Stage::Preflight`] for a full disk): refused when the source breaks a rule, failed when it could not be done.
pub async fn fetch(
    request: Request<'_>,
    control_plane: &ControlPlane,
    policy: &Policy,
    mut heard: impl FnMut(Heard) + Send,
) -> Result<TemporaryFile, Failure> {
    check_space(request.directory, request.size)?;
    sweep(request.directory);
    let source = Source::new(request.uri, control_plane, policy)?;
    let mut temporary = TemporaryFile::create(request.directory)?;
    fault::reach(fault::DOWNLOAD_CREATED);
    let mut body = Body::new(&temporary, request.size, policy.bytes_per_second)?;
    let mut backoff = Backoff::default();
    loop {
        let before = body.most();
        let broken = match body.get(&source, &mut |bytes| heard(Heard::Bytes(bytes))).await {
            Ok(()) => {
                body.finish().await?;
                temporary.rewind()?;
                fault::reach(fault::DOWNLOAD_WRITTEN);
                return Ok(temporary);
            }
            Err(Broken::Fatal(failure)) => return Err(failure),
            Err(Broken::Again(why)) => why,
        };
        if body.most() != before {
            backoff.succeed();
        }
        let wait = backoff.wait();
        if Instant::now() + wait >= body.last_byte() + policy.stall_deadline {
            return Err(stalled(&request, &body, policy, &broken));
        }
        heard(Heard::BrokeOff(Waiting { error_code: ErrorCode::Unreachable, message: broken.clone() }));
        tracing::info!(error = %broken, bytes = body.have(), wait = ?wait, "download broke off, trying again");
        tokio::time::sleep(wait).await;
    }
}

/// Proves the whole file through its open handle and makes it executable. Blocks the thread.
///
/// # Errors
/// A [`Failure`] in [`Stage::Verify`]; the file is removed.
pub fn prove(mut temporary: TemporaryFile, proven: &Proven) -> Result<ArtifactFile, Failure> {
    check_file(proven, temporary.file_mut())?;
    let size = temporary.make_executable()?;
    fault::reach(fault::DOWNLOAD_PROVEN);
    Ok(ArtifactFile::new(temporary, proven.sha256(), size))
}

fn stalled(request: &Request<'_>, body: &Body, policy: &Policy, why: &str) -> Failure {
    let message = format!(
        "no new byte for {:?}, {} of {} bytes are there; last error: {why}",
        policy.stall_deadline,
        body.have(),
        request.size
    );
    Failure::failed(Stage::Download, ErrorCode::Unreachable, message)
}
