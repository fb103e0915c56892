//! `novacula event …`

use proto::v1;
use proto::v1::event_service_client::EventServiceClient;

use crate::args::event::{Event, Events};
use crate::command::Session;
use crate::error::Error;
use crate::output::printable;
use crate::time;

pub(super) async fn run(session: &Session, command: Event) -> Result<(), Error> {
    match command {
        Event::List(events) => list(session, events).await,
        Event::Watch { types, after } => watch(session, types, after).await,
    }
}

async fn list(session: &Session, events: Events) -> Result<(), Error> {
    let parent = if events.installation { String::new() } else { session.names.parent()? };
    let mut client = EventServiceClient::new(session.api().await?);
    let mut rows = Vec::new();
    let mut page_token = String::new();
    while rows.len() < events.limit {
        let request = v1::ListEventsRequest {
            parent: parent.clone(),
            page_size: i32::try_from(events.limit - rows.len()).unwrap_or(i32::MAX).min(super::PAGE_SIZE),
            page_token,
            after_sequence: 0,
            types: events.types.clone(),
            target: events.target.clone(),
            newest_first: true,
        };
        let page = client.list_events(request).await?.into_inner();
        rows.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    rows.reverse();
    session.printer.list(&rows, &["SEQUENCE", "TIME", "TYPE", "ACTOR", "TARGET", "DETAILS"], |event| {
        vec![
            event.sequence.to_string(),
            time::stamp(event.time.as_ref()),
            event.r#type.clone(),
            event.actor.clone(),
            event.target.clone(),
            details(event),
        ]
    })
}

async fn watch(session: &Session, types: Vec<String>, after: u64) -> Result<(), Error> {
    let parent = session.names.parent_or_installation()?;
    let mut client = EventServiceClient::new(session.streaming_api().await?);
    let request = v1::WatchEventsRequest { parent, after_sequence: after, types };
    let mut stream = client.watch_events(request).await?.into_inner();
    while let Some(response) = stream.message().await? {
        let Some(event) = response.event else {
            continue;
        };
        session.printer.streamed(&event, |event| {
            let time = time::stamp(event.time.as_ref());
            printable(&format!(
                "{} {time} {} {} {} {}",
                event.sequence,
                event.r#type,
                event.actor,
                event.target,
                details(event)
            ))
        })?;
    }
    Ok(())
}

fn details(event: &v1::Event) -> String {
    let mut pairs: Vec<String> = event.details.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.sort();
    pairs.join(" ")
}
