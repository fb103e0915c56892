//! A listener that answers what a case wants, and remembers what it was told. HTTP/1.1, one request a connection.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::Result;

/// What was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `/v2/…`, with its query.
    pub(crate) path: String,
    /// `authorization`, when it was sent.
    pub(crate) authorization: Option<String>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// Status, further headers, body.
    Page(u16, String, Vec<u8>),
    /// Bytes as they are, HTTP or not.
    Raw(Vec<u8>),
    /// A good beginning that never ends.
    Endless,
    /// Nothing, for ever.
    Silence,
}

/// The listener.
pub(crate) struct Web {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _task: JoinSet<()>,
}

// === impl Web ===

impl Web {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (mut task, answer, notes) = (JoinSet::new(), Arc::new(answer), Arc::clone(&asked));
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((connection, _)) = listener.accept().await {
                let (answer, notes) = (Arc::clone(&answer), Arc::clone(&notes));
                open.spawn(async move {
                    // A client that goes away in the middle is what some cases want.
                    let _ = serve(connection, answer.as_ref(), &notes).await;
                });
            }
        });
        Ok(Self { address, asked, _task: task })
    }

    /// `127.0.0.1:5000`.
    pub(crate) fn host(&self) -> String {
        self.address.to_string()
    }

    /// Everything that was asked, in order.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no case panicked").clone()
    }
}

impl Answer {
    /// 200 and a body.
    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::Page(200, String::new(), body.into())
    }

    /// A status with one more header.
    pub(crate) fn header(status: u16, header: impl std::fmt::Display) -> Self {
        Self::Page(status, format!("{header}\r\n"), Vec::new())
    }
}

async fn serve(
    connection: TcpStream,
    answer: &(dyn Fn(&Asked) -> Answer + Send + Sync),
    notes: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut asked = Asked { path: String::new(), authorization: None };
    loop {
        let mut line = String::new();
        if connection.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                asked.authorization = Some(value.to_owned())
            }
            Some(_) => {}
            None if line.trim_end().is_empty() => break,
            None => asked.path = line.split(' ').nth(1).unwrap_or_default().to_owned(),
        }
    }
    notes.lock().expect("no case panicked").push(asked.clone());
    let connection = connection.get_mut();
    match answer(&asked) {
        Answer::Page(status, headers, body) => {
            let head =
                format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
            connection.write_all(head.as_bytes()).await?;
            connection.write_all(&body).await?;
        }
        Answer::Raw(bytes) => connection.write_all(&bytes).await?,
        Answer::Endless => {
            connection.write_all(b"HTTP/1.1 200 x\r\nConnection: close\r\n\r\n{").await?;
            loop {
                connection.write_all(&[b' '; 64 << 10]).await?;
            }
        }
        Answer::Silence => std::future::pending().await,
    }
    connection.shutdown().await
}
