//! What survives every pod: the journal and the credentials, in one Secret, and the open attempt on the Deployment.
//!
//! The Secret is written before the annotation is taken away. A pod that dies between the two leaves an attempt that is both
//! finished and open; what is finished counts.
//!
//! Each write names the resource version that it follows, so that two pods never overwrite each other: whoever comes second reads
//! again, and changes what is there then.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use executor_sdk::connect::Backoff;
use executor_sdk::credentials::{self, Credentials, PendingKey};
use executor_sdk::journal::{self, State};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use crate::cluster::{Cluster, Error, Mode, Trouble};
use crate::deployment::Own;
use crate::fault::{Point, reach};
use crate::record::{self, Record};

const JOURNAL: &str = "journal.json";
const CREDENTIALS: &str = "credentials.json";
const PENDING_KEY: &str = "pending-key.pem";
const FAILING_LOG: &str = "failing-log";

/// A change that meets another one is made again this often: others write seconds apart.
const TRIES: usize = 16;

/// It is made again within this long, by chance: whoever it met does the same.
const PAUSE: Duration = Duration::from_millis(200);

/// Where this operator keeps what must survive it. Cheap to clone. What the SDK calls blocks on the cluster's answer, from the
/// blocking pool only.
#[derive(Clone)]
pub struct Kept {
    cluster: Cluster,
    runtime: Handle,
}

/// What is kept, and what a change of it has to follow.
struct Seen {
    state: State,
    own: Own,
    secret_version: String,
}

/// How often a change has met another one.
#[derive(Debug, Default)]
struct Conflicts(usize);

impl Kept {
    /// In this cluster; has to be called inside the runtime.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, runtime: Handle::current() }
    }

    /// The journal, the open attempt included.
    ///
    /// # Errors
    /// The cluster's, or what is kept cannot be read.
    pub async fn state(&self) -> Result<State, Error> {
        Ok(self.look().await?.state)
    }

    /// Changes the journal as one step; `change` is called again when somebody else wrote in between.
    ///
    /// # Errors
    /// The cluster's; whether the change was made may be open then.
    pub async fn change(&self, change: &mut dyn FnMut(&mut State)) -> Result<(), Error> {
        let mut conflicts = Conflicts::default();
        loop {
            let seen = self.look().await?;
            let mut state = seen.state.clone();
            change(&mut state);
            if let Some(done) = conflicts.settle(self.write(&seen, state).await).await {
                return done;
            }
        }
    }

    /// Keeps a failing version's last lines, before its pod is taken away.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn keep_failing_log(&self, lines: &[String]) -> Result<(), Error> {
        let patch = json!({ "stringData": { FAILING_LOG: lines.join("\n") } });
        self.cluster.patch_secret(&patch).await.map(drop)
    }

    /// The lines that were kept last.
    ///
    /// # Errors
    /// The cluster's.
    pub async fn failing_log(&self) -> Result<Vec<String>, Error> {
        let secret = self.cluster.secret().await?;
        let text = bytes(&secret, FAILING_LOG).map(String::from_utf8_lossy).unwrap_or_default();
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// The credentials.
    ///
    /// # Errors
    /// As [`credentials::Keeper::load`].
    pub async fn credentials(&self) -> Result<Credentials, credentials::Error> {
        let secret = self.cluster.secret().await.map_err(|error| self.credentials_error(error))?;
        match bytes(&secret, CREDENTIALS) {
            Some(text) => Credentials::parse(text)
                .map_err(|why| credentials::Error::Unusable { what: format!("{CREDENTIALS} of {self}"), why }),
            None => Err(credentials::Error::NotEnrolled { place: self.to_string() }),
        }
    }

    async fn look(&self) -> Result<Seen, Error> {
        let secret = self.cluster.secret().await?;
        let own = self.cluster.own().await?;
        let mut state = match bytes(&secret, JOURNAL) {
            Some(text) => journal::parse(text).map_err(|why| self.unusable(JOURNAL, &why))?,
            None => State::default(),
        };
        let open = own.record.as_ref().map(|record| record.open.clone());
        state.open = open.filter(|open| !state.has_finished(open.attempt));
        Ok(Seen { state, own, secret_version: secret.metadata.resource_version.unwrap_or_default() })
    }

    async fn write(&self, seen: &Seen, mut state: State) -> Result<(), Error> {
        let Seen { state: before, own, secret_version } = seen;
        state.bound();
        let open = state.open.take();
        let mut before = before.clone();
        before.open = None;
        if state != before {
            let text = journal::print(&state);
            self.set(secret_version, &[(JOURNAL, Some(text.as_slice()))]).await?;
        }
        if open.is_none() && own.record.is_some() {
            reach(Point::OutcomeKept);
        }
        let record = own.record.clone().zip(open);
        let record = record.map(|(record, open)| Record { open, ..record });
        if record != own.record {
            // With the image as it is: whoever set it, keeps it.
            let fields = record::fields(self.cluster.names(), own, &own.image, record.as_ref(), &own.notes);
            self.cluster.apply_deployment(&fields, Mode::Real).await?;
        }
        Ok(())
    }

    async fn set(&self, version: &str, keys: &[(&str, Option<&[u8]>)]) -> Result<(), Error> {
        let value = |bytes: &Option<&[u8]>| match bytes {
            Some(bytes) => serde_json::to_value(ByteString(bytes.to_vec())).expect("bytes always print"),
            None => Value::Null,
        };
        let data: Map<String, Value> = keys.iter().map(|(key, bytes)| ((*key).to_owned(), value(bytes))).collect();
        let patch = json!({ "metadata": { "resourceVersion": version }, "data": data });
        self.cluster.patch_secret(&patch).await.map(drop)
    }

    /// With the pending key that is theirs taken away. That of another request, whose answer may be on its way, stays.
    async fn keep_credentials(&self, credentials: &Credentials) -> Result<(), Error> {
        let text = credentials.print();
        let mut conflicts = Conflicts::default();
        loop {
            let secret = self.cluster.secret().await?;
            let mut keys = vec![(CREDENTIALS, Some(text.as_slice()))];
            if pending(&secret).is_none_or(|key| credentials.holds(&key)) {
                keys.push((PENDING_KEY, None));
            }
            let version = secret.metadata.resource_version.unwrap_or_default();
            if let Some(done) = conflicts.settle(self.set(&version, &keys).await).await {
                return done;
            }
        }
    }

    /// The one that is there, or another; the cluster has it when this returns.
    async fn keep_pending_key(&self) -> Result<PendingKey, credentials::Error> {
        let mut conflicts = Conflicts::default();
        loop {
            let secret = self.cluster.secret().await.map_err(|error| self.credentials_error(error))?;
            if let Some(key) = pending(&secret) {
                return Ok(key);
            }
            let key = PendingKey::generate()?;
            let version = secret.metadata.resource_version.unwrap_or_default();
            let set = self.set(&version, &[(PENDING_KEY, Some(key.pem().as_bytes()))]).await;
            if let Some(done) = conflicts.settle(set).await {
                return done.map(|()| key).map_err(|error| self.credentials_error(error));
            }
        }
    }

    fn unusable(&self, key: &str, why: &str) -> Error {
        Error::unusable(format!("{} of {self} cannot be used: {why}", key))
    }

    fn journal_error(&self, error: Error) -> journal::Error {
        journal::Error::Elsewhere { place: self.to_string(), source: Box::new(error) }
    }

    fn credentials_error(&self, error: Error) -> credentials::Error {
        credentials::Error::Elsewhere { place: self.to_string(), source: Box::new(error) }
    }
}

impl Conflicts {
    /// How the change ended; none, after a pause, where it met another one and is to be made again on what is there now.
    async fn settle(&mut self, done: Result<(), Error>) -> Option<Result<(), Error>> {
        self.0 += 1;
        match done {
            Err(error) if error.trouble == Trouble::Conflict && self.0 < TRIES => {
                Backoff::between(PAUSE, PAUSE).pause().await;
                None
            }
            done => Some(done),
        }
    }
}

impl journal::Keeper for Kept {
    fn read(&self) -> Result<State, journal::Error> {
        self.runtime.block_on(self.state()).map_err(|error| self.journal_error(error))
    }

    fn update(&self, _patience: Duration, change: &mut dyn FnMut(&mut State)) -> Result<(), journal::Error> {
        // There is no lock to wait for: a write that meets another one is made again.
        self.runtime.block_on(self.change(change)).map_err(|error| self.journal_error(error))
    }
}

impl credentials::Keeper for Kept {
    fn load(&self) -> Result<Credentials, credentials::Error> {
        self.runtime.block_on(self.credentials())
    }

    fn save(&self, credentials: &Credentials) -> Result<(), credentials::Error> {
        self.runtime.block_on(self.keep_credentials(credentials)).map_err(|error| self.credentials_error(error))
    }

    fn pending_key(&self) -> Result<PendingKey, credentials::Error> {
        self.runtime.block_on(self.keep_pending_key())
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.cluster.names();
        write!(f, "secret {}/{}", names.namespace, names.secret)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn pending(secret: &Secret) -> Option<PendingKey> {
    let pem = String::from_utf8(bytes(secret, PENDING_KEY)?.to_vec()).ok()?;
    PendingKey::parse(Zeroizing::new(pem))
}

fn bytes<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    let data: &BTreeMap<String, ByteString> = secret.data.as_ref()?;
    data.get(key).map(|bytes| bytes.0.as_slice()).filter(|bytes| !bytes.is_empty())
}
