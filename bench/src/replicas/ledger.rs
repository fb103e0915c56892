//! What PostgreSQL itself counts: `pg_stat_statements`, read before and after.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use cluster::{Cluster, Durability, Stop};

use super::SILENCE;

/// Executions so far, and how many of them only begin and end transactions. What reads this is left out.
const READ: &str = "
SELECT coalesce(sum(calls) FILTER (WHERE query !~* '^ *(BEGIN|COMMIT|ROLLBACK|SET|SHOW)'), 0),
    coalesce(sum(calls) FILTER (WHERE query ~* '^ *(BEGIN|COMMIT|ROLLBACK|SET|SHOW)'), 0)
FROM pg_stat_statements
WHERE query NOT LIKE '%pg_stat_statements%'";

/// A database that counts.
pub(super) struct Ledger(Cluster);

/// Executions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    /// That do something.
    statements: f64,
    /// That begin and end transactions.
    frames: f64,
}

/// A moment of a ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    count: Count,
    time: Instant,
}

// === impl Ledger ===

impl Ledger {
    /// Starts one, durable as in production.
    pub(super) async fn open() -> anyhow::Result<Self> {
        let cluster = tokio::task::spawn_blocking(|| {
            let mut cluster = Cluster::start(Durability::On)?;
            cluster.sql("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'")?;
            cluster.stop(Stop::Fast)?;
            cluster.run()?;
            cluster.sql("CREATE EXTENSION pg_stat_statements")?;
            Ok::<_, cluster::Error>(cluster)
        });
        Ok(Self(cluster.await?.context("start a PostgreSQL that counts statements")?))
    }

    /// Where replicas find it: over TLS.
    pub(super) fn url(&self) -> String {
        self.0.tls_url()
    }

    /// From now on.
    pub(super) fn begin(&self) -> anyhow::Result<Begin> {
        Ok(Begin { count: self.read()?, time: Instant::now() })
    }

    /// What came since, without what `idle` replicas do in that time by themselves.
    pub(super) fn since(&self, begin: Begin, idle: &Count) -> anyhow::Result<Count> {
        let share = begin.time.elapsed().as_secs_f64() / SILENCE.as_secs_f64();
        Ok(self.read()?.less(&begin.count, 1.0).less(idle, share))
    }

    /// What comes in that time.
    pub(super) async fn over(&self, time: Duration) -> anyhow::Result<Count> {
        let begin = self.begin()?;
        tokio::time::sleep(time).await;
        self.since(begin, &Count::default())
    }

    fn read(&self) -> anyhow::Result<Count> {
        let line = self.0.sql(READ)?;
        let (statements, frames) = line.trim().split_once('|').context("two sums")?;
        Ok(Count { statements: statements.parse()?, frames: frames.parse()? })
    }
}

// === impl Count ===

impl Count {
    /// For each of so many.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub(super) fn each(self, n: usize) -> Self {
        self.times(1.0 / n as f64)
    }

    pub(super) fn times(self, factor: f64) -> Self {
        Self { statements: self.statements * factor, frames: self.frames * factor }
    }

    pub(super) fn less(self, other: &Self, share: f64) -> Self {
        Self { statements: self.statements - other.statements * share, frames: self.frames - other.frames * share }
    }

    pub(super) fn print(&self, name: &str) {
        println!("{name:<22} {:>12.2} {:>18.2}", self.statements, self.frames);
    }
}
