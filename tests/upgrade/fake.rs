//! An executor that says exactly what it is told to, over the product's own TLS client and the generated stubs.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use domain::attempt::{Outcome, Phase, Report, Waiting};
use domain::sync::{AttemptReport, Hello, Progress, Request, Response, Welcome};
use domain::{AttemptId, Desired, ExecutorUid, Generation, InstanceId, Kind, Want};
use executor_sdk::connect;
use executor_sdk::credentials::Credentials;
use proto::v1;
use proto::v1::sync_service_client::SyncServiceClient;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::Result;
use crate::plane::{Plane, version};

/// Nothing that a case waits for takes this long.
const SOON: Duration = Duration::from_secs(10);

/// One process of one executor.
pub(crate) struct Fake {
    pub(crate) credentials: Credentials,
    pub(crate) instance: InstanceId,
    pub(crate) running: &'static str,
    pub(crate) generation: Generation,
    client: SyncServiceClient<Channel>,
    _folder: Option<TempDir>,
}

/// A stream of it.
pub(crate) struct Stream {
    say: mpsc::Sender<v1::SyncExecutorRequest>,
    hear: Streaming<v1::SyncExecutorResponse>,
}

impl Fake {
    /// Enrols `name` and dials.
    pub(crate) async fn enrol(plane: &Plane, name: &str) -> Result<Self> {
        let (credentials, folder) = plane.enrol(name).await?;
        let client = dial(&credentials).await?;
        Ok(Self {
            credentials,
            instance: InstanceId::new(Uuid::new_v4()),
            running: "1.0.0",
            generation: Generation(0),
            client,
            _folder: Some(folder),
        })
    }

    /// Another process with the same credentials: a clone, or the next start.
    pub(crate) async fn another(&self) -> Result<Self> {
        Ok(Self {
            credentials: self.credentials.clone(),
            instance: InstanceId::new(Uuid::new_v4()),
            running: self.running,
            generation: self.generation,
            client: dial(&self.credentials).await?,
            _folder: None,
        })
    }

    pub(crate) fn uid(&self) -> ExecutorUid {
        self.credentials.uid
    }

    pub(crate) fn hello(&self) -> Hello {
        Hello {
            uid: self.uid(),
            instance: self.instance,
            kind: Kind::Agent,
            version: version(self.running),
            binary_sha256: None,
            platform: Some("linux/amd64".parse().expect("a platform")),
            release_key_ids: Vec::new(),
            capabilities: Vec::new(),
            generation: self.generation,
            open_attempt: None,
            phase: None,
            unsent_outcomes: Vec::new(),
            pinned: None,
            channel: None,
            channel_ceiling: None,
            floor: None,
        }
    }

    /// Opens a stream without a word.
    pub(crate) async fn dial(&mut self) -> Result<Stream> {
        let (say, said) = mpsc::channel(64);
        let call = self.client.sync_executor(ReceiverStream::new(said));
        let hear = tokio::time::timeout(SOON, call).await.context("open a stream")??.into_inner();
        Ok(Stream { say, hear })
    }

    /// Opens a stream, says hello, and hears welcome.
    pub(crate) async fn open(&mut self) -> Result<Stream> {
        let hello = self.hello();
        Ok(self.open_with(hello).await?.0)
    }

    pub(crate) async fn open_with(&mut self, hello: Hello) -> Result<(Stream, Welcome)> {
        let mut stream = self.dial().await?;
        stream.say(Request::Hello(Box::new(hello))).await?;
        match stream.hear().await? {
            Response::Welcome(welcome) => Ok((stream, welcome)),
            other => bail!("not welcome: {other:?}"),
        }
    }

    pub(crate) async fn probe(&mut self) -> std::result::Result<String, Status> {
        let answer = self.client.probe(v1::ProbeRequest {}).await?;
        Ok(answer.into_inner().server_version)
    }
}

async fn dial(credentials: &Credentials) -> Result<SyncServiceClient<Channel>> {
    let tls = connect::tls(credentials)?;
    let connection = connect::dial(&credentials.endpoints[0], tls).await?;
    Ok(SyncServiceClient::new(connection.channel()))
}

impl Stream {
    pub(crate) async fn say(&self, request: Request) -> Result {
        self.say_wire(request.into()).await
    }

    pub(crate) async fn say_wire(&self, wire: v1::SyncExecutorRequest) -> Result {
        self.say.send(wire).await.map_err(|_| anyhow!("the stream is closed"))
    }

    /// The next word; one that this build does not know is an error here.
    pub(crate) async fn hear(&mut self) -> Result<Response> {
        self.hear_within(SOON).await
    }

    pub(crate) async fn hear_within(&mut self, limit: Duration) -> Result<Response> {
        let next = tokio::time::timeout(limit, self.hear.message()).await;
        let wire = next.map_err(|_| anyhow!("nothing was said for {limit:?}"))??;
        let wire = wire.context("the stream ended without a reason")?;
        proto::convert::sync::response(wire)?.context("a word that is not known")
    }

    /// The next desired, whatever is said before.
    pub(crate) async fn desired(&mut self) -> Result<Desired> {
        loop {
            if let Response::Desired(desired) = self.hear().await? {
                return Ok(desired);
            }
        }
    }

    /// The attempt and generation of the next desired that wants an upgrade.
    pub(crate) async fn wanted(&mut self) -> Result<(AttemptId, Generation)> {
        loop {
            let desired = self.desired().await?;
            if let Want::Upgrade { attempt, .. } = desired.want {
                return Ok((attempt, desired.generation));
            }
        }
    }

    /// The next word that is neither desired nor a sign of life.
    pub(crate) async fn answer(&mut self) -> Result<Response> {
        loop {
            match self.hear().await? {
                Response::Desired(_) | Response::HeartbeatAck => {}
                other => return Ok(other),
            }
        }
    }

    /// Says that it is alive and waits for the answer: everything said before has been heard then.
    pub(crate) async fn beat(&mut self, generation: Generation) -> Result<Vec<Response>> {
        self.say(Request::Heartbeat { generation }).await?;
        let mut heard = Vec::new();
        loop {
            match self.hear().await? {
                Response::HeartbeatAck => return Ok(heard),
                other => heard.push(other),
            }
        }
    }

    /// Acknowledges, and waits until that is written: a second sign of life is heard only after the first is through.
    pub(crate) async fn settle(&mut self, generation: Generation) -> Result {
        self.beat(generation).await?;
        self.beat(generation).await?;
        Ok(())
    }

    pub(crate) async fn ready(&self, attempt: AttemptId, generation: Generation) -> Result {
        self.say(Request::ReadyToSwap { attempt, generation }).await
    }

    pub(crate) async fn progress(
        &self,
        attempt: AttemptId,
        generation: Generation,
        phase: Phase,
        bytes_done: u64,
    ) -> Result {
        let progress = Progress { attempt, generation, phase, bytes_done, bytes_total: 1000, waiting: None };
        self.say(Request::Progress(progress)).await
    }

    /// Downloads no further, and waits this out.
    pub(crate) async fn waits_out(&self, attempt: AttemptId, generation: Generation, waiting: Waiting) -> Result {
        let (phase, waiting) = (Phase::Downloading, Some(waiting));
        self.say(Request::Progress(Progress { attempt, generation, phase, bytes_done: 0, bytes_total: 1000, waiting }))
            .await
    }

    /// Reports, and waits for the acknowledgement.
    pub(crate) async fn report(&mut self, report: AttemptReport) -> Result {
        let attempt = report.attempt;
        self.say(Request::Report(Box::new(report))).await?;
        match self.answer().await? {
            Response::ReportAck { attempt: acknowledged } if acknowledged == attempt => Ok(()),
            other => bail!("not acknowledged: {other:?}"),
        }
    }

    /// Why the stream is closed, whatever is said before: the reason of its last word.
    pub(crate) async fn closed(mut self) -> Result<String> {
        loop {
            match tokio::time::timeout(SOON, self.hear.message()).await.context("the stream is still open")? {
                Ok(Some(_)) => {}
                Ok(None) => bail!("it ended without a reason"),
                Err(status) => {
                    let reason = status.get_details_error_info().map(|info| info.reason);
                    return reason.with_context(|| format!("no reason in {status:?}"));
                }
            }
        }
    }

    /// Keeps the stream open and never reads it again.
    pub(crate) fn deaf(self) -> (mpsc::Sender<v1::SyncExecutorRequest>, Streaming<v1::SyncExecutorResponse>) {
        (self.say, self.hear)
    }
}

/// A report about an attempt from 1.0.0 to 1.1.0.
pub(crate) fn report(attempt: AttemptId, outcome: Outcome, running: &str) -> AttemptReport {
    AttemptReport {
        attempt,
        target_version: Some(version("1.1.0")),
        from_version: Some(version("1.0.0")),
        report: Report {
            outcome,
            stage: None,
            error_code: None,
            message: String::new(),
            running_version: version(running),
            rolled_back_to: None,
            log_tail: Vec::new(),
        },
    }
}
