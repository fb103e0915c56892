//! Two replicas over one PostgreSQL, beside the embedded store: how long from the request of an upgrade to its receipt on the replica
//! that took it and on the other, and how many statements PostgreSQL counts for a connect, an upgrade, and an hour of silence.
//!
//! Both replicas, the fleet and PostgreSQL share this machine; PostgreSQL is reached over TLS and keeps its promises (`fsync`).

mod ledger;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use harness::catalog::Draft;
use harness::control_plane::ControlPlane;
use harness::fake_executor::{FakeExecutor, Stream, success};
use proto::v1;
use proto::v1::sync_executor_response::Message as Hear;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use server::tls::authority::{Files, Source};
use store::postgres::Options;
use tempfile::TempDir;

use crate::disk;
use crate::figures::{Figures, Histogram};
use crate::fleet::Fleet;
use crate::push::RECEIPT;

use self::ledger::{Count, Ledger};

/// How long silence is listened to, without executors and with all of them.
const SILENCE: Duration = Duration::from_secs(60);

/// Executors that connect, and are upgraded, one after the other.
const ONE_BY_ONE: usize = 100;

/// After work, until what is written behind it is written.
const SETTLE: Duration = Duration::from_secs(6);

/// A version for each thing that is measured.
const VERSIONS: [&str; 3] = ["1.1.0", "1.2.0", "1.3.0"];

/// One line of the first table.
struct Row {
    name: &'static str,
    figures: Figures,
    counted: Histogram,
}

pub(crate) async fn run(executors: usize, pace: Duration) -> anyhow::Result<()> {
    ensure!(executors >= ONE_BY_ONE, "--executors {executors}: at least {ONE_BY_ONE}");
    let mut rows = vec![embedded(executors, pace).await?];

    let folder = TempDir::new()?;
    let ledger = Ledger::open().await?;
    let first = replica(&ledger, &folder).await?;
    let second = first.another().await.context("start the second replica")?;
    for (sequence, version) in (1..).zip(VERSIONS) {
        first.release(&Draft::new(version, sequence)).await.context("publish a release")?;
    }
    eprintln!("{SILENCE:?} of silence without executors ...");
    tokio::time::sleep(SETTLE).await;
    let idle = ledger.over(SILENCE).await?;
    eprintln!("enrolling {executors} executors ...");
    let fleet = Fleet::enrol(&first, executors).await?;

    eprintln!("{ONE_BY_ONE} connects one after the other, and whole upgrades ...");
    let mut counts = one_by_one(&ledger, &fleet, &second, &idle).await?;

    eprintln!("{executors} connects at once ...");
    let begin = ledger.begin()?;
    let mut working = fleet.stream().await?;
    counts.push(("connect, in a storm", ledger.since(begin, &idle)?.each(executors)));
    let ways = [
        ("same replica", "request, same replica", VERSIONS[1], &first),
        ("across replicas", "request, the other", VERSIONS[2], &second),
    ];
    for (name, cost, version, plane) in ways {
        eprintln!("one upgrade each, {name} ...");
        let (begin, before) = (ledger.begin()?, Histogram::read(&first.metrics(), RECEIPT));
        let figures = Figures::of(working.upgrade_each(plane, version, pace).await?);
        let counted = Histogram::read(&first.metrics(), RECEIPT).context(RECEIPT)?.since(before.as_ref());
        rows.push(Row { name, figures, counted });
        counts.push((cost, ledger.since(begin, &idle)?.each(executors)));
    }
    eprintln!("{SILENCE:?} of silence with {executors} streams ...");
    let silent = ledger.over(SILENCE).await?;
    working.stop().await;
    for plane in [first, second] {
        plane.stop().await?;
    }
    let disk = Figures::of(disk::measure().await?);
    print_latency(executors, &rows, &disk);
    print_statements(executors, &counts, &idle, &silent);
    Ok(())
}

async fn embedded(executors: usize, pace: Duration) -> anyhow::Result<Row> {
    let plane = ControlPlane::start().await?;
    plane.release(&Draft::new(VERSIONS[0], 1)).await.context("publish a release")?;
    eprintln!("embedded store: enrolling {executors} executors, one upgrade each ...");
    let fleet = Fleet::enrol(&plane, executors).await?;
    let mut working = fleet.stream().await?;
    let figures = Figures::of(working.upgrade_each(&plane, VERSIONS[0], pace).await?);
    let counted = Histogram::read(&plane.metrics(), RECEIPT).context(RECEIPT)?;
    working.stop().await;
    plane.stop().await?;
    Ok(Row { name: "embedded store", figures, counted })
}

/// A replica over the ledger's database, with an authority in `folder` that others can share.
async fn replica(ledger: &Ledger, folder: &TempDir) -> anyhow::Result<ControlPlane> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let (certificate, key) = (folder.path().join("authority.pem"), folder.path().join("authority.key"));
    std::fs::write(&certificate, issuer.pem())?;
    std::fs::write(&key, issuer.key().serialize_pem())?;
    let options = Options::new(&ledger.url())?;
    let start = ControlPlane::start_with(|config| {
        config.database = Some(options);
        config.authority = Source::Given(Files { certificate, key });
    });
    start.await.context("start the first replica")
}

/// What connects and whole upgrades cost that come alone. The first replica has the streams, the second takes the requests.
async fn one_by_one(
    ledger: &Ledger,
    fleet: &Fleet,
    other: &ControlPlane,
    idle: &Count,
) -> anyhow::Result<Vec<(&'static str, Count)>> {
    let begin = ledger.begin()?;
    let opened = fleet.open(ONE_BY_ONE).await?;
    let connect = ledger.since(begin, idle)?.each(ONE_BY_ONE);
    let begin = ledger.begin()?;
    let mut streams = Vec::with_capacity(ONE_BY_ONE);
    for (executor, stream) in opened {
        streams.push(upgrade(other, &executor, stream, VERSIONS[0]).await.context("upgrade")?);
    }
    let whole = ledger.since(begin, idle)?.each(ONE_BY_ONE);
    let begin = ledger.begin()?;
    drop(streams);
    tokio::time::sleep(SETTLE).await;
    let disconnect = ledger.since(begin, idle)?.each(ONE_BY_ONE);
    Ok(vec![("connect, one by one", connect), ("disconnect", disconnect), ("whole upgrade", whole)])
}

/// Request, acknowledgement, download, leave, restart, report: the whole of it.
async fn upgrade(
    plane: &ControlPlane,
    executor: &FakeExecutor,
    mut stream: Stream,
    version: &str,
) -> anyhow::Result<Stream> {
    let request = v1::RequestUpgradeRequest {
        name: executor.name().to_owned(),
        target_version: version.to_owned(),
        ..v1::RequestUpgradeRequest::default()
    };
    plane.admin().upgrades().request_upgrade(request).await?;
    let desired = stream.desired().await?;
    let answer = stream.ask_leave(&desired).await?;
    ensure!(matches!(answer, Hear::Proceed(_)), "{answer:?}");
    let hello = v1::Hello { version: version.to_owned(), generation: desired.generation, ..executor.hello() };
    drop(stream);
    let mut stream = executor.connect_with(hello).await?;
    stream.report(success(&desired)).await?;
    Ok(stream)
}

fn print_latency(executors: usize, rows: &[Row], disk: &Figures) {
    println!("request to receipt, {executors} executors over mTLS, one upgrade each");
    println!("{:<22} {:>12} {:>12} {:>12} {:>8}", "", "p50", "p99", "max", "heard");
    for row in rows {
        row.figures.print(row.name);
    }
    disk.print("fdatasync of 4 KiB");
    println!(
        "from the word of the commit at the replica with the stream to the acknowledgement, as {RECEIPT} counts it"
    );
    for Row { name, counted, .. } in rows {
        println!("{name:<22} p50 within {} ms, p99 within {} ms", counted.bound(50.0), counted.bound(99.0));
    }
}

fn print_statements(executors: usize, counts: &[(&str, Count)], idle: &Count, silent: &Count) {
    println!();
    println!(
        "statements that PostgreSQL counted, two replicas; a request until its receipt, a whole upgrade until its report is acknowledged"
    );
    println!("{:<22} {:>12} {:>18}", "", "statements", "BEGIN, SET, COMMIT");
    for (name, count) in counts {
        count.print(name);
    }
    let hour = 3600.0 / SILENCE.as_secs_f64();
    idle.times(hour / 2.0).print("idle replica-hour");
    silent.less(idle, 1.0).times(hour).each(executors).print("idle executor-hour");
}
