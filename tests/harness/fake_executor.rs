//! An executor that is a test: a real certificate by a real join token, a real stream, and nothing behind it. The test says
//! what it says.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use domain::JoinSecret;
use executor_sdk::connect;
use executor_sdk::credentials::{CredentialStore, Credentials};
use executor_sdk::enrol::{enrol, renew};
use proto::v1;
use proto::v1::sync_executor_request::Message as Say;
use proto::v1::sync_executor_response::Message as Hear;
use proto::v1::sync_service_client::SyncServiceClient;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use uuid::Uuid;

use crate::control_plane::ControlPlane;
use crate::signing::PLATFORM;

/// How long a word is awaited; reached only by a failing test.
const PATIENCE: Duration = Duration::from_secs(20);

/// What it says of itself, for a test to change.
pub type Hello = v1::Hello;

/// An enrolled executor.
pub struct FakeExecutor {
    name: String,
    credentials: Credentials,
    version: String,
    key_ids: Vec<String>,
    folder: TempDir,
}

/// Its open stream.
pub struct Stream {
    say: mpsc::Sender<v1::SyncExecutorRequest>,
    hear: Streaming<v1::SyncExecutorResponse>,
}

// === impl FakeExecutor ===

impl FakeExecutor {
    /// Enrols one that will say it runs `version`.
    ///
    /// # Errors
    /// The API's, or enrolment's.
    pub async fn enrol(plane: &ControlPlane, id: &str, version: &str) -> Result<Self> {
        let mut executor = Self::by_word(&plane.join_word(id).await?, version).await?;
        executor.key_ids = vec![plane.signer().key_id()];
        Ok(executor)
    }

    /// Enrols one by a join word that says its name.
    ///
    /// # Errors
    /// Enrolment's.
    pub async fn by_word(word: &str, version: &str) -> Result<Self> {
        let join: JoinSecret = word.parse()?;
        let folder = TempDir::new()?;
        let credentials = enrol(&join, None, &CredentialStore::new(folder.path())).await?;
        Ok(Self {
            name: credentials.executor.to_string(),
            credentials,
            version: version.to_owned(),
            key_ids: Vec::new(),
            folder,
        })
    }

    /// Enrols one and opens its stream.
    ///
    /// # Errors
    /// As [`Self::enrol`] and [`Self::connect`].
    pub async fn online(plane: &ControlPlane, id: &str, version: &str) -> Result<(Self, Stream)> {
        let executor = Self::enrol(plane, id, version).await?;
        let stream = executor.connect().await?;
        Ok((executor, stream))
    }

    /// Its resource name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its uid.
    #[must_use]
    pub fn uid(&self) -> String {
        self.credentials.uid.to_string()
    }

    /// Dials this replica from now on.
    ///
    /// # Errors
    /// Never, for an address.
    pub fn turn_to(&mut self, replica: SocketAddr) -> Result<()> {
        self.credentials.endpoints = vec![replica.to_string().parse()?];
        Ok(())
    }

    /// Its certificate and key.
    #[must_use]
    pub const fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Exchanges its certificate for the next one.
    ///
    /// # Errors
    /// It is not given one.
    pub async fn renew(&mut self) -> Result<()> {
        let connection = connect::dial(&self.credentials.endpoints[0], connect::tls(&self.credentials)?).await?;
        let store = CredentialStore::new(self.folder.path());
        self.credentials = renew(&connection, &self.credentials, &store).await?;
        Ok(())
    }

    /// What it would say first.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            uid: self.uid(),
            instance_id: Uuid::new_v4().to_string(),
            kind: v1::Kind::Agent.into(),
            version: self.version.clone(),
            binary_sha256: "ab".repeat(32),
            platform: PLATFORM.to_owned(),
            release_key_ids: self.key_ids.clone(),
            ..Hello::default()
        }
    }

    /// A connection with its certificate.
    ///
    /// # Errors
    /// The control plane does not answer.
    pub async fn channel(&self) -> Result<Channel> {
        let tls = connect::tls(&self.credentials)?;
        let connection = connect::dial(&self.credentials.endpoints[0], tls).await?;
        Ok(connection.channel())
    }

    /// Opens its stream, and waits for `welcome`.
    ///
    /// # Errors
    /// It is not let in.
    pub async fn connect(&self) -> Result<Stream> {
        self.connect_with(self.hello()).await
    }

    /// The same with other first words.
    ///
    /// # Errors
    /// It is not let in.
    pub async fn connect_with(&self, hello: Hello) -> Result<Stream> {
        open(self.channel().await?, hello).await
    }
}

/// Opens a stream over a connection that is there already, and waits for `welcome`.
///
/// # Errors
/// It is not let in.
pub async fn open(channel: Channel, hello: Hello) -> Result<Stream> {
    let (say, messages) = mpsc::channel(16);
    say.send(request(Say::Hello(hello))).await?;
    let hear = SyncServiceClient::new(channel).sync_executor(ReceiverStream::new(messages)).await?.into_inner();
    let mut stream = Stream { say, hear };
    stream.until("welcome", |word| matches!(word, Hear::Welcome(_))).await?;
    Ok(stream)
}

// === impl Stream ===

impl Stream {
    /// Says something.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn say(&self, message: Say) -> Result<()> {
        self.say.send(request(message)).await.context("the stream is closed")
    }

    /// The next word; none: the control plane closed the stream.
    ///
    /// # Errors
    /// The stream's status, or none came.
    pub async fn next(&mut self) -> Result<Option<Hear>> {
        let next = tokio::time::timeout(PATIENCE, self.hear.message());
        let word = next.await.context("no word came")??;
        Ok(word.and_then(|word| word.message))
    }

    /// Waits for a word, past others.
    ///
    /// # Errors
    /// The stream ended without it, or it did not come.
    pub async fn until(&mut self, what: &str, wanted: impl Fn(&Hear) -> bool) -> Result<Hear> {
        loop {
            match self.next().await.with_context(|| format!("waiting for {what}"))? {
                Some(word) if wanted(&word) => return Ok(word),
                Some(_) => {}
                None => bail!("the stream ended before {what}"),
            }
        }
    }

    /// Waits until an upgrade is desired, and acknowledges it.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn desired(&mut self) -> Result<v1::Desired> {
        let word =
            self.until("a desired upgrade", |word| matches!(word, Hear::Desired(desired) if desired.spec.is_some()));
        let Hear::Desired(desired) = word.await? else {
            bail!("another word than desired");
        };
        self.acknowledge(desired.generation).await?;
        Ok(desired)
    }

    /// Waits until nothing is desired, under a generation above `after`.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn nothing_desired(&mut self, after: u64) -> Result<()> {
        let nothing = |word: &Hear| matches!(word, Hear::Desired(desired) if desired.spec.is_none() && desired.generation > after);
        self.until("that nothing is desired", nothing).await.map(|_| ())
    }

    /// Says that a generation was seen.
    ///
    /// # Errors
    /// The stream is closed.
    pub async fn acknowledge(&self, generation: u64) -> Result<()> {
        self.say(Say::Heartbeat(v1::Heartbeat { generation })).await
    }

    /// Waits for the answer to a sign of life. The first one is answered when the beginning of the session is over, which is
    /// after `welcome`: what is desired is read in between.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub async fn heartbeat(&mut self) -> Result<()> {
        self.acknowledge(0).await?;
        self.until("the answer to a heartbeat", |word| matches!(word, Hear::HeartbeatAck(_))).await.map(|_| ())
    }

    /// Downloads, verifies, and asks for leave.
    ///
    /// # Errors
    /// The stream is closed, or the answer did not come.
    pub async fn ask_leave(&mut self, desired: &v1::Desired) -> Result<Hear> {
        let progress = |phase: v1::Phase| {
            Say::Progress(v1::Progress {
                attempt: desired.attempt.clone(),
                generation: desired.generation,
                phase: phase.into(),
                bytes_done: 1,
                bytes_total: 2,
                waiting: None,
            })
        };
        self.say(progress(v1::Phase::Downloading)).await?;
        self.say(progress(v1::Phase::Verifying)).await?;
        let ready = v1::ReadyToSwap { attempt: desired.attempt.clone(), generation: desired.generation };
        self.say(Say::ReadyToSwap(ready)).await?;
        let answer = |word: &Hear| matches!(word, Hear::Proceed(_) | Hear::Withdrawn(_));
        self.until("leave", answer).await
    }

    /// Reports, and waits for the acknowledgement.
    ///
    /// # Errors
    /// The stream is closed, or it did not come.
    pub async fn report(&mut self, report: v1::Report) -> Result<()> {
        let attempt = report.attempt.clone();
        self.say(Say::Report(report)).await?;
        let acknowledged = |word: &Hear| matches!(word, Hear::ReportAck(ack) if ack.attempt == attempt);
        self.until("the acknowledgement of the report", acknowledged).await.map(|_| ())
    }
}

/// What it reports of an attempt from 1.0.0 to 1.1.0 that went well.
#[must_use]
pub fn success(desired: &v1::Desired) -> v1::Report {
    v1::Report {
        attempt: desired.attempt.clone(),
        outcome: v1::Outcome::Succeeded.into(),
        running_version: "1.1.0".to_owned(),
        target_version: "1.1.0".to_owned(),
        from_version: "1.0.0".to_owned(),
        ..v1::Report::default()
    }
}

/// What it reports, as 1.0.0, of an artifact that nobody signed whom it trusts.
#[must_use]
pub fn refusal(desired: &v1::Desired) -> v1::Report {
    v1::Report {
        attempt: desired.attempt.clone(),
        outcome: v1::Outcome::Refused.into(),
        stage: "verify".to_owned(),
        error_code: "UNKNOWN_KEY".to_owned(),
        message: "no signature by a trusted key".to_owned(),
        running_version: "1.0.0".to_owned(),
        ..v1::Report::default()
    }
}

fn request(message: Say) -> v1::SyncExecutorRequest {
    v1::SyncExecutorRequest { message: Some(message) }
}
