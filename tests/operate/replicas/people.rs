//! People who ask the replicas: one after the other until one answers, the same request id each time. What they were told is
//! kept, for the check at the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use harness::client::{Client, reason};
use harness::daemon::SOON;
use harness::door::Door;
use proto::v1;
use tokio::time::{sleep, timeout};
use tonic::{Code, Status};

use crate::Result;

/// No call takes longer, whatever is away: the store's deadlines add up to less.
const HANG: Duration = Duration::from_secs(30);

/// Those who ask, wherever they are answered.
#[derive(Clone, Debug)]
pub(crate) struct People {
    doors: Arc<Vec<Door>>,
    /// Attempts by the request that made them, as answered.
    accepted: Arc<Mutex<BTreeMap<String, String>>>,
    /// What was asked and answered, and what happened.
    history: Arc<Mutex<Vec<String>>>,
    begin: Instant,
}

/// Whether the same may be asked again: the replica, its store or the executor is away for a moment.
pub(crate) fn is_weather(status: &Status) -> bool {
    let codes = [Code::Unavailable, Code::Unknown, Code::Cancelled, Code::DeadlineExceeded];
    codes.contains(&status.code()) || reason(status) == "EXECUTOR_OFFLINE"
}

// === impl People ===

impl People {
    pub(crate) fn new(doors: &[Door]) -> Self {
        let doors = Arc::new(doors.to_vec());
        Self { doors, accepted: Arc::default(), history: Arc::default(), begin: Instant::now() }
    }

    /// Asks one replica, once.
    pub(crate) async fn ask_once(
        &self,
        at: usize,
        request: &v1::RequestUpgradeRequest,
    ) -> Result<std::result::Result<v1::Attempt, Status>> {
        let call = async {
            let owner = self.api(at, "owner").await?;
            Ok(owner.upgrades().request_upgrade(request.clone()).await?.into_inner())
        };
        let answer = timeout(HANG, call).await.with_context(|| format!("replica {at} hangs"))?;
        self.note(format!("{} asked at {at}: {}", request.request_id, said(&answer)));
        if let Ok(attempt) = &answer {
            let mut accepted = self.accepted.lock().unwrap_or_else(PoisonError::into_inner);
            let before = accepted.insert(request.request_id.clone(), attempt.name.clone());
            ensure!(before.is_none_or(|before| before == attempt.name), "{} made two attempts", request.request_id);
        }
        Ok(answer)
    }

    /// Asks one replica after the other until one answers.
    pub(crate) async fn ask(
        &self,
        first: usize,
        request: &v1::RequestUpgradeRequest,
    ) -> Result<std::result::Result<v1::Attempt, Status>> {
        let begin = Instant::now();
        for at in first.. {
            match self.ask_once(at, request).await? {
                Err(status) if is_weather(&status) && begin.elapsed() < 2 * SOON => {
                    sleep(Duration::from_millis(50)).await;
                }
                answer => return Ok(answer),
            }
        }
        bail!("there are no replicas")
    }

    /// An attempt, as any replica that answers tells it.
    pub(crate) async fn executor(&self, at: usize, name: &str) -> Result<v1::Executor> {
        let owner = self.api(at, "owner").await?;
        let request = v1::GetExecutorRequest { name: name.to_owned() };
        Ok(timeout(HANG, owner.executors().get_executor(request)).await??.into_inner())
    }

    pub(crate) async fn attempt(&self, at: usize, name: &str) -> Result<v1::Attempt> {
        let owner = self.api(at, "owner").await?;
        let request = v1::GetAttemptRequest { name: name.to_owned() };
        Ok(timeout(HANG, owner.upgrades().get_attempt(request)).await??.into_inner())
    }

    /// All attempts of an executor.
    pub(crate) async fn attempts(&self, at: usize, executor: &str) -> Result<Vec<v1::Attempt>> {
        let owner = self.api(at, "owner").await?;
        let (mut attempts, mut page_token) = (Vec::new(), String::new());
        loop {
            let request =
                v1::ListAttemptsRequest { parent: executor.to_owned(), page_size: 0, page_token, ..Default::default() };
            let page = timeout(HANG, owner.upgrades().list_attempts(request)).await??.into_inner();
            attempts.extend(page.attempts);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(attempts);
            }
        }
    }

    /// The same at any replica that answers.
    pub(crate) async fn attempts_at_last(&self, executor: &str) -> Result<Vec<v1::Attempt>> {
        let begin = Instant::now();
        for at in 0.. {
            match self.attempts(at, executor).await {
                Err(_) if begin.elapsed() < SOON => sleep(Duration::from_millis(50)).await,
                answer => return answer,
            }
        }
        bail!("there are no replicas")
    }

    /// Cancels, once.
    pub(crate) async fn cancel(&self, at: usize, attempt: &str) -> Result<std::result::Result<v1::Attempt, Status>> {
        let request = v1::CancelUpgradeRequest { name: attempt.to_owned(), ..v1::CancelUpgradeRequest::default() };
        let call = async { Ok(self.api(at, "owner").await?.upgrades().cancel_upgrade(request).await?.into_inner()) };
        let answer = timeout(HANG, call).await.with_context(|| format!("replica {at} hangs"))?;
        self.note(format!("{attempt} cancelled at {at}: {}", said(&answer)));
        Ok(answer)
    }

    /// Asks without the right to; how it is refused.
    pub(crate) async fn trespass(&self, at: usize, name: &str) -> Result<Status> {
        let target_version = "1.1.0".to_owned();
        let request = v1::RequestUpgradeRequest { name: name.to_owned(), target_version, ..Default::default() };
        let call = async { self.api(at, "publisher").await?.upgrades().request_upgrade(request).await };
        let answer = timeout(HANG, call).await.with_context(|| format!("replica {at} hangs"))?;
        answer.err().with_context(|| format!("{name} was upgraded by one who may not"))
    }

    /// For whoever looks for what went wrong.
    pub(crate) fn note(&self, what: String) {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.push(format!("{:>8.3} {what}", self.begin.elapsed().as_secs_f64()));
    }

    pub(crate) fn history(&self) -> String {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    pub(crate) fn accepted(&self) -> BTreeMap<String, String> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn api(&self, at: usize, role: &str) -> std::result::Result<Client, Status> {
        let client = self.doors[at % self.doors.len()].client(role).await;
        client.map_err(|error| Status::unavailable(format!("{error:#}")))
    }
}

fn said(answer: &std::result::Result<v1::Attempt, Status>) -> String {
    match answer {
        Ok(attempt) => format!("{} {:?}", attempt.name, attempt.outcome()),
        Err(status) => format!("{:?} {}", status.code(), reason(status)),
    }
}
