//! The pages without a browser: what somebody sends who does not keep to what a browser would.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, SET_COOKIE};
use reqwest::{Client, Method, Response, redirect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::Result;
use crate::stage::Stage;

/// Sends what it is told to, and follows nothing.
pub(crate) struct Http {
    client: Client,
    origin: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// Another site: one page, at another origin.
pub(crate) struct Foreign {
    address: SocketAddr,
    server: JoinHandle<()>,
}

// === impl Http ===

impl Http {
    /// To the stage's control plane, whose certificate it proves.
    pub(crate) fn new(stage: &Stage) -> Result<Self> {
        let tls = Arc::unwrap_or_clone(stage.plane.tls());
        let client = Client::builder().tls_backend_preconfigured(tls).no_proxy().redirect(redirect::Policy::none());
        let origin = format!("https://localhost:{}", stage.plane.api_addr().port());
        Ok(Self { client: client.build()?, origin })
    }

    /// Asks for a path.
    pub(crate) async fn get(&self, path: &str, cookie: &str) -> Result<Answer> {
        let request = self.client.request(Method::GET, format!("{}{path}", self.origin));
        Answer::of(request.header(COOKIE, cookie).send().await?).await
    }

    /// Sends a form, with these headers beside it.
    pub(crate) async fn post(
        &self,
        path: &str,
        cookie: &str,
        headers: &[(&'static str, &str)],
        form: &str,
    ) -> Result<Answer> {
        let request = self.client.request(Method::POST, format!("{}{path}", self.origin));
        let mut request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(COOKIE, cookie);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(request.body(form.to_owned()).send().await?).await
    }

    /// Signs in, and returns the cookie as it is sent back.
    pub(crate) async fn sign_in(&self, secret: &str) -> Result<String> {
        let answer = self.post("/signin", "", &[], &format!("token={secret}")).await?;
        ensure!(answer.status == 303, "{answer:?}");
        let cookie = answer.header(SET_COOKIE.as_str());
        Ok(cookie.split(';').next().context("a cookie")?.to_owned())
    }

    /// The forgery token of a session's forms.
    pub(crate) async fn forgery_token(&self, cookie: &str, path: &str) -> Result<String> {
        let page = self.get(path, cookie).await?.body;
        let (_, rest) = page.split_once("name=\"forgery_token\" value=\"").context("a form")?;
        Ok(rest.split('"').next().context("a value")?.to_owned())
    }
}

// === impl Answer ===

impl Answer {
    /// A header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    async fn of(response: Response) -> Result<Self> {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = String::from_utf8_lossy(&response.bytes().await?).into_owned();
        Ok(Self { status, headers, body })
    }
}

// === impl Foreign ===

impl Foreign {
    /// Serves `html` to everybody.
    pub(crate) async fn serve(html: String) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\n";
                let answer = format!("{head}content-length: {}\r\n\r\n{html}", html.len());
                // Whoever hangs up while it is answered is through: the next one is served.
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ok(Self { address, server })
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.server.abort();
    }
}
