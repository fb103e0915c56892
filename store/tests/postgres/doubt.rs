//! Commits whose answer is lost: the connection is cut at each step around `COMMIT`. What was acknowledged is there, what was
//! refused by the server is not, and what is in doubt is found by its request id, or made once by the repetition.

use std::sync::Arc;

use cluster::Cluster;
use cluster::proxy::{Proxy, Step, Then};
use libtest_mimic::{Failed, Trial};
use novacula_store::postgres::{Options, PostgresStore};
use novacula_store::{AttemptStore as _, Error, EventQuery, EventStore as _, ExecutorCommit, ExecutorStore as _};

use crate::postgres;
use crate::world::{SOON, attempt, commit, enrol, executor, new_schema, options, organization, prepare, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("a_commit_whose_answer_is_lost_is_found_by_its_request_id", in_doubt),
        trial("a_backend_that_is_ended_anywhere_in_a_decision_leaves_all_of_it_or_nothing", ended),
    ]
}

/// A store through a proxy, whose sessions have this name, and one beside it.
async fn pair(cluster: &Cluster, name: &str) -> Result<(PostgresStore, PostgresStore, Proxy), Failed> {
    let (proxy, schema) = (Proxy::start(cluster)?, new_schema());
    let beside = postgres::serve(&options(cluster, &schema)).await?;
    prepare(&beside).await;
    let url = format!("{}&application_name={name}", proxy.url());
    let through = Options::new(&url)?.with_schema(&schema)?.with_pool_size(2)?;
    Ok((postgres::serve(&through).await?, beside, proxy))
}

/// The decision that makes attempt `n` of executor `n`.
async fn decision(store: &PostgresStore, n: u32) -> ExecutorCommit {
    let row = executor(store, n).await;
    let write = attempt(n, &row, Some(&format!("request-{n}")));
    let mut decision = ExecutorCommit { attempts: vec![write], ..commit(&row) };
    decision.events[0].target = format!("decision-{n}");
    decision
}

/// How often it was told.
async fn told(store: &PostgresStore, n: u32) -> Result<usize, Failed> {
    let target = Some(format!("decision-{n}"));
    let query = EventQuery { organization: Some(organization()), target, limit: 10, ..EventQuery::default() };
    Ok(store.event_list(&query).await?.len())
}

async fn made(store: &PostgresStore, n: u32) -> Result<usize, Failed> {
    let id = domain::RequestId::new(&format!("request-{n}"))?;
    Ok(store.attempt_list_by_request(&organization(), &[id]).await?.len())
}

async fn in_doubt(cluster: Arc<Cluster>) -> Result<(), Failed> {
    let (through, beside, proxy) = pair(&cluster, "in-doubt").await?;
    let steps = [
        (Step::Said, Some(false)),
        (Step::BeforeCommit, Some(false)),
        // PostgreSQL has it, and nobody to answer: it may go either way.
        (Step::Committing, None),
        (Step::Committed, Some(true)),
    ];
    for (n, (step, is_written)) in (1..).zip(steps) {
        enrol(&beside, n).await;
        let decision = decision(&through, n).await;
        proxy.catch(&[&format!("decision-{n}")], step, Then::Cut);
        let answer = through.executor_commit(decision.clone()).await;
        assert!(proxy.caught(SOON), "{step:?}");
        assert!(matches!(&answer, Err(error @ Error::Unavailable { .. }) if error.retryable()), "{step:?}: {answer:?}");
        assert!(format!("{answer:?}").contains("InDoubt"), "{step:?}: {answer:?}");
        // The row is free again: whoever comes next does not wait for the connection that is gone. Where it was read before the
        // decision in doubt was made after all, it is read again.
        while let Err(error) = beside.executor_commit(commit(&executor(&beside, n).await)).await {
            assert!(step == Step::Committing && matches!(error, Error::Stale { .. }), "{step:?}: {error:?}");
        }
        let found = made(&beside, n).await?;
        assert!(is_written.is_none_or(|written| found == usize::from(written)), "{step:?}: {found}");
        assert_eq!(told(&beside, n).await?, found, "{step:?}: the decision with its events, or nothing");
        // Its caller, by its request id: as it was read then, and read anew.
        let again = through.executor_commit(decision).await;
        assert!(matches!(&again, Err(Error::Stale { .. })), "{step:?}: {again:?}");
        let anew = self::decision(&through, n).await;
        let again = through.executor_commit(anew).await;
        if found == 1 {
            assert!(again.is_err(), "{step:?}: its id is taken");
        } else {
            again?;
        }
        assert_eq!((made(&beside, n).await?, told(&beside, n).await?), (1, 1), "{step:?}");
    }
    Ok(())
}

async fn ended(cluster: Arc<Cluster>) -> Result<(), Failed> {
    // Words of the statements of a decision, in the order in which they are sent.
    let words = ["BEGIN ISOLATION", ".executors", ".attempts", "FROM unnest($1, $2, $3)", "COMMIT"];
    let (through, beside, proxy) = pair(&cluster, "ended").await?;
    for (n, word) in (1..).zip(words) {
        enrol(&beside, n).await;
        let decision = decision(&through, n).await;
        proxy.catch(&[word], Step::Said, Then::Hold);
        let answer = tokio::spawn({
            let (store, decision) = (through.clone(), decision.clone());
            async move { store.executor_commit(decision).await }
        });
        if !proxy.caught(SOON) {
            return Err(format!("{word} is not said").into());
        }
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                   WHERE application_name = 'ended' AND query NOT LIKE 'LISTEN%'";
        cluster.sql(end)?;
        proxy.open();
        let answer = answer.await?;
        assert!(matches!(&answer, Err(error) if error.retryable()), "{word}: {answer:?}");
        assert_eq!((made(&beside, n).await?, told(&beside, n).await?), (0, 0), "{word}");
        // The pool finds out about its other connections one by one.
        while let Err(error) = through.executor_commit(decision.clone()).await {
            assert!(error.retryable(), "{word}: {error:?}");
        }
        assert_eq!((made(&beside, n).await?, told(&beside, n).await?), (1, 1), "{word}");
    }
    Ok(())
}
