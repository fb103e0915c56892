//! `…/events/export`: the feed as a file, newest first, read from the API a page at a time while it is sent.
//!
//! A file that ends early is never whole by mistake: when the API refuses a page, the connection is cut. When there are more
//! rows than an export holds, its last row says so (`export.cut`).

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use domain::OrganizationId;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use proto::v1;
use serde::Serialize;

use crate::grpc::error;
use crate::web::Web;
use crate::web::client::Api;
use crate::web::error::PageError;
use crate::web::page::Page;
use crate::web::page::events::asked::Asked;
use crate::web::page::events::parent;
use crate::web::page::form::{mistyped, organization};
use crate::web::session::SignedIn;
use crate::web::show;

/// Rows that the API is asked for at a time: its most.
const ROWS: i32 = 1_000;

/// Most rows of an export: a year of a busy organization, in a file that a spreadsheet still opens.
pub const MOST: usize = 100_000;

/// Names of the columns, and of the fields of a line.
const COLUMNS: &str = "sequence,time,type,actor,target,organization,details,actor_display_name\r\n";

/// How the file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Csv,
    Ndjson,
}

/// A line.
#[derive(Serialize)]
struct Line<'a> {
    sequence: u64,
    time: String,
    r#type: &'a str,
    actor: &'a str,
    target: &'a str,
    organization: &'a str,
    details: BTreeMap<&'a str, &'a str>,
    actor_display_name: &'a str,
}

/// Where the export is.
struct Reading {
    api: Api,
    parent: String,
    asked: Asked,
    rows_left: usize,
    is_over: bool,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new()
        .route("/events/export", get(of_installation))
        .route("/organizations/{organization}/events/export", get(of_organization))
}

async fn of_organization(
    State(web): State<Web>,
    signed_in: SignedIn,
    Path(id): Path<String>,
    Query(asked): Query<Asked>,
) -> Page {
    export(&web, signed_in.api, Some(organization(&id)?), asked).await
}

async fn of_installation(State(web): State<Web>, signed_in: SignedIn, Query(asked): Query<Asked>) -> Page {
    export(&web, signed_in.api, None, asked).await
}

async fn export(web: &Web, api: Api, organization: Option<OrganizationId>, asked: Asked) -> Page {
    let format = Format::parse(&asked.format)?;
    let reading = Reading {
        api,
        parent: parent(organization.as_ref()),
        asked: Asked { page_token: String::new(), ..asked },
        rows_left: MOST,
        is_over: false,
    };
    // The first page is read before anything is answered: a refusal is a page, and no broken file.
    let mut pages = Box::pin(pages(reading));
    let first = pages.next().await.unwrap_or_else(|| Ok(Vec::new()))?;
    let farewell = error::unavailable("the server is going away");
    let rest = web.tasks.drive("export", pages, Err(farewell));
    let whole = futures_util::stream::iter([Ok(first)]).chain(rest);
    let head = futures_util::stream::iter([Ok(format.head().to_owned())]);
    let texts = whole.map_ok(move |events| events.iter().map(|event| format.line(event)).collect::<String>());
    let body = head.chain(texts).map_err(|status| std::io::Error::other(status.to_string()));
    let name = organization.map_or_else(|| "installation".to_owned(), |id| id.to_string());
    Ok(file(format, &name, Body::from_stream(body)))
}

fn file(format: Format, name: &str, body: Body) -> Response {
    let (kind, extension) = match format {
        Format::Csv => ("text/csv; charset=utf-8", "csv"),
        Format::Ndjson => ("application/x-ndjson", "ndjson"),
    };
    // An organization's id is letters, digits and hyphens.
    let disposition = format!("attachment; filename=\"novacula-events-{name}.{extension}\"");
    ([(CONTENT_TYPE, kind.to_owned()), (CONTENT_DISPOSITION, disposition)], body).into_response()
}

/// The feed, a page at a time.
fn pages(reading: Reading) -> impl Stream<Item = Result<Vec<v1::Event>, tonic::Status>> + Send {
    futures_util::stream::unfold(reading, |mut reading| async move {
        if reading.is_over {
            return None;
        }
        let page = reading.next().await;
        reading.is_over |= page.is_err();
        Some((page, reading))
    })
}

// === impl Reading ===

impl Reading {
    async fn next(&mut self) -> Result<Vec<v1::Event>, tonic::Status> {
        let request = self.asked.request(&self.parent, ROWS);
        let answer = self.api.events().list_events(request).await?.into_inner();
        let mut events = answer.events;
        let are_more = events.len() > self.rows_left || !answer.next_page_token.is_empty();
        events.truncate(self.rows_left);
        self.rows_left -= events.len();
        self.asked.page_token = answer.next_page_token;
        self.is_over = self.rows_left == 0 || self.asked.page_token.is_empty();
        if self.rows_left == 0 && are_more {
            events.push(cut());
        }
        Ok(events)
    }
}

/// The row that says that there are more.
fn cut() -> v1::Event {
    let message =
        format!("there are older events: an export holds the newest {MOST}; ask again with a type or a target");
    v1::Event {
        r#type: "export.cut".to_owned(),
        details: [("message".to_owned(), message)].into_iter().collect(),
        ..v1::Event::default()
    }
}

// === impl Format ===

impl Format {
    fn parse(word: &str) -> Result<Self, PageError> {
        match word {
            "csv" => Ok(Self::Csv),
            "ndjson" => Ok(Self::Ndjson),
            _ => Err(PageError::Said(mistyped("format: is csv or ndjson"))),
        }
    }

    const fn head(self) -> &'static str {
        match self {
            Self::Csv => COLUMNS,
            Self::Ndjson => "",
        }
    }

    fn line(self, event: &v1::Event) -> String {
        let line = Line {
            sequence: event.sequence,
            time: event.time.and_then(show::rfc3339).unwrap_or_default(),
            r#type: &event.r#type,
            actor: &event.actor,
            target: &event.target,
            organization: &event.organization,
            details: event.details.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            actor_display_name: &event.actor_display_name,
        };
        match self {
            Self::Csv => {
                let details = json(&line.details);
                let sequence = line.sequence.to_string();
                let cells = [&sequence, &line.time, line.r#type, line.actor, line.target, line.organization, &details];
                let cells = cells.into_iter().chain([line.actor_display_name]).map(cell);
                cells.collect::<Vec<_>>().join(",") + "\r\n"
            }
            Self::Ndjson => json(&line) + "\n",
        }
    }
}

/// Texts and numbers, which are always JSON.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// A cell by RFC 4180. A text that a spreadsheet would take for a formula gets an apostrophe in front: executors and people
/// fill these fields, and whoever opens the file trusts it.
fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let quoted = text.replace('"', "\"\"");
    if is_formula { format!("\"'{quoted}\"") } else { format!("\"{quoted}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(target: &str, detail: &str) -> v1::Event {
        v1::Event {
            sequence: 7,
            r#type: "executor.updated".to_owned(),
            actor: "console".to_owned(),
            target: target.to_owned(),
            organization: "organizations/acme".to_owned(),
            time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
            details: [("label".to_owned(), detail.to_owned())].into_iter().collect(),
            actor_display_name: "-Kim".to_owned(),
        }
    }

    #[test]
    fn a_cell_is_never_a_formula() {
        for attack in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(\"http://evil.example\")", "＝1"] {
            let cell = cell(attack);
            assert!(cell.starts_with("\"'"), "{cell}");
        }
        assert_eq!(cell("a \"word\", and\nmore"), "\"a \"\"word\"\", and\nmore\"");
    }

    #[test]
    fn a_row_is_a_line_of_each_format() {
        let csv = Format::Csv.line(&event("=cmd|' /C calc'!A0", "a,\"b\""));
        let expected = "\"7\",\"1970-01-01T00:00:00Z\",\"executor.updated\",\"console\",\"'=cmd|' /C calc'!A0\",\
             \"organizations/acme\",\"{\"\"label\"\":\"\"a,\\\"\"b\\\"\"\"\"}\",\"'-Kim\"\r\n";
        assert_eq!(csv, expected);
        let line = Format::Ndjson.line(&event("a\nb", "<script>"));
        let read: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!((line.matches('\n').count(), read["details"]["label"].as_str()), (1, Some("<script>")));
    }

    #[test]
    fn an_export_that_was_cut_says_so() {
        assert!(Format::Csv.line(&cut()).contains("export.cut"));
    }
}
