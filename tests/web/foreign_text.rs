//! What people and executors write stays text on every page: names, labels, notes, log tails, and what stands in an address.

use anyhow::{Context as _, ensure};
use harness::browser::Browser;
use harness::catalog::Draft;
use harness::fake_executor::{FakeExecutor, Hello};
use libtest_mimic::Trial;
use proto::v1;
use proto::v1::Role;
use serde_json::{Value, json};

use crate::stage::{Stage, ask};
use crate::{Result, trial};

/// Ends an attribute, a tag, a script and a comment, and then does harm.
const HARM: &str = "\"'--></script></pre><img src=x onerror=window.owned=1><svg onload=window.owned=1>";

/// The same in Markdown, where HTML and links are allowed for.
const NOTES: &str = "\
<script>window.owned=1</script><img src=x onerror=window.owned=1>

[a](javascript:window.owned=1) ![b](x\" onerror=\"window.owned=1) <javascript:window.owned=1>

<a href=\"javascript:window.owned=1\" onclick=\"window.owned=1\">c</a> <style>body{display:none}</style> <form action=/signout>
";

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("foreign_text::stays_text_on_every_page", stays_text)]
}

/// Everything that others write, with harm in it; the attempt that tells of it.
async fn written(stage: &Stage) -> Result<(FakeExecutor, String)> {
    let plane = &stage.plane;
    plane.release(&Draft::new("1.1.0", 1).with_notes(NOTES)).await?;
    plane.release(&Draft::new("1.2.0", 2).with_notes(NOTES)).await?;
    let yanked = v1::YankReleaseRequest { name: "releases/agent-1.2.0".to_owned(), reason: HARM.to_owned() };
    plane.publisher().releases().yank_release(yanked).await?;
    let token = v1::CreateTokenRequest {
        parent: "organizations/acme".to_owned(),
        role: Role::Member.into(),
        display_name: HARM.to_owned(),
        ..v1::CreateTokenRequest::default()
    };
    plane.owner().organizations().create_token(token).await?;
    let executor = FakeExecutor::enrol(plane, "web-1", "1.0.0").await?;
    let mut stream = executor.connect_with(executor.hello()).await?;
    let attempt = ask(plane, executor.name(), "1.1.0").await?.name;
    let desired = stream.desired().await?;
    stream.ask_leave(&desired).await?;
    let report = v1::Report {
        attempt: desired.attempt,
        outcome: v1::Outcome::RolledBack.into(),
        stage: "start".to_owned(),
        error_code: "CRASH_LOOP".to_owned(),
        message: HARM.to_owned(),
        running_version: "1.0.0".to_owned(),
        rolled_back_to: "1.0.0".to_owned(),
        log_tail: vec![HARM.to_owned(), format!("{HARM}\r\ndata: {HARM}\n\nevent: last")],
        target_version: "1.1.0".to_owned(),
        from_version: "1.0.0".to_owned(),
    };
    stream.report(report).await?;
    Ok((executor, attempt))
}

async fn stays_text() -> Result {
    let stage = Stage::bare().await?;
    let (executor, attempt) = written(&stage).await?;
    let hello = Hello { pinned: true, pinned_reason: HARM.to_owned(), ..executor.hello() };
    let stream = executor.connect_with(hello).await?;
    let inventory = v1::Inventory {
        full: true,
        nodes: vec![v1::Node {
            node_name: "node-1".to_owned(),
            platform: "linux/amd64".to_owned(),
            kernel_version: HARM.to_owned(),
            os_image: HARM.to_owned(),
            ready: true,
            ..v1::Node::default()
        }],
        removed_node_names: Vec::new(),
    };
    stream.say(v1::sync_executor_request::Message::Inventory(inventory)).await?;
    labelled(&stage, executor.name()).await?;
    let browser = stage.signed_in(Role::Owner).await?;
    let web = "/organizations/acme/executors/web-1";
    let harm: String = HARM.bytes().map(|byte| format!("%{byte:02x}")).collect();
    // Where the text has to be readable, besides being harmless.
    let pages = [
        (format!("/{attempt}"), true),
        (web.to_owned(), true),
        (format!("{web}/nodes"), true),
        (format!("{web}/settings"), false),
        (format!("{web}/attempts"), false),
        (format!("{web}/upgrade?to=1.1.0"), false),
        (format!("{web}/upgrade?to={harm}"), false),
        ("/releases/agent-1.1.0".to_owned(), false),
        ("/releases/agent-1.2.0".to_owned(), true),
        ("/releases/compare?kind=agent&from=1.0.0&to=1.1.0".to_owned(), false),
        (format!("/releases/compare?kind=agent&from={harm}&to={harm}"), false),
        ("/organizations/acme/events".to_owned(), false),
        (format!("/organizations/acme/events?target={harm}&types={harm}"), false),
        ("/organizations/acme/access".to_owned(), true),
        (format!("/organizations/acme/executors?filter={harm}"), false),
        (format!("/organizations/acme/executors/{harm}"), false),
        (format!("/{harm}"), false),
    ];
    for (path, is_read) in pages {
        browser.go(&path).await?;
        if is_read {
            browser.see("<img src=x onerror=window.owned=1>").await.with_context(|| path.clone())?;
        }
        harmless(&browser).await.with_context(|| path.clone())?;
    }
    Ok(())
}

/// What a label may not hold is refused; what it may is shown.
async fn labelled(stage: &Stage, name: &str) -> Result {
    let label = |value: &str| v1::UpdateExecutorRequest {
        executor: Some(v1::Executor {
            name: name.to_owned(),
            labels: [("rack".to_owned(), value.to_owned())].into(),
            ..v1::Executor::default()
        }),
        update_mask: Some(prost_types::FieldMask { paths: vec!["labels".to_owned()] }),
    };
    let executors = stage.plane.owner();
    match executors.executors().update_executor(label(HARM)).await {
        Ok(_) => Ok(()),
        Err(refused) => {
            ensure!(refused.code() == tonic::Code::InvalidArgument, "{refused:?}");
            Ok(())
        }
    }
}

/// Nothing ran, nothing that could run is there, and the policy had nothing to stop.
async fn harmless(browser: &Browser) -> Result {
    let script = "
        const handlers = [...document.querySelectorAll('*')].filter((element) =>
            [...element.attributes].some(({ name, value }) => name.startsWith('on') || /^\\s*javascript:/i.test(value)));
        return { owned: window.owned ?? null, handlers: handlers.map((element) => element.outerHTML),
                 foreign: document.querySelectorAll('main img, main svg:not(.bar-of), main style, main script, main iframe').length }";
    let seen = browser.script(script, json!([])).await?;
    let nothing: Value = json!({ "owned": null, "handlers": [], "foreign": 0 });
    ensure!(seen == nothing, "{seen}");
    let complaints = browser.complaints().await?;
    let broken: Vec<_> = complaints.iter().filter(|line| !line.contains("responded with a status of")).collect();
    ensure!(broken.is_empty(), "{broken:?}");
    Ok(())
}
