//! What the control plane forgets by itself, and what it may not: a deleted executor's certificate is let in never again, and bytes
//! are deleted when no release has named them for long.

use std::fs;
use std::time::Duration;

use anyhow::ensure;
use libtest_mimic::Trial;
use server::app::housekeeping::Pruned;
use server::tls::authority::sha256;
use store::{Clock as _, EventQuery};

use crate::fake::Fake;
use crate::plane::Plane;
use crate::{Result, trial};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_deleted_executor_is_forgotten_late_and_let_in_never_again", tombstone),
        trial("bytes_that_no_release_names_are_deleted_after_a_grace_and_told", unused),
    ]
}

async fn tombstone() -> Result {
    let plane = Plane::start().await?;
    let mut fake = Fake::enrol(&plane, "web-1").await?;
    let stream = fake.open().await?;
    plane.delete("web-1").await?;
    ensure!(stream.closed().await? == "EXECUTOR_DELETED");
    let changes = async || Ok::<_, anyhow::Error>(plane.store.change_list_since(store::ChangeNumber(0), 10).await?);
    let today = plane.clock.now();
    for (days, forgotten) in [(0, 0), (29, 0), (394, 0), (401, 1), (402, 0)] {
        plane.clock.set(today.plus(DAY * days));
        let pruned = plane.app.prune().await?;
        ensure!(pruned.executors == forgotten, "after {days} days: {pruned:?}");
        ensure!(changes().await?.iter().any(|change| change.executor == fake.uid()) == (days < 401));
        ensure!(fake.dial().await.is_err() && fake.probe().await.is_err(), "let in after {days} days");
    }
    Ok(())
}

async fn unused() -> Result {
    let plane = Plane::start().await?;
    let (bytes, today) = (b"left by an upload", plane.clock.now());
    let path = plane.artifacts().join(sha256(bytes).to_string());
    fs::write(&path, bytes)?;
    // Its releases name this digest.
    let named = plane.artifacts().join(domain::Sha256::new([7; 32]).to_string());
    fs::write(&named, b"named")?;
    for (days, forgotten) in [(0, 0), (6, 0), (8, 1), (30, 0)] {
        plane.clock.set(today.plus(DAY * days));
        let pruned = plane.app.prune().await?;
        ensure!(pruned.artifacts == forgotten, "after {days} days: {pruned:?}");
        ensure!(path.exists() == (days < 8) && named.exists(), "after {days} days");
    }
    let query = EventQuery { kinds: vec!["artifact.deleted".to_owned()], limit: 10, ..EventQuery::default() };
    let told = plane.store.event_list(&query).await?;
    ensure!(told.len() == 1 && told[0].target == format!("artifacts/{}", sha256(bytes)), "{told:?}");
    ensure!(plane.app.prune().await? == Pruned::default(), "nothing is left to forget");
    Ok(())
}
