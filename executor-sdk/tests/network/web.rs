//! A web server that answers as a script says, byte for byte.

use std::sync::{Arc, Mutex};

use domain::join::Endpoint;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, Speaks};

/// One answer: its bytes, and what comes after them.
pub(crate) struct Answer {
    pub(crate) bytes: Vec<u8>,
    pub(crate) then: Then,
}

/// How an answer ends.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    /// The connection is closed.
    Close,
    /// The last bytes are repeated for ever.
    Endless,
}

pub(crate) struct Web {
    pub(crate) endpoint: Endpoint,
    requests: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

impl Web {
    /// Serves `answers` in turn, the last one again and again.
    pub(crate) async fn serve(authority: &Authority, answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let endpoint =
            format!("localhost:{}", listener.local_addr().expect("bound").port()).parse().expect("an endpoint");
        let acceptor = TlsAcceptor::from(authority.server("localhost", Speaks::Http));
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = Arc::clone(&requests);
        let server = tokio::spawn(async move {
            for turn in 0.. {
                let (tcp, _) = listener.accept().await.expect("accepts");
                let Ok(mut tls) = acceptor.accept(tcp).await else {
                    continue;
                };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    match tls.read_u8().await {
                        Ok(byte) => request.push(byte),
                        Err(_) => break,
                    }
                }
                let certified = tls.get_ref().1.peer_certificates().is_some();
                let request = String::from_utf8(request).expect("ASCII").to_ascii_lowercase();
                heard.lock().expect("not poisoned").push(format!("{request}client-certificate: {certified}\r\n"));
                let answer = &answers[usize::min(turn, answers.len() - 1)];
                let mut open = tls.write_all(&answer.bytes).await.is_ok();
                while open && matches!(answer.then, Then::Endless) {
                    open = tls.write_all(&[b'x'; 1024]).await.is_ok();
                }
                let _ = tls.flush().await;
                // A cut, not a TLS goodbye, where the script broke off; the client has what was sent either way.
                let _ = tls.shutdown().await;
            }
        });
        Self { endpoint, requests, server }
    }

    /// What was asked so far, in lower case.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("not poisoned").clone()
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// An answer with a head of its own.
pub(crate) fn answer(head: &str, body: &[u8]) -> Answer {
    let head = head.trim().lines().map(str::trim).collect::<Vec<_>>().join("\r\n");
    Answer { bytes: [head.as_bytes(), b"\r\n\r\n", body].concat(), then: Then::Close }
}
