//! A web server that means harm: one answer for everybody, over TLS of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::Result;

/// How its answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The length is told, and kept.
    Close,
    /// No length is told, and there is no end.
    Endless,
}

pub(crate) struct Web {
    /// What has to be trusted to talk to it.
    pub(crate) authority: CertificateDer<'static>,
    port: u16,
    asked: Arc<AtomicUsize>,
    away: Arc<AtomicBool>,
    server: JoinHandle<()>,
}

impl Web {
    /// Answers with `head`, a length where there is one, and `body`.
    pub(crate) async fn serve(head: &str, body: &[u8], then: Then) -> Result<Self> {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let authority = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = tls.with_no_client_auth().with_single_cert(vec![authority.clone()], key)?;
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let length = match then {
            Then::Close => format!("content-length: {}\r\n", body.len()),
            Then::Endless => String::new(),
        };
        let answer = [format!("{head}\r\n{length}connection: close\r\n\r\n").as_bytes(), body].concat();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let away = Arc::new(AtomicBool::new(false));
        let is_away = Arc::clone(&away);
        let server = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if is_away.load(Ordering::SeqCst) {
                    continue;
                }
                // Whoever hangs up while it is answered is through: the next one is served.
                let _ = one(&acceptor, tcp, &answer, then, &count).await;
            }
        });
        Ok(Self { authority, port, asked, away, server })
    }

    /// Where its bytes are.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}/novacula-agent", self.port)
    }

    /// From now on it hangs up on everybody.
    pub(crate) fn go_away(&self) {
        self.away.store(true, Ordering::SeqCst);
    }

    pub(crate) fn come_back(&self) {
        self.away.store(false, Ordering::SeqCst);
    }

    /// How many requests it heard.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn one(
    acceptor: &TlsAcceptor,
    tcp: TcpStream,
    answer: &[u8],
    then: Then,
    count: &AtomicUsize,
) -> std::io::Result<()> {
    let mut tls = acceptor.accept(tcp).await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(tls.read_u8().await?);
    }
    count.fetch_add(1, Ordering::SeqCst);
    tls.write_all(answer).await?;
    match then {
        Then::Close => tls.shutdown().await,
        Then::Endless => loop {
            tls.write_all(&[b'x'; 1024]).await?;
        },
    }
}
