//! A browser without a browser: signs in by the form, keeps the cookie, reads forgery tokens out of pages, and follows nothing.

use anyhow::{Context as _, Result, ensure};
use harness::client::Client;
use harness::control_plane::ControlPlane;
use proto::v1;
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use reqwest::redirect::Policy;

/// The boundary of our multipart forms.
const BOUNDARY: &str = "the-boundary-of-the-test";

/// Somebody with a cookie.
pub(crate) struct Visitor {
    client: reqwest::Client,
    origin: String,
    cookie: String,
}

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) location: String,
    pub(crate) cache_control: String,
    pub(crate) text: String,
}

/// A field of a multipart form.
pub(crate) enum Part<'a> {
    Text(&'a str, &'a str),
    File(&'a str, &'a [u8]),
}

// === impl Visitor ===

impl Visitor {
    /// Signs in with a new token of this role.
    pub(crate) async fn sign_in(plane: &ControlPlane, role: v1::Role) -> Result<Self> {
        let parent = match role {
            v1::Role::Publisher | v1::Role::InstallationAdmin => String::new(),
            _ => crate::support::parent(),
        };
        let by: Client = plane.installation_admin();
        let request = v1::CreateTokenRequest { parent, role: role.into(), ..v1::CreateTokenRequest::default() };
        Self::show(plane, &by.organizations().create_token(request).await?.into_inner().secret).await
    }

    /// Signs in with this token.
    pub(crate) async fn show(plane: &ControlPlane, secret: &str) -> Result<Self> {
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(plane.tls().as_ref().clone())
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        let mut visitor = Self { client, origin: format!("https://{}", plane.api_addr()), cookie: String::new() };
        let answer = visitor.form("/signin").body(encoded(&[("token", secret)])).send().await?;
        let cookie = answer.headers().get(SET_COOKIE).context("no cookie")?.to_str()?;
        cookie.split(';').next().unwrap_or_default().clone_into(&mut visitor.cookie);
        Ok(visitor)
    }

    /// The session, as a bearer token.
    pub(crate) fn session(&self) -> &str {
        self.cookie.split_once('=').map_or("", |(_, session)| session)
    }

    /// Looks at a page, whatever it says.
    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        Answer::read(self.open(path).await?).await
    }

    /// An answer that is still coming.
    pub(crate) async fn open(&self, path: &str) -> Result<reqwest::Response> {
        Ok(self.client.get(format!("{}{path}", self.origin)).header(COOKIE, &self.cookie).send().await?)
    }

    /// The same, as a browser that says these of itself.
    pub(crate) async fn open_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<reqwest::Response> {
        let request = self.client.get(format!("{}{path}", self.origin)).header(COOKIE, &self.cookie);
        Ok(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await?)
    }

    /// Sends a form under a forgery token that was read before.
    pub(crate) async fn post_with(&self, token: &str, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        let fields = [&[("forgery_token", token)], fields].concat();
        Answer::read(self.form(path).body(encoded(&fields)).send().await?).await
    }

    /// Sends a form that stands on `page` to `path`.
    pub(crate) async fn post(&self, page: &str, path: &str, fields: &[(&str, &str)]) -> Result<Answer> {
        self.post_with(&self.forgery_token(page).await?, path, fields).await
    }

    /// Sends a multipart form, in the order of its fields.
    pub(crate) async fn post_parts(&self, path: &str, parts: &[Part<'_>]) -> Result<Answer> {
        let mut body = Vec::new();
        for part in parts {
            let (head, bytes) = match part {
                Part::Text(name, text) => (format!("name=\"{name}\""), text.as_bytes()),
                Part::File(name, bytes) => (format!("name=\"{name}\"; filename=\"a file\""), *bytes),
            };
            body.extend(format!("--{BOUNDARY}\r\ncontent-disposition: form-data; {head}\r\n\r\n").bytes());
            body.extend(bytes);
            body.extend(b"\r\n");
        }
        body.extend(format!("--{BOUNDARY}--\r\n").bytes());
        let kind = format!("multipart/form-data; boundary={BOUNDARY}");
        let request = self.client.post(format!("{}{path}", self.origin)).header(COOKIE, &self.cookie);
        Answer::read(request.header(CONTENT_TYPE, kind).body(body).send().await?).await
    }

    /// What each form of the session carries.
    pub(crate) async fn forgery_token(&self, page: &str) -> Result<String> {
        let page = self.get(page).await?;
        ensure!(page.code == 200, "{page:?}");
        let rest = page.text.split("name=\"forgery_token\" value=\"").nth(1).context("no forgery token")?;
        Ok(rest.split('"').next().unwrap_or_default().to_owned())
    }

    fn form(&self, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.post(format!("{}{path}", self.origin)).header(COOKIE, &self.cookie);
        request.header(CONTENT_TYPE, "application/x-www-form-urlencoded")
    }
}

// === impl Answer ===

impl Answer {
    async fn read(answer: reqwest::Response) -> Result<Self> {
        let header = |name| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let (location, cache_control) = (header(LOCATION.as_str()), header("cache-control"));
        Ok(Self { code: answer.status().as_u16(), location, cache_control, text: answer.text().await? })
    }

    /// Asserts that it leads to a page.
    #[track_caller]
    pub(crate) fn leads_to(&self, path: &str) {
        assert_eq!((self.code, self.location.as_str()), (303, path), "{}", self.text);
    }

    /// Asserts its code and a part of what it says.
    #[track_caller]
    pub(crate) fn says(&self, code: u16, part: &str) {
        assert!(self.code == code && self.text.contains(part), "{} without {part:?}: {}", self.code, self.text);
    }
}

fn encoded(fields: &[(&str, &str)]) -> String {
    let quoted = |text: &str| -> String { text.bytes().map(|byte| format!("%{byte:02X}")).collect() };
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", quoted(name), quoted(value))).collect();
    pairs.join("&")
}
