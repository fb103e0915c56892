//! `cargo bench-pages`: what a page of a large fleet costs, beside the API's own answer for the same rows, and what pages that stay open cost.
//!
//! The fleet is rows in an embedded store, made before the control plane starts. Times are a browser's: over TLS on the loopback, one
//! request after another. Control plane and reader share this process, so that memory is an upper bound.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use domain::secret::{BearerToken, Secret};
use domain::{
    Channel, Executor, ExecutorName, ExecutorUid, JoinTokenId, Kind, OrganizationId, Role, Sha256, Timestamp, TokenId,
};
use harness::control_plane::ControlPlane;
use harness::resident::kib;
use proto::v1;
use reqwest::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use reqwest::{Client, Response, StatusCode, redirect};
use store::sqlite::SqliteStore;
use store::{
    CertificateRecord, CertificateStore as _, Clock as _, EnrolmentCommit, JoinTokenRecord, JoinTokenStore as _,
    Organization, OrganizationStore as _, SystemClock, TokenRecord, TokenStore as _,
};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::figures::Figures;

/// Whose fleet.
const ORGANIZATION: &str = "large";

/// Rows that are written at once: the store joins them into one commit.
const AT_ONCE: usize = 256;

/// How often each page is asked for.
const TIMES: usize = 100;

/// Pages that stay open.
const OPEN: usize = 500;

/// Open pages of one reader: a token may open 200 watches at once.
const OPEN_EACH: usize = 100;

/// Changes under open pages: memory is looked at after every ten.
const CHANGES: usize = 100;

/// What is aimed at for a list of 100,000 executors, in milliseconds.
const AIM_MS: f64 = 50.0;

/// A reader's browser, without the rest of a browser.
struct Reader {
    client: Client,
    origin: String,
    cookie: String,
}

/// Fills a store, serves it, reads it.
pub(crate) async fn run(executors: usize) -> anyhow::Result<()> {
    let token = BearerToken { token: TokenId::new("owner")?, secret: Secret::new([7; 32]) };
    let secret = token.reveal().to_string();
    eprintln!("writing {executors} executors ...");
    let filled = std::sync::Mutex::new(Ok(()));
    let plane = ControlPlane::start_with(|config| {
        let folder = config.data_dir.clone();
        // A runtime of its own: this closure belongs to one.
        let filling = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(fill(folder, executors, &token))
        });
        let done = filling.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the filling thread panicked")));
        *filled.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = done;
    });
    let plane = plane.await?;
    filled.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)?;
    let reader = Reader::sign_in(&plane, &secret).await?;

    println!("pages of {executors} executors, embedded store, one reader, {TIMES} requests each over TLS");
    println!("{:<22} {:>12} {:>12} {:>12} {:>8}", "", "p50", "p99", "max", "asked");
    let base = api(&plane, &secret).await?;
    base.print("ListExecutors (gRPC)");
    let mut slowest: f64 = 0.0;
    for (name, query) in [
        ("first page", ""),
        ("name:", "?filter=name%3Ahost-0777"),
        ("version=", "?filter=version%3D1.3.0"),
        ("version= kind= channel=", "?filter=version%3D1.3.0%20kind%3Dagent%20channel%3Dbeta"),
        ("label, next to none", "?filter=label.rack%3Dr-9999"),
        ("online=true, none is", "?filter=online%3Dtrue"),
    ] {
        let figures = reader.timed(&format!("/organizations/{ORGANIZATION}/executors{query}")).await?;
        figures.print(name);
        slowest = slowest.max(figures.p50());
        println!("  page / API           {:>12.1}x", figures.p50() / base.p50());
    }
    reader.timed(&format!("/organizations/{ORGANIZATION}/events")).await?.print("events");
    println!("the slowest list takes {slowest:.1} ms (median); aimed at: {AIM_MS} ms");
    open(&plane, &secret).await?;
    plane.stop().await
}

/// The same rows from the API.
async fn api(plane: &ControlPlane, secret: &str) -> anyhow::Result<Figures> {
    let client = plane.client(secret);
    let mut delays = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let parent = format!("organizations/{ORGANIZATION}");
        let request = v1::ListExecutorsRequest { parent, page_size: 50, ..v1::ListExecutorsRequest::default() };
        let began = Instant::now();
        let listed = client.executors().list_executors(request).await?.into_inner();
        delays.push(began.elapsed());
        ensure!(listed.executors.len() == 50, "a page of {} executors", listed.executors.len());
    }
    Ok(Figures::of(delays))
}

/// Opens live pages, changes executors under them, and looks at the memory in between.
async fn open(plane: &ControlPlane, secret: &str) -> anyhow::Result<()> {
    change(plane, secret, 0).await?;
    let before = kib(std::process::id())?;
    let heard = Arc::new(AtomicUsize::new(0));
    let mut pages = JoinSet::new();
    for _ in 0..OPEN / OPEN_EACH {
        let reader = Reader::sign_in(plane, secret).await?;
        for _ in 0..OPEN_EACH {
            let mut page = reader.get(&format!("/organizations/{ORGANIZATION}/executors/-/live")).await?;
            ensure!(page.chunk().await?.is_some(), "a live page said nothing");
            let heard = Arc::clone(&heard);
            pages.spawn(async move {
                while let Ok(Some(_)) = page.chunk().await {
                    heard.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    }
    let opened = kib(std::process::id())?;
    println!(
        "resident, readers included: {} MiB before, {} MiB with {OPEN} live pages ({} KiB a page)",
        before / 1024,
        opened / 1024,
        opened.saturating_sub(before) / OPEN as u64,
    );
    for n in 1..=CHANGES {
        change(plane, secret, n).await?;
        // Lists rest for two seconds between two looks.
        tokio::time::sleep(Duration::from_secs(3)).await;
        ensure!(pages.try_join_next().is_none(), "a live page ended");
        if n % 10 == 0 {
            let (heard, now) = (heard.load(Ordering::Relaxed), kib(std::process::id())?);
            println!("after {n} changes, {heard} pieces heard: {} MiB", now / 1024);
        }
    }
    Ok(())
}

/// Writes to one executor, which every live page hears of.
async fn change(plane: &ControlPlane, secret: &str, n: usize) -> anyhow::Result<()> {
    let name = format!("organizations/{ORGANIZATION}/executors/host-{n:06}");
    let executor = v1::Executor { name, channel: v1::Channel::Dev.into(), ..v1::Executor::default() };
    let update_mask = Some(prost_types::FieldMask { paths: vec!["channel".to_owned()] });
    let request = v1::UpdateExecutorRequest { executor: Some(executor), update_mask };
    plane.client(secret).executors().update_executor(request).await.with_context(|| format!("change executor {n}"))?;
    Ok(())
}

// === impl Reader ===

impl Reader {
    async fn sign_in(plane: &ControlPlane, secret: &str) -> anyhow::Result<Self> {
        let tls = Arc::unwrap_or_clone(plane.tls());
        let client = Client::builder().tls_backend_preconfigured(tls).no_proxy().redirect(redirect::Policy::none());
        let client = client.build()?;
        let origin = format!("https://localhost:{}", plane.api_addr().port());
        let form = client.post(format!("{origin}/signin")).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = form.body(format!("token={secret}")).send().await?;
        let cookie = answer.headers().get(SET_COOKIE).context("no session")?.to_str()?;
        let cookie = cookie.split(';').next().context("an empty cookie")?.to_owned();
        Ok(Self { client, origin, cookie })
    }

    async fn send(&self, path: &str) -> anyhow::Result<Response> {
        let request = self.client.get(format!("{}{path}", self.origin)).header(COOKIE, &self.cookie);
        Ok(request.send().await?)
    }

    async fn get(&self, path: &str) -> anyhow::Result<Response> {
        self.send(path).await?.error_for_status().context("a page was refused")
    }

    async fn timed(&self, path: &str) -> anyhow::Result<Figures> {
        let mut delays = Vec::with_capacity(TIMES);
        while delays.len() < TIMES {
            let began = Instant::now();
            let answer = self.send(path).await?;
            if answer.status() == StatusCode::TOO_MANY_REQUESTS {
                // A reader is answered so often and no more, which a small fleet's pages reach.
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
            answer.error_for_status().context("a page was refused")?.bytes().await?;
            delays.push(began.elapsed());
        }
        Ok(Figures::of(delays))
    }
}

/// An organization, its owner and its fleet.
async fn fill(folder: PathBuf, executors: usize, owner: &BearerToken) -> anyhow::Result<()> {
    let store = Arc::new(SqliteStore::open(database(&folder), Arc::new(SystemClock))?);
    let now = SystemClock.now();
    let id = OrganizationId::new(ORGANIZATION)?;
    let organization = Organization { id: id.clone(), display_name: String::new(), create_time: now };
    store.organization_insert(&organization, &[]).await?;
    let join_token = JoinTokenRecord {
        id: JoinTokenId::new("fleet")?,
        organization: id.clone(),
        secret_sha256: Sha256::new([1; 32]),
        executor: None,
        replace: false,
        max_uses: u32::MAX,
        uses: 0,
        create_time: now,
        expire_time: now.plus(Duration::from_secs(86_400)),
        revoke_time: None,
    };
    store.join_token_insert(&join_token, &[]).await?;
    let token = TokenRecord {
        id: owner.token.clone(),
        secret_sha256: server::tls::authority::sha256(owner.secret.as_bytes()),
        role: Role::Owner(id),
        display_name: "benchmark".to_owned(),
        create_time: now,
        expire_time: now.plus(Duration::from_secs(86_400)),
        revoke_time: None,
        signed_in_by: None,
    };
    store.token_insert(&token, &[]).await?;
    let mut writing = JoinSet::new();
    for n in 0..executors {
        if writing.len() >= AT_ONCE {
            writing.join_next().await.context("nothing is written")???;
        }
        let (store, commit) = (Arc::clone(&store), enrolment(n, &join_token.id, now)?);
        writing.spawn(async move { store.enrolment_commit(commit).await.map(drop).map_err(anyhow::Error::from) });
    }
    while let Some(written) = writing.join_next().await {
        written??;
    }
    Ok(())
}

fn database(folder: &Path) -> PathBuf {
    folder.join(server::run::parts::DATABASE)
}

fn enrolment(n: usize, join_token: &JoinTokenId, now: Timestamp) -> anyhow::Result<EnrolmentCommit> {
    let name: ExecutorName = format!("organizations/{ORGANIZATION}/executors/host-{n:06}").parse()?;
    let uid = ExecutorUid::new(Uuid::from_u128(n as u128 + 1));
    let mut executor = Executor::new(uid, name, now);
    executor.kind = Some(Kind::Agent);
    executor.version = Some(format!("1.{}.0", n % 7).parse()?);
    executor.platform = Some("linux/amd64".parse()?);
    executor.channel = if n.is_multiple_of(20) { Channel::Beta } else { Channel::Stable };
    executor.labels = [("rack".to_owned(), format!("r-{}", n % 10_000))].into();
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(&(n as u128 + 1).to_be_bytes());
    let certificate = CertificateRecord {
        fingerprint: Sha256::new(digest),
        serial: format!("{n:x}"),
        executor: uid,
        authority: None,
        public_key_sha256: Sha256::new(digest),
        join_token: None,
        chain_pem: String::new(),
        not_before: now,
        not_after: now.plus(Duration::from_secs(86_400)),
        use_time: None,
        revoke_time: None,
    };
    Ok(EnrolmentCommit {
        vouched: None,
        join_token: join_token.clone(),
        executor,
        replaces: None,
        replaced_attempts: Vec::new(),
        certificate,
        events: Vec::new(),
        time: now,
    })
}
