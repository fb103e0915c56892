//! A control plane in wrong hands, and whoever serves the bytes: what they offer goes the whole road to a real executor (the
//! SDK's loop, over real TLS, with the keys of this build) and is applied nowhere. The old version runs on, its stream stays
//! up, and the attempt says what was wrong.

mod served;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use domain::attempt::{ErrorCode, Outcome, Report};
use domain::release::{Artifact, Location, Release, Status};
use domain::{AttemptId, Channel, Kind, ReleaseId, Revision, Timestamp};
use executor_sdk::download;
use executor_sdk::driver::{self, Options};
use executor_sdk::executor::{Applied, Description, Executor, Failure, Leave, Plan, Prepared, Workplace};
use executor_sdk::journal::{Journal, OpenAttempt};
use harness::signing::{FILE, PLATFORM, Signer, manifest, sha256};
use libtest_mimic::Trial;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::plane::{Plane, version};
use crate::{Result, trial};

/// What is offered; the executor runs 1.0.0.
const TARGET: &str = "1.3.0";

const BYTES: &[u8] = b"\x7fELF the bytes of 1.3.0";

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        trial("what_is_signed_by_a_trusted_key_is_applied", good),
        trial("an_unknown_key_beside_a_known_one_is_accepted", unknown_beside_known),
        trial("wrong_key_is_not_applied", wrong_key),
        trial("two_signatures_in_one_file_are_not_applied", two_in_one),
        trial("an_empty_trusted_comment_is_not_applied", empty_comment),
        trial("an_older_release_under_a_newer_version_is_not_applied", older_release),
        trial("another_platforms_artifact_is_not_applied", other_platform),
        trial("another_kinds_artifact_is_not_applied", other_kind),
        trial("a_path_escape_in_a_file_name_is_not_applied", path_escape),
        trial("one_bit_flipped_is_not_applied", bit_flipped),
        trial("truncated_bytes_are_not_applied", truncated),
        trial("a_download_uri_into_the_local_network_is_not_asked", local_network),
        trial("a_release_below_the_floor_is_not_applied", below_floor),
    ];
    trials.extend(served::trials());
    trials
}

/// What is offered, as the attacker made it.
struct Offer {
    signatures: Vec<String>,
    /// What is served under the signed digest.
    served: Vec<u8>,
    location: Location,
}

/// A real executor that notes what it was asked to do.
struct Host {
    directory: PathBuf,
    journal: Journal,
    calls: Mutex<Vec<&'static str>>,
}

/// It, running beside a control plane.
struct Scene {
    plane: Plane,
    host: Arc<Host>,
    shutdown: CancellationToken,
    running: JoinHandle<std::result::Result<driver::End, driver::Error>>,
    folder: TempDir,
}

impl Host {
    fn note(&self, call: &'static str) {
        self.calls.lock().expect("not poisoned").push(call);
    }

    fn applied(&self) -> bool {
        self.calls.lock().expect("not poisoned").contains(&"apply")
    }
}

impl Executor for Host {
    fn describe(&self) -> Description {
        Description {
            platform: Some(PLATFORM.parse().expect("a platform")),
            ..Description::new(Kind::Agent, version("1.0.0"))
        }
    }

    async fn preflight(&self, _: &Plan) -> std::result::Result<Workplace, Failure> {
        self.note("preflight");
        Ok(Workplace::Directory(self.directory.clone()))
    }

    async fn apply(&self, prepared: Prepared, leave: Leave) -> std::result::Result<Applied, Failure> {
        self.note("apply");
        let open = OpenAttempt::of(&prepared.plan, &leave);
        self.journal.update(Duration::from_secs(5), |state| state.open = Some(open)).expect("writes");
        Ok(Applied::Restart)
    }

    async fn roll_back(&self, _: AttemptId) -> std::result::Result<Applied, Failure> {
        self.note("roll_back");
        Ok(Applied::Restart)
    }
}

impl Scene {
    async fn start() -> Result<Self> {
        Self::start_with(download::Policy::default()).await
    }

    async fn start_with(downloads: download::Policy) -> Result<Self> {
        let plane = Plane::start().await?;
        let (_, folder) = plane.enrol("web-1").await?;
        let directory = folder.path().join("bin");
        std::fs::create_dir(&directory)?;
        let journal = Journal::new(folder.path());
        let host = Arc::new(Host { directory, journal: journal.clone(), calls: Mutex::default() });
        let options = Options { downloads, ..Options::new(folder.path()) };
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(driver::run(Arc::clone(&host), options, shutdown.clone()));
        let scene = Self { plane, host, shutdown, running, folder };
        // Its session is open a moment before its first hello is written.
        let look = || async {
            let seen = scene.plane.executor("web-1").await?;
            Ok(seen.presence.online && seen.executor.version.is_some())
        };
        scene.plane.until("the executor to be online", look, |online| *online).await?;
        Ok(scene)
    }

    /// Puts the offer into the catalog and asks for it, as a control plane that checks nothing would.
    async fn offer(&self, offer: Offer) -> Result<domain::Attempt> {
        let digest = sha256(BYTES);
        std::fs::write(self.plane.artifacts().join(digest.to_string()), offer.served)?;
        let artifact = Artifact::Agent {
            platform: PLATFORM.parse()?,
            file: FILE.to_owned(),
            size: u64::try_from(BYTES.len())?,
            sha256: digest,
            location: offer.location,
            signatures: offer.signatures,
        };
        let release = Release {
            id: ReleaseId { kind: Kind::Agent, version: version(TARGET) },
            revision: Revision::default(),
            channel: Channel::Stable,
            status: Status::Published,
            notes: String::new(),
            floor: Some(version("0.0.1")),
            sequence: Some(9),
            artifacts: vec![artifact],
            create_time: Timestamp::EPOCH,
            publish_time: Some(Timestamp::EPOCH),
            yank_reason: None,
        };
        self.plane.sow(&release).await?;
        self.plane.request("web-1", TARGET).await
    }

    /// The offer is refused for `code`, in words that say `says`, and nothing else happens.
    async fn refuses(self, offer: Offer, code: ErrorCode, says: &str) -> Result {
        let attempt = self.offer(offer).await?;
        self.refused(&attempt, code, says).await
    }

    /// What was asked for is refused so.
    async fn refused(self, attempt: &domain::Attempt, code: ErrorCode, says: &str) -> Result {
        let look = || async { Ok(self.plane.attempt(attempt).await?.refused) };
        let refused = self.plane.until("the refusal", look, Option::is_some).await?.context("a report")?;
        let Report { outcome, error_code, ref message, ref running_version, .. } = refused;
        ensure!((outcome, error_code) == (Outcome::Refused, Some(code)), "{refused:?}");
        ensure!(message.contains(says), "it does not say {says:?}: {message}");
        ensure!(*running_version == version("1.0.0"));
        ensure!(!self.host.applied(), "nothing is applied");
        ensure!(self.host.journal.read()?.open.is_none(), "nothing was begun");
        let left: Vec<_> = std::fs::read_dir(&self.host.directory)?.collect();
        ensure!(left.is_empty(), "nothing is left behind: {left:?}");
        ensure!(self.plane.executor("web-1").await?.presence.online && self.plane.sessions.count() == 1);
        ensure!(!self.running.is_finished(), "the old version runs on");
        self.shutdown.cancel();
        self.running.await??;
        Ok(())
    }

    /// The offer is applied, with leave.
    async fn applies(self, offer: Offer) -> Result {
        self.offer(offer).await?;
        self.applied().await
    }

    /// What was offered is.
    async fn applied(self) -> Result {
        let end = tokio::time::timeout(Duration::from_secs(20), self.running).await.context("it did not end")??;
        ensure!(end? == driver::End::Restart && self.host.applied());
        let open = self.host.journal.read()?.open.context("an open attempt")?;
        ensure!(open.target_version == version(TARGET), "{open:?}");
        Ok(())
    }
}

/// What the publisher would have signed.
fn line() -> String {
    manifest(TARGET, Channel::Stable, 9, "0.0.1", BYTES).to_string()
}

/// An offer whose one signature has this trusted comment.
fn commented(comment: &str) -> Result<Offer> {
    Ok(signed(vec![Signer::development()?.sign(BYTES, comment)?]))
}

fn signed(signatures: Vec<String>) -> Offer {
    Offer { signatures, served: BYTES.to_vec(), location: Location::Stored }
}

async fn good() -> Result {
    Scene::start().await?.applies(commented(&line())?).await
}

async fn unknown_beside_known() -> Result {
    let stranger = Signer::new()?.sign(BYTES, &line())?;
    let ours = Signer::development()?.sign(BYTES, &line())?;
    Scene::start().await?.applies(signed(vec![stranger, ours])).await
}

async fn wrong_key() -> Result {
    let stranger = Signer::new()?;
    let offer = signed(vec![stranger.sign(BYTES, &line())?]);
    Scene::start().await?.refuses(offer, ErrorCode::UnknownKey, &stranger.key_id()).await
}

async fn two_in_one() -> Result {
    let one = Signer::development()?.sign(BYTES, &line())?;
    let offer = signed(vec![format!("{one}{one}")]);
    Scene::start().await?.refuses(offer, ErrorCode::BadSignature, "four lines").await
}

async fn empty_comment() -> Result {
    Scene::start().await?.refuses(commented("")?, ErrorCode::BadManifest, "trusted comment").await
}

async fn older_release() -> Result {
    let older = manifest("1.0.9", Channel::Stable, 3, "0.0.1", BYTES).to_string();
    Scene::start().await?.refuses(commented(&older)?, ErrorCode::ManifestMismatch, "1.0.9").await
}

async fn other_platform() -> Result {
    let other = line().replace("arch=amd64", "arch=arm64");
    Scene::start().await?.refuses(commented(&other)?, ErrorCode::PlatformMismatch, "linux/arm64").await
}

async fn other_kind() -> Result {
    let digest = sha256(BYTES);
    let image = format!(
        "novacula-manifest/1 kind=operator version={TARGET} channel=stable image=registry.example/novacula digest=sha256:{digest} sequence=9 floor=0.0.1"
    );
    Scene::start().await?.refuses(commented(&image)?, ErrorCode::KindMismatch, "operator").await
}

async fn path_escape() -> Result {
    for escape in ["../../etc/cron.d/novacula-agent", "/etc/cron.d/novacula-agent", ".."] {
        let escaped = line().replace(&format!("file={FILE}"), &format!("file={escape}"));
        Scene::start().await?.refuses(commented(&escaped)?, ErrorCode::BadManifest, "file").await?;
    }
    Ok(())
}

async fn bit_flipped() -> Result {
    let mut offer = commented(&line())?;
    offer.served[7] ^= 1;
    Scene::start().await?.refuses(offer, ErrorCode::DigestMismatch, &sha256(BYTES).to_string()).await
}

async fn truncated() -> Result {
    let mut offer = commented(&line())?;
    offer.served.truncate(10);
    Scene::start().await?.refuses(offer, ErrorCode::Truncated, "").await
}

async fn local_network() -> Result {
    for host in ["127.0.0.1:9", "10.0.0.7", "169.254.169.254", "[::1]:9", "localhost:9"] {
        let mut offer = commented(&line())?;
        offer.location = Location::External(format!("https://{host}/novacula-agent"));
        Scene::start().await?.refuses(offer, ErrorCode::UrlNotAllowed, "").await?;
    }
    Ok(())
}

/// The floor that this host has confirmed is its own, whatever the control plane says.
async fn below_floor() -> Result {
    let mut scene = Scene::start().await?;
    scene.shutdown.cancel();
    (&mut scene.running).await??;
    // Asked for before the host says what it has confirmed: a control plane that knows would refuse the person.
    let attempt = scene.offer(commented(&line())?).await?;
    scene.host.journal.update(Duration::from_secs(5), |state| state.floor = Some(version("1.9.0")))?;
    scene.shutdown = CancellationToken::new();
    let options = Options::new(scene.folder.path());
    scene.running = tokio::spawn(driver::run(Arc::clone(&scene.host), options, scene.shutdown.clone()));
    scene.refused(&attempt, ErrorCode::BelowFloor, "1.9.0").await
}
