//! A server to test, and what one would otherwise have to ask its API for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::executor::State;
use domain::join::Endpoint;
use domain::{
    BearerToken, ExecutorId, ExecutorName, JoinSecret, JoinTokenId, OrganizationId, Role, Secret, Timestamp, TokenId,
};
use rcgen::{CertificateParams, KeyPair};
use store::{Clock, ExecutorCommit, ExecutorFate, JoinTokenRecord, Organization, SystemClock, TokenRecord};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::Config;
use crate::run::{Bound, Sockets, World, parts, serve};
use crate::tls::authority::sha256;

use super::client::Identity;

pub(super) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The wall clock, moved.
#[derive(Debug, Default)]
pub(super) struct MovedClock(AtomicI64);

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        let ahead = Duration::from_micros(self.0.load(Ordering::SeqCst).unsigned_abs());
        SystemClock.now().plus(ahead)
    }
}

impl MovedClock {
    pub(super) fn forward(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

/// A control plane that serves.
pub(super) struct Server {
    pub(super) app: Arc<App>,
    pub(super) bound: Bound,
    pub(super) clock: Arc<MovedClock>,
    shutdown: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    _folder: tempfile::TempDir,
}

/// What a join token says beside its organization.
#[derive(Clone, Debug)]
pub(super) struct Joining {
    pub(super) executor: Option<&'static str>,
    pub(super) replace: bool,
    pub(super) max_uses: u32,
    pub(super) life: Duration,
}

impl Default for Joining {
    fn default() -> Self {
        Self { executor: None, replace: false, max_uses: 1, life: Duration::from_secs(3600) }
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_in(World::default()).await
    }

    pub(super) async fn start_in(world: World) -> Self {
        Self::start_with(world, |_, _| {}).await
    }

    /// After `change` had its way with the folder and the configuration.
    pub(super) async fn start_with(world: World, change: impl FnOnce(&Path, &mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(MovedClock::default());
        let world = World { clock: Arc::<MovedClock>::clone(&clock), ..world };
        let mut config = Config::for_tests(folder.path(), "1.0.0".parse().unwrap());
        change(folder.path(), &mut config);
        let sockets = Sockets::bind(&config).unwrap();
        let bound = sockets.bound().unwrap();
        let opened = parts::open(&config, &world, bound.executor_addr).await.unwrap();
        let shutdown = CancellationToken::new();
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let (app, own_shutdown) = (Arc::clone(&opened.app), shutdown.clone());
        let task = tokio::spawn(async move {
            let ready = |_| ready.send(()).unwrap();
            serve(&world, &config, sockets, opened, own_shutdown, ready).await
        });
        is_ready.await.unwrap();
        let server = Self { app, bound, clock, shutdown, task, _folder: folder };
        for name in ["acme", "other"] {
            let organization =
                Organization { id: id(name), display_name: name.to_owned(), create_time: server.clock.now() };
            server.app.store.organization_insert(&organization, &[]).await.unwrap();
        }
        server
    }

    /// Stops it in order; how long that took.
    pub(super) async fn stop(self) -> Duration {
        let start = std::time::Instant::now();
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        start.elapsed()
    }

    /// A join token's word.
    pub(super) async fn join_token(&self, token: &str, joining: Joining) -> String {
        let now = self.clock.now();
        let secret = Secret::new(self.app.random_32());
        let token = JoinTokenId::new(token).unwrap();
        let record = JoinTokenRecord {
            id: token.clone(),
            organization: id("acme"),
            secret_sha256: sha256(secret.as_bytes()),
            executor: joining.executor.map(|name| ExecutorId::new(name).unwrap()),
            replace: joining.replace,
            max_uses: joining.max_uses,
            uses: 0,
            create_time: now,
            expire_time: now.plus(joining.life),
            revoke_time: None,
        };
        self.app.store.join_token_insert(&record, &[]).await.unwrap();
        let endpoint: Endpoint = self.bound.executor_addr.to_string().parse().unwrap();
        let word = JoinSecret { token, authority: self.app.authority().public_key_sha256(), secret, endpoint };
        word.reveal().to_string()
    }

    /// A bearer token.
    pub(super) async fn bearer(&self, token: &str, role: Role) -> String {
        let now = self.clock.now();
        let bearer = BearerToken { token: TokenId::new(token).unwrap(), secret: Secret::new(self.app.random_32()) };
        let record = TokenRecord {
            id: bearer.token.clone(),
            secret_sha256: sha256(bearer.secret.as_bytes()),
            role,
            display_name: String::new(),
            create_time: now,
            expire_time: now.plus(DAY),
            revoke_time: None,
            signed_in_by: None,
        };
        self.app.store.token_insert(&record, &[]).await.unwrap();
        bearer.reveal().to_string()
    }

    /// An enrolled executor.
    pub(super) async fn executor(&self, name: &'static str) -> Identity {
        let word = self.join_token(&format!("join-{name}"), Joining::default()).await;
        let key = KeyPair::generate().unwrap();
        let issued = super::client::enroll(self, &word, &csr(&key), name).await.unwrap();
        Identity::new(&issued.certificate_chain, &key)
    }

    /// Deactivates one, as the use case does.
    pub(super) async fn deactivate(&self, name: &str) {
        let name = ExecutorName { organization: id("acme"), executor: ExecutorId::new(name).unwrap() };
        let mut executor = self.app.store.executor_get(&name).await.unwrap().unwrap();
        executor.state = State::Deactivated;
        let commit = ExecutorCommit {
            executor,
            attempts: vec![],
            events: vec![],
            fate: ExecutorFate::Keep,
            while_published: None,
        };
        self.app.store.executor_commit(commit).await.unwrap();
    }
}

pub(super) fn id(name: &str) -> OrganizationId {
    OrganizationId::new(name).unwrap()
}

pub(super) fn csr(key: &KeyPair) -> Vec<u8> {
    CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}
