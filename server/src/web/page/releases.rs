//! `/releases`: the catalog, and `/releases/new`, where a publisher begins one.

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::response::{IntoResponse as _, Redirect};
use axum::routing::get;
use domain::role::Demand;
use proto::v1;
use proto::v1::release::Status;
use serde::Deserialize;

use crate::web::Web;
use crate::web::error::Said;
use crate::web::markdown;
use crate::web::page::form::{demanded, refused};
use crate::web::page::release::view;
use crate::web::page::{Frame, Page, Place, html};
use crate::web::session::{Posted, SignedIn};
use crate::web::show;

/// Rows of a page: what fits two screens.
const ROWS: i32 = 50;

/// The catalog.
#[derive(Template)]
#[template(path = "releases.html")]
struct ReleasesPage {
    frame: Frame,
    asked: Asked,
    releases: Vec<v1::Release>,
    next_page_token: String,
}

/// A row of links, of which one is chosen.
struct Chips {
    label: &'static str,
    chips: Vec<Chip>,
}

/// A link to the same list by another filter.
struct Chip {
    label: String,
    query: String,
    is_chosen: bool,
}

/// The form.
#[derive(Template)]
#[template(path = "release/new.html")]
struct NewReleasePage {
    frame: Frame,
    refused: Option<Said>,
    preview: bool,
    form: NewRelease,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    page_token: String,
}

/// A release as the form has it.
#[derive(Debug, Default, Deserialize)]
struct NewRelease {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    channel: String,
    #[serde(default)]
    release_notes: String,
    /// The button: `preview` looks, everything else makes the draft.
    #[serde(default)]
    action: String,
}

/// The routes.
pub fn routes() -> Router<Web> {
    Router::new().route("/releases", get(list).post(create)).route("/releases/new", get(begin))
}

async fn list(signed_in: SignedIn, Query(asked): Query<Asked>) -> Page {
    let request = v1::ListReleasesRequest {
        kind: kind(&asked.kind).into(),
        page_size: ROWS,
        page_token: asked.page_token.clone(),
        channel: channel(&asked.channel).into(),
        status: status(&asked.status).into(),
    };
    let listed = signed_in.api.releases().list_releases(request).await?.into_inner();
    Ok(html(&ReleasesPage {
        frame: Frame::new(&signed_in.reader, None, Place::Releases),
        asked,
        releases: listed.releases,
        next_page_token: listed.next_page_token,
    }))
}

async fn begin(signed_in: SignedIn) -> Page {
    demanded(&signed_in.reader, Demand::Publish, None)?;
    let frame = Frame::new(&signed_in.reader, None, Place::Releases);
    let form = NewRelease { kind: "agent".to_owned(), channel: "stable".to_owned(), ..NewRelease::default() };
    Ok(html(&NewReleasePage { frame, refused: None, preview: false, form }))
}

async fn create(Posted { by, form }: Posted<NewRelease>) -> Page {
    let frame = Frame::new(&by.reader, None, Place::Releases);
    if form.action == "preview" {
        return Ok(html(&NewReleasePage { frame, refused: None, preview: true, form }));
    }
    let request = v1::CreateReleaseRequest {
        kind: kind(&form.kind).into(),
        version: form.version.trim().to_owned(),
        channel: channel(&form.channel).into(),
        // Forms send the line ends of 1980.
        release_notes: form.release_notes.replace("\r\n", "\n"),
    };
    match by.api.releases().create_release(request).await {
        Ok(made) => Ok(Redirect::to(&format!("/{}", made.into_inner().name)).into_response()),
        Err(status) => {
            let said = refused(status)?;
            let code = said.code;
            let page = NewReleasePage { frame, refused: Some(said), preview: false, form };
            Ok((code, html(&page)).into_response())
        }
    }
}

// === impl Asked ===

impl Asked {
    /// What may be asked for; a link changes one word, and begins at the first page.
    fn chips(&self) -> [Chips; 3] {
        type Set = fn(&mut Asked, &str);
        let row = |label, own: &str, set: Set, words: &[(&str, String)]| {
            let chip = |(label, word): &(&str, String)| {
                let mut asked = Self { page_token: String::new(), ..self.clone() };
                set(&mut asked, word);
                Chip { label: (*label).to_owned(), query: asked.query(""), is_chosen: own == word }
            };
            Chips { label, chips: words.iter().map(chip).collect() }
        };
        let (kind, status, channel) =
            (show::kind(kind(&self.kind)), self.status(), show::channel(channel(&self.channel)));
        let any = String::new;
        let kinds = [("All", any()), ("Agents", "agent".to_owned()), ("Operators", "operator".to_owned())];
        let words = |any: (&'static str, String), words: &[&'static str]| {
            let words = words.iter().map(|word| (*word, (*word).to_owned()));
            std::iter::once(any).chain(words).collect::<Vec<_>>()
        };
        let statuses = words(("Any status", any()), &["draft", "published", "yanked"]);
        let channels = words(("Any channel", any()), &["stable", "beta", "dev"]);
        [
            row("Kind", &kind, |asked, word| asked.kind = word.to_owned(), &kinds),
            row("Status", &status, |asked, word| asked.status = word.to_owned(), &statuses),
            row("Channel", &channel, |asked, word| asked.channel = word.to_owned(), &channels),
        ]
    }

    fn status(&self) -> String {
        show::word(status(&self.status).as_str_name())
    }

    /// Whether everything is asked for.
    fn is_all(&self) -> bool {
        self.query("").is_empty()
    }

    /// Of this list, another page.
    fn query(&self, page_token: &str) -> String {
        let pairs = [("kind", &self.kind), ("status", &self.status), ("channel", &self.channel)];
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(pairs.into_iter().filter(|(_, word)| !word.is_empty()));
        if !page_token.is_empty() {
            query.append_pair("page_token", page_token);
        }
        query.finish()
    }
}

/// A kind by its word; what is none is unspecified.
fn kind(word: &str) -> v1::Kind {
    [v1::Kind::Agent, v1::Kind::Operator].into_iter().find(|kind| show::kind(*kind) == word).unwrap_or_default()
}

/// A channel by its word; what is none is unspecified.
fn channel(word: &str) -> v1::Channel {
    let known = [v1::Channel::Stable, v1::Channel::Beta, v1::Channel::Dev];
    known.into_iter().find(|channel| show::channel(*channel) == word).unwrap_or_default()
}

/// A status by its word; what is none is unspecified.
fn status(word: &str) -> Status {
    let known = [Status::Draft, Status::Published, Status::Yanked];
    known.into_iter().find(|status| show::word(status.as_str_name()) == word).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_form_are_the_api_s() {
        assert_eq!(
            (kind("agent"), kind("operator"), kind("")),
            (v1::Kind::Agent, v1::Kind::Operator, v1::Kind::Unspecified)
        );
        assert_eq!((channel("beta"), channel("x")), (v1::Channel::Beta, v1::Channel::Unspecified));
        assert_eq!((status("yanked"), status("x")), (Status::Yanked, Status::Unspecified));
    }

    #[test]
    fn a_chip_changes_one_word_and_begins_anew() {
        let asked = Asked {
            kind: "agent".to_owned(),
            status: "draft".to_owned(),
            page_token: "t".to_owned(),
            ..Asked::default()
        };
        let chips: Vec<(String, bool)> = asked
            .chips()
            .into_iter()
            .flat_map(|row| row.chips)
            .filter(|chip| chip.is_chosen || chip.label == "beta" || chip.label == "All")
            .map(|chip| (chip.query, chip.is_chosen))
            .collect();
        let expected = [
            ("status=draft", false),
            ("kind=agent&status=draft", true),
            ("kind=agent&status=draft", true),
            ("kind=agent&status=draft", true),
            ("kind=agent&status=draft&channel=beta", false),
        ];
        assert_eq!(chips, expected.map(|(query, is_chosen)| (query.to_owned(), is_chosen)));
        assert_eq!(asked.query("a/b"), "kind=agent&status=draft&page_token=a%2Fb");
        assert!(Asked::default().is_all() && !asked.is_all());
    }
}
