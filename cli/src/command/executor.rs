//! `novacula executor …`

pub(super) mod print;

use std::io::{self, IsTerminal as _, Write as _};

use proto::v1;
use proto::v1::executor_service_client::ExecutorServiceClient;
use proto::v1::upgrade_service_client::UpgradeServiceClient;

use crate::args::Channel;
use crate::args::executor::Executor;
use crate::command::executor::print::{channel, dash, kind, show, status, target, wire_channel};
use crate::command::{PAGE_SIZE, Session};
use crate::error::Error;
use crate::names::short;
use crate::output::{line, printable};
use crate::time;

pub(super) async fn run(session: &Session, command: Executor) -> Result<(), Error> {
    let names = &session.names;
    match command {
        Executor::List { filter } => list(session, filter).await,
        Executor::Watch { filter } => watch(session, filter).await,
        Executor::Explain { name } => explain(session, names.executor(&name)?).await,
        Executor::Update { name, channel, labels } => update(session, names.executor(&name)?, channel, &labels).await,
        Executor::Delete { name, yes } => delete(session, names.executor(&name)?, yes).await,
        Executor::Nodes { name } => nodes(session, names.executor(&name)?).await,
        Executor::Get { name } => {
            let request = v1::GetExecutorRequest { name: names.executor(&name)? };
            show(session, &client(session).await?.get_executor(request).await?.into_inner())
        }
        Executor::Deactivate { name } => {
            let request = v1::DeactivateExecutorRequest { name: names.executor(&name)? };
            show(session, &client(session).await?.deactivate_executor(request).await?.into_inner())
        }
        Executor::Activate { name } => {
            let request = v1::ActivateExecutorRequest { name: names.executor(&name)? };
            show(session, &client(session).await?.activate_executor(request).await?.into_inner())
        }
        Executor::ClearHold { name, version } => {
            let request = v1::ClearHoldRequest { name: names.executor(&name)?, version };
            show(session, &client(session).await?.clear_hold(request).await?.into_inner())
        }
    }
}

async fn client(session: &Session) -> Result<ExecutorServiceClient<crate::connect::Api>, Error> {
    Ok(ExecutorServiceClient::new(session.api().await?))
}

async fn list(session: &Session, filter: String) -> Result<(), Error> {
    let parent = session.names.parent()?;
    let mut client = client(session).await?;
    let (mut executors, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListExecutorsRequest {
            parent: parent.clone(),
            page_size: PAGE_SIZE,
            page_token,
            filter: filter.clone(),
        };
        let page = client.list_executors(request).await?.into_inner();
        executors.extend(page.executors);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let header = ["NAME", "KIND", "VERSION", "PLATFORM", "CHANNEL", "STATUS", "PENDING", "LAST SEEN"];
    session.printer.list(&executors, &header, |executor| {
        vec![
            short(&executor.name).to_owned(),
            kind(executor.kind()).to_owned(),
            dash(&executor.version),
            dash(&executor.platform),
            channel(executor.channel()).to_owned(),
            status(executor),
            executor.pending_upgrade.as_ref().map_or_else(|| "-".to_owned(), target),
            if executor.online { "now".to_owned() } else { time::ago(executor.last_seen_time.as_ref()) },
        ]
    })
}

async fn watch(session: &Session, filter: String) -> Result<(), Error> {
    let request = v1::WatchExecutorsRequest { parent: session.names.parent()?, filter };
    let mut client = ExecutorServiceClient::new(session.streaming_api().await?);
    let mut stream = client.watch_executors(request).await?.into_inner();
    while let Some(change) = stream.message().await? {
        if session.printer.is_json() {
            session.printer.streamed(&change, |_| String::new())?;
            continue;
        }
        let Some(executor) = &change.executor else {
            continue;
        };
        let name = short(&executor.name);
        if change.change_type() == v1::watch_executors_response::ChangeType::Removed {
            line(&format!("{name} removed"))?;
        } else {
            let pending = executor.pending_upgrade.as_ref().map(|pending| format!(" -> {}", target(pending)));
            let pending = pending.unwrap_or_default();
            line(&printable(&format!("{name} {}{pending} {}", dash(&executor.version), status(executor))))?;
        }
    }
    Ok(())
}

async fn explain(session: &Session, name: String) -> Result<(), Error> {
    let mut client = UpgradeServiceClient::new(session.api().await?);
    let answer = client.explain_upgrade(v1::ExplainUpgradeRequest { name }).await?.into_inner();
    session.printer.message(&answer, |answer| {
        let mut lines = vec![printable(&answer.summary)];
        for finding in &answer.findings {
            let mark = match finding.severity() {
                v1::explain_upgrade_response::finding::Severity::Blocking => "BLOCKING",
                v1::explain_upgrade_response::finding::Severity::Notice => "notice",
                _ => "ok",
            };
            let since = finding.since.as_ref().map(|since| format!(" (since {})", time::stamp(Some(since))));
            let since = since.unwrap_or_default();
            let reason = if finding.reason.is_empty() { String::new() } else { format!(" [{}]", finding.reason) };
            lines.push(printable(&format!("  {mark:<8} {}{reason}{since}", finding.message)));
            if !finding.remedy.is_empty() {
                lines.push(printable(&format!("           do: {}", finding.remedy)));
            }
        }
        lines.join("\n")
    })
}

async fn update(session: &Session, name: String, channel: Option<Channel>, labels: &[String]) -> Result<(), Error> {
    if channel.is_none() && labels.is_empty() {
        return Err(Error::Config("nothing to change: give --channel or --label".to_owned()));
    }
    let labels = labels.iter().map(|label| pair(label)).collect::<Result<Vec<_>, _>>()?;
    let mut client = client(session).await?;
    let mut paths = Vec::new();
    let mut executor = client.get_executor(v1::GetExecutorRequest { name }).await?.into_inner();
    if let Some(channel) = channel {
        executor.set_channel(wire_channel(channel));
        paths.push("channel".to_owned());
    }
    if !labels.is_empty() {
        paths.push("labels".to_owned());
    }
    for (key, value) in labels {
        if value.is_empty() {
            executor.labels.remove(key);
        } else {
            executor.labels.insert(key.to_owned(), value.to_owned());
        }
    }
    let request =
        v1::UpdateExecutorRequest { executor: Some(executor), update_mask: Some(prost_types::FieldMask { paths }) };
    show(session, &client.update_executor(request).await?.into_inner())
}

fn pair(label: &str) -> Result<(&str, &str), Error> {
    label.split_once('=').ok_or_else(|| Error::Config(format!("--label {label:?} is not KEY=VALUE")))
}

async fn delete(session: &Session, name: String, yes: bool) -> Result<(), Error> {
    if !yes {
        confirm(&format!("Delete {name} for ever? Its certificate will be refused. Type yes: "))?;
    }
    client(session).await?.delete_executor(v1::DeleteExecutorRequest { name: name.clone() }).await?;
    eprintln!("deleted {name}");
    Ok(())
}

fn confirm(question: &str) -> Result<(), Error> {
    if !io::stdin().is_terminal() {
        return Err(Error::Config("not a terminal: say --yes".to_owned()));
    }
    eprint!("{question}");
    io::stderr().flush().map_err(|error| Error::file("write", "standard error", error))?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(|error| Error::file("read", "standard input", error))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Error::Refused("nothing was deleted".to_owned())) }
}

async fn nodes(session: &Session, parent: String) -> Result<(), Error> {
    let mut client = client(session).await?;
    let (mut nodes, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListNodesRequest { parent: parent.clone(), page_size: PAGE_SIZE, page_token };
        let page = client.list_nodes(request).await?.into_inner();
        nodes.extend(page.nodes);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    session.printer.list(&nodes, &["NODE", "PLATFORM", "OS", "KERNEL", "KUBELET", "READY", "REPORTED"], |node| {
        vec![
            node.node_name.clone(),
            dash(&node.platform),
            dash(&node.os_image),
            dash(&node.kernel_version),
            dash(&node.kubelet_version),
            node.ready.to_string(),
            time::ago(node.report_time.as_ref()),
        ]
    })
}
