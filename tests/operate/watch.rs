//! Watches over replicas: what any of them commits is seen at each, a client that is cut goes on at another from where it was,
//! and no event is dropped, between a list and a watch or while the connection that hears the others is cut.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use harness::client::Client;
use harness::daemon::{Daemon, SOON};
use harness::fake_executor::success;
use harness::parts::Part;
use libtest_mimic::Trial;
use proto::v1;
use proto::v1::watch_executors_response::ChangeType;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::{Code, Streaming};

use crate::replicas::fleet::Replicas;
use crate::{Result, trial};

/// Whose feed and executors.
const PARENT: &str = "organizations/acme";

/// Changes in a row, each awaited before the next. A watch that nobody wakes looks every two seconds: by that alone they
/// would take twice as many seconds.
const IN_A_ROW: usize = 10;

/// What they may take on a busy machine when each is pushed.
const PUSHED: Duration = Duration::from_secs(10);

/// What the page promises of a cut (a second until the next try, and a statement), and as much again for a busy machine.
const HEALED: Duration = Duration::from_secs(4);

pub(crate) fn trials() -> Vec<Trial> {
    let parts = &[Part::Postgres, Part::Openssl];
    vec![
        trial("a_watch_at_one_replica_sees_what_the_others_change", parts, across),
        trial("no_event_is_dropped_between_a_list_here_and_a_watch_there", parts, list_then_watch),
        trial("a_watcher_whose_replica_is_killed_goes_on_at_another", parts, resumed),
        trial("a_watch_is_complete_while_its_replica_hears_nobody", parts, unheard),
    ]
}

/// A reader of the feed, and so what it would go on after.
struct Feed {
    told: Vec<v1::Event>,
    stream: Streaming<v1::WatchEventsResponse>,
}

/// What a client that follows the executors knows.
struct Followed {
    known: BTreeMap<String, v1::Executor>,
    stream: Streaming<v1::WatchExecutorsResponse>,
}

// === impl Feed ===

impl Feed {
    async fn open(daemon: &Daemon, after_sequence: u64) -> Result<Self> {
        Self::open_of(daemon, after_sequence, Vec::new()).await
    }

    async fn open_of(daemon: &Daemon, after_sequence: u64, types: Vec<String>) -> Result<Self> {
        let request = v1::WatchEventsRequest { parent: PARENT.to_owned(), after_sequence, types };
        let stream = daemon.client("owner").await?.events().watch_events(request).await?.into_inner();
        Ok(Self { told: Vec::new(), stream })
    }

    /// The same client, at another replica.
    async fn go_on(&mut self, daemon: &Daemon) -> Result {
        let last = self.told.last().context("nothing was told yet")?.sequence;
        self.stream = Self::open(daemon, last).await?.stream;
        Ok(())
    }

    /// The next event; none: the stream broke.
    async fn next(&mut self) -> Result<Option<&v1::Event>> {
        match timeout(SOON, self.stream.message()).await.context("no event came")? {
            Ok(said) => {
                self.told.push(said.and_then(|said| said.event).context("a watch has no end")?);
                Ok(self.told.last())
            }
            Err(_) => Ok(None),
        }
    }

    async fn until(&mut self, wanted: impl Fn(&v1::Event) -> bool) -> Result {
        while !wanted(self.next().await?.context("the watch broke")?) {}
        Ok(())
    }
}

// === impl Followed ===

impl Followed {
    /// Opens a watch and reads the first list.
    async fn open(daemon: &Daemon) -> Result<Self> {
        let request = v1::WatchExecutorsRequest { parent: PARENT.to_owned(), filter: String::new() };
        let stream = daemon.client("owner").await?.executors().watch_executors(request).await?.into_inner();
        let mut followed = Self { known: BTreeMap::new(), stream };
        while followed.next().await? != ChangeType::Synced {}
        Ok(followed)
    }

    async fn next(&mut self) -> Result<ChangeType> {
        let said = timeout(SOON, self.stream.message()).await.context("no change came")??;
        let said = said.context("a watch has no end")?;
        let kind = said.change_type();
        match (kind, said.executor) {
            (ChangeType::Present, Some(executor)) => drop(self.known.insert(executor.name.clone(), executor)),
            (ChangeType::Removed, Some(executor)) => drop(self.known.remove(&executor.name)),
            (ChangeType::Synced, None) => {}
            (kind, executor) => bail!("{kind:?} of {executor:?}"),
        }
        Ok(kind)
    }

    async fn until(&mut self, wanted: impl Fn(&BTreeMap<String, v1::Executor>) -> bool) -> Result {
        while !wanted(&self.known) {
            self.next().await?;
        }
        Ok(())
    }
}

/// Writes the label `n` of an executor.
async fn label(client: &Client, name: &str, n: usize) -> Result {
    let labels = [("n".to_owned(), n.to_string())].into();
    let executor = v1::Executor { name: name.to_owned(), labels, ..v1::Executor::default() };
    let request = v1::UpdateExecutorRequest { executor: Some(executor), update_mask: None };
    client.executors().update_executor(request).await?;
    Ok(())
}

fn is_labelled(executor: Option<&v1::Executor>, n: usize) -> bool {
    executor.and_then(|executor| executor.labels.get("n")) == Some(&n.to_string())
}

/// All events after a number, oldest first.
async fn events(daemon: &Daemon, after_sequence: u64) -> Result<Vec<v1::Event>> {
    let (client, mut rows, mut page_token) = (daemon.client("owner").await?, Vec::new(), String::new());
    loop {
        let parent = PARENT.to_owned();
        let list = v1::ListEventsRequest { parent, after_sequence, page_token, ..v1::ListEventsRequest::default() };
        let page = client.events().list_events(list).await?.into_inner();
        rows.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(rows);
        }
    }
}

/// One writer a replica, each with an executor of its own, for `n_writes` each. One whose replica dies ends early.
async fn writers(replicas: &Replicas, n_writes: usize) -> Result<Vec<JoinHandle<Result>>> {
    let mut writers = Vec::new();
    for (at, daemon) in replicas.daemons.iter().enumerate() {
        let name = replicas.enrol(at, &format!("writer-{at}")).await?.name().to_owned();
        let client = daemon.client("owner").await?;
        writers.push(tokio::spawn(async move {
            for n in 0..n_writes {
                label(&client, &name, n).await?;
            }
            Ok(())
        }));
    }
    Ok(writers)
}

/// A watch told what a list of the same tells, in order and each once.
async fn complete(feed: &mut Feed, daemon: &Daemon, after_sequence: u64) -> Result {
    let mut listed = events(daemon, after_sequence).await?;
    // A watch calls nobody by name: it tells what is written (event_service.proto).
    listed.iter_mut().for_each(|event| event.actor_display_name.clear());
    let last = listed.last().context("something happened")?.sequence;
    while feed.told.last().is_none_or(|event| event.sequence < last) {
        feed.next().await?.context("the watch broke")?;
    }
    ensure!(feed.told.is_sorted_by(|a, b| a.sequence < b.sequence), "out of order, or twice");
    let sequences = |events: &[v1::Event]| events.iter().map(|event| event.sequence).collect::<Vec<_>>();
    ensure!(feed.told == listed, "told {:?}, listed {:?}", sequences(&feed.told), sequences(&listed));
    Ok(())
}

/// Changes at the other replicas reach watches at the first as they happen, not when these look.
async fn pushed(replicas: &Replicas, name: &str, feed: &mut Feed, followed: &mut Followed, from: usize) -> Result {
    let clients = [replicas.daemons[1].client("owner").await?, replicas.daemons[2].client("owner").await?];
    let begin = Instant::now();
    for n in from..from + IN_A_ROW {
        label(&clients[n % 2], name, n).await?;
        followed.until(|known| is_labelled(known.get(name), n)).await?;
        feed.until(|event| event.details.get("labels") == Some(&format!("n={n}"))).await?;
    }
    ensure!(begin.elapsed() < PUSHED, "{IN_A_ROW} changes took {:?}", begin.elapsed());
    Ok(())
}

async fn across() -> Result {
    let replicas = Replicas::start(3).await?;
    let begin = events(&replicas.daemons[2], 0).await?.last().context("it was set up")?.sequence;
    let mut feed = Feed::open(&replicas.daemons[0], begin).await?;
    let mut followed = Followed::open(&replicas.daemons[0]).await?;
    ensure!(followed.known.is_empty(), "{:?}", followed.known);
    let mut executor = replicas.enrol(1, "web-1").await?;
    let name = executor.name().to_owned();
    followed.until(|known| known.get(&name).is_some_and(|executor| !executor.online)).await?;
    pushed(&replicas, &name, &mut feed, &mut followed, 0).await?;
    let mut stream = replicas.connect(&mut executor, 2).await?;
    followed.until(|known| known[&name].online).await?;
    // Asked for at one, carried out at another, watched at the third.
    let attempt = replicas.ask(1, &name, "1.1.0").await?;
    let request = v1::WatchAttemptRequest { name: attempt.name.clone() };
    let watch = replicas.daemons[0].client("owner").await?.upgrades().watch_attempt(request).await?;
    let watched = tokio::spawn(read_to_end(watch.into_inner()));
    let desired = stream.desired().await?;
    stream.ask_leave(&desired).await?;
    drop(stream);
    executor.turn_to(replicas.daemons[1].executor_addr())?;
    let hello = v1::Hello { version: "1.1.0".to_owned(), generation: desired.generation, ..executor.hello() };
    let mut stream = executor.connect_with(hello).await?;
    stream.report(success(&desired)).await?;
    let told = timeout(SOON, watched).await???;
    let last = told.last().context("it tells what is so at once")?;
    ensure!(last.outcome() == v1::Outcome::Succeeded, "{last:?}");
    ensure!(told.iter().any(|attempt| attempt.apply_time.is_some() && attempt.end_time.is_none()), "{told:?}");
    followed.until(|known| known[&name].version == "1.1.0" && known[&name].pending_upgrade.is_none()).await?;
    drop(stream);
    let deletion = v1::DeleteExecutorRequest { name: name.clone() };
    replicas.daemons[2].client("owner").await?.executors().delete_executor(deletion).await?;
    followed.until(|known| !known.contains_key(&name)).await?;
    complete(&mut feed, &replicas.daemons[2], begin).await
}

/// Every state that a watch of an attempt tells until its end.
async fn read_to_end(mut watch: Streaming<v1::WatchAttemptResponse>) -> Result<Vec<v1::Attempt>> {
    let mut told = Vec::new();
    while let Some(said) = watch.message().await? {
        told.push(said.attempt.context("an attempt")?);
    }
    Ok(told)
}

async fn list_then_watch() -> Result {
    const WRITES: usize = 60;
    let replicas = Replicas::start(3).await?;
    let executor = replicas.enrol(0, "web-1").await?;
    let writers = writers(&replicas, WRITES).await?;
    let cursor = events(&replicas.daemons[0], 0).await?.last().context("it was set up")?.sequence;
    let between = replicas.daemons[1].client("owner").await?;
    for n in 0..WRITES {
        label(&between, executor.name(), n).await?;
    }
    let mut feed = Feed::open(&replicas.daemons[2], cursor).await?;
    for writer in writers {
        writer.await??;
    }
    complete(&mut feed, &replicas.daemons[1], cursor).await?;
    // A list without rows is a place in the feed, too.
    let (parent, types) = (PARENT.to_owned(), vec!["executor.deleted".to_owned()]);
    let nothing = v1::ListEventsRequest { parent, types: types.clone(), ..v1::ListEventsRequest::default() };
    let listed = replicas.daemons[0].client("owner").await?.events().list_events(nothing).await?.into_inner();
    ensure!(listed.events.is_empty(), "{listed:?}");
    let deletion = v1::DeleteExecutorRequest { name: executor.name().to_owned() };
    between.executors().delete_executor(deletion).await?;
    let mut behind = Feed::open_of(&replicas.daemons[2], listed.watch_after_sequence, types).await?;
    behind.until(|event| event.target == executor.name()).await?;

    let between = feed.told.iter().filter(|event| event.target == executor.name());
    let labels: Vec<_> = between.filter_map(|event| event.details.get("labels").cloned()).collect();
    ensure!(labels == (0..WRITES).map(|n| format!("n={n}")).collect::<Vec<_>>(), "{labels:?}");
    Ok(())
}

async fn resumed() -> Result {
    const WRITES: usize = 80;
    let mut replicas = Replicas::start(3).await?;
    let mut executor = replicas.enrol(1, "web-1").await?;
    let gone = replicas.enrol(1, "web-2").await?;
    let mut stream = replicas.connect(&mut executor, 1).await?;
    let attempt = replicas.ask(1, executor.name(), "1.1.0").await?;
    let cursor = events(&replicas.daemons[1], 0).await?.last().context("it was set up")?.sequence;
    let mut feed = Feed::open(&replicas.daemons[0], cursor).await?;
    let mut followed = Followed::open(&replicas.daemons[0]).await?;
    ensure!(followed.known.contains_key(gone.name()), "{:?}", followed.known);
    let request = v1::WatchAttemptRequest { name: attempt.name.clone() };
    let client = replicas.daemons[0].client("owner").await?;
    let mut watch = client.upgrades().watch_attempt(request.clone()).await?.into_inner();
    ensure!(watch.message().await?.is_some(), "it tells what is so at once");
    let writers = writers(&replicas, WRITES).await?;
    while feed.told.len() < WRITES / 2 {
        feed.next().await?.context("the watch broke")?;
    }
    replicas.daemons[0].kill();
    while feed.next().await?.is_some() {}
    while followed.next().await.is_ok() {}
    let cut = async {
        while watch.message().await?.is_some() {}
        Ok::<_, tonic::Status>(())
    };
    ensure!(timeout(SOON, cut).await?.is_err_and(|status| status.code() != Code::Ok), "a killed replica says no end");
    // What happens while nobody watches.
    let deletion = v1::DeleteExecutorRequest { name: gone.name().to_owned() };
    replicas.daemons[2].client("owner").await?.executors().delete_executor(deletion).await?;
    let desired = stream.desired().await?;
    stream.ask_leave(&desired).await?;
    feed.go_on(&replicas.daemons[2]).await?;
    let followed = Followed::open(&replicas.daemons[1]).await?;
    ensure!(!followed.known.contains_key(gone.name()), "what a new list does not hold is gone");
    let client = replicas.daemons[2].client("owner").await?;
    let mut watch = client.upgrades().watch_attempt(request).await?.into_inner();
    let now = watch.message().await?.and_then(|said| said.attempt).context("an attempt")?;
    ensure!(now.apply_time.is_some(), "{now:?}");
    stream.report(success(&desired)).await?;
    let told = timeout(SOON, read_to_end(watch)).await??;
    ensure!(told.last().is_some_and(|attempt| attempt.outcome() == v1::Outcome::Succeeded), "{told:?}");
    // The one at the killed replica may have been told nothing of its last write.
    for (at, writer) in writers.into_iter().enumerate() {
        let written = writer.await?;
        ensure!(written.is_ok() || at == 0, "at {at}: {written:?}");
    }
    complete(&mut feed, &replicas.daemons[1], cursor).await
}

/// Cuts every connection that listens, again and again until told to stop; how many were cut.
async fn cut_listeners(replicas: &Replicas, stop: &AtomicBool) -> Result<usize> {
    let mut n_cut = 0;
    while !stop.load(Ordering::Relaxed) {
        let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'LISTEN novacula'";
        n_cut += replicas.cluster.sql(cut)?.parse::<usize>()?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(n_cut)
}

async fn unheard() -> Result {
    const WRITES: usize = 100;
    let replicas = Replicas::start(3).await?;
    let executor = replicas.enrol(1, "web-1").await?;
    let name = executor.name();
    let cursor = events(&replicas.daemons[1], 0).await?.last().context("it was set up")?.sequence;
    let mut feed = Feed::open(&replicas.daemons[0], cursor).await?;
    let mut followed = Followed::open(&replicas.daemons[0]).await?;
    let writers = writers(&replicas, WRITES).await?;
    let stop = AtomicBool::new(false);
    let elsewhere = replicas.daemons[1].client("owner").await?;
    let changes = async {
        // Seen though its replica hears nobody at all.
        for n in 0..3 {
            label(&elsewhere, name, n).await?;
            let begin = Instant::now();
            followed.until(|known| is_labelled(known.get(name), n)).await?;
            ensure!(begin.elapsed() < HEALED, "a change was seen after {:?}", begin.elapsed());
        }
        for writer in writers {
            writer.await??;
        }
        Ok(())
    };
    let until_stopped = async {
        let changed: Result = changes.await;
        stop.store(true, Ordering::Relaxed);
        changed
    };
    let (n_cut, changed) = tokio::join!(cut_listeners(&replicas, &stop), until_stopped);
    let n_cut = changed.and(n_cut)?;
    ensure!(n_cut >= 6, "each listener was cut, and again when it was back: {n_cut}");
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN novacula'";
    timeout(SOON, async { while replicas.cluster.sql(listening).is_ok_and(|n| n != "3") {} }).await?;
    pushed(&replicas, name, &mut feed, &mut followed, WRITES).await?;
    complete(&mut feed, &replicas.daemons[1], cursor).await
}
