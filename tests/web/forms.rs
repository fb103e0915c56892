//! The forms of an executor's pages, without a browser: what is refused is refused in place, and nothing that was typed is lost.

use std::time::Duration;

use anyhow::ensure;
use harness::catalog::Draft;
use harness::fake_executor::{FakeExecutor, Stream};
use libtest_mimic::Trial;
use proto::v1;
use proto::v1::Role;

use crate::http::{Answer, Http};
use crate::stage::{Stage, ask, attempt};
use crate::{Result, trial};

/// The one executor, which runs 1.0.0.
const WEB: &str = "/organizations/acme/executors/web-1";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("forms::a_refusal_keeps_what_was_chosen", keeps),
        trial("forms::a_change_in_between_is_refused_and_a_double_click_asks_once", in_between),
        trial("forms::a_cancel_that_comes_after_leave_says_so", too_late),
        trial("forms::an_attempt_that_stands_still_for_a_minute_is_explained", stands_still),
        trial("forms::what_is_deleted_is_typed_first", typed),
        trial("forms::a_label_that_is_none_stays_in_the_form_as_text", labels),
    ]
}

/// Somebody with a session, and an executor to ask.
struct Desk {
    stage: Stage,
    stream: Option<Stream>,
    executor: FakeExecutor,
    http: Http,
    cookie: String,
    token: String,
}

impl Desk {
    async fn new() -> Result<Self> {
        let stage = Stage::bare().await?;
        for (version, sequence) in [("1.1.0", 1), ("1.2.0", 2)] {
            stage.plane.release(&Draft::new(version, sequence)).await?;
        }
        let (executor, stream) = FakeExecutor::online(&stage.plane, "web-1", "1.0.0").await?;
        let http = Http::new(&stage)?;
        let cookie = http.sign_in(stage.plane.secret(Role::Admin)).await?;
        let token = http.forgery_token(&cookie, WEB).await?;
        Ok(Self { stage, stream: Some(stream), executor, http, cookie, token })
    }

    async fn post(&self, path: &str, form: &str) -> Result<Answer> {
        let form = format!("forgery_token={}&{form}", self.token);
        self.http.post(path, &self.cookie, &[("sec-fetch-site", "same-origin")], &form).await
    }

    async fn attempts(&self) -> Result<usize> {
        let parent = self.executor.name().to_owned();
        let list = v1::ListAttemptsRequest { parent, ..v1::ListAttemptsRequest::default() };
        Ok(self.stage.plane.member().upgrades().list_attempts(list).await?.into_inner().attempts.len())
    }

    async fn executor(&self) -> std::result::Result<v1::Executor, tonic::Status> {
        let request = v1::GetExecutorRequest { name: self.executor.name().to_owned() };
        Ok(self.stage.plane.member().executors().get_executor(request).await?.into_inner())
    }
}

async fn keeps() -> Result {
    let mut desk = Desk::new().await?;
    desk.stream = None;
    disconnected(&desk.stage, desk.executor.name()).await?;
    desk.stage.plane.clock().advance(Duration::from_secs(31));
    let form = "to=1.1.0&expected_version=1.0.0&ttl=3600&request_id=kept-1";
    let answer = desk.post(&format!("{WEB}/upgrade"), form).await?;
    ensure!(answer.status == 409 && answer.body.contains("EXECUTOR_OFFLINE"), "{answer:?}");
    ensure!(answer.body.contains("value=\"3600\" selected") && answer.body.contains("value=\"kept-1\""), "{answer:?}");
    let page = desk.http.get(WEB, &desk.cookie).await?.body;
    ensure!(page.contains("Nothing can be asked now") && !page.contains("Upgrade to 1.1.0…"), "it is offered: {page}");
    ensure!(desk.attempts().await? == 0, "an attempt was made");
    Ok(())
}

/// Waits for the feed to say that a stream ended.
async fn disconnected(stage: &Stage, name: &str) -> Result {
    let types = vec!["executor.disconnected".to_owned()];
    let request = v1::WatchEventsRequest { parent: "organizations/acme".to_owned(), after_sequence: 1, types };
    let mut events = stage.plane.member().events().watch_events(request).await?.into_inner();
    while let Some(said) = events.message().await? {
        if said.event.is_some_and(|event| event.target == name) {
            return Ok(());
        }
    }
    anyhow::bail!("the feed ended")
}

async fn in_between() -> Result {
    let desk = Desk::new().await?;
    let ask = async |form: &str| desk.post(&format!("{WEB}/upgrade"), form).await;
    let stale = ask("to=1.1.0&expected_version=0.9.0&ttl=&request_id=a").await?;
    ensure!(stale.status == 409 && stale.body.contains("VERSION_MISMATCH"), "{stale:?}");
    ensure!(stale.body.contains("name=\"expected_version\" value=\"1.0.0\""), "the form says what runs: {stale:?}");
    let once = ask("to=1.1.0&expected_version=1.0.0&ttl=&request_id=b").await?;
    let twice = ask("to=1.1.0&expected_version=1.0.0&ttl=&request_id=b").await?;
    ensure!((once.status, twice.status) == (303, 303) && desk.attempts().await? == 1, "{once:?} {twice:?}");
    ensure!(once.header("location") == twice.header("location"), "two places");
    // Another target is refused while one is pending, and taken when the form says so.
    let other = ask("to=1.2.0&expected_version=1.0.0&ttl=&request_id=c").await?;
    ensure!(other.status == 409 && other.body.contains("Replace the pending upgrade to 1.1.0"), "{other:?}");
    let replaced = ask("to=1.2.0&expected_version=1.0.0&ttl=&request_id=c&replace=on").await?;
    ensure!(replaced.status == 303 && desk.attempts().await? == 2, "{replaced:?}");
    let foreign = ask("to=%5Bx%5D(https%3A%2F%2Fevil.example)&request_id=d").await?;
    ensure!(foreign.status == 400 && !foreign.body.contains("evil.example"), "{foreign:?}");
    Ok(())
}

async fn too_late() -> Result {
    let mut desk = Desk::new().await?;
    let asked = ask(&desk.stage.plane, desk.executor.name(), "1.1.0").await?;
    let Some(stream) = &mut desk.stream else { anyhow::bail!("no stream") };
    let desired = stream.desired().await?;
    stream.ask_leave(&desired).await?;
    let answer = desk.post(&format!("/{}/cancel", asked.name), "").await?;
    ensure!(answer.status == 409 && answer.body.contains("ATTEMPT_APPLYING"), "{answer:?}");
    ensure!(answer.body.contains("It was not cancelled") && answer.body.contains("Bring 1.0.0 back"), "{answer:?}");
    ensure!(attempt(&desk.stage.plane, &asked.name).await?.end_time.is_none(), "it ended");
    Ok(())
}

async fn stands_still() -> Result {
    let desk = Desk::new().await?;
    let asked = ask(&desk.stage.plane, desk.executor.name(), "1.1.0").await?;
    let attempt = format!("/{}", asked.name);
    for path in [attempt.as_str(), WEB] {
        let page = desk.http.get(path, &desk.cookie).await?.body;
        ensure!(!page.contains("Diagnosis"), "it has only just been asked: {page}");
    }
    desk.stage.plane.clock().advance(Duration::from_secs(61));
    for path in [attempt.as_str(), WEB] {
        let page = desk.http.get(path, &desk.cookie).await?.body;
        ensure!(
            page.contains("Diagnosis") && page.contains("it is offline: last seen"),
            "nothing is explained: {page}"
        );
        ensure!(page.contains("<code>novacula-agent doctor</code>"), "what to do is not said: {page}");
    }
    Ok(())
}

async fn typed() -> Result {
    let desk = Desk::new().await?;
    let path = format!("{WEB}/decide/delete");
    let member = desk.http.sign_in(desk.stage.plane.secret(Role::Member)).await?;
    ensure!(desk.http.get(&path, &member).await?.status == 403, "a member is asked");
    let wrong = desk.post(&path, "typed=web-10").await?;
    ensure!(wrong.status == 400 && wrong.body.contains("nothing was deleted"), "{wrong:?}");
    ensure!(desk.executor().await.is_ok(), "it is gone");
    let right = desk.post(&path, "typed=web-1").await?;
    ensure!(right.status == 303 && right.header("location") == "/organizations/acme/executors", "{right:?}");
    ensure!(desk.executor().await.is_err_and(|status| status.code() == tonic::Code::NotFound), "it is still there");
    Ok(())
}

async fn labels() -> Result {
    let desk = Desk::new().await?;
    let form = |labels: &str| format!("channel=beta&channel_before=stable&labels_before=&labels={labels}");
    let settings = format!("{WEB}/settings");
    let answer = desk.post(&settings, &form("%3Cscript%3Ealert(1)%3C%2Fscript%3E")).await?;
    ensure!(answer.status == 400 && !answer.body.contains("<script>alert"), "{answer:?}");
    ensure!(
        answer.body.contains("alert(1)") && answer.body.contains("value=\"beta\" selected"),
        "what was typed is lost"
    );
    ensure!(desk.executor().await?.channel() == v1::Channel::Stable, "half of it was written");
    let answer = desk.post(&settings, &form("rack%3Da7%0D%0Azone%3Dx")).await?;
    let executor = desk.executor().await?;
    ensure!(
        answer.status == 303 && executor.channel() == v1::Channel::Beta && executor.labels.len() == 2,
        "{executor:?}"
    );
    Ok(())
}
